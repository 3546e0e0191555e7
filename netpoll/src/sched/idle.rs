//! The idle set, the state word of a worker, and the rule that no wake-up is lost between them.
//!
//! # The state word
//!
//! | state | who may leave it, to where |
//! |---|---|
//! | `Awake`   | the worker itself, to `Asleep`, when it is about to sleep |
//! | `Asleep`  | the worker, to `Polling` or `Awake`; a waker, to `Awake`, who then unparks it |
//! | `Polling` | the worker, to `Awake`; a waker, to `Awake`, who then breaks the poll |
//!
//! # The rule
//!
//! ```text
//! submitter:  publish work (inbox, run queue, global queue, timer, stop, shutdown) · F4 · look for sleepers
//! sleeper:    Asleep · enter the idle set · stop spinning · F3 · look at every source of work · sleep
//! ```
//!
//! F3 and F4 are `fence(SeqCst)`: at least one of the two sees the other (O8), so work and a sleeper
//! never miss each other (L8, L10, L11). Spinning only saves wake-ups: a submitter that sees a spinning
//! worker wakes nobody, and a spinner that gives up stops spinning *before* it looks at the sources.
//!
//! Every worker looks at every source before it sleeps, not only those that were spinning. Go spares
//! the others that look because its Ms without a P would fight over Ps (golang/go#43997); a worker here
//! is its own P, and the look is a few loads a worker.
//!
//! The idle set itself is guarded by the scheduler's lock. A submitter chooses a worker from it and
//! *grants* it the spinning that it has counted already; the worker takes the grant when it leaves the
//! set. A worker says `Asleep` before it enters, so whoever is chosen is woken or on its way. There may
//! be nobody to choose, and meanwhile another submitter may have seen the count and relied on it. But
//! then every active worker is awake, and enters the set after the count went down, under the same lock:
//! its F3 is after that submitter's F4, and it sees his work too. So Go's `needspinning` is not needed.
//!
//! While the world is stopped nobody leaves the set (`world.rs`).
//!
//! # Ordering
//!
//! O8: F3 and F4 are all the order there is. The state words, `idle_count`, `spinning` and, in the last
//! look, the sources of work are accessed relaxed. If F4 is before F3, the look sees what was published
//! before F4; if F3 is before F4, the submitter sees what was written before F3. What is seen to be
//! there is then taken from its place, with the acquire or the lock of that place.
//!
//! A worker that was woken need not see the work at once: it sees it in its next last look at the
//! latest. The waker's F4 is before its exchange to `Awake`, the worker's exchange to `Asleep` follows
//! that one, and F3 follows this one: so F4 is before F3.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use super::shared::Shared;
use super::worker::Worker;
use crate::platform::{Atomic, Kernel, Lock, Park, Platform};
use crate::trace::Event;

/// The state word of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum WorkerState {
    /// Runs goroutines or looks for work.
    Awake = 0,
    /// Sleeps, or is about to, on its parker.
    Asleep = 1,
    /// Sleeps, or is about to, in the kernel's poll.
    Polling = 2,
}

impl WorkerState {
    /// The state of a word.
    ///
    /// # Panics
    /// When it is the word of no state.
    #[must_use]
    pub fn decode(word: u32) -> WorkerState {
        match word {
            0 => WorkerState::Awake,
            1 => WorkerState::Asleep,
            2 => WorkerState::Polling,
            other => unreachable!("worker state {other}"),
        }
    }
}

/// See the module documentation.
#[derive(Debug)]
pub struct StateWord<P: Platform> {
    word: P::AtomicU32,
}

impl<P: Platform> StateWord<P> {
    /// Awake.
    pub fn new() -> StateWord<P> {
        StateWord { word: P::AtomicU32::new(WorkerState::Awake as u32) }
    }

    /// The state at this moment.
    pub fn load(&self) -> WorkerState {
        WorkerState::decode(self.word.load(Relaxed))
    }

    /// The worker is about to sleep. F3 follows.
    ///
    /// An exchange, as every transition of this word: it follows that of a late waker of the sleep
    /// before, whose F4 is therefore before this F3 (O8).
    pub fn fall_asleep(&self) {
        self.word.swap(WorkerState::Asleep as u32, Relaxed);
    }

    /// F3, partner of F4 in [`wake_after_publishing`](StateWord::wake_after_publishing): between falling
    /// asleep and looking at the sources of work.
    pub fn look_again(&self) {
        P::fence(SeqCst);
    }

    /// Somebody who has published work for the worker wakes it. Returns the state that this ended.
    pub fn wake_after_publishing(&self) -> WorkerState {
        // F4, partner of F3 in `look_again`.
        P::fence(SeqCst);
        self.wake()
    }

    /// The worker is about to block in the kernel instead. False when somebody woke it meanwhile.
    pub fn go_polling(&self) -> bool {
        let (from, to) = (WorkerState::Asleep as u32, WorkerState::Polling as u32);
        self.word.compare_exchange(from, to, Relaxed, Relaxed).is_ok()
    }

    /// Somebody, or the worker itself, wakes it. Returns the state that this ended.
    pub fn wake(&self) -> WorkerState {
        // The load spares the exchange on the usual path, where the worker is awake.
        if self.word.load(Relaxed) == WorkerState::Awake as u32 {
            return WorkerState::Awake;
        }
        WorkerState::decode(self.word.swap(WorkerState::Awake as u32, Relaxed))
    }
}

