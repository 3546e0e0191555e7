//! Unix datagram sockets against plain ones: addresses, full queues, deadlines, closes.

use std::io::{self, ErrorKind};
use std::net::Shutdown;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram as StdSocket};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use netpoll::net::{UnixDatagram, is_closed};
use netpoll::time::{Instant, sleep};
use netpoll::{JoinHandle, go};
use netpoll_tests::child::{in_child, within};
use netpoll_tests::folder::Folder;
use netpoll_tests::os;

const LIMIT: Duration = Duration::from_secs(60);
/// Enough for a goroutine to have parked.
const A_WHILE: Duration = Duration::from_millis(30);
/// What a loaded machine may add to a deadline.
const SLACK: Duration = Duration::from_millis(1500);

fn run<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    within(LIMIT, || netpoll::run(f).unwrap())
}

#[track_caller]
fn assert_closed<T: std::fmt::Debug>(result: io::Result<T>) {
    let error = result.unwrap_err();
    assert!(is_closed(&error), "{error:?}");
}

/// What a program sees of sockets, as text. It is compiled against `std` and against ours.
macro_rules! program {
    ($UnixDatagram:ty) => {{
        let folder = Folder::new();
        let (path, other_path) = (folder.path("one"), folder.path("other"));
        let name = |addr: io::Result<SocketAddr>| match addr {
            Ok(addr) => match (addr.as_pathname(), addr.as_abstract_name()) {
                (Some(path), _) => format!("path {:?}", path.file_name().unwrap()),
                (_, Some(name)) => format!("name {:?}", String::from_utf8_lossy(name)),
                _ => format!("unnamed {}", addr.is_unnamed()),
            },
            Err(error) => format!("{:?}", error.kind()),
        };
        let mut seen = Vec::new();
        let mut buf = [b'.'; 8];
        let one = <$UnixDatagram>::bind(&path).unwrap();
        let other =
            <$UnixDatagram>::bind_addr(&SocketAddr::from_pathname(&other_path).unwrap()).unwrap();
        let unbound = <$UnixDatagram>::unbound().unwrap();
        for addr in [one.local_addr(), other.local_addr(), unbound.local_addr(), one.peer_addr()] {
            seen.push(name(addr));
        }
        seen.push(format!("{:?}", <$UnixDatagram>::bind(&path).unwrap_err().kind()));

        seen.push(format!("{:?}", one.send_to(b"hello", &other_path).unwrap()));
        let (len, from) = other.recv_from(&mut buf[..3]).unwrap();
        seen.push(format!("{len} {buf:?} from {}", name(Ok(from))));
        seen.push(format!("{:?}", unbound.send_to(b"", &other_path).unwrap()));
        let (len, from) = other.recv_from(&mut buf).unwrap();
        seen.push(format!("{len} {buf:?} from {}", name(Ok(from))));
        let addr = other.local_addr().unwrap();
        seen.push(format!("{:?}", unbound.send_to_addr(b"for nobody", &addr).unwrap()));
        seen.push(format!("{:?}", one.send_to_addr(b"last", &addr).unwrap()));
        seen.push(format!("{:?}", other.recv(&mut []).unwrap()));
        seen.push(format!("{:?} {buf:?}", other.recv(&mut buf).unwrap()));

        seen.push(format!("{:?}", one.send(b"x").unwrap_err().kind()));
        one.connect(&other_path).unwrap();
        seen.push(name(one.peer_addr()));
        seen.push(format!("{:?}", one.send(b"to my peer").unwrap()));
        seen.push(format!("{:?}", other.recv(&mut buf).unwrap()));
        unbound.connect_addr(&addr).unwrap();
        seen.push(name(unbound.peer_addr()));
        seen.push(format!("{:?}", one.send(&vec![0; 8 << 20]).unwrap_err().raw_os_error()));

        drop(other);
        seen.push(format!("{:?}", one.send(b"x").unwrap_err().kind()));
        seen.push(format!("{:?}", one.send_to(b"x", &other_path).unwrap_err().kind()));
        seen.push(format!("{:?}", one.send_to(b"x", folder.path("none")).unwrap_err().kind()));
        for path in ["x".repeat(108).as_str(), "a\0b"] {
            seen.push(format!("{:?}", one.send_to(b"x", path).unwrap_err().kind()));
            seen.push(format!("{:?}", one.connect(path).unwrap_err().kind()));
            seen.push(format!("{:?}", <$UnixDatagram>::bind(path).unwrap_err().kind()));
        }
        seen.push(format!("{:?}", one.take_error().unwrap().map(|error| error.kind())));

        let text = format!("netpoll {} datagrams", std::process::id());
        let addr = SocketAddr::from_abstract_name(text).unwrap();
        let abstracted = <$UnixDatagram>::bind_addr(&addr).unwrap();
        one.send_to_addr(b"abstract", &addr).unwrap();
        let (len, from) = abstracted.recv_from(&mut buf).unwrap();
        seen.push(format!("{len} {buf:?} from {}", name(Ok(from))));

        let (one, other) = <$UnixDatagram>::pair().unwrap();
        seen.push(name(one.local_addr()));
        seen.push(name(one.peer_addr()));
        let clone = one.try_clone().unwrap();
        drop(one);
        clone.send(b"pair").unwrap();
        let (len, from) = other.recv_from(&mut buf).unwrap();
        seen.push(format!("{len} {buf:?} from {}", name(Ok(from))));
        other.shutdown(Shutdown::Read).unwrap();
        seen.push(format!("{:?}", other.recv(&mut buf).unwrap()));
        seen.push(format!("{:?}", clone.send(b"x").unwrap_err().kind()));
        clone.set_write_timeout(Some(Duration::from_secs(3))).unwrap();
        seen.push(format!("{:?}", clone.write_timeout().unwrap()));
        seen
    }};
}

