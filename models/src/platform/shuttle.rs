//! The `Shuttle` platform: shuttle's atomics, locks and threads.
//!
//! Shuttle runs whole programs under one schedule after the other, sequentially consistent: every access
//! counts as `SeqCst` and a fence as nothing. Which thread runs next and what the simulated kernel does
//! where it may do this or that both come from one list of choices (`check/shuttle.rs`), so that a
//! failure replays from its list, schedule, faults and data alike.

use std::cell::RefCell;

use netpoll_sim::FaultKind;
use netpoll_sim::choice::{ChoiceKind, Choices};

use super::primitives::primitives;
use super::{Checker, Execution, World};

/// Shuttle's primitives.
#[derive(Debug)]
pub enum Shuttle {}

primitives!(Shuttle over shuttle, atomics of shuttle::sync::atomic);

thread_local! {
    /// The execution that goes on on this thread of the operating system.
    static EXECUTION: RefCell<Option<Execution<Shuttle>>> = const { RefCell::new(None) };
    /// Its choices.
    static CHOICES: RefCell<Option<Choices>> = const { RefCell::new(None) };
}

/// Begins an execution; called first thing in it.
pub(crate) fn begin(world: World) {
    EXECUTION.set(Some(Execution::begin(world)));
}

/// Sets the choices of the next execution, and returns what is left of those before.
pub(crate) fn set_choices(choices: Option<Choices>) -> Option<Choices> {
    CHOICES.replace(choices)
}

/// Uses the choices of the execution that goes on.
pub(crate) fn with_choices<R>(use_them: impl FnOnce(&mut Choices) -> R) -> R {
    CHOICES.with_borrow_mut(|choices| use_them(choices.as_mut().expect("a model is running")))
}

impl Checker for Shuttle {
    fn execution() -> Execution<Shuttle> {
        EXECUTION.with_borrow(|execution| execution.clone().expect("a model is running"))
    }

    fn choose(kind: ChoiceKind, n: u32) -> u32 {
        with_choices(|choices| choices.choose(kind, n))
    }

    fn strikes(fault: FaultKind) -> bool {
        let per_mille = Self::execution().world().faults.per_mille(fault);
        with_choices(|choices| choices.chance(ChoiceKind::Fault(fault), per_mille))
    }

    fn checkpoint() {
        shuttle::thread::yield_now();
    }

    fn time_passed() {
        shuttle::thread::yield_now();
    }

    fn thread() -> String {
        format!("{:?}", shuttle::thread::current().id())
    }
}
