//! Who owns a readers-writer lock and who waits for it: a sequential state machine.
//!
//! # Policy
//!
//! First come, first served: whoever unlocks hands over to the first waiter and, if that is a reader, to
//! the readers right behind it. A reader that comes while somebody waits queues up. So neither side
//! starves. The mutex is barged instead, because a hand-over per contended lock is a switch per lock;
//! here one hand-over admits a crowd of readers, and barging readers would starve writers.
//!
//! # Invariants
//!
//! * R1: a writer owns it ⇒ no reader does.
//! * R2: somebody waits ⇒ somebody owns it.
//! * R3: a reader is first in the queue ⇒ a writer owns it.

use super::queue::WaitQueue;

/// What a lock is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Shared with other readers.
    Read,
    /// Alone.
    Write,
}

/// What the caller of [`RwLockState::lock`] has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum LockAction {
    /// Go on: it has the lock.
    Own,
    /// Park: when it is woken it has the lock.
    Park,
}

/// The state of a readers-writer lock whose waiters are `W`s.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct RwLockState<W> {
    readers: usize,
    writer: bool,
    queue: WaitQueue<(W, Access)>,
}

impl<W> RwLockState<W> {
    /// A free lock.
    #[must_use]
    pub(super) fn new() -> Self {
        RwLockState { readers: 0, writer: false, queue: WaitQueue::new() }
    }

    /// Takes the lock if that needs no waiting.
    #[must_use]
    pub(super) fn try_lock(&mut self, access: Access) -> bool {
        let free = self.queue.is_empty() && self.admits(access);
        if free {
            self.admit(access);
        }
        free
    }

    /// Takes the lock or queues up.
    pub(super) fn lock(&mut self, access: Access, waiter: W) -> LockAction {
        if self.try_lock(access) {
            return LockAction::Own;
        }
        self.queue.push((waiter, access));
        LockAction::Park
    }

    /// Gives the lock up. Returns whom to wake; they have it already.
    #[must_use]
    pub(super) fn unlock(&mut self, access: Access) -> Vec<W> {
        match access {
            Access::Read => {
                assert!(self.readers > 0, "a reader's unlock without its lock");
                self.readers -= 1;
            }
            Access::Write => {
                assert!(self.writer, "a writer's unlock without its lock");
                self.writer = false;
            }
        }
        let mut woken = Vec::new();
        while self.queue.front().is_some_and(|(_, access)| self.admits(*access)) {
            if let Some((_, (waiter, access))) = self.queue.pop() {
                self.admit(access);
                woken.push(waiter);
            }
        }
        woken
    }

    fn admits(&self, access: Access) -> bool {
        !self.writer && (access == Access::Read || self.readers == 0)
    }

    fn admit(&mut self, access: Access) {
        match access {
            Access::Read => self.readers += 1,
            Access::Write => self.writer = true,
        }
        assert!(!self.writer || self.readers == 0, "R1");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// One client of the exhaustive test: what it still takes the lock for, and where it is.
    #[derive(Clone, Debug, PartialEq, Eq, Hash)]
    struct Client {
        left: Vec<Access>,
        at: At,
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    enum At {
        Outside,
        Parked,
        Inside,
    }

    #[derive(Clone, Debug, PartialEq, Eq, Hash)]
    struct World {
        lock: RwLockState<usize>,
        clients: Vec<Client>,
    }

    impl World {
        /// Lets client `i` do its next transition. False if it cannot.
        fn step(&mut self, i: usize) -> bool {
            let Some(&access) = self.clients[i].left.first() else {
                return false;
            };
            match self.clients[i].at {
                At::Parked => return false,
                At::Outside => {
                    self.clients[i].at = match self.lock.lock(access, i) {
                        LockAction::Own => At::Inside,
                        LockAction::Park => At::Parked,
                    }
                }
                At::Inside => {
                    self.clients[i].left.remove(0);
                    self.clients[i].at = At::Outside;
                    for woken in self.lock.unlock(access) {
                        assert_eq!(self.clients[woken].at, At::Parked);
                        self.clients[woken].at = At::Inside;
                    }
                }
            }
            true
        }

        fn check(&self) {
            let inside = |access| {
                let at = |c: &&Client| c.at == At::Inside && c.left[0] == access;
                self.clients.iter().filter(at).count()
            };
            let (readers, writers) = (inside(Access::Read), inside(Access::Write));
            assert!(writers == 0 || (writers == 1 && readers == 0), "R1");
            assert_eq!((readers, writers == 1), (self.lock.readers, self.lock.writer));
            if let Some((_, first)) = self.lock.queue.front() {
                assert!(readers + writers > 0, "R2");
                assert!(*first == Access::Write || writers == 1, "R3");
            }
        }
    }

    #[test]
    fn every_interleaving_excludes_and_everybody_gets_the_lock() {
        use Access::{Read, Write};
        let client = |left: &[Access]| Client { left: left.to_vec(), at: At::Outside };
        let start = World {
            lock: RwLockState::new(),
            clients: vec![
                client(&[Read, Write, Read]),
                client(&[Read, Read]),
                client(&[Write, Read]),
                client(&[Read, Write]),
            ],
        };
        let mut seen = HashSet::from([start.clone()]);
        let mut todo = vec![start];
        while let Some(world) = todo.pop() {
            world.check();
            let mut stuck = true;
            for i in 0..world.clients.len() {
                let mut next = world.clone();
                if next.step(i) {
                    stuck = false;
                    if seen.insert(next.clone()) {
                        todo.push(next);
                    }
                }
            }
            let done = world.clients.iter().all(|client| client.left.is_empty());
            assert!(!stuck || done, "a lost wake-up: {world:?}");
        }
        assert!(seen.len() > 300);
    }

    #[test]
    fn a_reader_does_not_overtake_a_waiting_writer() {
        let mut lock = RwLockState::new();
        assert!(lock.try_lock(Access::Read));
        assert_eq!(lock.lock(Access::Write, "w"), LockAction::Park);
        assert!(!lock.try_lock(Access::Read));
        assert_eq!(lock.lock(Access::Read, "r1"), LockAction::Park);
        assert_eq!(lock.lock(Access::Read, "r2"), LockAction::Park);
        assert_eq!(lock.unlock(Access::Read), ["w"]);
        assert_eq!(lock.unlock(Access::Write), ["r1", "r2"]);
    }
}
