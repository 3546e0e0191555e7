//! The late-bound boundary between the concrete face and the generic runtime.
//!
//! User-visible types have no type parameter, so the same compiled program runs on the real kernel
//! and on a simulated one. They reach the runtime that made them through the two traits here: one
//! virtual call beside each system call. Everything below this boundary is generic over
//! [`Platform`](crate::platform::Platform); everything above it is not.
//!
//! Times are absolute nanoseconds of the runtime's clock ([`RuntimeOps::now`]).

use std::fmt::Debug;
use std::io;
use std::net::IpAddr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use crate::platform::{Domain, RawFd, Shutdown, SockAddr, SockType};
use crate::trace::{Mode, WaitReason};

/// A goroutine that is to be started.
pub struct Task {
    /// Its name, for dumps and reports.
    pub name: Option<Arc<str>>,
    /// Usable stack in bytes; `None` for the runtime's default.
    pub stack_size: Option<usize>,
    /// What it does. It must not unwind: the face catches panics inside.
    pub body: Box<dyn FnOnce() + Send>,
}

impl Debug for Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Task").field("name", &self.name).finish_non_exhaustive()
    }
}

/// How a park ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Wake {
    /// Somebody called [`RuntimeOps::unpark`] for this park.
    Unparked,
    /// The deadline passed first.
    TimedOut,
}

/// What the face asks of a runtime. `g` is always the table index of a goroutine of that runtime.
pub trait RuntimeOps: Debug + Send + Sync {
    /// A shared handle to this runtime.
    fn handle(&self) -> Arc<dyn RuntimeOps>;
    /// The monotonic clock, nanoseconds, never 0.
    fn now(&self) -> u64;
    /// Starts a goroutine. May be called from any thread.
    ///
    /// # Errors
    /// When there is no address space left for its stack, the stack size is absurd, or the runtime
    /// has been shut down.
    fn spawn(&self, task: Task) -> io::Result<()>;
    /// Opens a park of goroutine `g`, which must be the caller, and returns its ticket. Between this
    /// call and [`park`](RuntimeOps::park) anybody who holds the ticket may already unpark it.
    fn prepare_park(&self, g: u32) -> u64;
    /// Parks goroutine `g`, which must be the caller, until its ticket is used or `deadline` passes.
    /// Exactly one of the two ends it.
    fn park(&self, g: u32, ticket: u64, why: WaitReason, deadline: Option<u64>) -> Wake;
    /// Ends the park with this ticket. True when it did; false when the park had ended already,
    /// however long ago: a ticket is good for one park of one goroutine, for ever.
    fn unpark(&self, g: u32, ticket: u64) -> bool;
    /// Goroutine `g`, the caller, has panicked and caught it at its root: for the trace.
    fn note_panic(&self, g: u32) {
        let _ = g;
    }
    /// Lets the other goroutines of the caller's worker run first. The caller is goroutine `g`.
    fn yield_now(&self, g: u32);
    /// Runs `job` on the blocking pool. `job` must not unwind.
    ///
    /// # Errors
    /// When the pool cannot start a thread, or the runtime has been shut down.
    fn blocking(&self, job: Box<dyn FnOnce() + Send>) -> io::Result<()>;
    /// See [`Kernel::checkpoint`](crate::platform::Kernel::checkpoint).
    fn checkpoint(&self);
    /// Whether descriptors may be exchanged with `std`.
    fn is_real(&self) -> bool;
    /// See [`Kernel::address_of`](crate::platform::Kernel::address_of).
    fn address_of(&self, name: &str) -> Option<IpAddr> {
        let _ = name;
        None
    }

