//! The poll loop: one backend, all lives, the waiter count, and who polls.
//!
//! # Shared words
//!
//! | word | meaning | written by |
//! |---|---|---|
//! | `waiters` | goroutines parked on a slot, plus adjustments in flight (S17) | +1 after T3; −n after n released ones are runnable |
//! | `last_poll` | when the kernel was last polled; 0 while a worker is in the final poll (S20) | the final poller; sysmon from non-zero to non-zero |
//! | `poll_until` | when that worker means to come back; 0 is unknown or never | the final poller |
//! | `quick` | 1 while a worker makes the quick poll of the scheduling loop | that worker |
//!
//! `waiters` may be decremented before it is incremented: a fast poll loop takes a goroutine out
//! between T3 and the +1. So it wraps, and a transient all-ones counts as *some* (golang/go#33624). It
//! is decremented only after the goroutines are runnable (S18), because in between a worker that finds
//! no waiter and no work would stop polling (golang/go#61454).
//!
//! # Ordering
//!
//! Nothing is handed over through these words: who polls finds events in the kernel, and who is released
//! goes through a queue. So every access is relaxed. That at most one is in the final poll is a matter
//! of one word's exchanges (S20); the rest is a matter of F3 and F4, the fences of `sched/idle.rs`.
//!
//! * O5: the final poller looks at all timers after F3, claims, says in `poll_until` when it comes back
//!   and sleeps by just that; on return it sets the words back, and passes F3 before it looks again.
//!   Who arms a timer passes F4 in [`Netpoll::sleeper_for`] and reads `last_poll`, then `poll_until`.
//!   Nobody in the final poll: it wakes a sleeper by the rule of `sched/idle.rs`, so it or the look after
//!   F3 saw the other. A time to come back by that is not too late, of whatever round it is: that poller
//!   comes back by then, and its next F3 is after F4, since otherwise the word would have been read as it
//!   was set back. So its next look sees the timer. 0 is "break", which is never wrong.
//! * O6: on return `poll_until := 0` comes before `last_poll := now`, so that the next poller does not
//!   seem to come back by the time of this one. No more than a courtesy: O5 holds in any case.
//! * A waiter that no worker knows of is one more case of O8: it is counted before F4 in
//!   `Shared::ensure_poller`, and a worker looks at the count after F3.

use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use super::info::FileKind;
use super::lives::{self, Lives};
use crate::backend::{Batch, Epoll};
use crate::platform::{Atomic, Errno, Kernel, Platform, RawFd};
use crate::trace::Event;

/// How long a poll may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delay {
    /// It must not block.
    None,
    /// Nanoseconds.
    Ns(u64),
    /// Until something happens.
    Forever,
}

/// What polls have brought, and room for the next one.
#[derive(Debug, Default)]
pub struct Harvest {
    batch: Batch,
    /// Taken out of slots, not yet runnable.
    released: Vec<u32>,
}

impl Harvest {
    /// Whether nobody was taken out of a slot.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.released.is_empty()
    }

    /// How many were.
    #[must_use]
    pub fn len(&self) -> usize {
        self.released.len()
    }

    /// Takes them.
    pub fn drain(&mut self) -> impl Iterator<Item = u32> {
        self.released.drain(..)
    }
}

impl Delay {
    /// The time from `now` to `until`, where `until` may be [`NEVER`](crate::sched::timers::NEVER).
    pub fn until(until: u64, now: u64) -> Delay {
        match until.checked_sub(now) {
            _ if until == crate::sched::timers::NEVER => Delay::Forever,
            None | Some(0) => Delay::None,
            Some(ns) => Delay::Ns(ns),
        }
    }

    fn as_ns(self) -> i64 {
        match self {
            Delay::None => 0,
            Delay::Ns(ns) => i64::try_from(ns).unwrap_or(i64::MAX),
            Delay::Forever => -1,
        }
    }
}

/// What somebody who armed an earlier timer has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Sleeper {
    /// The blocked poller would oversleep: break its poll.
    Break,
    /// The blocked poller comes back in time.
    InTime,
    /// Nobody is in the final poll: an idle worker has to go there.
    Nobody,
}

/// See the module documentation.
#[derive(Debug)]
pub struct Netpoll<P: Platform> {
    backend: Epoll<P>,
    /// The descriptors.
    pub lives: Lives<P>,
    waiters: P::AtomicU32,
    last_poll: P::AtomicU64,
    poll_until: P::AtomicU64,
    quick: P::AtomicU32,
}

impl<P: Platform> Netpoll<P> {
    /// Opens the backend.
    ///
    /// # Errors
    /// What the kernel says; nothing stays open then.
    pub fn new(kernel: &P::Kernel) -> Result<Netpoll<P>, Errno> {
        Ok(Netpoll {
            backend: Epoll::new(kernel)?,
            lives: Lives::new(),
            waiters: P::AtomicU32::new(0),
            last_poll: P::AtomicU64::new(kernel.clock()),
            poll_until: P::AtomicU64::new(0),
            quick: P::AtomicU32::new(0),
        })
    }

    // ---- lives -------------------------------------------------------------------------------------

