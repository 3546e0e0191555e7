//! Oracle 12: the numbered invariants, where a step can be seen to break one.
//!
//! The table of [the parent module](super) says which oracle watches which number. Here are those that are
//! about one word and who may change it:
//!
//! * the transitions of a slot (S1, S2, S4, S5): which one, by whom;
//! * nobody parks, or stays parked, against a reason that was published (S7);
//! * one teardown for each life, before its end (S13), and an empty slot at its end (S14);
//! * one final poller (S20);
//! * the flag of the break and its channel (S22, S23).

use netpoll::platform::RawFd;
use netpoll::trace::{Event, Mode, SlotState, WorkerPhase};
use netpoll_traces::{Entry, Record, ThreadId, WorldEvent};

use super::facts::{Actor, Facts, Role};
use super::{About, Complaint, Look, Oracle, Verdict};
use crate::explore::Property;

static ABOUT: About = About {
    number: 12,
    property: Property::Invariant,
    sentence: "state words change as their tables say, by those who may change them",
};

const MODES: [Mode; 2] = [Mode::Read, Mode::Write];

/// Somebody has published a reason to wait no longer, and has not gone on.
#[derive(Clone, Copy, Debug)]
struct Cancelling {
    by: ThreadId,
    pd: u32,
    mode: Mode,
    /// The reason was there before: a wait that began after it is the waiter's to end.
    since_seq: u64,
}

/// When a waiter has entered a slot.
#[derive(Clone, Copy, Debug, Default)]
struct Wait {
    seq: u64,
    /// A reason not to had been published by then, and has not been taken back.
    is_against_reason: bool,
}

/// See the module documentation.
#[derive(Debug, Default)]
pub struct Invariants {
    cancelling: Vec<Cancelling>,
    /// By descriptor and direction.
    waits: Vec<[Wait; 2]>,
    /// The thread that has emptied the channel of breaks and not cleared the flag since, and whether what it
    /// took out was what the flag stands for.
    draining: Option<(ThreadId, bool)>,
    checks: u64,
}

impl Oracle for Invariants {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn checks(&self) -> u64 {
        self.checks
    }

    #[inline(always)]
    fn observe(&mut self, record: &Record, facts: &Facts, _: &dyn Look) -> Verdict {
        if !self.cancelling.is_empty() {
            self.go_on(record, facts)?;
        }
        if let Some((thread, is_flags)) = self.draining
            && thread == record.thread
        {
            self.drain_goes_on(record, facts, is_flags)?;
        }
        match record.event {
            Entry::Runtime(event) => self.observe_event(record, facts, event),
            Entry::World(_) => Ok(()),
        }
    }
}

fn about_slot(facts: &Facts, pd: u32, mode: Mode) -> Option<u64> {
    facts.descriptor(pd).slot(mode).consumer.and_then(Actor::goroutine)
}

impl Invariants {
    #[inline(always)]
    fn observe_event(&mut self, record: &Record, facts: &Facts, event: Event) -> Verdict {
        match event {
            Event::Slot { pd, fd, mode, from, to } => {
                self.slot(record, facts, pd, fd, mode, from, to)
            }
            Event::Deadline { pd, mode, at_ns: ..0, .. } | Event::Expired { pd, mode, .. } => {
                self.publish(record, facts, pd, mode);
                Ok(())
            }
            Event::Deadline { pd, mode, .. } => {
                // Taken back.
                self.wait_of(pd, mode).is_against_reason = false;
                Ok(())
            }
            Event::Evict { pd, fd } => {
                self.checks += 1;
                let descriptor = facts.descriptor(pd);
                if descriptor.is_closing || descriptor.life.is_none() {
                    let who = facts.name(record);
                    let what = format!("{who} tears down fd{fd}, which has been torn down");
                    return Err(Complaint::new("S13", what));
                }
                MODES.into_iter().for_each(|mode| self.publish(record, facts, pd, mode));
                Ok(())
            }
            Event::End { pd, fd } => self.end(record, facts, pd, fd),
            Event::Worker { phase: WorkerPhase::Polling { .. } } => self.polls(record, facts),
            Event::Syscall { name: "read", fd, result, .. } if facts.break_fd == Some(fd) => {
                if result.is_ok() {
                    self.drained(record, facts)?;
                }
                Ok(())
            }
            Event::Drained => {
                self.draining = None;
                Ok(())
            }
            Event::Break { sent } => self.breaks(record, facts, sent),
            _ => Ok(()),
        }
    }

