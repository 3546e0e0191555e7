//! The poll descriptor: one open file as the poller sees it.
//!
//! A descriptor object is immortal and has many *lives*; a life is the span from [`PollDesc::open`] to
//! [`PollDesc::end`]. The order of a life:
//!
//! ```text
//! open -> (register with the kernel) -> waits, deadlines, events … -> evict -> (deregister) -> end
//! ```
//!
//! # The wait path
//!
//! ```text
//! begin:   check the summary · T1 Ready -> Nil: retry · T2 Nil -> Wait · check the summary again
//! commit:  T3 Wait -> Parked(g)   on the worker's stack, when the goroutine can no longer run
//! finish:  T4 any -> Nil          Ready means: retry the system call; otherwise check the summary
//! ```
//!
//! The second check is mandatory: a canceller that came between the first check and T2 saw `Nil` and
//! left. No fence stands between T2 and the check, nor between the canceller's publishing and its look
//! at the slot: the slot word itself orders both sides (O3, see `slot.rs`).
//!
//! # Who may touch what
//!
//! `inner` (`deadline.rs`) is guarded by the lock. The summary, the life number and the slots are
//! atomics. Whoever changes `inner` publishes the summary before it exchanges a slot and before it
//! unlocks. Goroutines are made runnable only after the lock is released (S25): every method here
//! *returns* whom it released. Lock order: descriptor, then timers; a timer's callback enters here with
//! no timer lock held.
//!
//! The numbers of the file and of the life are relaxed. They change in [`PollDesc::open`], before the
//! file is registered, and in [`PollDesc::end`], after it is deregistered; the kernel's lock on its queue
//! orders the registration before every event of the life, so an event never meets an older life than
//! its own. That a late one may not notice a newer life is the spurious `Ready` of
//! [`event`](PollDesc::event).

use std::sync::atomic::Ordering::Relaxed;

use super::deadline::{DeadlineTimers, Inner};
use super::info::{FileKind, Info, LIFE_MAX, PollError};
use super::slot::{Change, Enter, Slot};
use crate::backend::Readiness;
use crate::platform::{Atomic, Kernel, Lock, Platform, RawFd};
use crate::trace::{Event, Mode, SlotState};

/// The goroutines that a call took out of the slots. The caller makes them runnable and then, not
/// before (S18), takes them off the waiter count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use = "released goroutines must be made runnable"]
pub struct Released {
    /// The reader.
    pub read: Option<u32>,
    /// The writer.
    pub write: Option<u32>,
}

impl Released {
    /// Both, reader first.
    pub fn iter(self) -> impl Iterator<Item = u32> {
        self.read.into_iter().chain(self.write)
    }
}

/// How a wait begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Begin {
    /// An edge was there: retry the system call.
    Ready,
    /// Park now, with [`PollDesc::commit`].
    Park,
}

/// How a read of a stream starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum StartRead {
    /// With the system call.
    Call,
    /// With a wait for an edge.
    Wait,
}

/// See the module documentation.
pub struct PollDesc<P: Platform> {
    pub(super) index: u32,
    /// The file of this life, as a two's complement word.
    fd: P::AtomicU32,
    /// The life number, for the poll loop, which has no lock; incremented when a life *ends*, so that
    /// between two lives no event fits.
    life: P::AtomicU32,
    pub(super) info: Info<P>,
    read: Slot<P>,
    write: Slot<P>,
    pub(super) inner: P::Mutex<Inner>,
}

impl<P: Platform> std::fmt::Debug for PollDesc<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PollDesc")
            .field("fd", &self.fd())
            .field("info", &self.info.load())
            .field("read", &self.read.state())
            .field("write", &self.write.state())
            .finish_non_exhaustive()
    }
}

impl<P: Platform> PollDesc<P> {
    /// A descriptor that has had no life yet.
    pub fn new(index: u32) -> PollDesc<P> {
        PollDesc {
            index,
            fd: P::AtomicU32::new(u32::MAX),
            life: P::AtomicU32::new(0),
            info: Info::new(),
            read: Slot::new(),
            write: Slot::new(),
            inner: P::Mutex::new(Inner::default()),
        }
    }

    /// The file of this life.
    pub fn fd(&self) -> RawFd {
        self.fd.load(Relaxed).cast_signed()
    }

    /// The number of this life, which its kernel events carry.
    pub fn life(&self) -> u32 {
        self.life.load(Relaxed)
    }

    /// The state of a slot at this moment, for assertions and dumps.
    pub fn slot_state(&self, mode: Mode) -> SlotState {
        self.slot(mode).state()
    }

