//! Workers that come and go under load.

use std::time::Duration;

use netpoll::time::sleep;
use netpoll::{Runtime, go};

use super::Scenario;
use super::common::{join, load};

/// How many workers there are, one after the other.
const COUNTS: [usize; 6] = [1, 3, 2, 1, 4, 1];
/// The time between two changes, in microseconds, in turns.
const PAUSES_US: [u64; 3] = [20, 60, 5];

pub(super) fn scenario() -> Scenario {
    Scenario::owner(
        "worker_count",
        "a worker retires with goroutines, timers and a poll of its own: nothing stays behind with it",
        body,
    )
}

fn body(runtime: Runtime) {
    let work = runtime.run(|| go(load)).expect("a new runtime starts goroutines");
    for (turn, count) in COUNTS.into_iter().enumerate() {
        let pause = Duration::from_micros(PAUSES_US[turn % PAUSES_US.len()]);
        runtime.run(move || sleep(pause)).expect("it has not been shut down");
        runtime.set_workers(count).expect("a runtime may have up to four workers");
        assert_eq!(runtime.workers(), count);
    }
    runtime.run(move || join(work)).expect("it has not been shut down");
}
