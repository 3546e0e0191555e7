//! Points: where time passes, threads are switched, blocked and woken.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::thread;

use netpoll_traces::{BlockedOn, ThreadId, WorldEvent};

use super::threads::Frames;
use super::{CALL_NS, Engine, GLANCE_NS, Granularity, Healing, NEVER, Outcome, panics};
use crate::choice::ChoiceKind;
use crate::journal::Note;
use crate::kernel::HostId;
use crate::strategy::PointKind;

/// A thread that has run this many points in a row while others could is asked to yield, so that a
/// run of dull choices cannot starve anybody.
const SLICE_POINTS: u64 = 1_000;

/// A thread that has made this many operations on shared memory without a call spins, waiting for
/// something that needs time or another thread: both get their turn, and the step counts.
const QUIET_MAX: u32 = 256;

/// How a block ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Wake {
    /// Somebody woke the thread.
    Woken,
    /// Its deadline passed.
    TimedOut,
    /// A signal interrupted it. The engine has none: its signals are deadlines that the kernel chose.
    Interrupted,
}

thread_local! {
    /// How many operations on shared memory the threads of this OS thread may still make before the engine has
    /// something to do there; never 0. Apart from the [engine](super::ENGINE), because nearly all of them
    /// only count down: outside a run, and at the granularity of system calls.
    static CREDIT: Cell<u32> = const { Cell::new(u32::MAX) };
}

/// A point at an operation on shared memory: only at the fine granularity or in a spin, and not
/// while the thread unwinds, because switches in destructors would hide the panic that is under way.
#[inline]
pub(crate) fn atomic_point() {
    let left = CREDIT.get() - 1;
    CREDIT.set(left);
    if left == 0 {
        credit_is_spent();
    }
}

#[inline(never)]
fn credit_is_spent() {
    super::with(|engine| match engine {
        Some(engine) => engine.credit_is_spent(),
        None => no_credit_needed(),
    });
}

/// No run is going on: the operations need not be counted.
pub(super) fn no_credit_needed() {
    CREDIT.set(u32::MAX);
}

impl Engine {
    /// Introduces a thread.
    pub(super) fn add_thread(
        &self,
        host: HostId,
        name: &str,
        frames: Frames,
        body: Box<dyn FnOnce()>,
    ) -> ThreadId {
        match host {
            HostId::TEST => self.recorder.borrow_mut().add_thread(name),
            host => {
                let short = name.strip_prefix("netpoll-").unwrap_or(name);
                let name = format!("{}/{short}", self.directory.borrow().name(host));
                self.recorder.borrow_mut().add_thread(&name);
            }
        }
        for (index, oracles) in self.oracles.borrow_mut().iter_mut().enumerate() {
            if let Some(oracles) = oracles {
                // The others count it, and know that it is none of theirs.
                oracles.add_thread(if index == host.index() { name } else { "" });
            }
        }
        self.choices.borrow_mut().thread_born();
        self.threads.add(host, frames, body)
    }

    /// The engine's side of a run: resumes whoever is to run, until the run is over.
    pub(super) fn resume_until_over(&self) {
        while !self.is_over() {
            if self.threads.resume_current() {
                self.record(WorldEvent::Exit.into());
                let ended = self.threads.current();
                if ended == ThreadId::MAIN {
                    return self.finish(Outcome::Finished);
                }
                self.threads.wake_all(BlockedOn::Join(ended));
                self.pick(PointKind::Blocked);
            }
        }
    }

    /// Starts a thread.
    pub(crate) fn spawn(&self, name: &str, body: Box<dyn FnOnce() + Send>) -> ThreadId {
        self.spawn_on(self.host(), name, Frames::of(name), body)
    }

    /// Starts a thread on a host.
    pub(super) fn spawn_on(
        &self,
        host: HostId,
        name: &str,
        frames: Frames,
        body: Box<dyn FnOnce() + Send>,
    ) -> ThreadId {
        let thread = self.add_thread(
            host,
            name,
            frames,
            Box::new(move || {
                if let Err(payload) = panic::catch_unwind(AssertUnwindSafe(body)) {
                    super::inside("a panic", |engine| engine.panicked(payload));
                }
            }),
        );
        self.record(WorldEvent::Spawn { thread }.into());
        self.pass(CALL_NS);
        self.point(PointKind::Call);
        thread
    }

