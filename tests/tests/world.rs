//! Looking into a runtime and changing its workers while it is busy.

use std::io::{Read, Write};
use std::net::{TcpListener as StdListener, TcpStream as StdStream};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use netpoll::net::TcpStream;
use netpoll::runtime::Dump;
use netpoll::sync::{Mutex, channel};
use netpoll::time::sleep;
use netpoll::{Builder, GoBuilder, blocking, go};
use netpoll_tests::child::{eventually, in_child, in_child_while, within};
use netpoll_tests::client::Client;
use netpoll_tests::os;
use netpoll_tests::server::EchoServer;

const LIMIT: Duration = Duration::from_secs(50);

fn status_of<'a>(dump: &'a Dump, name: &str) -> Option<&'a str> {
    let named = |g: &&netpoll::runtime::GoroutineDump| g.name.as_deref() == Some(name);
    Some(dump.goroutines.iter().find(named)?.status.as_str())
}

#[test]
fn a_dump_says_who_waits_on_what_and_for_how_long() {
    within(LIMIT, || {
        let runtime = Builder::new().workers(2).build().unwrap();
        let (hold, held) = mpsc::channel::<()>();
        let set_up = move || {
            let listener = StdListener::bind("127.0.0.1:0").unwrap();
            let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let peer = listener.accept().unwrap().0;
            let (second, writing) = (stream.try_clone().unwrap(), stream.try_clone().unwrap());
            let (keep, gate) = channel::<()>(0);
            let lock = std::sync::Arc::new(Mutex::new(()));
            let its = lock.clone();
            let named = |name: &str, body: Box<dyn FnOnce() + Send>| {
                GoBuilder::new().name(name).spawn(body).map(drop).unwrap();
            };
            let mut reading = stream;
            named("reader", Box::new(move || drop(reading.read(&mut [0]))));
            sleep(Duration::from_millis(20));
            let mut second = second;
            named("second reader", Box::new(move || drop(second.read(&mut [0]))));
            let mut writing = writing;
            let much = Box::new(move || drop(writing.write_all(&vec![0; 64 << 20])));
            named("writer", much);
            named("receiver", Box::new(move || assert!(gate.recv().is_err())));
            named("sleeper", Box::new(|| sleep(LIMIT)));
            named(
                "owner",
                Box::new(move || {
                    let _guard = lock.lock();
                    sleep(LIMIT);
                }),
            );
            sleep(Duration::from_millis(20));
            named("locker", Box::new(move || drop(its.lock())));
            let held = std::sync::Mutex::new(held);
            let wait = move || held.lock().unwrap().recv().is_err();
            named("blocked", Box::new(move || assert!(blocking(wait))));
            named("joiner", Box::new(|| drop(go(|| sleep(LIMIT)).join())));
            (peer, keep)
        };
        let kept = runtime.run(set_up).unwrap();
        // Waiters that have waited for a while are not forgotten, and say for how long.
        thread::sleep(Duration::from_millis(300));
        let dump = runtime.dump();
        let expected = [
            ("reader", "read fd"),
            ("second reader", "read lock of fd"),
            ("writer", "write fd"),
            ("receiver", "chan recv"),
            ("sleeper", "sleep"),
            ("owner", "sleep"),
            ("locker", "mutex"),
            ("blocked", "blocking call"),
            ("joiner", "join"),
        ];
        for (name, status) in expected {
            let shown = status_of(&dump, name);
            let fits = shown.is_some_and(|shown| shown.starts_with(status));
            assert!(fits, "{name}: {shown:?}\n{dump}");
        }
        for g in &dump.goroutines {
            let waits = g.name.as_deref() == Some("reader");
            assert!(!waits || g.since >= Duration::from_millis(250), "{dump}");
        }
        assert!(dump.consistent, "{dump}");
        let text = dump.to_string();
        assert!(text.contains("'second reader'") && text.contains("goroutines on 2 workers"));
        drop((kept, hold));
    });
}

/// A worker that never had a timer and never was in the kernel says the time all the same.
#[test]
fn the_first_wait_on_a_fresh_worker_is_not_said_to_have_just_begun() {
    within(LIMIT, || {
        let runtime = Builder::new().workers(2).build().unwrap();
        let set_up = || {
            let (keep, gate) = channel::<()>(0);
            let started = std::sync::Arc::new(AtomicBool::new(false));
            let its = started.clone();
            let body = move || {
                its.store(true, Relaxed);
                assert!(gate.recv().is_err());
            };
            GoBuilder::new().name("first").spawn(body).map(drop).unwrap();
            // This worker is not left: the other one takes it.
            while !started.load(Relaxed) {}
            keep
        };
        let kept = runtime.run(set_up).unwrap();
        thread::sleep(Duration::from_millis(300));
        let dump = runtime.dump();
        let first = dump.goroutines.iter().find(|g| g.name.as_deref() == Some("first")).unwrap();
        let range = Duration::from_millis(250)..LIMIT;
        assert!(first.status == "chan recv" && range.contains(&first.since), "{dump}");
        drop(kept);
    });
}

#[test]
fn dumps_under_load_show_every_connection_and_disturb_none() {
    const CLIENTS: u64 = 40;
    within(LIMIT, || {
        let server = EchoServer::start(Builder::new().workers(2));
        let (addr, over) = (server.addr(), &AtomicBool::new(false));
        thread::scope(|scope| {
            let client = move |number| {
                let mut client = Client::connect(addr, number).unwrap();
                while !over.load(Relaxed) {
                    client.round_trip(256).unwrap();
                }
            };
            for number in 0..CLIENTS {
                scope.spawn(move || client(number));
            }
            eventually("all are connected", || server.runtime().goroutines() == CLIENTS + 1);
            let start = Instant::now();
            let mut count = 0;
            while start.elapsed() < Duration::from_secs(1) {
                let dump = server.runtime().dump();
                assert_eq!(dump.goroutines.len() as u64, CLIENTS + 1, "{dump}");
                let acceptor = status_of(&dump, "acceptor");
                assert!(acceptor.is_some_and(|status| status.starts_with("read fd")));
                count += 1;
            }
            over.store(true, Relaxed);
            assert!(count > 10, "{count} dumps in a second");
        });
    });
}

