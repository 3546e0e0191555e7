//! `SIGQUIT`, brought to an ordinary thread.
//!
//! Next to nothing may be done in a signal handler, and a dump takes locks and allocates. So the
//! handler writes one byte into a pipe, and a thread of its own reads the pipe and runs the
//! callbacks. The pipe and the thread are made on first use and live as long as the process: a
//! signal that is already being handled can always finish.
//!
//! * Q1: The handler is installed exactly while somebody is registered. Afterwards the signal does
//!   again what it did before; by default, it ends the process.
//! * Q2: The write end of the pipe is set before the handler is installed, and never closed.
//! * Q3: When a [`SigquitGuard`] has been dropped, its callback does not run and will not run,
//!   except that a callback may drop its own guard.
//!
//! The registrations are process-wide because signals are. They hold no scheduling state.

use std::fmt;
use std::io;
use std::mem;
use std::os::fd::IntoRawFd;
use std::panic::{self, AssertUnwindSafe};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

/// What is to be done on `SIGQUIT`.
type Callback = Box<dyn Fn() + Send + 'static>;

/// Runs `callback`, on a thread of its own, whenever the process gets `SIGQUIT` (`Ctrl-\`).
///
/// Several callbacks may be registered; they run one after the other, in the order of registration.
/// One that panics is reported by the panic hook and does not keep the others from running.
///
/// # Errors
/// When there is no descriptor or thread for it, or the handler cannot be installed.
pub fn on_sigquit(callback: Callback) -> io::Result<SigquitGuard> {
    let mut hub = hub();
    let reader = hub.reader()?;
    if hub.entries.is_empty() {
        hub.before = Some(action(Some(&handler_action()))?);
    }
    let entry = Arc::new(Entry {
        gone: AtomicBool::new(false),
        callback: Mutex::new(Some(callback)),
        reader,
    });
    hub.entries.push(Arc::clone(&entry));
    Ok(SigquitGuard(entry))
}

/// Keeps a callback of [`on_sigquit`] registered.
#[must_use = "dropping it unregisters the callback"]
pub struct SigquitGuard(Arc<Entry>);

impl fmt::Debug for SigquitGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigquitGuard")
    }
}

impl Drop for SigquitGuard {
    fn drop(&mut self) {
        let mut hub = hub();
        hub.entries.retain(|entry| !Arc::ptr_eq(entry, &self.0));
        if hub.entries.is_empty()
            && let Some(before) = hub.before.take()
        {
            // Q1. It was installed before, so it can be installed again.
            let _ = action(Some(&before));
        }
        drop(hub);
        self.0.gone.store(true, Ordering::Relaxed);
        if thread::current().id() != self.0.reader {
            // Waits for a callback that is running: Q3.
            drop(self.0.lock().take());
        }
    }
}

/// One registration.
struct Entry {
    /// Set when it must not be called any more. It orders nothing: the lock does.
    gone: AtomicBool,
    /// Held while the callback runs.
    callback: Mutex<Option<Callback>>,
    /// The thread that runs callbacks, which therefore must not wait for one.
    reader: ThreadId,
}

impl Entry {
    fn lock(&self) -> MutexGuard<'_, Option<Callback>> {
        self.callback.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn call(&self) {
        let callback = self.lock();
        if let Some(callback) = callback.as_ref().filter(|_| !self.gone.load(Ordering::Relaxed)) {
            // The panic hook has printed what there is to say.
            let _ = panic::catch_unwind(AssertUnwindSafe(callback));
        }
    }
}

/// Everything that is registered.
struct Hub {
    entries: Vec<Arc<Entry>>,
    /// The thread that reads the pipe, once there is one.
    reader: Option<ThreadId>,
    /// What the signal did before we came. `Some` while the handler is installed.
    before: Option<libc::sigaction>,
}

/// The write end of the pipe; −1 until there is one (Q2).
static WAKE: AtomicI32 = AtomicI32::new(-1);

fn hub() -> MutexGuard<'static, Hub> {
    static HUB: Mutex<Hub> = Mutex::new(Hub { entries: Vec::new(), reader: None, before: None });
    HUB.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hub {
    /// The thread that runs the callbacks; starts it first if need be.
    fn reader(&mut self) -> io::Result<ThreadId> {
        if let Some(reader) = self.reader {
            return Ok(reader);
        }
        let (source, target) = io::pipe()?;
        let thread = thread::Builder::new()
            .name("netpoll-sigquit".to_owned())
            .spawn(move || run_callbacks(source))?;
        let target = target.into_raw_fd();
        // A full pipe must not block the handler: the reader has plenty to do already. Should this
        // fail, the handler could block only after 65,536 unread signals.
        // SAFETY: no memory is involved.
        unsafe { libc::fcntl(target, libc::F_SETFL, libc::O_NONBLOCK) };
        // Pairs with the load in `handler`, by way of the handler's installation: Q2.
        WAKE.store(target, Ordering::Release);
        let reader = thread.thread().id();
        self.reader = Some(reader);
        Ok(reader)
    }
}

