//! Goroutines: starting them, waiting for them, and calls that block.
//!
//! | file | what it is |
//! |---|---|
//! | `go.rs` | [`go`], [`GoBuilder`], [`JoinHandle`], [`yield_now`] |
//! | `go/packet.rs` | how a result travels from a goroutine to whoever joins it |
//! | `go/scope.rs` | [`scope`]: goroutines that borrow |
//! | `go/blocking.rs` | [`blocking`]: calls that would block a worker |

mod blocking;
mod packet;
mod scope;

#[cfg(test)]
pub(crate) mod fake;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

pub use blocking::blocking;
pub use scope::{Scope, ScopedJoinHandle, scope};

use crate::ops::{RuntimeOps, Task};
use crate::time;
use crate::trace::WaitReason;
use crate::waiter::{current_runtime, with_current};
use packet::Packet;

/// Starts a goroutine that runs `f`, in the runtime of the caller.
///
/// It may be started by any worker, hence `Send`; from its first instruction on it stays on that
/// worker's thread, so values that it holds while it waits need not be `Send`. Dropping the handle
/// detaches it.
///
/// # Panics
/// When the caller is not inside a runtime, or there is no address space left for a stack. Use
/// [`GoBuilder::spawn`] to get an error instead.
#[track_caller]
pub fn go<F, T>(f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    match GoBuilder::new().spawn(f) {
        Ok(handle) => handle,
        Err(error) => panic!("cannot start a goroutine: {error}"),
    }
}

/// Lets the other goroutines of the caller's worker run first.
///
/// A goroutine that computes for long should call it now and then: goroutines are not preempted. On a
/// plain thread it is [`std::thread::yield_now`].
pub fn yield_now() {
    with_current(|current| match current {
        Some(current) => current.runtime.yield_now(current.g),
        None => thread::yield_now(),
    });
}

/// How a goroutine is to be started: [`go`] with a name, a stack size and errors.
#[derive(Clone, Debug, Default)]
#[must_use = "nothing starts before `spawn` is called"]
pub struct GoBuilder {
    name: Option<Arc<str>>,
    stack_size: Option<usize>,
}

impl GoBuilder {
    /// A goroutine without a name, with the runtime's default stack size.
    pub fn new() -> GoBuilder {
        GoBuilder::default()
    }

    /// Names the goroutine, for dumps and reports.
    pub fn name(mut self, name: impl Into<String>) -> GoBuilder {
        self.name = Some(name.into().into());
        self
    }

    /// Sets the usable stack in bytes. The runtime rounds up to whole pages.
    pub fn stack_size(mut self, bytes: usize) -> GoBuilder {
        self.stack_size = Some(bytes);
        self
    }

    /// Starts a goroutine that runs `f`, in the runtime of the caller.
    ///
    /// # Errors
    /// When the caller is not inside a runtime, the runtime has been shut down, the stack size is
    /// absurd, or there is no address space left for the stack.
    pub fn spawn<F, T>(self, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.spawn_on(&*current_runtime()?, f)
    }

    /// As [`spawn`](GoBuilder::spawn), in the given runtime.
    pub(crate) fn spawn_on<F, T>(self, runtime: &dyn RuntimeOps, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let packet = Arc::new(Packet::new(None));
        let body = packet::body(f, Arc::clone(&packet), ());
        let name = self.name.clone();
        runtime.spawn(self.task(Box::new(body)))?;
        Ok(JoinHandle { packet, name })
    }

    fn task(self, body: Box<dyn FnOnce() + Send>) -> Task {
        Task { name: self.name, stack_size: self.stack_size, body }
    }
}

/// The right to wait for a goroutine and to have its result. Dropping it detaches the goroutine.
pub struct JoinHandle<T> {
    packet: Arc<Packet<T>>,
    name: Option<Arc<str>>,
}

impl<T> JoinHandle<T> {
    /// Waits until the goroutine has ended and returns what it returned.
    ///
    /// # Errors
    /// The payload of its panic, as [`std::thread::JoinHandle::join`]; also when its runtime was shut
    /// down before it could start.
    pub fn join(self) -> thread::Result<T> {
        self.packet.done.wait(WaitReason::Join, None);
        self.packet.take()
    }

    /// As [`join`](JoinHandle::join), for at most `timeout`.
    ///
    /// # Errors
    /// The handle, when the goroutine has not ended by then.
    pub fn join_timeout(self, timeout: Duration) -> Result<thread::Result<T>, JoinHandle<T>> {
        let deadline = time::deadline_after(timeout);
        if self.packet.done.wait(WaitReason::Join, Some(deadline)) {
            Ok(self.packet.take())
        } else {
            Err(self)
        }
    }

    /// Whether the goroutine has ended, so that a join would not wait.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.packet.done.is_done()
    }

    /// The goroutine's name, if it was given one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::fake::FakeRuntime;
    use super::*;

    #[test]
    fn join_returns_the_result_or_the_panic() {
        let runtime = FakeRuntime::threads();
        let name = GoBuilder::new().name("seven");
        let handle = name.spawn_on(&*runtime, || 7).unwrap();
        assert_eq!(handle.name(), Some("seven"));
        assert_eq!(handle.join().unwrap(), 7);

        let quiet = || -> u8 { std::panic::resume_unwind(Box::new("boom")) };
        let handle = GoBuilder::new().spawn_on(&*runtime, quiet).unwrap();
        let payload = handle.join().unwrap_err();
        assert_eq!(payload.downcast_ref(), Some(&"boom"));
    }

    #[test]
    fn join_timeout_gives_the_handle_back() {
        let runtime = FakeRuntime::threads();
        let (sender, receiver) = crate::sync::channel(0);
        let wait = move || receiver.recv();
        let handle = GoBuilder::new().spawn_on(&*runtime, wait).unwrap();
        let handle = handle.join_timeout(Duration::from_millis(1)).unwrap_err();
        assert!(!handle.is_finished());
        sender.send(3).unwrap();
        let joined = handle.join_timeout(Duration::from_secs(60)).unwrap();
        assert_eq!(joined.unwrap(), Ok(3));
    }

    #[test]
    fn a_goroutine_that_is_never_started_ends_its_join() {
        let runtime = FakeRuntime::dropping();
        let handle = GoBuilder::new().spawn_on(&*runtime, || ()).unwrap();
        let payload = handle.join().unwrap_err();
        let text = payload.downcast_ref::<&str>().unwrap();
        assert!(text.contains("shut down"), "{text}");
    }

    #[test]
    fn a_detached_result_whose_drop_panics_does_not_unwind_into_the_runtime() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                std::panic::resume_unwind(Box::new("drop"));
            }
        }
        let packet = Arc::new(Packet::new(None));
        packet::body(|| Bomb, packet, ())();
    }

    #[test]
    #[should_panic(expected = "netpoll::run")]
    fn go_outside_a_runtime_says_how_to_start_one() {
        go(|| ());
    }
}
