//! One park of one goroutine, against everybody who may end it.
//!
//! The interleavings hunted: a waker and the timer at once, before and after the goroutine has parked:
//! exactly one of them ends the park, and makes the goroutine runnable only if it had parked (S3); a
//! waker with the ticket of a park that is over, which must not end the next one (S10 for tickets).
//!
//! The last of these is for shuttle only. A park that is given up is left by a plain store; C11 puts an
//! exchange of the old value before it in the word's order of modifications, loom may put it after.
//!
//! What the waker did before is seen by the goroutine, and what the goroutine left behind when it parked
//! is seen by who queues it: two words that are accessed without any ordering (T1, T2).

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use netpoll::ops::Wake;
use netpoll::platform::{Atomic, Park};
use netpoll::sched::ticket::{Ended, Ticket};

use crate::check::{Bound, models};
use crate::platform::{Checked, join};

models! {
    /// A waker and the timer end a park once.
    unpark_against_expiry { loom: Bound::preemptions(3), shuttle: [Pct, Urw] }
    /// A wake-up is not lost on a goroutine that is about to park, and brings along what it is about.
    unpark_against_park { loom: Bound::UNBOUNDED, shuttle: [Pct, Dfs] }
    /// A waker that comes late ends no later park.
    unpark_against_next_park { loom: Bound::UNBOUNDED, shuttle: [Pct, Urw] }
    /// A waker never ends the park that follows one which was given up.
    unpark_against_park_given_up { shuttle: [Pct, Dfs] }
}

struct Sleeper<P: Checked> {
    ticket: Ticket<P>,
    /// Stands for the queue in which the goroutine is when it is runnable.
    runnable: P::Parker,
    /// How often the current park was ended.
    ended: P::AtomicU32,
    /// What the waker wants it to know.
    message: P::AtomicU32,
    /// What the goroutine left behind when it parked.
    record: P::AtomicU32,
}

impl<P: Checked> Sleeper<P> {
    fn new() -> Arc<Sleeper<P>> {
        let zero = || P::AtomicU32::new(0);
        let (ticket, runnable) = (Ticket::new(), P::Parker::new());
        Arc::new(Sleeper { ticket, runnable, ended: zero(), message: zero(), record: zero() })
    }

    /// The goroutine parks and runs again.
    fn park(&self, ticket: u64) -> Wake {
        self.record.store(1, Relaxed);
        if self.ticket.commit(ticket) {
            self.runnable.park();
        }
        self.ticket.finish(ticket)
    }

    /// What who ends the park does with the answer. True when it did.
    fn end(&self, ended: Ended) -> bool {
        match ended {
            Ended::Stale => return false,
            Ended::BeforeParking => {}
            Ended::MakeRunnable => {
                let record = self.record.load(Relaxed);
                assert_eq!(record, 1, "T2: who queues a goroutine sees what it left behind");
                self.runnable.unpark();
            }
        }
        let before = self.ended.fetch_add(1, Relaxed);
        assert_eq!(before, 0, "S3: the park was ended twice");
        true
    }

    fn unpark(&self, ticket: u64) -> bool {
        self.message.store(1, Relaxed);
        self.end(self.ticket.unpark(ticket))
    }
}

fn unpark_against_expiry<P: Checked>() {
    let sleeper = Sleeper::<P>::new();
    let ticket = sleeper.ticket.open();
    let waker = {
        let sleeper = sleeper.clone();
        P::thread(move || {
            sleeper.unpark(ticket);
        })
    };
    let timer = {
        let sleeper = sleeper.clone();
        P::thread(move || {
            sleeper.end(sleeper.ticket.expire(ticket));
        })
    };
    if sleeper.park(ticket) == Wake::Unparked {
        assert_eq!(sleeper.message.load(Relaxed), 1, "T1: the goroutine sees what it is about");
    }
    join([waker, timer]);
    assert_eq!(sleeper.ended.load(Relaxed), 1, "S3: the park was ended");
}

fn unpark_against_park<P: Checked>() {
    let sleeper = Sleeper::<P>::new();
    let ticket = sleeper.ticket.open();
    let waker = {
        let sleeper = sleeper.clone();
        P::thread(move || assert!(sleeper.unpark(ticket), "nobody else ends it"))
    };
    assert_eq!(sleeper.park(ticket), Wake::Unparked);
    assert_eq!(sleeper.message.load(Relaxed), 1, "T1: the goroutine sees what it is about");
    join([waker]);
}

fn unpark_against_next_park<P: Checked>() {
    let sleeper = Sleeper::<P>::new();
    let ticket = sleeper.ticket.open();
    let waker = {
        let sleeper = sleeper.clone();
        P::thread(move || {
            let first = sleeper.unpark(ticket);
            assert!(!sleeper.unpark(ticket), "a ticket is good for one end");
            assert!(first, "nobody else ends it");
        })
    };
    assert_eq!(sleeper.park(ticket), Wake::Unparked);
    let next = sleeper.ticket.open();
    assert!(sleeper.ticket.commit(next), "the next park has another ticket");
    join([waker]);
    assert_eq!(sleeper.ticket.expire(next), Ended::MakeRunnable, "it is still parked");
}

fn unpark_against_park_given_up<P: Checked>() {
    let sleeper = Sleeper::<P>::new();
    let given_up = sleeper.ticket.open();
    let waker = {
        let sleeper = sleeper.clone();
        P::thread(move || {
            let ended = sleeper.ticket.unpark(given_up);
            assert_ne!(ended, Ended::MakeRunnable, "S3: nobody parked with this ticket");
        })
    };
    let next = sleeper.ticket.open();
    assert!(sleeper.ticket.commit(next), "the next park has another ticket");
    join([waker]);
    assert_eq!(sleeper.ticket.unpark(next), Ended::MakeRunnable, "it is still parked");
    assert_eq!(sleeper.ticket.finish(next), Wake::Unparked);
}
