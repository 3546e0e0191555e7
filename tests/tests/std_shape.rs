//! Streams as `std` has them, shared by goroutines and plain threads.

use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::{Shutdown, TcpListener as StdListener, TcpStream as StdStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use netpoll::net::{TcpListener, TcpStream};
use netpoll::sync::channel;
use netpoll::time::Instant;
use netpoll::{Builder, go};
use netpoll_tests::child::within;

const LIMIT: Duration = Duration::from_secs(60);

fn run<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    within(LIMIT, || netpoll::run(f).unwrap())
}

fn pair() -> (TcpStream, StdStream) {
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (ours, listener.accept().unwrap().0)
}

#[test]
fn peek_leaves_the_bytes_in_the_stream() {
    run(|| {
        let (mut ours, mut theirs) = pair();
        let writer = go(move || theirs.write_all(b"abc"));
        let (mut seen, mut read) = ([0; 2], [0; 3]);
        while ours.peek(&mut seen).unwrap() < 2 {}
        ours.read_exact(&mut read).unwrap();
        writer.join().unwrap().unwrap();
        assert_eq!((&seen, &read), (b"ab", b"abc"));
    });
}

/// Hunts a wait for an edge that a read has used without taking everything.
#[test]
fn waiting_for_what_is_there_already_returns_at_once() {
    run(|| {
        let (mut ours, mut theirs) = pair();
        theirs.write_all(b"abc").unwrap();
        for _ in b"abc" {
            ours.wait_readable().unwrap();
            ours.read_exact(&mut [0]).unwrap();
        }
        ours.wait_writable().unwrap();
        ours.wait_writable().unwrap();
        ours.set_read_deadline(Some(Instant::now() + Duration::from_millis(30))).unwrap();
        assert_eq!(ours.wait_readable().unwrap_err().kind(), ErrorKind::TimedOut);
        ours.set_read_deadline(None).unwrap();
        drop(theirs);
        ours.wait_readable().unwrap();
        ours.wait_readable().unwrap();
    });
}

#[test]
fn vectored_calls_fill_and_drain_several_buffers() {
    run(|| {
        let (mut ours, mut theirs) = pair();
        let parts = [IoSlice::new(b"one "), IoSlice::new(b""), IoSlice::new(b"two")];
        assert_eq!(ours.write_vectored(&parts).unwrap(), 7);
        let mut text = [0; 7];
        theirs.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"one two");
        theirs.write_all(&text).unwrap();
        let (mut first, mut second) = ([0; 4], [0; 8]);
        ours.wait_readable().unwrap();
        let mut room = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
        assert_eq!(ours.read_vectored(&mut room).unwrap(), 7);
        assert_eq!((&first, &second[..3]), (b"one ", &b"two"[..]));
        // More buffers than one call takes.
        let many = vec![IoSlice::new(b"x"); 5000];
        let written = ours.write_vectored(&many).unwrap();
        assert!((1..=5000).contains(&written));
    });
}

#[test]
fn options_and_addresses_are_those_of_the_socket() {
    run(|| {
        let (ours, theirs) = pair();
        assert_eq!(ours.peer_addr().unwrap(), theirs.local_addr().unwrap());
        assert_eq!(ours.local_addr().unwrap(), theirs.peer_addr().unwrap());
        for on in [true, false] {
            ours.set_nodelay(on).unwrap();
            assert_eq!(ours.nodelay().unwrap(), on);
        }
        ours.set_ttl(17).unwrap();
        assert_eq!(ours.ttl().unwrap(), 17);
        assert!(ours.take_error().unwrap().is_none());
    });
}

#[test]
fn shutdown_closes_one_direction() {
    run(|| {
        let (mut ours, mut theirs) = pair();
        ours.write_all(b"last").unwrap();
        ours.shutdown(Shutdown::Write).unwrap();
        let mut text = String::new();
        theirs.read_to_string(&mut text).unwrap();
        assert_eq!(text, "last");
        theirs.write_all(b"answer").unwrap();
        drop(theirs);
        text.clear();
        ours.read_to_string(&mut text).unwrap();
        assert_eq!(text, "answer");
    });
}

