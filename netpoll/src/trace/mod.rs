//! The trace vocabulary: what the runtime can say about itself, in one set of words.
//!
//! The simulator, the models, panics and the documentation use these lines, so that a reader learns
//! one language: `t=120µs w1 g7 read fd4: Nil -> Wait`. This module has the events and their text;
//! time, thread and goroutine in front of an event belong to the recorder (`netpoll-traces`).
//!
//! An event is a small `Copy` value. Emitting one on a platform that does not record is an empty
//! inlined call ([`Kernel::trace`](crate::platform::Kernel::trace)). In production a runtime that was built with
//! [`Builder::trace`](crate::runtime::Builder::trace) records:
//!
//! | file | what it is |
//! |---|---|
//! | `calls.rs` | which argument and result of a system call are recorded |
//! | `words.rs` | events as words, for rings and files |
//! | `ring.rs` | the last events of one thread, written without locks and read by anybody |
//! | `file.rs` | the file format |
//!
//! What joins them, a ring for each thread, is `platform/os/recording.rs`.

pub mod calls;
pub mod file;
pub mod ring;
pub mod words;

use std::fmt;

use crate::ops::Deadlines;
use crate::platform::{Errno, RawFd};

/// The direction of an operation on a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// Reading, accepting.
    Read,
    /// Writing, connecting.
    Write,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::Read => "read",
            Mode::Write => "write",
        })
    }
}

/// What a goroutine waits for while it is parked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WaitReason {
    /// I/O readiness of a descriptor.
    Io(RawFd, Mode),
    /// The lock that serialises operations of one direction on a descriptor.
    FdLock(RawFd, Mode),
    /// The last reference to a descriptor that is being closed.
    Close(RawFd),
    /// A time.
    Sleep,
    /// Another goroutine's end.
    Join,
    /// All goroutines of a scope.
    Scope,
    /// A value in a channel.
    ChanRecv,
    /// Room in a channel.
    ChanSend,
    /// A mutex.
    Mutex,
    /// A reader-writer lock.
    RwLock,
    /// A condition variable.
    Condvar,
    /// A wait group.
    WaitGroup,
    /// A call on the blocking pool.
    Blocking,
    /// The right to stop the world.
    StopTheWorld,
}

impl fmt::Display for WaitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WaitReason::Io(fd, mode) => write!(f, "{mode} fd{fd}"),
            WaitReason::FdLock(fd, mode) => write!(f, "{mode} lock of fd{fd}"),
            WaitReason::Close(fd) => write!(f, "close of fd{fd}"),
            WaitReason::Sleep => f.write_str("sleep"),
            WaitReason::Join => f.write_str("join"),
            WaitReason::Scope => f.write_str("scope"),
            WaitReason::ChanRecv => f.write_str("chan recv"),
            WaitReason::ChanSend => f.write_str("chan send"),
            WaitReason::Mutex => f.write_str("mutex"),
            WaitReason::RwLock => f.write_str("rwlock"),
            WaitReason::Condvar => f.write_str("condvar"),
            WaitReason::WaitGroup => f.write_str("wait group"),
            WaitReason::Blocking => f.write_str("blocking call"),
            WaitReason::StopTheWorld => f.write_str("stop the world"),
        }
    }
}

/// A state of a descriptor's slot, as printed: `Nil`, `Ready`, `Wait` or the goroutine parked there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SlotState {
    /// Nothing known, nobody waits.
    Nil,
    /// An edge has come and nobody has used it yet.
    Ready,
    /// A consumer is about to park.
    Wait,
    /// This goroutine (its table index) is parked here.
    Parked(u32),
}

impl fmt::Display for SlotState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SlotState::Nil => f.write_str("Nil"),
            SlotState::Ready => f.write_str("Ready"),
            SlotState::Wait => f.write_str("Wait"),
            SlotState::Parked(g) => write!(f, "Parked(#{g})"),
        }
    }
}