    /// Ends the run by a panic of the running thread, which never returns from here.
    pub(super) fn panicked(&self, payload: Box<dyn std::any::Any + Send>) {
        let (message, location) = panics::describe(&*payload);
        std::mem::forget(payload); // its destructor is code of a broken run
        let thread = self.threads.current();
        let thread = self.recorder.borrow().thread_name(thread).to_string();
        self.finish(Outcome::Panicked { message, location, thread });
        self.stand_still();
    }

    /// Ends the run because a thread of the operating system has got into it. Does not return.
    pub(crate) fn intruded(&self, what: &str) {
        self.finish(Outcome::Intrusion { what: what.to_string() });
        self.stand_still();
    }

    /// Waits for the end of a thread.
    pub(crate) fn join(&self, thread: ThreadId) {
        while !self.threads.has_ended(thread) {
            let _ = self.block(BlockedOn::Join(thread), NEVER);
        }
    }

    /// A point before or after a call into the kernel.
    #[inline]
    pub(crate) fn call_point(&self) {
        self.begin_quiet();
        self.pass(CALL_NS);
        self.point(PointKind::Call);
    }

    /// A point that costs nothing, after a call.
    #[inline]
    pub(crate) fn return_point(&self) {
        self.point(PointKind::Call);
    }

    /// The running thread has made no operation on shared memory since its last call.
    #[inline]
    pub(super) fn begin_quiet(&self) {
        self.quiet.set(0);
        CREDIT.set(self.credit());
    }

    /// How many operations on shared memory need no attention.
    #[inline]
    fn credit(&self) -> u32 {
        match self.granularity {
            Granularity::Syscall => QUIET_MAX,
            Granularity::Atomic => 1,
        }
    }

    fn credit_is_spent(&self) {
        let credit = self.credit();
        CREDIT.set(credit);
        let quiet = self.quiet.get() + credit;
        self.quiet.set(quiet);
        if quiet >= QUIET_MAX {
            self.spin_point();
        } else if !thread::panicking() {
            self.point(PointKind::Call);
        }
    }

    /// The point of a thread that spins.
    #[cold]
    fn spin_point(&self) {
        self.quiet.set(0);
        if !thread::panicking() {
            self.pass(CALL_NS);
            self.point(PointKind::Yield);
        }
    }

    /// A look at the clock.
    #[inline]
    pub(crate) fn glance(&self) -> u64 {
        self.pass(GLANCE_NS);
        atomic_point();
        self.now_ns()
    }

    /// The running thread computes for so long.
    pub(crate) fn compute(&self, ns: u64) {
        self.pass(ns);
        self.point(PointKind::Yield);
    }

    /// Lets others go first, who may be what the caller busily waits for.
    pub(crate) fn yield_point(&self) {
        self.pass(GLANCE_NS);
        self.point(PointKind::Yield);
    }

    /// Blocks the running thread until it is woken or the clock reaches `deadline_ns`.
    pub(crate) fn block(&self, on: BlockedOn, deadline_ns: u64) -> Wake {
        self.record(WorldEvent::Block { on, until_ns: deadline_ns }.into());
        let this = self.threads.current();
        self.threads.block(on, deadline_ns);
        self.deadline_ns.set(self.deadline_ns.get().min(deadline_ns));
        self.step();
        self.pick(PointKind::Blocked);
        self.switch_from(this.0);
        let timed_out = self.threads.timed_out();
        self.record(WorldEvent::Resume { timed_out }.into());
        if timed_out { Wake::TimedOut } else { Wake::Woken }
    }

    /// Makes a blocked thread runnable. Others are left as they are.
    pub(crate) fn wake(&self, thread: ThreadId) {
        self.threads.wake(thread);
    }

    /// Makes everybody runnable who waits for `what`.
    pub(crate) fn wake_all(&self, what: BlockedOn) {
        self.threads.wake_all(what);
    }

    /// The running thread.
    #[inline]
    pub(crate) fn current(&self) -> ThreadId {
        self.threads.current()
    }

    /// Lets time pass.
    #[inline]
    fn pass(&self, cost_ns: u64) {
        self.now_ns.set(self.now_ns.get() + cost_ns);
        self.carry_out_due();
    }

    /// Lets everything happen that is due: first the world's events, then deadlines of threads.
    #[inline]
    fn carry_out_due(&self) {
        let now_ns = self.now_ns.get();
        if now_ns >= self.alarm_ns.get() {
            let world = self.world.as_ref().expect("only a world sets an alarm");
            self.world_acts.set(true);
            self.alarm_ns.set(world.tick(now_ns));
            self.world_acts.set(false);
        }
        if now_ns >= self.deadline_ns.get() {
            self.deadline_ns.set(self.threads.expire(now_ns));
        }
    }

