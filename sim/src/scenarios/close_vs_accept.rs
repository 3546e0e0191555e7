//! A listener that is closed while goroutines accept from it and others connect to it.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use netpoll::go;
use netpoll::net::{TcpListener, is_closed};
use netpoll::time::sleep;

use super::Scenario;
use super::common::{accept, address, is_failed_attempt, is_reset, join, listen, try_connect};

/// Clients in a round.
const CLIENTS: u8 = 5;
/// Goroutines that accept.
const ACCEPTORS: usize = 2;
/// When the listener is closed, in microseconds after the first client has begun.
const CLOSE_US: [u64; 3] = [0, 15, 60];

pub(super) fn scenario() -> Scenario {
    Scenario::new(
        "close_vs_accept",
        "a listener closes as clients connect and acceptors park: served whole or refused, nobody left over",
        body,
    )
}

fn body() {
    CLOSE_US.into_iter().for_each(round);
}

fn round(close_us: u64) {
    let listener = Arc::new(listen());
    let addr = address(&listener);
    let acceptors: Vec<_> = (0..ACCEPTORS)
        .map(|_| {
            let listener = Arc::clone(&listener);
            go(move || serve(&listener))
        })
        .collect();
    let clients: Vec<_> = (0..CLIENTS).map(|number| go(move || ask(addr, number))).collect();
    sleep(Duration::from_micros(close_us));
    listener.close().expect("nobody else closes");
    let error = listener.accept().expect_err("it is closed");
    assert!(is_closed(&error), "a closed listener accepts as: {error}");

    let mut served: Vec<u8> = acceptors.into_iter().flat_map(join).collect();
    served.sort_unstable();
    let answered: Vec<u8> = clients.into_iter().filter_map(join).collect();
    assert_eq!(served, answered, "who was served has an answer, and nobody else");
}

/// Accepts until the listener is closed; returns whom it has served.
fn serve(listener: &TcpListener) -> Vec<u8> {
    let mut served = Vec::new();
    loop {
        let mut stream = match accept(listener) {
            Ok(stream) => stream,
            Err(error) => {
                assert!(is_closed(&error), "accept: {error}");
                return served;
            }
        };
        let mut number = [0];
        stream.read_exact(&mut number).expect("the client writes");
        stream.write_all(&[!number[0]]).expect("the client reads");
        served.push(number[0]);
    }
}

/// The client's number if it got an answer.
fn ask(addr: SocketAddr, number: u8) -> Option<u8> {
    let mut stream = match try_connect(addr) {
        Ok(stream) => stream,
        Err(error) => {
            // Refused for being late, or reset in the queue before the connection was complete.
            assert!(is_failed_attempt(&error) || is_reset(&error), "connect: {error}");
            return None;
        }
    };
    let mut answer = Vec::new();
    let asked = stream.write_all(&[number]).and_then(|()| stream.read_to_end(&mut answer));
    match asked {
        Ok(_) => {
            assert_eq!(answer, [!number], "client {number} got another's answer");
            Some(number)
        }
        Err(error) => {
            assert!(is_reset(&error), "a connection that nobody accepted ends with: {error}");
            assert!(answer.is_empty(), "an answer of a connection that nobody accepted");
            None
        }
    }
}
