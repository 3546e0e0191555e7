//! UDP sockets against plain ones, under deadlines and closes, and shared by many goroutines.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket as StdSocket};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use netpoll::net::{UdpSocket, is_closed};
use netpoll::time::{Instant, sleep};
use netpoll::{go, scope, yield_now};
use netpoll_tests::child::within;

const LIMIT: Duration = Duration::from_secs(60);
/// Enough for a goroutine to have parked.
const A_WHILE: Duration = Duration::from_millis(30);
/// What a loaded machine may add to a deadline.
const SLACK: Duration = Duration::from_millis(1500);
/// The most bytes that one datagram has over IPv4.
const LARGEST: usize = 65_507;

fn run<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    within(LIMIT, || netpoll::run(f).unwrap())
}

fn bind() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").unwrap()
}

/// A plain socket, which gives up before a test does.
fn bind_std() -> StdSocket {
    let socket = StdSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(LIMIT / 2)).unwrap();
    socket
}

/// A socket of ours and a plain one, connected to each other.
fn pair() -> (UdpSocket, StdSocket) {
    let (ours, theirs) = (bind(), bind_std());
    ours.connect(theirs.local_addr().unwrap()).unwrap();
    theirs.connect(ours.local_addr().unwrap()).unwrap();
    (ours, theirs)
}

#[track_caller]
fn assert_closed<T: std::fmt::Debug>(result: io::Result<T>) {
    let error = result.unwrap_err();
    assert!(is_closed(&error), "{error:?}");
}

/// What a program sees of a socket, as text. It is compiled against `std` and against ours.
macro_rules! program {
    ($UdpSocket:ty) => {{
        let one = <$UdpSocket>::bind("127.0.0.1:0").unwrap();
        let other = <$UdpSocket>::bind(("127.0.0.1", 0)).unwrap();
        let (one_addr, other_addr) = (one.local_addr().unwrap(), other.local_addr().unwrap());
        let who = |addr: SocketAddr| if addr == one_addr { "one" } else { "other" };
        let mut seen = Vec::new();
        let mut buf = [b'.'; 8];

        assert_eq!(one.send_to(b"hello", other_addr).unwrap(), 5);
        let (len, from) = other.peek_from(&mut buf).unwrap();
        seen.push(format!("peeked {len} {:?} from {}", buf, who(from)));
        let (len, from) = other.recv_from(&mut buf[..3]).unwrap();
        seen.push(format!("received {len} {:?} from {}", buf, who(from)));
        // The rest of that datagram is lost. An empty one is one, and an empty buffer takes one.
        one.send_to(b"", other_addr).unwrap();
        one.send_to(b"for nobody", other_addr).unwrap();
        one.send_to(b"last", other_addr).unwrap();
        seen.push(format!("{:?}", other.recv_from(&mut buf).map(|(len, from)| (len, who(from)))));
        seen.push(format!("{:?}", other.recv(&mut []).unwrap()));
        seen.push(format!("{:?}", other.peek(&mut buf).unwrap()));
        seen.push(format!("{:?} {buf:?}", other.recv(&mut buf).unwrap()));

        seen.push(format!("{:?}", one.send(b"x").unwrap_err().kind()));
        seen.push(format!("{:?}", one.peer_addr().unwrap_err().kind()));
        one.connect(other_addr).unwrap();
        seen.push(who(one.peer_addr().unwrap()).to_owned());
        seen.push(format!("{:?}", one.send(b"to my peer").unwrap()));
        seen.push(format!("{:?}", other.recv(&mut buf).unwrap()));
        let none: [SocketAddr; 0] = [];
        seen.push(one.send_to(b"x", &none[..]).unwrap_err().to_string());
        seen.push(format!("{:?}", one.send_to(b"x", "no port").unwrap_err().kind()));
        let too_long = one.send(&vec![0; LARGEST + 1]).unwrap_err();
        seen.push(format!("{:?}", too_long.raw_os_error()));

        one.set_broadcast(true).unwrap();
        one.set_ttl(3).unwrap();
        seen.push(format!("{} {}", one.broadcast().unwrap(), one.ttl().unwrap()));
        seen.push(format!("{:?}", one.take_error().unwrap().map(|error| error.kind())));
        let zero = one.set_read_timeout(Some(Duration::ZERO)).unwrap_err();
        seen.push(format!("{:?} {:?}", zero.kind(), one.read_timeout().unwrap()));
        one.set_write_timeout(Some(Duration::from_secs(3))).unwrap();
        seen.push(format!("{:?}", one.write_timeout().unwrap()));
        let clone = one.try_clone().unwrap();
        drop(one);
        clone.send(b"still here").unwrap();
        seen.push(format!("{:?}", other.recv_from(&mut buf).map(|(len, from)| (len, who(from)))));
        seen
    }};
}