    fn wait_of(&mut self, pd: u32, mode: Mode) -> &mut Wait {
        let index = pd as usize;
        if self.waits.len() <= index {
            self.waits.resize(index + 1, [Wait::default(); 2]);
        }
        &mut self.waits[index][mode as usize]
    }

    // ---- slots -----------------------------------------------------------------------------------------

    #[expect(clippy::too_many_arguments, reason = "the fields of one event")]
    fn slot(
        &mut self,
        record: &Record,
        facts: &Facts,
        pd: u32,
        fd: RawFd,
        mode: Mode,
        from: SlotState,
        to: SlotState,
    ) -> Verdict {
        use SlotState::{Nil, Parked, Ready, Wait};
        self.checks += 1;
        let descriptor = facts.descriptor(pd);
        let slot = *descriptor.slot(mode);
        let by = Actor::of(record);
        let is_consumer = slot.consumer == Some(by);
        let reason = descriptor.cancelled(mode);
        // A slot that is or was Ready is the readiness ledger's.
        let (is_legal, number) = match (from, to) {
            _ if from != slot.state => (from == Ready || slot.state == Ready, "S12"),
            (_, Ready) | (Ready, Nil) => (true, ""),
            (Nil, Wait) => {
                let is_against_reason = reason.is_some();
                *self.wait_of(pd, mode) = self::Wait { seq: facts.seq, is_against_reason };
                (facts.using(by).is_some_and(|using| using.serial == descriptor.serial), "S2")
            }
            (Wait, Parked(_)) => {
                if self.wait_of(pd, mode).is_against_reason {
                    return Err(parks_against(record, facts, pd, fd, mode));
                }
                (self.is_consumers_worker(record, facts, slot.consumer), "S1")
            }
            // T4 by the consumer, T6 by somebody who has published a reason.
            (Wait, Nil) => (is_consumer || reason.is_some(), "S4"),
            (Parked(_), Nil) => (reason.is_some(), "S4"),
            _ => (false, "S1"),
        };
        if is_legal {
            return Ok(());
        }
        let (who, was) = (facts.name(record), slot.state);
        let what =
            format!("{who} takes the {mode} slot of fd{fd} from {from} to {to}; it was {was}");
        Err(Complaint::new(number, what).about(about_slot(facts, pd, mode), fd))
    }

    /// T3 is made on the thread that has run the consumer, which does not run any more.
    fn is_consumers_worker(&self, record: &Record, facts: &Facts, by: Option<Actor>) -> bool {
        match by {
            Some(Actor::Goroutine(g)) => {
                let it = facts.goroutine(g);
                let is_parking = matches!(it.stage, super::facts::Stage::Parked(_));
                is_parking && it.home == Some(record.thread)
            }
            Some(Actor::Thread(thread)) => thread == record.thread,
            None => false,
        }
    }

    fn publish(&mut self, record: &Record, facts: &Facts, pd: u32, mode: Mode) {
        let cancelling = Cancelling { by: record.thread, pd, mode, since_seq: facts.seq };
        self.cancelling.push(cancelling);
    }

    /// Who has published a reason makes another record: if that is no part of cancelling, nobody waits any
    /// more who could not have seen the reason.
    fn go_on(&mut self, record: &Record, facts: &Facts) -> Verdict {
        let by = record.thread;
        let goes_on = match record.event {
            Entry::Runtime(
                Event::Slot { .. }
                | Event::Deadline { .. }
                | Event::Expired { .. }
                | Event::Arm { .. }
                | Event::Disarm { .. },
            ) => true,
            Entry::World(WorldEvent::Panic) => true,
            _ => facts.is_part_of_waking(record),
        };
        if goes_on || !self.cancelling.iter().any(|it| it.by == by) {
            return Ok(());
        }
        while let Some(place) = self.cancelling.iter().position(|it| it.by == by) {
            let Cancelling { pd, mode, since_seq, .. } = self.cancelling.remove(place);
            self.checks += 1;
            let descriptor = facts.descriptor(pd);
            let Some(reason) = descriptor.cancelled(mode) else {
                continue; // taken back meanwhile
            };
            let slot = descriptor.slot(mode);
            let waits_since = self.wait_of(pd, mode).seq;
            let is_left = match slot.state {
                SlotState::Parked(_) | SlotState::Wait => waits_since < since_seq,
                SlotState::Nil | SlotState::Ready => false,
            };
            if is_left {
                let (who, fd) = (facts.name(record), descriptor.fd);
                let what =
                    format!("{who} leaves a waiter in the {mode} slot of fd{fd}, which {reason}");
                return Err(Complaint::new("S7", what).about(about_slot(facts, pd, mode), fd));
            }
        }
        Ok(())
    }