#[test]
fn a_goroutine_that_does_not_stop_does_not_hold_a_dump_up_for_ever() {
    within(LIMIT, || {
        let runtime = Builder::new().workers(2).build().unwrap();
        let over: &AtomicBool = Box::leak(Box::new(AtomicBool::new(false)));
        let burn = || while !over.load(Relaxed) {};
        let start = move || GoBuilder::new().name("burner").spawn(burn).map(drop);
        runtime.run(start).unwrap().unwrap();
        thread::sleep(Duration::from_millis(20));
        let start = Instant::now();
        let dump = runtime.dump();
        assert!(start.elapsed() < Duration::from_secs(5));
        assert_eq!(status_of(&dump, "burner"), Some("running"), "{dump}");
        assert!(!dump.consistent && dump.to_string().contains("did not stop"));
        over.store(true, Relaxed);
    });
}

#[test]
fn changing_the_workers_under_load_loses_nothing() {
    const CLIENTS: u64 = 30;
    within(LIMIT, || {
        let builder = Builder::new().workers(2).workers_max(6);
        let server = EchoServer::start(builder);
        let (addr, over) = (server.addr(), &AtomicBool::new(false));
        let trips: u64 = thread::scope(|scope| {
            // Some connections stay, pinned to workers that are retired; others come and go.
            let client = move |number: u64| {
                let (mut connection, mut trips) = (0, 0u64);
                let mut client = Client::connect(addr, number).unwrap();
                while !over.load(Relaxed) {
                    client.round_trip(3000).unwrap();
                    trips += 1;
                    if number.is_multiple_of(2) && trips.is_multiple_of(16) {
                        connection += CLIENTS;
                        client = Client::connect(addr, number + connection).unwrap();
                    }
                }
                trips
            };
            let clients: Vec<_> =
                (0..CLIENTS).map(|number| scope.spawn(move || client(number))).collect();
            for count in [1, 6, 3, 1, 2, 5, 4, 1, 6, 2].repeat(4) {
                server.runtime().set_workers(count).unwrap();
                assert_eq!(server.runtime().workers(), count);
                thread::sleep(Duration::from_millis(25));
            }
            over.store(true, Relaxed);
            clients.into_iter().map(|client| client.join().unwrap()).sum()
        });
        assert!(trips > CLIENTS * 10, "{trips} round trips");
        eventually("the connections' goroutines end", || server.runtime().goroutines() == 1);
    });
}

/// A timer on a worker that is retired, and a goroutine that is pinned to it.
#[test]
fn timers_of_retired_workers_still_fire() {
    within(LIMIT, || {
        let runtime = Builder::new().workers(4).build().unwrap();
        let sleepers = runtime.run(|| -> Vec<_> {
            let sleeper = |i: u64| move || sleep(Duration::from_millis(50 + i));
            (0..100).map(|i| go(sleeper(i))).collect()
        });
        thread::sleep(Duration::from_millis(10));
        runtime.set_workers(1).unwrap();
        let start = Instant::now();
        let join = || sleepers.unwrap().into_iter().for_each(|g| g.join().unwrap());
        runtime.run(join).unwrap();
        assert!(start.elapsed() < Duration::from_secs(5));
    });
}

#[test]
fn sigquit_prints_the_dump_and_the_process_goes_on() {
    let test = "sigquit_prints_the_dump_and_the_process_goes_on";
    let body = || {
        let runtime = Builder::new().workers(1).dump_on_sigquit(true).build();
        let run = || {
            let name = GoBuilder::new().name("who sleeps");
            let sleeper = name.spawn(|| sleep(Duration::from_millis(1500)));
            sleeper.unwrap().join().unwrap();
            println!("went on");
        };
        runtime.unwrap().run(run).unwrap();
    };
    let quit = |pid| {
        thread::sleep(Duration::from_millis(700));
        os::signal(pid, libc::SIGQUIT).unwrap();
    };
    let Some(child) = in_child_while(test, body, quit) else {
        return;
    };
    child.assert_passed();
    assert!(child.stdout.contains("went on"));
    let dump = &child.stderr;
    assert!(dump.contains("2 goroutines on 1 workers"), "{dump}");
    assert!(dump.contains("sleep") && dump.contains("'who sleeps'"), "{dump}");
    assert!(dump.contains("join") && dump.contains("'main'"), "{dump}");
}

#[test]
fn an_idle_runtime_uses_no_processor_time() {
    let child = in_child("an_idle_runtime_uses_no_processor_time", || {
        let server = EchoServer::start(Builder::new().workers(4));
        let idle: Vec<_> = (0..100).map(|_| StdStream::connect(server.addr()).unwrap()).collect();
        thread::sleep(Duration::from_millis(300));
        let pid = std::process::id();
        let before = os::cpu_time(pid).unwrap();
        thread::sleep(Duration::from_secs(1));
        let used = os::cpu_time(pid).unwrap() - before;
        println!("processor time of an idle second: {used:?}");
        assert!(used < Duration::from_millis(20), "{used:?} in an idle second");
        drop(idle);
    });
    if let Some(child) = child {
        child.assert_passed();
    }
}
