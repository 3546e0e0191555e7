//! The descriptor and its operations.
//!
//! Every operation has one shape: take the direction's lock · refuse if it could not wait, discard an
//! old edge · system call; `EINTR` again at once; `EAGAIN` wait for an edge, then again · give the lock
//! back, and destroy the file if that was the last reference of a closed descriptor.
//!
//! Closing: mark closed, send lock waiters away, evict the waiters in the slots, drop the reference; the
//! last reference deregisters and then closes the number, in that order (S15); `close` returns when the
//! number is free (golang/go#21856).

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

use super::mutex::{Closed, FdMutex};
use super::sema::Sema;
use crate::goroutine::Commit;
use crate::net::{closed_error, not_pollable_error, timeout_error};
use crate::ops::{Deadlines, Descriptor, RuntimeOps};
use crate::platform::{Atomic, Errno, Kernel, Lock, Platform, RawFd, Shutdown, SockAddr};
use crate::poll::desc::{Begin, StartRead};
use crate::poll::{PollDesc, PollError};
use crate::sched::g::PROXY;
use crate::sched::shared::Shared;
use crate::trace::{Event, Mode, WaitReason};
use crate::waiter::Parking;

/// The most bytes that one system call on a stream moves; larger ones are refused by some kernels.
const CALL_BYTES_MAX: usize = 1 << 30;
/// The most buffers that one vectored call takes (`IOV_MAX` on Linux).
const CALL_BUFFERS_MAX: usize = 1024;
/// Operations of one direction that may succeed in a row without waiting before the goroutine lets
/// others run: a socket that is always ready must not starve its worker.
const BUDGET: u32 = 128;

/// See the module documentation.
pub struct File<P: Platform> {
    pub(crate) shared: Arc<Shared<P>>,
    number: RawFd,
    /// Index of the poll descriptor.
    pd: u32,
    mutex: FdMutex<P>,
    /// Released when the number is free.
    closed: Sema<P>,
    /// What `close(2)` returned, negated; meaningful once `closed` was released, whose lock orders it.
    close_result: P::AtomicU32,
    /// Not 0: the number is handed out and not closed.
    keep: P::AtomicU32,
    /// 1 when the last read took everything there was: the next one may wait without asking the kernel
    /// first. Only the read lock's holder touches it; whoever resets the slot or waits clears it.
    drained: AtomicU32,
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
struct Locked<'a, P: Platform> {
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
struct Referenced<'a, P: Platform>(&'a File<P>);

impl<P: Platform> Drop for Referenced<'_, P> {
    fn drop(&mut self) {
        self.0.says_leave();
        if self.0.mutex.decref() {
            self.0.destroy();
        }
    }
}

