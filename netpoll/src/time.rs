//! Time as goroutines see it: the runtime's clock, which a simulator may own.
//!
//! A goroutine reads the clock of its runtime. A plain thread reads `CLOCK_MONOTONIC`, which is the
//! same clock when the runtime is a real one. `std::time::Instant` is a different type on purpose:
//! under a simulator the two have nothing to do with each other.
//!
//! Arithmetic that cannot fail saturates: a deadline beyond the clock's range (584 years) is at its
//! end, never in the past.

use std::fmt;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::time::Duration;

use crate::ops::Wake;
use crate::platform::os::OsKernel;
use crate::platform::{Kernel as _, Os};
use crate::trace::WaitReason;
use crate::waiter::{Parking, with_current};

/// A point in time of the caller's runtime.
///
/// Instants of one runtime are ordered and never go back. Comparing instants of two runtimes, or of a
/// simulated runtime and a plain thread, is meaningless but harmless.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The present time.
    #[must_use]
    pub fn now() -> Instant {
        Instant(now())
    }

    /// The time since this instant; zero if it is still to come.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        Instant::now().duration_since(*self)
    }

    /// The time from `earlier` to this instant; zero if `earlier` is the later one.
    #[must_use]
    pub fn duration_since(&self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The time from `earlier` to this instant; `None` if `earlier` is the later one.
    #[must_use]
    pub fn checked_duration_since(&self, earlier: Instant) -> Option<Duration> {
        self.0.checked_sub(earlier.0).map(Duration::from_nanos)
    }

    /// As [`duration_since`](Instant::duration_since); here for those who know it from `std`.
    #[must_use]
    pub fn saturating_duration_since(&self, earlier: Instant) -> Duration {
        self.duration_since(earlier)
    }

    /// This instant plus `duration`; `None` when the clock cannot express it.
    #[must_use]
    pub fn checked_add(&self, duration: Duration) -> Option<Instant> {
        let ns = u64::try_from(duration.as_nanos()).ok()?;
        self.0.checked_add(ns).map(Instant)
    }

    /// This instant minus `duration`; `None` when the clock cannot express it.
    #[must_use]
    pub fn checked_sub(&self, duration: Duration) -> Option<Instant> {
        let ns = u64::try_from(duration.as_nanos()).ok()?;
        self.0.checked_sub(ns).map(Instant)
    }

    /// Nanoseconds of the runtime's clock.
    pub(crate) fn as_nanos(self) -> u64 {
        self.0
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Instant({:?})", Duration::from_nanos(self.0))
    }
}

/// Saturates at the end of the clock.
impl Add<Duration> for Instant {
    type Output = Instant;

    fn add(self, duration: Duration) -> Instant {
        Instant(saturating_add(self.0, duration))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

/// Saturates at the beginning of the clock.
impl Sub<Duration> for Instant {
    type Output = Instant;

    fn sub(self, duration: Duration) -> Instant {
        Instant(self.0.saturating_sub(saturating_add(0, duration)))
    }
}

impl SubAssign<Duration> for Instant {
    fn sub_assign(&mut self, duration: Duration) {
        *self = *self - duration;
    }
}

/// As [`duration_since`](Instant::duration_since): zero rather than negative.
impl Sub<Instant> for Instant {
    type Output = Duration;

    fn sub(self, earlier: Instant) -> Duration {
        self.duration_since(earlier)
    }
}

/// Parks the caller for at least `duration`. Zero returns at once.
///
/// On a plain thread it blocks the thread.
pub fn sleep(duration: Duration) {
    if !duration.is_zero() {
        park_until(deadline_after(duration));
    }
}

/// Parks the caller until `deadline` has come. An instant that has passed returns at once.
///
/// On a plain thread it blocks the thread.
pub fn sleep_until(deadline: Instant) {
    if deadline > Instant::now() {
        park_until(deadline.0);
    }
}

/// Nobody has the ticket, so only the deadline ends this park.
fn park_until(deadline: u64) {
    let wake = Parking::<Os>::prepare(WaitReason::Sleep).park(Some(deadline));
    assert_eq!(wake, Wake::TimedOut, "a sleep whose ticket nobody had");
}

/// The caller's clock in nanoseconds, never 0.
pub(crate) fn now() -> u64 {
    with_current(|current| match current {
        Some(current) => current.runtime.now(),
        None => thread_clock(),
    })
}

/// The clock of plain threads in nanoseconds, never 0.
pub(crate) fn thread_clock() -> u64 {
    OsKernel.clock()
}

/// The deadline of an operation of the caller that starts now and may take `timeout`.
pub(crate) fn deadline_after(timeout: Duration) -> u64 {
    saturating_add(now(), timeout)
}

/// Saturating at the end of the clock: an enormous timeout means "no limit", not "expired".
pub(crate) fn saturating_add(ns: u64, duration: Duration) -> u64 {
    let duration_ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    ns.saturating_add(duration_ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enormous_timeouts_saturate_instead_of_expiring() {
        let now = Instant::now();
        assert_eq!(now + Duration::MAX, Instant(u64::MAX));
        assert_eq!(now - Duration::MAX, Instant(0));
        assert_eq!(deadline_after(Duration::MAX), u64::MAX);
        assert_eq!(now.checked_add(Duration::MAX), None);
        assert_eq!(now.checked_sub(Duration::MAX), None);
    }

    #[test]
    fn differences_are_never_negative() {
        let (early, late) = (Instant(5), Instant(7));
        assert_eq!(late - early, Duration::from_nanos(2));
        assert_eq!(early - late, Duration::ZERO);
        assert_eq!(early.checked_duration_since(late), None);
    }

    #[test]
    fn a_plain_thread_can_sleep() {
        let start = Instant::now();
        sleep(Duration::from_millis(2));
        assert!(start.elapsed() >= Duration::from_millis(2));
        sleep_until(start);
        sleep(Duration::ZERO);
    }
}
