//! A deterministic simulation of the kernel and the threads that netpoll runs on.
//!
//! [`run`] executes a body on a virtual thread, with a [`SimKernel`] for its system calls and
//! [`Sim`] for its threads, locks and atomics. Everything that could happen this way or that is a
//! [choice]; a run is a pure function of its choices, so any run can be repeated
//! exactly, from its seed or from its list.
//!
//! ```
//! use netpoll::platform::{Kernel, Domain, SockType};
//! use netpoll_sim::{SimConfig, run};
//!
//! let report = run(SimConfig::seed(7), |kernel| {
//!     let fd = kernel.socket(Domain::Inet, SockType::Stream).unwrap();
//!     kernel.close(fd).unwrap();
//! });
//! assert!(report.is_clean());
//! ```
//!
//! | module | what it is |
//! |---|---|
//! | [`choice`] | the stream of decisions and its sources |
//! | `strategy` | how a seed schedules |
//! | [`engine`] | virtual threads, points, the clock |
//! | [`platform`] | `Sim`: the primitives of the seam on the engine |
//! | [`kernel`] | the simulated kernel |
//! | [`faults`] | what may go wrong, and how often |
//! | [`scenarios`] | programs to explore |
//! | [`oracle`] | what every run is held against |
//! | [`explore`](mod@explore) | many seeds, and the report of what was found |
//! | [`failure`] | the file that keeps it |

pub mod choice;
pub mod engine;
pub mod explore;
pub mod failure;
pub mod faults;
pub mod kernel;
pub mod oracle;
pub mod platform;
pub mod scenarios;
mod strategy;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::thread;

pub use choice::{Choice, ChoiceKind, Source};
pub use engine::{Granularity, Outcome};
pub use faults::{FaultCounts, FaultKind, Faults};
pub use kernel::{NetConfig, OpenFd, SimKernel};
pub use netpoll_traces::Keep;
use netpoll_traces::{Recorder, Trace};
pub use platform::Sim;

use choice::Choices;
use engine::{Engine, EngineConfig};
use oracle::Oracles;

/// What a run is to be.
#[derive(Clone, Debug)]
pub struct SimConfig {
    /// Where its choices come from: a seed, or a recorded list.
    pub source: Source,
    /// Where threads may be switched.
    pub granularity: Granularity,
    /// Which faults may strike. A replay needs the same faults as the run it repeats.
    pub faults: Faults,
    /// The number of workers that a runtime gets when nobody says.
    pub workers: usize,
    /// The run is given up after this many steps.
    pub step_limit: u64,
    /// The run is given up when everybody waits and nothing happens before this virtual time.
    pub time_limit_ns: u64,
    /// How much of the run is recorded.
    pub record: Keep,
    /// Sizes and limits of the simulated network.
    pub net: NetConfig,
}

impl SimConfig {
    /// The choices of a seed, switches at system calls, no faults, two workers, everything recorded.
    #[must_use]
    pub fn seed(seed: u64) -> SimConfig {
        SimConfig {
            source: Source::Seed(seed),
            granularity: Granularity::Syscall,
            faults: Faults::none(),
            workers: 2,
            step_limit: 10_000_000,
            time_limit_ns: 1_800_000_000_000,
            record: Keep::All,
            net: NetConfig::default(),
        }
    }

    /// The same, repeating a recorded list of choices.
    #[must_use]
    pub fn replaying(mut self, choices: Vec<Choice>) -> SimConfig {
        self.source = Source::Replay(choices);
        self
    }
}

/// What a run was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// How it ended.
    pub outcome: Outcome,
    /// Every choice, in order.
    pub choices: Vec<Choice>,
    /// The first choice at which a replay did not fit its list, if it ever did not.
    pub diverged: Option<usize>,
    /// What happened.
    pub trace: Trace,
    /// How many points the threads passed.
    pub steps: u64,
    /// The virtual time at the end.
    pub end_ns: u64,
    /// Which faults struck.
    pub faults_struck: FaultCounts,
    /// The descriptors that were open at the end.
    pub open_fds: Vec<OpenFd>,
    /// How many threads had not ended when the main thread had.
    pub threads_abandoned: usize,
}

impl Report {
    /// Whether the run finished and left nothing behind.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.outcome == Outcome::Finished && self.open_fds.is_empty() && self.threads_abandoned == 0
    }
}

/// Runs `body` on the main virtual thread of a new simulated world.
///
/// The run is over when `body` returns or panics, when nobody can run any more, or at the step limit.
/// Unless all threads have ended by then, what they hold is leaked: objects of the run that `body`
/// has passed out of it must not be expected to work.
///
/// # Panics
/// When called inside a simulated run.
pub fn run<F>(config: SimConfig, body: F) -> Report
where
    F: FnOnce(SimKernel) + Send + 'static,
{
    make(config, None, body).report
}

/// As [`run`], of a runtime: [oracles](oracle) watch, and end the run when they see what must not be. They
/// expect one runtime, and nobody beside it who uses the kernel.
///
/// # Panics
/// When called inside a simulated run.
pub fn watch<F>(config: SimConfig, body: F) -> Watched
where
    F: FnOnce(SimKernel) + Send + 'static,
{
    make(config, Some(Box::default()), body)
}

/// A run that was watched, before the oracles have had [their last word](Oracles::finish).
#[derive(Debug)]
pub struct Watched {
    /// What the run was.
    pub report: Report,
    /// Who has watched.
    pub oracles: Box<Oracles>,
    /// How many files were left although no number was, when all that was on the wire had arrived.
    pub files_left: usize,
}

fn make<F>(config: SimConfig, oracles: Option<Box<Oracles>>, body: F) -> Watched
where
    F: FnOnce(SimKernel) + Send + 'static,
{
    if thread::panicking() {
        // The thread is unwinding, or an earlier run was abandoned in the middle of unwinding, which
        // std cannot be told. Points behave differently then, so the run gets a fresh thread.
        let run = thread::spawn(move || make(config, oracles, body));
        return run.join().expect("a run does not panic");
    }
    let kernel = SimKernel::new(config.workers, config.net);
    let engine = EngineConfig {
        choices: Choices::new(config.source),
        recorder: Recorder::new(config.record),
        granularity: config.granularity,
        faults: config.faults,
        step_limit: config.step_limit,
        time_limit_ns: config.time_limit_ns,
        world: Some(Arc::new(kernel.clone())),
        oracles,
    };
    let for_body = kernel.clone();
    let report = Engine::run(engine, Box::new(move || body(for_body)));
    let open_fds = kernel.open_fds();
    let files_left = if open_fds.is_empty() { kernel.files_left() } else { 0 };
    kernel.clear();
    let oracles = report.oracles.unwrap_or_default();
    let report = Report {
        outcome: report.outcome,
        choices: report.choices,
        diverged: report.diverged,
        trace: report.trace,
        steps: report.steps,
        end_ns: report.end_ns,
        faults_struck: report.faults_struck,
        open_fds,
        threads_abandoned: report.abandoned,
    };
    Watched { report, oracles, files_left }
}
