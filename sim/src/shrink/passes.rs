//! The passes of the shrinker.
//!
//! | pass | tries to |
//! |---|---|
//! | `groups` | leave out all deviations of one kind, or of one asker |
//! | `spans` | leave out half of them, a quarter, … each one, later ones first |
//! | `values` | lower what was chosen |
//! | `pairs` | leave out two at a distance, or switch to the last of several threads at once |
//! | `slide` | leave out one, and move those of an asker after it to earlier or later questions |
//! | `cut` | leave out a dull stretch before a deviation |
//!
//! They are made one after the other until none finds anything: after each success what stood in the way
//! of another may be gone. Later deviations go first, because less depends on them: the first spans cut the
//! tail off. A pass that halves its way to the shortest beginning was tried and found nothing more.
//!
//! `slide` is what brings a list of dozens down to a few. An asker without one deviation often does a
//! little more or less than with it, once: it does not find the flag set, or has to try again. From there
//! on all of its deviations are off by the same small number.

use std::collections::BTreeSet;

use super::{Search, Stop};
use crate::choice::{Choice, ChoiceKind, Chosen, Source};
use crate::deviation::{Asker, Deviation};

/// Up to this many deviations all pairs are tried, and dull stretches are cut out.
const FEW: usize = 48;
/// How far deviations slide: the near places of all first.
const SLIDES: [u32; 3] = [3, 10, 40];
/// Of how many askers the deviations slide: those that ask next after what is left out.
const SLIDING_ASKERS: usize = 4;
/// How many ways there are to cut before one deviation, at most.
const CUTS_MAX: usize = 500;

impl<A, B> Search<A, B>
where
    A: FnMut(Source) -> Option<Chosen>,
    B: FnMut(&[Choice]),
{
    /// Makes passes until none finds anything.
    pub(super) fn run(&mut self) -> Result<(), Stop> {
        loop {
            let before = self.size;
            // With nothing at all it begins, since then all else can be spared.
            self.tries_with(Vec::clear)?;
            self.groups()?;
            self.spans()?;
            self.values()?;
            self.pairs()?;
            self.slide()?;
            self.cut()?;
            if self.size == before {
                return Ok(());
            }
        }
    }

    fn count(&self) -> usize {
        self.best.deviations.len()
    }

    /// Tries the deviations as `change` leaves them.
    fn tries_with(&mut self, change: impl FnOnce(&mut Vec<Deviation>)) -> Result<bool, Stop> {
        let mut deviations = self.best.deviations.clone();
        change(&mut deviations);
        self.tries(Source::Deviations(deviations))
    }

    fn groups(&mut self) -> Result<(), Stop> {
        let kinds: BTreeSet<ChoiceKind> =
            self.best.deviations.iter().map(|it| it.choice.kind).collect();
        for kind in kinds {
            self.tries_with(|all| all.retain(|it| it.choice.kind != kind))?;
        }
        let askers: BTreeSet<Asker> = self.best.deviations.iter().map(|it| it.asker).collect();
        for asker in askers {
            self.tries_with(|all| all.retain(|it| it.asker != asker))?;
        }
        Ok(())
    }

    fn spans(&mut self) -> Result<(), Stop> {
        let mut len = self.count().div_ceil(2);
        while len > 0 {
            let mut end = self.count();
            while end > 0 {
                let start = end.saturating_sub(len);
                self.tries_with(|all| drop(all.drain(start..end)))?;
                end = start.min(self.count());
            }
            len = if len == 1 { 0 } else { len.div_ceil(2).min(self.count()) };
        }
        Ok(())
    }

    fn values(&mut self) -> Result<(), Stop> {
        for at in (0..self.count()).rev() {
            let Some(k) = self.best.deviations.get(at).map(|it| it.choice.k) else {
                continue;
            };
            for lower in [1, k / 2, k - 1] {
                let is_lower = |it: &Deviation| lower != 0 && lower < it.choice.k;
                if self.best.deviations.get(at).is_some_and(is_lower) {
                    self.tries_with(|all| {
                        all[at].choice.k = lower;
                        all[at].target = None; // another thread: the one with this number
                    })?;
                }
            }
        }
        Ok(())
    }

    fn pairs(&mut self) -> Result<(), Stop> {
        if self.count() > FEW {
            return Ok(());
        }
        for second in (1..self.count()).rev() {
            for first in (0..second).rev() {
                if second >= self.count() {
                    break;
                }
                let gone = self.tries_with(|all| {
                    all.remove(second);
                    all.remove(first);
                })?;
                let switches = |at: usize| self.best.deviations[at].target.is_some();
                if !gone && switches(first) && switches(second) {
                    // From the first thread to the last one, without the one between.
                    self.tries_with(|all| {
                        let last = all.remove(second);
                        all[first].target = last.target;
                    })?;
                }
            }
        }
        Ok(())
    }

    fn slide(&mut self) -> Result<(), Stop> {
        for most in SLIDES {
            let before = self.size;
            for at in (0..self.count()).rev() {
                if at < self.count() {
                    self.slide_from(at, most)?;
                }
            }
            if self.size < before {
                break; // the other passes have something to do
            }
        }
        Ok(())
    }

    /// Leaves one out, and moves those of one asker after it by up to `most` questions.
    fn slide_from(&mut self, at: usize, most: u32) -> Result<(), Stop> {
        let mut askers: Vec<Asker> = Vec::new();
        for deviation in &self.best.deviations[at..] {
            if askers.len() < SLIDING_ASKERS && !askers.contains(&deviation.asker) {
                askers.push(deviation.asker);
            }
        }
        let to_earlier = |nth: u32, by: u32| nth.saturating_sub(by);
        let to_later = |nth: u32, by: u32| nth.saturating_add(by);
        for by in 1..=most {
            for to in [to_earlier, to_later] {
                for &asker in &askers {
                    let smaller = self.tries_with(|all| {
                        all.remove(at);
                        let moved = all[at..].iter_mut().filter(|it| it.asker == asker);
                        moved.for_each(|it| it.nth = to(it.nth, by));
                    })?;
                    if smaller {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// Cuts dull stretches out of the list: what comes after is answered by position and fits where the
    /// program asks the same again, as in an earlier round of a loop.
    fn cut(&mut self) -> Result<(), Stop> {
        if self.count() > FEW {
            return Ok(());
        }
        for at in 0..self.count() {
            if at >= self.count() {
                break;
            }
            let Deviation { index, choice, .. } = self.best.deviations[at];
            let start = at.checked_sub(1).map_or(0, |last| self.best.deviations[last].index + 1);
            let asks_the_same = |other: &Choice| (other.kind, other.n) == (choice.kind, choice.n);
            let dull = self.best.choices[start..index].iter().enumerate();
            let places: Vec<usize> = dull
                .filter(|(_, choice)| asks_the_same(choice))
                .map(|(place, _)| start + place)
                .collect();
            // The longest cut first. Where there are too many, every second, every third of them …
            for place in places.iter().step_by(places.len().div_ceil(CUTS_MAX).max(1)) {
                let (before, after) = (&self.best.choices[..*place], &self.best.choices[index..]);
                let list = [before, after].concat();
                if self.tries(Source::Replay(list))? {
                    break;
                }
            }
        }
        Ok(())
    }
}
