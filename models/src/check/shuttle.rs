//! A run under shuttle, whose schedules are lists of choices.
//!
//! Shuttle's own schedulers say which thread they want next. What they want is recorded as a choice in
//! the same list as the simulated kernel's, so a run is a pure function of its list: a failure is
//! replayed from it ([`replay`]), schedule, faults and data alike, without the scheduler that found it.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use netpoll_sim::choice::{Choices, Chosen};
use netpoll_sim::{Choice, Source};
use shuttle::scheduler::{
    DfsScheduler, PctScheduler, RandomScheduler, Schedule, Scheduler, Task, TaskId,
    UrwRandomScheduler,
};
use shuttle::{Config, FailurePersistence, MaxSteps, Runner};

use super::{Certificate, Checker, Covered, Failed, Model, Profile, prepare, progress};
use crate::platform::probe;
use crate::platform::shuttle::{begin, set_choices, with_choices};
use crate::platform::take_operations;

/// Steps of one execution: far more than any model takes that ends.
const STEPS_MAX: usize = 200_000;
/// The stack of a thread of the model.
const STACK_BYTES: usize = 256 * 1024;
/// From here the schedulers and the kernel's choices are drawn; any number would do.
const SEED: u64 = 0x6e65_7470_6f6c_6c00;
/// Priority changes of one PCT schedule, plus one. Few bugs of this field need more.
const PCT_DEPTH: usize = 3;

/// Schedules of one model: many in the deep profile, and in the quick one as many as there is time for.
fn schedules(checker: Checker, profile: Profile) -> usize {
    match (checker, profile) {
        (Checker::Loom, _) => unreachable!("loom has no schedules"),
        (Checker::Dfs, Profile::Quick) => 20_000,
        (Checker::Dfs, Profile::Deep { .. }) => 2_000_000,
        (_, Profile::Quick) => 500,
        (_, Profile::Deep { .. }) => 100_000,
    }
}

pub(super) fn run(model: &Model, checker: Checker, profile: Profile) -> Result<Covered, Failed> {
    let count = schedules(checker, profile);
    let policy: Box<dyn Scheduler + Send> = match checker {
        Checker::Loom => unreachable!("loom has no schedules"),
        Checker::Pct => Box::new(PctScheduler::new_from_seed(SEED, PCT_DEPTH, count)),
        Checker::Random => Box::new(RandomScheduler::new_from_seed(SEED, count)),
        Checker::Urw => Box::new(UrwRandomScheduler::new_from_seed(SEED, count)),
        // One more than the limit, so that stopping there can be told from having come to the end.
        Checker::Dfs => Box::new(DfsScheduler::new(Some(count + 1), true)),
    };
    let dull = checker == Checker::Dfs;
    let recording = Recording { policy, source: Draw::Seeds { next: SEED, dull } };
    let (executions, deepest) =
        execute(model, recording, Some(count)).map_err(|broken| broken.failed)?;
    let complete = dull && executions <= count as u64;
    let bound = match checker {
        Checker::Pct => format!("{count} schedules of depth {PCT_DEPTH}"),
        Checker::Dfs if complete => "unbounded, no faults".to_string(),
        Checker::Dfs => format!("first {count} schedules"),
        _ => format!("{count} schedules"),
    };
    Ok(Covered { executions, deepest, bound, complete })
}

/// Runs a model once, by a list of choices.
///
/// # Errors
/// What it violated.
pub fn replay(model: &Model, choices: Vec<Choice>) -> Result<Certificate, Failed> {
    let start = Instant::now();
    let _prepared = prepare()?;
    let bound = format!("one list of {} choices", choices.len());
    let ran = execute_once(model, Source::Replay(choices));
    let (executions, deepest) = ran.map_err(|broken| broken.failed)?;
    let covered = Covered { executions, deepest, bound, complete: false };
    Ok(Certificate::new(model, Checker::Random, covered, start.elapsed()))
}

/// A failing run, with what only one run at a time can tell.
pub(super) struct Broken {
    pub(super) failed: Failed,
    pub(super) chosen: Chosen,
    /// Where the first panic was raised.
    pub(super) location: Option<String>,
    /// How each switch of thread that is not the dullest came about, in the order of the choices.
    pub(super) switches: Vec<Switch>,
}

/// A switch of thread.
#[derive(Clone, Copy, Debug)]
pub(super) struct Switch {
    /// Whether the thread that ran could not go on.
    pub(super) blocked: bool,
    /// The access that it was about to make, if it was at one.
    pub(super) before: Option<&'static Location<'static>>,
}

