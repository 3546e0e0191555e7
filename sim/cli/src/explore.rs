//! `cargo sim explore`.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};
use std::{env, fs, process};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use netpoll_sim::explore::{self, Finding, Options, Plan};
use netpoll_sim::oracle::Oracles;
use netpoll_sim::scenarios::{self, Scenario};
use netpoll_sim::{Faults, Granularity, Profile, Totals};
use serde_json::{Value, json};

use crate::args::{self, ExploreArgs, GranularitiesArg, WorldArgs};
use crate::crew::{Crew, Summary};
use crate::output::{Output, to_stderr};
use crate::shrink::size_json;
use crate::table::{self, Table};
use crate::{Usage, Verdict};

/// Seeds of each scenario when nobody says otherwise: half a minute for all of them on a small machine.
const SEEDS_DEFAULT: u64 = 3_000;
/// Failures are made smaller for so long at most.
const SHRINK_MAX: Duration = Duration::from_secs(10);
/// The exit code of a program that was interrupted: 128 and the number of the signal.
const INTERRUPTED: i32 = 130;

pub(crate) fn explore(args: &ExploreArgs, output: &mut Output) -> Result<Verdict, Usage> {
    let plans = plans(args)?;
    let save = args.save.clone().unwrap_or_else(failures_dir);
    let table = Table::of(&plans);
    if !args.json {
        output.print(&table.header());
    }
    let interrupted = on_interrupt()?;
    let start = Instant::now();
    // Nothing is heard while a failure is made smaller, which must not be taken for silence.
    let shrink = (!args.no_shrink).then(|| SHRINK_MAX.min(args.patience / 2));
    let mut crew = Crew::new(args.jobs, args.patience, shrink);
    let mut done: Vec<Summary> = Vec::new();
    let planned = plans.len();
    for (index, mut plan) in plans.into_iter().enumerate() {
        if let Some(time) = args.time {
            let left = time.saturating_sub(start.elapsed());
            plan.time = Some(left / (planned - index) as u32);
        }
        let mut summary = run(&mut crew, plan, &interrupted)?;
        if let Some(found) = &mut summary.found
            && let Err(error) = found.save(&save)
        {
            let dir = save.display();
            let text = format!("warning: the failure cannot be saved in {dir}: {error}\n");
            // The report is still to come, on standard output.
            let _unwritten = to_stderr(&text);
        }
        if !args.json {
            output.print(&table.row(&summary));
        }
        done.push(summary);
        if interrupted.load(Relaxed) {
            break;
        }
    }
    let interrupted = interrupted.load(Relaxed);
    let silent = silent(args, &done, done.len() == planned && !interrupted);
    let violated = done.iter().any(|summary| summary.found.is_some()) || !silent.is_empty();
    if args.json {
        let all: Vec<Value> = done.iter().map(table::to_json).collect();
        let object = json!({
            "violated": violated,
            "interrupted": interrupted,
            "silent": silent,
            "scenarios": all,
        });
        output.print(&format!("{object}\n"));
    } else {
        output.print(&table::conclusion(&done, planned, &silent, start.elapsed()));
    }
    Ok(match (interrupted, violated) {
        (true, _) => Verdict::Interrupted,
        (false, true) => Verdict::Violated,
        (false, false) => Verdict::Clean,
    })
}

/// A flag that Ctrl-C raises; the second one ends the process at once.
fn on_interrupt() -> Result<Arc<AtomicBool>, Usage> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let raised = Arc::clone(&interrupted);
    let handler = move || {
        if raised.swap(true, Relaxed) {
            process::exit(INTERRUPTED);
        }
    };
    ctrlc::set_handler(handler)
        .map_err(|error| Usage(format!("cannot listen for Ctrl-C: {error}")))?;
    Ok(interrupted)
}

/// What was to strike and never did, if that is no accident: then the exploration is not what it says.
fn silent(args: &ExploreArgs, done: &[Summary], complete: bool) -> Vec<String> {
    let mut totals = Totals::default();
    done.iter().for_each(|summary| totals.merge(&summary.progress.totals));
    let mut silent = totals.silent();
    let runs: u64 = done.iter().map(|summary| summary.progress.seeds).sum();
    // That no scenario at all has an occasion is a question to the whole library only.
    if args.all && complete && runs >= RUNS_WITHOUT_OCCASION {
        let allowed: Vec<Faults> = done.iter().map(|summary| allowed(&summary.plan)).collect();
        silent.extend(totals.without_occasion(&allowed).map(|name| {
            format!("{name} had no occasion in {runs} runs of all scenarios: nothing tests it")
        }));
        for (index, about) in Oracles::abouts().iter().enumerate() {
            if done.iter().all(|summary| summary.progress.checks[index] == 0) {
                let name = about.name();
                silent.push(format!("the oracle {name} had nothing to check in {runs} runs"));
            }
        }
    }
    silent
}

/// After so many runs of all scenarios, each kind of fault and freedom must have had an occasion.
const RUNS_WITHOUT_OCCASION: u64 = 20_000;

/// The faults that some seed of a plan may have.
fn allowed(plan: &Plan) -> Faults {
    match plan.profile {
        Some(Profile::Swarm) => Faults::chaos(),
        Some(profile) => profile.faults(0),
        None => plan.options.faults,
    }
}

