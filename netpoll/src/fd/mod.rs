//! An open descriptor: its lifetime, its serialisation, and the loop try · `EAGAIN` · wait · retry.
//!
//! * [`mutex`] — references, direction locks and the closed flag in one word;
//! * [`sema`] — the semaphore that its waiters sleep on;
//! * `file` — the open file: try, wait, retry, and its end; `descriptor` — its operations;
//! * `nap` — waiting for what the kernel does not report;
//! * [`setup`] — how files come to be: listen, connect, bind, pairs, pipes, adopt.

mod descriptor;
pub mod file;
pub mod mutex;
mod nap;
pub mod sema;
pub mod setup;
