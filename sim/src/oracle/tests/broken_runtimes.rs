//! The production runtime with one of its words stored wrongly.

use super::twisted::{Twist, Write, first_violation};
use super::{assert_seen_by, scenario};
use crate::explore::Property;
use crate::{Faults, Granularity};

/// Demands that a twist is seen, by one oracle, in one of 100 runs of a scenario.
#[track_caller]
fn check(twist: &'static dyn Twist, name: &str, property: Property, parts: &[&str]) {
    for granularity in [Granularity::Syscall, Granularity::Atomic] {
        let found = first_violation(scenario(name), granularity, Faults::none(), 100, twist);
        assert_seen_by(found, property, parts);
    }
}

/// Timers that say that there are none.
struct NoTimers;

impl Twist for NoTimers {
    fn write(&self, write: Write) -> u64 {
        if write.file == "sched/timers.rs" { u64::MAX } else { write.after }
    }
}

#[test]
fn oracle_3_sees_a_timer_that_nobody_gets_up_for() {
    check(&NoTimers, "timeouts", Property::Deadline, &["timer w"]);
}

/// A waiter counts twice.
struct CountsTwice;

impl Twist for CountsTwice {
    fn add(&self, file: &'static str, value: u64) -> u64 {
        if file == "poll/netpoll.rs" { 2 * value } else { value }
    }
}

#[test]
fn oracle_10_sees_a_waiter_that_is_counted_twice() {
    check(&CountsTwice, "echo", Property::WaiterCount, &["S17", "changes the count by"]);
}

/// The flag of a break is never cleared.
struct FlagStays;

impl Twist for FlagStays {
    fn write(&self, write: Write) -> u64 {
        if write.file == "backend/epoll.rs" { 1 } else { write.after }
    }
}

#[test]
fn oracle_12_sees_a_break_that_is_suppressed_for_ever() {
    let parts = ["S22", "sends no break because one is in flight, but none is"];
    check(&FlagStays, "break_storm", Property::Invariant, &parts);
}

/// A worker that parks another goroutine than the one that waits.
struct ParksAnother;

impl Twist for ParksAnother {
    fn write(&self, write: Write) -> u64 {
        let parks = write.is_exchange && write.before == 2 && write.after > 2;
        if write.file == "poll/slot.rs" && parks { write.after + 1 } else { write.after }
    }
}

#[test]
fn oracle_12_sees_a_slot_with_a_stranger_in_it() {
    check(&ParksAnother, "echo", Property::Invariant, &["S12", "slot of fd", "it was Parked(#"]);
}