    /// A stream socket that is bound to `addr` and listens. An internet address may be used again
    /// at once (`SO_REUSEADDR`), as `std` does it.
    ///
    /// # Errors
    /// What the system calls return.
    fn listen(&self, addr: SockAddr, backlog: i32) -> io::Result<Arc<dyn Descriptor>>;
    /// A stream socket that is connected to `addr`.
    ///
    /// # Errors
    /// What the system calls return; `TimedOut` when `deadline` passes first.
    fn connect(&self, addr: SockAddr, deadline: Option<u64>) -> io::Result<Arc<dyn Descriptor>>;
    /// A datagram socket, bound to `addr` if there is one.
    ///
    /// # Errors
    /// What the system calls return.
    fn datagram(&self, domain: Domain, addr: Option<SockAddr>) -> io::Result<Arc<dyn Descriptor>>;
    /// Two Unix sockets that are connected to each other.
    ///
    /// # Errors
    /// What the system call returns.
    fn socketpair(&self, kind: SockType) -> io::Result<(Arc<dyn Descriptor>, Arc<dyn Descriptor>)>;
    /// A pipe: the end that is read and the end that is written.
    ///
    /// # Errors
    /// What the system call returns.
    fn pipe(&self) -> io::Result<(Arc<dyn Descriptor>, Arc<dyn Descriptor>)>;
    /// Takes over a descriptor of the operating system and makes it non-blocking.
    ///
    /// # Errors
    /// On a simulated kernel, or when it cannot be registered with the poller; it is closed then.
    fn adopt(&self, fd: OwnedFd) -> io::Result<Arc<dyn Descriptor>>;
    /// As [`adopt`](RuntimeOps::adopt), but the number stays the caller's, who must not close it before
    /// the descriptor is closed or dropped.
    ///
    /// # Errors
    /// As for `adopt`, without closing anything.
    fn watch(&self, fd: BorrowedFd<'_>) -> io::Result<Arc<dyn Descriptor>>;
}

/// Which deadlines a call sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deadlines {
    /// That of reads and accepts.
    Read,
    /// That of writes and connects.
    Write,
    /// Both, to the same time.
    Both,
}

