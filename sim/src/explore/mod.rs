//! Running scenarios under many seeds, and saying what was found.
//!
//! | file | what it is |
//! |---|---|
//! | `execution.rs` | one run of a scenario: [`execute`] |
//! | `violation.rs` | what a run violated, if anything: [`Violation`] |
//! | `determinism.rs` | the same run twice: [`Parting`] |
//! | `needs.rs` | the choices of a failing run that are not the dullest, in words |
//! | `smaller.rs` | a failing run made smaller: [`shrink`], [`Finding::shrunk`] |
//! | `finding.rs` | a violation with all that a person needs: [`Finding`] |
//! | `mod.rs` | many runs on several threads of the operating system: [`explore`] |
//!
//! Each run stays on one thread and depends on nothing but its seed and the [`Plan`]. Seeds are handed
//! out in ascending order and none after the first that failed, so the smallest failing seed is found
//! whatever the number of threads.
//!
//! A run is first made with little recorded. One that fails is made again with everything recorded, and
//! the two are compared: if they differ, the *simulator* is broken, or the program is none that it can
//! simulate, and the finding says so first. Of the others some are made twice as well.
//!
//! All this happens in one process, which a run may take along. `cargo sim` explores in processes of
//! their own: [`Plan::run`] is what each of them does.

mod determinism;
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

pub use determinism::Parting;
pub use execution::{
    Execution, Options, WORKERS_DEFAULT, execute, execute_on, execute_telling, execute_up_to,
    execute_with,
};
pub use finding::{Finding, faults_name, granularity_name};
pub use needs::sentence;
pub use smaller::shrink;
pub use violation::{Property, Violation, status_text};

use crate::oracle::{Checks, add_checks};
use crate::scenarios::Scenario;
use crate::{Faults, Keep, Profile, Source, Tally, Totals};

/// How many records the first run of a seed keeps, for the case that there is no second run like it.
const RING: usize = 64;

/// One seed in so many is run twice even if nobody asks for it.
const SAMPLE: u64 = 128;

/// What to explore.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The program.
    pub scenario: &'static Scenario,
    /// The seeds, in this order.
    pub seeds: Range<u64>,
    /// No seed is started after this time.
    pub time: Option<Duration>,
    /// What else determines a run; its faults, unless there is a profile.
    pub options: Options,
    /// What determines faults and freedoms by the seed.
    pub profile: Option<Profile>,
    /// Every seed is run twice, to see that it is the same run; otherwise some are.
    pub check_determinism: bool,
    /// Threads of the operating system; by default one for each processor.
    pub jobs: Option<NonZeroUsize>,
}

impl Plan {
    /// These seeds of a scenario, as it asks for.
    #[must_use]
    pub fn new(scenario: &'static Scenario, seeds: Range<u64>) -> Plan {
        Plan {
            scenario,
            seeds,
            time: None,
            options: Options::of(scenario),
            profile: None,
            check_determinism: false,
            jobs: None,
        }
    }

    /// What determines the run of a seed beside its choices.
    #[must_use]
    pub fn options(&self, seed: u64) -> Options {
        let faults = self.profile.map_or(self.options.faults, |profile| profile.faults(seed));
        Options { faults, ..self.options.clone() }
    }

    /// Where the choices of a seed come from.
    #[must_use]
    pub fn source(&self, seed: u64) -> Source {
        self.profile.map_or(Source::Seed(seed), |profile| profile.source(seed))
    }

    /// Runs one seed.
    #[must_use]
    pub fn run(&self, seed: u64) -> Execution {
        let (scenario, options, source) = (self.scenario, self.options(seed), self.source(seed));
        if !self.check_determinism && !seed.is_multiple_of(SAMPLE) {
            return execute(scenario, &options, source, Keep::Last(RING));
        }
        determinism::check(scenario, &options, &source).unwrap_or_else(|parting| {
            let mut execution = execute(scenario, &options, source, Keep::All);
            let sentence = format!("two runs of this seed are not the same: {parting}");
            execution.violation = Some(Violation::new(Property::Nondeterminism, sentence));
            execution
        })
    }

