//! The real kernel through the seam: datagrams, Unix sockets, pipes, and what concerns any file.

use super::tests::{close, wait};
use super::*;
use crate::platform::UnixAddr;
use crate::platform::os::testing::in_child;
use std::io::IoSlice;
use std::net::SocketAddr;

const K: OsKernel = OsKernel;
const IN: u32 = libc::EPOLLIN as u32;
const OUT: u32 = libc::EPOLLOUT as u32;
const ERR: u32 = libc::EPOLLERR as u32;
const HUP: u32 = libc::EPOLLHUP as u32;
const RDHUP: u32 = libc::EPOLLRDHUP as u32;
const ONESHOT: u32 = libc::EPOLLONESHOT as u32;

fn udp() -> (RawFd, SockAddr) {
    let fd = K.socket(Domain::Inet, SockType::Datagram).unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    K.bind(fd, &any.into()).unwrap();
    (fd, K.getsockname(fd).unwrap())
}

/// An abstract address that no other test and no other process has.
fn abstract_addr(name: &str) -> SockAddr {
    let name = format!("netpoll unit {} {name}", std::process::id());
    UnixAddr::from_abstract_name(name).unwrap().into()
}

fn flags(fd: RawFd) -> (libc::c_int, libc::c_int) {
    // SAFETY: no memory is involved.
    let status = check(unsafe { libc::fcntl(fd, libc::F_GETFL) }).unwrap();
    // SAFETY: as above.
    let descriptor = check(unsafe { libc::fcntl(fd, libc::F_GETFD) }).unwrap();
    (status & libc::O_NONBLOCK, descriptor)
}

/// Runs the test `name` in a process of its own. In this one another test may start a process just now, and
/// until that runs its program it has a copy of every descriptor, so that a close closes nothing yet.
#[track_caller]
fn alone(name: &str, body: impl FnOnce()) {
    in_child(&format!("platform::os::kernel::files_tests::{name}"), body);
}

#[test]
fn everything_is_born_close_on_exec_and_non_blocking() {
    let (udp, _) = udp();
    let unix = K.socket(Domain::Unix, SockType::Stream).unwrap();
    let (one, other) = K.socketpair(Domain::Unix, SockType::Stream).unwrap();
    let (reader, writer) = K.pipe2().unwrap();
    for fd in [udp, unix, one, other, reader, writer] {
        assert_eq!(flags(fd), (libc::O_NONBLOCK, libc::FD_CLOEXEC));
    }
    close([udp, unix, one, other, reader, writer]);
}

#[test]
fn datagrams_name_their_sender_and_are_cut_to_the_buffer() {
    alone("datagrams_name_their_sender_and_are_cut_to_the_buffer", || {
        let ((one, one_addr), (other, other_addr)) = (udp(), udp());
        let mut buf = [b'.'; 8];
        assert_eq!(K.recvfrom(other, &mut buf, false), Err(Errno::EAGAIN));
        assert_eq!(K.sendto(one, b"hello", Some(&other_addr)), Ok(5));
        assert_eq!(K.recvfrom(other, &mut buf[..2], true), Ok((2, Some(one_addr))), "it stays");
        assert_eq!(K.recvfrom(other, &mut buf[..3], false), Ok((3, Some(one_addr))));
        assert_eq!(&buf, b"hel.....");
        assert_eq!(K.recvfrom(other, &mut buf, false), Err(Errno::EAGAIN), "the rest is lost");
        assert_eq!(K.sendto(one, b"", Some(&other_addr)), Ok(0));
        assert_eq!(
            K.recvfrom(other, &mut buf, false),
            Ok((0, Some(one_addr))),
            "empty is something"
        );

        assert_eq!(K.sendto(one, b"x", None), Err(Errno::EDESTADDRREQ));
        K.connect(one, &other_addr).unwrap();
        assert_eq!(K.getpeername(one), Ok(other_addr));
        assert_eq!(K.sendto(one, b"to my peer", None), Ok(10));
        assert_eq!(K.read(other, &mut buf), Ok(8));
        assert_eq!(K.write(one, b"written"), Ok(7));
        assert_eq!(K.peek(other, &mut buf), Ok(7));
        assert_eq!(K.sendto(one, &vec![0; 1 << 17], None), Err(Errno::EMSGSIZE));

        // That nobody listens any more is said once, to whoever calls next.
        close([other]);
        assert_eq!(K.write(one, b"x"), Ok(1));
        assert_eq!(K.poll(one, IN | OUT), Ok(OUT | ERR));
        assert_eq!(K.recvfrom(one, &mut buf, false), Err(Errno::ECONNREFUSED));
        assert_eq!(K.recvfrom(one, &mut buf, false), Err(Errno::EAGAIN));
        close([one]);
    });
}

