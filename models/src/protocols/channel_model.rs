//! Channels between plain threads.
//!
//! The interleavings hunted:
//!
//! * a sender (receiver) that parks, against the other side that serves it between its decision and its
//!   sleep: it must find itself served.
//! * the last handle of the other side that is dropped meanwhile: nobody sleeps on for ever, a value
//!   that was not received comes back, and none is both received and returned.
//! * a deadline that passes while the other side serves: the state decides, so no value is lost.
//! * two senders in one full channel: every value arrives once, each sender's in order.
//!
//! A value is the number of a cell that its sender has filled `Relaxed`, so that a channel which does
//! not publish what was done before is seen.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use netpoll::platform::Atomic;
use netpoll::sync::raw::RawChannel;
use netpoll::sync::{RecvTimeoutError, SendTimeoutError};

use super::waiter_model::LONG_AGO;
use crate::check::{Bound, models};
use crate::platform::{Checked, join};

models! {
    /// Through a rendezvous two values arrive in order, and then the end.
    channel_rendezvous { loom: Bound::preemptions(4), shuttle: [Pct, Urw] }
    /// Through a buffer of one three values arrive in order, and then the end.
    channel_of_one { loom: Bound::preemptions(4), shuttle: [Pct, Urw] }
    /// Of two senders each value arrives once, each sender's in order.
    channel_two_senders { loom: Bound::preemptions(3), shuttle: [Pct, Urw] }
    /// A receiver that leaves gives the senders that wait their values back.
    channel_receiver_leaves { loom: Bound::preemptions(3), shuttle: [Pct, Urw] }
    /// A receive whose deadline passes while it is served has the value or leaves it.
    channel_timeout_against_send { loom: Bound::UNBOUNDED, shuttle: [Pct, Urw] }
}

const CELLS: usize = 4;

struct Line<P: Checked> {
    raw: RawChannel<usize, P>,
    cells: [P::AtomicU32; CELLS],
}

impl<P: Checked> Line<P> {
    fn new(capacity: usize) -> Arc<Line<P>> {
        let cells = std::array::from_fn(|_| P::AtomicU32::new(0));
        Arc::new(Line { raw: RawChannel::new(capacity), cells })
    }

    fn send(&self, value: usize) -> Result<(), SendTimeoutError<usize>> {
        self.cells[value].store(value as u32 + 1, Relaxed);
        self.raw.send(value, None)
    }

    /// Looks at what the sender of a received value did before.
    fn check(&self, value: usize) -> usize {
        assert_eq!(
            self.cells[value].load(Relaxed),
            value as u32 + 1,
            "what came before is visible"
        );
        value
    }

    fn recv(&self) -> Option<usize> {
        self.raw.recv(None).ok().map(|value| self.check(value))
    }

    /// A thread that sends these and drops its handle.
    fn sender<const N: usize>(self: &Arc<Self>, values: [usize; N]) -> P::Thread {
        let line = self.clone();
        P::thread(move || {
            for value in values {
                line.send(value).expect("the receiver stays");
            }
            line.raw.drop_sender();
        })
    }
}

fn channel_rendezvous<P: Checked>() {
    let line = Line::<P>::new(0);
    let sender = line.sender([0, 1]);
    assert_eq!([line.recv(), line.recv(), line.recv()], [Some(0), Some(1), None]);
    join([sender]);
}

fn channel_of_one<P: Checked>() {
    let line = Line::<P>::new(1);
    let sender = line.sender([0, 1, 2]);
    let received = [line.recv(), line.recv(), line.recv(), line.recv()];
    assert_eq!(received, [Some(0), Some(1), Some(2), None]);
    join([sender]);
}

fn channel_two_senders<P: Checked>() {
    let line = Line::<P>::new(1);
    line.raw.add_sender();
    let senders = [line.sender([0, 1]), line.sender([2])];
    let received: Vec<usize> = std::iter::from_fn(|| line.recv()).collect();
    let of_first: Vec<usize> = received.iter().copied().filter(|&value| value < 2).collect();
    assert_eq!(of_first, [0, 1]);
    assert_eq!(received.len(), 3);
    assert!(received.contains(&2));
    join(senders);
}

fn channel_receiver_leaves<P: Checked>() {
    let line = Line::<P>::new(0);
    line.raw.add_sender();
    let senders = [0, 1].map(|value| {
        let line = line.clone();
        P::thread(move || {
            match line.send(value) {
                Ok(()) => line.cells[2].fetch_add(1, Relaxed),
                Err(SendTimeoutError::Disconnected(back)) => {
                    assert_eq!(back, value);
                    line.cells[3].fetch_add(1, Relaxed)
                }
                Err(SendTimeoutError::Timeout(_)) => panic!("there is no deadline"),
            };
        })
    });
    assert!(line.recv().is_some());
    line.raw.drop_receiver();
    join(senders);
    assert_eq!(line.cells[2].load(Relaxed), 1, "received");
    assert_eq!(line.cells[3].load(Relaxed), 1, "came back");
}

fn channel_timeout_against_send<P: Checked>() {
    let line = Line::<P>::new(1);
    let sender = line.sender([0]);
    let received = match line.raw.recv(LONG_AGO) {
        Ok(value) => line.check(value),
        Err(RecvTimeoutError::Timeout) => line.recv().expect("the value is still to come"),
        Err(RecvTimeoutError::Disconnected) => panic!("a value was lost"),
    };
    assert_eq!(received, 0);
    assert_eq!(line.recv(), None);
    join([sender]);
}
