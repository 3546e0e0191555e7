//! The `Loom` platform: loom's atomics, locks and threads.
//!
//! Loom explores every execution that the C11 memory model allows, with partial-order reduction. It has
//! no data choice, so the simulated kernel does the dullest thing everywhere, and a model that wants
//! more brings scripts and threads of its own.
//!
//! What loom does not model exactly, and what follows:
//!
//! * A `SeqCst` *access* counts as `AcqRel`, so the runtime has none. A `SeqCst` fence also synchronises
//!   like a read-modify-write of one global word, so it may hide that an acquire or release beside it is
//!   missing.
//! * Of each atomic the last seven stores can be read, and a condition variable never wakes anybody for
//!   no reason.
//! * A thread that yields goes on only after another has moved, so `spin_hint` leaves out the executions
//!   in which it goes on at once: a busy-wait loop would have no end otherwise.
//! * On its own it overlooks writes that follow a load of the same thread: `loom_atomic.rs` makes up for
//!   that.
//!
//! Goroutines of the whole runtime use the face's locks, which are `std`'s, since the face has no type
//! parameter. Loom does not see them; it sees the checkpoint before each use
//! ([`Execution::touch_hidden`](super::Execution::touch_hidden)).

use std::cell::RefCell;

use netpoll_sim::FaultKind;
use netpoll_sim::choice::ChoiceKind;

use super::primitives::primitives;
use super::{Checker, Execution, World, loom_atomic};

/// Loom's primitives.
#[derive(Debug)]
pub enum Loom {}

primitives!(Loom over loom, atomics of super::loom_atomic);

thread_local! {
    /// The execution that goes on on this thread of the operating system.
    static EXECUTION: RefCell<Option<Execution<Loom>>> = const { RefCell::new(None) };
}

/// So many timed waits can all be one thread's, one after the other.
const FEW_WAITS: u32 = 10;

/// Begins an execution; called first thing in it.
pub(crate) fn begin(world: World) {
    loom_atomic::begin();
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

    /// To loom a yield says that the thread can only go on when another has moved: it leaves out every
    /// execution in which it goes on at once. So none is made unless the model lets time pass without
    /// end; there a thread that waits in a loop would otherwise be all that runs.
    fn time_passed() {
        if Self::execution().world().timed_waits > FEW_WAITS {
            loom::thread::yield_now();
        }
    }

    fn thread() -> String {
        format!("{:?}", loom::thread::current().id())
    }
}
