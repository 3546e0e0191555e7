//! Clients that use a register while hosts crash and the network is cut.

use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use netpoll::go;
use netpoll::time::{Instant, sleep};
use netpoll_sim::{Faults, Sim, hosts, rand, sometimes};

use super::history::{Did, Operation, is_linearizable};
use super::register::{self, Bug, REPLICAS};

const CLIENTS: u64 = 3;
const OPERATIONS: u64 = 4;
/// Of each replica.
const DISASTERS: u64 = 3;

/// The simulation.
pub(crate) fn sim(seeds: Range<u64>) -> Sim {
    Sim::named("register").seeds(seeds).faults(Faults::light())
}

/// One run of it.
pub(crate) fn program(bug: Bug) {
    for replica in REPLICAS {
        hosts::start(replica, move || register::replica(bug));
    }
    let history = Arc::new(Mutex::new(Vec::new()));
    let clients: Vec<_> = (1..=CLIENTS)
        .map(|client| {
            let history = Arc::clone(&history);
            go(move || use_it(client, bug, &history))
        })
        .collect();
    let disasters =
        REPLICAS.map(|replica| go(move || (0..DISASTERS).for_each(|_| strike(replica))));
    clients.into_iter().for_each(|client| client.join().unwrap());
    disasters.into_iter().for_each(|disaster| disaster.join().unwrap());
    // Who was asked late may answer late.
    sleep(Duration::from_secs(10));
    let mut history = history.lock().unwrap();
    history.sort_by_key(|it| it.from);
    sometimes!(history.iter().any(|it| it.to.is_none()), "a write is left in doubt");
    sometimes!(
        history.iter().any(|it| matches!(it.did, Did::Read(1..))),
        "somebody reads what was written"
    );
    let told: Vec<String> = history.iter().map(Operation::to_string).collect();
    assert!(is_linearizable(&history), "no register does this:\n    {}", told.join("\n    "));
}

fn use_it(client: u64, bug: Bug, history: &Mutex<Vec<Operation>>) {
    for nth in 1..=OPERATIONS {
        sleep(Duration::from_millis(rand::below(100)));
        let from = Instant::now();
        let (did, is_done) = if rand::one_in(2) {
            let value = 100 * client + nth;
            (Did::Write(value), register::write(client, value).is_some())
        } else {
            match register::read(bug) {
                Some(value) => (Did::Read(value), true),
                None => continue, // it has told nobody anything
            }
        };
        let to = is_done.then(Instant::now);
        history.lock().unwrap().push(Operation { client, did, from, to });
    }
}

/// Something happens to a replica, and is over after a while.
fn strike(victim: &str) {
    sleep(Duration::from_millis(rand::below(300)));
    let time = Duration::from_millis(rand::below(300));
    match rand::below(3) {
        0 => {
            hosts::crash(victim);
            sleep(time);
            hosts::restart(victim);
        }
        1 => {
            hosts::partition(victim, "test");
            sleep(time);
            hosts::heal(victim, "test");
        }
        _ => {
            hosts::pause(victim);
            sleep(time);
            hosts::resume(victim);
        }
    }
}
