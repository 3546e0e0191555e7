//! Hosts, as the engine has them: whose threads are whose, and which of them go on.
//!
//! A thread belongs to the host of the thread that started it. A host that [ends](Engine::kill) has no threads any more: they
//! are abandoned where they stand, like those of a run that is over (E4). Those of one that is paused are left out when
//! somebody is picked, and what they wait for happens meanwhile.
//!
//! Each host has oracles of its own, since each has a runtime of its own, with its own goroutines, descriptors
//! and workers. In the trace, where all hosts stand, `scope.rs` tells their numbers apart.

use netpoll::platform::RawFd;
use netpoll_traces::ThreadId;

use super::Engine;
use super::threads::Frames;
use crate::kernel::HostId;
use crate::oracle::{Look, Oracles, add_checks};
use crate::strategy::PointKind;

impl Engine {
    /// Makes another host. Nobody watches it before it is [started](Engine::start_host).
    pub(crate) fn add_host(&self) {
        self.oracles.borrow_mut().push(None);
    }

    /// Starts the first thread of a host, under oracles that have seen nothing, if there are any in this run.
    pub(crate) fn start_host(&self, host: HostId, body: Box<dyn FnOnce() + Send>) {
        let is_watched = self.oracles.borrow()[HostId::TEST.index()].is_some();
        let oracles = is_watched.then(|| self.fresh_oracles());
        self.oracles.borrow_mut()[host.index()] = oracles;
        // It runs nothing but a runtime: the host's program is a goroutine of that.
        self.spawn_on(host, "main", Frames::Own, body);
    }

    /// Oracles that have seen nothing, and know that the threads that there are are none of theirs.
    fn fresh_oracles(&self) -> Box<Oracles> {
        let mut oracles = Box::<Oracles>::default();
        for _ in 0..self.threads.count() {
            oracles.add_thread("");
        }
        oracles
    }

    /// The host of the running thread.
    pub(crate) fn host(&self) -> HostId {
        self.threads.host_of(self.threads.current())
    }

    /// Ends all threads of a host, wherever they are. Returns only if the caller is none of them, or `spares_caller`.
    pub(crate) fn kill(&self, host: HostId, spares_caller: bool) {
        let this = self.threads.current();
        let is_own = self.host() == host;
        let spared = (is_own && spares_caller).then_some(this);
        self.threads.kill(host, spared);
        self.unwatch(host);
        if is_own && spared.is_none() {
            self.leave_for_good();
        }
    }

    /// Stops the threads of a host where they are, or lets them go on. What oracles say of how late something may be
    /// is not for a host that stood still, so from its first pause on none watches it.
    pub(crate) fn set_paused(&self, host: HostId, is_paused: bool) {
        if is_paused {
            self.unwatch(host);
        }
        self.threads.set_paused(host, is_paused);
        if is_paused && self.host() == host {
            let this = self.threads.current();
            self.pick(PointKind::Blocked);
            self.switch_from(this.0);
        }
    }

    /// Nobody watches a host any more. What its oracles have checked counts.
    fn unwatch(&self, host: HostId) {
        if let Some(oracles) = self.oracles.borrow_mut()[host.index()].take() {
            let mut checks = self.checks.borrow_mut();
            add_checks(checks.get_or_insert_default(), &oracles.checks());
        }
    }

    /// The running thread has ended without coming to its end.
    fn leave_for_good(&self) -> ! {
        // Whoever is picked is the running thread from there on.
        let this = self.threads.current().0;
        self.pick(PointKind::Blocked);
        self.never_runs_again(this)
    }
}

/// What oracles of a host may look at.
pub(super) struct Outlook<'a> {
    pub(super) engine: &'a Engine,
    pub(super) host: HostId,
}

impl Look for Outlook<'_> {
    fn is_blocked(&self, thread: ThreadId) -> bool {
        self.engine.threads.is_blocked(thread)
    }

    fn file_of(&self, fd: RawFd) -> Option<u32> {
        self.engine.world.as_ref()?.file_of(self.host, fd)
    }
}
