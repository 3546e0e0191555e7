//! Panics, goroutines that park while they unwind, and calls that block their thread.

use std::io::{Read, Write};
use std::net::{TcpListener as StdListener, TcpStream as StdStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use netpoll::net::TcpStream;
use netpoll::sync::channel;
use netpoll::time::sleep;
use netpoll::{Builder, blocking, go, yield_now};
use netpoll_tests::child::within;

const LIMIT: Duration = Duration::from_secs(50);

fn run_on<T: Send + 'static>(workers: usize, f: impl FnOnce() -> T + Send + 'static) -> T {
    within(LIMIT, move || {
        let runtime = Builder::new().workers(workers).build().unwrap();
        runtime.run(f).unwrap()
    })
}

/// Waits in its destructor.
struct Waits<F: FnMut()>(F);

impl<F: FnMut()> Drop for Waits<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Hunts another goroutine running on a thread that unwinds: it would find `panicking()` true and
/// poison the locks that it gives back.
#[track_caller]
fn check_unwinding_wait(wait: impl FnMut() + Send + 'static) {
    let (over, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let lock = Arc::new(Mutex::new(0));
    let bystander = {
        let (over, rounds, lock) = (over.clone(), rounds.clone(), lock.clone());
        go(move || {
            while !over.load(Relaxed) {
                let mut guard = lock.lock().expect("nobody panics with it");
                assert!(!thread::panicking(), "another goroutine's panic");
                *guard += 1;
                drop(guard);
                rounds.fetch_add(1, Relaxed);
                yield_now();
            }
        })
    };
    while rounds.load(Relaxed) == 0 {
        yield_now();
    }
    let victim = go(move || {
        let _waits = Waits(wait);
        panic!("on purpose");
    });
    let panic = victim.join().unwrap_err();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"on purpose"));
    over.store(true, Relaxed);
    bystander.join().unwrap();
    assert!(!lock.is_poisoned());
}

#[test]
fn a_goroutine_may_sleep_while_it_unwinds() {
    for workers in [1, 2] {
        run_on(workers, || {
            check_unwinding_wait(|| sleep(Duration::from_millis(30)));
        });
    }
}

#[test]
fn a_goroutine_may_read_while_it_unwinds() {
    run_on(1, || {
        let listener = StdListener::bind("127.0.0.1:0").unwrap();
        let mut ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut theirs = listener.accept().unwrap().0;
        let writer = thread::spawn(move || {
            thread::sleep(Duration::from_millis(50));
            theirs.write_all(b"x").unwrap();
        });
        check_unwinding_wait(move || assert_eq!(ours.read(&mut [0]).unwrap(), 1));
        writer.join().unwrap();
    });
}

#[test]
fn a_goroutine_may_wait_for_a_thread_while_it_unwinds() {
    run_on(1, || {
        let (to, from) = channel::<u32>(0);
        let sender = thread::spawn(move || {
            thread::sleep(Duration::from_millis(50));
            to.send(7).unwrap();
        });
        check_unwinding_wait(move || assert_eq!(from.recv().unwrap(), 7));
        sender.join().unwrap();
    });
}

#[test]
fn the_panic_of_the_first_goroutine_is_the_panic_of_run() {
    within(LIMIT, || {
        let runtime = Builder::new().workers(1).build().unwrap();
        let run = || runtime.run(|| panic!("on purpose"));
        let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).unwrap_err();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"on purpose"));
        // The runtime is as good as before.
        assert_eq!(runtime.run(|| go(|| 7).join().unwrap()).unwrap(), 7);
    });
}

#[test]
fn blocking_calls_leave_the_worker_to_others() {
    run_on(1, || {
        let start = Instant::now();
        let calls: Vec<_> = (0..20u64)
            .map(|i| {
                go(move || {
                    blocking(move || {
                        thread::sleep(Duration::from_millis(200));
                        i * i
                    })
                })
            })
            .collect();
        // The only worker has time for this one meanwhile.
        go(|| (0..100).for_each(|_| yield_now())).join().unwrap();
        assert!(start.elapsed() < Duration::from_millis(190), "a worker that was blocked");
        let squares = calls.into_iter().map(|call| call.join().unwrap());
        assert!(squares.eq((0..20).map(|i| i * i)));
        assert!(start.elapsed() < Duration::from_secs(2), "one after the other");
    });
}

#[test]
fn a_blocking_call_may_use_the_runtime_and_may_panic() {
    run_on(1, || {
        let got = blocking(|| {
            sleep(Duration::from_millis(5));
            let (to, from) = channel(1);
            go(move || to.send(7).unwrap());
            from.recv().unwrap()
        });
        assert_eq!(got, 7);
        let call = || blocking(|| -> u32 { panic!("on purpose") });
        let panic = std::panic::catch_unwind(call).unwrap_err();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"on purpose"));
    });
}

/// The only worker is stuck in a call that was not declared as blocking. Its own goroutines have to
/// wait, since they are pinned; but once it is free, nothing has been lost.
#[test]
fn a_worker_that_was_blocked_loses_nothing() {
    run_on(1, || {
        let listener = StdListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let mut ours = TcpStream::connect(addr).unwrap();
        let mut theirs: StdStream = listener.accept().unwrap().0;
        let reader = go(move || {
            let mut text = [0; 5];
            ours.read_exact(&mut text).map(|()| text)
        });
        let sleeper = go(|| sleep(Duration::from_millis(10)));
        sleep(Duration::from_millis(5));
        theirs.write_all(b"hel").unwrap();
        thread::sleep(Duration::from_millis(60));
        theirs.write_all(b"lo").unwrap();
        thread::sleep(Duration::from_millis(60));
        assert_eq!(&reader.join().unwrap().unwrap(), b"hello");
        sleeper.join().unwrap();
    });
}
