//! One worker's timers, used by many.
//!
//! The interleavings hunted: a timer is removed while it fires, and exactly one of the two has it; two
//! threads take what is due, a worker and a thief or sysmon, and a job runs once; the copy of the
//! earliest time is written by several, and must be that of the heap when all are done.

use std::sync::Arc;

use netpoll::sched::timers::{Job, NEVER, Timers};

use crate::check::{Bound, models};
use crate::platform::{Checked, join};

models! {
    /// A timer is removed or fires, never both.
    disarm_against_due { loom: Bound::UNBOUNDED, shuttle: [Pct, Dfs] }
    /// A timer that two look for fires once.
    two_take_due { loom: Bound::UNBOUNDED, shuttle: [Pct, Dfs] }
    /// The copy of the earliest time is right when everybody has gone.
    arm_against_disarm_and_due { loom: Bound::UNBOUNDED, shuttle: [Pct, Urw] }
}

const NOW: u64 = 100;

fn wake(g: u32) -> Job {
    Job::Wake { g, ticket: 0 }
}

fn due<P: Checked>(timers: &Timers<P>) -> Vec<Job> {
    let mut due = Vec::new();
    timers.take_due(0, NOW, &mut due, |_| {});
    due
}

fn disarm_against_due<P: Checked>() {
    let timers = Arc::new(Timers::<P>::new());
    let (id, earliest) = timers.add(0, NOW, wake(1), |_| {});
    assert!(earliest, "it is the only one");
    let disarmer = {
        let timers = timers.clone();
        P::thread(move || {
            let removed = timers.remove(id, |_| {});
            assert_eq!(timers.is_empty(), timers.earliest() == NEVER, "the heap is as it says");
            // A place is used again: an old name must not remove the new timer.
            let _next = timers.add(0, NOW + 1, wake(if removed { 2 } else { 3 }), |_| {});
            assert!(!timers.remove(id, |_| {}), "a timer is removed once");
        })
    };
    let fired = due(&timers);
    join([disarmer]);
    let mut rest = Vec::new();
    timers.take_due(0, NOW + 1, &mut rest, |_| {});
    match fired[..] {
        [] => assert_eq!(rest, [wake(2)], "who removed it was told so"),
        [job] => assert_eq!((job, &rest[..]), (wake(1), &[wake(3)][..]), "it fired, not removed"),
        _ => panic!("{fired:?} fired"),
    }
}

fn two_take_due<P: Checked>() {
    let timers = Arc::new(Timers::<P>::new());
    for g in 1..=2 {
        let _never_removed = timers.add(0, NOW, wake(g), |_| {});
    }
    let taken = Arc::new(std::sync::Mutex::new(Vec::new()));
    let other = {
        let (timers, taken) = (timers.clone(), taken.clone());
        P::thread(move || {
            let due = due(&timers);
            taken.lock().unwrap().extend(due);
        })
    };
    let own = due(&timers);
    join([other]);
    let mut taken = taken.lock().unwrap().clone();
    taken.extend(own);
    assert_eq!(taken, [wake(1), wake(2)], "each fires once, in order");
}

fn arm_against_disarm_and_due<P: Checked>() {
    let timers = Arc::new(Timers::<P>::new());
    let (id, _) = timers.add(0, NOW, wake(1), |_| {});
    let armer = {
        let timers = timers.clone();
        P::thread(move || {
            let _never_removed = timers.add(0, NOW + 1, wake(2), |_| {});
        })
    };
    let disarmer = {
        let timers = timers.clone();
        P::thread(move || {
            timers.remove(id, |_| {});
        })
    };
    assert!(due(&timers).len() <= 1, "one is due");
    join([armer, disarmer]);
    assert_eq!(timers.earliest(), NOW + 1, "the later one is left, and says so");
    assert_eq!(timers.len(), 1, "nothing else is left");
}
