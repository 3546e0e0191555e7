//! Deviations: the choices of a run that are not the dullest, each with the place where it was made.
//!
//! A list of choices is answered by position: with one answer less, every later one meets a question that
//! it was not meant for. A deviation says instead *who* asked, and how many questions of the kind that one
//! had asked before. Without one deviation the others stay where they were, except where the program
//! itself goes another way. So a run that is made from some of the deviations of another run is mostly
//! what one has in mind, and that is what the [shrinker](crate::shrink) needs. It is all that they are
//! for: deviations are about one build of one program, and a run is kept as its list.
//!
//! Who asks is the goroutine, and not the thread, wherever one is running: which worker runs it, and what
//! that worker did before, changes with every deviation that is taken away; what the goroutine does
//! itself hardly does. A worker between two goroutines is told by the one that it ran last, for the same
//! reason. `shrink/mod.rs` has the figures.

use std::collections::{BTreeMap, VecDeque};

use netpoll_traces::ThreadId;

use crate::choice::{Choice, ChoiceKind};

/// Who asks a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Asker {
    /// A goroutine, on whatever thread.
    Goroutine(u64),
    /// A thread that runs no goroutine.
    Thread {
        /// The thread.
        thread: ThreadId,
        /// The goroutine that it ran last.
        after: Option<u64>,
    },
    /// The kernel, of its own accord.
    Kernel,
}

impl Asker {
    /// A thread that has not run any goroutine, or of which nobody knows.
    #[must_use]
    pub const fn thread(thread: ThreadId) -> Asker {
        Asker::Thread { thread, after: None }
    }
}

/// A choice that was not the dullest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deviation {
    /// Its number among the choices of its run.
    pub index: usize,
    /// What was chosen.
    pub choice: Choice,
    /// Who asked.
    pub asker: Asker,
    /// How many questions of this kind the asker had asked before, those included where there was
    /// nothing to choose.
    pub nth: u32,
    /// For a choice of a thread, the one that was chosen. Without it the choice is by number.
    pub target: Option<ThreadId>,
    /// How many records the trace of the run had by then.
    pub seen: usize,
}

/// Counts the questions of each asker, and knows which of them a deviation is about.
#[derive(Debug)]
pub(crate) struct Places {
    asker: Asker,
    /// Where the questions of an asker stand; the last one used is kept, for it is mostly the next.
    rows: BTreeMap<Asker, usize>,
    last: (Asker, usize),
    questions: Vec<Vec<Questions>>,
}

/// The questions of one kind of one asker.
#[derive(Debug)]
struct Questions {
    kind: ChoiceKind,
    asked: u32,
    /// The deviations that are to be made, by the number of their question.
    wanted: VecDeque<Deviation>,
}

/// The place of a question.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    asker: Asker,
    nth: u32,
}

impl Default for Places {
    fn default() -> Places {
        Places::new(&[])
    }
}

impl Places {
    /// Counts, with these deviations to be made.
    pub(crate) fn new(wanted: &[Deviation]) -> Places {
        let main = Asker::thread(ThreadId::MAIN);
        let mut places = Places {
            asker: main,
            rows: BTreeMap::from([(main, 0)]),
            last: (main, 0),
            questions: vec![Vec::new()],
        };
        for deviation in wanted {
            let questions = places.questions(deviation.asker, deviation.choice.kind);
            questions.wanted.push_back(*deviation);
        }
        for questions in places.questions.iter_mut().flatten() {
            questions.wanted.make_contiguous().sort_by_key(|wanted| wanted.nth);
        }
        places
    }

    /// Says who asks from now on.
    #[inline]
    pub(crate) fn set_asker(&mut self, asker: Asker) {
        self.asker = asker;
    }

    /// Counts a question; returns its place and the deviation that is to be made there.
    #[inline]
    pub(crate) fn ask(&mut self, kind: ChoiceKind) -> (Place, Option<Deviation>) {
        let asker = self.asker;
        let questions = self.questions(asker, kind);
        let nth = questions.asked;
        questions.asked += 1;
        let mut wanted = None;
        // Two may have come to stand at one place; the later one counts.
        while questions.wanted.front().is_some_and(|first| first.nth <= nth) {
            wanted = questions.wanted.pop_front();
        }
        (Place { asker, nth }, wanted)
    }

    fn questions(&mut self, asker: Asker, kind: ChoiceKind) -> &mut Questions {
        if self.last.0 != asker {
            let row = *self.rows.entry(asker).or_insert(self.questions.len());
            if row == self.questions.len() {
                self.questions.push(Vec::new());
            }
            self.last = (asker, row);
        }
        let row = &mut self.questions[self.last.1];
        let at = row.iter().position(|questions| questions.kind == kind).unwrap_or_else(|| {
            row.push(Questions { kind, asked: 0, wanted: VecDeque::new() });
            row.len() - 1
        });
        &mut row[at]
    }
}

impl Place {
    /// The deviation that was made here.
    pub(crate) fn deviation(
        self,
        index: usize,
        choice: Choice,
        target: Option<ThreadId>,
    ) -> Deviation {
        let Place { asker, nth } = self;
        Deviation { index, choice, asker, nth, target, seen: 0 }
    }
}
