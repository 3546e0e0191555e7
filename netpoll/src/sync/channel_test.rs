//! Channels: every interleaving of the state machine, then the handles between plain threads.

use std::collections::HashSet;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::channel_state::{ChannelState, Outcome, RecvAction, SendAction};
use super::queue::Seat;
use super::*;

/// One client of the exhaustive test, between two transitions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Client {
    /// About to send the next value of those left.
    Send(Vec<u8>),
    SendParked(Vec<u8>, Seat),
    SendAwake(Vec<u8>, Seat),
    /// About to receive this many more values.
    Recv(u8),
    RecvParked(u8, Seat),
    RecvAwake(u8, Seat),
    Done,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    channel: ChannelState<u8, usize>,
    clients: Vec<Client>,
    received: Vec<u8>,
    /// Values that came back to their senders or were dropped unreceived.
    lost: Vec<u8>,
}

impl World {
    fn new(capacity: usize, clients: Vec<Client>) -> World {
        let mut channel = ChannelState::new(capacity);
        for client in &clients {
            match client {
                Client::Send(_) => channel.add_sender(),
                _ => channel.add_receiver(),
            }
        }
        assert_eq!(channel.drop_sender(), []);
        assert_eq!(channel.drop_receiver(), (vec![], [].into()));
        World { channel, clients, received: vec![], lost: vec![] }
    }

    fn wake(&mut self, woken: impl IntoIterator<Item = usize>) {
        for i in woken {
            self.clients[i] = match self.clients[i].clone() {
                Client::SendParked(left, seat) => Client::SendAwake(left, seat),
                Client::RecvParked(left, seat) => Client::RecvAwake(left, seat),
                // Its deadline passed while its waker was on the way.
                awake => awake,
            }
        }
    }

    fn next_send(&mut self, left: Vec<u8>) -> Client {
        if !left.is_empty() {
            return Client::Send(left);
        }
        let woken = self.channel.drop_sender();
        self.wake(woken);
        Client::Done
    }

    fn next_recv(&mut self, left: u8) -> Client {
        if left > 0 {
            return Client::Recv(left);
        }
        let (woken, unreceived) = self.channel.drop_receiver();
        self.wake(woken);
        self.lost.extend(unreceived);
        Client::Done
    }

    /// Lets client `i` do its next transition. False if it cannot.
    fn step(&mut self, i: usize) -> bool {
        self.clients[i] = match self.clients[i].clone() {
            Client::Done | Client::SendParked(..) | Client::RecvParked(..) => return false,
            Client::Send(mut left) => {
                let value = left.remove(0);
                match self.channel.send(value, Some(i)).unwrap() {
                    SendAction::Park(seat) => Client::SendParked(left, seat),
                    SendAction::Sent(receiver) => {
                        self.wake(receiver);
                        self.next_send(left)
                    }
                    SendAction::Disconnected(value) => {
                        self.lost.push(value);
                        self.next_send(left)
                    }
                }
            }
            Client::SendAwake(left, seat) => {
                match self.channel.sent(seat) {
                    Outcome::Done(()) => {}
                    Outcome::NotServed(value) | Outcome::Disconnected(value) => {
                        self.lost.push(value);
                    }
                }
                self.next_send(left)
            }
            Client::Recv(left) => match self.channel.recv(Some(i)).unwrap() {
                RecvAction::Park(seat) => Client::RecvParked(left, seat),
                RecvAction::Received(value, sender) => {
                    self.wake(sender);
                    self.received.push(value);
                    self.next_recv(left - 1)
                }
                RecvAction::Disconnected => self.next_recv(0),
            },
            Client::RecvAwake(left, seat) => match self.channel.received(seat) {
                Outcome::Done(value) => {
                    self.received.push(value);
                    self.next_recv(left - 1)
                }
                Outcome::NotServed(()) => self.next_recv(left - 1),
                Outcome::Disconnected(()) => self.next_recv(0),
            },
        };
        true
    }

    /// Lets the deadline of client `i` pass. False if it does not wait.
    fn time_out(&mut self, i: usize) -> bool {
        self.clients[i] = match self.clients[i].clone() {
            Client::SendParked(left, seat) => Client::SendAwake(left, seat),
            Client::RecvParked(left, seat) => Client::RecvAwake(left, seat),
            _ => return false,
        };
        true
    }

    fn is_done(&self) -> bool {
        self.clients.iter().all(|client| *client == Client::Done)
    }
}

