//! Looking into a runtime without stopping it, from outside: what a checker asks when nothing moves.
//!
//! Only atomics are read, and no lock is taken that a stuck thread could hold: a checker asks after
//! the threads of the runtime have been abandoned wherever they were.

use std::sync::Arc;

use super::g::{G, NOWHERE, POOL, PROXY, Status};
use super::shared::Shared;
use crate::platform::{Platform, RawFd};
use crate::poll::PollError;
use crate::trace::{Mode, SlotState, WaitReason};

/// A goroutine that is parked on a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParkedIo {
    /// The descriptor.
    pub fd: RawFd,
    /// The direction.
    pub mode: Mode,
    /// The reason for which it should have been released: the descriptor is closing, or its deadline
    /// has passed. A goroutine that *stays* parked with a reason is a lost wakeup (S7, L2, L3).
    pub cancelled: Option<PollError>,
}

/// One goroutine, as an [`Inspector`] sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoroutineState {
    /// Its number.
    pub id: u64,
    /// What it does or waits for.
    pub status: Status,
    /// The worker it is pinned to; `None` before it has run and on the blocking pool.
    pub worker: Option<u32>,
    /// What it waits for, if it is parked on a descriptor.
    pub parked_io: Option<ParkedIo>,
}

/// Looks into a runtime; outlives it.
#[derive(Clone, Debug)]
pub struct Inspector(Arc<dyn Inspect>);

impl Inspector {
    pub(crate) fn new<P: Platform>(shared: Arc<Shared<P>>) -> Inspector {
        Inspector(shared)
    }

    /// All goroutines that have not ended, oldest first. A moment's view: exact when nothing runs.
    #[must_use]
    pub fn goroutines(&self) -> Vec<GoroutineState> {
        let mut all = self.0.goroutines();
        all.sort_by_key(|g| g.id);
        all
    }

    /// Goroutines and threads parked on descriptors, by the poller's count (S17).
    #[must_use]
    pub fn waiters(&self) -> i32 {
        self.0.waiters()
    }
}

trait Inspect: std::fmt::Debug + Send + Sync {
    fn goroutines(&self) -> Vec<GoroutineState>;
    fn waiters(&self) -> i32;
}

impl<P: Platform> Inspect for Shared<P> {
    fn goroutines(&self) -> Vec<GoroutineState> {
        self.gs.iter().filter_map(|g| self.inspect(g)).collect()
    }

    fn waiters(&self) -> i32 {
        self.netpoll.waiters()
    }
}

impl<P: Platform> Shared<P> {
    fn inspect(&self, g: &G<P>) -> Option<GoroutineState> {
        let status = g.status();
        let home = g.home();
        if status == Status::Free || home == PROXY {
            return None;
        }
        let parked_io = match status {
            Status::Waiting(WaitReason::Io(fd, mode)) => {
                let pd = self
                    .netpoll
                    .lives
                    .iter()
                    .find(|pd| pd.slot_state(mode) == SlotState::Parked(g.index));
                let cancelled = pd.and_then(|pd| pd.check(mode).err());
                Some(ParkedIo { fd, mode, cancelled })
            }
            _ => None,
        };
        let worker = (home != NOWHERE && home < POOL).then_some(home);
        Some(GoroutineState { id: g.id(), status, worker, parked_io })
    }
}
