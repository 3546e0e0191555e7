//! Numbers and poll descriptors in their next life while events of the last one are on the way.

use std::io::{Read, Write};

use netpoll::go;
use netpoll::net::TcpStream;

use super::Scenario;
use super::common::{check_pattern, is_reset, join, pair, pattern};

/// Goroutines that open and close at a time.
const LANES: u8 = 3;
/// Connections of each.
const ROUNDS: u8 = 5;
/// Bytes of a message.
const LEN: usize = 8;

pub(super) fn scenario() -> Scenario {
    Scenario::new(
        "fd_reuse",
        "a number is opened again while a reset of its last life is on the way: no event crosses over",
        body,
    )
}

fn body() {
    let lane = |lane| move || (0..ROUNDS).for_each(|round| turn(lane * ROUNDS + round, round));
    let lanes: Vec<_> = (0..LANES).map(|number| go(lane(number))).collect();
    lanes.into_iter().for_each(join);
}

/// A connection that works, and ends with a reset on its way to a number that is free by then.
fn turn(tag: u8, round: u8) {
    let (mut client, mut server) = pair();
    client.write_all(&pattern(tag, 0, LEN)).expect("there is room");
    let mut heard = [0; LEN];
    server.read_exact(&mut heard).expect("the client writes, and nothing else has happened here");
    check_pattern(tag, 0, &heard);
    server.write_all(&pattern(!tag, 0, LEN)).expect("there is room");
    client.read_exact(&mut heard).expect("the server writes, and nothing else has happened here");
    check_pattern(!tag, 0, &heard);

    // These are never read, so the server's close resets the connection.
    client.write_all(&pattern(tag, LEN, LEN)).expect("there is room");
    assert_eq!(server.peek(&mut [0]).expect("the client writes"), 1);
    if round.is_multiple_of(2) {
        let waiting = go(move || expect_reset(client));
        server.close().expect("nobody else closes");
        join(waiting);
    } else {
        server.close().expect("nobody else closes");
        client.close().expect("nobody else closes");
    }
}

fn expect_reset(mut client: TcpStream) {
    let error = client.read(&mut [0]).expect_err("the server has closed with bytes unread");
    assert!(is_reset(&error), "a reset reads as: {error}");
}
