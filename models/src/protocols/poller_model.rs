//! Who polls the kernel, and for how long.
//!
//! The interleavings hunted:
//!
//! * sysmon finds that nobody has polled for long, and a worker goes into the final poll at that moment:
//!   sysmon's exchange of `last_poll` must fail then, or a second worker could go in as well (S20);
//! * two workers claim the final poll at once;
//! * a claim follows another one, and an armer of a timer reads the new claim with the old time to come
//!   back by (O6);
//! * the quick poll of one worker and the final poll of another bring home one event (S3);
//! * an event takes a goroutine out between T3 and its +1: the waiter count is below the number of those
//!   who wait, or wraps, and nobody is forgotten for it (S17); it goes down after the goroutine is
//!   runnable (S18: an order of steps and not of memory, so for shuttle);
//! * a timer is due at a worker that spins and is slow to come to it; another one comes back from the
//!   kernel for it. It must run it: to leave it to the spinner is to come back again and again;
//! * a timer is due at a worker that is retired and does something else: the only active one comes back
//!   from the kernel for it and must run it, although there is nobody to steal from;
//! * a timer is armed while a retired worker, which has not seen it, goes into the final poll, and the
//!   only active one is still awake, so nobody is woken: when that one goes to sleep it breaks the poll.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use netpoll::platform::{Atomic, Kernel};
use netpoll::poll::Netpoll;
use netpoll::poll::netpoll::Sleeper;
use netpoll::sched::idle::StateWord;
use netpoll::sched::timers::NEVER;

use super::scheduler::{Parked, Reader, Runtime, SOON_NS, runtime, runtime_of};
use crate::check::{Bound, models};
use crate::platform::{Checked, join};

models! {
    /// Sysmon never takes the final poll from a worker.
    sysmon_against_final_poll { loom: Bound::preemptions(3), shuttle: [Pct, Urw], kernel: Scripted }
    /// Of two workers one polls.
    two_final_polls { loom: Bound::preemptions(3), shuttle: [Pct, Urw], kernel: Scripted }
    /// A time to come back by is never taken for that of the next poller.
    armer_against_next_poller { loom: Bound::preemptions(3), shuttle: [Pct, Urw], kernel: Scripted }
    /// A quick poll and a final poll release a reader once.
    quick_poll_against_final_poll {
        loom: Bound::preemptions(2), shuttle: [Pct, Urw], kernel: Scripted
    }
    /// An event between T3 and the count forgets nobody.
    event_against_waiter_count {
        loom: Bound::preemptions(2).capped(20_000), shuttle: [Pct, Urw], kernel: Scripted
    }
    /// The waiter count goes down when the goroutine is runnable.
    waiter_count_against_inject { shuttle: [Pct, Urw], kernel: Scripted }
    /// A worker that finds a timer due at a spinner's does not turn in circles around it.
    due_timer_against_spinner {
        loom: Bound::preemptions(2).capped(10_000), shuttle: [Pct, Urw], kernel: Scripted
    }
    /// The only active worker runs the due timer of a retired one.
    due_timer_of_retired_worker {
        loom: Bound::preemptions(3), shuttle: [Pct, Urw], kernel: Scripted
    }
    /// A timer that nobody was woken for is not slept over by the final poller.
    sleeper_breaks_final_poll {
        loom: Bound::preemptions(2).capped(5_000), shuttle: [Pct, Urw], kernel: Scripted,
        timed_waits: 1
    }
}

/// Longer than sysmon lets the kernel go unwatched.
const NEGLECTED_NS: u64 = 20_000_000;

fn sysmon_against_final_poll<P: Checked>() {
    let shared = runtime::<P>(1);
    let reader = Reader::at(&shared, 0);
    assert!(reader.park(), "nothing is to be read yet");
    reader.make_ready();
    let sysmon = {
        let shared = shared.clone();
        P::thread(move || {
            shared.look_after(shared.kernel.clock() + NEGLECTED_NS);
        })
    };
    assert_eq!(shared.worker_loop(0).find_runnable(), Some(reader.g));
    join([sysmon]);
    assert_eq!(shared.netpoll.waiters(), 0, "S17: nobody waits any more");
}

