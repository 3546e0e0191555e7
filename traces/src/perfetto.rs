//! A trace for `ui.perfetto.dev`: Chrome's Trace Event Format.
//!
//! Three processes: the threads, the goroutines, the descriptors. A thread's track has slices for the
//! goroutines that it runs, for what a worker does without one, and for what blocks it; a goroutine's has
//! slices for where it runs, that it waits for a worker, and what it is parked on; a descriptor's has
//! instants for its edges and the changes of its slots. Every record is on the track of its lane, as an
//! instant, or as a short slice where an arrow begins or ends: flows bind to slices.
//!
//! Much of a run happens in no virtual time at all. There, each record is put [`STEP_NS`] after the one
//! before it, so that what follows upon something is shown behind it; the true time is among the
//! arguments.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io;

use netpoll::platform::RawFd;
use netpoll::trace::{Event, Micros};

use crate::actors::{Actor, Actors, Doing, Stretch};
use crate::causes::{Arrow, Causes};
use crate::json::Quoted;
use crate::look::Kind;
use crate::{Caption, Entry, Record, Trace, WorldEvent, text};

/// How far apart records are shown at least, in nanoseconds.
pub const STEP_NS: u64 = 10;
/// How long the slice of a record is: it ends before anything else happens.
const POINT_NS: u64 = STEP_NS / 2;

/// The processes that tracks are sorted into.
const THREADS: u32 = 1;
const GOROUTINES: u32 = 2;
const DESCRIPTORS: u32 = 3;

/// Writes a trace as Trace Event Format.
///
/// # Errors
/// Those of `out`.
pub fn write(trace: &Trace, caption: &Caption, out: &mut dyn io::Write) -> io::Result<()> {
    let actors = Actors::of(trace);
    let causes = Causes::of(trace);
    let mut page = Page {
        trace,
        actors: &actors,
        times: times(&trace.records),
        descriptors: descriptors(trace),
        text: String::new(),
        is_first: true,
    };
    page.head(caption);
    page.metadata();
    let begins = begins(&actors);
    let mut begins = begins.iter().peekable();
    let mut counters = Counters::default();
    for (at, record) in trace.records.iter().enumerate() {
        while let Some((lane, stretch, is_block)) = begins.next_if(|(_, it, _)| it.from == at) {
            page.stretch(*lane, stretch, *is_block);
        }
        page.record(at, record, &causes);
        page.descriptor(at, record);
        if let Some((name, value)) = counters.take(record) {
            page.counter(at, name, value);
        }
        if let Some(guilt) = caption.guilt.as_ref().filter(|guilt| guilt.at == Some(at)) {
            page.violation(at, &guilt.property, &guilt.sentence);
        }
        page.flows(at, &causes);
        // A buffer that holds all of it would be larger than the trace.
        if page.text.len() > 1 << 16 {
            out.write_all(page.text.as_bytes())?;
            page.text.clear();
        }
    }
    page.text.push_str("\n]}\n");
    out.write_all(page.text.as_bytes())
}

/// When each record is shown: at its time, but never together with the one before it.
fn times(records: &[Record]) -> Vec<u64> {
    let mut last = None;
    let time = |record: &Record| {
        let after = last.map_or(0, |last| last + STEP_NS);
        let time = record.t_ns.max(after);
        last = Some(time);
        time
    };
    records.iter().map(time).collect()
}

/// All stretches by their begin; around a block comes what the thread was doing when it blocked.
fn begins(actors: &Actors) -> Vec<(usize, Stretch, bool)> {
    let mut begins = Vec::new();
    for (place, lane) in actors.lanes.iter().enumerate() {
        begins.extend(lane.stretches.iter().map(|stretch| (place, *stretch, false)));
        begins.extend(lane.blocks.iter().map(|block| (place, *block, true)));
    }
    begins.sort_by_key(|(lane, stretch, is_block)| (stretch.from, *lane, *is_block));
    begins
}

/// The descriptors that have edges or slots, with their tracks' places.
fn descriptors(trace: &Trace) -> BTreeMap<RawFd, usize> {
    let mut places: BTreeMap<RawFd, usize> = BTreeMap::new();
    places.extend(trace.records.iter().filter_map(|record| Some((about(record)?, 0))));
    for (place, of) in places.values_mut().enumerate() {
        *of = place;
    }
    places
}

/// The descriptor on whose track a record has an instant.
fn about(record: &Record) -> Option<RawFd> {
    match record.event {
        Entry::Runtime(Event::Slot { fd, .. }) | Entry::World(WorldEvent::Edge { fd, .. }) => {
            Some(fd)
        }
        _ => None,
    }
}

