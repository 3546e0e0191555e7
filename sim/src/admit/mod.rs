//! Whether the simulated kernel admits what a real one did.
//!
//! A trace from production has every system call with its result. [`admit`] makes the same calls on the
//! simulated kernel, in the same order, and compares the results. What the trace does not say is what the other
//! side did: for each connection there is a *puppet*, a socket of the simulated machine that sends, reads, ends or
//! resets just before a result that needs it, and never otherwise. So a result is admitted when some
//! behaviour of the network and of the peer explains it, together with all results before it. One that
//! nothing explains is a finding, about our model of the kernel before it is one about the kernel.
//!
//! | file | what it is |
//! |---|---|
//! | `order.rs` | in which order the calls are made |
//! | `host.rs` | the simulated kernel on one thread, with faults on demand |
//! | `puppet.rs` | one descriptor of the trace, and its puppet |
//! | `check.rs` | a call: what it needs, what it returns |
//!
//! # What is not compared
//!
//! Addresses and bytes, which a trace does not have; options other than `SO_ERROR`; numbers, which other parts of the
//! process take as well: only that none is given twice. Datagrams, Unix sockets, pipes and descriptors that came
//! from outside have no puppets yet: calls on them are counted as skipped, by name, and so are those on
//! descriptors that were opened before the trace begins.

mod check;
mod host;
mod order;
mod puppet;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use netpoll_traces::Trace;

/// What became of a trace.
#[derive(Clone, Debug, Default)]
pub struct Admission {
    /// System calls and events that the simulated kernel admits.
    pub admitted: u64,
    /// Those that were not looked at, by the name of the call and the reason.
    pub skipped: BTreeMap<(&'static str, &'static str), u64>,
    /// Events for which the simulated kernel knows no reason, which epoll(7) allows.
    pub spurious: u64,
    /// Those that nothing explains.
    pub findings: Vec<Finding>,
}

impl Admission {
    /// How many were not looked at.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.skipped.values().sum()
    }
}

/// A result that nothing explains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The index of its record.
    pub at: usize,
    /// The record's text.
    pub what: String,
    /// The rule that it breaks.
    pub rule: &'static str,
    /// What the simulated kernel says instead.
    pub instead: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Finding { at, what, rule, instead } = self;
        write!(f, "record {at}: {what}: {instead}; rule: {rule}")
    }
}

/// Findings after which no more are looked for: one that is wrong draws others after it.
const FINDINGS_MAX: usize = 20;

/// Makes the calls of a trace on the simulated kernel. See the module documentation.
#[must_use]
pub fn admit(trace: &Trace) -> Admission {
    let calls = order::order(trace);
    let mut check = check::Check::new(trace, &calls);
    for call in &calls {
        if check.admission.findings.len() == FINDINGS_MAX {
            break;
        }
        check.call(call);
    }
    check.admission
}
