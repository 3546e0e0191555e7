//! A worker that falls asleep, against somebody who makes one of its goroutines runnable.
//!
//! The interleaving hunted: the worker looks into its inbox, finds nothing; another thread pushes, sees
//! that the worker is awake, leaves; the worker sleeps with a goroutine in its inbox, for ever (L10). The
//! order "say `Asleep`, F3, look" against "push, F4, look who sleeps" prevents it (O8).
//!
//! Goroutines leave the inbox in the order in which they came, and what was written about one before it
//! was pushed is seen when it is taken: its status, here a word that is accessed without any ordering.
//!
//! The types are the production ones: `Inbox`, `StateWord`, `LocalQueue`, the goroutines' records. The
//! whole of falling asleep, with the idle set and the poller, is in `sleep_model.rs`.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use netpoll::platform::{Atomic, Park};
use netpoll::sched::g::G;
use netpoll::sched::idle::{StateWord, WorkerState};
use netpoll::sched::inbox::Inbox;
use netpoll::sched::local::LocalQueue;
use netpoll::table::Table;

use crate::check::{Bound, models};
use crate::platform::{Checked, join};

models! {
    /// A push never misses a worker that falls asleep.
    inbox_push_against_sleep { loom: Bound::UNBOUNDED, shuttle: [Pct, Dfs] }
    /// Of two pushers none is lost.
    two_inbox_pushes_against_sleep { loom: Bound::preemptions(3), shuttle: [Pct, Urw] }
    /// Goroutines are taken in the order in which they came.
    inbox_order_against_drain { loom: Bound::preemptions(3), shuttle: [Pct, Urw] }
}

struct Desk<P: Checked> {
    gs: Table<G<P>>,
    inbox: Inbox<P>,
    state: StateWord<P>,
    parker: P::Parker,
    /// What was written about each goroutine before it was pushed.
    records: Vec<P::AtomicU32>,
}

impl<P: Checked> Desk<P> {
    fn new(goroutines: u32) -> Arc<Desk<P>> {
        let gs = Table::new();
        for index in 0..goroutines {
            gs.insert(index, G::new(index));
        }
        let (inbox, state, parker) = (Inbox::new(), StateWord::new(), P::Parker::new());
        let records = (0..goroutines).map(|_| P::AtomicU32::new(0)).collect();
        Arc::new(Desk { gs, inbox, state, parker, records })
    }

    /// `Shared::make_runnable` for another worker's goroutine.
    fn push(&self, g: u32) {
        self.records[g as usize].store(1, Relaxed);
        self.inbox.push(&self.gs, g);
        if self.state.wake_after_publishing() == WorkerState::Asleep {
            self.parker.unpark();
        }
    }

    /// `Loop::sleep`, as far as it concerns the inbox.
    fn sleep(&self) {
        self.state.fall_asleep();
        self.state.look_again();
        if self.inbox.is_empty() {
            while self.state.load() == WorkerState::Asleep {
                self.parker.park();
            }
        }
        self.state.wake();
    }

    /// Takes `count` goroutines in all, sleeping in between.
    fn take(&self, count: u32) -> Vec<u32> {
        let queue = LocalQueue::new();
        let mut taken = Vec::new();
        while (taken.len() as u32) < count {
            self.inbox.drain_into(&self.gs, &queue);
            match queue.pop(&self.gs) {
                Some(g) => {
                    let record = self.records[g as usize].load(Relaxed);
                    assert_eq!(record, 1, "goroutine {g} came without its record");
                    taken.push(g);
                }
                None => self.sleep(),
            }
        }
        taken
    }
}

fn inbox_push_against_sleep<P: Checked>() {
    let desk = Desk::<P>::new(1);
    let other = {
        let desk = desk.clone();
        P::thread(move || desk.push(0))
    };
    assert_eq!(desk.take(1), [0]);
    join([other]);
}

fn two_inbox_pushes_against_sleep<P: Checked>() {
    let desk = Desk::<P>::new(2);
    let others = [0, 1].map(|g| {
        let desk = desk.clone();
        P::thread(move || desk.push(g))
    });
    let mut taken = desk.take(2);
    taken.sort_unstable();
    assert_eq!(taken, [0, 1]);
    join(others);
}

fn inbox_order_against_drain<P: Checked>() {
    let desk = Desk::<P>::new(2);
    let other = {
        let desk = desk.clone();
        P::thread(move || (0..2).for_each(|g| desk.push(g)))
    };
    assert_eq!(desk.take(2), [0, 1]);
    join([other]);
}
