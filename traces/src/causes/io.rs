//! From an edge to the goroutine that waited for it: edge, harvest, dispatch, slot.

use std::collections::BTreeMap;

use netpoll::platform::RawFd;
use netpoll::poll::lives::{BREAK, decode};
use netpoll::trace::{Event, Mode, SlotState, WaitReason};

use super::Why;
use super::scan::Found;
use crate::{Record, WorldEvent};

/// A file that an epoll instance watches.
#[derive(Clone, Debug, Default)]
struct Watched {
    /// What is wanted, in the bits of `epoll`; nothing when the registration was not seen.
    wanted: u32,
    /// What has queued its event since it was harvested last.
    queued: Vec<usize>,
    /// The last harvest that reported something: without edge-triggering it stays queued.
    reported: Option<usize>,
}

impl Watched {
    fn is_woken_by(&self, wakeup: u32) -> bool {
        wakeup == 0 || self.wanted == 0 || wakeup & self.wanted != 0
    }

    /// Whether it is known to be reported for as long as it is ready.
    fn is_level_triggered(&self) -> bool {
        self.wanted != 0 && self.wanted & libc::EPOLLET as u32 == 0
    }
}

/// One of the two slots of a descriptor.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    /// The goroutine that waits there, or is about to.
    waiter: Option<u64>,
    /// What set it to `Ready`.
    ready: Option<usize>,
}

/// Why a thread is about to change slots.
#[derive(Clone, Copy, Debug)]
struct Reason {
    at: usize,
    pd: u32,
    /// Which slot; both if none.
    mode: Option<Mode>,
    is_dispatch: bool,
}

/// What is known of a thread.
#[derive(Clone, Debug, Default)]
struct Thread {
    /// Harvests of its last poll that it has not looked at yet, with what they carry.
    batch: Vec<(usize, u64)>,
    reasons: Vec<Reason>,
    /// The goroutine that parked on it last.
    parked: Option<u64>,
}

/// What an event of the runtime means to the others.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// A goroutine, and what has released it from its slot by now, if anything has.
    pub(super) released: Option<(u64, Option<usize>)>,
    /// Whether a harvest explains that the break was drained.
    pub(super) by_harvest: bool,
}

/// The state of the matching.
#[derive(Debug)]
pub(super) struct Io {
    files: BTreeMap<u32, Watched>,
    /// Harvests of the poll that is going on, with what they carry.
    harvests: Vec<(usize, u64)>,
    slots: BTreeMap<(u32, Mode), Slot>,
    threads: Vec<Thread>,
    /// The last record of the kernel, if bytes arrived then.
    arrived: Option<(usize, RawFd)>,
}

impl Io {
    pub(super) fn new(threads: usize) -> Io {
        Io {
            files: BTreeMap::new(),
            harvests: Vec::new(),
            slots: BTreeMap::new(),
            threads: vec![Thread::default(); threads],
            arrived: None,
        }
    }

    /// Takes what the kernel did. True when it queued an event.
    pub(super) fn kernel(&mut self, found: &mut Found, at: usize, event: WorldEvent) -> bool {
        let arrived = self.arrived.take();
        match event {
            WorldEvent::Arrive { fd, .. } => {
                self.arrived = Some((at, fd));
                false
            }
            WorldEvent::Watch { file, events, queued, .. } => {
                let watched = self.files.entry(file).or_default();
                watched.wanted = events;
                if queued {
                    watched.queued.push(at);
                }
                queued
            }
            WorldEvent::Edge { fd, file, wakeup, .. } => {
                let arrived = arrived.filter(|(_, of)| *of == fd);
                found.add(arrived.map(|(at, _)| at), at, Why::Arrive);
                let watched = self.files.entry(file).or_default();
                let queues = watched.is_woken_by(wakeup);
                if queues {
                    watched.queued.push(at);
                }
                queues
            }
            WorldEvent::Spurious { file, .. } => {
                self.files.entry(file).or_default().queued.push(at);
                true
            }
            WorldEvent::Harvest { file, events, data, .. } => {
                self.harvest(found, at, file, events, data);
                false
            }
            _ => false,
        }
    }

    fn harvest(&mut self, found: &mut Found, at: usize, file: u32, events: u32, data: u64) {
        let watched = self.files.entry(file).or_default();
        if watched.queued.is_empty() && watched.is_level_triggered() {
            found.add(watched.reported, at, Why::Queue);
        }
        for from in watched.queued.drain(..) {
            found.add(Some(from), at, Why::Queue);
        }
        watched.reported = (events != 0).then_some(at);
        if events != 0 {
            self.harvests.push((at, data));
        }
    }

