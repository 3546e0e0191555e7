//! Running one model in a process of its own.
//!
//! A model that fails may take its process along: goroutines that are parked on stacks of their own cannot
//! be unwound, and a checker that tears down what is left may panic while it panics. So whoever runs
//! models that may fail, or many of them at a time, runs each in a child: this program again, with the job
//! on its standard input, which has room for any list of choices. The child prints its report on one line of its standard output, after lines of
//! progress or of what it has so far; a child that dies without one has failed, and what it said on its way is the reason.

use std::env;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use netpoll_sim::Choice;
use netpoll_sim::shrink::Budget;
use serde::{Deserialize, Serialize};

use crate::check::{self, Certificate, Checker, Failed, Model, Profile, Smaller, explain};
use crate::coverage::{self, Transition};
use crate::platform::probe::{self, Bend, Place};
use crate::protocols;

/// The variable that makes a process a child.
const JOB: &str = "NETPOLL_MODELS_JOB";
/// What the line of the report begins with.
const REPORT: &str = "netpoll-models report ";
/// What a line of progress begins with.
const PROGRESS: &str = "netpoll-models progress ";
/// What a line with a smaller list begins with.
const SMALLER: &str = "netpoll-models smaller ";

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
    /// To make that failing run smaller, for this many milliseconds.
    pub shrink_ms: Option<u64>,
}

