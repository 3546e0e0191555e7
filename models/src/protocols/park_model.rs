//! A consumer that parks in its slot, against whoever may release it.
//!
//! The interleavings hunted:
//!
//! * park against close: the consumer checks the summary, finds nothing; the closer publishes
//!   `closing`, looks at the slot, sees `Nil`, leaves; the consumer writes `Wait` and parks for ever
//!   (B18 of the bug museum). The re-check after `Wait` and the fences F1 and F2 prevent it.
//! * park against an edge: T5 between T2 and T3 must make T3 fail.
//! * a deadline and an edge at once: exactly one of them takes the goroutine out (S3).

use netpoll::ops::Deadlines;
use netpoll::poll::PollError;
use netpoll::trace::Mode;

use super::descriptor::Descriptor;
use crate::check::{Bound, models};
use crate::platform::{Checked, join};

models! {
    /// An edge never leaves the reader parked.
    park_against_ready { loom: Bound::UNBOUNDED, shuttle: [Pct, Dfs] }
    /// A close never leaves the reader parked.
    park_against_close { loom: Bound::UNBOUNDED, shuttle: [Pct, Dfs] }
    /// An edge and a deadline at once release the reader once.
    park_against_ready_and_deadline { loom: Bound::preemptions(3), shuttle: [Pct, Urw] }
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
    // Whatever came first: afterwards the deadline has expired, and says so.
    assert_eq!(descriptor.pd.check(Mode::Read), Err(PollError::Timeout));
}