    #[inline]
    fn point(&self, kind: PointKind) {
        self.step();
        if self.threads.is_alone() {
            return;
        }
        let this = self.threads.current();
        self.pick(kind);
        self.switch_from(this.0);
    }

    #[inline]
    fn step(&self) {
        let steps = self.steps.get() + 1;
        self.steps.set(steps);
        if steps >= self.event_step.get() {
            self.note_step(steps);
        }
    }

    /// Chooses how long the safety phase is to be, before anything else.
    pub(super) fn choose_phases(&self) {
        if let Some(healing) = self.healing {
            let n = Healing::PHASES.len() as u32;
            let k = self.choices.borrow_mut().choose(ChoiceKind::HealAfter, n);
            self.heal_step.set(Healing::PHASES[k as usize] * healing.unit_steps);
            self.heal_ns.set(healing.at_ns);
        }
    }

    /// A step at which there may be more to do than to count it.
    #[cold]
    fn note_step(&self, steps: u64) {
        if let Some(journal) = &self.journal {
            journal.note(Note::Step(steps));
        }
        if steps > self.step_limit.get() {
            self.finish(Outcome::StepLimit);
            self.stand_still();
        }
        if steps >= self.heal_step.get() {
            self.begin_liveness();
        }
        let next = match self.journal {
            Some(_) => steps + 1,
            None => self.heal_step.get().min(self.step_limit.get().saturating_add(1)),
        };
        self.event_step.set(next);
    }

    /// The safety phase is over: the world heals, and the run must end.
    fn begin_liveness(&self) {
        let Some(healing) = self.healing else { return };
        if self.is_quiet() {
            return;
        }
        self.heal_step.set(NEVER);
        self.heal_ns.set(NEVER);
        self.heal();
        let steps = self.steps.get();
        self.quiet_since.set(Some(steps));
        let limit = steps.saturating_add(healing.quiet_steps);
        self.step_limit.set(limit.min(self.step_limit.get()));
        self.event_step.set(0);
        self.record_kernel(HostId::TEST, WorldEvent::Healed);
    }

    /// Decides who runs next, letting time pass until somebody can. If nobody ever can, the run is
    /// over.
    pub(super) fn pick(&self, kind: PointKind) {
        while self.threads.is_stuck() {
            let next_ns = self.alarm_ns.get().min(self.deadline_ns.get());
            self.idle(next_ns);
            if self.is_over() {
                return;
            }
            if next_ns > self.time_limit_ns {
                let blocked = self.blocked();
                return self.finish(match next_ns {
                    NEVER => Outcome::Deadlock { blocked },
                    _ => Outcome::TimeLimit { blocked },
                });
            }
            self.now_ns.set(self.now_ns.get().max(next_ns));
            if next_ns >= self.heal_ns.get() {
                self.begin_liveness();
            }
            self.carry_out_due();
        }
        let steps = self.steps.get();
        let next = self.threads.with_runnable(|runnable, index| {
            let n = runnable.len();
            let kind = match kind {
                PointKind::Call if steps - self.slice_start.get() > SLICE_POINTS => {
                    self.slice_start.set(steps);
                    PointKind::Yield
                }
                kind => kind,
            };
            let start = match kind {
                PointKind::Yield => (index + 1) % n,
                PointKind::Call | PointKind::Blocked => index % n,
            };
            let k = match self.is_quiet() {
                true => 0, // C5
                false => self.noted(|choices| choices.thread(kind, runnable, start)),
            };
            runnable[(start + k as usize) % n]
        });
        if next != self.threads.current().0 {
            self.slice_start.set(steps);
            self.threads.set_current(next);
        }
    }

    /// Leaves `this` if it is not to run on, and returns when it is.
    #[inline]
    pub(super) fn switch_from(&self, this: u16) {
        if self.is_over() {
            self.stand_still();
        }
        if self.threads.current().0 != this {
            self.threads.suspend(this);
        }
    }

    /// Leaves the running thread for good: the run is over.
    fn stand_still(&self) -> ! {
        self.never_runs_again(self.threads.current().0)
    }

    /// Leaves `this`, on which the caller runs, for good.
    pub(super) fn never_runs_again(&self, this: u16) -> ! {
        loop {
            self.threads.suspend(this);
        }
    }
}
