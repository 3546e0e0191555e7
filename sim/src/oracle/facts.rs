//! What follows from the records so far: which goroutine is where, in which state a slot is, which file a
//! descriptor stands for. Kept once for all oracles.

use netpoll::platform::{Errno, RawFd};
use netpoll::poll::lives::BREAK;
use netpoll::trace::{Event, Mode, SlotState, TimerUse, WaitReason, WorkerPhase};
use netpoll_traces::{BlockedOn, Entry, Record, ThreadId, WorldEvent, worker_number};

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
        worker_number(name).map_or(Role::Other, |index| Role::Worker(index.into()))
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
    /// Since when.
    pub blocked_ns: u64,
    /// The goroutine that it runs.
    pub running: Option<u64>,
    /// How many goroutines are runnable that only this thread may run.
    pub runnable: u32,
    /// The file that a thread that is no goroutine uses.
    using: Option<Using>,
}

impl Thread {
    /// Whether it is a worker in the idle set, or on its way there or back: it runs no goroutine, and has
    /// said that it goes to sleep.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let phase = matches!(self.phase, Some(WorkerPhase::Parked | WorkerPhase::Polling { .. }));
        phase && self.running.is_none()
    }
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

/// A descriptor that somebody has a reference to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Using {
    /// The number of its file.
    pub fd: RawFd,
    /// The file.
    pub file: Option<u32>,
    /// Its place in the poller's table.
    pub pd: u32,
    /// Its life, as a serial number of all lives.
    pub serial: u64,
}

/// A timer that is armed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timer {
    /// The worker whose timers it is among.
    pub worker: u32,
    /// Its number there.
    pub number: u64,
    /// When it is due.
    pub at_ns: u64,
    /// What it is for.
    pub what: TimerUse,
    /// Who armed it.
    pub by: ThreadId,
    /// By which record.
    pub seq: u64,
    /// The record with which he went on since, after which everybody can see it; `u64::MAX` for none.
    pub settled_seq: u64,
}

impl Timer {
    /// Whether a thread that looked after the first `seq` records has seen it.
    #[must_use]
    pub fn is_seen(&self, thread: ThreadId, seq: u64) -> bool {
        self.settled_seq <= seq || (self.by == thread && self.seq <= seq)
    }
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
    /// The file.
    pub file: Option<u32>,
    /// The life that it is in, which its events carry; `None` between two lives.
    pub life: Option<u32>,
    /// The same, as a serial number of all lives.
    pub serial: u64,
    /// Whether that life is being torn down.
    pub is_closing: bool,
    slots: [Slot; 2],
}

impl Descriptor {
    const NEW: Descriptor = Descriptor {
        fd: -1,
        file: None,
        life: None,
        serial: 0,
        is_closing: false,
        slots: [Slot::NEW; 2],
    };

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
    timers: Vec<Timer>,
    /// How many of them are not settled.
    unsettled: usize,
    /// How many records there were.
    pub seq: u64,
    /// The channel of breaks.
    pub break_fd: Option<RawFd>,
    /// Whether a break has been asked for and not been drained: the flag in front of the channel.
    pub is_breaking: bool,
    /// The thread that has set that flag and not written the channel.
    pub breaker: Option<ThreadId>,
    /// Whether the world is stopped, or about to be.
    is_stopped: bool,
    /// The thread that has let the world run again and wakes those who stood still.
    starter: Option<ThreadId>,
    /// Workers below this number take new goroutines.
    pub active: u32,
    /// How many goroutines have not started.
    pub unstarted: u32,
}

