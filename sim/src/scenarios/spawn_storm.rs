//! Bursts of goroutines, from one worker and in trees.

use netpoll::{go, yield_now};

use super::Scenario;
use super::common::join;

/// Goroutines of a burst: more than a run queue has places for.
const BURST: usize = 280;
/// Goroutines that each one of a tree starts, and how deep that goes.
const BRANCHES: u64 = 3;
const DEPTH: u64 = 3;

pub(super) fn scenario() -> Scenario {
    Scenario::new(
        "spawn_storm",
        "goroutines are started, stolen and pushed out of a full queue at once: each runs, and runs once",
        body,
    )
}

fn body() {
    let tree = go(|| grow(DEPTH));
    let burst: Vec<_> = (0..BURST)
        .map(|number| {
            go(move || {
                if number.is_multiple_of(16) {
                    yield_now();
                }
                number
            })
        })
        .collect();
    let ran: Vec<usize> = burst.into_iter().map(join).collect();
    assert!(ran.into_iter().eq(0..BURST), "each returns its own number");
    let nodes = (0..=DEPTH).map(|depth| BRANCHES.pow(depth as u32)).sum::<u64>();
    assert_eq!(join(tree), nodes);
}

/// Returns how many goroutines the tree below and including this one has.
fn grow(depth: u64) -> u64 {
    if depth == 0 {
        return 1;
    }
    let branches: Vec<_> = (0..BRANCHES).map(|_| go(move || grow(depth - 1))).collect();
    1 + branches.into_iter().map(join).sum::<u64>()
}
