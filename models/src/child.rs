//! Running one model in a process of its own.
//!
//! A model that fails may take its process along: goroutines that are parked on stacks of their own cannot
//! be unwound, and a checker that tears down what is left may panic while it panics. So whoever runs
//! models that may fail, or many of them at a time, runs each in a child: this program again, with the job
//! in its environment. The child prints its report on one line of its standard output, after lines of
//! progress; a child that dies without one has failed, and what it said on its way is the reason.

use std::env;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use netpoll_sim::Choice;
use serde::{Deserialize, Serialize};

use crate::check::{self, Certificate, Checker, Failed, Profile, explain};
use crate::coverage::{self, Transition};
use crate::platform::probe::{self, Bend, Place};
use crate::protocols;

/// The variable that makes a process a child.
const JOB: &str = "NETPOLL_MODELS_JOB";
/// What the line of the report begins with.
const REPORT: &str = "netpoll-models report ";
/// What a line of progress begins with.
const PROGRESS: &str = "netpoll-models progress ";

/// What a child is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    /// The model's name.
    pub model: String,
    /// The checker's name.
    pub checker: String,
    /// Whether to go as far as the deep profile goes.
    pub deep: bool,
    /// Seconds after which loom gives up, in the deep profile.
    pub seconds: Option<u64>,
    /// An access to bend: see [`Bend`].
    pub bend: Option<String>,
    /// Choices to replay instead of exploring.
    pub replay: Option<Vec<String>>,
}

impl Job {
    /// A run of this model under this checker.
    #[must_use]
    pub fn new(model: &str, checker: Checker) -> Job {
        let (model, checker) = (model.to_string(), checker.name().to_string());
        Job { model, checker, deep: false, seconds: None, bend: None, replay: None }
    }
}

/// What a run that held has to say.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Passed {
    /// What was covered.
    pub certificate: Certificate,
    /// The places of the runtime that it passed.
    pub places: Vec<Place>,
    /// The transitions of the runtime's state words that it made.
    pub transitions: Vec<Transition>,
}

/// What a run that did not hold has to say.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Violated {
    /// What happened.
    pub what: String,
    /// In which execution, from 1 on; 0 if that is not known.
    pub execution: u64,
    /// The choices of that execution, where the checker has them.
    pub choices: Vec<String>,
}

/// How a child ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Verdict {
    /// The model holds, as far as the certificate says.
    Passed(Box<Passed>),
    /// It does not, or the checker could not finish.
    Violated(Violated),
}

/// Does the job of a child, if this process is one; then it returns true, and the process should end.
///
/// # Errors
/// When the report cannot be written.
pub fn serve() -> io::Result<bool> {
    let Ok(job) = env::var(JOB) else {
        return Ok(false);
    };
    let verdict = match serde_json::from_str::<Job>(&job) {
        Ok(job) => carry_out(&job),
        Err(error) => violated(format!("{JOB}: {error}")),
    };
    let report = serde_json::to_string(&verdict).map_err(io::Error::other)?;
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "\n{REPORT}{report}")?;
    stdout.flush()?;
    Ok(true)
}

fn violated(what: String) -> Verdict {
    Verdict::Violated(Violated { what, execution: 0, choices: Vec::new() })
}

fn carry_out(job: &Job) -> Verdict {
    let Some(model) = protocols::find(&job.model) else {
        return violated(format!("no model is called `{}`", job.model));
    };
    let Some(checker) = model.checkers().find(|checker| checker.name() == job.checker) else {
        return violated(format!("`{}` is not run by {}", job.model, job.checker));
    };
    if let Some(texts) = &job.replay {
        let choices: Result<Vec<Choice>, String> = texts.iter().map(|text| text.parse()).collect();
        return match choices.map(|choices| check::shuttle::replay(model, choices)) {
            Ok(Ok(certificate)) => passed(certificate),
            Ok(Err(failed)) => failed.into(),
            Err(error) => violated(error),
        };
    }
    match job.bend.as_deref().map(str::parse::<Bend>).transpose() {
        Ok(bend) => probe::bend(bend),
        Err(error) => return violated(error),
    }
    probe::watch_places();
    coverage::start();
    check::report_progress(Box::new(|executions, share| {
        let share = share.map_or(String::new(), |share| format!(" {share}"));
        // Nobody is left to tell if the parent is gone.
        let _unread = writeln!(io::stdout().lock(), "\n{PROGRESS}{executions}{share}");
    }));
    let profile = match job.deep {
        true => Profile::Deep { time: job.seconds.map(Duration::from_secs) },
        false => Profile::Quick,
    };
    match check::run(model, checker, profile) {
        Ok(certificate) => passed(certificate),
        Err(failed) => failed.into(),
    }
}

fn passed(certificate: Certificate) -> Verdict {
    let (places, transitions) = (probe::take_places(), coverage::take());
    Verdict::Passed(Box::new(Passed { certificate, places, transitions }))
}

impl From<Failed> for Verdict {
    fn from(failed: Failed) -> Verdict {
        let choices = failed.choices.iter().map(Choice::to_string).collect();
        let Failed { what, execution, .. } = failed;
        Verdict::Violated(Violated { what, execution, choices })
    }
}

