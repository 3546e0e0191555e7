//! Oracle 5: a park is ended once, by one wake-up.
//!
//! A goroutine's life as records tell it:
//!
//! | stage | record | next |
//! |---|---|---|
//! | unborn | `go` | unstarted |
//! | unstarted, runnable | `run` | running |
//! | unstarted | `done`: it was dropped in the shutdown | ended |
//! | running | `yield` | runnable |
//! | running | `park` | parked |
//! | running | `done` | ended |
//! | running | `run`, on the same thread, after `abandon` | running |
//! | parked | `abandon`, on the same thread: the park was over before it began | running |
//! | parked | `ready` | runnable |
//!
//! Anything else breaks S3: a goroutine that is made runnable twice would run twice, one that is made
//! runnable while it runs would run on two threads.
//!
//! The other half of S3: whoever takes a goroutine out of a slot owns it and has to make it runnable. It may
//! do so late (a poller keeps what it has harvested while the world is stopped), but not after it has gone
//! on to another poll or another goroutine.

use std::collections::VecDeque;

use netpoll::trace::{Event, SlotState};
use netpoll_traces::{Entry, Record, ThreadId, WorldEvent};

use super::facts::{Actor, Facts, Stage};
use super::{About, Complaint, Look, Oracle, Verdict};
use crate::explore::Property;

static ABOUT: About = About {
    number: 5,
    property: Property::Wakeups,
    sentence: "each park is ended by exactly one wake-up, and nothing runs that was not woken",
};

/// A goroutine that was taken out of a slot and is not runnable yet.
#[derive(Clone, Copy, Debug)]
struct Taken {
    g: u64,
    by: ThreadId,
    fd: i32,
}

/// See the module documentation.
#[derive(Debug, Default)]
pub struct Wakeups {
    taken: VecDeque<Taken>,
    /// The threads whose goroutine may `run` again, since its park was abandoned.
    abandoned: Vec<(ThreadId, u64)>,
    checks: u64,
}

impl Oracle for Wakeups {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn checks(&self) -> u64 {
        self.checks
    }

    #[inline(always)]
    fn observe(&mut self, record: &Record, facts: &Facts, _: &dyn Look) -> Verdict {
        let event = match record.event {
            Entry::Runtime(event) => event,
            Entry::World(WorldEvent::Exit) => return self.goes_on(record, facts),
            Entry::World(_) => return Ok(()),
        };
        match event {
            Event::Slot { pd, fd, mode, from: SlotState::Parked(_), .. } => {
                // A thread that waits has a proxy in the slot, which is no goroutine.
                let consumer = facts.descriptor(pd).slot(mode).consumer;
                if let Some(Actor::Goroutine(g)) = consumer {
                    self.taken.push_back(Taken { g, by: record.thread, fd });
                }
                Ok(())
            }
            Event::Go { g }
            | Event::Run { g }
            | Event::Yield { g }
            | Event::Park { g, .. }
            | Event::Abandon { g }
            | Event::Ready { g }
            | Event::Done { g } => {
                self.checks += 1;
                self.step(record, facts, event, g)?;
                match event {
                    Event::Go { .. } | Event::Ready { .. } | Event::Abandon { .. } => Ok(()),
                    _ => self.goes_on(record, facts),
                }
            }
            Event::Syscall { name: "epoll_wait", .. } => self.goes_on(record, facts),
            _ => Ok(()),
        }
    }
}

impl Wakeups {
    /// One step in the life of a goroutine.
    fn step(&mut self, record: &Record, facts: &Facts, event: Event, g: u64) -> Verdict {
        let stage = facts.goroutine(g).stage;
        let here = Stage::Running(record.thread);
        let is_legal = match event {
            Event::Go { .. } => stage == Stage::Unborn,
            Event::Run { .. } if stage == here => {
                let place = self.abandoned.iter().position(|&it| it == (record.thread, g));
                place.map(|place| self.abandoned.swap_remove(place)).is_some()
            }
            Event::Run { .. } => matches!(stage, Stage::Unstarted | Stage::Runnable),
            Event::Yield { .. } | Event::Park { .. } => stage == here,
            Event::Done { .. } => stage == here || stage == Stage::Unstarted,
            Event::Abandon { .. } => {
                self.abandoned.retain(|&(thread, _)| thread != record.thread);
                self.abandoned.push((record.thread, g));
                matches!(stage, Stage::Parked(_)) && record.g == Some(g)
            }
            Event::Ready { .. } => {
                let place = self.taken.iter().position(|taken| taken.g == g);
                place.map(|place| self.taken.remove(place));
                matches!(stage, Stage::Parked(_))
            }
            _ => true,
        };
        if is_legal {
            return Ok(());
        }
        let who = &facts.thread(record.thread).name;
        let stage = match stage {
            Stage::Unborn => "was never made".to_string(),
            Stage::Unstarted => "has not started".to_string(),
            Stage::Runnable => "is runnable".to_string(),
            Stage::Running(thread) => format!("runs on {}", facts.thread(thread).name),
            Stage::Parked(on) => format!("is parked ({on})"),
            Stage::Ended => "has ended".to_string(),
        };
        Err(Complaint::new("S3", format!("{who} says `{event}`, but g{g} {stage}")))
    }

    /// A thread goes on to something else: whom it has taken out of slots must be runnable.
    fn goes_on(&self, record: &Record, facts: &Facts) -> Verdict {
        let Some(taken) = self.taken.iter().find(|taken| taken.by == record.thread) else {
            return Ok(());
        };
        let Taken { g, fd, .. } = *taken;
        let thread = &facts.thread(record.thread).name;
        let what = format!("{thread} took g{g} out of a slot of fd{fd} and never made it runnable");
        Err(Complaint::new("S3", what).about(Some(g), fd))
    }
}
