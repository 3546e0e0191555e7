//! Where what stands: columns by who there is, never by what happened.
//!
//! ```text
//! >>    +1.1µs others   w0               w1               kernel/timers descriptors
//! mark  time   lanes …                                                  margin
//! ```
//!
//! A line has one actor, so its text may run on over the lanes to its right: a lane is a place where
//! text begins, and need not be as wide as the text.

use super::scene::{Life, Scene};
use crate::{ThreadId, Trace, worker_number};

/// Where times end.
const TIME_END: usize = 12;
/// Where the first lane begins.
const LANES: usize = 13;
/// The first lane is for all that are neither workers nor the kernel.
const OTHERS_WIDTH: usize = 9;
/// A worker's lane is at least this wide, or its neighbours' texts look like its own.
const WORKER_WIDTH_MIN: usize = 8;
const KERNEL_WIDTH: usize = 14;
/// `write fd12: Wait -> Parked(g15)`.
const MARGIN_WIDTH: usize = 31;
/// Less is not enough for the lanes of two workers.
pub(super) const WIDTH_MIN: usize = 80;

/// A lane.
#[derive(Debug)]
struct Lane {
    at: usize,
    label: String,
    /// Whose lifeline it has, unless it is that of several.
    owner: Option<ThreadId>,
}

/// See the module documentation.
#[derive(Debug)]
pub(super) struct Layout {
    lanes: Vec<Lane>,
    /// The lane of each thread.
    of_thread: Vec<usize>,
    /// Where the margin begins.
    pub(super) margin: usize,
    /// The width of the page.
    pub(super) width: usize,
}

impl Layout {
    /// The layout for the threads of a trace.
    pub(super) fn new(trace: &Trace, width: usize) -> Layout {
        let width = width.max(WIDTH_MIN);
        let margin = width - MARGIN_WIDTH;
        let kernel = margin - KERNEL_WIDTH;
        let workers_at = LANES + OTHERS_WIDTH;
        let room = kernel - workers_at;
        let workers: Vec<usize> = (0..trace.threads.len())
            .filter(|&at| worker_number(&trace.threads[at]).is_some())
            .collect();
        // The last lane is that of all workers who have none of their own.
        let count = workers.len().min(room / WORKER_WIDTH_MIN);
        let mut lanes = vec![Lane { at: LANES, label: "others".to_string(), owner: None }];
        let mut of_thread = vec![0; trace.threads.len()];
        for (nth, &thread) in workers.iter().enumerate() {
            if nth < count {
                let owner = Some(ThreadId(thread as u16));
                let at = workers_at + nth * (room / count);
                lanes.push(Lane { at, label: trace.threads[thread].clone(), owner });
            } else {
                let last = lanes.last_mut().expect("there is one for others");
                let first = last.label.split('…').next().unwrap_or_default();
                last.label = format!("{first}…{}", trace.threads[thread]);
                last.owner = None;
            }
            of_thread[thread] = lanes.len() - 1;
        }
        lanes.push(Lane { at: kernel, label: "kernel/timers".to_string(), owner: None });
        Layout { lanes, of_thread, margin, width }
    }

    /// The lane of a thread, and whether it has to say who it is.
    pub(super) fn lane(&self, thread: ThreadId) -> (usize, bool) {
        let own = self.of_thread.get(usize::from(thread.0));
        let index = own.copied().unwrap_or(self.lanes.len() - 1);
        let lane = &self.lanes[index];
        (lane.at, thread != ThreadId::KERNEL && lane.owner.is_none())
    }

    /// Where the lane of the kernel and the timers begins.
    pub(super) fn kernel(&self) -> usize {
        self.lanes[self.lanes.len() - 1].at
    }

    /// Where lanes begin.
    pub(super) fn lanes(&self) -> usize {
        LANES
    }

    /// The line with the names of the columns.
    pub(super) fn heading(&self) -> Line {
        let mut line = Line::new(self.width);
        line.put_before(TIME_END, "time");
        for lane in &self.lanes {
            line.put(lane.at, &lane.label);
        }
        line.put(self.margin, "descriptors");
        line
    }