#[test]
fn a_program_for_std_sees_the_same() {
    let theirs = program!(StdSocket);
    let ours = run(|| program!(UdpSocket));
    assert_eq!(ours, theirs);
    assert_eq!(ours[1], format!("received 3 {:?} from one", b"hello..."), "it says something");
}

#[test]
fn datagrams_cross_to_and_from_a_plain_socket() {
    run(|| {
        let (ours, theirs) = (bind(), bind_std());
        let (our_addr, their_addr) = (ours.local_addr().unwrap(), theirs.local_addr().unwrap());
        let echo = thread::spawn(move || {
            let mut buf = [0; 2048];
            for _ in 0..200 {
                let (len, peer) = theirs.recv_from(&mut buf).unwrap();
                assert_eq!(peer, our_addr);
                theirs.send_to(&buf[..len], peer).unwrap();
            }
        });
        for round in 0..200u32 {
            let sent = round.to_le_bytes().repeat(1 + round as usize % 300);
            assert_eq!(ours.send_to(&sent, their_addr).unwrap(), sent.len());
            let mut buf = [0; 2048];
            let (len, peer) = ours.recv_from(&mut buf).unwrap();
            assert_eq!((&buf[..len], peer), (&sent[..], their_addr));
        }
        echo.join().unwrap();
    });
}

#[test]
fn the_largest_datagram_arrives_whole() {
    run(|| {
        let (ours, theirs) = pair();
        let sent: Vec<u8> = (0..LARGEST).map(|i| (i % 251) as u8).collect();
        let mut buf = vec![0; LARGEST + 1];
        assert_eq!(ours.send(&sent).unwrap(), LARGEST);
        assert_eq!(theirs.recv(&mut buf).unwrap(), LARGEST);
        assert_eq!(buf[..LARGEST], sent);
        buf.fill(0);
        assert_eq!(theirs.send(&sent).unwrap(), LARGEST);
        assert_eq!(ours.recv(&mut buf).unwrap(), LARGEST);
        assert_eq!(buf[..LARGEST], sent);
    });
}

/// Hunts the short read that is taken for the last: several datagrams are there, each of which is
/// shorter than the buffer, and there was one edge for all of them.
#[test]
fn several_datagrams_that_came_at_once_are_all_received() {
    run(|| {
        let (ours, theirs) = pair();
        for number in 0..20u8 {
            theirs.send(&[number]).unwrap();
        }
        sleep(A_WHILE);
        let mut buf = [0; 64];
        for number in 0..20u8 {
            assert_eq!(ours.recv(&mut buf).unwrap(), 1);
            assert_eq!(buf[0], number);
        }
    });
}

#[test]
fn a_connected_socket_hears_its_peer_only() {
    run(|| {
        let (ours, theirs) = pair();
        let stranger = bind_std();
        stranger.send_to(b"stranger", ours.local_addr().unwrap()).unwrap();
        theirs.send(b"peer").unwrap();
        let mut buf = [0; 16];
        assert_eq!(ours.recv(&mut buf).unwrap(), 4);
        assert_eq!(&buf[..4], b"peer");
    });
}

/// The error comes back from the other host, some time after the send, to a receive that waits.
#[test]
fn that_nobody_listens_reaches_a_waiting_receive_and_the_socket_lives_on() {
    run(|| {
        let (ours, theirs) = pair();
        let ours = Arc::new(ours);
        let addr = theirs.local_addr().unwrap();
        drop(theirs);
        let its = ours.clone();
        let receiver = go(move || its.recv(&mut [0; 8]));
        sleep(A_WHILE);
        ours.send(b"x").unwrap();
        let error = receiver.join().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        let theirs = StdSocket::bind(addr).unwrap();
        theirs.send_to(b"back", ours.local_addr().unwrap()).unwrap();
        assert_eq!(ours.recv(&mut [0; 8]).unwrap(), 4);
    });
}

#[test]
fn a_name_is_resolved_and_the_first_address_is_taken() {
    run(|| {
        let (ours, theirs) = (bind(), bind_std());
        let addr = theirs.local_addr().unwrap();
        let (first, second) = (addr, SocketAddr::from(([127, 0, 0, 1], 1)));
        ours.send_to(b"list", &[first, second][..]).unwrap();
        // Whatever else `localhost` is, it is this address too: a connect takes the first that works.
        let named = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        named.connect(("localhost", addr.port())).unwrap();
        named.send(b"name").unwrap();
        let mut buf = [0; 8];
        for expected in [b"list", b"name"] {
            assert_eq!(theirs.recv(&mut buf).unwrap(), 4);
            assert_eq!(&buf[..4], expected);
        }
    });
}