fn two_final_polls<P: Checked>() {
    struct Poller<P: Checked> {
        netpoll: Netpoll<P>,
        inside: P::AtomicU32,
    }
    fn claim<P: Checked>(poller: &Poller<P>) {
        if poller.netpoll.try_begin_final().is_some() {
            assert!(poller.netpoll.is_polled(), "S20: last_poll says so");
            let others = poller.inside.fetch_add(1, Relaxed);
            assert_eq!(others, 0, "S20: {others} others are in the final poll");
            poller.inside.fetch_sub(1, Relaxed);
            poller.netpoll.end_final(2);
        }
    }
    let netpoll = Netpoll::new(&P::kernel(2)).expect("the simulated kernel refuses no poller");
    let poller = Arc::new(Poller::<P> { netpoll, inside: P::AtomicU32::new(0) });
    let others = [(), ()].map(|()| {
        let poller = poller.clone();
        P::thread(move || claim(&poller))
    });
    poller.netpoll.try_begin_overdue(u64::MAX, 1);
    join(others);
}

fn armer_against_next_poller<P: Checked>() {
    const FIRST: u64 = 100;
    const SECOND: u64 = 200;
    struct World<P: Checked> {
        netpoll: Netpoll<P>,
        /// The earliest timer.
        earliest: P::AtomicU64,
        /// Until when the last poller sleeps.
        sleeps_until: P::AtomicU64,
        /// Its poll was broken.
        broken: P::AtomicU32,
    }
    /// `Loop::block`.
    fn poll<P: Checked>(world: &World<P>) {
        StateWord::<P>::new().look_again();
        let until = world.earliest.load(Acquire);
        if world.netpoll.try_begin_final().is_some() {
            world.netpoll.set_poll_until((until != NEVER).then_some(until));
            world.sleeps_until.store(until, Relaxed);
        } else if until != NEVER && world.netpoll.sleeper_for(until) == Sleeper::Break {
            world.broken.store(1, Relaxed);
        }
    }
    let netpoll = Netpoll::<P>::new(&P::kernel(2)).expect("the simulated kernel refuses no poller");
    assert!(netpoll.try_begin_final().is_some(), "nobody else is there");
    netpoll.set_poll_until(Some(FIRST));
    let (earliest, sleeps_until) = (P::AtomicU64::new(NEVER), P::AtomicU64::new(FIRST));
    let broken = P::AtomicU32::new(0);
    let world = Arc::new(World { netpoll, earliest, sleeps_until, broken });
    let first = {
        let world = world.clone();
        P::thread(move || {
            world.netpoll.end_final(FIRST);
            poll(&world);
        })
    };
    let second = {
        let world = world.clone();
        P::thread(move || poll(&world))
    };
    world.earliest.store(SECOND, Release);
    let sleeper = world.netpoll.sleeper_for(SECOND);
    join([first, second]);
    if sleeper == Sleeper::InTime && world.broken.load(Relaxed) == 0 {
        let until = world.sleeps_until.load(Relaxed);
        assert!(until <= SECOND, "L8: the poller sleeps until {until}, beyond the timer");
    }
}

/// Another worker, until the shutdown. It runs nothing, unless `found` says that it may.
fn other_worker<P: Checked>(
    shared: &Runtime<P>,
    worker: u32,
    mut found: impl FnMut(u32) + Send + 'static,
) -> P::Thread {
    let shared = shared.clone();
    P::thread(move || {
        let mut worker = shared.worker_loop(worker);
        while let Some(g) = worker.find_runnable() {
            worker.found_work();
            found(g);
        }
    })
}

