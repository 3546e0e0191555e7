//! Every oracle is shown something that is wrong, and must be the one that sees it.
//!
//! Most tests are whole runs of the production runtime on a [`twisted`] platform, which is wrong in one way;
//! the others feed an oracle a hand-written stream of records.

mod broken_kernels;
mod broken_runtimes;
mod ends;
mod readiness;
mod stream;
mod streams;
mod twisted;
mod wakeups;

use super::{COUNT, Oracles};
use crate::explore::{Execution, Property};
use crate::{Outcome, Report, scenarios};

/// Demands that a run was stopped by one oracle and no other, with a sentence that has these parts.
#[track_caller]
fn assert_seen_by(execution: Option<Execution>, property: Property, parts: &[&str]) {
    let execution = execution.expect("no run violated anything");
    let violations = &execution.report.violations;
    let [violation] = violations.as_slice() else {
        panic!("not one violation: {violations:?}, {:?}", execution.violation);
    };
    assert_eq!(violation.property, property, "{violation}");
    for part in parts {
        assert!(violation.sentence.contains(part), "no `{part}` in `{violation}`");
    }
    assert_eq!(execution.violation.as_ref(), Some(violation));
    // The record that must not be is the last one; what only the end shows is at none.
    let Report { outcome, trace, .. } = &execution.report;
    let seen = trace.dropped as usize + trace.records.len();
    let last = (*outcome == Outcome::Violated).then(|| seen - 1);
    assert_eq!(violation.at, last, "{violation}");
}

/// The scenario with this name.
fn scenario(name: &str) -> &'static scenarios::Scenario {
    scenarios::find(name).expect("it exists")
}

#[test]
fn oracles_are_numbered_in_order_and_have_names_of_their_own() {
    let abouts = Oracles::abouts();
    let mut names: Vec<&str> = abouts.iter().map(|about| about.name()).collect();
    assert!(abouts.windows(2).all(|pair| pair[0].number < pair[1].number), "{abouts:?}");
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), COUNT);
}
