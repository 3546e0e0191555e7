//! The shrinker: a failing run made smaller, schedule, faults and data together.
//!
//! [`shrink`] is given the list of choices of a failing run and a way to make runs. It tries duller ones
//! and keeps each that fails in the same way, as the list that this run really recorded, until nothing
//! smaller is found or the [budget](Budget) is spent. It knows nothing of what it runs: the simulator and
//! the models use the same one.
//!
//! *Smaller* ([`Size`]) is: fewer choices that are not the dullest; then a shorter list; then a lower sum.
//! What remains is what mattered.
//!
//! Promises:
//!
//! * **H1** the result fails in the same way as the first run, when it is replayed as a list; it has been
//!   tried.
//! * **H2** it is never larger than the first run.
//! * **H3** the same first run gives the same result, unless the time runs out.
//! * **H4** a run that fails once, and not again from the list that it recorded, ends the search: then the
//!   program is no function of its choices, and no result could be believed.
//!
//! # Alignment
//!
//! To take a choice away is easy. That the others still mean what they meant is not: the run goes another
//! way, asks other questions, and a list answers by position. Measured on failures of `broken` and of the
//! poller without its re-check (choices that are not the dullest, before and after):
//!
//! | how a candidate is answered | broken | close_vs_read | deadline_vs_ready, chaos |
//! |---|---|---|---|
//! | by position, as a list that is replayed | 966 → 92 | 239 → 220 | 2040 → 1963 |
//! | by position, answers to other questions skipped | 966 → 33 | 239 → 53 | 2040 → 707 |
//! | by thread and number of the question | 966 → 11 | 239 → 13 | 2040 → 18 |
//! | by goroutine and number of the question | 966 → 4 | 239 → 9 | 2040 → 5 |
//! | the same, and sliding | 966 → 2 | 239 → 3 | 2040 → 3 |
//!
//! So candidates are lists of [deviations](crate::deviation). Lists are candidates in one pass only, which
//! cuts dull stretches out.
//!
//! `passes.rs` has the passes. Tested in `shrink/tests.rs`, on programs whose smallest failure is known,
//! and on the broken scenario in `tests/shrink.rs`.

mod passes;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use crate::choice::{Choice, Chosen, Source};
use crate::deviation::Deviation;

/// How long to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// No run is begun after this time.
    pub time: Duration,
    /// At most this many runs are made.
    pub attempts: u64,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget { time: Duration::from_secs(10), attempts: 100_000 }
    }
}

/// How large a run is. Compares by its fields in their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size {
    /// Choices that are not the dullest.
    pub deviations: usize,
    /// Choices up to the last of those. The rest need not be written down (C3).
    pub len: usize,
    /// The sum of all that was chosen.
    pub sum: u64,
}

impl Size {
    /// The size of a run with these choices.
    #[must_use]
    pub fn of(choices: &[Choice]) -> Size {
        let deviations = || choices.iter().filter(|choice| choice.k != 0);
        Size {
            deviations: deviations().count(),
            len: choices.iter().rposition(|choice| choice.k != 0).map_or(0, |last| last + 1),
            sum: deviations().map(|choice| u64::from(choice.k)).sum(),
        }
    }
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shrunk {
    /// The smallest list that was found, without the zeros at its end.
    pub choices: Vec<Choice>,
    /// The size of the first run.
    pub before: Size,
    /// The size of the smallest one.
    pub after: Size,
    /// How many runs were made.
    pub attempts: u64,
    /// Why the search ended.
    pub end: End,
}

/// Why a search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// No pass finds anything smaller.
    Smallest,
    /// The time was up.
    Time,
    /// The attempts were used up.
    Attempts,
}

/// `made smaller in 663 runs: of 966 choices that were not the dullest 3 remain`.
impl fmt::Display for Shrunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, after) = (self.before.deviations, self.after.deviations);
        if self.after == self.before {
            write!(
                f,
                "not made smaller in {} runs: {before} choices are not the dullest",
                self.attempts
            )?;
        } else {
            write!(
                f,
                "made smaller in {} runs: of {before} choices that were not the dullest {after} remain",
                self.attempts
            )?;
        }
        match self.end {
            End::Smallest => Ok(()),
            End::Time => f.write_str("; the time was up"),
            End::Attempts => f.write_str("; that is as many as there may be"),
        }
    }
}

/// Why a run cannot be made smaller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unshrinkable {
    /// It does not fail.
    Passes,
    /// A run did not repeat itself (H4).
    Differs(String),
}

impl fmt::Display for Unshrinkable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unshrinkable::Passes => f.write_str("it does not fail any more"),
            Unshrinkable::Differs(how) => write!(f, "a run did not repeat itself: {how}"),
        }
    }
}

