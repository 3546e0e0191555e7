//! In which order the calls of a trace are made again.
//!
//! A record says when its call returned. When the call took effect is not known, only that this was
//! after the same thread's record before it. Threads run at once, so the order of returns need not be the order
//! of effects, and two kinds of calls are taken to have had theirs as early as they can:
//!
//! * those whose effect another thread can see before they return: a registration, of which an event may be
//!   harvested meanwhile, a break, a connect;
//! * those that found nothing to do (`EAGAIN`): what would have been enough may have come while they returned.
//!
//! All others had theirs as late as they can, when they returned. `close` is recorded before it is made, so that
//! its number is not in another record before.

use netpoll::platform::{Errno, RawFd};
use netpoll::trace::Event;
use netpoll_traces::{Entry, ThreadId, Trace};

/// Something to be made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// A system call.
    Syscall { name: &'static str, fd: RawFd, arg: i64, result: Result<i64, Errno> },
    /// An event that a call of `epoll_wait` has brought.
    Polled { data: u64, events: u32 },
    /// A descriptor gets the data that its events carry.
    Open { fd: RawFd, data: u64 },
}

/// A call, and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Call {
    /// The index of its record.
    pub(super) at: usize,
    /// What.
    pub(super) what: What,
    /// The index of the same thread's record before it: it did not begin before that.
    pub(super) since: usize,
}

/// The calls, in the order in which they are made.
pub(super) fn order(trace: &Trace) -> Vec<Call> {
    let mut last: Vec<usize> = vec![0; trace.threads.len()];
    // The last record before a wait of a thread, for the events that it brings.
    let mut wait: Vec<usize> = last.clone();
    let mut calls: Vec<(usize, Call)> = Vec::new();
    for (at, record) in trace.records.iter().enumerate() {
        let Entry::Runtime(event) = record.event else { continue };
        let ThreadId(thread) = record.thread;
        let Some(before) = last.get_mut(usize::from(thread)) else { continue };
        let since = std::mem::replace(before, at);
        let wait = &mut wait[usize::from(thread)];
        let (what, place, since) = match event {
            Event::Syscall { name, fd, arg, result } => {
                if name == "epoll_wait" {
                    *wait = since;
                }
                let what = What::Syscall { name, fd, arg, result };
                let place = if is_early(name, arg, result) { since } else { at };
                (what, place, since)
            }
            Event::Polled { data, events } => (What::Polled { data, events }, at, *wait),
            Event::Open { fd, pd, life } => {
                let data = netpoll::poll::lives::encode(pd, life);
                (What::Open { fd, data }, at, since)
            }
            _ => continue,
        };
        calls.push((place, Call { at, what, since }));
    }
    // Stable: of those that may have been at the same time, the order of returns decides.
    calls.sort_by_key(|&(place, call)| (place, call.at));
    calls.into_iter().map(|(_, call)| call).collect()
}

fn is_early(name: &str, arg: i64, result: Result<i64, Errno>) -> bool {
    /// The length of what a break writes.
    const BREAK_LEN: i64 = 8;
    match name {
        "epoll_add" | "connect" | "listen" => true,
        "write" if arg == BREAK_LEN => true,
        _ => result == Err(Errno::EAGAIN),
    }
}
