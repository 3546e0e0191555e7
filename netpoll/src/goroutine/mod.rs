//! Goroutines as things with a stack: the arena, the switch, and who is running.

use std::sync::Arc;

use crate::ops::RuntimeOps;
use crate::trace::{Mode, WaitReason};

/// What a goroutine tells its worker when it gives the thread back: the step that the worker carries
/// out on its own stack, when the goroutine can no longer run (T3 of the slot, for one).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    /// Put me at the end of the run queue.
    Yield,
    /// Park me unless my ticket has been used already.
    Park {
        /// The ticket of this park.
        ticket: u64,
        /// What it waits for.
        why: WaitReason,
    },
    /// Park me on this descriptor's slot unless it is no longer in `Wait`.
    Slot {
        /// Index of the poll descriptor.
        pd: u32,
        /// Which of its slots.
        mode: Mode,
    },
}

/// Who is running: kept in the header of the stack it runs on.
#[derive(Clone, Debug)]
pub struct Current {
    /// The runtime that started it.
    pub runtime: Arc<dyn RuntimeOps>,
    /// Its index in that runtime's table.
    pub g: u32,
}
