//! A runtime that is shut down, against its threads and against who still uses it.
//!
//! The interleavings hunted:
//!
//! * a worker goes to sleep, on its parker or in the final poll, and misses the shutdown, which then
//!   waits for it for ever (B37); the same for sysmon;
//! * a thread hands a goroutine in after the shutdown has dropped those that never ran: nobody runs it
//!   and nobody drops it, and whoever waits for it waits for ever;
//! * a bell is rung while its thread is about to wait, by one or by two, and what was written before the
//!   ring must be seen after it.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use netpoll::ops::{RuntimeOps, Task};
use netpoll::platform::Atomic;
use netpoll::sched::bell::Bell;

use super::scheduler::{Reader, runtime};
use crate::check::{Bound, models};
use crate::platform::{Checked, join};

models! {
    /// A worker that goes to sleep on its parker never misses the shutdown.
    shutdown_against_sleep { loom: Bound::UNBOUNDED, shuttle: [Pct, Urw], kernel: Scripted }
    /// A worker that goes into the final poll never misses the shutdown.
    shutdown_against_final_poll { loom: Bound::UNBOUNDED, shuttle: [Pct, Urw], kernel: Scripted }
    /// Sysmon never misses the shutdown.
    shutdown_against_sysmon { loom: Bound::UNBOUNDED, shuttle: [Pct, Urw], kernel: Scripted }
    /// A goroutine that is handed in meanwhile is refused or dropped.
    shutdown_against_spawn { loom: Bound::UNBOUNDED, shuttle: [Pct, Urw], kernel: Scripted }
    /// A ring is not missed and brings along what happened before it.
    ring_against_wait { loom: Bound::UNBOUNDED, shuttle: [Pct, Dfs] }
    /// A ring at the end of a timed wait brings along what happened before it.
    ring_against_timed_wait { loom: Bound::UNBOUNDED, shuttle: [Pct, Dfs], timed_waits: 1 }
    /// Of two who ring, what both did is seen after both have.
    two_rings_against_wait { loom: Bound::preemptions(3), shuttle: [Pct, Urw] }
}

fn shutdown_against_sleep<P: Checked>() {
    let shared = runtime::<P>(1);
    let other = {
        let shared = shared.clone();
        P::thread(move || shared.shut_down())
    };
    assert_eq!(shared.worker_loop(0).find_runnable(), None);
    join([other]);
}

fn shutdown_against_final_poll<P: Checked>() {
    let shared = runtime::<P>(1);
    let reader = Reader::at(&shared, 0);
    assert!(reader.park(), "nothing is to be read");
    let other = {
        let shared = shared.clone();
        P::thread(move || shared.shut_down())
    };
    assert_eq!(shared.worker_loop(0).find_runnable(), None);
    join([other]);
}

fn shutdown_against_sysmon<P: Checked>() {
    let shared = runtime::<P>(1);
    let sysmon = {
        let shared = shared.clone();
        P::thread(move || shared.run_sysmon())
    };
    shared.shut_down();
    join([sysmon]);
}

/// Says when it is dropped.
struct Tell<P: Checked>(Arc<P::AtomicU32>);

impl<P: Checked> Drop for Tell<P> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Relaxed);
    }
}

fn shutdown_against_spawn<P: Checked>() {
    let shared = runtime::<P>(1);
    let dropped = Arc::new(P::AtomicU32::new(0));
    let tell = Tell::<P>(dropped.clone());
    let other = {
        let shared = shared.clone();
        P::thread(move || {
            let body = Box::new(move || drop(tell));
            let task = Task { name: None, stack_size: None, body };
            let _refused_or_not = RuntimeOps::spawn(&*shared, task);
        })
    };
    shared.shut_down();
    join([other]);
    assert_eq!(dropped.load(Relaxed), 1, "the goroutine that never ran was dropped");
    assert_eq!(shared.live(), 0, "nobody is left");
}

/// A bell, and what two threads do before they ring it.
struct Door<P: Checked> {
    bell: Bell<P>,
    parcels: [P::AtomicU32; 2],
}

impl<P: Checked> Door<P> {
    fn new() -> Arc<Door<P>> {
        let parcels = [P::AtomicU32::new(0), P::AtomicU32::new(0)];
        Arc::new(Door { bell: Bell::new(), parcels })
    }

    fn deliver(&self, parcel: usize) {
        self.parcels[parcel].store(1, Relaxed);
        self.bell.ring();
    }
}

fn ring_against_wait<P: Checked>() {
    let door = Door::<P>::new();
    let postman = {
        let door = door.clone();
        P::thread(move || door.deliver(0))
    };
    door.bell.wait();
    assert_eq!(door.parcels[0].load(Relaxed), 1, "what was done before the ring is seen");
    join([postman]);
}

fn ring_against_timed_wait<P: Checked>() {
    let door = Door::<P>::new();
    let postman = {
        let door = door.clone();
        P::thread(move || door.deliver(0))
    };
    if door.bell.wait_for(1) {
        assert_eq!(door.parcels[0].load(Relaxed), 1, "what was done before the ring is seen");
    }
    join([postman]);
}

fn two_rings_against_wait<P: Checked>() {
    let door = Door::<P>::new();
    let postmen = [0, 1].map(|parcel| {
        let door = door.clone();
        P::thread(move || door.deliver(parcel))
    });
    let mut delivered = 0;
    while delivered < 2 {
        door.bell.wait();
        let before = delivered;
        delivered = door.parcels.iter().filter(|parcel| parcel.load(Relaxed) == 1).count();
        assert!(delivered > before, "a ring that was heard was for something");
    }
    join(postmen);
}