/// In a process of its own: elsewhere another test may start a process just now, and until that runs its
/// program it has a copy of every descriptor, so that a close closes nothing yet.
#[test]
fn a_program_for_std_sees_the_same() {
    let child = in_child("a_program_for_std_sees_the_same", || {
        let theirs = program!(StdSocket);
        let ours = run(|| program!(UnixDatagram));
        assert_eq!(ours, theirs);
        assert!(
            ours.iter().any(|line| line.ends_with("from path \"one\"")),
            "it says something: {ours:?}"
        );
    });
    if let Some(child) = child {
        child.assert_passed();
    }
}

#[test]
fn a_peeked_datagram_stays() {
    run(|| {
        let (one, other) = UnixDatagram::pair().unwrap();
        one.send(b"hello").unwrap();
        let mut buf = [0; 8];
        assert_eq!(other.peek(&mut buf[..2]).unwrap(), 2);
        let (len, from) = other.peek_from(&mut buf).unwrap();
        assert!(len == 5 && from.is_unnamed());
        assert_eq!(other.recv(&mut buf).unwrap(), 5);
    });
}

/// A receiver whose queue `stuffing`, a plain socket, has filled, and how many datagrams that took.
fn full_receiver(folder: &Folder) -> (UnixDatagram, usize) {
    let receiver = UnixDatagram::bind(folder.path("receiver")).unwrap();
    let stuffing = StdSocket::unbound().unwrap();
    stuffing.set_nonblocking(true).unwrap();
    let mut count = 0;
    while stuffing.send_to(b"stuffing", folder.path("receiver")).is_ok() {
        count += 1;
        assert!(count < 1_000_000, "the queue has no end");
    }
    (receiver, count)
}

/// A goroutine that sends `word` once, connected to the receiver or not.
fn sender(
    folder: &Folder,
    connected: bool,
    word: &'static [u8],
) -> (Arc<UnixDatagram>, JoinHandle<io::Result<usize>>) {
    let path = folder.path("receiver");
    let socket = Arc::new(UnixDatagram::unbound().unwrap());
    if connected {
        socket.connect(&path).unwrap();
    }
    let its = socket.clone();
    let sending = go(move || if connected { its.send(word) } else { its.send_to(word, path) });
    (socket, sending)
}

/// The queue is full of the datagrams of others, so the senders' own buffers never change.
#[test]
fn a_send_waits_while_the_receivers_queue_is_full_and_nothing_is_lost() {
    run(|| {
        let folder = Folder::new();
        let (receiver, count) = full_receiver(&folder);
        let (_one, first) = sender(&folder, false, b"to its path");
        let (_other, second) = sender(&folder, true, b"connected");
        sleep(A_WHILE);
        let mut buf = [0; 16];
        for _ in 0..count {
            assert_eq!(receiver.recv(&mut buf).unwrap(), 8);
            assert_eq!(&buf[..8], b"stuffing");
        }
        let mut received: Vec<Vec<u8>> = Vec::new();
        while received.len() < 2 {
            let len = receiver.recv(&mut buf).unwrap();
            received.push(buf[..len].to_vec());
        }
        received.sort();
        assert_eq!(received, [&b"connected"[..], b"to its path"]);
        assert_eq!((first.join().unwrap().unwrap(), second.join().unwrap().unwrap()), (11, 9));
    });
}

/// Hunts the busy loop: a socket that is not connected to the receiver is writable all the time, and each
/// attempt that fails makes an edge of its own.
#[test]
fn a_send_that_waits_leaves_the_processor_alone() {
    let child = in_child("a_send_that_waits_leaves_the_processor_alone", || {
        run(|| {
            let folder = Folder::new();
            let (receiver, _) = full_receiver(&folder);
            let senders = [false, true].map(|connected| sender(&folder, connected, b"x").1);
            sleep(A_WHILE);
            let pid = std::process::id();
            let before = os::cpu_time(pid).unwrap();
            sleep(Duration::from_millis(500));
            let burnt = os::cpu_time(pid).unwrap() - before;
            assert!(burnt < Duration::from_millis(100), "{burnt:?} of processor time in 500 ms");
            for sender in senders {
                receiver.recv(&mut [0; 8]).unwrap();
                receiver.recv(&mut [0; 8]).unwrap();
                assert_eq!(sender.join().unwrap().unwrap(), 1);
            }
        });
    });
    if let Some(child) = child {
        child.assert_passed();
    }
}

