//! `cargo sim models`.

use std::io::{self, IsTerminal};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};
use std::{env, fs, process};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use netpoll_models::check::{Certificate, Checker, Failure, Model, footing, heading, table};
use netpoll_models::child::{Job, Parent, Verdict as Outcome, Violated};
use netpoll_models::{crew, protocols};
use netpoll_sim::names::nearest;
use serde_json::{Value, json};

use crate::args::ModelsArgs;
use crate::explore::{failures_dir, from_here};
use crate::output::{Output, to_stderr};
use crate::{Usage, Verdict};

/// How long one model may take in the quick profile; it takes seconds.
const PATIENCE_QUICK: Duration = Duration::from_secs(15 * 60);
/// The same in the deep profile.
const PATIENCE_DEEP: Duration = Duration::from_secs(12 * 60 * 60);

/// How long one failing run is made smaller, and all of them together.
const SHRINK_ONE: Duration = Duration::from_secs(10);
const SHRINK_ALL: Duration = Duration::from_secs(60);

pub(crate) fn models(args: &ModelsArgs, output: &mut Output) -> Result<Verdict, Usage> {
    let jobs = match &args.replay {
        Some(file) => vec![replay(file)?],
        None => jobs(args)?,
    };
    let patience = if args.deep { PATIENCE_DEEP } else { PATIENCE_QUICK };
    let parent = parent(patience);
    let start = Instant::now();
    if !args.json {
        output.print(&format!("{}\n", heading()));
    }
    let rows = Rows::new(&jobs, args.json, output);
    let verdicts = crew::run(&parent, &jobs, hands(args.jobs), &rows).map_err(cannot_run)?;
    rows.finish();
    let certificates: Vec<Certificate> = verdicts
        .iter()
        .filter_map(|verdict| match verdict {
            Outcome::Passed(passed) => Some(passed.certificate.clone()),
            Outcome::Violated(_) => None,
        })
        .collect();
    let violated = jobs.iter().zip(&verdicts).filter_map(|(job, verdict)| match verdict {
        Outcome::Passed(_) => None,
        Outcome::Violated(violated) => Some((job, violated)),
    });
    let mut violated: Vec<(&Job, Violated)> =
        violated.map(|(job, violated)| (job, violated.clone())).collect();
    // With --json nothing is kept.
    if !args.no_shrink && !args.json {
        shrink(&parent, &mut violated).map_err(cannot_run)?;
    }
    if args.json {
        output.print(&format!("{}\n", to_json(&certificates, &violated)));
    } else {
        output.print(&conclusion(&certificates, &violated, start.elapsed()));
    }
    if args.save && violated.is_empty() {
        save("certificates.txt", &table(&certificates))?;
    }
    Ok(if violated.is_empty() { Verdict::Clean } else { Verdict::Violated })
}

/// Makes failing runs smaller that are about to be kept.
fn shrink(parent: &Parent, violated: &mut [(&Job, Violated)]) -> io::Result<()> {
    let is_new = |(job, violated): &&mut (&Job, Violated)| {
        job.replay.is_none() && !violated.choices.is_empty()
    };
    let count = violated.iter_mut().filter(is_new).count();
    for (job, violated) in violated.iter_mut().filter(is_new) {
        let time = (SHRINK_ALL / count as u32).min(SHRINK_ONE);
        *violated = parent.shrink(job, violated, time)?;
    }
    Ok(())
}

/// The program that children are: this one, which looks for a job before anything else.
pub(crate) fn parent(patience: Duration) -> Parent {
    Parent { arguments: Vec::new(), patience }
}

pub(crate) fn cannot_run(error: io::Error) -> Usage {
    Usage(format!("a model cannot be run in a process of its own: {error}"))
}

/// How many children there are to be at a time.
pub(crate) fn hands(jobs: Option<NonZeroUsize>) -> usize {
    let all = thread::available_parallelism();
    jobs.or(all.ok()).map_or(1, NonZeroUsize::get)
}

