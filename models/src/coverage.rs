//! Which transitions of the runtime's state words were exercised.

/// A state machine of the runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Machine {
    /// The slot of a descriptor.
    Slot,
}

impl Machine {
    /// The machine whose word is made in this file of the runtime.
    #[must_use]
    pub fn of_file(file: &str) -> Option<Machine> {
        match file {
            "poll/slot.rs" => Some(Machine::Slot),
            _ => None,
        }
    }
}

/// Takes down a transition.
pub(crate) fn record(_machine: Machine, _before: u64, _after: u64) {}
