//! The run that never ends, and what was seen on the way.
//!
//! A run has limits of steps and of virtual time, but a loop that passes no point of the engine reaches neither. A thread looks
//! at how long each run has taken in real time. One that has taken too long cannot be stopped: the process ends. Before
//! that, the same seed is run once more on another thread, which says how far it comes, and a third time up to there, which
//! shows what happened last.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use super::place::Place;
use super::relay::{self, Limit};
use super::settings::{Part, Settings};
use super::{Failed, Reason, keep, last_words};
use crate::explore::{
    Execution, Finding, Options, Plan, Property, Violation, Watch, execute_telling, execute_up_to,
};
use crate::failure::Failure;
use crate::{Journal, Marks, Note, Source};

/// How often it looks.
const LOOK: Duration = Duration::from_millis(100);
/// A run that passes no point for so long passes none any more.
const STANDSTILL: Duration = Duration::from_secs(1);
/// What `cargo test` takes for a failed test.
const FAILED: i32 = 101;

/// Watches over the runs of one test.
#[derive(Debug)]
pub(super) struct Watchdog<'a> {
    plan: &'a Plan,
    place: &'a Place,
    settings: &'a Settings,
    limit: Duration,
    /// For the handler of a fatal signal.
    last_words: &'static str,
    /// How large the process may grow, if another one can take over.
    growth: Option<Limit>,
    state: Mutex<State>,
    over: Condvar,
}

#[derive(Debug, Default)]
struct State {
    running: Vec<Running>,
    marks: Marks,
    over: bool,
}

/// A run that goes on.
#[derive(Clone, Debug)]
struct Running {
    thread: ThreadId,
    since: Instant,
    seed: Option<u64>,
    options: Options,
    source: Source,
    /// The failure file that it comes from, if it is a replay.
    file: Option<PathBuf>,
}

