//! What a run violated.
//!
//! Most of it is seen by [oracles](crate::oracle), each of which has a name here; a panic and a run without
//! end are seen by anybody. Names stand in failure files, so they stay.

use std::fmt;

use netpoll::sched::g::Status;
use netpoll_traces::{Guilt, Trace};

use crate::{Outcome, Report};

/// A kind of violation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Property {
    /// The program or the runtime panicked: an assertion did not hold.
    Panic,
    /// Oracle 11: a goroutine stays parked although there is a reason to wake it.
    LostWakeup,
    /// Oracle 11: everybody waits, and nobody has a reason not to.
    Deadlock,
    /// The run did not end within its limit of steps, while faults still struck.
    Livelock,
    /// The world had healed, and the run did not end all the same.
    Liveness,
    /// Oracle 6: goroutines had not ended when the program had.
    GoroutineLeak,
    /// Oracle 10: the poller's count was not that of those who waited.
    WaiterCount,
    /// Oracle 6: descriptors were open after the runtime was gone.
    DescriptorLeak,
    /// Oracle 6: threads had not ended when the runtime was gone.
    ThreadLeak,
    /// A thread that is no part of the run used the runtime.
    Intrusion,
    /// The same run made twice was not the same.
    Nondeterminism,
    /// The run took its process along.
    Crash,
    /// The run passed no point for so long that it had to be ended from outside.
    Hang,
    /// Oracle 1: an edge was lost, or made up.
    Readiness,
    /// Oracle 2: a call, bytes or an event met another file or life than they were meant for.
    Provenance,
    /// Oracle 3: a timer was early or late.
    Deadline,
    /// Oracle 4: a stream of bytes did not come out as it went in.
    Bytes,
    /// Oracle 5: a park was ended twice or not at all.
    Wakeups,
    /// Oracle 6: something was left at the end that has no name of its own here.
    Balance,
    /// Oracle 7: somebody ran in circles.
    Idleness,
    /// Oracle 8: something was runnable beside a sleeping worker.
    Conservation,
    /// Oracle 9: busy workers' network or timers were neglected.
    Starvation,
    /// Oracle 12: a state word changed as it must not.
    Invariant,
}

impl Property {
    /// Every kind.
    pub const ALL: [Property; 23] = [
        Property::Panic,
        Property::LostWakeup,
        Property::Deadlock,
        Property::Livelock,
        Property::Liveness,
        Property::GoroutineLeak,
        Property::WaiterCount,
        Property::DescriptorLeak,
        Property::ThreadLeak,
        Property::Intrusion,
        Property::Nondeterminism,
        Property::Crash,
        Property::Hang,
        Property::Readiness,
        Property::Provenance,
        Property::Deadline,
        Property::Bytes,
        Property::Wakeups,
        Property::Balance,
        Property::Idleness,
        Property::Conservation,
        Property::Starvation,
        Property::Invariant,
    ];

