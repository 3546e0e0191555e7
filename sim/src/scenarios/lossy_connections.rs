//! Connections that are lost in the middle of everything, and made again.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use netpoll::go;
use netpoll::net::{TcpListener, TcpStream, is_closed};
use netpoll::time::sleep;

use super::Scenario;
use super::common::{
    accept, address, check_pattern, is_unlucky, join, listen, pattern, try_connect,
};
use crate::{FaultKind, Faults};

/// Clients at a time.
const CLIENTS: u8 = 3;
/// Messages of each, one after the other, each until it has come back.
const MESSAGES: usize = 4;
/// Bytes of a message.
const LEN: usize = 3_000;
/// Who is not answered for so long gives its connection up, as it must: a peer may be gone without a word.
const CLIENT_PATIENCE: Duration = Duration::from_secs(5);
const SERVER_PATIENCE: Duration = Duration::from_secs(20);
/// The time between two attempts to connect.
const PAUSE: Duration = Duration::from_micros(50);

pub(super) fn scenario() -> Scenario {
    let scenario = Scenario::new(
        "lossy_connections",
        "connections are reset, fall silent or cannot be watched: all who use one hear of it, and go on",
        body,
    );
    // No profile has these: a program has to expect them of a network, but not of its own machine.
    let faults = Faults::light()
        .with(FaultKind::StreamReset, 15)
        .with(FaultKind::StreamTimeout, 10)
        .with(FaultKind::NoStreamWatch, 50)
        .with(FaultKind::ConnAborted, 500)
        .with(FaultKind::ConnRefused, 50);
    Scenario { faults, ..scenario }
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
                let mut stream = None;
                for message in 0..MESSAGES {
                    let tag = number * MESSAGES as u8 + message as u8;
                    // As often as it takes: the network is bad, but not for ever.
                    while !say_and_hear(&mut stream, addr, tag) {
                        stream = None;
                    }
                }
            })
        })
        .collect();
    clients.into_iter().for_each(join);
    listener.close().expect("nobody else closes");
    join(server);
}

fn serve(listener: &TcpListener) {
    let mut connections = Vec::new();
    loop {
        match accept(listener) {
            Ok(stream) => connections.push(go(move || echo(stream))),
            Err(error) => {
                assert!(is_closed(&error), "accept: {error}");
                return connections.into_iter().for_each(join);
            }
        }
    }
}

/// Sends back what comes until the end, or until the connection is lost.
fn echo(mut stream: TcpStream) {
    stream.set_read_timeout(Some(SERVER_PATIENCE)).expect("not zero");
    let mut buf = [0; 1_000];
    loop {
        let echoed = match stream.read(&mut buf) {
            Ok(0) => return,
            Ok(len) => stream.write_all(&buf[..len]),
            Err(error) => Err(error),
        };
        if let Err(error) = echoed {
            return assert!(is_lost(&error), "a lost connection says: {error}");
        }
    }
}

/// One message, on the connection that there is or on a new one. False if the connection was lost.
fn say_and_hear(stream: &mut Option<TcpStream>, addr: SocketAddr, tag: u8) -> bool {
    let stream = stream.get_or_insert_with(|| {
        loop {
            match try_connect(addr) {
                Ok(stream) => break stream,
                Err(error) => assert!(is_lost(&error), "connect: {error}"),
            }
            sleep(PAUSE);
        }
    });
    stream.set_read_timeout(Some(CLIENT_PATIENCE)).expect("not zero");
    let mut heard = 0;
    let mut said = stream.write_all(&pattern(tag, 0, LEN));
    let mut buf = [0; LEN];
    while said.is_ok() && heard < LEN {
        match stream.read(&mut buf[heard..]) {
            // The server could not keep the connection.
            Ok(0) => return false,
            Ok(len) => {
                // What does come is right, also if the rest never does.
                check_pattern(tag, heard, &buf[heard..heard + len]);
                heard += len;
            }
            Err(error) => said = Err(error),
        }
    }
    if let Err(error) = &said {
        assert!(is_lost(error), "a lost connection says: {error}");
    }
    said.is_ok()
}

/// Whether this is how a connection looks that is no more, or seems to be.
fn is_lost(error: &std::io::Error) -> bool {
    let kinds = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe, ErrorKind::TimedOut];
    kinds.contains(&error.kind()) || is_unlucky(error)
}
