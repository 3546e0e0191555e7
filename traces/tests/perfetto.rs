//! The Perfetto rendering against the Trace Event Format, read back by a JSON parser that is not ours.
//!
//! The rules are those of the format's document ("Trace Event Format", catapult): what each phase must
//! carry, that the slices of a track are nested, that a flow begins and ends inside slices. Both ends are
//! looked for with their times as decimal text turned to integers: the writer has three decimals always.

use std::collections::BTreeMap;

use netpoll_traces::causes::Causes;
use netpoll_traces::{Caption, Keep, Recorder, ThreadId, Trace, perfetto};
use serde_json::Value;

mod made;
#[path = "../benches/synthetic.rs"]
mod synthetic;

/// A track.
type Track = (i64, i64);

/// A complete event: begin and end in nanoseconds, name.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Slice {
    begin: i64,
    end: i64,
    name: String,
}

/// What a file says, checked event by event.
#[derive(Debug, Default)]
struct File {
    slices: BTreeMap<Track, Vec<Slice>>,
    instants: Vec<(Track, String)>,
    /// By id: the begin and the end, with the names of the slices that they are in.
    flows: BTreeMap<String, Vec<(String, Track, i64)>>,
    counters: BTreeMap<String, Vec<i64>>,
    names: BTreeMap<Track, String>,
}

fn write(trace: &Trace, caption: &Caption) -> Vec<u8> {
    let mut file = Vec::new();
    perfetto::write(trace, caption, &mut file).expect("a Vec takes everything");
    file
}

fn nanoseconds(event: &Value, name: &str) -> i64 {
    let number = event[name].as_f64().unwrap_or_else(|| panic!("{name} is no number: {event}"));
    let ns = (number * 1e3).round();
    assert!((number * 1e3 - ns).abs() < 1e-3, "{name} is no whole nanosecond: {event}");
    ns as i64
}

fn text<'a>(event: &'a Value, name: &str) -> &'a str {
    event[name].as_str().unwrap_or_else(|| panic!("{name} is no text: {event}"))
}

impl File {
    fn read(bytes: &[u8]) -> File {
        let json: Value = serde_json::from_slice(bytes).expect("JSON");
        assert_eq!(json["displayTimeUnit"], "ns");
        assert!(json["otherData"].is_object(), "otherData is an object");
        let mut file = File::default();
        let mut last = 0;
        for event in json["traceEvents"].as_array().expect("a list of events") {
            let (pid, tid) = (event["pid"].as_i64(), event["tid"].as_i64());
            let track = (pid.expect("a process"), tid.expect("a thread"));
            if text(event, "ph") != "M" {
                let ts = nanoseconds(event, "ts");
                assert!(ts >= last, "time goes back at {event}");
                last = ts;
            }
            file.take(event, track);
        }
        file.nests();
        file
    }

    fn take(&mut self, event: &Value, track: Track) {
        let name = text(event, "name").to_string();
        assert!(!name.is_empty(), "no name: {event}");
        match text(event, "ph") {
            "M" => match name.as_str() {
                "thread_name" => {
                    let before = self.names.insert(track, text(&event["args"], "name").to_string());
                    assert_eq!(before, None, "a track has one name: {event}");
                }
                "process_name" => assert!(!text(&event["args"], "name").is_empty()),
                "process_sort_index" | "thread_sort_index" => {
                    assert!(event["args"]["sort_index"].is_i64(), "{event}");
                }
                name => panic!("no metadata is called {name}"),
            },
            "X" => {
                text(event, "cat");
                let (begin, dur) = (nanoseconds(event, "ts"), nanoseconds(event, "dur"));
                assert!(dur > 0, "a slice has a length: {event}");
                let slice = Slice { begin, end: begin + dur, name };
                self.slices.entry(track).or_default().push(slice);
            }
            "i" => {
                assert!(["g", "p", "t"].contains(&text(event, "s")), "a scope: {event}");
                self.instants.push((track, name));
            }
            "C" => {
                let value = event["args"]["value"].as_i64().expect("a counter counts");
                assert!(value >= 0, "{event}");
                self.counters.entry(name).or_default().push(value);
            }
            phase @ ("s" | "f") => {
                if phase == "f" {
                    assert_eq!(text(event, "bp"), "e", "it binds to the slice around it: {event}");
                }
                text(event, "cat");
                let end = (phase.to_string(), track, nanoseconds(event, "ts"));
                self.flows.entry(text(event, "id").to_string()).or_default().push(end);
            }
            phase => panic!("no event is expected to be a {phase}: {event}"),
        }
        if text(event, "ph") != "M" && text(event, "ph") != "C" {
            assert!(self.names.contains_key(&track), "a track without a name: {event}");
        }
    }

    /// On each track a slice lies inside of another one or beside it.
    fn nests(&self) {
        for (track, slices) in &self.slices {
            let mut open: Vec<&Slice> = Vec::new();
            for slice in slices {
                open.retain(|around| around.end > slice.begin);
                if let Some(around) = open.last() {
                    assert!(slice.end <= around.end, "{track:?}: {slice:?} leaves {around:?}");
                }
                open.push(slice);
            }
        }
    }

