//! Who owns a mutex and who waits for it: a sequential state machine.
//!
//! # Policy
//!
//! Normally a mutex is *barged*: unlocking frees it and wakes the first waiter, who has to take it
//! like anybody else. The alternative, handing it over at once, makes every contended lock as slow as
//! a switch: between the hand-over and the new owner's first instruction nobody can use it, and a
//! goroutine that locks twice in a row parks although the lock was free (a convoy).
//!
//! Pure barging starves: the woken has a queue before it, the running has not. So a waiter that was
//! woken and came too late [`LOSSES_MAX`] times is handed the mutex by the next unlock. Go bounds the
//! starvation by time (1 ms); a count needs no clock and is the same in every replay.
//!
//! A waiter keeps its place in the queue when it loses, so the wake-up order is the order of arrival.
//!
//! # States
//!
//! `owned` with the right to it, `heir` (owned by a waiter who does not know yet), `woken` (a waiter
//! is on its way to try). Nobody else is woken while one is on its way: it will either take the mutex
//! and wake the next by unlocking it, or queue up again.
//!
//! # Invariants
//!
//! * M1: an heir exists only while `owned`.
//! * M2: somebody waits in the queue ⇒ `owned` or `woken`. (No waiter is forgotten.)
//! * M3: a waiter with [`LOSSES_MAX`] losses is at most one unlock away from ownership once it is at
//!   the front.

use super::queue::{Seat, WaitQueue};

/// How often a waiter may be woken in vain before the mutex is handed to it.
pub(super) const LOSSES_MAX: u32 = 4;

/// A wait for the mutex: the waiter's place, and how often it came too late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Turn {
    seat: Seat,
    losses: u32,
}

/// What the caller of [`MutexState::lock`] has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum LockAction {
    /// Go on: it owns the mutex.
    Own,
    /// Park, then call [`MutexState::woken`].
    Park(Turn),
}

/// What a woken waiter has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum WokenAction {
    /// Go on: it was handed the mutex, or came in time.
    Own,
    /// It came too late: open a new park and call [`MutexState::lock`] with its turn.
    Retry,
}

/// What the caller of [`MutexState::unlock`] has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum UnlockAction<W> {
    /// Nothing.
    Nothing,
    /// Wake this waiter.
    Wake(W),
}

/// The state of a mutex whose waiters are `W`s.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct MutexState<W> {
    owned: bool,
    heir: Option<Seat>,
    woken: bool,
    queue: WaitQueue<(W, u32)>,
}

impl<W> MutexState<W> {
    /// A free mutex.
    #[must_use]
    pub(super) fn new() -> Self {
        MutexState { owned: false, heir: None, woken: false, queue: WaitQueue::new() }
    }

    /// Takes the mutex if it is free.
    #[must_use]
    pub(super) fn try_lock(&mut self) -> bool {
        let free = !self.owned;
        self.owned = true;
        free
    }

    /// Takes the mutex or queues up. A waiter that was woken too late passes its `turn`.
    pub(super) fn lock(&mut self, turn: Option<Turn>, waiter: W) -> LockAction {
        if turn.is_some() {
            assert!(self.woken, "woken by nobody");
            self.woken = false;
        }
        if self.try_lock() {
            return LockAction::Own;
        }
        let turn = match turn {
            None => Turn { seat: self.queue.push((waiter, 0)), losses: 0 },
            Some(Turn { seat, losses }) => {
                let losses = losses.saturating_add(1);
                self.queue.push_again(seat, (waiter, losses));
                Turn { seat, losses }
            }
        };
        LockAction::Park(turn)
    }

    /// The waiter with this turn is awake.
    pub(super) fn woken(&mut self, turn: Turn) -> WokenAction {
        if self.heir == Some(turn.seat) {
            assert!(self.owned, "M1: an heir of a free mutex");
            self.heir = None;
            return WokenAction::Own;
        }
        assert!(self.woken, "woken by nobody");
        if self.try_lock() {
            self.woken = false;
            return WokenAction::Own;
        }
        WokenAction::Retry // still on its way, as far as the others are concerned
    }

    /// Gives the mutex up.
    pub(super) fn unlock(&mut self) -> UnlockAction<W> {
        assert!(self.owned, "unlock of a free mutex");
        assert_eq!(self.heir, None, "unlock of a mutex that was handed over");
        let starving = matches!(self.queue.front(), Some((_, losses)) if *losses >= LOSSES_MAX);
        if !starving {
            self.owned = false;
            if self.woken {
                return UnlockAction::Nothing; // M2: the woken one will see to the rest
            }
        }
        match self.queue.pop() {
            None => UnlockAction::Nothing,
            Some((seat, (waiter, _))) => {
                if starving {
                    self.heir = Some(seat);
                } else {
                    self.woken = true;
                }
                UnlockAction::Wake(waiter)
            }
        }
    }
}

