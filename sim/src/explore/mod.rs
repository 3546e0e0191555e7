//! Running scenarios under many seeds, and saying what was found.
//!
//! | file | what it is |
//! |---|---|
//! | `execution.rs` | one run of a scenario: [`execute`] |
//! | `violation.rs` | what a run violated, if anything: [`Violation`] |
//! | `needs.rs` | the choices of a failing run that are not the dullest, in words |
//! | `smaller.rs` | a failing run made smaller: [`shrink`], [`Finding::shrunk`] |
//! | `finding.rs` | a violation with all that a person needs: [`Finding`] |
//! | `mod.rs` | many runs on several threads of the operating system: [`explore`] |
//!
//! Each run stays on one thread and depends on nothing but its seed and [`Options`]. Seeds are handed
//! out in ascending order and none after the first that failed, so the smallest failing seed is found
//! whatever the number of threads.
//!
//! A run is first made with little recorded. One that fails is made again with everything recorded, and
//! the two are compared: if they differ, the *simulator* is broken, and the finding says so first.

mod execution;
mod finding;
mod needs;
mod smaller;
mod violation;

use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

pub use execution::{Execution, Options, WORKERS_DEFAULT, execute, execute_on, execute_with};
pub use finding::{Finding, faults_name, granularity_name};
pub use needs::sentence;
pub use smaller::shrink;
pub use violation::{Property, Violation, status_text};

use crate::scenarios::Scenario;
use crate::{FaultCounts, FaultKind, Keep, Source};

/// How many records the first run of a seed keeps, for the case that there is no second run like it.
const RING: usize = 64;

/// What to explore.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The program.
    pub scenario: &'static Scenario,
    /// The seeds, in this order.
    pub seeds: Range<u64>,
    /// No seed is started after this time.
    pub time: Option<Duration>,
    /// What else determines a run.
    pub options: Options,
    /// Threads of the operating system; by default one for each processor.
    pub jobs: Option<NonZeroUsize>,
}

/// How far an exploration has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Seeds that have been run.
    pub seeds: u64,
    /// Points that their threads have passed.
    pub steps: u64,
    /// Their virtual time.
    pub virtual_ns: u64,
    /// The faults that struck, in the order of [`FaultKind::ALL`].
    pub faults: [u64; FaultKind::ALL.len()],
}

impl Progress {
    fn add(&mut self, steps: u64, virtual_ns: u64, faults: &FaultCounts) {
        self.seeds += 1;
        self.steps += steps;
        self.virtual_ns += virtual_ns;
        for (total, kind) in self.faults.iter_mut().zip(FaultKind::ALL) {
            *total += u64::from(faults.of(kind));
        }
    }

    /// The kinds of fault that struck, with their numbers.
    pub fn faults_struck(&self) -> impl Iterator<Item = (FaultKind, u64)> {
        let all = FaultKind::ALL.into_iter().zip(self.faults);
        all.filter(|&(_, count)| count > 0)
    }
}

/// What an exploration has done and found.
#[derive(Clone, Debug)]
pub struct Summary {
    /// The program.
    pub scenario: &'static Scenario,
    /// How far it came.
    pub progress: Progress,
    /// How long it took.
    pub elapsed: Duration,
    /// The smallest seed that failed.
    pub finding: Option<Finding>,
}

/// Runs the seeds of a plan until one fails, all have been run or the time is up.
///
/// `watch` is called after each run, from any of the threads, one at a time.
pub fn explore(plan: &Plan, watch: &(dyn Fn(&Progress) + Sync)) -> Summary {
    let start = Instant::now();
    let search = Search {
        plan,
        deadline: plan.time.map(|time| start + time),
        next: AtomicU64::new(plan.seeds.start),
        failed: AtomicU64::new(u64::MAX),
        state: Mutex::default(),
        watch,
    };
    let jobs = plan.jobs.or_else(|| thread::available_parallelism().ok());
    thread::scope(|scope| {
        for _ in 1..jobs.map_or(1, NonZeroUsize::get) {
            scope.spawn(|| search.run());
        }
        search.run();
    });
    let state = search.state.into_inner();
    let state = state.unwrap_or_else(PoisonError::into_inner);
    let finding = state.first.map(|(seed, execution)| {
        let options = &plan.options;
        Finding::confirm(plan.scenario, options, Source::Seed(seed), execution)
    });
    Summary { scenario: plan.scenario, progress: state.progress, elapsed: start.elapsed(), finding }
}

/// What the threads of one exploration share.
struct Search<'a> {
    plan: &'a Plan,
    deadline: Option<Instant>,
    /// The next seed to run.
    next: AtomicU64,
    /// The smallest seed that has failed so far.
    failed: AtomicU64,
    state: Mutex<State>,
    watch: &'a (dyn Fn(&Progress) + Sync),
}

#[derive(Default)]
struct State {
    progress: Progress,
    first: Option<(u64, Execution)>,
}

impl Search<'_> {
    fn run(&self) {
        while let Some(seed) = self.take_seed() {
            let source = Source::Seed(seed);
            let (scenario, options) = (self.plan.scenario, &self.plan.options);
            let execution = execute(scenario, options, source, Keep::Last(RING));
            let report = &execution.report;
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let State { progress, first } = &mut *state;
            progress.add(report.steps, report.end_ns, &report.faults_struck);
            (self.watch)(progress);
            if execution.violation.is_some() {
                self.failed.fetch_min(seed, Ordering::Relaxed);
                if first.as_ref().is_none_or(|&(smallest, _)| seed < smallest) {
                    *first = Some((seed, execution));
                }
            }
        }
    }

    fn take_seed(&self) -> Option<u64> {
        let time_is_up = self.deadline.is_some_and(|at| Instant::now() >= at);
        if time_is_up {
            return None;
        }
        let seed = self.next.fetch_add(1, Ordering::Relaxed);
        let failed = self.failed.load(Ordering::Relaxed);
        (seed < self.plan.seeds.end && seed < failed).then_some(seed)
    }
}
