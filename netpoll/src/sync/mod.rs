//! Locks, channels and wait groups that park the calling goroutine instead of blocking its worker.
//!
//! They work between goroutines of any runtime and plain threads: a plain thread blocks where a
//! goroutine parks. Each is a sequential state machine behind a short internal lock:
//!
//! | file | what it is |
//! |---|---|
//! | `queue.rs` | waiters in order of arrival |
//! | `mutex_state.rs`, `mutex.rs`, `condvar.rs` | [`Mutex`], [`Condvar`] |
//! | `rwlock_state.rs`, `rwlock.rs` | [`RwLock`] |
//! | `channel_state.rs`, `channel.rs`, `channel_error.rs` | [`channel()`] |
//! | `wait_group.rs` | [`WaitGroup`] |
//!
//! How it is tested: the state machines exhaustively, one transition at a time, beside their source;
//! the shells with plain threads here and under checkers in the models, through [`raw`].

mod channel;
mod channel_error;
mod channel_state;
mod condvar;
mod mutex;
mod mutex_state;
mod queue;
mod rwlock;
mod rwlock_state;
mod wait_group;

#[cfg(test)]
mod channel_test;

pub use channel::{IntoIter, Receiver, Sender, channel};
pub use channel_error::{
    RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError,
};
pub use condvar::{Condvar, WaitTimeoutResult};
pub use mutex::{Mutex, MutexGuard};
pub use rwlock::{RwLock, RwLockReadGuard, RwLockWriteGuard};
pub use wait_group::WaitGroup;

/// The shells without data and handles, generic over the primitives, for model checkers.
pub mod raw {
    pub use super::channel::RawChannel;
    pub use super::condvar::RawCondvar;
    pub use super::mutex::RawMutex;
    pub use super::rwlock::RawRwLock;
    pub use super::rwlock_state::Access;
    pub use super::wait_group::RawWaitGroup;
}
