//! Messages of all sizes to a server and back.

use std::io::{Read, Write};
use std::sync::Arc;

use netpoll::go;
use netpoll::net::{Shutdown, TcpListener, TcpStream};

use super::Scenario;
use super::common::{accept, address, connect, join, listen};

/// Clients at a time.
const CLIENTS: u8 = 4;
/// The lengths of the messages of each client, in bytes.
const LENGTHS: [usize; 10] = [1, 100, 7, 4_096, 1_000, 20_000, 2, 16_384, 300, 50];
/// One message of each client is longer than the buffers of a socket.
const LONG: usize = 80_000;

pub(super) fn scenario() -> Scenario {
    Scenario::new(
        "echo",
        "a read or write parks while its edge is on the way: every byte comes back, in order",
        body,
    )
}

fn body() {
    let listener = listen();
    let addr = address(&listener);
    let server = go(move || serve(&listener));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            go(move || {
                let stream = Arc::new(connect(addr));
                for (turn, len) in LENGTHS.into_iter().enumerate() {
                    say_and_hear(&stream, message(number, turn, len));
                }
                say_and_hear(&stream, message(number, LENGTHS.len(), LONG));
                stream.shutdown(Shutdown::Write).expect("it is open");
                let rest = (&*stream).read(&mut [0]).expect("the end of the stream");
                assert_eq!(rest, 0, "client {number}: more came back than went out");
                stream.close().expect("it is open");
            })
        })
        .collect();
    clients.into_iter().for_each(join);
    join(server);
}

/// A goroutine for each connection.
fn serve(listener: &TcpListener) {
    let connections: Vec<_> = (0..CLIENTS)
        .map(|_| accept(listener).expect("nobody closes the listener"))
        .map(|stream| go(move || echo(stream)))
        .collect();
    connections.into_iter().for_each(join);
    listener.close().expect("it is open");
}

fn echo(mut stream: TcpStream) {
    let mut buf = vec![0; 16 * 1024];
    loop {
        match stream.read(&mut buf).expect("the client is there") {
            0 => return,
            len => stream.write_all(&buf[..len]).expect("the client is there"),
        }
    }
}

/// Sends a message and demands it back, at once in both directions: the message may be longer than all
/// buffers on its way.
fn say_and_hear(stream: &Arc<TcpStream>, message: Vec<u8>) {
    let mut heard = vec![0; message.len()];
    if message.len() < LONG {
        (&**stream).write_all(&message).expect("the server is there");
        (&**stream).read_exact(&mut heard).expect("the server is there");
    } else {
        let message = message.clone();
        let speaker = {
            let stream = Arc::clone(stream);
            go(move || (&*stream).write_all(&message))
        };
        (&**stream).read_exact(&mut heard).expect("the server is there");
        join(speaker).expect("the server is there");
    }
    let differs = heard.iter().zip(&message).position(|(a, b)| a != b);
    assert_eq!(differs, None, "{} bytes differ from here on", message.len());
}

/// Bytes that differ between clients, turns and places.
fn message(client: u8, turn: usize, len: usize) -> Vec<u8> {
    let start = usize::from(client) * 83 + turn * 29;
    (start..start + len).map(|at| (at % 251) as u8).collect()
}
