//! `cargo sim shrink`.
//!
//! The file is replaced whenever there is something smaller to replace it by, each time in one step: who
//! loses patience and types Ctrl-C has a file that fails, as small as it was by then.

use std::io::{self, IsTerminal};
use std::path::Path;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use netpoll_sim::explore::{self, Finding, execute, sentence};
use netpoll_sim::failure::{Failure, Original};
use netpoll_sim::scenarios::Scenario;
use netpoll_sim::shrink::{Budget, End, Shrunk, Size};
use netpoll_sim::{Choice, Keep, Source};
use serde_json::{Value, json};

use crate::args::ShrinkArgs;
use crate::explore::finding_json;
use crate::output::Output;
use crate::replay::load;
use crate::{Usage, Verdict};

/// How long the file may be behind what has been found.
const SAVE_EVERY: Duration = Duration::from_secs(1);

pub(crate) fn shrink(args: &ShrinkArgs, output: &mut Output) -> Result<Verdict, Usage> {
    let name = args.file.display();
    let (failure, scenario) = load(&args.file)?;
    still_fails(&failure, scenario).map_err(|why| Usage(format!("{name}: {why}")))?;
    let out = args.out.as_deref().unwrap_or(&args.file);
    let budget = Budget { time: args.time, ..Budget::default() };
    let start = Instant::now();
    let bar = spinner();
    let mut saved = Saved { out, failure: &failure, at: start, unsaved: Ok(()) };
    let choices = failure.choices.clone();
    let shrunk = explore::shrink(scenario, &failure.options, choices, &budget, |list| {
        let Size { deviations, len, .. } = Size::of(list);
        bar.set_message(format!("{deviations} of {len} choices are not the dullest"));
        saved.better(list);
    });
    bar.finish_and_clear();
    let shrunk = shrunk.map_err(|why| Usage(format!("{name}: {why}")))?;
    let finding = finding(&failure, scenario, &shrunk)
        .ok_or_else(|| Usage(format!("{name}: a run did not repeat itself")))?;
    saved.unsaved.and_then(|()| smaller(&failure, &finding).write(out)).map_err(|error| {
        let out = out.display();
        Usage(format!("{out} cannot be written: {error}"))
    })?;
    let finding = Finding { saved: Some(out.to_path_buf()), ..finding };
    if args.json {
        output.print(&format!("{}\n", to_json(&finding, &shrunk, start.elapsed())));
    } else {
        output.print(&text(&finding, &shrunk, start.elapsed()));
    }
    Ok(Verdict::Violated)
}

/// Whether the run violates what the file says.
fn still_fails(failure: &Failure, scenario: &Scenario) -> Result<(), String> {
    let source = Source::Replay(failure.choices.clone());
    let execution = execute(scenario, &failure.options, source, Keep::Last(0));
    match execution.violation {
        Some(violation) if violation.property == failure.property => Ok(()),
        Some(violation) => Err(format!("it fails in another way now: {violation}")),
        None => Err("it does not fail any more".to_string()),
    }
}

/// What is on the disk while the search goes on.
struct Saved<'a> {
    out: &'a Path,
    failure: &'a Failure,
    at: Instant,
    unsaved: io::Result<()>,
}

impl Saved<'_> {
    fn better(&mut self, list: &[Choice]) {
        if self.at.elapsed() < SAVE_EVERY || self.unsaved.is_err() {
            return;
        }
        let original = Some(original(self.failure));
        let choices = list.to_vec();
        let failure = Failure { needs: None, original, choices, ..self.failure.clone() };
        self.unsaved = failure.write(self.out);
        self.at = Instant::now();
    }
}

/// The size of the first run of all that the file comes from.
fn original(failure: &Failure) -> Original {
    failure.original.unwrap_or_else(|| {
        let Size { deviations, len, .. } = Size::of(&failure.choices);
        Original { choices: len, deviations }
    })
}

/// The finding of the smallest run.
fn finding(failure: &Failure, scenario: &'static Scenario, shrunk: &Shrunk) -> Option<Finding> {
    let source = Source::Replay(shrunk.choices.clone());
    let execution = execute(scenario, &failure.options, source, Keep::All);
    let finding = Finding::of(scenario, &failure.options, failure.seed, execution)?;
    let same = finding.violation.property == failure.property;
    same.then(|| Finding { shrunk: Some(shrunk.clone()), ..finding })
}

fn smaller(failure: &Failure, finding: &Finding) -> Failure {
    Failure { original: Some(original(failure)), ..Failure::from(finding) }
}

fn spinner() -> ProgressBar {
    let target = if io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(None, target);
    if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {msg}") {
        bar.set_style(style);
    }
    bar
}

fn text(finding: &Finding, shrunk: &Shrunk, elapsed: Duration) -> String {
    let Shrunk { before, after, .. } = shrunk;
    format!(
        "{finding}\nchoices that are not the dullest: {} before, {} after; choices in all: {} before, {} \
         after; {:.1} s\n",
        before.deviations,
        after.deviations,
        before.len,
        after.len,
        elapsed.as_secs_f64()
    )
}

fn to_json(finding: &Finding, shrunk: &Shrunk, elapsed: Duration) -> Value {
    let end = match shrunk.end {
        End::Smallest => "smallest",
        End::Time => "time",
        End::Attempts => "attempts",
    };
    json!({
        "violated": true,
        "before": size_json(shrunk.before),
        "after": size_json(shrunk.after),
        "attempts": shrunk.attempts,
        "end": end,
        "seconds": elapsed.as_secs_f64(),
        "needs": finding.needs.as_deref().map(sentence),
        "failure": finding_json(finding),
    })
}

/// A size as it stands in every JSON object.
pub(crate) fn size_json(size: Size) -> Value {
    json!({ "deviations": size.deviations, "choices": size.len, "sum": size.sum })
}