#[test]
fn unix_sockets_have_paths_abstract_names_or_none() {
    alone("unix_sockets_have_paths_abstract_names_or_none", || {
        let path = std::env::temp_dir().join(format!("netpoll-unit-{}", std::process::id()));
        let _absent = std::fs::remove_file(&path);
        let by_path = SockAddr::from(UnixAddr::from_pathname(&path).unwrap());
        let unnamed = SockAddr::from(UnixAddr::UNNAMED);
        for addr in [by_path, abstract_addr("listener")] {
            let listening = K.socket(Domain::Unix, SockType::Stream).unwrap();
            assert_eq!(K.getsockname(listening), Ok(unnamed));
            K.bind(listening, &addr).unwrap();
            assert_eq!(K.getsockname(listening), Ok(addr));
            K.listen(listening, 0).unwrap();
            assert_eq!(K.accept4(listening), Err(Errno::EAGAIN));
            let client = K.socket(Domain::Unix, SockType::Stream).unwrap();
            assert_eq!(K.connect(client, &addr), Ok(()), "at once");
            // A queue of 0 is full with one.
            let late = K.socket(Domain::Unix, SockType::Stream).unwrap();
            assert_eq!(K.connect(late, &addr), Err(Errno::EAGAIN));
            let (server, peer) = K.accept4(listening).unwrap();
            assert_eq!((peer, K.getpeername(client)), (unnamed, Ok(addr)));
            assert_eq!(K.connect(late, &addr), Ok(()), "the same socket may try again");
            assert_eq!(K.write(client, b"hello"), Ok(5));
            let mut buf = [0; 8];
            assert_eq!(K.recvfrom(server, &mut buf, false), Ok((5, None)));
            let taken = K.socket(Domain::Unix, SockType::Stream).unwrap();
            assert_eq!(K.bind(taken, &addr), Err(Errno::EADDRINUSE));
            close([listening, client, late, server, taken]);
        }
        std::fs::remove_file(path).unwrap();
        let nobody = K.socket(Domain::Unix, SockType::Stream).unwrap();
        assert_eq!(K.connect(nobody, &by_path), Err(Errno::ENOENT));
        assert_eq!(K.connect(nobody, &abstract_addr("listener")), Err(Errno::ECONNREFUSED));
        close([nobody]);
    });
}

/// The longest path has no room for the zero that ends it, and the kernel counts that zero nevertheless.
#[test]
fn the_longest_path_of_a_unix_socket_is_read_back() {
    let folder = std::env::temp_dir();
    let stem = format!("{}/{}-", folder.display(), std::process::id());
    assert!(stem.len() < 100, "a folder for temporary files whose path is that long: {stem}");
    let path = stem.clone() + &"x".repeat(108 - stem.len());
    let fd = K.socket(Domain::Unix, SockType::Datagram).unwrap();
    let addr = SockAddr::from(UnixAddr::from_sun_path(path.as_bytes()));
    K.bind(fd, &addr).unwrap();
    assert_eq!(K.getsockname(fd), Ok(addr));
    let sender = K.socket(Domain::Unix, SockType::Datagram).unwrap();
    assert_eq!(K.sendto(sender, b"x", Some(&addr)), Ok(1));
    assert_eq!(K.recvfrom(fd, &mut [0; 8], false), Ok((1, None)), "the sender is unbound");
    assert_eq!(K.sendto(fd, b"y", Some(&addr)), Ok(1));
    assert_eq!(K.recvfrom(fd, &mut [0; 8], false), Ok((1, Some(addr))));
    close([fd, sender]);
    std::fs::remove_file(path).unwrap();
}

