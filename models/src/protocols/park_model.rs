//! A consumer that parks in its slot, against whoever may release it.
//!
//! The interleavings hunted:
//!
//! * park against close: the consumer checks the summary, finds nothing; the closer publishes
//!   `closing`, exchanges the slot, finds `Nil`, leaves; the consumer writes `Wait` and parks for ever
//!   (B18 of the bug museum). The check after `Wait` prevents it, if it sees what was published: T2
//!   acquires what T6 released (O3). Without either of the two the model fails.
//! * park against an edge: T5 between T2 and T3 must make T3 fail.
//! * an edge, a deadline and a close at once, against a reader that is parked: exactly one of them
//!   takes the goroutine out (S3), and the edge is used or still there (S4, S5).
//! * a hang-up, which is one event for both consumers: each is released once, also against a close.

use netpoll::ops::Deadlines;
use netpoll::poll::PollError;
use netpoll::trace::Mode;

use super::descriptor::{Descriptor, HANG_UP};
use crate::check::{Bound, models};
use crate::platform::{Checked, join};

models! {
    /// An edge never leaves the reader parked.
    park_against_ready { loom: Bound::UNBOUNDED, shuttle: [Pct, Dfs] }
    /// A close never leaves the reader parked.
    park_against_close { loom: Bound::UNBOUNDED, shuttle: [Pct, Dfs] }
    /// An edge and a deadline at once release the reader once.
    park_against_ready_and_deadline { loom: Bound::preemptions(3), shuttle: [Pct, Urw] }
    /// An edge, a deadline and a close at once release a parked reader once.
    ready_against_deadline_and_close { loom: Bound::preemptions(4), shuttle: [Pct, Urw] }
    /// A hang-up releases the reader and the writer.
    two_parks_against_hang_up { loom: Bound::preemptions(3), shuttle: [Pct, Urw] }
    /// A hang-up and a close at once release a parked reader and a parked writer once each.
    hang_up_against_close { loom: Bound::preemptions(3), shuttle: [Pct, Urw] }
}

fn park_against_ready<P: Checked>() {
    let descriptor = Descriptor::<P>::open();
    let poller = {
        let descriptor = descriptor.clone();
        P::thread(move || descriptor.edge())
    };
    assert_eq!(descriptor.wait(Mode::Read), Ok(()));
    join([poller]);
}

fn park_against_close<P: Checked>() {
    let descriptor = Descriptor::<P>::open();
    let closer = {
        let descriptor = descriptor.clone();
        P::thread(move || descriptor.evict())
    };
    assert_eq!(descriptor.wait(Mode::Read), Err(PollError::Closing));
    join([closer]);
}

fn park_against_ready_and_deadline<P: Checked>() {
    let descriptor = Descriptor::<P>::open();
    let armed = descriptor.set_deadline(Deadlines::Read, 1000);
    let generation = armed[0].generation;
    let poller = {
        let descriptor = descriptor.clone();
        P::thread(move || descriptor.edge())
    };
    let timer = {
        let descriptor = descriptor.clone();
        P::thread(move || descriptor.expire(Deadlines::Read, generation))
    };
    let outcome = descriptor.wait(Mode::Read);
    assert!(matches!(outcome, Ok(()) | Err(PollError::Timeout)), "{outcome:?}");
    join([poller, timer]);
    descriptor.assert_edge_kept_unless_used(outcome.is_ok());
    // Whatever came first: afterwards the deadline has expired, and says so.
    assert_eq!(descriptor.pd.check(Mode::Read), Err(PollError::Timeout));
}

fn ready_against_deadline_and_close<P: Checked>() {
    let descriptor = Descriptor::<P>::open();
    let armed = descriptor.set_deadline(Deadlines::Read, 1000);
    let generation = armed[0].generation;
    descriptor.park(Mode::Read);
    let timer = {
        let descriptor = descriptor.clone();
        P::thread(move || descriptor.expire(Deadlines::Read, generation))
    };
    let closer = {
        let descriptor = descriptor.clone();
        P::thread(move || descriptor.evict())
    };
    descriptor.edge();
    let outcome = descriptor.wake_up(Mode::Read);
    let possible = [Ok(()), Err(PollError::Timeout), Err(PollError::Closing)];
    assert!(possible.contains(&outcome), "{outcome:?}");
    join([timer, closer]);
    descriptor.assert_edge_kept_unless_used(outcome.is_ok());
    assert_eq!(descriptor.pd.check(Mode::Read), Err(PollError::Closing));
    descriptor.pd.end(&descriptor.kernel);
}

fn two_parks_against_hang_up<P: Checked>() {
    let descriptor = Descriptor::<P>::open();
    let writer = {
        let descriptor = descriptor.clone();
        P::thread(move || assert_eq!(descriptor.wait(Mode::Write), Ok(())))
    };
    let poller = {
        let descriptor = descriptor.clone();
        P::thread(move || descriptor.event(HANG_UP))
    };
    assert_eq!(descriptor.wait(Mode::Read), Ok(()));
    join([writer, poller]);
}

fn hang_up_against_close<P: Checked>() {
    let descriptor = Descriptor::<P>::open();
    descriptor.park(Mode::Read);
    descriptor.park(Mode::Write);
    let poller = {
        let descriptor = descriptor.clone();
        P::thread(move || descriptor.event(HANG_UP))
    };
    let closer = {
        let descriptor = descriptor.clone();
        P::thread(move || descriptor.evict())
    };
    for mode in [Mode::Read, Mode::Write] {
        let outcome = descriptor.wake_up(mode);
        assert!(matches!(outcome, Ok(()) | Err(PollError::Closing)), "{outcome:?}");
    }
    join([poller, closer]);
    descriptor.pd.end(&descriptor.kernel);
}
