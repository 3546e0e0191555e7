//! An address that is listened on again as soon as its listener is closed.

use std::sync::Arc;
use std::time::Duration;

use netpoll::go;
use netpoll::net::{TcpListener, is_closed};
use netpoll::time::sleep;

use super::Scenario;
use super::common::{accept, address, join, listen, retry};

/// How long acceptors have before the listener is closed, in microseconds.
const CLOSE_US: [u64; 4] = [0, 5, 20, 60];
/// Goroutines that accept.
const ACCEPTORS: usize = 2;

pub(super) fn scenario() -> Scenario {
    Scenario::new(
        "listen_again",
        "a listener closes under its acceptors and its address is taken anew: the close has freed it when it returns",
        body,
    )
}

fn body() {
    let mut listener = Arc::new(listen());
    let addr = address(&listener);
    for close_us in CLOSE_US {
        let acceptors: Vec<_> = (0..ACCEPTORS)
            .map(|_| {
                let listener = Arc::clone(&listener);
                go(move || accept(&listener).expect_err("nobody connects"))
            })
            .collect();
        sleep(Duration::from_micros(close_us));
        listener.close().expect("nobody else closes");
        listener = Arc::new(retry(|| TcpListener::bind(addr)).expect("the address is free"));
        for error in acceptors.into_iter().map(join) {
            assert!(is_closed(&error), "accept: {error}");
        }
    }
}
