//! Tests of the simulated kernel.
//!
//! * `conformance`: scripts that run on this kernel and on that of the machine, step by step, and must
//!   read the same.
//! * `freedom`: what the simulated kernel may do in many ways, under many seeds.

mod conformance;
mod freedom;

use std::fmt::Debug;
use std::net::{Ipv4Addr, SocketAddr};

use netpoll::platform::{Domain, EpollEvent, Errno, Kernel, RawFd, SockAddr, SockType};

use crate::conform::{Scripted, events_text};

pub(super) fn loopback(port: u16) -> SockAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into()
}

pub(super) fn tcp(k: &dyn Kernel) -> RawFd {
    k.socket(Domain::Inet, SockType::Stream).unwrap()
}

/// A listener on a fresh port, and its address.
pub(super) fn listener(k: &dyn Kernel) -> (RawFd, SockAddr) {
    let fd = tcp(k);
    k.bind(fd, &loopback(0)).unwrap();
    k.listen(fd, 16).unwrap();
    (fd, k.getsockname(fd).unwrap())
}

/// A connected pair: the client's and the server's end. The listener is closed.
pub(super) fn pair(k: &dyn Scripted) -> (RawFd, RawFd) {
    let (listener, addr) = listener(k);
    let client = tcp(k);
    assert_eq!(k.connect(client, &addr), Err(Errno::EINPROGRESS));
    k.settle();
    let (server, _) = k.accept4(listener).unwrap();
    k.close(listener).unwrap();
    (client, server)
}

/// All the bits that a poller may want, edge-triggered.
pub(super) const EDGES: u32 =
    (libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET) as u32;

pub(super) fn watch(k: &dyn Kernel, ep: RawFd, fd: RawFd, events: u32, data: u64) {
    k.epoll_add(ep, fd, EpollEvent { events, data }).unwrap();
}

/// The events that are ready now, by their data, as text.
pub(super) fn ready(k: &dyn Kernel, ep: RawFd) -> String {
    let mut events = [EpollEvent::default(); 8];
    let n = k.epoll_wait(ep, &mut events, 0).unwrap();
    let mut events: Vec<_> = events[..n].to_vec();
    events.sort_by_key(|event| event.data);
    events_text(&events)
}

/// The bytes of one read of at most 16, or its error, as text.
pub(super) fn read(k: &dyn Kernel, fd: RawFd) -> String {
    let mut buf = [0; 16];
    match k.read(fd, &mut buf) {
        Ok(n) => format!("{:?}", String::from_utf8_lossy(&buf[..n])),
        Err(errno) => errno.to_string(),
    }
}

/// A result without its value, which differs between kernels.
pub(super) fn verdict<T: Debug>(result: Result<T, Errno>) -> String {
    match result {
        Ok(_) => "ok".to_string(),
        Err(errno) => errno.to_string(),
    }
}
