//! The whole runtime under seeds.

use std::io::{Read, Write};
use std::time::Duration;

use netpoll::net::{TcpListener, TcpStream};
use netpoll::platform::Park as _;
use netpoll_sim::platform::SimParker;
use netpoll_sim::{Faults, Granularity, Outcome, SimConfig, Virtual, run};

/// Runs `program` as the first goroutine of a runtime, once per seed and setting.
fn check(seeds: u64, program: fn()) {
    for granularity in [Granularity::Syscall, Granularity::Atomic] {
        for faults in [Faults::none(), Faults::light(), Faults::chaos()] {
            for seed in 0..seeds {
                let mut config = SimConfig::seed(seed);
                config.granularity = granularity;
                config.faults = faults.without_errors();
                let report = run(config, move |kernel| {
                    let runtime = netpoll::Builder::new().build_on::<Virtual>(kernel).unwrap();
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

/// The only active worker is in the final poll for a timer of a worker that is retired and busy.
#[test]
fn the_last_active_worker_runs_the_timers_of_retired_ones() {
    const SLEEP: Duration = Duration::from_micros(200);
    for granularity in [Granularity::Syscall, Granularity::Atomic] {
        for seed in 0..200 {
            let config = SimConfig { granularity, ..SimConfig::seed(seed) };
            let report = run(config, |kernel| {
                let runtime = netpoll::Builder::new().build_on::<Virtual>(kernel).unwrap();
                let sleepers = runtime.run(|| -> Vec<_> {
                    let sleeper = || {
                        let start = netpoll::time::Instant::now();
                        netpoll::time::sleep(SLEEP);
                        start.elapsed()
                    };
                    (0..8).map(|_| netpoll::go(sleeper)).collect()
                });
                runtime.run(|| netpoll::time::sleep(SLEEP / 2)).unwrap();
                runtime.set_workers(1).unwrap();
                let join = || -> Vec<_> {
                    sleepers.unwrap().into_iter().map(|sleeper| sleeper.join().unwrap()).collect()
                };
                for slept in runtime.run(join).unwrap() {
                    // Sysmon would have come after 10 ms.
                    assert!(slept < SLEEP + Duration::from_millis(2), "slept {slept:?}");
                }
            });
            assert!(report.is_clean(), "{granularity:?} seed {seed}: {}", report.outcome);
            assert!(report.steps < 20_000, "{granularity:?} seed {seed}: {} steps", report.steps);
        }
    }
}

/// A blocking call that waits for time when there is nobody left who would run its timer.
#[test]
fn a_parked_blocking_call_keeps_no_thread_when_the_runtime_is_shut_down() {
    for seed in 0..200 {
        let report = run(SimConfig::seed(seed), |kernel| {
            let runtime = netpoll::Builder::new().build_on::<Virtual>(kernel).unwrap();
            let hour = || netpoll::time::sleep(Duration::from_secs(3_600));
            let start = move || {
                drop(netpoll::go(move || netpoll::blocking(hour)));
                netpoll::time::sleep(Duration::from_micros(20));
            };
            runtime.run(start).unwrap();
            drop(runtime);
            // Threads of blocking calls are not waited for.
            SimParker::new().park_timeout(1_000_000);
        });
        assert_eq!(report.outcome, Outcome::Finished, "seed {seed}");
        assert_eq!(report.threads_abandoned, 0, "seed {seed}");
    }
}
