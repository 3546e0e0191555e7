//! What a simulated kernel stands on.
//!
//! The machine is sequential data. Its host supplies the threads that call it, makes their steps
//! exclusive, blocks and wakes them, and answers what the machine leaves open. [`EngineHost`] is the
//! engine of this crate; the models put the same machine on the threads of their checkers.

use std::fmt;
use std::net::IpAddr;
use std::sync::OnceLock;
use std::thread;

use netpoll::platform::{Errno, RawFd};
use netpoll::trace::Event;
use netpoll_traces::BlockedOn;

use super::disk::Disk;
use super::env::Env;
use super::machine::Machine;
use super::{HostId, NetConfig, SimKernel, Simulated};
use crate::engine::owned::{Held, Owned};
use crate::engine::{self, Engine, START_NS, Wake, World};

/// The threads, the clock and the choices under a simulated kernel.
pub trait Host: fmt::Debug + Send + Sync + 'static {
    /// Carries out one step of the machine. No other step comes between, and threads that it wakes run
    /// only after it.
    fn step<R>(&self, step: impl FnOnce(&mut Machine, &Env<'_>) -> R) -> R;
    /// The calling thread begins a system call.
    fn enter(&self);
    /// The call has taken effect; others may run before the caller goes on.
    fn leave(&self);
    /// Takes down what happened.
    fn record(&self, event: Event);
    /// The clock, as a look at it that may take time.
    fn glance(&self) -> u64;
    /// The number under which [`Outside::wake`](super::Outside::wake) will name the calling thread, until its call returns.
    fn waiter(&self) -> u16;
    /// Blocks the calling thread until its number is woken or the clock says `until_ns`. A wake since
    /// the step in which the thread registered itself counts.
    fn block(&self, waiter: u16, on: BlockedOn, until_ns: u64) -> Wake;
    /// The number of workers that a runtime gets when nobody says.
    fn workers(&self) -> usize;
    /// The address of a host of the simulated network.
    fn address_of(&self, name: &str) -> Option<IpAddr> {
        let _ = name;
        None
    }
    /// See [`netpoll::platform::Kernel::checkpoint`].
    fn checkpoint(&self);
}

/// The engine as a host.
pub struct EngineHost {
    workers: usize,
    /// In hand for one step at a time, never across a point. It belongs to the thread on which the run goes on, as long as it
    /// does: then who calls without an engine is no thread of it.
    machine: Owned<Machine>,
    /// What such a thread did.
    intrusion: OnceLock<String>,
}

impl fmt::Debug for EngineHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineHost").field("workers", &self.workers).finish_non_exhaustive()
    }
}

impl EngineHost {
    #[inline]
    pub(super) fn machine(&self) -> Held<'_, Machine> {
        self.machine.hold(|| Machine::new(NetConfig::default()))
    }

    /// A call without an engine: after the run, when what it has leaked is looked at, or by a thread of the
    /// operating system in the middle of it. The latter comes whenever it pleases, which makes the run no
    /// function of its choices; and it cannot be made to wait. What it is not kept from doing it does to a machine
    /// in which nothing has happened.
    #[cold]
    fn outsider(&self, what: &str) {
        if !self.machine.is_owned() {
            return;
        }
        let name = thread::current().name().map_or(String::new(), |name| format!(" `{name}`"));
        let text = format!("a thread of the operating system{name} {what} of a simulated runtime");
        let text = self.intrusion.get_or_init(|| text).clone();
        // Destructors call as well, and a panic in one of them would take the process along.
        if !thread::panicking() {
            panic!("{text}: start goroutines, or use `netpoll::blocking`");
        }
    }
}

