//! What the machine needs from outside.

use std::fmt;

use netpoll_traces::{ThreadId, WorldEvent};

use super::site::HostId;
use crate::choice::ChoiceKind;
use crate::engine::{Engine, START_NS};
use crate::faults::FaultKind;
use crate::oracle::Moved;

/// The time an event takes, by the number that is chosen for it.
pub(super) const DELAYS_NS: [u64; 8] =
    [5_000, 20_000, 100_000, 500_000, 2_000_000, 8_000_000, 25_000_000, 120_000_000];

/// What a [`Host`](super::Host) puts around the machine. No method may call back into it.
pub trait Outside {
    /// The virtual time.
    fn now_ns(&self) -> u64;
    /// Chooses a number below `n`.
    fn choose(&self, kind: ChoiceKind, n: u32) -> u32;
    /// Whether a fault strikes.
    fn strikes(&self, fault: FaultKind) -> bool;
    /// Takes down what the kernel of a host does on its own.
    fn record(&self, host: HostId, event: WorldEvent);
    /// Wakes a thread that waits for an epoll instance.
    fn wake(&self, waiter: u16);
}

/// The machine's outside during one step. It asks the engine directly, without a call where the answer is short: a message
/// asks some forty times.
pub struct Env<'a>(Around<'a>);

enum Around<'a> {
    Engine(&'a Engine),
    /// No run goes on any more.
    Nobody,
    Other(&'a dyn Outside),
}

impl fmt::Debug for Env<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Env").finish_non_exhaustive()
    }
}

impl<'a> Env<'a> {
    /// This one.
    #[must_use]
    pub fn of(outside: &'a dyn Outside) -> Env<'a> {
        Env(Around::Other(outside))
    }

    /// The engine, or nobody after the run: then time stands still, nothing is chosen and nobody woken.
    #[inline]
    pub(super) fn engine(engine: Option<&'a Engine>) -> Env<'a> {
        Env(engine.map_or(Around::Nobody, Around::Engine))
    }

    /// The virtual time.
    #[inline]
    pub fn now_ns(&self) -> u64 {
        match self.0 {
            Around::Engine(engine) => engine.now_ns(),
            Around::Nobody => START_NS,
            Around::Other(outside) => outside.now_ns(),
        }
    }

    /// Chooses a number below `n`.
    #[inline]
    pub fn choose(&self, kind: ChoiceKind, n: u32) -> u32 {
        match self.0 {
            Around::Engine(engine) => engine.choose(kind, n),
            Around::Nobody => 0,
            Around::Other(outside) => outside.choose(kind, n),
        }
    }

    /// Chooses a delay.
    pub(super) fn delay_ns(&self, kind: ChoiceKind) -> u64 {
        DELAYS_NS[self.choose(kind, DELAYS_NS.len() as u32) as usize]
    }

    /// Whether a fault strikes.
    #[inline]
    pub(super) fn strikes(&self, fault: FaultKind) -> bool {
        match self.0 {
            Around::Engine(engine) => engine.strikes(fault),
            Around::Nobody => false,
            Around::Other(outside) => outside.strikes(fault),
        }
    }

    /// Whether a link loses a packet that loses so many of a thousand. Only a run has links.
    pub(super) fn loses(&self, per_mille: u16) -> bool {
        match self.0 {
            Around::Engine(engine) => engine.loses(per_mille),
            Around::Nobody | Around::Other(_) => false,
        }
    }

    /// Takes down what the kernel of a host does on its own.
    #[inline]
    pub(super) fn record(&self, host: HostId, event: WorldEvent) {
        match self.0 {
            Around::Engine(engine) => engine.record_kernel(host, event),
            Around::Nobody => {}
            Around::Other(outside) => outside.record(host, event),
        }
    }

    /// Wakes a thread that waits for an epoll instance.
    pub(super) fn wake(&self, waiter: u16) {
        match self.0 {
            Around::Engine(engine) => engine.wake(ThreadId(waiter)),
            Around::Nobody => {}
            Around::Other(outside) => outside.wake(waiter),
        }
    }

    /// Shows the oracles which bytes enter or leave a stream that is read on a host.
    #[inline]
    pub(super) fn moved(&self, host: HostId, moved: Moved<'_>) {
        if let Around::Engine(engine) = self.0 {
            engine.moved(host, &moved);
        }
    }
}
