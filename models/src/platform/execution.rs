//! What belongs to one execution of a model: its clock, and the number of its operations.
//!
//! No checker here has time. A model says how many timed waits of one execution may end by their time
//! ([`World::timed_waits`]); each that does moves the clock to its deadline. Once they are used up, and
//! by default from the start, time stands still: a timed wait waits for its event, so that a wake-up
//! that is lost is a deadlock and not a delay.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::Ordering::{AcqRel, Relaxed};

use netpoll::platform::Atomic;
use netpoll_sim::Faults;
use netpoll_sim::engine::START_NS;

use super::Checker;

/// What a model may meet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct World {
    /// How many timed waits of one execution end by their time.
    pub timed_waits: u32,
    /// Which faults strike, where the checker can choose.
    pub faults: Faults,
}

thread_local! {
    static OPERATIONS: Cell<u64> = const { Cell::new(0) };
}

/// An operation on shared memory, a lock or a parker.
#[inline]
pub(super) fn count() {
    OPERATIONS.set(OPERATIONS.get() + 1);
}

/// Operations since this was last called.
pub(crate) fn take_operations() -> u64 {
    OPERATIONS.replace(0)
}

/// One execution.
#[derive(Debug)]
pub struct Execution<C: Checker> {
    world: World,
    /// A checker's atomic, so that who reads the clock and who moves it are known to depend on each
    /// other.
    clock: Rc<C::AtomicU64>,
    waits_left: Rc<Cell<u32>>,
    /// Stands for all memory that the checker cannot see: see [`Execution::touch_hidden`].
    hidden: Rc<C::AtomicU32>,
}

impl<C: Checker> Clone for Execution<C> {
    fn clone(&self) -> Execution<C> {
        let (clock, waits_left) = (Rc::clone(&self.clock), Rc::clone(&self.waits_left));
        Execution { world: self.world, clock, waits_left, hidden: Rc::clone(&self.hidden) }
    }
}

impl<C: Checker> Execution<C> {
    /// Begins an execution. The checker is running it already.
    #[must_use]
    pub fn begin(world: World) -> Execution<C> {
        let clock = Rc::new(C::AtomicU64::new(START_NS));
        let hidden = Rc::new(C::AtomicU32::new(0));
        Execution { world, clock, waits_left: Rc::new(Cell::new(world.timed_waits)), hidden }
    }

    /// What the model may meet.
    #[must_use]
    pub fn world(&self) -> World {
        self.world
    }

    /// The caller is about to use memory that the checker cannot see, behind a lock of `std`: a
    /// checker that looks for dependencies has to know that this and every other such use depend on
    /// each other, and that what one of them did before is visible after the next. A read-modify-write
    /// of one word says both. It says too much: all such locks are taken for one, so an ordering that
    /// is missing elsewhere may be hidden by two goroutines that only happen to use different ones.
    pub fn touch_hidden(&self) {
        self.hidden.fetch_add(1, AcqRel);
    }

    /// The clock.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        if self.world.timed_waits == 0 { START_NS } else { self.clock.load(Relaxed) }
    }

    /// Whether a wait until `until_ns` ends by its time; then the clock says so.
    #[must_use]
    pub fn passes_until(&self, until_ns: u64) -> bool {
        if self.world.timed_waits == 0 {
            return false;
        }
        let now_ns = self.clock.fetch_add(0, AcqRel);
        let left = self.waits_left.get();
        if left == 0 {
            return false;
        }
        self.waits_left.set(left - 1);
        self.clock.fetch_add(until_ns.saturating_sub(now_ns), AcqRel);
        true
    }
}
