//! Waiting until a number of things are done.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::queue::WaitQueue;
use crate::ops::Wake;
use crate::platform::{Lock as _, Os, Primitives};
use crate::time;
use crate::trace::WaitReason;
use crate::waiter::{Parking, Waiter, checkpoint, unpark_all};

/// The number of things that are not done, and who waits for it to be zero.
///
/// Invariant: somebody waits ⇒ the count is not zero.
#[derive(Debug)]
struct State<W> {
    count: usize,
    queue: WaitQueue<W>,
}

/// A counter that can be waited for: what [`WaitGroup`], joins and scopes are made of.
pub struct RawWaitGroup<P: Primitives = Os> {
    state: P::Mutex<State<Waiter<P>>>,
}

impl<P: Primitives> RawWaitGroup<P> {
    /// A group with `count` things to do.
    #[must_use]
    pub fn new(count: usize) -> Self {
        RawWaitGroup { state: P::Mutex::new(State { count, queue: WaitQueue::new() }) }
    }

    /// Adds `n` things to do.
    ///
    /// # Panics
    /// When the number exceeds `usize`.
    pub fn add(&self, n: usize) {
        checkpoint();
        let mut state = self.state.lock();
        let sum = state.count.checked_add(n);
        if let Some(sum) = sum {
            state.count = sum;
        }
        drop(state);
        assert!(sum.is_some(), "a wait group of more than usize::MAX things");
    }

    /// One thing is done. Wakes all waiters if it was the last.
    ///
    /// # Panics
    /// When there was nothing to do.
    pub fn done(&self) {
        checkpoint();
        let mut state = self.state.lock();
        let left = state.count.checked_sub(1);
        state.count = left.unwrap_or(0);
        let woken = match left {
            Some(0) => state.queue.take(),
            _ => Default::default(),
        };
        drop(state);
        assert!(left.is_some(), "a wait group's done() without its add()");
        unpark_all(woken.into_iter().map(|(_, waiter)| waiter));
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_done(&self) -> bool {
        checkpoint();
        self.state.lock().count == 0
    }

    /// Parks until there is nothing to do or `deadline` passes. True when there was nothing to do.
    pub fn wait(&self, why: WaitReason, deadline: Option<u64>) -> bool {
        if self.is_done() {
            return true;
        }
        let parking = Parking::prepare(why);
        let waiter = parking.waiter();
        let mut state = self.state.lock();
        if state.count == 0 {
            return true;
        }
        let seat = state.queue.push(waiter);
        drop(state);
        match parking.park(deadline) {
            Wake::Unparked => true,
            // Not in the queue any more: the count has been zero, and the waker is on its way.
            Wake::TimedOut => self.state.lock().queue.remove(seat).is_none(),
        }
    }
}

impl<P: Primitives> fmt::Debug for RawWaitGroup<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawWaitGroup").finish_non_exhaustive()
    }
}

/// Go's `sync.WaitGroup`: counts things to do, and waits until all are done.
///
/// Clones share one counter.
///
/// ```
/// use netpoll::sync::WaitGroup;
///
/// let group = WaitGroup::new();
/// group.add(1);
/// let its = group.clone();
/// std::thread::spawn(move || its.done()); // or `netpoll::go`
/// group.wait();
/// ```
#[derive(Clone, Debug)]
pub struct WaitGroup(Arc<RawWaitGroup>);

impl WaitGroup {
    /// A group with nothing to do.
    #[must_use]
    pub fn new() -> WaitGroup {
        WaitGroup(Arc::new(RawWaitGroup::new(0)))
    }

    /// Adds `n` things to do. Call it before starting what will call [`done`](WaitGroup::done), or
    /// [`wait`](WaitGroup::wait) may find nothing to wait for.
    ///
    /// # Panics
    /// When the number exceeds `usize`.
    pub fn add(&self, n: usize) {
        self.0.add(n);
    }

    /// One thing is done.
    ///
    /// # Panics
    /// When there was nothing to do.
    pub fn done(&self) {
        self.0.done();
    }

    /// Starts a goroutine and counts it, as `sync.WaitGroup.Go` does. It is done when `f` returns, and
    /// when it panics.
    ///
    /// # Panics
    /// As [`go`](crate::go::go).
    pub fn go(&self, f: impl FnOnce() + Send + 'static) {
        self.add(1);
        let done = DoneOnDrop(self.clone());
        drop(crate::go::go(move || {
            let _done = done;
            f();
        }));
    }

    /// Waits until there is nothing to do.
    pub fn wait(&self) {
        self.0.wait(WaitReason::WaitGroup, None);
    }

    /// Waits for at most `timeout`. True when there was nothing to do.
    #[must_use = "false means that not all is done"]
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        let deadline = time::deadline_after(timeout);
        self.0.wait(WaitReason::WaitGroup, Some(deadline))
    }
}

impl Default for WaitGroup {
    fn default() -> WaitGroup {
        WaitGroup::new()
    }
}

/// Says that one thing is done however its goroutine ends, and if it is never started.
struct DoneOnDrop(WaitGroup);

impl Drop for DoneOnDrop {
    fn drop(&mut self) {
        self.0.done();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn wait_returns_when_the_last_is_done_and_the_group_can_be_used_again() {
        let group = WaitGroup::new();
        group.wait();
        for _ in 0..2 {
            group.add(3);
            thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| {
                        group.wait();
                        assert!(group.0.is_done(), "woken before the last was done");
                    });
                }
                for _ in 0..3 {
                    thread::sleep(Duration::from_millis(2));
                    assert!(!group.0.is_done());
                    group.done();
                }
            });
            assert!(group.wait_timeout(Duration::ZERO));
        }
    }

    #[test]
    fn a_wait_that_times_out_says_so_and_leaves_the_queue() {
        let group = WaitGroup::new();
        group.add(1);
        assert!(!group.wait_timeout(Duration::from_millis(1)));
        assert!(group.0.state.lock().queue.is_empty());
    }

    #[test]
    #[should_panic(expected = "done() without its add()")]
    fn done_without_add_panics() {
        WaitGroup::new().done();
    }
}
