//! Goroutines that borrow from the one who starts them.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use super::GoBuilder;
use super::packet::{self, Packet};
use crate::ops::RuntimeOps;
use crate::sync::raw::RawWaitGroup;
use crate::trace::WaitReason;
use crate::waiter::{NO_RUNTIME, current_runtime};

/// What a scope and its goroutines share. It borrows nothing, so it may outlive the scope.
pub(super) struct Scoped {
    running: RawWaitGroup,
    /// Whether a goroutine panicked whom nobody joined. Read after `running` is done, which orders it.
    panicked: AtomicBool,
}

impl Scoped {
    pub(super) fn record_panic(&self) {
        self.panicked.store(true, Relaxed);
    }
}

/// Counts one goroutine of a scope for as long as it exists.
struct Running(Arc<Scoped>);

impl Running {
    fn new(scoped: &Arc<Scoped>) -> Running {
        scoped.running.add(1);
        Running(Arc::clone(scoped))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.done();
    }
}

/// Where goroutines that borrow are started: see [`scope`].
pub struct Scope<'scope, 'env: 'scope> {
    runtime: Option<Arc<dyn RuntimeOps>>,
    scoped: Arc<Scoped>,
    /// Invariance: neither lifetime may be shrunk or stretched behind the scope's back.
    _scope: PhantomData<&'scope mut &'scope ()>,
    _env: PhantomData<&'env mut &'env ()>,
}

/// Runs `f`, which may start goroutines that borrow local variables, and returns when all of them have
/// ended: the counterpart of [`std::thread::scope`].
///
/// # Panics
/// When `f` panics, with its payload, and when a goroutine panicked whom nobody joined; in both cases
/// after all goroutines have ended.
pub fn scope<'env, F, T>(f: F) -> T
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T,
{
    scope_on(current_runtime().ok(), f)
}

/// As [`scope`], in the given runtime.
pub(super) fn scope_on<'env, F, T>(runtime: Option<Arc<dyn RuntimeOps>>, f: F) -> T
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T,
{
    let scope = Scope {
        runtime,
        scoped: Arc::new(Scoped {
            running: RawWaitGroup::new(0),
            panicked: AtomicBool::new(false),
        }),
        _scope: PhantomData,
        _env: PhantomData,
    };
    // Caught, so that waiting comes first and does not happen while unwinding.
    let result = catch_unwind(AssertUnwindSafe(|| f(&scope)));
    scope.scoped.running.wait(WaitReason::Scope, None);
    match result {
        Err(payload) => resume_unwind(payload),
        Ok(_) if scope.scoped.panicked.load(Relaxed) => panic!("a scoped goroutine panicked"),
        Ok(value) => value,
    }
}

impl<'scope> Scope<'scope, '_> {
    /// Starts a goroutine that may borrow what outlives the scope. It may itself start more in the same
    /// scope.
    ///
    /// # Panics
    /// As [`go`](super::go()).
    #[track_caller]
    pub fn go<F, T>(&'scope self, f: F) -> ScopedJoinHandle<'scope, T>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        match self.spawn(GoBuilder::new(), f) {
            Ok(handle) => handle,
            Err(error) => panic!("cannot start a goroutine: {error}"),
        }
    }

    /// As [`go`](Scope::go), with a name, a stack size and errors.
    ///
    /// # Errors
    /// As [`GoBuilder::spawn`].
    pub fn spawn<F, T>(
        &'scope self,
        builder: GoBuilder,
        f: F,
    ) -> io::Result<ScopedJoinHandle<'scope, T>>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        let runtime = self.runtime.as_ref();
        let runtime = runtime.ok_or_else(|| io::Error::other(NO_RUNTIME))?;
        let packet = Arc::new(Packet::new(Some(Arc::clone(&self.scoped))));
        let running = Running::new(&self.scoped);
        let body = packet::body(f, Arc::clone(&packet), running);
        let name = builder.name.clone();
        runtime.spawn(builder.task(erase(Box::new(body))))?;
        Ok(ScopedJoinHandle { packet, name, _scope: PhantomData })
    }
}

