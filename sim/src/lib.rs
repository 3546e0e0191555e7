//! A deterministic simulation of the kernel and the threads that netpoll runs on.
//!
//! [`run`] executes a body on a virtual thread, with a [`SimKernel`] for its system calls and
//! [`Virtual`] for its threads, locks and atomics. Everything that could happen this way or that is a
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
//! | [`deviation`] | choices that are not the dullest, and where they are made |
//! | `strategy` | how a seed schedules |
//! | `swarm` | what a seed leaves out |
//! | `tally` | what really struck |
//! | `journal` | listening to a run that may not come to its report |
//! | [`engine`] | virtual threads, points, the clock |
//! | [`platform`] | `Virtual`: the primitives of the seam on the engine |
//! | [`kernel`] | the simulated kernel |
//! | [`conform`](mod@conform) | that kernel against the one of this machine |
//! | [`hosts`] | several hosts in one run, and the network between them |
//! | [`mod@marks`], [`mod@rand`] | what a program may say and ask |
//! | `user` | [`Sim`]: many seeds of a closure, for tests |
//! | [`names`], [`memory`] | the name that somebody may have meant; what a process uses |
//! | [`admit`](mod@admit) | whether that kernel admits what a real one did |
//! | [`faults`] | what may go wrong, and how often |
//! | [`scenarios`] | programs to explore |
//! | [`oracle`] | what every run is held against |
//! | [`explore`](mod@explore) | many seeds, and the report of what was found |
//! | [`shrink`](mod@shrink) | makes a failing run smaller |
//! | [`failure`] | the file that keeps it |

pub mod admit;
pub mod choice;
pub mod conform;
pub mod deviation;
pub mod engine;
pub mod explore;
pub mod failure;
pub mod faults;
pub mod hosts;
mod journal;
pub mod kernel;
pub mod marks;
pub mod memory;
pub mod names;
pub mod oracle;
pub mod platform;
pub mod rand;
pub mod scenarios;
pub mod shrink;
mod strategy;
mod swarm;
mod tally;
#[cfg(test)]
mod tests;
mod user;

use std::sync::Arc;
use std::thread;

pub use choice::{Choice, ChoiceKind, Source};
pub use deviation::Deviation;
pub use engine::{Granularity, Healing, Outcome, Panicked};
pub use faults::{FaultCounts, FaultKind, Faults, Profile};
pub use journal::{Journal, Note};
pub use kernel::{HostId, NetConfig, OpenFd, SimKernel};
pub use marks::{Mark, Marks};
use netpoll::runtime::Inspector;
/// # Examples
///
/// ```
/// #[netpoll_sim::test(seeds = 200, faults = chaos, workers = 3)]
/// fn nothing_is_lost() {
///     // …
/// }
/// # fn main() {}
/// ```
///
/// An argument that makes no sense is an error of the compiler at the argument:
///
/// ```compile_fail
/// #[netpoll_sim::test(faults = caos)]
/// fn nothing_is_lost() {}
/// # fn main() {}
/// ```
pub use netpoll_sim_macros::test;
pub use netpoll_traces::Keep;
use netpoll_traces::{Recorder, Trace};
pub use platform::{Virtual, compute};
pub use tally::{Tally, Totals};
#[doc(hidden)]
pub use user::Place;
pub use user::{Failed, Passed, Sim, Verdict, Weather};

