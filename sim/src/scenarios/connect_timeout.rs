//! A handshake against the time it is given.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use netpoll::go;
use netpoll::net::{TcpListener, TcpStream, is_closed};
use netpoll::time::{Instant, sleep};

use super::Scenario;
use super::common::{accept, address, is_failed_attempt, is_reset, is_shortage, join, listen};

/// How long the connections of a client may take, in microseconds: in the simulated network a handshake
/// takes from 15 on.
const TIMEOUTS_US: [u64; 5] = [5, 16, 25, 60, 300];
/// Clients at a time.
const CLIENTS: u8 = 2;

pub(super) fn scenario() -> Scenario {
    Scenario::new(
        "connect_timeout",
        "a handshake ends as its time does: connected or timed out, and no time limit stays behind",
        body,
    )
}

fn body() {
    let listener = Arc::new(listen());
    let addr = address(&listener);
    let server = {
        let listener = Arc::clone(&listener);
        go(move || serve(&listener))
    };
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            go(move || {
                let answered = TIMEOUTS_US.into_iter().filter(|&us| ask(addr, number, us));
                answered.count()
            })
        })
        .collect();
    let answered: usize = clients.into_iter().map(join).sum();
    listener.close().expect("nobody else closes");
    assert_eq!(join(server), answered, "connections that the server had a byte from");
}

/// Answers every connection that says something; returns how many those were.
fn serve(listener: &TcpListener) -> usize {
    let mut answered = 0;
    loop {
        let mut stream = match accept(listener) {
            Ok(stream) => stream,
            Err(error) => {
                assert!(is_closed(&error), "accept: {error}");
                return answered;
            }
        };
        let mut byte = [0];
        match stream.read(&mut byte) {
            // The client gave up just before the connection was there.
            Ok(0) => {}
            Ok(_) => {
                stream.write_all(&byte).expect("the client reads");
                answered += 1;
            }
            Err(error) => assert!(is_reset(&error), "the client gave up: {error}"),
        }
    }
}

/// True when the connection was there in time, and then it works for ever.
fn ask(addr: SocketAddr, number: u8, timeout_us: u64) -> bool {
    let timeout = Duration::from_micros(timeout_us);
    let start = Instant::now();
    let mut stream = match TcpStream::connect_timeout(&addr, timeout) {
        Ok(stream) => stream,
        Err(error) if is_shortage(&error) || is_failed_attempt(&error) => return false,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
            let took = start.elapsed();
            assert!(took >= timeout, "timed out after {took:?} instead of {timeout:?}");
            return false;
        }
    };
    stream.peer_addr().expect("it says that it is connected");
    // The time limit was for the connection and must not hit what comes after it.
    sleep(timeout.saturating_sub(start.elapsed()) + Duration::from_micros(1));
    stream.write_all(&[number]).expect("there is room for one byte");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("the server answers");
    assert_eq!(answer, [number]);
    true
}
