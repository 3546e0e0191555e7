//! The deterministic engine: virtual threads on one thread of the operating system.
//!
//! A virtual thread is a coroutine. Exactly one runs at a time, and it keeps running until it reaches
//! a *point*: a system call, a park, a contended lock, or (at [`Granularity::Atomic`]) any atomic
//! operation. There the engine [chooses](crate::choice) who goes on. A goroutine is a coroutine
//! nested in a virtual thread; a point reached on its stack suspends the whole virtual thread, and
//! since goroutines never leave their worker the thread later resumes right there.
//!
//! **The clock** is virtual. It moves by a small fixed cost at every call and every so many operations
//! on shared memory, so that busy loops make time pass, and jumps to the next deadline or kernel event when every thread is blocked.
//!
//! Invariants:
//!
//! * **E1** `runnable` holds, in ascending order, exactly the threads in state `Runnable`; the
//!   running thread is one of them.
//! * **E2** nothing that a run does depends on addresses, hash order, or the host's clock.
//! * **E3** no borrow of the engine's cells is held across a switch or a call to the `World`.
//! * **E4** a run is over when its main thread has ended, as a process is, or at the first failure.
//!   The other threads are abandoned where they stand, and what stood on their stacks is leaked, never dropped.
//!   The stacks of the runtime's own threads are used again, and nobody can notice: only virtual threads of the
//!   same run could hold pointers into them, and none of them runs again. Stacks on which code of the program stood are leaked too,
//!   those of goroutines among them: it may have lent what is there to a thread of the operating system
//!   (`std::thread::scope`), which goes on.
//!   Unwinding them instead would execute destructors of a state that has just been proved broken,
//!   and is impossible for goroutines, which would have to be resumed by workers that are gone.
//!
//! **Two phases.** With [`Healing`] a run begins in the *safety* phase, in which faults strike and freedoms
//! are taken, and goes over to the *liveness* phase, in which the world is quiet and everything is dull:
//! from there on the run must end within a number of steps. Faults may hide a lost wake-up, since a
//! spurious one does as well; a quiet world does not.
//!
//! Tested in `engine/tests.rs`.

mod hosts;
mod outcome;
pub(crate) mod owned;
mod panics;
mod points;
pub(crate) mod scope;
pub(crate) mod stacks;
#[cfg(test)]
mod tests;
mod threads;

use std::cell::{Cell, RefCell, RefMut};
use std::panic::{self, AssertUnwindSafe};
use std::ptr;
use std::sync::Arc;

use netpoll::platform::RawFd;
use netpoll_traces::{BlockedOn, Entry, Record, Recorder, ThreadId, WorldEvent};

pub use outcome::{Blocked, Outcome, Panicked};

use crate::Report;
use crate::choice::{ChoiceKind, Choices, Chosen};
use crate::deviation::Asker;
use crate::explore::Violation;
use crate::faults::{FaultCounts, FaultKind, Faults};
use crate::hosts::Directory;
use crate::journal::Journal;
use crate::kernel::{HostId, SimKernel};
use crate::marks::Marks;
use crate::oracle::{Checks, Idle, Moved, Oracles, add_checks};
use hosts::Outlook;
pub use points::Wake;
pub(crate) use points::atomic_point;
use scope::{Scope, scoped};
use threads::{Frames, Threads};

/// Where the clock of a run starts. Not 0, because the runtime's clock never is.
pub const START_NS: u64 = 1_000_000;
/// What a system call, a park or an unpark costs.
pub const CALL_NS: u64 = 1_000;
/// What a look at the clock or a spin hint costs.
pub const GLANCE_NS: u64 = 100;
/// How late a timer may be, by the number that is chosen for it: up to the slack that Linux allows itself
/// (`PR_SET_TIMERSLACK` in prctl(2)).
pub const SLACKS_NS: [u64; 4] = [0, 1_000, 10_000, 50_000];
/// "No time": later than every event.
pub const NEVER: u64 = u64::MAX;

