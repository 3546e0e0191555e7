//! Traces as lanes: who did what, side by side, for people who review a run.
//!
//! ```text
//!         time others   w0               w1               kernel/timers descriptors
//!       +1.1µs          │                ▸─ run g4        │
//! ```
//!
//! Time runs downwards, one line for what happened at a time. Each worker has a lane, and so has the
//! kernel with the timers; all other threads share one. What becomes of descriptors stands in the
//! margin on the right. The line at which something was violated is marked with `>>`, and what was
//! violated stands beneath it, with what everybody did at that moment.
//!
//! # Made to be compared
//!
//! Renderings are kept and looked at as differences. So a line depends on little beside its record:
//! columns on who there is and on nothing else; times are counted from the line above, and those in
//! texts from now; nothing is numbered. An event more is a line more.
//!
//! `layout.rs` has the columns, `words.rs` the texts, `scene.rs` what they have to know of the records
//! before, `fold.rs` which records are shown, `sheet.rs` puts them together.

mod fold;
mod layout;
mod scene;
mod sheet;
#[cfg(test)]
mod tests;
mod words;

use std::fmt::Write;

use netpoll::trace::{Micros, Mode};

use self::fold::{Fate, Stretch, fates, is_worth_a_line};
use self::layout::{Layout, wrap};
use self::scene::{Doing, Scene};
use self::sheet::Sheet;
use self::words::Slot;
use crate::{Caption, Guilt, Trace};

/// How lanes are rendered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Whether what is of little interest becomes one line that says what it was.
    pub fold: bool,
    /// How many columns there are. Fewer than 80 are not enough.
    pub width: usize,
}

impl Default for Options {
    /// Folded, and as wide as our sources.
    fn default() -> Options {
        Options { fold: true, width: 100 }
    }
}

/// What the marks mean. The same for every trace.
const LEGEND: [&str; 2] = [
    "time: since the line above; │ can run, ┆ sleeps; ▸ switch to this thread, ├─ to a goroutine;",
    "* the kernel, a timer or a fault; #3 and pd#2 of the log appear as goroutine and descriptor",
];
/// What is not shown when lanes are folded, beside what is counted in lines of its own.
const LEGEND_FOLDED: &str = "not shown where brief: use, leave, waiters, pauses of sysmon, rounds of workers that find nothing";

/// Prints a trace.
#[must_use]
pub fn render(trace: &Trace, caption: &Caption, options: &Options) -> String {
    let layout = Layout::new(trace, options.width);
    let mut text = String::with_capacity(trace.records.len() * 64);
    banner(trace, caption, layout.width, &mut text);
    let folded = options.fold.then_some(LEGEND_FOLDED);
    for line in LEGEND.into_iter().chain(folded) {
        paragraph("# ", line, layout.width, &mut text);
    }
    text.push('\n');
    layout.heading().print(&mut text);
    let guilt = caption.guilt.as_ref();
    let fates = match options.fold {
        true => fates(trace, guilt),
        false => vec![Fate::Shown; trace.records.len()],
    };
    body(trace, guilt, &fates, Sheet::new(trace, &layout, &mut text));
    if !caption.end.is_empty() {
        text.push('\n');
        paragraph("# ", &caption.end, layout.width, &mut text);
    }
    text
}

/// What ran, and what it violated.
fn banner(trace: &Trace, caption: &Caption, width: usize, text: &mut String) {
    paragraph("# ", &caption.title, width, text);
    if trace.dropped > 0 {
        writeln!(text, "# {} earlier records were not kept", trace.dropped).expect("to a String");
    }
    let Some(guilt) = &caption.guilt else {
        return;
    };
    paragraph("!! ", &format!("VIOLATED {}", guilt.property), width, text);
    paragraph("!! ", &guilt.sentence, width, text);
    let record = guilt.at.and_then(|at| trace.records.get(at));
    let place = match record {
        Some(record) => {
            let by = match record.g {
                Some(g) => format!("g{g} on {}", trace.thread_name(record.thread)),
                None => trace.thread_name(record.thread).to_string(),
            };
            format!("where: t={}, by {by}: the line marked >>", Micros(record.t_ns))
        }
        None => "where: it shows at the end only, marked >>".to_string(),
    };
    paragraph("!! ", &place, width, text);
}

