//! The worker: its shared record, and the loop that runs goroutines on its thread.
//!
//! `Loop` is what only the worker's own thread touches. Each round finds a runnable goroutine
//! (`find.rs`), switches to its stack, and carries out the step that the goroutine left behind when it
//! gave the thread back: that step runs here, on the worker's stack, because from the moment it
//! succeeds somebody else may make the goroutine runnable again.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use super::g::{NOWHERE, POOL, Status};
use super::idle::StateWord;
use super::inbox::Inbox;
use super::local::LocalQueue;
use super::runq::RunQueue;
use super::shared::Shared;
use super::timers::{Job, Timers};
use crate::goroutine::{Commit, Resumed};
use crate::platform::{Atomic, Kernel, Park, Platform};
use crate::poll::{Delay, Harvest};
use crate::trace::{Event, WaitReason};

/// How long a goroutine that parks while it unwinds sleeps between two looks, in nanoseconds. Its
/// worker does nothing else meanwhile, so this bounds both the delay and the load.
const IN_PLACE_NS: u64 = 1_000_000;

/// A worker as others see it.
pub struct Worker<P: Platform> {
    /// Its number.
    pub index: u32,
    /// Unstarted goroutines, stealable.
    pub runq: RunQueue<P>,
    /// Started goroutines that others made runnable.
    pub inbox: Inbox<P>,
    /// Timers armed here.
    pub timers: Timers<P>,
    /// Where it sleeps.
    pub parker: P::Parker,
    /// Whether it sleeps.
    pub state: StateWord<P>,
    /// Started goroutines that are runnable; only the worker's own thread touches it.
    pub local: LocalQueue,
    /// The clock as the worker last saw it.
    now: AtomicU64,
    /// Table index + 1 of the goroutine that runs; 0 is none.
    running: AtomicU32,
}

impl<P: Platform> std::fmt::Debug for Worker<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker")
            .field("index", &self.index)
            .field("state", &self.state.load())
            .finish_non_exhaustive()
    }
}

impl<P: Platform> Worker<P> {
    /// A worker without a thread.
    pub fn new(index: u32) -> Worker<P> {
        assert!(index < POOL, "worker {index} would be taken for a pool thread");
        Worker {
            index,
            runq: RunQueue::new(),
            inbox: Inbox::new(),
            timers: Timers::new(),
            parker: P::Parker::new(),
            state: StateWord::new(),
            local: LocalQueue::new(),
            now: AtomicU64::new(0),
            running: AtomicU32::new(0),
        }
    }

    /// The clock as the worker last saw it, when it got up or looked at its timers.
    #[inline]
    pub fn now(&self) -> u64 {
        self.now.load(Relaxed)
    }

    /// Notes the clock.
    #[inline]
    pub(super) fn set_now(&self, now: u64) {
        self.now.store(now, Relaxed);
    }

    /// The goroutine that runs.
    pub fn running(&self) -> Option<u32> {
        self.running.load(Relaxed).checked_sub(1)
    }
}

/// What only the worker's own thread touches. Public for the models, which put a thread of their own
/// in a worker's place.
#[derive(Debug)]
pub struct Loop<'a, P: Platform> {
    pub(super) shared: &'a Shared<P>,
    pub(super) worker: &'a Worker<P>,
    /// Rounds so far, wrapping.
    pub(super) tick: u32,
    /// Goroutines run in a row from the run queue's `next`.
    pub(super) streak: u32,
    /// Counted in `Shared::spinning`.
    pub(super) spinning: bool,
    /// For the order in which others are robbed.
    pub(super) random: u32,
    pub(super) harvest: Harvest,
    /// Timer jobs that are due.
    pub(super) due: Vec<Job>,
}

