//! Streams that end in one direction and go on in the other.

use std::io::{Read, Write};
use std::net::SocketAddr;

use netpoll::go;
use netpoll::net::{Shutdown, TcpListener, TcpStream};

use super::Scenario;
use super::common::{accept, address, check_pattern, connect, join, listen, pattern};

/// The lengths of the requests. Reads ask for more than a request has, so that they take all there is
/// and the next one waits without asking first: for the end, which comes with an event of its own.
const REQUESTS: [usize; 5] = [1, 10, 700, 0, 70_000];
/// Bytes of an answer, one longer than the buffers on its way.
const ANSWERS: [usize; 5] = [1, 200_000, 10, 3, 500];

pub(super) fn scenario() -> Scenario {
    Scenario::new(
        "half_close",
        "the end of a stream comes just after a read that took all there was: nobody waits for more",
        body,
    )
}

fn body() {
    let listener = listen();
    let addr = address(&listener);
    let server = go(move || serve(&listener));
    let clients: Vec<_> = (0..REQUESTS.len()).map(|turn| go(move || ask(addr, turn))).collect();
    clients.into_iter().for_each(join);
    join(server);
}

fn serve(listener: &TcpListener) {
    let connections: Vec<_> = (0..REQUESTS.len())
        .map(|_| accept(listener).expect("nobody closes the listener"))
        .map(|stream| go(move || answer(stream)))
        .collect();
    connections.into_iter().for_each(join);
}

/// Reads to the end, and only then says something.
fn answer(mut stream: TcpStream) {
    let mut buf = [0; 4096];
    let mut turn = None;
    let mut heard = 0;
    loop {
        let len = stream.read(&mut buf).expect("the client is there");
        if len == 0 {
            break;
        }
        let turn = *turn.get_or_insert(usize::from(buf[0]));
        // The first byte is the turn; the rest is the request.
        let skip = usize::from(heard == 0);
        check_pattern(turn as u8, (heard + skip).saturating_sub(1), &buf[skip..len]);
        heard += len;
    }
    let turn = turn.expect("the client says who it is");
    assert_eq!(heard, 1 + REQUESTS[turn], "bytes of request {turn}");
    assert_eq!(stream.read(&mut buf).expect("the end stays"), 0);
    stream.write_all(&pattern(!(turn as u8), 0, ANSWERS[turn])).expect("the client reads");
}

fn ask(addr: SocketAddr, turn: usize) {
    let mut stream = connect(addr);
    stream.write_all(&[turn as u8]).expect("there is room for one byte");
    stream.write_all(&pattern(turn as u8, 0, REQUESTS[turn])).expect("the server reads");
    stream.shutdown(Shutdown::Write).expect("it is open");
    let refused = stream.write(&[0]).expect_err("its writing side is shut down");
    assert_eq!(refused.kind(), std::io::ErrorKind::BrokenPipe, "{refused}");
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).expect("the server answers");
    assert_eq!(heard.len(), ANSWERS[turn], "bytes of answer {turn}");
    check_pattern(!(turn as u8), 0, &heard);
}
