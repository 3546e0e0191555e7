//! A Go-style network runtime: blocking-style code, one goroutine a connection; underneath,
//! non-blocking sockets, an edge-triggered poller and a scheduler.

pub mod backend;
pub mod fd;
pub mod go;
pub mod goroutine;
pub mod net;
pub mod ops;
pub mod platform;
pub mod poll;
pub mod runtime;
pub mod sched;
pub mod sync;
pub mod table;
pub mod time;
pub mod trace;
pub mod waiter;

pub use go::{GoBuilder, JoinHandle, Scope, blocking, go, scope, yield_now};
pub use runtime::{Builder, Dump, Runtime, run};
