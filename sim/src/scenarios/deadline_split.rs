//! Read and write deadlines that are equal, and then are not.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use netpoll::go;
use netpoll::net::TcpStream;
use netpoll::time::{Instant, sleep};

use super::Scenario;
use super::common::{join, pair, write_without_end};

/// When the equal deadlines pass, after they have been set.
const FIRST: Duration = Duration::from_micros(300);
/// When one of them passes that has been moved out.
const SECOND: Duration = Duration::from_micros(500);
/// When the change comes: with time to spare, or at about the time of the deadlines.
const CHANGES: [Duration; 2] = [Duration::from_micros(200), Duration::from_micros(285)];

pub(super) fn scenario() -> Scenario {
    Scenario::new(
        "deadline_split",
        "equal deadlines share a timer; one is moved or cleared, as it fires: the other direction keeps its own",
        body,
    )
}

/// What happens to the equal deadlines of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    None,
    ReadLater,
    WriteLater,
    ReadCleared,
    WriteCleared,
    /// Apart and together again.
    BothLater,
}

fn body() {
    let changes = [
        Change::None,
        Change::ReadLater,
        Change::WriteLater,
        Change::ReadCleared,
        Change::WriteCleared,
        Change::BothLater,
    ];
    let rounds: Vec<_> = changes
        .into_iter()
        .enumerate()
        .map(|(index, change)| go(move || round(change, CHANGES[index % CHANGES.len()])))
        .collect();
    rounds.into_iter().for_each(join);
}

fn round(change: Change, when: Duration) {
    let (_peer, stream) = pair();
    let stream = Arc::new(stream);
    let first = Instant::now() + FIRST;
    let second = first + (SECOND - FIRST);
    stream.set_read_deadline(Some(first)).expect("it is open");
    stream.set_write_deadline(Some(first)).expect("it is open");
    let reader = {
        let stream = Arc::clone(&stream);
        go(move || (read_nothing(&stream), Instant::now()))
    };
    let writer = {
        let stream = Arc::clone(&stream);
        go(move || (write_without_end(&stream).1, Instant::now()))
    };
    sleep(when);
    let later = Some(second);
    let changed = match change {
        Change::None => Ok(()),
        Change::ReadLater => stream.set_read_deadline(later),
        Change::WriteLater => stream.set_write_deadline(later),
        Change::ReadCleared => stream.set_read_deadline(None),
        Change::WriteCleared => stream.set_write_deadline(None),
        Change::BothLater => {
            stream.set_write_deadline(later).and_then(|()| stream.set_read_deadline(later))
        }
    };
    changed.expect("it is open");
    // A change that came too late to keep the deadline from passing proves nothing.
    let in_time = Instant::now() < first;
    let limit = |moved: bool, cleared: bool| match in_time {
        true if moved => second,
        true if cleared => first + FIRST,
        _ => first,
    };
    let both = change == Change::BothLater;
    let read_limit = limit(change == Change::ReadLater || both, change == Change::ReadCleared);
    let write_limit = limit(change == Change::WriteLater || both, change == Change::WriteCleared);
    // Who waits without a limit is released from here, after the other has timed out.
    let released = match change {
        Change::ReadCleared => Some((writer, reader)),
        Change::WriteCleared => Some((reader, writer)),
        _ => {
            check(join(reader), read_limit, "read");
            check(join(writer), write_limit, "write");
            None
        }
    };
    if let Some((limited, unlimited)) = released {
        check(join(limited), first, "the limited direction");
        netpoll::time::sleep_until(first + FIRST);
        stream.set_deadline(Some(Instant::now())).expect("it is open");
        check(join(unlimited), read_limit.max(write_limit), "the other direction");
    }
}

fn read_nothing(mut stream: &TcpStream) -> io::Error {
    stream.read(&mut [0]).expect_err("nobody writes")
}

#[track_caller]
fn check((error, ended): (io::Error, Instant), limit: Instant, what: &str) {
    assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{what}: {error}");
    let early = limit - ended;
    assert!(early.is_zero(), "{what} timed out {early:?} early");
}
