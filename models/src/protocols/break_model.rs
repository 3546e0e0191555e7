//! The break of a blocked poll, against the poller that is about to block.
//!
//! The interleavings hunted:
//!
//! * a break between the poller's last look at what it waits for and its system call (L9): the eventfd
//!   is level-triggered and keeps it.
//! * two breakers of which one finds a wake in flight and writes no eventfd: the poller that takes that
//!   wake must see what *both* have published, and the flag must not stay set over an empty eventfd
//!   (S22). The order drain · clear prevents the second, the exchanges of the flag the first.
//! * a quick poll beside the blocked one: it must not eat the break (S23).
//! * a signal: the interrupted call changes nothing (S30), a wait without limit goes on, and a timed
//!   one returns, because whoever calls has to compute its delay anew (L12).
//!
//! What the breakers publish are relaxed words: the break alone has to order them.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use netpoll::backend::{Batch, Epoll};
use netpoll::platform::{Atomic, Kernel, RawFd};

use crate::check::{Bound, models};
use crate::platform::{Checked, join};

models! {
    /// A break is never lost to a poller that is about to block.
    break_against_sleep { loom: Bound::UNBOUNDED, shuttle: [Pct, Dfs], kernel: Scripted }
    /// The poller sees what every breaker published, and the next break works.
    two_breaks_against_sleep { loom: Bound::preemptions(3), shuttle: [Pct, Urw], kernel: Scripted }
    /// A quick poll leaves the break to the blocked poller.
    break_against_quick_poll { loom: Bound::UNBOUNDED, shuttle: [Pct, Urw], kernel: Scripted }
    /// A signal neither ends a wait without limit nor loses the break or the event that does.
    signal_against_blocked_poll { loom: Bound::preemptions(3), shuttle: [Pct, Urw], kernel: Scripted }
    /// A signal ends a timed wait.
    signal_against_timed_poll { loom: Bound::UNBOUNDED, shuttle: [Pct, Dfs], kernel: Scripted }
}

const FOREVER: i64 = -1;
const ONE_MS: i64 = 1_000_000;

struct Queue<P: Checked> {
    kernel: P::Kernel,
    epoll: Epoll<P>,
    published: [P::AtomicU32; 2],
}

impl<P: Checked> Queue<P> {
    fn new() -> Arc<Queue<P>> {
        let kernel = P::kernel(1);
        let epoll = Epoll::new(&kernel).expect("numbers are free");
        let published = [P::AtomicU32::new(0), P::AtomicU32::new(0)];
        Arc::new(Queue { kernel, epoll, published })
    }

    fn publish_and_break(&self, what: usize) {
        self.published[what].store(1, Relaxed);
        self.epoll.wake(&self.kernel);
    }

    fn sees(&self, what: usize) -> bool {
        self.published[what].load(Relaxed) == 1
    }

    /// Polls, and returns the user data of the events.
    fn poll(&self, delay_ns: i64) -> Vec<u64> {
        let mut events = Vec::new();
        let mut batch = Batch::default();
        self.epoll.poll(&self.kernel, delay_ns, &mut batch, |data, _| events.push(data));
        events
    }

    /// Sends a signal to who is blocked in the poll; false when nobody is.
    fn interrupt(&self) -> bool {
        self.kernel.host().interrupt(self.epoll.queue())
    }

    /// Registers an eventfd.
    fn register(&self, data: u64) -> RawFd {
        let fd = self.kernel.eventfd().expect("numbers are free");
        assert_eq!(self.epoll.open(&self.kernel, fd, data), Ok(()));
        fd
    }
}

fn break_against_sleep<P: Checked>() {
    let queue = Queue::<P>::new();
    let breaker = {
        let queue = queue.clone();
        P::thread(move || queue.publish_and_break(0))
    };
    assert!(queue.poll(FOREVER).is_empty());
    assert!(queue.sees(0));
    join([breaker]);
}

fn two_breaks_against_sleep<P: Checked>() {
    let queue = Queue::<P>::new();
    let breakers = [0, 1].map(|what| {
        let queue = queue.clone();
        P::thread(move || queue.publish_and_break(what))
    });
    while !(queue.sees(0) && queue.sees(1)) {
        assert!(queue.poll(FOREVER).is_empty());
    }
    join(breakers);
    // Whatever is left in the channel: the next break ends the next wait.
    queue.epoll.wake(&queue.kernel);
    assert!(queue.poll(FOREVER).is_empty());
    queue.epoll.wake(&queue.kernel);
    assert!(queue.poll(FOREVER).is_empty());
}

fn break_against_quick_poll<P: Checked>() {
    let queue = Queue::<P>::new();
    let breaker = {
        let queue = queue.clone();
        P::thread(move || queue.publish_and_break(0))
    };
    let quick = {
        let queue = queue.clone();
        P::thread(move || assert!(queue.poll(0).is_empty()))
    };
    assert!(queue.poll(FOREVER).is_empty());
    assert!(queue.sees(0));
    join([breaker, quick]);
    queue.epoll.wake(&queue.kernel);
    assert!(queue.poll(FOREVER).is_empty());
}

fn signal_against_blocked_poll<P: Checked>() {
    let queue = Queue::<P>::new();
    let fd = queue.register(5);
    assert_eq!(queue.poll(0), [5], "the edge of the registration");
    let breaker = {
        let queue = queue.clone();
        P::thread(move || queue.publish_and_break(0))
    };
    let signal = {
        let queue = queue.clone();
        P::thread(move || {
            queue.interrupt();
        })
    };
    let peer = {
        let queue = queue.clone();
        P::thread(move || assert_eq!(queue.kernel.write(fd, &1u64.to_ne_bytes()), Ok(8)))
    };
    let mut events = Vec::new();
    while events.is_empty() || !queue.sees(0) {
        let came = queue.poll(FOREVER);
        assert!(!came.is_empty() || queue.sees(0), "L12: a wait without limit ended for nothing");
        events.extend(came);
    }
    assert_eq!(events, [5], "one edge, one event");
    join([breaker, signal, peer]);
}

fn signal_against_timed_poll<P: Checked>() {
    let queue = Queue::<P>::new();
    let signal = {
        let queue = queue.clone();
        P::thread(move || {
            if !queue.interrupt() {
                queue.publish_and_break(0);
            }
        })
    };
    assert!(queue.poll(ONE_MS).is_empty());
    join([signal]);
}
