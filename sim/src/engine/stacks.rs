//! A pool of stacks for virtual threads, one for each thread of the operating system.
//!
//! A run takes a handful of stacks and gives all of them back, so exploring thousands of seeds maps
//! and unmaps nothing.

use std::cell::RefCell;

use corosensei::stack::DefaultStack;
use netpoll::goroutine::{OverflowGuard, install_for_thread};

/// The size of a virtual thread's stack. Workers run goroutines on stacks of their own; this is for
/// the scheduler, the simulated kernel and the bodies of tests.
const STACK_BYTES: usize = 256 * 1024;

/// More than this many unused stacks are not kept.
const POOLED_MAX: usize = 64;

thread_local! {
    static POOL: RefCell<Vec<DefaultStack>> = const { RefCell::new(Vec::new()) };
    /// Without the report an overflow dies all the same, only without a name.
    static REPORTS: Option<OverflowGuard> = install_for_thread().ok();
}

/// Lets this thread of the operating system report overflows of goroutine stacks from here on.
///
/// Each worker sees to that itself, by an alternate signal stack for its thread. In a run all workers have one and
/// the same thread: the first would map a stack and the last would have lost it when the first one ends. They find
/// this one, which is large enough.
pub(crate) fn report_overflows() {
    REPORTS.with(|_| ());
}

/// A stack that nobody uses.
pub(super) fn take() -> DefaultStack {
    let pooled = POOL.with_borrow_mut(Vec::pop);
    pooled.unwrap_or_else(|| DefaultStack::new(STACK_BYTES).expect("address space for a stack"))
}

/// Gives a stack back.
pub(super) fn give(stack: DefaultStack) {
    POOL.with_borrow_mut(|pool| {
        if pool.len() < POOLED_MAX {
            pool.push(stack);
        }
    });
}
