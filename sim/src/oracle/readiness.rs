//! Oracle 1: the readiness ledger.
//!
//! An edge is followed from the kernel to the system call that uses it:
//!
//! ```text
//! edge -> queued -> harvested by epoll_wait -> dispatched to its descriptor -> Ready -> taken -> call
//! ```
//!
//! and at each arrow it is noted who has it. Whoever lets go of it without passing it on has lost it, and is
//! named at that step:
//!
//! * the kernel: a thread blocks in `epoll_wait`, or comes back empty, over an event that is queued;
//! * the poll loop: it goes on to something else before it has dispatched all that it has harvested, or
//!   drops an event of the life that its descriptor has, or leaves out a slot that the event is for;
//! * the slot: it leaves `Ready` by somebody who is not its consumer (S5);
//! * the consumer: it takes an edge and then waits for the next one without a system call (S6);
//! * a deregistration that no teardown asked for.
//!
//! The other way round: nothing makes a slot `Ready`, and nothing is harvested, without an edge behind it
//! (S4): a canceller that writes `Ready` is seen here.
//!
//! An edge that arrives at a slot that is `Ready` merges with the one that is there, one that arrives at a
//! queued item merges with that: both stand for "look again", which is done once.

use std::collections::VecDeque;

use netpoll::platform::RawFd;
use netpoll::poll::lives::{BREAK, decode};
use netpoll::trace::{Event, Mode, SlotState};
use netpoll_traces::{BlockedOn, Entry, Readiness as Bits, Record, ThreadId, WorldEvent};

use super::facts::{Actor, Facts};
use super::{About, Complaint, Look, Oracle, Verdict};
use crate::explore::Property;

static ABOUT: About = About {
    number: 1,
    property: Property::Readiness,
    sentence: "each edge reaches its slot and its consumer, and nothing else makes a slot ready",
};

const READ: u32 =
    (libc::EPOLLIN | libc::EPOLLPRI | libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR)
        .cast_unsigned();
const WRITE: u32 = (libc::EPOLLOUT | libc::EPOLLHUP | libc::EPOLLERR).cast_unsigned();
const EDGE: u32 = libc::EPOLLET.cast_unsigned();
const ONESHOT: u32 = libc::EPOLLONESHOT.cast_unsigned();

const MODES: [Mode; 2] = [Mode::Read, Mode::Write];

/// Which slots an event is for.
fn modes(events: u32) -> [bool; 2] {
    [events & READ != 0, events & WRITE != 0]
}

/// Whether a system call sees what an edge of this direction announced.
fn looks(call: &str, mode: Mode) -> bool {
    let calls: &[&str] = match mode {
        Mode::Read => &["read", "readv", "peek", "accept4", "recvfrom", "poll"],
        Mode::Write => &["write", "writev", "sendto", "connect", "getsockopt", "poll"],
    };
    calls.contains(&call)
}

/// The goroutine that waits for an event.
fn waits_for(facts: &Facts, data: u64, events: u32) -> Option<u64> {
    let (pd, _) = decode(data)?;
    let descriptor = facts.descriptor(pd);
    let wanted = MODES.into_iter().filter(|&mode| modes(events)[mode as usize]);
    let mut consumers = wanted.filter_map(|mode| descriptor.slot(mode).consumer);
    consumers.find_map(Actor::goroutine)
}

/// A registration.
#[derive(Clone, Copy, Debug)]
struct Item {
    fd: RawFd,
    file: u32,
    /// What is wanted; 0 once a single shot has been fired.
    wanted: u32,
    data: u64,
    /// Whether an event of it is queued.
    is_queued: bool,
}

/// An event that a thread has harvested and not dispatched.
#[derive(Clone, Copy, Debug)]
struct Harvested {
    fd: RawFd,
    events: u32,
    data: u64,
    t_ns: u64,
}

