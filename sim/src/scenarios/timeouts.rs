//! `std`'s timeouts, of each operation, beside deadlines.

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use netpoll::go;
use netpoll::net::TcpStream;
use netpoll::time::{Instant, sleep};

use super::Scenario;
use super::common::{check_pattern, join, pair, pattern};

/// Messages of one byte.
const MESSAGES: usize = 8;
/// How long a read may take.
const TIMEOUT: Duration = Duration::from_micros(40);
/// The times between two messages, in microseconds, in turns: well within the timeout, at it, beyond it.
const PAUSES_US: [u64; 4] = [5, 35, 40, 130];

pub(super) fn scenario() -> Scenario {
    Scenario::new(
        "timeouts",
        "each read moves the deadline that the last one left armed, as it fires: none times out for another",
        body,
    )
}

fn body() {
    let (peer, stream) = pair();
    stream.set_read_timeout(Some(TIMEOUT)).expect("not zero");
    let stream = Arc::new(stream);
    let reader = {
        let stream = Arc::clone(&stream);
        go(move || read_all(&stream))
    };
    let mut sender = &peer;
    for message in 0..MESSAGES {
        sleep(Duration::from_micros(PAUSES_US[message % PAUSES_US.len()]));
        sender.write_all(&pattern(11, message, 1)).expect("there is room for one byte");
    }
    join(reader);
    a_deadline_is_not_moved_out(&stream);
    the_last_timeout_goes_with_the_setting(&stream, &peer);
}

fn read_all(mut stream: &TcpStream) {
    let mut heard = 0;
    let mut buf = [0; MESSAGES];
    while heard < MESSAGES {
        let start = Instant::now();
        match stream.read(&mut buf) {
            Ok(len) => {
                assert!(len > 0, "the stream has not ended");
                check_pattern(11, heard, &buf[..len]);
                heard += len;
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
                let took = start.elapsed();
                assert!(took >= TIMEOUT, "timed out after {took:?} instead of {TIMEOUT:?}");
            }
        }
    }
}

/// The earlier of timeout and deadline counts.
fn a_deadline_is_not_moved_out(mut stream: &TcpStream) {
    let deadline = Instant::now() + TIMEOUT / 2;
    stream.set_read_timeout(Some(Duration::from_secs(3_600))).expect("not zero");
    stream.set_read_deadline(Some(deadline)).expect("it is open");
    let error = stream.read(&mut [0]).expect_err("nobody writes");
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
    assert!(Instant::now() >= deadline, "before its deadline");
    stream.set_read_deadline(None).expect("it is open");
}

/// The timer of the last read is armed when the timeout is taken back, and must not fire for the next.
fn the_last_timeout_goes_with_the_setting(mut stream: &TcpStream, mut peer: &TcpStream) {
    stream.set_read_timeout(Some(TIMEOUT)).expect("not zero");
    peer.write_all(&[1]).expect("there is room for one byte");
    let first = stream.read(&mut [0]);
    stream.set_read_timeout(None).expect("it is open");
    let late = {
        let peer = peer.try_clone().expect("a clone is a handle");
        go(move || {
            sleep(2 * TIMEOUT);
            (&peer).write_all(&[2]).expect("there is room for one byte");
        })
    };
    // If the byte was late, the next read has it.
    let reads = if first.is_ok() { 1 } else { 2 };
    for _ in 0..reads {
        let len = stream.read(&mut [0]).expect("there is no timeout any more");
        assert_eq!(len, 1);
    }
    join(late);
}