/// What the sleeps of `fd/nap.rs` are for: neither socket is told that there is room again.
#[test]
fn a_full_receiver_is_no_reason_not_to_be_writable() {
    let addr = abstract_addr("receiver");
    let [receiver, one, other] =
        std::array::from_fn(|_| K.socket(Domain::Unix, SockType::Datagram).unwrap());
    K.bind(receiver, &addr).unwrap();
    let full = std::iter::repeat_with(|| K.sendto(one, b"x", Some(&addr))).find(Result::is_err);
    assert_eq!(full, Some(Err(Errno::EAGAIN)));
    assert_eq!(K.sendto(other, b"x", Some(&addr)), Err(Errno::EAGAIN));
    assert_eq!(K.poll(other, OUT), Ok(OUT));
    K.connect(other, &addr).unwrap();
    assert_eq!(K.poll(other, OUT), Ok(0), "of its peer it is told");
    close([receiver, one, other]);
}

#[test]
fn a_pipe_ends_and_breaks() {
    alone("a_pipe_ends_and_breaks", || {
        let (reader, writer) = K.pipe2().unwrap();
        let mut buf = [0; 8];
        assert_eq!(K.read(reader, &mut buf), Err(Errno::EAGAIN));
        assert_eq!((K.poll(reader, IN | OUT), K.poll(writer, IN | OUT)), (Ok(0), Ok(OUT)));
        assert_eq!(K.write(writer, b"one"), Ok(3));
        assert_eq!(K.writev(writer, &[IoSlice::new(b" "), IoSlice::new(b"two")]), Ok(4));
        assert_eq!(K.poll(reader, IN), Ok(IN));
        assert_eq!(K.read(reader, &mut buf), Ok(7));
        assert_eq!(&buf[..7], b"one two");
        let mut parts = [io::IoSliceMut::new(&mut buf)];
        assert_eq!(K.readv(reader, &mut parts), Err(Errno::EAGAIN));
        let full = std::iter::repeat_with(|| K.write(writer, &[0; 4096])).find(Result::is_err);
        assert_eq!(full, Some(Err(Errno::EAGAIN)));
        assert_eq!(K.poll(writer, OUT), Ok(0));
        close([reader]);
        assert_eq!(K.poll(writer, 0), Ok(ERR), "of a full pipe that is all");
        assert_eq!(K.write(writer, b"x"), Err(Errno::EPIPE));
        assert_eq!(K.writev(writer, &[IoSlice::new(b"x")]), Err(Errno::EPIPE));
        close([writer]);
        let (reader, writer) = K.pipe2().unwrap();
        close([writer]);
        assert_eq!((K.poll(reader, IN), K.read(reader, &mut buf)), (Ok(HUP), Ok(0)));
        close([reader]);
    });
}

#[test]
fn only_sockets_are_promised_to_raise_no_signal() {
    alone("only_sockets_are_promised_to_raise_no_signal", || {
        // SAFETY: a default action refers to no code and no memory.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
        let (one, other) = K.socketpair(Domain::Unix, SockType::Stream).unwrap();
        close([other]);
        assert_eq!(K.sendto(one, b"x", None), Err(Errno::EPIPE));
        assert_eq!(K.write(one, b"x"), Err(Errno::EPIPE));
        assert_eq!(K.writev(one, &[IoSlice::new(b"x")]), Err(Errno::EPIPE));
        close([one]);
    });
}

