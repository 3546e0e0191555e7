//! The trace as the page's script reads it.

use std::collections::HashMap;
use std::fmt::Write;

use crate::actors::{Actor, Actors, Doing, Lane, Stretch};
use crate::causes::{Causes, Why};
use crate::json::{Quoted, array};
use crate::look::{Kind, Line, THREAD_COLOURS};
use crate::{Caption, ThreadId, Trace, text};

/// One JSON object with everything that the page shows.
pub(super) fn json(trace: &Trace, caption: &Caption) -> String {
    let actors = Actors::of(trace);
    let causes = Causes::of(trace);
    let records = &trace.records;
    let mut out = String::with_capacity(64 * records.len() + 4096);
    out.push('{');
    head(&mut out, trace, caption);

    let mut texts = Texts::default();
    let events: Vec<usize> = records.iter().map(|r| texts.place(text::event(trace, r))).collect();
    key(&mut out, "texts");
    array(&mut out, texts.all.iter().map(|text| Quoted(text)));
    key(&mut out, "event");
    array(&mut out, events);
    key(&mut out, "time");
    array(&mut out, differences(records.iter().map(|record| record.t_ns.cast_signed())));
    key(&mut out, "kind");
    array(&mut out, records.iter().map(|record| Kind::of(&record.event) as usize));
    key(&mut out, "thread");
    array(&mut out, records.iter().map(|record| record.thread.0));
    key(&mut out, "lane");
    array(&mut out, &actors.of);

    lanes(&mut out, trace, &actors.lanes);
    arrows(&mut out, &causes);
    key(&mut out, "reason");
    let reasons = causes.reasons(&actors);
    let back = reasons.iter().enumerate().map(|(at, from)| from.map_or(0, |from| at - from));
    array(&mut out, back);
    out.push('}');
    out
}

/// Begins a member of the object; never its first one.
fn key(out: &mut String, name: &str) {
    write!(out, ",\n\"{name}\":").expect("to a String");
}

/// What does not grow with the trace.
fn head(out: &mut String, trace: &Trace, caption: &Caption) {
    let (title, end) = (Quoted(&caption.title), Quoted(&caption.end));
    write!(out, "\"title\":{title},\"end\":{end},\"dropped\":{}", trace.dropped)
        .expect("to a String");
    key(out, "guilt");
    match &caption.guilt {
        None => out.push_str("null"),
        Some(guilt) => {
            let (property, sentence) = (Quoted(&guilt.property), Quoted(&guilt.sentence));
            let number = |number: Option<i64>| number.map_or("null".to_string(), |n| n.to_string());
            // A record that is not there cannot be shown, nor can the page make up another one.
            let at = guilt.at.filter(|&at| at < trace.records.len());
            let at = number(at.map(|at| at as i64));
            let g = number(guilt.g.map(u64::cast_signed));
            let fd = number(guilt.fd.map(i64::from));
            write!(
                out,
                "{{\"property\":{property},\"sentence\":{sentence},\"at\":{at},\"g\":{g},\"fd\":{fd}}}"
            )
            .expect("to a String");
        }
    }
    key(out, "threads");
    array(out, trace.threads.iter().map(|name| Quoted(name)));
    key(out, "kinds");
    let kinds = Kind::ALL.map(|kind| format!("[\"{}\",\"{}\"]", kind.name(), kind.path()));
    array(out, kinds);
    key(out, "lines");
    let lines = Line::ALL.map(|line| format!("[\"{}\",{:?}]", line.name(), line.dashes()));
    array(out, lines);
    key(out, "whys");
    array(out, Why::ALL.map(|why| format!("[\"{why}\",{}]", Line::of(why) as usize)));
}

/// Name, sort (0 kernel, 1 thread, 2 goroutine), begin, end, stretches, blocks of each lane, and what
/// the stretches are about.
fn lanes(out: &mut String, trace: &Trace, lanes: &[Lane]) {
    let mut doings = Texts::default();
    let mut places = |actor: Actor, stretches: &[Stretch]| {
        let mut numbers = Vec::with_capacity(3 * stretches.len());
        let mut last = 0;
        for stretch in stretches {
            let place = doings.place(doing(trace, actor, &stretch.doing));
            numbers.extend([stretch.from - last, stretch.to - stretch.from, place]);
            last = stretch.from;
        }
        numbers
    };
    key(out, "lanes");
    let lanes = lanes.iter().map(|lane| {
        let sort = match lane.actor {
            Actor::Thread(ThreadId::KERNEL) => 0,
            Actor::Thread(_) => 1,
            Actor::Goroutine(_) => 2,
        };
        let name = lane.name(trace);
        let (name, from, to) = (Quoted(&name), lane.from, lane.to);
        let mut text = format!("[{name},{sort},{from},{to},");
        array(&mut text, places(lane.actor, &lane.stretches));
        text.push(',');
        array(&mut text, places(lane.actor, &lane.blocks));
        text.push(']');
        text
    });
    array(out, lanes);
    key(out, "doings");
    array(out, doings.all);
}

/// How a stretch is drawn, the number of its thread's colour, its label. A thread and the goroutines
/// that it runs have one colour.
fn doing(trace: &Trace, actor: Actor, doing: &Doing) -> String {
    let (style, thread) = match (*doing, actor) {
        (Doing::Running(_), Actor::Thread(thread)) | (Doing::On(thread), _) => (0, thread.0),
        (Doing::Running(_), Actor::Goroutine(_)) => (0, 0),
        (Doing::Phase(_), _) => (1, 0),
        (Doing::Blocked(_), _) => (2, 0),
        (Doing::Runnable, _) => (3, 0),
        (Doing::Parked(_), _) => (4, 0),
    };
    let colour = usize::from(thread) % THREAD_COLOURS;
    format!("[{style},{colour},{}]", Quoted(&doing.label(trace)))
}

/// Ends (as differences), lengths and reasons of the arrows.
fn arrows(out: &mut String, causes: &Causes) {
    let arrows = causes.arrows();
    key(out, "arrows");
    out.push('[');
    array(out, differences(arrows.iter().map(|arrow| arrow.to as i64)));
    out.push(',');
    array(out, arrows.iter().map(|arrow| arrow.to - arrow.from));
    out.push(',');
    array(out, arrows.iter().map(|arrow| arrow.why as usize));
    out.push(']');
}

/// Each number less the one before it.
fn differences(numbers: impl Iterator<Item = i64>) -> impl Iterator<Item = i64> {
    numbers.scan(0, |last, number| Some(number - std::mem::replace(last, number)))
}

/// Texts, each kept once.
#[derive(Debug, Default)]
struct Texts {
    all: Vec<String>,
    places: HashMap<String, usize>,
}

impl Texts {
    fn place(&mut self, text: String) -> usize {
        if let Some(&place) = self.places.get(&text) {
            return place;
        }
        let place = self.all.len();
        self.all.push(text.clone());
        self.places.insert(text, place);
        place
    }
}
