//! An accept loop while descriptors are short.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use netpoll::go;
use netpoll::net::{TcpListener, is_closed};
use netpoll::time::sleep;

use super::Scenario;
use super::common::{address, connect, is_shortage, join, listen};
use crate::{FaultKind, Faults};

/// Connections.
const CLIENTS: u8 = 8;
/// Goroutines that accept.
const ACCEPTORS: usize = 2;

pub(super) fn scenario() -> Scenario {
    let scenario = Scenario::new(
        "accept_while_short",
        "accept fails for want of descriptors after its edge has come: the connection is there without another",
        body,
    );
    Scenario { faults: Faults::light().with(FaultKind::NoDescriptor, 300), ..scenario }
}

fn body() {
    let listener = Arc::new(listen());
    let addr = address(&listener);
    let clients: Vec<_> = (0..CLIENTS).map(|number| go(move || ask(addr, number))).collect();
    let acceptors: Vec<_> = (0..ACCEPTORS)
        .map(|_| {
            let listener = Arc::clone(&listener);
            go(move || serve(&listener))
        })
        .collect();
    clients.into_iter().for_each(join);
    listener.close().expect("nobody else closes");
    let served: usize = acceptors.into_iter().map(join).sum();
    assert_eq!(served, usize::from(CLIENTS));
}

fn serve(listener: &TcpListener) -> usize {
    let mut served = 0;
    loop {
        match listener.accept() {
            Ok((mut stream, _)) => {
                let mut byte = [0];
                stream.read_exact(&mut byte).expect("the client writes");
                stream.write_all(&byte).expect("the client reads");
                served += 1;
            }
            // No further event tells of a connection that is in the queue already.
            Err(error) if is_shortage(&error) => sleep(Duration::from_micros(20)),
            Err(error) => {
                assert!(is_closed(&error), "accept: {error}");
                return served;
            }
        }
    }
}

fn ask(addr: SocketAddr, number: u8) {
    let mut stream = connect(addr);
    stream.write_all(&[number]).expect("there is room for one byte");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("the server answers");
    assert_eq!(answer, [number]);
}
