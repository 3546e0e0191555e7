//! Which records are shown, and which are folded into a line that says what they were.
//!
//! What comes again and again is folded in every trace: the pauses of sysmon, polls that bring nothing,
//! workers that get up and lie down again, references that are taken and given back.
//!
//! Of a trace with a guilty record more is folded. What stays is the story: what the goroutine and the
//! descriptor did that the guilt is about, in the life that they had; who made that happen; and
//! everything of the moments before the guilty record.

use std::fmt;

use netpoll::trace::{Event, TimerUse, WorkerPhase};

use super::scene::Scene;
use super::words::Span;
use crate::{Entry, Guilt, Record, ThreadId, Trace, WorldEvent};

/// Everything of so many records before the guilty one is shown.
const MOMENTS_BEFORE: usize = 24;
/// And of so many after it.
const MOMENTS_AFTER: usize = 6;
/// So much of the story is shown at most, the last part of it.
const STORY_MAX: usize = 40;
/// A stretch of fewer events than this, counts aside, gets no line of its own: that would take as much room.
const STRETCH_MIN: usize = 4;
/// When nobody is accused, it is the goroutines that are left, unless they are more than this.
const LEFT_MAX: usize = 4;

/// What becomes of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is shown.
    Shown,
    /// It is counted in the line of its stretch.
    Folded(Kind),
    /// The same; but when the stretch is too short for a line it is not shown either. The legend says so.
    Quiet(Kind),
}

/// What a folded record was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Pause,
    Idle,
    EmptyPoll,
    Count,
    Call,
    Slot,
    Switch,
    Timer,
    Worker,
    Kernel,
    Other,
}

impl Kind {
    const COUNT: usize = 11;
    const NAMES: [(&'static str, &'static str); Kind::COUNT] = [
        ("sysmon pause", "sysmon pauses"),
        ("idle step", "idle steps"),
        ("empty poll", "empty polls"),
        ("count", "counts"),
        ("call", "calls"),
        ("slot change", "slot changes"),
        ("goroutine event", "goroutine events"),
        ("timer event", "timer events"),
        ("worker event", "worker events"),
        ("kernel event", "kernel events"),
        ("other", "others"),
    ];

    fn of(record: &Record) -> Kind {
        match record.event {
            _ if record.thread == ThreadId::KERNEL => Kind::Kernel,
            Entry::World(
                WorldEvent::Fault { .. } | WorldEvent::Healed | WorldEvent::Arranged { .. },
            ) => Kind::Kernel,
            Entry::World(_) => Kind::Worker,
            Entry::Runtime(event) => match event {
                Event::Syscall { .. } => Kind::Call,
                Event::Use { .. } | Event::Leave { .. } | Event::Waiters { .. } => Kind::Count,
                Event::Slot { .. } => Kind::Slot,
                Event::Arm { .. } | Event::Disarm { .. } | Event::Fire { .. } => Kind::Timer,
                Event::Worker { .. } | Event::Wake { .. } | Event::Break { .. } => Kind::Worker,
                _ if record.event.goroutine().is_some() => Kind::Switch,
                _ => Kind::Other,
            },
        }
    }
}

/// A stretch of folded records. Displays as the line that stands for them.
#[derive(Debug, Default)]
pub(super) struct Stretch {
    counts: [usize; Kind::COUNT],
    /// How long it took.
    pub(super) span_ns: u64,
}

impl Stretch {
    pub(super) fn add(&mut self, kind: Kind) {
        self.counts[kind as usize] += 1;
    }
}

impl fmt::Display for Stretch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total: usize = self.counts.iter().sum();
        let plural = if total == 1 { "" } else { "s" };
        write!(f, "… {total} event{plural}")?;
        if self.span_ns > 0 {
            write!(f, " in {}", Span(self.span_ns))?;
        }
        let counted = self.counts.iter().zip(Kind::NAMES).filter(|(count, _)| **count > 0);
        for (nth, (&count, (one, many))) in counted.enumerate() {
            let separator = if nth == 0 { ":" } else { "," };
            let name = if count == 1 { one } else { many };
            write!(f, "{separator} {count} {name}")?;
        }
        f.write_str(" …")
    }
}

/// What becomes of each record.
pub(super) fn fates(trace: &Trace, guilt: Option<&Guilt>) -> Vec<Fate> {
    let mut fates = dull(trace);
    if let Some(guilt) = guilt {
        let story = story(trace, guilt, &fates);
        for ((fate, record), told) in fates.iter_mut().zip(&trace.records).zip(story) {
            *fate = match *fate {
                _ if told => Fate::Shown,
                Fate::Shown => Fate::Folded(Kind::of(record)),
                dull => dull,
            };
        }
    }
    settle(&mut fates);
    fates
}

