//! A worker that goes to sleep, against timers.
//!
//! The interleavings hunted:
//!
//! * a timer is armed while the only worker looks for the last time: the armer sees nobody who sleeps,
//!   the worker does not see the timer (L8). The same for a worker that gives up spinning.
//! * a timer that the poller has in view is removed and a later one armed. The armer reads that the
//!   poller comes back for the first one, in time for its own; the poller has looked again, seen that
//!   there is none, and sleeps for ever. So what a poller says is what it sleeps by (O5).
//! * a timer that the poller comes back in time for: it does, looks again and must see the timer,
//!   although its armer woke nobody. That is F4 in `Netpoll::sleeper_for`.
//! * a timer that a submitter left to a spinner, while another worker is in the final poll and has not
//!   seen it: the spinner, going to sleep, breaks that poll.

use netpoll::platform::Kernel;
use netpoll::poll::DeadlineTimers;

use super::scheduler::{Parked, SOON_NS, runtime};
use crate::check::{Bound, models};
use crate::platform::{Checked, join};

models! {
    /// A timer that is armed earlier never leaves the final poller asleep beyond it.
    sleep_against_earlier_timer { loom: Bound::preemptions(4), shuttle: [Pct, Urw], kernel: Scripted }
    /// The first timer never misses the spinning worker that gives up.
    sleep_against_first_timer { loom: Bound::preemptions(4), shuttle: [Pct, Urw], kernel: Scripted }
    /// A timer that the poller counts on is removed: the later one that takes its place is not lost.
    sleep_against_replaced_timer {
        loom: Bound::preemptions(3), shuttle: [Pct, Urw], kernel: Scripted, timed_waits: 2
    }
    /// A timer that the poller comes back in time for is seen when it has.
    sleep_against_timer_in_time {
        loom: Bound::preemptions(3), shuttle: [Pct, Urw], kernel: Scripted, timed_waits: 2
    }
}

fn sleep_against_earlier_timer<P: Checked>() {
    let shared = runtime::<P>(1);
    let parked = Parked::at(&shared, 0);
    let now = shared.kernel.clock();
    shared.arm_timer(now + SOON_NS, parked.nothing());
    let armer = {
        let shared = shared.clone();
        P::thread(move || {
            shared.arm_timer(now, parked.wake());
        })
    };
    assert_eq!(shared.worker_loop(0).find_runnable(), Some(parked.g));
    join([armer]);
}

fn sleep_against_first_timer<P: Checked>() {
    let shared = runtime::<P>(2);
    let parked = Parked::at(&shared, 0);
    let now = shared.kernel.clock();
    let armer = {
        let shared = shared.clone();
        P::thread(move || {
            shared.arm_timer(now, parked.wake());
        })
    };
    assert_eq!(shared.worker_loop(0).find_runnable(), Some(parked.g));
    join([armer]);
}

fn sleep_against_replaced_timer<P: Checked>() {
    let shared = runtime::<P>(1);
    let parked = Parked::at(&shared, 0);
    let now = shared.kernel.clock();
    let first = shared.arm_timer(now + SOON_NS, parked.nothing());
    let other = {
        let shared = shared.clone();
        P::thread(move || {
            shared.disarm(first);
            shared.arm_timer(now + 2 * SOON_NS, parked.wake());
        })
    };
    assert_eq!(shared.worker_loop(0).find_runnable(), Some(parked.g));
    join([other]);
}

fn sleep_against_timer_in_time<P: Checked>() {
    let shared = runtime::<P>(2);
    let parked = Parked::at(&shared, 0);
    let now = shared.kernel.clock();
    // At the other worker's, so that the two timers have no lock in common.
    let _ = shared.workers[1].timers.add(1, now + SOON_NS, parked.nothing(), |_| {});
    let armer = {
        let shared = shared.clone();
        P::thread(move || {
            shared.arm_timer(now + 2 * SOON_NS, parked.wake());
        })
    };
    assert_eq!(shared.worker_loop(0).find_runnable(), Some(parked.g));
    join([armer]);
}
