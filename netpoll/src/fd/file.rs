//! The open file: what its operations have in common, and its end.
//!
//! Every operation has one shape: take the direction's lock · refuse if it could not wait, discard an
//! old edge · system call; `EINTR` again at once; `EAGAIN` wait for an edge, then again · give the lock
//! back, and destroy the file if that was the last reference of a closed descriptor.
//!
//! Closing: mark closed, send lock waiters away, evict the waiters in the slots, drop the reference; the
//! last reference deregisters and then closes the number, in that order (S15); `close` returns when the
//! number is free (golang/go#21856).

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

use super::mutex::{Closed, FdMutex};
use super::sema::Sema;
use crate::goroutine::Commit;
use crate::net::{closed_error, not_pollable_error, timeout_error};
use crate::ops::RuntimeOps as _;
use crate::platform::{Atomic, Errno, Kernel, Lock, Platform, RawFd};
use crate::poll::desc::Begin;
use crate::poll::{FileKind, PollDesc, PollError};
use crate::sched::g::PROXY;
use crate::sched::shared::Shared;
use crate::trace::{Event, Mode, WaitReason};
use crate::waiter::Parking;

/// Operations of one direction that may succeed in a row without waiting before the goroutine lets
/// others run: a socket that is always ready must not starve its worker.
const BUDGET: u32 = 128;

/// What a file is, as far as its operations differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A TCP connection, or a socket that listens for some. A short read has emptied the stream.
    Tcp,
    /// Another stream socket. A short read says nothing: on a Unix socket one also ends where a message
    /// with descriptors or other credentials begins.
    Stream,
    /// A socket with messages, of which an empty one is one too.
    Datagram,
    /// Anything else that can be polled: a pipe, a terminal, an eventfd …
    Other,
}

impl Kind {
    /// That of a file that comes from elsewhere.
    pub(super) fn of<K: Kernel>(kernel: &K, number: RawFd) -> Kind {
        let option = |name| kernel.getsockopt(number, libc::SOL_SOCKET, name);
        match (option(libc::SO_TYPE), option(libc::SO_PROTOCOL)) {
            (Err(_), _) => Kind::Other,
            (Ok(libc::SOCK_STREAM), Ok(libc::IPPROTO_TCP)) => Kind::Tcp,
            (Ok(libc::SOCK_STREAM), _) => Kind::Stream,
            (Ok(_), _) => Kind::Datagram,
        }
    }

    fn for_the_poller(self) -> FileKind {
        match self {
            Kind::Tcp | Kind::Stream | Kind::Datagram => FileKind::Socket,
            Kind::Other => FileKind::Other,
        }
    }
}

/// Who closes the number in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The file.
    File,
    /// Somebody else, after the file is closed.
    Other,
}

/// See the module documentation.
pub struct File<P: Platform> {
    pub(crate) shared: Arc<Shared<P>>,
    pub(super) number: RawFd,
    pub(super) kind: Kind,
    owner: Owner,
    /// Index of the poll descriptor.
    pd: u32,
    mutex: FdMutex<P>,
    /// Released when the number is free.
    closed: Sema<P>,
    /// What `close(2)` returned, negated; meaningful once `closed` was released, whose lock orders it.
    pub(super) close_result: P::AtomicU32,
    /// Not 0: the number is handed out and not closed.
    keep: P::AtomicU32,
    /// 1 when the last read took everything there was: the next one may wait without asking the kernel
    /// first. Only the read lock's holder touches it; whoever resets the slot or waits clears it.
    pub(super) drained: AtomicU32,
    /// Operations in a row that did not wait, per direction. Only the lock's holder touches them.
    streak: [AtomicU32; 2],
}

impl<P: Platform> std::fmt::Debug for File<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Descriptor")
            .field("fd", &self.number)
            .field("poll", self.pd())
            .finish_non_exhaustive()
    }
}

impl From<PollError> for io::Error {
    fn from(error: PollError) -> io::Error {
        match error {
            PollError::Closing => closed_error(),
            PollError::Timeout => timeout_error(),
            PollError::NotPollable => not_pollable_error(),
        }
    }
}

