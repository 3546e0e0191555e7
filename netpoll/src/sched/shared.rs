//! The runtime's shared part: everything that workers, sysmon, the pool and the face have in common.

use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};

use super::g::{G, NOWHERE, POOL, PROXY, Status};
use super::idle::Sched;
use super::pool::Pool;
use super::sysmon::Sysmon;
use super::ticket::Ended;
use super::timers::{Job, TimerId};
use super::worker::Worker;
use super::world::World;
use crate::goroutine::{Commit, Current, Fiber, Stack, suspend, with_current};
use crate::ops::Task;
use crate::platform::{Atomic, Kernel, Lock, Platform};
use crate::poll::netpoll::Sleeper;
use crate::poll::{DeadlineJob, DeadlineTimers, Harvest, Netpoll, Released};
use crate::table::Table;
use crate::trace::Event;

/// What a runtime is made with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Workers at the start.
    pub workers: usize,
    /// Workers at the most, later.
    pub workers_max: usize,
    /// Usable bytes of a goroutine's stack.
    pub stack_size: usize,
    /// Threads of the blocking pool at the most.
    pub pool_max: usize,
}

/// Free records of goroutines.
#[derive(Debug, Default)]
struct FreeGs {
    list: Vec<u32>,
    made: u32,
}

/// See the module documentation.
pub struct Shared<P: Platform> {
    /// The system calls and the clock.
    pub kernel: P::Kernel,
    /// The poller.
    pub netpoll: Netpoll<P>,
    /// All workers that can ever be; `Sched::started` of them have a thread.
    pub workers: Box<[Worker<P>]>,
    /// All goroutines.
    pub gs: Table<G<P>>,
    pub(super) sched: P::Mutex<Sched>,
    pub(super) idle_count: P::AtomicU32,
    pub(super) spinning: P::AtomicU32,
    /// Workers below this number take new goroutines. Copy of `Sched::active`; a late look only places
    /// a goroutine where others find it.
    pub(super) active: P::AtomicU32,
    /// Length of the global queue, for a look without the lock.
    pub(super) global_length: P::AtomicU32,
    /// 1 while the world is stopped or about to be: copy of `Sched::stopped`, which decides.
    pub(super) stopping: P::AtomicU32,
    /// 1 once the runtime is being shut down. Who sleeps sees it by F3 and F4, a bell or a lock; who
    /// asks without any of them may go on for a moment.
    pub(super) shutdown: P::AtomicU32,
    pub(super) sysmon: Sysmon<P>,
    pub(super) pool: Pool<P>,
    pub(super) world: World<P>,
    pub(super) settings: Settings,
    free_gs: P::Mutex<FreeGs>,
    ids: P::AtomicU64,
    /// Goroutines that have begun and not ended: a number for people.
    live: P::AtomicU64,
    pub(super) threads: P::Mutex<Vec<P::Thread>>,
    this: Weak<Shared<P>>,
}

impl<P: Platform> std::fmt::Debug for Shared<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime")
            .field("workers", &self.sched.lock().active)
            .field("goroutines", &self.live())
            .finish_non_exhaustive()
    }
}

impl<P: Platform> Shared<P> {
    /// The shared part, without any thread yet.
    ///
    /// # Errors
    /// What the kernel says to opening the poller.
    pub fn new(kernel: P::Kernel, settings: Settings) -> io::Result<Arc<Shared<P>>> {
        let netpoll = Netpoll::new(&kernel)?;
        let max = settings.workers_max;
        let sched = Sched {
            idle: vec![false; max],
            granted: vec![false; max],
            standing: vec![false; max],
            active: settings.workers,
            ..Sched::default()
        };
        Ok(Arc::new_cyclic(|this| Shared {
            workers: (0..max).map(|index| Worker::new(index as u32)).collect(),
            kernel,
            netpoll,
            gs: Table::new(),
            sched: P::Mutex::new(sched),
            idle_count: P::AtomicU32::new(0),
            spinning: P::AtomicU32::new(0),
            active: P::AtomicU32::new(settings.workers as u32),
            global_length: P::AtomicU32::new(0),
            stopping: P::AtomicU32::new(0),
            shutdown: P::AtomicU32::new(0),
            sysmon: Sysmon::new(),
            pool: Pool::new(),
            world: World::new(),
            settings,
            free_gs: P::Mutex::new(FreeGs::default()),
            ids: P::AtomicU64::new(0),
            live: P::AtomicU64::new(0),
            threads: P::Mutex::new(Vec::new()),
            this: this.clone(),
        }))
    }

