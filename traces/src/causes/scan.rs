//! One pass over a trace that matches each record with its reasons.

use std::collections::BTreeMap;

use netpoll::trace::{Event, TimerUse};

use super::io::Io;
use super::wakeups::Wakeups;
use super::{Arrow, Why};
use crate::{Entry, Record, ThreadId, Trace, WorldEvent};

/// The arrows of `trace`, by their ends.
pub(super) fn arrows(trace: &Trace) -> Vec<Arrow> {
    let mut scan = Scan::new(trace);
    for (at, record) in trace.records.iter().enumerate() {
        scan.take(at, record);
    }
    scan.found.arrows
}

/// Arrows that have been found.
#[derive(Debug, Default)]
pub(super) struct Found {
    arrows: Vec<Arrow>,
}

impl Found {
    /// Record `to` followed from record `from`, if that one is known.
    pub(super) fn add(&mut self, from: Option<usize>, to: usize, why: Why) {
        self.arrows.extend(from.map(|from| Arrow { from, to, why }));
    }
}

/// A timer that was armed.
#[derive(Clone, Copy, Debug)]
struct Armed {
    at: usize,
    what: TimerUse,
    /// Who armed it. A goroutine's park is ended by a timer of its own.
    by: Option<u64>,
}

/// A timer that fired, while its jobs run.
#[derive(Clone, Copy, Debug)]
struct Fired {
    at: usize,
    armed: Armed,
}

/// What is known of a goroutine.
#[derive(Clone, Copy, Debug, Default)]
struct Goroutine {
    /// What made it runnable, until it runs.
    runnable: Option<(usize, Why)>,
    /// The change of a slot that released it, until it is made runnable.
    released: Option<usize>,
}

/// The pass.
struct Scan {
    found: Found,
    io: Io,
    wakeups: Wakeups,
    gs: BTreeMap<u64, Goroutine>,
    timers: BTreeMap<(u32, u64), Armed>,
    /// By thread: timers that it has taken out and whose jobs it runs now.
    fired: Vec<Vec<Fired>>,
}

impl Scan {
    fn new(trace: &Trace) -> Scan {
        let threads = trace.thread_count();
        Scan {
            found: Found::default(),
            io: Io::new(threads),
            wakeups: Wakeups::new(trace, threads),
            gs: BTreeMap::new(),
            timers: BTreeMap::new(),
            fired: vec![Vec::new(); threads],
        }
    }

    fn take(&mut self, at: usize, record: &Record) {
        let is_kernel = record.thread == ThreadId::KERNEL;
        if !is_kernel {
            self.wakeups.lives(&mut self.found, at, record.thread);
        }
        match record.event {
            Entry::World(event) => {
                self.kernel(at, event);
                if !is_kernel {
                    self.wakeups.world(&mut self.found, at, record.thread, event);
                }
            }
            Entry::Runtime(event) if !is_kernel => self.runtime(at, record, event),
            Entry::Runtime(_) => {}
        }
    }

    /// What the kernel did, whoever reports it.
    fn kernel(&mut self, at: usize, event: WorldEvent) {
        if let WorldEvent::Watch { fd, data, .. } | WorldEvent::Harvest { fd, data, .. } = event {
            self.wakeups.watch(fd, data);
        }
        if self.io.kernel(&mut self.found, at, event) {
            if let Some(fd) = Entry::from(event).fd() {
                self.wakeups.queued(at, fd);
            }
            self.wakeups.edge(&mut self.found, at, event);
        }
    }

    fn runtime(&mut self, at: usize, record: &Record, event: Event) {
        let thread = usize::from(record.thread.0);
        match event {
            Event::Go { g } => self.g(g).runnable = Some((at, Why::Go)),
            Event::Yield { g } => self.g(g).runnable = Some((at, Why::Yield)),
            Event::Ready { g } => self.ready(at, thread, g),
            Event::Run { g } => {
                self.fired[thread].clear();
                if let Some((from, why)) = self.g(g).runnable.take() {
                    self.found.add(Some(from), at, why);
                }
            }
            Event::Abandon { g } => {
                let released = self.g(g).released.take();
                self.found.add(released, at, Why::Release);
            }
            Event::Arm { worker, timer, what, .. } => {
                self.timers.insert((worker, timer), Armed { at, what, by: record.g });
            }
            Event::Disarm { worker, timer } => {
                self.timers.remove(&(worker, timer));
            }
            Event::Fire { worker, timer } => {
                if let Some(armed) = self.timers.remove(&(worker, timer)) {
                    self.found.add(Some(armed.at), at, Why::Fire);
                    self.fired[thread].push(Fired { at, armed });
                }
            }
            Event::Expired { pd, .. } => {
                let of_it = |fired: &&Fired| matches!(fired.armed.what, TimerUse::Deadline { pd: of, .. } if of == pd);
                let fired = self.fired[thread].iter().rev().find(of_it);
                self.found.add(fired.map(|fired| fired.at), at, Why::Expire);
            }
            _ => {}
        }
        let outcome = self.io.runtime(&mut self.found, at, record, event);
        if let Some((g, released)) = outcome.released {
            self.g(g).released = released;
        }
        self.wakeups.runtime(&mut self.found, at, record.thread, event, outcome.by_harvest);
    }

    fn ready(&mut self, at: usize, thread: usize, g: u64) {
        let released = self.g(g).released.take();
        self.found.add(released, at, Why::Release);
        if released.is_none() {
            let of_it = |fired: &Fired| {
                matches!(fired.armed.what, TimerUse::Park { .. }) && fired.armed.by == Some(g)
            };
            let fired = self.fired[thread].iter().position(of_it);
            let fired = fired.map(|place| self.fired[thread].remove(place).at);
            self.found.add(fired, at, Why::Expire);
        }
        self.g(g).runnable = Some((at, Why::Ready));
    }

    fn g(&mut self, g: u64) -> &mut Goroutine {
        self.gs.entry(g).or_default()
    }
}
