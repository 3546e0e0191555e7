//! A value that one thread of the operating system has to itself for a while.

use std::cell::{Cell, UnsafeCell};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

thread_local! {
    /// The number of this thread; 0 before it has asked for one.
    static THREAD: Cell<u64> = const { Cell::new(0) };
}

/// A number that no other thread ever has.
fn this_thread() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    THREAD.with(|number| {
        if number.get() == 0 {
            number.set(LAST.fetch_add(1, Ordering::Relaxed) + 1);
        }
        number.get()
    })
}

/// A value that belongs to the thread that made it, until that thread [shares](Owned::share) it; then whoever wants it
/// locks it. As long as it is owned the owner pays for no lock, and others get a *decoy*: they must not be
/// there at all, but some of them cannot be sent away.
pub(crate) struct Owned<T> {
    /// The number of the owner; 0 once the value is shared.
    owner: AtomicU64,
    /// The value while it is owned. Reached by the owner only.
    own: UnsafeCell<Option<T>>,
    /// Whether the owner has it in hand. Reached by the owner only.
    is_held: Cell<bool>,
    /// The decoy, if anybody has needed one, and the value once it is shared.
    shared: Mutex<Option<T>>,
}

// SAFETY: `own` and `is_held` are reached only by the thread whose number is `owner`. Numbers are given once, so that is one
// thread, and it stays the same until it stores 0, after which nobody reaches them. `shared` is a lock.
// `T: Send` because the decoy is used and the value dropped by any thread.
unsafe impl<T: Send> Sync for Owned<T> {}

impl<T> fmt::Debug for Owned<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Owned").field("is_owned", &self.is_owned()).finish_non_exhaustive()
    }
}

impl<T> Owned<T> {
    /// A value of the calling thread.
    pub(crate) fn new(value: T) -> Owned<T> {
        Owned {
            owner: AtomicU64::new(this_thread()),
            own: UnsafeCell::new(Some(value)),
            is_held: Cell::new(false),
            shared: Mutex::new(None),
        }
    }

    /// Whether it is still somebody's.
    pub(crate) fn is_owned(&self) -> bool {
        self.owner.load(Ordering::Acquire) != 0
    }

    /// Whether it is the caller's.
    #[inline]
    fn is_mine(&self) -> bool {
        // Relaxed: its own number was stored by this very thread, and any other one is just not it.
        let owner = self.owner.load(Ordering::Relaxed);
        owner != 0 && owner == THREAD.get()
    }

    /// The value: the owner's, what is shared, or a decoy, made when it is first needed.
    ///
    /// # Panics
    /// When the owner has it in hand already.
    #[inline]
    pub(crate) fn hold(&self, decoy: impl FnOnce() -> T) -> Held<'_, T> {
        if !self.is_mine() {
            let mut shared = self.locked();
            shared.get_or_insert_with(decoy);
            return Held::Shared(shared);
        }
        assert!(!self.is_held.replace(true), "it is in hand already");
        // SAFETY: the caller is the owner, nobody else reaches `own` (see `Sync`), and `is_held` says that this is the
        // only reference.
        let own = unsafe { &mut *self.own.get() };
        Held::Own(own.as_mut().expect("it is owned"), &self.is_held)
    }

    /// Gives the value up to whoever locks it. Only the owner can; for others nothing changes.
    pub(crate) fn share(&self) {
        if !self.is_mine() {
            return;
        }
        assert!(!self.is_held.get(), "it is in hand");
        // SAFETY: as in `hold`.
        let own = unsafe { &mut *self.own.get() };
        let mut shared = self.locked();
        *shared = own.take();
        self.owner.store(0, Ordering::Release);
    }

    fn locked(&self) -> MutexGuard<'_, Option<T>> {
        // Poison says that somebody panicked with it; what it is then is only looked at for a report.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A value in hand.
pub(crate) enum Held<'a, T> {
    Own(&'a mut T, &'a Cell<bool>),
    /// `Some`.
    Shared(MutexGuard<'a, Option<T>>),
}

impl<T> Deref for Held<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        match self {
            Held::Own(value, _) => value,
            Held::Shared(value) => value.as_ref().expect("filled in before"),
        }
    }
}

impl<T> DerefMut for Held<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        match self {
            Held::Own(value, _) => value,
            Held::Shared(value) => value.as_mut().expect("filled in before"),
        }
    }
}

impl<T> Drop for Held<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if let Held::Own(_, is_held) = self {
            is_held.set(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{self, AssertUnwindSafe};
    use std::thread;

    #[test]
    fn others_get_the_decoy_until_it_is_shared() {
        let owned = Owned::new(1);
        *owned.hold(|| 100) += 1;
        let here = || *owned.hold(|| 100);
        let there = || thread::scope(|s| s.spawn(here).join().expect("no panic"));
        assert_eq!((here(), there()), (2, 100));
        thread::scope(|s| s.spawn(|| owned.share()).join().expect("no panic"));
        assert!(owned.is_owned(), "only the owner can share it");
        owned.share();
        assert!(!owned.is_owned());
        assert_eq!((here(), there()), (2, 2));
    }

    #[test]
    fn it_is_in_one_hand_at_a_time_and_not_after_a_panic() {
        let owned = Owned::new(1);
        let again = || {
            let _first = owned.hold(|| 100);
            let _second = owned.hold(|| 100);
        };
        assert!(panic::catch_unwind(AssertUnwindSafe(again)).is_err());
        assert_eq!(*owned.hold(|| 100), 1);
    }
}