/// Every datagram is received once, by somebody, and answered to whom it came from.
#[test]
fn many_goroutines_share_one_socket() {
    const GOROUTINES: usize = 50;
    const CLIENTS: usize = 8;
    const ROUNDS: u32 = 300;
    run(|| {
        let server = bind();
        let addr = server.local_addr().unwrap();
        let servers: Vec<_> = (0..GOROUTINES)
            .map(|_| {
                let server = server.try_clone().unwrap();
                go(move || {
                    let (mut served, mut buf) = (0, [0; 64]);
                    loop {
                        match server.recv_from(&mut buf) {
                            Ok((len, peer)) => {
                                if served % 3 == 0 {
                                    yield_now();
                                }
                                assert_eq!(server.send_to(&buf[..len], peer).unwrap(), len);
                                served += 1;
                            }
                            Err(error) if is_closed(&error) => return served,
                            Err(error) => panic!("{error}"),
                        }
                    }
                })
            })
            .collect();
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                thread::spawn(move || {
                    let socket = bind_std();
                    socket.connect(addr).unwrap();
                    for round in 0..ROUNDS {
                        let sent = format!("client {client} round {round}");
                        socket.send(sent.as_bytes()).unwrap();
                        let mut buf = [0; 64];
                        let len = socket.recv(&mut buf).unwrap();
                        assert_eq!(&buf[..len], sent.as_bytes());
                    }
                })
            })
            .collect();
        netpoll::blocking(move || clients.into_iter().for_each(|client| client.join().unwrap()));
        server.close().unwrap();
        let served: u32 = servers.into_iter().map(|server| server.join().unwrap()).sum();
        assert_eq!(served, CLIENTS as u32 * ROUNDS);
    });
}

#[test]
fn one_goroutine_sends_while_another_receives() {
    run(|| {
        let (ours, theirs) = pair();
        let echo = thread::spawn(move || {
            let mut buf = [0; 8];
            for _ in 0..500 {
                let len = theirs.recv(&mut buf).unwrap();
                theirs.send(&buf[..len]).unwrap();
            }
        });
        let ours = &ours;
        let (permit, permits) = netpoll::sync::channel::<()>(16);
        scope(|s| {
            s.go(move || {
                for number in 0..500u32 {
                    // No more on their way than the buffers hold.
                    permit.send(()).unwrap();
                    ours.send(&number.to_le_bytes()).unwrap();
                }
            });
            s.go(move || {
                let mut buf = [0; 4];
                for number in 0..500u32 {
                    assert_eq!(ours.recv(&mut buf).unwrap(), 4);
                    assert_eq!(u32::from_le_bytes(buf), number);
                    permits.recv().unwrap();
                }
            });
        });
        echo.join().unwrap();
    });
}

#[track_caller]
fn assert_times_out_at<T: std::fmt::Debug>(at: Instant, operation: impl FnOnce() -> io::Result<T>) {
    let error = operation().unwrap_err();
    let now = Instant::now();
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{error:?}");
    assert!(now >= at, "{:?} early", at - now);
    assert!(now - at < SLACK, "{:?} late", now - at);
}

#[test]
fn deadlines_and_timeouts_are_those_of_a_stream() {
    run(|| {
        let (ours, theirs) = pair();
        let mut buf = [0; 8];
        let at = Instant::now() + Duration::from_millis(40);
        ours.set_read_deadline(Some(at)).unwrap();
        assert_times_out_at(at, || ours.recv_from(&mut buf));
        theirs.send(b"x").unwrap();
        sleep(Duration::from_millis(10));
        assert_times_out_at(at, || ours.recv(&mut buf));
        assert_times_out_at(at, || ours.peek_from(&mut buf));
        assert_times_out_at(at, || ours.wait_readable());
        assert_eq!(ours.send(b"y").unwrap(), 1, "sends do not care");
        ours.set_read_deadline(None).unwrap();
        assert_eq!(ours.recv(&mut buf).unwrap(), 1, "nothing is lost");

        ours.set_read_timeout(Some(Duration::from_millis(40))).unwrap();
        for _ in 0..2 {
            let at = Instant::now() + Duration::from_millis(40);
            assert_times_out_at(at, || ours.recv(&mut buf));
        }
        ours.set_deadline(Some(Instant::now())).unwrap();
        assert_eq!(ours.send(b"y").unwrap_err().kind(), ErrorKind::TimedOut);
        let to = theirs.local_addr().unwrap();
        assert_eq!(ours.send_to(b"y", to).unwrap_err().kind(), ErrorKind::TimedOut);
    });
}

