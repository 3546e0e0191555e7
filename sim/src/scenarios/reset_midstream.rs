//! A connection that is reset while both its directions are in use.

use std::io::{self, Read, Write};
use std::sync::Arc;

use netpoll::go;
use netpoll::net::TcpStream;

use super::Scenario;
use super::common::{Gate, check_pattern, is_reset, join, pair, pattern, write_without_end};

/// How much the peer reads before it gives up, in bytes: nothing, some, and more than a buffer.
const READS: [usize; 3] = [0, 5_000, 90_000];
/// What it has said by then.
const GREETING: usize = 100;

pub(super) fn scenario() -> Scenario {
    Scenario::new(
        "reset_midstream",
        "a reset comes as one goroutine reads and one writes: both hear of it, none waits for the other's news",
        body,
    )
}

fn body() {
    READS.into_iter().for_each(round);
}

fn round(reads: usize) {
    let (mut peer, stream) = pair();
    let stream = Arc::new(stream);
    let gate = Arc::new(Gate::new(2));
    let reader = {
        let (stream, gate) = (Arc::clone(&stream), Arc::clone(&gate));
        go(move || {
            gate.pass(&stream);
            read_to_the_end(&stream)
        })
    };
    let writer = {
        let stream = Arc::clone(&stream);
        go(move || {
            gate.pass(&stream);
            write_without_end(&stream)
        })
    };
    peer.write_all(&pattern(5, 0, GREETING)).expect("there is room");
    let mut taken = 0;
    let mut buf = vec![0; 16 * 1024];
    while taken < reads {
        let want = buf.len().min(reads - taken);
        taken += peer.read(&mut buf[..want]).expect("the writer writes");
    }
    // There are bytes on their way at the least: the writer has no end.
    assert_eq!(peer.peek(&mut [0]).expect("the writer writes"), 1);
    peer.close().expect("nobody else closes");

    let (written, error) = join(writer);
    assert!(is_reset(&error), "a reset writes as: {error}");
    assert!(written > reads, "{written} bytes were written and {reads} read");
    let (heard, end) = join(reader);
    assert!(heard <= GREETING, "{heard} bytes where {GREETING} were sent");
    // The error is told once: who comes second finds the end of the stream.
    if let Err(error) = end {
        assert!(is_reset(&error), "a reset reads as: {error}");
    }
    let error = (&*stream).write(&[0]).expect_err("the connection is gone");
    assert!(is_reset(&error), "after a reset a write says: {error}");
}

fn read_to_the_end(mut stream: &TcpStream) -> (usize, io::Result<()>) {
    let mut buf = [0; 32];
    let mut heard = 0;
    loop {
        match stream.read(&mut buf) {
            Ok(0) => return (heard, Ok(())),
            Ok(len) => {
                check_pattern(5, heard, &buf[..len]);
                heard += len;
            }
            Err(error) => return (heard, Err(error)),
        }
    }
}
