//! The simulated kernel: enough of Linux for TCP over loopback with `epoll`.
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
//! | `machine.rs` | numbers, files, wake-ups, packets in flight |
//! | `socket.rs` | the socket calls |
//! | `tcp.rs` | one end of a connection: states, buffers, readiness |
//! | `wire.rs` | segments, handshake, FIN and RST between two ends |
//! | `net.rs` | addresses and ports |
//! | `epoll.rs` | interest list, ready list |
//! | `eventfd.rs` | the counter |
//!
//! What Linux leaves open is a [choice](crate::choice): lengths and delays of segments, the order and
//! the number of events that one `epoll_wait` returns, when a signal interrupts, and the
//! [faults](crate::faults).
//!
//! Tested by scripts in `kernel/tests/`, some of which run in lock-step against the kernel of this
//! machine.

mod epoll;
mod eventfd;
mod host;
mod machine;
mod net;
mod socket;
mod tcp;
#[cfg(test)]
mod tests;
mod wire;

use std::fmt;
use std::io;
use std::sync::Arc;

use netpoll::platform::{Domain, EpollEvent, Errno, Kernel, RawFd, Shutdown, SockAddr, SockType};
use netpoll::trace::Event;
use netpoll_traces::{BlockedOn, Readiness};

use crate::choice::ChoiceKind;
use crate::engine::{NEVER, Wake};
use crate::faults::FaultKind;
pub use host::{EngineHost, Host};
pub use machine::{Env, Machine};
use machine::{FileId, Object};
pub use net::NetConfig;

/// The simulated kernel of one run, on the engine.
pub type SimKernel = Simulated<EngineHost>;

/// A handle to a simulated kernel on some host.
pub struct Simulated<H> {
    host: Arc<H>,
}

impl<H> Clone for Simulated<H> {
    fn clone(&self) -> Simulated<H> {
        Simulated { host: Arc::clone(&self.host) }
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
    /// What kind of file it is: `tcp`, `tcp listener`, `epoll` or `eventfd`.
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
        Simulated { host: Arc::new(host) }
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
        effect: impl FnOnce(&mut Machine, &dyn Env) -> Result<R, Errno>,
        value: impl FnOnce(&R) -> i64,
    ) -> Result<R, Errno> {
        self.host.enter();
        let result = self.host.step(effect);
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

    /// The open descriptors, in order.
    #[must_use]
    pub fn open_fds(&self) -> Vec<OpenFd> {
        self.host.step(|machine, _| open_fds(machine))
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
            let result = self.host.step(|machine, env| wait.attempt(machine, env, epfd, events));
            if let Some(result) = result {
                return result;
            }
            let until_ns = wait.until_ns();
            wait.woken(self.host.block(wait.waiter, BlockedOn::Poll(epfd), until_ns));
        }
    }
}

fn open_fds(machine: &mut Machine) -> Vec<OpenFd> {
    let numbers: Vec<_> = machine.open_numbers().collect();
    let describe = |(fd, file)| {
        let kind = match &machine.file(file).object {
            Object::Epoll(_) => "epoll",
            Object::EventFd(_) => "eventfd",
            Object::Tcp(tcp) if tcp.state == tcp::State::Listen => "tcp listener",
            Object::Tcp(_) => "tcp",
        };
        let watches = machine.file(file).watches.clone();
        let watch = watches.into_iter().find(|watch| watch.fd == fd);
        OpenFd {
            fd,
            file: file.number(),
            kind,
            ready: machine.readiness(file),
            interest: watch.and_then(|watch| machine.epoll_mut(watch.ep).interest((fd, file))),
        }
    };
    numbers.into_iter().map(describe).collect()
}

/// One call of `epoll_wait`, from its first look at the ready list to its return.
struct Wait {
    waiter: u16,
    timeout_ms: i32,
    /// The instance, which the call keeps open while it is blocked; `None` before the first look.
    ep: Option<FileId>,
    deadline_ns: u64,
    /// When a signal comes; `None` before the call has had a reason to block.
    interrupt_ns: Option<u64>,
    /// What it returns if the next look brings nothing.
    end: Option<Result<usize, Errno>>,
}

