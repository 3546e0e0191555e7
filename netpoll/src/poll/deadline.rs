//! Deadlines of a descriptor: what the lock guards, and the timers that enforce it.
//!
//! Each direction has a deadline and a timer with a generation; a callback of an earlier setting or an
//! earlier life finds another generation and does nothing (S10). Equal deadlines of both directions
//! share the read timer, which is then *combined* and validated by the read generation alone: so making
//! or breaking the combination counts as a change.
//!
//! Tested by the models in `deadline_model.rs` and the simulator's `deadline_vs_ready`.

use super::desc::{PollDesc, Released};
use super::info::Snapshot;
use crate::ops::Deadlines;
use crate::platform::{Kernel, Lock, Platform};
use crate::sched::timers::TimerId;
use crate::trace::{Event, Mode};

/// What a descriptor's timer does when it is due: goes back to [`PollDesc::expire`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeadlineJob {
    /// Index of the descriptor.
    pub pd: u32,
    /// The generation of the timer when it was armed (S10).
    pub generation: u64,
    /// Which deadlines it is for.
    pub which: Deadlines,
}

/// Where descriptors arm their timers.
pub trait DeadlineTimers {
    /// Arms a timer for `when` nanoseconds of the kernel's clock.
    fn arm(&self, when: u64, job: DeadlineJob) -> TimerId;
    /// Stops a timer. One that fired or is firing is left to its generation check.
    fn disarm(&self, id: TimerId);
}

/// One direction's deadline.
#[derive(Debug, Default)]
pub(super) struct Deadline {
    /// 0 none, positive absolute nanoseconds, −1 expired.
    pub(super) at: i64,
    /// +1 whenever an armed timer is changed or stopped and in every new life. It never wraps: at a
    /// billion changes a second 64 bits last five centuries.
    pub(super) generation: u64,
    /// The timer since it was last armed; *not* cleared when it fires.
    pub(super) timer: Option<TimerId>,
}

#[derive(Debug, Default)]
pub(super) struct Inner {
    /// The number of this life, or of the next one when it is over.
    pub(super) life: u32,
    pub(super) closing: bool,
    pub(super) read: Deadline,
    pub(super) write: Deadline,
}

impl Inner {
    /// Whether one timer serves both directions: then it is the read timer.
    pub(super) fn is_combined(&self) -> bool {
        self.read.at > 0 && self.read.at == self.write.at
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot::new(self.life, self.closing, self.read.at < 0, self.write.at < 0)
    }
}

impl<P: Platform> PollDesc<P> {
    /// Sets deadlines. `at` is 0 for none, positive for absolute nanoseconds, negative for a time that
    /// has passed, which releases current waiters. Silently nothing on a closing descriptor.
    pub fn set_deadline(
        &self,
        kernel: &P::Kernel,
        timers: &dyn DeadlineTimers,
        which: Deadlines,
        at: i64,
    ) -> Released {
        let mut inner = self.inner.lock();
        if inner.closing {
            return Released::default();
        }
        let (old_read, old_write) = (inner.read.at, inner.write.at);
        let was_combined = inner.is_combined();
        let at = at.max(-1);
        let (read, write) = (which != Deadlines::Write, which != Deadlines::Read);
        if read {
            inner.read.at = at;
        }
        if write {
            inner.write.at = at;
        }
        let fd = self.fd();
        self.info.publish(inner.snapshot());
        for (mode, is_set) in [(Mode::Read, read), (Mode::Write, write)] {
            if is_set {
                kernel.trace(Event::Deadline { pd: self.index, fd, mode, at_ns: at });
            }
        }

        let combined = inner.is_combined();
        let kind = if combined { Deadlines::Both } else { Deadlines::Read };
        // Breaking or making the combination changes what the read timer is for, so it counts as a
        // change even when the read deadline stays (the combined timer is validated by the read
        // generation alone).
        let read_changed = inner.read.at != old_read || combined != was_combined;
        let read_wanted = inner.read.at > 0;
        self.retime(timers, &mut inner.read, read_changed, read_wanted, kind);
        let write_changed = inner.write.at != old_write || combined != was_combined;
        let write_wanted = inner.write.at > 0 && !combined;
        self.retime(timers, &mut inner.write, write_changed, write_wanted, Deadlines::Write);

        self.cancel(kernel, inner.read.at < 0, inner.write.at < 0)
    }

    /// Brings one timer in line with its deadline.
    fn retime(
        &self,
        timers: &dyn DeadlineTimers,
        deadline: &mut Deadline,
        changed: bool,
        wanted: bool,
        which: Deadlines,
    ) {
        match deadline.timer {
            Some(_) if !changed => return,
            None if !wanted => return,
            None => {}
            Some(id) => {
                // A callback of the old setting may be on its way: it finds another generation.
                deadline.generation += 1;
                deadline.timer = None;
                timers.disarm(id);
            }
        }
        if wanted {
            let when = deadline.at.unsigned_abs();
            let job = DeadlineJob { pd: self.index, generation: deadline.generation, which };
            deadline.timer = Some(timers.arm(when, job));
        }
    }

    /// A timer is due. Nothing happens when it is of an earlier setting or an earlier life (S10).
    ///
    /// # Panics
    /// S11: when the generation fits but the deadline does not.
    pub fn expire(&self, kernel: &P::Kernel, job: DeadlineJob) -> Released {
        let mut inner = self.inner.lock();
        let current = match job.which {
            Deadlines::Write => inner.write.generation,
            Deadlines::Read | Deadlines::Both => inner.read.generation,
        };
        if current != job.generation {
            return Released::default();
        }
        let (read, write) = (job.which != Deadlines::Write, job.which != Deadlines::Read);
        for (mode, fires) in [(Mode::Read, read), (Mode::Write, write)] {
            if !fires {
                continue;
            }
            let deadline = match mode {
                Mode::Read => &mut inner.read,
                Mode::Write => &mut inner.write,
            };
            assert!(deadline.at > 0, "S11: {job:?} fires with deadline {}", deadline.at);
            let armed = deadline.timer.is_some() || job.which == Deadlines::Both;
            assert!(armed, "S11: {job:?} fires and was not armed");
            deadline.at = -1;
        }
        let fd = self.fd();
        self.info.publish(inner.snapshot());
        for (mode, fires) in [(Mode::Read, read), (Mode::Write, write)] {
            if fires {
                kernel.trace(Event::Expired { pd: self.index, fd, mode });
            }
        }
        self.cancel(kernel, read, write)
    }
}
