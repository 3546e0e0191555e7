//! A condition variable for [`Mutex`].

use std::fmt;
use std::time::Duration;

use super::mutex::{Mutex, MutexGuard};
use super::queue::WaitQueue;
use crate::ops::Wake;
use crate::platform::{Lock as _, Os, Primitives};
use crate::time;
use crate::trace::WaitReason;
use crate::waiter::{Parking, Waiter, checkpoint, unpark_all};

/// A condition variable without a mutex: the thin shell around a `WaitQueue`.
///
/// The internal lock decides who is notified. A waiter whose deadline has passed is still in the queue
/// until it takes itself out, and a notification that chooses it before that is *its* notification: it
/// returns as notified. So a notification never hits a waiter that has timed out, and none is lost.
pub struct RawCondvar<P: Primitives = Os> {
    queue: P::Mutex<WaitQueue<Waiter<P>>>,
}

impl<P: Primitives> RawCondvar<P> {
    /// A condition variable that nobody waits for.
    #[must_use]
    pub fn new() -> Self {
        RawCondvar { queue: P::Mutex::new(WaitQueue::new()) }
    }

    /// Queues up, calls `unlock`, then parks until it is notified or `deadline` passes. True when it
    /// was notified. Notifications after `unlock` was called are not missed.
    pub fn wait(&self, deadline: Option<u64>, unlock: impl FnOnce()) -> bool {
        checkpoint();
        let parking = Parking::prepare(WaitReason::Condvar);
        let waiter = parking.waiter();
        let seat = self.queue.lock().push(waiter);
        unlock();
        match parking.park(deadline) {
            Wake::Unparked => true,
            Wake::TimedOut => self.queue.lock().remove(seat).is_none(),
        }
    }

    /// Wakes the waiter that has waited longest, if there is one.
    pub fn notify_one(&self) {
        checkpoint();
        let first = self.queue.lock().pop();
        if let Some((_, waiter)) = first {
            waiter.unpark();
        }
    }

    /// Wakes all who wait now, in order of arrival.
    pub fn notify_all(&self) {
        checkpoint();
        let all = self.queue.lock().take();
        unpark_all(all.into_iter().map(|(_, waiter)| waiter));
    }
}

impl<P: Primitives> Default for RawCondvar<P> {
    fn default() -> Self {
        RawCondvar::new()
    }
}

impl<P: Primitives> fmt::Debug for RawCondvar<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawCondvar").finish_non_exhaustive()
    }
}

/// Whether a wait with a time limit reached it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    /// True when the time was up before a notification came (for
    /// [`wait_timeout_while`](Condvar::wait_timeout_while): while the condition still held).
    #[must_use]
    pub fn timed_out(&self) -> bool {
        self.0
    }
}

/// A condition variable in the shape of [`std::sync::Condvar`], for goroutines and threads.
///
/// Waiters are notified in order of arrival, and there are no spurious wake-ups. The condition may
/// nevertheless be false again when `wait` returns, since others may lock the mutex first: loop, or
/// use [`wait_while`](Condvar::wait_while).
#[derive(Debug, Default)]
pub struct Condvar {
    raw: RawCondvar,
}

impl Condvar {
    /// A condition variable that nobody waits for.
    #[must_use]
    pub fn new() -> Condvar {
        Condvar::default()
    }

    /// Unlocks the mutex of `guard`, waits for a notification, and locks it again. Notifications that
    /// happen after the unlocking are not missed.
    pub fn wait<'a, T: ?Sized>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        self.wait_until(guard, None).0
    }

    /// Waits for as long as `condition` is true.
    pub fn wait_while<'a, T: ?Sized>(
        &self,
        mut guard: MutexGuard<'a, T>,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> MutexGuard<'a, T> {
        while condition(&mut guard) {
            guard = self.wait(guard);
        }
        guard
    }

    /// As [`wait`](Condvar::wait), for at most `timeout`. Locking the mutex again is not limited.
    pub fn wait_timeout<'a, T: ?Sized>(
        &self,
        guard: MutexGuard<'a, T>,
        timeout: Duration,
    ) -> (MutexGuard<'a, T>, WaitTimeoutResult) {
        let (guard, notified) = self.wait_until(guard, Some(time::deadline_after(timeout)));
        (guard, WaitTimeoutResult(!notified))
    }

    /// Waits for as long as `condition` is true, for at most `timeout` in all.
    pub fn wait_timeout_while<'a, T: ?Sized>(
        &self,
        mut guard: MutexGuard<'a, T>,
        timeout: Duration,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> (MutexGuard<'a, T>, WaitTimeoutResult) {
        let deadline = time::deadline_after(timeout);
        while condition(&mut guard) {
            if time::now() >= deadline {
                return (guard, WaitTimeoutResult(true));
            }
            guard = self.wait_until(guard, Some(deadline)).0;
        }
        (guard, WaitTimeoutResult(false))
    }

    /// Wakes the waiter that has waited longest, if there is one.
    pub fn notify_one(&self) {
        self.raw.notify_one();
    }

    /// Wakes all who wait now.
    pub fn notify_all(&self) {
        self.raw.notify_all();
    }

    fn wait_until<'a, T: ?Sized>(
        &self,
        guard: MutexGuard<'a, T>,
        deadline: Option<u64>,
    ) -> (MutexGuard<'a, T>, bool) {
        let mutex: &'a Mutex<T> = guard.mutex();
        let notified = self.raw.wait(deadline, || drop(guard));
        (mutex.lock(), notified)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn each_notification_wakes_one_waiter() {
        const WAITERS: usize = 3;
        let (tokens, condvar) = (Mutex::new(0), Condvar::new());
        thread::scope(|scope| {
            for _ in 0..WAITERS {
                scope.spawn(|| *condvar.wait_while(tokens.lock(), |tokens| *tokens == 0) -= 1);
            }
            for _ in 0..WAITERS {
                *tokens.lock() += 1;
                condvar.notify_one();
            }
        });
        assert_eq!(tokens.into_inner(), 0);
    }

    #[test]
    fn notify_all_wakes_everybody() {
        let (open, condvar) = (Mutex::new(false), Condvar::new());
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| drop(condvar.wait_while(open.lock(), |open| !*open)));
            }
            thread::sleep(Duration::from_millis(5));
            *open.lock() = true;
            condvar.notify_all();
        });
    }

    #[test]
    fn a_wait_that_times_out_leaves_the_queue_and_has_the_lock() {
        let (mutex, condvar) = (Mutex::new(()), Condvar::new());
        let (guard, result) = condvar.wait_timeout(mutex.lock(), Duration::from_millis(1));
        assert!(result.timed_out());
        assert!(mutex.try_lock().is_none());
        assert!(condvar.raw.queue.lock().is_empty());

        let timeout = Duration::from_millis(3);
        let (guard, result) = condvar.wait_timeout_while(guard, timeout, |()| true);
        assert!(result.timed_out());
        let (_guard, result) = condvar.wait_timeout_while(guard, timeout, |()| false);
        assert!(!result.timed_out());
    }

    /// Hunts the notification that is spent on a waiter whose deadline passes at the same time: the
    /// waker has chosen it and not yet woken it.
    #[test]
    fn a_waiter_that_was_chosen_before_it_timed_out_is_notified() {
        let condvar: RawCondvar = RawCondvar::new();
        let mut chosen = None;
        let long_ago = Some(1);
        assert!(condvar.wait(long_ago, || chosen = condvar.queue.lock().pop()));
        let (_, waiter) = chosen.unwrap();
        assert!(!waiter.unpark(), "its deadline had ended the park");
        assert!(!condvar.wait(long_ago, || ()));
    }
}
