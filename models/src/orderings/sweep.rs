//! Weakening every ordering by one step, and seeing which model notices.
//!
//! First every model runs under loom as it is, and says which places it passes. Then, for every access
//! and every way to make it one step weaker, the models that pass it run again with that access bent,
//! the quickest first, until one fails. A weakening that none notices is either a proof that is owed, or
//! an ordering that is stronger than needed, or beyond what loom can see; `reasons.rs` says which.

use std::io;
use std::sync::atomic::Ordering;

use super::{Operation, Site, weaker};
use crate::check::Checker;
use crate::child::{Job, Parent, Passed, Verdict};
use crate::platform::probe::{Bend, Place};
use crate::{crew, protocols};

/// One weakening of one access, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The access.
    pub site: Site,
    /// The orderings that were used instead; `None` where there is nothing weaker, no ordering for a
    /// fence that was left out.
    pub weaker: Option<Vec<Ordering>>,
    /// Who noticed.
    pub outcome: Outcome,
}

/// What came of a weakening.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The access is as weak as can be.
    Weakest,
    /// A model failed.
    Caught {
        /// Its name.
        model: String,
        /// In which execution.
        execution: u64,
        /// How.
        what: String,
    },
    /// All models that pass the access held.
    Survived {
        /// How many they are.
        models: usize,
    },
    /// No model passes the access.
    NotPassed,
}

/// A model as it is: its name, how long it takes (in executions, so that every machine makes the same
/// table), and where it passes.
struct Known {
    name: String,
    executions: u64,
    places: Vec<Place>,
}

/// Weakens every access in turn. `watch` is told of each row as it is done, from several threads.
///
/// # Errors
/// When a child cannot be run, or a model does not hold as it is.
pub fn sweep(
    parent: &Parent,
    sites: &[Site],
    hands: usize,
    watch: &(dyn Fn(&Row) + Sync),
) -> io::Result<Vec<Row>> {
    let known = baseline(parent, hands)?;
    let todo: Vec<(&Site, Option<Vec<Ordering>>)> = sites
        .iter()
        .flat_map(|site| {
            let steps = weaker(site.operation, &site.orderings);
            let none = steps.is_empty().then_some(None);
            steps.into_iter().map(Some).chain(none).map(move |step| (site, step))
        })
        .collect();
    let one = |index: usize| {
        let (site, weaker) = &todo[index];
        let outcome = match weaker {
            None => Outcome::Weakest,
            Some(weaker) => try_out(parent, &known, site, weaker)?,
        };
        let row = Row { site: (*site).clone(), weaker: weaker.clone(), outcome };
        watch(&row);
        Ok(row)
    };
    crew::each(todo.len(), hands, &one).into_iter().collect()
}

/// Models with more executions, and those that are not complete, take no part: they are whole runtimes, in
/// which loom's two switches are far from every access, and each survivor would cost minutes.
const EXECUTIONS_MAX: u64 = 30_000;

/// The models that take part, under loom as they are, the quickest first.
fn baseline(parent: &Parent, hands: usize) -> io::Result<Vec<Known>> {
    let models = protocols::all().filter(|model| model.loom.is_some());
    let jobs: Vec<Job> = models.map(|model| Job::new(model.name, Checker::Loom)).collect();
    let verdicts = crew::run(parent, &jobs, hands, &())?;
    let known = jobs.into_iter().zip(verdicts).map(|(job, verdict)| match verdict {
        Verdict::Passed(passed) => {
            let Passed { certificate, places, .. } = *passed;
            let takes_part = certificate.complete && certificate.executions <= EXECUTIONS_MAX;
            let known = Known { name: job.model, executions: certificate.executions, places };
            Ok(takes_part.then_some(known))
        }
        Verdict::Violated(violated) => Err(io::Error::other(format!(
            "{} does not hold as it is: {}",
            job.model, violated.what
        ))),
    });
    let known = known.filter_map(Result::transpose);
    let mut known: Vec<Known> = known.collect::<io::Result<_>>()?;
    known.sort_by_key(|model| model.executions);
    Ok(known)
}

fn try_out(
    parent: &Parent,
    known: &[Known],
    site: &Site,
    weaker: &[Ordering],
) -> io::Result<Outcome> {
    let place = Place { file: site.file.clone(), line: site.line, column: site.column };
    let passing = || known.iter().filter(|known| known.places.contains(&place));
    let bend = Bend { place: place.clone(), orderings: weaker.to_vec() }.to_string();
    for model in passing() {
        let bend = Some(bend.clone());
        let job = Job { bend, ..Job::new(&model.name, Checker::Loom) };
        if let Verdict::Violated(violated) = parent.run(&job, &|_, _| {})? {
            let (model, execution) = (job.model, violated.execution);
            return Ok(Outcome::Caught { model, execution, what: violated.what });
        }
    }
    Ok(match passing().count() {
        0 => Outcome::NotPassed,
        models => Outcome::Survived { models },
    })
}

impl Row {
    /// Whether it is a fence, which no reason excuses.
    #[must_use]
    pub fn is_fence(&self) -> bool {
        self.site.operation == Operation::Fence
    }
}
