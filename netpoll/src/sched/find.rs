//! Where a worker finds work, in order, and how it goes to sleep when there is none.
//!
//! The order: a stopped world; its own due timers; every 61st round the global queue; the inbox and its
//! own queues; the global queue; the quick poll; other workers' queues and timers; sleep. The last
//! resort of one sleeper is to block in the kernel's poll (the *final poll*); the others sleep on
//! their parkers.

use std::sync::atomic::Ordering::Relaxed;

use super::shared::Shared;
use super::timers::NEVER;
use super::worker::Loop;
use crate::platform::{Atomic, Kernel, Lock, Park, Platform};
use crate::poll::Delay;
use crate::poll::netpoll::Sleeper;
use crate::trace::{Event, WorkerPhase};

/// Every so many rounds the global queue comes first, so that two goroutines that keep making each
/// other runnable cannot starve it. Go's value, a prime, so that it falls into step with nothing.
const GLOBAL_EVERY: u32 = 61;
/// Goroutines run in a row from `next` before the ring has its turn.
const STREAK_MAX: u32 = 16;
/// Rounds over all other workers before a search gives up. Timers and `next` only in the last one:
/// `next` is about to be run by its owner.
const STEAL_ROUNDS: u32 = 4;

/// What a search at the other workers' brought.
enum Stolen {
    Goroutine(u32),
    /// Timers ran; look at the own queues again.
    Timers,
    Nothing,
}

impl<P: Platform> Shared<P> {
    /// Whether worker `index` takes new goroutines.
    pub(super) fn is_active(&self, index: u32) -> bool {
        index < self.active.load(Relaxed)
    }

    /// Workers that take new goroutines.
    pub(super) fn active_workers(&self) -> u32 {
        self.active.load(Relaxed)
    }
}

