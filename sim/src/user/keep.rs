//! Failure files and traces: where they lie, and that they are tried first.
//!
//! A failure of a test lies in the folder `netpoll-failures` of its package, and is tried before any seed whenever the
//! test runs, until somebody removes it: committed together with what mends it, it keeps that mended.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use netpoll_traces::{Caption, html, lanes, text, write_whole};

use super::place::Place;
use super::settings::Settings;
use super::watchdog::Watchdog;
use super::{Passed, Reason};
use crate::explore::{Execution, Finding, Plan, RunNumbers, execute};
use crate::failure::{Failure, Program};
use crate::scenarios::Scenario;
use crate::{Keep, Source};

/// The folder in the package.
const FOLDER: &str = "netpoll-failures";

/// Keeps a failure, and says `notes` and whatever else is to be said.
pub(super) fn save(
    finding: Finding,
    mut notes: Vec<String>,
    place: &Place,
    settings: &Settings,
) -> Reason {
    let mut finding = Box::new(finding);
    if settings.keep {
        let dir = place.test.dir.join(FOLDER);
        match Failure::from(&*finding).save(&dir) {
            Ok(path) => finding.saved = Some(path),
            Err(error) => {
                notes.push(format!("the failure cannot be saved in {}: {error}", dir.display()));
            }
        }
    }
    Reason::Run { finding, notes }
}

/// Tries the failures that lie in the folder. Returns how many there are.
pub(super) fn try_saved(
    watchdog: &Watchdog<'_>,
    plan: &Plan,
    place: &Place,
    settings: &Settings,
) -> Result<usize, Reason> {
    let dir = place.test.dir.join(FOLDER);
    let Ok(entries) = fs::read_dir(&dir) else {
        // Nothing has failed yet.
        return Ok(0);
    };
    let prefix = format!("{}-", Program::of(plan.scenario).file_stem());
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "failure"))
        .filter(|path| {
            path.file_name().is_some_and(|it| it.display().to_string().starts_with(&prefix))
        })
        .collect();
    paths.sort();
    let mut count = 0;
    for path in paths {
        let failure = load(&path)?;
        if is_of(&failure, place) {
            again(watchdog, plan.scenario, &path, failure, settings)?;
            count += 1;
        }
    }
    Ok(count)
}

/// Replays one file, which must be of this test.
pub(super) fn replay(
    watchdog: &Watchdog<'_>,
    plan: &Plan,
    place: &Place,
    settings: &Settings,
    path: &Path,
) -> Result<Passed, Reason> {
    let failure = load(path)?;
    if !is_of(&failure, place) {
        let why = format!("it is of {}, and this is {}", failure.program, place.name);
        return Err(Reason::File { path: path.to_path_buf(), why });
    }
    let faults = failure.options.faults;
    let execution = again(watchdog, plan.scenario, path, failure, settings)?;
    let mut passed = Passed::nothing(place.clone(), 1);
    passed.progress.add(&RunNumbers::from(&execution), &faults);
    Ok(passed)
}

/// The run of a file once more, which fails or not.
fn again(
    watchdog: &Watchdog<'_>,
    scenario: &'static Scenario,
    path: &Path,
    failure: Failure,
    settings: &Settings,
) -> Result<Execution, Reason> {
    watchdog.begins_file(path, &failure);
    let source = Source::Replay(failure.choices);
    let execution = execute(scenario, &failure.options, source, Keep::All);
    watchdog.ends_here(&execution);
    let mut notes = traced(&execution, scenario, settings);
    if let Some(at) = execution.report.diverged {
        let path = path.display();
        notes.push(format!(
            "the program has changed since {path} was saved: its choices fit up to number {at} and are 0 from there on"
        ));
    }
    if execution.violation.is_none() {
        notes.iter().for_each(|note| eprintln!("netpoll-sim: {note}"));
        return Ok(execution);
    }
    let finding = Finding::of(scenario, &failure.options, failure.seed, execution);
    let finding = finding.expect("the run has violated something");
    let finding = Finding { saved: Some(path.to_path_buf()), ..finding };
    Err(Reason::Run { finding: Box::new(finding), notes })
}

/// Writes the trace of a run, if it is wanted; returns what is to be said of it.
pub(super) fn traced(
    execution: &Execution,
    scenario: &Scenario,
    settings: &Settings,
) -> Vec<String> {
    let Some(dir) = &settings.trace else { return Vec::new() };
    let write = || {
        fs::create_dir_all(dir)?;
        let report = &execution.report;
        let caption = Caption {
            title: scenario.name.to_string(),
            end: report.outcome.to_string(),
            guilt: execution.violation.as_ref().map(|violation| violation.guilt(&report.trace)),
        };
        let stem = Program::of(scenario).file_stem();
        let path = |extension| dir.join(format!("{stem}.{extension}"));
        let (page, brief) = (path("html"), path("txt"));
        write_whole(&page, |out| html::write(&report.trace, &caption, out))?;
        let lines = lanes::render(&report.trace, &caption, &lanes::Options::default());
        write_whole(&brief, |out| out.write_all(lines.as_bytes()))?;
        let log = path("log");
        let all = text::render(&report.trace);
        write_whole(&log, |out| out.write_all(all.as_bytes()))?;
        let (page, lanes, log) = (page.display(), brief.display(), log.display());
        Ok::<_, io::Error>(format!("trace: {page}, in brief {lanes}, and every event {log}"))
    };
    vec![write().unwrap_or_else(|error| {
        format!("the trace cannot be written in {}: {error}", dir.display())
    })]
}

/// Runs what failed once more for its trace, if that is wanted. It must be something that ends.
pub(super) fn trace_of_failure(finding: &Finding, settings: &Settings) -> Vec<String> {
    if settings.trace.is_none() {
        return Vec::new();
    }
    // Of the smaller run, if it was made smaller.
    let source = Source::Replay(finding.choices.clone());
    let execution = execute(finding.scenario, &finding.options, source, Keep::All);
    traced(&execution, finding.scenario, settings)
}

/// The trace of one seed that has passed, if it is wanted.
pub(super) fn trace_of_seed(plan: &Plan, settings: &Settings) {
    let is_one = plan.seeds.end - plan.seeds.start == 1;
    if settings.trace.is_some() && is_one {
        let seed = plan.seeds.start;
        let execution = execute(plan.scenario, &plan.options(seed), plan.source(seed), Keep::All);
        let notes = traced(&execution, plan.scenario, settings);
        notes.iter().for_each(|note| eprintln!("netpoll-sim: {note}"));
    }
}

fn load(path: &Path) -> Result<Failure, Reason> {
    let wrong = |why| Reason::File { path: path.to_path_buf(), why };
    let text =
        fs::read_to_string(path).map_err(|error| wrong(format!("cannot be read: {error}")))?;
    Failure::parse(&text).map_err(|error| wrong(error.to_string()))
}

fn is_of(failure: &Failure, place: &Place) -> bool {
    match &failure.program {
        Program::Scenario(_) => false,
        // The version is for the reader: a new one is to be held against what an old one did.
        Program::Test { package, krate, name, .. } => {
            let (test, own) = (&place.test, &place.name);
            (package, krate, name) == (&test.package, &test.krate, own)
        }
    }
}
