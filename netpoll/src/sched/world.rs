//! Stopping and starting the world: the dump, and the number of workers.
//!
//! ```text
//! stop:   take the world's lock · stopped := true · count the workers that are awake · wait for them
//! start:  poll the kernel once · stopped := false · wake everybody
//! ```
//!
//! A worker stands still at the top of its scheduling loop, or stays in the idle set: nobody leaves it
//! while the world is stopped, and a worker that returns from the final poll keeps what it harvested
//! until the world runs again. The poll before the start brings in what arrived meanwhile, so that
//! nobody waits for a further event (L14).
//!
//! Goroutines are not preempted. A worker that is stuck in one holds up the stop; the stop waits for a
//! bounded time and then goes on without it. All that is done to a stopped world is safe in a running
//! one too: the stop only makes it consistent.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::bell::Bell;
use super::g::{G, NOWHERE, POOL, PROXY, Status};
use super::shared::{Shared, shut_down_error};
use crate::fd::sema::Sema;
use crate::platform::{Atomic, Kernel, Lock, Park, Platform, Primitives};
use crate::poll::{Delay, Harvest};
use crate::trace::{Event, WaitReason};

/// How long a stop waits for a worker that is stuck in a goroutine, in nanoseconds.
const PATIENCE_NS: u64 = 100_000_000;

/// The state of a stop.
pub struct World<P: Primitives> {
    /// One stop at a time. Waiting for it parks the goroutine: a worker that blocked here could not
    /// stand still for the other stop.
    lock: Sema<P>,
    /// Rung by the last worker that stands still.
    bell: Bell<P>,
}

impl<P: Primitives> fmt::Debug for World<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").finish_non_exhaustive()
    }
}

impl<P: Primitives> World<P> {
    /// A running world.
    pub(super) fn new() -> World<P> {
        World { lock: Sema::new(1), bell: Bell::new() }
    }

    /// The last worker stands still.
    pub(super) fn all_stand(&self) {
        self.bell.ring();
    }
}

/// One goroutine, as a dump shows it.
#[derive(Clone, Debug)]
pub struct GoroutineDump {
    /// Its number.
    pub id: u64,
    /// Its name.
    pub name: Option<Arc<str>>,
    /// What it does or waits for: `running`, `runnable`, `read fd7`, …
    pub status: String,
    /// For how long.
    pub since: Duration,
    /// Who runs it: `w0`, `pool3`, or nothing yet.
    pub home: Option<String>,
}

/// All goroutines of a runtime at one moment. Displays as a table, one line a goroutine.
#[derive(Clone, Debug)]
pub struct Dump {
    /// Oldest first.
    pub goroutines: Vec<GoroutineDump>,
    /// Workers that take new goroutines.
    pub workers: usize,
    /// Goroutines and threads parked on descriptors (S17 says that this is the waiter count).
    pub waiters: i32,
    /// Whether all workers stood still. If not, the moments differ a little.
    pub consistent: bool,
}

impl fmt::Display for Dump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let note = if self.consistent { "" } else { ", a worker did not stop: moments differ" };
        writeln!(
            f,
            "{} goroutines on {} workers, {} waiting for I/O{note}",
            self.goroutines.len(),
            self.workers,
            self.waiters
        )?;
        for g in &self.goroutines {
            let home = g.home.as_deref().unwrap_or("-");
            write!(f, "g{:<6} {home:<6} {:<20} {:>9.3?}", g.id, g.status, g.since)?;
            match &g.name {
                Some(name) => writeln!(f, "  '{name}'")?,
                None => writeln!(f)?,
            }
        }
        Ok(())
    }
}

impl<P: Platform> Shared<P> {
    /// Runs `work` while the world is stopped; tells it whether every worker stood still.
    fn with_world_stopped<R>(&self, work: impl FnOnce(bool) -> R) -> R {
        self.world.lock.acquire(WaitReason::StopTheWorld);
        let here = self.current_g().map(|g| self.gs.get(g).home());
        let complete = self.stop_the_world(here);
        let result = work(complete);
        self.start_the_world();
        self.world.lock.release();
        result
    }