    fn slot(&self, mode: Mode) -> &Slot<P> {
        match mode {
            Mode::Read => &self.read,
            Mode::Write => &self.write,
        }
    }

    /// Says that a slot changed. `fd` was read before the change, so that nothing comes between the two.
    fn trace(&self, kernel: &P::Kernel, fd: RawFd, mode: Mode, change: Change) {
        let Change { from, to } = change;
        if from != to {
            kernel.trace(Event::Slot { pd: self.index, fd, mode, from, to });
        }
    }

    // ---- a life ------------------------------------------------------------------------------------

    /// Begins a life (T8). The caller owns the descriptor and has not registered the file yet.
    ///
    /// # Panics
    /// S14: when a waiter of the previous life is still in a slot.
    pub fn open(&self, kernel: &P::Kernel, fd: RawFd, kind: FileKind) {
        let mut inner = self.inner.lock();
        // Life 0 is never given out: it is the tag of events that carry none.
        inner.life = inner.life.max(1);
        self.life.store(inner.life, Relaxed);
        self.fd.store(fd.cast_unsigned(), Relaxed);
        for mode in [Mode::Read, Mode::Write] {
            // A stale event may have left `Ready` behind; reset panics on anything worse.
            if let Some(change) = self.slot(mode).reset() {
                self.trace(kernel, fd, mode, change);
            }
        }
        let Inner { closing, read, write, .. } = &mut *inner;
        *closing = false;
        for deadline in [read, write] {
            assert!(deadline.timer.is_none(), "S13: a new life of fd {fd} has an armed timer");
            deadline.at = 0;
            deadline.generation += 1;
        }
        self.info.publish_new_life(inner.snapshot().of(kind));
        kernel.trace(Event::Open { fd, pd: self.index, life: inner.life });
    }

    /// Tears the life down: releases both waiters for good and stops the timers. Exactly once a life.
    ///
    /// # Panics
    /// S13: when it was done already.
    pub fn evict(&self, kernel: &P::Kernel, timers: &dyn DeadlineTimers) -> Released {
        let mut inner = self.inner.lock();
        let fd = self.fd();
        assert!(!inner.closing, "S13: fd {fd} is evicted twice");
        let Inner { closing, read, write, .. } = &mut *inner;
        *closing = true;
        for deadline in [read, write] {
            deadline.generation += 1;
            if let Some(id) = deadline.timer.take() {
                timers.disarm(id);
            }
        }
        self.info.publish(inner.snapshot());
        kernel.trace(Event::Evict { pd: self.index, fd });
        self.cancel(kernel, true, true)
    }

    /// Ends the life: from here on no event of it fits. The caller has evicted and deregistered it, and
    /// nobody holds a reference.
    ///
    /// # Panics
    /// S13, S14: when the life was not evicted or a waiter is still there.
    pub fn end(&self, kernel: &P::Kernel) {
        let mut inner = self.inner.lock();
        let fd = self.fd();
        assert!(inner.closing, "S13: fd {fd} ends without being evicted");
        for mode in [Mode::Read, Mode::Write] {
            if let Some(change) = self.slot(mode).reset() {
                self.trace(kernel, fd, mode, change);
            }
        }
        self.bump_life(kernel, fd, &mut inner);
    }

    /// Ends a life whose registration with the kernel failed: nothing can be in flight (S34).
    pub fn abandon(&self, kernel: &P::Kernel) {
        let mut inner = self.inner.lock();
        self.bump_life(kernel, self.fd(), &mut inner);
    }

    fn bump_life(&self, kernel: &P::Kernel, fd: RawFd, inner: &mut Inner) {
        inner.life = (inner.life + 1) & LIFE_MAX;
        self.life.store(inner.life, Relaxed);
        kernel.trace(Event::End { fd, pd: self.index });
        self.info.publish(inner.snapshot());
    }

    // ---- the wait path -----------------------------------------------------------------------------

    /// Starts an operation: refuses when it could not wait, and discards an old edge (T7). The caller
    /// holds the descriptor's lock for this direction and makes a system call next (S6).
    ///
    /// # Errors
    /// Closing, deadline passed, or not pollable.
    #[inline]
    pub fn reset(&self, kernel: &P::Kernel, mode: Mode) -> Result<(), PollError> {
        self.info.load().check(mode)?;
        let fd = self.fd();
        if let Some(change) = self.slot(mode).reset() {
            self.trace(kernel, fd, mode, change);
        }
        Ok(())
    }