/// The body of the thread: one round of callbacks for all signals that came since the last one.
fn run_callbacks(mut source: io::PipeReader) {
    use io::Read;
    let mut bytes = [0; 64];
    // `read` fails only by EINTR, which is worth a new attempt; it never sees the end (Q2).
    loop {
        match source.read(&mut bytes) {
            Ok(0) => return,
            Ok(_) => {
                let entries = hub().entries.clone();
                entries.iter().for_each(|entry| entry.call());
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

/// Runs on whatever thread and stack the kernel picks: async-signal-safe calls only.
extern "C" fn handler(_signal: libc::c_int) {
    // SAFETY: `errno` of this thread always exists.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: it belongs to this thread, which is here.
    let saved = unsafe { errno.read() };
    let wake = WAKE.load(Ordering::Acquire);
    // SAFETY: one byte of a constant is read. The pipe is never closed (Q2), and a full one is as
    // good as written.
    unsafe { libc::write(wake, b"q".as_ptr().cast(), 1) };
    // SAFETY: as above. The interrupted code must find its `errno` as it was.
    unsafe { errno.write(saved) };
}

/// What is installed for the signal. On an alternate stack if there is one, since a goroutine's may
/// be nearly used up; and system calls go on where they can.
fn handler_action() -> libc::sigaction {
    // SAFETY: the C structure consists of integers and a nullable function: zero is a value of
    // each, and means an empty mask.
    let mut new = unsafe { mem::zeroed::<libc::sigaction>() };
    new.sa_sigaction = handler as extern "C" fn(libc::c_int) as usize;
    new.sa_flags = libc::SA_RESTART | libc::SA_ONSTACK;
    new
}

/// Sets what `SIGQUIT` does, if something is given, and returns what it did.
fn action(new: Option<&libc::sigaction>) -> io::Result<libc::sigaction> {
    // SAFETY: as in `handler_action`.
    let mut before = unsafe { mem::zeroed::<libc::sigaction>() };
    let new = new.map_or(ptr::null(), ptr::from_ref);
    // SAFETY: `new` is null, our handler, which is async-signal-safe and lives for ever, or what
    // was installed before us.
    match unsafe { libc::sigaction(libc::SIGQUIT, new, &raw mut before) } {
        0 => Ok(before),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::os::testing::in_child;
    use std::sync::mpsc;
    use std::time::Duration;

    /// One test, because the signal is one for the process; and a process of its own, because the
    /// signal interrupts system calls of all threads.
    #[test]
    fn every_registered_callback_runs_on_sigquit_and_none_after_it_is_unregistered() {
        in_child(
            "platform::os::signal::tests::\
             every_registered_callback_runs_on_sigquit_and_none_after_it_is_unregistered",
            registrations,
        );
    }

    fn registrations() {
        let before = action(None).unwrap().sa_sigaction;
        let (sender, runs) = mpsc::channel();
        let report = |name: &'static str| -> Callback {
            let sender = sender.clone();
            Box::new(move || sender.send(name).unwrap())
        };
        let next = || runs.recv_timeout(Duration::from_secs(10)).expect("a callback runs");
        let quit = || {
            let own = std::process::id() as libc::pid_t;
            // SAFETY: the handler is installed, so this does not end the process.
            unsafe { libc::kill(own, libc::SIGQUIT) };
        };

        let first = on_sigquit(report("first")).unwrap();
        let bad = on_sigquit(Box::new(|| panic::resume_unwind(Box::new("bad")))).unwrap();
        let second = on_sigquit(report("second")).unwrap();
        quit();
        assert_eq!([next(), next()], ["first", "second"], "in order, and past the one that panics");

        drop(first);
        quit();
        assert_eq!(next(), "second");

        // A callback that drops its own guard must not wait for itself.
        let own = Arc::new(Mutex::new(None::<SigquitGuard>));
        let (slot, tell) = (Arc::clone(&own), report("own"));
        let guard = on_sigquit(Box::new(move || {
            drop(slot.lock().unwrap().take());
            tell();
        }));
        *own.lock().unwrap() = Some(guard.unwrap());
        quit();
        assert_eq!([next(), next()], ["second", "own"]);
        quit();
        assert_eq!(next(), "second");

        drop((bad, second));
        assert_eq!(action(None).unwrap().sa_sigaction, before, "Q1");
        assert!(runs.try_recv().is_err());
    }
}