    /// Takes what the runtime did on a thread.
    pub(super) fn runtime(
        &mut self,
        found: &mut Found,
        at: usize,
        record: &Record,
        event: Event,
    ) -> Outcome {
        let thread = &mut self.threads[usize::from(record.thread.0)];
        let mut outcome = Outcome::default();
        match event {
            Event::Syscall { name: "epoll_wait", .. } => {
                thread.batch = std::mem::take(&mut self.harvests);
            }
            Event::Dispatch { pd, life } => {
                let harvest = thread.next(|data| decode(data) == Some((pd, life)));
                found.add(harvest, at, Why::Dispatch);
                thread.reasons.clear();
                thread.reasons.push(Reason { at, pd, mode: None, is_dispatch: true });
            }
            Event::Stale { pd, life } => {
                let harvest = thread.next(|data| decode(data) == Some((pd, life)));
                found.add(harvest, at, Why::Dispatch);
            }
            Event::Drained => {
                let harvest = thread.next(|data| data == BREAK);
                found.add(harvest, at, Why::Dispatch);
                outcome.by_harvest = harvest.is_some();
            }
            Event::Expired { pd, mode, .. } | Event::Deadline { pd, mode, .. } => {
                thread.reasons.retain(|reason| reason.pd == pd && reason.mode != Some(mode));
                thread.reasons.push(Reason { at, pd, mode: Some(mode), is_dispatch: false });
            }
            Event::Evict { pd, .. } => {
                thread.reasons.clear();
                thread.reasons.push(Reason { at, pd, mode: None, is_dispatch: false });
            }
            Event::Slot { pd, mode, from, to, .. } => {
                outcome.released = self.slot(found, at, record, (pd, mode), (from, to));
            }
            Event::Park { g, on } => {
                thread.parked = Some(g);
                thread.reasons.clear();
                if !matches!(on, WaitReason::Io(..)) {
                    // Whatever released it from a slot was seen by itself, and is over.
                    outcome.released = Some((g, None));
                }
            }
            Event::Run { .. }
            | Event::Yield { .. }
            | Event::Done { .. }
            | Event::Use { .. }
            | Event::Leave { .. }
            | Event::Worker { .. } => thread.reasons.clear(),
            _ => {}
        }
        outcome
    }

    /// Takes the change of a slot. Says who was released by it, or waits anew.
    fn slot(
        &mut self,
        found: &mut Found,
        at: usize,
        record: &Record,
        key: (u32, Mode),
        change: (SlotState, SlotState),
    ) -> Option<(u64, Option<usize>)> {
        use SlotState::{Nil, Parked, Ready, Wait};
        let thread = &self.threads[usize::from(record.thread.0)];
        let reason = thread.reason(key, change.1 == Ready);
        let slot = self.slots.entry(key).or_default();
        match change {
            (_, Ready) => {
                found.add(reason, at, Why::Change);
                slot.ready = Some(at);
                slot.waiter.take().map(|g| (g, Some(at)))
            }
            (Ready, _) => {
                found.add(slot.ready.take(), at, Why::Take);
                None
            }
            (_, Wait) => {
                slot.waiter = record.g;
                record.g.map(|g| (g, None))
            }
            (Wait, Parked(_)) => {
                slot.waiter = slot.waiter.or(thread.parked);
                None
            }
            (Wait | Parked(_), Nil) => {
                let waiter = slot.waiter.take();
                found.add(reason, at, Why::Change);
                // Without a reason it is the waiter's own step back.
                reason.and(waiter).map(|g| (g, Some(at)))
            }
            _ => None,
        }
    }
}

impl Thread {
    /// Takes the first harvest out of the batch that carries what is looked for.
    fn next(&mut self, fits: impl Fn(u64) -> bool) -> Option<usize> {
        let place = self.batch.iter().position(|(_, data)| fits(*data))?;
        Some(self.batch.remove(place).0)
    }

    /// Why this thread changes a slot: an edge sets it to `Ready`, everything else to `Nil`.
    fn reason(&self, (pd, mode): (u32, Mode), to_ready: bool) -> Option<usize> {
        let fits = |reason: &&Reason| {
            let of_it = reason.pd == pd && reason.mode.is_none_or(|of| of == mode);
            of_it && reason.is_dispatch == to_ready
        };
        self.reasons.iter().rev().find(fits).map(|reason| reason.at)
    }
}