    /// Begins a wait: T1, or T2 and the re-check.
    ///
    /// # Errors
    /// Closing, deadline passed, or not pollable; then the slot is left.
    ///
    /// # Panics
    /// S2: on a second consumer.
    pub fn begin(&self, kernel: &P::Kernel, mode: Mode) -> Result<Begin, PollError> {
        let fd = self.fd();
        self.info.load().check(mode)?;
        let (change, enter) = self.slot(mode).enter();
        self.trace(kernel, fd, mode, change);
        match enter {
            Enter::Ready => Ok(Begin::Ready),
            Enter::Wait => {
                // O3: a cancellation that came before T2 has published its reason.
                match self.info.load().check(mode) {
                    Ok(()) => Ok(Begin::Park),
                    // An edge that came meanwhile wins over the cancellation.
                    Err(error) => match self.finish(kernel, mode) {
                        true => Ok(Begin::Ready),
                        false => Err(error),
                    },
                }
            }
        }
    }

    /// T3: parks goroutine `g`, which has begun a wait and no longer runs. False when it was released
    /// meanwhile and must run on. The caller adds one waiter after, not before, a true.
    pub fn commit(&self, kernel: &P::Kernel, mode: Mode, g: u32) -> bool {
        let fd = self.fd();
        match self.slot(mode).park(g) {
            Some(change) => {
                self.trace(kernel, fd, mode, change);
                true
            }
            None => false,
        }
    }

    /// T4: ends a wait. True when an edge ended it.
    pub fn finish(&self, kernel: &P::Kernel, mode: Mode) -> bool {
        let fd = self.fd();
        let (change, ready) = self.slot(mode).leave();
        self.trace(kernel, fd, mode, change);
        ready
    }

    /// Whether an operation may go on waiting.
    ///
    /// # Errors
    /// Closing, deadline passed, or not pollable.
    pub fn check(&self, mode: Mode) -> Result<(), PollError> {
        self.info.load().check(mode)
    }

    /// Whether an event of this life told of an end, an error or urgent data.
    pub fn is_unsure(&self) -> bool {
        self.info.load().is_unsure()
    }

    /// Starts a read of a stream, as [`reset`](PollDesc::reset) does, or says that the system call can be
    /// spared: when the last one was short, the stream has nothing left (epoll(7)), and the slot keeps
    /// every edge since, because nothing has reset it. This is that call's `EAGAIN`, one operation
    /// later.
    ///
    /// Not so once an event told of an end, an error or urgent data. Those are announced once, possibly
    /// together with the bytes just read, and a short read does not prove that they were seen. Such an
    /// event is either dispatched after the last reset, then it has left `Ready`, or before, then the
    /// reset has acquired it (O2).
    ///
    /// # Errors
    /// Closing, deadline passed, or not pollable.
    #[inline]
    pub fn start_read(
        &self,
        kernel: &P::Kernel,
        last_was_short: bool,
    ) -> Result<StartRead, PollError> {
        if last_was_short && !self.is_unsure() {
            return Ok(StartRead::Wait);
        }
        self.reset(kernel, Mode::Read)?;
        Ok(StartRead::Call)
    }

    // ---- the poll loop -----------------------------------------------------------------------------

    /// Takes an event of the kernel (T5). Nothing happens when the event is of another life (S8).
    ///
    /// The test of the life and the edge are two steps, so a *spurious* `Ready` can reach the next
    /// life. It is harmless, because every consumer retries its system call; the error bit is guarded
    /// by the life number inside the summary word and cannot leak this way.
    pub fn event(&self, kernel: &P::Kernel, life: u32, what: Readiness) -> Released {
        let pd = self.index;
        if self.life() != life {
            kernel.trace(Event::Stale { pd, life });
            return Released::default();
        }
        kernel.trace(Event::Dispatch { pd, life });
        self.info.note_event(life, what.error, what.unsure);
        let fd = self.fd();
        let edge = |mode: Mode| {
            let (change, g) = self.slot(mode).edge();
            self.trace(kernel, fd, mode, change);
            g
        };
        Released {
            read: if what.read { edge(Mode::Read) } else { None },
            write: if what.write { edge(Mode::Write) } else { None },
        }
    }

    /// T6 on the chosen slots. The caller holds the lock and has published its reason.
    pub(super) fn cancel(&self, kernel: &P::Kernel, read: bool, write: bool) -> Released {
        let fd = self.fd();
        let release = |mode: Mode| {
            let (change, g) = self.slot(mode).cancel();
            self.trace(kernel, fd, mode, change);
            g
        };
        Released {
            read: if read { release(Mode::Read) } else { None },
            write: if write { release(Mode::Write) } else { None },
        }
    }
}
