//! What happens between hosts.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Write};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use netpoll::net::{TcpListener, TcpStream, UdpSocket};
use netpoll::time::{Instant, sleep};

use super::{address, disk};
use crate::{FaultKind, Faults, Granularity, Sim, hosts, sometimes};

const PORT: u16 = 7000;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Connects to a server that may not listen yet, or be down.
fn connect(host: &str) -> TcpStream {
    for _ in 0..10_000 {
        if let Ok(stream) = TcpStream::connect((address(host), PORT)) {
            return stream;
        }
        sleep(ms(5));
    }
    panic!("{host} does not listen");
}

/// Answers each byte with the next one.
fn counts() -> std::io::Result<()> {
    let listener = TcpListener::bind(("0.0.0.0", PORT))?;
    loop {
        let (mut stream, _) = listener.accept()?;
        netpoll::go(move || {
            let mut byte = [0];
            while let Ok(1) = stream.read(&mut byte) {
                if stream.write_all(&[byte[0].wrapping_add(1)]).is_err() {
                    return;
                }
            }
        });
    }
}

fn ask(mut stream: &TcpStream, byte: u8) -> std::io::Result<u8> {
    let mut answer = [byte];
    stream.write_all(&answer)?;
    stream.read_exact(&mut answer)?;
    Ok(answer[0])
}

/// What runs on hosts of a quiet world, and at both granularities of a bad one.
fn everywhere(name: &str, program: fn()) {
    for (seeds, faults) in [(0..1, Faults::none()), (0..60, Faults::light())] {
        Sim::named(name).seeds(seeds).faults(faults).check(program);
    }
    let sim = Sim::named(name).seeds(0..20).faults(Faults::light());
    sim.granularity(Granularity::Atomic).check(program);
}

#[test]
fn hosts_hear_each_other_by_their_addresses() {
    everywhere("two hosts", || {
        hosts::start("server", counts);
        assert_eq!(address("server").to_string(), "10.0.0.1");
        assert_eq!(address("test").to_string(), "10.0.0.100");
        let stream = connect("server");
        assert_eq!(stream.local_addr().unwrap().ip(), address("test"));
        assert_eq!(stream.peer_addr().unwrap().ip(), address("server"));
        assert_eq!(ask(&stream, 7).unwrap(), 8);
        let (mut named, mut answer) = (TcpStream::connect("server:7000").unwrap(), [1]);
        named.write_all(&answer).unwrap();
        named.read_exact(&mut answer).unwrap();
        assert_eq!(answer, [2]);
        let error = TcpStream::connect("sever:7000").unwrap_err().to_string();
        assert!(error.contains("no name server for \"sever\""), "{error}");
        assert_eq!(hosts::here(), "test");
        assert_eq!(hosts::names(), ["test", "server"]);
    });
}

#[test]
fn hosts_may_be_there_from_the_start() {
    Sim::named("roster").seeds(0..30).host("a", counts).host("b", counts).check(|| {
        assert_eq!(hosts::names(), ["test", "a", "b"]);
        assert_eq!(ask(&connect("a"), 1).unwrap() + ask(&connect("b"), 2).unwrap(), 5);
    });
}