/// The program that children are: this one.
#[derive(Clone, Debug)]
pub struct Parent {
    /// Arguments that make the program call [`serve`] before anything else.
    pub arguments: Vec<String>,
    /// A child that takes longer is ended, and has failed.
    pub patience: Duration,
}

impl Parent {
    /// Runs a job, telling `progress` how many executions there have been and, where that can be had, how
    /// far along it is, 0 to 1.
    ///
    /// # Errors
    /// When the child cannot be started or waited for.
    pub fn run(&self, job: &Job, progress: &dyn Fn(u64, Option<f64>)) -> io::Result<Verdict> {
        let mut child = Command::new(env::current_exe()?)
            .args(&self.arguments)
            .env(JOB, serde_json::to_string(job).map_err(io::Error::other)?)
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let lines = lines_of(&mut child);
        let mut stderr = child.stderr.take().expect("standard error is a pipe");
        // Read beside the lines, lest the child block on a full pipe.
        let said = thread::spawn(move || {
            let mut text = Vec::new();
            let _cut_short = stderr.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        let report = self.listen(&lines, progress);
        if report.is_none() {
            // It has ended, or has run out of time; either way killing it does no harm.
            let _ended = child.kill();
        }
        let status = child.wait()?;
        let said = said.join().unwrap_or_default();
        match report.flatten() {
            Some(report) => serde_json::from_str(&report).map_err(io::Error::other),
            None => Ok(violated(epitaph(&said, status))),
        }
    }

    /// The report, `Some(None)` when the child ended without one, `None` when its time is up.
    fn listen(
        &self,
        lines: &mpsc::Receiver<String>,
        progress: &dyn Fn(u64, Option<f64>),
    ) -> Option<Option<String>> {
        let deadline = Instant::now() + self.patience;
        loop {
            match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    if let Some(report) = line.strip_prefix(REPORT) {
                        return Some(Some(report.to_string()));
                    }
                    if let Some(count) = line.strip_prefix(PROGRESS) {
                        let mut words = count.split(' ');
                        let executions = words.next().and_then(|word| word.parse().ok());
                        let share = words.next().and_then(|word| word.parse().ok());
                        progress(executions.unwrap_or(0), share);
                    }
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => return Some(None),
                Err(mpsc::RecvTimeoutError::Timeout) => return None,
            }
        }
    }
}

fn lines_of(child: &mut Child) -> mpsc::Receiver<String> {
    let stdout = BufReader::new(child.stdout.take().expect("standard output is a pipe"));
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in stdout.lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// Why a child died that left no report.
fn epitaph(said: &str, status: ExitStatus) -> String {
    if let Some(meaning) = explain(said) {
        return meaning.to_string();
    }
    let message = said.lines().skip_while(|line| !line.contains("panicked at")).nth(1);
    match message {
        Some(message) => format!("{message} (its process ended with {status})"),
        None => format!("its process ended with {status} and without a word"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the children of this module's tests are.
    #[test]
    fn child() {
        serve().unwrap();
    }

    fn parent() -> Parent {
        let arguments = ["--exact", "child::tests::child", "--nocapture"].map(str::to_string);
        Parent { arguments: arguments.to_vec(), patience: Duration::from_secs(120) }
    }

    fn run(job: &Job) -> Verdict {
        parent().run(job, &|_, _| {}).expect("a child can be started")
    }

    #[test]
    fn a_model_that_holds_sends_its_certificate_places_and_transitions() {
        let Verdict::Passed(passed) = run(&Job::new("park_against_close", Checker::Loom)) else {
            panic!("the model holds");
        };
        assert!(passed.certificate.complete);
        assert!(passed.places.iter().any(|place| place.file == "poll/slot.rs"), "{passed:?}");
        assert!(!passed.transitions.is_empty());
    }

    #[test]
    fn a_job_that_cannot_be_done_says_why() {
        for (job, why) in [
            (Job::new("weather", Checker::Loom), "no model is called `weather`"),
            (
                Job { bend: Some("poll".into()), ..Job::new("park_against_close", Checker::Loom) },
                "`poll` is not a place",
            ),
            (
                Job {
                    bend: Some("poll/slot.rs:1:1=Relaxed".into()),
                    ..Job::new("park_against_close", Checker::Loom)
                },
                "is not passed by this model",
            ),
        ] {
            match run(&job) {
                Verdict::Violated(violated) => assert!(violated.what.contains(why), "{violated:?}"),
                Verdict::Passed(passed) => panic!("{job:?} passed: {passed:?}"),
            }
        }
    }

    #[test]
    fn a_child_that_takes_too_long_is_ended() {
        let parent = Parent { patience: Duration::from_millis(1), ..parent() };
        let job = Job { deep: true, ..Job::new("park_against_ready_and_deadline", Checker::Pct) };
        let verdict = parent.run(&job, &|_, _| {}).expect("a child can be started");
        assert!(matches!(verdict, Verdict::Violated(_)), "{verdict:?}");
    }
}
