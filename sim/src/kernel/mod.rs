//! The simulated kernel: enough of Linux for TCP over loopback with `epoll`.
//!
//! [`SimKernel`] is a handle; clones share one kernel. Every call is a point of the engine twice,
//! before it takes effect and after it, so that another thread can come between a harvest of events
//! and their dispatch, and is recorded with its result. The kernel proper is a plain state machine:
//!
//! | file | what it is |
//! |---|---|
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
mod machine;
mod net;
mod socket;
mod tcp;
#[cfg(test)]
mod tests;
mod wire;

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use netpoll::platform::{Domain, EpollEvent, Errno, Kernel, RawFd, Shutdown, SockAddr, SockType};
use netpoll::trace::Event;
use netpoll_traces::{BlockedOn, Readiness, ThreadId, WorldEvent};

use crate::choice::ChoiceKind;
use crate::engine::{self, Engine, NEVER, START_NS, Wake, World};
use crate::faults::FaultKind;
use machine::{Env, Machine, Object};
pub use net::NetConfig;

/// A handle to the simulated kernel of one run.
#[derive(Clone)]
pub struct SimKernel {
    shared: Arc<Shared>,
}

struct Shared {
    workers: usize,
    /// Locked for one call at a time, never across a point.
    machine: Mutex<Machine>,
}

impl fmt::Debug for SimKernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimKernel").finish_non_exhaustive()
    }
}

/// A descriptor that is open, with what there is to know about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenFd {
    /// Its number.
    pub fd: RawFd,
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

/// The machine's outside, during a run or after it.
struct Outside<'a>(Option<&'a Engine>);

impl Env for Outside<'_> {
    #[inline]
    fn now_ns(&self) -> u64 {
        self.0.map_or(START_NS, Engine::now_ns)
    }
    #[inline]
    fn choose(&self, kind: ChoiceKind, n: u32) -> u32 {
        self.0.map_or(0, |engine| engine.choose(kind, n))
    }
    #[inline]
    fn strikes(&self, fault: FaultKind) -> bool {
        self.0.is_some_and(|engine| engine.strikes(fault))
    }
    #[inline]
    fn record(&self, event: WorldEvent) {
        if let Some(engine) = self.0 {
            engine.record_kernel(event);
        }
    }
    fn wake(&self, waiter: u16) {
        if let Some(engine) = self.0 {
            engine.wake(ThreadId(waiter));
        }
    }
}

impl World for SimKernel {
    fn tick(&self, _now_ns: u64) -> u64 {
        engine::with(|engine| {
            let mut machine = self.machine();
            machine.tick(&Outside(engine));
            machine.next_arrival_ns()
        })
    }
}

impl SimKernel {
    pub(crate) fn new(workers: usize, config: NetConfig) -> SimKernel {
        SimKernel {
            shared: Arc::new(Shared { workers, machine: Mutex::new(Machine::new(config)) }),
        }
    }

