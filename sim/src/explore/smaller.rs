//! A failing run of a scenario, made smaller.

use super::execution::{Execution, Options, execute};
use super::finding::Finding;
use super::violation::Property;
use crate::choice::Chosen;
use crate::scenarios::Scenario;
use crate::shrink::{self, Budget, Shrunk, Unshrinkable};
use crate::{Choice, Keep, Source};

/// How a run failed, without what is different in a smaller one: numbers, times, who waits for what.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Manner {
    property: Property,
    /// Where a panic was raised: one assertion is not another.
    location: Option<String>,
}

impl Manner {
    fn of(execution: &Execution) -> Option<Manner> {
        let property = execution.violation.as_ref()?.property;
        let panicked = execution.report.panicked.as_ref();
        let location = panicked
            .filter(|_| property == Property::Panic)
            .map(|panicked| panicked.location.clone());
        Some(Manner { property, location })
    }
}

/// Makes the run with these choices smaller, while it violates what it violates now: the same property
/// and, if that is a panic, at the same place.
///
/// `better` is told each list that is smaller than all before.
///
/// # Errors
/// The run violates nothing, or a run did not repeat itself.
pub fn shrink(
    scenario: &Scenario,
    options: &Options,
    choices: Vec<Choice>,
    budget: &Budget,
    better: impl FnMut(&[Choice]),
) -> Result<Shrunk, Unshrinkable> {
    let mut manner = None;
    let attempt = |source| {
        let execution = execute(scenario, options, source, Keep::Last(0));
        let its = Manner::of(&execution)?;
        // The first attempt says what there is to be violated.
        if *manner.get_or_insert_with(|| its.clone()) != its {
            return None;
        }
        let report = execution.report;
        let (choices, diverged, deviations) = (report.choices, report.diverged, report.deviations);
        Some(Chosen { choices, diverged, deviations })
    };
    shrink::shrink(choices, budget, attempt, better)
}

impl Finding {
    /// The finding of a smaller run that violates the same, found from this one. It keeps the seed, for
    /// the way back to the run that was found. One that did not repeat itself is left as it is, or says
    /// so from now on.
    #[must_use]
    pub fn shrunk(self, budget: &Budget) -> Finding {
        if self.nondeterminism.is_some() {
            return self;
        }
        let choices = self.choices.clone();
        match shrink(self.scenario, &self.options, choices, budget, |_| {}) {
            Ok(shrunk) => match self.smaller(shrunk) {
                Some(smaller) => smaller,
                None => self.differs("what was made of it does not fail with everything recorded"),
            },
            Err(unshrinkable) => self.differs(&unshrinkable.to_string()),
        }
    }

    fn smaller(&self, shrunk: Shrunk) -> Option<Finding> {
        let source = Source::Replay(shrunk.choices.clone());
        let execution = execute(self.scenario, &self.options, source, Keep::All);
        let finding = Finding::of(self.scenario, &self.options, self.seed, execution)?;
        let same = finding.violation.property == self.violation.property;
        same.then_some(Finding { shrunk: Some(shrunk), profile: self.profile, ..finding })
    }

    fn differs(self, how: &str) -> Finding {
        Finding { nondeterminism: Some(how.to_string()), ..self }
    }
}
