//! Every worker computes, for longer than sysmon's patience, while others wait for the network and for timers.

use std::io::{Read, Write};
use std::time::Duration;

use netpoll::Runtime;
use netpoll::go;
use netpoll::time::sleep;

use super::Scenario;
use super::common::{join, pair};
use crate::compute;

/// How long each computes: sysmon looks after what has been left alone for 10 ms, up to 10 ms later.
const STEPS: usize = 40;
const STEP: Duration = Duration::from_micros(700);
/// Enough for others to have begun to wait.
const A_MOMENT: Duration = Duration::from_micros(30);

pub(super) fn scenario() -> Scenario {
    Scenario::owner(
        "all_busy",
        "all workers compute without end: sysmon polls for them and runs their timers",
        body,
    )
}

fn body(runtime: Runtime) {
    let workers = runtime.workers();
    let run = runtime.run(move || {
        let (mut stream, mut peer) = pair();
        let reader = go(move || {
            let mut heard = [0];
            peer.read_exact(&mut heard).expect("the other end writes");
            heard[0]
        });
        let sleeper = go(|| sleep(A_MOMENT * 10));
        sleep(A_MOMENT);
        let crew: Vec<_> =
            (0..workers).map(|_| go(|| (0..STEPS).for_each(|_| compute(STEP)))).collect();
        stream.write_all(&[7]).expect("there is room");
        crew.into_iter().for_each(join);
        join(sleeper);
        assert_eq!(join(reader), 7);
    });
    run.expect("a new runtime starts goroutines");
}