#[test]
fn shutdown_wakes_a_waiting_reader() {
    run(|| {
        let (ours, _theirs) = pair();
        let ours = Arc::new(ours);
        let its = ours.clone();
        let reader = go(move || (&*its).read(&mut [0]));
        netpoll::time::sleep(Duration::from_millis(30));
        ours.shutdown(Shutdown::Read).unwrap();
        assert_eq!(reader.join().unwrap().unwrap(), 0);
    });
}

#[test]
fn a_clone_is_the_same_connection() {
    run(|| {
        let (mut ours, mut theirs) = pair();
        let mut clone = ours.try_clone().unwrap();
        let writer = go(move || (0..1000).for_each(|_| clone.write_all(b"ping").unwrap()));
        let mut got = vec![0; 4000];
        theirs.read_exact(&mut got).unwrap();
        writer.join().unwrap();
        assert_eq!(got, b"ping".repeat(1000));
        theirs.write_all(b"pong").unwrap();
        let mut answer = [0; 4];
        ours.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"pong");
    });
}

#[test]
fn streams_and_listeners_come_from_std_and_go_back() {
    run(|| {
        let listener = StdListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let client = StdStream::connect(addr).unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let mut client = TcpStream::from_std(client).unwrap();
        let reader = go(move || {
            let mut text = [0; 5];
            client.read_exact(&mut text).map(|()| (client, text))
        });
        netpoll::time::sleep(Duration::from_millis(10));
        server.write_all(b"hello").unwrap();
        let (client, text) = reader.join().unwrap().unwrap();
        assert_eq!(&text, b"hello");

        // Blocking again: a read waits in the kernel for what comes later.
        let mut client = client.into_std().unwrap();
        let plain = thread::spawn(move || {
            let mut text = [0; 5];
            client.read_exact(&mut text).map(|()| text)
        });
        netpoll::time::sleep(Duration::from_millis(10));
        server.write_all(b"again").unwrap();
        assert_eq!(&plain.join().unwrap().unwrap(), b"again");
        let listener = listener.into_std().unwrap();
        assert_eq!(listener.local_addr().unwrap(), addr);
    });
}

#[test]
fn plain_threads_and_goroutines_share_streams_and_channels() {
    const MESSAGES: u32 = 2000;
    within(LIMIT, || {
        let runtime = Builder::new().workers(2).build().unwrap();
        let (ours, theirs) = runtime.run(pair).unwrap();
        let (to_thread, from_goroutine) = channel::<u32>(4);
        // A goroutine reads the stream and sends to a thread; a thread writes the stream.
        let reading = ours.try_clone().unwrap();
        let goroutine = runtime.run(move || {
            go(move || {
                let mut reading = reading;
                let mut number = [0; 4];
                while reading.read_exact(&mut number).is_ok() {
                    to_thread.send(u32::from_le_bytes(number)).unwrap();
                }
            })
        });
        let writer = thread::spawn(move || {
            let mut theirs = theirs;
            for number in 0..MESSAGES {
                theirs.write_all(&number.to_le_bytes()).unwrap();
            }
            theirs
        });
        let got: Vec<u32> = (0..MESSAGES).map(|_| from_goroutine.recv().unwrap()).collect();
        assert!(got.into_iter().eq(0..MESSAGES));
        // And the other way round: a plain thread waits on a stream of the runtime.
        let mut theirs = writer.join().unwrap();
        let mut from_here = &ours;
        from_here.write_all(b"from a thread").unwrap();
        let mut text = [0; 13];
        theirs.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"from a thread");
        drop(theirs);
        goroutine.unwrap().join().unwrap();
    });
}

#[test]
fn outside_a_runtime_the_error_says_what_to_do() {
    let addr = "127.0.0.1:1";
    let std_stream = {
        let listener = StdListener::bind("127.0.0.1:0").unwrap();
        StdStream::connect(listener.local_addr().unwrap()).unwrap()
    };
    let errors = [
        TcpListener::bind("127.0.0.1:0").unwrap_err(),
        TcpStream::connect(addr).unwrap_err(),
        TcpStream::connect_timeout(&addr.parse().unwrap(), LIMIT).unwrap_err(),
        TcpStream::from_std(std_stream).unwrap_err(),
        netpoll::GoBuilder::new().spawn(|| ()).map(drop).unwrap_err(),
    ];
    for error in errors {
        assert!(error.to_string().contains("netpoll::run"), "{error}");
    }
}
