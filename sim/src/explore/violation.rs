//! What a run violated.
//!
//! A run that ends well has finished, its goroutines have all ended, and it has left no descriptor and
//! no thread behind. Anything else is a violation. A run in which nobody moves any more is looked into:
//! if a goroutine is parked on a descriptor although the reason to wake it is there (the descriptor is
//! ready, closing, closed, or past its deadline), then its wakeup was lost.

use std::fmt;

use netpoll::poll::PollError;
use netpoll::runtime::{GoroutineState, ParkedIo};
use netpoll::sched::g::Status;
use netpoll::trace::Mode;

use crate::{OpenFd, Outcome, Report};

/// A kind of violation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Property {
    /// The program or the runtime panicked: an assertion did not hold.
    Panic,
    /// A goroutine stays parked although there is a reason to wake it.
    LostWakeup,
    /// Everybody waits, and nobody has a reason not to.
    Deadlock,
    /// The run did not end within its limit of steps, while faults still struck.
    Livelock,
    /// The world had healed, and the run did not end all the same.
    Liveness,
    /// Goroutines had not ended when the program had.
    GoroutineLeak,
    /// The poller counted waiters when nobody waited.
    WaiterCount,
    /// Descriptors were open after the runtime was gone.
    DescriptorLeak,
    /// Threads had not ended when the runtime was gone.
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
    /// Oracle 5: a park was ended twice or not at all.
    Wakeups,
}

