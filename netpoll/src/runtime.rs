//! Making a runtime, running a program on it, and looking into it.

use std::any::Any;
use std::fmt::Debug;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::goroutine::StackSize;
use crate::ops::{RuntimeOps, Task};
use crate::platform::os::{OsKernel, Recording, RecordingKernel, SigquitGuard, Tracer, on_sigquit};
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
/// Records of each thread that a trace keeps when nobody says otherwise: 64 bytes each, so 4 MiB.
pub const TRACE_RECORDS_DEFAULT: usize = 64 * 1024;
/// The most that it can keep: 4 GiB of each thread.
pub const TRACE_RECORDS_MAX: usize = 64 << 20;
/// The environment variable that names a file for the trace.
const TRACE_VARIABLE: &str = "NETPOLL_TRACE";
/// The one that says how many records of each thread it keeps.
const TRACE_RECORDS_VARIABLE: &str = "NETPOLL_TRACE_RECORDS";
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
    trace: Option<PathBuf>,
    trace_records: Option<usize>,
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
            trace: None,
            trace_records: None,
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

    /// Records what the runtime does, the last [`trace_records`](Builder::trace_records) events of each thread, and
    /// writes them into this file when the runtime is shut down, when [`Runtime::write_trace`] is called, and, with
    /// [`dump_on_sigquit`](Builder::dump_on_sigquit), at each `SIGQUIT`. `cargo sim trace` shows the file. Default: the
    /// file that `NETPOLL_TRACE` names, or else none.
    ///
    /// An event costs some tens of nanoseconds. A runtime that does not record has no code for it.
    #[must_use]
    pub fn trace(mut self, file: impl Into<PathBuf>) -> Builder {
        self.trace = Some(file.into());
        self
    }

    /// How many events of each thread a trace keeps, at 64 bytes each. Default: `NETPOLL_TRACE_RECORDS`, or else
    /// 65,536.
    #[must_use]
    pub fn trace_records(mut self, count: usize) -> Builder {
        self.trace_records = Some(count);
        self
    }

    /// Makes the runtime and starts its threads.
    ///
    /// # Errors
    /// `InvalidInput` for a setting that cannot be (0 workers, a stack of 3 bytes, a malformed
    /// `NETPOLL_WORKERS`); what the file system says of a trace that cannot be written; otherwise what the
    /// operating system says when it has no descriptors or threads left.
    pub fn build(self) -> io::Result<Runtime> {
        let dump_on_sigquit = self.dump_on_sigquit;
        let variable = || std::env::var_os(TRACE_VARIABLE).filter(|file| !file.is_empty());
        let file = self.trace.clone().or_else(|| variable().map(PathBuf::from));
        let mut runtime = match file {
            None => self.build_on::<Os>(OsKernel)?,
            Some(file) => self.build_recorded(file)?,
        };
        if dump_on_sigquit {
            let control = Arc::downgrade(&runtime.control);
            let trace = runtime.trace.clone();
            runtime.sigquit = Some(on_sigquit(Box::new(move || {
                if let Some(control) = control.upgrade() {
                    eprint!("{}", control.dump());
                }
                if let Some(Err(error)) = trace.as_ref().map(Trace::write) {
                    eprintln!("netpoll: {error}");
                }
            }))?);
        }
        Ok(runtime)
    }

    fn build_recorded(self, file: PathBuf) -> io::Result<Runtime> {
        let invalid = |text: String| Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        let records = match (self.trace_records, std::env::var_os(TRACE_RECORDS_VARIABLE)) {
            (Some(records), _) => records,
            (None, None) => TRACE_RECORDS_DEFAULT,
            (None, Some(text)) => match text.to_str().and_then(|text| text.parse().ok()) {
                Some(records) => records,
                None => {
                    let name = TRACE_RECORDS_VARIABLE;
                    return invalid(format!("{name}={text:?}: it must be a number from 1 on"));
                }
            },
        };
        if !(1..=TRACE_RECORDS_MAX).contains(&records) {
            return invalid(format!(
                "trace_records = {records}: a trace keeps 1 to {TRACE_RECORDS_MAX}"
            ));
        }
        let trace = Trace { tracer: Arc::new(Tracer::new(records)), file: file.into() };
        // A file that cannot be written is better known now than when there is something to write.
        trace.write()?;
        let kernel = RecordingKernel::new(trace.tracer.clone());
        let mut runtime = self.build_on::<Recording>(kernel)?;
        runtime.trace = Some(trace);
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
        let runtime = Runtime { control: shared.clone(), sigquit: None, trace: None };
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
    trace: Option<Trace>,
}

/// A recording, and where it goes.
#[derive(Clone, Debug)]
struct Trace {
    tracer: Arc<Tracer>,
    file: Arc<Path>,
}

impl Trace {
    fn write(&self) -> io::Result<()> {
        let program = std::env::args_os().next().map(PathBuf::from);
        let name = program.as_deref().and_then(Path::file_name).unwrap_or_default();
        let title = format!("{}, process {}", name.to_string_lossy(), std::process::id());
        self.tracer.write(&self.file, &title)
    }
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

    /// Writes what has been recorded into the file of [`Builder::trace`], over what was written there before.
    ///
    /// # Errors
    /// `Unsupported` for a runtime that does not record; what the file system says.
    pub fn write_trace(&self) -> io::Result<()> {
        let text = "this runtime does not record: see Builder::trace and NETPOLL_TRACE";
        let none = || io::Error::new(io::ErrorKind::Unsupported, text);
        self.trace.as_ref().ok_or_else(none)?.write()
    }

    /// Shuts the runtime down, as dropping it does: no new goroutine starts, workers end when the
    /// goroutine that they run parks or ends, parked goroutines are abandoned and never unwound.
    pub fn shutdown(self) {}
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.sigquit = None;
        self.control.shutdown();
        if let Some(Err(error)) = self.trace.as_ref().map(Trace::write) {
            // There is nobody else to tell.
            eprintln!("netpoll: {error}");
        }
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