/// Where virtual threads may be switched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Granularity {
    /// At system calls, parks, contended locks and spin hints: fast, for protocols and programs.
    Syscall,
    /// In addition at every atomic operation, fence, lock and unlock: thorough, for races.
    Atomic,
}

/// When the world heals, and what it must come to then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Healing {
    /// The safety phase is one of [`Healing::PHASES`] times this many steps, by the run's first choice.
    pub unit_steps: u64,
    /// It ends at this virtual time at the latest.
    pub at_ns: u64,
    /// From there the run must end within this many steps.
    pub quiet_steps: u64,
}

impl Healing {
    /// The lengths of the safety phase: the dullest is none, the longest outlasts nearly every run.
    pub const PHASES: [u64; 6] = [0, 1, 4, 16, 64, 256];
}

/// What lives beside the threads and has events of its own: the simulated kernel.
pub(crate) trait World: Send + Sync {
    /// Carries out everything that is due at `now_ns`. Returns when it wants to be called next.
    fn tick(&self, now_ns: u64) -> u64;
    /// The file behind a descriptor number of a host.
    fn file_of(&self, host: HostId, fd: RawFd) -> Option<u32>;
    /// The kernel, as the process of a host has it.
    fn kernel_of(&self, host: HostId) -> Option<SimKernel> {
        let _ = host;
        None
    }
}

/// What a run is to be.
pub(crate) struct EngineConfig {
    pub(crate) choices: Choices,
    pub(crate) recorder: Recorder,
    pub(crate) granularity: Granularity,
    pub(crate) faults: Faults,
    pub(crate) step_limit: u64,
    pub(crate) time_limit_ns: u64,
    pub(crate) healing: Option<Healing>,
    pub(crate) journal: Option<Journal>,
    pub(crate) world: Option<Arc<dyn World>>,
    /// What the run is held against, if it is that of a runtime.
    pub(crate) oracles: Option<Box<Oracles>>,
}

/// What a run was.
pub(crate) struct Ended {
    /// All but what the kernel knows: the descriptors and the hosts.
    pub(crate) report: Report,
    /// Those of the body's own host.
    pub(crate) oracles: Option<Box<Oracles>>,
    pub(crate) directory: Directory,
}

thread_local! {
    /// The engine whose run is going on on this thread of the operating system.
    static ENGINE: Cell<*const Engine> = const { Cell::new(ptr::null()) };
}

/// One run.
pub(crate) struct Engine {
    now_ns: Cell<u64>,
    /// When the world wants to be called.
    alarm_ns: Cell<u64>,
    /// The earliest deadline of a blocked thread.
    deadline_ns: Cell<u64>,
    steps: Cell<u64>,
    /// 0 once an oracle has seen enough: then the next point is the last one.
    step_limit: Cell<u64>,
    /// The next step at which there is more to do than to count it.
    event_step: Cell<u64>,
    /// The clock does not jump beyond this.
    time_limit_ns: u64,
    /// The step at which the running thread took over.
    slice_start: Cell<u64>,
    /// Operations on shared memory since the last call, but for those of the credit that is not spent.
    quiet: Cell<u32>,
    granularity: Granularity,
    faults: Faults,
    /// Faults strike no more.
    healed: Cell<bool>,
    healing: Option<Healing>,
    /// When the safety phase ends, in steps and in virtual time.
    heal_step: Cell<u64>,
    heal_ns: Cell<u64>,
    /// The step at which the liveness phase began: from there on everything is dull.
    quiet_since: Cell<Option<u64>>,
    journal: Option<Journal>,
    faults_struck: RefCell<FaultCounts>,
    threads: Threads,
    choices: RefCell<Choices>,
    recorder: RefCell<Recorder>,
    /// Whether anybody keeps records or looks at them. Otherwise they are counted, and that is all.
    is_heard: bool,
    /// Records that nobody has heard.
    unheard: Cell<usize>,
    /// By [`HostId`].
    oracles: RefCell<Vec<Option<Box<Oracles>>>>,
    /// Of those that watch no more, if there are any: in most runs there are none.
    checks: RefCell<Option<Box<Checks>>>,
    /// The index of the record of the first panic.
    panic_at: Cell<Option<usize>>,
    /// What those of another host than the body's saw.
    violations: RefCell<Vec<Violation>>,
    /// Who is who among the hosts, for the program.
    directory: RefCell<Directory>,
    /// The next number for a lock or parker.
    next_object: Cell<u32>,
    world: Option<Arc<dyn World>>,
    /// Whether the world carries out what is due, so that no thread asks.
    world_acts: Cell<bool>,
    /// Who panicked first.
    panicked: RefCell<Option<Panicked>>,
    marks: RefCell<Marks>,
    /// Set when the run is over.
    outcome: RefCell<Option<Outcome>>,
}

