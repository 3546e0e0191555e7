//! Oracle 11: somebody can always go on, until the program has ended.
//!
//! When nobody can, the question is whose fault it is. A goroutine that is parked on a descriptor although
//! the reason to wake it is there (the descriptor is ready, closing, closed, or past its deadline) has lost
//! its wakeup; one that is runnable has lost its worker. Otherwise it is the program that waits for itself.
//! The report lists each goroutine, what it waits for, and what the kernel thinks of that.
//!
//! Most lost wakeups are seen long before, by the oracle whose step lost them. This one needs no theory of
//! how.

use netpoll::poll::PollError;
use netpoll::runtime::{GoroutineState, ParkedIo};
use netpoll::sched::g::Status;
use netpoll::trace::Mode;
use netpoll_traces::Record;

use super::facts::Facts;
use super::{About, Complaint, End, Look, Oracle, Verdict};
use crate::explore::{Property, status_text};
use crate::{OpenFd, Outcome};

static ABOUT: About = About {
    number: 11,
    property: Property::Deadlock,
    sentence: "somebody can go on, or the program has ended",
};

/// See the module documentation.
#[derive(Debug, Default)]
pub struct Deadlock {
    checks: u64,
}

impl Oracle for Deadlock {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn checks(&self) -> u64 {
        self.checks
    }

    fn observe(&mut self, _: &Record, _: &Facts, _: &dyn Look) -> Verdict {
        Ok(())
    }

    fn finish(&mut self, end: &End<'_>, _: &Facts) -> Verdict {
        self.checks += 1;
        match end.outcome {
            Outcome::Deadlock { .. } | Outcome::TimeLimit { .. } => {
                let lost = end.goroutines.iter().find_map(|g| lost_wakeup(g, end.open_fds));
                Err(lost.unwrap_or_else(|| deadlock(end)))
            }
            _ => Ok(()),
        }
    }
}

/// A goroutine that is parked on a descriptor and should not be.
fn lost_wakeup(g: &GoroutineState, open_fds: &[OpenFd]) -> Option<Box<Complaint>> {
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
    let what = format!("g{} is parked in {mode} fd{fd}, which {why}", g.id);
    Some(Complaint::of(Property::LostWakeup, number, what).about(Some(g.id), fd))
}

/// The descriptor that a goroutine is parked on, as the kernel sees it.
pub(crate) fn waits_on<'a>(g: &GoroutineState, open_fds: &'a [OpenFd]) -> Option<&'a OpenFd> {
    let fd = g.parked_io?.fd;
    open_fds.iter().find(|open| open.fd == fd)
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

fn deadlock(end: &End<'_>) -> Box<Complaint> {
    if let Some(g) = end.goroutines.iter().find(|g| g.status == Status::Runnable) {
        let what = format!("g{} is runnable and nobody runs it", g.id);
        return Complaint::new("L10", what);
    }
    let describe = |g: &GoroutineState| {
        let status = format!("g{} {}", g.id, status_text(g.status));
        match waits_on(g, end.open_fds) {
            Some(open) => format!("{status} ({open})"),
            None => status,
        }
    };
    let goroutines: Vec<String> = end.goroutines.iter().map(describe).collect();
    let what = match (goroutines.as_slice(), end.outcome) {
        ([], outcome) => outcome.to_string().trim_start_matches("deadlock: ").to_string(),
        (all, Outcome::TimeLimit { .. }) => {
            format!("nothing happens any more: {}", all.join(", "))
        }
        (all, _) => format!("nobody can ever run: {}", all.join(", ")),
    };
    Complaint::new("", what)
}
