//! Waiting for what the kernel does not report: short sleeps, each twice as long as the one before.
//!
//! There are two such things, both of Unix sockets: room in the queue of a datagram socket that the sender
//! is not connected to, and room in the queue of a listener that a connecting socket has found full.
//! Blocking calls sleep on the other socket's queue, which a poller cannot.

use std::time::Duration;

use crate::platform::RawFd;
use crate::time;
use crate::trace::{Mode, WaitReason};
use crate::waiter::Parking;

/// Long enough for the other side to take something out.
const NAP_MIN: Duration = Duration::from_millis(1);
/// No longer, since a deadline and a close are noticed between two naps only.
const NAP_MAX: Duration = Duration::from_millis(16);

/// The naps of one operation.
#[derive(Debug)]
pub(super) struct Nap {
    number: RawFd,
    next: Duration,
}

impl Nap {
    /// For a writer, or a connecter, of this file.
    pub(super) fn new(number: RawFd) -> Nap {
        Nap { number, next: NAP_MIN }
    }

    /// Parks the caller, or blocks it if it is a plain thread, for the next while.
    pub(super) fn take(&mut self) {
        let parking =
            Parking::<crate::platform::Os>::prepare(WaitReason::Io(self.number, Mode::Write));
        // Nobody else has the ticket.
        let _timed_out = parking.park(Some(time::deadline_after(self.next)));
        self.next = (self.next * 2).min(NAP_MAX);
    }
}
