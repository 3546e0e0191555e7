//! The descriptor's mutex: lifetime and serialisation in one 64-bit word.
//!
//! | bits | field |
//! |---|---|
//! | 0 | closed |
//! | 1 | a reader (or accepter) is at work |
//! | 2 | a writer (or connecter) is at work |
//! | 3..23 | references |
//! | 23..43 | goroutines that wait for the read lock |
//! | 43..63 | goroutines that wait for the write lock |
//!
//! Every operation is one CAS. A waiter sleeps on a semaphore, one per direction; whoever wakes it has
//! subtracted it from the word before, and it competes again from the start: a newcomer may barge in.
//! Each subtraction is matched by exactly one release (S28). A field that would overflow panics with a
//! number that a person can act on, and never carries into its neighbour (golang/go#25558).
//!
//! # Ordering
//!
//! M1: unlocking is a release and locking an acquire, so who holds a direction sees what its
//! predecessor did. M2: dropping a reference is acquire and release, so whoever drops the last one
//! sees all uses of the others before it destroys the file (S16). Both hold over any number of
//! operations of others in between, because every one of them exchanges the word. Who is refused, and
//! who only asks whether the descriptor is closed, learns nothing but that.

use std::sync::atomic::Ordering::{AcqRel, Relaxed};

use super::sema::Sema;
use crate::platform::{Atomic, Primitives};
use crate::trace::{Mode, WaitReason};

const CLOSED: u64 = 1;
const FIELD_BITS: u32 = 20;
const FIELD: u64 = (1 << FIELD_BITS) - 1;
const REFS_SHIFT: u32 = 3;
const REF: u64 = 1 << REFS_SHIFT;
const READ: Direction = Direction { lock: 1 << 1, wait_shift: REFS_SHIFT + FIELD_BITS };
const WRITE: Direction = Direction { lock: 1 << 2, wait_shift: REFS_SHIFT + 2 * FIELD_BITS };

const _: () = assert!(WRITE.wait_shift + FIELD_BITS < 64, "the fields fit into the word");
const _: () = assert!(
    (CLOSED | READ.lock | WRITE.lock) & (FIELD << REFS_SHIFT) == 0,
    "the flags do not overlap the reference count"
);

/// The bits of one direction.
#[derive(Clone, Copy)]
struct Direction {
    lock: u64,
    wait_shift: u32,
}

impl Direction {
    const fn of(mode: Mode) -> Direction {
        match mode {
            Mode::Read => READ,
            Mode::Write => WRITE,
        }
    }
}

/// One value of the word. All transitions are here, as pure functions.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Word(u64);

/// What `lock` has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Locking {
    Locked,
    Wait,
}

impl Word {
    fn is_closed(self) -> bool {
        self.0 & CLOSED != 0
    }

    fn refs(self) -> u64 {
        self.0 >> REFS_SHIFT & FIELD
    }

    fn waiters(self, direction: Direction) -> u64 {
        self.0 >> direction.wait_shift & FIELD
    }

    /// Closed, and nobody uses it any more.
    fn is_dead(self) -> bool {
        self.is_closed() && self.refs() == 0
    }

    fn with_ref(self) -> Word {
        assert!(
            self.refs() < FIELD,
            "S26: too many concurrent operations on one descriptor (the limit is {FIELD})"
        );
        Word(self.0 + REF)
    }

    fn without_ref(self) -> Word {
        assert!(self.refs() > 0, "S26: a reference to a descriptor is dropped twice: {self:?}");
        Word(self.0 - REF)
    }

    fn incref(self) -> Option<Word> {
        (!self.is_closed()).then(|| self.with_ref())
    }

    /// Sets closed, takes a reference and erases the waiters.
    fn close(self) -> Option<Word> {
        let waiters = FIELD << READ.wait_shift | FIELD << WRITE.wait_shift;
        (!self.is_closed()).then(|| Word((self.with_ref().0 | CLOSED) & !waiters))
    }

    fn lock(self, direction: Direction) -> Option<(Word, Locking)> {
        if self.is_closed() {
            return None;
        }
        if self.0 & direction.lock == 0 {
            return Some((Word(self.with_ref().0 | direction.lock), Locking::Locked));
        }
        assert!(
            self.waiters(direction) < FIELD,
            "S26: too many operations wait for one descriptor (the limit is {FIELD})"
        );
        Some((Word(self.0 + (1 << direction.wait_shift)), Locking::Wait))
    }

    /// The word after, and whether a waiter was subtracted.
    fn unlock(self, direction: Direction) -> (Word, bool) {
        assert!(self.0 & direction.lock != 0, "S26: an unlocked descriptor is unlocked: {self:?}");
        let word = Word(self.without_ref().0 & !direction.lock);
        if word.waiters(direction) == 0 {
            return (word, false);
        }
        (Word(word.0 - (1 << direction.wait_shift)), true)
    }
}

