//! Sysmon: the watchman. A thread without goroutines that looks after what busy workers neglect.
//!
//! Each round: when nobody has polled the kernel for 10 ms, it does (L6); timers that are overdue by as
//! much, because their worker is stuck in one goroutine, it runs. Rounds are 20 µs apart, after 50
//! fruitless ones twice as far each time, up to 10 ms.
//!
//! Once it has backed off that far and all workers are idle, it sleeps until a worker gets up. Going to
//! sleep only then, and not at once as Go does, keeps a server that is idle every other millisecond
//! from waking it each time; and woken, it backs off at once: nothing here needs a look every 20 µs, as
//! Go's processors in system calls do. While all are idle the final poller watches the timers, so it
//! need not.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::bell::Bell;
use super::shared::Shared;
use super::timers::NEVER;
use crate::platform::{Kernel, Lock, Platform, Primitives};
use crate::poll::{Delay, Harvest};

/// The shortest pause between two rounds, in nanoseconds.
const PAUSE_NS_MIN: u64 = 20_000;
/// The longest pause, in nanoseconds.
const PAUSE_NS_MAX: u64 = 10_000_000;
/// Fruitless rounds before the pause grows.
const PATIENCE: u32 = 50;
/// How long the network and timers may go unwatched, in nanoseconds.
const NEGLECT_NS: u64 = 10_000_000;

/// How sysmon is reached.
#[derive(Debug)]
pub struct Sysmon<P: Primitives> {
    bell: Bell<P>,
    /// The clock as it last saw it: for people, not for decisions.
    last_look: AtomicU64,
}

impl<P: Primitives> Sysmon<P> {
    /// Not running yet.
    pub fn new() -> Sysmon<P> {
        Sysmon { bell: Bell::new(), last_look: AtomicU64::new(0) }
    }

    /// The clock as it last saw it.
    #[inline]
    pub(super) fn last_look(&self) -> u64 {
        self.last_look.load(Relaxed)
    }

    /// Ends its sleep.
    pub(super) fn wake(&self) {
        self.bell.ring();
    }
}

impl<P: Primitives> Default for Sysmon<P> {
    fn default() -> Sysmon<P> {
        Sysmon::new()
    }
}

/// The pause before a round.
fn pause_ns(fruitless: u32, last: u64) -> u64 {
    match fruitless {
        0 => PAUSE_NS_MIN,
        1..=PATIENCE => last,
        _ => (last * 2).min(PAUSE_NS_MAX),
    }
}

impl<P: Platform> Shared<P> {
    /// The body of sysmon's thread.
    pub fn run_sysmon(&self) {
        let mut fruitless = 0;
        let mut pause = PAUSE_NS_MIN;
        while !self.is_shut_down() {
            pause = pause_ns(fruitless, pause);
            self.sysmon.bell.wait_for(pause);
            if self.is_shut_down() {
                return;
            }
            if pause == PAUSE_NS_MAX && self.sysmon_sleeps() {
                self.sysmon.bell.wait();
                // No patience: a worker that got up is no sign that anything is neglected.
                (fruitless, pause) = (PATIENCE, PAUSE_NS_MIN);
                continue;
            }
            let fruit = self.look_after(self.kernel.clock());
            fruitless = if fruit { 0 } else { fruitless.saturating_add(1) };
        }
    }

    /// One round at the time `now`: does what has been neglected. False when nothing had been.
    pub fn look_after(&self, now: u64) -> bool {
        self.sysmon.last_look.store(now, Relaxed);
        let neglected = now.saturating_sub(NEGLECT_NS);
        let mut harvest = Harvest::default();
        if self.netpoll.try_begin_overdue(neglected, now) {
            self.netpoll.poll(&self.kernel, Delay::None, &mut harvest);
        }
        let polled = !harvest.is_empty();
        self.inject(None, &mut harvest);
        self.run_neglected_timers(neglected) || polled
    }

    fn run_neglected_timers(&self, neglected: u64) -> bool {
        let mut due = Vec::new();
        for worker in &self.workers {
            let earliest = worker.timers.earliest();
            if earliest != NEVER && earliest < neglected {
                self.take_due(worker, neglected, &mut due);
            }
        }
        let any = !due.is_empty();
        for job in due {
            self.run_job(None, job);
        }
        any
    }

    /// Goes to sleep if all workers are idle. The first that gets up wakes it: both look under the
    /// scheduler's lock.
    fn sysmon_sleeps(&self) -> bool {
        let mut sched = self.sched.lock();
        sched.sysmon_asleep = sched.idle_count == sched.started && !self.is_shut_down();
        sched.sysmon_asleep
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_is_short_for_fifty_rounds_and_then_doubles_up_to_ten_milliseconds() {
        let mut pause = 0;
        let pauses: Vec<u64> = (0..100)
            .map(|fruitless| {
                pause = pause_ns(fruitless, pause);
                pause
            })
            .collect();
        assert!(pauses[..=50].iter().all(|&pause| pause == 20_000));
        assert_eq!(pauses[51..54], [40_000, 80_000, 160_000]);
        assert_eq!(pauses[99], 10_000_000);
        assert_eq!(pause_ns(0, pause), 20_000);
    }
}
