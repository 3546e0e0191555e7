//! Locks and conditions under goroutines of several workers.

use std::sync::Arc;
use std::time::Duration;

use netpoll::sync::{Condvar, Mutex, RwLock};
use netpoll::{go, yield_now};

use super::Scenario;
use super::common::join;

/// Goroutines that pass a token around.
const RING: usize = 3;
/// Times that the token goes around.
const LAPS: usize = 4;
/// Goroutines that write a pair of numbers, and that read it.
const WRITERS: usize = 2;
const READERS: usize = 2;
/// Turns of each.
const TURNS: usize = 5;

pub(super) fn scenario() -> Scenario {
    Scenario::new(
        "lock_handoff",
        "a lock is given back and a condition told as somebody goes to sleep for it: that one wakes up",
        body,
    )
    .atomic()
}

fn body() {
    let ring = go(pass_the_token);
    let readers = go(read_while_others_write);
    join(ring);
    join(readers);
}

/// Everybody waits for its turn, under one condition; every second wait also ends by time.
fn pass_the_token() {
    let shared = Arc::new((Mutex::new(0_usize), Condvar::new()));
    let ring: Vec<_> = (0..RING)
        .map(|number| {
            let shared = Arc::clone(&shared);
            go(move || {
                let (token, passed) = &*shared;
                for lap in 0..LAPS {
                    let mut held = token.lock();
                    while *held % RING != number {
                        held = if lap.is_multiple_of(2) {
                            passed.wait(held)
                        } else {
                            passed.wait_timeout(held, Duration::from_micros(30)).0
                        };
                    }
                    *held += 1;
                    drop(held);
                    passed.notify_all();
                }
            })
        })
        .collect();
    ring.into_iter().for_each(join);
    assert_eq!(*shared.0.lock(), RING * LAPS);
}

/// The two numbers are equal whenever nobody writes.
fn read_while_others_write() {
    let pair = Arc::new(RwLock::new((0, 0)));
    let writers = (0..WRITERS).map(|_| {
        let pair = Arc::clone(&pair);
        go(move || {
            for _ in 0..TURNS {
                let mut pair = pair.write();
                pair.0 += 1;
                // Others run in the middle of it.
                yield_now();
                pair.1 += 1;
            }
        })
    });
    let readers = (0..READERS).map(|_| {
        let pair = Arc::clone(&pair);
        go(move || {
            for _ in 0..TURNS {
                let pair = pair.read();
                assert_eq!(pair.0, pair.1, "read in the middle of a write");
                yield_now();
                assert_eq!(pair.0, pair.1, "written in the middle of a read");
            }
        })
    });
    let all: Vec<_> = writers.chain(readers).collect();
    all.into_iter().for_each(join);
    assert_eq!(*pair.read(), (WRITERS * TURNS, WRITERS * TURNS));
}
