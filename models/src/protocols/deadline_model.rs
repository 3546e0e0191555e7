//! Deadlines that are set, moved and cleared while somebody waits under them.
//!
//! The interleavings hunted:
//!
//! * a deadline that fires between the consumer's check and its park: what a close is in
//!   `park_model.rs` (L2).
//! * a deadline that is cleared while it fires: the consumer neither times out for good nor stays
//!   parked (L5), and the stale callback changes nothing (S10).
//! * a deadline in the past against a consumer that parks: the same again (L4).
//! * a deadline that another goroutine moves while it fires: either the callback came first, then it
//!   may have timed the consumer out, or it is stale; in both cases the new deadline holds (L5, S10).
//! * equal deadlines of both directions, which share a timer, that are split while it fires: the
//!   combined callback is validated by the read generation alone, so the split must change that, or
//!   the writer times out at the reader's deadline (S10, S11).

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Release};

use netpoll::ops::Deadlines;
use netpoll::platform::Atomic;
use netpoll::poll::PollError;
use netpoll::trace::Mode;

use super::descriptor::{Descriptor, WRITE};
use crate::check::{Bound, models};
use crate::platform::{Checked, join};

models! {
    /// A deadline never leaves the reader parked.
    park_against_deadline { loom: Bound::UNBOUNDED, shuttle: [Pct, Dfs] }
    /// A deadline that is cleared while it fires times nobody out for good.
    park_against_cleared_deadline { loom: Bound::preemptions(3), shuttle: [Pct, Urw] }
    /// A deadline in the past never leaves the reader parked.
    park_against_past_deadline { loom: Bound::UNBOUNDED, shuttle: [Pct, Dfs] }
    /// A deadline that is moved while it fires is the new one afterwards.
    park_against_moved_deadline { loom: Bound::preemptions(3), shuttle: [Pct, Urw] }
    /// A combined deadline that is split while it fires times each direction out at its own.
    park_against_split_deadline { loom: Bound::preemptions(3), shuttle: [Pct, Urw] }
}

fn park_against_deadline<P: Checked>() {
    let descriptor = Descriptor::<P>::open();
    let armed = descriptor.set_deadline(Deadlines::Read, 1000);
    let timer = {
        let descriptor = descriptor.clone();
        P::thread(move || descriptor.expire(Deadlines::Read, armed[0].generation))
    };
    assert_eq!(descriptor.wait(Mode::Read), Err(PollError::Timeout));
    join([timer]);
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

fn park_against_moved_deadline<P: Checked>() {
    let descriptor = Descriptor::<P>::open();
    let armed = descriptor.set_deadline(Deadlines::Read, 1000);
    let generation = armed[0].generation;
    let timer = {
        let descriptor = descriptor.clone();
        P::thread(move || descriptor.expire(Deadlines::Read, generation))
    };
    let setter = {
        let descriptor = descriptor.clone();
        P::thread(move || {
            let armed = descriptor.set_deadline(Deadlines::Read, 2000);
            assert_eq!(armed.len(), 1, "a deadline that is moved is armed anew");
            descriptor.edge();
            assert_eq!(descriptor.pd.check(Mode::Read), Ok(()), "L5: the new one is to come");
            descriptor.expire(Deadlines::Read, armed[0].generation);
        })
    };
    let outcome = descriptor.wait(Mode::Read);
    assert!(matches!(outcome, Ok(()) | Err(PollError::Timeout)), "{outcome:?}");
    join([timer, setter]);
    assert_eq!(descriptor.pd.check(Mode::Read), Err(PollError::Timeout), "the new one has fired");
}

fn park_against_split_deadline<P: Checked>() {
    let descriptor = Descriptor::<P>::open();
    let armed = descriptor.set_deadline(Deadlines::Both, 1000);
    assert_eq!(armed.len(), 1, "equal deadlines share a timer");
    let generation = armed[0].generation;
    let timer = {
        let descriptor = descriptor.clone();
        P::thread(move || descriptor.expire(Deadlines::Both, generation))
    };
    let setter = {
        let descriptor = descriptor.clone();
        P::thread(move || {
            let armed = descriptor.set_deadline(Deadlines::Write, 2000);
            // The reader's deadline has its own timer now, unless it has expired before.
            for job in armed.iter().filter(|job| job.which == Deadlines::Read) {
                descriptor.expire(Deadlines::Read, job.generation);
            }
            descriptor.event(WRITE);
        })
    };
    let outcome = descriptor.wait(Mode::Write);
    assert!(matches!(outcome, Ok(()) | Err(PollError::Timeout)), "{outcome:?}");
    join([timer, setter]);
    assert_eq!(descriptor.pd.check(Mode::Read), Err(PollError::Timeout));
    assert_eq!(descriptor.pd.check(Mode::Write), Ok(()), "S10: the writer's deadline is to come");
}
