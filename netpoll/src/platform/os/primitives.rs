//! Atomics, locks and threads of the production platform: thin covers over `std`.

use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use super::{Os, OsParker, Recording};
use crate::platform::{Atomic, Lock, Primitives, Thread};

impl Primitives for Os {
    type AtomicU32 = AtomicU32;
    type AtomicU64 = AtomicU64;
    type AtomicUsize = AtomicUsize;
    type Mutex<T: Send + 'static> = OsMutex<T>;
    type Parker = OsParker;
    type Thread = OsThread;

    #[inline]
    fn fence(order: Ordering) {
        std::sync::atomic::fence(order);
    }

    fn spawn(name: String, body: Box<dyn FnOnce() + Send>) -> io::Result<OsThread> {
        if name.contains('\0') {
            let text = format!("thread name {name:?} contains a NUL character");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        thread::Builder::new().name(name).spawn(body).map(OsThread)
    }

    #[inline]
    fn spin_hint() {
        std::hint::spin_loop();
    }
}

impl Primitives for Recording {
    type AtomicU32 = <Os as Primitives>::AtomicU32;
    type AtomicU64 = <Os as Primitives>::AtomicU64;
    type AtomicUsize = <Os as Primitives>::AtomicUsize;
    type Mutex<T: Send + 'static> = OsMutex<T>;
    type Parker = OsParker;
    type Thread = OsThread;

    #[inline]
    fn fence(order: Ordering) {
        Os::fence(order);
    }
    fn spawn(name: String, body: Box<dyn FnOnce() + Send>) -> io::Result<OsThread> {
        Os::spawn(name, body)
    }
    #[inline]
    fn spin_hint() {
        Os::spin_hint();
    }
}

/// Each method has the name of the inherent one, which a path finds first.
macro_rules! atomics {
    ($($atomic:ident of $value:ident),*) => {$(
        impl Atomic<$value> for $atomic {
            #[inline]
            fn new(value: $value) -> Self {
                $atomic::new(value)
            }
            #[inline]
            fn load(&self, order: Ordering) -> $value {
                $atomic::load(self, order)
            }
            #[inline]
            fn store(&self, value: $value, order: Ordering) {
                $atomic::store(self, value, order);
            }
            #[inline]
            fn swap(&self, value: $value, order: Ordering) -> $value {
                $atomic::swap(self, value, order)
            }
            #[inline]
            fn compare_exchange(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                $atomic::compare_exchange(self, current, new, success, failure)
            }
            #[inline]
            fn fetch_add(&self, value: $value, order: Ordering) -> $value {
                $atomic::fetch_add(self, value, order)
            }
            #[inline]
            fn fetch_sub(&self, value: $value, order: Ordering) -> $value {
                $atomic::fetch_sub(self, value, order)
            }
        }
    )*};
}

atomics!(AtomicU32 of u32, AtomicU64 of u64, AtomicUsize of usize);

/// `std`'s mutex without its poison: a panic of a holder is the holder's affair.
#[derive(Debug, Default)]
pub struct OsMutex<T>(Mutex<T>);

impl<T: Send + 'static> Lock<T> for OsMutex<T> {
    type Guard<'a> = MutexGuard<'a, T>;

    fn new(value: T) -> OsMutex<T> {
        OsMutex(Mutex::new(value))
    }

    #[inline]
    fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A thread of the operating system.
#[derive(Debug)]
pub struct OsThread(JoinHandle<()>);

impl Thread for OsThread {
    fn join(self) {
        // The panic hook has reported a panic already; the seam does not pass it on.
        let _ = self.0.join();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn atomics_of_the_seam_are_those_of_std() {
        fn check<P: Primitives>() {
            let atomic = <P::AtomicU32 as Atomic<u32>>::new(u32::MAX);
            assert_eq!(atomic.fetch_add(2, Ordering::AcqRel), u32::MAX);
            assert_eq!(atomic.fetch_sub(1, Ordering::AcqRel), 1);
            assert_eq!(atomic.swap(7, Ordering::AcqRel), 0);
            let failed = atomic.compare_exchange(8, 9, Ordering::AcqRel, Ordering::Acquire);
            assert_eq!(failed, Err(7));
            let done = atomic.compare_exchange(7, 9, Ordering::AcqRel, Ordering::Acquire);
            assert_eq!(done, Ok(7));
            atomic.store(3, Ordering::Release);
            assert_eq!(atomic.load(Ordering::Acquire), 3);
            P::fence(Ordering::SeqCst);
            P::spin_hint();
        }
        check::<Os>();
    }

    #[test]
    fn a_lock_whose_holder_panicked_can_still_be_taken() {
        let lock = Arc::new(OsMutex::new(1));
        let held = Arc::clone(&lock);
        let thread = Os::spawn(
            "panicking holder".to_owned(),
            Box::new(move || {
                let mut value = held.lock();
                *value = 2;
                std::panic::resume_unwind(Box::new("on purpose"));
            }),
        );
        thread.unwrap().join();
        assert_eq!(*lock.lock(), 2);
    }

    #[test]
    fn a_thread_has_its_name_and_a_bad_name_is_an_error() {
        let thread = Os::spawn(
            "netpoll-w3".to_owned(),
            Box::new(|| assert_eq!(thread::current().name(), Some("netpoll-w3"))),
        );
        assert!(thread.unwrap().0.join().is_ok());

        let refused = Os::spawn("a\0b".to_owned(), Box::new(|| ())).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
        assert!(refused.to_string().contains("a\\0b"), "{refused}");
    }
}