/// Writes a text in lines that begin like this.
fn paragraph(prefix: &str, paragraph: &str, width: usize, text: &mut String) {
    for line in wrap(paragraph, width - prefix.len()) {
        writeln!(text, "{prefix}{line}").expect("to a String");
    }
}

fn body(trace: &Trace, guilt: Option<&Guilt>, fates: &[Fate], mut sheet: Sheet<'_>) {
    let guilty = guilt.and_then(|guilt| guilt.at);
    let mut records = trace.records.iter().enumerate().zip(fates).peekable();
    let stretches = fates.chunk_by(|a, b| (*a == Fate::Shown) == (*b == Fate::Shown));
    for fates in stretches {
        let part = records.by_ref().take(fates.len());
        if fates[0] == Fate::Shown {
            for ((at, record), _) in part {
                sheet.show(record, guilty == Some(at));
                if let Some(guilt) = guilt
                    && guilt.at == Some(at)
                {
                    verdict(guilt, &mut sheet);
                }
            }
            continue;
        }
        let mut stretch = Stretch::default();
        let mut last = None;
        for ((_, record), fate) in part {
            if let Fate::Folded(kind) | Fate::Quiet(kind) = fate {
                stretch.add(*kind);
            }
            sheet.skip(record);
            last = Some(record);
        }
        if let Some(last) = last
            && is_worth_a_line(fates)
        {
            sheet.fold(&mut stretch, last);
        }
    }
    if let Some(guilt) = guilt
        && guilt.at.is_none_or(|at| at >= trace.records.len())
    {
        verdict(guilt, &mut sheet);
    }
    sheet.finish();
}

/// Writes what was violated beneath the line where it was, and what everybody did then.
fn verdict(guilt: &Guilt, sheet: &mut Sheet<'_>) {
    sheet.sentence(&format!("^ {}", guilt.sentence), true);
    for line in moment(sheet.scene(), guilt.fd) {
        sheet.sentence(&format!("  {line}"), true);
    }
}

/// What goroutines do, and the slots of the descriptor that matters.
fn moment(scene: &Scene, fd: Option<i32>) -> Vec<String> {
    let (mut running, mut runnable, mut parked) = (Vec::new(), Vec::new(), Vec::new());
    for (g, doing) in scene.goroutines() {
        match doing {
            Doing::Running(_) => running.push(format!("g{g}")),
            Doing::Runnable => runnable.push(format!("g{g}")),
            Doing::Parked(on) => parked.push(format!("g{g} ({on})")),
        }
    }
    let lists = [("running", running), ("runnable", runnable), ("parked", parked)];
    let mut lines: Vec<String> = lists
        .into_iter()
        .filter(|(_, list)| !list.is_empty())
        .map(|(what, list)| format!("{what}: {}", few(list)))
        .collect();
    if let Some(fd) = fd {
        let slots = [Mode::Read, Mode::Write]
            .into_iter()
            .filter_map(|mode| Some((mode, scene.slot(fd, mode)?)))
            .map(|(mode, state)| format!("{mode} {}", Slot(scene, state)));
        let slots: Vec<String> = slots.collect();
        let slots = if slots.is_empty() { "closed".to_string() } else { slots.join(", ") };
        lines.push(format!("fd{fd}: {slots}"));
    }
    lines
}

/// A list, of which no more is said than fits into a few lines.
fn few(mut list: Vec<String>) -> String {
    const FEW: usize = 12;
    let more = list.len().saturating_sub(FEW);
    list.truncate(FEW);
    match more {
        0 => list.join(", "),
        _ => format!("{} and {more} more", list.join(", ")),
    }
}