impl<'a> Watchdog<'a> {
    pub(super) fn new(
        plan: &'a Plan,
        place: &'a Place,
        limit: Duration,
        settings: &'a Settings,
    ) -> Watchdog<'a> {
        let command = place.test.command(&place.name, "NETPOLL_SIM_SEED", "");
        // The number comes at the end of the first line.
        let words = command.replacen('=', "=\n", 1);
        Watchdog {
            plan,
            place,
            settings,
            limit,
            last_words: Box::leak(format!("{}\n{words}", place.name).into_boxed_str()),
            growth: if settings.part == Part::All { None } else { Limit::new(place) },
            state: Mutex::default(),
            over: Condvar::new(),
        }
    }

    /// What a run says that takes the process along; the seed comes between its lines.
    pub(super) fn last_words(&self) -> &'static str {
        self.last_words
    }

    /// Watches while `runs` goes on.
    pub(super) fn around<T>(&self, runs: impl FnOnce() -> T) -> T {
        last_words::install();
        self.state().over = false;
        thread::scope(|scope| {
            scope.spawn(|| self.look());
            // Also when it unwinds: the scope waits for the thread.
            let _over = OnDrop(|| {
                self.state().over = true;
                self.over.notify_all();
            });
            runs()
        })
    }

    /// The process may grow as it likes from here on.
    pub(super) fn lift_limit(&self) {
        self.growth.iter().for_each(Limit::lift);
    }

    pub(super) fn add_marks(&self, marks: &Marks) {
        marks.iter().for_each(|(mark, hit)| self.state().marks.add_of(mark.clone(), hit));
    }

    pub(super) fn marks(&self) -> Marks {
        self.state().marks.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look(&self) {
        let mut state = self.state();
        while !state.over {
            let overdue = state.running.iter().find(|run| run.since.elapsed() > self.limit);
            if let Some(run) = overdue.cloned() {
                drop(state);
                self.give_up(run);
            }
            let waited = self.over.wait_timeout(state, LOOK);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Says where a run is, and ends the process.
    fn give_up(&self, run: Running) -> ! {
        let (limit, name) = (self.limit, &self.place.name);
        let which = match (&run.file, run.seed) {
            (None, Some(seed)) => format!("{name}, seed {seed}"),
            (Some(path), _) => format!("{name}, {}", path.display()),
            (None, None) => name.clone(),
        };
        say(&format!(
            "\nnetpoll-sim: {which}: has not ended in {limit:?}; looking for where it is\n"
        ));
        let Running { options, source, seed, file, .. } = run;
        let (steps, stands) = self.steps_of(&options, &source);
        let up_to = execute_up_to(self.plan.scenario, &options, source, steps);
        let how = if stands { "passes no point after it" } else { "was still going on" };
        let sentence =
            format!("hang: the run has not ended in {limit:?}: it came to step {steps} and {how}");
        let violation = Violation::new(Property::Hang, sentence);
        // What it came to; another run for a trace would never end.
        let notes = keep::traced(&up_to, self.plan.scenario, self.settings);
        let finding = Finding::fatal(self.plan.scenario, &options, seed, violation, up_to);
        let reason = match file {
            Some(_) => Reason::Run { finding: Box::new(Finding { saved: file, ..finding }), notes },
            None => {
                let finding = Finding { profile: self.plan.profile, ..finding };
                keep::save(finding, notes, self.place, self.settings)
            }
        };
        let failed = Failed { place: self.place.clone(), reason };
        say(&format!("\n{failed}\nnetpoll-sim: {}\n", failed.sentence()));
        if self.settings.part == Part::Later {
            relay::tell_failure(&failed.sentence());
        }
        process::exit(FAILED);
    }

    /// How many points a run passes, and whether it passes no more.
    fn steps_of(&self, options: &Options, source: &Source) -> (u64, bool) {
        let steps = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&steps);
        let journal = Journal::new(move |note| {
            if let Note::Step(step) = note {
                counted.store(step, Relaxed);
            }
        });
        let (scenario, options, source) = (self.plan.scenario, options.clone(), source.clone());
        // It never comes back, and the process ends soon.
        let again = thread::spawn(move || execute_telling(scenario, &options, source, journal));
        let start = Instant::now();
        let mut last = (0, Instant::now());
        while !again.is_finished() && start.elapsed() < self.limit + STANDSTILL {
            thread::sleep(LOOK);
            let now = steps.load(Relaxed);
            if now != last.0 {
                last = (now, Instant::now());
            } else if last.1.elapsed() > STANDSTILL {
                return (now, true);
            }
        }
        (last.0, false)
    }

    /// The run of a failure file begins on the calling thread.
    pub(super) fn begins_file(&self, path: &Path, failure: &Failure) {
        let (name, test) = (&self.place.name, &self.place.test);
        // Whole, since there is no number to be put in.
        let words = format!("{name}\n{}\n", test.replay_command(name, path));
        last_words::begin(None, Box::leak(words.into_boxed_str()));
        let source = Source::Replay(failure.choices.clone());
        self.begin(failure.seed, failure.options.clone(), source, Some(path.to_path_buf()));
    }

    /// It has ended.
    pub(super) fn ends_here(&self, execution: &Execution) {
        last_words::end();
        let here = thread::current().id();
        let mut state = self.state();
        state.running.retain(|run| run.thread != here);
        state.marks.add(&execution.report.marks);
    }

    fn begin(&self, seed: Option<u64>, options: Options, source: Source, file: Option<PathBuf>) {
        let (thread, since) = (thread::current().id(), Instant::now());
        self.state().running.push(Running { thread, since, seed, options, source, file });
    }
}

impl Watch for Watchdog<'_> {
    fn begins(&self, seed: u64) {
        last_words::begin(Some(seed), self.last_words);
        self.begin(Some(seed), self.plan.options(seed), self.plan.source(seed), None);
    }

    fn ends(&self, _seed: u64, execution: &Execution) {
        self.ends_here(execution);
    }

    fn has_enough(&self) -> bool {
        self.growth.as_ref().is_some_and(Limit::is_reached)
    }
}

/// Writes past what `cargo test` captures, which is lost when the process ends.
fn say(text: &str) {
    // There is nobody left to hear of an error.
    let _unheard = io::stderr().lock().write_all(text.as_bytes());
}

struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}
