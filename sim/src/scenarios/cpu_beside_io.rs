//! A goroutine that computes without ever waiting, beside others that only wait.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use netpoll::net::TcpStream;
use netpoll::time::{Instant, sleep};
use netpoll::{JoinHandle, Runtime, go, yield_now};

use super::Scenario;
use super::common::{check_pattern, join, pair, pattern};

/// How long the computation goes on once the others have started.
const BUSY: Duration = Duration::from_micros(500);
/// Round trips meanwhile.
const TRIPS: usize = 5;

pub(super) fn scenario() -> Scenario {
    Scenario::owner(
        "cpu_beside_io",
        "one worker computes without end: the other takes over what waits in its queue, timers and network",
        body,
    )
}

fn body(runtime: Runtime) {
    // Nobody can take over from a worker that is alone, and there is no preemption.
    let alone = runtime.workers() < 2;
    let run = runtime.run(move || {
        let started = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&started);
        let io = go(move || {
            flag.store(true, Relaxed);
            talk();
        });
        // It has not started when the computation begins, so another worker has to come for it.
        while !started.load(Relaxed) {
            compute(&io, Duration::from_micros(1));
            if alone {
                yield_now();
            }
        }
        // And that one gets no help for what comes then.
        compute(&io, BUSY);
        join(io);
    });
    run.expect("a new runtime starts goroutines");
}

/// Computes for this long, with a look at the clock now and then, unless `io` ends before.
fn compute(io: &JoinHandle<()>, time: Duration) {
    let until = Instant::now() + time;
    while !io.is_finished() && Instant::now() < until {}
}

fn talk() {
    let (mut stream, peer) = pair();
    let echo = go(move || echo(peer));
    for trip in 0..TRIPS {
        stream.write_all(&pattern(15, trip, 20)).expect("the other end is there");
        let mut heard = [0; 20];
        stream.read_exact(&mut heard).expect("the other end is there");
        check_pattern(15, trip, &heard);
        sleep(Duration::from_micros(30));
    }
    drop(stream);
    join(echo);
}

fn echo(mut peer: TcpStream) {
    let mut buf = [0; 64];
    loop {
        match peer.read(&mut buf).expect("the other end is there") {
            0 => return,
            len => peer.write_all(&buf[..len]).expect("the other end is there"),
        }
    }
}
