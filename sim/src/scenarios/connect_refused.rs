//! Connections to nobody, among connections to somebody.

use std::io::{Read, Write};
use std::net::SocketAddr;

use netpoll::go;

use super::Scenario;
use super::common::{accept, address, connect, is_unlucky, join, listen, try_connect};

/// Goroutines that connect to nobody.
const UNLUCKY: usize = 3;
/// Attempts of each.
const ATTEMPTS: usize = 4;
/// Connections to somebody meanwhile.
const LUCKY: u8 = 4;

pub(super) fn scenario() -> Scenario {
    Scenario::new(
        "connect_refused",
        "an event without meaning comes while a connection is refused: it must not look established",
        body,
    )
}

fn body() {
    let nobody = {
        let listener = listen();
        let addr = address(&listener);
        listener.close().expect("nobody else closes");
        addr
    };
    let unlucky: Vec<_> = (0..UNLUCKY)
        .map(|_| go(move || (0..ATTEMPTS).for_each(|_| expect_refusal(nobody))))
        .collect();
    let listener = listen();
    let addr = address(&listener);
    let server = go(move || {
        for _ in 0..LUCKY {
            let mut stream = accept(&listener).expect("nobody closes the listener");
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("the client writes");
            stream.write_all(&byte).expect("the client reads");
        }
    });
    (0..LUCKY).for_each(|number| expect_answer(addr, number));
    unlucky.into_iter().for_each(join);
    join(server);
}

fn expect_refusal(addr: SocketAddr) {
    match try_connect(addr) {
        Err(error) => assert!(is_unlucky(&error), "{error}"),
        // On a real machine another process may have taken the port by now, or the kernel may have
        // connected the socket to itself. Then there is a peer, which is what counts.
        Ok(stream) => drop(stream.peer_addr().expect("it says that it is connected")),
    }
}

fn expect_answer(addr: SocketAddr, number: u8) {
    let mut stream = connect(addr);
    let peer = stream.peer_addr().expect("it says that it is connected");
    assert_eq!(peer, addr);
    stream.write_all(&[number]).expect("there is room for one byte");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("the server answers");
    assert_eq!(answer, [number]);
}
