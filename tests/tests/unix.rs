//! Unix streams and listeners against plain ones: addresses, ends, full queues, closes.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener as StdListener, UnixStream as StdStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use netpoll::net::{UnixListener, UnixStream, is_closed};
use netpoll::time::{Instant, sleep};
use netpoll::{go, yield_now};
use netpoll_tests::child::{in_child, within};
use netpoll_tests::folder::Folder;
use netpoll_tests::{fds, pattern};

const LIMIT: Duration = Duration::from_secs(60);
/// Enough for a goroutine to have parked.
const A_WHILE: Duration = Duration::from_millis(30);
/// What a loaded machine may add to a deadline.
const SLACK: Duration = Duration::from_millis(1500);

fn run<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    within(LIMIT, || netpoll::run(f).unwrap())
}

/// A connection between a stream of the runtime that runs this and a plain one.
fn pair() -> (Arc<UnixStream>, StdStream) {
    let (ours, theirs) = StdStream::pair().unwrap();
    (Arc::new(UnixStream::from_std(ours).unwrap()), theirs)
}

/// An abstract name that no other test and no other process has.
fn abstract_addr(name: &str) -> SocketAddr {
    SocketAddr::from_abstract_name(format!("netpoll {} {name}", std::process::id())).unwrap()
}

#[track_caller]
fn assert_closed<T: std::fmt::Debug>(result: io::Result<T>) {
    let error = result.unwrap_err();
    assert!(is_closed(&error), "{error:?}");
}

/// What a program sees of sockets, as text. It is compiled against `std` and against ours.
macro_rules! program {
    ($UnixListener:ty, $UnixStream:ty) => {{
        let folder = Folder::new();
        let (path, other_path) = (folder.path("listener"), folder.path("second"));
        let name = |addr: io::Result<SocketAddr>| match addr {
            Ok(addr) => match (addr.as_pathname(), addr.as_abstract_name()) {
                (Some(path), _) => format!("path {:?}", path.file_name().unwrap()),
                (_, Some(name)) => format!("name {:?}", String::from_utf8_lossy(name)),
                _ => format!("unnamed {}", addr.is_unnamed()),
            },
            Err(error) => format!("{:?}", error.kind()),
        };
        let mut seen = Vec::new();
        let listener = <$UnixListener>::bind(&path).unwrap();
        seen.push(name(listener.local_addr()));
        seen.push(format!("{:?}", <$UnixListener>::bind(&path).unwrap_err().kind()));
        let mut client = <$UnixStream>::connect(&path).unwrap();
        let (mut server, peer) = listener.accept().unwrap();
        seen.push(name(Ok(peer)));
        for addr in [client.local_addr(), client.peer_addr(), server.local_addr()] {
            seen.push(name(addr));
        }
        client.write_all(b"over a path").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut text = String::new();
        server.read_to_string(&mut text).unwrap();
        seen.push(text);
        server.write_all(b"and back").unwrap();
        drop(server);
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        seen.push(text);
        seen.push(format!("{:?}", client.write(b"x").unwrap_err().kind()));
        seen.push(format!("{:?}", client.take_error().unwrap().map(|error| error.kind())));

        // The path outlives its socket, and is in the way of the next one until it is removed.
        drop(listener);
        seen.push(format!(
            "{} {:?}",
            path.exists(),
            <$UnixStream>::connect(&path).unwrap_err().kind()
        ));
        seen.push(format!("{:?}", <$UnixListener>::bind(&path).unwrap_err().kind()));
        std::fs::remove_file(&path).unwrap();
        seen.push(format!("{:?}", <$UnixStream>::connect(&path).unwrap_err().kind()));
        drop(<$UnixListener>::bind(&path).unwrap());

        let unfit = "x".repeat(108);
        for path in [unfit.as_str(), "a\0b"] {
            seen.push(format!("{:?}", <$UnixListener>::bind(path).unwrap_err().kind()));
            seen.push(format!("{:?}", <$UnixStream>::connect(path).unwrap_err().kind()));
        }
        let addr = SocketAddr::from_pathname(&other_path).unwrap();
        let listener = <$UnixListener>::bind_addr(&addr).unwrap();
        let client = <$UnixStream>::connect_addr(&addr).unwrap();
        seen.push(name(client.peer_addr()));
        seen.push(name(listener.incoming().next().unwrap().unwrap().peer_addr()));
        let addr = abstract_addr("program");
        let listener = <$UnixListener>::bind_addr(&addr).unwrap();
        let client = <$UnixStream>::connect_addr(&addr).unwrap();
        seen.push(name(client.peer_addr()));
        drop(listener);
        seen.push(format!("{:?}", <$UnixStream>::connect_addr(&addr).unwrap_err().kind()));

        let (one, mut other) = <$UnixStream>::pair().unwrap();
        for addr in [one.local_addr(), one.peer_addr(), other.local_addr()] {
            seen.push(name(addr));
        }
        one.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
        let clone = one.try_clone().unwrap();
        drop(one);
        (&clone).write_all(b"pair").unwrap();
        let mut bytes = [0; 4];
        other.read_exact(&mut bytes).unwrap();
        seen.push(String::from_utf8_lossy(&bytes).into_owned());
        seen.push(format!("{:?}", clone.read_timeout().unwrap()));
        clone.shutdown(Shutdown::Both).unwrap();
        seen.push(format!("{:?}", (&clone).read(&mut bytes).unwrap()));
        seen.push(format!("{:?}", (&clone).write(b"x").unwrap_err().kind()));
        seen.push(format!("{:?}", other.read(&mut bytes).unwrap()));
        seen
    }};
}

