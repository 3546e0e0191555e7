//! One run of a scenario.

use std::array;
use std::sync::{Arc, Mutex, PoisonError};

use netpoll::Builder;
use netpoll::platform::{Park as _, Platform};
use netpoll::runtime::{GoroutineState, Inspector};

use super::violation::{Property, Violation};
use crate::engine::scope::Scope;
use crate::engine::{self, Engine};
use crate::oracle::{End, add_checks};
use crate::scenarios::Scenario;
use crate::{
    Faults, Granularity, Healing, HostLeft, Journal, Keep, Outcome, Report, SimConfig, SimKernel,
    Source, Virtual, Watched, watch,
};

/// The workers of a run when nobody says otherwise: as few as a race needs.
pub const WORKERS_DEFAULT: usize = 2;
/// The unit in which the safety phase is measured, by granularity: the longest one outlasts most runs,
/// which take some thousands of steps at the coarse granularity and some ten thousands at the fine one.
const UNIT_STEPS: [u64; 2] = [30, 500];
/// The safety phase is over by this virtual time: scenarios take milliseconds.
const HEAL_NS: u64 = 20_000_000_000;
/// A run that takes more steps in a quiet world will never end: ten times what any scenario needs.
const QUIET_STEPS: u64 = 300_000;
/// A run that waits for longer, in virtual time, waits for nothing: scenarios take milliseconds, and a
/// connection that was refused for a full backlog some seconds.
const TIME_LIMIT_NS: u64 = 120_000_000_000;

/// What determines a run beside its program and its choices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Where threads may be switched.
    pub granularity: Granularity,
    /// Which faults may strike.
    pub faults: Faults,
    /// The workers of the runtime.
    pub workers: usize,
}

impl Options {
    /// What a scenario asks for.
    #[must_use]
    pub fn of(scenario: &Scenario) -> Options {
        Options {
            granularity: scenario.granularity,
            faults: scenario.faults,
            workers: WORKERS_DEFAULT,
        }
    }
}

/// What a run of a scenario was.
#[derive(Clone, Debug)]
pub struct Execution {
    /// The run.
    pub report: Report,
    /// The goroutines that had not ended.
    pub goroutines: Vec<GoroutineState>,
    /// What it violated.
    pub violation: Option<Violation>,
}

impl Execution {
    /// In what another run differs from this one, recording aside. Two runs from one source must not.
    pub(super) fn difference(&self, other: &Execution) -> Option<String> {
        let (a, b) = (&self.report, &other.report);
        if let Some(at) = a.choices.iter().zip(&b.choices).position(|(a, b)| a != b) {
            let (a, b) = (a.choices[at], b.choices[at]);
            return Some(format!("choice {at} was `{a}` first and then `{b}`"));
        }
        let lengths = (a.choices.len(), b.choices.len());
        if lengths.0 != lengths.1 {
            return Some(format!("{} choices first and then {}", lengths.0, lengths.1));
        }
        if a.outcome != b.outcome {
            return Some(format!("first {}, then {}", a.outcome, b.outcome));
        }
        if (a.steps, a.end_ns) != (b.steps, b.end_ns) {
            return Some(format!("{} steps first and then {}", a.steps, b.steps));
        }
        if self.violation != other.violation {
            return Some("two violations".to_string());
        }
        None
    }
}

/// Where a body leaves what is to be seen of its runtime.
#[derive(Default)]
enum Sight {
    #[default]
    Nothing,
    /// While it runs.
    Inspector(Inspector),
    /// After it has been shut down: its goroutines and its count of waiters.
    Left(Vec<GoroutineState>, i32),
}

/// Runs a scenario once.
#[must_use]
pub fn execute(scenario: &Scenario, options: &Options, source: Source, record: Keep) -> Execution {
    execute_on::<Virtual>(scenario, options, source, record)
}

/// Runs a scenario once, on a platform that is the simulator's or looks over its shoulder.
#[must_use]
pub fn execute_on<P: Platform<Kernel = SimKernel>>(
    scenario: &Scenario,
    options: &Options,
    source: Source,
    record: Keep,
) -> Execution {
    execute_with::<P>(scenario, options, source, record, |kernel| kernel)
}

/// Runs a scenario once, on a platform whose kernel is built around the simulated one.
#[must_use]
pub fn execute_with<P: Platform>(
    scenario: &Scenario,
    options: &Options,
    source: Source,
    record: Keep,
    around: impl FnOnce(SimKernel) -> P::Kernel + Send + 'static,
) -> Execution {
    carry_out::<P>(scenario, config(options, source, record), around)
}

/// Runs a scenario once, telling `journal` of everything as it happens: for runs that may take their
/// process along.
#[must_use]
pub fn execute_telling(
    scenario: &Scenario,
    options: &Options,
    source: Source,
    journal: Journal,
) -> Execution {
    let config = config(options, source, Keep::Last(0));
    carry_out::<Virtual>(scenario, SimConfig { journal: Some(journal), ..config }, |kernel| kernel)
}

