//! Timers, each earlier than all before, while every worker sleeps.

use std::time::Duration;

use netpoll::go;
use netpoll::sync::{RecvTimeoutError, channel};
use netpoll::time::{Instant, sleep};

use super::Scenario;
use super::common::join;

/// A wait that is longer than all others: what the poller sleeps by when nobody breaks its sleep.
const LONG: Duration = Duration::from_secs(3_600);
/// The sleeps that are begun one after the other, in microseconds: each ends before those before it.
const SHORTER_US: [u64; 6] = [900, 700, 500, 300, 200, 100];
/// Goroutines that do so at a time.
const CREW: usize = 3;

pub(super) fn scenario() -> Scenario {
    Scenario::new(
        "break_storm",
        "an earlier timer is armed as the poller goes to sleep by a later one: its sleep is broken, each time",
        body,
    )
    .atomic()
}

fn body() {
    let (over, wait) = channel::<()>(0);
    let long = go(move || wait.recv_timeout(LONG).expect_err("nobody sends"));
    let crew: Vec<_> = (0..CREW).map(|_| go(sleep_shorter_and_shorter)).collect();
    crew.into_iter().for_each(join);
    drop(over);
    assert_eq!(join(long), RecvTimeoutError::Disconnected, "not even an hour has passed");
}

/// Starts a sleeper every few microseconds; they end in the opposite order, one break after the other.
fn sleep_shorter_and_shorter() {
    let sleepers: Vec<_> = SHORTER_US
        .into_iter()
        .map(|us| {
            sleep(Duration::from_micros(10));
            go(move || {
                let time = Duration::from_micros(us);
                let start = Instant::now();
                sleep(time);
                let slept = start.elapsed();
                assert!(slept >= time, "slept {slept:?} instead of {time:?}");
            })
        })
        .collect();
    sleepers.into_iter().for_each(join);
}