    /// Stops the world: true when every worker stands still, but for worker `here`, on which the caller
    /// runs. The caller holds the world's lock.
    pub fn stop_the_world(&self, here: Option<u32>) -> bool {
        let waits = {
            let mut sched = self.sched.lock();
            sched.stopped = true;
            self.kernel.trace(Event::World { is_stopped: true });
            self.stopping.store(1, Relaxed);
            let awake = (0..sched.started).filter(|&i| !sched.idle[i] && here != Some(i as u32));
            sched.running = awake.count();
            sched.running > 0
        };
        if !waits {
            return true;
        }
        let deadline = self.kernel.clock() + PATIENCE_NS;
        loop {
            let left = deadline.saturating_sub(self.kernel.clock());
            if self.world.bell.wait_for(left) {
                return true;
            }
            if left == 0 {
                return self.sched.lock().running == 0;
            }
        }
    }

    /// Lets the world go on.
    pub fn start_the_world(&self) {
        let mut harvest = Harvest::default();
        self.netpoll.poll(&self.kernel, Delay::None, &mut harvest);
        self.inject(None, &mut harvest);
        {
            let mut sched = self.sched.lock();
            sched.stopped = false;
            self.kernel.trace(Event::World { is_stopped: false });
            sched.running = 0;
            self.stopping.store(0, Relaxed);
            sched.standing.fill(false);
        }
        // A bell that the last worker rang after our patience had ended is for nobody.
        self.world.bell.silence();
        for worker in &self.workers {
            worker.parker.unpark();
        }
        self.wake_one();
    }

    /// All goroutines: who waits on what since when. Stops the world for the moment.
    pub fn dump(&self) -> Dump {
        self.with_world_stopped(|consistent| {
            let now = self.kernel.clock();
            let made = self.made_gs();
            let mut goroutines: Vec<GoroutineDump> =
                (0..made).filter_map(|index| describe(self.gs.try_get(index)?, now)).collect();
            goroutines.sort_by_key(|g| g.id);
            Dump {
                goroutines,
                workers: self.worker_count(),
                waiters: self.netpoll.waiters(),
                consistent,
            }
        })
    }

    /// Changes the number of workers that take new goroutines. Workers that are retired go on serving
    /// the goroutines they have, which are pinned to them, and their timers; no timer and no queued
    /// goroutine is stranded (L16).
    ///
    /// # Errors
    /// `InvalidInput` for 0 or more than the runtime was built for; what the operating system says
    /// when it has no thread to give; an error after shutdown.
    pub fn set_workers(&self, count: usize) -> io::Result<()> {
        let max = self.settings.workers_max;
        if count == 0 || count > max {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "workers = {count}: this runtime can have 1 to {max} (see Builder::workers_max)"
                ),
            ));
        }
        if self.is_shut_down() {
            return Err(shut_down_error());
        }
        self.with_world_stopped(|_| {
            let started = self.sched.lock().started;
            for index in started..count {
                self.start_worker(index as u32)?;
            }
            self.sched.lock().active = count;
            self.active.store(count as u32, Relaxed);
            self.kernel.trace(Event::Workers { active: count as u32 });
            for worker in &self.workers[count..] {
                self.push_global(worker.runq.drain());
            }
            Ok(())
        })
    }

    /// Workers that take new goroutines.
    pub fn worker_count(&self) -> usize {
        self.active_workers() as usize
    }
}

fn describe<P: Platform>(g: &G<P>, now: u64) -> Option<GoroutineDump> {
    let status = match g.status() {
        Status::Free => return None,
        Status::Runnable => "runnable".to_string(),
        Status::Running => "running".to_string(),
        Status::Waiting(why) => why.to_string(),
    };
    let home = match g.home() {
        NOWHERE => None,
        PROXY => return None,
        home if home >= POOL => Some(format!("pool{}", home - POOL)),
        home => Some(format!("w{home}")),
    };
    let since = Duration::from_nanos(now.saturating_sub(g.since()));
    Some(GoroutineDump { id: g.id(), name: g.name(), status, since, home })
}
