//! Making a runtime, running a program on it, and looking into it.

use std::any::Any;
use std::fmt::Debug;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use crate::goroutine::StackSize;
use crate::ops::{RuntimeOps, Task};
use crate::platform::os::{OsKernel, SigquitGuard, on_sigquit};
use crate::platform::{Kernel, Os, Platform};
use crate::sched::bell::Bell;
pub use crate::sched::inspect::{GoroutineState, Inspector, ParkedIo};
use crate::sched::shared::{Settings, Shared};
pub use crate::sched::world::{Dump, GoroutineDump};

/// Usable bytes of a goroutine's stack when nobody says otherwise: address space, of which only what is
/// touched becomes memory.
pub const STACK_SIZE_DEFAULT: usize = 256 * 1024;
/// The most workers that a runtime can have. More processors exist, but no scheduler with one
/// netpoller makes use of them.
pub const WORKERS_MAX: usize = 1024;
/// Threads for blocking calls when nobody says otherwise, as many as tokio has.
const BLOCKING_THREADS_DEFAULT: usize = 512;

/// Runs `f` on a new runtime with the default settings, as its first goroutine, and returns its result.
///
/// When `f` returns the runtime is shut down: goroutines that are still running are waited for until
/// they park, and those that are parked are abandoned where they are, as in Go.
///
/// ```
/// let sum = netpoll::run(|| {
///     let parts: Vec<_> = (0..10).map(|i| netpoll::go(move || i * i)).collect();
///     parts.into_iter().map(|part| part.join().unwrap()).sum::<i32>()
/// })?;
/// assert_eq!(sum, 285);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// When the runtime cannot be made; see [`Builder::build`].
///
/// # Panics
/// With the panic of `f`.
pub fn run<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    Builder::new().build()?.run(f)
}

/// The settings of a runtime.
#[derive(Clone, Debug)]
pub struct Builder {
    workers: Option<usize>,
    workers_max: Option<usize>,
    stack_size: usize,
    blocking_threads: usize,
    dump_on_sigquit: bool,
}

impl Default for Builder {
    fn default() -> Builder {
        Builder::new()
    }
}

impl Builder {
    /// The default settings.
    #[must_use]
    pub fn new() -> Builder {
        Builder {
            workers: None,
            workers_max: None,
            stack_size: STACK_SIZE_DEFAULT,
            blocking_threads: BLOCKING_THREADS_DEFAULT,
            dump_on_sigquit: false,
        }
    }

    /// Threads that run goroutines. Default: `NETPOLL_WORKERS`, or else the number of processors.
    #[must_use]
    pub fn workers(mut self, count: usize) -> Builder {
        self.workers = Some(count);
        self
    }

    /// The most workers that [`Runtime::set_workers`] can give it later. Default: twice the workers at
    /// the start, at least 4.
    #[must_use]
    pub fn workers_max(mut self, count: usize) -> Builder {
        self.workers_max = Some(count);
        self
    }

    /// Usable bytes of a goroutine's stack, rounded up to whole pages. Default: 256 KiB of address
    /// space, of which only what is touched becomes memory.
    #[must_use]
    pub fn stack_size(mut self, bytes: usize) -> Builder {
        self.stack_size = bytes;
        self
    }

    /// The most threads that run [`blocking`](crate::blocking) calls at a time. Default: 512.
    #[must_use]
    pub fn blocking_threads(mut self, count: usize) -> Builder {
        self.blocking_threads = count;
        self
    }

    /// Writes a dump of all goroutines to standard error whenever the process gets `SIGQUIT`
    /// (`Ctrl-\`). Default: off.
    #[must_use]
    pub fn dump_on_sigquit(mut self, on: bool) -> Builder {
        self.dump_on_sigquit = on;
        self
    }

    /// Makes the runtime and starts its threads.
    ///
    /// # Errors
    /// `InvalidInput` for a setting that cannot be (0 workers, a stack of 3 bytes, a malformed
    /// `NETPOLL_WORKERS`); otherwise what the operating system says when it has no descriptors or
    /// threads left.
    pub fn build(self) -> io::Result<Runtime> {
        let dump_on_sigquit = self.dump_on_sigquit;
        let mut runtime = self.build_on::<Os>(OsKernel)?;
        if dump_on_sigquit {
            let control = Arc::downgrade(&runtime.control);
            runtime.sigquit = Some(on_sigquit(Box::new(move || {
                if let Some(control) = control.upgrade() {
                    eprint!("{}", control.dump());
                }
            }))?);
        }
        Ok(runtime)
    }