fn quick_poll_against_final_poll<P: Checked>() {
    let shared = runtime::<P>(2);
    let reader = Reader::at(&shared, 0);
    assert!(reader.park(), "nothing is to be read yet");
    reader.make_ready();
    let other = other_worker(&shared, 1, |g| panic!("worker 1 has no goroutine, and ran #{g}"));
    let mut worker = shared.worker_loop(0);
    assert_eq!(worker.find_runnable(), Some(reader.g));
    worker.found_work();
    shared.shut_down();
    join([other]);
    assert_eq!(shared.netpoll.waiters(), 0, "S17: nobody waits any more");
}

fn event_against_waiter_count<P: Checked>() {
    let shared = runtime::<P>(2);
    let (early, late) = (Reader::at(&shared, 0), Reader::at(&shared, 1));
    assert!(late.park(), "nothing is to be read yet");
    early.make_ready();
    let other = {
        let shared = shared.clone();
        let late = late.clone();
        P::thread(move || {
            let mut worker = shared.worker_loop(1);
            assert_eq!(worker.find_runnable(), Some(late.g));
            worker.found_work();
            shared.shut_down();
        })
    };
    let mut worker = shared.worker_loop(0);
    if early.park() {
        assert_eq!(worker.find_runnable(), Some(early.g));
        worker.found_work();
    }
    late.make_ready();
    assert_eq!(worker.find_runnable(), None);
    join([other]);
    assert_eq!(shared.netpoll.waiters(), 0, "S17: nobody waits any more");
}

fn waiter_count_against_inject<P: Checked>() {
    let shared = runtime::<P>(1);
    let reader = Reader::at(&shared, 0);
    assert!(reader.park(), "nothing is to be read yet");
    reader.make_ready();
    let sysmon = {
        let shared = shared.clone();
        P::thread(move || {
            shared.look_after(shared.kernel.clock() + NEGLECTED_NS);
        })
    };
    if !shared.netpoll.any_waiters() {
        assert!(!shared.workers[0].inbox.is_empty(), "S18: the reader is runnable by then");
    }
    join([sysmon]);
}

fn due_timer_against_spinner<P: Checked>() {
    let shared = runtime::<P>(2);
    let parked = Parked::at(&shared, 0);
    let now = shared.kernel.clock();
    let other = other_worker(&shared, 1, |g| panic!("worker 1 has no goroutine, and ran #{g}"));
    let armer = {
        let shared = shared.clone();
        P::thread(move || {
            shared.arm_timer(now, parked.wake());
        })
    };
    let mut worker = shared.worker_loop(0);
    assert_eq!(worker.find_runnable(), Some(parked.g));
    worker.found_work();
    shared.shut_down();
    join([other, armer]);
}

fn due_timer_of_retired_worker<P: Checked>() {
    let shared = runtime_of::<P>(1, 2);
    let parked = Parked::at(&shared, 0);
    let now = shared.kernel.clock();
    // Worker 1 is none of the model's threads: it is busy for as long as the model takes.
    let _ = shared.workers[1].timers.add(1, now, parked.wake(), |_| {});
    let armer = {
        let shared = shared.clone();
        P::thread(move || {
            shared.arm_timer(now + SOON_NS, parked.nothing());
        })
    };
    assert_eq!(shared.worker_loop(0).find_runnable(), Some(parked.g));
    join([armer]);
}

fn sleeper_breaks_final_poll<P: Checked>() {
    let shared = runtime_of::<P>(1, 2);
    let parked = Parked::at(&shared, 0);
    let now = shared.kernel.clock();
    // The reason for which worker 1 polls: somebody waits for an event that never comes.
    shared.netpoll.add_waiter(&shared.kernel);
    let other = other_worker(&shared, 1, |g| panic!("worker 1 has no goroutine, and ran #{g}"));
    let armer = {
        let shared = shared.clone();
        P::thread(move || {
            shared.arm_timer(now + SOON_NS, parked.wake());
        })
    };
    let mut worker = shared.worker_loop(0);
    assert_eq!(worker.find_runnable(), Some(parked.g));
    shared.shut_down();
    join([other, armer]);
}
