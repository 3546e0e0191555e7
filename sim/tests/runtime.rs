//! The whole runtime under seeds.

use std::io::{Read, Write};
use std::time::Duration;

use netpoll::net::{TcpListener, TcpStream};
use netpoll_sim::{FaultKind, Faults, Granularity, Sim, SimConfig, run};

/// Runs `program` as the first goroutine of a runtime, once per seed and setting.
fn check(seeds: u64, program: fn()) {
    for granularity in [Granularity::Syscall, Granularity::Atomic] {
        for faults in [Faults::none(), Faults::light(), Faults::chaos()] {
            for seed in 0..seeds {
                let mut config = SimConfig::seed(seed);
                config.granularity = granularity;
                config.faults = faults.with(FaultKind::NoDescriptor, 0);
                let report = run(config, move |kernel| {
                    let runtime = netpoll::Builder::new().build_on::<Sim>(kernel).unwrap();
                    runtime.run(program).unwrap();
                    let inspector = runtime.inspector();
                    drop(runtime);
                    assert_eq!(inspector.goroutines(), [], "goroutines are left at the end");
                    assert_eq!(inspector.waiters(), 0, "S17: waiters are left at the end");
                });
                if !report.is_clean() {
                    let text = netpoll_traces::text::render(&report.trace);
                    let tail: Vec<&str> = text.lines().rev().take(100).collect();
                    for line in tail.into_iter().rev() {
                        println!("{line}");
                    }
                    panic!("{granularity:?} seed {seed}: {} {:?}", report.outcome, report.open_fds);
                }
            }
        }
    }
}

#[test]
fn goroutines_join_and_sleep_under_every_seed() {
    check(100, || {
        let parts: Vec<_> = (0..10)
            .map(|i| {
                netpoll::go(move || {
                    if i % 3 == 0 {
                        netpoll::yield_now();
                    }
                    if i % 4 == 0 {
                        netpoll::time::sleep(Duration::from_micros(i));
                    }
                    i * i
                })
            })
            .collect();
        let sum: u64 = parts.into_iter().map(|part| part.join().unwrap()).sum();
        assert_eq!(sum, 285);
    });
}

#[test]
fn bytes_come_back_under_every_seed() {
    check(60, || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let server = netpoll::go(move || {
            let handlers: Vec<_> = (0..3)
                .map(|_| {
                    let (mut stream, _) = listener.accept().unwrap();
                    netpoll::go(move || {
                        let mut buf = [0; 512];
                        loop {
                            match stream.read(&mut buf).unwrap() {
                                0 => return,
                                n => stream.write_all(&buf[..n]).unwrap(),
                            }
                        }
                    })
                })
                .collect();
            handlers.into_iter().for_each(|handler| handler.join().unwrap());
        });
        let clients: Vec<_> = (0..3u8)
            .map(|client| {
                netpoll::go(move || {
                    let mut stream = TcpStream::connect(addr).unwrap();
                    for round in 0..5u8 {
                        let sent: Vec<u8> = (0..700u32).map(|i| i as u8 ^ client ^ round).collect();
                        stream.write_all(&sent).unwrap();
                        let mut got = vec![0; sent.len()];
                        stream.read_exact(&mut got).unwrap();
                        assert_eq!(sent, got);
                    }
                })
            })
            .collect();
        clients.into_iter().for_each(|client| client.join().unwrap());
        server.join().unwrap();
    });
}