/// Makes a failing run smaller.
///
/// `attempt` makes a run; it returns what the run chose if that failed in the way that is being looked
/// at, else `None`. `better` is told each list that is smaller than all before, for those who cannot be
/// sure to see the end.
///
/// # Errors
/// The run does not fail, or a run did not repeat itself.
pub fn shrink(
    first: Vec<Choice>,
    budget: &Budget,
    attempt: impl FnMut(Source) -> Option<Chosen>,
    better: impl FnMut(&[Choice]),
) -> Result<Shrunk, Unshrinkable> {
    let mut search = Search {
        attempt,
        better,
        best: Chosen::default(),
        size: Size::default(),
        attempts: 0,
        attempts_max: budget.attempts,
        deadline: Instant::now() + budget.time,
        tried: BTreeSet::new(),
    };
    // Two runs, whatever the budget is: without them nothing is known.
    search.attempts += 2;
    let chosen = (search.attempt)(Source::Replay(first)).ok_or(Unshrinkable::Passes)?;
    search.confirm(&chosen)?;
    let before = Size::of(&chosen.choices);
    search.take(chosen);
    let end = match search.run() {
        Ok(()) => End::Smallest,
        Err(Stop::Spent(end)) => end,
        Err(Stop::Differs(how)) => return Err(Unshrinkable::Differs(how)),
    };
    assert!(search.size <= before, "H2: {:?} is larger than {before:?}", search.size);
    Ok(Shrunk {
        choices: search.list(),
        before,
        after: search.size,
        attempts: search.attempts,
        end,
    })
}

/// Why a search does not go on.
enum Stop {
    Spent(End),
    Differs(String),
}

impl From<Stop> for Unshrinkable {
    fn from(stop: Stop) -> Unshrinkable {
        match stop {
            Stop::Spent(_) => unreachable!("the first two runs are not counted against the budget"),
            Stop::Differs(how) => Unshrinkable::Differs(how),
        }
    }
}

/// A search under way.
struct Search<A, B> {
    attempt: A,
    better: B,
    /// The smallest failing run so far.
    best: Chosen,
    size: Size,
    attempts: u64,
    attempts_max: u64,
    deadline: Instant,
    /// The candidates that were tried, as hashes: two with the same hash would only cost an attempt.
    tried: BTreeSet<u64>,
}

impl<A, B> Search<A, B>
where
    A: FnMut(Source) -> Option<Chosen>,
    B: FnMut(&[Choice]),
{
    /// Tries a run. True when it is the smallest so far.
    fn tries(&mut self, candidate: Source) -> Result<bool, Stop> {
        if !self.tried.insert(hash(&candidate)) {
            return Ok(false);
        }
        if self.attempts >= self.attempts_max {
            return Err(Stop::Spent(End::Attempts));
        }
        if Instant::now() >= self.deadline {
            return Err(Stop::Spent(End::Time));
        }
        self.attempts += 1;
        let Some(chosen) = (self.attempt)(candidate) else {
            return Ok(false);
        };
        if Size::of(&chosen.choices) >= self.size {
            return Ok(false);
        }
        self.attempts += 1;
        self.confirm(&chosen)?;
        self.take(chosen);
        Ok(true)
    }

    /// Makes the run again from the list that is to be kept (H1, H4).
    fn confirm(&mut self, chosen: &Chosen) -> Result<(), Stop> {
        let again = (self.attempt)(Source::Replay(trimmed(&chosen.choices)));
        let how = match again {
            Some(again) if again.choices == chosen.choices => return Ok(()),
            Some(again) => {
                let pairs = chosen.choices.iter().zip(&again.choices);
                let at = pairs.take_while(|(first, second)| first == second).count();
                format!("its replay chose otherwise from choice {at} on")
            }
            None => "its replay did not fail in the same way".to_string(),
        };
        Err(Stop::Differs(how))
    }

    fn take(&mut self, chosen: Chosen) {
        self.size = Size::of(&chosen.choices);
        self.best = chosen;
        let list = self.list();
        (self.better)(&list);
    }

    fn list(&self) -> Vec<Choice> {
        trimmed(&self.best.choices)
    }
}

/// The list without the zeros at its end (C3).
fn trimmed(choices: &[Choice]) -> Vec<Choice> {
    choices[..Size::of(choices).len].to_vec()
}

fn hash(candidate: &Source) -> u64 {
    // Without keys of its own: the same in every run (H3).
    let mut hasher = DefaultHasher::new();
    match candidate {
        Source::Replay(list) => list.hash(&mut hasher),
        Source::Deviations(deviations) => {
            for Deviation { choice, asker, nth, target, .. } in deviations {
                (choice.kind, choice.k, asker, nth, target).hash(&mut hasher);
            }
        }
        Source::Seed(_) | Source::Swarm(_) | Source::Dull => {
            unreachable!("no pass makes one of these")
        }
    }
    hasher.finish()
}
