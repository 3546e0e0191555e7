//! Many connections, each for one question.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use netpoll::go;
use netpoll::net::{TcpListener, TcpStream, is_closed};
use netpoll::sync::WaitGroup;

use super::Scenario;
use super::common::{accept, address, connect, join, listen};

/// Goroutines that connect, one connection after the other.
const LANES: u8 = 4;
/// Connections of each.
const CONNECTIONS: u8 = 10;

pub(super) fn scenario() -> Scenario {
    Scenario::new(
        "short_connections",
        "descriptors, goroutines and stacks are used again at once: nothing of the last life is left in them",
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
    let lanes: Vec<_> = (0..LANES)
        .map(|lane| go(move || (0..CONNECTIONS).for_each(|turn| ask(addr, lane, turn))))
        .collect();
    lanes.into_iter().for_each(join);
    listener.close().expect("nobody else closes");
    let served = join(server);
    assert_eq!(served, usize::from(LANES) * usize::from(CONNECTIONS));
}

/// A goroutine for each connection; returns how many there were when all have ended.
fn serve(listener: &TcpListener) -> usize {
    let served = Arc::new(AtomicUsize::new(0));
    let connections = WaitGroup::new();
    loop {
        match accept(listener) {
            Ok(stream) => {
                let served = Arc::clone(&served);
                connections.go(move || {
                    answer(stream);
                    served.fetch_add(1, Relaxed);
                });
            }
            Err(error) => {
                assert!(is_closed(&error), "accept: {error}");
                connections.wait();
                return served.load(Relaxed);
            }
        }
    }
}

fn answer(mut stream: TcpStream) {
    let mut question = [0; 2];
    stream.read_exact(&mut question).expect("the client writes");
    let [lane, turn] = question;
    stream.write_all(&[turn, lane, lane ^ turn]).expect("the client reads");
}

fn ask(addr: SocketAddr, lane: u8, turn: u8) {
    let mut stream = connect(addr);
    stream.write_all(&[lane, turn]).expect("there is room");
    if turn.is_multiple_of(2) {
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("the server answers");
        assert_eq!(answer, [turn, lane, lane ^ turn]);
    } else {
        // Closes before the server does, with its end of stream on the way.
        let mut answer = [0; 3];
        stream.read_exact(&mut answer).expect("the server answers");
        assert_eq!(answer, [turn, lane, lane ^ turn]);
    }
}
