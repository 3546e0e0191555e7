//! A descriptor whose consumers are threads of the model: what the models of the poller have in common.
//!
//! The wait loop is that of `File::wait_for_edge`, with a parker in the place of the scheduler. "Runnable
//! again" is the parker's token, so a lost wake-up is a thread that waits for ever, which the checkers
//! report as a deadlock.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use netpoll::backend::Readiness;
use netpoll::ops::Deadlines;
use netpoll::platform::{Atomic, Park};
use netpoll::poll::desc::Begin;
use netpoll::poll::{DeadlineJob, DeadlineTimers, FileKind, PollDesc, PollError, Released};
use netpoll::sched::timers::{Job, TimerHeap, TimerId};
use netpoll::trace::{Mode, SlotState};

use crate::platform::Checked;

/// What an edge for a reader says.
pub(super) const READ: Readiness =
    Readiness { read: true, write: false, error: false, unsure: false };
/// What an edge for a writer says.
pub(super) const WRITE: Readiness =
    Readiness { read: false, write: true, error: false, unsure: false };
/// What a hang-up says.
pub(super) const HANG_UP: Readiness =
    Readiness { read: true, write: true, error: false, unsure: true };
/// What an error without company says.
pub(super) const ERROR: Readiness =
    Readiness { read: true, write: true, error: true, unsure: true };

/// Where the consumer of one direction sleeps.
struct Seat<P: Checked> {
    parker: P::Parker,
    /// How often it was made runnable in this park (S3).
    wakes: P::AtomicU32,
    /// 1 while the consumer does not run: stands for its stack and its record, which whoever takes it
    /// out of a slot may use. No ordering of its own: O1 has to provide it.
    parked: P::AtomicU32,
}

impl<P: Checked> Seat<P> {
    fn new() -> Seat<P> {
        let (wakes, parked) = (P::AtomicU32::new(0), P::AtomicU32::new(0));
        Seat { parker: P::Parker::new(), wakes, parked }
    }
}

/// Where both consumers of a descriptor sleep.
pub(super) struct Seats<P: Checked> {
    reader: Seat<P>,
    writer: Seat<P>,
}

/// The goroutine that stands for the consumer of a direction.
fn goroutine(mode: Mode) -> u32 {
    match mode {
        Mode::Read => 7,
        Mode::Write => 8,
    }
}

impl<P: Checked> Seats<P> {
    pub(super) fn new() -> Seats<P> {
        Seats { reader: Seat::new(), writer: Seat::new() }
    }

    fn of(&self, mode: Mode) -> &Seat<P> {
        match mode {
            Mode::Read => &self.reader,
            Mode::Write => &self.writer,
        }
    }

    /// Waits for an edge.
    pub(super) fn wait(
        &self,
        pd: &PollDesc<P>,
        kernel: &P::Kernel,
        mode: Mode,
    ) -> Result<(), PollError> {
        loop {
            match pd.begin(kernel, mode)? {
                Begin::Ready => return Ok(()),
                Begin::Park => {
                    let parked = self.commit(pd, kernel, mode);
                    self.sleep(mode, parked);
                }
            }
            if pd.finish(kernel, mode) {
                return Ok(());
            }
            pd.check(mode)?;
        }
    }

    /// T3, and what a goroutine leaves behind.
    fn commit(&self, pd: &PollDesc<P>, kernel: &P::Kernel, mode: Mode) -> bool {
        self.of(mode).parked.store(1, Relaxed);
        pd.commit(kernel, mode, goroutine(mode))
    }

    /// Sleeps, if it parked, until it is made runnable, and runs again.
    fn sleep(&self, mode: Mode, parked: bool) {
        let seat = self.of(mode);
        if parked {
            seat.parker.park();
            let wakes = seat.wakes.swap(0, Relaxed);
            assert_eq!(wakes, 1, "S3: woken {wakes} times in one park");
        }
        seat.parked.store(0, Relaxed);
    }

    /// Makes one goroutine runnable.
    pub(super) fn wake(&self, g: u32) {
        let mode = if g == goroutine(Mode::Read) { Mode::Read } else { Mode::Write };
        assert_eq!(g, goroutine(mode), "S1: nobody of that name was ever parked");
        let seat = self.of(mode);
        assert_eq!(
            seat.parked.load(Relaxed),
            1,
            "O1: it runs, and was taken out of its {mode} slot"
        );
        seat.wakes.fetch_add(1, Relaxed);
        seat.parker.unpark();
    }

