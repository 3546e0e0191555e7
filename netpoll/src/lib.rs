//! A Go-style network runtime.

pub mod goroutine;
pub mod ops;
pub mod platform;
pub mod trace;
