//! A read deadline that another goroutine keeps moving while data comes.

use std::io::{ErrorKind, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use netpoll::go;
use netpoll::net::TcpStream;
use netpoll::time::{Instant, sleep};

use super::Scenario;
use super::common::{check_pattern, join, pair, pattern};

/// Messages of one byte.
const MESSAGES: usize = 8;
/// The time between two messages.
const PAUSE: Duration = Duration::from_micros(25);
/// How far ahead the deadline is set each time, in microseconds; `None` clears it. Short ones pass
/// before the next change, long ones are moved in and out.
const AHEAD_US: [Option<u64>; 10] =
    [Some(60), Some(200), Some(30), None, Some(15), Some(0), Some(500), Some(40), None, Some(90)];
/// The time between two changes.
const CHANGE_EVERY: Duration = Duration::from_micros(20);

pub(super) fn scenario() -> Scenario {
    Scenario::new(
        "deadline_moves",
        "a deadline is moved, cleared or put into the past under a waiting reader: only the last one counts",
        body,
    )
    .atomic()
}

/// A deadline that was set.
#[derive(Clone, Copy, Debug)]
struct Setting {
    at: Option<Instant>,
    /// When the call that replaced it had returned: by then it counted no more.
    replaced: Option<Instant>,
}

/// Every setting, in order.
type Log = Mutex<Vec<Setting>>;

fn body() {
    let (mut peer, stream) = pair();
    let stream = Arc::new(stream);
    let log: Arc<Log> = Arc::default();
    let mover = {
        let (stream, log) = (Arc::clone(&stream), Arc::clone(&log));
        go(move || move_deadline(&stream, &log))
    };
    let reader = {
        let (stream, log) = (Arc::clone(&stream), Arc::clone(&log));
        go(move || read_all(&stream, &log))
    };
    for message in 0..MESSAGES {
        sleep(PAUSE);
        peer.write_all(&pattern(9, message, 1)).expect("there is room for one byte");
    }
    join(mover);
    join(reader);
}

fn move_deadline(stream: &TcpStream, log: &Log) {
    let set = |at| {
        // Logged before it counts, and marked as replaced after it has ceased to.
        lock(log).push(Setting { at, replaced: None });
        stream.set_read_deadline(at).expect("it is open");
        let now = Instant::now();
        if let [.., before, _] = lock(log).as_mut_slice() {
            before.replaced = Some(now);
        }
    };
    for ahead in AHEAD_US {
        set(ahead.map(|us| Instant::now() + Duration::from_micros(us)));
        sleep(CHANGE_EVERY);
    }
    set(None);
}

fn read_all(mut stream: &TcpStream, log: &Log) {
    let mut heard = 0;
    while heard < MESSAGES {
        let mut buf = [0; MESSAGES];
        let start = Instant::now();
        match stream.read(&mut buf) {
            Ok(len) => {
                assert!(len > 0, "the stream has not ended");
                check_pattern(9, heard, &buf[..len]);
                heard += len;
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
                let now = Instant::now();
                // Some deadline that counted during this read had passed, while it counted.
                let passed = |setting: &Setting| {
                    let counted_until = setting.replaced.unwrap_or(now).min(now);
                    let passed = setting.at.is_some_and(|at| at <= counted_until);
                    passed && setting.replaced.is_none_or(|by| by >= start)
                };
                let settings = lock(log).clone();
                assert!(settings.iter().any(passed), "timed out at {now:?} under {settings:?}");
                sleep(Duration::from_micros(10));
            }
        }
    }
}

fn lock(log: &Log) -> std::sync::MutexGuard<'_, Vec<Setting>> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}
