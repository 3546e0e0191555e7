//! Running a model, and saying what was and was not covered.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// Runs a model over every interleaving, with at most `preemptions` of them forced if that is given, and
/// says how many there were. Loom returns normally when a cap stops it, so no cap may be set.
pub fn check(name: &str, preemptions: Option<usize>, body: impl Fn() + Send + Sync + 'static) {
    let executions = Arc::new(AtomicU64::new(0));
    let counter = executions.clone();
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions;
    assert_eq!(builder.max_permutations, None, "a cap would make {name} incomplete");
    assert_eq!(builder.max_duration, None, "a cap would make {name} incomplete");
    builder.check(move || {
        counter.fetch_add(1, Relaxed);
        body();
    });
    let executions = executions.load(Relaxed);
    let bound = preemptions.map_or("unbounded".into(), |bound| format!("preemptions <= {bound}"));
    println!("{name}: {executions} executions, {bound}, complete");
    assert!(executions > 1, "{name} has only one interleaving: it checks nothing");
}
