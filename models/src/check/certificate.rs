//! What a run has covered, as data and as a row of a table.
//!
//! The table is kept in `models/certificates.txt`, and every test of a model holds its own row against
//! it: all but the time is the same in every run of the same code.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Checker, Covered, Model};

/// What one checker has covered of one model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
    /// What of the simulated kernel takes part; the legend of the table says more.
    pub kernel: String,
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
        let (kernel, rules, rules_not) = model.kernel.rules(checker);
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
            kernel: kernel.to_string(),
            rules: rules.to_string(),
            rules_not: rules_not.to_string(),
        }
    }

    /// Its row without the time: the same in every run of the same code.
    #[must_use]
    pub fn row(&self) -> String {
        let complete = if self.complete { "yes" } else { "no" };
        let Certificate { model, checker, memory_model, executions, deepest, bound, .. } = self;
        format!(
            "{model:<38} {checker:<14} {memory_model:<3} {executions:>10} {deepest:>7}  {bound:<32} \
             {complete:<8} {:<6} {:>5}",
            self.kernel, self.timed_waits,
        )
    }

    /// Its row.
    #[must_use]
    pub fn timed_row(&self) -> String {
        format!("{} {:>8.2}", self.row(), self.seconds)
    }
}

/// The heading of the table.
#[must_use]
pub fn heading() -> String {
    format!(
        "{:<38} {:<14} {:<3} {:>10} {:>7}  {:<32} {:<8} {:<6} {:>5} {:>8}",
        "model",
        "checker",
        "mm",
        "executions",
        "deepest",
        "bound",
        "complete",
        "kernel",
        "waits",
        "seconds"
    )
}

/// What stands below the table: its sums, and what the columns mean.
#[must_use]
pub fn footing(certificates: &[Certificate]) -> String {
    let mut text = String::new();
    let mut sums: BTreeMap<&str, (u64, u64, u64, f64)> = BTreeMap::new();
    for certificate in certificates {
        let sum = sums.entry(&certificate.checker).or_default();
        sum.0 += 1;
        sum.1 += u64::from(certificate.complete);
        sum.2 += certificate.executions;
        sum.3 += certificate.seconds;
    }
    for (checker, (runs, complete, executions, seconds)) in sums {
        writeln!(
            text,
            "{checker:<14} {runs:>3} models, {complete:>3} complete, {executions:>9} executions, \
             {seconds:>6.1} s"
        )
        .expect("to a String");
    }
    text += "\nmm: what an access means, C11 or sequentially consistent. deepest: operations on shared \
             memory, locks and parkers of\nthe longest execution. waits: timed waits of an execution \
             that end by their time; all others wait for their event.\nOnly `complete` is proof, and \
             only within its bound and loom's model of memory (platform/loom.rs).\n";
    let kernels: BTreeMap<&str, (&str, &str)> =
        certificates.iter().map(|c| (&*c.kernel, (&*c.rules, &*c.rules_not))).collect();
    for (kernel, (rules, not)) in kernels {
        writeln!(text, "kernel {kernel}: {rules}; not modelled: {not}.").expect("to a String");
    }
    text
}

/// The whole table, as it is kept.
#[must_use]
pub fn table(certificates: &[Certificate]) -> String {
    let mut text = heading() + "\n";
    for certificate in certificates {
        text += &(certificate.timed_row() + "\n");
    }
    text + "\n" + &footing(certificates)
}
