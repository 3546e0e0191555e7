//! Many seeds of a closure: what a user's test is made of.
//!
//! | file | what it is |
//! |---|---|
//! | `mod.rs` | [`Sim`]: what to run, and how; [`Passed`] and [`Failed`] |
//! | `settings.rs` | the variables `NETPOLL_SIM_…` |
//! | `place.rs` | which test of which package it is, and the commands that run it again |
//! | `relay.rs` | several processes, one after the other, that run the seeds of one test |
//! | `keep.rs` | failure files and traces: where they lie, and that they are tried first |
//! | `watchdog.rs` | the run that never ends |
//! | `last_words.rs` | the run that takes its process along |
//!
//! All of it is a face of [`explore`](mod@crate::explore): the runs, the reports and the files are the same.

mod keep;
mod last_words;
mod place;
mod relay;
mod settings;
#[cfg(test)]
mod tests;
mod watchdog;

use std::fmt::{self, Debug, Display};
use std::num::NonZeroUsize;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, Location};
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

pub use place::Place;
use relay::Broken;
use settings::{Part, Settings};

use crate::explore::{Finding, Options, Plan, Progress, Summary, WORKERS_DEFAULT, explore};
use crate::hosts::Roster;
use crate::scenarios::{Body, Scenario};
use crate::shrink::Budget;
use crate::{Faults, Granularity, Profile, engine};
use watchdog::Watchdog;

/// A program is tried under so many seeds when nobody says otherwise.
const SEEDS_DEFAULT: u64 = 1_000;
/// A run may take so long, in real time, when nobody says otherwise: runs take milliseconds.
const TIME_LIMIT_DEFAULT: Duration = Duration::from_secs(60);
/// A failure is made smaller for so long at most.
const SHRINK_MAX: Duration = Duration::from_secs(10);

/// A simulated program, and the seeds under which it is to be tried.
///
/// The closure is the first goroutine of a runtime in a simulated world: everything that it does through `netpoll`'s
/// `net`, `time`, `sync` and goroutines is simulated, and every run of it is a function of its seed. A run fails when
///
/// * anything in it panics, be it caught or not ([`catches_panics`](Sim::catches_panics) for programs that mean to);
/// * an [oracle](crate::oracle) sees what must not be: a deadlock, goroutines or descriptors left at the end, a timer that
///   is late;
/// * it does not end.
///
/// Seeds run on several threads of this process. When it has grown by 256 MiB, a test that was made by the attribute
/// [`#[netpoll_sim::test]`](macro@crate::test) starts its own program again for those that are left.
///
/// The closure may start [other hosts](crate::hosts), with a network between them, and take their power.
///
/// The seed that failed, smallest first, is made smaller and kept in a failure file, and the report says what happened
/// and how to see it again. Failure files of earlier runs of the same test are tried before any seed.
///
/// ```
/// use std::io::{Read, Write};
/// use netpoll::net::{TcpListener, TcpStream};
/// use netpoll_sim::{Faults, Sim};
///
/// Sim::named("hello").seeds(0..50).faults(Faults::light()).check(|| {
///     let listener = TcpListener::bind("127.0.0.1:80")?;
///     let server = netpoll::go(move || listener.accept()?.0.write_all(b"hello"));
///     let mut text = String::new();
///     TcpStream::connect("127.0.0.1:80")?.read_to_string(&mut text)?;
///     assert_eq!(text, "hello");
///     server.join().expect("it does not panic")
/// });
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing runs before `check`"]
pub struct Sim {
    place: Place,
    seeds: Range<u64>,
    weather: Weather,
    granularity: Granularity,
    workers: usize,
    time_limit: Duration,
    jobs: Option<NonZeroUsize>,
    catches_panics: bool,
    expects: Vec<&'static str>,
    keeps_files: bool,
    hosts: Roster,
}

/// Which faults strike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    /// The same in every run.
    Fixed(Faults),
    /// What a profile makes of each seed.
    Profile(Profile),
}

impl From<Faults> for Weather {
    fn from(faults: Faults) -> Weather {
        Weather::Fixed(faults)
    }
}

impl From<Profile> for Weather {
    fn from(profile: Profile) -> Weather {
        Weather::Profile(profile)
    }
}

/// What a program may return: nothing, or a result whose error is a failure.
pub trait Verdict {
    /// Passes what is good.
    ///
    /// # Panics
    /// With the error.
    fn judge(self);
}

impl Verdict for () {
    fn judge(self) {}
}

impl<E: Debug> Verdict for Result<(), E> {
    #[track_caller]
    fn judge(self) {
        if let Err(error) = self {
            panic!("the program returned an error: {error:?}");
        }
    }
}

