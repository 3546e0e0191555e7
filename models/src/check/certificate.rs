//! What a run has covered, as data and as a row of a table.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use super::{Checker, Covered, Model};

/// What one checker has covered of one model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Certificate {
    /// The model.
    pub model: String,
    /// The checker.
    pub checker: String,
    /// What the checker takes an access to mean: `C11`, or `SC` for sequentially consistent.
    pub memory_model: String,
    /// Executions that were run.
    pub executions: u64,
    /// Operations on shared memory, locks and parkers of the longest of them.
    pub deepest: u64,
    /// How far the checker was to go: forced switches of thread, schedules.
    pub bound: String,
    /// Whether every execution within the bound was run.
    pub complete: bool,
    /// How long it took.
    pub seconds: f64,
    /// How many timed waits of one execution end by their time.
    pub timed_waits: u32,
    /// The kernel's rules that are modelled.
    pub rules: String,
    /// The kernel's rules that are not.
    pub rules_not: String,
}

impl Certificate {
    pub(super) fn new(
        model: &Model,
        checker: Checker,
        covered: Covered,
        took: Duration,
    ) -> Certificate {
        let (rules, rules_not) = model.kernel.rules(checker);
        Certificate {
            model: model.name.to_string(),
            checker: checker.to_string(),
            memory_model: checker.memory_model().to_string(),
            executions: covered.executions,
            deepest: covered.deepest,
            bound: covered.bound,
            complete: covered.complete,
            seconds: took.as_secs_f64(),
            timed_waits: model.timed_waits,
            rules: rules.to_string(),
            rules_not: rules_not.to_string(),
        }
    }

    /// What is the same in every run of the same code: everything but the time.
    #[must_use]
    pub fn line(&self) -> String {
        let complete = if self.complete { "yes" } else { "no" };
        format!(
            "{:<34} {:<14} {:<3} {:>10} {:>7}  {:<28} {complete}",
            self.model, self.checker, self.memory_model, self.executions, self.deepest, self.bound,
        )
    }
}

/// The table of certificates, as `cargo sim models` prints it.
#[must_use]
pub fn table(certificates: &[Certificate]) -> String {
    let mut text = format!(
        "{:<34} {:<14} {:<3} {:>10} {:>7}  {:<28} complete\n",
        "model", "checker", "mm", "executions", "deepest", "bound"
    );
    for certificate in certificates {
        writeln!(text, "{}", certificate.line()).expect("to a String");
    }
    text
}