    /// Begins a life for `fd` and registers it. Returns the descriptor's index.
    ///
    /// # Errors
    /// What the kernel says; nothing of the life is left then (S34).
    pub fn open(&self, kernel: &P::Kernel, fd: RawFd, kind: FileKind) -> Result<u32, Errno> {
        let index = self.lives.open(kernel, fd, kind);
        let pd = self.lives.get(index);
        if let Err(errno) = self.backend.open(kernel, fd, lives::encode(index, pd.life())) {
            pd.abandon(kernel);
            self.lives.free(index);
            return Err(errno);
        }
        Ok(index)
    }

    /// Deregisters an evicted descriptor and ends its life. Comes before `close(2)` (S15): otherwise
    /// the number may be another file's already.
    pub fn close(&self, kernel: &P::Kernel, index: u32) {
        let pd = self.lives.get(index);
        // Fails only when the program closed the number behind our back; then nothing is registered.
        let _gone = self.backend.close(kernel, pd.fd());
        pd.end(kernel);
        self.lives.free(index);
    }

    // ---- polling -----------------------------------------------------------------------------------

    /// Polls once and adds whom to make runnable to the harvest. The caller makes them runnable and then
    /// calls [`sub_waiters`](Netpoll::sub_waiters) with their number.
    pub fn poll(&self, kernel: &P::Kernel, delay: Delay, harvest: &mut Harvest) {
        let Harvest { batch, released } = harvest;
        self.backend.poll(kernel, delay.as_ns(), batch, |data, what| {
            if let Some((pd, life)) = self.lives.of_event(data) {
                released.extend(pd.event(kernel, life, what).iter());
            }
        });
    }

    /// Makes a blocked poll return.
    pub fn wake(&self, kernel: &P::Kernel) {
        self.backend.wake(kernel);
    }

    /// After a successful T3.
    pub fn add_waiter(&self, kernel: &P::Kernel) {
        let before = self.waiters.fetch_add(1, Relaxed);
        kernel.trace(Event::Waiters { count: before.wrapping_add(1).cast_signed() });
    }

    /// After `count` released goroutines have been made runnable (S18).
    pub fn sub_waiters(&self, kernel: &P::Kernel, count: usize) {
        if count > 0 {
            let before = self.waiters.fetch_sub(count as u32, Relaxed);
            let count = before.wrapping_sub(count as u32).cast_signed();
            kernel.trace(Event::Waiters { count });
        }
    }

    /// Whether anybody is parked on a slot.
    pub fn any_waiters(&self) -> bool {
        self.waiters.load(Relaxed) != 0
    }

    /// The count, as a signed number, for S17.
    pub fn waiters(&self) -> i32 {
        self.waiters.load(Relaxed).cast_signed()
    }

    // ---- who polls ---------------------------------------------------------------------------------

    /// Claims the final poll (S20). At most one claim is open. Returns when the kernel was polled last, for a
    /// claim that is given back without a poll.
    pub fn try_begin_final(&self) -> Option<u64> {
        if self.last_poll.load(Relaxed) == 0 {
            return None;
        }
        Some(self.last_poll.swap(0, Relaxed)).filter(|&last| last != 0)
    }

    /// Says when the final poller means to come back: the earliest timer, or `None`.
    pub fn set_poll_until(&self, until: Option<u64>) {
        self.poll_until.store(until.unwrap_or(0), Relaxed);
    }

    /// Gives the final poll back (O6). `last` is when the kernel was polled: now, or before the claim if it was not
    /// polled in the end. To call that a poll would keep sysmon from making up for it (L6).
    pub fn end_final(&self, last: u64) {
        self.poll_until.store(0, Relaxed);
        let claimed = self.last_poll.swap(last, Relaxed);
        assert_eq!(claimed, 0, "S20: the final poll was taken over at {claimed}");
    }

    /// Whether a worker is in the final poll.
    pub fn is_polled(&self) -> bool {
        self.last_poll.load(Relaxed) == 0
    }

    /// Claims the quick poll of the scheduling loop, when it is of use: somebody waits, nobody is
    /// blocked in the kernel and nobody else is at it.
    pub fn try_begin_quick(&self) -> bool {
        self.any_waiters()
            && !self.is_polled()
            && self.quick.load(Relaxed) == 0
            && self.quick.swap(1, Relaxed) == 0
    }

    /// Gives the quick poll back.
    pub fn end_quick(&self) {
        self.quick.store(0, Relaxed);
    }

    /// Claims a poll for sysmon: nobody polled since `oldest`. Losing the race is fine.
    pub fn try_begin_overdue(&self, oldest: u64, now: u64) -> bool {
        let last = self.last_poll.load(Relaxed);
        last != 0
            && last < oldest
            && self.last_poll.compare_exchange(last, now, Relaxed, Relaxed).is_ok()
    }

    /// What has to be done for a timer at `when` that is the earliest of its worker (L8).
    pub fn sleeper_for(&self, when: u64) -> Sleeper {
        // F4, partner of F3 in `look_again` (O5): the timer is visible before the poller's words are read.
        P::fence(SeqCst);
        if !self.is_polled() {
            return Sleeper::Nobody;
        }
        match self.poll_until.load(Relaxed) {
            0 => Sleeper::Break,
            until if until > when => Sleeper::Break,
            _ => Sleeper::InTime,
        }
    }

    /// Closes the backend; see [`Epoll::shutdown`].
    pub fn shutdown(&self, kernel: &P::Kernel) {
        self.backend.shutdown(kernel);
    }
}
