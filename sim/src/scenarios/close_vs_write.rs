//! A close against a write that is about to park, or whose room comes at that moment.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use netpoll::go;
use netpoll::net::is_closed;
use netpoll::time::sleep;

use super::Scenario;
use super::common::{Gate, join, pair, write_without_end};

pub(super) fn scenario() -> Scenario {
    Scenario::new(
        "close_vs_write",
        "a close comes as a writer parks on a full stream or gets room: it returns, and what it wrote arrives",
        body,
    )
    .atomic()
}

fn body() {
    // The writer has parked, or has not begun.
    round(Some(Duration::from_micros(100)), false);
    round(None, false);
    // The reader makes room as well, so that the edge takes part in the race.
    round(Some(Duration::from_micros(40)), true);
}

fn round(close_after: Option<Duration>, makes_room: bool) {
    let (mut peer, stream) = pair();
    let stream = Arc::new(stream);
    let gate = Arc::new(Gate::new(2));
    let writer = {
        let (stream, gate) = (Arc::clone(&stream), Arc::clone(&gate));
        go(move || {
            gate.pass(&stream);
            write_without_end(&stream)
        })
    };
    let closer = {
        let (stream, gate) = (Arc::clone(&stream), gate);
        go(move || {
            gate.pass(&stream);
            if let Some(time) = close_after {
                sleep(time);
            }
            stream.close().expect("nobody else closes");
        })
    };
    let early = if makes_room { read_some(&mut peer) } else { 0 };
    let (written, error) = join(writer);
    assert!(is_closed(&error), "a closed stream writes as: {error}");
    join(closer);
    // What the writer was told is written comes, and then the end.
    let rest = std::io::copy(&mut peer, &mut std::io::sink()).expect("nothing was left unread");
    assert_eq!(early + rest as usize, written, "bytes that were written and came");
}

/// Reads more than a socket's buffers hold in the simulated network, unless the end comes first.
fn read_some(peer: &mut impl Read) -> usize {
    let mut buf = vec![0; 32 * 1024];
    let mut total = 0;
    while total < 5 * buf.len() {
        match peer.read(&mut buf).expect("nothing was left unread") {
            0 => break,
            len => total += len,
        }
    }
    total
}
