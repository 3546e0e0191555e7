//! The last events of one thread.
//!
//! The thread that owns a [`Ring`] pushes and never waits; anybody may take a [`snapshot`](Ring::snapshot)
//! meanwhile. When the ring is full the oldest record gives way, and a record that gives way while a reader
//! copies it is left out of that snapshot.
//!
//! Each place has a version, in the manner of Lamport's sequence locks (Concurrent Reading and Writing,
//! 1977): odd while it is written, and else twice the number of the record that stands there, plus 2. The words
//! are atomics too, so a torn copy is not a data race, only useless, and the version says so.
//!
//! # Ordering
//!
//! * R1: the count goes up, with release, when a record is complete, and a reader acquires it first. So of every
//!   record below the count it sees the words and the even version, or later ones.
//! * R2: that there are no later ones. The owner makes the version odd before it stores a word, with release;
//!   the reader loads words with acquire. A reader that got a word of a later record sees, when it loads the version
//!   after that, this record's odd version or a later one, and drops the copy.
//!
//! The version itself hands nothing over, so its accesses are relaxed, and one load of it, after the words, is
//! enough.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::words::{Packed, WORDS};
use crate::platform::{Atomic, Primitives};

/// Words of a record: its time, its tag and length, and the event's words.
const PLACE: usize = 2 + WORDS;

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamped {
    /// When, in nanoseconds of the runtime's clock.
    pub t_ns: u64,
    /// What.
    pub event: Packed,
}

/// A place for one record: a cache line.
#[derive(Debug)]
#[repr(align(64))]
struct Place<P: Primitives> {
    version: P::AtomicU64,
    words: [P::AtomicU64; PLACE],
}

/// See the module documentation.
#[derive(Debug)]
pub struct Ring<P: Primitives> {
    places: Box<[Place<P>]>,
    /// How many records have been pushed.
    count: P::AtomicU64,
}

/// What a ring held at some moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The records, oldest first.
    pub records: Vec<Stamped>,
    /// How many before them are lost.
    pub lost: u64,
}

impl<P: Primitives> Ring<P> {
    /// An empty ring for this many records.
    ///
    /// # Panics
    /// If it is for none.
    #[must_use]
    pub fn new(records: usize) -> Ring<P> {
        assert!(records > 0, "a ring for no records");
        let places = (0..records).map(|_| Place {
            version: P::AtomicU64::new(0),
            words: [(); PLACE].map(|()| P::AtomicU64::new(0)),
        });
        Ring { places: places.collect(), count: P::AtomicU64::new(0) }
    }

    /// Adds a record. Only the owner may.
    #[inline]
    pub fn push(&self, t_ns: u64, event: Packed) {
        // The owner's own word: nobody else writes it.
        let number = self.count.load(Relaxed);
        let place = &self.places[(number % self.places.len() as u64) as usize];
        place.version.store(2 * number + 1, Relaxed);
        let head = [t_ns, u64::from(event.tag) | u64::from(event.len) << 8];
        let used = usize::from(event.len).min(WORDS);
        let words = head.into_iter().chain(event.words.into_iter().take(used));
        for (word, value) in place.words.iter().zip(words) {
            // R2.
            word.store(value, Release);
        }
        place.version.store(2 * number + 2, Relaxed);
        // R1.
        self.count.store(number + 1, Release);
    }

    /// What is in the ring now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        // R1.
        let count = self.count.load(Acquire);
        let first = count.saturating_sub(self.places.len() as u64);
        let mut snapshot = Snapshot { records: Vec::new(), lost: first };
        for number in first..count {
            match self.copy(number) {
                Some(record) => snapshot.records.push(record),
                // The owner is at this place again: all before it are gone as well.
                None => {
                    snapshot.lost = number + 1;
                    snapshot.records.clear();
                }
            }
        }
        snapshot
    }

    /// The record with this number, unless it has given way.
    fn copy(&self, number: u64) -> Option<Stamped> {
        let place = &self.places[(number % self.places.len() as u64) as usize];
        // R2.
        let words = place.words.each_ref().map(|word| word.load(Acquire));
        if place.version.load(Relaxed) != 2 * number + 2 {
            return None;
        }
        let [t_ns, head, rest @ ..] = words;
        let (tag, len) = (head as u8, (head >> 8) as u8);
        let mut event = Packed { tag, len, words: rest };
        // Behind the event's words stand those of an earlier, longer one.
        event.words[usize::from(len)..].fill(0);
        Some(Stamped { t_ns, event })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::Os;
    use crate::trace::Event;
    use crate::trace::words::KnownNames;

    fn event(g: u64) -> Packed {
        Event::Run { g }.pack(&KnownNames)
    }

    fn numbers(snapshot: &Snapshot) -> Vec<u64> {
        snapshot.records.iter().map(|record| record.event.words[0]).collect()
    }

    #[test]
    fn the_last_records_are_kept_in_order_and_the_others_counted() {
        let ring = Ring::<Os>::new(3);
        assert_eq!(ring.snapshot(), Snapshot::default());
        for n in 0..5 {
            ring.push(10 * n, event(n));
        }
        let snapshot = ring.snapshot();
        assert_eq!(numbers(&snapshot), [2, 3, 4]);
        assert_eq!(snapshot.lost, 2);
        assert_eq!(snapshot.records[0], Stamped { t_ns: 20, event: event(2) });
    }

    #[test]
    fn nothing_of_a_longer_record_shows_behind_a_shorter_one() {
        let ring = Ring::<Os>::new(1);
        let deadline = Event::Deadline { pd: 1, fd: 2, mode: super::super::Mode::Read, at_ns: 4 };
        ring.push(1, deadline.pack(&KnownNames));
        ring.push(2, event(9));
        assert_eq!(ring.snapshot().records, [Stamped { t_ns: 2, event: event(9) }]);
    }

    #[test]
    fn a_reader_gets_whole_records_while_the_owner_pushes() {
        let ring = Ring::<Os>::new(8);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for n in 0..200_000 {
                    ring.push(n, event(n));
                }
            });
            loop {
                let snapshot = ring.snapshot();
                let first = snapshot.lost;
                for (n, record) in (first..).zip(&snapshot.records) {
                    assert_eq!((record.t_ns, record.event), (n, event(n)));
                }
                if snapshot.records.last().is_some_and(|record| record.t_ns == 199_999) {
                    break;
                }
            }
        });
    }
}