/// Calls `f` with the engine of this OS thread, or with `None` outside a run.
#[inline]
pub(crate) fn with<R>(f: impl FnOnce(Option<&Engine>) -> R) -> R {
    let engine = ENGINE.get();
    // SAFETY: `Engine::run` sets the pointer to an engine on its own frame and clears it before that
    // frame ends, also by unwinding; code on abandoned stacks never runs again (E4).
    f(unsafe { engine.as_ref() })
}

/// Whether a run is going on on this OS thread.
#[inline]
pub(crate) fn is_running() -> bool {
    !ENGINE.get().is_null()
}

/// Calls `f` with the engine of this OS thread.
///
/// # Panics
/// Outside a run.
#[track_caller]
pub(crate) fn inside<R>(doing: &str, f: impl FnOnce(&Engine) -> R) -> R {
    with(|engine| match engine {
        Some(engine) => f(engine),
        None => panic!("{doing} is possible only inside a simulated run"),
    })
}

impl Engine {
    /// Runs `body` as the main thread of a new run, until the run is over.
    pub(crate) fn run(config: EngineConfig, body: Box<dyn FnOnce()>) -> Ended {
        panics::install_hook();
        assert!(ENGINE.get().is_null(), "a simulated run inside another one");
        let engine = Engine {
            now_ns: Cell::new(START_NS),
            alarm_ns: Cell::new(NEVER),
            deadline_ns: Cell::new(NEVER),
            steps: Cell::new(0),
            step_limit: Cell::new(config.step_limit),
            event_step: Cell::new(0),
            time_limit_ns: config.time_limit_ns,
            slice_start: Cell::new(0),
            quiet: Cell::new(0),
            granularity: config.granularity,
            faults: config.faults,
            healed: Cell::new(false),
            healing: config.healing,
            heal_step: Cell::new(NEVER),
            heal_ns: Cell::new(NEVER),
            quiet_since: Cell::new(None),
            journal: config.journal,
            faults_struck: RefCell::new(FaultCounts::default()),
            threads: Threads::default(),
            choices: RefCell::new(config.choices),
            is_heard: config.oracles.is_some() || config.recorder.keeps_any(),
            unheard: Cell::new(0),
            recorder: RefCell::new(config.recorder),
            oracles: RefCell::new(vec![config.oracles]),
            checks: RefCell::default(),
            panic_at: Cell::new(None),
            violations: RefCell::default(),
            directory: RefCell::default(),
            next_object: Cell::new(1),
            world: config.world,
            world_acts: Cell::new(false),
            panicked: RefCell::new(None),
            marks: RefCell::default(),
            outcome: RefCell::new(None),
        };
        let body = move || {
            if let Err(payload) = panic::catch_unwind(AssertUnwindSafe(body)) {
                inside("a panic", |engine| engine.panicked(payload));
            }
        };
        engine.add_thread(HostId::TEST, "main", Frames::Any, Box::new(body));
        engine.choose_phases();
        engine.begin_quiet();
        ENGINE.set(&engine);
        let cleared = ClearOnDrop;
        engine.resume_until_over();
        drop(cleared);
        engine.ended()
    }

