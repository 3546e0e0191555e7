//! How a result travels from a goroutine to whoever joins it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::scope::Scoped;
use crate::sync::raw::RawWaitGroup;
use crate::waiter::with_current;

/// What `join` reports for a goroutine whose body was dropped instead of being run.
const NEVER_RAN: &str = "the runtime was shut down before this goroutine could run";

/// The place where a goroutine leaves its result.
pub(super) struct Packet<T> {
    /// A group of one thing: the goroutine.
    pub(super) done: RawWaitGroup,
    /// Written before `done`, read after it: never contended.
    result: Mutex<Option<thread::Result<T>>>,
    /// Who is told when the result turns out to be a panic that nobody took.
    scope: Option<Arc<Scoped>>,
}

impl<T> Packet<T> {
    pub(super) fn new(scope: Option<Arc<Scoped>>) -> Packet<T> {
        Packet { done: RawWaitGroup::new(1), result: Mutex::new(None), scope }
    }

    /// The result, once. The goroutine must be done.
    pub(super) fn take(&self) -> thread::Result<T> {
        self.try_take().unwrap_or_else(|| Err(Box::new(NEVER_RAN)))
    }

    /// The result, unless the body never ran.
    pub(super) fn try_take(&self) -> Option<thread::Result<T>> {
        assert!(self.done.is_done(), "the result of a running goroutine");
        let mut result = self.result.lock().unwrap_or_else(PoisonError::into_inner);
        result.take()
    }

    fn put(&self, value: thread::Result<T>) {
        let mut result = self.result.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(result.is_none(), "two results of one goroutine");
        *result = Some(value);
    }
}

impl<T> Drop for Packet<T> {
    fn drop(&mut self) {
        let result = self.result.get_mut();
        let unhandled = matches!(result.unwrap_or_else(PoisonError::into_inner), Some(Err(_)));
        if let (true, Some(scope)) = (unhandled, &self.scope) {
            scope.record_panic();
        }
    }
}

/// The goroutine's side of a packet: says that it is done when it is dropped, whether or not the body
/// ran, and forgets the packet before `after` is dropped.
struct Finish<T, A> {
    packet: Option<Arc<Packet<T>>>,
    /// Dropped last. For a scope it is what lets the scope end, and then `T` may not be touched.
    _after: A,
}

impl<T, A> Drop for Finish<T, A> {
    fn drop(&mut self) {
        if let Some(packet) = self.packet.take() {
            packet.done.done();
            // If this is the last reference, a result that nobody wants is dropped here. What its
            // destructor panics with has been reported by the panic hook; it must not unwind into the
            // runtime, and dropping the payload could panic again.
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(packet))) {
                std::mem::forget(payload);
            }
        }
    }
}

/// What a goroutine does. The fields are dropped in this order when it is dropped without being run:
/// what `f` captured must be gone before the scope can end.
struct Body<F, T, A> {
    f: F,
    finish: Finish<T, A>,
}

impl<F: FnOnce() -> T, T, A> Body<F, T, A> {
    fn run(self) {
        let result = catch_unwind(AssertUnwindSafe(self.f));
        if result.is_err() {
            note_panic();
        }
        if let Some(packet) = &self.finish.packet {
            packet.put(result);
        }
    }
}

/// Tells the trace that the goroutine that runs has panicked.
fn note_panic() {
    with_current(|current| {
        if let Some(current) = current {
            current.runtime.note_panic(current.g);
        }
    });
}

/// A body for the runtime: runs `f`, leaves the result in `packet`, then drops `after`. It does not
/// unwind.
pub(super) fn body<F, T, A>(f: F, packet: Arc<Packet<T>>, after: A) -> impl FnOnce()
where
    F: FnOnce() -> T,
{
    let finish = Finish { packet: Some(packet), _after: after };
    let body = Body { f, finish };
    move || body.run()
}
