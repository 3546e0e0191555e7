//! The late-bound side of the runtime: what the face asks of it.

use std::io;
use std::net::IpAddr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use super::g::NOWHERE;
use super::shared::{Shared, shut_down_error};
use super::ticket::Ended;
use super::timers::Job;
use crate::fd::setup;
use crate::goroutine::Commit;
use crate::ops::{Descriptor, RuntimeOps, Task, Wake};
use crate::platform::{Domain, Kernel, Platform, SockAddr, SockType};
use crate::poll::DeadlineTimers;
use crate::trace::{Event, WaitReason};

impl<P: Platform> RuntimeOps for Shared<P> {
    fn handle(&self) -> Arc<dyn RuntimeOps> {
        self.arc()
    }

    fn now(&self) -> u64 {
        self.kernel.clock()
    }

    fn spawn(&self, task: Task) -> io::Result<()> {
        if self.is_shut_down() {
            return Err(shut_down_error());
        }
        let g = self.make_g(task, NOWHERE)?;
        self.submit(g);
        if self.is_shut_down() {
            // The shutdown may have emptied the global queue before. Then its lock has shown us the flag.
            self.drop_global();
        }
        Ok(())
    }

    fn prepare_park(&self, g: u32) -> u64 {
        let ticket = self.gs.get(g).ticket.open();
        // The ticket reaches its waker through a lock of the face, which a checker may not see.
        self.kernel.checkpoint();
        ticket
    }

    fn park(&self, g: u32, ticket: u64, why: WaitReason, deadline: Option<u64>) -> Wake {
        let timer = deadline.map(|when| self.arm_timer(when, Job::Wake { g, ticket }));
        self.suspend(g, Commit::Park { ticket, why });
        let wake = self.gs.get(g).ticket.finish(ticket);
        if let (Some(id), Wake::Unparked) = (timer, wake) {
            self.disarm(id);
        }
        wake
    }

    fn unpark(&self, g: u32, ticket: u64) -> bool {
        self.kernel.checkpoint();
        match self.gs.get(g).ticket.unpark(ticket) {
            Ended::Stale => false,
            Ended::BeforeParking => true,
            Ended::MakeRunnable => {
                self.make_runnable(self.here(), g);
                true
            }
        }
    }

    fn yield_now(&self, g: u32) {
        self.suspend(g, Commit::Yield);
    }

    fn note_panic(&self, g: u32) {
        let g = self.gs.get(g).id();
        self.kernel.trace(Event::Panic { g });
    }

    fn blocking(&self, job: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        self.submit_blocking(job)
    }

    fn checkpoint(&self) {
        self.kernel.checkpoint();
    }

    fn is_real(&self) -> bool {
        self.kernel.is_real()
    }

    fn address_of(&self, name: &str) -> Option<IpAddr> {
        self.kernel.address_of(name)
    }

    fn listen(&self, addr: SockAddr, backlog: i32) -> io::Result<Arc<dyn Descriptor>> {
        setup::listen(&self.arc(), addr, backlog)
    }

    fn connect(&self, addr: SockAddr, deadline: Option<u64>) -> io::Result<Arc<dyn Descriptor>> {
        setup::connect(&self.arc(), addr, deadline)
    }

    fn datagram(&self, domain: Domain, addr: Option<SockAddr>) -> io::Result<Arc<dyn Descriptor>> {
        setup::datagram(&self.arc(), domain, addr)
    }

    fn socketpair(&self, kind: SockType) -> io::Result<(Arc<dyn Descriptor>, Arc<dyn Descriptor>)> {
        setup::socketpair(&self.arc(), kind)
    }

    fn pipe(&self) -> io::Result<(Arc<dyn Descriptor>, Arc<dyn Descriptor>)> {
        setup::pipe(&self.arc())
    }

    fn adopt(&self, fd: OwnedFd) -> io::Result<Arc<dyn Descriptor>> {
        setup::adopt(&self.arc(), fd)
    }

    fn watch(&self, fd: BorrowedFd<'_>) -> io::Result<Arc<dyn Descriptor>> {
        setup::watch(&self.arc(), fd)
    }
}