/// The fates when nothing is more interesting than anything else.
fn dull(trace: &Trace) -> Vec<Fate> {
    let mut fates = Vec::with_capacity(trace.records.len());
    // What each thread has done since it got up; `None` when that is more than keeping house.
    let mut rounds: Vec<Option<Vec<usize>>> = vec![None; trace.threads.len()];
    let is_sysmon: Vec<bool> = trace.threads.iter().map(|name| name == "sysmon").collect();
    for (at, record) in trace.records.iter().enumerate() {
        let thread = usize::from(record.thread.0);
        let is_sysmon = is_sysmon.get(thread) == Some(&true);
        fates.push(match record.event {
            Entry::World(WorldEvent::Block { until_ns, .. })
                if is_sysmon && until_ns < u64::MAX =>
            {
                Fate::Quiet(Kind::Pause)
            }
            Entry::World(WorldEvent::Resume { timed_out: true }) if is_sysmon => {
                Fate::Quiet(Kind::Pause)
            }
            Entry::Runtime(Event::Use { .. } | Event::Leave { .. } | Event::Waiters { .. }) => {
                Fate::Quiet(Kind::Count)
            }
            event if is_empty_poll(&event) => Fate::Folded(Kind::EmptyPoll),
            _ => Fate::Shown,
        });
        let Some(round) = rounds.get_mut(thread) else {
            continue;
        };
        match (record.event, round.as_mut()) {
            (Entry::World(WorldEvent::Resume { .. }), _) if !is_sysmon => *round = Some(vec![at]),
            (Entry::World(WorldEvent::Block { .. }), Some(steps)) => {
                steps.push(at);
                steps.iter().for_each(|&at| fates[at] = Fate::Quiet(Kind::Idle));
                *round = None;
            }
            (event, Some(steps)) if keeps_house(&event) => steps.push(at),
            _ => *round = None,
        }
    }
    fates
}

/// Whether it is what a worker does that looks for work and finds none.
fn keeps_house(event: &Entry) -> bool {
    let is_phase = matches!(
        event,
        Entry::Runtime(Event::Worker {
            phase: WorkerPhase::Awake
                | WorkerPhase::Spinning
                | WorkerPhase::Parked
                | WorkerPhase::Polling { .. }
        })
    );
    is_phase || is_empty_poll(event)
}

fn is_empty_poll(event: &Entry) -> bool {
    matches!(event, Entry::Runtime(Event::Syscall { result: Ok(0), .. })) && is_poll(event)
}

fn is_poll(event: &Entry) -> bool {
    let is_call = matches!(event, Entry::Runtime(Event::Syscall { .. }));
    is_call && event.to_string().starts_with("epoll_wait(")
}

/// Whether a stretch is of such a size that a line has to say what it was.
pub(super) fn is_worth_a_line(stretch: &[Fate]) -> bool {
    let counts = Fate::Quiet(Kind::Count);
    stretch.iter().filter(|fate| **fate != counts).take(STRETCH_MIN).count() == STRETCH_MIN
}

/// Shows what is folded in stretches too short to be worth it.
fn settle(fates: &mut [Fate]) {
    for stretch in fates.chunk_by_mut(|a, b| (*a == Fate::Shown) == (*b == Fate::Shown)) {
        if !is_worth_a_line(stretch) {
            let folded = stretch.iter_mut().filter(|fate| matches!(fate, Fate::Folded(_)));
            folded.for_each(|fate| *fate = Fate::Shown);
        }
    }
}

/// Who the guilt is about, and from where on.
#[derive(Debug, Default)]
struct Subjects {
    goroutines: Vec<u64>,
    fd: Option<i32>,
    since: usize,
}

impl Subjects {
    fn of(trace: &Trace, guilt: &Guilt, until: usize) -> Subjects {
        let records = &trace.records[..until];
        let (mut goroutines, mut fd) = (Vec::from_iter(guilt.g), guilt.fd);
        if goroutines.is_empty()
            && fd.is_none()
            && guilt.at.is_some()
            && let Some(record) = records.last()
        {
            goroutines.extend(record.g.or(record.event.goroutine()));
            fd = record.event.fd();
        }
        if goroutines.is_empty() && fd.is_none() {
            goroutines = left(trace);
        }
        // A number is opened again and again: what its lives before were is another story.
        let open = |record: &Record| match record.event {
            Entry::Runtime(Event::Open { fd: opened, .. }) => Some(opened) == fd,
            _ => false,
        };
        let since = records.iter().rposition(open).unwrap_or(0);
        Subjects { goroutines, fd, since }
    }

