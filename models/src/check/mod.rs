//! Running a model under a checker, and saying what was and was not covered.
//!
//! | file | what it is |
//! |---|---|
//! | `plan.rs` | what a model is, and how far each checker goes with it |
//! | `loom.rs` | a run under loom |
//! | `shuttle.rs` | a run under shuttle, whose schedules are lists of choices |
//! | `smaller.rs` | a failing run of shuttle, made smaller |
//! | `certificate.rs` | what a run has covered, as data and as a row of a table |
//! | `failure.rs` | files that keep a failing run of shuttle |
//! | `limits.rs` | a checker's limits, as sentences |
//! | `panics.rs` | panics inside models, as the process sees them |
//!
//! A certificate says `complete` only if every execution within its bound has been run. Loom returns
//! normally when a cap of its own stops it, so none is set; caps are ours (`loom.rs`).

mod certificate;
mod failure;
mod limits;
mod loom;
mod panics;
mod plan;
pub mod shuttle;
mod smaller;

pub use certificate::{Certificate, footing, heading, table};
pub use failure::Failure;
pub use limits::explain;
pub(crate) use plan::models;
pub use plan::{Bodies, Bound, Checker, KernelUse, Model, Profile};
pub use smaller::{Smaller, shrink};

use std::cell::RefCell;

use crate::platform::probe;

/// Runs a model under a checker.
///
/// # Errors
/// What the checker found, or the limit that it hit, as text.
///
/// # Panics
/// When the model has no plan for this checker.
pub fn run(model: &Model, checker: Checker, profile: Profile) -> Result<Certificate, Failed> {
    let _prepared = prepare()?;
    let start = std::time::Instant::now();
    let covered = match checker {
        Checker::Loom => loom::run(model, profile)?,
        _ => shuttle::run(model, checker, profile)?,
    };
    if let Some(bend) = probe::is_bent()
        && probe::bent() == 0
    {
        let what = format!("{bend} is not passed by this model");
        return Err(Failed { what, execution: covered.executions, choices: Vec::new() });
    }
    Ok(Certificate::new(model, checker, covered, start.elapsed()))
}

/// Prepares this thread for running models, for as long as what it returns is kept.
fn prepare() -> Result<impl Sized, Failed> {
    panics::install_hook();
    if let Some(bend) = bend_of_environment()? {
        probe::bend(Some(bend));
    }
    // A worker asks for the same and finds it done: else each execution would map a signal stack. Where
    // it fails, an overflow is reported without the goroutine's name, as in production.
    Ok(netpoll::goroutine::install_for_thread())
}

/// The variable that bends one access of the runtime for the models of this process: see [`probe::Bend`].
pub const BEND: &str = "NETPOLL_MODELS_BEND";

fn bend_of_environment() -> Result<Option<probe::Bend>, Failed> {
    let Ok(text) = std::env::var(BEND) else {
        return Ok(None);
    };
    let fail = |what| Failed { what: format!("{BEND}: {what}"), execution: 0, choices: Vec::new() };
    text.parse().map(Some).map_err(fail)
}

/// Is told how many executions there have been and, where that can be had, how far along the run is,
/// 0 to 1.
type Watch = Box<dyn Fn(u64, Option<f64>)>;

thread_local! {
    /// Who wants to know how far a run has come.
    static PROGRESS: RefCell<Option<Watch>> = const { RefCell::new(None) };
}

/// Executions between two reports of progress.
const PROGRESS_EVERY: u64 = 10_000;

/// Tells `watch` now and then how far all runs of this thread have come.
pub fn report_progress(watch: Watch) {
    PROGRESS.set(Some(watch));
}

/// Execution number `count` begins.
fn progress(count: u64, share: impl FnOnce() -> Option<f64>) {
    if count.is_multiple_of(PROGRESS_EVERY) {
        PROGRESS.with_borrow(|watch| {
            if let Some(watch) = watch {
                watch(count, share());
            }
        });
    }
}

/// What a run has covered.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Covered {
    executions: u64,
    /// Operations of the longest execution.
    deepest: u64,
    bound: String,
    complete: bool,
}

/// A model that does not hold, or a checker that could not finish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// What happened, in one sentence or more.
    pub what: String,
    /// The execution, from 1 on.
    pub execution: u64,
    /// The choices of the failing run, where the checker has them: `thread:1/2 …`.
    pub choices: Vec<netpoll_sim::Choice>,
}

impl Failed {
    /// What a panic that left a checker says: of the model, or of a limit of the checker.
    fn of_panic(
        payload: &(dyn std::any::Any + Send),
        execution: u64,
        choices: Vec<netpoll_sim::Choice>,
    ) -> Failed {
        let message = text(payload);
        let what = match explain(&message) {
            Some(meaning) => {
                format!("{meaning} ({})", message.lines().next().unwrap_or_default())
            }
            None => message,
        };
        Failed { what, execution, choices }
    }
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "execution {}: {}", self.execution, self.what)
    }
}

/// The message of a panic.
fn text(payload: &(dyn std::any::Any + Send)) -> String {
    match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_string(),
        (None, Some(text)) => text.clone(),
        (None, None) => "a panic whose payload is no text".to_string(),
    }
}

/// The variable that makes a model's test run in the test's own process, for a debugger or a backtrace.
#[cfg(test)]
const HERE: &str = "NETPOLL_MODELS_HERE";

/// The body of a model's tests.
///
/// Each run has a process of its own, for two reasons. A model that fails beside parked goroutines may take
/// its process along, and the other tests with it. And loom maps and unmaps the stack of every thread of
/// every execution: two models in one address space wait for each other's mappings, which made all of them
/// together half as slow again (225 s, and 156 s apart, on two cores).
///
/// # Panics
/// When the model does not hold.
#[cfg(test)]
pub(crate) fn test(name: &str, checkers: &[Checker]) {
    use crate::child::{Job, Verdict, Violated, of_tests};

    let hour = std::time::Duration::from_secs(3600);
    for &checker in checkers {
        let verdict = match std::env::var_os(HERE) {
            None => of_tests(hour).run(&Job::new(name, checker), &|_, _| {}),
            Some(_) => Ok(crate::child::carry_out(&Job::new(name, checker))),
        };
        match verdict.expect("a child can be started") {
            Verdict::Passed(passed) => kept::compare(&passed.certificate),
            Verdict::Violated(Violated { what, execution, .. }) => {
                panic!("{name} under {checker}: execution {execution}: {what}")
            }
        }
    }
}

#[cfg(test)]
#[path = "kept_test.rs"]
mod kept;
