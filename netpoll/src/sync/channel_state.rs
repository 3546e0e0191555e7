//! What is in a channel and who waits for it: a sequential state machine.
//!
//! Values go from hand to hand under the internal lock: a sender that finds a waiting receiver gives
//! it the value there and then, and a receiver that makes room moves the first waiting sender's value
//! in. So whoever waits longest is served first and nobody barges, and a waiter whose deadline passed
//! finds here, under the lock, whether it was served nevertheless.
//!
//! # Invariants
//!
//! * C1: a receiver waits ⇒ nothing is buffered and no sender waits.
//! * C2: a sender waits ⇒ the buffer is full.
//! * C3: a receiver waits ⇒ there are senders; a sender waits ⇒ there are receivers.
//! * C4: the buffer holds at most `capacity` values.

use std::collections::{BTreeMap, VecDeque};

use super::queue::{Seat, WaitQueue};

/// What the sender has to do.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum SendAction<T, W> {
    /// Go on, after waking this receiver: the value is sent.
    Sent(Option<W>),
    /// Park, then call [`ChannelState::sent`] with the seat.
    Park(Seat),
    /// Nothing: no receiver is left. The value comes back.
    Disconnected(T),
}

/// What the receiver has to do.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum RecvAction<T, W> {
    /// Go on with the value, after waking this sender.
    Received(T, Option<W>),
    /// Park, then call [`ChannelState::received`] with the seat.
    Park(Seat),
    /// Nothing: empty, and no sender is left.
    Disconnected,
}

/// How a wait in a channel ended, according to the state.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Outcome<D, U> {
    /// The waiter was served.
    Done(D),
    /// It was not, and has left the queue.
    NotServed(U),
    /// The other side has gone.
    Disconnected(U),
}

/// The state of a channel of `T`s whose waiters are `W`s.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ChannelState<T, W> {
    capacity: usize,
    buffer: VecDeque<T>,
    senders: usize,
    receivers: usize,
    waiting_senders: WaitQueue<(W, T)>,
    waiting_receivers: WaitQueue<W>,
    /// Values that waiting receivers were given and have not picked up.
    given: BTreeMap<Seat, T>,
    /// Values that waiting senders get back and have not picked up: no receiver is left.
    returned: BTreeMap<Seat, T>,
}

impl<T, W> ChannelState<T, W> {
    /// An empty channel with one sender and one receiver.
    #[must_use]
    pub(super) fn new(capacity: usize) -> Self {
        ChannelState {
            capacity,
            buffer: VecDeque::new(),
            senders: 1,
            receivers: 1,
            waiting_senders: WaitQueue::new(),
            waiting_receivers: WaitQueue::new(),
            given: BTreeMap::new(),
            returned: BTreeMap::new(),
        }
    }

    /// Sends `value` or, when that is impossible now, queues `waiter` up. Without a waiter the value
    /// comes back as `Err`.
    ///
    /// # Errors
    /// The value, when the channel is full and there is no waiter to queue up.
    pub(super) fn send(&mut self, value: T, waiter: Option<W>) -> Result<SendAction<T, W>, T> {
        if self.receivers == 0 {
            return Ok(SendAction::Disconnected(value));
        }
        if let Some((seat, receiver)) = self.waiting_receivers.pop() {
            assert!(self.buffer.is_empty(), "C1: a receiver waits for a value");
            self.given.insert(seat, value);
            return Ok(SendAction::Sent(Some(receiver)));
        }
        if self.buffer.len() < self.capacity {
            assert!(self.waiting_senders.is_empty(), "C2: a sender waits for room");
            self.buffer.push_back(value);
            return Ok(SendAction::Sent(None));
        }
        match waiter {
            Some(waiter) => Ok(SendAction::Park(self.waiting_senders.push((waiter, value)))),
            None => Err(value),
        }
    }

    /// How the wait of the sender on `seat` ended.
    pub(super) fn sent(&mut self, seat: Seat) -> Outcome<(), T> {
        if let Some((_, value)) = self.waiting_senders.remove(seat) {
            return Outcome::NotServed(value);
        }
        match self.returned.remove(&seat) {
            Some(value) => Outcome::Disconnected(value),
            None => Outcome::Done(()),
        }
    }

    /// Receives a value or, when there is none, queues `waiter` up; `None` when there is no waiter
    /// either.
    pub(super) fn recv(&mut self, waiter: Option<W>) -> Option<RecvAction<T, W>> {
        if let Some(value) = self.buffer.pop_front() {
            let sender = self.waiting_senders.pop().map(|(_, (sender, value))| {
                self.buffer.push_back(value);
                sender
            });
            return Some(RecvAction::Received(value, sender));
        }
        if let Some((_, (sender, value))) = self.waiting_senders.pop() {
            assert_eq!(self.capacity, 0, "C2: a sender waits at an empty buffer");
            return Some(RecvAction::Received(value, Some(sender)));
        }
        if self.senders == 0 {
            return Some(RecvAction::Disconnected);
        }
        waiter.map(|waiter| RecvAction::Park(self.waiting_receivers.push(waiter)))
    }

    /// How the wait of the receiver on `seat` ended.
    pub(super) fn received(&mut self, seat: Seat) -> Outcome<T, ()> {
        if self.waiting_receivers.remove(seat).is_some() {
            return Outcome::NotServed(());
        }
        match self.given.remove(&seat) {
            Some(value) => Outcome::Done(value),
            None => Outcome::Disconnected(()),
        }
    }

    /// There is one more sender.
    pub(super) fn add_sender(&mut self) {
        self.senders += 1;
    }

    /// There is one more receiver.
    pub(super) fn add_receiver(&mut self) {
        self.receivers += 1;
    }

    /// There is one sender less. Returns whom to wake: all receivers that wait, if it was the last.
    #[must_use]
    pub(super) fn drop_sender(&mut self) -> Vec<W> {
        assert!(self.senders > 0, "a sender that was not counted");
        self.senders -= 1;
        if self.senders > 0 {
            return Vec::new();
        }
        let waiting = self.waiting_receivers.take();
        waiting.into_iter().map(|(_, waiter)| waiter).collect()
    }

    /// There is one receiver less. If it was the last, returns whom to wake, all senders that wait, and
    /// what nobody will receive any more, to be dropped without the internal lock.
    #[must_use]
    pub(super) fn drop_receiver(&mut self) -> (Vec<W>, VecDeque<T>) {
        assert!(self.receivers > 0, "a receiver that was not counted");
        self.receivers -= 1;
        if self.receivers > 0 {
            return (Vec::new(), VecDeque::new());
        }
        let mut woken = Vec::new();
        for (seat, (waiter, value)) in self.waiting_senders.take() {
            self.returned.insert(seat, value);
            woken.push(waiter);
        }
        (woken, std::mem::take(&mut self.buffer))
    }

    /// The number of buffered values.
    #[must_use]
    pub(super) fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Whether nothing is buffered.
    #[must_use]
    pub(super) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// How many values can be buffered.
    #[must_use]
    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    #[cfg(test)]
    pub(super) fn check(&self) {
        if !self.waiting_receivers.is_empty() {
            assert!(self.buffer.is_empty(), "C1");
            assert!(self.waiting_senders.is_empty(), "C1");
            assert!(self.senders > 0, "C3");
        }
        if !self.waiting_senders.is_empty() {
            assert_eq!(self.buffer.len(), self.capacity, "C2");
            assert!(self.receivers > 0, "C3");
        }
        assert!(self.buffer.len() <= self.capacity, "C4");
    }
}