impl<P: Platform> Shared<P> {
    /// The loop of a worker, for the one thread that is that worker.
    pub fn worker_loop(&self, index: u32) -> Loop<'_, P> {
        Loop {
            shared: self,
            worker: &self.workers[index as usize],
            tick: 0,
            streak: 0,
            spinning: false,
            random: index.wrapping_mul(0x9E37_79B9) | 1,
            harvest: Harvest::default(),
            due: Vec::new(),
        }
    }

    /// The clock as `worker` last saw it, or sysmon, for a worker that is too busy to look: for people, who
    /// want to know since when a goroutine waits. No older than sysmon's longest pause, 10 ms, while
    /// any goroutine runs, and costs no look at the clock.
    #[inline]
    pub(super) fn last_look(&self, worker: &Worker<P>) -> u64 {
        worker.now().max(self.sysmon.last_look())
    }

    /// The body of a worker's thread.
    pub(super) fn run_worker(&self, index: u32) {
        let mut this = self.worker_loop(index);
        this.worker.set_now(self.kernel.clock());
        while let Some(g) = this.find_runnable() {
            this.found_work();
            this.execute(g);
        }
    }

    /// Parks goroutine `index` as it asked for, when it no longer runs. False when its park has ended
    /// already: it must run on.
    pub fn commit_park(&self, index: u32, commit: Commit, now: u64) -> bool {
        let g = self.gs.get(index);
        let parking = |why| {
            g.set_status(Status::Waiting(why), now);
            self.kernel.trace(Event::Park { g: g.id(), on: why });
        };
        let abandoned = || {
            self.kernel.trace(Event::Abandon { g: g.id() });
            false
        };
        match commit {
            Commit::Yield => unreachable!("a yield is not a park"),
            Commit::Park { ticket, why } => {
                parking(why);
                g.ticket.commit(ticket) || abandoned()
            }
            Commit::Slot { pd, mode } => {
                let pd = self.netpoll.lives.get(pd);
                parking(WaitReason::Io(pd.fd(), mode));
                if !pd.commit(&self.kernel, mode, index) {
                    return abandoned();
                }
                self.netpoll.add_waiter(&self.kernel);
                true
            }
        }
    }

    /// Parks without leaving the goroutine's stack: the worker's thread waits, serves nothing but what
    /// can end this park, and runs no other goroutine. Only for a goroutine that unwinds.
    pub(super) fn park_in_place(&self, index: u32, commit: Commit) {
        let g = self.gs.get(index);
        if commit == Commit::Yield || !self.commit_park(index, commit, self.kernel.clock()) {
            return;
        }
        let home = g.home();
        let runs_on = || {
            g.set_status(Status::Running, self.kernel.clock());
            self.kernel.trace(Event::Run { g: g.id() });
        };
        let Some(worker) = self.workers.get(home as usize) else {
            self.pool.wait(home - POOL);
            return runs_on();
        };
        let (mut due, mut harvest) = (Vec::new(), Harvest::default());
        loop {
            self.take_due(worker, self.kernel.clock(), &mut due);
            for job in due.drain(..) {
                self.run_job(Some(worker), job);
            }
            self.netpoll.poll(&self.kernel, Delay::None, &mut harvest);
            self.inject(Some(worker), &mut harvest);
            worker.inbox.drain_into(&self.gs, &worker.local);
            if worker.local.remove(&self.gs, index) {
                return runs_on();
            }
            // Asleep, but in no idle set: who pushes into the inbox wakes it at once (F3, F4), and nobody
            // chooses it for other work.
            worker.state.fall_asleep();
            worker.state.look_again();
            if worker.inbox.is_empty() {
                worker.parker.park_timeout(IN_PLACE_NS);
            }
            worker.state.wake();
        }
    }
}

impl<P: Platform> Loop<'_, P> {
    /// Runs one goroutine until it ends, parks or yields.
    fn execute(&mut self, index: u32) {
        let (shared, worker) = (self.shared, self.worker);
        let g = shared.gs.get(index);
        if g.home() == NOWHERE {
            // From its first instruction to its last it belongs to this worker.
            g.home.store(worker.index, Relaxed);
        }
        assert_eq!(g.home(), worker.index, "goroutine {} is pinned to another worker", g.id());
        worker.running.store(index + 1, Relaxed);
        loop {
            g.set_status(Status::Running, shared.last_look(worker));
            shared.kernel.trace(Event::Run { g: g.id() });
            match g.fiber.resume() {
                Resumed::Done => shared.end_g(index),
                Resumed::Suspended(Commit::Yield) => {
                    g.set_status(Status::Runnable, shared.last_look(worker));
                    shared.kernel.trace(Event::Yield { g: g.id() });
                    worker.local.push(&shared.gs, index);
                }
                Resumed::Suspended(commit) => {
                    if !shared.commit_park(index, commit, shared.last_look(worker)) {
                        continue;
                    }
                }
            }
            break;
        }
        worker.running.store(0, Relaxed);
    }

    /// It has found work. If it was spinning it stops, and somebody else starts while there may
    /// be more.
    pub fn found_work(&mut self) {
        if !self.spinning {
            return;
        }
        self.spinning = false;
        self.shared.stop_spinning();
        self.shared.wake_one();
    }
}