    fn machine(&self) -> MutexGuard<'_, Machine> {
        // Poison says that a call panicked; the run reports that panic, and this state is only looked
        // at for the report.
        let machine = self.shared.machine.lock();
        machine.unwrap_or_else(PoisonError::into_inner)
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
        engine::with(|engine| {
            if let Some(engine) = engine {
                engine.call_point();
            }
            let result = {
                let mut machine = self.machine();
                let result = effect(&mut machine, &Outside(engine));
                if let Some(engine) = engine {
                    engine.set_alarm_ns(machine.next_arrival_ns());
                }
                result
            };
            if let Some(engine) = engine {
                record_call(engine, name, fd, arg, result.as_ref().map(value));
                engine.return_point();
            }
            result
        })
    }

    /// `dup`: another number for the same file. Not part of the seam; for tests.
    ///
    /// # Errors
    /// `EBADF`, `EMFILE`.
    pub fn dup(&self, fd: RawFd) -> Result<RawFd, Errno> {
        self.call("dup", fd, 0, |m, _| m.dup(fd), |&new| new.into())
    }

    /// The open descriptors, in order.
    #[must_use]
    pub fn open_fds(&self) -> Vec<OpenFd> {
        let mut machine = self.machine();
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
                kind,
                ready: machine.readiness(file),
                interest: watch.and_then(|watch| machine.epoll_mut(watch.ep).interest((fd, file))),
            }
        };
        numbers.into_iter().map(describe).collect()
    }

    /// Drops everything, so that handles which an abandoned run has leaked hold little memory.
    pub(crate) fn clear(&self) {
        let mut machine = self.machine();
        *machine = Machine::new(machine.config);
    }

    /// The blocking part of `epoll_wait`.
    fn wait(
        &self,
        engine: Option<&Engine>,
        epfd: RawFd,
        events: &mut [EpollEvent],
        timeout_ms: i32,
    ) -> Result<usize, Errno> {
        let env = Outside(engine);
        let ep = self.machine().epoll_file(epfd)?;
        if events.is_empty() {
            return Err(Errno::EINVAL);
        }
        let deadline_ns = match u64::try_from(timeout_ms) {
            Ok(ms) => env.now_ns() + ms * 1_000_000,
            Err(_) => NEVER,
        };
        let mut end = (timeout_ms == 0).then_some(Ok(0));
        let mut interrupt_ns = None;
        self.machine().file_mut(ep).pins += 1;
        let result = loop {
            let taken = self.machine().harvest(&env, ep, events);
            if taken > 0 {
                break Ok(taken);
            }
            if let Some(end) = end {
                break end;
            }
            let engine = engine.expect("waiting for events is possible only inside a run");
            let interrupt_ns = *interrupt_ns.get_or_insert_with(|| {
                if env.strikes(FaultKind::PollEintr) {
                    env.now_ns() + env.delay_ns(ChoiceKind::InterruptDelay)
                } else {
                    NEVER
                }
            });
            let this = engine.current().0;
            self.machine().epoll_mut(ep).waiters.push(this);
            let wake = engine.block(BlockedOn::Poll(epfd), deadline_ns.min(interrupt_ns));
            let mut machine = self.machine();
            machine.epoll_mut(ep).waiters.retain(|&other| other != this);
            if wake == Wake::TimedOut {
                end = Some(if interrupt_ns < deadline_ns { Err(Errno::EINTR) } else { Ok(0) });
            }
        };
        self.machine().unpin(&env, ep);
        result
    }
}

fn record_call(
    engine: &Engine,
    name: &'static str,
    fd: RawFd,
    arg: i64,
    result: Result<i64, &Errno>,
) {
    let result = result.map_err(|&errno| errno);
    let call = Event::Syscall { name, fd, arg, result };
    engine.record(call.into());
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

impl Kernel for SimKernel {
    fn clock(&self) -> u64 {
        engine::with(|engine| engine.map_or(START_NS, Engine::glance))
    }

    fn socket(&self, domain: Domain, kind: SockType) -> Result<RawFd, Errno> {
        self.call("socket", -1, 0, |m, env| m.socket(env, domain, kind), number)
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
        self.call("peek", fd, arg, |m, _| m.peek(fd, buf), count)
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
        engine::with(|engine| {
            if let Some(engine) = engine {
                engine.call_point();
            }
            let result = self.wait(engine, epfd, events, timeout_ms);
            if let Some(engine) = engine {
                let value = result.as_ref().map(count);
                record_call(engine, "epoll_wait", epfd, timeout_ms.into(), value);
                engine.return_point();
            }
            result
        })
    }

    fn eventfd(&self) -> Result<RawFd, Errno> {
        let create = |m: &mut Machine, _: &dyn Env| {
            m.create(|| Object::EventFd(eventfd::EventFd::default()))
        };
        self.call("eventfd", -1, 0, create, number)
    }

    #[inline]
    fn trace(&self, event: Event) {
        engine::with(|engine| {
            if let Some(engine) = engine {
                engine.record(event.into());
            }
        });
    }

    fn default_workers(&self) -> io::Result<usize> {
        Ok(self.shared.workers)
    }

    fn checkpoint(&self) {
        engine::with(|engine| {
            if let Some(engine) = engine {
                engine.atomic_point();
            }
        });
    }
}

/// The port of an address, which is what traces show of it.
fn port(addr: &SockAddr) -> i64 {
    addr.as_inet().map_or(0, |addr| i64::from(addr.port()))
}