    /// Whether a record is about one of them.
    fn have(&self, record: &Record, scene: &Scene) -> bool {
        let is_one = |g: u64| self.goroutines.contains(&g);
        if record.g.is_some_and(is_one) {
            return true;
        }
        let fd = match record.event {
            Entry::Runtime(Event::Dispatch { pd, .. } | Event::Stale { pd, .. }) => scene.fd(pd),
            Entry::Runtime(Event::Arm { what, .. }) => return self.use_it(what, scene),
            Entry::Runtime(Event::Fire { worker, timer } | Event::Disarm { worker, timer }) => {
                return scene.timer(worker, timer).is_some_and(|what| self.use_it(what, scene));
            }
            event if event.goroutine().is_some_and(is_one) => return true,
            event => event.fd(),
        };
        fd.is_some() && fd == self.fd
    }

    fn use_it(&self, what: TimerUse, scene: &Scene) -> bool {
        match what {
            TimerUse::Deadline { pd, .. } => self.fd.is_some() && scene.fd(pd) == self.fd,
            TimerUse::Park { g } => {
                scene.goroutine(g).is_some_and(|g| self.goroutines.contains(&g))
            }
        }
    }
}

/// The goroutines that had not ended, if they are few.
fn left(trace: &Trace) -> Vec<u64> {
    let mut scene = Scene::new(trace);
    trace.records.iter().for_each(|record| scene.apply(record));
    let left: Vec<u64> = scene.goroutines().map(|(g, _)| g).collect();
    if left.len() > LEFT_MAX { Vec::new() } else { left }
}

/// Which records tell how it came to the guilt.
fn story(trace: &Trace, guilt: &Guilt, fates: &[Fate]) -> Vec<bool> {
    let records = &trace.records;
    let mut told = vec![false; records.len()];
    let end = records.len();
    let until = guilt.at.map_or(end, |at| (at + 1).min(end));
    let subjects = Subjects::of(trace, guilt, until);
    let mut scene = Scene::new(trace);
    for (at, record) in records.iter().enumerate() {
        scene.apply(record);
        if at >= subjects.since && subjects.have(record, &scene) {
            told[at] = !matches!(fates[at], Fate::Quiet(_));
        }
    }
    causes(trace, &mut told);
    let mut too_early = told.iter_mut().rev().filter(|told| **told).skip(STORY_MAX);
    too_early.by_ref().for_each(|told| *told = false);
    drop(too_early);
    let worth = |at: &usize| fates[*at] == Fate::Shown;
    let before = (0..until).rev().filter(worth).take(MOMENTS_BEFORE);
    let after = (until..end).filter(worth).take(MOMENTS_AFTER);
    before.chain(after).for_each(|at| told[at] = true);
    if let Some(at) = guilt.at
        && at < end
    {
        told[at] = true;
    }
    told
}

/// Adds to the records that are told those that made them happen.
fn causes(trace: &Trace, told: &mut [bool]) {
    let records = &trace.records;
    for at in (0..records.len()).filter(|&at| told[at]).collect::<Vec<_>>() {
        match records[at].event {
            // The call inside of which the kernel does it ends next.
            Entry::World(WorldEvent::Harvest { .. }) => {
                let call = (at + 1..records.len()).find(|&at| is_poll(&records[at].event));
                call.into_iter().for_each(|at| told[at] = true);
            }
            Entry::World(WorldEvent::Edge { .. } | WorldEvent::Arrive { .. }) => {
                let inside = |record: &Record| record.thread == ThreadId::KERNEL;
                let rest = &records[at + 1..];
                let next = rest.iter().position(|record| !inside(record));
                if let Some(next) = next
                    && rest[next].t_ns == records[at].t_ns
                    && Kind::of(&rest[next]) == Kind::Call
                {
                    told[at + 1 + next] = true;
                }
            }
            // What the waker did just before, which is why.
            Entry::Runtime(Event::Ready { .. }) => {
                let thread = records[at].thread;
                let earlier = (0..at).rev().filter(|&at| records[at].thread == thread);
                earlier.take(2).for_each(|at| told[at] = true);
            }
            _ => {}
        }
    }
}