/// An open descriptor of some runtime: what `TcpStream`, `UdpSocket` and their kin are made of.
///
/// Any thread and any goroutine may call any method at any time. Operations of one direction are
/// serialised; a call that has to wait parks the calling goroutine, or blocks the calling thread when
/// it is not a goroutine. After [`close`](Descriptor::close) every method returns the
/// closed error ([`crate::net::is_closed`]).
///
/// Dropping the last reference closes the descriptor.
pub trait Descriptor: Debug + Send + Sync {
    /// The runtime it belongs to.
    fn runtime(&self) -> Arc<dyn RuntimeOps>;
    /// Reads at least one byte, or 0 at the end of the stream; or one datagram.
    ///
    /// # Errors
    /// `TimedOut` past the read deadline, the closed error, or what the system call returned.
    fn read(&self, buf: &mut [u8]) -> io::Result<usize>;
    /// Reads into several buffers.
    ///
    /// # Errors
    /// As [`read`](Descriptor::read).
    fn readv(&self, bufs: &mut [io::IoSliceMut<'_>]) -> io::Result<usize>;
    /// As `read`, leaving in a socket what is read.
    ///
    /// # Errors
    /// As [`read`](Descriptor::read).
    fn peek(&self, buf: &mut [u8]) -> io::Result<usize>;
    /// Writes some bytes, at least one unless `buf` is empty; or one datagram.
    ///
    /// # Errors
    /// `TimedOut` past the write deadline, the closed error, or what the system call returned.
    fn write(&self, buf: &[u8]) -> io::Result<usize>;
    /// Writes all of `buf` as one operation: no other write comes between its parts.
    ///
    /// # Errors
    /// As [`write`](Descriptor::write); how much was written before an error is not reported.
    fn write_all(&self, buf: &[u8]) -> io::Result<()>;
    /// Writes from several buffers.
    ///
    /// # Errors
    /// As [`write`](Descriptor::write).
    fn writev(&self, bufs: &[io::IoSlice<'_>]) -> io::Result<usize>;
    /// Receives a datagram and says who sent it, if it is somebody with an address. With `peek` it stays.
    /// What does not fit into `buf` is lost.
    ///
    /// # Errors
    /// As [`read`](Descriptor::read).
    fn recv_from(&self, buf: &mut [u8], peek: bool) -> io::Result<(usize, Option<SockAddr>)>;
    /// Sends a datagram to `addr`.
    ///
    /// # Errors
    /// As [`write`](Descriptor::write).
    fn send_to(&self, buf: &[u8], addr: &SockAddr) -> io::Result<usize>;
    /// Connects a datagram socket: sets whom it sends to and from whom it receives.
    ///
    /// # Errors
    /// The closed error or what the system call returned.
    fn connect(&self, addr: &SockAddr) -> io::Result<()>;
    /// Takes the next connection of a listening socket. Survives `EINTR` and `ECONNABORTED`.
    ///
    /// # Errors
    /// `TimedOut` past the read deadline, the closed error, or what the system call returned
    /// (`EMFILE` and `ENFILE` among them).
    fn accept(&self) -> io::Result<(Arc<dyn Descriptor>, SockAddr)>;
    /// `shutdown(2)`.
    ///
    /// # Errors
    /// The closed error or what the system call returned.
    fn shutdown(&self, how: Shutdown) -> io::Result<()>;
    /// Closes the descriptor: releases everybody who waits on it and returns when its number is free.
    ///
    /// # Errors
    /// The closed error on the second call; else what `close(2)` returned.
    fn close(&self) -> io::Result<()>;
    /// Sets absolute deadlines; `None` removes them. A time that has passed releases current waiters.
    ///
    /// # Errors
    /// The closed error.
    fn set_deadline(&self, which: Deadlines, at: Option<u64>) -> io::Result<()>;
    /// The local address.
    ///
    /// # Errors
    /// The closed error or what the system call returned.
    fn local_addr(&self) -> io::Result<SockAddr>;
    /// The peer's address.
    ///
    /// # Errors
    /// The closed error or what the system call returned.
    fn peer_addr(&self) -> io::Result<SockAddr>;
    /// `getsockopt(2)` of an `int`.
    ///
    /// # Errors
    /// The closed error or what the system call returned.
    fn getsockopt(&self, level: i32, name: i32) -> io::Result<i32>;
    /// `setsockopt(2)` of an `int`.
    ///
    /// # Errors
    /// The closed error or what the system call returned.
    fn setsockopt(&self, level: i32, name: i32, value: i32) -> io::Result<()>;
    /// `setsockopt(2)` of `SO_LINGER`, on and with no time at all. Another time would let `close` block the
    /// worker, on a non-blocking socket too.
    ///
    /// # Errors
    /// The closed error or what the system call returned.
    fn set_zero_linger(&self) -> io::Result<()>;
    /// The descriptor's number. It is only a number: nothing keeps it open.
    fn raw_fd(&self) -> RawFd;
    /// Waits until a read (or write) is worth trying, and returns at once if it is already.
    ///
    /// # Errors
    /// As [`read`](Descriptor::read) and [`write`](Descriptor::write).
    fn wait(&self, mode: Mode) -> io::Result<()>;
    /// An operation that the caller makes up: called again at once when it says `Interrupted`, and when
    /// it says `WouldBlock`, after waiting until it is worth trying. It must not use this direction of
    /// this descriptor by other ways: its lock is held.
    ///
    /// # Errors
    /// As [`read`](Descriptor::read) and [`write`](Descriptor::write), or what `operation` returned.
    fn attempt(&self, mode: Mode, operation: &mut dyn FnMut() -> io::Result<()>) -> io::Result<()>;
    /// Takes the number out, leaving this descriptor closed without closing the number. Waits until no
    /// other operation uses it.
    ///
    /// # Errors
    /// The closed error; `Unsupported` on a simulated kernel.
    fn take_fd(&self) -> io::Result<OwnedFd>;
}
