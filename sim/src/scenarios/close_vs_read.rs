//! A close against a read that is about to park.

use std::io::{self, Read, Write};
use std::sync::Arc;

use netpoll::go;
use netpoll::net::{TcpStream, is_closed};

use super::Scenario;
use super::common::{Gate, accept, join, listen, pair};

/// How often a close meets a read alone, a read and its data, and an accept.
const ROUNDS: usize = 3;

pub(super) fn scenario() -> Scenario {
    Scenario::new(
        "close_vs_read",
        "a close comes between a read's look at `closing` and its park: nobody stays parked",
        body,
    )
    .atomic()
}

fn body() {
    for _ in 0..ROUNDS {
        close_against_read(false);
        // Data comes as well, so that the edge takes part in the race.
        close_against_read(true);
        close_against_accept();
    }
}

fn close_against_read(data_comes: bool) {
    let (mut peer, stream) = pair();
    let stream = Arc::new(stream);
    let gate = Arc::new(Gate::new(2));
    let reader = {
        let (stream, gate) = (Arc::clone(&stream), Arc::clone(&gate));
        go(move || {
            gate.pass(&stream);
            read(&stream)
        })
    };
    let closer = {
        let (stream, gate) = (Arc::clone(&stream), gate);
        go(move || {
            gate.pass(&stream);
            stream.close().expect("nobody else closes");
        })
    };
    if data_comes {
        peer.write_all(b"x").expect("there is room for one byte");
    }
    match join(reader) {
        Ok(len) => assert!(data_comes && len == 1, "read {len} bytes that nobody sent"),
        Err(error) => assert!(is_closed(&error), "a closed stream reads as: {error}"),
    }
    join(closer);
    let error = stream.close().expect_err("it is closed");
    assert!(is_closed(&error), "{error}");
}

fn read(mut stream: &TcpStream) -> io::Result<usize> {
    stream.read(&mut [0; 8])
}

fn close_against_accept() {
    let listener = Arc::new(listen());
    let gate = Arc::new(Gate::new(2));
    let acceptor = {
        let (listener, gate) = (Arc::clone(&listener), Arc::clone(&gate));
        go(move || {
            gate.pass_with(&listener);
            accept(&listener)
        })
    };
    let closer = {
        let (listener, gate) = (Arc::clone(&listener), gate);
        go(move || {
            gate.pass_with(&listener);
            listener.close().expect("nobody else closes");
        })
    };
    let error = join(acceptor).expect_err("nobody connects");
    assert!(is_closed(&error), "a closed listener accepts as: {error}");
    join(closer);
}
