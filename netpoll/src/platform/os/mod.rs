//! The production platform: `std`'s threads and atomics, and the kernel of this machine.
//!
//! | file | what it is |
//! |---|---|
//! | `primitives.rs` | atomics, the lock, threads: thin covers over `std` |
//! | `parker.rs` | the token parker: a futex on Linux, a condition variable elsewhere |
//! | `kernel.rs` | [`OsKernel`]: the clock, the environment and the calls that every Unix has |
//! | `linux.rs` | the calls that only Linux has: epoll, eventfd, `accept4` |
//! | `sockaddr.rs` | addresses, to and from the kernel's form |
//! | `recording.rs` | [`Recording`]: the same platform for a runtime that records what it does |
//! | `signal.rs` | `SIGQUIT`, brought to an ordinary thread |
//! | `memory.rs` | address space: reserve, make usable, guard, discard |
//! | `fault.rs` | alternate signal stacks, and where a fault happened |
//!
//! Every system call here is one line of `unsafe` with its reason; nothing is retried and nothing
//! is decided. Decisions belong above the seam, where they are simulated.

#[cfg(not(target_os = "linux"))]
compile_error!("netpoll has an epoll backend only: it builds on Linux");

pub(crate) mod fault;
mod kernel;
mod linux;
pub(crate) mod memory;
mod parker;
mod primitives;
mod recording;
mod signal;
mod sockaddr;
#[cfg(test)]
pub(crate) mod testing;

pub use kernel::OsKernel;
pub use parker::OsParker;
pub use primitives::{OsMutex, OsThread};
pub use recording::{Recording, RecordingKernel, Tracer};
pub use signal::{SigquitGuard, on_sigquit};

/// The production platform.
#[derive(Debug)]
pub enum Os {}

impl super::Platform for Os {
    type Kernel = OsKernel;
}
