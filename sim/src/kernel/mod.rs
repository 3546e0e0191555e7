//! The simulated kernel: descriptors, pipes, sockets and `epoll` of one Linux machine.
//!
//! [`SimKernel`] is a handle; clones share one kernel. Every call is a point of the engine twice,
//! before it takes effect and after it, so that another thread can come between a harvest of events
//! and their dispatch, and is recorded with its result. The kernel proper is a plain state machine, and
//! the threads that call it, the clock and the choices belong to a [`Host`]: the engine of this crate
//! for [`SimKernel`], a model checker for the models.
//!
//! | file | what it is |
//! |---|---|
//! | `host.rs` | what the kernel stands on, and the engine as that |
//! | `machine.rs` | numbers, files, readiness, wake-ups |
//! | `files.rs`, `socket.rs`, `options.rs` | the calls, before they part by kind of file |
//! | `epoll.rs`, `wait.rs` | interest list, ready list; a thread that waits |
//! | `eventfd.rs`, `pipe.rs` | the counter; the ring of pages |
//! | `tcp.rs`, `tcp_calls.rs`, `wire.rs` | one end of a connection; its calls; what travels between two |
//! | `site.rs`, `disk.rs` | a host: its process and its addresses; what survives its crash |
//! | `links.rs`, `loss.rs` | the network between hosts; what TCP makes of its gaps |
//! | `udp.rs` | datagrams that may get lost |
//! | `unix.rs`, `unix_stream.rs`, `unix_datagram.rs` | sockets of this machine, and their names |
//! | `net.rs`, `flight.rs`, `bytes.rs` | addresses and ports; packets in flight; queues |
//!
//! What Linux leaves open is a [choice](crate::choice): lengths and delays of segments, the order and
//! the number of events that one `epoll_wait` returns, how late a timer is, when a signal interrupts, and
//! the [faults](crate::faults). A *short read* is none: a read that is shorter than asked has emptied the
//! queue, which epoll(7) lets a program rely on.
//!
//! A rule that a reader may doubt names its source: a manual page, or a function of Linux's, whose effect
//! was measured. Scripts in `kernel/tests/` and random ones of [`conform`](mod@crate::conform) run in
//! lock-step against the kernel of this machine.

mod bytes;
mod disk;
mod env;
mod epoll;
mod eventfd;
mod files;
mod flight;
mod host;
mod links;
mod loss;
mod machine;
mod net;
mod options;
mod pipe;
mod site;
mod socket;
mod tcp;
mod tcp_calls;
#[cfg(test)]
mod tests;
mod udp;
mod unix;
mod unix_datagram;
mod unix_stream;
mod wait;
mod wire;

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use netpoll::platform::{
    Domain, EpollEvent, Errno, Kernel, RawFd, Shutdown, SockAddr, SockType, UnixAddr,
};
use netpoll::trace::Event;
use netpoll::trace::calls::{count, nothing, number, port, socket_kind};
use netpoll_traces::{BlockedOn, Readiness};

pub(crate) use disk::Disk;
pub use env::{Env, Outside};
pub use host::{EngineHost, Host};
pub use machine::Machine;
use machine::Object;
pub use net::NetConfig;
pub use site::HostId;
use wait::Wait;

/// The simulated kernel of one run, on the engine.
pub type SimKernel = Simulated<EngineHost>;

/// A handle to a simulated kernel on some host.
pub struct Simulated<H> {
    host: Arc<H>,
    /// The host of the simulated network whose process this is a handle of.
    id: HostId,
}

impl<H> Clone for Simulated<H> {
    fn clone(&self) -> Simulated<H> {
        Simulated { host: Arc::clone(&self.host), id: self.id }
    }
}

impl<H> fmt::Debug for Simulated<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulated").finish_non_exhaustive()
    }
}

/// A descriptor that is open, with what there is to know about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenFd {
    /// Its number.
    pub fd: RawFd,
    /// The open file description behind it: never used again in the run, unlike the number, and shared by
    /// its duplicates.
    pub file: u32,
    /// What kind of file it is: `tcp`, `tcp listener`, `udp`, `unix`, `unix listener`, `unix datagram`,
    /// `pipe reader`, `pipe writer`, `file`, `epoll` or `eventfd`.
    pub kind: &'static str,
    /// Its readiness, in the bits of `epoll`.
    pub ready: u32,
    /// The mask it is registered with under this number, if it is with any epoll instance, and whether
    /// an event stands on that instance's ready list.
    pub interest: Option<(u32, bool)>,
}

