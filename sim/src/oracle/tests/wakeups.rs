//! Oracle 5 on queues that keep what they gave away, and on streams in which a wake-up is missing or one too
//! many.

use netpoll::trace::{Event, Mode, SlotState, WaitReason};

use super::stream::{MAIN, Stream, W0, W1};
use super::twisted::{Twist, Write, first_violation};
use super::{assert_seen_by, scenario};
use crate::explore::Property;
use crate::{Faults, Granularity};

/// An inbox that is not empty after it was emptied: its goroutines run again.
struct InboxKeeps;

impl Twist for InboxKeeps {
    fn write(&self, write: Write) -> u64 {
        let is_taken = !write.is_exchange && write.file == "sched/inbox.rs" && write.after == 0;
        if is_taken { write.before } else { write.after }
    }
}

#[test]
fn a_goroutine_that_runs_without_having_been_woken_is_seen() {
    let faults = Faults::none();
    let found = first_violation(scenario("echo"), Granularity::Syscall, faults, 50, &InboxKeeps);
    assert_seen_by(found, Property::Wakeups, &["S3", "says `run g", "but g"]);
}

/// Goroutine 7 runs on worker 0 and waits for fd 5.
fn parked() -> Stream {
    let mut stream = Stream::new();
    let (pd, fd, mode) = (2, 5, Mode::Read);
    let slot = |from, to| Event::Slot { pd, fd, mode, from, to };
    stream
        .is_fine(MAIN, Event::Go { g: 7 })
        .is_fine(W0, Event::Run { g: 7 })
        .is_fine(W0, Event::Open { fd, pd, life: 1 })
        .is_fine(W0, Event::Use { fd, pd })
        .is_fine(W0, slot(SlotState::Nil, SlotState::Wait))
        .is_fine(W0, Event::Park { g: 7, on: WaitReason::Io(fd, mode) })
        .is_fine(W0, slot(SlotState::Wait, SlotState::Parked(0)))
        .is_fine(W1, Event::Evict { pd, fd })
        .is_fine(W1, slot(SlotState::Parked(0), SlotState::Nil));
    stream
}

#[test]
fn a_goroutine_that_is_made_runnable_twice_is_seen() {
    let mut stream = parked();
    stream.is_fine(W1, Event::Ready { g: 7 });
    let violation = stream.is_wrong(W1, Event::Ready { g: 7 });
    assert_eq!(violation.sentence, "S3 wakeups: w1 says `ready g7`, but g7 is runnable");
}

#[test]
fn a_goroutine_that_is_taken_out_of_its_slot_and_forgotten_is_seen() {
    let mut stream = parked();
    stream.is_fine(W1, Event::Break { sent: true });
    let violation = stream.is_wrong(W1, Event::Run { g: 7 });
    let expected = "S3 wakeups: w1 says `run g7`, but g7 is parked (read fd5)";
    assert_eq!(violation.sentence, expected);

    let mut stream = parked();
    stream.is_fine(MAIN, Event::Go { g: 8 });
    let violation = stream.is_wrong(W1, Event::Run { g: 8 });
    let expected = "S3 wakeups: w1 took g7 out of a slot of fd5 and never made it runnable";
    assert_eq!(violation.sentence, expected);
    assert_eq!(violation.subject, Some((7, 5)));
}

#[test]
fn a_park_that_was_over_before_it_began_needs_no_wake_up_but_only_then() {
    let mut stream = Stream::new();
    let park = Event::Park { g: 7, on: WaitReason::Join };
    stream
        .is_fine(MAIN, Event::Go { g: 7 })
        .is_fine(W0, Event::Run { g: 7 })
        .is_fine(W0, park)
        .is_fine(W0, Event::Abandon { g: 7 })
        .is_fine(W0, Event::Run { g: 7 });
    let violation = stream.is_wrong(W0, Event::Run { g: 7 });
    assert_eq!(violation.sentence, "S3 wakeups: w0 says `run g7`, but g7 runs on w0");
}
