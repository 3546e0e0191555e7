//! What a network between hosts does: cuts, loses, holds, delays and resets.

use std::io::{ErrorKind, Read, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use netpoll::net::{TcpListener, TcpStream, UdpSocket};
use netpoll::time::{Instant, sleep};

use super::{PORT, address, ask, connect, counts, everywhere, ms};
use crate::{FaultKind, Faults, Sim, hosts, sometimes};

#[test]
fn a_partition_is_bridged_if_it_is_short_and_times_out_if_it_is_not() {
    everywhere("partition", || {
        hosts::start("server", counts);
        let stream = connect("server");
        hosts::partition("test", "server");
        let healer = netpoll::go(|| {
            sleep(ms(1_000));
            hosts::heal("server", "test");
        });
        assert_eq!(ask(&stream, 1).unwrap(), 2, "TCP sends it again");
        healer.join().unwrap();

        hosts::partition("test", "server");
        let error = ask(&stream, 2).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        let error = TcpStream::connect((address("server"), PORT)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        hosts::heal_all();
        assert_eq!(ask(&connect("server"), 3).unwrap(), 4);
    });
}

#[test]
fn a_cut_of_one_direction_is_heard_by_one_side() {
    everywhere("cut", || {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let theirs = Arc::clone(&heard);
        hosts::start("server", move || {
            let listener = TcpListener::bind(("0.0.0.0", PORT))?;
            let (mut stream, _) = listener.accept()?;
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            theirs.lock().unwrap().push(byte[0]);
            let _refused = stream.write_all(&byte);
            sleep(ms(20_000));
            std::io::Result::Ok(())
        });
        let stream = connect("server");
        hosts::cut("server", "test");
        let error = ask(&stream, 9).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut, "nobody told us that it arrived");
        assert_eq!(*heard.lock().unwrap(), [9], "but it did");
        hosts::mend("server", "test");
    });
}

#[test]
fn datagrams_between_hosts_get_lost_in_a_cut() {
    everywhere("datagrams", || {
        hosts::start("server", || -> () {
            let socket = UdpSocket::bind(("0.0.0.0", PORT)).unwrap();
            let mut buf = [0; 8];
            loop {
                let (len, from) = socket.recv_from(&mut buf).unwrap();
                let _lost = socket.send_to(&buf[..len], from);
            }
        });
        let socket = UdpSocket::bind(("0.0.0.0", 0)).unwrap();
        socket.set_read_timeout(Some(ms(500))).unwrap();
        let to = (address("server"), PORT);
        let mut buf = [0; 8];
        let echoed = (0..100u8).any(|nth| {
            socket.send_to(&[nth], to).unwrap();
            socket.recv_from(&mut buf).is_ok_and(|(_, from)| from.ip() == to.0)
        });
        assert!(echoed);
        while socket.recv_from(&mut buf).is_ok() {}
        hosts::isolate("server");
        for _ in 0..3 {
            socket.send_to(&[0], to).unwrap();
            assert!(socket.recv_from(&mut buf).is_err());
        }
    });
}

#[test]
fn a_latency_is_what_a_round_trip_takes_at_least() {
    everywhere("latency", || {
        hosts::start("server", counts);
        let stream = connect("server");
        hosts::latency("test", "server", ms(40)..=ms(60));
        let start = Instant::now();
        assert_eq!(ask(&stream, 1).unwrap(), 2);
        let took = start.elapsed();
        assert!(took >= ms(80), "{took:?}");
    });
}

#[test]
fn what_is_held_comes_when_it_is_released_and_nobody_gives_up() {
    everywhere("hold", || {
        hosts::start("server", counts);
        let stream = connect("server");
        hosts::hold("test", "server");
        let attempt = netpoll::go(|| TcpStream::connect((address("server"), PORT)).is_ok());
        let mut writer = &stream;
        writer.write_all(&[1, 2, 3]).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut answers = [0; 3];
        assert_eq!(writer.read(&mut answers).unwrap_err().kind(), ErrorKind::TimedOut);
        let start = Instant::now();
        hosts::release("server", "test");
        writer.read_exact(&mut answers).unwrap();
        assert_eq!(answers, [2, 3, 4]);
        assert!(attempt.join().unwrap(), "it waited for an answer");
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
        assert_eq!(ask(&stream, 7).unwrap(), 8);
    });
}

#[test]
fn datagrams_are_held_as_well_and_what_is_never_released_is_no_leak() {
    let sim = Sim::named("hold datagrams").seeds(0..50).faults(Faults::none());
    sim.check(|| {
        let ours = UdpSocket::bind(("0.0.0.0", PORT)).unwrap();
        hosts::start("server", || -> std::io::Result<()> {
            let socket = UdpSocket::bind(("0.0.0.0", PORT))?;
            sleep(ms(10));
            (0..10)
                .try_for_each(|nth| socket.send_to(&[nth], (address("test"), PORT)).map(drop))?;
            // A connection whose end never comes.
            drop(TcpStream::connect((address("test"), PORT)));
            Ok(())
        });
        let listener = TcpListener::bind(("0.0.0.0", PORT)).unwrap();
        hosts::hold("test", "server");
        ours.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut received = Vec::new();
        let mut receive = || {
            let mut buf = [0];
            while ours.recv_from(&mut buf).is_ok() {
                received.push(buf[0]);
            }
            received.clone()
        };
        let before = receive();
        hosts::release("test", "server");
        assert_eq!(receive(), (0..10).collect::<Vec<_>>());
        assert!(before.is_empty(), "{before:?} came while everything was held");
        let (stream, from) = listener.accept().unwrap();
        assert_eq!(hosts::name_of(from.ip()).as_deref(), Some("server"));
        assert_eq!(hosts::name_of("10.0.0.77".parse().unwrap()), None);
        hosts::hold("test", "server");
        drop(stream);
    });
}

#[test]
fn the_end_of_a_handshake_that_is_held_for_ever_is_no_leak() {
    Sim::named("half open").seeds(0..50).faults(Faults::none()).check(|| {
        let listener = TcpListener::bind(("0.0.0.0", PORT)).unwrap();
        hosts::start("client", || -> std::io::Result<()> {
            sleep(ms(10));
            let _stream = TcpStream::connect((address("test"), PORT))?;
            sleep(Duration::from_secs(10));
            Ok(())
        });
        // It takes three packets, and the last one is under way now.
        hosts::latency("test", "client", ms(50)..=ms(50));
        sleep(ms(135));
        hosts::hold("test", "client");
        drop(listener);
    });
}

#[test]
fn an_attempt_that_nobody_answers_ends_whether_the_link_is_held_or_not() {
    let silent = Faults::none().with(FaultKind::ConnTimeout, 1000);
    Sim::named("silent").seeds(0..20).faults(silent).check(|| {
        hosts::start("server", counts);
        // `None` when the world has healed, and answers again.
        let attempt = || TcpStream::connect((address("server"), PORT)).err().map(|it| it.kind());
        while attempt() == Some(ErrorKind::ConnectionRefused) {
            sleep(ms(5));
        }
        let attempt = netpoll::go(attempt);
        sleep(Duration::from_secs(1));
        hosts::hold("test", "server");
        let start = Instant::now();
        let answer = attempt.join().unwrap();
        assert!(start.elapsed() < Duration::from_secs(4));
        sometimes!(answer == Some(ErrorKind::TimedOut), "nobody answers");
        assert!(matches!(answer, None | Some(ErrorKind::TimedOut)), "{answer:?}");
    });
}

#[test]
fn the_end_of_a_stream_comes_after_all_of_it_however_much_is_lost() {
    const BYTES: usize = 20;
    Sim::named("end").seeds(0..200).check(|| {
        hosts::start("client", || -> std::io::Result<()> {
            let mut stream = connect("test");
            (0..BYTES).try_for_each(|_| {
                sleep(ms(20));
                stream.write_all(&[7])
            })
        });
        let listener = TcpListener::bind(("0.0.0.0", PORT)).unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        hosts::loss("test", "client", 300);
        // Who is lost five times in a row gives up, and nobody hears of that.
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        match stream.read_to_end(&mut Vec::new()) {
            Ok(count) => assert_eq!(count, BYTES),
            Err(error) => {
                sometimes!(true, "somebody gives up");
                assert_eq!(error.kind(), ErrorKind::TimedOut);
            }
        }
    });
}

#[test]
fn a_link_may_lose_some_packets_and_tcp_sends_them_again() {
    Sim::named("loss").seeds(0..100).check(|| {
        hosts::start("server", counts);
        let connect = || {
            let stream = connect("server");
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            stream
        };
        let mut stream = connect();
        hosts::loss("test", "server", 200);
        let (mut quick, mut slow) = (0, 0);
        for byte in 0..20 {
            let start = Instant::now();
            match ask(&stream, byte) {
                Ok(answer) => assert_eq!(answer, byte + 1),
                // Five times in a row, of which nobody hears.
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::TimedOut);
                    stream = connect();
                }
            }
            match start.elapsed() < ms(200) {
                true => quick += 1,
                false => slow += 1,
            }
        }
        sometimes!(quick > 0 && slow > 0, "some are lost and some are not");
        hosts::loss("test", "server", 0);
        let stream = connect();
        let start = Instant::now();
        (0..5).for_each(|byte| assert_eq!(ask(&stream, byte).unwrap(), byte + 1));
        sometimes!(start.elapsed() < ms(200), "none is lost");
    });
}

