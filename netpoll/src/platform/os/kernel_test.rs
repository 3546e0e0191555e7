//! The real kernel through the seam: what the backends and TCP rely on.

use super::*;
use crate::platform::os::testing::in_child;
use std::io::{IoSlice, IoSliceMut};
use std::net::SocketAddr;

const K: OsKernel = OsKernel;
const IN: u32 = libc::EPOLLIN as u32;
const OUT: u32 = libc::EPOLLOUT as u32;
const EDGE: u32 = libc::EPOLLET as u32;
const HANGUP: u32 = libc::EPOLLRDHUP as u32;

/// A listening socket on a free port of the loopback interface.
fn listener() -> (RawFd, SockAddr) {
    let fd = K.socket(Domain::Inet, SockType::Stream).unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    K.setsockopt(fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1).unwrap();
    K.bind(fd, &any.into()).unwrap();
    K.listen(fd, 16).unwrap();
    (fd, K.getsockname(fd).unwrap())
}

/// Both ends of a connection: the connecting one first.
fn connection() -> (RawFd, RawFd) {
    let (listening, addr) = listener();
    let client = K.socket(Domain::Inet, SockType::Stream).unwrap();
    assert_eq!(K.connect(client, &addr), Err(Errno::EINPROGRESS));
    let epfd = K.epoll_create1().unwrap();
    K.epoll_add(epfd, listening, EpollEvent { events: IN, data: 1 }).unwrap();
    assert_eq!(wait(epfd, 5000), [EpollEvent { events: IN, data: 1 }]);
    let (server, peer) = K.accept4(listening).unwrap();
    assert_eq!(Ok(peer), K.getsockname(client));
    assert_eq!(Ok(addr), K.getpeername(client));
    assert_eq!(K.getsockopt(client, libc::SOL_SOCKET, libc::SO_ERROR), Ok(0));
    assert_eq!(K.accept4(listening), Err(Errno::EAGAIN));
    close([epfd, listening]);
    (client, server)
}

pub(super) fn close<const N: usize>(fds: [RawFd; N]) {
    for fd in fds {
        assert_eq!(K.close(fd), Ok(()));
    }
}

/// The events of one wait, retried when a signal of another test interrupts it.
pub(super) fn wait(epfd: RawFd, timeout_ms: i32) -> Vec<EpollEvent> {
    let mut events = [EpollEvent::default(); 128];
    loop {
        match K.epoll_wait(epfd, &mut events, timeout_ms) {
            Err(Errno::EINTR) => {}
            count => return events[..count.unwrap()].to_vec(),
        }
    }
}

#[test]
fn bytes_cross_a_connection_and_every_edge_is_reported_once() {
    let (client, server) = connection();
    let epfd = K.epoll_create1().unwrap();
    let interest = IN | OUT | HANGUP | EDGE;
    let data = 0xfedc_ba98_7654_3210;
    K.epoll_add(epfd, server, EpollEvent { events: interest, data }).unwrap();
    assert_eq!(wait(epfd, 5000), [EpollEvent { events: OUT, data }]);
    assert_eq!(wait(epfd, 0), [], "edge-triggered: the same edge does not come twice");

    let mut buf = [0; 8];
    assert_eq!(K.read(server, &mut buf), Err(Errno::EAGAIN));
    assert_eq!(K.write(client, b"ping"), Ok(4));
    assert_eq!(wait(epfd, 5000), [EpollEvent { events: IN | OUT, data }]);
    assert_eq!(K.peek(server, &mut buf), Ok(4));
    assert_eq!(K.read(server, &mut buf), Ok(4));
    assert_eq!(&buf[..4], b"ping");

    let parts = [IoSlice::new(b"po"), IoSlice::new(b""), IoSlice::new(b"ng!")];
    assert_eq!(K.writev(client, &parts), Ok(5));
    wait(epfd, 5000);
    let (mut head, mut tail) = ([0; 3], [0; 8]);
    let mut parts = [IoSliceMut::new(&mut head), IoSliceMut::new(&mut tail)];
    assert_eq!(K.readv(server, &mut parts), Ok(5));
    assert_eq!((&head, &tail[..2]), (b"pon", &b"g!"[..]));

    K.shutdown(client, Shutdown::Write).unwrap();
    assert_eq!(wait(epfd, 5000), [EpollEvent { events: IN | OUT | HANGUP, data }]);
    assert_eq!(K.read(server, &mut buf), Ok(0));
    K.epoll_del(epfd, server).unwrap();
    assert_eq!(K.epoll_del(epfd, server), Err(Errno::ENOENT));
    close([epfd, client, server]);
    assert_eq!(K.close(server), Err(Errno::EBADF));
}

