//! The ping-pong on the simulated kernel, with the production scheduler and poller.

use std::io::{Read, Write};

use netpoll::net::{TcpListener, TcpStream};
use netpoll::{Builder, go};
use netpoll_sim::{Faults, Sim, SimConfig, Virtual, run};
use netpoll_traces::Keep;

use crate::{LEN, SHORT_RUNS};

/// Messages of one turn.
const MESSAGES: usize = 100_000;

fn program(clients: usize, round_trips: usize) {
    let listener = TcpListener::bind("127.0.0.1:7000").expect("the port is free");
    let server = go(move || {
        let serve = |mut stream: TcpStream| {
            let mut buf = [0; LEN];
            while stream.read_exact(&mut buf).is_ok() {
                stream.write_all(&buf).expect("the client reads");
            }
        };
        let accept = || listener.accept().expect("somebody connects").0;
        let servers: Vec<_> =
            (0..clients).map(|_| accept()).map(|it| go(move || serve(it))).collect();
        servers.into_iter().for_each(|it| it.join().expect("it does not panic"));
    });
    let talk = move || {
        let mut stream = TcpStream::connect("127.0.0.1:7000").expect("it listens");
        let mut buf = [7; LEN];
        for _ in 0..round_trips {
            stream.write_all(&buf).expect("the server reads");
            stream.read_exact(&mut buf).expect("the server answers");
        }
    };
    let all: Vec<_> = (0..clients).map(|_| go(talk)).collect();
    all.into_iter().for_each(|it| it.join().expect("it does not panic"));
    server.join().expect("it does not panic");
}

/// Many runs under the oracles, as `cargo test` makes them.
pub fn watched(clients: usize) -> u64 {
    let round_trips = 1_000 / clients;
    let per_run = 2 * clients * round_trips;
    let seeds = (MESSAGES / per_run) as u64;
    under_seeds(seeds, clients, round_trips);
    seeds * per_run as u64
}

/// The same, and each run is one round trip; returns how many there are.
pub fn short() -> u64 {
    under_seeds(SHORT_RUNS, 1, 1);
    SHORT_RUNS
}

fn under_seeds(seeds: u64, clients: usize, round_trips: usize) {
    let sim = Sim::named("ping-pong").seeds(0..seeds).faults(Faults::none());
    let one = std::num::NonZeroUsize::MIN;
    let passed = sim.jobs(one).try_check(move || program(clients, round_trips));
    passed.expect("nothing is wrong with it");
}

/// One run without oracles and records.
pub fn bare(clients: usize) -> u64 {
    let round_trips = MESSAGES / 2 / clients;
    let config = SimConfig {
        record: Keep::Last(0),
        step_limit: u64::MAX,
        time_limit_ns: u64::MAX / 2,
        ..SimConfig::seed(1)
    };
    let report = run(config, move |kernel| {
        let runtime = Builder::new().build_on::<Virtual>(kernel).expect("a runtime can be made");
        runtime.run(move || program(clients, round_trips)).expect("it starts");
    });
    assert!(report.is_clean(), "{}", report.outcome);
    (2 * clients * round_trips) as u64
}