/// Where the events are written to.
struct Page<'a> {
    trace: &'a Trace,
    actors: &'a Actors,
    times: Vec<u64>,
    descriptors: BTreeMap<RawFd, usize>,
    text: String,
    is_first: bool,
}

impl Page<'_> {
    fn head(&mut self, caption: &Caption) {
        let (title, end) = (Quoted(&caption.title), Quoted(&caption.end));
        self.put(format_args!(
            "{{\"displayTimeUnit\":\"ns\",\n\"otherData\":{{\"title\":{title},\"end\":{end},\"dropped\":\"{}\"",
            self.trace.dropped
        ));
        if let Some(guilt) = &caption.guilt {
            let (property, sentence) = (Quoted(&guilt.property), Quoted(&guilt.sentence));
            self.put(format_args!(",\"property\":{property},\"sentence\":{sentence}"));
        }
        self.put(format_args!("}},\n\"traceEvents\":["));
    }

    /// The names of processes and tracks, and their order.
    fn metadata(&mut self) {
        for (pid, name) in
            [(THREADS, "threads"), (GOROUTINES, "goroutines"), (DESCRIPTORS, "descriptors")]
        {
            self.event(format_args!(
                "\"ph\":\"M\",\"name\":\"process_name\",\"pid\":{pid},\"tid\":0,\"args\":{{\"name\":\"{name}\"}}"
            ));
            self.event(format_args!(
                "\"ph\":\"M\",\"name\":\"process_sort_index\",\"pid\":{pid},\"tid\":0,\"args\":{{\"sort_index\":{pid}}}"
            ));
        }
        for (place, lane) in self.actors.lanes.iter().enumerate() {
            self.track(self.pid(place), tid(place), &lane.name(self.trace));
        }
        for (fd, place) in self.descriptors.clone() {
            self.track(DESCRIPTORS, self.descriptor_tid(place), &format!("fd{fd}"));
        }
    }

    fn track(&mut self, pid: u32, tid: usize, name: &str) {
        let name = Quoted(name);
        self.event(format_args!(
            "\"ph\":\"M\",\"name\":\"thread_name\",\"pid\":{pid},\"tid\":{tid},\"args\":{{\"name\":{name}}}"
        ));
        self.event(format_args!(
            "\"ph\":\"M\",\"name\":\"thread_sort_index\",\"pid\":{pid},\"tid\":{tid},\"args\":{{\"sort_index\":{tid}}}"
        ));
    }

    fn stretch(&mut self, lane: usize, stretch: &Stretch, is_block: bool) {
        let label = stretch.doing.label(self.trace);
        let (category, name) = match stretch.doing {
            Doing::Running(_) => ("running", label),
            Doing::On(_) => ("running", format!("on {label}")),
            Doing::Runnable => ("runnable", label),
            Doing::Parked(_) => ("parked", format!("parked: {label}")),
            Doing::Phase(_) => ("worker", label),
            Doing::Blocked(_) => ("blocked", format!("blocked: {label}")),
        };
        assert_eq!(category == "blocked", is_block, "blocks are kept apart");
        let (name, begin) = (Quoted(&name), self.times[stretch.from]);
        // What never ended goes on a moment longer than the last record.
        let last = self.times[self.times.len() - 1] + STEP_NS;
        let end = self.times.get(stretch.to).copied().unwrap_or(last);
        let (ts, dur) = (Microseconds(begin), Microseconds(end - begin));
        self.event(format_args!(
            "\"ph\":\"X\",\"name\":{name},\"cat\":\"{category}\",\"ts\":{ts},\"dur\":{dur},{}",
            self.place(lane)
        ));
    }

    /// A record on the track of its lane.
    fn record(&mut self, at: usize, record: &Record, causes: &Causes) {
        let lane = self.actors.of[at];
        let name = text::event(self.trace, record);
        let (name, kind) = (Quoted(&name), Kind::of(&record.event).name());
        let (ts, true_time) = (Microseconds(self.times[at]), Micros(record.t_ns));
        let thread = Quoted(self.trace.thread_name(record.thread));
        let args =
            format!("\"args\":{{\"record\":{at},\"t\":\"{true_time}\",\"thread\":{thread}}}");
        let place = self.place(lane);
        let has_arrows = !causes.before(at).is_empty() || causes.after(at).next().is_some();
        if !has_arrows {
            return self.event(format_args!(
                "\"ph\":\"i\",\"s\":\"t\",\"name\":{name},\"cat\":\"{kind}\",\"ts\":{ts},{place},{args}"
            ));
        }
        let dur = Microseconds(POINT_NS);
        self.event(format_args!(
            "\"ph\":\"X\",\"name\":{name},\"cat\":\"{kind}\",\"ts\":{ts},\"dur\":{dur},{place},{args}"
        ));
    }

    /// The ends of a record's arrows: within its slice, so that no other one can be meant.
    fn flows(&mut self, at: usize, causes: &Causes) {
        let (place, time) = (self.place(self.actors.of[at]), self.times[at] + POINT_NS / 2);
        for arrow in causes.before(at) {
            self.flow("\"ph\":\"f\",\"bp\":\"e\"", arrow, &place, time);
        }
        for arrow in causes.after(at) {
            self.flow("\"ph\":\"s\"", arrow, &place, time);
        }
    }

    /// One end of an arrow. Its number is made of both ends: no other one has it, unless it means the same.
    fn flow(&mut self, phase: &str, arrow: &Arrow, place: &str, time: u64) {
        let (why, ts) = (arrow.why, Microseconds(time));
        let id = arrow.from * self.times.len() + arrow.to;
        self.event(format_args!(
            "{phase},\"name\":\"{why}\",\"cat\":\"cause\",\"id\":\"{id:#x}\",\"ts\":{ts},{place}"
        ));
    }

    fn descriptor(&mut self, at: usize, record: &Record) {
        let Some(fd) = about(record) else { return };
        let tid = self.descriptor_tid(self.descriptors[&fd]);
        let name = text::event(self.trace, record);
        let (name, ts) = (Quoted(&name), Microseconds(self.times[at]));
        let kind = Kind::of(&record.event).name();
        self.event(format_args!(
            "\"ph\":\"i\",\"s\":\"t\",\"name\":{name},\"cat\":\"{kind}\",\"ts\":{ts},\"pid\":{DESCRIPTORS},\"tid\":{tid},\"args\":{{\"record\":{at}}}"
        ));
    }

    fn counter(&mut self, at: usize, name: &str, value: i64) {
        let ts = Microseconds(self.times[at]);
        self.event(format_args!(
            "\"ph\":\"C\",\"name\":\"{name}\",\"ts\":{ts},\"pid\":{THREADS},\"tid\":0,\"args\":{{\"value\":{value}}}"
        ));
    }

    fn violation(&mut self, at: usize, property: &str, sentence: &str) {
        let (name, sentence) = (format!("violation: {property}"), Quoted(sentence));
        let (name, ts) = (Quoted(&name), Microseconds(self.times[at]));
        let place = self.place(self.actors.of[at]);
        self.event(format_args!(
            "\"ph\":\"i\",\"s\":\"g\",\"name\":{name},\"cat\":\"violation\",\"ts\":{ts},{place},\"args\":{{\"record\":{at},\"sentence\":{sentence}}}"
        ));
    }

    fn place(&self, lane: usize) -> String {
        format!("\"pid\":{},\"tid\":{}", self.pid(lane), tid(lane))
    }

    fn pid(&self, lane: usize) -> u32 {
        match self.actors.lanes[lane].actor {
            Actor::Thread(_) => THREADS,
            Actor::Goroutine(_) => GOROUTINES,
        }
    }

    fn descriptor_tid(&self, place: usize) -> usize {
        tid(self.actors.lanes.len() + place)
    }

    fn event(&mut self, members: std::fmt::Arguments<'_>) {
        let separator = if std::mem::take(&mut self.is_first) { "\n" } else { ",\n" };
        self.put(format_args!("{separator}{{{members}}}"));
    }

    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        self.text.write_fmt(text).expect("to a String");
    }
}