/// The models that were asked for, each under each of its checkers, or only under one.
fn jobs(args: &ModelsArgs) -> Result<Vec<Job>, Usage> {
    let chosen: Vec<&Model> = if args.names.is_empty() {
        protocols::all().collect()
    } else {
        args.names.iter().map(|name| model(name)).collect::<Result<_, _>>()?
    };
    let only = args.checker.as_deref().map(checker).transpose()?;
    if args.save && !(args.names.is_empty() && only.is_none() && !args.deep) {
        let text =
            "--save keeps the quick profile of all models under all checkers: no other argument";
        return Err(Usage(text.to_string()));
    }
    let mut jobs = Vec::new();
    for model in chosen {
        let wanted = |checker: &Checker| only.is_none_or(|only| only == *checker);
        for checker in model.checkers().filter(wanted) {
            let seconds = args.time.map(|time| time.as_secs().max(1));
            jobs.push(Job { deep: args.deep, seconds, ..Job::new(model.name, checker) });
        }
    }
    match (jobs.is_empty(), only) {
        (true, Some(only)) => Err(Usage(format!("{only} runs none of these models"))),
        _ => Ok(jobs),
    }
}

/// The model with this name.
pub(crate) fn model(name: &str) -> Result<&'static Model, Usage> {
    protocols::find(name).ok_or_else(|| {
        let names = protocols::all().map(|model| model.name);
        let hint = match nearest(name, names) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "`cargo sim models --list` shows them".to_string(),
        };
        Usage(format!("no model is called `{name}`; {hint}"))
    })
}

/// The run that a file keeps.
fn replay(file: &Path) -> Result<Job, Usage> {
    let wrong = |why: &dyn std::fmt::Display| Usage(format!("{}: {why}", file.display()));
    let text = fs::read_to_string(file).map_err(|error| wrong(&error))?;
    let failure = Failure::parse(&text).map_err(|why| wrong(&why))?;
    let model = model(&failure.model)?;
    let checker = model.shuttle.first().ok_or_else(|| wrong(&"shuttle does not run this model"))?;
    let choices = failure.choices.iter().map(ToString::to_string).collect();
    Ok(Job { replay: Some(choices), ..Job::new(model.name, *checker) })
}

/// Saves the choices of a failing run; returns the file's path as it is typed here.
fn keep(job: &Job, violated: &Violated) -> Result<String, String> {
    let choices: Result<_, String> = violated.choices.iter().map(|text| text.parse()).collect();
    let (model, sentence) = (job.model.clone(), violated.what.clone());
    let failure = Failure { model, sentence, choices: choices? };
    let dir = failures_dir();
    fs::create_dir_all(&dir).map_err(|error| error.to_string())?;
    let name = format!("{}-{}-{}.model", job.model, job.checker, violated.execution);
    let (path, draft) = (dir.join(&name), dir.join(format!(".{name}.{}", process::id())));
    let text = failure.to_text(&violated.notes);
    let written = fs::write(&draft, text).and_then(|()| fs::rename(&draft, &path));
    written.map_err(|error| error.to_string())?;
    Ok(from_here(path).display().to_string())
}

fn checker(name: &str) -> Result<Checker, Usage> {
    Checker::from_name(name).ok_or_else(|| {
        let names = Checker::ALL.map(Checker::name).join(", ");
        Usage(format!("no checker is called `{name}`; there are {names}"))
    })
}

/// `cargo sim models --list`.
pub(crate) fn list(output: &mut Output, as_json: bool) {
    if as_json {
        let all: Vec<Value> = protocols::all()
            .map(|model| {
                let checkers: Vec<&str> = model.checkers().map(Checker::name).collect();
                json!({ "name": model.name, "claim": model.claim.trim(), "checkers": checkers })
            })
            .collect();
        return output.print(&format!("{}\n", json!({ "models": all })));
    }
    for model in protocols::all() {
        output.print(&format!("{:<38} {}\n", model.name, model.claim.trim()));
    }
}

/// Prints rows in the order of the jobs, each as soon as all before it are done, and shows what is
/// going on where somebody looks.
struct Rows<'a> {
    jobs: &'a [Job],
    bars: MultiProgress,
    state: Mutex<State<'a>>,
}

struct State<'a> {
    rows: Vec<Option<String>>,
    printed: usize,
    bars: Vec<Option<ProgressBar>>,
    silent: bool,
    output: &'a mut Output,
}

impl<'a> Rows<'a> {
    fn new(jobs: &'a [Job], silent: bool, output: &'a mut Output) -> Rows<'a> {
        let target = if io::stderr().is_terminal() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let rows = jobs.iter().map(|_| None).collect();
        let bars = jobs.iter().map(|_| None).collect();
        let state = Mutex::new(State { rows, printed: 0, bars, silent, output });
        Rows { jobs, bars: MultiProgress::with_draw_target(target), state }
    }

    fn finish(self) {
        // Nothing is left to be shown if the terminal is gone.
        let _cleared = self.bars.clear();
    }
}

