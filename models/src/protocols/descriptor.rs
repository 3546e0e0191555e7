//! A descriptor whose consumers are threads of the model: what the models of the poller have in common.
//!
//! The wait loop is that of `File::wait_for_edge`, with a parker in the place of the scheduler. "Runnable
//! again" is the parker's token, so a lost wake-up is a thread that waits for ever, which the checkers
//! report as a deadlock.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::Ordering::AcqRel;

use netpoll::backend::Readiness;
use netpoll::ops::Deadlines;
use netpoll::platform::{Atomic, Park};
use netpoll::poll::desc::Begin;
use netpoll::poll::{DeadlineJob, DeadlineTimers, PollDesc, PollError, Released};
use netpoll::sched::timers::{Job, TimerHeap, TimerId};
use netpoll::trace::Mode;

use crate::platform::Checked;

/// Where the consumer of one direction sleeps.
struct Seat<P: Checked> {
    parker: P::Parker,
    /// How often it was made runnable in this park (S3).
    wakes: P::AtomicU32,
}

impl<P: Checked> Seat<P> {
    fn new() -> Seat<P> {
        Seat { parker: P::Parker::new(), wakes: P::AtomicU32::new(0) }
    }
}

/// See the module documentation.
pub(super) struct Descriptor<P: Checked> {
    pub(super) pd: PollDesc<P>,
    pub(super) kernel: P::Kernel,
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

impl<P: Checked> Descriptor<P> {
    /// A descriptor in its first life.
    pub(super) fn open() -> Arc<Descriptor<P>> {
        let pd = PollDesc::new(0);
        pd.open(5);
        let (reader, writer) = (Seat::new(), Seat::new());
        Arc::new(Descriptor { pd, kernel: P::kernel(1), reader, writer })
    }

    fn seat(&self, mode: Mode) -> &Seat<P> {
        match mode {
            Mode::Read => &self.reader,
            Mode::Write => &self.writer,
        }
    }

    /// Waits for an edge.
    pub(super) fn wait(&self, mode: Mode) -> Result<(), PollError> {
        loop {
            match self.pd.begin(&self.kernel, mode)? {
                Begin::Ready => return Ok(()),
                Begin::Park => {
                    if self.pd.commit(&self.kernel, mode, goroutine(mode)) {
                        let seat = self.seat(mode);
                        seat.parker.park();
                        let wakes = seat.wakes.swap(0, AcqRel);
                        assert_eq!(wakes, 1, "S3: woken {wakes} times in one park");
                    }
                }
            }
            if self.pd.finish(&self.kernel, mode) {
                return Ok(());
            }
            self.pd.check(mode)?;
        }
    }

    /// Makes whoever was released runnable.
    pub(super) fn release(&self, released: Released) {
        for (mode, g) in [(Mode::Read, released.read), (Mode::Write, released.write)] {
            if let Some(g) = g {
                assert_eq!(g, goroutine(mode), "S1: somebody else was parked in the {mode} slot");
                let seat = self.seat(mode);
                seat.wakes.fetch_add(1, AcqRel);
                seat.parker.unpark();
            }
        }
    }

    /// The poll loop dispatches an event of this life.
    pub(super) fn event(&self, what: Readiness) {
        self.release(self.pd.event(&self.kernel, self.pd.life(), what));
    }

    /// The poll loop dispatches a read edge of this life.
    pub(super) fn edge(&self) {
        self.event(Readiness { read: true, ..Readiness::default() });
    }

    /// A timer of this generation fires.
    pub(super) fn expire(&self, which: Deadlines, generation: u64) {
        let job = DeadlineJob { pd: 0, generation, which };
        self.release(self.pd.expire(&self.kernel, job));
    }

    /// Sets deadlines; whoever that releases is made runnable. Returns the jobs that it armed.
    pub(super) fn set_deadline(&self, which: Deadlines, at: i64) -> Vec<DeadlineJob> {
        let timers = Timers::default();
        self.release(self.pd.set_deadline(&self.kernel, &timers, which, at));
        timers.armed.take()
    }

    /// Closes: releases everybody for good.
    pub(super) fn evict(&self) {
        self.release(self.pd.evict(&self.kernel, &Timers::default()));
    }
}

/// Timers that never fire by themselves and remember what was armed. Removing a timer that was armed
/// through another one of these is a stale removal, which is legal: what matters is the generation.
#[derive(Default)]
struct Timers {
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
