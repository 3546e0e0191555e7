//! What a record says in its lane and in the margin.
//!
//! These are the words of [`netpoll::trace`], with three differences. Times are those from now on, so
//! that an event more at the start of a run does not change every line after it. Places in tables
//! (`#3`, `pd#2`) are shown as the goroutine and the descriptor there, where the trace says which. And
//! what changes the state of a descriptor stands in the margin.

use std::fmt::{self, Write};

use netpoll::trace::{Event, Micros, SlotState, TimerUse, WorkerPhase};

use super::scene::Scene;
use crate::{BlockedOn, Entry, Record, Trace, WorldEvent};

/// What a record says.
#[derive(Debug, Default)]
pub(super) struct Phrase {
    /// In the lane of the thread.
    pub(super) cell: String,
    /// In the margin.
    pub(super) margin: String,
    /// In the lane of the kernel and the timers, although a thread was there.
    pub(super) world: String,
    /// How it may stand behind what the thread did just before.
    pub(super) join: Join,
}

/// How a phrase may join the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Join {
    /// It begins a line.
    #[default]
    Never,
    /// In brackets, whatever it was.
    Note,
    /// After a comma, when that one is of the kind that comes in rows as well.
    List,
}

/// What a record says; the scene is the one after it.
pub(super) fn phrase(trace: &Trace, scene: &Scene, record: &Record) -> Phrase {
    let mut phrase = Phrase::default();
    let Phrase { cell, margin, world, join } = &mut phrase;
    *join = join_of(&record.event);
    if let Some(g) = record.g
        && !names_its_goroutine(&record.event)
    {
        write!(cell, "g{g} ").expect("to a String");
    }
    let now = record.t_ns;
    let said = match record.event {
        Entry::World(event) => match event {
            WorldEvent::Spawn { thread } => write!(cell, "spawn {}", trace.thread_name(thread)),
            WorldEvent::Block { on, until_ns } => {
                let until = Until(now, until_ns);
                match on {
                    BlockedOn::Join(thread) => {
                        write!(cell, "block: end of {}{until}", trace.thread_name(thread))
                    }
                    on => write!(cell, "block: {on}{until}"),
                }
            }
            WorldEvent::Fault { .. } | WorldEvent::Healed | WorldEvent::Arranged { .. } => {
                write!(world, "{event}")
            }
            event => write!(cell, "{event}"),
        },
        Entry::Runtime(event) => match event {
            Event::Slot { fd, mode, from, to, .. } => {
                let (from, to) = (Slot(scene, from), Slot(scene, to));
                write!(margin, "{mode} fd{fd}: {from} -> {to}")
            }
            Event::Deadline { fd, mode, at_ns, .. } if at_ns > 0 => {
                write!(margin, "{mode} fd{fd}: deadline {}", FromNow(now, at_ns.unsigned_abs()))
            }
            Event::Deadline { .. }
            | Event::Expired { .. }
            | Event::Evict { .. }
            | Event::Open { .. }
            | Event::End { .. } => write!(margin, "{event}"),
            Event::Dispatch { pd, life } => {
                write!(cell, "dispatch to {} life {life}", Pd(scene, pd))
            }
            Event::Stale { pd, life } => {
                write!(cell, "stale event of {} life {life}", Pd(scene, pd))
            }
            Event::Arm { worker, timer, at_ns, what } => {
                let (at, what) = (FromNow(now, at_ns), Use(scene, what));
                write!(cell, "arm timer w{worker}.{timer} at {at}: {what}")
            }
            Event::Fire { worker, timer } => {
                write!(world, "fire timer w{worker}.{timer}{}", Known(scene, worker, timer))
            }
            Event::Disarm { worker, timer } => {
                write!(cell, "disarm timer w{worker}.{timer}{}", Known(scene, worker, timer))
            }
            Event::Worker { phase: WorkerPhase::Polling { until_ns, .. } } => {
                write!(cell, "worker polling{}", Until(now, until_ns))
            }
            event => write!(cell, "{event}"),
        },
    };
    said.expect("to a String");
    phrase
}

