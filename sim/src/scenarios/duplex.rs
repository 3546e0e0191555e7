//! A reader and a writer on each end of one stream, both directions full.

use std::io::{Read, Write};
use std::sync::Arc;

use netpoll::net::{Shutdown, TcpStream};
use netpoll::{JoinHandle, go};

use super::Scenario;
use super::common::{check_pattern, join, pair, pattern};

/// Bytes in each direction: more than the buffers on the way hold.
const TOTAL: usize = 150_000;
/// Bytes of each write, in turns.
const WRITES: [usize; 4] = [30_000, 1, 17_000, 300];
/// Bytes of each read, in turns.
const READS: [usize; 3] = [9_000, 40_000, 2];

pub(super) fn scenario() -> Scenario {
    Scenario::new(
        "duplex",
        "a reader and a writer park on one stream and one event is for both: none takes the other's",
        body,
    )
}

fn body() {
    let (a, b) = pair();
    let (a, b) = (Arc::new(a), Arc::new(b));
    let work = [writer(&a, 1), reader(&a, 2), writer(&b, 2), reader(&b, 1)];
    work.into_iter().for_each(join);
}

fn writer(stream: &Arc<TcpStream>, tag: u8) -> JoinHandle<()> {
    let stream = Arc::clone(stream);
    go(move || {
        let mut sent = 0;
        for len in WRITES.into_iter().cycle() {
            let len = len.min(TOTAL - sent);
            if len == 0 {
                break;
            }
            (&*stream).write_all(&pattern(tag, sent, len)).expect("the peer reads");
            sent += len;
        }
        stream.shutdown(Shutdown::Write).expect("it is open");
    })
}

fn reader(stream: &Arc<TcpStream>, tag: u8) -> JoinHandle<()> {
    let stream = Arc::clone(stream);
    go(move || {
        let mut buf = vec![0; 40_000];
        let mut heard = 0;
        for len in READS.into_iter().cycle() {
            let len = (&*stream).read(&mut buf[..len]).expect("the peer writes");
            if len == 0 {
                break;
            }
            check_pattern(tag, heard, &buf[..len]);
            heard += len;
        }
        assert_eq!(heard, TOTAL, "bytes of stream {tag}");
    })
}