/// An event that is being dispatched.
#[derive(Clone, Copy, Debug)]
struct Dispatching {
    pd: u32,
    event: Harvested,
    /// Per direction: the slot has to get it, and has not.
    owed: [bool; 2],
}

#[derive(Debug, Default)]
struct Batch {
    events: VecDeque<Harvested>,
    dispatching: Option<Dispatching>,
}

/// An edge that a consumer has taken out of a slot, until it makes a system call.
#[derive(Clone, Copy, Debug)]
struct TakenEdge {
    by: Actor,
    pd: u32,
    fd: RawFd,
    mode: Mode,
    t_ns: u64,
}

/// See the module documentation.
#[derive(Debug, Default)]
pub struct Readiness {
    items: Vec<Item>,
    /// How many of them have an event queued.
    queued: usize,
    /// What the `epoll_wait` that goes on right now takes.
    taking: Vec<Harvested>,
    /// By thread.
    batches: Vec<Batch>,
    /// How many threads have something in their batch.
    busy: usize,
    taken: Vec<TakenEdge>,
    checks: u64,
}

impl Oracle for Readiness {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn checks(&self) -> u64 {
        self.checks
    }

    #[inline(always)]
    fn observe(&mut self, record: &Record, facts: &Facts, _: &dyn Look) -> Verdict {
        if self.busy > 0 && record.thread != ThreadId::KERNEL {
            self.go_on(record, facts)?;
        }
        match record.event {
            Entry::World(event) => self.observe_world(record, facts, event),
            Entry::Runtime(event) => self.observe_runtime(record, facts, event),
        }
    }
}

// ---- the kernel's side ---------------------------------------------------------------------------------

impl Readiness {
    #[inline(always)]
    fn observe_world(&mut self, record: &Record, facts: &Facts, event: WorldEvent) -> Verdict {
        match event {
            WorldEvent::Watch { fd, file, events, data, queued } => {
                self.forget(|item| (item.fd, item.file) == (fd, file));
                self.items.push(Item { fd, file, wanted: events, data, is_queued: false });
                if queued {
                    self.queue(|item| (item.fd, item.file) == (fd, file));
                }
            }
            WorldEvent::Edge { file, wakeup, .. } => {
                let suits = |item: &Item| match wakeup {
                    0 => item.wanted != 0,
                    _ => wakeup & item.wanted != 0,
                };
                self.queue(|item| item.file == file && suits(item));
            }
            WorldEvent::Spurious { fd, file } => {
                self.queue(|item| (item.fd, item.file) == (fd, file));
            }
            WorldEvent::Harvest { fd, file, events, data } => {
                return self.harvest(record, fd, file, events, data);
            }
            WorldEvent::Block { on: BlockedOn::Poll(_), .. } => {
                self.taking.clear();
                return self.nothing_queued(record, facts, "blocks in epoll_wait");
            }
            _ => {}
        }
        Ok(())
    }

    /// Queues events of registrations. One that is queued already stays.
    #[inline]
    fn queue(&mut self, which: impl Fn(&Item) -> bool) {
        for item in &mut self.items {
            if which(item) {
                self.checks += 1;
                self.queued += usize::from(!item.is_queued);
                item.is_queued = true;
            }
        }
    }

    /// Forgets registrations, and what is queued of them.
    fn forget(&mut self, which: impl Fn(&Item) -> bool) {
        let is_queued = |item: &&Item| which(item) && item.is_queued;
        self.queued -= self.items.iter().filter(is_queued).count();
        self.items.retain(|item| !which(item));
    }