/// What a worker does, as far as the scheduler's wake-up rules can see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WorkerPhase {
    /// Looks for work in other workers' queues.
    Spinning,
    /// Is blocked, or about to block, in the kernel's poll.
    Polling {
        /// When it has to be back, for the earliest timer; `u64::MAX` for no time.
        until_ns: u64,
        /// How far away that was when it looked at the clock last.
        delay_ns: u64,
    },
    /// Is asleep, or about to be, on its parker.
    Parked,
    /// Has been woken or found something.
    Awake,
    /// Stands still for a stopped world.
    Stopped,
}

impl fmt::Display for WorkerPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WorkerPhase::Spinning => "spinning",
            WorkerPhase::Polling { until_ns: u64::MAX, .. } => "polling",
            WorkerPhase::Polling { until_ns, .. } => {
                return write!(f, "polling until t={}", Micros(*until_ns));
            }
            WorkerPhase::Parked => "parked",
            WorkerPhase::Awake => "awake",
            WorkerPhase::Stopped => "stopped",
        })
    }
}

/// What a timer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimerUse {
    /// Deadlines of a descriptor.
    Deadline {
        /// The descriptor's place in the poller's table.
        pd: u32,
        /// Which of its deadlines.
        which: Deadlines,
    },
    /// The end of a park.
    Park {
        /// The goroutine's place in its table.
        g: u32,
    },
}

impl fmt::Display for TimerUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TimerUse::Deadline { pd, which } => {
                let which = match which {
                    Deadlines::Read => "read deadline",
                    Deadlines::Write => "write deadline",
                    Deadlines::Both => "both deadlines",
                };
                write!(f, "{which} of pd#{pd}")
            }
            TimerUse::Park { g } => write!(f, "park of #{g}"),
        }
    }
}