impl<P: Platform> Loop<'_, P> {
    /// The next goroutine to run; `None` when the runtime shuts down. Sleeps meanwhile.
    pub fn find_runnable(&mut self) -> Option<u32> {
        loop {
            if self.shared.is_shut_down() {
                return None;
            }
            if self.shared.stopping.load(Relaxed) != 0 {
                self.stand_still();
            }
            self.tick = self.tick.wrapping_add(1);
            self.run_own_timers();
            let active = self.shared.is_active(self.worker.index);
            if active
                && self.tick.is_multiple_of(GLOBAL_EVERY)
                && let Some(g) = self.take_global(1)
            {
                return Some(g);
            }
            self.worker.inbox.drain_into(&self.shared.gs, &self.worker.local);
            if let Some(g) = self.take_own(active) {
                return Some(g);
            }
            if active && let Some(g) = self.take_global(u32::MAX) {
                return Some(g);
            }
            if self.quick_poll() {
                continue;
            }
            if !active {
                // A retired worker steals no goroutines, but in the final poll it may be the one that
                // wakes for somebody else's timer.
                if self.run_timers_of_others() {
                    continue;
                }
            } else if self.may_search() {
                match self.search() {
                    Stolen::Goroutine(g) => return Some(g),
                    Stolen::Timers => continue,
                    Stolen::Nothing => {}
                }
            }
            self.sleep();
        }
    }

    fn run_own_timers(&mut self) {
        if self.worker.timers.earliest() == NEVER {
            return;
        }
        let now = self.shared.kernel.clock();
        self.worker.set_now(now);
        self.run_timers_of(self.worker.index, now);
    }

    /// Runs everybody's due timers; false when there were none.
    fn run_timers_of_others(&mut self) -> bool {
        let now = self.shared.kernel.clock();
        let mut any = false;
        for index in 0..self.shared.workers.len() as u32 {
            any |= self.run_timers_of(index, now);
        }
        any
    }

    /// Runs the due timers of a worker; false when there were none.
    fn run_timers_of(&mut self, index: u32, now: u64) -> bool {
        self.shared.take_due(&self.shared.workers[index as usize], now, &mut self.due);
        let mut due = std::mem::take(&mut self.due);
        let any = !due.is_empty();
        for job in due.drain(..) {
            self.shared.run_job(Some(self.worker), job);
        }
        self.due = due;
        any
    }

    /// From the own queues: started and unstarted goroutines take turns, so that neither kind can
    /// starve the other.
    fn take_own(&mut self, active: bool) -> Option<u32> {
        let (worker, gs) = (self.worker, &self.shared.gs);
        if !active {
            return worker.local.pop(gs);
        }
        if self.tick.is_multiple_of(2) {
            worker.local.pop(gs).or_else(|| self.take_unstarted())
        } else {
            self.take_unstarted().or_else(|| worker.local.pop(gs))
        }
    }

    fn take_unstarted(&mut self) -> Option<u32> {
        let runq = &self.worker.runq;
        if self.streak < STREAK_MAX
            && let Some(g) = runq.pop_next()
        {
            self.streak += 1;
            return Some(g);
        }
        self.streak = 0;
        runq.pop().or_else(|| runq.pop_next())
    }

    /// From the global queue: one to run, and up to a fair share of at most `most` in all for the own
    /// queue.
    fn take_global(&mut self, most: u32) -> Option<u32> {
        let shared = self.shared;
        if shared.global_length.load(Relaxed) == 0 {
            return None;
        }
        let mut sched = shared.sched.lock();
        let length = sched.global.len() as u32;
        let share =
            (length / shared.active_workers() + 1).min(most).min(length).min(P::RUN_QUEUE / 2);
        let first = sched.global.pop_front()?;
        for g in sched.global.drain(..share as usize - 1) {
            // Under the lock: nobody is told, so whoever goes to sleep must find it in one of the two places,
            // and looks at the first under the lock and at the second after it (L10).
            let overflow = self.worker.runq.push(g);
            assert!(overflow.is_empty(), "a worker takes {share} goroutines and has some already");
        }
        shared.global_length.store(sched.global.len() as u32, Relaxed);
        drop(sched);
        Some(first)
    }

    /// The quick poll: when somebody waits on a slot and nobody polls, a look at the kernel is cheaper
    /// than going to sleep and being woken. Purely an optimisation, so a lone worker, whose sleep
    /// begins with the same call, leaves it out. True when it brought something.
    fn quick_poll(&mut self) -> bool {
        let shared = self.shared;
        if shared.active_workers() < 2 || !shared.netpoll.try_begin_quick() {
            return false;
        }
        shared.netpoll.poll(&shared.kernel, Delay::None, &mut self.harvest);
        shared.netpoll.end_quick();
        if self.harvest.is_empty() {
            return false;
        }
        shared.inject(Some(self.worker), &mut self.harvest);
        true
    }

    /// Whether to look at the other workers': not when half of the busy ones do already, which would
    /// only burn processor time. Who spins already must look, even when no other worker is active: it has
    /// seen a due timer of a worker that is retired, or work, and would come back at once for it.
    fn may_search(&self) -> bool {
        let shared = self.shared;
        if self.spinning {
            return true;
        }
        if shared.active_workers() < 2 {
            return false;
        }
        let idle = shared.idle_count.load(Relaxed);
        let busy = shared.active_workers().saturating_sub(idle);
        2 * shared.spinning.load(Relaxed) < busy
    }

    /// Looks at the other workers' run queues, and in the last round at their timers.
    fn search(&mut self) -> Stolen {
        let shared = self.shared;
        if !self.spinning {
            self.spinning = true;
            shared.start_spinning();
            shared.kernel.trace(Event::Worker { phase: WorkerPhase::Spinning });
        }
        let count = shared.workers.len() as u32;
        for round in 0..STEAL_ROUNDS {
            let last = round == STEAL_ROUNDS - 1;
            let start = self.next_random() % count;
            for victim in (start..count).chain(0..start) {
                if shared.stopping.load(Relaxed) != 0 {
                    return Stolen::Timers;
                }
                if victim == self.worker.index {
                    continue;
                }
                let robbed = &shared.workers[victim as usize];
                if last && robbed.timers.earliest() != NEVER {
                    let now = shared.kernel.clock();
                    if self.run_timers_of(victim, now) {
                        return Stolen::Timers;
                    }
                }
                if robbed.runq.is_empty() {
                    continue;
                }
                if let Some(g) = robbed.runq.steal_into(&self.worker.runq, last) {
                    return Stolen::Goroutine(g);
                }
            }
        }
        Stolen::Nothing
    }

    /// xorshift32: the order of victims only has to differ between workers and rounds.
    fn next_random(&mut self) -> u32 {
        let mut x = self.random;
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        self.random = x;
        x
    }

    /// Sleeps until somebody has work for this worker, or finds at the last moment that there is some.
    fn sleep(&mut self) {
        let (shared, worker) = (self.shared, self.worker);
        let active = shared.is_active(worker.index);
        {
            let mut sched = shared.sched.lock();
            if sched.stopped || (active && !sched.global.is_empty()) {
                return;
            }
            worker.state.fall_asleep();
            shared.enter_idle(&mut sched, worker.index);
        }
        let was_spinning = std::mem::take(&mut self.spinning);
        if was_spinning {
            shared.stop_spinning();
        }
        // F3, partner of F4 in `idle.rs` and in `netpoll.rs`: from here on a submitter sees that this
        // worker sleeps, or this worker sees what was submitted.
        worker.state.look_again();
        if was_spinning && !active && shared.work_for_any() {
            // Retired while it spun: somebody else has to do the search that submitters relied on.
            shared.wake_one();
        }
        let found_own = !worker.inbox.is_empty();
        let mut found_elsewhere = false;
        let mut polled = false;
        if !found_own && !shared.is_shut_down() {
            found_elsewhere = active && shared.work_for_any();
            if !found_elsewhere {
                polled = self.block();
            }
        }
        if !polled {
            // Whoever comes back from the kernel has looked.
            worker.set_now(shared.kernel.clock());
        }
        worker.state.wake();
        let granted = self.get_up();
        shared.kernel.trace(Event::Worker { phase: WorkerPhase::Awake });
        // Who has seen work at others', or came back from the kernel for a timer of theirs, must search
        // for it, however many do already: otherwise it would come back at once, again and again. And who
        // spun, and has found work of its own before it looked at that of others, spins on: submitters
        // relied on its search, which it passes on when it takes its own work up.
        let resumes = found_elsewhere
            || (found_own && was_spinning)
            || (polled && self.timer_due_elsewhere());
        if granted {
            self.spinning = true;
        } else if active && resumes {
            self.spinning = true;
            shared.start_spinning();
        }
        shared.inject(Some(worker), &mut self.harvest);
    }

    /// Whether another worker's timer was due when this one came back from the kernel.
    fn timer_due_elsewhere(&self) -> bool {
        let mut others =
            self.shared.workers.iter().filter(|other| other.index != self.worker.index);
        others.any(|other| other.timers.earliest() <= self.worker.now())
    }

    /// Sleeps, in the kernel or on the parker. True when it was in the kernel.
    fn block(&mut self) -> bool {
        let (shared, worker) = (self.shared, self.worker);
        let netpoll = &shared.netpoll;
        let until = shared.earliest_timer();
        let is_wanted = netpoll.any_waiters() || until != NEVER;
        if is_wanted && let Some(last) = netpoll.try_begin_final() {
            // What it says is what it sleeps by, from one look at the timers: whoever reads it relies on
            // it (O5). A second look here, after the claim, would need a second word.
            netpoll.set_poll_until((until != NEVER).then_some(until));
            let now = shared.kernel.clock();
            let polls = worker.state.go_polling();
            if polls {
                let delay_ns = until.saturating_sub(now);
                let phase = WorkerPhase::Polling { until_ns: until, delay_ns };
                shared.kernel.trace(Event::Worker { phase });
                let delay = Delay::until(until, now);
                netpoll.poll(&shared.kernel, delay, &mut self.harvest);
            }
            let now = shared.kernel.clock();
            worker.set_now(now);
            netpoll.end_final(if polls { now } else { last });
            return true;
        }
        if until != NEVER {
            // Another worker is in the final poll: it must not oversleep this timer.
            if netpoll.sleeper_for(until) == Sleeper::Break {
                netpoll.wake(&shared.kernel);
            }
        }
        shared.kernel.trace(Event::Worker { phase: WorkerPhase::Parked });
        while worker.state.load() == super::idle::WorkerState::Asleep {
            worker.parker.park();
        }
        false
    }

    /// Leaves the idle set, once the world is not stopped. True when this worker was chosen to spin.
    fn get_up(&mut self) -> bool {
        let (shared, worker) = (self.shared, self.worker);
        loop {
            let mut sched = shared.sched.lock();
            if !sched.stopped {
                let granted = shared.leave_idle(&mut sched, worker.index);
                let wake_sysmon = std::mem::take(&mut sched.sysmon_asleep);
                drop(sched);
                if wake_sysmon {
                    shared.sysmon.wake();
                }
                return granted;
            }
            drop(sched);
            worker.parker.park();
        }
    }

    /// Stands still until the world is started again.
    fn stand_still(&mut self) {
        let (shared, worker) = (self.shared, self.worker);
        let index = worker.index as usize;
        {
            let mut sched = shared.sched.lock();
            if !sched.stopped {
                return;
            }
            sched.standing[index] = true;
            sched.running -= 1;
            if sched.running == 0 {
                shared.world.all_stand();
            }
        }
        shared.kernel.trace(Event::Worker { phase: WorkerPhase::Stopped });
        while shared.sched.lock().standing[index] {
            worker.parker.park();
        }
    }
}

impl<P: Platform> Shared<P> {
    /// Whether there is work that any active worker may take.
    fn work_for_any(&self) -> bool {
        self.global_length.load(Relaxed) != 0
            || self.workers.iter().any(|worker| !worker.runq.is_empty())
    }
}
