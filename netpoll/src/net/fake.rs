//! A descriptor for tests of the face alone: it records deadlines and accepts what a script says.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::sync::{Arc, Mutex};

use super::closed_error;
use crate::go::fake::FakeRuntime;
use crate::ops::{Deadlines, Descriptor, RuntimeOps};
use crate::platform::{RawFd, Shutdown, SockAddr};
use crate::trace::Mode;

/// What one `accept` returns: a connection, or an error number.
pub(super) type Accepted = Result<(), i32>;

/// A descriptor that does no I/O.
#[derive(Debug)]
pub(super) struct FakeDescriptor {
    runtime: FakeRuntime,
    deadlines: Mutex<Vec<(Deadlines, Option<u64>)>>,
    on_set_deadline: Mutex<Option<Hook>>,
    accepts: Mutex<VecDeque<Accepted>>,
}

struct Hook(Box<dyn FnOnce() + Send>);

impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hook")
    }
}

impl FakeDescriptor {
    pub(super) fn new() -> Arc<FakeDescriptor> {
        FakeDescriptor::listener([], 0)
    }

    /// A listener that accepts this and is closed afterwards, in a runtime that cannot start its first
    /// `spawn_failures` goroutines.
    pub(super) fn listener(
        accepts: impl IntoIterator<Item = Accepted>,
        spawn_failures: u64,
    ) -> Arc<FakeDescriptor> {
        Arc::new(FakeDescriptor {
            runtime: FakeRuntime::inline(spawn_failures),
            deadlines: Mutex::default(),
            on_set_deadline: Mutex::default(),
            accepts: Mutex::new(accepts.into_iter().collect()),
        })
    }

    /// Every deadline that was set.
    pub(super) fn deadlines(&self) -> Vec<(Deadlines, Option<u64>)> {
        self.deadlines.lock().unwrap().clone()
    }

    pub(super) fn set_now(&self, now: u64) {
        self.runtime.set_now(now);
    }

    pub(super) fn on_next_set_deadline(&self, f: impl FnOnce() + Send + 'static) {
        *self.on_set_deadline.lock().unwrap() = Some(Hook(Box::new(f)));
    }
}

fn unscripted<T>() -> io::Result<T> {
    Err(io::ErrorKind::Unsupported.into())
}

impl Descriptor for FakeDescriptor {
    fn runtime(&self) -> Arc<dyn RuntimeOps> {
        self.runtime.handle()
    }
    fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        buf.fill(7);
        Ok(buf.len())
    }
    fn readv(&self, _: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        unscripted()
    }
    fn peek(&self, _: &mut [u8]) -> io::Result<usize> {
        unscripted()
    }
    fn write(&self, buf: &[u8]) -> io::Result<usize> {
        Ok(buf.len())
    }
    fn write_all(&self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
    fn writev(&self, _: &[IoSlice<'_>]) -> io::Result<usize> {
        unscripted()
    }
    fn recv_from(&self, _: &mut [u8], _: bool) -> io::Result<(usize, Option<SockAddr>)> {
        unscripted()
    }
    fn send_to(&self, _: &[u8], _: &SockAddr) -> io::Result<usize> {
        unscripted()
    }
    fn connect(&self, _: &SockAddr) -> io::Result<()> {
        unscripted()
    }
    fn accept(&self) -> io::Result<(Arc<dyn Descriptor>, SockAddr)> {
        match self.accepts.lock().unwrap().pop_front() {
            Some(Ok(())) => {
                let peer = std::net::SocketAddr::from(([127, 0, 0, 1], 9));
                Ok((FakeDescriptor::new(), peer.into()))
            }
            Some(Err(errno)) => Err(io::Error::from_raw_os_error(errno)),
            None => Err(closed_error()),
        }
    }
    fn shutdown(&self, _: Shutdown) -> io::Result<()> {
        unscripted()
    }
    fn close(&self) -> io::Result<()> {
        Ok(())
    }
    fn set_deadline(&self, which: Deadlines, at: Option<u64>) -> io::Result<()> {
        self.deadlines.lock().unwrap().push((which, at));
        let hook = self.on_set_deadline.lock().unwrap().take();
        if let Some(Hook(hook)) = hook {
            hook();
        }
        Ok(())
    }
    fn local_addr(&self) -> io::Result<SockAddr> {
        unscripted()
    }
    fn peer_addr(&self) -> io::Result<SockAddr> {
        unscripted()
    }
    fn getsockopt(&self, _: i32, _: i32) -> io::Result<i32> {
        Ok(0)
    }
    fn setsockopt(&self, _: i32, _: i32, _: i32) -> io::Result<()> {
        Ok(())
    }
    fn set_zero_linger(&self) -> io::Result<()> {
        unscripted()
    }
    fn raw_fd(&self) -> RawFd {
        -1
    }
    fn wait(&self, _: Mode) -> io::Result<()> {
        Ok(())
    }
    fn attempt(&self, _: Mode, _: &mut dyn FnMut() -> io::Result<()>) -> io::Result<()> {
        unscripted()
    }
    fn take_fd(&self) -> io::Result<std::os::fd::OwnedFd> {
        unscripted()
    }
}
