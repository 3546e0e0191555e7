//! A Go-style network runtime.

pub mod go;
pub mod goroutine;
pub mod net;
pub mod ops;
pub mod platform;
pub mod sync;
pub mod time;
pub mod trace;
mod waiter;