#[test]
fn what_a_link_loses_is_lost_for_datagrams() {
    Sim::named("datagram loss").seeds(0..50).faults(Faults::none()).check(|| {
        let ours = UdpSocket::bind(("0.0.0.0", PORT)).unwrap();
        hosts::start("server", || -> std::io::Result<()> {
            let socket = UdpSocket::bind(("0.0.0.0", PORT))?;
            let to = (address("test"), PORT);
            sleep(ms(10));
            (0..20).try_for_each(|nth| socket.send_to(&[nth], to).map(drop))
        });
        hosts::loss("server", "test", 500);
        ours.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        let received = (0..20).filter(|_| ours.recv_from(&mut [0]).is_ok()).count();
        sometimes!((3..18).contains(&received), "about a half");
        sometimes!(received == 20, "all: the dullest run loses nothing");
    });
}

#[test]
fn connections_are_reset_on_request() {
    everywhere("resets", || {
        hosts::start("server", counts);
        let stream = connect("server");
        hosts::reset_connections("server", "test");
        sleep(ms(300));
        assert!(ask(&stream, 1).is_err());
        let stream = connect("server");
        assert_eq!(ask(&stream, 5).unwrap(), 6);
        hosts::partition("server", "test");
        hosts::reset_connections("server", "test");
        sleep(ms(300));
        hosts::heal("server", "test");
        assert_eq!(ask(&stream, 6).unwrap(), 7, "the resets were lost, and are not sent again");
    });
}
