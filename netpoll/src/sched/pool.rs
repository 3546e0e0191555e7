//! The blocking pool: threads for calls that block the thread.
//!
//! A job runs as a goroutine of its own, on a stack of the arena, on a thread that runs nothing else
//! meanwhile: when the job parks, the thread sleeps. So code in `blocking` finds its runtime, its clock
//! and its locks like any goroutine, on every platform.
//!
//! Threads are started as jobs come, up to a limit; a thread that has had no job for a while ends.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use super::bell::Bell;
use super::g::{POOL, Status};
use super::shared::{Shared, shut_down_error};
use crate::goroutine::{Commit, Resumed};
use crate::ops::Task;
use crate::platform::{Kernel, Lock, Platform, Primitives};
use crate::trace::Event;

/// How long a thread waits for its next job, in nanoseconds.
const KEEP_NS: u64 = 10_000_000_000;

type Job = Box<dyn FnOnce() + Send>;

/// How a pool thread is reached. Two bells, because a ring that came too late for one purpose must not
/// be taken for the other.
struct Bells<P: Primitives> {
    /// There is a job.
    job: Bell<P>,
    /// The thread's goroutine is runnable: rung exactly once a park.
    runnable: Bell<P>,
}

struct State<P: Primitives> {
    queue: VecDeque<Job>,
    /// Per thread number: how to reach it while it lives.
    bells: Vec<Option<Arc<Bells<P>>>>,
    /// Numbers of threads that wait for a job, the latest last: it has the warmest caches.
    idle: Vec<usize>,
    /// Numbers of threads whose goroutine is parked, and which the shutdown ends.
    parked: Vec<usize>,
}

/// See the module documentation.
pub struct Pool<P: Primitives> {
    state: P::Mutex<State<P>>,
}

impl<P: Primitives> std::fmt::Debug for Pool<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}

impl<P: Primitives> Pool<P> {
    /// No threads.
    pub(super) fn new() -> Pool<P> {
        let state = State {
            queue: VecDeque::new(),
            bells: Vec::new(),
            idle: Vec::new(),
            parked: Vec::new(),
        };
        Pool { state: P::Mutex::new(state) }
    }

    fn bells(&self, thread: u32) -> Option<Arc<Bells<P>>> {
        self.state.lock().bells[thread as usize].clone()
    }

    /// The goroutine of this thread is runnable again. False when the thread is no more: the shutdown has
    /// ended it, and the goroutine is abandoned where it is parked.
    pub(super) fn resume(&self, thread: u32) -> bool {
        let bells = self.bells(thread);
        let lives = bells.is_some();
        bells.into_iter().for_each(|bells| bells.runnable.ring());
        lives
    }

    /// Waits, on this thread, until its goroutine is runnable again.
    pub(super) fn wait(&self, thread: u32) {
        let bells = self.bells(thread).expect("the calling thread lives");
        bells.runnable.wait();
    }

    /// Wakes all threads that wait, for a job or for their goroutine, so that they see that the runtime
    /// shuts down, and end. Jobs not begun are dropped.
    pub(super) fn shutdown(&self) {
        let (idle, parked, dropped) = {
            let mut state = self.state.lock();
            let bells = |threads: &[usize]| -> Vec<_> {
                threads.iter().filter_map(|&thread| state.bells[thread].clone()).collect()
            };
            let (idle, parked) = (bells(&state.idle), bells(&state.parked));
            (idle, parked, std::mem::take(&mut state.queue))
        };
        drop(dropped);
        idle.iter().for_each(|bells| bells.job.ring());
        parked.iter().for_each(|bells| bells.runnable.ring());
    }
}

