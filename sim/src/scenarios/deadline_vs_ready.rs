//! A read deadline against the data it is waiting for, while the deadline is moved and cleared.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use netpoll::go;
use netpoll::net::TcpStream;
use netpoll::time::{Instant, sleep, sleep_until};

use super::Scenario;
use super::common::{Gate, join, pair};

/// The rounds of a run.
const ROUNDS: [(Change, Data); 8] = [
    (Change::None, Data::AtTheDeadline),
    (Change::Cleared, Data::AtTheDeadline),
    (Change::MovedOut, Data::AtTheDeadline),
    (Change::AllAtOnce, Data::AtTheDeadline),
    (Change::None, Data::Afterwards),
    (Change::MovedOut, Data::Afterwards),
    (Change::Past, Data::Afterwards),
    (Change::Past, Data::Afterwards),
];
/// When deadline and data meet, after the start of a round.
const MEETING: Duration = Duration::from_micros(150);
/// When the deadline meets a reader that is about to park.
const PARKING: Duration = Duration::from_micros(15);
/// How far a deadline is moved out.
const LATER: Duration = Duration::from_micros(100);

/// What happens to the deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// It stays.
    None,
    /// It is removed at the moment it passes.
    Cleared,
    /// It is set to a later time at the moment it passes.
    MovedOut,
    /// It is set to the past while the reader is about to park.
    Past,
    /// It is set to the past, to a later time and removed, while the reader is about to park.
    AllAtOnce,
}

impl Change {
    /// Whether the change comes at the moment at which the reader is about to park.
    fn meets_the_reader(self) -> bool {
        matches!(self, Change::Past | Change::AllAtOnce)
    }
}

/// When the data comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Data {
    /// At about the time of the deadline.
    AtTheDeadline,
    /// When the reader has given up, which nothing but its deadline can make it do.
    Afterwards,
}

pub(super) fn scenario() -> Scenario {
    Scenario::new(
        "deadline_vs_ready",
        "a deadline fires, moves or goes as data arrives: data or timeout, and no data lost",
        body,
    )
    .atomic()
}

fn body() {
    for (change, data) in ROUNDS {
        round(change, data);
    }
}

fn round(change: Change, data: Data) {
    let (mut peer, stream) = pair();
    let stream = Arc::new(stream);
    let gate = Arc::new(Gate::new(2));
    let until = match data {
        Data::AtTheDeadline => MEETING,
        Data::Afterwards => PARKING,
    };
    let deadline = Instant::now() + until;
    if change != Change::Past {
        let set = stream.set_read_deadline(Some(deadline));
        set.expect("it is open");
    }
    let reader = {
        let (stream, gate) = (Arc::clone(&stream), Arc::clone(&gate));
        go(move || {
            if change.meets_the_reader() {
                gate.pass(&stream);
            }
            let result = read(&stream);
            (result, Instant::now())
        })
    };
    let mover = {
        let stream = Arc::clone(&stream);
        go(move || change_deadline(&stream, change, deadline, &gate))
    };
    let mut send = || peer.write_all(b"x").expect("there is room for one byte");
    if data == Data::AtTheDeadline {
        // The byte travels for some microseconds.
        sleep(MEETING - Duration::from_micros(20));
        send();
    }
    let (first, ended) = join(reader);
    join(mover);
    if data == Data::Afterwards {
        send();
    }
    match first {
        Ok(len) => assert!(
            len == 1 && data == Data::AtTheDeadline,
            "read {len} bytes where one was sent {data:?}"
        ),
        Err(error) => {
            assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
            if !change.meets_the_reader() {
                let early = deadline - ended;
                assert!(early.is_zero(), "timed out {early:?} before the deadline");
            }
            // The deadline has not taken the byte with it, nor does it hold any longer.
            stream.set_read_deadline(None).expect("it is open");
            let len = read(&stream).expect("there is no deadline any more");
            assert_eq!(len, 1, "one byte was sent");
        }
    }
}

fn read(mut stream: &TcpStream) -> io::Result<usize> {
    stream.read(&mut [0; 8])
}

fn change_deadline(stream: &TcpStream, change: Change, deadline: Instant, gate: &Gate) {
    let set = |at| stream.set_read_deadline(at).expect("it is open");
    match change {
        Change::None => {}
        Change::Cleared => {
            sleep_until(deadline);
            set(None);
        }
        Change::MovedOut => {
            sleep_until(deadline);
            set(Some(deadline + LATER));
        }
        Change::Past => {
            gate.pass(stream);
            set(Some(Instant::now() - LATER));
        }
        Change::AllAtOnce => {
            gate.pass(stream);
            set(Some(Instant::now() - LATER));
            set(Some(deadline + LATER));
            set(None);
        }
    }
}