    /// A counted reference to this.
    pub(crate) fn arc(&self) -> Arc<Shared<P>> {
        self.this.upgrade().expect("who calls has a reference")
    }

    /// Goroutines that have begun and not ended.
    pub fn live(&self) -> u64 {
        self.live.load(Relaxed)
    }

    /// Whether the runtime is being shut down.
    pub fn is_shut_down(&self) -> bool {
        self.shutdown.load(Relaxed) != 0
    }

    // ---- who calls ---------------------------------------------------------------------------------

    /// The goroutine of this runtime that calls, if it is one.
    pub(crate) fn current_g(&self) -> Option<u32> {
        let this = std::ptr::from_ref(self).cast::<()>();
        with_current(|current| {
            current
                .filter(|current| Arc::as_ptr(&current.runtime).cast::<()>() == this)
                .map(|current| current.g)
        })
    }

    /// The worker on whose thread the caller is, if it is a goroutine of one.
    pub(super) fn here(&self) -> Option<&Worker<P>> {
        let home = self.gs.get(self.current_g()?).home();
        self.workers.get(home as usize)
    }

    // ---- records -----------------------------------------------------------------------------------

    /// A free record.
    pub fn allocate_g(&self) -> u32 {
        let mut free = self.free_gs.lock();
        if let Some(index) = free.list.pop() {
            return index;
        }
        let index = free.made;
        free.made += 1;
        self.gs.insert(index, G::new(index));
        index
    }

    /// Gives a record back.
    pub(crate) fn free_g(&self, g: u32) {
        self.gs.get(g).set_status(Status::Free, 0);
        self.free_gs.lock().list.push(g);
    }

    /// How many records there are.
    pub(super) fn made_gs(&self) -> u32 {
        self.free_gs.lock().made
    }

    // ---- a goroutine's life ------------------------------------------------------------------------

    /// Makes a goroutine: its record, its stack and what runs on it.
    pub(super) fn make_g(&self, task: Task, home: u32) -> io::Result<u32> {
        let size = task.stack_size.unwrap_or(self.settings.stack_size);
        let stack = Stack::new(size)?;
        let index = self.allocate_g();
        let id = self.ids.fetch_add(1, Relaxed) + 1;
        let g = self.gs.get(index);
        g.begin(id, task.name.clone(), home);
        let now = self.here().map_or_else(|| self.kernel.clock(), |here| self.last_look(here));
        g.set_status(Status::Runnable, now);
        let current = Current { runtime: self.arc(), g: index };
        g.fiber.put(Fiber::new(stack, current, id, task.name, task.body));
        self.live.fetch_add(1, Relaxed);
        self.kernel.trace(Event::Go { g: id });
        Ok(index)
    }

    /// A goroutine has ended: gives its stack and its record back.
    pub(super) fn end_g(&self, index: u32) {
        let g = self.gs.get(index);
        self.kernel.trace(Event::Done { g: g.id() });
        drop(g.fiber.take());
        self.live.fetch_sub(1, Relaxed);
        self.free_g(index);
    }

    /// Puts an unstarted goroutine where some worker will find it.
    pub fn submit(&self, g: u32) {
        self.submit_at(self.here(), g);
    }

    /// As [`submit`](Shared::submit), by a caller on the thread of worker `here`.
    pub fn submit_at(&self, here: Option<&Worker<P>>, g: u32) {
        match here {
            Some(worker) if self.is_active(worker.index) => {
                let overflow = worker.runq.push_next(g);
                self.push_global(overflow);
            }
            _ => self.push_global(vec![g]),
        }
        self.wake_one();
    }

    /// Appends to the global queue.
    pub(super) fn push_global(&self, gs: Vec<u32>) {
        if gs.is_empty() {
            return;
        }
        let mut sched = self.sched.lock();
        sched.global.extend(gs);
        self.global_length.store(sched.global.len() as u32, Relaxed);
    }

    /// Makes a parked goroutine runnable. The caller has taken it out of where it was parked and so
    /// owns it; `here` is the worker on whose thread the caller runs.
    pub fn make_runnable(&self, here: Option<&Worker<P>>, index: u32) {
        let g = self.gs.get(index);
        let home = g.home();
        if home == PROXY {
            let waiter = g.proxy.lock().take().expect("a parked proxy has a waiter");
            // True: this proxy's park had not ended, since we own the proxy (S3).
            let ended = waiter.unpark();
            assert!(ended, "S3: the park behind a proxy ended twice");
            return;
        }
        self.kernel.trace(Event::Ready { g: g.id() });
        if home >= POOL {
            let lives = self.pool.resume(home - POOL);
            assert!(lives || self.is_shut_down(), "pool thread {} left a goroutine", home - POOL);
            return;
        }
        assert_ne!(home, NOWHERE, "goroutine #{index} is parked and has not started");
        let worker = &self.workers[home as usize];
        g.set_status(Status::Runnable, self.last_look(worker));
        match here {
            Some(here) if here.index == home => here.local.push(&self.gs, index),
            _ => {
                worker.inbox.push(&self.gs, index);
                self.notify(worker);
            }
        }
    }

