//! What the tests of this folder share: fibers without a runtime behind them.

use std::io;
use std::sync::Arc;

use super::{Commit, Current, Fiber, Stack, StackSize, suspend};
use crate::ops::{Descriptor, RuntimeOps, Task, Wake};
use crate::platform::{Domain, SockAddr, SockType};
use crate::trace::WaitReason;

/// A runtime that is only pointed at.
#[derive(Debug)]
struct Nobody;

/// What no test here asks for.
const NOT_A_RUNTIME: &str = "the runtime of these tests does nothing";

impl RuntimeOps for Nobody {
    fn handle(&self) -> Arc<dyn RuntimeOps> {
        Arc::new(Nobody)
    }
    fn now(&self) -> u64 {
        1
    }
    fn spawn(&self, _: Task) -> io::Result<()> {
        Err(io::Error::other(NOT_A_RUNTIME))
    }
    fn prepare_park(&self, _: u32) -> u64 {
        unreachable!("{NOT_A_RUNTIME}")
    }
    fn park(&self, _: u32, _: u64, _: WaitReason, _: Option<u64>) -> Wake {
        unreachable!("{NOT_A_RUNTIME}")
    }
    fn unpark(&self, _: u32, _: u64) -> bool {
        false
    }
    fn yield_now(&self, _: u32) {
        suspend(Commit::Yield);
    }
    fn blocking(&self, _: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        Err(io::Error::other(NOT_A_RUNTIME))
    }
    fn checkpoint(&self) {}
    fn is_real(&self) -> bool {
        false
    }
    fn listen(&self, _: SockAddr, _: i32) -> io::Result<Arc<dyn Descriptor>> {
        Err(io::Error::other(NOT_A_RUNTIME))
    }
    fn connect(&self, _: SockAddr, _: Option<u64>) -> io::Result<Arc<dyn Descriptor>> {
        Err(io::Error::other(NOT_A_RUNTIME))
    }
    fn datagram(&self, _: Domain, _: Option<SockAddr>) -> io::Result<Arc<dyn Descriptor>> {
        Err(io::Error::other(NOT_A_RUNTIME))
    }
    fn socketpair(&self, _: SockType) -> io::Result<(Arc<dyn Descriptor>, Arc<dyn Descriptor>)> {
        Err(io::Error::other(NOT_A_RUNTIME))
    }
    fn pipe(&self) -> io::Result<(Arc<dyn Descriptor>, Arc<dyn Descriptor>)> {
        Err(io::Error::other(NOT_A_RUNTIME))
    }
    fn adopt(&self, _: std::os::fd::OwnedFd) -> io::Result<Arc<dyn Descriptor>> {
        Err(io::Error::other(NOT_A_RUNTIME))
    }
    fn watch(&self, _: std::os::fd::BorrowedFd<'_>) -> io::Result<Arc<dyn Descriptor>> {
        Err(io::Error::other(NOT_A_RUNTIME))
    }
}

/// Goroutine `g` of a runtime that is only pointed at.
pub(super) fn current(g: u32) -> Current {
    Current { runtime: Arc::new(Nobody), g }
}

/// Fiber `g` on a default stack.
pub(super) fn fiber(g: u32, body: impl FnOnce() + Send + 'static) -> Fiber {
    let stack = Stack::new(StackSize::DEFAULT).unwrap();
    Fiber::new(stack, current(g), u64::from(g), None, Box::new(body))
}

/// How many mappings this process has; `None` where the system does not tell.
pub(super) fn mappings() -> Option<usize> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    Some(maps.lines().count())
}
