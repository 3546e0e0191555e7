//! A window of a trace as a static picture, for documents.
//!
//! It speaks the language of the page (the same marks, bars, arrows and colours) but turns it: time
//! runs downwards, one row a record, and the whole line of text stands beside its mark. A document has no
//! tooltips and is as wide as a page; turned like this nothing has to be cut off and nothing to be
//! scaled down until it cannot be read.

use std::fmt::Write;
use std::ops::Range;

use netpoll::trace::Micros;

use crate::actors::{Actor, Actors, Doing, Lane, Stretch};
use crate::causes::{Arrow, Causes};
use crate::html::escape;
use crate::look::{self, Kind, Line, THREAD_COLOURS};
use crate::{Caption, Trace, text};

/// How many records a picture shows if nobody says which.
pub const WINDOW: usize = 60;

const MARGIN: usize = 16;
const ROW: usize = 19;
const COLUMN: usize = 46;
/// Width of a character of the text, in tenths: monospaced, 12 pixels high.
const CHARACTER_TENTHS: usize = 73;
/// How much of a story behind the guilty record is drawn strongly.
const STORY: usize = 24;

/// Draws the records around the guilty one, two thirds of them before it; without one, the first ones.
#[must_use]
pub fn render(trace: &Trace, caption: &Caption) -> String {
    let guilty = caption.guilt.as_ref().and_then(|guilt| guilt.at);
    let end = guilty.map_or(WINDOW, |at| (at + WINDOW / 3).max(WINDOW)).min(trace.records.len());
    render_range(trace, caption, end.saturating_sub(WINDOW)..end)
}

/// Draws the records of a range, as far as there are any.
#[must_use]
pub fn render_range(trace: &Trace, caption: &Caption, range: Range<usize>) -> String {
    let end = range.end.min(trace.records.len());
    let range = range.start.min(end)..end;
    Picture::new(trace, caption, range).draw()
}

/// What is drawn, and where.
struct Picture<'a> {
    trace: &'a Trace,
    caption: &'a Caption,
    range: Range<usize>,
    actors: Actors,
    causes: Causes,
    /// The lanes that have a column.
    columns: Vec<usize>,
    /// The records that tell why the guilty one happened, itself included.
    story: Vec<usize>,
    /// Where the rows begin.
    top: usize,
    out: String,
}