impl From<Closed> for io::Error {
    fn from(_: Closed) -> io::Error {
        closed_error()
    }
}

/// Holds the lock of one direction.
pub(super) struct Locked<'a, P: Platform> {
    file: &'a File<P>,
    mode: Mode,
}

impl<P: Platform> Drop for Locked<'_, P> {
    fn drop(&mut self) {
        self.file.says_leave();
        if self.file.mutex.unlock(self.mode) {
            self.file.destroy();
        }
    }
}

/// Holds a reference.
pub(super) struct Referenced<'a, P: Platform>(&'a File<P>);

impl<P: Platform> Drop for Referenced<'_, P> {
    fn drop(&mut self) {
        self.0.says_leave();
        if self.0.mutex.decref() {
            self.0.destroy();
        }
    }
}

impl<P: Platform> File<P> {
    /// Registers a non-blocking file with the poller and takes it over.
    ///
    /// # Errors
    /// What the kernel says to the registration, and that the file cannot be polled; a number that would
    /// have been the file's is closed then.
    pub fn new(
        shared: &Arc<Shared<P>>,
        number: RawFd,
        kind: Kind,
        owner: Owner,
    ) -> io::Result<Arc<File<P>>> {
        let pd = match shared.netpoll.open(&shared.kernel, number, kind.for_the_poller()) {
            Ok(pd) => pd,
            Err(errno) => {
                if owner == Owner::File {
                    let _released = shared.kernel.close(number);
                }
                return Err(match errno {
                    Errno::EPERM => not_pollable_error(),
                    errno => errno.into(),
                });
            }
        };
        Ok(Arc::new(File {
            shared: shared.clone(),
            number,
            kind,
            owner,
            pd,
            mutex: FdMutex::new(),
            closed: Sema::new(0),
            close_result: P::AtomicU32::new(0),
            keep: P::AtomicU32::new(0),
            drained: AtomicU32::new(0),
            streak: [const { AtomicU32::new(0) }; 2],
        }))
    }

    /// The runtime that it belongs to.
    pub fn shared(&self) -> &Arc<Shared<P>> {
        &self.shared
    }

    pub(super) fn pd(&self) -> &PollDesc<P> {
        self.shared.netpoll.lives.get(self.pd)
    }

    pub(super) fn kernel(&self) -> &P::Kernel {
        &self.shared.kernel
    }

