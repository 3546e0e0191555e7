//! The ring into which a thread records its trace.
//!
//! The interleaving hunted: a reader copies a record while the owner, who has come round, writes a later one
//! over it: the reader gets one of the two whole, or neither, and never words of both.

use std::sync::Arc;

use netpoll::trace::ring::Ring;
use netpoll::trace::words::Packed;

use crate::check::{Bound, models};
use crate::platform::{Checked, join};

models! {
    /// A ring with one place, which every record takes.
    push_against_snapshot { loom: Bound::UNBOUNDED, shuttle: [Pct, Dfs] }
    /// A ring with two, and a reader that comes twice.
    push_against_two_snapshots { loom: Bound::preemptions(3), shuttle: [Pct, Urw] }
}

fn event(number: u64) -> Packed {
    Packed { tag: 1, len: 1, words: [number, 0, 0, 0, 0] }
}

fn push<P: Checked>(ring: &Ring<P>, numbers: std::ops::Range<u64>) {
    for number in numbers {
        ring.push(number, event(number));
    }
}

/// Every record is the one with its number, and whole. Returns the number of the next one.
fn check<P: Checked>(ring: &Ring<P>) -> u64 {
    let snapshot = ring.snapshot();
    let mut next = snapshot.lost;
    for record in &snapshot.records {
        assert_eq!((record.t_ns, record.event), (next, event(next)), "a record is torn");
        next += 1;
    }
    next
}

fn push_against_snapshot<P: Checked>() {
    let ring = Arc::new(Ring::<P>::new(1));
    let owner = {
        let ring = ring.clone();
        P::thread(move || push(&ring, 0..2))
    };
    check(&ring);
    join([owner]);
    assert_eq!(check(&ring), 2, "all records are there at rest");
}

fn push_against_two_snapshots<P: Checked>() {
    let ring = Arc::new(Ring::<P>::new(2));
    let owner = {
        let ring = ring.clone();
        P::thread(move || push(&ring, 0..3))
    };
    let first = check(&ring);
    let second = check(&ring);
    assert!(first <= second, "records do not disappear from the end: {first}, then {second}");
    join([owner]);
    assert_eq!(check(&ring), 3, "all records are there at rest");
}