    /// What the run was, once it is over. Everything is taken from where it is: an engine is too large to be moved for
    /// every one of many short runs.
    fn ended(&self) -> Ended {
        let mut recorder = self.recorder.borrow_mut();
        recorder.pass_over(self.unheard.get());
        let mut choices = self.choices.borrow_mut();
        let Chosen { choices: chosen, diverged, deviations } = choices.finish();
        let mut oracles = self.oracles.take();
        let mut checks = self.checks.take().map_or_else(Checks::default, |checks| *checks);
        oracles.iter().flatten().for_each(|it| add_checks(&mut checks, &it.checks()));
        let oracles = oracles[HostId::TEST.index()].take();
        let own = oracles.as_ref().map(|oracles| oracles.violations().to_vec());
        let mut violations = own.unwrap_or_default();
        violations.extend(self.violations.take());
        let report = Report {
            outcome: self.outcome.take().expect("the run is over"),
            choices: chosen,
            diverged,
            deviations,
            trace: recorder.finish(),
            steps: self.steps.get(),
            end_ns: self.now_ns.get(),
            faults_struck: *self.faults_struck.borrow(),
            tally: *choices.tally(),
            healed: self.quiet_since.get(),
            violations,
            checks,
            open_fds: Vec::new(),
            threads_abandoned: self.threads.abandon(),
            panicked: self.panicked.take(),
            panic_at: self.panic_at.get(),
            marks: self.marks.take(),
            hosts: Vec::new(),
        };
        Ended { report, oracles, directory: self.directory.take() }
    }

    /// The virtual time.
    #[inline]
    pub(crate) fn now_ns(&self) -> u64 {
        self.now_ns.get()
    }

    /// Tells the engine when the world wants to be called next.
    #[inline]
    pub(crate) fn set_alarm_ns(&self, at_ns: u64) {
        self.alarm_ns.set(at_ns);
    }

    /// Takes down an event of the running thread.
    #[inline]
    pub(crate) fn record(&self, event: Entry) {
        if self.is_heard {
            self.record_heard(&event);
        } else {
            self.pass_over(event);
        }
    }

    #[inline(never)]
    fn record_heard(&self, event: &Entry) {
        let thread = self.threads.current();
        self.take_down(self.threads.host_of(thread), thread, event);
    }

    /// Counts a record that nobody hears. Where it is made its kind is known, so this is all that is left of most of them.
    #[inline]
    fn pass_over(&self, event: Entry) {
        self.unheard.set(self.unheard.get() + 1);
        if event.moves_thread() {
            self.follow(event);
        }
    }

    /// Notes which goroutine runs now, although nobody keeps the record.
    #[inline(never)]
    fn follow(&self, event: Entry) {
        let thread = self.threads.current();
        let shown = scoped(event, self.threads.host_of(thread));
        self.recorder.borrow_mut().follow(thread, shown);
    }

    /// How many records there have been.
    fn seen(&self) -> usize {
        self.recorder.borrow().seen() + self.unheard.get()
    }

    /// Takes down that the running thread panics, unless it does so in the recorder or in an oracle.
    fn record_panic(&self, seen: &panics::Seen) {
        if let (Ok(mut first), Ok(recorder)) =
            (self.panicked.try_borrow_mut(), self.recorder.try_borrow())
            && first.is_none()
        {
            let panics::Seen { message, location } = seen.clone();
            let g = recorder.running(self.threads.current());
            *first = Some(Panicked { g, message, location });
        }
        if self.recorder.try_borrow_mut().is_ok() && self.oracles.try_borrow_mut().is_ok() {
            if self.step_limit.get() > 0 && self.panic_at.get().is_none() {
                self.panic_at.set(Some(self.seen()));
            }
            self.record(WorldEvent::Panic.into());
        }
    }

