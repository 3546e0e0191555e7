//! The seam: everything that the runtime takes from the outside world.
//!
//! The runtime is generic over one parameter `P`. What a model checker must own (atomics, locks,
//! parking, threads) is [`Primitives`]; what a simulator must own in addition (system calls and the
//! clock) is [`Kernel`], and [`Platform`] joins the two. Platforms are types, not `cfg`s, so all of
//! them live in one build and one test body can run on each.
//!
//! Rules of the seam, which the house-rules test enforces where it can:
//!
//! * nothing above this module reads a clock, a thread-local or a random number, creates a thread,
//!   blocks a thread or makes a system call except through `P`;
//! * no constructor here is `const`, so that checkers which register every object at run time fit;
//! * `cfg(target_os)` stands only here and in `backend/`.

mod addr;
mod errno;
pub mod os;

use std::fmt::Debug;
use std::io;
use std::net::IpAddr;
use std::ops::DerefMut;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;

pub use addr::{Domain, SockAddr, SockType, UnixAddr};
pub use errno::Errno;
pub use os::Os;

use crate::trace::Event;

/// An atomic integer of a platform.
///
/// The operations and their orderings mean what `std::sync::atomic` says. `SeqCst` accesses are not
/// used anywhere in the runtime: store-load pairs use [`Primitives::fence`], because loom treats a
/// `SeqCst` access as `AcqRel`.
pub trait Atomic<T: Copy>: Debug + Send + Sync + 'static {
    /// A new atomic that holds `value`.
    fn new(value: T) -> Self;
    /// Reads the value.
    fn load(&self, order: Ordering) -> T;
    /// Writes the value.
    fn store(&self, value: T, order: Ordering);
    /// Writes the value and returns the one it replaces.
    fn swap(&self, value: T, order: Ordering) -> T;
    /// Replaces `current` by `new`; `Err` carries the value found when it was another one.
    fn compare_exchange(
        &self,
        current: T,
        new: T,
        success: Ordering,
        failure: Ordering,
    ) -> Result<T, T>;
    /// Adds, wrapping, and returns the previous value.
    fn fetch_add(&self, value: T, order: Ordering) -> T;
    /// Subtracts, wrapping, and returns the previous value.
    fn fetch_sub(&self, value: T, order: Ordering) -> T;
}

/// A mutual-exclusion lock of a platform. It never poisons.
pub trait Lock<T>: Send + Sync + 'static {
    /// Holds the lock until it is dropped.
    type Guard<'a>: DerefMut<Target = T>
    where
        Self: 'a;
    /// A new, unlocked lock around `value`.
    fn new(value: T) -> Self;
    /// Blocks the calling *thread* until the lock is free, then takes it.
    fn lock(&self) -> Self::Guard<'_>;
}

/// The place where one thread sleeps: a binary token.
///
/// Only one thread may park on a given parker. `unpark` deposits the token, `park` consumes it or
/// sleeps until it is there. A park may also return for no reason, so every caller loops.
pub trait Park: Debug + Send + Sync + 'static {
    /// A parker without a token.
    fn new() -> Self;
    /// Sleeps until the token is there and takes it. May return spuriously.
    fn park(&self);
    /// As [`park`](Park::park), for at most `timeout_ns` nanoseconds.
    fn park_timeout(&self, timeout_ns: u64);
    /// Deposits the token and wakes the sleeper. What happened before it is visible after the park
    /// that takes the token.
    fn unpark(&self);
}

/// A thread that [`Primitives::spawn`] made.
pub trait Thread: Send + 'static {
    /// Waits until the thread has ended. A panic of the thread is not passed on.
    fn join(self);
}

/// What a model checker must own: shared memory, locks, parking and threads.
pub trait Primitives: Debug + Sized + Send + Sync + 'static {
    /// Places of a worker's run queue, a power of two. Go's value: a burst of `go` calls fits, and a
    /// thief's half is quick to copy. A checker takes few, so that it gets to a full queue.
    const RUN_QUEUE: u32 = 256;

    /// A 32-bit atomic.
    type AtomicU32: Atomic<u32>;
    /// A 64-bit atomic.
    type AtomicU64: Atomic<u64>;
    /// A pointer-sized atomic.
    type AtomicUsize: Atomic<usize>;
    /// A lock.
    type Mutex<T: Send + 'static>: Lock<T>;
    /// A place to sleep.
    type Parker: Park;
    /// A running thread.
    type Thread: Thread;

    /// A memory fence. Only `SeqCst` fences are used, and each names its partner.
    fn fence(order: Ordering);
    /// Starts a thread.
    ///
    /// # Errors
    /// What the operating system says when it has no thread to give.
    fn spawn(name: String, body: Box<dyn FnOnce() + Send>) -> io::Result<Self::Thread>;
    /// Tells the processor, or the checker, that this is a busy-wait loop.
    fn spin_hint();
}

