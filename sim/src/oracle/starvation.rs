//! Oracle 9: what busy workers neglect is looked after within 10 ms.
//!
//! While workers run goroutines that do not give them back, nobody polls and nobody runs timers but sysmon
//! (L6). Its rule is held to at its own steps, since how long it is left waiting is up to the explorer: when
//! it goes to sleep after a round that began at the time `r`,
//!
//! * no timer is left that was armed before the round and due before `r` − 10 ms;
//! * somebody has polled since `r` − 10 ms, unless a worker was out of its goroutine meanwhile, who polls
//!   himself or has something better to do;
//! * it sleeps for 10 ms at most. Without an end only while all workers sleep: then the final poller looks
//!   after everything. The first one that gets up wakes sysmon: when it takes up a goroutine it has. When another
//!   one does, the first may still be about to.
//!
//! So a timer or an event waits for 10 ms, plus a pause of sysmon (10 ms at most), plus what sysmon itself
//! was left waiting.

use netpoll::trace::{Event, Micros, WorkerPhase};
use netpoll_traces::{BlockedOn, Entry, Record, ThreadId, WorldEvent};

use super::deadlines::KERNEL_SLACK_NS;
use super::facts::{Facts, Role, Thread};
use super::{About, Complaint, Look, Oracle, Verdict};
use crate::explore::Property;

static ABOUT: About = About {
    number: 9,
    property: Property::Starvation,
    sentence: "the network and timers of busy workers are looked after within 10 ms",
};

/// Sysmon's rule, and its longest pause.
const NEGLECT_NS: u64 = 10_000_000;

/// See the module documentation.
#[derive(Debug, Default)]
pub struct Starvation {
    /// When and with which record the round of sysmon began.
    round: Option<(u64, u64)>,
    /// Whether sysmon sleeps, or is about to, until it is woken.
    is_asleep: bool,
    /// When the kernel was polled last by somebody who takes that down.
    polled_ns: u64,
    /// When a worker was out of a goroutine last, by thread.
    outside_ns: Vec<u64>,
    checks: u64,
}

impl Oracle for Starvation {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn checks(&self) -> u64 {
        self.checks
    }

    #[inline(always)]
    fn observe(&mut self, record: &Record, facts: &Facts, look: &dyn Look) -> Verdict {
        match record.event {
            Entry::Runtime(Event::Run { .. }) => self.run(record, facts, look),
            Entry::Runtime(event) => {
                self.observe_event(record, facts, event);
                Ok(())
            }
            Entry::World(WorldEvent::Resume { .. }) => {
                if facts.thread(record.thread).role == Role::Sysmon {
                    // Woken from a sleep without an end it pauses before it looks: that is no round.
                    let was_asleep = std::mem::take(&mut self.is_asleep);
                    self.round = (!was_asleep).then_some((record.t_ns, facts.seq));
                }
                Ok(())
            }
            Entry::World(WorldEvent::Block { on: BlockedOn::Parker(_), until_ns }) => {
                match facts.thread(record.thread).role {
                    Role::Sysmon => self.sleeps(record, facts, until_ns),
                    _ => Ok(()),
                }
            }
            Entry::World(_) => Ok(()),
        }
    }
}

impl Starvation {
    #[inline(always)]
    fn observe_event(&mut self, record: &Record, facts: &Facts, event: Event) {
        match event {
            Event::Syscall { name: "epoll_wait", .. }
                if facts.thread(record.thread).role == Role::Sysmon =>
            {
                self.polled_ns = record.t_ns;
            }
            // The final poller says on its return when it polled: not later than it is awake.
            Event::Worker { phase: WorkerPhase::Awake } => {
                let phase = facts.thread(record.thread).phase;
                if matches!(phase, Some(WorkerPhase::Polling { .. })) {
                    self.polled_ns = record.t_ns;
                }
            }
            _ => {}
        }
    }

    /// A worker takes up a goroutine: it got up before, and that ends a sleep of sysmon that has no end.
    fn run(&mut self, record: &Record, facts: &Facts, look: &dyn Look) -> Verdict {
        let Role::Worker(_) = facts.thread(record.thread).role else {
            return Ok(());
        };
        let gets_up = |(id, it): (ThreadId, &Thread)| {
            let is_worker = matches!(it.role, Role::Worker(_)) && id != record.thread;
            is_worker && it.is_idle() && !look.is_blocked(id)
        };
        let index = usize::from(record.thread.0);
        if self.outside_ns.len() <= index {
            self.outside_ns.resize(index + 1, 0);
        }
        self.outside_ns[index] = record.t_ns;
        if !self.is_asleep || facts.threads().any(gets_up) {
            return Ok(());
        }
        self.checks += 1;
        let mut threads = facts.threads();
        let sysmon = threads.find(|(_, it)| it.role == Role::Sysmon);
        match sysmon {
            Some((id, _)) if look.is_blocked(id) => {
                let thread = &facts.thread(record.thread).name;
                let what = format!("{thread} works, and sysmon sleeps until somebody wakes it");
                Err(Complaint::new("L6", what))
            }
            _ => Ok(()),
        }
    }

    /// Sysmon goes to sleep.
    fn sleeps(&mut self, record: &Record, facts: &Facts, until_ns: u64) -> Verdict {
        self.is_asleep = until_ns == u64::MAX;
        let Some((began_ns, seq)) = self.round.take() else {
            return Ok(());
        };
        self.checks += 1;
        let mut workers = facts.threads().filter(|(_, it)| matches!(it.role, Role::Worker(_)));
        let all_sleep = workers.all(|(_, it)| it.is_idle());
        if all_sleep {
            return Ok(());
        }
        let longest_ns = record.t_ns.saturating_add(NEGLECT_NS + KERNEL_SLACK_NS);
        if until_ns == u64::MAX {
            return Ok(()); // all slept as it looked: who got up meanwhile wakes it
        }
        if until_ns > longest_ns {
            let until = Micros(until_ns);
            let what = format!("sysmon sleeps until t={until} although a worker is awake");
            return Err(Complaint::new("L6", what));
        }
        let neglected_ns = began_ns.saturating_sub(NEGLECT_NS);
        let is_neglected =
            |it: &&super::facts::Timer| it.at_ns < neglected_ns && it.is_seen(record.thread, seq);
        if let Some(timer) = facts.timers().iter().find(is_neglected) {
            let (worker, number, at, what) =
                (timer.worker, timer.number, Micros(timer.at_ns), timer.what);
            let what = format!("sysmon passes by timer w{worker}.{number} of t={at} ({what})");
            return Err(Complaint::new("L6", what));
        }
        if self.polled_ns < neglected_ns && self.all_run_since(facts, began_ns) {
            let at = Micros(self.polled_ns);
            let what = format!("nobody has polled since t={at}, and sysmon passes by");
            return Err(Complaint::new("L6", what));
        }
        Ok(())
    }

    /// Whether each worker has been in one goroutine since then.
    fn all_run_since(&self, facts: &Facts, since_ns: u64) -> bool {
        let began_ns = |id: ThreadId| self.outside_ns.get(usize::from(id.0)).copied();
        let mut workers = facts.threads().filter(|(_, it)| matches!(it.role, Role::Worker(_)));
        workers.all(|(id, it)| {
            it.running.is_some() && began_ns(id).is_some_and(|began_ns| began_ns < since_ns)
        })
    }
}
