//! A world that is stopped and started, against workers that work, fall asleep or come back.
//!
//! The interleavings hunted:
//!
//! * a worker finds a goroutine while the world stops: the stop must wait until it stands still, and
//!   between the stop and the start nobody runs anything;
//! * a worker falls asleep while the world stops: it counts as one that stands still, or it does so in
//!   time; a stop that counts it wrongly waits in vain;
//! * the final poller returns with an event while the world is stopped: it keeps its harvest, and the
//!   goroutine runs after the start (L14);
//! * two who stop the world, one after the other: a worker that has stood still for the first one may
//!   stand still for the second at once.
//!
//! Whatever a worker did before the stop is seen by who stopped the world, and the other way round: a
//! word that is accessed without any ordering stands for it.

use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Relaxed};

use netpoll::platform::Atomic;

use super::scheduler::{Reader, Runtime, runtime};
use crate::check::{Bound, models};
use crate::platform::{Checked, join};

models! {
    /// While the world is stopped nothing runs, and then everything does.
    stop_against_work { loom: Bound::preemptions(3), shuttle: [Pct, Urw], kernel: Scripted }
    /// The final poller keeps what it brings back until the world goes on.
    stop_against_final_poll { loom: Bound::preemptions(3), shuttle: [Pct, Urw], kernel: Scripted }
    /// Two stops of the world follow each other.
    two_stops_against_work { loom: Bound::preemptions(3), shuttle: [Pct, Urw], kernel: Scripted }
}

/// A worker whose goroutines are steps of a word.
struct Bench<P: Checked> {
    shared: Runtime<P>,
    /// Odd while a goroutine runs.
    steps: P::AtomicU32,
    /// 1 while the world is stopped.
    stopped: P::AtomicU32,
    done: P::AtomicU32,
}

impl<P: Checked> Bench<P> {
    fn new() -> Arc<Bench<P>> {
        let [steps, stopped, done] = [0; 3].map(P::AtomicU32::new);
        let shared = runtime::<P>(1);
        shared.set_started(1);
        Arc::new(Bench { shared, steps, stopped, done })
    }

    /// Worker 0 runs goroutines until the shutdown. Returns them.
    fn work(&self) -> Vec<u32> {
        let mut worker = self.shared.worker_loop(0);
        let mut ran = Vec::new();
        while let Some(g) = worker.find_runnable() {
            let stopped = self.stopped.load(Relaxed);
            assert_eq!(stopped, 0, "goroutine #{g} runs in a stopped world");
            self.steps.store(self.steps.load(Relaxed) + 1, Relaxed);
            ran.push(g);
            self.steps.store(self.steps.load(Relaxed) + 1, Relaxed);
            self.done();
        }
        ran
    }

    /// The goroutine has run, or the last stop is over. When both are, the runtime is shut down.
    fn done(&self) {
        if self.done.fetch_add(1, AcqRel) == 1 {
            self.shared.shut_down();
        }
    }

    /// Another thread that stops the world so many times.
    fn other(self: &Arc<Self>, stops: u32) -> P::Thread {
        let bench = Arc::clone(self);
        P::thread(move || {
            (0..stops).for_each(|_| bench.stop_and_start());
            bench.done();
        })
    }

    fn stop_and_start(&self) {
        assert!(self.shared.stop_the_world(None), "every worker stands still");
        self.stopped.store(1, Relaxed);
        let before = self.steps.load(Relaxed);
        assert!(before.is_multiple_of(2), "a goroutine runs in a stopped world");
        self.stopped.store(0, Relaxed);
        self.shared.start_the_world();
    }
}

fn stop_against_work<P: Checked>() {
    let bench = Bench::<P>::new();
    let g = bench.shared.allocate_g();
    bench.shared.submit(g);
    let other = bench.other(1);
    assert_eq!(bench.work(), [g], "it runs once");
    join([other]);
}

fn stop_against_final_poll<P: Checked>() {
    let bench = Bench::<P>::new();
    let reader = Reader::at(&bench.shared, 0);
    assert!(reader.park(), "nothing is to be read yet");
    reader.make_ready();
    let other = bench.other(1);
    assert_eq!(bench.work(), [reader.g], "the reader runs once");
    join([other]);
    assert_eq!(bench.shared.netpoll.waiters(), 0, "S17: nobody waits any more");
}

fn two_stops_against_work<P: Checked>() {
    let bench = Bench::<P>::new();
    let g = bench.shared.allocate_g();
    bench.shared.submit(g);
    let other = bench.other(2);
    assert_eq!(bench.work(), [g], "it runs once");
    join([other]);
}
