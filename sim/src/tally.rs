//! What really happened of all that could: a count for each kind of question.
//!
//! A fault that never strikes and a freedom that is never taken test nothing. So every run counts its
//! questions and the answers that were not the dull one, and the explorer adds the runs up.

use crate::choice::ChoiceKind;
use crate::faults::{FaultKind, Faults};

/// How often each kind of question was asked, and how often its answer was not the dull one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    asked: [u32; ChoiceKind::COUNT],
    struck: [u32; ChoiceKind::COUNT],
}

impl Default for Tally {
    fn default() -> Tally {
        Tally { asked: [0; ChoiceKind::COUNT], struck: [0; ChoiceKind::COUNT] }
    }
}

impl Tally {
    /// An answer was given.
    #[inline]
    pub(crate) fn add(&mut self, kind: ChoiceKind, k: u32) {
        let index = kind.index();
        self.asked[index] += 1;
        self.struck[index] += u32::from(k != 0);
    }

    /// The same from elsewhere: `asked` questions, of which `struck` were not answered with 0.
    ///
    /// # Panics
    /// If more were answered than asked.
    pub fn set(&mut self, kind: ChoiceKind, asked: u32, struck: u32) {
        assert!(struck <= asked, "{}: {struck} of {asked}", kind.name());
        self.asked[kind.index()] = asked;
        self.struck[kind.index()] = struck;
    }

    /// How often `kind` was asked about.
    #[must_use]
    pub fn asked(&self, kind: ChoiceKind) -> u32 {
        self.asked[kind.index()]
    }

    /// How often `kind` struck, or was taken.
    #[must_use]
    pub fn struck(&self, kind: ChoiceKind) -> u32 {
        self.struck[kind.index()]
    }

    /// The kinds that were asked about: kind, asked, struck.
    pub fn iter(&self) -> impl Iterator<Item = (ChoiceKind, u32, u32)> {
        let all = ChoiceKind::all().map(|kind| (kind, self.asked(kind), self.struck(kind)));
        all.filter(|&(_, asked, _)| asked > 0)
    }

    /// The kinds of fault that struck, with their numbers.
    pub fn faults_struck(&self) -> impl Iterator<Item = (FaultKind, u32)> {
        let all = FaultKind::ALL.into_iter();
        let all = all.map(|fault| (fault, self.struck(ChoiceKind::Fault(fault))));
        all.filter(|&(_, struck)| struck > 0)
    }
}

/// The tallies of many runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Totals {
    asked: [u64; ChoiceKind::COUNT],
    struck: [u64; ChoiceKind::COUNT],
    runs: [u64; ChoiceKind::COUNT],
    /// How often each fault was to strike, in thousandths.
    expected: [u64; FaultKind::ALL.len()],
}

impl Default for Totals {
    fn default() -> Totals {
        const NONE: [u64; ChoiceKind::COUNT] = [0; ChoiceKind::COUNT];
        Totals { asked: NONE, struck: NONE, runs: NONE, expected: [0; FaultKind::ALL.len()] }
    }
}

impl Totals {
    /// Adds a run under these faults.
    pub fn add(&mut self, tally: &Tally, faults: &Faults) {
        for (kind, asked, struck) in tally.iter() {
            let index = kind.index();
            self.asked[index] += u64::from(asked);
            self.struck[index] += u64::from(struck);
            self.runs[index] += 1;
            if let ChoiceKind::Fault(fault) = kind {
                self.expected[fault as usize] +=
                    u64::from(asked) * u64::from(faults.per_mille(fault));
            }
        }
    }

    /// Adds the totals of other runs.
    pub fn merge(&mut self, other: &Totals) {
        let add = |a: &mut [u64], b: &[u64]| a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
        add(&mut self.asked, &other.asked);
        add(&mut self.struck, &other.struck);
        add(&mut self.runs, &other.runs);
        add(&mut self.expected, &other.expected);
    }

    /// How often `kind` was asked about.
    #[must_use]
    pub fn asked(&self, kind: ChoiceKind) -> u64 {
        self.asked[kind.index()]
    }

    /// How often `kind` struck, or was taken.
    #[must_use]
    pub fn struck(&self, kind: ChoiceKind) -> u64 {
        self.struck[kind.index()]
    }

    /// How many runs asked about `kind`.
    #[must_use]
    pub fn runs(&self, kind: ChoiceKind) -> u64 {
        self.runs[kind.index()]
    }

    /// The kinds of fault that struck, with their numbers.
    pub fn faults_struck(&self) -> impl Iterator<Item = (FaultKind, u64)> {
        let all = FaultKind::ALL.into_iter();
        let all = all.map(|fault| (fault, self.struck(ChoiceKind::Fault(fault))));
        all.filter(|&(_, struck)| struck > 0)
    }

    /// The kinds of freedom that were taken, with their numbers.
    pub fn freedoms_taken(&self) -> impl Iterator<Item = (ChoiceKind, u64)> {
        let all = ChoiceKind::FREEDOMS.into_iter().map(|kind| (kind, self.struck(kind)));
        all.filter(|&(_, struck)| struck > 0)
    }