impl<W> Default for MutexState<W> {
    fn default() -> Self {
        MutexState::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// One client of the exhaustive test, between two transitions.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    enum Client {
        /// About to lock, for the n-th last time.
        Lock(u32, Option<Turn>),
        Parked(u32, Turn),
        Awake(u32, Turn),
        Owner(u32),
        Done,
    }

    #[derive(Clone, Debug, PartialEq, Eq, Hash)]
    struct World {
        mutex: MutexState<usize>,
        clients: Vec<Client>,
    }

    impl World {
        /// Lets client `i` do its next transition. False if it cannot.
        fn step(&mut self, i: usize) -> bool {
            self.clients[i] = match self.clients[i] {
                Client::Done | Client::Parked(..) => return false,
                Client::Lock(rounds, turn) => match self.mutex.lock(turn, i) {
                    LockAction::Own => Client::Owner(rounds),
                    LockAction::Park(turn) => Client::Parked(rounds, turn),
                },
                Client::Awake(rounds, turn) => match self.mutex.woken(turn) {
                    WokenAction::Own => Client::Owner(rounds),
                    WokenAction::Retry => Client::Lock(rounds, Some(turn)),
                },
                Client::Owner(rounds) => {
                    if let UnlockAction::Wake(woken) = self.mutex.unlock() {
                        let Client::Parked(rounds, turn) = self.clients[woken] else {
                            panic!("woke {:?}", self.clients[woken]);
                        };
                        self.clients[woken] = Client::Awake(rounds, turn);
                    }
                    match rounds {
                        1 => Client::Done,
                        _ => Client::Lock(rounds - 1, None),
                    }
                }
            };
            true
        }

        fn check(&self) {
            let owners = self.clients.iter().filter(|c| matches!(c, Client::Owner(_)));
            let heirs = usize::from(self.mutex.heir.is_some());
            let owned = usize::from(self.mutex.owned);
            assert_eq!(owners.count() + heirs, owned, "exclusion: {self:?}");
            if !self.mutex.queue.is_empty() {
                assert!(self.mutex.owned || self.mutex.woken, "M2: {self:?}");
            }
        }
    }

    /// All interleavings of clients that lock and unlock `rounds` times each. Returns their number of
    /// distinct states.
    fn explore(clients: usize, rounds: u32) -> usize {
        let start =
            World { mutex: MutexState::new(), clients: vec![Client::Lock(rounds, None); clients] };
        let mut seen = HashSet::from([start.clone()]);
        let mut todo = vec![start];
        while let Some(world) = todo.pop() {
            world.check();
            let mut stuck = true;
            for i in 0..clients {
                let mut next = world.clone();
                if next.step(i) {
                    stuck = false;
                    if seen.insert(next.clone()) {
                        todo.push(next);
                    }
                }
            }
            if stuck {
                assert!(
                    world.clients.iter().all(|c| *c == Client::Done),
                    "lost wake-up: {world:?}"
                );
                assert!(!world.mutex.woken && !world.mutex.owned, "{world:?}");
            }
        }
        seen.len()
    }

    #[test]
    fn every_interleaving_excludes_and_everybody_gets_the_mutex() {
        assert!(explore(2, 6) > 100, "starvation must be reachable");
        assert!(explore(3, 2) > 500);
    }

    #[test]
    fn a_waiter_that_keeps_losing_is_handed_the_mutex() {
        let mut mutex = MutexState::new();
        assert!(mutex.try_lock());
        let LockAction::Park(mut turn) = mutex.lock(None, "victim") else {
            panic!("the mutex is owned");
        };
        for _ in 0..LOSSES_MAX {
            assert_eq!(mutex.unlock(), UnlockAction::Wake("victim"));
            assert!(mutex.try_lock(), "barging");
            assert_eq!(mutex.woken(turn), WokenAction::Retry);
            let LockAction::Park(again) = mutex.lock(Some(turn), "victim") else {
                panic!("the mutex is owned");
            };
            turn = again;
        }
        assert_eq!(mutex.unlock(), UnlockAction::Wake("victim"));
        assert!(!mutex.try_lock(), "no barging any more");
        assert_eq!(mutex.woken(turn), WokenAction::Own);
        assert_eq!(mutex.unlock(), UnlockAction::Nothing);
    }
}
