//! A run under loom.

use std::env;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use serde_json::Value;

use super::{Covered, Failed, Model, Profile, progress};
use crate::platform::loom::begin;
use crate::platform::take_operations;

/// Branches in one execution. Loom allocates that many places once a model.
const BRANCHES_MAX: usize = 20_000;
/// Loom's own limit.
const THREADS_MAX: usize = loom::MAX_THREADS;

/// Thrown by an execution that is one too many. It is the first thing that the execution does, so
/// nothing of the model is on any stack when it unwinds.
struct Enough;

/// What the executions leave behind.
#[derive(Default)]
struct Count {
    executions: AtomicU64,
    deepest: AtomicU64,
}

/// Executions between two looks at how far along a run is.
const CHECKPOINT_EVERY: usize = 10_000;

pub(super) fn run(model: &Model, profile: Profile) -> Result<Covered, Failed> {
    let bound = model.loom.expect("the model has a plan for loom");
    let (preemptions, cap, time) = match profile {
        Profile::Quick => (bound.preemptions, bound.executions_max, None),
        Profile::Deep { time } => {
            (bound.deep_preemptions, bound.executions_max.map(|cap| cap * DEEPER), time)
        }
    };
    let deadline = time.map(|time| Instant::now() + time);
    let count = Arc::new(Count::default());
    let (counted, body, world) = (Arc::clone(&count), model.bodies.loom, model.world());
    let checkpoint = CheckpointFile::new();
    let path = checkpoint.0.clone();
    let execution = move || {
        let executions = counted.executions.load(Relaxed);
        if cap.is_some_and(|cap| executions >= cap)
            || deadline.is_some_and(|deadline| Instant::now() >= deadline)
        {
            resume_unwind(Box::new(Enough));
        }
        let executions = executions + 1;
        counted.executions.store(executions, Relaxed);
        progress(executions, || match cap {
            Some(cap) => Some(executions as f64 / cap as f64),
            None => estimate(&fs::read_to_string(&path).ok()?),
        });
        take_operations();
        begin(world);
        body();
        counted.deepest.fetch_max(take_operations(), Relaxed);
    };
    let ended =
        catch_unwind(AssertUnwindSafe(|| builder(preemptions, &checkpoint.0).check(execution)));
    let executions = count.executions.load(Relaxed);
    let complete = match ended {
        Ok(()) => true,
        Err(payload) if payload.is::<Enough>() => false,
        Err(payload) => {
            return Err(Failed::of_panic(&*payload, executions, Vec::new()));
        }
    };
    if executions < 2 {
        let what = "there is only one interleaving: the model checks nothing".to_string();
        return Err(Failed { what, execution: executions, choices: Vec::new() });
    }
    let mut text = match preemptions {
        None => "unbounded".to_string(),
        Some(count) => format!("{count} preemptions"),
    };
    if !complete {
        text += &match (cap, time) {
            (Some(cap), _) if executions >= cap => format!(", {cap} executions"),
            (_, time) => format!(", {} s", time.unwrap_or_default().as_secs()),
        };
    }
    let deepest = count.deepest.load(Relaxed);
    Ok(Covered { executions, deepest, bound: text, complete })
}

/// How much further a capped model goes in the deep profile.
const DEEPER: u64 = 50;

/// Loom without caps, whatever the environment says: a cap of its own would stop it silently.
fn builder(preemptions: Option<usize>, checkpoint: &Path) -> loom::model::Builder {
    let mut builder = loom::model::Builder::new();
    builder.max_threads = THREADS_MAX;
    builder.max_branches = BRANCHES_MAX;
    builder.max_permutations = None;
    builder.max_duration = None;
    builder.preemption_bound = preemptions;
    builder.checkpoint_file = Some(checkpoint.to_path_buf());
    builder.checkpoint_interval = CHECKPOINT_EVERY;
    builder
}

/// Where loom writes its position now and then; nobody goes on from it.
struct CheckpointFile(PathBuf);

impl CheckpointFile {
    fn new() -> CheckpointFile {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let name = format!("netpoll-loom-{}-{}", process::id(), NUMBER.fetch_add(1, Relaxed));
        CheckpointFile(env::temp_dir().join(name))
    }
}

impl Drop for CheckpointFile {
    fn drop(&mut self) {
        // A short run has not written it.
        let _gone = fs::remove_file(&self.0);
    }
}

/// How far along loom is, 0 to 1, from its position: a list of branches, of each of which it has
/// explored some options. All options of a branch are taken to be equally large, which they are not, and
/// loom adds options as it finds that they matter: it is an estimate, and mostly too high.
fn estimate(position: &str) -> Option<f64> {
    let position: Value = serde_json::from_str(position).ok()?;
    let (mut explored, mut share) = (0.0, 1.0);
    for branch in position["branches"]["entries"].as_array()? {
        let (done, options) = options(branch)?;
        explored += share * done / options;
        share /= options;
    }
    Some(explored)
}

/// How many options of a branch have been explored, and how many there are.
fn options(branch: &Value) -> Option<(f64, f64)> {
    if let Some(schedule) = branch.get("Schedule") {
        let threads = schedule["threads"].as_array()?;
        let count = |state: &str| threads.iter().filter(|thread| *thread == state).count() as f64;
        let done = count("Visited");
        return Some((done, done + count("Active") + count("Pending")));
    }
    if let Some(load) = branch.get("Load") {
        return Some((load["pos"].as_f64()?, load["len"].as_f64()?));
    }
    let spurious = branch.get("Spurious")?["spur"].as_bool()?;
    Some((f64::from(u8::from(spurious)), 2.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_estimate_is_the_share_of_what_has_been_explored() {
        let schedule = |threads: &str| format!(r#"{{"Schedule":{{"threads":[{threads}]}}}}"#);
        let halfway = schedule(r#""Visited","Active","Disabled""#);
        let load = r#"{"Load":{"values":[0,1],"pos":1,"len":2}}"#;
        let position = format!(r#"{{"branches":{{"entries":[{halfway},{load}]}}}}"#);
        assert_eq!(estimate(&position), Some(0.75));
        assert_eq!(estimate("{}"), None);
    }

    #[test]
    fn loom_writes_its_position_in_the_form_that_the_estimate_reads() {
        let checkpoint = CheckpointFile::new();
        let mut builder = builder(None, &checkpoint.0);
        builder.checkpoint_interval = 1;
        builder.check(|| {
            let cell = std::sync::Arc::new(loom::sync::atomic::AtomicU32::new(0));
            let there = cell.clone();
            let thread = loom::thread::spawn(move || there.store(1, Relaxed));
            cell.load(Relaxed);
            thread.join().unwrap();
        });
        let position = fs::read_to_string(&checkpoint.0).unwrap();
        let estimate = estimate(&position).expect(&position);
        assert!((0.0..=1.0).contains(&estimate), "{estimate}");
    }
}
