//! Atomics of loom that loom explores in full.
//!
//! Loom 0.7 explores what follows from a *race*: when a thread is about to access an atomic, and the
//! last access that its own depends on did not happen before, loom will also try the thread first. Of
//! each atomic it remembers one last access. So when a thread loads right before it writes, as every
//! loop around a compare-exchange does, its own load hides an earlier load of another thread, and "the
//! write first" is never tried:
//!
//! ```text
//! x = 0      A: x.store(x.load() + 1)      B: x.load()      loom alone never lets B see 1
//! ```
//!
//! Here every load *announces* itself first, and every write *answers* the announcements of those loads
//! since the last write which another load has hidden. Announcing and answering are accesses of one
//! object, the reader's seat, so that loom sees the race that it would have overlooked. They are no
//! accesses of memory: a seat is a condition variable for which nobody waits, and to notify nobody is
//! for loom an operation that depends on others of the same object and does nothing. In particular it
//! synchronises nothing, so no ordering that is missing is made up for.
//!
//! Why that is enough. Take a load by A and a later write by B that does not depend on it otherwise. If
//! the load is the atomic's last access, loom compares the two itself. If not, and only loads came
//! since, B answers A's announcement; loom finds that race and tries B before the announcement, thus
//! before the load. If a write came since, that write raced with the load or followed it, and B's with
//! that one. A load that comes between an announcement and its answer takes nothing away: it is counted
//! only after it has happened.
//!
//! Fences are one more access that loom does not see: it runs one where its thread stands, and no
//! thread is tried first because of it. [`fence`] announces it, so that the order of any two is explored
//! both ways.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

use loom::sync::Condvar;
use loom::thread::{self, ThreadId};

/// What a thread of the model announces its loads with.
#[derive(Debug)]
struct Seat {
    thread: ThreadId,
    announced: Condvar,
}

/// Who has loaded an atomic since it was last written. Nothing here is an access that loom sees, except
/// the seats.
#[derive(Debug, Default)]
struct Readers {
    /// In the order in which the threads first loaded.
    seats: [OnceLock<Seat>; loom::MAX_THREADS],
    /// The seats whose threads have loaded since the last write, as bits.
    since_write: AtomicU8,
    /// The bit of the seat whose thread has loaded last.
    last: AtomicU8,
}

const _: () = assert!(loom::MAX_THREADS <= 8, "a seat has a bit of a byte");

impl Readers {
    /// The caller is about to load. Returns its seat's bit.
    #[track_caller]
    fn announce(&self) -> u8 {
        let thread = thread::current().id();
        for (index, seat) in self.seats.iter().enumerate() {
            let seat = seat.get_or_init(|| Seat { thread, announced: Condvar::new() });
            if seat.thread == thread {
                seat.announced.notify_one();
                return 1 << index;
            }
        }
        unreachable!("loom has no more threads than there are seats")
    }

    /// The load has happened.
    fn loaded(&self, seat: u8) {
        self.since_write.fetch_or(seat, Ordering::Relaxed);
        self.last.store(seat, Ordering::Relaxed);
    }

    /// The caller has written, or has tried to.
    #[track_caller]
    fn answer(&self) {
        // The writer's own seat cannot be answered wrongly: what it announced happened before.
        let hidden =
            self.since_write.swap(0, Ordering::Relaxed) & !self.last.load(Ordering::Relaxed);
        if hidden == 0 {
            return;
        }
        let this = thread::current().id();
        for (index, seat) in self.seats.iter().enumerate() {
            if let Some(seat) = seat.get().filter(|seat| seat.thread != this)
                && hidden & (1 << index) != 0
            {
                seat.announced.notify_one();
            }
        }
    }
}

thread_local! {
    /// What fences of the execution on this thread of the operating system announce themselves with.
    static FENCES: RefCell<Option<Rc<Condvar>>> = const { RefCell::new(None) };
}

/// Begins an execution.
pub(super) fn begin() {
    FENCES.set(Some(Rc::new(Condvar::new())));
}

/// A fence of loom whose order with other fences is explored.
pub(super) fn fence(order: Ordering) {
    let fences = FENCES.with_borrow(|fences| fences.clone().expect("a model is running"));
    fences.notify_one();
    loom::sync::atomic::fence(order);
}

macro_rules! atomic {
    ($name:ident, $value:ty) => {
        /// See the module documentation.
        pub struct $name {
            cell: loom::sync::atomic::$name,
            readers: Readers,
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.cell.fmt(f)
            }
        }

        impl $name {
            #[track_caller]
            pub fn new(value: $value) -> Self {
                let cell = loom::sync::atomic::$name::new(value);
                $name { cell, readers: Readers::default() }
            }

            #[track_caller]
            pub fn load(&self, order: Ordering) -> $value {
                let seat = self.readers.announce();
                let value = self.cell.load(order);
                self.readers.loaded(seat);
                value
            }

            #[track_caller]
            pub fn store(&self, value: $value, order: Ordering) {
                self.cell.store(value, order);
                self.readers.answer();
            }

            #[track_caller]
            pub fn swap(&self, value: $value, order: Ordering) -> $value {
                let before = self.cell.swap(value, order);
                self.readers.answer();
                before
            }

            #[track_caller]
            pub fn compare_exchange(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                // To loom a refused one is a write, too.
                let result = self.cell.compare_exchange(current, new, success, failure);
                self.readers.answer();
                result
            }

            #[track_caller]
            pub fn fetch_add(&self, value: $value, order: Ordering) -> $value {
                let before = self.cell.fetch_add(value, order);
                self.readers.answer();
                before
            }

            #[track_caller]
            pub fn fetch_sub(&self, value: $value, order: Ordering) -> $value {
                let before = self.cell.fetch_sub(value, order);
                self.readers.answer();
                before
            }
        }
    };
}