impl Property {
    /// Every kind.
    pub const ALL: [Property; 15] = [
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
        Property::Wakeups,
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
            Property::Wakeups => "wakeups",
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
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl Violation {
    pub(super) fn new(property: Property, sentence: String) -> Violation {
        Violation { property, sentence, subject: None }
    }

    /// What a run violated that may end with goroutines parked: they and what they hold are not leaks.
    pub(super) fn of_abandoning(
        report: &Report,
        goroutines: &[GoroutineState],
        waiters: i32,
    ) -> Option<Violation> {
        let parked = goroutines.iter().filter(|g| g.parked_io.is_some()).count() as i32;
        left_behind(report, &[], waiters - parked, &[])
    }

    /// What the run violated, if anything.
    pub(super) fn of(
        report: &Report,
        goroutines: &[GoroutineState],
        waiters: i32,
    ) -> Option<Violation> {
        match &report.outcome {
            Outcome::Violated => report.violations.first().cloned(),
            Outcome::Finished => left_behind(report, goroutines, waiters, &report.open_fds),
            panicked @ Outcome::Panicked { .. } => {
                Some(Violation::new(Property::Panic, panicked.to_string()))
            }
            stuck @ (Outcome::Deadlock { .. } | Outcome::TimeLimit { .. }) => {
                let lost = goroutines.iter().find_map(|g| lost_wakeup(g, &report.open_fds));
                Some(lost.unwrap_or_else(|| deadlock(stuck, goroutines)))
            }
            intrusion @ Outcome::Intrusion { .. } => {
                Some(Violation::new(Property::Intrusion, intrusion.to_string()))
            }
            Outcome::StepLimit => Some(endless(report)),
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

/// A goroutine that is parked on a descriptor and should not be.
fn lost_wakeup(g: &GoroutineState, open_fds: &[OpenFd]) -> Option<Violation> {
    let ParkedIo { fd, mode, cancelled } = g.parked_io?;
    let open = open_fds.iter().find(|open| open.fd == fd);
    let (number, why) = match (cancelled, open) {
        (Some(PollError::Closing), _) => ("L3", "is closing".to_string()),
        (Some(PollError::Timeout), _) => ("L2", "is past its deadline".to_string()),
        (Some(PollError::NotPollable), _) => ("L1", "cannot be polled".to_string()),
        (None, None) => ("L3", "is closed".to_string()),
        (None, Some(open)) if is_ready(mode, open.ready) => ("L1", format!("is ready ({open})")),
        (None, Some(_)) => return None,
    };
    let g = g.id;
    Some(Violation {
        property: Property::LostWakeup,
        sentence: format!("{number} lost wakeup: g{g} is parked in {mode} fd{fd}, which {why}"),
        subject: Some((g, fd)),
    })
}

/// Whether a call in this direction would not have to wait.
fn is_ready(mode: Mode, ready: u32) -> bool {
    let either = libc::EPOLLERR | libc::EPOLLHUP;
    let bits = match mode {
        Mode::Read => libc::EPOLLIN | libc::EPOLLRDHUP | either,
        Mode::Write => libc::EPOLLOUT | either,
    };
    ready & bits.cast_unsigned() != 0
}

fn deadlock(outcome: &Outcome, goroutines: &[GoroutineState]) -> Violation {
    if let Some(g) = goroutines.iter().find(|g| g.status == Status::Runnable) {
        let sentence = format!("L10 deadlock: g{} is runnable and nobody runs it", g.id);
        return Violation::new(Property::Deadlock, sentence);
    }
    let goroutines: Vec<String> =
        goroutines.iter().map(|g| format!("g{} {}", g.id, status_text(g.status))).collect();
    let sentence = match (goroutines.as_slice(), outcome) {
        ([], outcome) => outcome.to_string(),
        (all, Outcome::TimeLimit { .. }) => {
            format!("deadlock: nothing happens any more: {}", all.join(", "))
        }
        (all, _) => format!("deadlock: nobody can ever run: {}", all.join(", ")),
    };
    Violation::new(Property::Deadlock, sentence)
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

/// What a run that has finished should not have left.
fn left_behind(
    report: &Report,
    goroutines: &[GoroutineState],
    waiters: i32,
    open_fds: &[OpenFd],
) -> Option<Violation> {
    if let Some(g) = goroutines.first() {
        let (n, what) = (goroutines.len(), status_text(g.status));
        let sentence = format!("goroutine leak: {n} have not ended; g{} {what}", g.id);
        return Some(Violation::new(Property::GoroutineLeak, sentence));
    }
    if waiters != 0 {
        let sentence = format!("S17 waiter count: {waiters} at rest, with nobody parked");
        return Some(Violation::new(Property::WaiterCount, sentence));
    }
    // A leaked socket keeps its runtime, whose own descriptors are no news.
    let is_the_programs = |open: &&OpenFd| !matches!(open.kind, "epoll" | "eventfd");
    let sockets = open_fds.iter().find(is_the_programs);
    if let Some(open) = sockets.or(open_fds.first()) {
        let n = open_fds.len();
        let sentence = format!("S15 descriptor leak: {n} were never closed; {open}");
        return Some(Violation::new(Property::DescriptorLeak, sentence));
    }
    if report.threads_abandoned > 0 {
        let n = report.threads_abandoned;
        let sentence = format!("thread leak: {n} had not ended when the runtime was gone");
        return Some(Violation::new(Property::ThreadLeak, sentence));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::Checks;
    use crate::{FaultCounts, Tally, Trace};
    use netpoll::trace::WaitReason;

    fn report(outcome: Outcome, open_fds: Vec<OpenFd>) -> Report {
        Report {
            outcome,
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
            open_fds,
            threads_abandoned: 0,
        }
    }

    fn reader(cancelled: Option<PollError>) -> GoroutineState {
        let (fd, mode) = (5, Mode::Read);
        GoroutineState {
            id: 7,
            status: Status::Waiting(WaitReason::Io(fd, mode)),
            worker: Some(1),
            parked_io: Some(ParkedIo { fd, mode, cancelled }),
        }
    }

    fn socket(ready: i32) -> OpenFd {
        OpenFd { fd: 5, file: 2, kind: "tcp", ready: ready.cast_unsigned(), interest: None }
    }

    #[track_caller]
    fn check(report: &Report, goroutines: &[GoroutineState], expected: &str) {
        let violation = Violation::of(report, goroutines, 0);
        let sentence = violation.map_or_else(|| "clean".to_string(), |it| it.to_string());
        assert_eq!(sentence, expected);
    }

    #[test]
    fn a_parked_goroutine_with_a_reason_to_be_woken_is_a_lost_wakeup() {
        let stuck = |open| report(Outcome::Deadlock { blocked: vec![] }, open);
        let lost = "lost wakeup: g7 is parked in read fd5, which";
        let closing = [reader(Some(PollError::Closing))];
        check(&stuck(vec![]), &closing, &format!("L3 {lost} is closing"));
        let expired = [reader(Some(PollError::Timeout))];
        let expected = format!("L2 {lost} is past its deadline");
        check(&stuck(vec![socket(0)]), &expired, &expected);
        check(&stuck(vec![]), &[reader(None)], &format!("L3 {lost} is closed"));
        check(
            &stuck(vec![socket(libc::EPOLLIN)]),
            &[reader(None)],
            &format!("L1 {lost} is ready (fd5 tcp: IN, not registered)"),
        );
    }

    #[test]
    fn a_parked_goroutine_without_one_is_part_of_a_deadlock() {
        check(
            &report(Outcome::Deadlock { blocked: vec![] }, vec![socket(libc::EPOLLOUT)]),
            &[reader(None)],
            "deadlock: nobody can ever run: g7 waits for read fd5",
        );
    }

    #[test]
    fn a_run_without_end_says_in_which_phase() {
        let endless = report(Outcome::StepLimit, vec![]);
        let sentence = "livelock: the run did not end in 9 steps, all of them in the safety phase";
        check(&endless, &[], sentence);
        check(
            &Report { healed: Some(4), ..endless },
            &[],
            "liveness: quiet must become done, but the world healed at step 4 and the run did not end in \
             5 more",
        );
    }

    #[test]
    fn what_a_finished_run_leaves_is_a_violation() {
        let finished = |open| report(Outcome::Finished, open);
        check(&finished(vec![]), &[], "clean");
        check(
            &finished(vec![socket(0)]),
            &[],
            "S15 descriptor leak: 1 were never closed; fd5 tcp: nothing, not registered",
        );
        check(
            &finished(vec![]),
            &[reader(None)],
            "goroutine leak: 1 have not ended; g7 waits for read fd5",
        );
    }

    #[test]
    fn the_name_of_every_property_leads_back_to_it() {
        for property in Property::ALL {
            assert_eq!(Property::from_name(property.name()), Some(property));
        }
    }
}
