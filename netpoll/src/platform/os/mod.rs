//! The production platform: `std`'s threads and atomics, and the kernel of this machine.

/// The production platform.
#[derive(Debug)]
pub enum Os {}