#[test]
fn a_send_to_a_full_queue_has_a_deadline_and_ends_with_a_close() {
    run(|| {
        let folder = Folder::new();
        let (receiver, _) = full_receiver(&folder);
        for connected in [false, true] {
            let (socket, sending) = sender(&folder, connected, b"x");
            sleep(A_WHILE);
            let at = Instant::now();
            socket.set_write_deadline(Some(at)).unwrap();
            assert_eq!(sending.join().unwrap().unwrap_err().kind(), ErrorKind::TimedOut);
            assert!(at.elapsed() < SLACK);

            let (socket, sending) = sender(&folder, connected, b"x");
            sleep(A_WHILE);
            let start = Instant::now();
            socket.close().unwrap();
            assert!(start.elapsed() < SLACK);
            assert_closed(sending.join().unwrap());

            let (socket, sending) = sender(&folder, connected, b"x");
            socket.set_write_timeout(Some(LIMIT)).unwrap();
            sleep(A_WHILE);
            assert_eq!(receiver.recv(&mut [0; 8]).unwrap(), 8);
            assert_eq!(sending.join().unwrap().unwrap(), 1, "there was room for one");
        }
    });
}

/// A receive that does not block is told nothing by the kernel: it says `EAGAIN` for ever.
#[test]
fn a_shutdown_ends_a_waiting_receive_and_those_that_come_later() {
    run(|| {
        let (one, other) = UnixDatagram::pair().unwrap();
        let one = Arc::new(one);
        let its = one.clone();
        let receiver = go(move || its.recv_from(&mut [0; 8]).map(|(len, _)| len));
        other.send(b"before").unwrap();
        assert_eq!(receiver.join().unwrap().unwrap(), 6);
        let its = one.clone();
        let receiver = go(move || its.recv_from(&mut [0; 8]).map(|(len, _)| len));
        sleep(A_WHILE);
        one.shutdown(Shutdown::Read).unwrap();
        assert_eq!(receiver.join().unwrap().unwrap(), 0);
        assert_eq!(one.recv(&mut [0; 8]).unwrap(), 0);
        assert_eq!(one.peek(&mut [0; 8]).unwrap(), 0);
        assert_eq!(one.send(b"x").unwrap(), 1, "the other half is open");
        assert_eq!(other.recv(&mut [0; 8]).unwrap(), 1);
    });
}

#[test]
fn more_than_the_buffers_hold_crosses_in_order() {
    const DATAGRAMS: u32 = 20_000;
    run(|| {
        let (one, other) = UnixDatagram::pair().unwrap();
        let sending = go(move || {
            for number in 0..DATAGRAMS {
                assert_eq!(one.send(&number.to_le_bytes()).unwrap(), 4);
            }
        });
        let theirs = other.into_std().unwrap();
        let plain = thread::spawn(move || {
            let mut buf = [0; 8];
            for number in 0..DATAGRAMS {
                assert_eq!(theirs.recv(&mut buf).unwrap(), 4);
                assert_eq!(buf[..4], number.to_le_bytes());
            }
        });
        sending.join().unwrap();
        plain.join().unwrap();
    });
}

#[test]
fn deadlines_and_closes_are_those_of_a_stream() {
    run(|| {
        let (one, other) = UnixDatagram::pair().unwrap();
        let at = Instant::now() + Duration::from_millis(40);
        one.set_deadline(Some(at)).unwrap();
        let error = one.recv_from(&mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(Instant::now() >= at);
        one.set_deadline(None).unwrap();
        other.send(b"x").unwrap();
        one.wait_readable().unwrap();
        one.wait_writable().unwrap();
        assert_eq!(one.recv(&mut [0; 8]).unwrap(), 1);

        let one = Arc::new(one);
        let its = one.clone();
        let receiver = go(move || its.recv(&mut [0; 8]));
        let its = one.clone();
        let plain = thread::spawn(move || its.recv_from(&mut [0; 8]));
        sleep(A_WHILE);
        one.close().unwrap();
        assert_closed(receiver.join().unwrap());
        assert_closed(plain.join().unwrap());
        let mut buf = [0; 8];
        assert_closed(one.recv_from(&mut buf));
        assert_closed(one.peek_from(&mut buf));
        assert_closed(one.recv(&mut []));
        assert_closed(one.send(b"x"));
        assert_closed(one.send_to(b"x", "/nowhere"));
        assert_closed(one.connect("/nowhere"));
        assert_closed(one.local_addr());
        assert_closed(one.shutdown(Shutdown::Both));
        assert_closed(one.set_read_deadline(None));
        assert_closed(one.close());
    });
}

#[test]
fn outside_a_runtime_the_error_says_what_to_do() {
    for error in [
        UnixDatagram::bind("/nowhere").unwrap_err(),
        UnixDatagram::unbound().unwrap_err(),
        UnixDatagram::pair().unwrap_err(),
        UnixDatagram::from_std(StdSocket::unbound().unwrap()).unwrap_err(),
    ] {
        assert!(error.to_string().contains("netpoll::run"), "{error}");
    }
}
