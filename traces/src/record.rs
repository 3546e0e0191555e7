//! The shape of one record.

use std::fmt;

use netpoll::platform::RawFd;
use netpoll::trace::{Event, Micros};

/// The number of a thread within one run, in the order of creation: 0 is the main thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ThreadId(pub u16);

impl ThreadId {
    /// The thread on which the run's body runs.
    pub const MAIN: ThreadId = ThreadId(0);
    /// Not a thread: what the simulated kernel does on its own, when a segment arrives for example.
    pub const KERNEL: ThreadId = ThreadId(u16::MAX);
}

/// What a thread that cannot go on is waiting for.
///
/// Locks and parkers are numbered in the order in which a run first sees them, never by address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BlockedOn {
    /// A lock that another thread holds.
    Lock(u32),
    /// Its parker's token.
    Parker(u32),
    /// The end of another thread.
    Join(ThreadId),
    /// Events of this epoll descriptor.
    Poll(RawFd),
}

impl fmt::Display for BlockedOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BlockedOn::Lock(id) => write!(f, "lock #{id}"),
            BlockedOn::Parker(id) => write!(f, "parker #{id}"),
            BlockedOn::Join(thread) => write!(f, "end of thread #{}", thread.0),
            BlockedOn::Poll(fd) => write!(f, "events of fd{fd}"),
        }
    }
}

/// Something that the world around the runtime did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WorldEvent {
    /// This thread started another one.
    Spawn {
        /// The new thread.
        thread: ThreadId,
    },
    /// This thread ended.
    Exit,
    /// A panic was raised, here and not where it is caught: destructors run in between.
    Panic,
    /// This thread cannot go on.
    Block {
        /// What it waits for.
        on: BlockedOn,
        /// When it gets up in any case; `u64::MAX` for never.
        until_ns: u64,
    },
    /// This thread goes on after [`Block`](WorldEvent::Block).
    Resume {
        /// Whether its time limit ended the wait.
        timed_out: bool,
    },
    /// Bytes arrived at a socket.
    Arrive {
        /// The receiving descriptor, or −1 while it has no number.
        fd: RawFd,
        /// How many bytes.
        len: u32,
    },
    /// A file was registered with an epoll instance, or its registration was changed.
    Watch {
        /// The number that it was registered under.
        fd: RawFd,
        /// The file behind it.
        file: u32,
        /// What is wanted, in the bits of `epoll`.
        events: u32,
        /// What events of it carry.
        data: u64,
        /// Whether it is ready for some of that already, so that an event is queued.
        queued: bool,
    },
    /// The kernel woke those who watch a descriptor.
    Edge {
        /// The descriptor.
        fd: RawFd,
        /// The file behind it.
        file: u32,
        /// Its readiness at that moment, in the bits of `epoll`.
        ready: u32,
        /// Whom the wake-up is for: bits of `epoll`, 0 for everybody.
        wakeup: u32,
    },
    /// An event was queued although nothing happened to its file.
    Spurious {
        /// The number that the file was registered under.
        fd: RawFd,
        /// The file.
        file: u32,
    },
    /// An event was taken off the list of an epoll instance, for the caller of `epoll_wait`.
    Harvest {
        /// The number that the file was registered under.
        fd: RawFd,
        /// The file.
        file: u32,
        /// What the caller gets to see, in the bits of `epoll`; nothing when the file is not ready any more.
        events: u32,
        /// What the event carries.
        data: u64,
    },
    /// A fault struck.
    Fault {
        /// Its name.
        name: &'static str,
    },
    /// From here on no fault strikes and everything is dull.
    Healed,
    /// The program changed the world: it took the power from a host, or cut a link.
    Arranged {
        /// In words.
        what: &'static str,
    },
}

/// The bits of a readiness mask, with the names that traces print, in print order.
const READINESS: [(u32, &str); 6] = [
    (libc::EPOLLIN as u32, "IN"),
    (libc::EPOLLOUT as u32, "OUT"),
    (libc::EPOLLRDHUP as u32, "RDHUP"),
    (libc::EPOLLPRI as u32, "PRI"),
    (libc::EPOLLHUP as u32, "HUP"),
    (libc::EPOLLERR as u32, "ERR"),
];

/// Prints a readiness mask: `IN|RDHUP`, or `nothing`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Readiness(pub u32);

impl fmt::Display for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (bit, name) in READINESS {
            if self.0 & bit != 0 {
                write!(f, "{separator}{name}")?;
                separator = "|";
            }
        }
        if separator.is_empty() {
            f.write_str("nothing")?;
        }
        Ok(())
    }
}

