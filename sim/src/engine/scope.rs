//! The numbers of a host in a trace of several.
//!
//! Each runtime numbers its goroutines, and each process its descriptors, from the beginning. In the trace those of host n begin at
//! n times [`HOST_SCOPE`], so that no renderer has to know of hosts: `g200003` is the third goroutine of host 2. Oracles
//! see the numbers that the runtime gave.

use netpoll::platform::RawFd;
use netpoll::runtime::{GoroutineState, ParkedIo};
use netpoll::sched::g::Status;
use netpoll::trace::{Event, SlotState, TimerUse, WaitReason};
use netpoll_traces::{BlockedOn, Entry, HOST_SCOPE, WorldEvent};

use crate::OpenFd;
use crate::kernel::HostId;

/// The same in the numbers of the whole run.
#[inline]
pub(super) fn scoped(entry: Entry, host: HostId) -> Entry {
    if host == HostId::TEST { entry } else { renumbered(entry, host) }
}

#[cold]
fn renumbered(entry: Entry, host: HostId) -> Entry {
    match entry {
        Entry::Runtime(event) => Entry::Runtime(runtime(event, &Scope(host))),
        Entry::World(event) => Entry::World(world(event, &Scope(host))),
    }
}

/// The numbers of a host in a trace of several.
pub(crate) struct Scope(pub(crate) HostId);

impl Scope {
    fn base(&self) -> u64 {
        self.0.index() as u64 * HOST_SCOPE
    }

    pub(crate) fn g(&self, g: u64) -> u64 {
        g + self.base()
    }

    pub(crate) fn local_g(&self, g: u64) -> u64 {
        g - self.base()
    }

    pub(crate) fn fd(&self, fd: RawFd) -> RawFd {
        if fd < 0 { fd } else { fd + self.base() as RawFd }
    }

    pub(crate) fn goroutine(&self, state: GoroutineState) -> GoroutineState {
        let parked_io = state.parked_io.map(|io| ParkedIo { fd: self.fd(io.fd), ..io });
        let worker = state.worker.map(|worker| self.place(worker));
        let status = match state.status {
            Status::Waiting(on) => Status::Waiting(self.reason(on)),
            status => status,
        };
        GoroutineState { id: self.g(state.id), status, worker, parked_io }
    }

    pub(crate) fn open_fd(&self, open: OpenFd) -> OpenFd {
        OpenFd { fd: self.fd(open.fd), ..open }
    }

    fn reason(&self, on: WaitReason) -> WaitReason {
        match on {
            WaitReason::Io(fd, mode) => WaitReason::Io(self.fd(fd), mode),
            WaitReason::FdLock(fd, mode) => WaitReason::FdLock(self.fd(fd), mode),
            WaitReason::Close(fd) => WaitReason::Close(self.fd(fd)),
            on => on,
        }
    }

    fn place(&self, place: u32) -> u32 {
        place + self.base() as u32
    }

    fn state(&self, state: SlotState) -> SlotState {
        match state {
            SlotState::Parked(g) => SlotState::Parked(self.place(g)),
            state => state,
        }
    }
}

fn runtime(event: Event, scope: &Scope) -> Event {
    let (g, fd, pd) = (|g| scope.g(g), |fd| scope.fd(fd), |pd| scope.place(pd));
    let worker = pd;
    match event {
        Event::Go { g: it } => Event::Go { g: g(it) },
        Event::Run { g: it } => Event::Run { g: g(it) },
        Event::Yield { g: it } => Event::Yield { g: g(it) },
        Event::Park { g: it, on } => Event::Park { g: g(it), on: scope.reason(on) },
        Event::Abandon { g: it } => Event::Abandon { g: g(it) },
        Event::Ready { g: it } => Event::Ready { g: g(it) },
        Event::Panic { g: it } => Event::Panic { g: g(it) },
        Event::Done { g: it } => Event::Done { g: g(it) },
        Event::Open { fd: it, pd: at, life } => Event::Open { fd: fd(it), pd: pd(at), life },
        Event::End { fd: it, pd: at } => Event::End { fd: fd(it), pd: pd(at) },
        Event::Use { fd: it, pd: at } => Event::Use { fd: fd(it), pd: pd(at) },
        Event::Leave { fd: it, pd: at } => Event::Leave { fd: fd(it), pd: pd(at) },
        Event::Dispatch { pd: at, life } => Event::Dispatch { pd: pd(at), life },
        Event::Stale { pd: at, life } => Event::Stale { pd: pd(at), life },
        Event::Slot { pd: at, fd: it, mode, from, to } => {
            let (from, to) = (scope.state(from), scope.state(to));
            Event::Slot { pd: pd(at), fd: fd(it), mode, from, to }
        }
        Event::Deadline { pd: at, fd: it, mode, at_ns } => {
            Event::Deadline { pd: pd(at), fd: fd(it), mode, at_ns }
        }
        Event::Expired { pd: at, fd: it, mode } => Event::Expired { pd: pd(at), fd: fd(it), mode },
        Event::Evict { pd: at, fd: it } => Event::Evict { pd: pd(at), fd: fd(it) },
        Event::Arm { worker: at, timer, at_ns, what } => {
            let what = match what {
                TimerUse::Deadline { pd: at, which } => TimerUse::Deadline { pd: pd(at), which },
                TimerUse::Park { g } => TimerUse::Park { g: scope.place(g) },
            };
            Event::Arm { worker: worker(at), timer, at_ns, what }
        }
        Event::Disarm { worker: at, timer } => Event::Disarm { worker: worker(at), timer },
        Event::Fire { worker: at, timer } => Event::Fire { worker: worker(at), timer },
        Event::Wake { worker: at } => Event::Wake { worker: worker(at) },
        Event::Syscall { name, fd: it, arg, result } => {
            // Numbers of descriptors that a call takes or gives beside the one that it is about.
            let arg = if name.starts_with("epoll_") && name != "epoll_wait" {
                arg + scope.base() as i64
            } else {
                arg
            };
            let gives = matches!(name, "socket" | "accept4" | "dup" | "epoll_create1" | "eventfd");
            let result = result.map(|it| if gives { it + scope.base() as i64 } else { it });
            Event::Syscall { name, fd: fd(it), arg, result }
        }
        event => event,
    }
}

fn world(event: WorldEvent, scope: &Scope) -> WorldEvent {
    let number = |fd| scope.fd(fd);
    match event {
        WorldEvent::Block { on: BlockedOn::Poll(fd), until_ns } => {
            WorldEvent::Block { on: BlockedOn::Poll(number(fd)), until_ns }
        }
        WorldEvent::Arrive { fd, len } => WorldEvent::Arrive { fd: number(fd), len },
        WorldEvent::Watch { fd, file, events, data, queued } => {
            WorldEvent::Watch { fd: number(fd), file, events, data, queued }
        }
        WorldEvent::Edge { fd, file, ready, wakeup } => {
            WorldEvent::Edge { fd: number(fd), file, ready, wakeup }
        }
        WorldEvent::Spurious { fd, file } => WorldEvent::Spurious { fd: number(fd), file },
        WorldEvent::Harvest { fd, file, events, data } => {
            WorldEvent::Harvest { fd: number(fd), file, events, data }
        }
        event => event,
    }
}