impl<'a> Picture<'a> {
    fn new(trace: &'a Trace, caption: &'a Caption, range: Range<usize>) -> Picture<'a> {
        let actors = Actors::of(trace);
        let causes = Causes::of(trace);
        let guilty = caption.guilt.as_ref().and_then(|guilt| guilt.at);
        let guilty = guilty.filter(|&at| at < trace.records.len());
        let reasons = causes.reasons(&actors);
        let story = guilty.map_or(Vec::new(), |at| Causes::story(&reasons, at, STORY));
        let mut picture = Picture {
            trace,
            caption,
            range,
            actors,
            causes,
            columns: Vec::new(),
            story,
            top: 0,
            out: String::new(),
        };
        picture.columns = picture.columns();
        let head = if caption.guilt.is_some() { 5 } else { 3 };
        picture.top = MARGIN + head * ROW + 14;
        picture
    }

    /// Who does something in the window or is accused.
    fn columns(&self) -> Vec<usize> {
        let accused = self.caption.guilt.as_ref().and_then(|guilt| guilt.g).map(Actor::Goroutine);
        let is_shown = |place: &usize| {
            let lane = &self.actors.lanes[*place];
            let acts = self.actors.of[self.range.clone()].contains(place);
            let runs = |stretch: &Stretch| {
                let is_inside = stretch.from < self.range.end && stretch.to > self.range.start;
                is_inside && matches!(stretch.doing, Doing::Running(_) | Doing::On(_))
            };
            acts || Some(lane.actor) == accused || lane.stretches.iter().any(runs)
        };
        (0..self.actors.lanes.len()).filter(is_shown).collect()
    }

    fn x(&self, lane: usize) -> Option<usize> {
        let column = self.columns.iter().position(|&column| column == lane)?;
        Some(self.lines() + COLUMN / 2 + column * COLUMN)
    }

    /// The left edge of the columns: behind the times.
    fn lines(&self) -> usize {
        let records = &self.trace.records[self.range.clone()];
        let widths = records.iter().map(|record| Micros(record.t_ns).to_string().chars().count());
        MARGIN + width(widths.max().unwrap_or(0)) + 8
    }

    fn texts(&self) -> usize {
        self.lines() + self.columns.len() * COLUMN + 14
    }

    /// The middle of a record's row; those outside the window are at its edges.
    fn y(&self, at: usize) -> usize {
        let row = at.clamp(self.range.start, self.range.end) - self.range.start;
        let half = if at < self.range.start || at >= self.range.end { 0 } else { ROW / 2 };
        self.top + row * ROW + half
    }

    fn line(&self, at: usize) -> String {
        let record = &self.trace.records[at];
        let thread = self.trace.thread_name(record.thread);
        let who = record.g.map_or(thread.to_string(), |g| format!("{thread} g{g}"));
        format!("{who}: {}", text::event(self.trace, record))
    }

    fn draw(mut self) -> String {
        let longest = self.range.clone().map(|at| self.line(at).chars().count()).max();
        let title = self.caption.title.chars().count().max(self.caption.end.chars().count());
        let sentence =
            self.caption.guilt.as_ref().map_or(0, |guilt| guilt.sentence.chars().count());
        let head = MARGIN + width(title.max(sentence)) + 14;
        let whole = (self.texts() + width(longest.unwrap_or(0)) + 8).max(head) + MARGIN;
        let height = self.top + self.range.len() * ROW + MARGIN;
        let title = escape(&self.caption.title);
        self.put(format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"netpoll\" viewBox=\"0 0 {whole} {height}\" \
             width=\"{whole}\" height=\"{height}\" role=\"img\" aria-label=\"{title}\">\n"
        ));
        self.style();
        self.put(format_args!(
            "<rect class=\"back\" width=\"{whole}\" height=\"{height}\" rx=\"8\"/>\n"
        ));
        self.head(whole);
        self.grid(whole);
        for column in self.columns.clone() {
            self.lane(column);
        }
        self.arrows();
        for at in self.range.clone() {
            self.record(at);
        }
        self.put(format_args!("</svg>\n"));
        self.out
    }

    fn style(&mut self) {
        let (light, dark) = (look::declarations(false), look::declarations(true));
        self.put(format_args!(
            "<style>\n.netpoll{{{light}}}\n@media (prefers-color-scheme:dark){{.netpoll{{{dark}}}}}\n{STYLE}"
        ));
        for kind in Kind::ALL {
            let name = kind.name();
            self.put(format_args!(".netpoll .{name}{{fill:var(--{name})}}\n"));
        }
        for line in Line::ALL {
            let (name, dashes) = (line.name(), line.dashes());
            let dashes: Vec<String> = dashes.iter().map(u32::to_string).collect();
            let dashes = if dashes.is_empty() { "none".to_string() } else { dashes.join(" ") };
            self.put(format_args!(
                ".netpoll .line-{name}{{stroke:var(--line-{name});stroke-dasharray:{dashes}}}\n\
                 .netpoll .head-{name}{{fill:var(--line-{name})}}\n"
            ));
        }
        for number in 0..THREAD_COLOURS {
            self.put(format_args!(".netpoll .thread-{number}{{fill:var(--thread-{number})}}\n"));
        }
        self.put(format_args!("</style>\n<defs>\n"));
        for line in Line::ALL {
            let name = line.name();
            self.put(format_args!(
                "<marker id=\"netpoll-{name}\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"8\" \
                 markerHeight=\"8\" markerUnits=\"userSpaceOnUse\" orient=\"auto\">\
                 <path class=\"head-{name}\" d=\"M0 0.6L8 4L0 7.4Z\"/></marker>\n"
            ));
        }
        for kind in Kind::ALL {
            let (name, path) = (kind.name(), kind.path());
            self.put(format_args!("<path id=\"netpoll-{name}\" d=\"{path}\"/>\n"));
        }
        self.put(format_args!("</defs>\n"));
    }

    /// Title, end and violation.
    fn head(&mut self, whole: usize) {
        let (title, end) = (escape(&self.caption.title), escape(&self.caption.end));
        let mut y = MARGIN + 12;
        self.put(format_args!("<text class=\"title\" x=\"{MARGIN}\" y=\"{y}\">{title}</text>\n"));
        y += ROW;
        let (from, to) = (self.range.start, self.range.end.saturating_sub(1));
        let all = self.trace.records.len();
        let part = if self.range.len() < all {
            format!(" (records {from} to {to} of {all})")
        } else {
            String::new()
        };
        self.put(format_args!(
            "<text class=\"muted\" x=\"{MARGIN}\" y=\"{y}\">{end}{part}</text>\n"
        ));
        if let Some(guilt) = &self.caption.guilt {
            let (property, sentence) = (escape(&guilt.property), escape(&guilt.sentence));
            let (top, wide) = (y + 9, whole - 2 * MARGIN);
            let (first, second) = (top + 15, top + 15 + 16);
            let x = MARGIN + 12;
            self.put(format_args!(
                "<rect class=\"guilt-back\" x=\"{MARGIN}\" y=\"{top}\" width=\"{wide}\" height=\"38\" rx=\"3\"/>\n\
                 <rect class=\"guilt\" x=\"{MARGIN}\" y=\"{top}\" width=\"4\" height=\"38\"/>\n\
                 <text class=\"accused\" x=\"{x}\" y=\"{first}\">\u{2715} {property}</text>\n\
                 <text x=\"{x}\" y=\"{second}\">{sentence}</text>\n"
            ));
        }
    }

    /// Names of the columns, stripes, and the row of the guilty record.
    fn grid(&mut self, whole: usize) {
        let wide = whole - 2 * MARGIN;
        for at in self.range.clone() {
            let y = self.y(at) - ROW / 2;
            let class = match self.is_guilty(at) {
                true => "guilt-back",
                false if (at - self.range.start).is_multiple_of(2) => "stripe",
                false => continue,
            };
            self.put(format_args!(
                "<rect class=\"{class}\" x=\"{MARGIN}\" y=\"{y}\" width=\"{wide}\" height=\"{ROW}\"/>\n"
            ));
        }
        let y = self.top - 7;
        let accused = self.caption.guilt.as_ref().and_then(|guilt| guilt.g).map(Actor::Goroutine);
        for column in self.columns.clone() {
            let x = self.x(column).expect("a column has a place");
            let lane = &self.actors.lanes[column];
            let class = if Some(lane.actor) == accused { "name accused" } else { "name" };
            let name = escape(&lane.name(self.trace));
            self.put(format_args!("<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{name}</text>\n"));
        }
    }

    /// The line of an actor with its stretches.
    fn lane(&mut self, place: usize) {
        let x = self.x(place).expect("a column has a place");
        let Lane { actor, from, to, stretches, blocks } = self.actors.lanes[place].clone();
        let range = self.range.clone();
        let is_inside = |stretch: &&Stretch| stretch.from < range.end && stretch.to > range.start;
        if let Actor::Thread(_) = actor
            && from < range.end
        {
            let (y1, y2) = (self.y(from), self.y(to));
            self.put(format_args!("<path class=\"life\" d=\"M{x} {y1}V{y2}\"/>\n"));
        }
        let shown: Vec<Stretch> = stretches.iter().filter(is_inside).copied().collect();
        let blocks: Vec<Stretch> = blocks.iter().filter(is_inside).copied().collect();
        for stretch in shown.iter().chain(&blocks) {
            let (y1, y2) = (self.y(stretch.from), self.y(stretch.to));
            let (high, label) = (y2 - y1, escape(&stretch.doing.label(self.trace)));
            let thread = match (stretch.doing, actor) {
                (Doing::Running(_), Actor::Thread(thread)) | (Doing::On(thread), _) => thread.0,
                _ => 0,
            };
            match stretch.doing {
                Doing::Running(_) | Doing::On(_) => {
                    let (x, number) = (x - 4, usize::from(thread) % THREAD_COLOURS);
                    self.put(format_args!(
                        "<rect class=\"thread-{number}\" x=\"{x}\" y=\"{y1}\" width=\"8\" height=\"{high}\"><title>{label}</title></rect>\n"
                    ));
                    self.label(x + 12, y1, high, &label);
                }
                Doing::Blocked(_) => {
                    let x = x - 6;
                    self.put(format_args!(
                        "<rect class=\"block\" x=\"{x}\" y=\"{y1}\" width=\"12\" height=\"{high}\"><title>{label}</title></rect>\n"
                    ));
                }
                Doing::Runnable | Doing::Phase(_) | Doing::Parked(_) => {
                    let class = match stretch.doing {
                        Doing::Runnable => "runnable",
                        Doing::Phase(_) => "phase",
                        _ => "parked",
                    };
                    self.put(format_args!(
                        "<path class=\"{class}\" d=\"M{x} {y1}V{y2}\"><title>{label}</title></path>\n"
                    ));
                }
            }
        }
    }

    /// What a bar says, if it is long enough not to run into its marks.
    fn label(&mut self, x: usize, y: usize, high: usize, label: &str) {
        if high >= 2 * ROW {
            let y = y + ROW + ROW / 2 + 4;
            self.put(format_args!("<text class=\"label\" x=\"{x}\" y=\"{y}\">{label}</text>\n"));
        }
    }

    /// The arrows between records of the window, those of the story last and strong.
    fn arrows(&mut self) {
        let is_inside =
            |arrow: &&Arrow| self.range.contains(&arrow.from) && self.range.contains(&arrow.to);
        let arrows: Vec<Arrow> = self.causes.arrows().iter().filter(is_inside).copied().collect();
        for is_strong in [false, true] {
            for arrow in &arrows {
                let ends = [arrow.from, arrow.to];
                if ends.iter().all(|end| self.story.contains(end)) == is_strong {
                    self.arrow(arrow, is_strong);
                }
            }
        }
    }

    fn arrow(&mut self, arrow: &Arrow, is_strong: bool) {
        let lanes = [arrow.from, arrow.to].map(|at| self.x(self.actors.of[at]));
        let [Some(x1), Some(x2)] = lanes else { return };
        let (y1, y2) = (self.y(arrow.from), self.y(arrow.to));
        let name = Line::of(arrow.why).name();
        let class = if is_strong { "arrow story" } else { "arrow" };
        let path = if x1 == x2 {
            // Beside its own line, further away the longer it is; neighbours keep apart.
            let bow = x1 + 14 + ((y2 - y1) / 12).min(10) + arrow.from % 3 * 4;
            format!("M{} {y1}C{bow} {y1} {bow} {y2} {} {y2}", x1 + 5, x2 + 6)
        } else {
            let reach = ((y2 - y1) / 2).min(46);
            let (end, side) = (y2 - 5, if x2 > x1 { x2 - 2 } else { x2 + 2 });
            format!("M{x1} {y1}C{x1} {} {side} {} {side} {end}", y1 + reach, y2 - reach)
        };
        let why = arrow.why;
        self.put(format_args!(
            "<path class=\"{class} line-{name}\" marker-end=\"url(#netpoll-{name})\" d=\"{path}\"><title>{why}</title></path>\n"
        ));
    }

    fn record(&mut self, at: usize) {
        let record = &self.trace.records[at];
        let y = self.y(at);
        let (base, time) = (y + 4, Micros(record.t_ns));
        let x = self.x(self.actors.of[at]).expect("who acts has a column");
        let is_new = at == self.range.start || self.trace.records[at - 1].t_ns != record.t_ns;
        let (times, texts) = (self.lines() - 8, self.texts());
        if is_new {
            self.put(format_args!(
                "<text class=\"time\" x=\"{times}\" y=\"{base}\">{time}</text>\n"
            ));
        }
        let kind = Kind::of(&record.event).name();
        self.put(format_args!(
            "<use class=\"mark {kind}\" href=\"#netpoll-{kind}\" x=\"{x}\" y=\"{y}\"/>\n"
        ));
        if self.is_guilty(at) {
            self.put(format_args!("<circle class=\"ring\" cx=\"{x}\" cy=\"{y}\" r=\"9\"/>\n"));
        }
        let class = match (self.is_guilty(at), self.story.contains(&at)) {
            (true, _) => " class=\"accused\"",
            (false, true) => " class=\"strong\"",
            (false, false) => "",
        };
        let line = self.line(at);
        let line = escape(&line);
        let cross = if self.is_guilty(at) { " \u{2715}" } else { "" };
        self.put(format_args!("<text{class} x=\"{texts}\" y=\"{base}\">{line}{cross}</text>\n"));
    }

    fn is_guilty(&self, at: usize) -> bool {
        self.caption.guilt.as_ref().is_some_and(|guilt| guilt.at == Some(at))
    }

    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        self.out.write_fmt(text).expect("to a String");
    }
}

