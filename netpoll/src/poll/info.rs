//! The summary word of a poll descriptor: what the wait path and the poll loop may know without the
//! lock.
//!
//! | bits | meaning | written by |
//! |---|---|---|
//! | 0 | closing | `publish`, under the descriptor's lock |
//! | 1 | event error: the last event was `ERR` and nothing else | `note_event`, lock-free, by the poll loop |
//! | 2 | the read deadline has passed | `publish` |
//! | 3 | the write deadline has passed | `publish` |
//! | 4 | unsure: an event told of an end, an error or urgent data | `note_event` |
//! | 5 | socket: its system calls tell of its errors, so bit 1 stays clear | `publish_new_life` |
//! | 12..32 | the life number of the descriptor | `publish` |
//!
//! Everything but bits 1, 4 and 5 is a copy of what the lock guards (S12). Those live only here. What
//! events say is refused when the event's life is not the word's (S9): an error harvested before a close must not
//! poison the next file in the same object (golang/go#59545). Bit 1 follows the last event; bit 4 stays
//! for the life.
//!
//! Bit 1 is for devices whose `read` says `EAGAIN` for ever while they report an error (golang/go#30624).
//! Of a socket it would be a mistake: an error that a datagram has met, `ECONNREFUSED` for one, is
//! reported by one system call, possibly a writer's, and then it is over; a reader has to wait on.
//!
//! # Ordering
//!
//! Every access is relaxed. Every write exchanges the word, so who changes it has tested its newest
//! value, the life number included; and nothing else is published through it. Who has to see a change
//! sees it by way of a slot: the writer exchanges the slot after the word, the reader before (O2, O3).

use std::fmt;
use std::sync::atomic::Ordering::Relaxed;

use crate::platform::{Atomic, Primitives};
use crate::trace::Mode;

const CLOSING: u32 = 1;
const EVENT_ERROR: u32 = 1 << 1;
const READ_EXPIRED: u32 = 1 << 2;
const WRITE_EXPIRED: u32 = 1 << 3;
const UNSURE: u32 = 1 << 4;
const SOCKET: u32 = 1 << 5;
/// The bits that `publish` keeps.
const KEPT: u32 = EVENT_ERROR | UNSURE | SOCKET;
const LIFE_SHIFT: u32 = 12;
/// Width of a life number, here and in the user data of kernel events.
pub const LIFE_BITS: u32 = 20;
/// Largest life number.
pub const LIFE_MAX: u32 = (1 << LIFE_BITS) - 1;

const _: () = assert!(LIFE_SHIFT + LIFE_BITS == 32, "the life number fills the word");
const _: () = assert!(
    (CLOSING | KEPT | READ_EXPIRED | WRITE_EXPIRED) & (LIFE_MAX << LIFE_SHIFT) == 0,
    "no flag is part of the life number"
);

/// What a file is, as far as its events differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A socket: an event that tells of nothing but an error means that a system call is worth trying.
    Socket,
    /// Anything else: such an event means that the file cannot be waited for.
    Other,
}

/// Why an operation on a descriptor cannot wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PollError {
    /// The descriptor is being closed.
    Closing,
    /// The deadline of this direction has passed.
    Timeout,
    /// The kernel said that the file cannot be polled.
    NotPollable,
}

impl fmt::Display for PollError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PollError::Closing => "closing",
            PollError::Timeout => "deadline passed",
            PollError::NotPollable => "not pollable",
        })
    }
}

/// One value of the summary word.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Snapshot(u32);

impl Snapshot {
    /// The word for these facts, without an event error.
    pub fn new(life: u32, closing: bool, read_expired: bool, write_expired: bool) -> Snapshot {
        assert!(life <= LIFE_MAX, "life number {life} is wider than {LIFE_BITS} bits");
        let flag = |on: bool, bit: u32| if on { bit } else { 0 };
        Snapshot(
            life << LIFE_SHIFT
                | flag(closing, CLOSING)
                | flag(read_expired, READ_EXPIRED)
                | flag(write_expired, WRITE_EXPIRED),
        )
    }

    /// The life number.
    pub fn life(self) -> u32 {
        self.0 >> LIFE_SHIFT
    }

    fn is(self, bit: u32) -> bool {
        self.0 & bit != 0
    }

    /// This word for a file of this kind.
    pub(super) fn of(self, kind: FileKind) -> Snapshot {
        match kind {
            FileKind::Socket => Snapshot(self.0 | SOCKET),
            FileKind::Other => self,
        }
    }

    /// This word with what the other one has and the lock does not guard.
    fn keeping(self, other: Snapshot) -> Snapshot {
        Snapshot(self.0 & !KEPT | other.0 & KEPT)
    }

    /// Whether an event of this life told of an end, an error or urgent data.
    pub fn is_unsure(self) -> bool {
        self.is(UNSURE)
    }