/// What was asked for: each scenario once, at each granularity.
fn plans(args: &ExploreArgs) -> Result<Vec<Plan>, Usage> {
    let granularities = match args.granularity {
        None => vec![None],
        Some(GranularitiesArg::Syscall) => vec![Some(Granularity::Syscall)],
        Some(GranularitiesArg::Atomic) => vec![Some(Granularity::Atomic)],
        Some(GranularitiesArg::Both) => vec![Some(Granularity::Syscall), Some(Granularity::Atomic)],
    };
    let mut plans = Vec::new();
    for scenario in scenarios(args)? {
        for granularity in &granularities {
            plans.push(plan(args, scenario, *granularity)?);
        }
    }
    Ok(plans)
}

/// The scenarios that were asked for, each once.
fn scenarios(args: &ExploreArgs) -> Result<Vec<&'static Scenario>, Usage> {
    if args.all {
        return Ok(scenarios::all().iter().collect());
    }
    if args.names.is_empty() {
        let text = "which scenario? Give names or --all; see `cargo sim list`";
        return Err(Usage(text.to_string()));
    }
    let mut chosen: Vec<&'static Scenario> = Vec::new();
    for name in &args.names {
        let scenario = args::scenario(name)?;
        if chosen.iter().all(|other| other.name != scenario.name) {
            chosen.push(scenario);
        }
    }
    Ok(chosen)
}

fn plan(
    args: &ExploreArgs,
    scenario: &'static Scenario,
    granularity: Option<Granularity>,
) -> Result<Plan, Usage> {
    let count = match (args.seeds, args.time) {
        (Some(count), _) => count,
        (None, None) => SEEDS_DEFAULT,
        (None, Some(_)) => u64::MAX - args.start,
    };
    let end = args.start.checked_add(count).ok_or_else(|| {
        let start = args.start;
        Usage(format!("--start {start} --seeds {count}: seeds end before 2^64 - 1"))
    })?;
    let mut options = Options::of(scenario);
    if let Some(granularity) = granularity {
        options.granularity = granularity;
    }
    if let Some(workers) = args.workers {
        options.workers = workers;
    }
    Ok(Plan {
        options,
        profile: args.faults.map(Profile::from),
        check_determinism: args.check_determinism,
        ..Plan::new(scenario, args.start..end)
    })
}

/// What the scenario asks for in the run of a seed, unless the arguments say otherwise.
pub(crate) fn plan_of_seed(args: &WorldArgs, scenario: &'static Scenario, seed: u64) -> Plan {
    let mut options = Options::of(scenario);
    if let Some(granularity) = args.granularity {
        options.granularity = granularity.into();
    }
    if let Some(workers) = args.workers {
        options.workers = workers;
    }
    let seeds = seed..seed.saturating_add(1);
    Plan { options, profile: args.faults.map(Profile::from), ..Plan::new(scenario, seeds) }
}

fn run(crew: &mut Crew, plan: Plan, interrupted: &AtomicBool) -> Result<Summary, Usage> {
    let count = plan.seeds.end - plan.seeds.start;
    let bar = if io::stderr().is_terminal() {
        ProgressBar::with_draw_target(Some(count), ProgressDrawTarget::stderr())
    } else {
        ProgressBar::hidden()
    };
    let template = "{prefix} {wide_bar} {human_pos} seeds, {per_sec}, {eta} left";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_prefix(plan.scenario.name);
    let watch = |progress: &explore::Progress| bar.set_position(progress.seeds);
    let summary = crew.explore(plan, &watch, &|| interrupted.load(Relaxed));
    bar.finish_and_clear();
    summary
}

/// The path as it is typed in the current directory.
pub(crate) fn from_here(path: PathBuf) -> PathBuf {
    let here = env::current_dir().ok();
    let short = here.and_then(|here| Some(path.strip_prefix(here).ok()?.to_path_buf()));
    short.unwrap_or(path)
}

/// `traces/failures` of the workspace that `cargo sim` was typed in, else of the current directory.
pub(crate) fn failures_dir() -> PathBuf {
    let here = env::current_dir().unwrap_or_default();
    let is_root = |dir: &&Path| {
        let manifest = fs::read_to_string(dir.join("Cargo.toml"));
        manifest.is_ok_and(|text| text.contains("[workspace]")) && dir.join("traces").is_dir()
    };
    let root = here.ancestors().find(is_root);
    root.unwrap_or(&here).join("traces").join("failures")
}

/// A finding as it stands in every JSON object.
pub(crate) fn finding_json(finding: &Finding) -> Value {
    let goroutine = |g: &netpoll::runtime::GoroutineState| json!({ "id": g.id, "worker": g.worker, "status": explore::status_text(g.status) });
    let goroutines: Vec<Value> = finding.goroutines.iter().map(goroutine).collect();
    json!({
        "seed": finding.seed,
        "property": finding.violation.property.name(),
        "sentence": finding.violation.sentence,
        "panicked": finding.panicked,
        "goroutines": goroutines,
        "last_events": finding.events,
        "choices": finding.choices.len(),
        "needs": finding.needs,
        "original": finding.shrunk.as_ref().map(|shrunk| size_json(shrunk.before)),
        "replay": finding.replay_command(),
        "file": finding.saved.as_ref().map(|path| path.display().to_string()),
        "nondeterminism": finding.nondeterminism,
    })
}

/// How long something took, for people.
pub(crate) fn seconds(elapsed: Duration) -> String {
    format!("{:.1} s", elapsed.as_secs_f64())
}
