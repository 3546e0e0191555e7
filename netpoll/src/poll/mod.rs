//! The poller: descriptors with two slots each, deadlines, and the kernel's event queue.
//!
//! * [`slot`] — the semaphore between a consumer and its releasers (T1–T8);
//! * [`info`] — the summary word that is read without the lock;
//! * [`desc`] — the descriptor: both slots, the summary, its lives; [`deadline`] — its deadlines;
//! * [`lives`] — descriptors of all lives: allocation, the free list, the tag in an event's user data;
//! * [`netpoll`] — the poll loop around the backend, the waiter count, the break, `lastpoll`.
//!
//! Transitions T1–T8, invariants S1–S34, liveness properties L1–L18: see ARCHITECTURE.md.

pub mod deadline;
pub mod desc;
pub mod info;
pub mod lives;
pub mod netpoll;
pub mod slot;

pub use deadline::{DeadlineJob, DeadlineTimers};
pub use desc::{PollDesc, Released};
pub use info::{FileKind, PollError};
pub use netpoll::{Delay, Harvest, Netpoll};