    fn end(&mut self, record: &Record, facts: &Facts, pd: u32, fd: RawFd) -> Verdict {
        self.checks += 1;
        let descriptor = facts.descriptor(pd);
        let is_waited_for = |mode: &Mode| {
            matches!(descriptor.slot(*mode).state, SlotState::Wait | SlotState::Parked(_))
        };
        if let Some(mode) = MODES.into_iter().find(is_waited_for) {
            let who = facts.name(record);
            let what = format!("{who} ends fd{fd} with a waiter in its {mode} slot");
            return Err(Complaint::new("S14", what).about(about_slot(facts, pd, mode), fd));
        }
        Ok(())
    }

    // ---- the poller ------------------------------------------------------------------------------------

    fn polls(&mut self, record: &Record, facts: &Facts) -> Verdict {
        self.checks += 1;
        let is_other = |(id, thread): &(ThreadId, &super::facts::Thread)| {
            let polls = matches!(thread.phase, Some(WorkerPhase::Polling { .. }));
            let is_worker = matches!(thread.role, Role::Worker(_));
            let is_in_kernel =
                matches!(thread.blocked, Some((netpoll_traces::BlockedOn::Poll(_), _)));
            *id != record.thread && is_worker && polls && is_in_kernel
        };
        let Some((_, other)) = facts.threads().find(is_other) else {
            return Ok(());
        };
        let (thread, other) = (&facts.thread(record.thread).name, &other.name);
        let what = format!("{thread} begins the final poll, in which {other} is");
        Err(Complaint::new("S20", what))
    }

    /// Who finds the flag of breaks set relies on the one who has set it.
    fn breaks(&mut self, record: &Record, facts: &Facts, sent: bool) -> Verdict {
        self.checks += 1;
        if sent != facts.is_breaking {
            return Ok(());
        }
        let who = facts.name(record);
        let what = match sent {
            true => format!("{who} sends a break while another one is in flight"),
            false => format!("{who} sends no break because one is in flight, but none is"),
        };
        Err(Complaint::new("S22", what))
    }

    /// A thread has emptied the channel of breaks.
    fn drained(&mut self, record: &Record, facts: &Facts) -> Verdict {
        self.checks += 1;
        let thread = facts.thread(record.thread);
        let is_final = matches!(thread.phase, Some(WorkerPhase::Polling { .. }));
        if !is_final {
            let what = format!("{} drains a break and is not the final poller", thread.name);
            return Err(Complaint::new("S23", what));
        }
        let is_flags = facts.is_breaking && facts.breaker.is_none();
        self.draining = Some((record.thread, is_flags));
        Ok(())
    }

    /// Who has emptied the channel clears the flag next: otherwise every later break is suppressed.
    fn drain_goes_on(&mut self, record: &Record, facts: &Facts, is_flags: bool) -> Verdict {
        let is_part = match record.event {
            Entry::Runtime(Event::Drained) => true,
            Entry::Runtime(Event::Syscall { name: "read", fd, .. }) => facts.break_fd == Some(fd),
            Entry::World(WorldEvent::Fault { .. } | WorldEvent::Panic) => true,
            _ => false,
        };
        if is_part {
            return Ok(());
        }
        self.draining = None;
        if !is_flags {
            return Ok(());
        }
        let thread = &facts.thread(record.thread).name;
        let what =
            format!("{thread} has drained a break whose flag stays set: no other one will be sent");
        Err(Complaint::new("S22", what))
    }
}

fn parks_against(record: &Record, facts: &Facts, pd: u32, fd: RawFd, mode: Mode) -> Box<Complaint> {
    let g = about_slot(facts, pd, mode);
    let who = match g {
        Some(g) => format!("g{g}"),
        None => facts.name(record),
    };
    let reason = facts.descriptor(pd).cancelled(mode).unwrap_or("was cancelled");
    let what =
        format!("{who} parks in the {mode} slot of fd{fd}, which {reason} since before it waited");
    Complaint::new("S7", what).about(g, fd)
}