/// In a process of its own: elsewhere another test may start a process just now, and until that runs its
/// program it has a copy of every descriptor, so that a close closes nothing yet.
#[test]
fn a_program_for_std_sees_the_same() {
    let child = in_child("a_program_for_std_sees_the_same", || {
        let theirs = program!(StdListener, StdStream);
        let ours = run(|| program!(UnixListener, UnixStream));
        assert_eq!(ours, theirs);
        assert!(ours.contains(&"over a path".to_owned()), "it says something");
    });
    if let Some(child) = child {
        child.assert_passed();
    }
}

#[test]
fn a_peeked_byte_stays_and_readiness_is_waited_for() {
    run(|| {
        let (ours, mut theirs) = pair();
        let writer = thread::spawn(move || {
            thread::sleep(A_WHILE);
            theirs.write_all(b"abc").map(|()| theirs)
        });
        let (mut seen, mut read) = ([0; 2], [0; 3]);
        ours.wait_readable().unwrap();
        while ours.peek(&mut seen).unwrap() < 2 {}
        (&*ours).read_exact(&mut read).unwrap();
        assert_eq!((&seen, &read), (b"ab", b"abc"));
        ours.wait_writable().unwrap();
        writer.join().unwrap().unwrap();
    });
}

/// More than the buffers hold, in both directions at once, so that both ends have to wait.
#[test]
fn a_lot_of_bytes_crosses_both_ways_unharmed() {
    const BYTES: usize = 8 << 20;
    const PIECE: usize = 77_777;
    fn send(mut to: impl Write, stream: u64) {
        let mut piece = vec![0; PIECE];
        for at in (0..BYTES).step_by(PIECE) {
            let piece = &mut piece[..PIECE.min(BYTES - at)];
            pattern::fill(stream, at as u64, piece);
            to.write_all(piece).unwrap();
        }
    }
    fn receive(mut from: impl Read, stream: u64) {
        let (mut at, mut buf) = (0, vec![0; 50_000]);
        while at < BYTES {
            let count = from.read(&mut buf).unwrap();
            assert!(count > 0, "the end at {at}");
            assert_eq!(pattern::mismatch(stream, at as u64, &buf[..count]), None, "at {at}");
            at += count;
        }
    }
    run(|| {
        let (ours, theirs) = pair();
        let their_half = theirs.try_clone().unwrap();
        let plain =
            [thread::spawn(move || send(their_half, 1)), thread::spawn(move || receive(theirs, 2))];
        let its = ours.clone();
        let sender = go(move || send(&*its, 2));
        receive(&*ours, 1);
        sender.join().unwrap();
        netpoll::blocking(move || plain.into_iter().for_each(|thread| thread.join().unwrap()));
    });
}

/// Hunts the short read that is taken for the last: bytes that carry a descriptor end a read, and what
/// comes behind them has been announced already.
#[test]
fn a_read_that_ends_behind_a_descriptor_is_not_the_last() {
    run(|| {
        let (ours, theirs) = pair();
        assert_eq!(fds::send_with_descriptor(&theirs, b"ab", &theirs).unwrap(), 2);
        (&theirs).write_all(b"cde").unwrap();
        sleep(A_WHILE);
        let (mut buf, mut counts) = ([0; 16], Vec::new());
        while counts.iter().sum::<usize>() < 5 {
            counts.push((&*ours).read(&mut buf).unwrap());
        }
        assert_eq!(counts, [2, 3], "the premise: the first read was short");
    });
}