/// One thing that happened.
///
/// Where a lock-free state changes, the event follows the exchange with no access of shared memory in
/// between: in a simulator, where threads are switched only at such accesses, the order of these events is
/// the order of the changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Goroutine `g` was created.
    Go {
        /// The goroutine's number, never reused.
        g: u64,
    },
    /// Goroutine `g` runs on this worker from here on.
    Run {
        /// The goroutine's number.
        g: u64,
    },
    /// The running goroutine gave its worker to others and stays runnable.
    Yield {
        /// The goroutine's number.
        g: u64,
    },
    /// The running goroutine is parked.
    Park {
        /// The goroutine's number.
        g: u64,
        /// What it waits for.
        on: WaitReason,
    },
    /// The park that the goroutine began had been ended already: it runs on.
    Abandon {
        /// The goroutine's number.
        g: u64,
    },
    /// Goroutine `g` was made runnable.
    Ready {
        /// The goroutine's number.
        g: u64,
    },
    /// The running goroutine panics, and its panic has been caught at its root.
    Panic {
        /// The goroutine's number.
        g: u64,
    },
    /// The running goroutine ended.
    Done {
        /// The goroutine's number.
        g: u64,
    },
    /// A descriptor begins a life.
    Open {
        /// The file.
        fd: RawFd,
        /// The descriptor's place in the poller's table.
        pd: u32,
        /// The number of the life, which its kernel events carry.
        life: u32,
    },
    /// The life of a descriptor has ended: no event fits it any more.
    End {
        /// The file.
        fd: RawFd,
        /// The descriptor's place in the poller's table.
        pd: u32,
    },
    /// The running goroutine, or the thread, has a reference to a file and goes on to use it.
    Use {
        /// The file.
        fd: RawFd,
        /// The descriptor's place in the poller's table.
        pd: u32,
    },
    /// It goes on to give that reference back.
    Leave {
        /// The file.
        fd: RawFd,
        /// The descriptor's place in the poller's table.
        pd: u32,
    },
    /// The poll loop has found that an event is of the life that its descriptor has.
    Dispatch {
        /// The descriptor's place in the poller's table.
        pd: u32,
        /// The life that the event is of.
        life: u32,
    },
    /// The poll loop drops an event, because the life that it is of has ended.
    Stale {
        /// The descriptor's place in the poller's table.
        pd: u32,
        /// The life that the event is of.
        life: u32,
    },
    /// A slot changed its state.
    Slot {
        /// The descriptor's place in the poller's table.
        pd: u32,
        /// The descriptor.
        fd: RawFd,
        /// Which of its two slots.
        mode: Mode,
        /// The state it left.
        from: SlotState,
        /// The state it entered.
        to: SlotState,
    },
    /// A deadline of a descriptor was set, and is published.
    Deadline {
        /// The descriptor's place in the poller's table.
        pd: u32,
        /// The descriptor.
        fd: RawFd,
        /// The direction.
        mode: Mode,
        /// Absolute time in nanoseconds; 0 for none, negative for already expired.
        at_ns: i64,
    },
    /// A deadline of a descriptor passed and its timer ran; that is published.
    Expired {
        /// The descriptor's place in the poller's table.
        pd: u32,
        /// The descriptor.
        fd: RawFd,
        /// The direction.
        mode: Mode,
    },
    /// The life of a descriptor is being torn down, and that is published; its waiters are released next.
    Evict {
        /// The descriptor's place in the poller's table.
        pd: u32,
        /// The descriptor.
        fd: RawFd,
    },
    /// The poller's count of waiters changed.
    Waiters {
        /// What it is now.
        count: i32,
    },
    /// A timer was armed.
    Arm {
        /// The worker whose timers it is among.
        worker: u32,
        /// Its number there, never reused.
        timer: u64,
        /// Absolute time in nanoseconds.
        at_ns: u64,
        /// What it is for.
        what: TimerUse,
    },
    /// A timer was stopped.
    Disarm {
        /// The worker whose timers it was among.
        worker: u32,
        /// Its number there.
        timer: u64,
    },
    /// A timer was due and has been taken out, to be run.
    Fire {
        /// The worker whose timers it was among.
        worker: u32,
        /// Its number there.
        timer: u64,
    },
    /// A worker changed what it does.
    Worker {
        /// The new phase.
        phase: WorkerPhase,
    },
    /// A sleeping worker has been told to get up, and is woken next.
    Wake {
        /// The worker.
        worker: u32,
    },
    /// The number of workers that take new goroutines was set.
    Workers {
        /// The number.
        active: u32,
    },
    /// The world is stopped, or about to be, or runs again.
    World {
        /// Which of the two.
        is_stopped: bool,
    },
    /// Somebody asked the blocked poller to come back.
    Break {
        /// False when a request was in flight already.
        sent: bool,
    },
    /// The poller has taken the request to come back out of its channel; the next one is a new one.
    Drained,
    /// `epoll_wait` has brought an event, in production. A simulator, which knows of which file, says that in
    /// words of its own.
    Polled {
        /// What the event carries.
        data: u64,
        /// What it reports, in the bits of `epoll`.
        events: u32,
    },
    /// A system call and its result.
    Syscall {
        /// The call's name.
        name: &'static str,
        /// The descriptor it is about; negative when it is about none.
        fd: RawFd,
        /// The argument that matters most: a length, a timeout, another descriptor; 0 if none.
        arg: i64,
        /// What it returned.
        result: Result<i64, Errno>,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Go { g } => write!(f, "go g{g}"),
            Event::Run { g } => write!(f, "run g{g}"),
            Event::Yield { g } => write!(f, "yield g{g}"),
            Event::Park { g, on } => write!(f, "park g{g}: {on}"),
            Event::Abandon { g } => write!(f, "abandon park g{g}"),
            Event::Ready { g } => write!(f, "ready g{g}"),
            Event::Panic { g } => write!(f, "panic g{g}"),
            Event::Done { g } => write!(f, "done g{g}"),
            Event::Open { fd, pd, life } => write!(f, "open fd{fd}: pd#{pd} life {life}"),
            Event::End { fd, pd } => write!(f, "end fd{fd}: pd#{pd}"),
            Event::Use { fd, .. } => write!(f, "use fd{fd}"),
            Event::Leave { fd, .. } => write!(f, "leave fd{fd}"),
            Event::Dispatch { pd, life } => write!(f, "dispatch to pd#{pd} life {life}"),
            Event::Stale { pd, life } => write!(f, "stale event of pd#{pd} life {life}"),
            Event::Slot { fd, mode, from, to, .. } => write!(f, "{mode} fd{fd}: {from} -> {to}"),
            Event::Deadline { fd, mode, at_ns: 0, .. } => write!(f, "{mode} fd{fd}: deadline none"),
            Event::Deadline { fd, mode, at_ns, .. } if *at_ns < 0 => {
                write!(f, "{mode} fd{fd}: deadline past")
            }
            Event::Deadline { fd, mode, at_ns, .. } => {
                write!(f, "{mode} fd{fd}: deadline t={}", Micros(at_ns.unsigned_abs()))
            }
            Event::Expired { fd, mode, .. } => write!(f, "{mode} fd{fd}: deadline expired"),
            Event::Evict { fd, .. } => write!(f, "evict fd{fd}"),
            Event::Waiters { count } => write!(f, "waiters: {count}"),
            Event::Arm { worker, timer, at_ns, what } => {
                write!(f, "arm timer w{worker}.{timer} at t={}: {what}", Micros(*at_ns))
            }
            Event::Disarm { worker, timer } => write!(f, "disarm timer w{worker}.{timer}"),
            Event::Fire { worker, timer } => write!(f, "fire timer w{worker}.{timer}"),
            Event::Worker { phase } => write!(f, "worker {phase}"),
            Event::Wake { worker } => write!(f, "wake w{worker}"),
            Event::Workers { active } => write!(f, "{active} workers"),
            Event::World { is_stopped: true } => f.write_str("stop the world"),
            Event::World { is_stopped: false } => f.write_str("start the world"),
            Event::Break { sent: true } => f.write_str("break"),
            Event::Break { sent: false } => f.write_str("break (already in flight)"),
            Event::Drained => f.write_str("break drained"),
            Event::Polled { data, events } => write!(f, "event {events:#x} for {data:#x}"),
            Event::Syscall { name, fd, arg, result } => {
                if *fd < 0 {
                    write!(f, "{name}() = ")?;
                } else {
                    write!(f, "{name}(fd{fd}, {arg}) = ")?;
                }
                match result {
                    Ok(value) => write!(f, "{value}"),
                    Err(errno) => write!(f, "{errno}"),
                }
            }
        }
    }
}

