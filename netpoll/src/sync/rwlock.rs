//! A readers-writer lock that parks goroutines and blocks threads.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{self, PoisonError, TryLockError, TryLockResult};

use super::rwlock_state::{Access, LockAction, RwLockState};
use crate::platform::{Lock as _, Os, Primitives};
use crate::trace::WaitReason;
use crate::waiter::{Parking, Waiter, checkpoint, unpark_all};

/// A readers-writer lock without data: the thin shell around `RwLockState`.
///
/// See [`RawMutex`](super::raw::RawMutex) for the internal lock.
pub struct RawRwLock<P: Primitives = Os> {
    state: P::Mutex<RwLockState<Waiter<P>>>,
}

impl<P: Primitives> RawRwLock<P> {
    /// A free lock.
    #[must_use]
    pub fn new() -> Self {
        RawRwLock { state: P::Mutex::new(RwLockState::new()) }
    }

    /// Takes the lock if that needs no waiting.
    #[must_use]
    pub fn try_lock(&self, access: Access) -> bool {
        checkpoint();
        self.state.lock().try_lock(access)
    }

    /// Takes the lock, parking the caller until it is its turn.
    pub fn lock(&self, access: Access) {
        if self.try_lock(access) {
            return;
        }
        let parking = Parking::prepare(WaitReason::RwLock);
        let waiter = parking.waiter();
        let action = self.state.lock().lock(access, waiter);
        if action == LockAction::Park {
            let _ = parking.park(None); // without a deadline it ends one way only
        }
    }

    /// Gives up a lock that the caller has.
    ///
    /// # Panics
    /// When nobody has it for that access.
    pub fn unlock(&self, access: Access) {
        checkpoint();
        let woken = self.state.lock().unlock(access);
        unpark_all(woken);
    }
}

impl<P: Primitives> Default for RawRwLock<P> {
    fn default() -> Self {
        RawRwLock::new()
    }
}

impl<P: Primitives> fmt::Debug for RawRwLock<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawRwLock").finish_non_exhaustive()
    }
}

/// A readers-writer lock in the shape of [`std::sync::RwLock`] that parks the calling goroutine, or
/// blocks the calling thread.
///
/// First come, first served: a reader waits behind a writer that waits. So a goroutine that reads must
/// not read again before it has dropped its first guard: with a writer in between it would wait for
/// ever. Like [`Mutex`](super::Mutex), it does not poison.
pub struct RwLock<T: ?Sized> {
    raw: RawRwLock,
    /// Locked only by owners of `raw`, so never contended: it is the safe way to the data.
    data: sync::RwLock<T>,
}

impl<T> RwLock<T> {
    /// A free lock around `value`.
    #[must_use]
    pub fn new(value: T) -> RwLock<T> {
        RwLock { raw: RawRwLock::new(), data: sync::RwLock::new(value) }
    }

    /// Takes the value out.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.data.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: ?Sized> RwLock<T> {
    /// Takes the lock for reading, waiting for writers.
    pub fn read(&self) -> RwLockReadGuard<'_, T> {
        self.raw.lock(Access::Read);
        self.read_guard()
    }

    /// Takes the lock for writing, waiting for everybody.
    pub fn write(&self) -> RwLockWriteGuard<'_, T> {
        self.raw.lock(Access::Write);
        self.write_guard()
    }

    /// Takes the lock for reading if that needs no waiting.
    pub fn try_read(&self) -> Option<RwLockReadGuard<'_, T>> {
        self.raw.try_lock(Access::Read).then(|| self.read_guard())
    }

    /// Takes the lock for writing if that needs no waiting.
    pub fn try_write(&self) -> Option<RwLockWriteGuard<'_, T>> {
        self.raw.try_lock(Access::Write).then(|| self.write_guard())
    }

    /// The value, without locking: whoever has `&mut self` is alone.
    pub fn get_mut(&mut self) -> &mut T {
        self.data.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    fn read_guard(&self) -> RwLockReadGuard<'_, T> {
        RwLockReadGuard { raw: &self.raw, data: Some(uncontended(self.data.try_read())) }
    }

    fn write_guard(&self) -> RwLockWriteGuard<'_, T> {
        RwLockWriteGuard { raw: &self.raw, data: Some(uncontended(self.data.try_write())) }
    }
}

/// The data's guard of somebody who owns the lock.
fn uncontended<G>(result: TryLockResult<G>) -> G {
    match result {
        Ok(guard) => guard,
        Err(TryLockError::Poisoned(poison)) => poison.into_inner(),
        Err(TryLockError::WouldBlock) => panic!("R1: readers and a writer at a time"),
    }
}

impl<T: Default> Default for RwLock<T> {
    fn default() -> RwLock<T> {
        RwLock::new(T::default())
    }
}

impl<T> From<T> for RwLock<T> {
    fn from(value: T) -> RwLock<T> {
        RwLock::new(value)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RwLock").finish_non_exhaustive()
    }
}

/// What both guards have.
macro_rules! guard {
    ($(#[$doc:meta])* $guard:ident, $access:expr) => {
        $(#[$doc])*
        #[must_use = "the lock is given up as soon as the guard is dropped"]
        pub struct $guard<'a, T: ?Sized> {
            raw: &'a RawRwLock,
            /// `None` only while being dropped: the data's lock has to go before ours.
            data: Option<sync::$guard<'a, T>>,
        }

        impl<T: ?Sized> Deref for $guard<'_, T> {
            type Target = T;

            fn deref(&self) -> &T {
                self.data.as_ref().expect("a guard that is in use")
            }
        }

        impl<T: ?Sized> Drop for $guard<'_, T> {
            fn drop(&mut self) {
                self.data = None;
                self.raw.unlock($access);
            }
        }

        impl<T: ?Sized + fmt::Debug> fmt::Debug for $guard<'_, T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                (**self).fmt(f)
            }
        }
    };
}

guard! {
    /// The right to read the value of a [`RwLock`].
    RwLockReadGuard, Access::Read
}
guard! {
    /// The right to the value of a [`RwLock`].
    RwLockWriteGuard, Access::Write
}

impl<T: ?Sized> DerefMut for RwLockWriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.data.as_mut().expect("a guard that is in use")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn writers_between_readers_lose_no_increment() {
        const ROUNDS: usize = 500;
        let count = RwLock::new((0, 0));
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..ROUNDS {
                        let mut both = count.write();
                        both.0 += 1;
                        both.1 += 1;
                    }
                });
                scope.spawn(|| {
                    for _ in 0..ROUNDS {
                        let both = count.read();
                        assert_eq!(both.0, both.1);
                    }
                });
            }
        });
        assert_eq!(count.into_inner().0, 2 * ROUNDS);
    }

    #[test]
    fn readers_share_and_writers_do_not() {
        let mut lock = RwLock::new(1);
        *lock.get_mut() = 2;
        let readers = (lock.read(), lock.try_read().unwrap());
        assert_eq!((*readers.0, *readers.1), (2, 2));
        assert!(lock.try_write().is_none());
        drop(readers);
        let writer = lock.write();
        assert!(lock.try_read().is_none());
        assert!(lock.try_write().is_none());
        drop(writer);
        assert!(lock.try_read().is_some());
    }
}