    /// Whether an operation of this direction may wait. Closing outranks a timeout. Writers are not
    /// told of an event error: the system call that follows gives a better one.
    ///
    /// # Errors
    /// The reason why not.
    pub fn check(self, mode: Mode) -> Result<(), PollError> {
        let expired = match mode {
            Mode::Read => READ_EXPIRED,
            Mode::Write => WRITE_EXPIRED,
        };
        if self.is(CLOSING) {
            Err(PollError::Closing)
        } else if self.is(expired) {
            Err(PollError::Timeout)
        } else if mode == Mode::Read && self.is(EVENT_ERROR) {
            Err(PollError::NotPollable)
        } else {
            Ok(())
        }
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "life {}", self.life())?;
        let flags = [
            (CLOSING, "closing"),
            (EVENT_ERROR, "event error"),
            (UNSURE, "unsure"),
            (SOCKET, "socket"),
            (READ_EXPIRED, "read expired"),
            (WRITE_EXPIRED, "write expired"),
        ];
        flags
            .iter()
            .filter(|(bit, _)| self.is(*bit))
            .try_for_each(|(_, name)| write!(f, ", {name}"))
    }
}

/// The word. See the module documentation.
#[derive(Debug)]
pub(crate) struct Info<P: Primitives> {
    word: P::AtomicU32,
}

impl<P: Primitives> Info<P> {
    /// Life 0, no flags.
    pub(crate) fn new() -> Info<P> {
        Info { word: P::AtomicU32::new(0) }
    }

    /// The word as the acquires of a slot bring it along (O2, O3), or a newer one.
    #[inline]
    pub(crate) fn load(&self) -> Snapshot {
        Snapshot(self.word.load(Relaxed))
    }

    /// Writes what the lock guards and keeps the rest. The caller holds the descriptor's lock.
    pub(crate) fn publish(&self, facts: Snapshot) {
        self.update(|old| Some(facts.keeping(old)));
    }

    /// Writes everything and forgets what events have said: a new life begins.
    pub(crate) fn publish_new_life(&self, facts: Snapshot) {
        self.update(|_| Some(facts));
    }

    /// Records what an event of `life` said. Refused when the word is of another life (S9).
    pub(crate) fn note_event(&self, life: u32, error: bool, unsure: bool) {
        self.update(|old| {
            let error = if error && !old.is(SOCKET) { EVENT_ERROR } else { 0 };
            let unsure = if unsure { UNSURE } else { 0 };
            let next = old.0 & !EVENT_ERROR | error | unsure;
            (old.life() == life && next != old.0).then_some(Snapshot(next))
        });
    }

    /// The only CAS loop. `None` leaves the word alone.
    fn update(&self, step: impl Fn(Snapshot) -> Option<Snapshot>) {
        let mut word = self.word.load(Relaxed);
        while let Some(next) = step(Snapshot(word)) {
            match self.word.compare_exchange(word, next.0, Relaxed, Relaxed) {
                Ok(_) => return,
                Err(found) => word = found,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::Os;

    #[test]
    fn closing_outranks_timeout_and_only_readers_hear_of_event_errors() {
        use Mode::{Read, Write};
        use PollError::{Closing, NotPollable, Timeout};
        let facts = |closing, read, write| Snapshot::new(5, closing, read, write);
        let error = Snapshot(facts(false, false, false).0 | EVENT_ERROR);
        let cases = [
            (facts(false, false, false), Ok(()), Ok(())),
            (facts(true, true, true), Err(Closing), Err(Closing)),
            (facts(false, true, false), Err(Timeout), Ok(())),
            (facts(false, false, true), Ok(()), Err(Timeout)),
            (error, Err(NotPollable), Ok(())),
        ];
        for (snapshot, read, write) in cases {
            assert_eq!(snapshot.check(Read), read, "{snapshot:?}");
            assert_eq!(snapshot.check(Write), write, "{snapshot:?}");
        }
    }

    #[test]
    fn an_event_error_of_another_life_changes_nothing() {
        let info = Info::<Os>::new();
        info.publish_new_life(Snapshot::new(7, false, false, false));
        for stale in [0, 6, 8, LIFE_MAX] {
            info.note_event(stale, true, true);
            assert_eq!(info.load().check(Mode::Read), Ok(()), "life {stale}");
        }
        info.note_event(7, true, true);
        assert_eq!(info.load().check(Mode::Read), Err(PollError::NotPollable));
        info.note_event(7, false, false);
        assert_eq!(info.load().check(Mode::Read), Ok(()), "an event error is not sticky");
        assert!(info.load().is_unsure(), "but a life that may have ended stays so");
    }

    #[test]
    fn an_event_error_refuses_nobody_on_a_socket() {
        let info = Info::<Os>::new();
        info.publish_new_life(Snapshot::new(7, false, false, false).of(FileKind::Socket));
        info.publish(Snapshot::new(7, false, false, true));
        info.note_event(7, true, true);
        assert_eq!(info.load().check(Mode::Read), Ok(()));
        assert!(info.load().is_unsure());
        info.publish_new_life(Snapshot::new(8, false, false, false));
        info.note_event(8, true, true);
        assert_eq!(
            info.load().check(Mode::Read),
            Err(PollError::NotPollable),
            "no socket any more"
        );
    }

    #[test]
    fn publishing_keeps_the_event_error_and_a_new_life_forgets_it() {
        let info = Info::<Os>::new();
        info.publish_new_life(Snapshot::new(7, false, false, false));
        info.note_event(7, true, true);
        info.publish(Snapshot::new(7, false, false, true));
        assert_eq!(info.load().check(Mode::Read), Err(PollError::NotPollable));
        info.publish_new_life(Snapshot::new(8, false, false, false));
        assert_eq!(info.load().check(Mode::Read), Ok(()));
    }
}