fn join_of(event: &Entry) -> Join {
    match event {
        Entry::Runtime(Event::Waiters { .. }) => Join::Note,
        Entry::Runtime(
            Event::Go { .. }
            | Event::Ready { .. }
            | Event::Wake { .. }
            | Event::Break { .. }
            | Event::Drained
            | Event::Worker { .. },
        )
        | Entry::World(WorldEvent::Resume { .. }) => Join::List,
        _ => Join::Never,
    }
}

/// Whether the words of an event begin with the goroutine that runs.
fn names_its_goroutine(event: &Entry) -> bool {
    matches!(
        event,
        Entry::Runtime(
            Event::Run { .. }
                | Event::Yield { .. }
                | Event::Park { .. }
                | Event::Abandon { .. }
                | Event::Panic { .. }
                | Event::Done { .. }
        )
    )
}

/// A length of time: exact up to 0.1 ms, then with as many digits as anybody reads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span(pub(super) u64);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = |f: &mut fmt::Formatter<'_>, thousandths: u64, unit| {
            // Three decimals without the zeros at their end: what microseconds look like.
            let digits = Micros(thousandths).to_string();
            write!(f, "{}{unit}", digits.trim_end_matches("µs"))
        };
        match self.0 {
            ..100_000 => write!(f, "{}", Micros(self.0)),
            100_000..1_000_000 => write!(f, "{}", Micros(self.0 / 100 * 100)),
            1_000_000..1_000_000_000 => decimals(f, self.0 / 1000, "ms"),
            _ => decimals(f, self.0 / 1_000_000, "s"),
        }
    }
}

/// A time, as seen from another one: `+300µs`.
struct FromNow(u64, u64);

impl fmt::Display for FromNow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FromNow(now, at) = *self;
        match at.checked_sub(now) {
            Some(ahead) => write!(f, "+{}", Span(ahead)),
            None => write!(f, "-{}", Span(now - at)),
        }
    }
}

/// A limit of time, if there is one: ` until +300µs`.
struct Until(u64, u64);

impl fmt::Display for Until {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Until(_, u64::MAX) => Ok(()),
            Until(now, until) => write!(f, " until {}", FromNow(now, until)),
        }
    }
}

/// A state of a slot, with the goroutine that is parked there.
pub(super) struct Slot<'a>(pub(super) &'a Scene, pub(super) SlotState);

impl fmt::Display for Slot<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            SlotState::Parked(place) => write!(f, "Parked({})", Place(self.0, place)),
            state => write!(f, "{state}"),
        }
    }
}

/// A place in the runtime's table of goroutines.
struct Place<'a>(&'a Scene, u32);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.goroutine(self.1) {
            Some(g) => write!(f, "g{g}"),
            None => write!(f, "#{}", self.1),
        }
    }
}

/// A place in the poller's table of descriptors.
struct Pd<'a>(&'a Scene, u32);

impl fmt::Display for Pd<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.fd(self.1) {
            Some(fd) => write!(f, "fd{fd}"),
            None => write!(f, "pd#{}", self.1),
        }
    }
}

/// What a timer is for.
struct Use<'a>(&'a Scene, TimerUse);

impl fmt::Display for Use<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            TimerUse::Park { g } => write!(f, "park of {}", Place(self.0, g)),
            what @ TimerUse::Deadline { pd, .. } => {
                let text = what.to_string();
                match text.rsplit_once(' ') {
                    Some((which, _)) => write!(f, "{which} {}", Pd(self.0, pd)),
                    None => f.write_str(&text),
                }
            }
        }
    }
}

/// What a timer is for, if the trace says so: `: park of g7`.
struct Known<'a>(&'a Scene, u32, u64);

impl fmt::Display for Known<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let &Known(scene, worker, timer) = self;
        match scene.timer(worker, timer) {
            Some(what) => write!(f, ": {}", Use(scene, what)),
            None => Ok(()),
        }
    }
}
