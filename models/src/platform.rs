//! The `Loom` platform: loom's atomics, locks and threads.
//!
//! Loom has no time, so a timed park may end at any moment: it does not wait. It has no data choice, so
//! there is no kernel here: a model plays the kernel's part itself, and a system call is a mistake of
//! the model.

use std::io;
use std::sync::atomic::Ordering;

use loom::sync::{Condvar, Mutex, MutexGuard};
use netpoll::platform::{
    Atomic, Domain, EpollEvent, Errno, Kernel, Lock, Park, Platform, Primitives, RawFd, Shutdown,
    SockAddr, SockType, Thread,
};

/// Loom's primitives.
#[derive(Debug)]
pub enum Loom {}

impl Platform for Loom {
    type Kernel = NoKernel;
}

impl Primitives for Loom {
    type AtomicU32 = LoomAtomic<loom::sync::atomic::AtomicU32>;
    type AtomicU64 = LoomAtomic<loom::sync::atomic::AtomicU64>;
    type AtomicUsize = LoomAtomic<loom::sync::atomic::AtomicUsize>;
    type Mutex<T: Send + 'static> = LoomMutex<T>;
    type Parker = LoomParker;
    type Thread = LoomThread;

    fn fence(order: Ordering) {
        loom::sync::atomic::fence(order);
    }

    fn spawn(_name: String, body: Box<dyn FnOnce() + Send>) -> io::Result<LoomThread> {
        Ok(LoomThread(loom::thread::spawn(body)))
    }

    fn spin_hint() {
        loom::thread::yield_now();
    }
}

/// An atomic of loom's, as ours.
#[derive(Debug)]
pub struct LoomAtomic<A>(A);

macro_rules! atomic {
    ($value:ty, $atomic:ident) => {
        impl Atomic<$value> for LoomAtomic<loom::sync::atomic::$atomic> {
            fn new(value: $value) -> Self {
                LoomAtomic(loom::sync::atomic::$atomic::new(value))
            }
            #[track_caller]
            fn load(&self, order: Ordering) -> $value {
                self.0.load(order)
            }
            #[track_caller]
            fn store(&self, value: $value, order: Ordering) {
                self.0.store(value, order);
            }
            #[track_caller]
            fn swap(&self, value: $value, order: Ordering) -> $value {
                self.0.swap(value, order)
            }
            #[track_caller]
            fn compare_exchange(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                self.0.compare_exchange(current, new, success, failure)
            }
            #[track_caller]
            fn fetch_add(&self, value: $value, order: Ordering) -> $value {
                self.0.fetch_add(value, order)
            }
            #[track_caller]
            fn fetch_sub(&self, value: $value, order: Ordering) -> $value {
                self.0.fetch_sub(value, order)
            }
        }
    };
}

atomic!(u32, AtomicU32);
atomic!(u64, AtomicU64);
atomic!(usize, AtomicUsize);

/// Loom's lock.
#[derive(Debug)]
pub struct LoomMutex<T>(Mutex<T>);

impl<T: Send + 'static> Lock<T> for LoomMutex<T> {
    type Guard<'a> = MutexGuard<'a, T>;

    fn new(value: T) -> Self {
        LoomMutex(Mutex::new(value))
    }

    fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().expect("a model that panicked is over")
    }
}

/// A token behind loom's lock and condition variable.
#[derive(Debug)]
pub struct LoomParker {
    token: Mutex<bool>,
    arrived: Condvar,
}

impl Park for LoomParker {
    fn new() -> Self {
        LoomParker { token: Mutex::new(false), arrived: Condvar::new() }
    }

    fn park(&self) {
        let mut token = self.token.lock().expect("a model that panicked is over");
        while !*token {
            token = self.arrived.wait(token).expect("a model that panicked is over");
        }
        *token = false;
    }

    fn park_timeout(&self, _timeout_ns: u64) {
        *self.token.lock().expect("a model that panicked is over") = false;
        loom::thread::yield_now();
    }

    fn unpark(&self) {
        *self.token.lock().expect("a model that panicked is over") = true;
        self.arrived.notify_one();
    }
}

/// A thread of loom's.
#[derive(Debug)]
pub struct LoomThread(loom::thread::JoinHandle<()>);

impl Thread for LoomThread {
    fn join(self) {
        self.0.join().expect("loom ends the model when a thread panics");
    }
}

/// No kernel at all: every system call is a mistake of the model.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoKernel;

#[cold]
fn not_modelled(call: &str) -> ! {
    panic!("{call} is called in a model without a kernel");
}

impl Kernel for NoKernel {
    fn clock(&self) -> u64 {
        not_modelled("clock")
    }
    fn socket(&self, _: Domain, _: SockType) -> Result<RawFd, Errno> {
        not_modelled("socket")
    }
    fn bind(&self, _: RawFd, _: &SockAddr) -> Result<(), Errno> {
        not_modelled("bind")
    }
    fn listen(&self, _: RawFd, _: i32) -> Result<(), Errno> {
        not_modelled("listen")
    }
    fn accept4(&self, _: RawFd) -> Result<(RawFd, SockAddr), Errno> {
        not_modelled("accept4")
    }
    fn connect(&self, _: RawFd, _: &SockAddr) -> Result<(), Errno> {
        not_modelled("connect")
    }
    fn getsockname(&self, _: RawFd) -> Result<SockAddr, Errno> {
        not_modelled("getsockname")
    }
    fn getpeername(&self, _: RawFd) -> Result<SockAddr, Errno> {
        not_modelled("getpeername")
    }
    fn getsockopt(&self, _: RawFd, _: i32, _: i32) -> Result<i32, Errno> {
        not_modelled("getsockopt")
    }
    fn setsockopt(&self, _: RawFd, _: i32, _: i32, _: i32) -> Result<(), Errno> {
        not_modelled("setsockopt")
    }
    fn shutdown(&self, _: RawFd, _: Shutdown) -> Result<(), Errno> {
        not_modelled("shutdown")
    }
    fn read(&self, _: RawFd, _: &mut [u8]) -> Result<usize, Errno> {
        not_modelled("read")
    }
    fn readv(&self, _: RawFd, _: &mut [io::IoSliceMut<'_>]) -> Result<usize, Errno> {
        not_modelled("readv")
    }
    fn peek(&self, _: RawFd, _: &mut [u8]) -> Result<usize, Errno> {
        not_modelled("recv")
    }
    fn write(&self, _: RawFd, _: &[u8]) -> Result<usize, Errno> {
        not_modelled("write")
    }
    fn writev(&self, _: RawFd, _: &[io::IoSlice<'_>]) -> Result<usize, Errno> {
        not_modelled("writev")
    }
    fn close(&self, _: RawFd) -> Result<(), Errno> {
        not_modelled("close")
    }
    fn epoll_create1(&self) -> Result<RawFd, Errno> {
        not_modelled("epoll_create1")
    }
    fn epoll_add(&self, _: RawFd, _: RawFd, _: EpollEvent) -> Result<(), Errno> {
        not_modelled("epoll_ctl")
    }
    fn epoll_del(&self, _: RawFd, _: RawFd) -> Result<(), Errno> {
        not_modelled("epoll_ctl")
    }
    fn epoll_wait(&self, _: RawFd, _: &mut [EpollEvent], _: i32) -> Result<usize, Errno> {
        not_modelled("epoll_wait")
    }
    fn eventfd(&self) -> Result<RawFd, Errno> {
        not_modelled("eventfd")
    }
    fn default_workers(&self) -> io::Result<usize> {
        not_modelled("default_workers")
    }
}