impl Wait {
    fn new(waiter: u16, timeout_ms: i32) -> Wait {
        let end = (timeout_ms == 0).then_some(Ok(0));
        Wait { waiter, timeout_ms, ep: None, deadline_ns: NEVER, interrupt_ns: None, end }
    }

    /// When the blocked call gets up by itself.
    fn until_ns(&self) -> u64 {
        self.deadline_ns.min(self.interrupt_ns.unwrap_or(NEVER))
    }

    /// The block has ended.
    fn woken(&mut self, wake: Wake) {
        match wake {
            Wake::Woken => {}
            Wake::Interrupted => self.end = Some(Err(Errno::EINTR)),
            Wake::TimedOut => {
                let interrupted = self.interrupt_ns.unwrap_or(NEVER) < self.deadline_ns;
                self.end = Some(if interrupted { Err(Errno::EINTR) } else { Ok(0) });
            }
        }
    }

    /// A look at the ready list. `None`: the caller is registered as a waiter and has to block.
    fn attempt(
        &mut self,
        machine: &mut Machine,
        env: &dyn Env,
        epfd: RawFd,
        events: &mut [EpollEvent],
    ) -> Option<Result<usize, Errno>> {
        let ep = match self.ep {
            Some(ep) => ep,
            None => match self.begin(machine, env, epfd, events) {
                Ok(ep) => ep,
                Err(errno) => return Some(Err(errno)),
            },
        };
        machine.epoll_mut(ep).waiters.retain(|&other| other != self.waiter);
        let taken = machine.harvest(env, ep, events);
        let result = if taken > 0 { Some(Ok(taken)) } else { self.end };
        if result.is_some() {
            machine.unpin(env, ep);
            return result;
        }
        self.interrupt_ns.get_or_insert_with(|| {
            if env.strikes(FaultKind::PollEintr) {
                env.now_ns() + env.delay_ns(ChoiceKind::InterruptDelay)
            } else {
                NEVER
            }
        });
        machine.epoll_mut(ep).waiters.push(self.waiter);
        None
    }

    fn begin(
        &mut self,
        machine: &mut Machine,
        env: &dyn Env,
        epfd: RawFd,
        events: &[EpollEvent],
    ) -> Result<FileId, Errno> {
        let ep = machine.epoll_file(epfd)?;
        if events.is_empty() {
            return Err(Errno::EINVAL);
        }
        if let Ok(ms) = u64::try_from(self.timeout_ms) {
            self.deadline_ns = env.now_ns() + ms * 1_000_000;
        }
        machine.file_mut(ep).pins += 1;
        self.ep = Some(ep);
        Ok(ep)
    }
}

/// The value that a call without one is recorded with.
fn nothing(_: &()) -> i64 {
    0
}

fn count(count: &usize) -> i64 {
    *count as i64
}

fn number(fd: &RawFd) -> i64 {
    i64::from(*fd)
}

impl<H: Host> Kernel for Simulated<H> {
    fn clock(&self) -> u64 {
        self.host.glance()
    }

    fn socket(&self, domain: Domain, kind: SockType) -> Result<RawFd, Errno> {
        self.call("socket", -1, 0, |m, env| m.socket(env, domain, kind), number)
    }

    fn socketpair(&self, _domain: Domain, _kind: SockType) -> Result<(RawFd, RawFd), Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    fn pipe2(&self) -> Result<(RawFd, RawFd), Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    fn dup(&self, fd: RawFd) -> Result<RawFd, Errno> {
        self.call("dup", fd, 0, |m, _| m.dup(fd), number)
    }

    fn set_nonblocking(&self, _fd: RawFd) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    fn bind(&self, fd: RawFd, addr: &SockAddr) -> Result<(), Errno> {
        self.call("bind", fd, port(addr), |m, _| m.bind(fd, addr), nothing)
    }

    fn listen(&self, fd: RawFd, backlog: i32) -> Result<(), Errno> {
        let arg = i64::from(backlog);
        self.call("listen", fd, arg, |m, _| m.listen(fd, backlog), nothing)
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
        let name = |m: &mut Machine, _: &dyn Env| m.socket_at(fd).map(|(_, tcp)| tcp.local.into());
        self.call("getsockname", fd, 0, name, port)
    }