/// What a word says, without its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Open, and nobody uses it.
    Free,
    /// Open and in use.
    Used,
    /// Open, and somebody waits for the lock of a direction.
    Contended,
    /// Closed, and not yet given up by all users.
    Closing,
    /// Closed, and without users: the file is destroyed.
    Dead,
}

impl Phase {
    /// The phase of a word.
    #[must_use]
    pub fn of(word: u64) -> Phase {
        let word = Word(word);
        let waited_for = word.waiters(READ) + word.waiters(WRITE) > 0;
        match (word.is_closed(), word.refs() > 0) {
            (true, false) => Phase::Dead,
            (true, true) => Phase::Closing,
            (false, _) if waited_for => Phase::Contended,
            (false, true) => Phase::Used,
            (false, false) => Phase::Free,
        }
    }

    /// Its name, for tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Phase::Free => "Free",
            Phase::Used => "Used",
            Phase::Contended => "Contended",
            Phase::Closing => "Closing",
            Phase::Dead => "Dead",
        }
    }

    /// Every transition of the word, as its functions make them: what a checker of this machine has to
    /// exercise. Found by walking all words with at most three references and two waiters a direction.
    #[must_use]
    pub fn transitions() -> Vec<(Phase, Phase)> {
        let small =
            |word: &Word| word.refs() <= 3 && word.waiters(READ) <= 2 && word.waiters(WRITE) <= 2;
        let (mut seen, mut todo, mut all) = (vec![Word(0)], vec![Word(0)], Vec::new());
        while let Some(word) = todo.pop() {
            for next in word.successors().into_iter().filter(small) {
                all.push((Phase::of(word.0), Phase::of(next.0)));
                if !seen.contains(&next) {
                    seen.push(next);
                    todo.push(next);
                }
            }
        }
        all
    }
}

impl Word {
    /// Every word that can follow this one.
    fn successors(self) -> Vec<Word> {
        let mut next: Vec<Word> = self.incref().into_iter().chain(self.close()).collect();
        let held = [READ, WRITE].map(|direction| u64::from(self.0 & direction.lock != 0));
        if self.refs() > held[0] + held[1] {
            next.push(self.without_ref());
        }
        for direction in [READ, WRITE] {
            next.extend(self.lock(direction).map(|(word, _)| word));
            if self.0 & direction.lock != 0 {
                next.push(self.unlock(direction).0);
            }
        }
        next
    }
}

impl std::fmt::Debug for Word {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let flag = |bit, name| if self.0 & bit != 0 { name } else { "" };
        write!(
            f,
            "{}{}{}{} refs, {} read waiters, {} write waiters",
            flag(CLOSED, "closed, "),
            flag(READ.lock, "read-locked, "),
            flag(WRITE.lock, "write-locked, "),
            self.refs(),
            self.waiters(READ),
            self.waiters(WRITE)
        )
    }
}

/// The descriptor is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

/// See the module documentation.
#[derive(Debug)]
pub struct FdMutex<P: Primitives> {
    word: P::AtomicU64,
    readers: Sema<P>,
    writers: Sema<P>,
}

impl<P: Primitives> FdMutex<P> {
    /// Open, unlocked, unreferenced.
    pub fn new() -> FdMutex<P> {
        FdMutex { word: P::AtomicU64::new(0), readers: Sema::new(0), writers: Sema::new(0) }
    }

    /// The only CAS loop: returns the word before and what the step said.
    fn update<A>(&self, step: impl Fn(Word) -> Option<(Word, A)>) -> Result<(Word, A), Closed> {
        let mut word = self.word.load(Relaxed);
        loop {
            let (next, action) = step(Word(word)).ok_or(Closed)?;
            match self.word.compare_exchange(word, next.0, AcqRel, Relaxed) {
                Ok(_) => return Ok((Word(word), action)),
                Err(found) => word = found,
            }
        }
    }

    fn sema(&self, mode: Mode) -> &Sema<P> {
        match mode {
            Mode::Read => &self.readers,
            Mode::Write => &self.writers,
        }
    }

    /// Takes a reference.
    ///
    /// # Errors
    /// When the descriptor is closed (S27).
    pub fn incref(&self) -> Result<(), Closed> {
        self.update(|word| Some((word.incref()?, ()))).map(|_| ())
    }

    /// Drops a reference. True when it was the last of a closed descriptor: the caller destroys it.
    pub fn decref(&self) -> bool {
        self.update(|word| {
            let next = word.without_ref();
            Some((next, next.is_dead()))
        })
        .is_ok_and(|(_, dead)| dead)
    }

    /// Closes the descriptor and takes a reference; every waiter for a lock is sent away.
    ///
    /// # Errors
    /// When it is closed already.
    pub fn incref_and_close(&self) -> Result<(), Closed> {
        let (before, ()) = self.update(|word| Some((word.close()?, ())))?;
        for mode in [Mode::Read, Mode::Write] {
            for _ in 0..before.waiters(Direction::of(mode)) {
                self.sema(mode).release();
            }
        }
        Ok(())
    }

