//! A writer against a reader that takes its time.

use std::io::{Read, Write};
use std::time::Duration;

use netpoll::go;
use netpoll::net::TcpStream;
use netpoll::time::sleep;

use super::Scenario;
use super::common::{check_pattern, join, pair, pattern};

/// Bytes: several times what the buffers on the way hold.
const TOTAL: usize = 300_000;
/// What the reader takes at a time, in turns: crumbs, so that there is no room for long, and then much.
const READS: [usize; 6] = [1, 700, 65_536, 3, 20_000, 50_000];
/// How long it rests between two, in microseconds, in turns.
const RESTS_US: [u64; 4] = [0, 30, 0, 200];

pub(super) fn scenario() -> Scenario {
    Scenario::new(
        "slow_reader",
        "room in a full stream comes as its writer parks for it: the writer goes on, and waits no longer",
        body,
    )
}

fn body() {
    let (stream, peer) = pair();
    let writer = go(move || write(stream));
    read(peer);
    join(writer);
}

fn write(mut stream: TcpStream) {
    // The first half as one operation, the other one call at a time.
    let (whole, rest) = (pattern(3, 0, TOTAL / 2), pattern(3, TOTAL / 2, TOTAL / 2));
    stream.write_all(&whole).expect("the reader is slow, but it is there");
    let mut rest = rest.as_slice();
    while !rest.is_empty() {
        let len = stream.write(rest).expect("the reader is slow, but it is there");
        assert!(len > 0, "a write of nothing is no progress");
        rest = &rest[len..];
    }
}

fn read(mut peer: TcpStream) {
    let mut buf = vec![0; 65_536];
    let mut heard = 0;
    for (turn, want) in READS.into_iter().cycle().enumerate() {
        let len = peer.read(&mut buf[..want]).expect("the writer is there");
        if len == 0 {
            break;
        }
        check_pattern(3, heard, &buf[..len]);
        heard += len;
        sleep(Duration::from_micros(RESTS_US[turn % RESTS_US.len()]));
    }
    assert_eq!(heard, TOTAL, "bytes that came");
}
