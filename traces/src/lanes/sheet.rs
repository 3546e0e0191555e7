//! The page that lanes are written on, line by line.
//!
//! A change in the margin joins the line above if that is of the same thread and moment and the record
//! just before: the call and what it did to the slot are one line then.

use super::fold::Stretch;
use super::layout::{Layout, Line, wrap};
use super::scene::Scene;
use super::words::{Join, Phrase, Span, phrase};
use crate::{Entry, Record, ThreadId, Trace};
use netpoll::trace::Event;

/// A line that the next record may still join.
struct Row {
    line: Line,
    /// The lifelines, for the lines below if it does not fit into one.
    below: Line,
    thread: ThreadId,
    g: Option<u64>,
    t_ns: u64,
    is_guilty: bool,
    /// Where its text begins.
    at: usize,
    text: String,
    join: Join,
    world: String,
    margin: String,
}

/// See the module documentation.
pub(super) struct Sheet<'a> {
    trace: &'a Trace,
    layout: &'a Layout,
    scene: Scene,
    text: &'a mut String,
    row: Option<Row>,
    /// The thread that ran last. What the kernel does on its own is no switch.
    running: Option<ThreadId>,
    now_ns: u64,
}

impl<'a> Sheet<'a> {
    pub(super) fn new(trace: &'a Trace, layout: &'a Layout, text: &'a mut String) -> Sheet<'a> {
        let now_ns = trace.records.first().map_or(0, |record| record.t_ns);
        let scene = Scene::new(trace);
        Sheet { trace, layout, scene, text, row: None, running: None, now_ns }
    }

    /// What is known after the last record.
    pub(super) fn scene(&self) -> &Scene {
        &self.scene
    }

    /// Passes over a record.
    pub(super) fn skip(&mut self, record: &Record) {
        self.scene.apply(record);
    }

    /// Writes the line of folded records, the last of which this one is.
    pub(super) fn fold(&mut self, stretch: &mut Stretch, last: &Record) {
        self.flush();
        stretch.span_ns = last.t_ns - self.now_ns;
        self.now_ns = last.t_ns;
        self.sentence(&stretch.to_string(), false);
        // Who ran meanwhile is not shown.
        self.running = None;
    }

    /// Writes a sentence over the lanes.
    pub(super) fn sentence(&mut self, sentence: &str, is_guilty: bool) {
        self.flush();
        let at = self.layout.lanes();
        for text in wrap(sentence, self.layout.width - at) {
            let mut line = Line::new(self.layout.width);
            if is_guilty {
                line.mark();
            }
            line.put(at, &text);
            line.print(self.text);
        }
    }

    /// Writes a record.
    pub(super) fn show(&mut self, record: &Record, is_guilty: bool) {
        self.scene.apply(record);
        let phrase = phrase(self.trace, &self.scene, record);
        if !is_guilty && self.joins(record, &phrase) {
            return;
        }
        self.flush();
        self.row = Some(self.row(record, phrase, is_guilty));
    }

    /// Writes a phrase into the line above, if it belongs there.
    fn joins(&mut self, record: &Record, phrase: &Phrase) -> bool {
        let Some(row) = &mut self.row else {
            return false;
        };
        let same = (row.thread, row.t_ns) == (record.thread, record.t_ns);
        if !same || row.is_guilty || !row.world.is_empty() {
            return false;
        }
        let used = row.text.chars().count();
        let room = (self.layout.margin - row.at).saturating_sub(used + 1);
        if !phrase.margin.is_empty() {
            let fits = row.margin.is_empty() && room > 0;
            if fits {
                row.margin.clone_from(&phrase.margin);
            }
            return fits;
        }
        let addition = match phrase.join {
            Join::Never => return false,
            Join::Note => format!(" ({})", phrase.cell),
            // Both are of the same goroutine, which has been named.
            Join::List => {
                let who = record.g.map_or(String::new(), |g| format!("g{g} "));
                let what = phrase.cell.strip_prefix(&who).unwrap_or(&phrase.cell);
                format!(", {what}")
            }
        };
        let comes_in_rows = row.join == Join::List && row.margin.is_empty();
        let fits = match phrase.join {
            Join::List => comes_in_rows && row.g == record.g && addition.len() <= room,
            _ => used > 0 && addition.len() <= room,
        };
        if fits {
            row.text += &addition;
        }
        fits
    }

    fn row(&mut self, record: &Record, phrase: Phrase, is_guilty: bool) -> Row {
        let below = self.layout.line(&self.scene);
        let mut line = below.clone();
        if is_guilty {
            line.mark();
        }
        if record.t_ns != self.now_ns {
            line.time(&format!("+{}", Span(record.t_ns.saturating_sub(self.now_ns))));
            self.now_ns = record.t_ns;
        }
        let (lane, says_who) = self.layout.lane(record.thread);
        let mut at = lane + 2;
        if record.thread == ThreadId::KERNEL {
            line.put(lane, "*");
        } else {
            let goes_on = self.running.replace(record.thread) == Some(record.thread);
            line.put(lane, if goes_on { "│" } else { "▸" });
        }
        let mut text = phrase.cell;
        if let Entry::Runtime(Event::Run { .. }) = record.event {
            line.put(lane + 1, "─");
            if line.is(lane, '│') {
                line.put(lane, "├");
            }
            at += 1;
        }
        if says_who {
            text = format!("{}: {text}", self.trace.thread_name(record.thread));
        }
        text.truncate(text.trim_end().len());
        Row {
            line,
            below,
            thread: record.thread,
            g: record.g,
            t_ns: record.t_ns,
            is_guilty,
            at,
            text,
            join: phrase.join,
            world: phrase.world,
            margin: phrase.margin,
        }
    }

    /// Writes the line that waits, which nothing more will join.
    fn flush(&mut self) {
        let Some(row) = self.row.take() else {
            return;
        };
        let Row { mut line, mut below, is_guilty, at, text, world, margin, .. } = row;
        if is_guilty {
            below.mark();
        }
        let used = at + text.chars().count();
        let lead_from = if text.is_empty() { at - 1 } else { used + 1 };
        if !world.is_empty() {
            let kernel = self.layout.kernel();
            line.say(at, &text);
            line.lead(lead_from, kernel - 1);
            line.put(kernel, "*");
            self.wrapped(line, &below, kernel + 2, &world);
            return;
        }
        if margin.is_empty() {
            self.wrapped(line, &below, at, &text);
            return;
        }
        let column = self.layout.margin;
        if used < column {
            line.say(at, &text);
            if text.chars().count() < 5 {
                line.lead(lead_from, column - 1);
            }
            self.wrapped(line, &below, column, &margin);
        } else {
            self.wrapped(line, &below, at, &text);
            let mut line = below.clone();
            line.lead(at - 1, column - 1);
            self.wrapped(line, &below, column, &margin);
        }
    }

    /// Writes a text from a column on, in as many lines as it takes.
    fn wrapped(&mut self, mut line: Line, below: &Line, at: usize, text: &str) {
        let width = self.layout.width - at;
        if text.chars().count() <= width {
            line.say(at, text);
            line.print(self.text);
            return;
        }
        for text in wrap(text, width) {
            line.say(at, &text);
            line.print(self.text);
            line.clone_from(below);
        }
    }

    /// Writes what waits.
    pub(super) fn finish(mut self) {
        self.flush();
    }
}