    fn harvest(
        &mut self,
        record: &Record,
        fd: RawFd,
        file: u32,
        events: u32,
        data: u64,
    ) -> Verdict {
        self.checks += 1;
        let mut items = self.items.iter_mut();
        let item = items.find(|item| (item.fd, item.file) == (fd, file));
        let Some(item) = item.filter(|item| item.is_queued && item.data == data) else {
            let bits = Bits(events);
            return Err(Complaint::new("S4", format!("the kernel reports fd{fd} {bits} unasked")));
        };
        let stays = events != 0 && item.wanted & (EDGE | ONESHOT) == 0;
        if !stays {
            item.is_queued = false;
            self.queued -= 1;
        }
        if item.wanted & ONESHOT != 0 && events != 0 {
            item.wanted = 0;
        }
        if events != 0 {
            self.taking.push(Harvested { fd, events, data, t_ns: record.t_ns });
        }
        Ok(())
    }

    /// No event is queued that a thread could take.
    fn nothing_queued(&mut self, record: &Record, facts: &Facts, does: &str) -> Verdict {
        self.checks += 1;
        if self.queued == 0 {
            return Ok(());
        }
        let item = self.items.iter().find(|item| item.is_queued).expect("one is queued");
        let (fd, thread) = (item.fd, &facts.thread(record.thread).name);
        let what = format!("{thread} {does} although an event of fd{fd} is queued");
        Err(Complaint::new("L1", what))
    }

    // ---- the poll loop's side --------------------------------------------------------------------------

    #[inline(always)]
    fn observe_runtime(&mut self, record: &Record, facts: &Facts, event: Event) -> Verdict {
        match event {
            Event::Slot { pd, fd, mode, from, to } => {
                self.slot(record, facts, pd, fd, mode, from, to)
            }
            Event::Dispatch { pd, life } => self.dispatch(record, facts, pd, life),
            Event::Stale { pd, life } => self.stale(record, facts, pd, life),
            Event::Syscall { name, fd, arg, result } => {
                self.syscall(record, facts, name, fd, arg, result.ok())
            }
            _ => Ok(()),
        }
    }

    fn batch(&mut self, thread: ThreadId) -> &mut Batch {
        let index = usize::from(thread.0);
        if self.batches.len() <= index {
            self.batches.resize_with(index + 1, Batch::default);
        }
        &mut self.batches[index]
    }

    fn count_busy(&mut self) {
        let is_busy = |batch: &&Batch| !batch.events.is_empty() || batch.dispatching.is_some();
        self.busy = self.batches.iter().filter(is_busy).count();
    }

    /// A thread that has harvested events makes another record: what it does must be the next step of
    /// their dispatch, or they must be dispatched.
    fn go_on(&mut self, record: &Record, facts: &Facts) -> Verdict {
        let Some(batch) = self.batches.get_mut(usize::from(record.thread.0)) else {
            return Ok(());
        };
        if let Some(dispatching) = batch.dispatching {
            let Dispatching { pd, event, owed } = dispatching;
            if matches!(record.event, Entry::Runtime(Event::Slot { pd: other, to: SlotState::Ready, .. }) if other == pd)
            {
                return Ok(());
            }
            batch.dispatching = None;
            for mode in MODES {
                if owed[mode as usize] {
                    let (fd, bits) = (event.fd, Bits(event.events));
                    let thread = &facts.thread(record.thread).name;
                    let what = format!("{thread} dispatched fd{fd} {bits} without its {mode} slot");
                    return Err(Complaint::new("L1", what));
                }
            }
            self.count_busy();
        }
        let batch = &mut self.batches[usize::from(record.thread.0)];
        let is_part = match record.event {
            Entry::Runtime(Event::Dispatch { .. } | Event::Stale { .. } | Event::Drained) => true,
            Entry::Runtime(Event::Syscall { name: "read", fd, .. }) => facts.break_fd == Some(fd),
            // A panic is reported as that.
            Entry::World(WorldEvent::Fault { .. } | WorldEvent::Panic) => true,
            _ => false,
        };
        match batch.events.front() {
            Some(event) if !is_part => {
                let Harvested { fd, events, t_ns, .. } = *event;
                let (thread, bits) = (&facts.thread(record.thread).name, Bits(events));
                let at = netpoll::trace::Micros(t_ns);
                let what = format!("{thread} harvested fd{fd} {bits} at t={at} and drops it");
                let g = waits_for(facts, event.data, events);
                Err(Complaint::new("L1", what).about(g, fd))
            }
            _ => Ok(()),
        }
    }

