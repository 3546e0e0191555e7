//! A worker that goes to sleep, against work that is submitted meanwhile.
//!
//! The interleavings hunted:
//!
//! * against a goroutine that is submitted: the worker sees the global queue empty; a submitter pushes,
//!   sees no idle worker, leaves; the worker sleeps beside a runnable goroutine, for ever (L10). "Enter the
//!   idle set, F3, look" against "push, F4, look for sleepers" prevents it (O8).
//! * against a timer that is armed earlier than the one the final poller sleeps for: the armer sees
//!   nobody polling, the poller does not see the timer (L8). F5 and F6 prevent it (O5).
//!
//! The worker is the production loop, `Loop::find_runnable`, on the model's main thread.

use std::sync::Arc;

use netpoll::platform::Kernel;
use netpoll::sched::g::G;
use netpoll::sched::shared::{Settings, Shared};
use netpoll::sched::timers::Job;

use crate::check::{Bound, models};
use crate::platform::{Checked, join};

models! {
    /// A goroutine that is submitted never misses a worker that goes to sleep.
    sleep_against_inject { loom: Bound::preemptions(3), shuttle: [Pct, Urw], kernel: Scripted }
    /// A timer that is armed earlier never leaves the final poller asleep beyond it.
    sleep_against_earlier_timer { loom: Bound::preemptions(3), shuttle: [Pct, Urw], kernel: Scripted }
}

/// A runtime without threads: the model's threads play the workers.
pub(super) fn runtime<P: Checked>(workers: usize) -> Arc<Shared<P>> {
    let settings = Settings { workers, workers_max: workers, stack_size: 64 * 1024, pool_max: 1 };
    Shared::new(P::kernel(workers), settings).expect("the simulated kernel refuses no runtime")
}

fn sleep_against_inject<P: Checked>() {
    let shared = runtime::<P>(1);
    let g = shared.allocate_g();
    let submitter = {
        let shared = shared.clone();
        P::thread(move || shared.submit(g))
    };
    assert_eq!(shared.worker_loop(0).find_runnable(), Some(g));
    join([submitter]);
}

fn sleep_against_earlier_timer<P: Checked>() {
    let shared = runtime::<P>(1);
    let g = shared.allocate_g();
    let sleeper: &G<P> = shared.gs.get(g);
    netpoll::platform::Atomic::store(&sleeper.home, 0, std::sync::atomic::Ordering::Relaxed);
    let ticket = sleeper.ticket.open();
    assert!(sleeper.ticket.commit(ticket));
    let now = shared.kernel.clock();
    let other = shared.allocate_g();
    shared.arm_timer(now + 1_000_000_000, Job::Wake { g: other, ticket: 0 });
    let armer = {
        let shared = shared.clone();
        P::thread(move || {
            shared.arm_timer(now, Job::Wake { g, ticket });
        })
    };
    assert_eq!(shared.worker_loop(0).find_runnable(), Some(g));
    join([armer]);
}
