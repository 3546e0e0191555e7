//! Waiting for readiness without using it up, beside those who use it.

use std::io::{Read, Write};
use std::sync::Arc;

use netpoll::go;
use netpoll::net::TcpStream;

use super::Scenario;
use super::common::{check_pattern, join, pair, pattern};

/// Messages.
const MESSAGES: usize = 6;
/// Bytes of a message.
const LEN: usize = 40;

pub(super) fn scenario() -> Scenario {
    Scenario::new(
        "wait_ready",
        "an edge is seen by who only waits for it: who reads next must not wait for another one",
        body,
    )
    .atomic()
}

fn body() {
    let (stream, peer) = pair();
    let answers = Arc::new(peer);
    let reader = {
        let peer = Arc::clone(&answers);
        go(move || (0..MESSAGES).for_each(|message| read(&peer, message)))
    };
    for message in 0..MESSAGES {
        stream.wait_writable().expect("it is open");
        (&stream).write_all(&pattern(7, message * LEN, LEN)).expect("there is room");
        // The next one goes out when this one has been read, so each edge is needed.
        let mut answer = [0];
        (&stream).read_exact(&mut answer).expect("the reader answers");
        assert_eq!(usize::from(answer[0]), message);
    }
    join(reader);
}

fn read(mut peer: &TcpStream, message: usize) {
    let mut buf = [0; LEN];
    if message.is_multiple_of(2) {
        // It may return early, as readiness is a hint, but it must return.
        peer.wait_readable().expect("it is open");
    } else {
        let len = peer.peek(&mut buf).expect("the writer writes");
        check_pattern(7, message * LEN, &buf[..len]);
    }
    if message.is_multiple_of(3) {
        let len = peer.peek(&mut buf).expect("the writer writes");
        assert!(len > 0, "the stream has not ended");
        peer.wait_readable().expect("it is open");
    }
    peer.read_exact(&mut buf).expect("the writer writes");
    check_pattern(7, message * LEN, &buf);
    peer.write_all(&[message as u8]).expect("there is room for one byte");
}