fn width(characters: usize) -> usize {
    (characters * CHARACTER_TENTHS).div_ceil(10)
}

const STYLE: &str = "\
.netpoll text{font:12px ui-monospace,'SF Mono',Menlo,Consolas,'DejaVu Sans Mono',monospace;fill:var(--text);white-space:pre}
.netpoll .title{font-weight:bold;font-size:13px}
.netpoll .muted,.netpoll .time{fill:var(--muted)}
.netpoll .time{text-anchor:end}
.netpoll .name{text-anchor:middle;font-weight:bold}
.netpoll .label{font-size:10px;fill:var(--muted)}
.netpoll .strong{font-weight:bold}
.netpoll .accused{font-weight:bold;fill:var(--guilt)}
.netpoll .back{fill:var(--back)}
.netpoll .stripe{fill:var(--stripe)}
.netpoll .guilt{fill:var(--guilt)}
.netpoll .guilt-back{fill:var(--guilt-back)}
.netpoll .life{fill:none;stroke:var(--rule)}
.netpoll .block{fill:none;stroke:var(--edge)}
.netpoll .runnable{fill:none;stroke:var(--edge);stroke-width:3;stroke-dasharray:3 3}
.netpoll .phase{fill:none;stroke:var(--edge);stroke-width:3;stroke-dasharray:1.5 3.5}
.netpoll .parked{fill:none;stroke:var(--edge);stroke-width:1.5}
.netpoll .mark{stroke:var(--back);stroke-width:2;paint-order:stroke}
.netpoll .ring{fill:none;stroke:var(--guilt);stroke-width:2.5}
.netpoll .arrow{fill:none;stroke-width:1.25;opacity:.7}
.netpoll .story{stroke-width:2.25;opacity:1}
";
