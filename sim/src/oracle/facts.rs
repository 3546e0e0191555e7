//! What follows from the records so far: which goroutine is where, in which state a slot is, which file a
//! descriptor stands for. Kept once for all oracles.

use netpoll::platform::RawFd;
use netpoll::poll::lives::BREAK;
use netpoll::trace::{Event, Mode, SlotState, WaitReason, WorkerPhase};
use netpoll_traces::{BlockedOn, Entry, Record, ThreadId, WorldEvent};

use super::Look;

/// What a thread is there for, by its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Runs the goroutines of worker n.
    Worker(u32),
    /// The watchman.
    Sysmon,
    /// Runs blocking calls.
    Pool,
    /// Not of the runtime: the main thread, for one.
    #[default]
    Other,
}

impl Role {
    fn of(name: &str) -> Role {
        let name = name.strip_prefix("netpoll-").unwrap_or("");
        if name == "sysmon" {
            return Role::Sysmon;
        }
        if name.starts_with("pool") {
            return Role::Pool;
        }
        let worker = name.strip_prefix('w').and_then(|index| index.parse().ok());
        worker.map_or(Role::Other, Role::Worker)
    }
}

/// A thread.
#[derive(Clone, Debug, Default)]
pub struct Thread {
    /// As traces show it.
    pub name: String,
    /// What it is there for.
    pub role: Role,
    /// The phase that its worker said it entered last.
    pub phase: Option<WorkerPhase>,
    /// What it waits for and until when, from its block to the moment at which it runs again.
    pub blocked: Option<(BlockedOn, u64)>,
    /// The goroutine that has begun to park here, until that is decided.
    pub parking: Option<u64>,
    /// The file that a thread that is no goroutine uses.
    using: Option<Using>,
}

/// Where a goroutine is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// Not made yet.
    #[default]
    Unborn,
    /// Made; no worker has it.
    Unstarted,
    /// Somebody has to run it.
    Runnable,
    /// On this thread.
    Running(ThreadId),
    /// Waits.
    Parked(WaitReason),
    /// Over.
    Ended,
}

/// A goroutine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Goroutine {
    /// Where it is in its life.
    pub stage: Stage,
    /// The thread that ran it first, and has to for ever.
    pub home: Option<ThreadId>,
    using: Option<Using>,
}

/// A file that somebody has a reference to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Using {
    /// Its number.
    pub fd: RawFd,
    /// Its descriptor.
    pub pd: u32,
    /// The life of the descriptor, as a serial number of all lives.
    pub life: u64,
}

/// Who acts: a goroutine, or a thread that runs none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actor {
    /// A goroutine.
    Goroutine(u64),
    /// A thread.
    Thread(ThreadId),
}

impl Actor {
    /// Who caused a record.
    #[must_use]
    pub fn of(record: &Record) -> Actor {
        record.g.map_or(Actor::Thread(record.thread), Actor::Goroutine)
    }

    /// The goroutine.
    #[must_use]
    pub fn goroutine(self) -> Option<u64> {
        match self {
            Actor::Goroutine(g) => Some(g),
            Actor::Thread(_) => None,
        }
    }
}

/// A slot of a descriptor.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    /// Its state.
    pub state: SlotState,
    /// Who waits in it.
    pub consumer: Option<Actor>,
    /// The deadline: 0 none, positive absolute nanoseconds, negative passed.
    pub deadline_ns: i64,
}

impl Slot {
    /// As a descriptor has it that has had no life.
    const NEW: Slot = Slot { state: SlotState::Nil, consumer: None, deadline_ns: 0 };
}

/// A descriptor of the poller.
#[derive(Clone, Copy, Debug)]
pub struct Descriptor {
    /// The number of its file.
    pub fd: RawFd,
    /// The life that it is in, which its events carry; `None` between two lives.
    pub life: Option<u32>,
    /// The same, as a serial number of all lives.
    pub serial: u64,
    /// Whether that life is being torn down.
    pub is_closing: bool,
    slots: [Slot; 2],
}

impl Descriptor {
    const NEW: Descriptor =
        Descriptor { fd: -1, life: None, serial: 0, is_closing: false, slots: [Slot::NEW; 2] };

