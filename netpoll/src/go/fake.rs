//! A runtime for tests of the face alone: it has no goroutines and no sockets.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;

use crate::ops::{Descriptor, RuntimeOps, Task, Wake};
use crate::platform::{Domain, SockAddr, SockType};
use crate::trace::WaitReason;

/// What becomes of the bodies of goroutines and blocking calls.
#[derive(Clone, Debug)]
enum Bodies {
    /// They run on threads.
    Threads,
    /// They are dropped, as by a runtime that is being shut down.
    Dropped,
    /// The first so many are refused, the others run at once.
    Inline(Arc<AtomicU64>),
}

/// A runtime without goroutines. Its clock stands still until it is set.
#[derive(Clone, Debug)]
pub(crate) struct FakeRuntime {
    bodies: Bodies,
    now: Arc<AtomicU64>,
}

impl FakeRuntime {
    /// Runs goroutines and blocking calls on threads.
    pub(crate) fn threads() -> Arc<dyn RuntimeOps> {
        Arc::new(FakeRuntime::with(Bodies::Threads))
    }

    /// Takes goroutines and drops them; refuses blocking calls.
    pub(crate) fn dropping() -> Arc<dyn RuntimeOps> {
        Arc::new(FakeRuntime::with(Bodies::Dropped))
    }

    /// Runs goroutines at once, except for the first `failures`, for which there is no memory.
    pub(crate) fn inline(failures: u64) -> FakeRuntime {
        FakeRuntime::with(Bodies::Inline(Arc::new(AtomicU64::new(failures))))
    }

    fn with(bodies: Bodies) -> FakeRuntime {
        let now = Arc::new(AtomicU64::new(1));
        FakeRuntime { bodies, now }
    }

    pub(crate) fn set_now(&self, now: u64) {
        self.now.store(now, Relaxed);
    }

    fn start(&self, body: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        match &self.bodies {
            Bodies::Threads => drop(thread::spawn(body)),
            Bodies::Dropped => drop(body),
            Bodies::Inline(failures) => {
                let left = failures.load(Relaxed);
                if left > 0 {
                    failures.store(left - 1, Relaxed);
                    return Err(io::Error::from_raw_os_error(libc::ENOMEM));
                }
                body();
            }
        }
        Ok(())
    }
}

fn no_sockets<T>() -> io::Result<T> {
    Err(io::ErrorKind::Unsupported.into())
}

impl RuntimeOps for FakeRuntime {
    fn handle(&self) -> Arc<dyn RuntimeOps> {
        Arc::new(self.clone())
    }
    fn now(&self) -> u64 {
        self.now.load(Relaxed)
    }
    fn spawn(&self, task: Task) -> io::Result<()> {
        self.start(task.body)
    }
    fn prepare_park(&self, _: u32) -> u64 {
        unreachable!("nobody is a goroutine here")
    }
    fn park(&self, _: u32, _: u64, _: WaitReason, _: Option<u64>) -> Wake {
        unreachable!("nobody is a goroutine here")
    }
    fn unpark(&self, _: u32, _: u64) -> bool {
        unreachable!("nobody is a goroutine here")
    }
    fn yield_now(&self, _: u32) {
        unreachable!("nobody is a goroutine here")
    }
    fn blocking(&self, job: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        match self.bodies {
            Bodies::Dropped => Err(io::Error::other("no threads")),
            _ => self.start(job),
        }
    }
    fn checkpoint(&self) {}
    fn is_real(&self) -> bool {
        false
    }
    fn listen(&self, _: SockAddr, _: i32) -> io::Result<Arc<dyn Descriptor>> {
        no_sockets()
    }
    fn connect(&self, _: SockAddr, _: Option<u64>) -> io::Result<Arc<dyn Descriptor>> {
        no_sockets()
    }
    fn datagram(&self, _: Domain, _: Option<SockAddr>) -> io::Result<Arc<dyn Descriptor>> {
        no_sockets()
    }
    fn socketpair(&self, _: SockType) -> io::Result<(Arc<dyn Descriptor>, Arc<dyn Descriptor>)> {
        no_sockets()
    }
    fn pipe(&self) -> io::Result<(Arc<dyn Descriptor>, Arc<dyn Descriptor>)> {
        no_sockets()
    }
    fn adopt(&self, _: std::os::fd::OwnedFd) -> io::Result<Arc<dyn Descriptor>> {
        no_sockets()
    }
    fn watch(&self, _: std::os::fd::BorrowedFd<'_>) -> io::Result<Arc<dyn Descriptor>> {
        no_sockets()
    }
}
