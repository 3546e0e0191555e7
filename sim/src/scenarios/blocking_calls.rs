//! Calls that block a thread, beside those that do not.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use netpoll::net::TcpStream;
use netpoll::sync::Mutex;
use netpoll::time::sleep;
use netpoll::{blocking, go};

use super::Scenario;
use super::common::{check_pattern, join, pair, pattern};

/// Goroutines that make calls.
const CALLERS: usize = 3;
/// Calls of each.
const CALLS: usize = 3;
/// Messages meanwhile.
const MESSAGES: usize = 6;

pub(super) fn scenario() -> Scenario {
    Scenario::new(
        "blocking_calls",
        "a blocking call ends as its goroutine parks for it, and calls park themselves: each result arrives",
        body,
    )
}

fn body() {
    let sum = Arc::new(Mutex::new(0));
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let sum = Arc::clone(&sum);
            go(move || (0..CALLS).for_each(|turn| call(&sum, caller, turn)))
        })
        .collect();
    let (stream, peer) = pair();
    let echo = go(move || echo(peer));
    talk(stream);
    join(echo);
    callers.into_iter().for_each(join);
    assert_eq!(*sum.lock(), (0..CALLERS * CALLS).sum());
}

/// The call waits as a goroutine would: for time, and for a lock that goroutines hold as well.
fn call(sum: &Arc<Mutex<usize>>, caller: usize, turn: usize) {
    let number = caller * CALLS + turn;
    let theirs = Arc::clone(sum);
    let returned = blocking(move || {
        sleep(Duration::from_micros(7 * turn as u64));
        *theirs.lock() += number;
        number
    });
    assert_eq!(returned, number, "another call's result");
}

fn echo(mut peer: TcpStream) {
    let mut buf = [0; 64];
    loop {
        match peer.read(&mut buf).expect("the other end is there") {
            0 => return,
            len => peer.write_all(&buf[..len]).expect("the other end is there"),
        }
    }
}

fn talk(mut stream: TcpStream) {
    for message in 0..MESSAGES {
        stream.write_all(&pattern(13, message, 10)).expect("the other end is there");
        let mut heard = [0; 10];
        stream.read_exact(&mut heard).expect("the other end is there");
        check_pattern(13, message, &heard);
    }
}
