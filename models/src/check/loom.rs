//! A run under loom.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use super::limits::explain;
use super::{Covered, Failed, Model, Profile, progress, text};
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

pub(super) fn run(model: &Model, profile: Profile) -> Result<Covered, Failed> {
    let bound = model.loom.expect("the model has a plan for loom");
    let (preemptions, cap) = match profile {
        Profile::Quick => (bound.preemptions, bound.executions_max),
        Profile::Deep => (bound.deep_preemptions, bound.executions_max.map(|cap| cap * DEEPER)),
    };
    let count = Arc::new(Count::default());
    let (counted, body, world) = (Arc::clone(&count), model.bodies.loom, model.world());
    let execution = move || {
        if cap.is_some_and(|cap| counted.executions.load(Relaxed) >= cap) {
            resume_unwind(Box::new(Enough));
        }
        progress(counted.executions.fetch_add(1, Relaxed) + 1);
        take_operations();
        begin(world);
        body();
        counted.deepest.fetch_max(take_operations(), Relaxed);
    };
    let ended = catch_unwind(AssertUnwindSafe(|| builder(preemptions).check(execution)));
    let executions = count.executions.load(Relaxed);
    let complete = match ended {
        Ok(()) => true,
        Err(payload) if payload.is::<Enough>() => false,
        Err(payload) => {
            let message = text(&*payload);
            let what = explain(&message).map_or(message.clone(), |meaning| {
                format!("{meaning} ({})", message.lines().next().unwrap_or_default())
            });
            return Err(Failed { what, execution: executions, choices: Vec::new() });
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
    if let (false, Some(cap)) = (complete, cap) {
        text += &format!(", {cap} executions");
    }
    let deepest = count.deepest.load(Relaxed);
    Ok(Covered { executions, deepest, bound: text, complete })
}

/// How much further a capped model goes in the deep profile.
const DEEPER: u64 = 50;

/// Loom without caps, whatever the environment says: a cap of its own would stop it silently.
fn builder(preemptions: Option<usize>) -> loom::model::Builder {
    let mut builder = loom::model::Builder::new();
    builder.max_threads = THREADS_MAX;
    builder.max_branches = BRANCHES_MAX;
    builder.max_permutations = None;
    builder.max_duration = None;
    builder.preemption_bound = preemptions;
    builder.checkpoint_file = None;
    builder
}
