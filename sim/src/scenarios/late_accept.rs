//! Connections that have said everything, or are lost again, before anybody accepts them.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use netpoll::go;
use netpoll::net::{Shutdown, TcpListener, TcpStream, is_closed};
use netpoll::time::sleep;

use super::Scenario;
use super::common::{accept, address, check_pattern, connect, is_reset, join, listen, pattern};

/// Clients that wait until they have been heard, that do not, and that reset what they have said.
const CLIENTS: u8 = 4;
const QUITTERS: u8 = 3;
const BREAKERS: u8 = 2;
/// Bytes that each sends.
const LEN: usize = 500;

pub(super) fn scenario() -> Scenario {
    Scenario::new(
        "late_accept",
        "data and the end of a stream come before the descriptor is registered: its first edge tells of them",
        body,
    )
}

fn body() {
    let listener = Arc::new(listen());
    let addr = address(&listener);
    let clients: Vec<_> = (0..CLIENTS).map(|number| go(move || tell(addr, number))).collect();
    let quitters: Vec<_> = (0..QUITTERS).map(|i| go(move || quit(addr, CLIENTS + i))).collect();
    let breakers = CLIENTS + QUITTERS;
    let breakers: Vec<_> = (0..BREAKERS).map(|i| go(move || hang_up(addr, breakers + i))).collect();
    // Some have ended by now, the others come while connections are registered.
    sleep(Duration::from_micros(120));
    let server = {
        let listener = Arc::clone(&listener);
        go(move || hear_all(&listener))
    };
    clients.into_iter().for_each(join);
    quitters.into_iter().for_each(join);
    breakers.into_iter().for_each(join);
    listener.close().expect("nobody else closes");
    let mut heard = join(server);
    heard.sort_unstable();
    let (clients, others): (Vec<u8>, Vec<u8>) = heard.into_iter().partition(|&it| it < CLIENTS);
    assert!(clients.into_iter().eq(0..CLIENTS), "each client is heard once");
    // A connection may be gone with the one who gave it up, but it is no one else's.
    let mut once = others.clone();
    once.dedup();
    assert_eq!(once, others, "nobody is heard twice");
}

fn tell(addr: SocketAddr, number: u8) {
    let mut stream = say(addr, number);
    stream.shutdown(Shutdown::Write).expect("it is open");
    // The server reads to the end, so it has accepted the connection.
    assert_eq!(stream.read(&mut [0]).expect("the server says nothing"), 0);
}

/// Closes without waiting for anybody.
fn quit(addr: SocketAddr, number: u8) {
    say(addr, number).close().expect("nobody else closes");
}

/// Resets the connection, which may be before it is accepted.
fn hang_up(addr: SocketAddr, number: u8) {
    let stream = say(addr, number);
    stream.set_zero_linger().expect("it is open");
    stream.close().expect("nobody else closes");
}

fn say(addr: SocketAddr, number: u8) -> TcpStream {
    let mut stream = connect(addr);
    stream.write_all(&[number]).expect("there is room");
    stream.write_all(&pattern(number, 0, LEN)).expect("there is room");
    stream
}

/// Accepts until the listener is closed; returns whom it has heard.
fn hear_all(listener: &TcpListener) -> Vec<u8> {
    let mut readers = Vec::new();
    loop {
        match accept(listener) {
            Ok(stream) => readers.push(go(move || hear(stream))),
            Err(error) => {
                assert!(is_closed(&error), "accept: {error}");
                return readers.into_iter().filter_map(join).collect();
            }
        }
    }
}

/// Returns whom it has heard, if it was somebody who did not hang up.
fn hear(mut stream: TcpStream) -> Option<u8> {
    let mut said = Vec::new();
    let end = stream.read_to_end(&mut said);
    let (&number, rest) = match said.split_first() {
        Some(it) => it,
        None => {
            let error = end.expect_err("only a reset swallows what was said");
            assert!(is_reset(&error), "a stranger's read: {error}");
            return None;
        }
    };
    if let Err(error) = end {
        assert!(is_reset(&error), "read of {number}: {error}");
        assert!(number >= CLIENTS + QUITTERS, "{number} did not hang up");
        check_pattern(number, 0, rest);
        return None;
    }
    assert!(number < CLIENTS + QUITTERS, "{number} hung up");
    assert_eq!(rest.len(), LEN);
    check_pattern(number, 0, rest);
    Some(number)
}