    /// The kinds that never struck although they had so many occasions that this is no accident: then
    /// the exploration has not tested what it says. Each with a sentence.
    #[must_use]
    pub fn silent(&self) -> Vec<String> {
        let faults = FaultKind::ALL.into_iter().filter_map(|fault| {
            let (kind, expected) = (ChoiceKind::Fault(fault), self.expected[fault as usize] / 1000);
            let silent = self.struck(kind) == 0 && expected >= STRIKES_MISSED_MAX;
            silent.then(|| {
                let (name, asked) = (fault.name(), self.asked(kind));
                format!(
                    "the fault {name} never struck: {asked} occasions, about {expected} to be expected"
                )
            })
        });
        let freedoms = ChoiceKind::FREEDOMS.into_iter().filter_map(|kind| {
            let silent = self.struck(kind) == 0 && self.runs(kind) >= RUNS_SILENT_MAX;
            silent.then(|| {
                let (name, asked, runs) = (kind.name(), self.asked(kind), self.runs(kind));
                format!("the freedom {name} was never taken: {asked} occasions in {runs} runs")
            })
        });
        faults.chain(freedoms).collect()
    }
}

impl Totals {
    /// The kinds of which nobody was ever asked, although some run under one of these sets of faults
    /// could have been: by name.
    pub fn without_occasion(&self, allowed: &[Faults]) -> impl Iterator<Item = String> {
        let asked = |kind: ChoiceKind| self.asked(kind) > 0;
        let is_allowed = |fault| allowed.iter().any(|faults| faults.per_mille(fault) > 0);
        let missed = ChoiceKind::all().filter_map(|kind| match kind {
            ChoiceKind::HealAfter
            | ChoiceKind::Random
            | ChoiceKind::DiskLoss
            | ChoiceKind::PacketLoss => None,
            ChoiceKind::Fault(fault) => {
                (is_allowed(fault) && !asked(kind)).then(|| format!("the fault {}", fault.name()))
            }
            // What a fault leaves open is open only where there are such faults.
            ChoiceKind::InterruptDelay => (is_allowed(FaultKind::PollEintr) && !asked(kind))
                .then(|| format!("the freedom {}", kind.name())),
            ChoiceKind::SpuriousItem => (is_allowed(FaultKind::SpuriousEvent) && !asked(kind))
                .then(|| format!("the freedom {}", kind.name())),
            ChoiceKind::WriteLen => (is_allowed(FaultKind::ShortWrite) && !asked(kind))
                .then(|| format!("the freedom {}", kind.name())),
            kind => (!asked(kind)).then(|| format!("the freedom {}", kind.name())),
        });
        missed.collect::<Vec<_>>().into_iter()
    }
}

/// A fault that should have struck as often as this, and never did, does so by accident once in
/// `e^40` explorations.
const STRIKES_MISSED_MAX: u64 = 40;
/// A freedom is taken in a run that asks about it with a probability of at least 1/8: a quarter of the
/// seeds take none, a quarter of the swarm's leave this one out, and a run may ask just once and get a no.
/// That none of so many runs takes it is an accident once in `(8/7)^400`, more than `10^23`, explorations.
const RUNS_SILENT_MAX: u64 = 400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dull_answers_are_asked_about_and_do_not_strike() {
        let mut tally = Tally::default();
        let fault = ChoiceKind::Fault(FaultKind::ShortWrite);
        for (kind, k) in [(fault, 0), (fault, 1), (ChoiceKind::Thread, 0)] {
            tally.add(kind, k);
        }
        let all: Vec<_> = tally.iter().collect();
        assert_eq!(all, [(ChoiceKind::Thread, 1, 0), (fault, 2, 1)]);
        let struck: Vec<_> = tally.faults_struck().collect();
        assert_eq!(struck, [(FaultKind::ShortWrite, 1)]);
        let mut copy = Tally::default();
        all.into_iter().for_each(|(kind, asked, struck)| copy.set(kind, asked, struck));
        assert_eq!(copy, tally);
    }

    #[test]
    fn what_never_strikes_is_called_out_only_when_that_is_no_accident() {
        let faults = Faults::none().with(FaultKind::ShortWrite, 20);
        let run = |kind, asked, struck| {
            let mut tally = Tally::default();
            tally.set(kind, asked, struck);
            tally
        };
        let short_write = ChoiceKind::Fault(FaultKind::ShortWrite);
        let mut totals = Totals::default();
        // 2 to be expected in each.
        (0..19).for_each(|_| totals.add(&run(short_write, 100, 0), &faults));
        (0..399).for_each(|_| totals.add(&run(ChoiceKind::EventOrder, 3, 0), &faults));
        assert!(totals.silent().is_empty(), "{:?}", totals.silent());
        let mut more = totals;
        more.merge(&totals);
        assert_eq!(
            more.silent(),
            [
                "the fault short-write never struck: 3800 occasions, about 76 to be expected",
                "the freedom event-order was never taken: 2394 occasions in 798 runs"
            ]
        );
        more.add(&run(short_write, 1, 1), &faults);
        more.add(&run(ChoiceKind::EventOrder, 1, 1), &faults);
        assert!(more.silent().is_empty(), "{:?}", more.silent());
    }
}
