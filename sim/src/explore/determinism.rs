//! Whether a run is a function of its choices, which everything else rests on.
//!
//! A program that looks at a real clock, an address, a hash map's order or anything else that the simulator
//! does not decide is not: its failures cannot be repeated. So some seeds are run twice, and the two runs
//! compared event by event.

use std::fmt;

use netpoll_traces::{Trace, text};

use super::execution::{Execution, Options, execute};
use crate::scenarios::Scenario;
use crate::{Keep, Report, Source};

/// Where two runs of the same ceased to be the same. Displays as a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parting {
    /// The number of the first event that differs, from 1 on; past the last one if only the end does.
    pub event: usize,
    /// What it was in the first run, or how that ended.
    pub first: String,
    /// What it was in the second.
    pub second: String,
}

impl fmt::Display for Parting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Parting { event, first, second } = self;
        write!(f, "they part at event {event}, which was `{first}` first and then `{second}`")
    }
}

/// Runs a scenario twice. Returns the first run if the second was the same.
///
/// # Errors
/// Where they parted.
pub(super) fn check(
    scenario: &Scenario,
    options: &Options,
    source: &Source,
) -> Result<Execution, Parting> {
    let run = || execute(scenario, options, source.clone(), Keep::All);
    let (first, second) = (run(), run());
    match parting(&first.report, &second.report) {
        None => Ok(first),
        Some(parting) => Err(parting),
    }
}

fn parting(a: &Report, b: &Report) -> Option<Parting> {
    let (first, second) = (&a.trace, &b.trace);
    let common = first.records.iter().zip(&second.records).position(|(a, b)| a != b);
    let shorter = first.records.len().min(second.records.len());
    let index = common.unwrap_or(shorter);
    let differs = common.is_some() || first.records.len() != second.records.len();
    if differs {
        let (first, second) = (line(first, index), line(second, index));
        return Some(Parting { event: index + 1, first, second });
    }
    // What the trace does not show: a choice that made no difference, or how the program ended.
    let end = |report: &Report| format!("{}, after {} steps", report.outcome, report.steps);
    let same = a.choices == b.choices && a.steps == b.steps && a.outcome == b.outcome;
    (!same).then(|| Parting { event: index + 1, first: end(a), second: end(b) })
}

/// One event as a line of text.
fn line(trace: &Trace, index: usize) -> String {
    let Some(record) = trace.records.get(index) else {
        return "the end".to_string();
    };
    let one = Trace { threads: trace.threads.clone(), records: vec![*record], dropped: 0 };
    let text = text::render(&one);
    text.lines().last().unwrap_or_default().trim().to_string()
}