    /// An empty line, with the lifelines of those who are there.
    pub(super) fn line(&self, scene: &Scene) -> Line {
        let mut line = Line::new(self.width);
        for lane in &self.lanes {
            match lane.owner.map(|owner| scene.life(owner)) {
                None | Some(Life::Absent) => {}
                Some(Life::Going) => line.put(lane.at, "│"),
                Some(Life::Asleep) => line.put(lane.at, "┆"),
            }
        }
        line
    }
}

/// A line in the making.
#[derive(Clone, Debug)]
pub(super) struct Line {
    cells: Vec<char>,
}

impl Line {
    pub(super) fn new(width: usize) -> Line {
        Line { cells: vec![' '; width] }
    }

    /// Writes from a column on, over what is there.
    pub(super) fn put(&mut self, at: usize, text: &str) {
        for (cell, c) in self.cells[at..].iter_mut().zip(text.chars()) {
            *cell = c;
        }
    }

    /// Writes a text and a space behind it, so that it does not run into a lifeline.
    pub(super) fn say(&mut self, at: usize, text: &str) {
        let end = at + text.chars().count();
        self.put(at, text);
        if let Some(cell) = self.cells.get_mut(end) {
            *cell = ' ';
        }
    }

    /// Writes up to a column.
    fn put_before(&mut self, end: usize, text: &str) {
        let at = end.saturating_sub(text.chars().count());
        self.put(at, text);
    }

    /// Whether this stands there.
    pub(super) fn is(&self, at: usize, what: char) -> bool {
        self.cells[at] == what
    }

    /// Writes the time.
    pub(super) fn time(&mut self, text: &str) {
        self.put_before(TIME_END, text);
    }

    /// Writes the mark of a guilty line.
    pub(super) fn mark(&mut self) {
        self.put(0, ">>");
    }

    /// Draws from one column up to another one.
    pub(super) fn lead(&mut self, from: usize, to: usize) {
        if from < to {
            self.cells[from..to].fill('┄');
        }
    }

    /// Appends it to a text, without the spaces at its end.
    pub(super) fn print(&self, text: &mut String) {
        let end = self.cells.iter().rposition(|&c| c != ' ').map_or(0, |last| last + 1);
        text.extend(&self.cells[..end]);
        text.push('\n');
    }
}

/// Breaks a text into lines of this width, at spaces where there are some.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    if text.contains('\n') {
        // A message of several lines has them for a reason.
        return text.lines().flat_map(|line| wrap(line.trim_end(), width)).collect();
    }
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut used = 0;
    for word in text.split(' ') {
        let mut word: Vec<char> = word.chars().collect();
        if used > 0 && used + 1 + word.len() > width {
            lines.push(std::mem::take(&mut line));
            used = 0;
        } else if used > 0 {
            line.push(' ');
            used += 1;
        }
        while word.len() > width {
            lines.push(word.drain(..width).collect());
        }
        used += word.len();
        line.extend(word);
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_wrapped_at_spaces_and_nothing_of_it_is_lost() {
        assert_eq!(wrap("a bc def", 4), ["a bc", "def"]);
        assert_eq!(wrap("abcdefg h", 3), ["abc", "def", "g h"]);
        assert_eq!(wrap("", 3), [""]);
        assert_eq!(wrap("a:\n  bc def\n", 6), ["a:", "bc def"]);
    }

    #[test]
    fn workers_that_have_no_room_share_the_last_lane() {
        let names = ["main", "w0", "w1", "w2", "w3", "w4", "w5", "sysmon"];
        let threads = names.map(str::to_string).to_vec();
        let layout = Layout::new(&Trace { threads, ..Trace::default() }, 100);
        let labels: Vec<&str> = layout.lanes.iter().map(|lane| lane.label.as_str()).collect();
        assert_eq!(labels, ["others", "w0", "w1", "w2", "w3…w5", "kernel/timers"]);
        let shared = layout.lane(ThreadId(4));
        assert_eq!((layout.lane(ThreadId(6)), shared.1), (shared, true));
        assert!(!layout.lane(ThreadId(3)).1);
    }
}
