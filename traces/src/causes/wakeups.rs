//! Threads: who started, woke or broke off whom.

use netpoll::platform::RawFd;
use netpoll::poll::lives::BREAK;
use netpoll::trace::{Event, WorkerPhase};

use super::Why;
use super::scan::Found;
use crate::{BlockedOn, ThreadId, Trace, WorldEvent, worker_number};

/// What is known of a thread.
#[derive(Clone, Copy, Debug, Default)]
struct Thread {
    /// Who started it, until it does something.
    spawned: Option<usize>,
    blocked: Option<BlockedOn>,
    /// What ended its poll, until it goes on.
    roused: Option<usize>,
    /// Who woke it, until it goes on.
    woken: Option<usize>,
    /// Its end.
    exit: Option<usize>,
}

/// The state of the matching.
#[derive(Debug)]
pub(super) struct Wakeups {
    threads: Vec<Thread>,
    /// The thread of each worker that has a name like one.
    workers: Vec<Option<usize>>,
    /// The descriptor that breaks a poll, once it has been seen.
    break_fd: Option<RawFd>,
    /// A break that no edge has been seen of.
    sent: Option<usize>,
    /// A break that has not been drained.
    undrained: Option<usize>,
}

impl Wakeups {
    pub(super) fn new(trace: &Trace, threads: usize) -> Wakeups {
        let mut workers = Vec::new();
        for (place, name) in trace.threads.iter().enumerate() {
            if let Some(number) = worker_number(name).map(usize::from) {
                workers.resize(workers.len().max(number + 1), None);
                workers[number] = Some(place);
            }
        }
        let threads = vec![Thread::default(); threads];
        Wakeups { threads, workers, break_fd: None, sent: None, undrained: None }
    }

    /// A thread does something.
    pub(super) fn lives(&mut self, found: &mut Found, at: usize, thread: ThreadId) {
        let spawned = self.threads[usize::from(thread.0)].spawned.take();
        found.add(spawned, at, Why::Spawn);
    }

    /// An event was queued: the first one ends the poll of who is blocked there.
    pub(super) fn queued(&mut self, at: usize) {
        for thread in &mut self.threads {
            if matches!(thread.blocked, Some(BlockedOn::Poll(_))) {
                thread.roused.get_or_insert(at);
            }
        }
    }

    /// An event was queued by `event`: perhaps that of the break descriptor.
    pub(super) fn edge(&mut self, found: &mut Found, at: usize, event: WorldEvent) {
        if let WorldEvent::Edge { fd, .. } = event
            && self.break_fd == Some(fd)
        {
            found.add(self.sent.take(), at, Why::Break);
        }
    }

    pub(super) fn world(
        &mut self,
        found: &mut Found,
        at: usize,
        thread: ThreadId,
        event: WorldEvent,
    ) {
        let here = usize::from(thread.0);
        match event {
            WorldEvent::Spawn { thread } => {
                if let Some(thread) = self.threads.get_mut(usize::from(thread.0)) {
                    thread.spawned = Some(at);
                }
            }
            WorldEvent::Block { on, .. } => {
                let thread = &mut self.threads[here];
                (thread.blocked, thread.roused) = (Some(on), None);
            }
            WorldEvent::Resume { timed_out } => self.resume(found, at, here, timed_out),
            WorldEvent::Exit => self.threads[here].exit = Some(at),
            _ => {}
        }
    }

    fn resume(&mut self, found: &mut Found, at: usize, here: usize, timed_out: bool) {
        let blocked = self.threads[here].blocked.take();
        let roused = self.threads[here].roused.take();
        if timed_out {
            return;
        }
        match blocked {
            Some(BlockedOn::Join(thread)) => {
                let exit = self.threads.get(usize::from(thread.0)).and_then(|thread| thread.exit);
                found.add(exit, at, Why::Join);
            }
            Some(BlockedOn::Poll(_)) => {
                found.add(roused, at, Why::Rouse);
                found.add(self.threads[here].woken.take(), at, Why::Wake);
            }
            Some(BlockedOn::Parker(_)) => {
                found.add(self.threads[here].woken.take(), at, Why::Wake);
            }
            Some(BlockedOn::Lock(_)) | None => {}
        }
    }

    /// `by_harvest` says that a harvest explains the event already.
    pub(super) fn runtime(
        &mut self,
        found: &mut Found,
        at: usize,
        thread: ThreadId,
        event: Event,
        by_harvest: bool,
    ) {
        match event {
            Event::Worker { phase: WorkerPhase::Awake } => {
                let woken = self.threads[usize::from(thread.0)].woken.take();
                found.add(woken, at, Why::Wake);
            }
            Event::Wake { worker } => {
                if let Some(&Some(thread)) = self.workers.get(worker as usize) {
                    self.threads[thread].woken = Some(at);
                }
            }
            Event::Break { sent: true } => (self.sent, self.undrained) = (Some(at), Some(at)),
            Event::Drained => {
                let undrained = self.undrained.take();
                found.add(undrained.filter(|_| !by_harvest), at, Why::Break);
            }
            _ => {}
        }
    }

    /// The kernel watches this descriptor for a poll that `data` comes with.
    pub(super) fn watch(&mut self, fd: RawFd, data: u64) {
        if data == BREAK {
            self.break_fd = Some(fd);
        }
    }
}
