//! A platform that is wrong on purpose, in one way at a time.
//!
//! It is the simulator, except that a [`Twist`] may change what the runtime's atomics store, lose wake-ups
//! and answer system calls in the kernel's place. The runtime on it is the one of production.

use std::cell::Cell;
use std::io;
use std::panic::Location;
use std::sync::atomic::Ordering;

use netpoll::platform::{
    Atomic, Domain, EpollEvent, Errno, Kernel, Park, Platform, Primitives, RawFd, Shutdown,
    SockAddr, SockType,
};
use netpoll::trace::Event;

use crate::explore::{Execution, Options, execute_with};
use crate::platform::{SimMutex, SimParker, SimThread};
use crate::scenarios::Scenario;
use crate::{Faults, Granularity, Keep, SimKernel, Source, Virtual};

/// A write to an atomic of the runtime.
#[derive(Clone, Copy, Debug)]
pub(super) struct Write {
    /// The file of the runtime that makes it, `poll/slot.rs` for one.
    pub(super) file: &'static str,
    /// Whether it is a compare-exchange.
    pub(super) is_exchange: bool,
    /// What is there.
    pub(super) before: u64,
    /// What the runtime writes.
    pub(super) after: u64,
}

/// One way of being wrong. All methods do what is right unless they are overridden.
pub(super) trait Twist: Sync {
    /// What is written instead.
    fn write(&self, write: Write) -> u64 {
        write.after
    }

    /// What is added instead of `value`.
    fn add(&self, file: &'static str, value: u64) -> u64 {
        let _ = file;
        value
    }

    /// Whether a wake-up of a parker is delivered.
    fn unpark(&self) -> bool {
        true
    }

    /// How long a park takes that should take `timeout_ns`.
    fn park_timeout(&self, timeout_ns: u64) -> u64 {
        timeout_ns
    }

    fn epoll_wait(
        &self,
        kernel: &SimKernel,
        epfd: RawFd,
        events: &mut [EpollEvent],
        timeout_ms: i32,
    ) -> Result<usize, Errno> {
        kernel.epoll_wait(epfd, events, timeout_ms)
    }

    fn read(&self, kernel: &SimKernel, fd: RawFd, buf: &mut [u8]) -> Result<usize, Errno> {
        kernel.read(fd, buf)
    }

    fn epoll_del(&self, kernel: &SimKernel, epfd: RawFd, fd: RawFd) -> Result<(), Errno> {
        kernel.epoll_del(epfd, fd)
    }

    fn close(&self, kernel: &SimKernel, fd: RawFd) -> Result<(), Errno> {
        kernel.close(fd)
    }
}

thread_local! {
    /// A run stays on one thread of the operating system.
    static TWIST: Cell<Option<&'static dyn Twist>> = const { Cell::new(None) };
}

fn twist<R>(f: impl FnOnce(&dyn Twist) -> R) -> R {
    f(TWIST.get().expect("runs are made with a twist"))
}

/// Runs seeds of a scenario with a twist until one of them is found to violate something.
pub(super) fn first_violation(
    scenario: &Scenario,
    granularity: Granularity,
    faults: Faults,
    seeds: u64,
    twist: &'static dyn Twist,
) -> Option<Execution> {
    TWIST.set(Some(twist));
    let options = Options { granularity, faults, ..Options::of(scenario) };
    let run = |seed| {
        let source = Source::Seed(seed);
        execute_with::<Twisted>(scenario, &options, source, Keep::Last(200), TwistedKernel)
    };
    let found = (0..seeds).map(run).find(|execution| execution.violation.is_some());
    TWIST.set(None);
    found
}

/// See the module documentation.
#[derive(Debug)]
pub(super) enum Twisted {}

impl Platform for Twisted {
    type Kernel = TwistedKernel;
}

impl Primitives for Twisted {
    type AtomicU32 = TwistedAtomic<<Virtual as Primitives>::AtomicU32>;
    type AtomicU64 = TwistedAtomic<<Virtual as Primitives>::AtomicU64>;
    type AtomicUsize = TwistedAtomic<<Virtual as Primitives>::AtomicUsize>;
    type Mutex<T: Send + 'static> = SimMutex<T>;
    type Parker = TwistedParker;
    type Thread = SimThread;

    fn fence(order: Ordering) {
        Virtual::fence(order);
    }

    fn spawn(name: String, body: Box<dyn FnOnce() + Send>) -> io::Result<SimThread> {
        Virtual::spawn(name, body)
    }

    fn spin_hint() {
        Virtual::spin_hint();
    }
}

#[derive(Debug)]
pub(super) struct TwistedParker(SimParker);

impl Park for TwistedParker {
    fn new() -> Self {
        TwistedParker(SimParker::new())
    }

    fn park(&self) {
        self.0.park();
    }

    fn park_timeout(&self, timeout_ns: u64) {
        self.0.park_timeout(twist(|twist| twist.park_timeout(timeout_ns)));
    }

    fn unpark(&self) {
        if twist(|twist| twist.unpark()) {
            self.0.unpark();
        }
    }
}

#[derive(Debug)]
pub(super) struct TwistedAtomic<A>(A);

/// The file of the runtime that the caller stands in.
#[track_caller]
fn file() -> &'static str {
    let path = Location::caller().file();
    path.split_once("netpoll/src/").map_or(path, |(_, file)| file)
}

