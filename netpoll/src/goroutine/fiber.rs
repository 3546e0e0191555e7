//! A fiber: a stack together with what runs on it.
//!
//! The runtime's goroutines are fibers; what is scheduled, parked and woken about them is not known
//! here. Built on `corosensei`, whose unsafe edges it rounds off:
//!
//! * F1: A fiber that has not started consists of values that are `Send`, and so has a fiber that
//!   is done. Either may go to any thread.
//! * F2: A fiber that has started lives and ends on the thread that resumed it first. What is on
//!   its stack need not be `Send`. It is checked at each resume; a mistake is a panic.
//! * F3: A suspended fiber is never unwound. Dropping it leaks its stack and all that lives there:
//!   an unwinding that no panic caused would poison every lock on the stack, and abort the process
//!   under `panic=abort`. The runtime lets goroutines return instead.
//! * F4: No panic leaves the body: whoever makes a fiber catches inside. If one does, the process
//!   ends with a message, because there is nobody whom it could be handed to.
//!
//! `corosensei`'s `unwind` feature stays as it is by default, though F3 and F4 mean that it is
//! never used: the packages of one build share one set of features, and checkers in this workspace
//! need it. Panics and backtraces inside a fiber do not depend on it.
//!
//! Tested in `fiber_test.rs`.

use std::cell::Cell;
use std::fmt;
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use corosensei::{Coroutine, CoroutineResult};

use super::header::{Facts, Header};
use super::stack::{Extent, Stack};
use super::{Commit, Current};

/// How a [`Fiber::resume`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Resumed {
    /// The fiber switched away, and wants this done now that it cannot run.
    Suspended(Commit),
    /// Its body has returned.
    Done,
}

/// A stack and what runs on it.
pub struct Fiber {
    /// Dropped by hand: not at all while it is suspended (F3).
    coroutine: ManuallyDrop<Coroutine<(), Commit, (), Stack>>,
    /// The thread that resumed it first; 0 before.
    owner: u64,
    extent: Extent,
}

// SAFETY: F1 says what may be in a fiber when it reaches another thread unstarted or done. A
// started one can do nothing there but be asked where it is, panic when resumed (F2), or leak (F3).
unsafe impl Send for Fiber {}

impl Fiber {
    /// A fiber that will run `body` on `stack` when it is first resumed. `id` and `name` are what a
    /// report of a stack overflow calls it. The body must not unwind (F4).
    #[must_use]
    pub fn new(
        stack: Stack,
        current: Current,
        id: u64,
        name: Option<Arc<str>>,
        body: Box<dyn FnOnce() + Send>,
    ) -> Fiber {
        let extent = stack.extent();
        let facts = Facts { current, id, name };
        // SAFETY: we own the stack, and a `Stack` outside of a fiber has nothing that runs on it
        // and a header that is not live (H2: whoever takes it out of a fiber empties the header).
        unsafe { stack.header().enter(facts) };
        let coroutine = Coroutine::with_stack(stack, move |yielder, ()| {
            // SAFETY: this code runs on the stack that the header belongs to (H3).
            let header = unsafe { Header::at_top(extent.top) };
            header.set_yielder(yielder);
            let bomb = AbortOnUnwind;
            body();
            std::mem::forget(bomb);
        });
        Fiber { coroutine: ManuallyDrop::new(coroutine), owner: 0, extent }
    }

    /// Runs it until it suspends or ends.
    ///
    /// # Panics
    /// When it is done, or was started by another thread (F2).
    pub fn resume(&mut self) -> Resumed {
        let thread = thread_number();
        assert!(
            self.owner == 0 || self.owner == thread,
            "F2: a fiber that thread #{} has started was resumed by thread #{thread}",
            self.owner
        );
        self.resume_on(thread)
    }

    /// As [`resume`](Fiber::resume), by a caller who has checked F2 and passes its thread's number.
    #[inline]
    pub(super) fn resume_on(&mut self, thread: u64) -> Resumed {
        debug_assert!(self.owner == 0 || self.owner == thread, "F2");
        self.owner = thread;
        match self.coroutine.resume(()) {
            CoroutineResult::Yield(commit) => Resumed::Suspended(commit),
            CoroutineResult::Return(()) => Resumed::Done,
        }
    }

    /// The number of the thread that started it; 0 before.
    pub(super) fn owner(&self) -> u64 {
        self.owner
    }

    /// Whether it has been resumed at least once.
    #[must_use]
    pub fn is_started(&self) -> bool {
        self.coroutine.started()
    }

    /// Whether its body has returned.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.coroutine.done()
    }

    /// Where its stack is.
    #[must_use]
    pub fn extent(&self) -> Extent {
        self.extent
    }

    /// The stack of a fiber that is done, for the next one.
    ///
    /// # Panics
    /// When it is not done.
    #[must_use]
    pub fn into_stack(self) -> Stack {
        assert!(self.is_done(), "only a fiber that is done can give its stack away");
        let mut fiber = ManuallyDrop::new(self);
        // SAFETY: the fiber is forgotten, so nobody uses this field again.
        let coroutine = unsafe { ManuallyDrop::take(&mut fiber.coroutine) };
        let stack = coroutine.into_stack();
        // SAFETY: we own the stack, and what ran on it has ended (H2).
        drop(unsafe { stack.header().leave() });
        stack
    }
}

impl Drop for Fiber {
    fn drop(&mut self) {
        let started = self.is_started();
        let done = self.is_done();
        if started && !done {
            return; // F3
        }
        // SAFETY: the slot is still ours, and nothing runs on it: not yet, or not any more (H2).
        let header = unsafe { Header::at_top(self.extent.top) };
        // The facts outlive the stack: what they refer to may end with them, and run code that
        // wants stacks.
        // SAFETY: as above.
        let facts = unsafe { header.leave() };
        // SAFETY: this is the only place that drops it, and nobody uses it afterwards. It has not
        // started, so this drops the body, or it is done; in neither case is anything unwound.
        unsafe { ManuallyDrop::drop(&mut self.coroutine) };
        drop(facts);
    }
}

impl fmt::Debug for Fiber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fiber")
            .field("started", &self.is_started())
            .field("done", &self.is_done())
            .field("extent", &self.extent)
            .finish_non_exhaustive()
    }
}

/// Ends the process when it is dropped, which only a panic that leaves a fiber's body does (F4).
struct AbortOnUnwind;

impl Drop for AbortOnUnwind {
    fn drop(&mut self) {
        eprintln!(
            "netpoll: F4: a panic left the body of a goroutine; this is a bug of the runtime"
        );
        std::process::abort();
    }
}

/// A number that no other thread of this process has or will have. The address of a thread-local
/// would do as well while threads live, but it is used again after they die.
///
/// Threads of the operating system count, not those of a simulator: `Send` is about the former. The
/// number is compared in checks and decides nothing else, so checkers need not see it.
#[inline]
pub(super) fn thread_number() -> u64 {
    thread_local! {
        static NUMBER: Cell<u64> = const { Cell::new(0) };
    }
    NUMBER.with(|number| match number.get() {
        0 => {
            let new = next_thread_number();
            number.set(new);
            new
        }
        known => known,
    })
}

#[cold]
fn next_thread_number() -> u64 {
    /// Only uniqueness matters, so no access to it orders anything.
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

#[cfg(test)]
#[path = "fiber_test.rs"]
mod tests;
