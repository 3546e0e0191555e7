//! Connections that have said everything before anybody accepts them.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use netpoll::go;
use netpoll::net::{Shutdown, TcpStream};
use netpoll::time::sleep;

use super::Scenario;
use super::common::{accept, address, check_pattern, connect, join, listen, pattern};

/// Connections.
const CLIENTS: u8 = 6;
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
    let listener = listen();
    let addr = address(&listener);
    let clients: Vec<_> = (0..CLIENTS).map(|number| go(move || tell(addr, number))).collect();
    // Some have ended by now, the others come while connections are registered.
    sleep(Duration::from_micros(120));
    let readers: Vec<_> = (0..CLIENTS)
        .map(|_| accept(&listener).expect("nobody closes the listener"))
        .map(|stream| go(move || hear(stream)))
        .collect();
    let mut heard: Vec<u8> = readers.into_iter().map(join).collect();
    heard.sort_unstable();
    assert!(heard.into_iter().eq(0..CLIENTS), "each client is heard once");
    clients.into_iter().for_each(join);
}

fn tell(addr: SocketAddr, number: u8) {
    let mut stream = connect(addr);
    stream.write_all(&[number]).expect("there is room");
    stream.write_all(&pattern(number, 0, LEN)).expect("there is room");
    stream.shutdown(Shutdown::Write).expect("it is open");
    // Who closes before it was accepted may be taken for one that has given up.
    assert_eq!(stream.read(&mut [0]).expect("the server says nothing"), 0);
}

/// Returns whom it has heard.
fn hear(mut stream: TcpStream) -> u8 {
    let mut number = [0];
    stream.read_exact(&mut number).expect("the client writes");
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).expect("the client ends its stream");
    assert_eq!(rest.len(), LEN);
    check_pattern(number[0], 0, &rest);
    number[0]
}
