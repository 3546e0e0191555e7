//! Locks, condition variables and wait groups between plain threads.
//!
//! The interleavings hunted:
//!
//! * an unlock between a locker's decision to park and its sleep; a woken waiter that finds the mutex
//!   taken again while the next unlock believes that somebody is on its way (M2).
//! * the last `done` between a waiter's look at the count and its sleep, and a group that is used again.
//! * a writer and readers that are handed the lock: none is forgotten, none comes too early (R1, R2).
//! * a notification between the unlocking and the sleep of `wait`.
//!
//! What the locks guard is accessed `Relaxed`, as plain data would be. Threads park through
//! `waiter::Parking`, so its tickets are under test as well.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use netpoll::platform::Atomic;
use netpoll::sync::raw::{Access, RawCondvar, RawMutex, RawRwLock, RawWaitGroup};
use netpoll::trace::WaitReason;

use super::waiter_model::LONG_AGO;
use crate::check::{Bound, models};
use crate::platform::{Checked, join};

models! {
    /// A mutex that two want, one of them twice, lets one in at a time and forgets nobody.
    mutex_of_two { loom: Bound::UNBOUNDED, shuttle: [Pct, Dfs] }
    /// The same of three.
    mutex_of_three { loom: Bound::preemptions(4), shuttle: [Pct, Urw] }
    /// A wait ends with the last thing done, and the group can be used again.
    wait_group_against_done { loom: Bound::preemptions(3), shuttle: [Pct, Urw] }
    /// A wait whose deadline passes beside the last done says which it was.
    wait_group_timeout_against_done { loom: Bound::UNBOUNDED, shuttle: [Pct, Dfs] }
    /// A writer and a reader exclude each other and hand the lock over.
    rwlock_writer_against_reader { loom: Bound::UNBOUNDED, shuttle: [Pct, Dfs] }
    /// With a second reader, too.
    rwlock_writer_against_readers { loom: Bound::preemptions(4), shuttle: [Pct, Urw] }
    /// A notification after the mutex was unlocked is not missed.
    condvar_wait_against_notify { loom: Bound::UNBOUNDED, shuttle: [Pct, Urw] }
    /// Two notifications wake two waiters.
    condvar_waits_against_notifies { loom: Bound::preemptions(3), shuttle: [Pct, Urw] }
    /// A notification is never spent on a waiter that says it timed out.
    condvar_timeout_against_notify { loom: Bound::preemptions(3), shuttle: [Pct, Urw] }
}

/// Adds one, in two accesses that a lock must hold together.
fn increment<A: Atomic<u32>>(count: &A) {
    count.store(count.load(Relaxed) + 1, Relaxed);
}

/// A mutex and the count that it guards.
struct Counter<P: Checked> {
    mutex: RawMutex<P>,
    count: P::AtomicU32,
}

impl<P: Checked> Counter<P> {
    fn new() -> Arc<Counter<P>> {
        Arc::new(Counter { mutex: RawMutex::new(), count: P::AtomicU32::new(0) })
    }

    fn add(&self) {
        self.mutex.lock();
        increment(&self.count);
        self.mutex.unlock();
    }

    /// A thread that adds `times` times.
    fn adder(self: &Arc<Self>, times: u32) -> P::Thread {
        let counter = self.clone();
        P::thread(move || (0..times).for_each(|_| counter.add()))
    }
}

fn mutex_of_two<P: Checked>() {
    let counter = Counter::<P>::new();
    let other = counter.adder(2);
    counter.add();
    join([other]);
    assert_eq!(counter.count.load(Relaxed), 3);
    assert!(counter.mutex.try_lock(), "it is free in the end");
}

fn mutex_of_three<P: Checked>() {
    let counter = Counter::<P>::new();
    let others = [counter.adder(1), counter.adder(1)];
    counter.add();
    join(others);
    assert_eq!(counter.count.load(Relaxed), 3);
    assert!(counter.mutex.try_lock(), "it is free in the end");
}

/// A wait group and what is done before each `done`.
struct Works<P: Checked> {
    group: RawWaitGroup<P>,
    done: [P::AtomicU32; 3],
}

impl<P: Checked> Works<P> {
    fn new(count: usize) -> Arc<Works<P>> {
        let done = std::array::from_fn(|_| P::AtomicU32::new(0));
        Arc::new(Works { group: RawWaitGroup::new(count), done })
    }

    /// A thread that does thing `index`.
    fn start(self: &Arc<Self>, index: usize) -> P::Thread {
        let works = self.clone();
        P::thread(move || {
            works.done[index].store(1, Relaxed);
            works.group.done();
        })
    }

    fn is_done(&self, index: usize) -> bool {
        self.done[index].load(Relaxed) == 1
    }
}

