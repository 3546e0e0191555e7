//! A place for one fiber that threads share, and that is sound whatever they do with it.
//!
//! The scheduler moves goroutines between queues by their index, and whoever takes an index off a
//! queue resumes the fiber behind it. Were the scheduler ever wrong about who that is, this cell
//! turns the mistake into a panic with a text instead of two threads on one stack.
//!
//! # The word
//!
//! | state | meaning | who may leave it, to where |
//! |---|---|---|
//! | `EMPTY` | no fiber | anybody, by `put`, to `HELD` |
//! | `LOOSE` | a fiber that is not started, or done (F1) | anybody, by `resume` or `take`, to `HELD` |
//! | `PINNED` of t | a suspended fiber | thread t, by `resume` or `take`, to `HELD` |
//! | `HELD` of t | thread t is inside `resume`, `put` or `take` | thread t, to any of the others |
//!
//! * C1: The fiber is accessed only by the thread that has brought the word to `HELD`, until it
//!   brings it elsewhere.
//!
//! # Orderings
//!
//! `EMPTY` and `LOOSE` are left by compare-exchange with acquire and entered by a store with
//! release: the fiber passes from one thread to another along that edge. `PINNED` of t is left by
//! nobody but t itself, so t may leave it by a plain load and store: that is the path of every resume
//! but the first, and costs no locked instruction. The load acquires, because another thread may have
//! *put* a fiber there that t has started. A thread that meets another's `PINNED` or `HELD` reads
//! nothing but the word, and panics.
//!
//! Tested in `fiber_test.rs`.

use std::cell::UnsafeCell;
use std::fmt;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU64, AtomicUsize};

use super::arena;
use super::fiber::{Fiber, Resumed, thread_number};
use super::stack::Extent;

const EMPTY: u64 = 0;
const LOOSE: u64 = 1;
const PINNED: u64 = 2;
const HELD: u64 = 3;
/// The state is in the low bits, the number of the thread above them.
const STATE_BITS: u32 = 2;

const fn of(state: u64, thread: u64) -> u64 {
    thread << STATE_BITS | state
}

fn text(word: u64) -> String {
    let thread = word >> STATE_BITS;
    match word & ((1 << STATE_BITS) - 1) {
        EMPTY => "empty".to_owned(),
        LOOSE => "a fiber that is not running".to_owned(),
        PINNED => format!("a fiber that thread #{thread} has started"),
        _ => format!("in use by thread #{thread}"),
    }
}

/// A place for one fiber.
pub struct FiberCell {
    word: AtomicU64,
    /// The top of the fiber's stack; 0 without one. A hint for those who ask how much was used, and
    /// ordered with nothing.
    top: AtomicUsize,
    /// C1.
    fiber: UnsafeCell<Option<Fiber>>,
}

// SAFETY: the fiber, which is `Send`, is accessed by one thread at a time (C1).
unsafe impl Sync for FiberCell {}

impl FiberCell {
    /// A cell without a fiber.
    #[must_use]
    pub const fn new() -> FiberCell {
        FiberCell {
            word: AtomicU64::new(EMPTY),
            top: AtomicUsize::new(0),
            fiber: UnsafeCell::new(None),
        }
    }

    /// Puts a fiber in.
    ///
    /// # Panics
    /// When there is one already.
    pub fn put(&self, fiber: Fiber) {
        let pinned = fiber.is_started() && !fiber.is_done();
        let thread = thread_number();
        if let Err(found) = self.hold(EMPTY, thread) {
            panic!("C1: thread #{thread} puts a fiber into a cell that holds {}", text(found));
        }
        self.top.store(fiber.extent().top, Relaxed);
        let owner = fiber.owner();
        // SAFETY: the word is `HELD` by this thread (C1).
        unsafe { *self.fiber.get() = Some(fiber) };
        self.word.store(if pinned { of(PINNED, owner) } else { LOOSE }, Release);
    }

    /// Runs the fiber until it suspends or ends. A fiber that is done stays until it is taken.
    ///
    /// # Panics
    /// When there is none, it is done or running, or another thread has started it.
    #[inline]
    pub fn resume(&self) -> Resumed {
        let thread = thread_number();
        if self.word.load(Acquire) == of(PINNED, thread) {
            self.word.store(of(HELD, thread), Relaxed);
        } else if let Err(found) = self.hold(LOOSE, thread) {
            refuse_resume(thread, found);
        }
        // SAFETY: the word is `HELD` by this thread (C1).
        let fiber = unsafe { &mut *self.fiber.get() };
        let Some(fiber) = fiber.as_mut().filter(|fiber| !fiber.is_done()) else {
            self.word.store(LOOSE, Release);
            panic!("a fiber that is done was resumed by thread #{thread}");
        };
        let resumed = fiber.resume_on(thread);
        match resumed {
            Resumed::Suspended(_) => self.word.store(of(PINNED, thread), Relaxed),
            Resumed::Done => self.word.store(LOOSE, Release),
        }
        resumed
    }

    /// Takes the fiber out, if there is one.
    ///
    /// # Panics
    /// When it is running, or is suspended and another thread has started it.
    pub fn take(&self) -> Option<Fiber> {
        let thread = thread_number();
        if self.word.load(Acquire) == of(PINNED, thread) {
            self.word.store(of(HELD, thread), Relaxed);
        } else {
            match self.hold(LOOSE, thread) {
                Ok(()) => {}
                Err(EMPTY) => return None,
                Err(found) => {
                    panic!(
                        "C1: thread #{thread} takes a fiber from a cell that holds {}",
                        text(found)
                    )
                }
            }
        }
        // SAFETY: the word is `HELD` by this thread (C1).
        let fiber = unsafe { (*self.fiber.get()).take() };
        self.top.store(0, Relaxed);
        self.word.store(EMPTY, Release);
        fiber
    }

    /// Whether there is no fiber, at this moment.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.word.load(Relaxed) == EMPTY
    }

    /// Where the fiber's stack is. Any thread may ask at any time; the answer may be a moment old.
    #[must_use]
    pub fn extent(&self) -> Option<Extent> {
        let top = self.top.load(Relaxed);
        let slot = arena::slot_of(top.checked_sub(1)?)?;
        Some(Extent { top: slot.top, usable: slot.usable() })
    }

    /// From `state`, which belongs to no thread, to `HELD`.
    fn hold(&self, state: u64, thread: u64) -> Result<(), u64> {
        let held = of(HELD, thread);
        self.word.compare_exchange(state, held, Acquire, Relaxed).map(drop)
    }
}

#[cold]
fn refuse_resume(thread: u64, found: u64) -> ! {
    panic!("C1: thread #{thread} resumes a fiber in a cell that holds {}", text(found));
}

impl Default for FiberCell {
    fn default() -> FiberCell {
        FiberCell::new()
    }
}

impl fmt::Debug for FiberCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FiberCell({})", text(self.word.load(Relaxed)))
    }
}
