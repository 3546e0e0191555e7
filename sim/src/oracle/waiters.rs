//! Oracle 10: the waiter count against the goroutines that wait.
//!
//! S17: at every moment the count is the number of slots that somebody is parked in, minus what threads have
//! parked and not counted yet, plus what they have taken out and not subtracted yet. Each thread makes up
//! for what it did, and nobody for anybody else; at rest the count is exact.
//!
//! S18: a thread subtracts goroutines only after it has made them runnable: in between a worker that finds no
//! waiter and no work would stop polling.

use netpoll::trace::{Event, SlotState};
use netpoll_traces::{Entry, Record, ThreadId};

use super::facts::{Actor, Facts};
use super::{About, Complaint, End, Look, Oracle, Verdict};
use crate::Outcome;
use crate::explore::Property;

static ABOUT: About = About {
    number: 10,
    property: Property::WaiterCount,
    sentence: "the poller's count is the number of those who are parked in I/O",
};

/// What a thread has done to slots and not to the count.
#[derive(Clone, Debug, Default)]
struct Debt {
    /// To be added, or to be subtracted if it is negative.
    sum: i32,
    /// The goroutines that were taken out and not made runnable.
    taken: Vec<u64>,
}

/// See the module documentation.
#[derive(Debug, Default)]
pub struct Waiters {
    parked: i32,
    count: i32,
    /// By thread.
    debts: Vec<Debt>,
    checks: u64,
}

impl Oracle for Waiters {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn checks(&self) -> u64 {
        self.checks
    }

    #[inline(always)]
    fn observe(&mut self, record: &Record, facts: &Facts, _: &dyn Look) -> Verdict {
        match record.event {
            Entry::Runtime(Event::Slot { to: SlotState::Parked(_), .. }) => {
                self.parked += 1;
                self.debt(record.thread).sum += 1;
                Ok(())
            }
            Entry::Runtime(Event::Slot { pd, mode, from: SlotState::Parked(_), .. }) => {
                let consumer = facts.descriptor(pd).slot(mode).consumer;
                self.parked -= 1;
                let debt = self.debt(record.thread);
                debt.sum -= 1;
                debt.taken.extend(consumer.and_then(Actor::goroutine));
                Ok(())
            }
            Entry::Runtime(Event::Ready { g }) => {
                self.debt(record.thread).taken.retain(|&taken| taken != g);
                Ok(())
            }
            Entry::Runtime(Event::Waiters { count }) => self.counted(record, facts, count),
            _ => Ok(()),
        }
    }

    fn finish(&mut self, end: &End<'_>, _: &Facts) -> Verdict {
        if *end.outcome != Outcome::Finished {
            return Ok(());
        }
        self.checks += 1;
        let parked = if end.abandons { self.parked } else { 0 };
        if end.waiters == parked {
            return Ok(());
        }
        let count = end.waiters;
        let parked = match parked {
            0 => "nobody parked".to_string(),
            parked => format!("{parked} parked"),
        };
        Err(Complaint::new("S17", format!("{count} at rest, with {parked}")))
    }
}

impl Waiters {
    fn debt(&mut self, thread: ThreadId) -> &mut Debt {
        let index = usize::from(thread.0);
        if self.debts.len() <= index {
            self.debts.resize(index + 1, Debt::default());
        }
        &mut self.debts[index]
    }

    fn counted(&mut self, record: &Record, facts: &Facts, count: i32) -> Verdict {
        self.checks += 1;
        let change = count.wrapping_sub(self.count);
        self.count = count;
        let who = || facts.name(record);
        let parked = self.parked;
        let debt = self.debt(record.thread);
        if change < 0
            && let Some(g) = debt.taken.first()
        {
            let what = format!("{} subtracts g{g} before it is runnable", who());
            return Err(Complaint::new("S18", what));
        }
        let owed = debt.sum;
        debt.sum -= change;
        // Additions are made one by one, subtractions for a whole batch.
        let is_owed = if change > 0 { change == 1 && owed >= 1 } else { change == owed };
        let owed_by_all: i32 = self.debts.iter().map(|debt| debt.sum).sum();
        if is_owed && count.wrapping_add(owed_by_all) == parked {
            return Ok(());
        }
        let what = format!(
            "{} changes the count by {change} to {count}, with {parked} parked; it owed {owed}",
            who()
        );
        Err(Complaint::new("S17", what))
    }
}