impl crew::Watch for Rows<'_> {
    fn begun(&self, index: usize) {
        let bar = self.bars.add(ProgressBar::new_spinner());
        if let Ok(style) =
            ProgressStyle::with_template("{prefix} {human_pos} executions, {per_sec}{msg}")
        {
            bar.set_style(style);
        }
        let job = &self.jobs[index];
        bar.set_prefix(format!("{} {}", job.model, job.checker));
        self.state.lock().expect("no thread of the crew panicked").bars[index] = Some(bar);
    }

    fn progress(&self, index: usize, executions: u64, share: Option<f64>) {
        let state = self.state.lock().expect("no thread of the crew panicked");
        if let Some(bar) = &state.bars[index] {
            bar.set_position(executions);
            bar.set_message(
                share.map_or(String::new(), |share| format!(", about {:.0} % done", 100.0 * share)),
            );
        }
    }

    fn done(&self, index: usize, verdict: &Outcome) {
        let job = &self.jobs[index];
        let row = match verdict {
            Outcome::Passed(passed) => passed.certificate.timed_row(),
            Outcome::Violated(violated) => format!(
                "{:<38} {:<14} VIOLATED in execution {}",
                job.model, job.checker, violated.execution
            ),
        };
        let mut state = self.state.lock().expect("no thread of the crew panicked");
        state.rows[index] = Some(row);
        if let Some(bar) = state.bars[index].take() {
            bar.finish_and_clear();
        }
        while let Some(Some(row)) = state.rows.get(state.printed) {
            let line = format!("{row}\n");
            if !state.silent {
                self.bars.suspend(|| state.output.print(&line));
            }
            state.printed += 1;
        }
    }
}

fn conclusion(
    certificates: &[Certificate],
    violated: &[(&Job, Violated)],
    elapsed: Duration,
) -> String {
    let mut text = format!("\n{}", footing(certificates));
    for (job, violated) in violated {
        let Job { model, checker, .. } = job;
        let Violated { what, execution, notes, .. } = violated;
        text += &format!("\n{model} under {checker}: execution {execution}: {what}\n");
        for note in notes {
            text += &format!("  {note}\n");
        }
        text += &format!("again: cargo sim models {model} --checker {checker}\n");
        // The dullest run has no choices that need be written down.
        let is_known = !violated.choices.is_empty() || !notes.is_empty();
        if job.replay.is_none() && is_known {
            text += &match keep(job, violated) {
                Ok(path) => format!("only that execution: cargo sim models --replay {path}\n"),
                Err(error) => format!("its choices cannot be saved: {error}\n"),
            };
        }
    }
    let runs = certificates.len() + violated.len();
    let found = match violated.len() {
        0 => "nothing found".to_string(),
        count => format!("{count} of {runs} violated"),
    };
    text + &format!("\n{found} in {runs} runs and {:.1} s\n", elapsed.as_secs_f64())
}

fn to_json(certificates: &[Certificate], violated: &[(&Job, Violated)]) -> Value {
    let violations: Vec<Value> = violated
        .iter()
        .map(|(job, violated)| {
            json!({
                "model": job.model,
                "checker": job.checker,
                "execution": violated.execution,
                "what": violated.what,
                "choices": violated.choices,
                "notes": violated.notes,
            })
        })
        .collect();
    json!({
        "violated": !violated.is_empty(),
        "models": certificates,
        "violations": violations,
    })
}

/// Writes a file of `models/`, under another name first.
pub(crate) fn save(name: &str, text: &str) -> Result<(), Usage> {
    let path = root()?.join("models").join(name);
    let draft = path.with_extension("draft");
    let written = fs::write(&draft, text).and_then(|()| fs::rename(&draft, &path));
    written.map_err(|error| Usage(format!("{} cannot be written: {error}", path.display())))?;
    // That it was kept is good to know and nothing depends on it.
    let _unwritten = to_stderr(&format!("kept models/{name}\n"));
    Ok(())
}

/// The root of the workspace that `cargo sim` was typed in.
pub(crate) fn root() -> Result<PathBuf, Usage> {
    let here = env::current_dir().unwrap_or_default();
    let is_root = |dir: &&std::path::Path| dir.join("models").join("certificates.txt").is_file();
    let root = here.ancestors().find(is_root).map(PathBuf::from);
    root.ok_or_else(|| Usage("type this inside the netpoll workspace".to_string()))
}