    /// One of its slots.
    #[must_use]
    pub fn slot(&self, mode: Mode) -> &Slot {
        &self.slots[mode as usize]
    }

    /// The reason for which nobody may wait in a slot.
    #[must_use]
    pub fn cancelled(&self, mode: Mode) -> Option<&'static str> {
        if self.is_closing {
            return Some("is closing");
        }
        (self.slot(mode).deadline_ns < 0).then_some("is past its deadline")
    }
}

/// Everything that is known.
#[derive(Debug, Default)]
pub struct Facts {
    threads: Vec<Thread>,
    /// By number.
    goroutines: Vec<Goroutine>,
    /// By place in the poller's table.
    descriptors: Vec<Descriptor>,
    lives: u64,
    /// The channel of breaks.
    pub break_fd: Option<RawFd>,
}

/// What is said of a thread, goroutine or descriptor that no record has introduced.
static NO_THREAD: Thread = Thread {
    name: String::new(),
    role: Role::Other,
    phase: None,
    blocked: None,
    parking: None,
    using: None,
};

static NO_DESCRIPTOR: Descriptor = Descriptor::NEW;

impl Facts {
    /// A thread.
    #[must_use]
    #[inline]
    pub fn thread(&self, thread: ThreadId) -> &Thread {
        self.threads.get(usize::from(thread.0)).unwrap_or(&NO_THREAD)
    }

    /// All threads.
    pub fn threads(&self) -> impl Iterator<Item = (ThreadId, &Thread)> {
        self.threads.iter().enumerate().map(|(id, thread)| (ThreadId(id as u16), thread))
    }

    /// A goroutine.
    #[must_use]
    #[inline]
    pub fn goroutine(&self, g: u64) -> Goroutine {
        self.goroutines.get(g as usize).copied().unwrap_or_default()
    }

    /// All goroutines that were made, by number.
    pub fn goroutines(&self) -> impl Iterator<Item = (u64, &Goroutine)> {
        let all = self.goroutines.iter().enumerate().map(|(g, it)| (g as u64, it));
        all.filter(|(_, it)| it.stage != Stage::Unborn)
    }

    /// A descriptor.
    #[must_use]
    #[inline]
    pub fn descriptor(&self, pd: u32) -> &Descriptor {
        self.descriptors.get(pd as usize).unwrap_or(&NO_DESCRIPTOR)
    }

    /// All descriptors that have had a life.
    pub fn descriptors(&self) -> impl Iterator<Item = (u32, &Descriptor)> {
        self.descriptors.iter().enumerate().map(|(pd, it)| (pd as u32, it))
    }

    /// The file that somebody uses.
    #[must_use]
    pub fn using(&self, actor: Actor) -> Option<Using> {
        match actor {
            Actor::Goroutine(g) => self.goroutine(g).using,
            Actor::Thread(thread) => self.thread(thread).using,
        }
    }

    /// Who that is, in the words of traces: `g4 on w1`, `sysmon`.
    #[must_use]
    pub fn name(&self, record: &Record) -> String {
        let thread = match record.thread {
            ThreadId::KERNEL => "the kernel",
            thread => &self.thread(thread).name,
        };
        match record.g {
            Some(g) => format!("g{g} on {thread}"),
            None => thread.to_string(),
        }
    }

    pub(super) fn add_thread(&mut self, name: &str) {
        let short = name.strip_prefix("netpoll-").unwrap_or(name).to_string();
        self.threads.push(Thread { name: short, role: Role::of(name), ..Thread::default() });
    }

    fn thread_mut(&mut self, thread: ThreadId) -> Option<&mut Thread> {
        self.threads.get_mut(usize::from(thread.0))
    }

    fn goroutine_mut(&mut self, g: u64) -> &mut Goroutine {
        let index = g as usize;
        if self.goroutines.len() <= index {
            self.goroutines.resize(index + 1, Goroutine::default());
        }
        &mut self.goroutines[index]
    }

    fn descriptor_mut(&mut self, pd: u32) -> &mut Descriptor {
        let index = pd as usize;
        if self.descriptors.len() <= index {
            self.descriptors.resize(index + 1, Descriptor::NEW);
        }
        &mut self.descriptors[index]
    }