impl Sim {
    /// A program with the name of the thread, which is that of the test when it runs under `cargo test`: 1,000 seeds,
    /// light faults, switches at system calls, two workers.
    #[track_caller]
    pub fn new() -> Sim {
        Sim::at(Place::here(Location::caller()))
    }

    /// The same with a name of its own, for a test that has more than one, or a program that is no test.
    pub fn named(name: &str) -> Sim {
        Sim::at(Place::named(name))
    }

    /// What the attribute makes.
    #[doc(hidden)]
    pub fn at(place: Place) -> Sim {
        Sim {
            place,
            seeds: 0..SEEDS_DEFAULT,
            weather: Faults::light().into(),
            granularity: Granularity::Syscall,
            workers: WORKERS_DEFAULT,
            time_limit: TIME_LIMIT_DEFAULT,
            jobs: None,
            catches_panics: false,
            expects: Vec::new(),
            keeps_files: true,
            hosts: Roster::default(),
        }
    }

    /// The seeds.
    ///
    /// # Panics
    /// When there are none: such a test would test nothing.
    pub fn seeds(self, seeds: Range<u64>) -> Sim {
        assert!(!seeds.is_empty(), "there are no seeds from {} to {}", seeds.start, seeds.end);
        Sim { seeds, ..self }
    }

    /// The faults that may strike, or a [`Profile`] that draws them from the seed.
    pub fn faults(self, weather: impl Into<Weather>) -> Sim {
        Sim { weather: weather.into(), ..self }
    }

    /// Where threads may be switched. The fine granularity is for races inside the runtime, and for those between programs that
    /// share atomics; the coarse one is much faster.
    pub fn granularity(self, granularity: Granularity) -> Sim {
        Sim { granularity, ..self }
    }

    /// The workers of the runtime.
    ///
    /// # Panics
    /// When there are none, or more than a runtime can have.
    pub fn workers(self, workers: usize) -> Sim {
        let max = netpoll::runtime::WORKERS_MAX;
        assert!((1..=max).contains(&workers), "workers = {workers}: a runtime has 1 to {max}");
        Sim { workers, ..self }
    }

    /// How long one run may take, in real time, before it is taken for one that never ends. It then ends the process.
    pub fn time_limit(self, time_limit: Duration) -> Sim {
        Sim { time_limit, ..self }
    }

    /// The number of threads that run seeds; by default one for each processor.
    pub fn jobs(self, jobs: NonZeroUsize) -> Sim {
        Sim { jobs: Some(jobs), ..self }
    }

    /// A panic that the program catches, by `join` or otherwise, is no failure.
    pub fn catches_panics(self) -> Sim {
        Sim { catches_panics: true, ..self }
    }

