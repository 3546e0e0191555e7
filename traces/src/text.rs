//! Traces as text: one line a record, columns aligned.
//!
//! ```text
//! # time since the start of the clock, thread, goroutine, what happened
//! t=1000µs  main    -   spawn thread #1
//! t=1002µs  w0      g7  read fd4: Nil -> Wait
//! t=1003µs  kernel  -   edge fd4 IN
//! ```
//!
//! The text is a function of the trace alone: no addresses, no host times, no hash order.

use std::fmt::Write;

use netpoll::trace::Micros;

use crate::{BlockedOn, Entry, Record, Trace, WorldEvent};

/// The first line of every rendering.
const LEGEND: &str = "# time since the start of the clock, thread, goroutine, what happened";

/// Prints a trace.
#[must_use]
pub fn render(trace: &Trace) -> String {
    let rows: Vec<[String; 4]> = trace.records.iter().map(|r| row(trace, r)).collect();
    let width = |column: usize| {
        let widths = rows.iter().map(|row| row[column].chars().count());
        widths.max().unwrap_or(0)
    };
    let (time_width, thread_width, g_width) = (width(0), width(1), width(2));
    let mut text = format!("{LEGEND}\n");
    if trace.dropped > 0 {
        writeln!(text, "# {} earlier records were not kept", trace.dropped).expect("to a String");
    }
    for [time, thread, g, event] in &rows {
        writeln!(text, "{time:time_width$}  {thread:thread_width$}  {g:g_width$}  {event}")
            .expect("to a String");
    }
    text
}

/// What a record says, with threads by their names.
#[must_use]
pub fn event(trace: &Trace, record: &Record) -> String {
    match record.event {
        Entry::World(WorldEvent::Spawn { thread }) => {
            format!("spawn {}", trace.thread_name(thread))
        }
        Entry::World(WorldEvent::Block { on: BlockedOn::Join(thread), .. }) => {
            format!("block: end of {}", trace.thread_name(thread))
        }
        event => event.to_string(),
    }
}

/// The four cells of a record.
fn row(trace: &Trace, record: &Record) -> [String; 4] {
    [
        format!("t={}", Micros(record.t_ns)),
        trace.thread_name(record.thread).to_string(),
        record.g.map_or_else(|| "-".to_string(), |g| format!("g{g}")),
        event(trace, record),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Keep, Recorder, ThreadId};
    use netpoll::trace::{Event, Mode, SlotState};

    #[test]
    fn a_trace_prints_one_aligned_line_a_record() {
        let mut recorder = Recorder::new(Keep::All);
        recorder.add_thread("main");
        recorder.add_thread("netpoll-w1");
        let spawn = WorldEvent::Spawn { thread: ThreadId(1) };
        recorder.record(90_500, ThreadId::MAIN, &spawn.into());
        recorder.record(119_000, ThreadId(1), &Event::Run { g: 7 }.into());
        let (mode, from, to) = (Mode::Read, SlotState::Nil, SlotState::Wait);
        let wait = Event::Slot { pd: 0, fd: 4, mode, from, to };
        recorder.record(120_000, ThreadId(1), &wait.into());
        let ready = libc::EPOLLIN as u32;
        let edge = WorldEvent::Edge { fd: 4, file: 1, ready, wakeup: ready };
        recorder.record(1_120_000, ThreadId::KERNEL, &edge.into());
        let expected = "\
# time since the start of the clock, thread, goroutine, what happened
t=90.5µs  main    -   spawn w1
t=119µs   w1      g7  run g7
t=120µs   w1      g7  read fd4: Nil -> Wait
t=1120µs  kernel  -   edge fd4 IN
";
        assert_eq!(render(&recorder.finish()), expected);
    }

    #[test]
    fn a_shortened_trace_says_so() {
        let mut recorder = Recorder::new(Keep::Last(1));
        recorder.add_thread("main");
        for g in 1..=3 {
            recorder.record(g, ThreadId::MAIN, &Event::Go { g }.into());
        }
        let text = render(&recorder.finish());
        assert!(text.contains("# 2 earlier records were not kept"), "{text}");
    }
}