    /// Takes down an event of the kernel of a host.
    #[inline]
    pub(crate) fn record_kernel(&self, host: HostId, event: WorldEvent) {
        if self.is_heard {
            self.take_down(host, ThreadId::KERNEL, &event.into());
        } else {
            self.pass_over(event.into());
        }
    }

    /// Takes down an event and shows it to the oracles of its host. One that must not be is the last of the run.
    fn take_down(&self, host: HostId, thread: ThreadId, event: &Entry) {
        if self.step_limit.get() == 0 {
            return;
        }
        let t_ns = self.now_ns.get();
        let (record, seen) = {
            let mut recorder = self.recorder.borrow_mut();
            let record = match host {
                HostId::TEST => recorder.record(t_ns, thread, event),
                host => {
                    let shown = recorder.record(t_ns, thread, &scoped(*event, host));
                    let g = shown.g.map(|g| Scope(host).local_g(g));
                    Record { g, event: *event, ..shown }
                }
            };
            (record, recorder.seen())
        };
        if let Some(oracles) = &mut self.oracles.borrow_mut()[host.index()] {
            oracles.skip_to(seen - 1);
            if !oracles.observe(&record, &Outlook { engine: self, host }) {
                self.violated(host, oracles);
            }
        }
    }

    /// Shows the oracles which bytes enter or leave a stream that is read on a host.
    #[inline]
    pub(crate) fn moved(&self, host: HostId, moved: &Moved<'_>) {
        if !self.is_heard || self.step_limit.get() == 0 {
            return;
        }
        if let Some(oracles) = &mut self.oracles.borrow_mut()[host.index()]
            && !oracles.moved(moved)
        {
            self.violated(host, oracles);
        }
    }

    /// Tells the oracles that nobody can go on before `next_ns`.
    fn idle(&self, next_ns: u64) {
        let idle = Idle { now_ns: self.now_ns.get(), next_ns };
        for (index, oracles) in self.oracles.borrow_mut().iter_mut().enumerate() {
            let host = HostId::new(index);
            if let Some(oracles) = oracles
                && !oracles.idle(&idle, &Outlook { engine: self, host })
            {
                self.violated(host, oracles);
            }
        }
    }

    /// An oracle has seen what must not be. The caller may be in the middle of a system call, with the
    /// kernel locked, so it goes on to the next point; no record follows.
    #[cold]
    fn violated(&self, host: HostId, oracles: &Oracles) {
        if host != HostId::TEST {
            let scope = Scope(host);
            let prefix = &self.directory.borrow().name(host).to_string();
            let seen = oracles.violations().iter().map(|it| Violation {
                subject: it.subject.map(|(g, fd)| (scope.g(g), scope.fd(fd))),
                sentence: format!("{} (on {prefix})", it.sentence),
                ..it.clone()
            });
            self.violations.borrow_mut().extend(seen);
        }
        self.finish(Outcome::Violated);
        self.step_limit.set(0);
        self.event_step.set(0);
    }

    /// Chooses a number below `n`.
    #[inline]
    pub(crate) fn choose(&self, kind: ChoiceKind, n: u32) -> u32 {
        match self.is_quiet() && kind != ChoiceKind::Random {
            true => 0, // C5
            false => self.noted(|choices| choices.choose(kind, n)),
        }
    }

    /// Makes a choice: says who asks, and notes where in the trace it was if it is not the dullest.
    #[inline]
    fn noted(&self, choose: impl FnOnce(&mut Choices) -> u32) -> u32 {
        let mut choices = self.choices.borrow_mut();
        choices.set_asker(|| {
            let (thread, recorder) = (self.threads.current(), self.recorder.borrow());
            match (self.world_acts.get(), recorder.running(thread)) {
                (true, _) => Asker::Kernel,
                (false, Some(g)) => Asker::Goroutine(g),
                (false, None) => Asker::Thread { thread, after: recorder.ran(thread) },
            }
        });
        let k = choose(&mut choices);
        if k != 0 {
            choices.set_seen(|| self.seen());
        }
        k
    }

