//! What is known at a record from those before it: who sleeps, who is parked where, what numbers mean.

use std::collections::BTreeMap;

use netpoll::platform::RawFd;
use netpoll::trace::{Event, Mode, SlotState, TimerUse, WaitReason, WorkerPhase};

use crate::{Entry, Record, ThreadId, Trace, WorldEvent};

/// Whether a thread goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// It has not begun, or has ended.
    Absent,
    /// It can go on.
    Going,
    /// It sleeps, or is about to.
    Asleep,
}

/// What a goroutine does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    Runnable,
    Running(ThreadId),
    Parked(WaitReason),
}

/// See the module documentation.
#[derive(Debug)]
pub(super) struct Scene {
    lives: Vec<Life>,
    /// The goroutine that each thread parked last.
    parked: Vec<Option<u64>>,
    goroutines: BTreeMap<u64, Doing>,
    /// Goroutines by their places in the runtime's table.
    places: BTreeMap<u32, u64>,
    /// Descriptors by their places in the poller's table.
    fds: BTreeMap<u32, RawFd>,
    slots: BTreeMap<(RawFd, Mode), SlotState>,
    timers: BTreeMap<(u32, u64), TimerUse>,
}

impl Scene {
    /// The scene before the first record.
    pub(super) fn new(trace: &Trace) -> Scene {
        // Of a shortened trace nobody knows who was there already.
        let unseen = if trace.dropped == 0 { Life::Absent } else { Life::Going };
        let mut lives = vec![unseen; trace.threads.len()];
        if let Some(main) = lives.first_mut() {
            *main = Life::Going;
        }
        Scene {
            parked: vec![None; lives.len()],
            lives,
            goroutines: BTreeMap::new(),
            places: BTreeMap::new(),
            fds: BTreeMap::new(),
            slots: BTreeMap::new(),
            timers: BTreeMap::new(),
        }
    }

    /// A record happens.
    pub(super) fn apply(&mut self, record: &Record) {
        let thread = usize::from(record.thread.0);
        if let Some(life) = self.lives.get_mut(thread) {
            *life = life_after(&record.event);
        }
        match record.event {
            Entry::World(WorldEvent::Spawn { thread }) => {
                if let Some(life) = self.lives.get_mut(usize::from(thread.0)) {
                    *life = Life::Going;
                }
            }
            Entry::World(_) => {}
            Entry::Runtime(event) => self.apply_event(record, event),
        }
    }

    fn apply_event(&mut self, record: &Record, event: Event) {
        match event {
            Event::Go { g } | Event::Ready { g } | Event::Yield { g } => {
                self.goroutines.insert(g, Doing::Runnable);
            }
            Event::Run { g } | Event::Abandon { g } => {
                self.goroutines.insert(g, Doing::Running(record.thread));
            }
            Event::Park { g, on } => {
                self.goroutines.insert(g, Doing::Parked(on));
                if let Some(parked) = self.parked.get_mut(usize::from(record.thread.0)) {
                    *parked = Some(g);
                }
            }
            Event::Done { g } => {
                self.goroutines.remove(&g);
            }
            Event::Open { fd, pd, .. } => {
                self.fds.insert(pd, fd);
                for mode in [Mode::Read, Mode::Write] {
                    self.slots.insert((fd, mode), SlotState::Nil);
                }
            }
            Event::End { fd, .. } => {
                for mode in [Mode::Read, Mode::Write] {
                    self.slots.remove(&(fd, mode));
                }
            }
            Event::Slot { fd, mode, to, .. } => {
                self.slots.insert((fd, mode), to);
                // A worker parks in the slot what it has just switched away from.
                if let SlotState::Parked(place) = to {
                    self.learn(place, self.parked.get(usize::from(record.thread.0)).copied());
                }
            }
            Event::Arm { worker, timer, what, .. } => {
                self.timers.insert((worker, timer), what);
                if let TimerUse::Park { g } = what {
                    self.learn(g, Some(record.g));
                }
            }
            _ => {}
        }
    }

    fn learn(&mut self, place: u32, g: Option<Option<u64>>) {
        if let Some(Some(g)) = g {
            self.places.insert(place, g);
        }
    }

    /// Whether a thread goes on.
    pub(super) fn life(&self, thread: ThreadId) -> Life {
        self.lives.get(usize::from(thread.0)).copied().unwrap_or(Life::Absent)
    }

    /// The goroutine in a place of the runtime's table.
    pub(super) fn goroutine(&self, place: u32) -> Option<u64> {
        self.places.get(&place).copied()
    }

    /// The descriptor in a place of the poller's table.
    pub(super) fn fd(&self, pd: u32) -> Option<RawFd> {
        self.fds.get(&pd).copied()
    }

    /// What a timer is for.
    pub(super) fn timer(&self, worker: u32, timer: u64) -> Option<TimerUse> {
        self.timers.get(&(worker, timer)).copied()
    }

    /// All goroutines that have not ended, in the order of their numbers.
    pub(super) fn goroutines(&self) -> impl Iterator<Item = (u64, Doing)> {
        self.goroutines.iter().map(|(&g, &doing)| (g, doing))
    }

    /// The state of a slot, if its descriptor is known and open.
    pub(super) fn slot(&self, fd: RawFd, mode: Mode) -> Option<SlotState> {
        self.slots.get(&(fd, mode)).copied()
    }
}

fn life_after(event: &Entry) -> Life {
    match event {
        Entry::World(WorldEvent::Exit) => Life::Absent,
        Entry::World(WorldEvent::Block { .. }) => Life::Asleep,
        // Where nobody records how threads block, this says it.
        Entry::Runtime(Event::Worker {
            phase: WorkerPhase::Parked | WorkerPhase::Polling { .. } | WorkerPhase::Stopped,
        }) => Life::Asleep,
        _ => Life::Going,
    }
}