/// Runs a model once.
pub(super) fn execute_once(model: &Model, source: Source) -> Result<(u64, u64), Box<Broken>> {
    // Asked, but not heeded. One that draws from a seed would tell people to replay from it.
    let policy = Box::new(DfsScheduler::new(Some(1), true));
    execute(model, Recording { policy, source: Draw::One(Some(source)) }, None)
}

/// Runs a model as often as the scheduler says; returns how often that was and the longest execution.
fn execute(
    model: &Model,
    scheduler: Recording,
    schedules: Option<usize>,
) -> Result<(u64, u64), Box<Broken>> {
    let count = Arc::new((AtomicU64::new(0), AtomicU64::new(0)));
    let (counted, body, world) = (Arc::clone(&count), model.bodies.shuttle, model.world());
    let mut config = Config::new();
    config.stack_size = STACK_BYTES;
    config.failure_persistence = FailurePersistence::None;
    config.max_steps = MaxSteps::FailAfter(STEPS_MAX);
    config.silence_warnings = true;
    let runner = Runner::new(scheduler, config);
    super::panics::take_first();
    let ended = catch_unwind(AssertUnwindSafe(|| {
        runner.run(move || {
            let executions = counted.0.fetch_add(1, Relaxed) + 1;
            progress(executions, || Some(executions as f64 / schedules? as f64));
            take_operations();
            begin(world);
            body();
            counted.1.fetch_max(take_operations(), Relaxed);
        })
    }));
    let chosen = set_choices(None).map(|mut choices| choices.finish()).unwrap_or_default();
    let (executions, switches) = (count.0.load(Relaxed), SWITCHES.take());
    match ended {
        Ok(_) => Ok((executions, count.1.load(Relaxed))),
        Err(payload) => Err(Box::new(Broken {
            failed: Failed::of_panic(&*payload, executions, chosen.choices.clone()),
            chosen,
            location: super::panics::take_first(),
            switches,
        })),
    }
}

thread_local! {
    /// The switches of the execution that goes on.
    static SWITCHES: RefCell<Vec<Switch>> = const { RefCell::new(Vec::new()) };
}

/// Where the choices come from.
enum Draw {
    /// A seed for each execution, counting up. `dull`: the kernel does the dullest thing everywhere.
    Seeds { next: u64, dull: bool },
    /// What one execution is made from.
    One(Option<Source>),
}

/// A scheduler of shuttle's whose decisions are choices.
struct Recording {
    policy: Box<dyn Scheduler + Send>,
    source: Draw,
}

/// A thread's number.
fn number(id: TaskId) -> u16 {
    u16::try_from(usize::from(id)).expect("a model has a handful of threads")
}

impl Scheduler for Recording {
    fn new_execution(&mut self) -> Option<Schedule> {
        let schedule = self.policy.new_execution()?;
        let choices = match &mut self.source {
            Draw::One(source) => Choices::new(source.take()?),
            Draw::Seeds { dull: true, .. } => Choices::without_deviations(Source::Dull),
            Draw::Seeds { next, .. } => {
                *next += 1;
                Choices::without_deviations(Source::Seed(*next))
            }
        };
        set_choices(Some(choices));
        SWITCHES.take();
        Some(schedule)
    }

    fn next_task(
        &mut self,
        runnable: &[&Task],
        current: Option<TaskId>,
        is_yielding: bool,
    ) -> Option<TaskId> {
        let wanted = self.policy.next_task(runnable, current, is_yielding)?;
        let n = runnable.len();
        let place = |id: TaskId| runnable.iter().position(|task| task.id() >= id).unwrap_or(0);
        // Counted from the running thread, so that 0 is "go on".
        let start = current.map_or(0, place);
        let offset = || ((place(wanted) + n - start) % n) as u32;
        let numbers: Vec<u16> = runnable.iter().map(|task| number(task.id())).collect();
        let k = with_choices(|choices| choices.decide(&numbers, start, offset));
        let before = probe::take_last();
        if k != 0 {
            let blocked = current.is_none_or(|id| runnable.iter().all(|task| task.id() != id));
            SWITCHES.with_borrow_mut(|switches| switches.push(Switch { blocked, before }));
        }
        Some(runnable[(start + k as usize) % n].id())
    }

    fn next_u64(&mut self) -> u64 {
        self.policy.next_u64()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::{fs, io};

    use super::super::Failure;
    use super::*;

    /// Every failure of a model that was ever kept is of the past.
    #[test]
    fn every_kept_failure_of_a_model_is_mended() -> io::Result<()> {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../traces/failures");
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "model") {
                continue;
            }
            let failure = Failure::parse(&fs::read_to_string(&path)?).expect("a kept failure");
            let model = crate::protocols::find(&failure.model).expect("a model of today");
            if let Err(failed) = replay(model, failure.choices) {
                panic!("{}: {failed}", path.display());
            }
        }
        Ok(())
    }
}