    fn getpeername(&self, fd: RawFd) -> Result<SockAddr, Errno> {
        let name = |m: &mut Machine, _: &dyn Env| {
            let (_, tcp) = m.socket_at(fd)?;
            tcp.peer_name().map(SockAddr::Inet)
        };
        self.call("getpeername", fd, 0, name, port)
    }

    fn getsockopt(&self, fd: RawFd, level: i32, name: i32) -> Result<i32, Errno> {
        let get = |m: &mut Machine, _: &dyn Env| m.getsockopt(fd, level, name);
        self.call("getsockopt", fd, name.into(), get, |&value| value.into())
    }

    fn setsockopt(&self, fd: RawFd, level: i32, name: i32, value: i32) -> Result<(), Errno> {
        let set = |m: &mut Machine, _: &dyn Env| m.setsockopt(fd, level, name, value);
        self.call("setsockopt", fd, name.into(), set, nothing)
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
        self.call("peek", fd, arg, |m, env| m.peek(env, fd, buf), count)
    }

    fn recvfrom(
        &self,
        _fd: RawFd,
        _buf: &mut [u8],
        _peek: bool,
    ) -> Result<(usize, Option<SockAddr>), Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    fn write(&self, fd: RawFd, buf: &[u8]) -> Result<usize, Errno> {
        let arg = buf.len() as i64;
        self.call("write", fd, arg, |m, env| m.write(env, fd, &[buf]), count)
    }

    fn writev(&self, fd: RawFd, bufs: &[io::IoSlice<'_>]) -> Result<usize, Errno> {
        let parts: Vec<&[u8]> = bufs.iter().map(|buf| &**buf).collect();
        let arg: usize = parts.iter().map(|part| part.len()).sum();
        self.call("writev", fd, arg as i64, |m, env| m.write(env, fd, &parts), count)
    }

    fn sendto(&self, _fd: RawFd, _buf: &[u8], _addr: Option<&SockAddr>) -> Result<usize, Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    fn poll(&self, fd: RawFd, events: u32) -> Result<u32, Errno> {
        let asked = events | libc::EPOLLERR as u32 | libc::EPOLLHUP as u32;
        let ready = |m: &mut Machine, _: &dyn Env| {
            let file = m.lookup(fd)?;
            Ok(m.readiness(file) & asked)
        };
        self.call("poll", fd, events.into(), ready, |&ready| ready.into())
    }

    fn close(&self, fd: RawFd) -> Result<(), Errno> {
        self.call("close", fd, 0, |m, env| m.close(env, fd), nothing)
    }

    fn epoll_create1(&self) -> Result<RawFd, Errno> {
        let create =
            |m: &mut Machine, _: &dyn Env| m.create(|| Object::Epoll(epoll::Epoll::default()));
        self.call("epoll_create1", -1, 0, create, number)
    }

    fn epoll_add(&self, epfd: RawFd, fd: RawFd, event: EpollEvent) -> Result<(), Errno> {
        let add = |m: &mut Machine, env: &dyn Env| m.epoll_add(env, epfd, fd, event);
        self.call("epoll_add", epfd, fd.into(), add, nothing)
    }

    fn epoll_mod(&self, _epfd: RawFd, _fd: RawFd, _event: EpollEvent) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    fn epoll_del(&self, epfd: RawFd, fd: RawFd) -> Result<(), Errno> {
        let del = |m: &mut Machine, _: &dyn Env| m.epoll_del(epfd, fd);
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
        let create = |m: &mut Machine, _: &dyn Env| {
            m.create(|| Object::EventFd(eventfd::EventFd::default()))
        };
        self.call("eventfd", -1, 0, create, number)
    }

    #[inline]
    fn trace(&self, event: Event) {
        self.host.record(event);
    }

    fn default_workers(&self) -> io::Result<usize> {
        Ok(self.host.workers())
    }

    #[inline]
    fn checkpoint(&self) {
        self.host.checkpoint();
    }
}

/// The port of an address, which is what traces show of it.
fn port(addr: &SockAddr) -> i64 {
    addr.as_inet().map_or(0, |addr| i64::from(addr.port()))
}
