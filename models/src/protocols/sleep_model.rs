//! A worker that goes to sleep, against work that is published meanwhile.
//!
//! The interleavings hunted are all of one kind: the worker looks at a source of work and finds nothing;
//! somebody publishes work there, sees nobody who sleeps, leaves; the worker sleeps beside the work, for
//! ever (L1, L10). "`Asleep`, enter the idle set, stop spinning, F3, look" against "publish, F4, look for
//! sleepers" prevents it (O8). The sources:
//!
//! * the global queue, which its lock guards as well;
//! * another worker's run queue. The worker spins until it sleeps, and the submitter that sees a spinner
//!   wakes nobody: who stops spinning after the last look instead of before it loses the goroutine (B44);
//!   The same for two submitters: one counts itself as spinning, finds that nobody is left to be woken,
//!   and takes the count back; the other one saw the count and woke nobody;
//! * the inbox, for a goroutine that has been parked;
//! * the poller: an event for a goroutine that is parked in a slot; and a thread that begins to wait for
//!   one while no worker has a reason to poll, or while the one that polled comes back.
//!
//! The worker is the production loop, `Loop::find_runnable`, on the model's main thread. Timers are in
//! `sleep_timer_model.rs`.

use netpoll::platform::Kernel;

use super::scheduler::{Parked, Reader, SOON_NS, runtime};
use crate::check::{Bound, models};
use crate::platform::{Checked, join};

models! {
    /// A goroutine that is submitted never misses a worker that goes to sleep.
    sleep_against_inject { loom: Bound::UNBOUNDED, shuttle: [Pct, Urw], kernel: Scripted }
    /// A goroutine in another worker's queue never misses the spinning worker that gives up.
    sleep_against_run_queue { loom: Bound::preemptions(4), shuttle: [Pct, Urw], kernel: Scripted }
    /// A submitter that relies on another one, which then finds nobody to wake, is not let down.
    sleep_against_two_submitters {
        loom: Bound::preemptions(2), shuttle: [Pct, Urw], kernel: Scripted
    }
    /// A parked goroutine that is made runnable never misses its worker that goes to sleep.
    sleep_against_wake { loom: Bound::UNBOUNDED, shuttle: [Pct, Urw], kernel: Scripted }
    /// An event never misses the worker that goes into the final poll.
    sleep_against_event { loom: Bound::UNBOUNDED, shuttle: [Pct, Urw], kernel: Scripted }
    /// A thread that waits for an event is polled for.
    sleep_against_waiting_thread {
        loom: Bound::preemptions(4), shuttle: [Pct, Urw], kernel: Scripted
    }
    /// A thread that sees the final poll, which ends at that moment, is polled for nevertheless.
    waiting_thread_at_poll_end {
        loom: Bound::preemptions(3), shuttle: [Pct, Urw], kernel: Scripted, timed_waits: 1
    }
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

fn sleep_against_run_queue<P: Checked>() {
    let shared = runtime::<P>(2);
    let g = shared.allocate_g();
    let submitter = {
        let shared = shared.clone();
        P::thread(move || shared.submit_at(Some(&shared.workers[1]), g))
    };
    let mut thief = shared.worker_loop(0);
    assert_eq!(thief.find_runnable(), Some(g));
    join([submitter]);
    thief.found_work();
    assert_eq!(shared.spinning(), 0, "S24: nobody spins");
}

fn sleep_against_two_submitters<P: Checked>() {
    let shared = runtime::<P>(3);
    let gs = [shared.allocate_g(), shared.allocate_g()];
    let submitters = [1, 2].map(|worker| {
        let shared = shared.clone();
        P::thread(move || shared.submit_at(Some(&shared.workers[worker]), gs[worker - 1]))
    });
    let mut thief = shared.worker_loop(0);
    let mut found = gs.map(|_| {
        let g = thief.find_runnable();
        thief.found_work();
        g
    });
    found.sort_unstable();
    assert_eq!(found, gs.map(Some));
    join(submitters);
    assert_eq!(shared.spinning(), 0, "S24: nobody spins");
}

fn sleep_against_wake<P: Checked>() {
    let shared = runtime::<P>(1);
    let parked = Parked::at(&shared, 0);
    let waker = {
        let shared = shared.clone();
        P::thread(move || shared.run_job(None, parked.wake()))
    };
    assert_eq!(shared.worker_loop(0).find_runnable(), Some(parked.g));
    join([waker]);
}

fn sleep_against_event<P: Checked>() {
    let shared = runtime::<P>(1);
    let reader = Reader::at(&shared, 0);
    assert!(reader.park(), "nothing is to be read yet");
    let kernel = {
        let reader = reader.clone();
        P::thread(move || reader.make_ready())
    };
    assert_eq!(shared.worker_loop(0).find_runnable(), Some(reader.g));
    join([kernel]);
    assert_eq!(shared.netpoll.waiters(), 0, "S17: nobody waits any more");
}

/// `File::park_by_proxy`: the goroutine stands for the thread, and is found where it would be run.
fn wait_on_a_thread<P: Checked>(reader: &Reader<P>) {
    if reader.park() {
        reader.shared.ensure_poller();
    } else {
        reader.shared.make_runnable(None, reader.g);
    }
}

fn sleep_against_waiting_thread<P: Checked>() {
    let shared = runtime::<P>(1);
    let reader = Reader::at(&shared, 0);
    let thread = {
        let reader = reader.clone();
        P::thread(move || {
            reader.make_ready();
            wait_on_a_thread(&reader);
        })
    };
    assert_eq!(shared.worker_loop(0).find_runnable(), Some(reader.g));
    join([thread]);
    assert_eq!(shared.netpoll.waiters(), 0, "S17: nobody waits any more");
}

fn waiting_thread_at_poll_end<P: Checked>() {
    let shared = runtime::<P>(1);
    let reader = Reader::at(&shared, 0);
    let nobody = Parked::at(&shared, 0);
    shared.arm_timer(shared.kernel.clock() + SOON_NS, nobody.nothing());
    let thread = {
        let reader = reader.clone();
        P::thread(move || {
            wait_on_a_thread(&reader);
            reader.make_ready();
        })
    };
    assert_eq!(shared.worker_loop(0).find_runnable(), Some(reader.g));
    join([thread]);
}