    /// Names marks that must be [true sometimes](crate::sometimes), for those in places that perhaps no run comes to.
    pub fn expects(mut self, marks: &[&'static str]) -> Sim {
        self.expects.extend(marks);
        self
    }

    /// Starts a program on a host of its own in each run, before the closure begins: as [`hosts::start`] does at its
    /// beginning.
    ///
    /// [`hosts::start`]: crate::hosts::start
    pub fn host<V: Verdict>(
        mut self,
        name: &str,
        program: impl Fn() -> V + Send + Sync + 'static,
    ) -> Sim {
        self.hosts.add(name, Arc::new(move || program().judge()));
        self
    }

    /// Keeps no failure files, and tries none: for a test that fails on purpose.
    pub fn without_files(self) -> Sim {
        Sim { keeps_files: false, ..self }
    }

    /// Runs the program under all seeds, or as the variables `NETPOLL_SIM_…` say.
    ///
    /// The closure, which is called once for each run, is kept as long as the process lives.
    ///
    /// # Panics
    /// When a run fails, with the report on standard error; when a variable makes no sense; inside a simulated run.
    #[track_caller]
    pub fn check<V: Verdict>(self, program: impl Fn() -> V + Send + Sync + 'static) {
        let settings =
            Settings::of_process().unwrap_or_else(|error| panic!("netpoll-sim: {error}"));
        let keep = settings.keep && self.keeps_files;
        let settings = Settings { keep, ..settings };
        match self.run(&settings, program) {
            Ok(passed) => eprintln!("netpoll-sim: {passed}"),
            Err(failed) => {
                eprintln!("\n{failed}");
                if settings.part == Part::Later {
                    relay::tell_failure(&failed.sentence());
                }
                panic!("netpoll-sim: {}", failed.sentence());
            }
        }
    }

    /// As [`check`](Sim::check), for who wants to look at the result: it heeds no variables and keeps no file.
    ///
    /// # Errors
    /// What failed.
    ///
    /// # Panics
    /// Inside a simulated run.
    pub fn try_check<V: Verdict>(
        self,
        program: impl Fn() -> V + Send + Sync + 'static,
    ) -> Result<Passed, Box<Failed>> {
        self.run(&Settings::nothing(), program)
    }

    fn run<V: Verdict>(
        self,
        settings: &Settings,
        program: impl Fn() -> V + Send + Sync + 'static,
    ) -> Result<Passed, Box<Failed>> {
        let is_nested = engine::is_running();
        assert!(!is_nested, "netpoll-sim: a simulation inside another one: use what is there");
        let scenario = self.scenario(program);
        let plan = self.plan(scenario, settings);
        let fail = |reason| Box::new(Failed { place: self.place.clone(), reason });
        let watchdog = Watchdog::new(&plan, &self.place, self.time_limit, settings);
        if let Some(path) = &settings.replay {
            let replay = || keep::replay(&watchdog, &plan, &self.place, settings, path);
            return watchdog.around(replay).map_err(fail);
        }
        let is_first = settings.part != Part::Later;
        let replayed = match settings.keep && is_first {
            true => {
                let saved = || keep::try_saved(&watchdog, &plan, &self.place, settings);
                watchdog.around(saved).map_err(fail)?
            }
            false => 0,
        };
        let mut passed = Passed::nothing(self.place.clone(), replayed);
        self.run_seeds(&plan, &watchdog, settings, &mut passed).map_err(fail)?;
        if !is_first {
            relay::tell_leg(&passed.progress, &watchdog.marks());
            return Ok(passed);
        }
        let is_whole = settings.seeds.is_none();
        if is_whole && let Some(missed) = watchdog.marks().missed(&self.expects) {
            return Err(fail(Reason::Marks { missed, seeds: passed.progress.seeds }));
        }
        keep::trace_of_seed(&plan, settings);
        Ok(passed)
    }

    /// Runs the seeds of a plan, here and in other processes. One to which they were handed on runs as many as it may.
    fn run_seeds(
        &self,
        plan: &Plan,
        watchdog: &Watchdog<'_>,
        settings: &Settings,
        passed: &mut Passed,
    ) -> Result<(), Reason> {
        let mut left = plan.clone();
        while !left.seeds.is_empty() {
            let Summary { progress, finding, .. } = watchdog.around(|| explore(&left, watchdog));
            if let Some(finding) = finding {
                let (finding, note) = self.made_smaller(finding, watchdog.last_words());
                let mut notes = keep::trace_of_failure(&finding, settings);
                notes.extend(note);
                return Err(keep::save(finding, notes, &self.place, settings));
            }
            left.seeds.start += progress.seeds;
            passed.progress.merge(&progress);
            if settings.part == Part::Later {
                break;
            }
            // This process has run what it may, and others run what is left.
            while !left.seeds.is_empty() {
                match relay::hand_on(&self.place, left.seeds.clone()) {
                    Ok(leg) => {
                        left.seeds.start += leg.progress.seeds;
                        passed.progress.merge(&leg.progress);
                        passed.processes += 1;
                        watchdog.add_marks(&leg.marks);
                    }
                    Err(Broken::Failed(sentence)) => return Err(Reason::Told { sentence }),
                    Err(Broken::Useless(why)) => {
                        eprintln!("netpoll-sim: no other process takes over ({why})");
                        watchdog.lift_limit();
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// Makes a failure smaller, on another thread: a smaller run may be one that never ends, and then the failure is told
    /// as it was found. `words` are for a run that takes the process along.
    fn made_smaller(&self, finding: Finding, words: &'static str) -> (Finding, Option<String>) {
        let patience = SHRINK_MAX + self.time_limit;
        let (sender, smaller) = mpsc::channel();
        let large = finding.clone();
        let shrinker = thread::Builder::new().name("netpoll-sim shrinker".to_string());
        let started = shrinker.spawn(move || {
            last_words::begin(large.seed, words);
            let budget = Budget { time: SHRINK_MAX, ..Budget::default() };
            // Nobody waits any more if it took too long.
            let _late = sender.send(large.shrunk(&budget));
        });
        let why = match started.map(|_| smaller.recv_timeout(patience)) {
            Ok(Ok(smaller)) => return (smaller, None),
            Ok(Err(mpsc::RecvTimeoutError::Timeout)) => {
                format!("a smaller run has not ended in {:?}", self.time_limit)
            }
            Ok(Err(mpsc::RecvTimeoutError::Disconnected)) => "the search panicked".to_string(),
            Err(error) => format!("a thread cannot be started: {error}"),
        };
        (finding, Some(format!("not made smaller: {why}")))
    }

    /// The program as the explorer wants it. It lives as long as the process, as what an abandoned run holds does.
    fn scenario<V: Verdict>(
        &self,
        program: impl Fn() -> V + Send + Sync + 'static,
    ) -> &'static Scenario {
        // What a panic leaves half done is for the program to see: the same as for goroutines.
        let program = AssertUnwindSafe((program, self.hosts.clone()));
        let program = move || {
            let AssertUnwindSafe((program, hosts)) = &program;
            hosts.start();
            program().judge()
        };
        let faults = match self.weather {
            Weather::Fixed(faults) => faults,
            Weather::Profile(_) => Faults::light(),
        };
        Box::leak(Box::new(Scenario {
            name: Box::leak(self.place.name.clone().into_boxed_str()),
            about: "a test",
            faults,
            granularity: self.granularity,
            body: Body::Test(Box::leak(Box::new(program))),
            abandons: false,
            catches_panics: self.catches_panics,
            test: Some(Box::leak(Box::new(self.place.test.clone()))),
        }))
    }

    fn plan(&self, scenario: &'static Scenario, settings: &Settings) -> Plan {
        let seeds = settings.seeds.clone().unwrap_or(self.seeds.clone());
        Plan {
            options: Options { workers: self.workers, ..Options::of(scenario) },
            profile: match self.weather {
                Weather::Fixed(_) => None,
                Weather::Profile(profile) => Some(profile),
            },
            jobs: settings.jobs.or(self.jobs),
            ..Plan::new(scenario, seeds)
        }
    }
}

impl Default for Sim {
    #[track_caller]
    fn default() -> Sim {
        Sim::new()
    }
}

/// All went well. Displays as one line.
#[derive(Clone, Debug)]
pub struct Passed {
    place: Place,
    /// What was run.
    pub progress: Progress,
    /// The number of failure files that were tried first.
    pub replayed: usize,
    /// How many processes ran seeds, one after the other.
    processes: u64,
}

impl Passed {
    fn nothing(place: Place, replayed: usize) -> Passed {
        Passed { place, progress: Progress::default(), replayed, processes: 1 }
    }
}

impl Display for Passed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Progress { seeds, steps, virtual_ns, .. } = self.progress;
        let seconds = Duration::from_nanos(virtual_ns).as_secs_f64();
        write!(
            f,
            "{}: {seeds} runs, {steps} steps, {seconds:.3} s of virtual time",
            self.place.name
        )?;
        if self.processes > 1 {
            write!(f, ", {} processes", self.processes)?;
        }
        if self.replayed > 0 {
            write!(f, ", {} failure files mended", self.replayed)?;
        }
        Ok(())
    }
}

/// A test that failed. Displays as the report.
#[derive(Clone, Debug)]
pub struct Failed {
    place: Place,
    reason: Reason,
}

#[derive(Clone, Debug)]
enum Reason {
    /// A run violated something.
    Run { finding: Box<Finding>, notes: Vec<String> },
    /// Nothing was wrong, but something was to be seen and was not.
    Marks { missed: Vec<String>, seeds: u64 },
    /// Another process has said what failed.
    Told { sentence: String },
    /// A failure file cannot be replayed.
    File { path: PathBuf, why: String },
}

impl Failed {
    /// What was violated by which run; `None` when no run is to blame.
    #[must_use]
    pub fn finding(&self) -> Option<&Finding> {
        match &self.reason {
            Reason::Run { finding, .. } => Some(finding),
            Reason::Marks { .. } | Reason::Told { .. } | Reason::File { .. } => None,
        }
    }

    /// In one line.
    #[must_use]
    pub fn sentence(&self) -> String {
        let name = &self.place.name;
        match &self.reason {
            Reason::Run { finding, .. } => match finding.seed {
                Some(seed) => format!("{name}, seed {seed}: {}", finding.violation),
                None => format!("{name}: {}", finding.violation),
            },
            Reason::Marks { missed, seeds } => {
                format!("{name}: never true in {seeds} runs: {}", missed.join(", "))
            }
            Reason::Told { sentence } => sentence.clone(),
            Reason::File { path, why } => format!("{}: {why}", path.display()),
        }
    }
}

impl Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            Reason::Run { finding, notes } => {
                write!(f, "{finding}")?;
                notes.iter().try_for_each(|note| writeln!(f, "{note}"))
            }
            Reason::Marks { .. } | Reason::File { .. } => writeln!(f, "{}", self.sentence()),
            // The report is in what that process has printed.
            Reason::Told { .. } => Ok(()),
        }
    }
}

impl std::error::Error for Failed {}
