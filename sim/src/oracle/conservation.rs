//! Oracle 8: no runnable goroutine beside a worker that sleeps and may run it.
//!
//! The bound is *nothing*: from the moment at which whoever made a goroutine runnable goes on to something
//! else, a worker that may run it is awake, that is, its thread is not blocked. Steps on the way there (the
//! lock of the scheduler, the break and its write) are not "something else". How long an awake worker then
//! takes is up to the explorer and to the goroutine that it runs.
//!
//! * A goroutine that has run is pinned: only its own thread may run it, so that one must be awake, or
//!   somebody has told it to get up and is about to wake it.
//! * Whoever has told a worker to get up has woken its thread when he goes on.
//! * A goroutine that has not started may be run by any worker that takes new ones. While any worker is in
//!   its scheduling loop, it is enough: before it sleeps it looks at every queue, or, retired while others
//!   relied on its search, wakes one who does; and when it finds work it wakes the next one (L10, L11). The
//!   same goes for one who submits or wakes somebody right now. What must not be is a goroutine that has not
//!   started, a worker asleep, and nobody on his way.
//!
//! It is looked at whenever somebody has gone on, a worker blocks, or one takes up a goroutine; and when all
//! threads are blocked, nothing at all may be runnable.
//!
//! Not held to this: a stopped world, and a worker that a goroutine keeps which parks while it unwinds.

use netpoll::trace::Event;
use netpoll_traces::{BlockedOn, Entry, Record, ThreadId, WorldEvent};

use super::facts::{Facts, Goroutine, Role, Stage, Thread};
use super::{About, Complaint, Idle, Look, Oracle, Verdict};
use crate::explore::Property;

static ABOUT: About = About {
    number: 8,
    property: Property::Conservation,
    sentence: "nothing is runnable beside a sleeping worker that may run it",
};

/// What somebody has done and not gone on from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    /// Made a goroutine runnable.
    Submit { g: u64 },
    /// Told a thread to get up that had slept since then.
    Wake { thread: ThreadId, asleep_ns: u64 },
    /// Armed a timer, for which somebody may have to be woken.
    Arm,
}

/// See the module documentation.
#[derive(Debug, Default)]
pub struct Conservation {
    deeds: Vec<(ThreadId, Deed)>,
    /// Wake-ups that rely on a break that another thread is about to send.
    relying: Vec<Deed>,
    checks: u64,
}

impl Oracle for Conservation {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn checks(&self) -> u64 {
        self.checks
    }

    #[inline(always)]
    fn observe(&mut self, record: &Record, facts: &Facts, look: &dyn Look) -> Verdict {
        if !self.deeds.is_empty() {
            self.go_on(record, facts, look)?;
        }
        if !self.relying.is_empty() && facts.breaker.is_none() {
            for deed in std::mem::take(&mut self.relying) {
                self.is_done(facts, look, deed)?;
            }
        }
        match record.event {
            Entry::Runtime(Event::Go { g } | Event::Ready { g }) => {
                self.deeds.push((record.thread, Deed::Submit { g }));
                Ok(())
            }
            Entry::Runtime(Event::Arm { .. }) => {
                self.deeds.push((record.thread, Deed::Arm));
                Ok(())
            }
            Entry::Runtime(Event::Wake { worker }) => {
                let is_it = |(_, it): &(ThreadId, &Thread)| it.role == Role::Worker(worker);
                if let Some((thread, it)) = facts.threads().find(is_it) {
                    let deed = Deed::Wake { thread, asleep_ns: it.blocked_ns };
                    self.deeds.push((record.thread, deed));
                }
                Ok(())
            }
            Entry::Runtime(Event::Run { g }) => {
                // It is no more among those who have not started.
                let is_one = facts.goroutine(g).stage == Stage::Unstarted;
                let left = facts.unstarted.saturating_sub(u32::from(is_one));
                self.unstarted(facts, look, left, Some(record.thread))
            }
            Entry::World(WorldEvent::Block { on, .. }) => self.blocks(record, facts, look, on),
            _ => Ok(()),
        }
    }

    fn idle(&mut self, _: &Idle, facts: &Facts, _: &dyn Look) -> Verdict {
        if facts.is_stopped() {
            return Ok(());
        }
        self.checks += 1;
        let mut sleepers = facts.threads().filter(|(_, it)| it.is_idle());
        if let Some((id, _)) = sleepers.find(|(_, it)| it.runnable > 0) {
            return Err(beside(facts, id));
        }
        let has_sleeper = facts.threads().any(|(_, it)| may_start(facts, it) && it.is_idle());
        if facts.unstarted > 0 && has_sleeper {
            return Err(nobody_starts(facts));
        }
        Ok(())
    }
}

/// Whether a thread takes goroutines that have not started.
fn may_start(facts: &Facts, thread: &Thread) -> bool {
    matches!(thread.role, Role::Worker(index) if index < facts.active)
}

/// Whether a thread is blocked in its sleep: not in a lock, and not on its way out.
fn sleeps(facts: &Facts, look: &dyn Look, id: ThreadId) -> bool {
    let thread = facts.thread(id);
    let on = thread.blocked.map(|(on, _)| on);
    let is_asleep = match thread.role {
        Role::Pool => thread.running.is_none() && matches!(on, Some(BlockedOn::Parker(_))),
        _ => thread.is_idle() && matches!(on, Some(BlockedOn::Parker(_) | BlockedOn::Poll(_))),
    };
    is_asleep && look.is_blocked(id)
}

/// A goroutine that is runnable and that only this thread may run.
fn runnable_at(facts: &Facts, thread: ThreadId) -> u64 {
    let is_it = |it: &Goroutine| it.stage == Stage::Runnable && it.home == Some(thread);
    facts.goroutines().find(|(_, it)| is_it(it)).map_or(0, |(g, _)| g)
}