#[test]
fn half_a_connection_can_be_closed_while_the_other_waits() {
    run(|| {
        let (ours, mut theirs) = pair();
        let its = ours.clone();
        let reader = go(move || {
            let mut text = String::new();
            (&*its).read_to_string(&mut text).map(|_| text)
        });
        sleep(A_WHILE);
        ours.shutdown(Shutdown::Write).unwrap();
        let mut text = String::new();
        theirs.read_to_string(&mut text).unwrap();
        assert_eq!(text, "", "the end, at once");
        theirs.write_all(b"answer").unwrap();
        theirs.shutdown(Shutdown::Write).unwrap();
        assert_eq!(reader.join().unwrap().unwrap(), "answer");
        assert_eq!((&*ours).write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn a_peer_that_is_gone_is_an_error_and_no_signal_even_where_signals_kill() {
    let test = "a_peer_that_is_gone_is_an_error_and_no_signal_even_where_signals_kill";
    let child = in_child(test, || {
        fds::default_sigpipe();
        run(|| {
            let (ours, theirs) = pair();
            drop(theirs);
            assert_eq!((&*ours).write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
            let (one, other) = netpoll::net::UnixDatagram::pair().unwrap();
            other.close().unwrap();
            assert!(one.send(b"x").is_err());
        });
    });
    if let Some(child) = child {
        child.assert_passed();
    }
}

#[test]
fn a_listener_serves_plain_clients_and_stays_when_one_handler_panics() {
    run(|| {
        let folder = Folder::new();
        let path = folder.path("server");
        let listener = UnixListener::bind(&path).unwrap();
        let its = listener.try_clone().unwrap();
        let server = go(move || {
            its.serve(|mut stream, peer| {
                assert!(peer.is_unnamed());
                let mut bytes = [0; 4];
                stream.read_exact(&mut bytes).unwrap();
                assert_ne!(&bytes, b"bad!", "as this test wants it");
                stream.write_all(&bytes).unwrap();
            })
        });
        let clients: Vec<_> = [b"one.", b"bad!", b"two.", b"tri."]
            .into_iter()
            .map(|word| {
                let path = path.clone();
                thread::spawn(move || {
                    let mut client = StdStream::connect(path).unwrap();
                    client.write_all(word).unwrap();
                    let mut answer = Vec::new();
                    client.read_to_end(&mut answer).unwrap();
                    (answer, word)
                })
            })
            .collect();
        for client in clients {
            let (answer, word) = client.join().unwrap();
            assert_eq!(answer, if word == b"bad!" { &b""[..] } else { word });
        }
        listener.close().unwrap();
        server.join().unwrap().unwrap();
    });
}

/// A plain listener with room for one more connection, and that connection.
fn full_listener(path: &Path) -> (StdListener, Vec<StdStream>) {
    let listener = StdListener::bind(path).unwrap();
    fds::set_backlog(&listener, 0).unwrap();
    // A queue of n is full when n + 1 wait.
    let queued = StdStream::connect(path).unwrap();
    (listener, vec![queued])
}

/// The kernel says `EAGAIN` to a socket that does not block, and tells nobody when there is room.
#[test]
fn a_connect_waits_while_the_listeners_queue_is_full() {
    run(|| {
        let folder = Folder::new();
        let path = folder.path("full");
        let (listener, _queued) = full_listener(&path);
        let timeout = Duration::from_millis(60);
        let start = Instant::now();
        let error = UnixStream::connect_timeout(&path, timeout).unwrap_err();
        let took = start.elapsed();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(timeout <= took && took < timeout + SLACK, "{took:?}");
        let zero = UnixStream::connect_timeout(&path, Duration::ZERO).unwrap_err();
        assert_eq!(zero.kind(), ErrorKind::InvalidInput);

        let its = path.clone();
        let connecting = go(move || UnixStream::connect(its));
        sleep(A_WHILE);
        drop(listener.accept().unwrap());
        let mut ours = connecting.join().unwrap().unwrap();
        let (mut theirs, _) = listener.accept().unwrap();
        theirs.write_all(b"x").unwrap();
        ours.read_exact(&mut [0]).unwrap();

        // One that waits learns that the listener is gone.
        let _queued = StdStream::connect(&path).unwrap();
        let connecting = go(move || UnixStream::connect(path));
        sleep(A_WHILE);
        drop(listener);
        let error = connecting.join().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn deadlines_and_timeouts_are_those_of_a_stream() {
    run(|| {
        let (ours, mut theirs) = pair();
        let at = Instant::now() + Duration::from_millis(40);
        ours.set_read_deadline(Some(at)).unwrap();
        let error = (&*ours).read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(Instant::now() >= at);
        ours.set_read_deadline(None).unwrap();
        theirs.write_all(b"x").unwrap();
        assert_eq!((&*ours).read(&mut [0]).unwrap(), 1);
        ours.set_write_timeout(Some(Duration::from_millis(40))).unwrap();
        let start = Instant::now();
        let error = (&*ours).write_all(&vec![0; 16 << 20]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(start.elapsed() >= Duration::from_millis(40));

        let folder = Folder::new();
        let listener = UnixListener::bind(folder.path("listener")).unwrap();
        let at = Instant::now() + Duration::from_millis(40);
        listener.set_deadline(Some(at)).unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::TimedOut);
        assert!(Instant::now() >= at);
    });
}

#[test]
fn close_wakes_readers_writers_and_accepts() {
    run(|| {
        let (ours, _theirs) = pair();
        let (reading, writing) = (ours.clone(), ours.clone());
        let reader = go(move || (&*reading).read(&mut [0; 8]));
        let writer = go(move || (&*writing).write_all(&vec![0; 16 << 20]));
        let folder = Folder::new();
        let listener = Arc::new(UnixListener::bind(folder.path("listener")).unwrap());
        let accepting = listener.clone();
        let accept = thread::spawn(move || accepting.accept().map(drop));
        sleep(A_WHILE);
        ours.close().unwrap();
        assert_closed(reader.join().unwrap());
        assert_closed(writer.join().unwrap());
        listener.close().unwrap();
        assert_closed(accept.join().unwrap());
    });
}

#[test]
fn a_close_at_any_moment_of_a_read_is_noticed() {
    run(|| {
        for round in 0..2000 {
            let (ours, _theirs) = pair();
            let its = ours.clone();
            let reader = go(move || (&*its).read(&mut [0; 8]));
            (0..round % 4).for_each(|_| yield_now());
            (0..round % 7 * 100).for_each(|_| std::hint::spin_loop());
            ours.close().unwrap();
            assert_closed(reader.join().unwrap());
        }
    });
}

#[test]
fn every_operation_after_close_says_so() {
    run(|| {
        let (ours, _theirs) = pair();
        ours.close().unwrap();
        let mut stream = &*ours;
        assert_closed(stream.read(&mut [0]));
        assert_closed(stream.read(&mut []));
        assert_closed(stream.write(b"x"));
        assert_closed(stream.write_all(b"x"));
        assert_closed(ours.peek(&mut [0]));
        assert_closed(ours.shutdown(Shutdown::Both));
        assert_closed(ours.local_addr());
        assert_closed(ours.peer_addr());
        assert_closed(ours.take_error());
        assert_closed(ours.set_deadline(None));
        assert_closed(ours.wait_readable());
        assert_closed(ours.wait_writable());
        assert_closed(ours.close());
        let folder = Folder::new();
        let listener = UnixListener::bind(folder.path("listener")).unwrap();
        listener.close().unwrap();
        assert_closed(listener.accept());
        assert_closed(listener.accept_retrying());
        assert_closed(listener.local_addr());
        assert_closed(listener.set_deadline(None));
        assert!(listener.serve(|_, _| ()).is_ok(), "serve ends well");
        assert_closed(listener.into_std());
    });
}

#[test]
fn sockets_come_from_std_and_go_back() {
    run(|| {
        let folder = Folder::new();
        let listener = StdListener::bind(folder.path("listener")).unwrap();
        let client = StdStream::connect(folder.path("listener")).unwrap();
        let listener = UnixListener::from_std(listener).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let mut client = UnixStream::from_std(client).unwrap();
        let reader = go(move || {
            let mut text = [0; 5];
            client.read_exact(&mut text).map(|()| (client, text))
        });
        sleep(A_WHILE);
        server.write_all(b"hello").unwrap();
        let (client, text) = reader.join().unwrap().unwrap();
        assert_eq!(&text, b"hello");
        // Blocking again: a read waits in the kernel for what comes later.
        let mut client = client.into_std().unwrap();
        let plain = thread::spawn(move || {
            let mut text = [0; 5];
            client.read_exact(&mut text).map(|()| text)
        });
        sleep(A_WHILE);
        server.write_all(b"again").unwrap();
        assert_eq!(&plain.join().unwrap().unwrap(), b"again");
        let listener = StdListener::try_from(listener).unwrap();
        assert!(!fds::is_nonblocking(&listener).unwrap());
    });
}

#[test]
fn outside_a_runtime_the_error_says_what_to_do() {
    let folder = Folder::new();
    for error in [
        UnixListener::bind(folder.path("a")).unwrap_err(),
        UnixListener::bind_addr(&abstract_addr("outside")).unwrap_err(),
        UnixStream::connect(folder.path("a")).unwrap_err(),
        UnixStream::pair().unwrap_err(),
        UnixStream::from_std(StdStream::pair().unwrap().0).unwrap_err(),
    ] {
        assert!(error.to_string().contains("netpoll::run"), "{error}");
    }
}