    /// Makes whoever was released runnable.
    pub(super) fn release(&self, released: Released) {
        for (mode, g) in [(Mode::Read, released.read), (Mode::Write, released.write)] {
            if let Some(g) = g {
                assert_eq!(g, goroutine(mode), "S1: somebody else was parked in the {mode} slot");
                self.wake(g);
            }
        }
    }
}

/// See the module documentation.
pub(super) struct Descriptor<P: Checked> {
    pub(super) pd: PollDesc<P>,
    pub(super) kernel: P::Kernel,
    seats: Seats<P>,
}

impl<P: Checked> Descriptor<P> {
    /// A descriptor in its first life.
    pub(super) fn open() -> Arc<Descriptor<P>> {
        let (pd, kernel) = (PollDesc::new(0), P::kernel(1));
        pd.open(&kernel, 5, FileKind::Other);
        Arc::new(Descriptor { pd, kernel, seats: Seats::new() })
    }

    /// Waits for an edge.
    pub(super) fn wait(&self, mode: Mode) -> Result<(), PollError> {
        self.seats.wait(&self.pd, &self.kernel, mode)
    }

    /// Parks a consumer before anybody can release it. [`wake_up`](Descriptor::wake_up) follows.
    pub(super) fn park(&self, mode: Mode) {
        assert_eq!(self.pd.begin(&self.kernel, mode), Ok(Begin::Park));
        assert!(self.seats.commit(&self.pd, &self.kernel, mode));
    }

    /// The rest of the wait of a consumer that is parked already.
    pub(super) fn wake_up(&self, mode: Mode) -> Result<(), PollError> {
        self.seats.sleep(mode, true);
        if self.pd.finish(&self.kernel, mode) { Ok(()) } else { self.pd.check(mode) }
    }

    /// S4, S5: the one read edge that there was has been used, or it stands in the slot.
    pub(super) fn assert_edge_kept_unless_used(&self, used: bool) {
        let expected = if used { SlotState::Nil } else { SlotState::Ready };
        assert_eq!(self.pd.slot_state(Mode::Read), expected, "S4: a canceller touched readiness");
    }

    /// The poll loop dispatches an event of this life.
    pub(super) fn event(&self, what: Readiness) {
        self.event_of(self.pd.life(), what);
    }

    /// The poll loop dispatches an event of that life.
    pub(super) fn event_of(&self, life: u32, what: Readiness) {
        self.seats.release(self.pd.event(&self.kernel, life, what));
    }

    /// The poll loop dispatches a read edge of this life.
    pub(super) fn edge(&self) {
        self.event(READ);
    }

    /// A timer of this generation fires.
    pub(super) fn expire(&self, which: Deadlines, generation: u64) {
        let job = DeadlineJob { pd: 0, generation, which };
        self.seats.release(self.pd.expire(&self.kernel, job));
    }

    /// Sets deadlines; whoever that releases is made runnable. Returns the jobs that it armed.
    pub(super) fn set_deadline(&self, which: Deadlines, at: i64) -> Vec<DeadlineJob> {
        let timers = Timers::default();
        self.seats.release(self.pd.set_deadline(&self.kernel, &timers, which, at));
        timers.armed.take()
    }

    /// Closes: releases everybody for good.
    pub(super) fn evict(&self) {
        self.seats.release(self.pd.evict(&self.kernel, &Timers::default()));
    }
}

/// Timers that never fire by themselves and remember what was armed. Removing a timer that was armed
/// through another one of these is a stale removal, which is legal: what matters is the generation.
#[derive(Default)]
pub(super) struct Timers {
    heap: RefCell<TimerHeap>,
    armed: Cell<Vec<DeadlineJob>>,
}

impl DeadlineTimers for Timers {
    fn arm(&self, when: u64, job: DeadlineJob) -> TimerId {
        let mut armed = self.armed.take();
        armed.push(job);
        self.armed.set(armed);
        self.heap.borrow_mut().add(0, when, Job::Deadline(job))
    }

    fn disarm(&self, id: TimerId) {
        self.heap.borrow_mut().remove(id);
    }
}