#[test]
fn a_duplicate_is_another_number_for_the_same_file() {
    alone("a_duplicate_is_another_number_for_the_same_file", || {
        let (reader, writer) = K.pipe2().unwrap();
        let copy = K.dup(writer).unwrap();
        assert_ne!(copy, writer);
        assert_eq!(flags(copy), (libc::O_NONBLOCK, libc::FD_CLOEXEC));
        close([writer]);
        assert_eq!(K.write(copy, b"x"), Ok(1));
        assert_eq!(K.read(reader, &mut [0; 8]), Ok(1));
        close([copy]);
        assert_eq!(K.read(reader, &mut [0; 8]), Ok(0), "the last writer is gone");
        assert_eq!(K.dup(-1), Err(Errno::EBADF));
        close([reader]);
    });
}

#[test]
fn a_descriptor_becomes_non_blocking_and_goes_back_to_std_as_a_blocking_one() {
    use std::os::fd::{AsRawFd as _, IntoRawFd as _};
    let (reader, _writer) = std::io::pipe().unwrap();
    assert_eq!(flags(reader.as_raw_fd()).0, 0);
    for _ in 0..2 {
        K.set_nonblocking(reader.as_raw_fd()).unwrap();
        assert_eq!(flags(reader.as_raw_fd()).0, libc::O_NONBLOCK);
    }
    assert_eq!(K.read(reader.as_raw_fd(), &mut [0; 8]), Err(Errno::EAGAIN));
    let owned = K.own(reader.into_raw_fd()).unwrap();
    assert_eq!(flags(owned.as_raw_fd()), (0, libc::FD_CLOEXEC));
    assert_eq!(K.set_nonblocking(-1), Err(Errno::EBADF));
}

#[test]
fn poll_says_what_holds_now_of_what_was_asked() {
    alone("poll_says_what_holds_now_of_what_was_asked", || {
        let (one, other) = K.socketpair(Domain::Unix, SockType::Stream).unwrap();
        assert_eq!(K.poll(one, IN | OUT | RDHUP), Ok(OUT));
        assert_eq!(K.poll(one, IN | RDHUP), Ok(0));
        K.write(other, b"x").unwrap();
        assert_eq!(K.poll(one, IN | OUT), Ok(IN | OUT));
        K.shutdown(other, Shutdown::Write).unwrap();
        assert_eq!(K.poll(one, RDHUP), Ok(RDHUP));
        close([other]);
        assert_eq!(K.poll(one, 0), Ok(HUP), "unasked");
        close([one]);
        assert_eq!(K.poll(i32::MAX, IN), Err(Errno::EBADF));
    });
}

#[test]
fn a_registration_is_changed_in_place_and_armed_again() {
    let (epfd, fd) = (K.epoll_create1().unwrap(), K.eventfd().unwrap());
    let armed = EpollEvent { events: IN | OUT | ONESHOT, data: 1 };
    assert_eq!(K.epoll_mod(epfd, fd, armed), Err(Errno::ENOENT));
    K.epoll_add(epfd, fd, armed).unwrap();
    assert_eq!(K.epoll_add(epfd, fd, armed), Err(Errno::EEXIST));
    assert_eq!(wait(epfd, 5000), [EpollEvent { events: OUT, data: 1 }]);
    assert_eq!(wait(epfd, 0), [], "it has fired");
    K.epoll_mod(epfd, fd, EpollEvent { events: OUT, data: 2 }).unwrap();
    assert_eq!(wait(epfd, 5000), [EpollEvent { events: OUT, data: 2 }]);
    K.epoll_mod(epfd, fd, EpollEvent { events: IN, data: 3 }).unwrap();
    assert_eq!(wait(epfd, 0), []);
    close([epfd, fd]);
}

#[test]
fn a_regular_file_cannot_be_polled() {
    use std::os::fd::AsRawFd as _;
    let file = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
    let epfd = K.epoll_create1().unwrap();
    let event = EpollEvent { events: IN, data: 1 };
    assert_eq!(K.epoll_add(epfd, file.as_raw_fd(), event), Err(Errno::EPERM));
    close([epfd]);
}