    /// Takes the next event of a thread, which must be the one that it says.
    fn next_of(
        &mut self,
        record: &Record,
        facts: &Facts,
        pd: u32,
        life: u32,
    ) -> Result<Harvested, Box<Complaint>> {
        self.checks += 1;
        let next = self.batch(record.thread).events.pop_front();
        match next {
            Some(event) if decode(event.data) == Some((pd, life)) => Ok(event),
            Some(event) => {
                let thread = &facts.thread(record.thread).name;
                let (fd, bits) = (event.fd, Bits(event.events));
                let what =
                    format!("{thread} dispatches pd#{pd} life {life} and leaves out fd{fd} {bits}");
                Err(Complaint::new("L1", what))
            }
            None => {
                let thread = &facts.thread(record.thread).name;
                let what =
                    format!("{thread} dispatches an event of pd#{pd} that nobody has harvested");
                Err(Complaint::new("S4", what))
            }
        }
    }

    fn dispatch(&mut self, record: &Record, facts: &Facts, pd: u32, life: u32) -> Verdict {
        let event = self.next_of(record, facts, pd, life)?;
        let mut owed = modes(event.events);
        for mode in MODES {
            // It merges with the edge that is there.
            owed[mode as usize] &= facts.descriptor(pd).slot(mode).state != SlotState::Ready;
        }
        self.batch(record.thread).dispatching = Some(Dispatching { pd, event, owed });
        self.count_busy();
        Ok(())
    }

    fn stale(&mut self, record: &Record, facts: &Facts, pd: u32, life: u32) -> Verdict {
        let event = self.next_of(record, facts, pd, life)?;
        self.count_busy();
        if facts.descriptor(pd).life != Some(life) {
            return Ok(());
        }
        let (thread, fd, bits) = (&facts.thread(record.thread).name, event.fd, Bits(event.events));
        let what = format!("{thread} drops fd{fd} {bits} as stale, but life {life} goes on");
        Err(Complaint::new("L1", what))
    }

