//! One park of one goroutine, and its exactly one end.
//!
//! The word is a serial number, the ticket, and a state:
//!
//! | state | who may leave it, to where |
//! |---|---|
//! | `Idle`     | the owner, to `Open` of the next ticket |
//! | `Open`     | the owner's worker, to `Parked`; a waker, to `Unparked`; the timer, to `Expired`; the owner, to `Open` of the next ticket, when it decides not to park |
//! | `Parked`   | a waker, to `Unparked`; the timer, to `Expired`; each then owns the goroutine and makes it runnable |
//! | `Unparked`, `Expired` | the owner, to `Idle`; out of `Unparked` to `Open` of the next ticket, when it had decided not to park |
//!
//! A waker with an old ticket finds another serial number and changes nothing, so wait lists may keep
//! tickets whose park has ended. The record of a goroutine is reused, the serial number goes on.
//!
//! # Ordering
//!
//! T1: ending a park is a release and finishing it an acquire: what the waker did before is seen by the
//! goroutine. T2: parking is a release and ending a park an acquire: the waker may queue the goroutine.
//! A ticket reaches its waker by other means, which order what comes before; so opening is neither.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use crate::ops::Wake;
use crate::platform::{Atomic, Primitives};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    Open,
    Parked,
    Unparked,
    Expired,
}

const STATE_BITS: u32 = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Word {
    ticket: u64,
    state: State,
}

impl Word {
    fn encode(self) -> u64 {
        self.ticket << STATE_BITS | self.state as u64
    }

    fn decode(word: u64) -> Word {
        let state = match word & ((1 << STATE_BITS) - 1) {
            0 => State::Idle,
            1 => State::Open,
            2 => State::Parked,
            3 => State::Unparked,
            4 => State::Expired,
            other => unreachable!("ticket state {other}"),
        };
        Word { ticket: word >> STATE_BITS, state }
    }
}

/// The name of a word's state, for tables.
#[must_use]
pub fn state_name(word: u64) -> &'static str {
    match Word::decode(word).state {
        State::Idle => "Idle",
        State::Open => "Open",
        State::Parked => "Parked",
        State::Unparked => "Unparked",
        State::Expired => "Expired",
    }
}

/// Every legal transition, by the names of the states: what a checker of this machine has to exercise.
#[must_use]
pub const fn transitions() -> &'static [(&'static str, &'static str)] {
    &[
        ("Idle", "Open"),
        ("Open", "Open"),
        ("Open", "Parked"),
        ("Open", "Unparked"),
        ("Open", "Expired"),
        ("Parked", "Unparked"),
        ("Parked", "Expired"),
        ("Unparked", "Idle"),
        ("Unparked", "Open"),
        ("Expired", "Idle"),
    ]
}

/// What ending a park asks of who ended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Ended {
    /// Make the goroutine runnable.
    MakeRunnable,
    /// The goroutine has not parked yet and will not.
    BeforeParking,
    /// The park was over already.
    Stale,
}

/// The transition of a waker or of the timer, which leave `Unparked` or `Expired` behind.
fn end(word: Word, ticket: u64, to: State) -> Option<(Word, Ended)> {
    if word.ticket != ticket {
        return None;
    }
    let next = Word { ticket, state: to };
    match word.state {
        State::Open => Some((next, Ended::BeforeParking)),
        State::Parked => Some((next, Ended::MakeRunnable)),
        State::Idle | State::Unparked | State::Expired => None,
    }
}

/// See the module documentation.
#[derive(Debug)]
pub struct Ticket<P: Primitives> {
    word: P::AtomicU64,
}

impl<P: Primitives> Ticket<P> {
    /// No park yet.
    pub fn new() -> Ticket<P> {
        Ticket { word: P::AtomicU64::new(Word { ticket: 0, state: State::Idle }.encode()) }
    }

    /// Opens a park. Only the owner calls it, and not while it is parked.
    pub fn open(&self) -> u64 {
        let before = Word::decode(self.word.load(Relaxed));
        assert_ne!(before.state, State::Parked, "a parked goroutine opens a park");
        let ticket = before.ticket + 1;
        // A late waker of the ticket before either exchanged the word already or fails to.
        self.word.store(Word { ticket, state: State::Open }.encode(), Relaxed);
        ticket
    }

    /// Parks, on the worker's stack. False when the park has ended already.
    pub fn commit(&self, ticket: u64) -> bool {
        let open = Word { ticket, state: State::Open }.encode();
        let parked = Word { ticket, state: State::Parked }.encode();
        self.word.compare_exchange(open, parked, Release, Relaxed).is_ok()
    }

    /// A waker ends the park.
    pub fn unpark(&self, ticket: u64) -> Ended {
        self.end(ticket, State::Unparked)
    }

    /// The timer ends the park.
    pub fn expire(&self, ticket: u64) -> Ended {
        self.end(ticket, State::Expired)
    }

    fn end(&self, ticket: u64, to: State) -> Ended {
        let mut word = Word::decode(self.word.load(Relaxed));
        loop {
            let Some((next, ended)) = end(word, ticket, to) else {
                return Ended::Stale;
            };
            match self.word.compare_exchange(word.encode(), next.encode(), AcqRel, Relaxed) {
                Ok(_) => return ended,
                Err(found) => word = Word::decode(found),
            }
        }
    }

    /// The owner, running again, learns how its park ended.
    ///
    /// # Panics
    /// S3: when the park has not ended.
    pub fn finish(&self, ticket: u64) -> Wake {
        let word = Word::decode(self.word.load(Acquire));
        assert_eq!(word.ticket, ticket, "a goroutine finishes a park that is not its last");
        let wake = match word.state {
            State::Unparked => Wake::Unparked,
            State::Expired => Wake::TimedOut,
            other => panic!("S3: a goroutine runs while its park is {other:?}"),
        };
        self.word.store(Word { ticket, state: State::Idle }.encode(), Relaxed);
        wake
    }
}

impl<P: Primitives> Default for Ticket<P> {
    fn default() -> Ticket<P> {
        Ticket::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::Os;

    #[test]
    fn a_park_ends_once_whoever_ends_it_and_whenever() {
        type End = fn(&Ticket<Os>, u64) -> Ended;
        let ends: [(End, Wake); 2] =
            [(Ticket::unpark, Wake::Unparked), (Ticket::expire, Wake::TimedOut)];
        for (end, wake) in ends {
            for parked in [false, true] {
                let word = Ticket::<Os>::new();
                let ticket = word.open();
                assert!(!parked || word.commit(ticket));
                let expected = if parked { Ended::MakeRunnable } else { Ended::BeforeParking };
                assert_eq!(end(&word, ticket), expected);
                assert_eq!(word.unpark(ticket), Ended::Stale);
                assert_eq!(word.expire(ticket), Ended::Stale);
                assert!(!word.commit(ticket), "an ended park cannot be committed");
                assert_eq!(word.finish(ticket), wake);
                assert_eq!(word.unpark(ticket), Ended::Stale);
            }
        }
    }

    #[test]
    fn an_old_ticket_never_ends_a_later_park() {
        let word = Ticket::<Os>::new();
        let old = word.open();
        let new = word.open();
        assert!(word.commit(new));
        assert_eq!(word.unpark(old), Ended::Stale);
        assert_eq!(word.unpark(new), Ended::MakeRunnable);
    }
}