use choice::Choices;
use engine::{Ended, Engine, EngineConfig};
use explore::Violation;
use oracle::{Checks, Oracles};

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
    /// When the world heals; `None` for never.
    pub healing: Option<Healing>,
    /// How much of the run is recorded.
    pub record: Keep,
    /// Who is told of everything as it happens.
    pub journal: Option<Journal>,
    /// Sizes and limits of the simulated network.
    pub net: NetConfig,
    /// Whether [oracles](oracle) watch. They expect one runtime, and nobody beside it who uses the kernel.
    pub oracles: bool,
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
            healing: None,
            record: Keep::All,
            journal: None,
            net: NetConfig::default(),
            oracles: false,
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
    /// Those of the choices that were not the dullest. They are not noted in a run of a seed that is not
    /// recorded in full.
    pub deviations: Vec<Deviation>,
    /// What happened.
    pub trace: Trace,
    /// How many points the threads passed.
    pub steps: u64,
    /// The virtual time at the end.
    pub end_ns: u64,
    /// Which faults struck.
    pub faults_struck: FaultCounts,
    /// What was asked, and what struck or was taken.
    pub tally: Tally,
    /// The step at which the world healed, if it did.
    pub healed: Option<u64>,
    /// What the oracles saw that must not be, all at the last record: the first one counts.
    pub violations: Vec<Violation>,
    /// How often each oracle had something to check.
    pub checks: Checks,
    /// The descriptors that were open at the end.
    pub open_fds: Vec<OpenFd>,
    /// How many threads had not ended when the main thread had.
    pub threads_abandoned: usize,
    /// The first panic, whether or not somebody caught it.
    pub panicked: Option<Panicked>,
    /// The index of the record of that, among all that there were.
    pub panic_at: Option<usize>,
    /// The marks that the program passed.
    pub marks: Marks,
    /// The names of the hosts beside the body's own, by number from 1 on.
    pub hosts: Vec<String>,
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
    make(config, body).report
}

/// As [`run`], of a runtime: [oracles](oracle) watch, and end the run when they see what must not be.
///
/// # Panics
/// When called inside a simulated run.
pub fn watch<F>(config: SimConfig, body: F) -> Watched
where
    F: FnOnce(SimKernel) + Send + 'static,
{
    engine::stacks::report_overflows();
    let Made { report, oracles, files_left, hosts } =
        make(SimConfig { oracles: true, ..config }, body);
    Watched { report, oracles: oracles.expect("they were asked for"), files_left, hosts }
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
    /// The hosts that were running beside the body's own.
    pub(crate) hosts: Vec<HostLeft>,
}

/// A host that was running when the run was over.
#[derive(Debug)]
pub(crate) struct HostLeft {
    pub(crate) id: HostId,
    pub(crate) inspector: Inspector,
    pub(crate) open_fds: Vec<OpenFd>,
}

/// What a run was. The fields are those of [`Watched`].
struct Made {
    report: Report,
    oracles: Option<Box<Oracles>>,
    files_left: usize,
    hosts: Vec<HostLeft>,
}

fn make<F>(config: SimConfig, body: F) -> Made
where
    F: FnOnce(SimKernel) + Send + 'static,
{
    if thread::panicking() {
        // The thread is unwinding, or an earlier run was abandoned in the middle of unwinding, which
        // std cannot be told. Points behave differently then, so the run gets a fresh thread.
        let run = thread::spawn(move || make(config, body));
        return run.join().expect("a run does not panic");
    }
    let kernel = SimKernel::new(config.workers, config.net);
    let mut choices = match (&config.source, config.record) {
        (Source::Seed(_) | Source::Swarm(_), Keep::Last(_)) => {
            Choices::without_deviations(config.source)
        }
        _ => Choices::new(config.source),
    };
    choices.set_journal(config.journal.clone());
    let engine = EngineConfig {
        choices,
        recorder: Recorder::new(config.record),
        granularity: config.granularity,
        faults: config.faults,
        step_limit: config.step_limit,
        time_limit_ns: config.time_limit_ns,
        healing: config.healing,
        journal: config.journal,
        world: Some(Arc::new(kernel.clone())),
        oracles: config.oracles.then(Box::default),
    };
    let for_body = kernel.clone();
    let Ended { mut report, oracles, mut directory } =
        Engine::run(engine, Box::new(move || body(for_body)));
    if let Some(what) = kernel.retire() {
        // Whatever else it came to, this may be the reason.
        report.outcome = Outcome::Intrusion { what };
    }
    report.open_fds = kernel.open_fds();
    report.hosts = directory.others();
    let hosts = directory.inspectors().into_iter().map(|(id, inspector)| {
        let open_fds = kernel.of(id).open_fds();
        HostLeft { id, inspector, open_fds }
    });
    let hosts = hosts.collect();
    let files_left = if report.open_fds.is_empty() { kernel.files_left() } else { 0 };
    kernel.clear();
    Made { report, oracles, files_left, hosts }
}