/// Nanoseconds, printed as microseconds with as many decimals as are needed: `120µs`, `1.25µs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Micros(pub u64);

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 1000, self.0 % 1000);
        if rest == 0 {
            return write!(f, "{whole}µs");
        }
        let decimals = format!("{rest:03}");
        write!(f, "{whole}.{}µs", decimals.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_print_in_the_vocabulary_of_the_documentation() {
        let cases = [
            (
                Event::Slot {
                    pd: 0,
                    fd: 4,
                    mode: Mode::Read,
                    from: SlotState::Nil,
                    to: SlotState::Wait,
                },
                "read fd4: Nil -> Wait",
            ),
            (Event::Park { g: 7, on: WaitReason::Io(4, Mode::Write) }, "park g7: write fd4"),
            (
                Event::Syscall { name: "read", fd: 4, arg: 64, result: Err(Errno::EAGAIN) },
                "read(fd4, 64) = EAGAIN",
            ),
        ];
        for (event, text) in cases {
            assert_eq!(event.to_string(), text);
        }
    }

    #[test]
    fn times_print_in_microseconds_without_trailing_zeros() {
        for (ns, text) in [(0, "0µs"), (120_000, "120µs"), (1_250, "1.25µs"), (1, "0.001µs")] {
            assert_eq!(Micros(ns).to_string(), text);
        }
    }
}
