//! Unix streams: no network between the ends, so that everything happens at once.

use std::io::{ErrorKind, Read, Write};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::SocketAddr;
use std::process;
use std::sync::Arc;

use netpoll::go;
use netpoll::net::{Shutdown, UnixListener, UnixStream, is_closed};

use super::Scenario;
use super::common::{check_pattern, join, pattern, retry};

/// Clients at a time.
const CLIENTS: u8 = 3;
/// Bytes that each sends and wants back: more than a socket's buffer holds.
const LEN: usize = 300_000;

pub(super) fn scenario() -> Scenario {
    Scenario::new(
        "unix_streams",
        "a reader takes what fills a Unix stream as its writer parks: the room it makes is heard of",
        body,
    )
}

fn body() {
    echo_through_a_listener();
    for unread in [false, true] {
        close_a_full_stream(unread);
    }
}

fn echo_through_a_listener() {
    // No file, so that nothing is left of it; of this process, since real names are everybody's.
    let name = format!("netpoll-unix-streams-{}", process::id());
    let addr = SocketAddr::from_abstract_name(name).expect("a short name");
    let listener = retry(|| UnixListener::bind_addr(&addr)).expect("nobody else has this name");
    let listener = Arc::new(listener);
    let server = {
        let listener = Arc::clone(&listener);
        go(move || serve(&listener))
    };
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let addr = addr.clone();
            go(move || ask(&addr, number))
        })
        .collect();
    clients.into_iter().for_each(join);
    listener.close().expect("nobody else closes");
    join(server);
}

fn serve(listener: &UnixListener) {
    let mut connections = Vec::new();
    loop {
        match retry(|| listener.accept()) {
            Ok((stream, _)) => connections.push(go(move || echo(stream))),
            Err(error) => {
                assert!(is_closed(&error), "accept: {error}");
                return connections.into_iter().for_each(join);
            }
        }
    }
}

fn echo(mut stream: UnixStream) {
    let mut buf = vec![0; 20_000];
    loop {
        match stream.read(&mut buf).expect("the client is there") {
            0 => return,
            len => stream.write_all(&buf[..len]).expect("the client is there"),
        }
    }
}

fn ask(addr: &SocketAddr, number: u8) {
    let stream = Arc::new(retry(|| UnixStream::connect_addr(addr)).expect("somebody listens"));
    let speaker = {
        let stream = Arc::clone(&stream);
        go(move || {
            (&*stream).write_all(&pattern(number, 0, LEN)).expect("the server is there");
            stream.shutdown(Shutdown::Write).expect("it is open");
        })
    };
    let mut heard = Vec::new();
    (&*stream).read_to_end(&mut heard).expect("the server answers");
    join(speaker);
    assert_eq!(heard.len(), LEN, "bytes that came back");
    check_pattern(number, 0, &heard);
}

/// The other end goes while a writer is parked: it hears of it at once, and so does a reader.
fn close_a_full_stream(unread: bool) {
    let (stream, mut peer) = retry(UnixStream::pair).expect("descriptors are there");
    let stream = Arc::new(stream);
    let writer = {
        let stream = Arc::clone(&stream);
        go(move || {
            let zeros = vec![0; 1 << 16];
            loop {
                if let Err(error) = (&*stream).write(&zeros) {
                    return error;
                }
            }
        })
    };
    let reader = {
        let stream = Arc::clone(&stream);
        go(move || (&*stream).read(&mut [0]))
    };
    // Some of it has come, so that the writer is near the end of its room or beyond.
    let mut some = vec![0; 100_000];
    peer.read_exact(&mut some).expect("the writer writes");
    if !unread {
        peer.shutdown(Shutdown::Read).expect("it is open");
    }
    peer.close().expect("nobody else closes");
    let gone = [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset];
    let error = join(writer);
    assert!(gone.contains(&error.kind()), "a peer that is gone writes as: {error}");
    match join(reader) {
        Ok(len) => assert_eq!(len, 0, "the peer has said nothing"),
        Err(error) => assert!(gone.contains(&error.kind()), "it reads as: {error}"),
    }
}