atomic!(AtomicU32, u32);
atomic!(AtomicU64, u64);
atomic!(AtomicUsize, usize);

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
    use std::sync::{Arc, Mutex};

    use super::*;

    /// All that an execution of `model` can return.
    fn outcomes<T: Ord + Send + 'static>(
        model: impl Fn() -> T + Send + Sync + 'static,
    ) -> BTreeSet<T> {
        let seen = Arc::new(Mutex::new(BTreeSet::new()));
        let outcomes = Arc::clone(&seen);
        loom::model(move || {
            begin();
            let outcome = model();
            outcomes.lock().unwrap().insert(outcome);
        });
        Arc::try_unwrap(seen).ok().expect("loom is done").into_inner().unwrap()
    }

    /// What loom alone overlooks. When this fails loom has been mended, and this module may go.
    #[test]
    fn loom_alone_overlooks_a_write_behind_a_load() {
        let seen = outcomes(|| {
            let x = Arc::new(loom::sync::atomic::AtomicU32::new(0));
            let there = Arc::clone(&x);
            let a = loom::thread::spawn(move || there.store(there.load(Relaxed) + 1, Relaxed));
            let seen = x.load(Relaxed);
            a.join().unwrap();
            seen
        });
        assert_eq!(seen, BTreeSet::from([0]));
    }

    #[test]
    fn a_write_behind_a_load_is_seen() {
        let seen = outcomes(|| {
            let x = Arc::new(AtomicU32::new(0));
            let there = Arc::clone(&x);
            let a = loom::thread::spawn(move || there.store(there.load(Relaxed) + 1, Relaxed));
            let seen = x.load(Relaxed);
            a.join().unwrap();
            seen
        });
        assert_eq!(seen, BTreeSet::from([0, 1]));
    }

    #[test]
    fn a_compare_exchange_behind_two_other_loads_is_seen_by_each() {
        let seen = outcomes(|| {
            let x = Arc::new(AtomicU32::new(0));
            let (there, elsewhere) = (Arc::clone(&x), Arc::clone(&x));
            let a = loom::thread::spawn(move || {
                let found = there.load(Relaxed);
                there.compare_exchange(found, found + 1, Relaxed, Relaxed).unwrap();
            });
            let b = loom::thread::spawn(move || elsewhere.load(Relaxed));
            let seen = x.load(Relaxed);
            a.join().unwrap();
            (seen, b.join().unwrap())
        });
        assert_eq!(seen, BTreeSet::from([(0, 0), (0, 1), (1, 0), (1, 1)]));
    }

    #[test]
    fn announcing_a_load_synchronises_nothing() {
        let seen = outcomes(|| {
            let (x, y) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
            let (x2, y2) = (Arc::clone(&x), Arc::clone(&y));
            let a = loom::thread::spawn(move || {
                y2.load(Relaxed);
                x2.store(1, Relaxed);
                y2.store(1, Relaxed);
            });
            let y = y.load(Relaxed);
            loom::sync::atomic::fence(Acquire);
            let seen = (y, x.load(Relaxed));
            a.join().unwrap();
            seen
        });
        assert!(seen.contains(&(1, 0)), "{seen:?}");
    }

    #[test]
    fn a_release_and_an_acquire_still_order_what_they_should() {
        let seen = outcomes(|| {
            let (x, y) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
            let (x2, y2) = (Arc::clone(&x), Arc::clone(&y));
            let a = loom::thread::spawn(move || {
                x2.store(1, Relaxed);
                y2.store(1, Release);
            });
            let seen = (y.load(Acquire), x.load(Relaxed));
            a.join().unwrap();
            seen
        });
        assert_eq!(seen, BTreeSet::from([(0, 0), (0, 1), (1, 1)]));
    }

    #[test]
    fn one_of_two_stores_is_seen_behind_fences() {
        let seen = outcomes(|| {
            let (x, y) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
            let (x2, y2) = (Arc::clone(&x), Arc::clone(&y));
            let a = loom::thread::spawn(move || {
                x2.store(1, Relaxed);
                fence(SeqCst);
                y2.load(Relaxed)
            });
            y.store(1, Relaxed);
            fence(SeqCst);
            let seen = x.load(Relaxed);
            (seen, a.join().unwrap())
        });
        assert_eq!(seen, BTreeSet::from([(0, 1), (1, 0), (1, 1)]));
    }
}
