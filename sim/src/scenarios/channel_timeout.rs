//! Channels whose waits end by time, by the other side, or because it is gone.

use std::time::Duration;

use netpoll::go;
use netpoll::sync::{Receiver, RecvTimeoutError, SendTimeoutError, Sender, channel};
use netpoll::time::{Instant, sleep};

use super::Scenario;
use super::common::join;

/// Values of each sender.
const VALUES: u32 = 8;
/// Senders, and as many receivers.
const CREW: u32 = 2;
/// The times that waits may take, in microseconds, in turns.
const PATIENCE_US: [u64; 4] = [10, 25, 3, 60];

pub(super) fn scenario() -> Scenario {
    Scenario::new(
        "channel_timeout",
        "a wait's time ends as its partner comes: the value is handed over or kept, never both, never lost",
        body,
    )
    .atomic()
}

fn body() {
    // Without a buffer, a partner has to meet a partner.
    for capacity in [0, 1] {
        round(capacity);
    }
}

fn round(capacity: usize) {
    let (sender, receiver) = channel(capacity);
    let senders: Vec<_> = (0..CREW)
        .map(|number| {
            let sender = sender.clone();
            go(move || (0..VALUES).for_each(|i| send(&sender, number * VALUES + i)))
        })
        .collect();
    drop(sender);
    let receivers: Vec<_> = (0..CREW)
        .map(|_| {
            let receiver = receiver.clone();
            go(move || receive_all(&receiver))
        })
        .collect();
    drop(receiver);
    senders.into_iter().for_each(join);
    let mut received: Vec<u32> = receivers.into_iter().flat_map(join).collect();
    received.sort_unstable();
    assert!(received.into_iter().eq(0..CREW * VALUES), "each value is received once");
}

/// Sends until somebody takes it.
fn send(sender: &Sender<u32>, value: u32) {
    for us in PATIENCE_US.into_iter().cycle() {
        let time = Duration::from_micros(us);
        let start = Instant::now();
        match sender.send_timeout(value, time) {
            Ok(()) => return,
            Err(SendTimeoutError::Timeout(back)) => {
                assert_eq!(back, value, "another's value came back");
                check_time(start, time);
            }
            Err(SendTimeoutError::Disconnected(_)) => panic!("there are receivers"),
        }
    }
}

fn receive_all(receiver: &Receiver<u32>) -> Vec<u32> {
    let mut received = Vec::new();
    for us in PATIENCE_US.into_iter().cycle() {
        let time = Duration::from_micros(us);
        let start = Instant::now();
        match receiver.recv_timeout(time) {
            Ok(value) => {
                received.push(value);
                sleep(Duration::from_micros(5));
            }
            Err(RecvTimeoutError::Timeout) => check_time(start, time),
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    received
}

fn check_time(start: Instant, time: Duration) {
    let took = start.elapsed();
    assert!(took >= time, "timed out after {took:?} instead of {time:?}");
}