    /// The finding of a seed whose run has violated something; it is run again to confirm that, and to
    /// record everything.
    ///
    /// # Panics
    /// If it has not.
    #[must_use]
    pub fn report(&self, seed: u64, first: Execution) -> Finding {
        let violation = first.violation.as_ref().expect("the run has violated something");
        if violation.property == Property::Nondeterminism {
            // There is no other run like it that could confirm it.
            let finding = Finding::of(self.scenario, &self.options(seed), Some(seed), first);
            let finding = finding.expect("the run has violated something");
            return Finding { profile: self.profile, ..finding };
        }
        Finding::confirm(self, seed, first)
    }
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
    /// The runs that lived to see the world heal.
    pub healed: u64,
    /// What really happened of all that could.
    pub totals: Totals,
    /// How often each oracle had something to check.
    pub checks: Checks,
}

impl Progress {
    /// Adds a run.
    pub fn add(&mut self, run: &RunNumbers, faults: &Faults) {
        self.seeds += 1;
        self.steps += run.steps;
        self.virtual_ns += run.virtual_ns;
        self.healed += u64::from(run.healed);
        self.totals.add(&run.tally, faults);
        add_checks(&mut self.checks, &run.checks);
    }

    /// Adds other runs.
    pub fn merge(&mut self, other: &Progress) {
        let Progress { seeds, steps, virtual_ns, healed, totals, checks } = other;
        self.seeds += seeds;
        self.steps += steps;
        self.virtual_ns += virtual_ns;
        self.healed += healed;
        self.totals.merge(totals);
        add_checks(&mut self.checks, checks);
    }
}

/// What is counted of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunNumbers {
    /// Points that its threads have passed.
    pub steps: u64,
    /// Its virtual time.
    pub virtual_ns: u64,
    /// Whether the world healed.
    pub healed: bool,
    /// What was asked, and what struck.
    pub tally: Tally,
    /// How often each oracle had something to check.
    pub checks: Checks,
}

impl From<&Execution> for RunNumbers {
    fn from(execution: &Execution) -> RunNumbers {
        let report = &execution.report;
        RunNumbers {
            steps: report.steps,
            virtual_ns: report.end_ns,
            healed: report.healed.is_some(),
            tally: report.tally,
            checks: report.checks,
        }
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

/// Who is told of an exploration as it goes on, by the thread that runs the seed.
pub trait Watch: Sync {
    /// The run of a seed begins on the calling thread.
    fn begins(&self, seed: u64) {
        let _ = seed;
    }

    /// It has ended. If it was to be made twice, this is the second of the two.
    fn ends(&self, seed: u64, execution: &Execution) {
        let _ = (seed, execution);
    }

    /// Whether no seed is to be begun any more; asked before each.
    fn has_enough(&self) -> bool {
        false
    }
}

impl Watch for () {}

/// Runs the seeds of a plan until one fails, all have been run, the time is up or `watch` has enough. If none has
/// failed, those that were run are the first ones.
pub fn explore(plan: &Plan, watch: &dyn Watch) -> Summary {
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
    let finding = state.failed.map(|(seed, execution)| plan.report(seed, execution));
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
    watch: &'a dyn Watch,
}

#[derive(Default)]
struct State {
    progress: Progress,
    /// The smallest seed that has failed so far.
    failed: Option<(u64, Execution)>,
}

impl Search<'_> {
    fn run(&self) {
        while let Some(seed) = self.take_seed() {
            self.watch.begins(seed);
            let execution = self.plan.run(seed);
            self.watch.ends(seed, &execution);
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let State { progress, failed } = &mut *state;
            progress.add(&RunNumbers::from(&execution), &self.plan.options(seed).faults);
            if execution.violation.is_some() {
                self.failed.fetch_min(seed, Ordering::Relaxed);
                if failed.as_ref().is_none_or(|&(smallest, _)| seed < smallest) {
                    *failed = Some((seed, execution));
                }
            }
        }
    }

    fn take_seed(&self) -> Option<u64> {
        let time_is_up = self.deadline.is_some_and(|at| Instant::now() >= at);
        if time_is_up || self.watch.has_enough() {
            return None;
        }
        let seed = self.next.fetch_add(1, Ordering::Relaxed);
        let failed = self.failed.load(Ordering::Relaxed);
        (seed < self.plan.seeds.end && seed < failed).then_some(seed)
    }
}