    // ---- the slot's side -------------------------------------------------------------------------------

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
        let known = facts.descriptor(pd).slot(mode).state;
        if (from == SlotState::Ready) != (known == SlotState::Ready) {
            let who = facts.name(record);
            let what = format!("{who} finds the {mode} slot of fd{fd} {from}, which was {known}");
            let number = if from == SlotState::Ready { "S4" } else { "S5" };
            return Err(Complaint::new(number, what).about(record.g, fd));
        }
        match (from, to) {
            (_, SlotState::Ready) => self.made_ready(record, facts, pd, fd, mode),
            (SlotState::Ready, _) => self.lost_ready(record, facts, pd, fd, mode),
            (SlotState::Nil, SlotState::Wait) => self.waits(record, facts, pd, fd, mode),
            _ => Ok(()),
        }
    }

    fn made_ready(
        &mut self,
        record: &Record,
        facts: &Facts,
        pd: u32,
        fd: RawFd,
        mode: Mode,
    ) -> Verdict {
        self.checks += 1;
        // Whoever dispatches to this slot meanwhile finds the edge there: his merges with it.
        for batch in &mut self.batches {
            if let Some(dispatching) = batch.dispatching.as_mut().filter(|it| it.pd == pd) {
                dispatching.owed[mode as usize] = false;
            }
        }
        let batch = self.batch(record.thread);
        let behind = batch.dispatching.filter(|it| it.pd == pd);
        if behind.is_some_and(|it| modes(it.event.events)[mode as usize]) {
            return Ok(());
        }
        let consumer = facts.descriptor(pd).slot(mode).consumer;
        let who = facts.name(record);
        let what = format!("{who} made the {mode} slot of fd{fd} Ready with no edge behind it");
        Err(Complaint::new("S4", what).about(consumer.and_then(Actor::goroutine), fd))
    }

    fn lost_ready(
        &mut self,
        record: &Record,
        facts: &Facts,
        pd: u32,
        fd: RawFd,
        mode: Mode,
    ) -> Verdict {
        self.checks += 1;
        // Not owed any more: the edge that was there stands for it, and the consumer looks after this.
        for batch in &mut self.batches {
            if let Some(dispatching) = batch.dispatching.as_mut().filter(|it| it.pd == pd) {
                dispatching.owed[mode as usize] = false;
            }
        }
        let descriptor = facts.descriptor(pd);
        if descriptor.is_closing || descriptor.life.is_none() {
            return Ok(()); // the end of a life, or the beginning of the next (T8)
        }
        let by = Actor::of(record);
        let uses = facts.using(by).is_some_and(|using| using.serial == descriptor.serial);
        if uses {
            self.taken.retain(|taken| (taken.pd, taken.mode) != (pd, mode));
            self.taken.push(TakenEdge { by, pd, fd, mode, t_ns: record.t_ns });
            return Ok(());
        }
        let who = facts.name(record);
        let what =
            format!("{who} took the edge out of the {mode} slot of fd{fd}, which it does not use");
        Err(Complaint::new("S5", what).about(by.goroutine(), fd))
    }

    fn waits(&mut self, record: &Record, facts: &Facts, pd: u32, fd: RawFd, mode: Mode) -> Verdict {
        self.checks += 1;
        let by = Actor::of(record);
        let is_it = |taken: &&TakenEdge| (taken.by, taken.pd, taken.mode) == (by, pd, mode);
        let Some(taken) = self.taken.iter().find(is_it) else {
            return Ok(());
        };
        let (who, at) = (facts.name(record), netpoll::trace::Micros(taken.t_ns));
        let what = format!(
            "{who} waits in the {mode} slot of fd{fd}, but has made no call since it took an edge \
             out of it at t={at}"
        );
        Err(Complaint::new("S6", what).about(by.goroutine(), fd))
    }

    // ---- system calls ----------------------------------------------------------------------------------

    fn syscall(
        &mut self,
        record: &Record,
        facts: &Facts,
        name: &'static str,
        fd: RawFd,
        arg: i64,
        value: Option<i64>,
    ) -> Verdict {
        match name {
            "epoll_wait" => {
                let taking = std::mem::take(&mut self.taking);
                if value == Some(0) {
                    return self.nothing_queued(record, facts, "finds no event");
                }
                let is_event = |it: &Harvested| it.data != BREAK;
                self.batch(record.thread).events.extend(taking.into_iter().filter(is_event));
                self.count_busy();
            }
            "epoll_del" if value.is_some() => {
                let number = arg as RawFd;
                self.forget(|item| item.fd == number);
                return self.deregistered(record, facts, number);
            }
            "close" if value.is_some() => self.forget(|item| item.fd == fd),
            _ if !self.taken.is_empty() => {
                let by = Actor::of(record);
                self.taken.retain(|it| (it.by, it.fd) != (by, fd) || !looks(name, it.mode));
            }
            _ => {}
        }
        Ok(())
    }

    /// A deregistration throws away what is queued: only a teardown may do that.
    fn deregistered(&mut self, record: &Record, facts: &Facts, fd: RawFd) -> Verdict {
        self.checks += 1;
        let is_it = |(_, it): &(u32, &super::facts::Descriptor)| it.fd == fd && it.life.is_some();
        match facts.descriptors().find(is_it) {
            Some((_, descriptor)) if !descriptor.is_closing => {
                let who = facts.name(record);
                let what = format!("{who} deregisters fd{fd}, which is not being closed");
                Err(Complaint::new("L1", what))
            }
            _ => Ok(()),
        }
    }
}
