//! The production runtime on kernels and threads that are wrong in one way.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use netpoll::platform::{EpollEvent, Errno, Kernel, RawFd};

use super::twisted::{Twist, first_violation};
use super::{assert_seen_by, scenario};
use crate::explore::Property;
use crate::{Faults, Granularity, SimKernel};

/// Demands that a twist is seen, by one oracle, in one of 100 runs of a scenario.
#[track_caller]
fn check(twist: &'static dyn Twist, name: &str, property: Property, parts: &[&str]) {
    let (granularity, faults) = (Granularity::Syscall, Faults::none());
    let found = first_violation(scenario(name), granularity, faults, 100, twist);
    assert_seen_by(found, property, parts);
}

/// A deregistration that does nothing.
struct StaysRegistered;

impl Twist for StaysRegistered {
    fn epoll_del(&self, _: &SimKernel, _: RawFd, _: RawFd) -> Result<(), Errno> {
        Ok(())
    }
}

#[test]
fn oracle_2_sees_a_number_that_is_closed_while_it_is_registered() {
    let parts = ["S15", "closes fd", "before it is deregistered"];
    check(&StaysRegistered, "echo", Property::Provenance, &parts);
}

/// Every close is made twice, as by a retry after `EINTR`.
struct ClosesTwice;

impl Twist for ClosesTwice {
    fn close(&self, kernel: &SimKernel, fd: RawFd) -> Result<(), Errno> {
        let result = kernel.close(fd);
        let _second = kernel.close(fd);
        result
    }
}

#[test]
fn oracle_2_sees_a_number_that_is_closed_twice() {
    let parts = ["S16", "calls close on fd", "which is no file"];
    check(&ClosesTwice, "fd_reuse", Property::Provenance, &parts);
}

/// A kernel that sleeps for 5 ms longer than it was asked to.
struct Oversleeps;

impl Twist for Oversleeps {
    fn epoll_wait(
        &self,
        kernel: &SimKernel,
        epfd: RawFd,
        events: &mut [EpollEvent],
        timeout_ms: i32,
    ) -> Result<usize, Errno> {
        let longer_ms = if timeout_ms > 0 { timeout_ms + 5 } else { timeout_ms };
        kernel.epoll_wait(epfd, events, longer_ms)
    }
}

#[test]
fn oracle_3_sees_a_poll_that_outlasts_its_timer() {
    let parts = ["S29", "polls until t=", "and has to be back at t="];
    check(&Oversleeps, "deadline_moves", Property::Deadline, &parts);
}

/// A kernel that mixes up two bytes.
struct Garbles;

impl Twist for Garbles {
    fn read(&self, kernel: &SimKernel, fd: RawFd, buf: &mut [u8]) -> Result<usize, Errno> {
        kernel.garble(fd);
        kernel.read(fd, buf)
    }
}

#[test]
fn oracle_4_sees_two_bytes_that_are_mixed_up() {
    let parts = ["S33", "was written as", "and read as"];
    check(&Garbles, "duplex", Property::Bytes, &parts);
}

/// A kernel that never waits.
struct NeverWaits;

impl Twist for NeverWaits {
    fn epoll_wait(
        &self,
        kernel: &SimKernel,
        epfd: RawFd,
        events: &mut [EpollEvent],
        _: i32,
    ) -> Result<usize, Errno> {
        kernel.epoll_wait(epfd, events, 0)
    }
}

#[test]
fn oracle_7_sees_a_poller_that_runs_in_circles() {
    let parts = ["L18", "has polled 65 times and done nothing else"];
    check(&NeverWaits, "slow_reader", Property::Idleness, &parts);
}

/// Parkers that hear nothing.
struct Deaf;

impl Twist for Deaf {
    fn unpark(&self) -> bool {
        false
    }
}

#[test]
fn oracle_8_sees_a_worker_that_is_not_woken() {
    let parts = ["L10", "was told to get up and was not woken"];
    check(&Deaf, "echo", Property::Conservation, &parts);
}

/// A sysmon of which every fifth pause is 20 ms longer.
struct SleepsLong(AtomicU32);

impl Twist for SleepsLong {
    fn park_timeout(&self, timeout_ns: u64) -> u64 {
        let is_long = self.0.fetch_add(1, Relaxed) % 5 == 4;
        if is_long { timeout_ns + 20_000_000 } else { timeout_ns }
    }
}

#[test]
fn oracle_9_sees_a_sysmon_that_sleeps_for_too_long() {
    static TWIST: SleepsLong = SleepsLong(AtomicU32::new(0));
    let parts = ["L6", "sysmon sleeps until t=", "although a worker is awake"];
    check(&TWIST, "cpu_beside_io", Property::Starvation, &parts);
}
