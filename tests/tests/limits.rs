//! Settings that cannot be, resources that run out, and what a parked goroutine costs.

use std::io::ErrorKind;
use std::time::Duration;

use netpoll::sync::channel;
use netpoll::{Builder, GoBuilder, go};
use netpoll_tests::child::{eventually, in_child, within};
use netpoll_tests::os;

const LIMIT: Duration = Duration::from_secs(50);

#[track_caller]
fn check_refused(builder: Builder, expected: &str) {
    let error = builder.build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    assert!(error.to_string().contains(expected), "{error}");
}

#[test]
fn settings_that_cannot_be_are_refused_with_a_reason() {
    check_refused(Builder::new().workers(0), "workers = 0");
    check_refused(Builder::new().workers(1_000_000), "workers = 1000000");
    check_refused(Builder::new().workers_max(0), "workers_max = 0");
    check_refused(Builder::new().blocking_threads(0), "blocking_threads = 0");
    check_refused(Builder::new().stack_size(0), "stack");
    check_refused(Builder::new().stack_size(usize::MAX), "stack");
}

#[test]
fn a_runtime_refuses_an_absurd_number_of_workers_later_too() {
    let runtime = Builder::new().workers(1).workers_max(3).build().unwrap();
    for count in [0, 4, usize::MAX] {
        let error = runtime.set_workers(count).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(runtime.workers(), 1);
    }
    runtime.set_workers(3).unwrap();
    assert_eq!(runtime.workers(), 3);
}

#[test]
fn absurd_stacks_of_single_goroutines_are_errors() {
    let run = || {
        netpoll::run(|| {
            for size in [0, 1, usize::MAX, usize::MAX / 2, 1 << 60] {
                let result = GoBuilder::new().stack_size(size).spawn(|| ());
                assert!(result.is_err(), "a stack of {size} bytes");
            }
            let large = GoBuilder::new().stack_size(32 << 20);
            let deep = large.spawn(|| {
                let frame = std::hint::black_box([1u8; 16 << 20]);
                frame.iter().map(|&byte| u64::from(byte)).sum::<u64>()
            });
            assert_eq!(deep.unwrap().join().unwrap(), 16 << 20);
        })
    };
    within(LIMIT, run).unwrap();
}

/// Allows this process `bytes` of address space more than it has.
fn limit_address_space(bytes: u64) {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = text.split_whitespace().next().unwrap().parse().unwrap();
    os::set_soft_limit(libc::RLIMIT_AS, pages * 4096 + bytes).unwrap();
}

/// The limit is there before the first stack: what a process has reserved, it keeps.
#[test]
fn exhausted_address_space_is_an_error_and_passes() {
    let child = in_child("exhausted_address_space_is_an_error_and_passes", || {
        let builder = Builder::new().workers(1).stack_size(16 << 20);
        let runtime = builder.build().unwrap();
        limit_address_space(5 << 30);
        let run = || {
            let (keep, gate) = channel::<()>(0);
            let mut parked = Vec::new();
            let error = loop {
                assert!(parked.len() < 1000, "5 GiB have no room for this");
                let gate = gate.clone();
                match GoBuilder::new().spawn(move || gate.recv().is_err()) {
                    Ok(handle) => parked.push(handle),
                    Err(error) => break error,
                }
            };
            let count = parked.len();
            drop(keep);
            let ended = parked.into_iter().all(|handle| handle.join().unwrap());
            assert!(ended, "all of them saw the channel close");
            // What has come back can be used again.
            assert_eq!(go(|| 7).join().unwrap(), 7);
            (count, error.to_string())
        };
        let (count, error) = runtime.run(run).unwrap();
        println!("{count} goroutines, then: {error}");
        assert!(count >= 60, "{count} stacks of 16 MiB in 5 GiB");
    });
    if let Some(child) = child {
        child.assert_passed();
    }
}

#[test]
fn no_address_space_at_all_is_an_error_too() {
    let child = in_child("no_address_space_at_all_is_an_error_too", || {
        let runtime = Builder::new().workers(1).build().unwrap();
        // Enough for threads that are still starting, not for the least that stacks are cut from.
        limit_address_space(1 << 30);
        let error = runtime.run(|| ()).unwrap_err();
        println!("the first goroutine: {error}");
        assert!(error.to_string().contains("address space"), "{error}");
    });
    if let Some(child) = child {
        child.assert_passed();
    }
}

#[test]
fn a_runtime_without_descriptors_or_threads_is_an_error() {
    let child = in_child("a_runtime_without_descriptors_or_threads_is_an_error", || {
        os::set_soft_limit(libc::RLIMIT_NOFILE, 3).unwrap();
        let error = Builder::new().workers(1).build().unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EMFILE), "{error}");
        os::set_soft_limit(libc::RLIMIT_NOFILE, 64).unwrap();
        Builder::new().workers(1).build().unwrap().run(|| ()).unwrap();
    });
    if let Some(child) = child {
        child.assert_passed();
    }
}

#[test]
fn a_hundred_thousand_parked_goroutines_cost_at_most_8_kib_each() {
    const COUNT: u64 = 100_000;
    let child = in_child("a_hundred_thousand_parked_goroutines_cost_at_most_8_kib_each", || {
        let runtime = Builder::new().workers(2).build().unwrap();
        runtime.run(|| go(|| ()).join().unwrap()).unwrap();
        let pid = std::process::id();
        let before = os::resident_kib(pid).unwrap();
        let (keep, gate) = channel::<u64>(0);
        let start = move || -> Vec<_> {
            let wait = |gate: netpoll::sync::Receiver<u64>| move || gate.recv().is_err();
            (0..COUNT).map(|_| go(wait(gate.clone()))).collect()
        };
        let parked = runtime.run(start).unwrap();
        eventually("all are parked", || {
            let dump = runtime.dump();
            let waiting = dump.goroutines.iter().filter(|g| g.status == "chan recv");
            waiting.count() as u64 == COUNT
        });
        let grown = os::resident_kib(pid).unwrap() - before;
        println!("KiB per parked goroutine: {:.2}", grown as f64 / COUNT as f64);
        assert!(grown <= 8 * COUNT, "{grown} KiB for {COUNT} goroutines");
        drop(keep);
        let ended = runtime.run(|| parked.into_iter().all(|g| g.join().unwrap()));
        assert!(ended.unwrap(), "all of them saw the channel close");
    });
    let Some(child) = child else { return };
    child.assert_passed();
    let line = child.stdout.lines().find(|line| line.contains("KiB per"));
    println!("{}", line.expect("the child's measurement"));
}