    /// Takes a record in.
    #[inline]
    pub(super) fn apply(&mut self, record: &Record, _look: &dyn Look) {
        match record.event {
            Entry::Runtime(event) => self.apply_event(record, event),
            Entry::World(event) => self.apply_world(record.thread, event),
        }
    }

    fn apply_event(&mut self, record: &Record, event: Event) {
        match event {
            Event::Go { g } => self.goroutine_mut(g).stage = Stage::Unstarted,
            Event::Run { g } | Event::Abandon { g } => {
                let it = self.goroutine_mut(g);
                it.stage = Stage::Running(record.thread);
                it.home = Some(record.thread);
                self.end_parking(record.thread);
            }
            Event::Yield { g } | Event::Ready { g } => {
                self.goroutine_mut(g).stage = Stage::Runnable;
            }
            Event::Park { g, on } => {
                self.goroutine_mut(g).stage = Stage::Parked(on);
                if let Some(thread) = self.thread_mut(record.thread) {
                    thread.parking = Some(g);
                }
            }
            Event::Done { g } => self.goroutine_mut(g).stage = Stage::Ended,
            Event::Worker { phase } => {
                if let Some(thread) = self.thread_mut(record.thread) {
                    thread.phase = Some(phase);
                }
            }
            Event::Open { fd, pd, life } => {
                self.lives += 1;
                let serial = self.lives;
                let it = self.descriptor_mut(pd);
                let slots = it.slots.map(|slot| Slot { state: slot.state, ..Slot::NEW });
                *it = Descriptor { fd, life: Some(life), serial, is_closing: false, slots };
                self.uses(record, fd, pd);
            }
            Event::End { pd, .. } => self.descriptor_mut(pd).life = None,
            Event::Use { fd, pd } => self.uses(record, fd, pd),
            Event::Slot { pd, mode, from, to, .. } => self.apply_slot(record, pd, mode, from, to),
            Event::Deadline { pd, mode, at_ns, .. } => {
                self.descriptor_mut(pd).slots[mode as usize].deadline_ns = at_ns;
            }
            Event::Expired { pd, mode, .. } => {
                self.descriptor_mut(pd).slots[mode as usize].deadline_ns = -1;
            }
            Event::Evict { pd, .. } => self.descriptor_mut(pd).is_closing = true,
            _ => {}
        }
    }

    fn apply_slot(&mut self, record: &Record, pd: u32, mode: Mode, _: SlotState, to: SlotState) {
        let consumer = match to {
            SlotState::Wait => Some(Actor::of(record)),
            SlotState::Parked(_) => self.descriptor(pd).slot(mode).consumer,
            SlotState::Nil | SlotState::Ready => None,
        };
        let slot = &mut self.descriptor_mut(pd).slots[mode as usize];
        slot.state = to;
        slot.consumer = consumer;
        if let SlotState::Parked(_) = to {
            self.end_parking(record.thread);
        }
    }

    fn end_parking(&mut self, thread: ThreadId) {
        if let Some(thread) = self.thread_mut(thread) {
            thread.parking = None;
        }
    }

    fn uses(&mut self, record: &Record, fd: RawFd, pd: u32) {
        let using = Some(Using { fd, pd, life: self.descriptor(pd).serial });
        match Actor::of(record) {
            Actor::Goroutine(g) => self.goroutine_mut(g).using = using,
            Actor::Thread(thread) => {
                if let Some(thread) = self.thread_mut(thread) {
                    thread.using = using;
                }
            }
        }
    }

    fn apply_world(&mut self, thread: ThreadId, event: WorldEvent) {
        match event {
            WorldEvent::Block { on, until_ns } => {
                if let Some(thread) = self.thread_mut(thread) {
                    thread.blocked = Some((on, until_ns));
                }
            }
            WorldEvent::Resume { .. } => {
                if let Some(thread) = self.thread_mut(thread) {
                    thread.blocked = None;
                }
            }
            WorldEvent::Watch { fd, data: BREAK, .. } => self.break_fd = Some(fd),
            _ => {}
        }
    }
}
