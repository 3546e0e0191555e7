//! Unix datagrams: none is lost, so a sender has to wait for its receiver's queue.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::SocketAddr;
use std::process;
use std::time::Duration;

use netpoll::go;
use netpoll::net::UnixDatagram;
use netpoll::time::sleep;

use super::Scenario;
use super::common::{check_pattern, join, pattern, retry};

/// Senders, of which the first is connected and hears of room, and the others look again.
const SENDERS: u8 = 3;
/// Datagrams of each: together more than a queue holds.
const DATAGRAMS: u8 = 12;
/// Bytes of a datagram.
const LEN: usize = 30;

pub(super) fn scenario() -> Scenario {
    Scenario::new(
        "unix_datagrams",
        "a queue gets room as senders park for it: each datagram arrives once, and in its sender's order",
        body,
    )
}

fn body() {
    let name = format!("netpoll-unix-datagrams-{}", process::id());
    let addr = SocketAddr::from_abstract_name(name).expect("a short name");
    let receiver = retry(|| UnixDatagram::bind_addr(&addr)).expect("nobody else has this name");
    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let addr = addr.clone();
            go(move || send_all(&addr, sender))
        })
        .collect();
    let mut next = [0; SENDERS as usize];
    let mut buf = [0; 2 * LEN];
    for turn in 0..u32::from(SENDERS) * u32::from(DATAGRAMS) {
        let len = retry(|| receiver.recv(&mut buf)).expect("the senders send");
        assert_eq!(len, 2 + LEN, "a datagram comes whole");
        let [sender, number] = [buf[0], buf[1]];
        assert_eq!(number, next[usize::from(sender)], "of sender {sender}");
        next[usize::from(sender)] += 1;
        check_pattern(sender, usize::from(number), &buf[2..len]);
        // Slow at first, so that the queue is full, and then not.
        if turn < 8 {
            sleep(Duration::from_micros(30));
        }
    }
    senders.into_iter().for_each(join);
}

fn send_all(addr: &SocketAddr, sender: u8) {
    let socket = retry(UnixDatagram::unbound).expect("descriptors are there");
    if sender == 0 {
        socket.connect_addr(addr).expect("the receiver is there");
    }
    for number in 0..DATAGRAMS {
        let mut datagram = vec![sender, number];
        datagram.extend(pattern(sender, usize::from(number), LEN));
        let sent = match sender {
            0 => retry(|| socket.send(&datagram)),
            _ => retry(|| socket.send_to_addr(&datagram, addr)),
        };
        assert_eq!(sent.expect("the receiver is there"), datagram.len());
    }
}
