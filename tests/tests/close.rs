//! Closing wakes whoever waits, and the error of a closed descriptor is its own.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::{Shutdown, TcpListener as StdListener, TcpStream as StdStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use netpoll::net::{TcpListener, TcpStream, is_closed};
use netpoll::time::{Instant, sleep};
use netpoll::{go, yield_now};
use netpoll_tests::child::within;

const LIMIT: Duration = Duration::from_secs(60);
/// Enough for a goroutine to have parked.
const A_WHILE: Duration = Duration::from_millis(30);

fn run<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    within(LIMIT, || netpoll::run(f).unwrap())
}

/// A connection between a stream of the runtime that runs this and a plain one.
fn pair() -> (Arc<TcpStream>, StdStream) {
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (Arc::new(ours), listener.accept().unwrap().0)
}

#[track_caller]
fn assert_closed<T: std::fmt::Debug>(result: io::Result<T>) {
    let error = result.unwrap_err();
    assert!(is_closed(&error), "{error:?}");
}

#[test]
fn close_wakes_a_reader() {
    run(|| {
        let (ours, _theirs) = pair();
        let its = ours.clone();
        let reader = go(move || (&*its).read(&mut [0; 8]));
        sleep(A_WHILE);
        ours.close().unwrap();
        assert_closed(reader.join().unwrap());
    });
}

#[test]
fn close_wakes_a_writer() {
    run(|| {
        let (ours, _theirs) = pair();
        let its = ours.clone();
        let writer = go(move || (&*its).write_all(&vec![0; 64 << 20]));
        sleep(A_WHILE * 3);
        ours.close().unwrap();
        assert_closed(writer.join().unwrap());
    });
}

#[test]
fn close_wakes_an_accept() {
    run(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let its = listener.try_clone().unwrap();
        let acceptor = go(move || its.accept().map(drop));
        sleep(A_WHILE);
        listener.close().unwrap();
        assert_closed(acceptor.join().unwrap());
        // The port is free again.
        drop(StdListener::bind(addr).unwrap());
    });
}

#[test]
fn close_wakes_a_plain_thread_and_those_who_wait_in_line() {
    run(|| {
        let (ours, _theirs) = pair();
        let in_line: Vec<_> = (0..3)
            .map(|_| {
                let its = ours.clone();
                go(move || (&*its).read(&mut [0; 8]))
            })
            .collect();
        let its = ours.clone();
        let plain = thread::spawn(move || (&*its).read(&mut [0; 8]));
        sleep(A_WHILE);
        ours.close().unwrap();
        for reader in in_line {
            assert_closed(reader.join().unwrap());
        }
        assert_closed(plain.join().unwrap());
    });
}

/// Hunts the lost wake-up between a reader on its way into the park and a close: the reader has seen
/// EAGAIN, the close has looked for a waiter and found none, the reader parks for ever. How far the
/// reader gets before the close differs from round to round.
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
        let clone = ours.try_clone().unwrap();
        ours.close().unwrap();
        let (mut one, mut two) = ([0; 4], [0; 4]);
        for stream in [&*ours, &clone] {
            let mut stream = stream;
            assert_closed(stream.read(&mut one));
            assert_closed(stream.read(&mut []));
            assert_closed(stream.read_vectored(&mut [IoSliceMut::new(&mut two)]));
            assert_closed(stream.write(b"x").map(drop));
            assert_closed(stream.write_all(b"x"));
            assert_closed(stream.write_vectored(&[IoSlice::new(b"x")]).map(drop));
            assert_closed(stream.peek(&mut one));
            assert_closed(stream.shutdown(Shutdown::Both));
            assert_closed(stream.peer_addr());
            assert_closed(stream.local_addr());
            assert_closed(stream.nodelay());
            assert_closed(stream.set_nodelay(true));
            assert_closed(stream.set_ttl(3));
            assert_closed(stream.set_zero_linger());
            assert_closed(stream.set_deadline(Some(Instant::now())));
            assert_closed(stream.wait_readable());
            assert_closed(stream.close());
        }
        assert_closed(clone.into_std());

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.close().unwrap();
        assert_closed(listener.accept());
        assert_closed(listener.accept_retrying());
        assert_closed(listener.local_addr());
        assert_closed(listener.close());
        assert!(listener.serve(|_, _| ()).is_ok(), "serve ends well");
    });
}

#[test]
fn a_peer_that_closes_is_not_our_close() {
    run(|| {
        let (ours, theirs) = pair();
        drop(theirs);
        let mut stream = &*ours;
        assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0);
        let error = loop {
            match stream.write_all(&[0; 1024]) {
                Ok(()) => sleep(Duration::from_millis(1)),
                Err(error) => break error,
            }
        };
        assert!(!is_closed(&error), "{error:?}");
    });
}

#[test]
fn a_close_without_linger_is_a_reset() {
    run(|| {
        let (ours, mut theirs) = pair();
        (&*ours).write_all(b"never mind").unwrap();
        ours.set_zero_linger().unwrap();
        ours.close().unwrap();
        let error = theirs.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    });
}

#[test]
fn dropping_the_last_handle_closes_the_connection() {
    run(|| {
        let (ours, mut theirs) = pair();
        let clone = ours.try_clone().unwrap();
        drop(ours);
        (&clone).write_all(b"still open").unwrap();
        drop(clone);
        let mut text = String::new();
        theirs.read_to_string(&mut text).unwrap();
        assert_eq!(text, "still open");
    });
}
