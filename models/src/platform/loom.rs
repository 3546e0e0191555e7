//! The `Loom` platform: loom's atomics, locks and threads.
//!
//! Loom explores every execution that the C11 memory model allows, with partial-order reduction. It has
//! no data choice, so the simulated kernel does the dullest thing everywhere, and a model that wants
//! more brings scripts and threads of its own.
//!
//! Two things loom does not model exactly, and what follows: a `SeqCst` *access* counts as `AcqRel`, so
//! the runtime has none; and a `SeqCst` fence also synchronises like a read-modify-write of one global
//! word, so it may hide that an acquire or release beside it is missing.
//!
//! And one thing loom 0.7 does not explore in full: of each atomic it remembers the last access only. So
//! a thread that loads right before it writes, as every loop around a compare-exchange does, hides that
//! its write races with an earlier load of another thread; then "the write first" is explored only if
//! some other race leads there. A certificate's `complete` means complete up to that. Shuttle's
//! schedules know no such reduction, which is one more reason to run every model under both.
//!
//! Goroutines of the whole runtime use the face's locks, which are `std`'s, since the face has no type
//! parameter. Loom does not see them; it sees the checkpoint before each use
//! ([`Execution::touch_hidden`](super::Execution::touch_hidden)).

use std::cell::RefCell;

use netpoll_sim::FaultKind;
use netpoll_sim::choice::ChoiceKind;

use super::primitives::primitives;
use super::{Checker, Execution, World};

/// Loom's primitives.
#[derive(Debug)]
pub enum Loom {}

primitives!(Loom over loom);

thread_local! {
    /// The execution that goes on on this thread of the operating system.
    static EXECUTION: RefCell<Option<Execution<Loom>>> = const { RefCell::new(None) };
}

/// Begins an execution; called first thing in it.
pub(crate) fn begin(world: World) {
    EXECUTION.set(Some(Execution::begin(world)));
}

impl Checker for Loom {
    fn execution() -> Execution<Loom> {
        EXECUTION.with_borrow(|execution| execution.clone().expect("a model is running"))
    }

    fn choose(_kind: ChoiceKind, _n: u32) -> u32 {
        0
    }

    fn strikes(_fault: FaultKind) -> bool {
        false
    }

    fn checkpoint() {
        Self::execution().touch_hidden();
    }

    fn thread() -> String {
        format!("{:?}", loom::thread::current().id())
    }
}
