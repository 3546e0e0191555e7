//! `cargo sim replay`.

use std::fs;
use std::path::{Path, PathBuf};

use netpoll_sim::explore::{
    Execution, Finding, Options, execute, execute_up_to, faults_name, granularity_name,
};
use netpoll_sim::failure::{Failure, Program};
use netpoll_sim::names;
use netpoll_sim::scenarios::{self, Scenario, Test};
use netpoll_sim::{Keep, Profile, Source};
use netpoll_traces::{Caption, Origin, TraceFile, text};
use serde_json::{Value, json};

use crate::args::{self, ReplayArgs};
use crate::crew::{self, Autopsy, World};
use crate::explore::{finding_json, plan_of_seed};
use crate::output::{Output, to_stderr};
use crate::{Usage, Verdict, show};

/// The run to repeat.
struct Run {
    scenario: &'static Scenario,
    options: Options,
    profile: Option<Profile>,
    seed: Option<u64>,
    source: Source,
    /// The same for another process.
    order: crew::Run,
}

pub(crate) fn replay(args: &ReplayArgs, output: &mut Output) -> Result<Verdict, Usage> {
    let run = run(args)?;
    // First where it can do no harm: it may take its process along, or never come back.
    let (execution, fatal) = match crew::examine(run.order.clone(), args.patience)? {
        Autopsy::Survived => {
            (execute(run.scenario, &run.options, run.source.clone(), Keep::All), None)
        }
        Autopsy::Died { violation, step, .. } => {
            let up_to = execute_up_to(run.scenario, &run.options, run.source.clone(), step);
            (up_to, Some(violation))
        }
    };
    let end = match &fatal {
        None => execution.report.outcome.to_string(),
        Some(violation) => violation.sentence.clone(),
    };
    let execution = Execution { violation: fatal.or(execution.violation), ..execution };
    if let Some(at) = execution.report.diverged {
        let text = format!(
            "warning: the program has changed since {} was saved: its choices fit up to number {at} \
             and are 0 from there on\n",
            args.what
        );
        // It is only a warning, and the replay says the same in its header.
        let _unwritten = to_stderr(&text);
    }
    let (trace, caption) = (&execution.report.trace, caption(&run, &execution, &end));
    if let Some(path) = &args.trace {
        let (caption, trace) = (caption.clone(), trace.clone());
        let file = TraceFile { origin: Origin::Simulator, caption, trace };
        show::write(path, |out| file.write(out))?;
    }
    let text = match args.json {
        true => String::new(),
        false => show::show(trace, &caption, &args.show)?,
    };
    let json = args.json.then(|| to_json(&run, &execution, &end));
    let finding = Finding::of(run.scenario, &run.options, run.seed, execution)
        .map(|finding| Finding { profile: run.profile, ..finding });
    match (json, &finding) {
        (Some(Value::Object(mut object)), finding) => {
            let failure = finding.as_ref().map(finding_json);
            object.insert("failure".to_string(), failure.into());
            output.print(&format!("{}\n", Value::Object(object)));
        }
        (_, None) => output.print(&text),
        (_, Some(finding)) if text.is_empty() => output.print(&finding.to_string()),
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
        let plan = plan_of_seed(&args.world, scenario, seed);
        return Ok(Run {
            scenario,
            options: plan.options(seed),
            profile: plan.profile,
            seed: Some(seed),
            source: plan.source(seed),
            order: crew::Run::Seed { world: World::of(&plan), seed },
        });
    }
    let text = fs::read_to_string(what).map_err(|error| {
        let hint = match names::nearest(what, args::names()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "see `cargo sim list`".to_string(),
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
        profile: None,
        seed: failure.seed,
        source: Source::Replay(failure.choices),
        order: crew::Run::File { text },
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
    match &failure.program {
        Program::Scenario(scenario) => {
            let scenario = args::scenario(scenario)
                .map_err(|Usage(unknown)| Usage(format!("{name}: line 2: {unknown}")))?;
            Ok((failure, scenario))
        }
        Program::Test { package, version, krate, name: test } => {
            let owner = Test {
                package: package.clone(),
                version: version.clone(),
                krate: krate.clone(),
                dir: PathBuf::new(),
            };
            let command = owner.replay_command(test, Path::new(name));
            Err(Usage(format!(
                "{name}: line 2: this is a failure of a test of the package {package}; from there: {command}"
            )))
        }
    }
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

/// What is to be said about the trace.
fn caption(run: &Run, execution: &Execution, end: &str) -> Caption {
    let violation = execution.violation.as_ref();
    Caption {
        title: header(run),
        end: footer(execution, end),
        guilt: violation.map(|violation| violation.guilt(&execution.report.trace)),
    }
}

fn header(run: &Run) -> String {
    let seed = match run.seed {
        Some(seed) => format!(" seed {seed}"),
        None => String::new(),
    };
    format!(
        "{}{seed}, granularity {}, faults {}, {} workers",
        run.scenario.name,
        granularity_name(run.options.granularity),
        faults(run),
        run.options.workers
    )
}

fn faults(run: &Run) -> &'static str {
    let named = run.profile.map(Profile::name).or(faults_name(&run.options.faults));
    named.unwrap_or("custom")
}

fn footer(execution: &Execution, end: &str) -> String {
    let report = &execution.report;
    let (steps, choices) = (report.steps, report.choices.len());
    format!("{end}: {steps} steps, {choices} choices")
}

fn to_json(run: &Run, execution: &Execution, end: &str) -> Value {
    let report = &execution.report;
    let struck: serde_json::Map<String, Value> = report
        .tally
        .faults_struck()
        .map(|(kind, count)| (kind.name().to_string(), count.into()))
        .collect();
    let trace = text::render(&report.trace);
    let lines = trace.lines().filter(|line| !line.starts_with('#'));
    json!({
        "scenario": run.scenario.name,
        "seed": run.seed,
        "granularity": granularity_name(run.options.granularity),
        "faults": faults(run),
        "workers": run.options.workers,
        "outcome": end,
        "steps": report.steps,
        "choices": report.choices.len(),
        "end_ns": report.end_ns,
        "healed": report.healed,
        "faults_struck": struck,
        "diverged": report.diverged,
        "trace": lines.collect::<Vec<_>>(),
    })
}