    /// Whether a fault strikes, here and now.
    #[inline]
    pub(crate) fn strikes(&self, fault: FaultKind) -> bool {
        let per_mille = self.faults.per_mille(fault);
        if per_mille == 0 || self.healed.get() {
            return false;
        }
        self.draws(fault, per_mille)
    }

    fn draws(&self, fault: FaultKind, per_mille: u16) -> bool {
        let kind = ChoiceKind::Fault(fault);
        let strikes = self.noted(|choices| choices.chance(kind, per_mille).into()) == 1;
        if strikes {
            self.faults_struck.borrow_mut().add(fault);
            self.record(WorldEvent::Fault { name: fault.name() }.into());
        }
        strikes
    }

    /// Whether a link loses a packet that loses so many of a thousand.
    pub(crate) fn loses(&self, per_mille: u16) -> bool {
        if self.is_quiet() {
            return false; // C5
        }
        let chance = |choices: &mut Choices| choices.chance(ChoiceKind::PacketLoss, per_mille);
        self.noted(|choices| chance(choices).into()) == 1
    }

    /// As [`strikes`](Engine::strikes), at most once in a run.
    #[inline]
    pub(crate) fn strikes_once(&self, fault: FaultKind) -> bool {
        // The rate first: for most runs that is all there is to it.
        self.faults.per_mille(fault) > 0
            && self.faults_struck.borrow().of(fault) == 0
            && self.strikes(fault)
    }

    /// From here on no fault strikes, and none is asked about, so that it takes no place in the list of
    /// choices. Order and delays go on varying.
    pub(crate) fn heal(&self) {
        self.healed.set(true);
    }

    /// Whether the world has healed and everything is dull.
    #[inline]
    fn is_quiet(&self) -> bool {
        self.quiet_since.get().is_some()
    }

    /// A number for a lock or a parker, in order of first sight.
    pub(crate) fn object_number(&self) -> u32 {
        let number = self.next_object.get();
        self.next_object.set(number + 1);
        number
    }

    /// The marks that the program has passed.
    pub(crate) fn marks(&self) -> RefMut<'_, Marks> {
        self.marks.borrow_mut()
    }

    /// Whether threads of its host beside the running one have not ended.
    pub(crate) fn has_other_threads(&self) -> bool {
        self.threads.unended(self.host()) > 1
    }

    /// Who is who among the hosts.
    pub(crate) fn directory(&self) -> RefMut<'_, Directory> {
        self.directory.borrow_mut()
    }

    /// The kernel, as the process of a host has it.
    pub(crate) fn kernel_of(&self, host: HostId) -> Option<SimKernel> {
        self.world.as_ref()?.kernel_of(host)
    }

    /// Ends the run. The first reason counts.
    fn finish(&self, outcome: Outcome) {
        self.outcome.borrow_mut().get_or_insert(outcome);
    }

    fn is_over(&self) -> bool {
        self.outcome.borrow().is_some()
    }

    /// The blocked threads, for a report.
    fn blocked(&self) -> Vec<Blocked> {
        let recorder = self.recorder.borrow();
        let describe = |(thread, on)| Blocked {
            thread: recorder.thread_name(thread).to_string(),
            on: match on {
                BlockedOn::Join(other) => format!("end of {}", recorder.thread_name(other)),
                on => on.to_string(),
            },
        };
        self.threads.blocked().into_iter().map(describe).collect()
    }
}

/// Clears the thread-local on every way out of a run.
struct ClearOnDrop;

impl Drop for ClearOnDrop {
    fn drop(&mut self) {
        ENGINE.set(ptr::null());
        points::no_credit_needed();
    }
}
