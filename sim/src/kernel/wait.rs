//! A thread that waits in `epoll_wait`.

use netpoll::platform::{EpollEvent, Errno, RawFd};

use super::env::Env;
use super::machine::{FileId, Machine};
use crate::choice::ChoiceKind;
use crate::engine::{NEVER, SLACKS_NS, Wake};
use crate::faults::FaultKind;

/// One call of `epoll_wait`, from its first look at the ready list to its return.
pub(super) struct Wait {
    pub(super) waiter: u16,
    timeout_ms: i32,
    /// The instance, which the call keeps open while it is blocked; `None` before the first look.
    ep: Option<FileId>,
    deadline_ns: u64,
    /// When a signal comes; `None` before the call has had a reason to block.
    interrupt_ns: Option<u64>,
    /// What it returns if the next look brings nothing.
    end: Option<Result<usize, Errno>>,
}

impl Wait {
    pub(super) fn new(waiter: u16, timeout_ms: i32) -> Wait {
        let end = (timeout_ms == 0).then_some(Ok(0));
        Wait { waiter, timeout_ms, ep: None, deadline_ns: NEVER, interrupt_ns: None, end }
    }

    /// When the blocked call gets up by itself.
    pub(super) fn until_ns(&self) -> u64 {
        self.deadline_ns.min(self.interrupt_ns.unwrap_or(NEVER))
    }

    /// The block has ended.
    pub(super) fn woken(&mut self, wake: Wake) {
        match wake {
            Wake::Woken => {}
            Wake::Interrupted => self.end = Some(Err(Errno::EINTR)),
            Wake::TimedOut => {
                let interrupted = self.interrupt_ns.unwrap_or(NEVER) < self.deadline_ns;
                self.end = Some(if interrupted { Err(Errno::EINTR) } else { Ok(0) });
            }
        }
    }

    /// A look at the ready list. `None`: the caller is registered as a waiter and has to block.
    pub(super) fn attempt(
        &mut self,
        machine: &mut Machine,
        env: &Env<'_>,
        epfd: RawFd,
        events: &mut [EpollEvent],
    ) -> Option<Result<usize, Errno>> {
        let ep = match self.ep {
            Some(ep) => ep,
            None => match self.begin(machine, env, epfd, events) {
                Ok(ep) => ep,
                Err(errno) => return Some(Err(errno)),
            },
        };
        machine.epoll_mut(ep).waiters.retain(|&other| other != self.waiter);
        let taken = machine.harvest(env, ep, events);
        let result = if taken > 0 { Some(Ok(taken)) } else { self.end };
        if result.is_some() {
            machine.unpin(env, ep);
            return result;
        }
        if self.interrupt_ns.is_none() {
            self.before_the_first_block(env);
        }
        machine.epoll_mut(ep).waiters.push(self.waiter);
        None
    }

    /// Decides when a signal comes, and how late the timer is.
    fn before_the_first_block(&mut self, env: &Env<'_>) {
        let interrupted = env.strikes(FaultKind::PollEintr);
        self.interrupt_ns = Some(match interrupted {
            true => env.now_ns() + env.delay_ns(ChoiceKind::InterruptDelay),
            false => NEVER,
        });
        if self.deadline_ns != NEVER {
            let slack = env.choose(ChoiceKind::TimerSlack, SLACKS_NS.len() as u32);
            self.deadline_ns += SLACKS_NS[slack as usize];
        }
    }

    fn begin(
        &mut self,
        machine: &mut Machine,
        env: &Env<'_>,
        epfd: RawFd,
        events: &[EpollEvent],
    ) -> Result<FileId, Errno> {
        // Linux looks at the room first.
        if events.is_empty() {
            return Err(Errno::EINVAL);
        }
        let ep = machine.epoll_file(epfd)?;
        if let Ok(ms) = u64::try_from(self.timeout_ms) {
            self.deadline_ns = env.now_ns() + ms * 1_000_000;
        }
        machine.file_mut(ep).pins += 1;
        self.ep = Some(ep);
        Ok(ep)
    }
}