impl fmt::Display for WorldEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WorldEvent::Spawn { thread } => write!(f, "spawn thread #{}", thread.0),
            WorldEvent::Exit => f.write_str("exit"),
            WorldEvent::Panic => f.write_str("panic raised"),
            WorldEvent::Block { on, until_ns: u64::MAX } => write!(f, "block: {on}"),
            WorldEvent::Block { on, until_ns } => {
                write!(f, "block: {on} until t={}", Micros(*until_ns))
            }
            WorldEvent::Resume { timed_out: false } => f.write_str("resume"),
            WorldEvent::Resume { timed_out: true } => f.write_str("resume: timed out"),
            WorldEvent::Arrive { fd: -1, len } => write!(f, "arrive unaccepted: {len} bytes"),
            WorldEvent::Arrive { fd, len } => write!(f, "arrive fd{fd}: {len} bytes"),
            WorldEvent::Watch { fd, events, queued, .. } => {
                let queued = if *queued { ", event queued" } else { "" };
                write!(f, "watch fd{fd} for {}{queued}", Readiness(*events))
            }
            WorldEvent::Edge { fd, ready, .. } => write!(f, "edge fd{fd} {}", Readiness(*ready)),
            WorldEvent::Spurious { fd, .. } => write!(f, "spurious event of fd{fd}"),
            WorldEvent::Harvest { fd, events, .. } => {
                write!(f, "harvest fd{fd} {}", Readiness(*events))
            }
            WorldEvent::Fault { name } => write!(f, "fault {name}"),
            WorldEvent::Healed => f.write_str("the world heals"),
            WorldEvent::Arranged { what } => f.write_str(what),
        }
    }
}

/// What happened: in the runtime's words or in the world's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The runtime, or a system call of it.
    Runtime(Event),
    /// The world around it.
    World(WorldEvent),
}

impl Entry {
    /// The goroutine that this is about, if it is about one.
    #[must_use]
    pub fn goroutine(&self) -> Option<u64> {
        match *self {
            Entry::Runtime(
                Event::Go { g }
                | Event::Run { g }
                | Event::Yield { g }
                | Event::Park { g, .. }
                | Event::Abandon { g }
                | Event::Ready { g }
                | Event::Panic { g }
                | Event::Done { g },
            ) => Some(g),
            _ => None,
        }
    }

    /// Whether the thread runs another goroutine from here on, or none any more.
    #[inline]
    #[must_use]
    pub fn moves_thread(&self) -> bool {
        let Entry::Runtime(event) = self else { return false };
        matches!(
            event,
            Event::Run { .. }
                | Event::Abandon { .. }
                | Event::Park { .. }
                | Event::Yield { .. }
                | Event::Done { .. }
        )
    }

    /// The descriptor that this is about, where it says that itself. Whose place in the
    /// poller's table is meant knows only who has read the trace up to here.
    #[must_use]
    pub fn fd(&self) -> Option<RawFd> {
        let fd = match *self {
            Entry::World(
                WorldEvent::Arrive { fd, .. }
                | WorldEvent::Watch { fd, .. }
                | WorldEvent::Edge { fd, .. }
                | WorldEvent::Spurious { fd, .. }
                | WorldEvent::Harvest { fd, .. },
            )
            | Entry::Runtime(
                Event::Slot { fd, .. }
                | Event::Open { fd, .. }
                | Event::End { fd, .. }
                | Event::Use { fd, .. }
                | Event::Leave { fd, .. }
                | Event::Deadline { fd, .. }
                | Event::Expired { fd, .. }
                | Event::Evict { fd, .. }
                | Event::Syscall { fd, .. },
            ) => fd,
            _ => return None,
        };
        // A call that is about none, or a socket that has no number yet.
        (fd >= 0).then_some(fd)
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Entry::Runtime(event) => event.fmt(f),
            Entry::World(event) => event.fmt(f),
        }
    }
}

impl From<Event> for Entry {
    #[inline]
    fn from(event: Event) -> Entry {
        Entry::Runtime(event)
    }
}

impl From<WorldEvent> for Entry {
    #[inline]
    fn from(event: WorldEvent) -> Entry {
        Entry::World(event)
    }
}

/// One thing that happened, with its place in the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Virtual time in nanoseconds.
    pub t_ns: u64,
    /// The thread.
    pub thread: ThreadId,
    /// The goroutine that ran on that thread, if any did.
    pub g: Option<u64>,
    /// What happened.
    pub event: Entry,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn world_events_print_as_short_sentences() {
        let edge = |ready| WorldEvent::Edge { fd: 5, file: 3, ready, wakeup: 0 }.to_string();
        assert_eq!(edge(0), "edge fd5 nothing");
        assert_eq!(edge((libc::EPOLLIN | libc::EPOLLRDHUP) as u32), "edge fd5 IN|RDHUP");
        let on = BlockedOn::Lock(2);
        let block = |until_ns| WorldEvent::Block { on, until_ns }.to_string();
        assert_eq!(block(u64::MAX), "block: lock #2");
        assert_eq!(block(1_500), "block: lock #2 until t=1.5µs");
    }
}