impl<P: Platform> Default for StateWord<P> {
    fn default() -> StateWord<P> {
        StateWord::new()
    }
}

/// What the scheduler's lock guards.
#[derive(Debug, Default)]
pub struct Sched {
    /// The global queue: unstarted goroutines that no worker has.
    pub global: VecDeque<u32>,
    /// Per worker: whether it is in the idle set.
    pub idle: Vec<bool>,
    /// Workers in the idle set.
    pub idle_count: usize,
    /// Per worker: whether a submitter chose it to spin; it has been counted as spinning.
    pub granted: Vec<bool>,
    /// Workers below this number take new goroutines; the others only finish what they have.
    pub active: usize,
    /// Workers whose thread has been started.
    pub started: usize,
    /// Whether sysmon sleeps until a worker wakes it.
    pub sysmon_asleep: bool,
    /// The world is stopped, or about to be.
    pub stopped: bool,
    /// While the world stops: workers that have yet to stand still.
    pub running: usize,
    /// Per worker: whether it stands still in the scheduling loop for the stopped world.
    pub standing: Vec<bool>,
}

impl<P: Platform> Shared<P> {
    /// Puts a worker into the idle set.
    pub(super) fn enter_idle(&self, sched: &mut Sched, worker: u32) {
        let index = worker as usize;
        assert!(!sched.idle[index], "worker {worker} is in the idle set already");
        sched.idle[index] = true;
        sched.idle_count += 1;
        self.idle_count.store(sched.idle_count as u32, Relaxed);
    }

    /// Takes a worker out of the idle set. True when it has been granted to spin.
    pub(super) fn leave_idle(&self, sched: &mut Sched, worker: u32) -> bool {
        let index = worker as usize;
        assert!(sched.idle[index], "worker {worker} leaves the idle set and is not in it");
        sched.idle[index] = false;
        sched.idle_count -= 1;
        self.idle_count.store(sched.idle_count as u32, Relaxed);
        std::mem::take(&mut sched.granted[index])
    }

    /// Wakes this worker if it sleeps. Work for it has been published (O8).
    pub(super) fn notify(&self, worker: &Worker<P>) {
        self.end_sleep(worker, worker.state.wake_after_publishing());
    }

    /// As [`notify`](Shared::notify), by a caller who has passed F4.
    fn rouse(&self, worker: &Worker<P>) {
        self.end_sleep(worker, worker.state.wake());
    }

    /// The worker's state was set to awake: ends the sleep that it was in.
    fn end_sleep(&self, worker: &Worker<P>, was: WorkerState) {
        if was != WorkerState::Awake {
            self.kernel.trace(Event::Wake { worker: worker.index });
        }
        match was {
            WorkerState::Awake => {}
            WorkerState::Asleep => worker.parker.unpark(),
            WorkerState::Polling => self.netpoll.wake(&self.kernel),
        }
    }

    /// The submission rule: work that any worker may take has been published; make sure that somebody
    /// looks for it.
    pub fn wake_one(&self) {
        // F4, partner of F3 in `look_again`.
        P::fence(SeqCst);
        if self.idle_count.load(Relaxed) == 0 || self.spinning.load(Relaxed) != 0 {
            return;
        }
        if self.spinning.compare_exchange(0, 1, Relaxed, Relaxed).is_err() {
            return;
        }
        let chosen = {
            let mut sched = self.sched.lock();
            let active = sched.active;
            // A worker that is parked before one that polls: the poller has its use where it is.
            let candidates = (0..active).filter(|&i| sched.idle[i]);
            let chosen =
                candidates.min_by_key(|&i| self.workers[i].state.load() == WorkerState::Polling);
            match chosen {
                Some(index) => {
                    // Who has been granted to spin is counted, and the count was 0.
                    assert!(!sched.granted[index], "worker {index} is granted to spin twice");
                    sched.granted[index] = true;
                }
                None => self.stop_spinning(),
            }
            chosen
        };
        if let Some(index) = chosen {
            self.rouse(&self.workers[index]);
        }
    }

    /// Somebody who is not a worker waits on a slot: make sure that somebody polls.
    pub fn ensure_poller(&self) {
        // F4, partner of F3 in `look_again`: the waiter has been counted.
        P::fence(SeqCst);
        if self.netpoll.is_polled() {
            return;
        }
        let sleeper = {
            let sched = self.sched.lock();
            sched.idle.iter().position(|&idle| idle)
        };
        if let Some(index) = sleeper {
            self.rouse(&self.workers[index]);
        }
    }

    /// Workers that look for work at others', and submitters that choose one: for checkers.
    pub fn spinning(&self) -> u32 {
        self.spinning.load(Relaxed)
    }

    /// A worker has begun to look for work at others'.
    pub(super) fn start_spinning(&self) {
        self.spinning.fetch_add(1, Relaxed);
    }

    /// A worker stops looking (S24: the count is never negative).
    pub(super) fn stop_spinning(&self) {
        let before = self.spinning.fetch_sub(1, Relaxed);
        assert_ne!(before, 0, "S24: the count of spinning workers would be negative");
    }
}
