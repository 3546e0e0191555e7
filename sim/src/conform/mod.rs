//! The simulated kernel against the kernel of this machine, in lock-step.
//!
//! A *case* is a short random script over every kind of file. Each step is made on both kernels, and both
//! must answer alike: the same result or error, and afterwards the same events in `epoll`, for edges and
//! for levels. The simulated kernel runs with the dullest choices; what it may do beyond that is what
//! [faults](crate::faults) and [choices](crate::choice) are for, and is tested elsewhere.
//!
//! | file | what it is |
//! |---|---|
//! | `script.rs` | random scripts, and what a step does |
//! | `case.rs` | one script on both kernels, compared |
//! | `real.rs` | the kernel of this machine |
//!
//! Every difference that was found this way has a script of its own in `kernel/tests/`.
//!
//! What is not compared, because the kernel of this machine decides it by clocks or by the sizes of its
//! bookkeeping: how much fits into a TCP connection, and connections that wait for a place in a queue.

mod case;
mod real;
mod script;

use std::fmt;

use netpoll::platform::{EpollEvent, Errno, Kernel, Park, RawFd, UnixAddr};

use crate::SimKernel;
use crate::choice::below;
use crate::platform::SimParker;
use case::Case;
pub(crate) use real::RealKernel;
use script::Script;

/// A kernel on which scripts run: the seam, and what tests need beside it.
pub(crate) trait Scripted: Kernel {
    /// Waits until everything in flight has arrived.
    fn settle(&self);
    /// See [`SimKernel::unlink`](crate::kernel::Simulated::unlink).
    fn unlink(&self, path: &UnixAddr) -> Result<(), Errno>;
    /// See [`SimKernel::open_regular`](crate::kernel::Simulated::open_regular).
    fn open_regular(&self) -> Result<RawFd, Errno>;
}

impl Scripted for SimKernel {
    fn settle(&self) {
        SimParker::new().park_timeout(900_000_000);
    }
    fn unlink(&self, path: &UnixAddr) -> Result<(), Errno> {
        SimKernel::unlink(self, path)
    }
    fn open_regular(&self) -> Result<RawFd, Errno> {
        SimKernel::open_regular(self)
    }
}

/// Events as scripts print them: `data:IN|OUT`, in the order in which they are given.
pub(crate) fn events_text(events: &[EpollEvent]) -> String {
    let names = [
        (libc::EPOLLIN, "IN"),
        (libc::EPOLLOUT, "OUT"),
        (libc::EPOLLRDHUP, "RDHUP"),
        (libc::EPOLLHUP, "HUP"),
        (libc::EPOLLERR, "ERR"),
    ];
    let text = |event: &EpollEvent| {
        let set = names.iter().filter(|(bit, _)| event.events & bit.cast_unsigned() != 0);
        let set: Vec<&str> = set.map(|(_, name)| *name).collect();
        format!("{}:{}", event.data, set.join("|"))
    };
    events.iter().map(text).collect::<Vec<_>>().join(" ")
}

/// How many steps a case has.
pub const CASE_STEPS: usize = 40;

/// A step at which the two kernels differed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The seed of the case: `cargo sim conform --seed` makes it the first one.
    pub seed: u64,
    /// The steps up to there, as few of them as still lead to a difference, with what both kernels answered.
    pub steps: Vec<String>,
    /// What the simulated kernel answered to the last step.
    pub simulated: String,
    /// What this machine's kernel answered.
    pub real: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "the kernels differ in the case of seed {}:", self.seed)?;
        for step in &self.steps {
            writeln!(f, "  {step}")?;
        }
        writeln!(f, "  simulated: {}", self.simulated)?;
        write!(f, "  real:      {}", self.real)
    }
}

/// What a comparison has covered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conformity {
    /// Cases.
    pub cases: u64,
    /// Steps in which both kernels answered alike.
    pub steps: u64,
    /// The first difference.
    pub difference: Option<Difference>,
}

/// Makes `ops` steps on both kernels, in cases from seed `seed` on, until they differ. `watch` is called
/// after each case with the steps made so far.
///
/// A difference must show in three attempts of a case, because on a busy machine something may be in
/// flight for longer than a step waits.
pub fn conform(ops: u64, seed: u64, mut watch: impl FnMut(u64)) -> Conformity {
    let mut done = Conformity::default();
    while done.steps < ops {
        let seed = seed.wrapping_add(done.cases);
        let script = Script::random(seed, CASE_STEPS);
        done.cases += 1;
        if let Some(difference) = Case::confirm(&script, seed) {
            done.difference = Some(difference);
            return done;
        }
        done.steps += script.len() as u64;
        watch(done.steps);
    }
    done
}

/// A random number below `n` of a case's stream.
fn draw(rng: &mut rand_chacha::ChaCha8Rng, n: u32) -> u32 {
    below(rng, n)
}
