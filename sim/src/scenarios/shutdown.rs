//! A runtime that ends with everything in flight.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use netpoll::net::TcpStream;
use netpoll::sync::{Mutex, channel};
use netpoll::time::sleep;
use netpoll::{Runtime, blocking, go, yield_now};

use super::Scenario;
use super::common::{load, pair, write_without_end};

pub(super) fn scenario() -> Scenario {
    let scenario = Scenario::owner(
        "shutdown",
        "a runtime ends while goroutines wait for everything there is, run and are started: its threads end",
        body,
    );
    Scenario { abandons: true, ..scenario }
}

fn body(runtime: Runtime) {
    // The main goroutine ends at once, a little later, or when all wait.
    let after = runtime.run(start_everything).expect("a new runtime starts goroutines");
    let (unstarted, kept) = after;
    runtime.shutdown();
    // A goroutine that never started says so, and one that has ended returns.
    drop((unstarted, kept));
}

/// Leaves behind somebody in every place where a goroutine can be. Returns what they need to stay there.
fn start_everything() -> (Vec<netpoll::JoinHandle<()>>, Box<dyn Send>) {
    let (stream, peer) = pair();
    let (stream, peer) = (Arc::new(stream), Arc::new(peer));
    let with = |stream: &Arc<TcpStream>, wait: fn(&TcpStream)| {
        let stream = Arc::clone(stream);
        drop(go(move || wait(&stream)));
    };
    with(&stream, |mut stream| drop(stream.read(&mut [0])));
    with(&stream, |mut stream| drop(stream.read(&mut [0])));
    with(&stream, |stream| drop(write_without_end(stream)));
    with(&peer, |peer| {
        let at = netpoll::time::Instant::now() + Duration::from_micros(30);
        drop(peer.set_write_deadline(Some(at)));
        drop(write_without_end(peer));
    });
    drop(go(load));
    drop(go(|| sleep(Duration::from_secs(3_600))));
    drop(go(|| (0..1_000).for_each(|_| yield_now())));
    drop(go(|| blocking(|| sleep(Duration::from_micros(50)))));
    let (sender, receiver) = channel::<()>(0);
    drop(go(move || receiver.recv()));
    let lock = Arc::new(Mutex::new(()));
    let theirs = Arc::clone(&lock);
    drop(go(move || {
        let _held = theirs.lock();
        sleep(Duration::from_secs(3_600));
    }));
    let theirs = Arc::clone(&lock);
    drop(go(move || drop(theirs.lock())));
    sleep(Duration::from_micros(60));
    let late = (0..20).map(|_| go(yield_now)).collect();
    (late, Box::new(sender))
}