/// Runs a scenario once, recording everything, up to its point number `step`, where it stops.
#[must_use]
pub fn execute_up_to(
    scenario: &Scenario,
    options: &Options,
    source: Source,
    step: u64,
) -> Execution {
    let config = config(options, source, Keep::All);
    // The step after the limit is the one that ends the run.
    let config = SimConfig { step_limit: step.saturating_sub(1), ..config };
    carry_out::<Virtual>(scenario, config, |kernel| kernel)
}

fn config(options: &Options, source: Source, record: Keep) -> SimConfig {
    let unit_steps = UNIT_STEPS[usize::from(options.granularity == Granularity::Atomic)];
    let healing = Healing { unit_steps, at_ns: HEAL_NS, quiet_steps: QUIET_STEPS };
    SimConfig {
        source,
        granularity: options.granularity,
        faults: options.faults,
        workers: options.workers,
        healing: Some(healing),
        time_limit_ns: TIME_LIMIT_NS,
        record,
        ..SimConfig::seed(0)
    }
}

fn carry_out<P: Platform>(
    scenario: &Scenario,
    config: SimConfig,
    around: impl FnOnce(SimKernel) -> P::Kernel + Send + 'static,
) -> Execution {
    let sight = Arc::new(Mutex::new(Sight::Nothing));
    let shown = Arc::clone(&sight);
    let body = scenario.body;
    let watched = watch(config, move |kernel| {
        let see = |sight| {
            // What was there before is dropped outside the lock: it may be the last reference to the
            // runtime, and closing its descriptors switches threads.
            let before = std::mem::replace(&mut *lock(&shown), sight);
            drop(before);
        };
        let runtime = Builder::new().build_on::<P>(around(kernel));
        let runtime = runtime.expect("the simulated kernel refuses no runtime");
        let inspector = runtime.inspector();
        see(Sight::Inspector(inspector.clone()));
        body.run(runtime);
        wait_for_threads::<P>();
        see(Sight::Left(inspector.goroutines(), inspector.waiters()));
    });
    let (goroutines, waiters) = match std::mem::take(&mut *lock(&sight)) {
        Sight::Nothing => (Vec::new(), 0),
        Sight::Left(goroutines, waiters) => (goroutines, waiters),
        Sight::Inspector(inspector) => {
            let seen = (inspector.goroutines(), inspector.waiters());
            // Like everything else of an abandoned run it is leaked, never dropped.
            std::mem::forget(inspector);
            seen
        }
    };
    let Watched { mut report, mut oracles, files_left, hosts } = watched;
    let (mut goroutines, is_finished) = (goroutines, report.outcome == Outcome::Finished);
    for host in hosts {
        let HostLeft { id, inspector, open_fds } = host;
        // Others than the body's host may be in the middle of something when it comes to its end.
        if !is_finished {
            goroutines.extend(inspector.goroutines().into_iter().map(|g| Scope(id).goroutine(g)));
            report.open_fds.extend(open_fds.into_iter().map(|open| Scope(id).open_fd(open)));
        }
        // Like everything else of an abandoned run it is leaked, never dropped.
        std::mem::forget(inspector);
    }
    let end = End {
        outcome: &report.outcome,
        goroutines: &goroutines,
        waiters,
        open_fds: &report.open_fds,
        files_left,
        threads_abandoned: report.threads_abandoned,
        abandons: scenario.abandons,
    };
    let before = oracles.checks();
    // Who saw something while the run went on saw it first.
    let seen = match report.violations.first() {
        Some(first) => Some(first.clone()),
        None => oracles.finish(&end),
    };
    let panic = report.panic_at;
    // A panic that nobody was to catch is the reason of all that came after it.
    let is_first = match seen.as_ref().and_then(|seen| seen.at) {
        Some(at) => panic.is_some_and(|panic| panic < at),
        None => true,
    };
    let violation = match &report.panicked {
        Some(panicked) if is_first && !scenario.catches_panics => {
            let violation = Violation::new(Property::Panic, panicked.to_string());
            Some(Violation { at: panic, ..violation })
        }
        _ => seen.or_else(|| Violation::of(&report, panic)),
    };
    if report.violations.is_empty() {
        report.violations = oracles.violations().to_vec();
    }
    // The last word counts as well.
    let after = oracles.checks();
    add_checks(&mut report.checks, &array::from_fn(|at| after[at] - before[at]));
    Execution { report, goroutines, violation }
}

/// Lets the threads of blocking calls end: a runtime that is dropped does not wait for them.
fn wait_for_threads<P: Platform>() {
    const LAST_WORDS_NS: u64 = 1_000_000;
    let now_ns = || engine::with(|engine| engine.map_or(0, Engine::now_ns));
    let others = || engine::with(|engine| engine.is_some_and(Engine::has_other_threads));
    let (parker, until_ns) = (P::Parker::new(), now_ns() + LAST_WORDS_NS);
    // A park may return for no reason.
    while others() && now_ns() < until_ns {
        parker.park_timeout(LAST_WORDS_NS);
    }
}

fn lock(sight: &Mutex<Sight>) -> std::sync::MutexGuard<'_, Sight> {
    sight.lock().unwrap_or_else(PoisonError::into_inner)
}
