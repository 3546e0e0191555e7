//! `std`'s timeouts, which are relative and of each operation, over deadlines, which are absolute and of
//! the descriptor.
//!
//! An operation that starts under a timeout moves the deadline of its direction to *now + timeout*, or
//! to the absolute deadline if that is earlier: a deadline that somebody has set, perhaps in the past
//! in order to cancel, is never moved out by an operation. Without a timeout an operation costs one
//! load here.
//!
//! A direction has one deadline. When several goroutines read one stream, a read that starts also moves
//! the deadline of those that wait, always later: nobody times out before its own timeout, and those
//! who wait in line may wait longer. `std` behaves alike, since the kernel measures each turn.
//!
//! # How two changes at once agree
//!
//! The limits change under a lock that is not held while the descriptor is told: the descriptor may be
//! a simulated one and switch there. So [`Timeouts::apply`] tells the descriptor what the limits are,
//! looks again, and repeats if they have changed. Whoever tells the descriptor *last* has found the
//! limits unchanged after that, and every change before was told before: the descriptor ends with the
//! deadline that the limits say. (`Descriptor::set_deadline` calls are ordered by the descriptor's
//! lock, which also makes the change visible to the second look.)

use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use crate::ops::{Deadlines, Descriptor};
use crate::platform::Lock as _;
use crate::platform::os::OsMutex;
use crate::time::saturating_add;
use crate::trace::Mode;

/// What limits the operations of one direction. Times in nanoseconds of the runtime's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Limits {
    /// How long each operation may take.
    timeout: Option<Duration>,
    /// Until when any operation may take.
    deadline: Option<u64>,
    /// Until when the operation that started last may take.
    operation: Option<u64>,
}

impl Limits {
    /// An operation starts at `now`. False when no timeout limits it.
    fn start(&mut self, now: u64) -> bool {
        self.operation = self.timeout.map(|timeout| saturating_add(now, timeout));
        self.operation.is_some()
    }

    fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.timeout = timeout;
        if timeout.is_none() {
            self.operation = None;
        }
    }

    /// What the descriptor's deadline has to be: the earlier one.
    fn effective(&self) -> Option<u64> {
        match (self.deadline, self.operation) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }
}

/// One direction of a stream.
struct Direction {
    limits: OsMutex<Limits>,
    /// Whether there may be a timeout: what operations look at. It goes up before the timeout is set
    /// and never comes down while there is one, so relaxed is enough: an operation that misses it
    /// started before the timeout was set.
    limited: AtomicBool,
}

impl Direction {
    fn new() -> Direction {
        Direction { limits: OsMutex::new(Limits::default()), limited: AtomicBool::new(false) }
    }

    fn effective(&self) -> Option<u64> {
        self.limits.lock().effective()
    }
}

/// The limits of both directions of a stream.
pub(super) struct Timeouts {
    read: Direction,
    write: Direction,
}

impl Timeouts {
    pub(super) fn new() -> Timeouts {
        Timeouts { read: Direction::new(), write: Direction::new() }
    }

    /// An operation starts. To be called before each.
    #[inline]
    pub(super) fn start(&self, descriptor: &dyn Descriptor, mode: Mode) -> io::Result<()> {
        if self.direction(mode).limited.load(Relaxed) {
            self.start_limited(descriptor, mode)
        } else {
            Ok(())
        }
    }

    #[cold]
    fn start_limited(&self, descriptor: &dyn Descriptor, mode: Mode) -> io::Result<()> {
        let now = descriptor.runtime().now();
        if self.direction(mode).limits.lock().start(now) {
            self.apply(descriptor, deadlines(mode))
        } else {
            Ok(())
        }
    }

