//! `cargo sim replay`.

use std::fs;
use std::path::Path;

use netpoll_sim::explore::{Execution, Finding, Options, execute, faults_name, granularity_name};
use netpoll_sim::failure::Failure;
use netpoll_sim::scenarios::{self, Scenario};
use netpoll_sim::{Keep, Source};
use netpoll_traces::text;
use serde_json::{Value, json};

use crate::args::{self, ReplayArgs};
use crate::explore::{finding_json, options};
use crate::output::{Output, to_stderr};
use crate::{Usage, Verdict};

/// The run to repeat.
struct Run {
    scenario: &'static Scenario,
    options: Options,
    seed: Option<u64>,
    source: Source,
}

pub(crate) fn replay(args: &ReplayArgs, output: &mut Output) -> Result<Verdict, Usage> {
    let run = run(args)?;
    let execution = execute(run.scenario, &run.options, run.source.clone(), Keep::All);
    if let Some(at) = execution.report.diverged {
        let text = format!(
            "warning: the program has changed since {} was saved: its choices fit up to number {at} \
             and are 0 from there on\n",
            args.what
        );
        // It is only a warning, and the replay says the same in its header.
        let _unwritten = to_stderr(&text);
    }
    let text = if args.json {
        String::new()
    } else {
        header(&run) + &text::render(&execution.report.trace) + &footer(&execution)
    };
    let json = args.json.then(|| to_json(&run, &execution));
    let finding = Finding::of(run.scenario, &run.options, run.seed, execution);
    match (json, &finding) {
        (Some(Value::Object(mut object)), finding) => {
            let failure = finding.as_ref().map(finding_json);
            object.insert("failure".to_string(), failure.into());
            output.print(&format!("{}\n", Value::Object(object)));
        }
        (_, None) => output.print(&text),
        (_, Some(finding)) => output.print(&format!("{text}\n{finding}")),
    }
    Ok(match finding {
        None => Verdict::Clean,
        Some(_) => Verdict::Violated,
    })
}

fn run(args: &ReplayArgs) -> Result<Run, Usage> {
    let what = &args.what;
    if let Some(scenario) = scenarios::find(what) {
        let Some(seed) = args.seed else {
            let text = format!("with which seed? As in `cargo sim replay {what} --seed 17`");
            return Err(Usage(text));
        };
        return Ok(Run {
            scenario,
            options: options(&args.world, scenario),
            seed: Some(seed),
            source: Source::Seed(seed),
        });
    }
    let text = fs::read_to_string(what).map_err(|error| {
        let hint = match args::nearest(what, args::names()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("scenarios are {}", args::known()),
        };
        Usage(format!("`{what}` is no scenario and cannot be read as a file: {error}; {hint}"))
    })?;
    let (failure, scenario) = parse(what, &text)?;
    if let Some(given) = given(args) {
        let text = format!("{given} contradicts {what}, which says that itself");
        return Err(Usage(text));
    }
    Ok(Run {
        scenario,
        options: failure.options,
        seed: failure.seed,
        source: Source::Replay(failure.choices),
    })
}

/// The failure in a file, and its program.
pub(crate) fn load(file: &Path) -> Result<(Failure, &'static Scenario), Usage> {
    let name = file.display();
    let text = fs::read_to_string(file)
        .map_err(|error| Usage(format!("`{name}` cannot be read: {error}")))?;
    parse(&name.to_string(), &text)
}

fn parse(name: &str, text: &str) -> Result<(Failure, &'static Scenario), Usage> {
    let failure = Failure::parse(text).map_err(|error| Usage(format!("{name}: {error}")))?;
    let scenario = args::scenario(&failure.scenario)
        .map_err(|Usage(unknown)| Usage(format!("{name}: line 2: {unknown}")))?;
    Ok((failure, scenario))
}

/// The first argument that a failure file leaves no room for.
fn given(args: &ReplayArgs) -> Option<&'static str> {
    let world = &args.world;
    let given = [
        (args.seed.is_some(), "--seed"),
        (world.granularity.is_some(), "--granularity"),
        (world.faults.is_some(), "--faults"),
        (world.workers.is_some(), "--workers"),
    ];
    let first = given.into_iter().find(|(given, _)| *given);
    first.map(|(_, name)| name)
}

fn header(run: &Run) -> String {
    let seed = match run.seed {
        Some(seed) => format!(" seed {seed}"),
        None => String::new(),
    };
    format!(
        "# {}{seed}, granularity {}, faults {}, {} workers\n",
        run.scenario.name,
        granularity_name(run.options.granularity),
        faults_name(&run.options.faults).unwrap_or("custom"),
        run.options.workers
    )
}

fn footer(execution: &Execution) -> String {
    let report = &execution.report;
    let (steps, choices) = (report.steps, report.choices.len());
    format!("# {}: {steps} steps, {choices} choices\n", report.outcome)
}

fn to_json(run: &Run, execution: &Execution) -> Value {
    let report = &execution.report;
    let faults: serde_json::Map<String, Value> = report
        .faults_struck
        .iter()
        .map(|(kind, count)| (kind.name().to_string(), count.into()))
        .collect();
    let trace = text::render(&report.trace);
    let lines = trace.lines().filter(|line| !line.starts_with('#'));
    json!({
        "scenario": run.scenario.name,
        "seed": run.seed,
        "granularity": granularity_name(run.options.granularity),
        "faults": faults_name(&run.options.faults).unwrap_or("custom"),
        "workers": run.options.workers,
        "outcome": report.outcome.to_string(),
        "steps": report.steps,
        "choices": report.choices.len(),
        "end_ns": report.end_ns,
        "faults_struck": faults,
        "diverged": report.diverged,
        "trace": lines.collect::<Vec<_>>(),
    })
}
