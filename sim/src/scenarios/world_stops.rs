//! A world that is stopped again and again under load.

use std::sync::Arc;
use std::time::Duration;

use netpoll::time::sleep;
use netpoll::{Runtime, go};

use super::Scenario;
use super::common::{join, load};

/// Stops from a plain thread, and from a goroutine.
const STOPS: usize = 4;
/// The time between two stops of one, in microseconds, in turns.
const PAUSES_US: [u64; 3] = [30, 5, 80];

pub(super) fn scenario() -> Scenario {
    Scenario::owner(
        "world_stops",
        "events, wake-ups and timers come while the world stands still: when it goes on, all are there",
        body,
    )
}

fn body(runtime: Runtime) {
    let runtime = Arc::new(runtime);
    let inside = Arc::clone(&runtime);
    let work = runtime.run(move || {
        let work = go(load);
        let stopper = go(move || {
            for turn in 0..STOPS {
                pause(turn);
                check(&inside);
            }
        });
        (work, stopper)
    });
    let (work, stopper) = work.expect("a new runtime starts goroutines");
    for turn in 0..STOPS {
        let paused = runtime.run(move || pause(turn));
        paused.expect("it has not been shut down");
        check(&runtime);
    }
    let joined = runtime.run(move || {
        join(work);
        join(stopper);
    });
    joined.expect("it has not been shut down");
}

fn pause(turn: usize) {
    sleep(Duration::from_micros(PAUSES_US[turn % PAUSES_US.len()]));
}

/// Stops the world for a look at it.
fn check(runtime: &Runtime) {
    let dump = runtime.dump();
    let waiting = dump.goroutines.iter().filter(|g| is_io(&g.status)).count();
    assert!(dump.consistent, "a worker did not stop:\n{dump}");
    assert_eq!(waiting as i32, dump.waiters, "S17, in a world that stands still:\n{dump}");
}

/// Whether this is how a goroutine waits in a slot.
fn is_io(status: &str) -> bool {
    status.starts_with("read fd") || status.starts_with("write fd")
}