/// All interleavings, with deadlines passing at any time if `timeouts`. In the end every value has
/// been received or has come back, once.
fn explore(start: &World, timeouts: bool) {
    let sent = |world: &World| {
        let mut values: Vec<u8> = world.received.iter().chain(&world.lost).copied().collect();
        values.sort_unstable();
        values
    };
    let mut all: Vec<u8> = vec![];
    for client in &start.clients {
        if let Client::Send(values) = client {
            all.extend(values);
        }
    }
    all.sort_unstable();

    let mut seen = HashSet::from([start.clone()]);
    let mut todo = vec![start.clone()];
    while let Some(world) = todo.pop() {
        world.channel.check();
        let mut stuck = true;
        for i in 0..world.clients.len() {
            for timed_out in [false, true] {
                let mut next = world.clone();
                let moved = match timed_out {
                    false => next.step(i),
                    true => timeouts && next.time_out(i),
                };
                if moved {
                    stuck = false;
                    if seen.insert(next.clone()) {
                        todo.push(next);
                    }
                }
            }
        }
        if stuck {
            assert!(world.is_done(), "a lost wake-up: {world:?}");
            assert_eq!(sent(&world), all, "values lost or doubled: {world:?}");
        }
    }
    assert!(seen.len() > 20);
}

#[test]
fn every_interleaving_conserves_values_and_wakes_everybody() {
    for capacity in 0..3 {
        for timeouts in [false, true] {
            let send = |values: &[u8]| Client::Send(values.to_vec());
            for clients in [
                vec![send(&[1, 2]), send(&[3, 4]), Client::Recv(9)],
                vec![send(&[1, 2, 3]), Client::Recv(2), Client::Recv(1)],
                vec![send(&[1, 2]), send(&[3]), Client::Recv(1)],
                vec![send(&[1]), Client::Recv(3), Client::Recv(1)],
            ] {
                explore(&World::new(capacity, clients), timeouts);
            }
        }
    }
}

#[test]
fn waiters_are_served_in_order_of_arrival() {
    let mut channel = ChannelState::new(0);
    let mut seats = vec![];
    for waiter in ["a", "b"] {
        let Some(RecvAction::Park(seat)) = channel.recv(Some(waiter)) else {
            panic!("nothing to receive");
        };
        seats.push(seat);
    }
    assert_eq!(channel.send(1, None), Ok(SendAction::Sent(Some("a"))));
    assert_eq!(channel.send(2, None), Ok(SendAction::Sent(Some("b"))));
    assert_eq!(channel.received(seats[1]), Outcome::Done(2));
    assert_eq!(channel.received(seats[0]), Outcome::Done(1));
}

#[test]
fn a_bounded_channel_carries_everything_in_order_between_threads() {
    for capacity in [0, 1, 7] {
        let (sender, receiver) = channel(capacity);
        let producer = thread::spawn(move || (0..500).for_each(|i| sender.send(i).unwrap()));
        assert!(receiver.iter().eq(0..500));
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
        producer.join().unwrap();
    }
}

#[test]
fn many_senders_and_receivers_share_one_channel() {
    let (sender, receiver) = channel(2);
    let producers: Vec<_> = (0..3_u64)
        .map(|_| {
            let sender = sender.clone();
            thread::spawn(move || (1..=300).for_each(|i| sender.send(i).unwrap()))
        })
        .collect();
    drop(sender);
    let consumers: Vec<_> = (0..3)
        .map(|_| {
            let receiver = receiver.clone();
            thread::spawn(move || receiver.into_iter().sum::<u64>())
        })
        .collect();
    producers.into_iter().for_each(|p| p.join().unwrap());
    let sum: u64 = consumers.into_iter().map(|c| c.join().unwrap()).sum();
    assert_eq!(sum, 3 * 300 * 301 / 2);
}

#[test]
fn errors_give_the_value_back() {
    let (sender, receiver) = channel(1);
    assert_eq!((sender.len(), sender.capacity()), (0, 1));
    sender.try_send("in").unwrap();
    assert_eq!(sender.try_send("out"), Err(TrySendError::Full("out")));
    let timeout = Duration::from_millis(1);
    assert_eq!(sender.send_timeout("late", timeout), Err(SendTimeoutError::Timeout("late")));
    assert_eq!(receiver.try_iter().collect::<Vec<_>>(), ["in"]);
    assert_eq!(receiver.recv_timeout(timeout), Err(RecvTimeoutError::Timeout));
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    drop(receiver);
    assert_eq!(sender.send("back"), Err(SendError("back")));
}

#[test]
fn the_last_receiver_takes_the_buffer_along_and_releases_senders() {
    let (sender, receiver) = channel(1);
    let value = Arc::new(());
    sender.send(Arc::clone(&value)).unwrap();
    let blocked = {
        let (sender, value) = (sender.clone(), Arc::clone(&value));
        thread::spawn(move || sender.send(value).is_err())
    };
    thread::sleep(Duration::from_millis(5));
    drop(receiver);
    assert!(blocked.join().unwrap());
    assert_eq!(Arc::strong_count(&value), 1, "the buffered value is dropped");
    drop(sender);
}

#[test]
fn without_capacity_a_send_waits_for_its_receive() {
    let (sender, receiver) = channel(0);
    assert_eq!(sender.try_send(1), Err(TrySendError::Full(1)));
    let consumer = thread::spawn(move || receiver.recv());
    sender.send(2).unwrap();
    assert_eq!(consumer.join().unwrap(), Ok(2));
}
