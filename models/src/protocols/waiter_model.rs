//! The ticket of a plain thread: one park, and its one end.
//!
//! The interleavings hunted:
//!
//! * an unpark between opening the park and parking, which must not be lost; nor one between the
//!   sleeper's look at the state and its sleep.
//! * two wakers at once, or a waker and a deadline: exactly one of them ends the park, it knows that it
//!   did, and what it wrote before is visible to the sleeper.
//!
//! What wakers leave behind is written `Relaxed`, as the plain data of a real one would be: the ticket
//! alone orders it. A deadline in these models lies in the past, so no clock has a say.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use netpoll::ops::Wake;
use netpoll::platform::Atomic;
use netpoll::trace::WaitReason;
use netpoll::waiter::{Parking, Waiter};

use crate::check::{Bound, models};
use crate::platform::{Checked, join};

models! {
    /// An unpark is never lost, and brings what happened before it.
    thread_park_against_unpark { loom: Bound::UNBOUNDED, shuttle: [Pct, Dfs] }
    /// One of two wakers ends the park, and knows it.
    thread_park_against_two_unparks { loom: Bound::UNBOUNDED, shuttle: [Pct, Dfs] }
    /// A waker and a deadline agree on who ended the park.
    thread_timeout_against_unpark { loom: Bound::UNBOUNDED, shuttle: [Pct, Dfs] }
}

/// A deadline that has passed on every clock.
pub(super) const LONG_AGO: Option<u64> = Some(1);

/// A waker, with what it leaves behind.
struct Waker<P: Checked> {
    left: P::AtomicU32,
    /// 1 when it was the one who ended the park.
    ended: P::AtomicU32,
}

impl<P: Checked> Waker<P> {
    fn new() -> Arc<Waker<P>> {
        Arc::new(Waker { left: P::AtomicU32::new(0), ended: P::AtomicU32::new(0) })
    }

    fn start(self: &Arc<Self>, waiter: Waiter<P>) -> P::Thread {
        let waker = self.clone();
        P::thread(move || {
            waker.left.store(7, Relaxed);
            waker.ended.store(waiter.unpark().into(), Relaxed);
        })
    }
}

fn thread_park_against_unpark<P: Checked>() {
    let parking = Parking::<P>::prepare(WaitReason::Join);
    let waker = Waker::<P>::new();
    let thread = waker.start(parking.waiter());
    assert_eq!(parking.park(None), Wake::Unparked);
    assert_eq!(waker.left.load(Relaxed), 7, "what the waker did before is visible");
    join([thread]);
    assert_eq!(waker.ended.load(Relaxed), 1);
}

fn thread_park_against_two_unparks<P: Checked>() {
    let parking = Parking::<P>::prepare(WaitReason::Join);
    let wakers = [Waker::<P>::new(), Waker::<P>::new()];
    let threads = [0, 1].map(|i: usize| wakers[i].start(parking.waiter()));
    assert_eq!(parking.park(None), Wake::Unparked);
    let left = wakers.each_ref().map(|waker| waker.left.load(Relaxed));
    join(threads);
    let ended = wakers.each_ref().map(|waker| waker.ended.load(Relaxed));
    assert_eq!(ended.iter().sum::<u32>(), 1, "one of two ends the park: {ended:?}");
    for (left, ended) in left.into_iter().zip(ended) {
        assert!(ended == 0 || left == 7, "what the waker did before is visible");
    }
}

fn thread_timeout_against_unpark<P: Checked>() {
    let parking = Parking::<P>::prepare(WaitReason::Sleep);
    let waker = Waker::<P>::new();
    let thread = waker.start(parking.waiter());
    let wake = parking.park(LONG_AGO);
    if wake == Wake::Unparked {
        assert_eq!(waker.left.load(Relaxed), 7, "what the waker did before is visible");
    }
    join([thread]);
    assert_eq!(waker.ended.load(Relaxed) == 1, wake == Wake::Unparked);
}
