//! The production platform of a runtime that records what it does.
//!
//! [`Recording`] is [`Os`] with another kernel: each call goes to the same [`OsKernel`] and is written down
//! with its result, and so is what the runtime says about itself. A runtime is generic over its
//! platform, so one that does not record is another instance of the same code, without so much as a branch
//! for it.
//!
//! Each thread writes into a [`Ring`] of its own, which is made when it first has something to say. A
//! thread that has ended leaves its ring behind: what it did belongs to the trace.

use std::cell::RefCell;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::{Os, OsKernel};
use crate::platform::{
    Domain, EpollEvent, Errno, Kernel, Platform, RawFd, Shutdown, SockAddr, SockType,
};
use crate::trace::Event;
use crate::trace::calls::{count, nothing, number, port, socket_kind};
use crate::trace::file::{Head, Origin, Writer, write_whole};
use crate::trace::ring::{Ring, Stamped};
use crate::trace::words::{KnownNames, Packed, SYSCALLS};

/// The production platform, recorded.
#[derive(Debug)]
pub enum Recording {}

impl Platform for Recording {
    type Kernel = RecordingKernel;
}

/// The rings of all threads that had something to say.
#[derive(Debug)]
pub struct Tracer {
    /// Tells tracers apart in a thread that serves several: it lives as long as anybody compares with it.
    token: Arc<()>,
    /// Records of each ring.
    records: usize,
    rings: Mutex<Vec<Named>>,
}

#[derive(Debug)]
struct Named {
    thread: thread::ThreadId,
    name: String,
    ring: Arc<Ring<Os>>,
}

/// The ring of a thread, and the token of the tracer that it belongs to.
struct Mine {
    token: Arc<()>,
    ring: Arc<Ring<Os>>,
}

thread_local! {
    /// The ring into which this thread wrote last.
    static RING: RefCell<Option<Mine>> = const { RefCell::new(None) };
}

impl Tracer {
    /// Keeps so many records of each thread.
    ///
    /// # Panics
    /// If it is to keep none.
    #[must_use]
    pub fn new(records: usize) -> Tracer {
        assert!(records > 0, "a tracer that keeps no records");
        Tracer { token: Arc::default(), records, rings: Mutex::default() }
    }

    /// Writes an event down. Not inlined: a goroutine may go on on another thread after any call, and
    /// where a thread-local lies must not be remembered across one.
    #[inline(never)]
    fn push(&self, event: Packed) {
        let now = OsKernel.clock();
        // A thread that is ending has no thread-locals any more, and nothing to say that matters.
        let _too_late = RING.try_with(|mine| {
            let mut mine = mine.borrow_mut();
            match &*mine {
                Some(mine) if Arc::ptr_eq(&mine.token, &self.token) => mine.ring.push(now, event),
                _ => {
                    let ring = self.ring_of_this_thread();
                    ring.push(now, event);
                    *mine = Some(Mine { token: self.token.clone(), ring });
                }
            }
        });
    }

    #[cold]
    fn ring_of_this_thread(&self) -> Arc<Ring<Os>> {
        let this = thread::current();
        let mut rings = self.rings.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(named) = rings.iter().find(|named| named.thread == this.id()) {
            return named.ring.clone();
        }
        let name = this.name().map_or_else(|| format!("thread-{}", rings.len()), str::to_string);
        let ring = Arc::new(Ring::new(self.records));
        rings.push(Named { thread: this.id(), name, ring: ring.clone() });
        ring
    }

    /// Writes what the rings hold now into a file, in the order of time.
    ///
    /// A ring that is full has lost its oldest records. What others have of that time says little
    /// without them, so it is left out.
    ///
    /// # Errors
    /// What the file system says.
    pub fn write(&self, path: &Path, title: &str) -> io::Result<()> {
        let rings: Vec<(String, Arc<Ring<Os>>)> = {
            let rings = self.rings.lock().unwrap_or_else(PoisonError::into_inner);
            rings.iter().map(|named| (named.name.clone(), named.ring.clone())).collect()
        };
        let mut records: Vec<(u32, Stamped)> = Vec::new();
        let (mut lost, mut since) = (0, 0);
        for ((_, ring), thread) in rings.iter().zip(0..) {
            let snapshot = ring.snapshot();
            if snapshot.lost > 0 {
                lost += snapshot.lost;
                since = since.max(snapshot.records.first().map_or(0, |record| record.t_ns));
            }
            records.extend(snapshot.records.into_iter().map(|record| (thread, record)));
        }
        let all = records.len();
        records.retain(|(_, record)| record.t_ns >= since);
        lost += (all - records.len()) as u64;
        // Stable: a thread's records stay in their order.
        records.sort_by_key(|(_, record)| record.t_ns);
        let threads: Vec<String> = rings.into_iter().map(|(name, _)| name).collect();
        let end = format!("{} records of {} threads", records.len(), threads.len());
        let head = Head {
            origin: Origin::Production,
            title,
            end: &end,
            violated: None,
            names: &SYSCALLS,
            threads: &threads,
            lost,
        };
        write_whole(path, |out| {
            let mut writer = Writer::new(out, &head)?;
            for (thread, record) in &records {
                writer.record(record.t_ns, *thread, &record.event)?;
            }
            writer.finish()?;
            Ok(())
        })
    }
}

