//! Several goroutines that read one stream, and several that write it.

use std::io::{Read, Write};
use std::sync::Arc;

use netpoll::go;
use netpoll::net::{Shutdown, TcpStream, is_closed};

use super::Scenario;
use super::common::{join, pair};

/// Goroutines that read, and as many that write.
const CREW: u8 = 3;
/// Messages of each writer.
const MESSAGES: u8 = 6;
/// Bytes of a message, all the same: a writer's number and a message's. Reads of as many may be short.
const LEN: usize = 12;

pub(super) fn scenario() -> Scenario {
    Scenario::new(
        "shared_reader",
        "several goroutines wait in line for one direction of a stream: a lock is handed on, or all are sent away",
        body,
    )
    .atomic()
}

fn body() {
    every_byte_goes_to_one_reader();
    a_close_sends_the_whole_line_away();
}

fn every_byte_goes_to_one_reader() {
    let (stream, peer) = pair();
    let (stream, peer) = (Arc::new(stream), Arc::new(peer));
    let readers: Vec<_> = (0..CREW)
        .map(|_| {
            let peer = Arc::clone(&peer);
            go(move || read_messages(&peer))
        })
        .collect();
    let writers: Vec<_> = (0..CREW)
        .map(|writer| {
            let stream = Arc::clone(&stream);
            go(move || {
                for message in 0..MESSAGES {
                    let text = [writer * MESSAGES + message; LEN];
                    (&*stream).write_all(&text).expect("there are readers");
                }
            })
        })
        .collect();
    writers.into_iter().for_each(join);
    stream.shutdown(Shutdown::Write).expect("it is open");
    let mut heard: Vec<u8> = readers.into_iter().flat_map(join).collect();
    heard.sort_unstable();
    let all = (0..CREW * MESSAGES).flat_map(|message| [message; LEN]);
    assert!(heard.into_iter().eq(all), "each byte is read once");
}

fn read_messages(mut stream: &TcpStream) -> Vec<u8> {
    let mut heard = Vec::new();
    let mut buf = [0; LEN];
    loop {
        match stream.read(&mut buf).expect("the writers are there") {
            0 => return heard,
            len => heard.extend(&buf[..len]),
        }
    }
}

fn a_close_sends_the_whole_line_away() {
    let (stream, _peer) = pair();
    let stream = Arc::new(stream);
    let readers: Vec<_> = (0..CREW)
        .map(|_| {
            let stream = Arc::clone(&stream);
            go(move || (&*stream).read(&mut [0]))
        })
        .collect();
    netpoll::yield_now();
    stream.close().expect("nobody else closes");
    for reader in readers {
        let error = join(reader).expect_err("nobody writes");
        assert!(is_closed(&error), "a closed stream reads as: {error}");
    }
}
