//! An open descriptor: its lifetime, its serialisation, and the loop try · `EAGAIN` · wait · retry.
//!
//! * [`mutex`] — references, direction locks and the closed flag in one word;
//! * [`sema`] — the semaphore that its waiters sleep on;
//! * `file` — the descriptor and its operations; [`setup`] — listen, connect, adopt.

pub mod file;
pub mod mutex;
pub mod sema;
pub mod setup;
