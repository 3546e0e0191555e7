//! Many short connections, several acceptors on one listener.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use netpoll::go;
use netpoll::net::{TcpListener, is_closed};

use super::Scenario;
use super::common::{accept, address, connect, join, listen};

/// Connections.
const CLIENTS: u8 = 16;
/// Goroutines that accept from the one listener.
const ACCEPTORS: usize = 3;

pub(super) fn scenario() -> Scenario {
    Scenario::new(
        "accept_storm",
        "one edge stands for many connections: each is accepted, by one acceptor only",
        body,
    )
}

fn body() {
    let listener = Arc::new(listen());
    let addr = address(&listener);
    let acceptors: Vec<_> = (0..ACCEPTORS)
        .map(|_| {
            let listener = Arc::clone(&listener);
            go(move || serve(&listener))
        })
        .collect();
    let clients: Vec<_> = (0..CLIENTS).map(|number| go(move || ask(addr, number))).collect();
    clients.into_iter().for_each(join);
    listener.close().expect("nobody else closes");

    let mut seen: Vec<u8> = acceptors.into_iter().flat_map(join).collect();
    seen.sort_unstable();
    let expected: Vec<u8> = (0..CLIENTS).collect();
    assert_eq!(seen, expected, "each client is served once");
}

/// Accepts until the listener is closed; returns whom it has served.
fn serve(listener: &TcpListener) -> Vec<u8> {
    let mut seen = Vec::new();
    loop {
        let mut stream = match accept(listener) {
            Ok(stream) => stream,
            Err(error) => {
                assert!(is_closed(&error), "accept: {error}");
                return seen;
            }
        };
        let mut number = [0];
        stream.read_exact(&mut number).expect("the client writes");
        stream.write_all(&[!number[0]]).expect("the client reads");
        seen.push(number[0]);
    }
}

fn ask(addr: SocketAddr, number: u8) {
    let mut stream = connect(addr);
    stream.write_all(&[number]).expect("there is room for one byte");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("the server answers");
    assert_eq!(answer, [!number], "client {number} got another's answer");
}
