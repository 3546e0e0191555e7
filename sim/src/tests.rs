//! Helpers for the tests of this crate, and tests of whole runs.

use crate::{Granularity, Outcome, Report, SimConfig, SimKernel, run};

/// Runs `body` with the dullest choices and demands that it finishes.
#[track_caller]
pub(crate) fn check(body: impl FnOnce(SimKernel) + Send + 'static) -> Report {
    let report = run(SimConfig::seed(0).replaying(Vec::new()), body);
    assert_eq!(report.outcome, Outcome::Finished);
    report
}

/// Runs `body` with a seed.
pub(crate) fn check_with(
    seed: u64,
    granularity: Granularity,
    body: impl FnOnce(SimKernel) + Send + 'static,
) -> Report {
    let config = SimConfig { granularity, ..SimConfig::seed(seed) };
    run(config, body)
}
