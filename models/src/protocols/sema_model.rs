//! The semaphore that lock waiters and closers sleep on.
//!
//! The interleaving hunted: a permit is released between an acquirer's look and its sleep, or to an
//! acquirer that is in the queue while another one comes: no permit is lost, none is given twice, and
//! what the releaser did before is seen by who gets it.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use netpoll::fd::sema::Sema;
use netpoll::platform::Atomic;
use netpoll::trace::WaitReason;

use crate::check::{Bound, models};
use crate::platform::{Checked, join};

models! {
    /// A released permit is never lost.
    release_against_acquire { loom: Bound::UNBOUNDED, shuttle: [Pct, Dfs] }
    /// Two permits go to two acquirers.
    two_releases_against_acquires { loom: Bound::preemptions(3), shuttle: [Pct, Urw] }
}

const WHY: WaitReason = WaitReason::Close(5);

struct Desk<P: Checked> {
    sema: Sema<P>,
    /// Permits that were released.
    released: P::AtomicU32,
}

impl<P: Checked> Desk<P> {
    fn new() -> Arc<Desk<P>> {
        Arc::new(Desk { sema: Sema::new(0), released: P::AtomicU32::new(0) })
    }

    fn acquire(&self) {
        self.sema.acquire(WHY);
        assert_ne!(self.released.load(Relaxed), 0, "a permit came out of nothing");
    }

    fn release(&self) {
        let before = self.released.load(Relaxed);
        self.released.store(before + 1, Relaxed);
        self.sema.release();
    }
}

fn release_against_acquire<P: Checked>() {
    let desk = Desk::<P>::new();
    let other = {
        let desk = desk.clone();
        P::thread(move || desk.release())
    };
    desk.acquire();
    join([other]);
}

fn two_releases_against_acquires<P: Checked>() {
    let desk = Desk::<P>::new();
    let others = [(); 2].map(|()| {
        let desk = desk.clone();
        P::thread(move || desk.acquire())
    });
    desk.release();
    desk.release();
    join(others);
    assert_eq!(desk.sema.permits(), 0, "a permit was given twice");
}