impl fmt::Display for OpenFd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fd{} {}: {}", self.fd, self.kind, Readiness(self.ready))?;
        match self.interest {
            None => f.write_str(", not registered"),
            Some((_, true)) => f.write_str(", event queued"),
            Some((_, false)) => f.write_str(", no event queued"),
        }
    }
}

impl<H: Host> Simulated<H> {
    /// A kernel in which nothing has happened, on this host.
    #[must_use]
    pub fn on(host: H) -> Simulated<H> {
        Simulated { host: Arc::new(host), id: HostId::TEST }
    }

    /// The same kernel, as the process of another host has it.
    #[must_use]
    pub(crate) fn of(&self, id: HostId) -> Simulated<H> {
        Simulated { host: Arc::clone(&self.host), id }
    }

    /// One step of the machine, made by this process.
    #[inline]
    fn step<R>(&self, step: impl FnOnce(&mut Machine, &Env<'_>) -> R) -> R {
        self.host.step(|machine, env| {
            machine.enter(self.id);
            step(machine, env)
        })
    }

    /// Whether nobody else has a handle of this kernel.
    pub(crate) fn is_alone(&self) -> bool {
        Arc::strong_count(&self.host) == 1
    }

    /// What it stands on.
    #[must_use]
    pub fn host(&self) -> &H {
        &self.host
    }

    /// One system call: a point, the effect, the record of it, and another point.
    #[inline]
    fn call<R>(
        &self,
        name: &'static str,
        fd: RawFd,
        arg: i64,
        effect: impl FnOnce(&mut Machine, &Env<'_>) -> Result<R, Errno>,
        value: impl FnOnce(&R) -> i64,
    ) -> Result<R, Errno> {
        self.host.enter();
        let result = self.step(effect);
        self.finish(name, fd, arg, result.as_ref().map(value));
        result
    }

    /// The end of a system call.
    #[inline]
    fn finish(&self, name: &'static str, fd: RawFd, arg: i64, result: Result<i64, &Errno>) {
        let result = result.map_err(|&errno| errno);
        self.host.record(Event::Syscall { name, fd, arg, result });
        self.host.leave();
    }

    /// As [`call`](Simulated::call), for calls that make two descriptors: the first is recorded as the result,
    /// the second as the argument.
    fn call_for_two(
        &self,
        name: &'static str,
        effect: impl FnOnce(&mut Machine, &Env<'_>) -> Result<(RawFd, RawFd), Errno>,
    ) -> Result<(RawFd, RawFd), Errno> {
        self.host.enter();
        let result = self.step(effect);
        let second = result.map_or(0, |(_, second)| second.into());
        self.finish(name, -1, second, result.as_ref().map(|&(first, _)| first.into()));
        result
    }

    /// `unlink` of the path of a Unix socket. Not part of the seam: on the real kernel it is the file
    /// system's.
    ///
    /// # Errors
    /// `ENOENT`.
    pub fn unlink(&self, path: &UnixAddr) -> Result<(), Errno> {
        self.call("unlink", -1, 0, |m, _| m.unlink(*path), nothing)
    }

    /// An empty file on a disk, which `epoll` refuses with `EPERM`. Not part of the seam, which opens none.
    ///
    /// # Errors
    /// `EMFILE`.
    pub fn open_regular(&self) -> Result<RawFd, Errno> {
        self.call("open", -1, 0, |m, _| m.create(|| Object::Regular), number)
    }

    /// The open descriptors, in order.
    #[must_use]
    pub fn open_fds(&self) -> Vec<OpenFd> {
        self.step(|machine, _| open_fds(machine))
    }

    /// The blocking part of `epoll_wait`.
    fn wait(
        &self,
        epfd: RawFd,
        events: &mut [EpollEvent],
        timeout_ms: i32,
    ) -> Result<usize, Errno> {
        let mut wait = Wait::new(self.host.waiter(), timeout_ms);
        loop {
            let result = self.step(|machine, env| wait.attempt(machine, env, epfd, events));
            if let Some(result) = result {
                return result;
            }
            let until_ns = wait.until_ns();
            wait.woken(self.host.block(wait.waiter, BlockedOn::Poll(epfd), until_ns));
        }
    }
}

fn open_fds(machine: &Machine) -> Vec<OpenFd> {
    let describe = |(fd, id)| {
        let file = machine.file(id);
        let watch = file.watches.iter().find(|watch| watch.fd == fd);
        OpenFd {
            fd,
            file: id.number(),
            kind: kind_of(&file.object),
            ready: machine.readiness(id),
            interest: watch.and_then(|watch| machine.epoll(watch.ep).interest((fd, id))),
        }
    };
    machine.open_numbers().map(describe).collect()
}

fn kind_of(object: &Object) -> &'static str {
    match object {
        Object::Epoll(_) => "epoll",
        Object::EventFd(_) => "eventfd",
        Object::Pipe(_) => "pipe reader",
        Object::PipeWriter(_) => "pipe writer",
        Object::Regular => "file",
        Object::Tcp(tcp) if tcp.is_listening() => "tcp listener",
        Object::Tcp(_) => "tcp",
        Object::Udp(_) => "udp",
        Object::Unix(unix) if unix.is_listening() => "unix listener",
        Object::Unix(unix) if unix.kind == SockType::Datagram => "unix datagram",
        Object::Unix(_) => "unix",
    }
}

impl<H: Host> Kernel for Simulated<H> {
    fn clock(&self) -> u64 {
        self.host.glance()
    }

    fn socket(&self, domain: Domain, kind: SockType) -> Result<RawFd, Errno> {
        let arg = socket_kind(domain, kind);
        self.call("socket", -1, arg, |m, env| m.socket(env, domain, kind), number)
    }

    fn socketpair(&self, domain: Domain, kind: SockType) -> Result<(RawFd, RawFd), Errno> {
        self.call_for_two("socketpair", |m, env| m.socketpair(env, domain, kind))
    }

    fn pipe2(&self) -> Result<(RawFd, RawFd), Errno> {
        self.call_for_two("pipe2", |m, env| m.pipe(env))
    }

    fn dup(&self, fd: RawFd) -> Result<RawFd, Errno> {
        self.call("dup", fd, 0, |m, env| m.dup(env, fd), number)
    }

    fn set_nonblocking(&self, fd: RawFd) -> Result<(), Errno> {
        // Everything is non-blocking from birth.
        self.call("fcntl", fd, 0, |m, _| m.lookup(fd).map(drop), nothing)
    }

    fn bind(&self, fd: RawFd, addr: &SockAddr) -> Result<(), Errno> {
        self.call("bind", fd, port(addr), |m, env| m.bind(env, fd, addr), nothing)
    }

    fn listen(&self, fd: RawFd, backlog: i32) -> Result<(), Errno> {
        let arg = i64::from(backlog);
        self.call("listen", fd, arg, |m, env| m.listen(env, fd, backlog), nothing)
    }

    fn accept4(&self, fd: RawFd) -> Result<(RawFd, SockAddr), Errno> {
        let value = |(fd, _): &(RawFd, SockAddr)| i64::from(*fd);
        self.call("accept4", fd, 0, |m, env| m.accept(env, fd), value)
    }

    fn connect(&self, fd: RawFd, addr: &SockAddr) -> Result<(), Errno> {
        let arg = port(addr);
        self.call("connect", fd, arg, |m, env| m.connect(env, fd, addr), nothing)
    }

    fn getsockname(&self, fd: RawFd) -> Result<SockAddr, Errno> {
        self.call("getsockname", fd, 0, |m, _| m.getsockname(fd), port)
    }

    fn getpeername(&self, fd: RawFd) -> Result<SockAddr, Errno> {
        self.call("getpeername", fd, 0, |m, _| m.getpeername(fd), port)
    }

    fn getsockopt(&self, fd: RawFd, level: i32, name: i32) -> Result<i32, Errno> {
        let get = |m: &mut Machine, _: &Env<'_>| m.getsockopt(fd, level, name);
        self.call("getsockopt", fd, name.into(), get, |&value| value.into())
    }

    fn setsockopt(&self, fd: RawFd, level: i32, name: i32, value: i32) -> Result<(), Errno> {
        let set = |m: &mut Machine, _: &Env<'_>| m.setsockopt(fd, level, name, value);
        self.call("setsockopt", fd, name.into(), set, nothing)
    }

    fn set_linger(&self, fd: RawFd, seconds: Option<u16>) -> Result<(), Errno> {
        let set = |m: &mut Machine, _: &Env<'_>| m.set_linger(fd, seconds);
        self.call("setsockopt", fd, libc::SO_LINGER.into(), set, nothing)
    }

    fn shutdown(&self, fd: RawFd, how: Shutdown) -> Result<(), Errno> {
        let arg = how as i64;
        self.call("shutdown", fd, arg, |m, env| m.shutdown(env, fd, how), nothing)
    }

    fn read(&self, fd: RawFd, buf: &mut [u8]) -> Result<usize, Errno> {
        let arg = buf.len() as i64;
        self.call("read", fd, arg, |m, env| m.read(env, fd, buf), count)
    }

    fn readv(&self, fd: RawFd, bufs: &mut [io::IoSliceMut<'_>]) -> Result<usize, Errno> {
        let arg: usize = bufs.iter().map(|buf| buf.len()).sum();
        self.call("readv", fd, arg as i64, |m, env| m.readv(env, fd, bufs), count)
    }

    fn peek(&self, fd: RawFd, buf: &mut [u8]) -> Result<usize, Errno> {
        let arg = buf.len() as i64;
        let value = |(count, _): &(usize, _)| *count as i64;
        let result = self.call("peek", fd, arg, |m, env| m.receive(env, fd, buf, true), value);
        result.map(|(count, _)| count)
    }

    fn recvfrom(
        &self,
        fd: RawFd,
        buf: &mut [u8],
        peek: bool,
    ) -> Result<(usize, Option<SockAddr>), Errno> {
        let (name, arg) = (if peek { "peek" } else { "recvfrom" }, buf.len() as i64);
        let value = |(count, _): &(usize, Option<SockAddr>)| *count as i64;
        self.call(name, fd, arg, |m, env| m.receive(env, fd, buf, peek), value)
    }

    fn write(&self, fd: RawFd, buf: &[u8]) -> Result<usize, Errno> {
        let arg = buf.len() as i64;
        self.call("write", fd, arg, |m, env| m.write(env, fd, &[buf], false), count)
    }

    fn writev(&self, fd: RawFd, bufs: &[io::IoSlice<'_>]) -> Result<usize, Errno> {
        let parts: Vec<&[u8]> = bufs.iter().map(|buf| &**buf).collect();
        let arg: usize = parts.iter().map(|part| part.len()).sum();
        self.call("writev", fd, arg as i64, |m, env| m.write(env, fd, &parts, true), count)
    }

    fn sendto(&self, fd: RawFd, buf: &[u8], addr: Option<&SockAddr>) -> Result<usize, Errno> {
        let arg = buf.len() as i64;
        self.call("sendto", fd, arg, |m, env| m.send(env, fd, &[buf], addr), count)
    }

    fn poll(&self, fd: RawFd, events: u32) -> Result<u32, Errno> {
        let asked = events | libc::EPOLLERR as u32 | libc::EPOLLHUP as u32;
        let ready = |m: &mut Machine, _: &Env<'_>| {
            let file = m.lookup(fd)?;
            Ok(m.poll(file, asked) & asked)
        };
        self.call("poll", fd, events.into(), ready, |&ready| ready.into())
    }

    fn close(&self, fd: RawFd) -> Result<(), Errno> {
        self.call("close", fd, 0, |m, env| m.close(env, fd), nothing)
    }

    fn epoll_create1(&self) -> Result<RawFd, Errno> {
        let create =
            |m: &mut Machine, _: &Env<'_>| m.create(|| Object::Epoll(epoll::Epoll::default()));
        self.call("epoll_create1", -1, 0, create, number)
    }

    fn epoll_add(&self, epfd: RawFd, fd: RawFd, event: EpollEvent) -> Result<(), Errno> {
        let add = |m: &mut Machine, env: &Env<'_>| m.epoll_add(env, epfd, fd, event);
        self.call("epoll_add", epfd, fd.into(), add, nothing)
    }

    fn epoll_mod(&self, epfd: RawFd, fd: RawFd, event: EpollEvent) -> Result<(), Errno> {
        let modify = |m: &mut Machine, env: &Env<'_>| m.epoll_mod(env, epfd, fd, event);
        self.call("epoll_mod", epfd, fd.into(), modify, nothing)
    }

    fn epoll_del(&self, epfd: RawFd, fd: RawFd) -> Result<(), Errno> {
        let del = |m: &mut Machine, _: &Env<'_>| m.epoll_del(epfd, fd);
        self.call("epoll_del", epfd, fd.into(), del, nothing)
    }

    fn epoll_wait(
        &self,
        epfd: RawFd,
        events: &mut [EpollEvent],
        timeout_ms: i32,
    ) -> Result<usize, Errno> {
        self.host.enter();
        let result = self.wait(epfd, events, timeout_ms);
        self.finish("epoll_wait", epfd, timeout_ms.into(), result.as_ref().map(count));
        result
    }

    fn eventfd(&self) -> Result<RawFd, Errno> {
        let create = |m: &mut Machine, _: &Env<'_>| {
            m.create(|| Object::EventFd(eventfd::EventFd::default()))
        };
        self.call("eventfd", -1, 0, create, number)
    }

    #[inline]
    fn trace(&self, event: Event) {
        self.host.record(event);
    }

    fn address_of(&self, name: &str) -> Option<IpAddr> {
        self.host.address_of(name)
    }

    fn default_workers(&self) -> io::Result<usize> {
        Ok(self.host.workers())
    }

    #[inline]
    fn checkpoint(&self) {
        self.host.checkpoint();
    }
}
