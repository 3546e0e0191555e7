//! A proxy: two streams, two copying goroutines, and each end of stream passed on.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use netpoll::go;
use netpoll::net::{Shutdown, TcpListener, TcpStream};

use super::Scenario;
use super::common::{accept, address, check_pattern, connect, join, listen, pattern};

/// Bytes that each client sends and wants back.
const LENGTHS: [usize; 3] = [1, 3_000, 100_000];

pub(super) fn scenario() -> Scenario {
    Scenario::new(
        "proxy",
        "each stream waits for room in another: bytes and ends are passed on, whoever is full or quick",
        body,
    )
}

fn body() {
    let (server, proxy) = (listen(), listen());
    let (server_addr, proxy_addr) = (address(&server), address(&proxy));
    let serving = go(move || each_connection(&server, |stream| copy(&stream, &stream)));
    let passing = go(move || {
        each_connection(&proxy, move |client| pass_on(client, connect(server_addr)));
    });
    let clients: Vec<_> =
        (0..LENGTHS.len()).map(|turn| go(move || ask(proxy_addr, turn))).collect();
    clients.into_iter().for_each(join);
    join(passing);
    join(serving);
}

/// Handles as many connections as there are clients, each in a goroutine.
fn each_connection(listener: &TcpListener, handle: impl Fn(TcpStream) + Clone + Send + 'static) {
    let connections: Vec<_> = LENGTHS
        .iter()
        .map(|_| {
            let stream = accept(listener).expect("nobody closes the listener");
            let handle = handle.clone();
            go(move || handle(stream))
        })
        .collect();
    connections.into_iter().for_each(join);
}

/// Both directions at a time.
fn pass_on(client: TcpStream, server: TcpStream) {
    let (client, server) = (Arc::new(client), Arc::new(server));
    let back = {
        let (client, server) = (Arc::clone(&client), Arc::clone(&server));
        go(move || copy(&server, &client))
    };
    copy(&client, &server);
    join(back);
}

/// Copies until the end, and passes the end on.
fn copy(mut from: &TcpStream, mut to: &TcpStream) {
    let mut buf = vec![0; 8 * 1024];
    loop {
        match from.read(&mut buf).expect("nobody gives up") {
            0 => break,
            len => to.write_all(&buf[..len]).expect("nobody gives up"),
        }
    }
    to.shutdown(Shutdown::Write).expect("it is open");
}

fn ask(addr: SocketAddr, turn: usize) {
    let (tag, len) = (turn as u8, LENGTHS[turn]);
    let stream = Arc::new(connect(addr));
    let speaker = {
        let stream = Arc::clone(&stream);
        go(move || {
            (&*stream).write_all(&pattern(tag, 0, len)).expect("the proxy reads");
            stream.shutdown(Shutdown::Write).expect("it is open");
        })
    };
    let mut heard = Vec::new();
    (&*stream).read_to_end(&mut heard).expect("the server answers");
    join(speaker);
    assert_eq!(heard.len(), len, "bytes that came back");
    check_pattern(tag, 0, &heard);
}