#[test]
fn a_deadline_set_to_the_past_releases_all_who_wait() {
    run(|| {
        let ours = Arc::new(bind());
        let receivers: Vec<_> = (0..5)
            .map(|_| {
                let its = ours.clone();
                go(move || its.recv_from(&mut [0; 8]))
            })
            .collect();
        sleep(A_WHILE);
        ours.set_read_deadline(Some(Instant::now())).unwrap();
        for receiver in receivers {
            assert_eq!(receiver.join().unwrap().unwrap_err().kind(), ErrorKind::TimedOut);
        }
    });
}

#[test]
fn close_wakes_goroutines_and_threads_and_frees_the_port() {
    run(|| {
        let ours = Arc::new(bind());
        let addr = ours.local_addr().unwrap();
        let receivers: Vec<_> = (0..5)
            .map(|_| {
                let its = ours.clone();
                go(move || its.recv_from(&mut [0; 8]))
            })
            .collect();
        let its = ours.clone();
        let plain = thread::spawn(move || its.recv(&mut [0; 8]));
        sleep(A_WHILE);
        ours.close().unwrap();
        for receiver in receivers {
            assert_closed(receiver.join().unwrap());
        }
        assert_closed(plain.join().unwrap());
        drop(StdSocket::bind(addr).unwrap());
    });
}

#[test]
fn a_close_at_any_moment_of_a_receive_is_noticed() {
    run(|| {
        for round in 0..2000 {
            let ours = Arc::new(bind());
            let its = ours.clone();
            let receiver = go(move || its.recv_from(&mut [0; 8]));
            (0..round % 4).for_each(|_| yield_now());
            (0..round % 7 * 100).for_each(|_| std::hint::spin_loop());
            ours.close().unwrap();
            assert_closed(receiver.join().unwrap());
        }
    });
}

#[test]
fn every_operation_after_close_says_so() {
    run(|| {
        let (ours, theirs) = pair();
        let to = theirs.local_addr().unwrap();
        let clone = ours.try_clone().unwrap();
        ours.close().unwrap();
        let mut buf = [0; 4];
        for socket in [&ours, &clone] {
            assert_closed(socket.recv_from(&mut buf));
            assert_closed(socket.peek_from(&mut buf));
            assert_closed(socket.recv(&mut []));
            assert_closed(socket.peek(&mut buf));
            assert_closed(socket.send_to(b"x", to));
            assert_closed(socket.send(b"x"));
            assert_closed(socket.connect(to));
            assert_closed(socket.local_addr());
            assert_closed(socket.peer_addr());
            assert_closed(socket.set_ttl(3));
            assert_closed(socket.set_broadcast(true));
            assert_closed(socket.set_deadline(None));
            assert_closed(socket.wait_readable());
            assert_closed(socket.wait_writable());
            assert_closed(socket.close());
        }
        assert_closed(clone.into_std());
    });
}

#[test]
fn sockets_come_from_std_and_go_back() {
    run(|| {
        let (theirs, peer) = (bind_std(), bind_std());
        let addr = theirs.local_addr().unwrap();
        let ours = UdpSocket::from_std(theirs).unwrap();
        let receiver = go(move || ours.recv_from(&mut [0; 8]).map(|(len, from)| (ours, len, from)));
        sleep(A_WHILE);
        peer.send_to(b"hello", addr).unwrap();
        let (ours, len, from) = receiver.join().unwrap().unwrap();
        assert_eq!((len, from), (5, peer.local_addr().unwrap()));
        // Blocking again: a receive waits in the kernel for what comes later.
        let theirs = StdSocket::try_from(ours).unwrap();
        let plain = thread::spawn(move || theirs.recv(&mut [0; 8]));
        sleep(A_WHILE);
        peer.send_to(b"again", addr).unwrap();
        assert_eq!(plain.join().unwrap().unwrap(), 5);
    });
}

#[test]
fn outside_a_runtime_the_error_says_what_to_do() {
    for error in
        [UdpSocket::bind("127.0.0.1:0").unwrap_err(), UdpSocket::from_std(bind_std()).unwrap_err()]
    {
        assert!(error.to_string().contains("netpoll::run"), "{error}");
    }
}
