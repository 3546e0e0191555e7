//! Calls that would block a worker, on a thread of their own.

use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, PoisonError};

use super::packet::{self, Packet};
use crate::ops::RuntimeOps;
use crate::trace::WaitReason;
use crate::waiter::current_runtime;

/// Runs `f` on the runtime's blocking pool while the calling goroutine is parked, and returns what it
/// returns. For files, name resolution, C libraries: whatever blocks its thread.
///
/// On a plain thread it just calls `f`. It does so, too, when the pool cannot start a thread or the
/// runtime is being shut down: then the worker blocks, which is slow but right.
///
/// # Panics
/// When `f` does, with its payload.
pub fn blocking<F, T>(f: F) -> T
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    match current_runtime() {
        Ok(runtime) => blocking_on(&*runtime, f),
        Err(_) => f(),
    }
}

fn blocking_on<F, T>(runtime: &dyn RuntimeOps, f: F) -> T
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    // Shared, so that it comes back when the pool refuses or drops the job.
    let f = Arc::new(Mutex::new(Some(f)));
    let take = |f: &Mutex<Option<F>>| f.lock().unwrap_or_else(PoisonError::into_inner).take();
    let packet = Arc::new(Packet::new(None));
    let job = {
        let f = Arc::clone(&f);
        let call = move || take(&f).expect("a job that runs once")();
        packet::body(call, Arc::clone(&packet), ())
    };
    // A job that is refused is dropped, which ends the wait as well.
    let _ = runtime.blocking(Box::new(job));
    packet.done.wait(WaitReason::Blocking, None);
    match packet.try_take() {
        Some(Ok(value)) => value,
        Some(Err(payload)) => resume_unwind(payload),
        None => take(&f).expect("a job that never ran")(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::FakeRuntime;
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::thread;

    #[test]
    fn the_call_runs_on_another_thread_and_its_panic_comes_back() {
        let runtime = FakeRuntime::threads();
        let other = blocking_on(&*runtime, || thread::current().id());
        assert_ne!(other, thread::current().id());

        let call = || -> () { blocking_on(&*runtime, || resume_unwind(Box::new("boom"))) };
        let payload = catch_unwind(AssertUnwindSafe(call)).unwrap_err();
        assert_eq!(payload.downcast_ref(), Some(&"boom"));
    }

    #[test]
    fn a_job_that_is_refused_runs_here() {
        let runtime = FakeRuntime::dropping();
        let here = blocking_on(&*runtime, || thread::current().id());
        assert_eq!(here, thread::current().id());
        assert_eq!(blocking(|| 3), 3);
    }
}
