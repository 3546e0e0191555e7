//! Oracle 6: a run that has finished leaves nothing behind.
//!
//! Goroutines (and with them stacks), threads, descriptor numbers, files, lives of descriptors, timers: what
//! was made is gone. A file may outlive its last number, as long as something of it is on the wire; so the
//! wire is emptied first.
//!
//! A program that ends its runtime with goroutines parked, on purpose, leaves these and what they hold; the
//! threads must be gone all the same.

use netpoll::trace::Event;
use netpoll_traces::{Entry, Record};

use super::facts::Facts;
use super::{About, Complaint, End, Look, Oracle, Verdict};
use crate::explore::{Property, status_text};
use crate::{OpenFd, Outcome};

static ABOUT: About = About {
    number: 6,
    property: Property::Balance,
    sentence: "goroutines, threads, files, lives and timers that were made are gone at the end",
};

/// See the module documentation.
#[derive(Debug, Default)]
pub struct Balance {
    /// How many things were made that have to go.
    checks: u64,
}

impl Oracle for Balance {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn checks(&self) -> u64 {
        self.checks
    }

    #[inline(always)]
    fn observe(&mut self, record: &Record, _: &Facts, _: &dyn Look) -> Verdict {
        if let Entry::Runtime(Event::Go { .. } | Event::Open { .. } | Event::Arm { .. }) =
            record.event
        {
            self.checks += 1;
        }
        Ok(())
    }

    fn finish(&mut self, end: &End<'_>, facts: &Facts) -> Verdict {
        if *end.outcome != Outcome::Finished {
            return Ok(());
        }
        if !end.abandons {
            kept_by_the_program(end, facts)?;
        }
        match end.threads_abandoned {
            0 => Ok(()),
            n => {
                let what = format!("{n} had not ended when the runtime was gone");
                Err(Complaint::of(Property::ThreadLeak, "", what))
            }
        }
    }
}

fn kept_by_the_program(end: &End<'_>, facts: &Facts) -> Verdict {
    if let Some(g) = end.goroutines.first() {
        let (n, status) = (end.goroutines.len(), status_text(g.status));
        let what = format!("{n} have not ended; g{} {status}", g.id);
        return Err(Complaint::of(Property::GoroutineLeak, "", what));
    }
    // A leaked socket keeps its runtime, whose own descriptors are no news.
    let is_socket = |open: &&OpenFd| !["epoll", "eventfd"].contains(&open.kind);
    let sockets = end.open_fds.iter().find(is_socket);
    if let Some(open) = sockets.or(end.open_fds.first()) {
        let n = end.open_fds.len();
        let what = format!("{n} were never closed; {open}");
        return Err(Complaint::of(Property::DescriptorLeak, "S15", what));
    }
    if end.files_left > 0 {
        let n = end.files_left;
        return Err(Complaint::new("S15", format!("{n} files are left without a number")));
    }
    if let Some((pd, descriptor)) = facts.descriptors().find(|(_, it)| it.life.is_some()) {
        let fd = descriptor.fd;
        return Err(Complaint::new("S34", format!("pd#{pd} is left in the life of fd{fd}")));
    }
    if let Some(timer) = facts.timers().first() {
        let (n, worker, number, what) =
            (facts.timers().len(), timer.worker, timer.number, timer.what);
        let what = format!("{n} timers are left armed; w{worker}.{number} for {what}");
        return Err(Complaint::new("S10", what));
    }
    Ok(())
}
