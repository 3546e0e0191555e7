//! A made-up run of any length, for what real ones are too short for: 200 goroutines that read, sleep
//! and wake each other on four workers, in the order of events that the runtime has.

use std::collections::VecDeque;

use netpoll::platform::Errno;
use netpoll::poll::lives::{BREAK, encode};
use netpoll::trace::{Event, Mode, SlotState, TimerUse, WaitReason, WorkerPhase};
use netpoll_traces::{BlockedOn, Entry, Keep, Recorder, ThreadId, Trace, WorldEvent};

const WORKERS: u16 = 4;
const GOROUTINES: u64 = 200;
const IN: u32 = libc::EPOLLIN as u32;
const ALL: u32 = (libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET) as u32;
const EPOLL: i32 = 3;
const EVENTFD: i32 = 4;

/// A run of at least `length` records.
pub(crate) fn trace(length: usize) -> Trace {
    let mut run = Run::new();
    run.begin();
    while run.recorder.seen() < length {
        run.step();
    }
    run.recorder.finish()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Worker {
    Busy(u64),
    Free,
    Polling,
    Parked,
}

struct Run {
    recorder: Recorder,
    t_ns: u64,
    random: u64,
    workers: Vec<Worker>,
    runnable: VecDeque<u64>,
    /// Goroutines that are parked in a read.
    readers: Vec<u64>,
    /// Goroutines that sleep: the timer and its end.
    sleepers: VecDeque<(u64, u64, u64)>,
    /// Files with an event queued.
    queued: Vec<u64>,
    timers: u64,
    waiters: i32,
}

impl Run {
    fn new() -> Run {
        let mut recorder = Recorder::new(Keep::All);
        recorder.add_thread("main");
        for number in 0..WORKERS {
            recorder.add_thread(&format!("netpoll-w{number}"));
        }
        recorder.add_thread("netpoll-sysmon");
        Run {
            recorder,
            t_ns: 1_000_000,
            random: 0x9E37_79B9_7F4A_7C15,
            workers: vec![Worker::Free; usize::from(WORKERS)],
            runnable: VecDeque::new(),
            readers: Vec::new(),
            sleepers: VecDeque::new(),
            queued: Vec::new(),
            timers: 0,
            waiters: 0,
        }
    }

    fn says(&mut self, thread: u16, event: impl Into<Entry>) {
        let thread = if thread == u16::MAX { ThreadId::KERNEL } else { ThreadId(thread) };
        self.recorder.record(self.t_ns, thread, &event.into());
    }

    fn kernel(&mut self, event: WorldEvent) {
        self.says(u16::MAX, event);
    }

    fn call(
        &mut self,
        thread: u16,
        name: &'static str,
        fd: i32,
        arg: i64,
        result: Result<i64, Errno>,
    ) {
        self.t_ns += 100 + self.below(1_900);
        self.says(thread, Event::Syscall { name, fd, arg, result });
    }

    fn below(&mut self, limit: u64) -> u64 {
        // xorshift: the run is the same everywhere.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) % limit
    }

    fn begin(&mut self) {
        self.call(0, "epoll_create1", -1, 0, Ok(3));
        self.call(0, "eventfd", -1, 0, Ok(4));
        let (fd, file) = (EVENTFD, 1);
        self.kernel(WorldEvent::Watch { fd, file, events: IN, data: BREAK, queued: false });
        self.call(0, "epoll_add", EPOLL, 4, Ok(0));
        for thread in 1..=WORKERS + 1 {
            self.says(0, WorldEvent::Spawn { thread: ThreadId(thread) });
        }
        for g in 1..=GOROUTINES {
            self.says(0, Event::Go { g });
            self.runnable.push_back(g);
        }
        self.says(0, WorldEvent::Block { on: BlockedOn::Parker(1), until_ns: u64::MAX });
        let block = WorldEvent::Block { on: BlockedOn::Parker(2), until_ns: u64::MAX };
        self.says(WORKERS + 1, block);
        for g in 1..=GOROUTINES {
            let (fd, pd) = place(g);
            self.says(1, Event::Open { fd, pd, life: 1 });
            let (file, data) = (pd + 2, encode(pd, 1));
            self.kernel(WorldEvent::Watch { fd, file, events: ALL, data, queued: false });
        }
    }

    /// Lets a worker, or the kernel, do the next thing.
    fn step(&mut self) {
        if self.below(6) == 0 {
            self.bytes_come();
        }
        let worker = self.below(u64::from(WORKERS)) as u16;
        match self.workers[usize::from(worker)] {
            Worker::Busy(g) => self.goes_on(worker + 1, g),
            Worker::Free => self.looks_for_work(worker + 1),
            Worker::Polling => self.comes_back(worker + 1),
            Worker::Parked if !self.runnable.is_empty() => self.gets_up(worker + 1),
            Worker::Parked => {}
        }
    }

    fn set(&mut self, thread: u16, worker: Worker) {
        self.workers[usize::from(thread) - 1] = worker;
    }

    fn bytes_come(&mut self) {
        if self.readers.is_empty() {
            return;
        }
        let reader = self.below(self.readers.len() as u64) as usize;
        let g = self.readers[reader];
        if self.queued.contains(&g) {
            return;
        }
        let (fd, pd) = place(g);
        let len = 1 + self.below(4096) as u32;
        self.t_ns += self.below(3_000);
        self.kernel(WorldEvent::Arrive { fd, len });
        self.kernel(WorldEvent::Edge { fd, file: pd + 2, ready: IN, wakeup: IN });
        self.queued.push(g);
    }

    fn looks_for_work(&mut self, thread: u16) {
        if self.below(8) == 0 {
            self.polls(thread, 0);
        }
        if let Some(g) = self.runnable.pop_front() {
            self.set(thread, Worker::Busy(g));
            return self.says(thread, Event::Run { g });
        }
        self.says(thread, Event::Worker { phase: WorkerPhase::Spinning });
        if self.workers.contains(&Worker::Polling) {
            self.says(thread, Event::Worker { phase: WorkerPhase::Parked });
            self.says(thread, WorldEvent::Block { on: BlockedOn::Parker(9), until_ns: u64::MAX });
            self.set(thread, Worker::Parked);
        } else {
            let until_ns = self.sleepers.front().map_or(u64::MAX, |sleeper| sleeper.2);
            let delay_ns = until_ns.saturating_sub(self.t_ns);
            let phase = WorkerPhase::Polling { until_ns, delay_ns };
            self.says(thread, Event::Worker { phase });
            self.says(thread, WorldEvent::Block { on: BlockedOn::Poll(EPOLL), until_ns });
            self.set(thread, Worker::Polling);
        }
    }

    fn comes_back(&mut self, thread: u16) {
        if self.queued.is_empty() && self.sleepers.is_empty() {
            return;
        }
        let timed_out = self.queued.is_empty();
        if timed_out {
            self.t_ns = self.t_ns.max(self.sleepers[0].2);
        }
        self.says(thread, WorldEvent::Resume { timed_out });
        self.polls(thread, -1);
        self.says(thread, Event::Worker { phase: WorkerPhase::Awake });
        self.set(thread, Worker::Free);
    }

    fn gets_up(&mut self, thread: u16) {
        let waker = (0..WORKERS).find(|&other| {
            matches!(self.workers[usize::from(other)], Worker::Busy(_)) && other + 1 != thread
        });
        let waker = waker.map_or(0, |waker| waker + 1);
        self.says(waker, Event::Wake { worker: u32::from(thread) - 1 });
        self.t_ns += self.below(900);
        self.says(thread, WorldEvent::Resume { timed_out: false });
        self.says(thread, Event::Worker { phase: WorkerPhase::Awake });
        self.set(thread, Worker::Free);
    }

    /// Takes events and due timers.
    fn polls(&mut self, thread: u16, timeout: i64) {
        if self.below(50) == 0 {
            self.says(thread, WorldEvent::Fault { name: "spurious-event" });
        }
        let queued = std::mem::take(&mut self.queued);
        for &g in &queued {
            let (fd, pd) = place(g);
            let (file, data) = (pd + 2, encode(pd, 1));
            self.kernel(WorldEvent::Harvest { fd, file, events: IN, data });
        }
        self.call(thread, "epoll_wait", EPOLL, timeout, Ok(queued.len() as i64));
        for &g in &queued {
            let (fd, pd) = place(g);
            self.says(thread, Event::Dispatch { pd, life: 1 });
            let (mode, from) = (Mode::Read, SlotState::Parked(pd));
            self.says(thread, Event::Slot { pd, fd, mode, from, to: SlotState::Ready });
        }
        for &g in &queued {
            self.says(thread, Event::Ready { g });
            self.readers.retain(|&reader| reader != g);
            self.runnable.push_back(g);
        }
        self.waiters -= queued.len() as i32;
        if !queued.is_empty() {
            self.says(thread, Event::Waiters { count: self.waiters });
        }
        while self.sleepers.front().is_some_and(|sleeper| sleeper.2 <= self.t_ns) {
            let (g, timer, _) = self.sleepers.pop_front().expect("there is a first one");
            self.says(thread, Event::Fire { worker: 0, timer });
            self.says(thread, Event::Ready { g });
            self.runnable.push_back(g);
        }
    }

    /// A running goroutine does something.
    fn goes_on(&mut self, thread: u16, g: u64) {
        let (fd, pd) = place(g);
        match self.below(10) {
            0..=3 => {
                self.says(thread, Event::Use { fd, pd });
                let written = 1 + self.below(2048) as i64;
                self.call(thread, "write", fd, written, Ok(written));
                self.says(thread, Event::Leave { fd, pd });
            }
            4..=7 => {
                self.says(thread, Event::Use { fd, pd });
                self.call(thread, "read", fd, 4096, Err(Errno::EAGAIN));
                let (mode, on) = (Mode::Read, WaitReason::Io(fd, Mode::Read));
                let slot = |from, to| Event::Slot { pd, fd, mode, from, to };
                self.says(thread, slot(SlotState::Nil, SlotState::Wait));
                self.says(thread, Event::Park { g, on });
                self.says(thread, slot(SlotState::Wait, SlotState::Parked(pd)));
                self.waiters += 1;
                self.says(thread, Event::Waiters { count: self.waiters });
                self.readers.push(g);
                self.set(thread, Worker::Free);
            }
            8 => {
                self.timers += 1;
                let (timer, what) = (self.timers, TimerUse::Park { g: pd });
                let pause = 20_000 + self.below(200_000);
                let at_ns = self.sleepers.back().map_or(0, |s| s.2).max(self.t_ns + pause);
                self.says(thread, Event::Arm { worker: 0, timer, at_ns, what });
                self.says(thread, Event::Park { g, on: WaitReason::Sleep });
                self.sleepers.push_back((g, timer, at_ns));
                self.set(thread, Worker::Free);
            }
            _ => {
                self.says(thread, Event::Yield { g });
                self.runnable.push_back(g);
                self.set(thread, Worker::Free);
            }
        }
    }
}

/// The descriptor of a goroutine.
fn place(g: u64) -> (i32, u32) {
    (g as i32 + 9, g as u32 - 1)
}
