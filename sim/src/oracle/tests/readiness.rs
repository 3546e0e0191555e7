//! Oracle 1 on poll loops, cancellers and kernels that are wrong.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use netpoll::platform::{EpollEvent, Errno, Kernel, RawFd};

use super::twisted::{Twist, Write, first_violation};
use super::{assert_seen_by, scenario};
use crate::explore::Property;
use crate::{Faults, Granularity, SimKernel};

/// Slot words: see `poll/slot.rs`.
const NIL: u64 = 0;
const READY: u64 = 1;
const WAIT: u64 = 2;

/// The popular accounts of Go's poller have it: a close or a deadline sets the slot to Ready.
struct CancellerWritesReady;

impl Twist for CancellerWritesReady {
    fn write(&self, write: Write) -> u64 {
        let is_cancel = write.is_exchange && write.before >= WAIT && write.after == NIL;
        if write.file == "poll/slot.rs" && is_cancel { READY } else { write.after }
    }
}

#[test]
fn a_canceller_that_writes_ready_is_seen() {
    let faults = Faults::light();
    for (name, granularity) in
        [("close_vs_read", Granularity::Syscall), ("deadline_vs_ready", Granularity::Atomic)]
    {
        let found =
            first_violation(scenario(name), granularity, faults, 200, &CancellerWritesReady);
        assert_seen_by(found, Property::Readiness, &["S4", "finds the read slot", "Ready"]);
    }
}

/// One event in twenty is lost on its way out of the kernel.
#[derive(Default)]
struct EventsGetLost(AtomicU32);

impl Twist for EventsGetLost {
    fn epoll_wait(
        &self,
        kernel: &SimKernel,
        epfd: RawFd,
        events: &mut [EpollEvent],
        timeout_ms: i32,
    ) -> Result<usize, Errno> {
        let count = kernel.epoll_wait(epfd, events, timeout_ms)?;
        let is_lost = count > 0 && self.0.fetch_add(1, Relaxed) % 20 == 19;
        Ok(if is_lost { count - 1 } else { count })
    }
}

#[test]
fn an_event_that_is_harvested_and_dropped_is_seen_when_it_is_dropped() {
    static TWIST: EventsGetLost = EventsGetLost(AtomicU32::new(0));
    let found = first_violation(scenario("echo"), Granularity::Syscall, Faults::none(), 50, &TWIST);
    assert_seen_by(found, Property::Readiness, &["L1", "harvested fd", "and drops it"]);
}

/// An edge is thrown away when the slot is free: "nobody waits, so nobody needs it".
struct EdgesNeedAWaiter;

impl Twist for EdgesNeedAWaiter {
    fn write(&self, write: Write) -> u64 {
        let is_edge = write.is_exchange && write.before == NIL && write.after == READY;
        if write.file == "poll/slot.rs" && is_edge { NIL } else { write.after }
    }
}

#[test]
fn an_edge_that_does_not_stay_in_its_slot_is_seen() {
    let found = first_violation(
        scenario("echo"),
        Granularity::Syscall,
        Faults::none(),
        50,
        &EdgesNeedAWaiter,
    );
    assert_seen_by(found, Property::Readiness, &["S5", "which was Ready"]);
}
