//! Threads: who started, woke or broke off whom.

use std::collections::BTreeMap;

use netpoll::platform::RawFd;
use netpoll::poll::lives::BREAK;
use netpoll::trace::{Event, WorkerPhase};

use super::Why;
use super::scan::Found;
use crate::{BlockedOn, HOST_SCOPE, ThreadId, Trace, WorldEvent, worker_number};

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
    /// By thread: the number that events have of the worker whose name it has.
    numbers: Vec<Option<u32>>,
    /// The host of each thread.
    hosts: Vec<usize>,
    /// By host.
    breaks: Vec<Break>,
    /// The thread of each worker that has a name like one, by the number that events have: the latest one, where a
    /// host was started again.
    workers: BTreeMap<u32, usize>,
}

/// What is known of the breaks of one poller.
#[derive(Clone, Copy, Debug, Default)]
struct Break {
    /// The descriptor that breaks a poll, once it has been seen.
    fd: Option<RawFd>,
    /// A break that no edge has been seen of.
    sent: Option<usize>,
    /// A break that has not been drained.
    undrained: Option<usize>,
}

impl Wakeups {
    pub(super) fn new(trace: &Trace, threads: usize) -> Wakeups {
        let mut hosts = trace.hosts();
        hosts.resize(threads, 0);
        let count = hosts.iter().max().map_or(1, |last| last + 1);
        let number = |(name, &host): (&String, &usize)| {
            let short = name.split_once('/').map_or(name.as_str(), |(_, short)| short);
            let number = host as u64 * HOST_SCOPE + u64::from(worker_number(short)?);
            Some(number as u32)
        };
        let numbers: Vec<Option<u32>> = trace.threads.iter().zip(&hosts).map(number).collect();
        let mut workers = BTreeMap::new();
        for (place, number) in numbers.iter().enumerate() {
            if let Some(number) = number {
                // Of a host that is started again the first ones are alive in the beginning.
                workers.entry(*number).or_insert(place);
            }
        }
        let threads = vec![Thread::default(); threads];
        Wakeups { threads, numbers, hosts, breaks: vec![Break::default(); count], workers }
    }

    /// The host that a descriptor is of.
    fn host_of(&self, fd: RawFd) -> usize {
        // In a trace of one host numbers have no limit.
        let is_alone = self.breaks.len() == 1;
        if is_alone { 0 } else { (fd.max(0) as u64 / HOST_SCOPE) as usize }
    }

    fn breaks_of(&mut self, host: usize) -> Option<&mut Break> {
        self.breaks.get_mut(host)
    }

    fn breaks_at(&mut self, thread: ThreadId) -> Option<&mut Break> {
        let host = *self.hosts.get(usize::from(thread.0))?;
        self.breaks_of(host)
    }

    /// A thread was started: from here on it is the worker of its number.
    fn is_born(&mut self, place: usize) {
        if let Some(&Some(number)) = self.numbers.get(place) {
            self.workers.insert(number, place);
        }
    }

    /// A thread does something.
    pub(super) fn lives(&mut self, found: &mut Found, at: usize, thread: ThreadId) {
        let spawned = self.threads[usize::from(thread.0)].spawned.take();
        found.add(spawned, at, Why::Spawn);
    }

    /// An event of a descriptor was queued: the first one ends the poll of who is blocked on that host.
    pub(super) fn queued(&mut self, at: usize, fd: RawFd) {
        let host = self.host_of(fd);
        for (thread, &its) in self.threads.iter_mut().zip(&self.hosts) {
            if its == host && matches!(thread.blocked, Some(BlockedOn::Poll(_))) {
                thread.roused.get_or_insert(at);
            }
        }
    }

    /// An event was queued by `event`: perhaps that of the break descriptor.
    pub(super) fn edge(&mut self, found: &mut Found, at: usize, event: WorldEvent) {
        if let WorldEvent::Edge { fd, .. } = event
            && let host = self.host_of(fd)
            && let Some(breaks) = self.breaks_of(host)
            && breaks.fd == Some(fd)
        {
            found.add(breaks.sent.take(), at, Why::Break);
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
                let place = usize::from(thread.0);
                if let Some(thread) = self.threads.get_mut(place) {
                    thread.spawned = Some(at);
                }
                self.is_born(place);
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
                if let Some(&thread) = self.workers.get(&worker) {
                    self.threads[thread].woken = Some(at);
                }
            }
            Event::Break { sent: true } => {
                if let Some(breaks) = self.breaks_at(thread) {
                    (breaks.sent, breaks.undrained) = (Some(at), Some(at));
                }
            }
            Event::Drained => {
                let undrained = self.breaks_at(thread).and_then(|breaks| breaks.undrained.take());
                found.add(undrained.filter(|_| !by_harvest), at, Why::Break);
            }
            _ => {}
        }
    }

    /// The kernel watches this descriptor for a poll that `data` comes with.
    pub(super) fn watch(&mut self, fd: RawFd, data: u64) {
        let host = self.host_of(fd);
        if data == BREAK
            && let Some(breaks) = self.breaks_of(host)
        {
            breaks.fd = Some(fd);
        }
    }
}