    /// The name in failure files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Property::Panic => "panic",
            Property::LostWakeup => "lost-wakeup",
            Property::Deadlock => "deadlock",
            Property::Livelock => "livelock",
            Property::Liveness => "liveness",
            Property::GoroutineLeak => "goroutine-leak",
            Property::WaiterCount => "waiter-count",
            Property::DescriptorLeak => "descriptor-leak",
            Property::ThreadLeak => "thread-leak",
            Property::Intrusion => "intrusion",
            Property::Nondeterminism => "nondeterminism",
            Property::Crash => "crash",
            Property::Hang => "hang",
            Property::Readiness => "readiness",
            Property::Provenance => "provenance",
            Property::Deadline => "deadline",
            Property::Bytes => "bytes",
            Property::Wakeups => "wakeups",
            Property::Balance => "balance",
            Property::Idleness => "idleness",
            Property::Conservation => "conservation",
            Property::Starvation => "starvation",
            Property::Invariant => "invariant",
        }
    }

    /// The kind with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Property> {
        Property::ALL.into_iter().find(|it| it.name() == name)
    }
}

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which kind.
    pub property: Property,
    /// Number and sentence: `L3 lost wakeup: g7 is parked in read fd5, which is closing`.
    pub sentence: String,
    /// The goroutine and the descriptor that it is about, if it is about one.
    pub subject: Option<(u64, i32)>,
    /// The index of the record at which it was seen, among all records of the run, kept or not; the same
    /// whenever the run is made again. `None` for what shows at the end only.
    pub at: Option<usize>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl Violation {
    /// What a rendering of the trace says about it.
    #[must_use]
    pub fn guilt(&self, trace: &Trace) -> Guilt {
        // The first records of the run may not have been kept.
        let kept = |at: usize| at.checked_sub(trace.dropped as usize);
        Guilt {
            property: self.property.name().to_string(),
            sentence: self.sentence.clone(),
            at: self.at.and_then(kept).filter(|&at| at < trace.records.len()),
            g: self.subject.map(|(g, _)| g),
            fd: self.subject.map(|(_, fd)| fd),
        }
    }

    pub(crate) fn new(property: Property, sentence: String) -> Violation {
        Violation { property, sentence, subject: None, at: None }
    }

    /// What the end of a run violated that needs no oracle to be seen; `panic` is where its first panic is.
    pub(super) fn of(report: &Report, panic: Option<usize>) -> Option<Violation> {
        match &report.outcome {
            panicked @ Outcome::Panicked { .. } => {
                let violation = Violation::new(Property::Panic, panicked.to_string());
                Some(Violation { at: panic, ..violation })
            }
            intrusion @ Outcome::Intrusion { .. } => {
                Some(Violation::new(Property::Intrusion, intrusion.to_string()))
            }
            Outcome::StepLimit => Some(endless(report)),
            _ => None,
        }
    }
}

/// A run that did not end, and in which of its phases it did not.
fn endless(report: &Report) -> Violation {
    let steps = report.steps;
    match report.healed {
        None => {
            let sentence = format!(
                "livelock: the run did not end in {steps} steps, all of them in the safety phase"
            );
            Violation::new(Property::Livelock, sentence)
        }
        Some(healed) => {
            let quiet = steps - healed;
            let sentence = format!(
                "liveness: quiet must become done, but the world healed at step {healed} and the run did \
                 not end in {quiet} more"
            );
            Violation::new(Property::Liveness, sentence)
        }
    }
}

/// What a goroutine does or waits for, in the words of traces.
#[must_use]
pub fn status_text(status: Status) -> String {
    match status {
        Status::Free => "ended".to_string(),
        Status::Runnable => "is runnable".to_string(),
        Status::Running => "is running".to_string(),
        Status::Waiting(why) => format!("waits for {why}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::Checks;
    use crate::{FaultCounts, Tally};

    #[test]
    fn a_run_without_end_says_in_which_phase() {
        let endless = Report {
            outcome: Outcome::StepLimit,
            choices: Vec::new(),
            diverged: None,
            deviations: Vec::new(),
            trace: Trace::default(),
            steps: 9,
            end_ns: 0,
            faults_struck: FaultCounts::default(),
            tally: Tally::default(),
            healed: None,
            violations: Vec::new(),
            checks: Checks::default(),
            open_fds: Vec::new(),
            threads_abandoned: 0,
            panicked: None,
            panic_at: None,
            marks: crate::Marks::default(),
            hosts: Vec::new(),
        };
        let check = |report: &Report, expected: &str| {
            assert_eq!(Violation::of(report, None).expect("it has no end").sentence, expected);
        };
        check(
            &endless,
            "livelock: the run did not end in 9 steps, all of them in the safety phase",
        );
        check(
            &Report { healed: Some(4), ..endless },
            "liveness: quiet must become done, but the world healed at step 4 and the run did not end in \
             5 more",
        );
    }

    #[test]
    fn the_name_of_every_property_leads_back_to_it() {
        for property in Property::ALL {
            assert_eq!(Property::from_name(property.name()), Some(property));
        }
    }
}