    /// The innermost slice at a moment.
    fn slice_at(&self, track: Track, at: i64) -> &str {
        let slices = self.slices.get(&track).map_or(&[][..], Vec::as_slice);
        let around = slices.iter().rev().find(|slice| slice.begin <= at && at < slice.end);
        &around.unwrap_or_else(|| panic!("no slice of {track:?} is there at {at}")).name
    }

    /// The arrows, as pairs of what their ends are bound to.
    fn arrows(&self) -> Vec<(&str, &str)> {
        let arrow = |ends: &Vec<(String, Track, i64)>| {
            let [(s, source, begin), (f, target, end)] = ends.as_slice() else {
                panic!("a flow has two ends: {ends:?}");
            };
            assert_eq!((s.as_str(), f.as_str()), ("s", "f"), "a flow begins before it ends");
            assert!(begin < end, "a flow goes forward: {ends:?}");
            (self.slice_at(*source, *begin), self.slice_at(*target, *end))
        };
        self.flows.values().map(arrow).collect()
    }
}

#[test]
fn a_small_run_is_what_the_format_asks_for() {
    let trace = made::trace();
    let file = File::read(&write(&trace, &made::caption(&trace)));
    let mut found = file.arrows();
    let name = |at: usize| netpoll_traces::text::event(&trace, &trace.records[at]);
    let causes = Causes::of(&trace);
    let arrows = causes.arrows().iter().map(|arrow| (name(arrow.from), name(arrow.to)));
    let arrows: Vec<(String, String)> = arrows.collect();
    let mut expected: Vec<(&str, &str)> =
        arrows.iter().map(|(from, to)| (from.as_str(), to.as_str())).collect();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected, "each arrow is a flow between the slices of its records");
    assert!(found.contains(&("ready g1", "run g1")), "{found:?}");
}

#[test]
fn a_long_run_is_what_the_format_asks_for() {
    let trace = synthetic::trace(4_000);
    let file = File::read(&write(&trace, &Caption::default()));
    assert_eq!(file.arrows().len(), Causes::of(&trace).arrows().len());
    let tracks: Vec<&str> = file.names.values().map(String::as_str).collect();
    for name in ["kernel", "main", "w0", "w3", "sysmon", "g1", "g200", "fd10"] {
        assert!(tracks.contains(&name), "no track is called {name}");
    }
}

#[test]
fn slices_say_who_runs_and_what_is_waited_for() {
    let trace = made::trace();
    let file = File::read(&write(&trace, &made::caption(&trace)));
    let of = |track: &str| {
        let (id, _) = file.names.iter().find(|(_, name)| *name == track).expect("a track");
        let slices = &file.slices[id];
        // Not those that are records.
        let long = slices.iter().filter(|slice| slice.end - slice.begin > 5);
        long.map(|slice| slice.name.as_str()).collect::<Vec<_>>()
    };
    let g1 = [
        "runnable",
        "on w0",
        "parked: read fd5",
        "runnable",
        "on w0",
        "parked: sleep",
        "runnable",
        "on w0",
    ];
    assert_eq!(of("g1"), g1);
    assert_eq!(of("w0"), ["g1", "g2", "g1", "g2", "g1"]);
    let w1 = ["spinning", "polling", "blocked: events of fd3", "polling", "blocked: events of fd3"];
    assert_eq!(of("w1"), w1);
}

#[test]
fn instants_tell_of_edges_slots_faults_and_the_violation() {
    let trace = made::trace();
    let file = File::read(&write(&trace, &made::caption(&trace)));
    let instants: Vec<&str> = file.instants.iter().map(|(_, name)| name.as_str()).collect();
    for name in [
        "edge fd5 IN",
        "read fd5: Nil -> Wait",
        "read fd5: Ready -> Nil",
        "fault io-eintr",
        "violation: readiness",
    ] {
        assert!(instants.contains(&name), "no instant says `{name}`: {instants:?}");
    }
}

#[test]
fn counters_follow_goroutines_waiters_and_descriptors() {
    let trace = made::trace();
    let file = File::read(&write(&trace, &made::caption(&trace)));
    assert_eq!(file.counters["waiters"], [1, 0]);
    assert_eq!(file.counters["open descriptors"], [1, 0]);
    assert_eq!(file.counters["runnable goroutines"], [1, 0, 1, 0, 1, 2, 1, 0, 1, 0]);
}

#[test]
fn a_trace_without_records_or_without_its_beginning_can_be_written() {
    let none = Recorder::new(Keep::All).finish();
    assert_eq!(File::read(&write(&none, &Caption::default())).slices.len(), 0);
    let whole = made::trace();
    for kept in 0..whole.records.len() {
        let mut recorder = Recorder::new(Keep::Last(kept));
        for name in ["main", "w0", "w1"] {
            recorder.add_thread(name);
        }
        for record in &whole.records {
            recorder.record(record.t_ns, ThreadId(record.thread.0), &record.event);
        }
        File::read(&write(&recorder.finish(), &Caption::default())).arrows();
    }
}

#[test]
fn the_same_trace_is_written_the_same() {
    let trace = synthetic::trace(500);
    let caption = Caption::default();
    assert!(write(&trace, &caption) == write(&trace, &caption));
}