/// A thread sleeps although a goroutine is runnable that only it may run.
fn beside(facts: &Facts, thread: ThreadId) -> Box<Complaint> {
    let (g, name) = (runnable_at(facts, thread), &facts.thread(thread).name);
    Complaint::new("L10", format!("g{g} is runnable, and {name}, which alone may run it, sleeps"))
}

fn nobody_starts(facts: &Facts) -> Box<Complaint> {
    let is_it = |it: &Goroutine| it.stage == Stage::Unstarted;
    let g = facts.goroutines().find(|(_, it)| is_it(it)).map_or(0, |(g, _)| g);
    let sleeper = facts.threads().find(|(_, it)| may_start(facts, it) && it.is_idle());
    let name = sleeper.map_or("?", |(_, it)| &it.name);
    let what = format!("g{g} has not started, {name} sleeps, and nobody is on his way to it");
    Complaint::new("L10", what)
}

impl Conservation {
    /// Somebody makes another record: if that is no part of waking, what he did must have been noticed.
    fn go_on(&mut self, record: &Record, facts: &Facts, look: &dyn Look) -> Verdict {
        let by = record.thread;
        if facts.is_part_of_waking(record) || !self.deeds.iter().any(|it| it.0 == by) {
            return Ok(());
        }
        while let Some(place) = self.deeds.iter().position(|it| it.0 == by) {
            let (_, deed) = self.deeds.remove(place);
            self.is_done(facts, look, deed)?;
        }
        // Others may have relied on the search that he has begun.
        self.unstarted(facts, look, facts.unstarted, None)
    }

    /// Somebody has gone on from a deed.
    fn is_done(&mut self, facts: &Facts, look: &dyn Look, deed: Deed) -> Verdict {
        self.checks += 1;
        let thread = match deed {
            Deed::Submit { g } => {
                let it = facts.goroutine(g);
                let (Stage::Runnable, Some(home)) = (it.stage, it.home) else {
                    return Ok(());
                };
                // It may have run meanwhile, and somebody else has just made it runnable again.
                let is_submitted = self.deeds.iter().any(|&(_, it)| it == deed);
                if is_submitted || self.is_being_woken(home) {
                    return Ok(());
                }
                home
            }
            Deed::Arm => return Ok(()),
            Deed::Wake { thread, asleep_ns } => {
                if facts.thread(thread).blocked_ns != asleep_ns {
                    return Ok(()); // it has been up meanwhile
                }
                thread
            }
        };
        if facts.is_stopped() || !sleeps(facts, look, thread) {
            return Ok(());
        }
        if facts.breaker.is_some() {
            self.relying.push(deed);
            return Ok(());
        }
        if let Deed::Submit { .. } = deed {
            return Err(beside(facts, thread));
        }
        let name = &facts.thread(thread).name;
        Err(Complaint::new("L10", format!("{name} was told to get up and was not woken")))
    }

    /// Whether somebody has told a thread to get up and is about to wake it.
    fn is_being_woken(&self, id: ThreadId) -> bool {
        let wakes = |deed: &Deed| matches!(*deed, Deed::Wake { thread, .. } if thread == id);
        self.deeds.iter().any(|(_, deed)| wakes(deed)) || self.relying.iter().any(wakes)
    }

    /// Somebody has done something by which a goroutine that has not started might be left alone.
    /// `starter` takes up a goroutine right now, or blocks.
    fn unstarted(
        &mut self,
        facts: &Facts,
        look: &dyn Look,
        count: u32,
        starter: Option<ThreadId>,
    ) -> Verdict {
        if count == 0 || facts.is_stopped() || facts.breaker.is_some() {
            return Ok(());
        }
        self.checks += 1;
        // Who submits or wakes right now does so for all who rely on him.
        if self.deeds.iter().any(|(by, _)| Some(*by) != starter) || !self.relying.is_empty() {
            return Ok(());
        }
        let mut has_sleeper = false;
        for (id, thread) in facts.threads() {
            if !matches!(thread.role, Role::Worker(_)) {
                continue;
            }
            if sleeps(facts, look, id) {
                has_sleeper |= may_start(facts, thread);
            } else if thread.running.is_none() && Some(id) != starter {
                return Ok(()); // on its way
            }
        }
        if has_sleeper { Err(nobody_starts(facts)) } else { Ok(()) }
    }

    fn blocks(
        &mut self,
        record: &Record,
        facts: &Facts,
        look: &dyn Look,
        on: BlockedOn,
    ) -> Verdict {
        let id = record.thread;
        let thread = facts.thread(id);
        let is_sleep = matches!(on, BlockedOn::Parker(_) | BlockedOn::Poll(_)) && thread.is_idle();
        if !is_sleep || facts.is_stopped() {
            return Ok(());
        }
        self.checks += 1;
        let is_submitted = |deed: &Deed| match *deed {
            Deed::Submit { g } => facts.goroutine(g).home == Some(id),
            Deed::Wake { .. } | Deed::Arm => false,
        };
        let open = self.deeds.iter().filter(|(_, deed)| is_submitted(deed)).count();
        let relying = self.relying.iter().filter(|deed| is_submitted(deed)).count();
        if thread.runnable as usize > open + relying && !self.is_being_woken(id) {
            if !matches!(on, BlockedOn::Poll(_)) || facts.breaker.is_none() {
                return Err(beside(facts, id));
            }
            // Who made it runnable found a break in flight, which ends this poll at once.
            let g = runnable_at(facts, id);
            self.relying.push(Deed::Submit { g });
        }
        self.unstarted(facts, look, facts.unstarted, Some(id))
    }
}
