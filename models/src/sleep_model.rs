//! A worker that falls asleep, against somebody who makes one of its goroutines runnable.
//!
//! The interleaving hunted: the worker looks into its inbox, finds nothing; another thread pushes, sees
//! that the worker is awake, leaves; the worker sleeps with a goroutine in its inbox, for ever (L10). The
//! order "say `Asleep`, F3, look" against "push, F4, look who sleeps" prevents it (O8).
//!
//! The types are the production ones: `Inbox`, `StateWord`, `LocalQueue`, the goroutines' records.

use loom::sync::Arc;
use netpoll::platform::Park;
use netpoll::sched::g::G;
use netpoll::sched::idle::{StateWord, WorkerState};
use netpoll::sched::inbox::Inbox;
use netpoll::sched::local::LocalQueue;
use netpoll::table::Table;

use crate::check::check;
use crate::platform::{Loom, LoomParker};

struct World {
    gs: Table<G<Loom>>,
    inbox: Inbox<Loom>,
    state: StateWord<Loom>,
    parker: LoomParker,
}

impl World {
    fn new(goroutines: u32) -> Arc<World> {
        let gs = Table::new();
        for index in 0..goroutines {
            gs.insert(index, G::new(index));
        }
        let (inbox, state) = (Inbox::new(), StateWord::new());
        Arc::new(World { gs, inbox, state, parker: LoomParker::new() })
    }

    /// `Shared::make_runnable` for another worker's goroutine.
    fn push(&self, g: u32) {
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
                Some(g) => taken.push(g),
                None => self.sleep(),
            }
        }
        taken
    }
}

#[test]
fn a_push_never_misses_a_worker_that_falls_asleep() {
    check("inbox push against owner sleep", None, || {
        let world = World::new(1);
        let other = {
            let world = world.clone();
            loom::thread::spawn(move || world.push(0))
        };
        assert_eq!(world.take(1), [0]);
        other.join().unwrap();
    });
}

#[test]
fn of_two_pushers_none_is_lost() {
    check("two inbox pushes against owner sleep", Some(3), || {
        let world = World::new(2);
        let others = [0, 1].map(|g| {
            let world = world.clone();
            loom::thread::spawn(move || world.push(g))
        });
        let mut taken = world.take(2);
        taken.sort_unstable();
        assert_eq!(taken, [0, 1]);
        others.into_iter().for_each(|other| other.join().unwrap());
    });
}
