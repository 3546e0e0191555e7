//! The platforms that models run on.
//!
//! | file | what it is |
//! |---|---|
//! | `primitives.rs` | the seam's primitives over a checker's copy of `std` |
//! | `loom.rs` | [`Loom`]: every behaviour of the C11 memory model |
//! | `loom_atomic.rs` | loom's atomics, so that loom explores them in full |
//! | `shuttle.rs` | [`Shuttle`]: schedules of whole programs, sequentially consistent |
//! | `execution.rs` | what belongs to one execution: the clock and the operations counted |
//! | `kernel.rs` | the simulated kernel on a checker's threads |
//! | `probe.rs` | [`Probe`]: sees every access, counts transitions, weakens one ordering |
//!
//! A model is a function with one type parameter, `P:` [`Checked`]. It runs on `Probe<Loom>` and on
//! `Probe<Shuttle>`, and everything in it that the runtime uses is the production type: `PollDesc<P>`,
//! `Shared<P>`, and goroutines on stacks of their own.

mod execution;
mod kernel;
pub(crate) mod loom;
mod loom_atomic;
mod primitives;
pub mod probe;
pub(crate) mod shuttle;

use netpoll::platform::{Platform, Primitives, Thread};
use netpoll_sim::choice::ChoiceKind;
use netpoll_sim::kernel::Simulated;
use netpoll_sim::{FaultKind, NetConfig};

pub use self::loom::Loom;
pub use self::shuttle::Shuttle;
pub(crate) use execution::take_operations;
pub use execution::{Execution, World};
pub use kernel::CheckerHost;
pub use probe::Probe;

/// The primitives of a model checker, and what it answers where the simulated kernel leaves something
/// open.
pub trait Checker: Primitives {
    /// The execution that is going on on this thread of the operating system.
    fn execution() -> Execution<Self>;
    /// Chooses a number below `n`; 0 is always the dullest.
    fn choose(kind: ChoiceKind, n: u32) -> u32;
    /// Whether a fault strikes.
    fn strikes(fault: FaultKind) -> bool;
    /// A point that the runtime passes before it touches memory that the checker cannot see.
    fn checkpoint();
    /// A wait of the caller has ended by its time: a point at which others may run.
    fn time_passed();
    /// Which of the checker's threads runs: what a goroutine must find unchanged after each park.
    fn thread() -> String;
}

/// A platform that models run on.
pub trait Checked: Platform<Kernel = Simulated<CheckerHost<Self::Checker>>> {
    /// Whose primitives it has.
    type Checker: Checker;

    /// A kernel in which nothing has happened, for a runtime with `workers` workers.
    #[must_use]
    fn kernel(workers: usize) -> Self::Kernel {
        Simulated::on(CheckerHost::new(workers, NetConfig::default()))
    }

    /// Starts a thread of the model.
    fn thread(body: impl FnOnce() + Send + 'static) -> Self::Thread {
        Self::spawn(String::new(), Box::new(body)).expect("checkers give threads away")
    }
}

impl<C: Checker> Checked for Probe<C> {
    type Checker = C;
}

/// Waits for threads of a model.
pub fn join<T: Thread>(threads: impl IntoIterator<Item = T>) {
    threads.into_iter().for_each(Thread::join);
}