impl<P: Platform> Shared<P> {
    /// Gives a job to the pool.
    pub(super) fn submit_blocking(&self, job: Job) -> io::Result<()> {
        if self.is_shut_down() {
            return Err(shut_down_error());
        }
        let mut state = self.pool.state.lock();
        state.queue.push_back(job);
        if let Some(thread) = state.idle.pop() {
            let bells = state.bells[thread].clone().expect("an idle pool thread lives");
            drop(state);
            bells.job.ring();
            return Ok(());
        }
        let free = state.bells.iter().position(Option::is_none);
        let number = free.unwrap_or(state.bells.len());
        if number >= self.settings.pool_max {
            // All threads are busy: the next one that is done takes the job.
            return Ok(());
        }
        let bells = Arc::new(Bells { job: Bell::new(), runnable: Bell::new() });
        if number == state.bells.len() {
            state.bells.push(None);
        }
        state.bells[number] = Some(bells.clone());
        let others = state.bells.iter().flatten().count() - 1;
        drop(state);
        let shared = self.arc();
        let body = Box::new(move || shared.run_pool_thread(number, &bells));
        match P::spawn(format!("netpoll-pool{number}"), body) {
            Ok(thread) => {
                // Pool threads are not joined: a job may block for ever.
                drop(thread);
                Ok(())
            }
            Err(error) => {
                let mut state = self.pool.state.lock();
                state.bells[number] = None;
                if others == 0 {
                    // Nobody else will take it; it is the last, since the lock order is the queue's.
                    state.queue.pop_back();
                    return Err(error);
                }
                Ok(())
            }
        }
    }

    fn run_pool_thread(&self, number: usize, bells: &Bells<P>) {
        loop {
            let job = {
                let mut state = self.pool.state.lock();
                let job = state.queue.pop_front();
                if job.is_none() {
                    state.idle.push(number);
                }
                job
            };
            if let Some(job) = job {
                self.run_blocking(number, bells, job);
                continue;
            }
            let rung = !self.is_shut_down() && bells.job.wait_for(KEEP_NS);
            let mut state = self.pool.state.lock();
            // Whoever rang took this thread out of the idle list; otherwise it ends here.
            if let Some(place) = state.idle.iter().position(|&other| other == number) {
                if rung && !self.is_shut_down() {
                    state.idle.remove(place);
                    continue;
                }
                let early = !rung && !self.is_shut_down() && !state.queue.is_empty();
                state.idle.remove(place);
                if early {
                    continue;
                }
                state.bells[number] = None;
                return;
            }
        }
    }

    fn run_blocking(&self, number: usize, bells: &Bells<P>, job: Job) {
        let home = POOL + number as u32;
        let task = Task { name: Some("blocking".into()), stack_size: None, body: job };
        let index = match self.make_g(task, home) {
            Ok(index) => index,
            Err(error) => {
                // The job is gone with the task; whoever waits for it learns that it did not run.
                eprintln!("netpoll: a blocking call could not get a stack: {error}");
                return;
            }
        };
        let g = self.gs.get(index);
        loop {
            g.set_status(Status::Running, self.kernel.clock());
            self.kernel.trace(Event::Run { g: g.id() });
            match g.fiber.resume() {
                Resumed::Done => {
                    self.end_g(index);
                    return;
                }
                Resumed::Suspended(Commit::Yield) => {
                    self.kernel.trace(Event::Yield { g: g.id() });
                }
                Resumed::Suspended(commit) => {
                    if self.commit_park(index, commit, self.kernel.clock()) {
                        self.ensure_poller();
                        if !self.wait_for_goroutine(number, bells) {
                            return;
                        }
                    }
                }
            }
        }
    }
    /// Sleeps until the thread's goroutine is runnable. False when the runtime shuts down: as on a worker,
    /// whoever is parked then stays where it is, and the thread ends.
    fn wait_for_goroutine(&self, number: usize, bells: &Bells<P>) -> bool {
        // The flag is raised before the shutdown takes the lock: either it finds this thread in the list
        // or this thread finds the flag.
        self.pool.state.lock().parked.push(number);
        if !self.is_shut_down() {
            bells.runnable.wait();
        }
        self.pool.state.lock().parked.retain(|&other| other != number);
        !self.is_shut_down()
    }
}