fn wait_group_against_done<P: Checked>() {
    let works = Works::<P>::new(2);
    let mut threads = vec![works.start(0), works.start(1)];
    assert!(works.group.wait(WaitReason::WaitGroup, None));
    assert!(works.is_done(0) && works.is_done(1), "a wait ended before the last was done");
    works.group.add(1);
    threads.push(works.start(2));
    assert!(works.group.wait(WaitReason::WaitGroup, None));
    assert!(works.is_done(2), "a wait ended before the last was done");
    join(threads);
}

fn wait_group_timeout_against_done<P: Checked>() {
    let works = Works::<P>::new(1);
    let thread = works.start(0);
    if works.group.wait(WaitReason::WaitGroup, LONG_AGO) {
        assert!(works.is_done(0), "a wait ended before the last was done");
    } else {
        assert!(works.group.wait(WaitReason::WaitGroup, None));
    }
    join([thread]);
}

/// A readers-writer lock and two numbers that it keeps equal.
struct Pair<P: Checked> {
    lock: RawRwLock<P>,
    pair: [P::AtomicU32; 2],
}

impl<P: Checked> Pair<P> {
    fn new() -> Arc<Pair<P>> {
        let pair = std::array::from_fn(|_| P::AtomicU32::new(0));
        Arc::new(Pair { lock: RawRwLock::new(), pair })
    }

    fn write(&self) {
        self.lock.lock(Access::Write);
        self.pair.iter().for_each(increment);
        self.lock.unlock(Access::Write);
    }

    fn read(&self) {
        self.lock.lock(Access::Read);
        let [a, b] = self.pair.each_ref().map(|number| number.load(Relaxed));
        assert_eq!(a, b, "R1: a reader saw half of what a writer did");
        self.lock.unlock(Access::Read);
    }

    fn thread(self: &Arc<Self>, body: fn(&Pair<P>)) -> P::Thread {
        let pair = self.clone();
        P::thread(move || body(&pair))
    }
}

fn rwlock_writer_against_reader<P: Checked>() {
    let pair = Pair::<P>::new();
    let reader = pair.thread(Pair::read);
    pair.write();
    pair.write();
    join([reader]);
}

fn rwlock_writer_against_readers<P: Checked>() {
    let pair = Pair::<P>::new();
    let others = [pair.thread(Pair::read), pair.thread(Pair::read)];
    pair.write();
    join(others);
    assert!(pair.lock.try_lock(Access::Write), "it is free in the end");
}

/// Tokens behind a mutex, and a condition variable for who waits for one.
struct Tokens<P: Checked> {
    mutex: RawMutex<P>,
    condvar: RawCondvar<P>,
    count: P::AtomicU32,
}

impl<P: Checked> Tokens<P> {
    fn new() -> Arc<Tokens<P>> {
        let (mutex, condvar) = (RawMutex::new(), RawCondvar::new());
        Arc::new(Tokens { mutex, condvar, count: P::AtomicU32::new(0) })
    }

    fn put(&self) {
        self.mutex.lock();
        increment(&self.count);
        self.mutex.unlock();
        self.condvar.notify_one();
    }

    /// Takes a token, waiting for it.
    fn take(&self) {
        self.mutex.lock();
        while self.count.load(Relaxed) == 0 {
            self.condvar.wait(None, || self.mutex.unlock());
            self.mutex.lock();
        }
        self.take_locked();
    }

    /// Waits for a token with a deadline that has passed: true when it took one. Somebody else may have
    /// taken the one that a notification was for.
    fn take_or_time_out(&self) -> bool {
        self.mutex.lock();
        if self.count.load(Relaxed) == 0 {
            let notified = self.condvar.wait(LONG_AGO, || self.mutex.unlock());
            self.mutex.lock();
            if !notified || self.count.load(Relaxed) == 0 {
                self.mutex.unlock();
                return false;
            }
        }
        self.take_locked();
        true
    }

    fn take_locked(&self) {
        let count = self.count.load(Relaxed);
        self.count.store(count - 1, Relaxed);
        self.mutex.unlock();
    }
}

fn condvar_wait_against_notify<P: Checked>() {
    let tokens = Tokens::<P>::new();
    let giver = {
        let tokens = tokens.clone();
        P::thread(move || tokens.put())
    };
    tokens.take();
    join([giver]);
}

fn condvar_waits_against_notifies<P: Checked>() {
    let tokens = Tokens::<P>::new();
    let takers = [(); 2].map(|()| {
        let tokens = tokens.clone();
        P::thread(move || tokens.take())
    });
    tokens.put();
    tokens.put();
    join(takers);
}

/// One waiter with a deadline, one without, and one token. If the first takes it, it gives it back, with
/// a notification; if it says that it timed out, the notification has to reach the second.
fn condvar_timeout_against_notify<P: Checked>() {
    let tokens = Tokens::<P>::new();
    let giver = {
        let tokens = tokens.clone();
        P::thread(move || tokens.put())
    };
    let patient = {
        let tokens = tokens.clone();
        P::thread(move || tokens.take())
    };
    if tokens.take_or_time_out() {
        tokens.put();
    }
    join([giver, patient]);
}
