//! Programs that are wrong themselves, to see what that looks like.
//!
//! The first one is an ordinary mistake. The others do what no simulator can bear, in those of their runs
//! in which of two goroutines a certain one comes first: the explorer has to say which seed it was, and to keep what it
//! has learnt from the others.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc;
use std::time::SystemTime;
use std::{hint, process, thread};

use netpoll::sync::{Condvar, Mutex};
use netpoll::{go, yield_now};

use super::Scenario;
use super::common::{join, listen};
use crate::Faults;

/// The ordinary one.
pub(super) fn scenario() -> Scenario {
    let about =
        "a program that is wrong itself, to see what a failure looks like; not part of --all";
    let scenario = Scenario::new("broken", about, sleep_for_ever);
    Scenario { faults: Faults::none(), ..scenario.atomic() }
}

/// The others.
pub(super) fn family() -> Vec<Scenario> {
    let family: [(&str, &str, fn()); 9] = [
        ("broken_abort", "aborts the process", abort),
        ("broken_exit", "exits from the process", exit),
        ("broken_drop", "panics while it unwinds", panic_twice),
        ("broken_overflow", "overflows the stack of a goroutine", overflow),
        ("broken_endless", "loops for ever without a point", spin_for_ever),
        ("broken_block", "blocks its thread for ever", block_for_ever),
        (
            "broken_thread",
            "lets a thread of the operating system use the runtime",
            let_a_stranger_in,
        ),
        ("broken_clock", "does what a real clock says", ask_a_real_clock),
        ("broken_noise", "prints to standard output, where others talk, and is right", make_noise),
    ];
    let scenario = |(name, about, body)| Scenario {
        faults: Faults::none(),
        ..Scenario::new(name, about, body)
    };
    family.into_iter().map(scenario).collect()
}

/// Attempts in one run.
const ROUNDS: usize = 20;

fn sleep_for_ever() {
    for _ in 0..ROUNDS {
        round();
    }
}

/// The mistake: the lock is given back between the look at the flag and the wait. A setter that comes
/// in between notifies nobody, and the waiter sleeps for ever.
fn round() {
    let shared = Arc::new((Mutex::new(false), Condvar::new()));
    let waiter = {
        let shared = Arc::clone(&shared);
        go(move || {
            let (flag, set) = &*shared;
            let is_set = *flag.lock();
            if !is_set {
                drop(set.wait(flag.lock()));
            }
        })
    };
    let setter = go(move || {
        let (flag, set) = &*shared;
        *flag.lock() = true;
        set.notify_one();
    });
    join(waiter);
    join(setter);
}

/// Whether the first of two goroutines came first: in most runs the newer one does.
fn unlucky() -> bool {
    let first = Arc::new(AtomicU8::new(0));
    let race = |number: u8| {
        let first = Arc::clone(&first);
        go(move || {
            let _second = first.compare_exchange(0, number, Relaxed, Relaxed);
        })
    };
    let racers = [race(1), race(2)];
    yield_now();
    racers.into_iter().for_each(join);
    first.load(Relaxed) == 1
}

fn abort() {
    if unlucky() {
        process::abort();
    }
}

fn exit() {
    if unlucky() {
        process::exit(7);
    }
}

fn panic_twice() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("in a destructor");
        }
    }
    if unlucky() {
        let _bomb = Bomb;
        panic!("the first one");
    }
}

fn overflow() {
    fn deeper(depth: u64) -> u64 {
        // A frame that cannot be left out, and a call that is not the last thing.
        let frame = hint::black_box([depth; 64]);
        match frame[0] {
            u64::MAX => 0,
            depth => 1 + deeper(depth + 1) + frame[63],
        }
    }
    if unlucky() {
        hint::black_box(deeper(0));
    }
}

fn spin_for_ever() {
    if unlucky() {
        loop {
            hint::spin_loop();
        }
    }
}

fn block_for_ever() {
    if unlucky() {
        let (_sender, receiver) = mpsc::channel::<()>();
        let _never = receiver.recv();
    }
}

fn let_a_stranger_in() {
    if unlucky() {
        let listener = Arc::new(listen());
        let theirs = Arc::clone(&listener);
        let stranger = thread::spawn(move || theirs.local_addr().is_ok());
        let _its_panic = stranger.join();
    }
}

fn ask_a_real_clock() {
    // Two runs one after the other must not happen to be the same.
    static LAST: AtomicU64 = AtomicU64::new(u64::MAX);
    let real = SystemTime::UNIX_EPOCH.elapsed().expect("it is after 1970");
    let mut yields = u64::from(real.subsec_nanos()) % 997 % 16;
    if LAST.load(Relaxed) == yields {
        yields += 1;
    }
    LAST.store(yields, Relaxed);
    (0..yields).for_each(|_| yield_now());
}

fn make_noise() {
    print!("noise without an end of line");
    println!(", and with one");
}