    /// Makes goroutines runnable that came out of slots, then takes them off the waiter count (S18).
    pub fn inject(&self, here: Option<&Worker<P>>, harvest: &mut Harvest) {
        let count = harvest.len();
        for g in harvest.drain() {
            self.make_runnable(here, g);
        }
        self.netpoll.sub_waiters(&self.kernel, count);
    }

    /// As [`inject`](Shared::inject), for what a descriptor's call released.
    pub fn release(&self, here: Option<&Worker<P>>, released: Released) {
        let mut count = 0;
        for g in released.iter() {
            self.make_runnable(here, g);
            count += 1;
        }
        self.netpoll.sub_waiters(&self.kernel, count);
    }

    /// [`release`](Shared::release) from wherever the caller is.
    pub(crate) fn release_from_here(&self, released: Released) {
        if released != Released::default() {
            self.release(self.here(), released);
        }
    }

    // ---- timers ------------------------------------------------------------------------------------

    /// Arms a timer on the caller's worker, or on the first one.
    pub fn arm_timer(&self, when: u64, job: Job) -> TimerId {
        let worker = self.here().unwrap_or(&self.workers[0]);
        let says = |event| self.kernel.trace(event);
        let (id, earliest) = worker.timers.add(worker.index, when, job, says);
        if earliest {
            self.wake_netpoller(when);
        }
        id
    }

    /// A timer at `when` is the earliest of its worker: whoever sleeps must not oversleep it (L8).
    fn wake_netpoller(&self, when: u64) {
        match self.netpoll.sleeper_for(when) {
            Sleeper::InTime => {}
            Sleeper::Break => self.netpoll.wake(&self.kernel),
            Sleeper::Nobody => self.wake_one(),
        }
    }

    /// Moves what is due at `now` among the timers of `worker` into `due`.
    pub(super) fn take_due(&self, worker: &Worker<P>, now: u64, due: &mut Vec<Job>) {
        worker.timers.take_due(worker.index, now, due, |event| self.kernel.trace(event));
    }

    /// Runs one job that is due. No timer lock is held (S25).
    pub fn run_job(&self, here: Option<&Worker<P>>, job: Job) {
        match job {
            Job::Deadline(job) => {
                let released = self.netpoll.lives.get(job.pd).expire(&self.kernel, job);
                self.release(here, released);
            }
            Job::Wake { g, ticket } => {
                if self.gs.get(g).ticket.expire(ticket) == Ended::MakeRunnable {
                    self.make_runnable(here, g);
                }
            }
        }
    }

    /// The earliest timer of all workers.
    pub(super) fn earliest_timer(&self) -> u64 {
        let earliest = self.workers.iter().map(|worker| worker.timers.earliest()).min();
        earliest.expect("a runtime has a worker")
    }

    // ---- parking -----------------------------------------------------------------------------------

    /// Gives the worker back until `commit` is over. The caller is goroutine `g`.
    pub(crate) fn suspend(&self, g: u32, commit: Commit) {
        if std::thread::panicking() {
            // A goroutine that parks while it unwinds must keep its thread: others would run with
            // `panicking()` true and poison locks that are none of this panic's business.
            self.park_in_place(g, commit);
        } else {
            suspend(commit);
        }
    }
}

impl<P: Platform> DeadlineTimers for Shared<P> {
    fn arm(&self, when: u64, job: DeadlineJob) -> TimerId {
        self.arm_timer(when, Job::Deadline(job))
    }

    fn disarm(&self, id: TimerId) {
        self.workers[id.worker as usize].timers.remove(id, |event| self.kernel.trace(event));
    }
}

impl<P: Platform> Drop for Shared<P> {
    fn drop(&mut self) {
        // The last reference is gone, so nobody polls and nobody breaks (B12 of the bug museum).
        self.netpoll.shutdown(&self.kernel);
    }
}

/// The error of a call that a shut-down runtime refuses.
pub(super) fn shut_down_error() -> io::Error {
    io::Error::other("the netpoll runtime has been shut down")
}
