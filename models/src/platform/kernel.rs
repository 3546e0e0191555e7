//! The simulated kernel on a checker's threads.
//!
//! The machine stands behind one lock of the checker's, so that every two system calls depend on each
//! other and each order of them is explored. That is more than a kernel promises: two calls of it also
//! synchronise, so an ordering that is missing between them can be hidden. The protocols that rely on
//! no kernel have models without one.
//!
//! # The network
//!
//! Time stands still here, so a packet does not arrive by its time. After each system call what is in
//! flight arrives, or it stays in flight until after a later one: that is a choice, and loom, which has
//! none, lets it arrive at once. While a thread is blocked in `epoll_wait` it arrives in any case, since
//! there may be no later call. So a connection is never stuck, and an arrival races with everything
//! that the schedule lets it race with. Order is kept, by the times that the packets were sent with. A
//! client that found a listener's queue full knocks again only when the clock has moved.

use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};

use netpoll::platform::{Lock, Park, RawFd};
use netpoll::trace::Event;
use netpoll_sim::choice::ChoiceKind;
use netpoll_sim::engine::{NEVER, Wake};
use netpoll_sim::kernel::{Env, Host, HostId, Machine, Outside};
use netpoll_sim::{FaultKind, NetConfig};
use netpoll_traces::{BlockedOn, WorldEvent};

use super::Checker;

/// Packets that arrive later than this after they were sent wait for the clock. Above the longest delay of
/// a packet, below the second after which a client knocks again.
const FLIGHT_NS_MAX: u64 = 500_000_000;

/// Where one blocked call sleeps.
#[derive(Debug)]
struct Sleeper<C: Checker> {
    parker: C::Parker,
    /// A signal ended its sleep.
    interrupted: AtomicBool,
}

/// A checker's threads as the host of a simulated kernel.
pub struct CheckerHost<C: Checker> {
    workers: usize,
    machine: C::Mutex<Machine>,
    /// By waiter number, one for each call that might block. A lock of `std` that is never held across
    /// a point of the checker: a number reaches another thread only by way of the machine's lock.
    sleepers: Mutex<Vec<Arc<Sleeper<C>>>>,
}

impl<C: Checker> fmt::Debug for CheckerHost<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckerHost").field("workers", &self.workers).finish_non_exhaustive()
    }
}

impl<C: Checker> CheckerHost<C> {
    /// A kernel in which nothing has happened.
    #[must_use]
    pub fn new(workers: usize, config: NetConfig) -> CheckerHost<C> {
        let machine = C::Mutex::new(Machine::new(config));
        CheckerHost { workers, machine, sleepers: Mutex::default() }
    }

    /// Sends a signal to the thread that has waited longest in `epoll_wait` on `epfd`. False when none
    /// waits there.
    pub fn interrupt(&self, epfd: RawFd) -> bool {
        let hit = self.machine.lock().interrupt(epfd);
        if let Some(waiter) = hit {
            let sleeper = self.sleeper(waiter);
            sleeper.interrupted.store(true, Relaxed);
            sleeper.parker.unpark();
        }
        hit.is_some()
    }

    fn sleeper(&self, waiter: u16) -> Arc<Sleeper<C>> {
        let sleepers = self.sleepers.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&sleepers[usize::from(waiter)])
    }
}

/// Lets packets arrive after a step: see the module documentation.
fn deliver(machine: &mut Machine, env: &Env<'_>) {
    let until_ns = env.now_ns() + FLIGHT_NS_MAX;
    if machine.is_expecting(until_ns)
        && (machine.is_waited_for() || env.choose(ChoiceKind::SegmentDelay, 2) == 0)
    {
        machine.arrive_before(env, until_ns);
    }
}

/// The machine's outside during one step.
#[derive(Default)]
struct Surroundings<C> {
    /// Who was woken, to be unparked after the step.
    woken: std::cell::RefCell<Vec<u16>>,
    checker: std::marker::PhantomData<C>,
}

impl<C: Checker> Outside for Surroundings<C> {
    fn now_ns(&self) -> u64 {
        C::execution().now_ns()
    }

    fn choose(&self, kind: ChoiceKind, n: u32) -> u32 {
        match kind {
            // Timed waits are counted out here: one that is late would take two of them.
            ChoiceKind::TimerSlack => 0,
            kind => C::choose(kind, n),
        }
    }

    fn strikes(&self, fault: FaultKind) -> bool {
        C::strikes(fault)
    }

    fn record(&self, _host: HostId, _event: WorldEvent) {}

    fn wake(&self, waiter: u16) {
        self.woken.borrow_mut().push(waiter);
    }
}

impl<C: Checker> Host for CheckerHost<C> {
    fn step<R>(&self, step: impl FnOnce(&mut Machine, &Env<'_>) -> R) -> R {
        let outside =
            Surroundings::<C> { woken: Default::default(), checker: std::marker::PhantomData };
        let result = {
            let mut machine = self.machine.lock();
            let result = step(&mut machine, &Env::of(&outside));
            deliver(&mut machine, &Env::of(&outside));
            result
        };
        for waiter in outside.woken.into_inner() {
            self.sleeper(waiter).parker.unpark();
        }
        result
    }

    fn enter(&self) {}

    fn leave(&self) {}

    fn record(&self, _event: Event) {}

    fn glance(&self) -> u64 {
        C::execution().now_ns()
    }

    fn waiter(&self) -> u16 {
        let mut sleepers = self.sleepers.lock().unwrap_or_else(PoisonError::into_inner);
        let number = u16::try_from(sleepers.len()).expect("a model makes few calls");
        let (parker, interrupted) = (C::Parker::new(), AtomicBool::new(false));
        sleepers.push(Arc::new(Sleeper { parker, interrupted }));
        number
    }

    fn block(&self, waiter: u16, _on: BlockedOn, until_ns: u64) -> Wake {
        if until_ns != NEVER && C::execution().passes_until(until_ns) {
            // Whoever comes between makes an event that the next look finds.
            C::time_passed();
            return Wake::TimedOut;
        }
        let sleeper = self.sleeper(waiter);
        sleeper.parker.park();
        if sleeper.interrupted.load(Relaxed) { Wake::Interrupted } else { Wake::Woken }
    }

    fn workers(&self) -> usize {
        self.workers
    }

    fn checkpoint(&self) {
        C::checkpoint();
    }
}
