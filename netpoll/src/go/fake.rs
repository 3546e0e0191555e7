//! A runtime for tests of the face alone: its goroutines are plain threads.

use std::io;
use std::sync::Arc;
use std::thread;

use crate::ops::{Descriptor, RuntimeOps, Task, Wake};
use crate::platform::{RawFd, SockAddr};
use crate::time;
use crate::trace::WaitReason;

/// A runtime whose goroutines and blocking calls are plain threads, or are dropped at once.
#[derive(Debug)]
pub(crate) struct ThreadRuntime {
    drops: bool,
}

impl ThreadRuntime {
    pub(crate) fn new() -> Arc<dyn RuntimeOps> {
        Arc::new(ThreadRuntime { drops: false })
    }

    /// One that takes every body and drops it, like a runtime that is being shut down.
    pub(crate) fn dropping() -> Arc<dyn RuntimeOps> {
        Arc::new(ThreadRuntime { drops: true })
    }
}

impl RuntimeOps for ThreadRuntime {
    fn handle(&self) -> Arc<dyn RuntimeOps> {
        Arc::new(ThreadRuntime { drops: self.drops })
    }

    fn now(&self) -> u64 {
        time::thread_clock()
    }

    fn spawn(&self, task: Task) -> io::Result<()> {
        if !self.drops {
            thread::spawn(task.body);
        }
        Ok(())
    }

    fn prepare_park(&self, _g: u32) -> u64 {
        unreachable!("plain threads park by themselves")
    }

    fn park(&self, _g: u32, _ticket: u64, _why: WaitReason, _deadline: Option<u64>) -> Wake {
        unreachable!("plain threads park by themselves")
    }

    fn unpark(&self, _g: u32, _ticket: u64) -> bool {
        unreachable!("plain threads park by themselves")
    }

    fn yield_now(&self, _g: u32) {
        thread::yield_now();
    }

    fn blocking(&self, job: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        if self.drops {
            return Err(io::Error::other("no threads"));
        }
        thread::spawn(job);
        Ok(())
    }

    fn checkpoint(&self) {}

    fn is_real(&self) -> bool {
        false
    }

    fn tcp_listen(&self, _addr: SockAddr, _backlog: i32) -> io::Result<Arc<dyn Descriptor>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn tcp_connect(
        &self,
        _addr: SockAddr,
        _deadline: Option<u64>,
    ) -> io::Result<Arc<dyn Descriptor>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn adopt(&self, _fd: RawFd) -> io::Result<Arc<dyn Descriptor>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