/// A set of primitives together with a kernel: all that the whole runtime needs.
pub trait Platform: Primitives {
    /// The system calls and the clock.
    type Kernel: Kernel;
}

/// One record for `epoll_wait`: the event mask and the 64 bits that were registered with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EpollEvent {
    /// `EPOLLIN`, `EPOLLOUT`, … as the kernel reports them.
    pub events: u32,
    /// The user data of the registration, returned untouched.
    pub data: u64,
}

/// Which end of a connection [`Kernel::shutdown`] closes.
pub use std::net::Shutdown;

/// A file descriptor number.
pub type RawFd = i32;

/// The system calls of one process, and its monotonic clock.
///
/// The cut is at the system call: `EINTR` handling, event masks, timeout rounding and the break
/// protocol are above it, so that they are inside what is simulated and checked. Each method has
/// the meaning of the call of the same name in the Linux manual; only what differs is documented.
///
/// Every socket and pipe is created close-on-exec and non-blocking. No method retries anything.
///
/// # `SIGPIPE`
///
/// No call raises it on a socket, whatever the process does with that signal. Writing to a pipe has no flag
/// for this that every kernel knows, so there a write without a reader raises it like any `write(2)`.
/// Rust programs ignore it from the start of `main`, and then the call returns `EPIPE`; a program whose
/// `main` is not Rust's has to ignore it by itself, as it has to for `std`.
pub trait Kernel: Debug + Send + Sync + 'static {
    /// `clock_gettime(CLOCK_MONOTONIC)` in nanoseconds. Never 0.
    fn clock(&self) -> u64;

    /// `socket`, with `SOCK_CLOEXEC | SOCK_NONBLOCK`.
    fn socket(&self, domain: Domain, kind: SockType) -> Result<RawFd, Errno>;
    /// `socketpair`, with `SOCK_CLOEXEC | SOCK_NONBLOCK`.
    fn socketpair(&self, domain: Domain, kind: SockType) -> Result<(RawFd, RawFd), Errno>;
    /// `pipe2(O_CLOEXEC | O_NONBLOCK)`: the end that is read and the end that is written.
    fn pipe2(&self) -> Result<(RawFd, RawFd), Errno>;
    /// `fcntl(F_DUPFD_CLOEXEC)`: the lowest free number for the same open file.
    fn dup(&self, fd: RawFd) -> Result<RawFd, Errno>;
    /// Makes an open file non-blocking, for everybody who has a number for it (`fcntl(F_SETFL)`).
    fn set_nonblocking(&self, fd: RawFd) -> Result<(), Errno>;
    /// `bind`.
    fn bind(&self, fd: RawFd, addr: &SockAddr) -> Result<(), Errno>;
    /// `listen`.
    fn listen(&self, fd: RawFd, backlog: i32) -> Result<(), Errno>;
    /// `accept4`, with `SOCK_CLOEXEC | SOCK_NONBLOCK`. A Unix peer that is not bound is unnamed.
    fn accept4(&self, fd: RawFd) -> Result<(RawFd, SockAddr), Errno>;
    /// `connect`.
    fn connect(&self, fd: RawFd, addr: &SockAddr) -> Result<(), Errno>;
    /// `getsockname`.
    fn getsockname(&self, fd: RawFd) -> Result<SockAddr, Errno>;
    /// `getpeername`.
    fn getpeername(&self, fd: RawFd) -> Result<SockAddr, Errno>;
    /// `getsockopt` for an option whose value is an `int`.
    fn getsockopt(&self, fd: RawFd, level: i32, name: i32) -> Result<i32, Errno>;
    /// `setsockopt` for an option whose value is an `int`.
    fn setsockopt(&self, fd: RawFd, level: i32, name: i32, value: i32) -> Result<(), Errno>;
    /// `setsockopt` of `SO_LINGER`, whose value is no `int`: the seconds, or `None` for off.
    fn set_linger(&self, fd: RawFd, seconds: Option<u16>) -> Result<(), Errno>;
    /// `shutdown`.
    fn shutdown(&self, fd: RawFd, how: Shutdown) -> Result<(), Errno>;

    /// `read`, of any kind of file.
    fn read(&self, fd: RawFd, buf: &mut [u8]) -> Result<usize, Errno>;
    /// `readv`.
    fn readv(&self, fd: RawFd, bufs: &mut [io::IoSliceMut<'_>]) -> Result<usize, Errno>;
    /// `recv` with `MSG_PEEK`.
    fn peek(&self, fd: RawFd, buf: &mut [u8]) -> Result<usize, Errno>;
    /// `recvfrom`, with `MSG_PEEK` for `peek`. There is no address when the sender has none (an unbound
    /// Unix socket) or the protocol names none (a connection). Of a datagram that is longer than `buf`
    /// the rest is lost, and the result says nothing about it.
    fn recvfrom(
        &self,
        fd: RawFd,
        buf: &mut [u8],
        peek: bool,
    ) -> Result<(usize, Option<SockAddr>), Errno>;
    /// `write`, to any kind of file; `send` with `MSG_NOSIGNAL` on a socket.
    fn write(&self, fd: RawFd, buf: &[u8]) -> Result<usize, Errno>;
    /// `writev`, to any kind of file; `sendmsg` with `MSG_NOSIGNAL` on a socket.
    fn writev(&self, fd: RawFd, bufs: &[io::IoSlice<'_>]) -> Result<usize, Errno>;
    /// `sendto` with `MSG_NOSIGNAL`; without an address to the peer that the socket is connected to.
    fn sendto(&self, fd: RawFd, buf: &[u8], addr: Option<&SockAddr>) -> Result<usize, Errno>;
    /// `poll` of one file, which does not wait: those of `events` that hold now, in the bits of `epoll`,
    /// and `EPOLLERR` and `EPOLLHUP` unasked.
    fn poll(&self, fd: RawFd, events: u32) -> Result<u32, Errno>;
    /// `close`. The number is free afterwards whatever the result, so it is never retried.
    fn close(&self, fd: RawFd) -> Result<(), Errno>;

    /// `epoll_create1(EPOLL_CLOEXEC)`.
    fn epoll_create1(&self) -> Result<RawFd, Errno>;
    /// `epoll_ctl(EPOLL_CTL_ADD)`.
    fn epoll_add(&self, epfd: RawFd, fd: RawFd, event: EpollEvent) -> Result<(), Errno>;
    /// `epoll_ctl(EPOLL_CTL_MOD)`.
    fn epoll_mod(&self, epfd: RawFd, fd: RawFd, event: EpollEvent) -> Result<(), Errno>;
    /// `epoll_ctl(EPOLL_CTL_DEL)`.
    fn epoll_del(&self, epfd: RawFd, fd: RawFd) -> Result<(), Errno>;
    /// `epoll_wait`. `timeout_ms` is −1 for no limit. Fills `events` from the front and returns how
    /// many are there.
    fn epoll_wait(
        &self,
        epfd: RawFd,
        events: &mut [EpollEvent],
        timeout_ms: i32,
    ) -> Result<usize, Errno>;
    /// `eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)`.
    fn eventfd(&self) -> Result<RawFd, Errno>;

    /// Receives what the runtime has to say about itself. The default does nothing and costs nothing.
    #[inline]
    fn trace(&self, event: Event) {
        let _ = event;
    }

    /// The number of workers a runtime gets when nobody says (`NETPOLL_WORKERS` or the processors on
    /// the real platform).
    ///
    /// # Errors
    /// When the environment names a number that cannot be used.
    fn default_workers(&self) -> io::Result<usize>;

    /// Whether descriptors of this kernel are descriptors of the real operating system, so that they
    /// may be exchanged with `std`.
    fn is_real(&self) -> bool {
        false
    }

    /// The address of a host of this name, in a world that is not real and has hosts of its own.
    fn address_of(&self, name: &str) -> Option<IpAddr> {
        let _ = name;
        None
    }

    /// Makes an open descriptor that the caller gives up into one that `std` understands, which is a
    /// blocking one.
    ///
    /// # Errors
    /// `Unsupported` on a kernel that is not real; it is closed when it cannot be made blocking.
    fn own(&self, fd: RawFd) -> io::Result<OwnedFd> {
        let _ = fd;
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "a descriptor of a simulated kernel cannot leave it",
        ))
    }

    /// A point where the caller is about to touch state that is shared through something that is
    /// not a primitive of the platform (the user-level `sync` objects). A simulator may switch here.
    #[inline]
    fn checkpoint(&self) {}
}
