//! A run queue between its owner and thieves.
//!
//! The interleavings hunted: a thief reads an entry that the owner takes, gives away or overwrites
//! meanwhile, and the exchange of `head` has to notice; `next` is wanted by both; two thieves want the
//! same half; a thief's loot is stolen from it. Every goroutine is taken exactly once, and whoever takes
//! it sees what was written before it was pushed: here a word that is accessed without any ordering, as
//! the goroutine's record is (Q1–Q3).
//!
//! The ring has two places, so that the third push finds it full and places are used again at once; in
//! one model it has four, so that there is loot to be stolen.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::Ordering::{self, Relaxed};

use netpoll::platform::{Atomic, Primitives};
use netpoll::sched::runq::RunQueue;

use crate::check::{Bound, models};
use crate::platform::{Checked, join};

models! {
    /// Owner and thief never take the same goroutine.
    steal_against_pop { loom: Bound::UNBOUNDED, shuttle: [Pct, Urw] }
    /// A thief reads nothing from a place that is used again.
    steal_against_reuse { loom: Bound::preemptions(3), shuttle: [Pct, Urw] }
    /// A full ring and a thief never give away the same goroutine.
    steal_against_overflow { loom: Bound::preemptions(4), shuttle: [Pct, Urw] }
    /// Owner and thief never both take the newest goroutine.
    steal_against_next { loom: Bound::UNBOUNDED, shuttle: [Pct, Urw] }
    /// Two thieves and the owner share the queue.
    two_thieves_against_pop { loom: Bound::preemptions(3), shuttle: [Pct, Urw] }
    /// What a thief has taken can be stolen from it.
    steal_against_thief { loom: Bound::preemptions(3), shuttle: [Pct, Urw] }
}

/// The same primitives, with a ring of four places.
#[derive(Debug)]
struct Wide<P>(PhantomData<P>);

impl<P: Primitives> Primitives for Wide<P> {
    const RUN_QUEUE: u32 = 4;

    type AtomicU32 = P::AtomicU32;
    type AtomicU64 = P::AtomicU64;
    type AtomicUsize = P::AtomicUsize;
    type Mutex<T: Send + 'static> = P::Mutex<T>;
    type Parker = P::Parker;
    type Thread = P::Thread;

    #[track_caller]
    fn fence(order: Ordering) {
        P::fence(order);
    }

    fn spawn(name: String, body: Box<dyn FnOnce() + Send>) -> std::io::Result<P::Thread> {
        P::spawn(name, body)
    }

    fn spin_hint() {
        P::spin_hint();
    }
}

/// A queue, and of every goroutine what its record holds and how often it was taken.
struct Owner<P: Primitives> {
    queue: RunQueue<P>,
    records: Vec<P::AtomicU32>,
    taken: Vec<P::AtomicU32>,
}

impl<P: Primitives> Owner<P> {
    fn new(goroutines: u32) -> Arc<Owner<P>> {
        let zeros = || (0..goroutines).map(|_| P::AtomicU32::new(0)).collect();
        Arc::new(Owner { queue: RunQueue::new(), records: zeros(), taken: zeros() })
    }

    fn push(&self, g: u32) {
        self.records[g as usize].store(g + 1, Relaxed);
        self.queue.push(g).into_iter().for_each(|g| self.take(g));
    }

    fn push_next(&self, g: u32) {
        self.records[g as usize].store(g + 1, Relaxed);
        self.queue.push_next(g).into_iter().for_each(|g| self.take(g));
    }

    fn take(&self, g: u32) {
        assert_eq!(self.records[g as usize].load(Relaxed), g + 1, "Q1, Q3: the record came along");
        let before = self.taken[g as usize].fetch_add(1, Relaxed);
        assert_eq!(before, 0, "goroutine {g} was taken twice");
    }

    /// A thief robs it and keeps the loot for itself.
    fn rob(&self, also_next: bool) {
        let own = RunQueue::new();
        let stolen = self.queue.steal_into(&own, also_next);
        stolen.into_iter().chain(own.drain()).for_each(|g| self.take(g));
    }

    /// Whatever is left is taken, and then all are.
    fn finish(&self) {
        self.queue.drain().into_iter().for_each(|g| self.take(g));
        assert!(self.queue.is_empty(), "everything was taken out");
        for (g, taken) in self.taken.iter().enumerate() {
            assert_eq!(taken.load(Relaxed), 1, "goroutine {g} was taken");
        }
    }
}

fn steal_against_pop<P: Checked>() {
    let owner = Owner::<P>::new(2);
    let thief = {
        let owner = owner.clone();
        P::thread(move || owner.rob(false))
    };
    owner.push(0);
    owner.push(1);
    owner.queue.pop().into_iter().for_each(|g| owner.take(g));
    join([thief]);
    owner.finish();
}

fn steal_against_reuse<P: Checked>() {
    let owner = Owner::<P>::new(4);
    owner.push(0);
    let thief = {
        let owner = owner.clone();
        P::thread(move || {
            owner.rob(false);
            owner.rob(false);
        })
    };
    owner.push(1);
    owner.queue.pop().into_iter().for_each(|g| owner.take(g));
    owner.push(2);
    owner.push(3);
    join([thief]);
    owner.finish();
}

fn steal_against_overflow<P: Checked>() {
    let owner = Owner::<P>::new(4);
    let thief = {
        let owner = owner.clone();
        P::thread(move || owner.rob(false))
    };
    (0..4).for_each(|g| owner.push(g));
    join([thief]);
    owner.finish();
}

fn steal_against_next<P: Checked>() {
    let owner = Owner::<P>::new(2);
    let thief = {
        let owner = owner.clone();
        P::thread(move || owner.rob(true))
    };
    owner.push_next(0);
    owner.push_next(1);
    owner.queue.pop_next().into_iter().for_each(|g| owner.take(g));
    join([thief]);
    owner.finish();
}

fn two_thieves_against_pop<P: Checked>() {
    let owner = Owner::<P>::new(3);
    owner.push(0);
    owner.push(1);
    let thieves = [(), ()].map(|()| {
        let owner = owner.clone();
        P::thread(move || owner.rob(false))
    });
    owner.queue.pop().into_iter().for_each(|g| owner.take(g));
    owner.push(2);
    join(thieves);
    owner.finish();
}

fn steal_against_thief<P: Checked>() {
    let owner = Owner::<Wide<P>>::new(3);
    let middleman = Arc::new(RunQueue::<Wide<P>>::new());
    let thief = {
        let (owner, middleman) = (owner.clone(), middleman.clone());
        P::thread(move || {
            let stolen = owner.queue.steal_into(&middleman, false);
            stolen.into_iter().for_each(|g| owner.take(g));
            middleman.pop().into_iter().for_each(|g| owner.take(g));
        })
    };
    let second = {
        let (owner, middleman) = (owner.clone(), middleman.clone());
        P::thread(move || {
            let own = RunQueue::new();
            let stolen = middleman.steal_into(&own, false);
            stolen.into_iter().for_each(|g| owner.take(g));
        })
    };
    (0..3).for_each(|g| owner.push(g));
    join([thief, second]);
    middleman.drain().into_iter().for_each(|g| owner.take(g));
    owner.finish();
}