    /// Takes the lock of one direction, and a reference. Waits for the holder.
    ///
    /// # Errors
    /// When the descriptor is closed or gets closed while this waits.
    #[inline]
    pub fn lock(&self, mode: Mode, why: WaitReason) -> Result<(), Closed> {
        loop {
            match self.update(|word| word.lock(Direction::of(mode)))? {
                (_, Locking::Locked) => return Ok(()),
                (_, Locking::Wait) => self.sema(mode).acquire(why),
            }
        }
    }

    /// Gives the lock and its reference back. True when the reference was the last of a closed
    /// descriptor: the caller destroys it.
    #[inline]
    pub fn unlock(&self, mode: Mode) -> bool {
        let step = |word: Word| {
            let (next, woken) = word.unlock(Direction::of(mode));
            Some((next, (next.is_dead(), woken)))
        };
        let Ok((_, (dead, woken))) = self.update(step) else {
            unreachable!("unlocking has a result in every state or panics");
        };
        if woken {
            self.sema(mode).release();
        }
        dead
    }

    /// Permits that nobody waited for: none at rest, or a waiter was subtracted once and released twice
    /// (S28).
    pub fn spare_permits(&self) -> u64 {
        self.readers.permits() + self.writers.permits()
    }

    /// Whether the descriptor is closed.
    pub fn is_closed(&self) -> bool {
        Word(self.word.load(Relaxed)).is_closed()
    }
}

impl<P: Primitives> Default for FdMutex<P> {
    fn default() -> FdMutex<P> {
        FdMutex::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::Os;

    const WHY: WaitReason = WaitReason::FdLock(3, Mode::Read);

    #[test]
    fn the_last_reference_of_a_closed_descriptor_is_told_so_exactly_once() {
        let mutex = FdMutex::<Os>::new();
        assert_eq!(mutex.incref(), Ok(()));
        assert_eq!(mutex.lock(Mode::Write, WHY), Ok(()));
        assert!(!mutex.decref());
        assert_eq!(mutex.incref_and_close(), Ok(()));
        assert!(!mutex.decref());
        assert!(mutex.unlock(Mode::Write));
    }

    #[test]
    fn a_closed_descriptor_refuses_everything() {
        let mutex = FdMutex::<Os>::new();
        assert_eq!(mutex.incref_and_close(), Ok(()));
        assert_eq!(mutex.incref(), Err(Closed));
        assert_eq!(mutex.lock(Mode::Read, WHY), Err(Closed));
        assert_eq!(mutex.incref_and_close(), Err(Closed));
        assert!(mutex.decref());
    }

    #[test]
    fn a_full_field_panics_and_never_carries_into_its_neighbour() {
        let full_refs = Word(FIELD << REFS_SHIFT);
        let full_waiters = Word(READ.lock | FIELD << READ.wait_shift);
        for step in [
            Box::new(move || full_refs.with_ref())
                as Box<dyn Fn() -> Word + std::panic::UnwindSafe>,
            Box::new(move || full_waiters.lock(READ).expect("open").0),
        ] {
            let panic = std::panic::catch_unwind(step).expect_err("overflow panics");
            let text = panic.downcast_ref::<String>().expect("a formatted message");
            assert!(text.starts_with("S26: too many"), "{text}");
        }
    }

    #[test]
    fn unlocking_subtracts_one_waiter_of_its_own_direction() {
        let word = Word(
            READ.lock | WRITE.lock | (2 * REF) | (3 << READ.wait_shift) | (5 << WRITE.wait_shift),
        );
        let (after, woken) = word.unlock(READ);
        assert!(woken);
        assert_eq!((after.waiters(READ), after.waiters(WRITE), after.refs()), (2, 5, 1));
        assert_eq!(after.0 & READ.lock, 0);
        assert_ne!(after.0 & WRITE.lock, 0);
    }

    #[test]
    fn closing_releases_every_waiter_once_and_they_all_fail() {
        // Four threads wait for a lock that is never given back; the close must send each away.
        let mutex = FdMutex::<Os>::new();
        assert_eq!(mutex.lock(Mode::Read, WHY), Ok(()));
        std::thread::scope(|scope| {
            let waiters: Vec<_> =
                (0..4).map(|_| scope.spawn(|| mutex.lock(Mode::Read, WHY))).collect();
            while Word(mutex.word.load(Relaxed)).waiters(READ) < 4 {
                std::thread::yield_now();
            }
            assert_eq!(mutex.incref_and_close(), Ok(()));
            for waiter in waiters {
                assert_eq!(waiter.join().expect("no panic"), Err(Closed));
            }
        });
        assert!(!mutex.decref());
        assert!(mutex.unlock(Mode::Read));
    }
}