impl Host for EngineHost {
    #[inline]
    fn step<R>(&self, step: impl FnOnce(&mut Machine, &Env<'_>) -> R) -> R {
        engine::with(|engine| {
            if engine.is_none() {
                self.outsider("uses the kernel");
            }
            let mut machine = self.machine();
            let result = step(&mut machine, &Env::engine(engine));
            if let Some(engine) = engine {
                engine.set_alarm_ns(machine.next_arrival_ns());
            }
            result
        })
    }

    #[inline]
    fn enter(&self) {
        engine::with(|engine| match engine {
            None => self.outsider("makes a system call"),
            Some(engine) => {
                if let Some(what) = self.intrusion.get() {
                    engine.intruded(what);
                }
                engine.call_point();
            }
        });
    }

    #[inline]
    fn leave(&self) {
        engine::with(|engine| engine.map(Engine::return_point));
    }

    #[inline]
    fn record(&self, event: Event) {
        engine::with(|engine| engine.map(|engine| engine.record(event.into())));
    }

    #[inline]
    fn glance(&self) -> u64 {
        engine::with(|engine| match engine {
            Some(engine) => engine.glance(),
            None => {
                self.outsider("looks at the clock");
                START_NS
            }
        })
    }

    fn waiter(&self) -> u16 {
        engine::with(|engine| engine.map_or(0, |engine| engine.current().0))
    }

    fn block(&self, _waiter: u16, on: BlockedOn, until_ns: u64) -> Wake {
        engine::inside("waiting for events", |engine| engine.block(on, until_ns))
    }

    fn workers(&self) -> usize {
        self.workers
    }

    fn address_of(&self, name: &str) -> Option<IpAddr> {
        let find = |engine: &Engine| engine.directory().place(name);
        engine::with(|engine| engine.and_then(find)).map(HostId::address)
    }

    fn checkpoint(&self) {
        engine::with(|engine| match engine {
            Some(_) => engine::atomic_point(),
            None => self.outsider("parks or wakes a goroutine"),
        });
    }
}

impl World for SimKernel {
    fn tick(&self, _now_ns: u64) -> u64 {
        engine::with(|engine| {
            let mut machine = self.host().machine();
            machine.tick(&Env::engine(engine));
            machine.next_arrival_ns()
        })
    }

    fn file_of(&self, host: HostId, fd: RawFd) -> Option<u32> {
        let mut machine = self.host().machine();
        machine.enter(host);
        machine.file_of(fd)
    }

    fn kernel_of(&self, host: HostId) -> Option<SimKernel> {
        Some(self.of(host))
    }
}

impl SimKernel {
    pub(crate) fn new(workers: usize, config: NetConfig) -> SimKernel {
        Simulated::on(EngineHost {
            workers,
            machine: Owned::new(Machine::new(config)),
            intrusion: OnceLock::new(),
        })
    }

    /// The run is over: from here on anybody may look. Returns what a thread that was no part of it did.
    pub(crate) fn retire(&self) -> Option<String> {
        self.host().machine.share();
        self.host().intrusion.get().cloned()
    }

    /// Ends the faults of the run: those that have struck stay, and no other one strikes. From the phase in
    /// which a program is tried to the phase in which it must come to its end.
    pub fn heal(&self) {
        engine::inside("healing", Engine::heal);
    }

    /// Lets everything arrive that is on the wire, after the run: returns how many files of the body's own host are left
    /// then.
    pub(crate) fn files_left(&self) -> usize {
        let mut machine = self.host().machine();
        machine.release_all(&Env::engine(None));
        // Nobody on other hosts will say the last words that ends of this one wait for.
        machine.crash_others(&Env::engine(None));
        machine.arrive_before(&Env::engine(None), u64::MAX);
        machine.files_count(HostId::TEST)
    }

    /// Exchanges the next two bytes that a socket has for its reader: what no kernel does.
    #[cfg(test)]
    pub(crate) fn garble(&self, fd: RawFd) {
        let mut machine = self.host().machine();
        let Ok(id) = machine.lookup(fd) else { return };
        if let super::machine::Object::Tcp(tcp) = &mut machine.file_mut(id).object
            && tcp.unread.len() > 1
        {
            tcp.unread.swap(0, 1);
        }
    }

    /// Drops everything, so that handles which an abandoned run has leaked hold little memory.
    pub(crate) fn clear(&self) {
        if self.is_alone() {
            return;
        }
        let mut machine = self.host().machine();
        *machine = Machine::new(machine.config);
    }

    /// Changes what no process could: makes hosts, cuts links, takes the power away.
    pub(crate) fn arrange<R>(&self, change: impl FnOnce(&mut Machine, &Env<'_>) -> R) -> R {
        self.step(change)
    }

    /// A look at the disk of this host, or a change of it: a system call.
    pub(crate) fn disk<R>(
        &self,
        name: &'static str,
        len: usize,
        use_disk: impl FnOnce(&mut Disk) -> Result<R, Errno>,
    ) -> Result<R, Errno> {
        self.call(name, -1, len as i64, |machine, _| use_disk(&mut machine.here().disk), |_| 0)
    }
}
