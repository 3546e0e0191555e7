//! Deadlines that are set, moved and cleared while somebody waits under them.
//!
//! The interleavings hunted:
//!
//! * a deadline that is cleared while it fires: the consumer neither times out for good nor stays
//!   parked (L5), and the stale callback changes nothing (S10).
//! * a deadline in the past against a consumer that parks: the same Dekker pair as a close (L4).

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Release};

use netpoll::ops::Deadlines;
use netpoll::platform::Atomic;
use netpoll::poll::PollError;
use netpoll::trace::Mode;

use super::descriptor::Descriptor;
use crate::check::{Bound, models};
use crate::platform::{Checked, join};

models! {
    /// A deadline that is cleared while it fires times nobody out for good.
    park_against_cleared_deadline { loom: Bound::preemptions(3), shuttle: [Pct, Urw] }
    /// A deadline in the past never leaves the reader parked.
    park_against_past_deadline { loom: Bound::UNBOUNDED, shuttle: [Pct, Dfs] }
}

fn park_against_cleared_deadline<P: Checked>() {
    let descriptor = Descriptor::<P>::open();
    let armed = descriptor.set_deadline(Deadlines::Read, 1000);
    let generation = armed[0].generation;
    let cleared = Arc::new(P::AtomicU32::new(0));
    let timer = {
        let descriptor = descriptor.clone();
        P::thread(move || descriptor.expire(Deadlines::Read, generation))
    };
    let setter = {
        let (descriptor, cleared) = (descriptor.clone(), cleared.clone());
        P::thread(move || {
            descriptor.set_deadline(Deadlines::Read, 0);
            cleared.store(1, Release);
            descriptor.edge();
        })
    };
    match descriptor.wait(Mode::Read) {
        Ok(()) => {}
        // Legal only if it saw the deadline before it was cleared.
        Err(error) => assert_eq!(error, PollError::Timeout),
    }
    join([setter, timer]);
    assert_eq!(cleared.load(Acquire), 1);
    // S10: the stale callback cannot expire a deadline that has been cleared.
    assert_eq!(descriptor.pd.check(Mode::Read), Ok(()));
}

fn park_against_past_deadline<P: Checked>() {
    let descriptor = Descriptor::<P>::open();
    let setter = {
        let descriptor = descriptor.clone();
        P::thread(move || {
            assert_eq!(descriptor.set_deadline(Deadlines::Both, -1), [], "nothing to arm");
        })
    };
    assert_eq!(descriptor.wait(Mode::Read), Err(PollError::Timeout));
    join([setter]);
}