/// What is said of a thread, goroutine or descriptor that no record has introduced.
static NO_THREAD: Thread = Thread {
    name: String::new(),
    role: Role::Other,
    phase: None,
    blocked: None,
    blocked_ns: 0,
    running: None,
    runnable: 0,
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

    /// Whether workers may stand still for a stopped world.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.is_stopped || self.starter.is_some()
    }

    /// The timers that are armed.
    #[must_use]
    pub fn timers(&self) -> &[Timer] {
        &self.timers
    }

    /// The timer that is due first.
    #[must_use]
    pub fn earliest_timer(&self) -> Option<&Timer> {
        self.timers.iter().min_by_key(|timer| timer.at_ns)
    }

    /// The timer with this name.
    #[must_use]
    pub fn timer(&self, worker: u32, number: u64) -> Option<&Timer> {
        self.timers.iter().find(|it| (it.worker, it.number) == (worker, number))
    }

    /// Whether a record is a step on the way to waking somebody up: a wait for a lock, a break.
    #[must_use]
    #[inline]
    pub fn is_part_of_waking(&self, record: &Record) -> bool {
        match record.event {
            Entry::Runtime(Event::Wake { .. } | Event::Break { .. }) => true,
            Entry::Runtime(Event::Syscall { name: "write", fd, .. }) => self.break_fd == Some(fd),
            Entry::World(WorldEvent::Block { on: BlockedOn::Lock(_), .. }) => true,
            Entry::World(WorldEvent::Resume { .. } | WorldEvent::Fault { .. }) => true,
            _ => false,
        }
    }

    /// The descriptor that somebody uses.
    #[must_use]
    pub fn using(&self, actor: Actor) -> Option<Using> {
        match actor {
            Actor::Goroutine(g) => self.goroutine(g).using,
            Actor::Thread(thread) => self.thread(thread).using,
        }
    }

    /// Somebody who uses the descriptor whose life has this serial number.
    #[must_use]
    pub fn user_of(&self, serial: u64) -> Option<Actor> {
        let uses = |using: Option<Using>| using.is_some_and(|using| using.serial == serial);
        let g = self.goroutines.iter().position(|it| uses(it.using));
        let thread = || self.threads.iter().position(|it| uses(it.using));
        let g = g.map(|g| Actor::Goroutine(g as u64));
        g.or_else(|| thread().map(|thread| Actor::Thread(ThreadId(thread as u16))))
    }

    /// What an actor is called.
    #[must_use]
    pub fn actor_name(&self, actor: Actor) -> String {
        match actor {
            Actor::Goroutine(g) => format!("g{g}"),
            Actor::Thread(thread) => self.thread(thread).name.clone(),
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
    #[inline(always)]
    pub(super) fn apply(&mut self, record: &Record, look: &dyn Look) {
        self.seq += 1;
        if self.starter == Some(record.thread) && !self.is_part_of_waking(record) {
            self.starter = None;
        }
        if self.unsettled > 0 && !self.is_part_of_waking(record) {
            for timer in self.timers.iter_mut().filter(|it| it.by == record.thread) {
                self.unsettled -= usize::from(timer.settled_seq == u64::MAX);
                timer.settled_seq = timer.settled_seq.min(self.seq);
            }
        }
        match record.event {
            Entry::Runtime(event) => self.apply_event(record, event, look),
            Entry::World(event) => self.apply_world(record, event),
        }
    }

    #[inline(always)]
    fn apply_event(&mut self, record: &Record, event: Event, look: &dyn Look) {
        match event {
            Event::Go { g } => self.stage(record, g, Stage::Unstarted),
            Event::Run { g } | Event::Abandon { g } => {
                self.stage(record, g, Stage::Running(record.thread));
            }
            Event::Yield { g } | Event::Ready { g } => self.stage(record, g, Stage::Runnable),
            Event::Park { g, on } => self.stage(record, g, Stage::Parked(on)),
            Event::Done { g } => self.stage(record, g, Stage::Ended),
            Event::Worker { phase } => self.at(record.thread, |it| it.phase = Some(phase)),
            Event::Open { fd, pd, life } => {
                self.lives += 1;
                let (serial, file) = (self.lives, look.file_of(fd));
                let it = self.descriptor_mut(pd);
                let slots = it.slots.map(|slot| Slot { state: slot.state, ..Slot::NEW });
                *it = Descriptor { fd, file, life: Some(life), serial, is_closing: false, slots };
            }
            Event::End { pd, .. } => self.descriptor_mut(pd).life = None,
            Event::Use { fd, pd } => {
                let Descriptor { file, serial, .. } = *self.descriptor(pd);
                self.uses(record, Some(Using { fd, file, pd, serial }));
            }
            Event::Leave { .. } => self.uses(record, None),
            Event::Slot { pd, mode, to, .. } => self.apply_slot(record, pd, mode, to),
            Event::Deadline { pd, mode, at_ns, .. } => {
                self.descriptor_mut(pd).slots[mode as usize].deadline_ns = at_ns;
            }
            Event::Expired { pd, mode, .. } => {
                self.descriptor_mut(pd).slots[mode as usize].deadline_ns = -1;
            }
            Event::Evict { pd, .. } => self.descriptor_mut(pd).is_closing = true,
            Event::Arm { worker, timer, at_ns, what } => {
                let (by, seq) = (record.thread, self.seq);
                let (number, settled_seq) = (timer, u64::MAX);
                self.timers.push(Timer { worker, number, at_ns, what, by, seq, settled_seq });
                self.unsettled += 1;
            }
            Event::Disarm { worker, timer } | Event::Fire { worker, timer } => {
                self.timers.retain(|it| (it.worker, it.number) != (worker, timer));
                self.unsettled = self.timers.iter().filter(|it| it.settled_seq == u64::MAX).count();
            }
            Event::Workers { active } => self.active = active,
            Event::World { is_stopped } => {
                self.is_stopped = is_stopped;
                self.starter = (!is_stopped).then_some(record.thread);
            }
            Event::Break { sent: true } => {
                self.is_breaking = true;
                self.breaker = Some(record.thread);
            }
            Event::Drained => self.is_breaking = false,
            Event::Syscall { name: "write", fd, result: Ok(_) | Err(Errno::EAGAIN), .. }
                if self.break_fd == Some(fd) && self.breaker == Some(record.thread) =>
            {
                self.breaker = None;
            }
            _ => {}
        }
    }

    /// A goroutine goes on to another stage.
    fn stage(&mut self, record: &Record, g: u64, stage: Stage) {
        // A blocking call is begun by the thread that runs it, and is nobody else's work.
        let begins = matches!(stage, Stage::Running(_)) || record.g.is_none();
        let is_pools = begins && self.thread(record.thread).role == Role::Pool;
        let it = self.goroutine_mut(g);
        let before = std::mem::replace(&mut it.stage, stage);
        match stage {
            Stage::Running(thread) => it.home = Some(thread),
            Stage::Unstarted if is_pools => it.home = Some(record.thread),
            _ => {}
        }
        let it = *it;
        self.unstarted += u32::from(stage == Stage::Unstarted && !is_pools);
        self.unstarted -= u32::from(before == Stage::Unstarted && !is_pools);
        let Some(home) = it.home else { return };
        self.at(home, |thread| {
            thread.runnable += u32::from(stage == Stage::Runnable);
            thread.runnable -= u32::from(before == Stage::Runnable);
            if let Stage::Running(_) = before {
                thread.running = None;
            }
            if let Stage::Running(_) = stage {
                thread.running = Some(g);
            }
        });
    }

    fn apply_slot(&mut self, record: &Record, pd: u32, mode: Mode, to: SlotState) {
        let slot = &mut self.descriptor_mut(pd).slots[mode as usize];
        slot.state = to;
        slot.consumer = match to {
            SlotState::Wait => Some(Actor::of(record)),
            SlotState::Parked(_) => slot.consumer,
            SlotState::Nil | SlotState::Ready => None,
        };
    }

    fn uses(&mut self, record: &Record, using: Option<Using>) {
        match Actor::of(record) {
            Actor::Goroutine(g) => self.goroutine_mut(g).using = using,
            Actor::Thread(thread) => self.at(thread, |it| it.using = using),
        }
    }

    #[inline(always)]
    fn apply_world(&mut self, record: &Record, event: WorldEvent) {
        match event {
            WorldEvent::Block { on, until_ns } => self.at(record.thread, |it| {
                it.blocked = Some((on, until_ns));
                it.blocked_ns = record.t_ns;
            }),
            WorldEvent::Resume { .. } => self.at(record.thread, |it| it.blocked = None),
            WorldEvent::Watch { fd, data: BREAK, .. } => self.break_fd = Some(fd),
            _ => {}
        }
    }

    /// Changes what is known of a thread.
    fn at(&mut self, thread: ThreadId, change: impl FnOnce(&mut Thread)) {
        if let Some(thread) = self.threads.get_mut(usize::from(thread.0)) {
            change(thread);
        }
    }
}