#[test]
fn a_write_to_a_closed_peer_is_an_error_and_not_a_signal() {
    let name = "platform::os::kernel::tests::a_write_to_a_closed_peer_is_an_error_and_not_a_signal";
    in_child(name, || {
        // Rust's runtime ignores SIGPIPE; a program whose `main` is not Rust's does not.
        // SAFETY: a default action refers to no code and no memory.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
        let (client, server) = connection();
        close([server]);
        let mut writes = std::iter::repeat_with(|| K.write(client, b"x")).take(1000);
        let broken = writes.find(Result::is_err);
        let expected = matches!(broken, Some(Err(Errno::EPIPE | Errno::ECONNRESET)));
        assert!(expected, "{broken:?}");
        assert_eq!(K.writev(client, &[IoSlice::new(b"x")]), Err(Errno::EPIPE));
        close([client]);
    });
}

#[test]
fn an_eventfd_counts_writes_and_wakes_a_wait() {
    let (fd, epfd) = (K.eventfd().unwrap(), K.epoll_create1().unwrap());
    K.epoll_add(epfd, fd, EpollEvent { events: IN | EDGE, data: 9 }).unwrap();
    assert_eq!(wait(epfd, 0), []);
    let mut counter = [0; 8];
    assert_eq!(K.read(fd, &mut counter), Err(Errno::EAGAIN));
    assert_eq!(K.write(fd, &3u64.to_ne_bytes()), Ok(8));
    assert_eq!(K.writev(fd, &[IoSlice::new(&4u64.to_ne_bytes())]), Ok(8));
    assert_eq!(wait(epfd, -1), [EpollEvent { events: IN, data: 9 }]);
    assert_eq!(K.read(fd, &mut counter), Ok(8));
    assert_eq!(u64::from_ne_bytes(counter), 7);
    close([fd, epfd]);
}

/// Hunts a mistake in widening the kernel's packed records where they are: every record of a full
/// batch has its own user data.
#[test]
fn a_full_batch_of_events_arrives_with_its_own_data() {
    let epfd = K.epoll_create1().unwrap();
    let fds: [RawFd; 100] = std::array::from_fn(|_| K.eventfd().unwrap());
    for (i, &fd) in fds.iter().enumerate() {
        let data = u64::MAX / 100 * i as u64;
        K.epoll_add(epfd, fd, EpollEvent { events: IN | OUT, data }).unwrap();
        if i % 2 == 0 {
            K.write(fd, &1u64.to_ne_bytes()).unwrap();
        }
    }
    let mut found = wait(epfd, 0);
    found.sort_by_key(|event| event.data);
    let expected = (0..100).map(|i| EpollEvent {
        events: if i % 2 == 0 { IN | OUT } else { OUT },
        data: u64::MAX / 100 * i,
    });
    assert_eq!(found, expected.collect::<Vec<_>>());

    let untouched = EpollEvent { events: 1, data: 1 };
    let mut few = [untouched; 8];
    assert_eq!(K.epoll_wait(epfd, &mut few[..3], 0), Ok(3));
    assert_eq!(few[3..], [untouched; 5], "only what was offered may be written");
    close(fds);
    close([epfd]);
}

#[test]
fn the_clock_is_monotonic_and_never_zero() {
    let first = K.clock();
    assert!(first > 0);
    let start = std::time::Instant::now();
    while start.elapsed().as_millis() < 2 {}
    let passed = K.clock() - first;
    assert!(passed >= 2_000_000, "{passed} ns");
    assert!(K.is_real());
}

#[test]
fn the_number_of_workers_is_parsed_strictly() {
    for (text, count) in [("1", 1), ("8", 8), ("007", 7), ("1024", 1024)] {
        assert_eq!(workers_from(text.into()).unwrap(), count);
    }
    for text in
        ["", "0", "-1", "+4", " 4", "4 ", "1025", "4.0", "0x4", "99999999999999999999", "vier"]
    {
        let error = workers_from(text.into()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        let expected = format!("NETPOLL_WORKERS={text:?}: it must be a number from 1 to 1024");
        assert_eq!(error.to_string(), expected);
    }
}