#[test]
fn a_loopback_address_means_the_same_host() {
    everywhere("loopback", || {
        hosts::start("server", || {
            let listener = TcpListener::bind(("127.0.0.1", PORT))?;
            listener.accept().map(drop)
        });
        sleep(ms(300));
        let elsewhere = TcpListener::bind(("0.0.0.0", PORT)).unwrap();
        let error = TcpStream::connect((address("server"), PORT)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "that one is ours");
        drop(elsewhere);
        for ip in ["127.0.0.1".parse().unwrap(), address("server")] {
            let error = TcpStream::connect((ip, PORT)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{ip}");
        }
        let error = TcpListener::bind((address("server"), PORT)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
        let error = TcpStream::connect(("10.0.0.77", PORT)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NetworkUnreachable);
    });
}

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
fn a_crash_takes_everything_and_a_restart_begins_anew() {
    everywhere("crash", || {
        let starts = Arc::new(Mutex::new(0));
        let theirs = Arc::clone(&starts);
        hosts::start("server", move || {
            *theirs.lock().unwrap() += 1;
            counts()
        });
        let stream = connect("server");
        assert_eq!(ask(&stream, 1).unwrap(), 2);
        hosts::crash("server");
        assert!(!hosts::is_running("server"));
        let error = TcpStream::connect((address("server"), PORT)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut, "nobody is there to refuse");
        hosts::restart("server");
        assert!(hosts::is_running("server"));
        assert_eq!(ask(&connect("server"), 5).unwrap(), 6);
        let error = ask(&stream, 2).unwrap_err();
        let kinds = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
        assert!(kinds.contains(&error.kind()), "the new one knows of no such connection: {error}");
        assert_eq!(*starts.lock().unwrap(), 2);
    });
}

#[test]
fn a_host_may_crash_itself_and_a_program_that_returns_closes_what_it_has() {
    everywhere("ends", || {
        hosts::start("proud", || -> () {
            netpoll::go(|| hosts::crash("proud"));
            sleep(ms(1_000));
            unreachable!("it is gone");
        });
        hosts::start("modest", || {
            let listener = TcpListener::bind(("0.0.0.0", PORT)).unwrap();
            let (stream, _) = listener.accept().unwrap();
            netpoll::go(move || sleep(Duration::from_secs(10)));
            std::mem::forget((stream, listener));
        });
        let mut stream = connect("modest");
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
        assert!(rest.is_empty());
        sleep(ms(200));
        assert!(!hosts::is_running("modest") && !hosts::is_running("proud"));
        let error = TcpStream::connect((address("modest"), PORT)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn who_is_paused_stands_still_while_its_kernel_goes_on() {
    everywhere("pause", || {
        hosts::start("server", counts);
        let stream = connect("server");
        hosts::pause("server");
        (&stream).write_all(&[1]).unwrap();
        let mut answer = [0];
        stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        let error = (&stream).read(&mut answer).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        let queued = TcpStream::connect((address("server"), PORT)).expect("its kernel accepts");
        hosts::resume("server");
        stream.set_read_timeout(None).unwrap();
        (&stream).read_exact(&mut answer).unwrap();
        assert_eq!(answer, [2]);
        assert_eq!(ask(&queued, 7).unwrap(), 8);
    });
}

/// Echoes a byte to itself for a while.
fn talks_to_itself() -> std::io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", PORT))?;
    let mut one = TcpStream::connect(("127.0.0.1", PORT))?;
    let (mut other, _) = listener.accept()?;
    for _ in 0..10 {
        one.write_all(&[7])?;
        other.read_exact(&mut [0])?;
        sleep(ms(10));
    }
    Ok(())
}

#[test]
fn a_host_is_watched_until_it_is_paused_and_one_that_was_not_may_be_resumed() {
    const BYTES: usize = 3;
    let checks = |before: fn()| {
        let sim = Sim::named("watched").seeds(0..1).faults(Faults::none());
        let passed = sim.try_check(move || {
            hosts::start("server", talks_to_itself);
            before();
            sleep(ms(200));
        });
        passed.expect("nothing is wrong with it").progress.checks[BYTES]
    };
    let all = checks(|| ());
    assert!(all >= 10, "{all}");
    assert_eq!(checks(|| hosts::resume("server")), all);
    let paused = || {
        sleep(ms(1));
        hosts::pause("server");
        hosts::resume("server");
    };
    assert!(checks(paused) < all / 2, "nobody watches it after its first pause");
}

#[test]
fn who_is_paused_does_not_even_compute() {
    everywhere("busy", || {
        let rounds = Arc::new(AtomicU32::new(0));
        let theirs = Arc::clone(&rounds);
        hosts::start("busy", move || -> () {
            loop {
                crate::compute(ms(1));
                theirs.fetch_add(1, Relaxed);
            }
        });
        let passes = || {
            let before = rounds.load(Relaxed);
            sleep(ms(100));
            rounds.load(Relaxed) - before
        };
        assert!(passes() > 10);
        hosts::pause("busy");
        assert!(passes() <= 1, "what it was in the middle of");
        hosts::resume("busy");
        assert!(passes() > 10);
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

#[test]
fn each_host_has_a_disk_of_its_own() {
    everywhere("disks", || {
        for name in ["one", "two"] {
            hosts::start(name, move || {
                assert!(disk::list().is_empty());
                assert_eq!(disk::read("log").unwrap_err().kind(), ErrorKind::NotFound);
                assert_eq!(disk::sync("log").unwrap_err().kind(), ErrorKind::NotFound);
                disk::append("log", name.as_bytes());
                disk::append("log", b"!");
                disk::write("other", b"x");
                assert_eq!(disk::read("log").unwrap(), format!("{name}!").as_bytes());
                assert_eq!(disk::list(), ["log", "other"]);
                disk::remove("other").unwrap();
                assert_eq!(disk::remove("other").unwrap_err().kind(), ErrorKind::NotFound);
                assert_eq!(disk::list(), ["log"]);
            });
        }
        while hosts::is_running("one") || hosts::is_running("two") {
            sleep(ms(1));
        }
    });
}

/// Of a log of which the first half is synced, a crash leaves that and any part of the rest.
#[test]
fn a_disk_keeps_what_was_synced_and_some_of_the_rest() {
    let lengths = Arc::new(Mutex::new(BTreeSet::new()));
    let seen = Arc::clone(&lengths);
    Sim::named("disk").seeds(0..60).check(move || {
        let (is_first, log) = (AtomicBool::new(true), Arc::new(Mutex::new(None)));
        let told = Arc::clone(&log);
        hosts::start("store", move || {
            if is_first.swap(false, Relaxed) {
                disk::append("log", b"one.");
                disk::sync("log").unwrap();
                disk::append("log", b"two.");
                hosts::crash("store");
            }
            let read = disk::read("log").unwrap();
            *told.lock().unwrap() = Some(read);
        });
        while hosts::is_running("store") {
            sleep(ms(1));
        }
        assert_eq!(*log.lock().unwrap(), None);
        hosts::restart("store");
        while hosts::is_running("store") {
            sleep(ms(1));
        }
        let log = log.lock().unwrap().take().expect("it has read it");
        assert!(b"one.two.".starts_with(&log[..]) && log.starts_with(b"one."), "{log:?}");
        seen.lock().unwrap().insert(log.len());
    });
    let lengths = lengths.lock().unwrap().clone();
    assert!(lengths.contains(&4) && lengths.contains(&8) && lengths.len() > 2, "{lengths:?}");
}

#[test]
fn a_panic_on_any_host_fails_the_run_and_the_report_says_where() {
    let failed = Sim::named("panics").seeds(0..1).faults(Faults::none()).try_check(|| {
        hosts::start("server", || -> () { panic!("no more") });
        sleep(ms(100));
    });
    let report = failed.unwrap_err().to_string();
    assert!(report.contains("g100001 panicked at"), "{report}");
    assert!(report.contains("hosts: server at 10.0.0.1 has g100000"), "{report}");
    assert!(report.contains("server/w"), "{report}");
    let failed = Sim::named("tells").seeds(0..1).faults(Faults::none()).try_check(|| -> () {
        hosts::start("server", || ());
        hosts::partition("test", "server");
        panic!("no more");
    });
    let report = failed.unwrap_err().to_string();
    assert!(report.contains("partition test and server"), "{report}");
}

#[test]
fn a_deadlock_lists_the_goroutines_of_all_hosts() {
    let failed = Sim::named("stuck").seeds(0..1).faults(Faults::none()).try_check(|| {
        hosts::start("server", || {
            let listener = TcpListener::bind(("0.0.0.0", PORT))?;
            listener.accept().map(drop)
        });
        let (_sender, receiver) = netpoll::sync::channel::<()>(1);
        let _never = receiver.recv();
    });
    let report = failed.unwrap_err().to_string();
    assert!(report.contains("nobody can ever run: g1 "), "{report}");
    assert!(report.contains("g100001 waits for read fd100005 (fd100005 tcp listener"), "{report}");
}

#[test]
fn wrong_names_are_refused_with_a_hint() {
    for (program, why) in [
        (
            (|| hosts::crash("sever")) as fn(),
            "no host is called \"sever\": did you mean \"server\"?",
        ),
        (|| hosts::crash("test"), "the host of the test itself cannot crash"),
        (|| hosts::partition("server", "server"), "there is no link from \"server\" to itself"),
        (|| hosts::restart("server"), "the host \"server\" is running"),
        (|| hosts::start("server", || ()), "there is a host \"server\" already"),
        (|| hosts::start("a b", || ()), "\"a b\" is no name for a host"),
        (|| hosts::latency("test", "server", ms(2)..=ms(1)), "a latency from 2ms to 1ms"),
    ] {
        let failed = Sim::named("names").seeds(0..1).faults(Faults::none()).try_check(move || {
            hosts::start("server", || sleep(Duration::from_secs(60)));
            program();
        });
        let report = failed.unwrap_err().to_string();
        assert!(report.contains(why), "{why}: {report}");
    }
}
