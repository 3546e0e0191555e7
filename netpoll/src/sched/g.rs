//! The goroutine's record.
//!
//! Records are type-stable: they live in the runtime's table until the runtime is gone, and serve one
//! goroutine after the other. A goroutine is named by its record's index inside the runtime (in slots,
//! queues, tickets) and by a number that is never reused towards people (in dumps and traces).
//!
//! | home | who runs it |
//! |---|---|
//! | `NOWHERE` | nobody yet: any worker may |
//! | a worker's index | that worker, for ever |
//! | `POOL` + i | thread i of the blocking pool |
//! | `PROXY` | nobody: it stands in a slot for a thread or for a goroutine of another runtime |

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::ticket::Ticket;
use crate::goroutine::FiberCell;
use crate::platform::{Atomic, Lock, Platform};
use crate::trace::WaitReason;
use crate::waiter::Waiter;

/// Home of a goroutine that has not started.
pub const NOWHERE: u32 = u32::MAX;
/// Home of a proxy.
pub const PROXY: u32 = u32::MAX - 1;
/// First home of the blocking pool's threads.
pub const POOL: u32 = 1 << 30;

/// What a goroutine does, for dumps: written by whoever changes it, read at a stopped world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The record is free.
    Free,
    /// In a queue.
    Runnable,
    /// On a worker.
    Running,
    /// Parked.
    Waiting(WaitReason),
}

/// The words of goroutines that wait are those of their reasons, moved up by so much: below are the others.
const WAITING: u64 = 3;

impl Status {
    const fn encode(self) -> u64 {
        match self {
            Status::Free => 0,
            Status::Runnable => 1,
            Status::Running => 2,
            Status::Waiting(why) => why.encode() + WAITING,
        }
    }

    fn decode(word: u64) -> Status {
        match word {
            0 => Status::Free,
            1 => Status::Runnable,
            2 => Status::Running,
            word => match WaitReason::decode(word - WAITING) {
                Some(why) => Status::Waiting(why),
                None => unreachable!("goroutine status {word:#x}"),
            },
        }
    }
}

/// See the module documentation.
pub struct G<P: Platform> {
    /// Its place in the table.
    pub index: u32,
    /// The stack and what runs on it.
    pub fiber: FiberCell,
    /// The current park.
    pub ticket: Ticket<P>,
    /// Who runs it.
    pub home: P::AtomicU32,
    /// Link of the one queue it is in: table index + 1, 0 at the end.
    pub next: P::AtomicU32,
    /// For a proxy: whom to wake instead.
    pub proxy: P::Mutex<Option<Waiter<P>>>,
    /// Cold facts, for people.
    name: P::Mutex<Option<Arc<str>>>,
    id: AtomicU64,
    status: AtomicU64,
    since: AtomicU64,
}

impl<P: Platform> std::fmt::Debug for G<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("G")
            .field("index", &self.index)
            .field("id", &self.id())
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

impl<P: Platform> G<P> {
    /// A free record.
    pub fn new(index: u32) -> G<P> {
        G {
            index,
            fiber: FiberCell::new(),
            ticket: Ticket::new(),
            home: P::AtomicU32::new(NOWHERE),
            next: P::AtomicU32::new(0),
            proxy: P::Mutex::new(None),
            name: P::Mutex::new(None),
            id: AtomicU64::new(0),
            status: AtomicU64::new(0),
            since: AtomicU64::new(0),
        }
    }

    /// Gives the record to a new goroutine.
    pub fn begin(&self, id: u64, name: Option<Arc<str>>, home: u32) {
        self.id.store(id, Relaxed);
        *self.name.lock() = name;
        self.home.store(home, Relaxed);
    }

    /// The number that people know it by.
    pub fn id(&self) -> u64 {
        self.id.load(Relaxed)
    }

    /// Its name.
    pub fn name(&self) -> Option<Arc<str>> {
        self.name.lock().clone()
    }

    /// Who runs it.
    pub fn home(&self) -> u32 {
        self.home.load(Relaxed)
    }

    /// What it does.
    pub fn status(&self) -> Status {
        Status::decode(self.status.load(Relaxed))
    }

    /// Since when it does that: nanoseconds of the kernel's clock, as fresh as its worker's last look
    /// at it.
    pub fn since(&self) -> u64 {
        self.since.load(Relaxed)
    }

    /// Notes what it does from `now` on.
    #[inline]
    pub fn set_status(&self, status: Status, now: u64) {
        self.status.store(status.encode(), Relaxed);
        self.since.store(now, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::Mode;

    #[test]
    fn every_status_survives_its_word() {
        use WaitReason::*;
        let reasons = [
            Io(7, Mode::Read),
            Io(i32::MAX, Mode::Write),
            FdLock(3, Mode::Write),
            Close(9),
            Sleep,
            Join,
            Scope,
            ChanRecv,
            ChanSend,
            Mutex,
            RwLock,
            Condvar,
            WaitGroup,
            Blocking,
            StopTheWorld,
        ];
        let states = reasons.map(Status::Waiting);
        for status in states.into_iter().chain([Status::Free, Status::Runnable, Status::Running]) {
            assert_eq!(Status::decode(status.encode()), status);
        }
    }
}