    pub(super) fn lock(&self, mode: Mode) -> io::Result<Locked<'_, P>> {
        self.mutex.lock(mode, WaitReason::FdLock(self.number, mode))?;
        self.says_use();
        Ok(Locked { file: self, mode })
    }

    pub(super) fn reference(&self) -> io::Result<Referenced<'_, P>> {
        self.mutex.incref()?;
        self.says_use();
        Ok(Referenced(self))
    }

    /// Tells the trace that the caller has a reference.
    pub(crate) fn says_use(&self) {
        self.kernel().trace(Event::Use { fd: self.number, pd: self.pd });
    }

    /// Tells the trace that the caller is about to give it back.
    pub(crate) fn says_leave(&self) {
        self.kernel().trace(Event::Leave { fd: self.number, pd: self.pd });
    }

    // ---- try, wait, retry --------------------------------------------------------------------------

    /// A whole operation of one direction.
    pub(super) fn operate<R>(
        &self,
        mode: Mode,
        call: impl FnMut(&P::Kernel, RawFd) -> Result<R, Errno>,
    ) -> io::Result<R> {
        let locked = self.lock(mode)?;
        self.begin(mode)?;
        let result = self.retry(mode, call);
        drop(locked);
        self.spend(mode);
        result
    }

    /// Refuses an operation that could not wait, and discards an old edge. A system call follows (S6).
    #[inline]
    pub(super) fn begin(&self, mode: Mode) -> Result<(), PollError> {
        if mode == Mode::Read {
            self.drained.store(0, Relaxed);
        }
        self.pd().reset(self.kernel(), mode)
    }

    /// The inner loop. The caller holds the lock and has reset the slot.
    #[inline]
    pub(super) fn retry<R>(
        &self,
        mode: Mode,
        mut call: impl FnMut(&P::Kernel, RawFd) -> Result<R, Errno>,
    ) -> io::Result<R> {
        loop {
            match call(self.kernel(), self.number) {
                Ok(result) => return Ok(result),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => self.wait_for_edge(mode)?,
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Waits until a retry is worth it.
    pub(crate) fn wait_for_edge(&self, mode: Mode) -> Result<(), PollError> {
        self.streak[mode as usize].store(0, Relaxed);
        if mode == Mode::Read {
            self.drained.store(0, Relaxed);
        }
        let (pd, kernel) = (self.pd(), self.kernel());
        loop {
            match pd.begin(kernel, mode)? {
                Begin::Ready => return Ok(()),
                Begin::Park => self.park(mode),
            }
            if pd.finish(kernel, mode) {
                return Ok(());
            }
            // Released by a canceller: either its reason still holds, or the deadline has been moved
            // since and the wait goes on (L5).
            pd.check(mode)?;
        }
    }

    fn park(&self, mode: Mode) {
        match self.shared.current_g() {
            Some(g) => self.shared.suspend(g, Commit::Slot { pd: self.pd, mode }),
            None => self.park_by_proxy(mode),
        }
    }

    /// The caller is a thread, or a goroutine of another runtime: a record of ours stands in the slot
    /// for it.
    #[cold]
    fn park_by_proxy(&self, mode: Mode) {
        let shared = &self.shared;
        let index = shared.allocate_g();
        let g = shared.gs.get(index);
        g.begin(0, None, PROXY);
        let parking = Parking::prepare(WaitReason::Io(self.number, mode));
        *g.proxy.lock() = Some(parking.waiter());
        if self.pd().commit(self.kernel(), mode, index) {
            shared.netpoll.add_waiter(&shared.kernel);
            shared.ensure_poller();
            let _always_unparked = parking.park(None);
        } else {
            g.proxy.lock().take();
        }
        shared.free_g(index);
    }

    /// Lets others run when this descriptor has not waited for a long time. No lock is held.
    #[inline]
    pub(super) fn spend(&self, mode: Mode) {
        let streak = &self.streak[mode as usize];
        let spent = streak.load(Relaxed) + 1;
        if spent < BUDGET {
            streak.store(spent, Relaxed);
            return;
        }
        streak.store(0, Relaxed);
        if let Some(g) = self.shared.current_g() {
            self.shared.yield_now(g);
        }
    }

    // ---- closing -----------------------------------------------------------------------------------

    /// Closes, and waits until the number is free or, with `keep`, unused.
    pub(super) fn shut(&self, keep: bool) -> io::Result<()> {
        self.mutex.incref_and_close()?;
        // Our reference holds the destruction back, so this comes before it (M2).
        self.keep.store(u32::from(keep), Relaxed);
        let released = self.pd().evict(self.kernel(), &*self.shared);
        self.shared.release_from_here(released);
        if self.mutex.decref() {
            self.destroy();
        }
        self.closed.acquire(WaitReason::Close(self.number));
        Ok(())
    }

    /// Frees the number. Runs exactly once, by whoever drops the last reference (S26).
    fn destroy(&self) {
        self.shared.netpoll.close(self.kernel(), self.pd);
        if self.keep.load(Relaxed) == 0 && self.owner == Owner::File {
            // Not retried on EINTR: the number is free whatever the result (S15).
            let errno = self.kernel().close(self.number).err().map_or(0, |errno| errno.0);
            self.close_result.store(errno.cast_unsigned(), Relaxed);
        }
        self.closed.release();
    }
}

impl<P: Platform> Drop for File<P> {
    fn drop(&mut self) {
        if !self.mutex.is_closed() {
            let _nobody_to_tell = self.shut(false);
        }
    }
}
