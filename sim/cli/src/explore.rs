//! `cargo sim explore`.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, fs};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use netpoll_sim::explore::{self, Finding, Options, Plan, Summary};
use netpoll_sim::failure::Failure;
use netpoll_sim::scenarios::{self, Scenario};
use netpoll_sim::shrink::Budget;
use serde_json::{Value, json};

use crate::args::{self, ExploreArgs, WorldArgs};
use crate::output::{Output, commas, to_stderr};
use crate::shrink::size_json;
use crate::{Usage, Verdict};

/// Seeds of each scenario when nobody says otherwise: seconds on a small machine.
const SEEDS_DEFAULT: u64 = 10_000;

pub(crate) fn explore(args: &ExploreArgs, output: &mut Output) -> Result<Verdict, Usage> {
    let chosen = scenarios(args)?;
    let plan = |scenario| plan(args, scenario);
    let plans: Vec<Plan> = chosen.into_iter().map(plan).collect::<Result<_, _>>()?;
    let save = args.save.clone().unwrap_or_else(failures_dir);
    let table = Table::of(&plans);
    if !args.json {
        output.print(&table.header());
    }
    let start = Instant::now();
    let mut summaries = Vec::new();
    for (index, mut plan) in plans.into_iter().enumerate() {
        if let Some(time) = args.time {
            let left = time.saturating_sub(start.elapsed());
            plan.time = Some(left / (table.scenarios - index) as u32);
        }
        let mut summary = run(&plan);
        if let Some(mut finding) = summary.finding.take() {
            if !args.no_shrink {
                finding = finding.shrunk(&Budget::default());
            }
            keep(&mut finding, &save);
            summary.finding = Some(finding);
        }
        if !args.json {
            output.print(&table.row(&summary));
        }
        summaries.push(summary);
    }
    let violated = summaries.iter().any(|summary| summary.finding.is_some());
    if args.json {
        let all: Vec<Value> = summaries.iter().map(to_json).collect();
        let object = json!({ "violated": violated, "scenarios": all });
        output.print(&format!("{object}\n"));
    } else {
        output.print(&conclusion(&summaries, start.elapsed()));
    }
    Ok(if violated { Verdict::Violated } else { Verdict::Clean })
}

/// The scenarios that were asked for, each once.
fn scenarios(args: &ExploreArgs) -> Result<Vec<&'static Scenario>, Usage> {
    if args.all {
        return Ok(scenarios::all().iter().collect());
    }
    if args.names.is_empty() {
        let text = format!("which scenario? Give names or --all; there are {}", args::known());
        return Err(Usage(text));
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

fn plan(args: &ExploreArgs, scenario: &'static Scenario) -> Result<Plan, Usage> {
    let count = match (args.seeds, args.time) {
        (Some(count), _) => count,
        (None, None) => SEEDS_DEFAULT,
        (None, Some(_)) => u64::MAX - args.start,
    };
    let end = args.start.checked_add(count).ok_or_else(|| {
        let start = args.start;
        Usage(format!("--start {start} --seeds {count}: seeds end before 2^64 - 1"))
    })?;
    Ok(Plan {
        scenario,
        seeds: args.start..end,
        time: None,
        options: options(&args.world, scenario),
        jobs: args.jobs,
    })
}

/// What the scenario asks for, unless the arguments say otherwise.
pub(crate) fn options(args: &WorldArgs, scenario: &Scenario) -> Options {
    let mut options = Options::of(scenario);
    if let Some(faults) = args.faults {
        options.faults = faults.into();
    }
    if let Some(granularity) = args.granularity {
        options.granularity = granularity.into();
    }
    if let Some(workers) = args.workers {
        options.workers = workers;
    }
    options
}

fn run(plan: &Plan) -> Summary {
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
    let summary = explore::explore(plan, &|progress| bar.set_position(progress.seeds));
    bar.finish_and_clear();
    summary
}

/// Saves a finding. That it cannot be saved must not hide it.
fn keep(finding: &mut Finding, dir: &Path) {
    match Failure::from(&*finding).save(dir) {
        Ok(path) => finding.saved = Some(from_here(path)),
        Err(error) => {
            let dir = dir.display();
            let text = format!("warning: the failure cannot be saved in {dir}: {error}\n");
            // The report is still to come, on standard output.
            let _unwritten = to_stderr(&text);
        }
    }
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

/// The table of results, one row as soon as a scenario is done.
struct Table {
    scenarios: usize,
    width: usize,
}

impl Table {
    fn of(plans: &[Plan]) -> Table {
        let names = plans.iter().map(|plan| plan.scenario.name.len());
        Table { scenarios: plans.len(), width: names.max().unwrap_or(0).max("scenario".len()) }
    }

    fn header(&self) -> String {
        format!(
            "{:w$}  {:>10}  {:>13}  {:>10}  {:>9}  {:9}  faults that struck\n",
            "scenario",
            "seeds",
            "steps",
            "steps/s",
            "virtual",
            "result",
            w = self.width
        )
    }

    fn row(&self, summary: &Summary) -> String {
        let progress = &summary.progress;
        let result = match summary.finding {
            None => "clean",
            Some(_) => "VIOLATED",
        };
        let faults: Vec<String> = progress
            .faults_struck()
            .map(|(kind, count)| format!("{} {}", commas(count), kind.name()))
            .collect();
        let faults = match faults.as_slice() {
            [] => "none".to_string(),
            faults => faults.join(", "),
        };
        format!(
            "{:w$}  {:>10}  {:>13}  {:>10}  {:>8.1}s  {result:9}  {faults}\n",
            summary.scenario.name,
            commas(progress.seeds),
            commas(progress.steps),
            commas(per_second(progress.steps, summary.elapsed)),
            progress.virtual_ns as f64 / 1e9,
            w = self.width
        )
    }
}

fn per_second(count: u64, elapsed: Duration) -> u64 {
    (count as f64 / elapsed.as_secs_f64().max(1e-9)) as u64
}

/// The reports, and the sum of it all.
fn conclusion(summaries: &[Summary], elapsed: Duration) -> String {
    let mut text = String::new();
    let findings: Vec<&Finding> = summaries.iter().filter_map(|s| s.finding.as_ref()).collect();
    for finding in &findings {
        text += &format!("\n{finding}");
    }
    let seeds: u64 = summaries.iter().map(|summary| summary.progress.seeds).sum();
    let (seeds, seconds) = (commas(seeds), elapsed.as_secs_f64());
    let found = match findings.len() {
        0 => "nothing found".to_string(),
        n => format!("{n} of {} scenarios violated a property", summaries.len()),
    };
    text + &format!("\n{found} in {seeds} runs and {seconds:.1} s\n")
}

fn to_json(summary: &Summary) -> Value {
    let progress = &summary.progress;
    let faults: serde_json::Map<String, Value> = progress
        .faults_struck()
        .map(|(kind, count)| (kind.name().to_string(), count.into()))
        .collect();
    json!({
        "name": summary.scenario.name,
        "seeds": progress.seeds,
        "steps": progress.steps,
        "virtual_ns": progress.virtual_ns,
        "seconds": summary.elapsed.as_secs_f64(),
        "faults_struck": faults,
        "failure": summary.finding.as_ref().map(finding_json),
    })
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