/// The number of a track. Numbers are of the whole trace, and 0 means a process.
fn tid(place: usize) -> usize {
    place + 1
}

/// Nanoseconds as the format has them: microseconds, with a fraction.
struct Microseconds(u64);

impl std::fmt::Display for Microseconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1000, self.0 % 1000)
    }
}

/// What is counted beside the slices.
#[derive(Debug, Default)]
struct Counters {
    /// The goroutines that are runnable.
    runnable: BTreeSet<u64>,
    open: i64,
}

impl Counters {
    /// The counter that a record changes, with its new value.
    fn take(&mut self, record: &Record) -> Option<(&'static str, i64)> {
        let Entry::Runtime(event) = record.event else { return None };
        let is_changed = match event {
            Event::Go { g } | Event::Ready { g } | Event::Yield { g } => self.runnable.insert(g),
            Event::Run { g } => self.runnable.remove(&g),
            Event::Waiters { count } => return Some(("waiters", count.into())),
            Event::Open { .. } | Event::End { .. } => {
                // The beginning of a trace may be lost: what ends then was not counted.
                let change = if matches!(event, Event::Open { .. }) { 1 } else { -1 };
                self.open = (self.open + change).max(0);
                return Some(("open descriptors", self.open));
            }
            _ => false,
        };
        is_changed.then_some(("runnable goroutines", self.runnable.len() as i64))
    }
}
