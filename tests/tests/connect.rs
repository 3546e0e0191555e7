//! Connections that do not come about, and accept loops that run out of descriptors.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::time::Duration;

use netpoll::net::TcpStream;
use netpoll::time::Instant;
use netpoll::{Builder, go};
use netpoll_tests::child::{in_child, within};
use netpoll_tests::client::Client;
use netpoll_tests::server::EchoServer;
use netpoll_tests::{fds, os};

const LIMIT: Duration = Duration::from_secs(50);

fn run<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    within(LIMIT, || netpoll::run(f).unwrap())
}

/// An address where nobody listens.
fn dead_address() -> SocketAddr {
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

#[test]
fn a_refused_connection_says_so() {
    run(|| {
        let addr = dead_address();
        let error = TcpStream::connect(addr).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        let error = TcpStream::connect_timeout(&addr, LIMIT).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn the_next_address_is_tried_when_one_refuses() {
    run(|| {
        let listener = StdListener::bind("127.0.0.1:0").unwrap();
        let addrs = [dead_address(), listener.local_addr().unwrap()];
        let stream = TcpStream::connect(&addrs[..]).unwrap();
        assert_eq!(stream.peer_addr().unwrap(), addrs[1]);
        let none: [SocketAddr; 0] = [];
        assert!(TcpStream::connect(&none[..]).is_err());
        let error = TcpStream::connect("no port here").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    });
}

/// A full backlog makes the kernel drop handshakes: nobody answers.
#[test]
fn a_connect_that_nobody_answers_times_out() {
    run(|| {
        let listener = StdListener::bind("127.0.0.1:0").unwrap();
        fds::set_backlog(&listener, 0).unwrap();
        let addr = listener.local_addr().unwrap();
        let timeout = Duration::from_millis(150);
        let mut queued = Vec::new();
        let (error, took) = loop {
            assert!(queued.len() < 50, "the backlog has no end");
            let start = Instant::now();
            match TcpStream::connect_timeout(&addr, timeout) {
                Ok(stream) => queued.push(stream),
                Err(error) => break (error, start.elapsed()),
            }
        };
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(took >= timeout && took < timeout * 10, "{took:?}");
        let zero = TcpStream::connect_timeout(&addr, Duration::ZERO).unwrap_err();
        assert_eq!(zero.kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn a_thousand_goroutines_connect_and_talk_at_once() {
    within(LIMIT, || {
        let server = EchoServer::start(Builder::new().workers(2));
        let addr = server.addr();
        let clients = move || {
            let talk = move |number: u64| -> std::io::Result<[u8; 8]> {
                let mut stream = TcpStream::connect(addr)?;
                stream.write_all(&number.to_le_bytes())?;
                let mut answer = [0; 8];
                stream.read_exact(&mut answer)?;
                Ok(answer)
            };
            let clients: Vec<_> = (0..1000).map(|number| go(move || talk(number))).collect();
            for (number, client) in (0..1000u64).zip(clients) {
                assert_eq!(client.join().unwrap().unwrap(), number.to_le_bytes());
            }
        };
        Builder::new().workers(2).build().unwrap().run(clients).unwrap();
    });
}

/// A process that may open only a few more descriptors than it has, so that `accept` fails with EMFILE
/// although a connection is there.
#[test]
fn an_accept_loop_without_descriptors_backs_off_and_recovers() {
    let child = in_child("an_accept_loop_without_descriptors_backs_off_and_recovers", || {
        let server = EchoServer::start(Builder::new().workers(1));
        let mut first = Client::connect(server.addr(), 0).unwrap();
        first.round_trip(64).unwrap();
        os::set_soft_limit(libc::RLIMIT_NOFILE, 64).unwrap();
        let mut ballast = Vec::new();
        while let Ok(file) = File::open("/dev/null") {
            ballast.push(file);
        }
        // One for the client's end of a connection, none for the server's.
        ballast.pop();
        let mut late = StdStream::connect(server.addr()).unwrap();
        late.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        late.write_all(b"x").unwrap();
        let error = late.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock, "nobody has accepted it");
        // Who is served already goes on being served, and the loop does not burn the processor.
        first.round_trip(64).unwrap();
        let pid = std::process::id();
        let before = os::cpu_time(pid).unwrap();
        std::thread::sleep(Duration::from_millis(500));
        let burnt = os::cpu_time(pid).unwrap() - before;
        assert!(burnt < Duration::from_millis(150), "{burnt:?} of processor time in 500 ms");
        drop(ballast);
        late.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut answer = [0];
        late.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"x");
    });
    let Some(child) = child else { return };
    child.assert_passed();
    let says = "netpoll: accept: Too many open files";
    let lines = child.stderr.lines().filter(|line| line.starts_with(says));
    assert!((1..=20).contains(&lines.count()), "{}", child.stderr);
}
