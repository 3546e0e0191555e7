//! The kernel's event queues. Each backend offers the same five functions; to add one, copy
//! [`epoll`] and satisfy them:
//!
//! * `new` — opens the queue and its break channel; the descriptor is in use when it returns;
//! * `open` — registers a file once for its life, both directions, edge-triggered, with user data;
//! * `close` — deregisters it; called before `close(2)`;
//! * `poll` — one call to the kernel, with the timeout rules of the backend, reporting each event as
//!   `(user data, readiness)`; never returns early without an event except on a signal in a timed wait;
//! * `wake` — makes a blocked `poll` return; coalesced; never lost.

pub mod epoll;

pub use epoll::{Batch, Epoll};

/// What an event says about a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// A read is worth trying.
    pub read: bool,
    /// A write is worth trying.
    pub write: bool,
    /// The kernel reported an error and nothing else.
    pub error: bool,
    /// The stream ends or ended, failed, or carries urgent data: from here on a short read does not
    /// prove that there is nothing left to read.
    pub unsure: bool,
}
