//! The seam's primitives over a checker's copy of `std`.
//!
//! Loom and Shuttle both mirror `std::sync` and `std::thread`, so one macro serves both. Every operation
//! counts as one in [`Execution`](super::Execution): that is what a certificate calls the depth of an
//! execution.

/// Implements [`Primitives`](netpoll::platform::Primitives) for `$platform` over `$krate`.
macro_rules! primitives {
    ($platform:ident over $krate:ident, atomics of $($atomics:ident)::+) => {
        impl ::netpoll::platform::Primitives for $platform {
            // The smallest that can be split: the third goroutine finds it full.
            const RUN_QUEUE: u32 = 2;

            type AtomicU32 = CheckerAtomic<$($atomics)::+::AtomicU32>;
            type AtomicU64 = CheckerAtomic<$($atomics)::+::AtomicU64>;
            type AtomicUsize = CheckerAtomic<$($atomics)::+::AtomicUsize>;
            type Mutex<T: Send + 'static> = CheckerMutex<T>;
            type Parker = CheckerParker;
            type Thread = CheckerThread;

            fn fence(order: ::std::sync::atomic::Ordering) {
                $crate::platform::execution::count();
                $($atomics)::+::fence(order);
            }

            fn spawn(
                _name: String,
                body: Box<dyn FnOnce() + Send>,
            ) -> ::std::io::Result<CheckerThread> {
                let thread = ::$krate::thread::spawn(body);
                Ok(CheckerThread(::std::mem::ManuallyDrop::new(thread)))
            }

            fn spin_hint() {
                ::$krate::thread::yield_now();
            }
        }

        /// An atomic of the checker, as ours.
        #[derive(Debug)]
        pub struct CheckerAtomic<A>(A);

        $crate::platform::primitives::atomic!(u32, $($atomics)::+::AtomicU32);
        $crate::platform::primitives::atomic!(u64, $($atomics)::+::AtomicU64);
        $crate::platform::primitives::atomic!(usize, $($atomics)::+::AtomicUsize);

        /// The checker's lock. Poison means nothing here: checkers count the panics of all their threads
        /// as one thread's, so a goroutine that unwinds poisons what others hold meanwhile.
        #[derive(Debug)]
        pub struct CheckerMutex<T>(::$krate::sync::Mutex<T>);

        impl<T: Send + 'static> ::netpoll::platform::Lock<T> for CheckerMutex<T> {
            type Guard<'a> = ::$krate::sync::MutexGuard<'a, T>;

            fn new(value: T) -> Self {
                CheckerMutex(::$krate::sync::Mutex::new(value))
            }

            #[track_caller]
            fn lock(&self) -> ::$krate::sync::MutexGuard<'_, T> {
                $crate::platform::execution::count();
                self.0.lock().unwrap_or_else(::std::sync::PoisonError::into_inner)
            }
        }

        /// A token behind the checker's lock and condition variable.
        #[derive(Debug)]
        pub struct CheckerParker {
            token: ::$krate::sync::Mutex<bool>,
            arrived: ::$krate::sync::Condvar,
        }

        impl CheckerParker {
            fn token(&self) -> ::$krate::sync::MutexGuard<'_, bool> {
                self.token.lock().unwrap_or_else(::std::sync::PoisonError::into_inner)
            }
        }

        impl ::netpoll::platform::Park for CheckerParker {
            fn new() -> Self {
                CheckerParker {
                    token: ::$krate::sync::Mutex::new(false),
                    arrived: ::$krate::sync::Condvar::new(),
                }
            }

            fn park(&self) {
                $crate::platform::execution::count();
                let mut token = self.token();
                while !*token {
                    token = self
                        .arrived
                        .wait(token)
                        .unwrap_or_else(::std::sync::PoisonError::into_inner);
                }
                *token = false;
            }

            fn park_timeout(&self, timeout_ns: u64) {
                // A park of no time takes the token or leaves: it needs no clock.
                if !::std::mem::take(&mut *self.token()) && timeout_ns > 0 {
                    let execution = <$platform as $crate::platform::Checker>::execution();
                    let until_ns = execution.now_ns().saturating_add(timeout_ns);
                    if !execution.passes_until(until_ns) {
                        return self.park();
                    }
                    // Others may run before the sleeper finds that its time is over.
                    <$platform as $crate::platform::Checker>::time_passed();
                    *self.token() = false;
                }
            }

            fn unpark(&self) {
                $crate::platform::execution::count();
                *self.token() = true;
                self.arrived.notify_one();
            }
        }

        /// A thread of the checker. The execution ends when it has ended, joined or not: shuttle would
        /// unwind one that is detached, wherever it is, and it may be on a goroutine's stack (F3).
        #[derive(Debug)]
        pub struct CheckerThread(::std::mem::ManuallyDrop<::$krate::thread::JoinHandle<()>>);

        impl ::netpoll::platform::Thread for CheckerThread {
            fn join(self) {
                let thread = ::std::mem::ManuallyDrop::into_inner(self.0);
                thread.join().expect("the checker ends the model when a thread panics");
            }
        }
    };
}

/// Implements [`Atomic`](netpoll::platform::Atomic) for one width.
macro_rules! atomic {
    ($value:ty, $atomic:path) => {
        impl ::netpoll::platform::Atomic<$value> for CheckerAtomic<$atomic> {
            #[track_caller]
            fn new(value: $value) -> Self {
                CheckerAtomic(<$atomic>::new(value))
            }
            #[track_caller]
            fn load(&self, order: ::std::sync::atomic::Ordering) -> $value {
                $crate::platform::execution::count();
                self.0.load(order)
            }
            #[track_caller]
            fn store(&self, value: $value, order: ::std::sync::atomic::Ordering) {
                $crate::platform::execution::count();
                self.0.store(value, order);
            }
            #[track_caller]
            fn swap(&self, value: $value, order: ::std::sync::atomic::Ordering) -> $value {
                $crate::platform::execution::count();
                self.0.swap(value, order)
            }
            #[track_caller]
            fn compare_exchange(
                &self,
                current: $value,
                new: $value,
                success: ::std::sync::atomic::Ordering,
                failure: ::std::sync::atomic::Ordering,
            ) -> Result<$value, $value> {
                $crate::platform::execution::count();
                self.0.compare_exchange(current, new, success, failure)
            }
            #[track_caller]
            fn fetch_add(&self, value: $value, order: ::std::sync::atomic::Ordering) -> $value {
                $crate::platform::execution::count();
                self.0.fetch_add(value, order)
            }
            #[track_caller]
            fn fetch_sub(&self, value: $value, order: ::std::sync::atomic::Ordering) -> $value {
                $crate::platform::execution::count();
                self.0.fetch_sub(value, order)
            }
        }
    };
}

pub(super) use {atomic, primitives};