impl<P: Platform> File<P> {
    /// Registers a non-blocking socket with the poller and takes it over.
    ///
    /// # Errors
    /// What the kernel says to the registration; the number is closed then.
    pub fn new(shared: &Arc<Shared<P>>, number: RawFd) -> io::Result<Arc<File<P>>> {
        let pd = match shared.netpoll.open(&shared.kernel, number) {
            Ok(pd) => pd,
            Err(errno) => {
                let _released = shared.kernel.close(number);
                return Err(errno.into());
            }
        };
        Ok(Arc::new(File {
            shared: shared.clone(),
            number,
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

    fn pd(&self) -> &PollDesc<P> {
        self.shared.netpoll.lives.get(self.pd)
    }

    fn kernel(&self) -> &P::Kernel {
        &self.shared.kernel
    }

    fn lock(&self, mode: Mode) -> io::Result<Locked<'_, P>> {
        self.mutex.lock(mode, WaitReason::FdLock(self.number, mode))?;
        self.says_use();
        Ok(Locked { file: self, mode })
    }

    fn reference(&self) -> io::Result<Referenced<'_, P>> {
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
    fn operate<R>(
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
    fn begin(&self, mode: Mode) -> Result<(), PollError> {
        if mode == Mode::Read {
            self.drained.store(0, Relaxed);
        }
        self.pd().reset(self.kernel(), mode)
    }

    /// The inner loop. The caller holds the lock and has reset the slot.
    #[inline]
    fn retry<R>(
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
    fn spend(&self, mode: Mode) {
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
    fn shut(&self, keep: bool) -> io::Result<()> {
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
        if self.keep.load(Relaxed) == 0 {
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

impl<P: Platform> Descriptor for File<P> {
    fn runtime(&self) -> Arc<dyn RuntimeOps> {
        self.shared.clone()
    }

    fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            // Not even an expired deadline is reported, but a close is.
            return self.lock(Mode::Read).map(|_| 0);
        }
        let length = buf.len().min(CALL_BYTES_MAX);
        let buf = &mut buf[..length];
        let locked = self.lock(Mode::Read)?;
        let drained = self.drained.load(Relaxed) != 0;
        self.drained.store(0, Relaxed);
        if self.pd().start_read(self.kernel(), drained)? == StartRead::Wait {
            self.wait_for_edge(Mode::Read)?;
        }
        let read = self.retry(Mode::Read, |kernel, fd| kernel.read(fd, buf))?;
        self.drained.store(u32::from(0 < read && read < length), Relaxed);
        drop(locked);
        self.spend(Mode::Read);
        Ok(read)
    }

    fn readv(&self, bufs: &mut [io::IoSliceMut<'_>]) -> io::Result<usize> {
        let count = bufs.len().min(CALL_BUFFERS_MAX);
        let bufs = &mut bufs[..count];
        if bufs.iter().all(|buf| buf.is_empty()) {
            return self.lock(Mode::Read).map(|_| 0);
        }
        self.operate(Mode::Read, |kernel, fd| kernel.readv(fd, bufs))
    }

    fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.operate(Mode::Read, |kernel, fd| kernel.peek(fd, buf))
    }

    fn write(&self, buf: &[u8]) -> io::Result<usize> {
        let buf = &buf[..buf.len().min(CALL_BYTES_MAX)];
        self.operate(Mode::Write, |kernel, fd| kernel.write(fd, buf))
    }

    fn write_all(&self, mut buf: &[u8]) -> io::Result<()> {
        let locked = self.lock(Mode::Write)?;
        self.begin(Mode::Write)?;
        while !buf.is_empty() {
            let part = &buf[..buf.len().min(CALL_BYTES_MAX)];
            let written = self.retry(Mode::Write, |kernel, fd| kernel.write(fd, part))?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            assert!(written <= part.len(), "the kernel wrote {written} of {} bytes", part.len());
            buf = &buf[written..];
        }
        drop(locked);
        self.spend(Mode::Write);
        Ok(())
    }

    fn writev(&self, bufs: &[io::IoSlice<'_>]) -> io::Result<usize> {
        let bufs = &bufs[..bufs.len().min(CALL_BUFFERS_MAX)];
        self.operate(Mode::Write, |kernel, fd| kernel.writev(fd, bufs))
    }

    fn accept(&self) -> io::Result<(Arc<dyn Descriptor>, SockAddr)> {
        let (number, peer) = self.operate(Mode::Read, |kernel, fd| {
            loop {
                match kernel.accept4(fd) {
                    // That connection is gone; the queue may hold others.
                    Err(Errno::ECONNABORTED) => {}
                    result => return result,
                }
            }
        })?;
        let file: Arc<dyn Descriptor> = File::new(&self.shared, number)?;
        Ok((file, peer))
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        let _reference = self.reference()?;
        Ok(self.kernel().shutdown(self.number, how)?)
    }

    fn close(&self) -> io::Result<()> {
        self.shut(false)?;
        match self.close_result.load(Relaxed).cast_signed() {
            0 => Ok(()),
            errno => Err(Errno(errno).into()),
        }
    }

    fn set_deadline(&self, which: Deadlines, at: Option<u64>) -> io::Result<()> {
        let _reference = self.reference()?;
        let at = match at {
            None => 0,
            Some(at) if at <= self.kernel().clock() => -1,
            // Saturates: a time that far ahead never comes (golang/go#14431).
            Some(at) => i64::try_from(at).unwrap_or(i64::MAX),
        };
        let released = self.pd().set_deadline(self.kernel(), &*self.shared, which, at);
        self.shared.release_from_here(released);
        Ok(())
    }

    fn local_addr(&self) -> io::Result<SockAddr> {
        let _reference = self.reference()?;
        Ok(self.kernel().getsockname(self.number)?)
    }

    fn peer_addr(&self) -> io::Result<SockAddr> {
        let _reference = self.reference()?;
        Ok(self.kernel().getpeername(self.number)?)
    }

    fn getsockopt(&self, level: i32, name: i32) -> io::Result<i32> {
        let _reference = self.reference()?;
        Ok(self.kernel().getsockopt(self.number, level, name)?)
    }

    fn setsockopt(&self, level: i32, name: i32, value: i32) -> io::Result<()> {
        let _reference = self.reference()?;
        Ok(self.kernel().setsockopt(self.number, level, name, value)?)
    }

    fn raw_fd(&self) -> RawFd {
        self.number
    }

    fn wait(&self, mode: Mode) -> io::Result<()> {
        // No reset: an edge that has come and was not used is just what the caller waits for.
        let _locked = self.lock(mode)?;
        Ok(self.wait_for_edge(mode)?)
    }

    fn take_fd(&self) -> io::Result<OwnedFd> {
        if !self.kernel().is_real() {
            return self.kernel().own(self.number);
        }
        self.shut(true)?;
        self.kernel().own(self.number)
    }
}