    /// Makes a runtime on another platform: a simulator's, a checker's.
    ///
    /// # Errors
    /// As [`build`](Builder::build).
    pub fn build_on<P: Platform>(self, kernel: P::Kernel) -> io::Result<Runtime> {
        let workers = match self.workers {
            Some(count) => count,
            None => kernel.default_workers()?,
        };
        let range = |name: &str, count: usize| match count {
            1..=WORKERS_MAX => Ok(count),
            _ => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{name} = {count}: a runtime can have 1 to {WORKERS_MAX} workers"),
            )),
        };
        let workers = range("workers", workers)?;
        let workers_max = match self.workers_max {
            Some(max) => range("workers_max", max)?.max(workers),
            None => (2 * workers).clamp(4, WORKERS_MAX),
        };
        if self.blocking_threads == 0 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "blocking_threads = 0: blocking calls need at least one thread",
            ));
        }
        let stack_size = StackSize::new(self.stack_size)?.get();
        let pool_max = self.blocking_threads;
        let settings = Settings { workers, workers_max, stack_size, pool_max };
        let shared = Shared::<P>::new(kernel, settings)?;
        // From here on an early return shuts down what has been started.
        let runtime = Runtime { control: shared.clone(), sigquit: None };
        shared.start()?;
        Ok(runtime)
    }
}

/// A running runtime. Dropping it shuts it down, as [`run`] describes.
#[derive(Debug)]
pub struct Runtime {
    control: Arc<dyn Control>,
    /// Keeps the signal's callback registered.
    sigquit: Option<SigquitGuard>,
}

impl Runtime {
    /// A runtime with the default settings.
    ///
    /// # Errors
    /// See [`Builder::build`].
    pub fn new() -> io::Result<Runtime> {
        Builder::new().build()
    }

    /// Runs `f` as a goroutine and blocks the calling thread until it returns.
    ///
    /// # Errors
    /// When the goroutine cannot be started; see [`RuntimeOps::spawn`].
    ///
    /// # Panics
    /// With the panic of `f`.
    pub fn run<T: Send + 'static>(&self, f: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        type Outcome<T> = Result<T, Box<dyn Any + Send>>;
        let outcome: Arc<Mutex<Option<Outcome<T>>>> = Arc::default();
        let result = outcome.clone();
        self.control.run_main(Box::new(move || {
            let value = catch_unwind(AssertUnwindSafe(f));
            *result.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
        }))?;
        let value = outcome.lock().unwrap_or_else(PoisonError::into_inner).take();
        match value.expect("the first goroutine has ended and left its outcome") {
            Ok(value) => Ok(value),
            Err(panic) => resume_unwind(panic),
        }
    }

    /// What the face's functions ask of a runtime, for starting goroutines from plain threads.
    #[must_use]
    pub fn handle(&self) -> Arc<dyn RuntimeOps> {
        self.control.handle()
    }

    /// All goroutines: who waits on what since when. Stops the world for the moment; a goroutine that
    /// does not give its worker back for 100 ms is shown as it runs.
    #[must_use]
    pub fn dump(&self) -> Dump {
        self.control.dump()
    }

    /// A look into this runtime that outlives it, for checkers.
    #[must_use]
    pub fn inspector(&self) -> Inspector {
        self.control.clone().inspector()
    }

    /// Goroutines that have been started and have not ended.
    #[must_use]
    pub fn goroutines(&self) -> u64 {
        self.control.live()
    }

    /// Workers that take new goroutines.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.control.worker_count()
    }

    /// Changes the number of workers that take new goroutines. A worker that is retired goes on serving
    /// the goroutines that have run on it, because they are pinned to it.
    ///
    /// # Errors
    /// `InvalidInput` for 0 or more than [`Builder::workers_max`]; what the operating system says when
    /// it has no thread to give.
    pub fn set_workers(&self, count: usize) -> io::Result<()> {
        self.control.set_workers(count)
    }

    /// Shuts the runtime down, as dropping it does: no new goroutine starts, workers end when the
    /// goroutine that they run parks or ends, parked goroutines are abandoned and never unwound.
    pub fn shutdown(self) {}
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.sigquit = None;
        self.control.shutdown();
    }
}

/// What a [`Runtime`] asks of its generic inside.
trait Control: RuntimeOps {
    fn run_main(&self, body: Box<dyn FnOnce() + Send>) -> io::Result<()>;
    fn dump(&self) -> Dump;
    fn live(&self) -> u64;
    fn worker_count(&self) -> usize;
    fn set_workers(&self, count: usize) -> io::Result<()>;
    fn shutdown(&self);
    fn inspector(self: Arc<Self>) -> Inspector;
}

impl<P: Platform> Control for Shared<P> {
    fn run_main(&self, body: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        let bell = Arc::new(Bell::<P>::new());
        let ring = bell.clone();
        let body = Box::new(move || {
            body();
            ring.ring();
        });
        self.spawn(Task { name: Some("main".into()), stack_size: None, body })?;
        bell.wait();
        Ok(())
    }

    fn dump(&self) -> Dump {
        Shared::dump(self)
    }

    fn live(&self) -> u64 {
        Shared::live(self)
    }

    fn worker_count(&self) -> usize {
        Shared::worker_count(self)
    }

    fn set_workers(&self, count: usize) -> io::Result<()> {
        Shared::set_workers(self, count)
    }

    fn shutdown(&self) {
        Shared::shut_down(self);
    }

    fn inspector(self: Arc<Self>) -> Inspector {
        Inspector::new(self)
    }
}