    /// Sets the timeout of operations that start from now on.
    ///
    /// # Errors
    /// `InvalidInput` for zero, as in `std`; the closed error.
    pub(super) fn set_timeout(
        &self,
        descriptor: &dyn Descriptor,
        mode: Mode,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        if timeout.is_some_and(|timeout| timeout.is_zero()) {
            let text = "a timeout of zero: use `None` for no timeout";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let direction = self.direction(mode);
        let mut limits = direction.limits.lock();
        limits.set_timeout(timeout);
        direction.limited.store(timeout.is_some(), Relaxed);
        drop(limits);
        match timeout {
            Some(_) => Ok(()),
            // The deadline of the last operation is still armed.
            None => self.apply(descriptor, deadlines(mode)),
        }
    }

    pub(super) fn timeout(&self, mode: Mode) -> Option<Duration> {
        self.direction(mode).limits.lock().timeout
    }

    /// Sets the absolute deadline, for operations that wait now as well.
    ///
    /// # Errors
    /// The closed error.
    pub(super) fn set_deadline(
        &self,
        descriptor: &dyn Descriptor,
        which: Deadlines,
        at: Option<u64>,
    ) -> io::Result<()> {
        if which != Deadlines::Write {
            self.read.limits.lock().deadline = at;
        }
        if which != Deadlines::Read {
            self.write.limits.lock().deadline = at;
        }
        self.apply(descriptor, which)
    }

    /// Tells the descriptor what the limits are: see the module docs.
    fn apply(&self, descriptor: &dyn Descriptor, which: Deadlines) -> io::Result<()> {
        let effective = || (self.read.effective(), self.write.effective());
        loop {
            let told = effective();
            match (which, told) {
                (Deadlines::Read, (read, _)) => descriptor.set_deadline(which, read)?,
                (Deadlines::Write, (_, write)) => descriptor.set_deadline(which, write)?,
                (Deadlines::Both, (read, write)) if read == write => {
                    descriptor.set_deadline(Deadlines::Both, read)?;
                }
                (Deadlines::Both, (read, write)) => {
                    descriptor.set_deadline(Deadlines::Read, read)?;
                    descriptor.set_deadline(Deadlines::Write, write)?;
                }
            }
            let now = effective();
            let unchanged = match which {
                Deadlines::Read => told.0 == now.0,
                Deadlines::Write => told.1 == now.1,
                Deadlines::Both => told == now,
            };
            if unchanged {
                return Ok(());
            }
        }
    }

    fn direction(&self, mode: Mode) -> &Direction {
        match mode {
            Mode::Read => &self.read,
            Mode::Write => &self.write,
        }
    }
}

fn deadlines(mode: Mode) -> Deadlines {
    match mode {
        Mode::Read => Deadlines::Read,
        Mode::Write => Deadlines::Write,
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::FakeDescriptor;
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const NS: u64 = 1_000_000_000;

    #[test]
    fn the_earlier_of_timeout_and_deadline_wins() {
        let at = |deadline, timeout, now| {
            let mut limits = Limits { deadline, ..Limits::default() };
            limits.set_timeout(timeout);
            limits.start(now);
            limits.effective()
        };
        assert_eq!(at(None, None, 5), None);
        assert_eq!(at(None, Some(SECOND), 5), Some(NS + 5));
        assert_eq!(at(Some(7), None, 5), Some(7));
        assert_eq!(at(Some(7), Some(SECOND), 5), Some(7));
        assert_eq!(at(Some(2 * NS), Some(SECOND), 5), Some(NS + 5));
        assert_eq!(at(None, Some(Duration::MAX), 5), Some(u64::MAX));
    }

    #[test]
    fn without_a_timeout_operations_do_not_touch_the_descriptor() {
        let (descriptor, timeouts) = (FakeDescriptor::new(), Timeouts::new());
        timeouts.start(&*descriptor, Mode::Read).unwrap();
        timeouts.set_timeout(&*descriptor, Mode::Write, Some(SECOND)).unwrap();
        timeouts.start(&*descriptor, Mode::Read).unwrap();
        assert_eq!(descriptor.deadlines(), []);
    }

    #[test]
    fn each_operation_has_a_fresh_timeout_and_removing_it_restores_the_deadline() {
        let (descriptor, timeouts) = (FakeDescriptor::new(), Timeouts::new());
        let far = 1 << 60;
        timeouts.set_deadline(&*descriptor, Deadlines::Both, Some(far)).unwrap();
        timeouts.set_timeout(&*descriptor, Mode::Read, Some(SECOND)).unwrap();
        for now in [10, 20] {
            descriptor.set_now(now);
            timeouts.start(&*descriptor, Mode::Read).unwrap();
        }
        timeouts.set_deadline(&*descriptor, Deadlines::Both, None).unwrap();
        timeouts.set_timeout(&*descriptor, Mode::Read, None).unwrap();
        assert_eq!(
            descriptor.deadlines(),
            [
                (Deadlines::Both, Some(far)),
                (Deadlines::Read, Some(10 + NS)),
                (Deadlines::Read, Some(20 + NS)),
                (Deadlines::Read, Some(20 + NS)),
                (Deadlines::Write, None),
                (Deadlines::Read, None),
            ]
        );
    }

    /// Museum B22: a rolling timeout must not overwrite the deadline that cancels.
    #[test]
    fn a_deadline_in_the_past_stays_whatever_operations_start() {
        let (descriptor, timeouts) = (FakeDescriptor::new(), Timeouts::new());
        timeouts.set_timeout(&*descriptor, Mode::Read, Some(SECOND)).unwrap();
        timeouts.set_deadline(&*descriptor, Deadlines::Read, Some(1)).unwrap();
        descriptor.set_now(500);
        timeouts.start(&*descriptor, Mode::Read).unwrap();
        assert_eq!(descriptor.deadlines(), [(Deadlines::Read, Some(1)); 2]);
    }

    /// Hunts the operation that tells the descriptor an old deadline after a newer one was told.
    #[test]
    fn a_deadline_that_changes_while_it_is_told_is_told_again() {
        let (descriptor, timeouts) = (FakeDescriptor::new(), std::sync::Arc::new(Timeouts::new()));
        timeouts.set_timeout(&*descriptor, Mode::Read, Some(SECOND)).unwrap();
        let other = std::sync::Arc::clone(&timeouts);
        descriptor.on_next_set_deadline(move || other.read.limits.lock().deadline = Some(3));
        timeouts.start(&*descriptor, Mode::Read).unwrap();
        assert_eq!(descriptor.deadlines().last(), Some(&(Deadlines::Read, Some(3))));
    }

    #[test]
    fn a_timeout_of_zero_is_refused() {
        let (descriptor, timeouts) = (FakeDescriptor::new(), Timeouts::new());
        let error =
            timeouts.set_timeout(&*descriptor, Mode::Read, Some(Duration::ZERO)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert_eq!(timeouts.timeout(Mode::Read), None);
    }
}
