//! A mutex that parks goroutines and blocks threads.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{self, PoisonError, TryLockError};

use super::mutex_state::{LockAction, MutexState, UnlockAction, WokenAction};
use crate::platform::{Lock as _, Os, Primitives};
use crate::trace::WaitReason;
use crate::waiter::{Parking, Waiter, checkpoint};

/// A mutex without data: the thin shell around `MutexState`.
///
/// The internal lock is held for one transition and never across a park, a wake-up or any other
/// point where a simulator switches. So it is never contended under a simulator that runs everything
/// on one thread, and the face can use [`Os`]'s on every platform. A model checker instantiates this
/// shell with its own primitives instead.
pub struct RawMutex<P: Primitives = Os> {
    state: P::Mutex<MutexState<Waiter<P>>>,
}

impl<P: Primitives> RawMutex<P> {
    /// A free mutex.
    #[must_use]
    pub fn new() -> Self {
        RawMutex { state: P::Mutex::new(MutexState::new()) }
    }

    /// Takes the mutex if it is free.
    #[must_use]
    pub fn try_lock(&self) -> bool {
        checkpoint();
        self.state.lock().try_lock()
    }

    /// Takes the mutex, parking the caller for as long as others have it.
    pub fn lock(&self) {
        if !self.try_lock() {
            self.lock_contended();
        }
    }

    #[cold]
    fn lock_contended(&self) {
        let mut turn = None;
        loop {
            let parking = Parking::prepare(WaitReason::Mutex);
            let waiter = parking.waiter();
            let action = self.state.lock().lock(turn, waiter);
            let LockAction::Park(mine) = action else {
                return;
            };
            let _ = parking.park(None); // without a deadline it ends one way only
            if self.state.lock().woken(mine) == WokenAction::Own {
                return;
            }
            turn = Some(mine);
        }
    }

    /// Gives the mutex up. The caller must own it.
    ///
    /// # Panics
    /// When nobody owns it.
    pub fn unlock(&self) {
        checkpoint();
        let action = self.state.lock().unlock();
        if let UnlockAction::Wake(waiter) = action {
            waiter.unpark();
        }
    }
}

impl<P: Primitives> Default for RawMutex<P> {
    fn default() -> Self {
        RawMutex::new()
    }
}

impl<P: Primitives> fmt::Debug for RawMutex<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawMutex").finish_non_exhaustive()
    }
}

/// A mutual-exclusion lock in the shape of [`std::sync::Mutex`] that parks the calling goroutine, or
/// blocks the calling thread, until it is free.
///
/// Unlike `std`'s it may be held across anything that parks: other goroutines of the same worker that
/// want it park as well, instead of blocking the worker that the holder needs.
///
/// Waiters are woken in order of arrival. A running goroutine may overtake a woken one, but only a few
/// times: see the source of `mutex_state` for the policy and its reasons.
///
/// # No poisoning
///
/// A panic of the holder unlocks the mutex and leaves no mark. A goroutine's panic is reported by its
/// `join`, and a server goes on after one: there poison would only turn one failed connection into the
/// failure of all that share a table. Who needs to know keeps a flag beside the data.
pub struct Mutex<T: ?Sized> {
    raw: RawMutex,
    /// Locked only by the owner of `raw`, so never contended: it is the safe way to the data.
    data: sync::Mutex<T>,
}

impl<T> Mutex<T> {
    /// An unlocked mutex around `value`.
    #[must_use]
    pub fn new(value: T) -> Mutex<T> {
        Mutex { raw: RawMutex::new(), data: sync::Mutex::new(value) }
    }

    /// Takes the value out.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.data.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Takes the lock, waiting for as long as others have it. It is given back when the guard is
    /// dropped.
    ///
    /// Locking a mutex that the caller has already locked waits for ever.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.raw.lock();
        self.guard()
    }

    /// Takes the lock if it is free.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.raw.try_lock().then(|| self.guard())
    }

    /// The value, without locking: whoever has `&mut self` is alone.
    pub fn get_mut(&mut self) -> &mut T {
        self.data.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    /// The guard of the caller, who owns `raw`.
    fn guard(&self) -> MutexGuard<'_, T> {
        let data = match self.data.try_lock() {
            Ok(data) => data,
            Err(TryLockError::Poisoned(poison)) => poison.into_inner(),
            Err(TryLockError::WouldBlock) => panic!("two owners of one mutex"),
        };
        MutexGuard { mutex: self, data: Some(data) }
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Mutex<T> {
        Mutex::new(T::default())
    }
}

impl<T> From<T> for Mutex<T> {
    fn from(value: T) -> Mutex<T> {
        Mutex::new(value)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not `self.try_lock()`: printing must not be an operation that others can see.
        let mut out = f.debug_struct("Mutex");
        match self.data.try_lock() {
            Ok(data) => out.field("data", &&*data),
            Err(TryLockError::Poisoned(poison)) => out.field("data", &&**poison.get_ref()),
            Err(TryLockError::WouldBlock) => out.field("data", &format_args!("<locked>")),
        };
        out.finish()
    }
}

/// The right to the value of a [`Mutex`], which it unlocks when dropped.
#[must_use = "the mutex is unlocked as soon as the guard is dropped"]
pub struct MutexGuard<'a, T: ?Sized> {
    mutex: &'a Mutex<T>,
    /// `None` only while being dropped: the data's lock has to go before the mutex.
    data: Option<sync::MutexGuard<'a, T>>,
}

impl<'a, T: ?Sized> MutexGuard<'a, T> {
    /// The mutex of this guard.
    pub(super) fn mutex(&self) -> &'a Mutex<T> {
        self.mutex
    }
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.data.as_ref().expect("a guard that is in use")
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.data.as_mut().expect("a guard that is in use")
    }
}

impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        self.data = None;
        self.mutex.raw.unlock();
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn plain_threads_count_without_losing_an_increment() {
        const THREADS: usize = 4;
        const ROUNDS: usize = 2_000;
        let count = Mutex::new(0);
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    for _ in 0..ROUNDS {
                        *count.lock() += 1;
                    }
                });
            }
        });
        assert_eq!(count.into_inner(), THREADS * ROUNDS);
    }

    #[test]
    fn a_panic_of_the_holder_unlocks_and_leaves_no_mark() {
        let mutex = Mutex::new(1);
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut guard = mutex.lock();
            *guard = 2;
            std::panic::resume_unwind(Box::new("on purpose"));
        }));
        assert!(caught.is_err());
        assert_eq!(*mutex.try_lock().unwrap(), 2);
    }

    #[test]
    fn try_lock_get_mut_and_debug_see_who_owns_it() {
        let mut mutex = Mutex::new(1);
        *mutex.get_mut() = 3;
        let guard = mutex.lock();
        assert!(mutex.try_lock().is_none());
        assert_eq!(format!("{mutex:?}"), "Mutex { data: <locked> }");
        assert_eq!(format!("{guard:?} {guard}"), "3 3");
        drop(guard);
        assert_eq!(format!("{mutex:?}"), "Mutex { data: 3 }");
    }

    #[test]
    fn an_unsized_value_can_be_locked() {
        let mutex: &Mutex<[u8]> = &Mutex::new([1, 2, 3]);
        mutex.lock()[0] = 9;
        assert_eq!(&*mutex.lock(), &[9, 2, 3]);
    }
}