macro_rules! atomic {
    ($integer:ty, $inner:ty) => {
        impl TwistedAtomic<$inner> {
            #[track_caller]
            fn written(&self, is_exchange: bool, before: $integer, after: $integer) -> $integer {
                let (before, after) = (before as u64, after as u64);
                let write = Write { file: file(), is_exchange, before, after };
                twist(|twist| twist.write(write)) as $integer
            }
        }

        impl Atomic<$integer> for TwistedAtomic<$inner> {
            fn new(value: $integer) -> Self {
                TwistedAtomic(<$inner>::new(value))
            }
            fn load(&self, order: Ordering) -> $integer {
                self.0.load(order)
            }
            #[track_caller]
            fn store(&self, value: $integer, order: Ordering) {
                self.0.store(self.written(false, self.0.0.load(Ordering::Relaxed), value), order);
            }
            #[track_caller]
            fn swap(&self, value: $integer, order: Ordering) -> $integer {
                self.0.swap(self.written(false, self.0.0.load(Ordering::Relaxed), value), order)
            }
            #[track_caller]
            fn compare_exchange(
                &self,
                current: $integer,
                new: $integer,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$integer, $integer> {
                let new = self.written(true, current, new);
                self.0.compare_exchange(current, new, success, failure)
            }
            #[track_caller]
            fn fetch_add(&self, value: $integer, order: Ordering) -> $integer {
                let file = file();
                let value = twist(|twist| twist.add(file, value as u64)) as $integer;
                self.0.fetch_add(value, order)
            }
            fn fetch_sub(&self, value: $integer, order: Ordering) -> $integer {
                self.0.fetch_sub(value, order)
            }
        }
    };
}

atomic!(u32, <Virtual as Primitives>::AtomicU32);
atomic!(u64, <Virtual as Primitives>::AtomicU64);
atomic!(usize, <Virtual as Primitives>::AtomicUsize);

#[derive(Debug)]
pub(super) struct TwistedKernel(pub(super) SimKernel);

/// Methods that are passed on.
macro_rules! pass {
    ($(fn $name:ident(&self $(, $arg:ident: $type:ty)*) -> $result:ty;)*) => {
        $(fn $name(&self $(, $arg: $type)*) -> $result {
            self.0.$name($($arg),*)
        })*
    };
}

impl Kernel for TwistedKernel {
    pass! {
        fn clock(&self) -> u64;
        fn socket(&self, domain: Domain, kind: SockType) -> Result<RawFd, Errno>;
        fn bind(&self, fd: RawFd, addr: &SockAddr) -> Result<(), Errno>;
        fn listen(&self, fd: RawFd, backlog: i32) -> Result<(), Errno>;
        fn accept4(&self, fd: RawFd) -> Result<(RawFd, SockAddr), Errno>;
        fn connect(&self, fd: RawFd, addr: &SockAddr) -> Result<(), Errno>;
        fn getsockname(&self, fd: RawFd) -> Result<SockAddr, Errno>;
        fn getpeername(&self, fd: RawFd) -> Result<SockAddr, Errno>;
        fn getsockopt(&self, fd: RawFd, level: i32, name: i32) -> Result<i32, Errno>;
        fn setsockopt(&self, fd: RawFd, level: i32, name: i32, value: i32) -> Result<(), Errno>;
        fn set_linger(&self, fd: RawFd, seconds: Option<u16>) -> Result<(), Errno>;
        fn shutdown(&self, fd: RawFd, how: Shutdown) -> Result<(), Errno>;
        fn readv(&self, fd: RawFd, bufs: &mut [io::IoSliceMut<'_>]) -> Result<usize, Errno>;
        fn peek(&self, fd: RawFd, buf: &mut [u8]) -> Result<usize, Errno>;
        fn write(&self, fd: RawFd, buf: &[u8]) -> Result<usize, Errno>;
        fn writev(&self, fd: RawFd, bufs: &[io::IoSlice<'_>]) -> Result<usize, Errno>;
        fn epoll_create1(&self) -> Result<RawFd, Errno>;
        fn epoll_add(&self, epfd: RawFd, fd: RawFd, event: EpollEvent) -> Result<(), Errno>;
        fn epoll_mod(&self, epfd: RawFd, fd: RawFd, event: EpollEvent) -> Result<(), Errno>;
        fn eventfd(&self) -> Result<RawFd, Errno>;
        fn poll(&self, fd: RawFd, events: u32) -> Result<u32, Errno>;
        fn default_workers(&self) -> io::Result<usize>;
        fn socketpair(&self, domain: Domain, kind: SockType) -> Result<(RawFd, RawFd), Errno>;
        fn pipe2(&self) -> Result<(RawFd, RawFd), Errno>;
        fn dup(&self, fd: RawFd) -> Result<RawFd, Errno>;
        fn set_nonblocking(&self, fd: RawFd) -> Result<(), Errno>;
        fn recvfrom(
            &self,
            fd: RawFd,
            buf: &mut [u8],
            peek: bool
        ) -> Result<(usize, Option<SockAddr>), Errno>;
        fn sendto(&self, fd: RawFd, buf: &[u8], addr: Option<&SockAddr>) -> Result<usize, Errno>;
        fn trace(&self, event: Event) -> ();
        fn checkpoint(&self) -> ();
    }

    fn read(&self, fd: RawFd, buf: &mut [u8]) -> Result<usize, Errno> {
        twist(|twist| twist.read(&self.0, fd, buf))
    }

    fn close(&self, fd: RawFd) -> Result<(), Errno> {
        twist(|twist| twist.close(&self.0, fd))
    }

    fn epoll_del(&self, epfd: RawFd, fd: RawFd) -> Result<(), Errno> {
        twist(|twist| twist.epoll_del(&self.0, epfd, fd))
    }

    fn epoll_wait(
        &self,
        epfd: RawFd,
        events: &mut [EpollEvent],
        timeout_ms: i32,
    ) -> Result<usize, Errno> {
        twist(|twist| twist.epoll_wait(&self.0, epfd, events, timeout_ms))
    }
}
