//! What happens on hosts and between them.

mod network;

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Write};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use netpoll::net::{TcpListener, TcpStream};
use netpoll::time::sleep;

use super::{address, disk};
use crate::{Faults, Granularity, Sim, hosts};

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
