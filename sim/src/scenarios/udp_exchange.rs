//! Datagrams over a network that may lose them: questions are asked until they are answered.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use netpoll::go;
use netpoll::net::{UdpSocket, is_closed};

use super::Scenario;
use super::common::{check_pattern, join, pattern, retry};

/// Clients at a time.
const CLIENTS: u8 = 2;
/// Questions in a burst, which may all be in the socket when one event tells of them.
const BURST: u8 = 5;
/// Bursts of each client.
const BURSTS: u8 = 2;
/// After this long a question is asked again: nobody takes so long who has not lost it.
const PATIENCE: Duration = Duration::from_millis(300);
/// Bytes of a datagram.
const LEN: usize = 20;

pub(super) fn scenario() -> Scenario {
    Scenario::new(
        "udp_exchange",
        "one edge stands for many datagrams, and a deadline fires as one comes: each is there without another",
        body,
    )
}

fn body() {
    let server = Arc::new(bind());
    let addr = server.local_addr().expect("it is open");
    // Two of them, for one socket.
    let servers: Vec<_> = (0..2)
        .map(|_| {
            let server = Arc::clone(&server);
            go(move || serve(&server))
        })
        .collect();
    let clients: Vec<_> = (0..CLIENTS).map(|number| go(move || ask_all(addr, number))).collect();
    clients.into_iter().for_each(join);
    server.close().expect("nobody else closes");
    servers.into_iter().for_each(join);
}

fn bind() -> UdpSocket {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    retry(|| UdpSocket::bind(any)).expect("a free port can be had")
}

/// Sends back what comes.
fn serve(server: &UdpSocket) {
    let mut buf = [0; 2 * LEN];
    loop {
        let (len, peer) = match server.recv_from(&mut buf) {
            Ok(received) => received,
            Err(error) => return assert!(is_closed(&error), "receive: {error}"),
        };
        match retry(|| server.send_to(&buf[..len], peer)) {
            Ok(sent) => assert_eq!(sent, len, "a datagram goes whole"),
            Err(error) => return assert!(is_closed(&error), "send: {error}"),
        }
    }
}

fn ask_all(addr: SocketAddr, number: u8) {
    let socket = bind();
    socket.connect(addr).expect("the server is on this machine");
    socket.set_read_timeout(Some(PATIENCE)).expect("not zero");
    for burst in 0..BURSTS {
        let first = (number * BURSTS + burst) * BURST;
        let mut missing: BTreeSet<u8> = (first..first + BURST).collect();
        while !missing.is_empty() {
            for &question in &missing {
                let mut datagram = vec![question];
                datagram.extend(pattern(question, 0, LEN));
                let sent = retry(|| socket.send(&datagram)).expect("it is open");
                assert_eq!(sent, datagram.len(), "a datagram goes whole");
            }
            hear(&socket, &mut missing);
        }
    }
}

/// Takes answers until none is missing or it seems that none will come. An answer may come twice, and late.
fn hear(socket: &UdpSocket, missing: &mut BTreeSet<u8>) {
    let mut buf = [0; 2 * LEN];
    while !missing.is_empty() {
        match socket.recv(&mut buf) {
            Ok(len) => {
                assert_eq!(len, 1 + LEN, "a datagram comes whole");
                check_pattern(buf[0], 0, &buf[1..len]);
                missing.remove(&buf[0]);
            }
            Err(error) => return assert_eq!(error.kind(), ErrorKind::TimedOut, "receive: {error}"),
        }
    }
}