/// The kernel of this machine, recorded.
#[derive(Clone, Debug)]
pub struct RecordingKernel {
    tracer: Arc<Tracer>,
}

impl RecordingKernel {
    /// Records into `tracer`.
    #[must_use]
    pub fn new(tracer: Arc<Tracer>) -> RecordingKernel {
        RecordingKernel { tracer }
    }

    /// A system call with its result.
    #[inline]
    fn call<R>(
        &self,
        name: &'static str,
        fd: RawFd,
        arg: i64,
        result: Result<R, Errno>,
        value: impl FnOnce(&R) -> i64,
    ) -> Result<R, Errno> {
        self.trace(Event::Syscall {
            name,
            fd,
            arg,
            result: result.as_ref().map(value).map_err(|&it| it),
        });
        result
    }

    /// As [`call`](RecordingKernel::call), for calls that make two descriptors: the second is the argument.
    fn call_for_two(
        &self,
        name: &'static str,
        result: Result<(RawFd, RawFd), Errno>,
    ) -> Result<(RawFd, RawFd), Errno> {
        let second = result.map_or(0, |(_, second)| second.into());
        self.call(name, -1, second, result, |&(first, _)| first.into())
    }
}

impl Kernel for RecordingKernel {
    #[inline]
    fn clock(&self) -> u64 {
        OsKernel.clock()
    }
    fn socket(&self, domain: Domain, kind: SockType) -> Result<RawFd, Errno> {
        let arg = socket_kind(domain, kind);
        self.call("socket", -1, arg, OsKernel.socket(domain, kind), number)
    }
    fn socketpair(&self, domain: Domain, kind: SockType) -> Result<(RawFd, RawFd), Errno> {
        self.call_for_two("socketpair", OsKernel.socketpair(domain, kind))
    }
    fn pipe2(&self) -> Result<(RawFd, RawFd), Errno> {
        self.call_for_two("pipe2", OsKernel.pipe2())
    }
    fn dup(&self, fd: RawFd) -> Result<RawFd, Errno> {
        self.call("dup", fd, 0, OsKernel.dup(fd), number)
    }
    fn set_nonblocking(&self, fd: RawFd) -> Result<(), Errno> {
        self.call("fcntl", fd, 0, OsKernel.set_nonblocking(fd), nothing)
    }
    fn bind(&self, fd: RawFd, addr: &SockAddr) -> Result<(), Errno> {
        self.call("bind", fd, port(addr), OsKernel.bind(fd, addr), nothing)
    }
    fn listen(&self, fd: RawFd, backlog: i32) -> Result<(), Errno> {
        self.call("listen", fd, backlog.into(), OsKernel.listen(fd, backlog), nothing)
    }
    fn accept4(&self, fd: RawFd) -> Result<(RawFd, SockAddr), Errno> {
        self.call("accept4", fd, 0, OsKernel.accept4(fd), |&(fd, _)| fd.into())
    }
    fn connect(&self, fd: RawFd, addr: &SockAddr) -> Result<(), Errno> {
        self.call("connect", fd, port(addr), OsKernel.connect(fd, addr), nothing)
    }
    fn getsockname(&self, fd: RawFd) -> Result<SockAddr, Errno> {
        self.call("getsockname", fd, 0, OsKernel.getsockname(fd), port)
    }
    fn getpeername(&self, fd: RawFd) -> Result<SockAddr, Errno> {
        self.call("getpeername", fd, 0, OsKernel.getpeername(fd), port)
    }
    fn getsockopt(&self, fd: RawFd, level: i32, name: i32) -> Result<i32, Errno> {
        let result = OsKernel.getsockopt(fd, level, name);
        self.call("getsockopt", fd, name.into(), result, |&value| value.into())
    }
    fn setsockopt(&self, fd: RawFd, level: i32, name: i32, value: i32) -> Result<(), Errno> {
        let result = OsKernel.setsockopt(fd, level, name, value);
        self.call("setsockopt", fd, name.into(), result, nothing)
    }
    fn set_linger(&self, fd: RawFd, seconds: Option<u16>) -> Result<(), Errno> {
        let result = OsKernel.set_linger(fd, seconds);
        self.call("setsockopt", fd, libc::SO_LINGER.into(), result, nothing)
    }
    fn shutdown(&self, fd: RawFd, how: Shutdown) -> Result<(), Errno> {
        self.call("shutdown", fd, how as i64, OsKernel.shutdown(fd, how), nothing)
    }
    #[inline]
    fn read(&self, fd: RawFd, buf: &mut [u8]) -> Result<usize, Errno> {
        let len = buf.len() as i64;
        self.call("read", fd, len, OsKernel.read(fd, buf), count)
    }
    fn readv(&self, fd: RawFd, bufs: &mut [io::IoSliceMut<'_>]) -> Result<usize, Errno> {
        let len: usize = bufs.iter().map(|buf| buf.len()).sum();
        self.call("readv", fd, len as i64, OsKernel.readv(fd, bufs), count)
    }
    fn peek(&self, fd: RawFd, buf: &mut [u8]) -> Result<usize, Errno> {
        let len = buf.len() as i64;
        self.call("peek", fd, len, OsKernel.peek(fd, buf), count)
    }
    fn recvfrom(
        &self,
        fd: RawFd,
        buf: &mut [u8],
        peek: bool,
    ) -> Result<(usize, Option<SockAddr>), Errno> {
        let (name, len) = (if peek { "peek" } else { "recvfrom" }, buf.len() as i64);
        self.call(name, fd, len, OsKernel.recvfrom(fd, buf, peek), |(count, _)| *count as i64)
    }
    #[inline]
    fn write(&self, fd: RawFd, buf: &[u8]) -> Result<usize, Errno> {
        self.call("write", fd, buf.len() as i64, OsKernel.write(fd, buf), count)
    }
    fn writev(&self, fd: RawFd, bufs: &[io::IoSlice<'_>]) -> Result<usize, Errno> {
        let len: usize = bufs.iter().map(|buf| buf.len()).sum();
        self.call("writev", fd, len as i64, OsKernel.writev(fd, bufs), count)
    }
    fn sendto(&self, fd: RawFd, buf: &[u8], addr: Option<&SockAddr>) -> Result<usize, Errno> {
        self.call("sendto", fd, buf.len() as i64, OsKernel.sendto(fd, buf, addr), count)
    }
    fn poll(&self, fd: RawFd, events: u32) -> Result<u32, Errno> {
        self.call("poll", fd, events.into(), OsKernel.poll(fd, events), |&ready| ready.into())
    }
    fn close(&self, fd: RawFd) -> Result<(), Errno> {
        // Before the call: after it, the number may be in the record of another thread's call already.
        self.trace(Event::Syscall { name: "close", fd, arg: 0, result: Ok(0) });
        let result = OsKernel.close(fd);
        if result.is_err() {
            self.trace(Event::Syscall { name: "close", fd, arg: 0, result: result.map(|()| 0) });
        }
        result
    }
    fn epoll_create1(&self) -> Result<RawFd, Errno> {
        self.call("epoll_create1", -1, 0, OsKernel.epoll_create1(), number)
    }
    fn epoll_add(&self, epfd: RawFd, fd: RawFd, event: EpollEvent) -> Result<(), Errno> {
        let result = OsKernel.epoll_add(epfd, fd, event);
        self.call("epoll_add", epfd, fd.into(), result, nothing)
    }
    fn epoll_mod(&self, epfd: RawFd, fd: RawFd, event: EpollEvent) -> Result<(), Errno> {
        let result = OsKernel.epoll_mod(epfd, fd, event);
        self.call("epoll_mod", epfd, fd.into(), result, nothing)
    }
    fn epoll_del(&self, epfd: RawFd, fd: RawFd) -> Result<(), Errno> {
        self.call("epoll_del", epfd, fd.into(), OsKernel.epoll_del(epfd, fd), nothing)
    }
    fn epoll_wait(
        &self,
        epfd: RawFd,
        events: &mut [EpollEvent],
        timeout_ms: i32,
    ) -> Result<usize, Errno> {
        let result = OsKernel.epoll_wait(epfd, events, timeout_ms);
        let result = self.call("epoll_wait", epfd, timeout_ms.into(), result, count);
        for event in &events[..result.unwrap_or(0)] {
            self.trace(Event::Polled { data: event.data, events: event.events });
        }
        result
    }
    fn eventfd(&self) -> Result<RawFd, Errno> {
        self.call("eventfd", -1, 0, OsKernel.eventfd(), number)
    }
    #[inline]
    fn trace(&self, event: Event) {
        self.tracer.push(event.pack(&KnownNames));
    }
    fn default_workers(&self) -> io::Result<usize> {
        OsKernel.default_workers()
    }
    fn is_real(&self) -> bool {
        true
    }
    fn own(&self, fd: RawFd) -> io::Result<OwnedFd> {
        // The number is somebody else's from here on, who may close it: to this trace it is closed.
        self.trace(Event::Syscall { name: "close", fd, arg: 1, result: Ok(0) });
        OsKernel.own(fd)
    }
}
