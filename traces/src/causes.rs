//! Which record caused which: the arrows of a trace.
//!
//! A trace is a list; what a reader wants to know of a record is why it happened. Most of the answers
//! are in the list already and only need to be matched: a `ready g7` is the reason of the next
//! `run g7`, an edge that of the next harvest of its file, and so on. [`Why`] has all pairs that are
//! matched; what cannot be known from a trace (who released a lock) makes no arrow.
//!
//! Matching is by what records say about themselves (numbers of goroutines, files, lives, timers) and
//! by the order of the records of a thread, never by time.

mod io;
mod scan;
mod wakeups;

use std::fmt;

use crate::actors::{Actor, Actors};
use crate::{ThreadId, Trace};

/// Why one record followed from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Why {
    /// A thread was started: its first record.
    Spawn,
    /// A goroutine was created: its first run.
    Go,
    /// A goroutine was made runnable: its next run.
    Ready,
    /// A goroutine gave its worker away: its next run.
    Yield,
    /// Bytes came: the edge of their file.
    Arrive,
    /// An edge (or a registration that found its file ready, or a spurious event) queued an event: it
    /// was harvested. Several edges may stand behind one harvest.
    Queue,
    /// A harvested event: it was dispatched, found stale, or was the poller's break.
    Dispatch,
    /// A dispatch, an eviction or a deadline: it changed a slot.
    Change,
    /// A slot gave up its waiter: that one was made runnable, or had not parked yet and ran on.
    Release,
    /// A slot was set to `Ready`: somebody used that up.
    Take,
    /// A timer was armed: it fired.
    Fire,
    /// A timer fired: a deadline expired, or a park ended.
    Expire,
    /// A worker was woken: its thread went on.
    Wake,
    /// The poller was told to come back: an edge of its break descriptor, or that it took the request.
    Break,
    /// An event was queued: the thread that was blocked in the poll went on.
    Rouse,
    /// A thread ended: another one that waited for its end went on.
    Join,
}

impl Why {
    /// All of them, in the order in which pictures list them.
    pub const ALL: [Why; 16] = [
        Why::Spawn,
        Why::Go,
        Why::Ready,
        Why::Yield,
        Why::Arrive,
        Why::Queue,
        Why::Dispatch,
        Why::Change,
        Why::Release,
        Why::Take,
        Why::Fire,
        Why::Expire,
        Why::Wake,
        Why::Break,
        Why::Rouse,
        Why::Join,
    ];

    /// Its name, in the words that stand between the two records: `edge` *queues* `harvest`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Why::Spawn => "starts",
            Why::Go => "creates",
            Why::Ready => "makes runnable",
            Why::Yield => "stays runnable",
            Why::Arrive => "raises",
            Why::Queue => "queues",
            Why::Dispatch => "is dispatched",
            Why::Change => "changes",
            Why::Release => "releases",
            Why::Take => "is used up",
            Why::Fire => "is due",
            Why::Expire => "expires",
            Why::Wake => "wakes",
            Why::Break => "breaks the poll",
            Why::Rouse => "ends the poll",
            Why::Join => "is joined",
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One record that followed from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrow {
    /// The index of the record that was the reason; smaller than `to`.
    pub from: usize,
    /// The index of the record that followed.
    pub to: usize,
    /// In what way.
    pub why: Why,
}

/// The arrows of a trace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Causes {
    /// By `to`; several that end at one record have the most telling one first.
    arrows: Vec<Arrow>,
    /// Where the arrows into each record begin in `arrows`, and one more entry for their end.
    into: Vec<usize>,
    /// Indices of `arrows` by `from`.
    by_source: Vec<usize>,
    /// Where the arrows out of each record begin in `by_source`, and one more entry for their end.
    out_of: Vec<usize>,
}

impl Causes {
    /// The arrows of `trace`.
    #[must_use]
    pub fn of(trace: &Trace) -> Causes {
        let arrows = scan::arrows(trace);
        assert!(arrows.iter().all(|arrow| arrow.from < arrow.to), "an arrow goes forward");
        assert!(arrows.is_sorted_by_key(|arrow| arrow.to), "arrows are found at their ends");
        let count = trace.records.len();
        let mut by_source: Vec<usize> = (0..arrows.len()).collect();
        by_source.sort_by_key(|&index| arrows[index].from);
        let into = starts(count, arrows.iter().map(|arrow| arrow.to));
        let out_of = starts(count, by_source.iter().map(|&index| arrows[index].from));
        Causes { arrows, into, by_source, out_of }
    }

    /// All of them, by the record where they end.
    #[must_use]
    pub fn arrows(&self) -> &[Arrow] {
        &self.arrows
    }

    /// Why record `at` happened.
    #[must_use]
    pub fn before(&self, at: usize) -> &[Arrow] {
        &self.arrows[self.into[at]..self.into[at + 1]]
    }

    /// What followed from record `at`.
    pub fn after(&self, at: usize) -> impl Iterator<Item = &Arrow> {
        let indices = &self.by_source[self.out_of[at]..self.out_of[at + 1]];
        indices.iter().map(|&index| &self.arrows[index])
    }

    /// For each record the one that explains it best: where its first arrow comes from, or else the
    /// last record of its own lane that some arrow explains. Following it tells a story backwards.
    ///
    /// What the kernel does by itself has no such record: its lane has no order of its own, only that
    /// in which threads call it and segments arrive.
    #[must_use]
    pub fn reasons(&self, actors: &Actors) -> Vec<Option<usize>> {
        let kernel = actors.lane(Actor::Thread(ThreadId::KERNEL));
        let mut explained = vec![None; actors.lanes.len()];
        let reason = |(at, &lane): (usize, &usize)| match self.before(at).first() {
            Some(arrow) => {
                explained[lane] = Some(at);
                Some(arrow.from)
            }
            None if Some(lane) == kernel => None,
            None => explained[lane],
        };
        actors.of.iter().enumerate().map(reason).collect()
    }

    /// The story of record `at`: itself, its reason, the reason of that, … at most `most` records,
    /// latest first.
    #[must_use]
    pub fn story(reasons: &[Option<usize>], at: usize, most: usize) -> Vec<usize> {
        let steps = std::iter::successors(Some(at), |&at| reasons[at]);
        steps.take(most).collect()
    }
}

/// Where the run of each number below `count` starts in an ascending list, and where the list ends.
fn starts(count: usize, ascending: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut starts = vec![0; count + 1];
    for number in ascending {
        starts[number + 1] += 1;
    }
    for number in 0..count {
        starts[number + 1] += starts[number];
    }
    starts
}

#[cfg(test)]
mod tests;
