//! Goroutines on real threads: starting, joining, parking, panicking, sleeping.

use std::time::{Duration, Instant};

use netpoll::{Builder, go, yield_now};

#[test]
fn a_hundred_thousand_goroutines_run_and_are_joined() {
    let sum = netpoll::run(|| {
        let handles: Vec<_> = (0..100_000u64).map(|i| go(move || i)).collect();
        handles.into_iter().map(|handle| handle.join().unwrap()).sum::<u64>()
    });
    assert_eq!(sum.unwrap(), 99_999 * 100_000 / 2);
}

#[test]
fn a_panic_ends_its_goroutine_and_reaches_join() {
    let text = netpoll::run(|| {
        let payload = go(|| -> u32 { panic!("on purpose") }).join().unwrap_err();
        *payload.downcast_ref::<&str>().unwrap()
    });
    assert_eq!(text.unwrap(), "on purpose");
}

#[test]
fn sleepers_wake_in_order_and_not_early() {
    let order = netpoll::run(|| {
        let started = Instant::now();
        let handles: Vec<_> = [30u64, 10, 20]
            .into_iter()
            .map(|ms| {
                go(move || {
                    netpoll::time::sleep(Duration::from_millis(ms));
                    let slept = started.elapsed();
                    assert!(slept >= Duration::from_millis(ms), "woke after {slept:?} of {ms} ms");
                    (slept, ms)
                })
            })
            .collect();
        let mut woken: Vec<_> = handles.into_iter().map(|handle| handle.join().unwrap()).collect();
        woken.sort();
        woken.into_iter().map(|(_, ms)| ms).collect::<Vec<_>>()
    });
    assert_eq!(order.unwrap(), [10, 20, 30]);
}

#[test]
fn yielding_goroutines_share_one_worker_fairly() {
    let runtime = Builder::new().workers(1).build().unwrap();
    let counts = runtime.run(|| {
        let handles: Vec<_> = (0..4)
            .map(|_| {
                go(|| {
                    (0..1000).for_each(|_| yield_now());
                })
            })
            .collect();
        handles.into_iter().map(|handle| handle.join().is_ok()).collect::<Vec<_>>()
    });
    assert_eq!(counts.unwrap(), [true; 4]);
}
