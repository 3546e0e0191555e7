//! Goroutines as things with a stack: the arena, the switch, and who is running.
//!
//! | file | what it is |
//! |---|---|
//! | `arena.rs` | one reserved range of addresses, cut into slots (A1–A4) |
//! | `books.rs` | which slots are free |
//! | `stack.rs` | a slot that somebody owns, its size, and how much of it was used |
//! | `header.rs` | the top of a slot: whose stack this is (H1–H3) |
//! | `fiber.rs` | a stack and what runs on it (F1–F4) |
//! | `fiber_cell.rs` | a fiber that threads share (C1) |
//! | `current.rs` | who is running, and switching away |
//! | `overflow.rs` | the report of a stack overflow |
//!
//! None of this schedules: a fiber runs when somebody resumes it.

mod arena;
mod books;
mod current;
mod fiber;
mod fiber_cell;
mod header;
mod overflow;
mod stack;
#[cfg(test)]
mod testing;

use std::sync::Arc;

pub use current::{suspend, with_current};
pub use fiber::{Fiber, Resumed};
pub use fiber_cell::FiberCell;
pub use overflow::{OverflowGuard, install_for_thread};
pub use stack::{Extent, Stack, StackSize};

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