impl Job {
    /// A run of this model under this checker.
    #[must_use]
    pub fn new(model: &str, checker: Checker) -> Job {
        let (model, checker) = (model.to_string(), checker.name().to_string());
        let (seconds, bend, replay, shrink_ms) = (None, None, None, None);
        Job { model, checker, deep: false, seconds, bend, replay, shrink_ms }
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violated {
    /// What happened.
    pub what: String,
    /// In which execution, from 1 on; 0 if that is not known.
    pub execution: u64,
    /// The choices of that execution, where the checker has them.
    pub choices: Vec<String>,
    /// What was done to make it smaller, and which choices it needs, if that was asked for.
    pub notes: Vec<String>,
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
/// When the job cannot be read or the report cannot be written.
pub fn serve() -> io::Result<bool> {
    if env::var_os(JOB).is_none() {
        return Ok(false);
    }
    let job = io::read_to_string(io::stdin())?;
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
    let (choices, notes) = (Vec::new(), Vec::new());
    Verdict::Violated(Violated { what, execution: 0, choices, notes })
}

/// Does a job in this process.
pub(crate) fn carry_out(job: &Job) -> Verdict {
    let Some(model) = protocols::find(&job.model) else {
        return violated(format!("no model is called `{}`", job.model));
    };
    let Some(checker) = model.checkers().find(|checker| checker.name() == job.checker) else {
        return violated(format!("`{}` is not run by {}", job.model, job.checker));
    };
    if let Some(texts) = &job.replay {
        let choices: Result<Vec<Choice>, String> = texts.iter().map(|text| text.parse()).collect();
        return match (choices, job.shrink_ms) {
            (Ok(choices), Some(ms)) => shrink(model, choices, Duration::from_millis(ms)),
            (Ok(choices), None) => match check::shuttle::replay(model, choices) {
                Ok(certificate) => passed(certificate),
                Err(failed) => failed.into(),
            },
            (Err(error), _) => violated(error),
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

fn shrink(model: &Model, choices: Vec<Choice>, time: Duration) -> Verdict {
    let budget = Budget { time, ..Budget::default() };
    let texts = |list: &[Choice]| -> Vec<String> { list.iter().map(Choice::to_string).collect() };
    let better = |list: &[Choice]| {
        let list = texts(list).join(" ");
        // Nobody is left to tell if the parent is gone.
        let _unread = writeln!(io::stdout().lock(), "\n{SMALLER}{list}");
    };
    match check::shrink(model, choices, &budget, better) {
        Ok(smaller) => {
            let Smaller { failed: Failed { what, execution, choices }, shrunk, needs } = smaller;
            let mut notes = vec![shrunk.to_string()];
            notes.extend(needs.iter().map(|need| format!("needs: {need}")));
            Verdict::Violated(Violated { what, execution, choices: texts(&choices), notes })
        }
        Err(why) => violated(why.to_string()),
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
        Verdict::Violated(Violated { what, execution, choices, notes: Vec::new() })
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
        self.run_child(job, &mut |line| {
            if let Some(count) = line.strip_prefix(PROGRESS) {
                let mut words = count.split(' ');
                let executions = words.next().and_then(|word| word.parse().ok());
                let share = words.next().and_then(|word| word.parse().ok());
                progress(executions.unwrap_or(0), share);
            }
        })
    }

    /// Makes the failing run of a job smaller, for so long. Where a run takes its process along, the
    /// search begins anew from what it had found, as long as it finds something.
    ///
    /// # Errors
    /// When a child cannot be started or waited for.
    pub fn shrink(&self, job: &Job, found: &Violated, time: Duration) -> io::Result<Violated> {
        let deadline = Instant::now() + time;
        let mut best = found.clone();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let shrink_ms = Some(left.as_millis().try_into().unwrap_or(u64::MAX));
            let job = Job { replay: Some(best.choices.clone()), shrink_ms, ..job.clone() };
            let mut smallest = None;
            let verdict = self.run_child(&job, &mut |line| {
                if let Some(list) = line.strip_prefix(SMALLER) {
                    smallest = Some(list.split_whitespace().map(str::to_string).collect());
                }
            })?;
            match verdict {
                Verdict::Violated(smaller) if !smaller.notes.is_empty() => {
                    let Violated { what, choices, notes, .. } = smaller;
                    return Ok(Violated { what, choices, notes, ..best });
                }
                // It died, or could not begin.
                verdict => {
                    let progress = smallest.is_some_and(|list| {
                        let is_smaller = list != best.choices;
                        best.choices = list;
                        is_smaller
                    });
                    if !progress || left.is_zero() {
                        let why = match verdict {
                            Verdict::Violated(violated) => violated.what,
                            Verdict::Passed(_) => "it does not fail any more".to_string(),
                        };
                        best.notes = vec![format!("not made smaller to the end: {why}")];
                        return Ok(best);
                    }
                }
            }
        }
    }

    /// Runs a job, and shows `hear` each line that the child says before its report.
    fn run_child(&self, job: &Job, hear: &mut dyn FnMut(&str)) -> io::Result<Verdict> {
        let mut child = Command::new(env::current_exe()?)
            .args(&self.arguments)
            .env(JOB, "on standard input")
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut stdin = child.stdin.take().expect("standard input is a pipe");
        // A child that does not read it leaves no report, which says more.
        let _unread = stdin.write_all(serde_json::to_string(job)?.as_bytes());
        drop(stdin); // that was all
        let lines = lines_of(&mut child);
        let mut stderr = child.stderr.take().expect("standard error is a pipe");
        // Read beside the lines, lest the child block on a full pipe.
        let said = thread::spawn(move || {
            let mut text = Vec::new();
            let _cut_short = stderr.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        let report = self.listen(&lines, hear);
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
        hear: &mut dyn FnMut(&str),
    ) -> Option<Option<String>> {
        let deadline = Instant::now() + self.patience;
        loop {
            match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    if let Some(report) = line.strip_prefix(REPORT) {
                        return Some(Some(report.to_string()));
                    }
                    hear(&line);
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

/// The parent of this crate's own tests, whose children are a test as well.
#[cfg(test)]
pub(crate) fn of_tests(patience: Duration) -> Parent {
    let arguments = ["--exact", "child::tests::child", "--nocapture"].map(str::to_string);
    Parent { arguments: arguments.to_vec(), patience }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the children of [`of_tests`] are.
    #[test]
    fn child() {
        serve().unwrap();
    }

    fn parent() -> Parent {
        of_tests(Duration::from_secs(120))
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

    /// A list as long as no environment would hold.
    #[test]
    fn a_run_of_any_number_of_choices_is_replayed() {
        let replay = Some(vec!["segment-delay:7/8".to_string(); 100_000]);
        let job = Job { replay, ..Job::new("park_against_close", Checker::Pct) };
        let verdict = run(&job);
        let Verdict::Passed(passed) = &verdict else {
            panic!("the model holds: {verdict:?}");
        };
        assert_eq!(passed.certificate.bound, "one list of 100000 choices");
    }

    #[test]
    fn what_does_not_fail_is_kept_as_it_is_and_says_so() {
        let choices = vec!["thread:1/2".to_string()];
        let found = Violated { what: "?".into(), execution: 3, choices, notes: Vec::new() };
        let job = Job::new("park_against_close", Checker::Pct);
        let smaller = parent().shrink(&job, &found, Duration::from_secs(60)).expect("it starts");
        let notes = vec!["not made smaller to the end: it does not fail any more".to_string()];
        assert_eq!(smaller, Violated { notes, ..found });
    }

    #[test]
    fn a_child_that_takes_too_long_is_ended() {
        let parent = Parent { patience: Duration::from_millis(1), ..parent() };
        let job = Job { deep: true, ..Job::new("park_against_ready_and_deadline", Checker::Pct) };
        let verdict = parent.run(&job, &|_, _| {}).expect("a child can be started");
        assert!(matches!(verdict, Verdict::Violated(_)), "{verdict:?}");
    }
}
