//! A Go-style network runtime: blocking-style code, one goroutine a connection; underneath,
//! non-blocking sockets, an edge-triggered poller and a scheduler.
//!
//! The face is [`run`], [`go()`], [`net`], [`time`] and [`sync`]; none of its types has a type
//! parameter, and one compiled program runs on the real kernel and on a simulated one. Everything else
//! is the inside, generic over a [`platform::Platform`]: public for the simulator and the models, and
//! without any promise of stability.

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

/// The programs in the README compile.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
#[derive(Debug)]
pub struct Readme;