/// Hides the lifetime of what a goroutine of a scope borrows. Only [`Scope::spawn`] may call it, with a
/// body that holds a [`Running`].
fn erase<'scope>(body: Box<dyn FnOnce() + Send + 'scope>) -> Box<dyn FnOnce() + Send> {
    // SAFETY: the two types differ in the lifetime only. Nothing that lives for 'scope is used after
    // it: the body holds a `Running` and drops it last (`packet::Finish`), after the closure, its
    // result and its reference to the packet, whether it is run, panics or is dropped unrun; and
    // `scope_on` does not return, normally or by unwinding, before every `Running` is dropped. A body
    // that is leaked keeps the scope waiting. The argument is that of `std::thread::scope`, and like
    // it, it needs that a stack is not reused while it may still be referred to: a runtime does not
    // free the stack of a goroutine that is parked.
    unsafe {
        std::mem::transmute::<Box<dyn FnOnce() + Send + 'scope>, Box<dyn FnOnce() + Send>>(body)
    }
}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").finish_non_exhaustive()
    }
}

/// The right to wait for a goroutine of a scope before the scope ends.
pub struct ScopedJoinHandle<'scope, T> {
    packet: Arc<Packet<T>>,
    name: Option<Arc<str>>,
    _scope: PhantomData<&'scope mut &'scope ()>,
}

impl<T> ScopedJoinHandle<'_, T> {
    /// Waits until the goroutine has ended and returns what it returned.
    ///
    /// # Errors
    /// As [`JoinHandle::join`](super::JoinHandle::join).
    pub fn join(self) -> thread::Result<T> {
        self.packet.done.wait(WaitReason::Join, None);
        self.packet.take()
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

impl<T> fmt::Debug for ScopedJoinHandle<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopedJoinHandle").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::FakeRuntime;
    use super::*;
    use std::sync::atomic::AtomicU32;

    /// Runs `f` in a scope and returns its panic as text.
    fn panic_of<'env>(f: impl for<'scope> FnOnce(&'scope Scope<'scope, 'env>)) -> String {
        let scope = AssertUnwindSafe(|| scope_on(Some(FakeRuntime::threads()), f));
        let payload = catch_unwind(scope).unwrap_err();
        (*payload.downcast_ref::<&str>().unwrap()).to_owned()
    }

    fn panic_quietly(text: &'static str) {
        resume_unwind(Box::new(text));
    }

    #[test]
    fn scoped_goroutines_borrow_and_start_others_and_all_are_waited_for() {
        let count = AtomicU32::new(0);
        let mut local = vec![1];
        let four = scope_on(Some(FakeRuntime::threads()), |s| {
            for _ in 0..3 {
                s.go(|| {
                    s.go(|| {
                        thread::sleep(std::time::Duration::from_millis(2));
                        count.fetch_add(1, Relaxed);
                    });
                });
            }
            s.go(|| local.push(2));
            s.go(|| 4).join().unwrap()
        });
        assert_eq!((local, four, count.into_inner()), (vec![1, 2], 4, 3));
    }

    #[test]
    fn a_panic_of_the_body_is_passed_on_after_the_goroutines_have_ended() {
        let count = AtomicU32::new(0);
        let text = panic_of(|s| {
            s.go(|| {
                thread::sleep(std::time::Duration::from_millis(2));
                count.fetch_add(1, Relaxed);
            });
            panic_quietly("body");
        });
        assert_eq!((text.as_str(), count.into_inner()), ("body", 1));
    }

    #[test]
    fn a_panic_that_nobody_joined_becomes_the_scopes_and_a_joined_one_does_not() {
        let text = panic_of(|s| drop(s.go(|| panic_quietly("lost"))));
        assert_eq!(text, "a scoped goroutine panicked");
        scope_on(Some(FakeRuntime::threads()), |s| {
            assert!(s.go(|| panic_quietly("seen")).join().is_err());
        });
    }

    #[test]
    fn a_body_that_is_dropped_unrun_lets_the_scope_end() {
        let value = Arc::new(());
        scope_on(Some(FakeRuntime::dropping()), |s| {
            let value = Arc::clone(&value);
            assert!(s.go(move || drop(value)).join().is_err());
        });
        assert_eq!(Arc::strong_count(&value), 1);
    }

    #[test]
    fn a_scope_outside_a_runtime_runs_but_cannot_start_goroutines() {
        let error = scope(|s| s.spawn(GoBuilder::new(), || ()).unwrap_err());
        assert!(error.to_string().contains("netpoll::run"), "{error}");
    }
}
