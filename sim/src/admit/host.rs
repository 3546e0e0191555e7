//! The simulated kernel on one thread.

use std::cell::Cell;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use netpoll::platform::Errno;
use netpoll::trace::Event;
use netpoll_traces::{BlockedOn, WorldEvent};

use crate::choice::ChoiceKind;
use crate::engine::{START_NS, Wake};
use crate::faults::FaultKind;
use crate::kernel::{Env, Host, HostId, Machine, NetConfig, Outside};

/// What is in flight arrives within this time, retries of a lost packet do not.
const FLIGHT_NS_MAX: u64 = 500_000_000;

/// An attempt to connect has failed by then.
const PATIENCE_NS: u64 = 300_000_000_000;

/// A host that never blocks. Time passes only when it is told to.
pub(super) struct OneThread(Mutex<State>);

struct State {
    machine: Machine,
    outside: Surroundings,
}

#[derive(Default)]
struct Surroundings {
    /// The fault that strikes when it can.
    wanted: Cell<Option<FaultKind>>,
}

impl Outside for Surroundings {
    fn now_ns(&self) -> u64 {
        START_NS
    }
    fn choose(&self, _kind: ChoiceKind, _n: u32) -> u32 {
        0
    }
    fn strikes(&self, fault: FaultKind) -> bool {
        let strikes = self.wanted.get() == Some(fault);
        if strikes {
            self.wanted.set(None);
        }
        strikes
    }
    fn record(&self, _host: HostId, _event: WorldEvent) {}
    fn wake(&self, _waiter: u16) {}
}

impl fmt::Debug for OneThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OneThread")
    }
}

/// The fault with which a kernel may answer any such call, if there is one.
fn fault_of(errno: Errno) -> Option<FaultKind> {
    Some(match errno {
        Errno::EINTR => FaultKind::IoEintr,
        Errno::EMFILE => FaultKind::NoDescriptor,
        Errno::ENFILE => FaultKind::NoFile,
        Errno::ENOBUFS => FaultKind::NoBuffers,
        Errno::ENOMEM => FaultKind::NoMemory,
        Errno::ECONNABORTED => FaultKind::ConnAborted,
        Errno::ECONNREFUSED => FaultKind::ConnRefused,
        Errno::EHOSTUNREACH => FaultKind::ConnUnreachable,
        Errno::ETIMEDOUT => FaultKind::ConnTimeout,
        _ => return None,
    })
}

impl OneThread {
    pub(super) fn new(config: NetConfig) -> OneThread {
        let (machine, outside) = (Machine::new(config), Surroundings::default());
        OneThread(Mutex::new(State { machine, outside }))
    }

    fn with<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lets the fault that explains this error strike in the next call, if there is one. `ENOSPC` is
    /// that of a registration.
    pub(super) fn want(&self, errno: Option<Errno>) {
        let fault = match errno {
            Some(Errno::ENOSPC) => Some(FaultKind::NoStreamWatch),
            errno => errno.and_then(fault_of),
        };
        self.with(|state| state.outside.wanted.set(fault));
    }

    /// Lets everything arrive that is on its way.
    pub(super) fn deliver(&self) {
        self.arrive_within(FLIGHT_NS_MAX);
    }

    /// Lets attempts fail, too, that fail after some time.
    pub(super) fn give_up(&self) {
        self.arrive_within(PATIENCE_NS);
    }

    fn arrive_within(&self, ns: u64) {
        self.with(|State { machine, outside }| {
            machine.arrive_before(&Env::of(outside), START_NS + ns)
        });
    }
}

impl Host for OneThread {
    fn step<R>(&self, step: impl FnOnce(&mut Machine, &Env<'_>) -> R) -> R {
        self.with(|State { machine, outside }| step(machine, &Env::of(outside)))
    }
    fn enter(&self) {}
    fn leave(&self) {}
    fn record(&self, _event: Event) {}
    fn glance(&self) -> u64 {
        START_NS
    }
    fn waiter(&self) -> u16 {
        0
    }
    fn block(&self, _waiter: u16, _on: BlockedOn, _until_ns: u64) -> Wake {
        Wake::TimedOut
    }
    fn workers(&self) -> usize {
        1
    }
    fn checkpoint(&self) {}
}
