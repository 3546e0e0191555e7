//! A wait that looks at its condition and goes to sleep in two steps.

use std::sync::Arc;

use netpoll::go;
use netpoll::sync::{Condvar, Mutex};

use super::Scenario;
use super::common::join;
use crate::Faults;

pub(super) fn scenario() -> Scenario {
    let scenario = Scenario::new(
        "broken",
        "a program that is wrong itself, to see what a failure looks like; not part of --all",
        body,
    );
    Scenario { faults: Faults::none(), ..scenario.atomic() }
}

/// Attempts in one run.
const ROUNDS: usize = 20;

fn body() {
    for _ in 0..ROUNDS {
        round();
    }
}

/// The mistake: the lock is given back between the look at the flag and the wait. A setter that comes
/// in between notifies nobody, and the waiter sleeps for ever.
fn round() {
    let shared = Arc::new((Mutex::new(false), Condvar::new()));
    let waiter = {
        let shared = Arc::clone(&shared);
        go(move || {
            let (flag, set) = &*shared;
            let is_set = *flag.lock();
            if !is_set {
                drop(set.wait(flag.lock()));
            }
        })
    };
    let setter = go(move || {
        let (flag, set) = &*shared;
        *flag.lock() = true;
        set.notify_one();
    });
    join(waiter);
    join(setter);
}
