//! The Linux backend.
//!
//! # The break
//!
//! A blocked poll is interrupted through an eventfd that is registered level-triggered:
//!
//! ```text
//! breaker:  wake_sig := 1 (was it 1 before, then a wake is in flight)  ·  write 1 to the eventfd
//! poller:   sees the eventfd in a blocking call  ·  drains it  ·  wake_sig := 0
//! ```
//!
//! The poller drains *first*. A breaker who finds 1 between the two steps loses nothing: the poller is
//! out of the kernel already and looks at the timers again. In the other order a new breaker could
//! write, have its value drained, and leave the flag set over an empty eventfd: every later break would
//! be suppressed for ever (S22, L9). A non-blocking poll leaves the eventfd alone (S23): it is
//! level-triggered, so the blocked poller still sees it.
//!
//! # Ordering
//!
//! The promise: a break makes the poll return, and what the breaker wrote before is visible to the
//! poller after it returned, also when the breaker wrote no eventfd because a wake was in flight.
//!
//! Setting the flag is an exchange that releases, clearing it one that acquires. Every write of the flag
//! is an exchange, so a release sequence is never broken: the poller's clearing reads the last of the
//! settings since the clearing before, and synchronises with each of them. A setting that comes after
//! the clearing finds 0 and writes the eventfd. A compare-exchange would not do: one that fails releases
//! nothing.
//!
//! The breaker acquires nothing and the poller releases nothing: the eventfd's calls are ordered by the
//! kernel.

use std::sync::atomic::Ordering::{Acquire, Release};

use super::Readiness;
use crate::platform::{Atomic, EpollEvent, Errno, Kernel, Platform, RawFd};
use crate::poll::lives::BREAK;
use crate::trace::{Event, Mode};

const IN: u32 = libc::EPOLLIN as u32;
const OUT: u32 = libc::EPOLLOUT as u32;
const PRI: u32 = libc::EPOLLPRI as u32;
const RDHUP: u32 = libc::EPOLLRDHUP as u32;
const HUP: u32 = libc::EPOLLHUP as u32;
const ERR: u32 = libc::EPOLLERR as u32;
const ET: u32 = libc::EPOLLET as u32;

/// Events taken from the kernel by one call: enough to amortise it, few enough that they cannot hold
/// up the timers (L13).
pub const BATCH: usize = 128;

/// Room for what one poll brings. Whoever polls often keeps it: two kilobytes that would have to be cleared each time.
#[derive(Debug, Default)]
pub struct Batch(Vec<EpollEvent>);

impl Batch {
    fn room(&mut self) -> &mut [EpollEvent] {
        self.0.resize(BATCH, EpollEvent::default());
        &mut self.0
    }
}

const NS_PER_MS: i64 = 1_000_000;
/// Waits from here on are cut to [`LONGEST_MS`]; the caller comes back and waits again.
const LONGEST_NS: i64 = 1_000_000_000_000_000;
/// About 11.5 days; kernels have taken larger values for "for ever" or for an error.
const LONGEST_MS: i32 = 1_000_000_000;

/// The kernel's timeout for a delay (S29): a positive delay never becomes 0, which would spin, and none
/// becomes invalid. Above a millisecond it is rounded down: the remainder is waited for as one more
/// millisecond, so a wait ends late by less than that.
#[must_use]
pub fn timeout_ms(delay_ns: i64) -> i32 {
    match delay_ns {
        ..0 => -1,
        0 => 0,
        1..NS_PER_MS => 1,
        NS_PER_MS..LONGEST_NS => (delay_ns / NS_PER_MS) as i32,
        LONGEST_NS.. => LONGEST_MS,
    }
}

/// What an event mask says. Hang-up and error wake both directions: the system call that each then
/// makes returns the reason.
#[must_use]
pub fn readiness(events: u32) -> Readiness {
    Readiness {
        read: events & (IN | PRI | RDHUP | HUP | ERR) != 0,
        write: events & (OUT | HUP | ERR) != 0,
        error: events == ERR,
        unsure: events & (PRI | RDHUP | HUP | ERR) != 0,
    }
}

/// The events that make an operation of this direction worth trying, besides those that nobody has to ask
/// for: the inverse of [`readiness`].
#[must_use]
pub fn interest(mode: Mode) -> u32 {
    match mode {
        Mode::Read => IN | PRI | RDHUP,
        Mode::Write => OUT,
    }
}

/// The event that the reading half of a socket has ended, by the peer or by a shutdown.
pub const END: u32 = RDHUP;

/// See the module documentation.
#[derive(Debug)]
pub struct Epoll<P: Platform> {
    epfd: RawFd,
    eventfd: RawFd,
    /// 1 while a break is in flight.
    wake_sig: P::AtomicU32,
}

impl<P: Platform> Epoll<P> {
    /// Opens the queue and its break channel.
    ///
    /// # Errors
    /// What the kernel says, `EMFILE` for one; nothing stays open then.
    pub fn new(kernel: &P::Kernel) -> Result<Epoll<P>, Errno> {
        let epfd = kernel.epoll_create1()?;
        let eventfd = kernel.eventfd().inspect_err(|_| close(kernel, epfd))?;
        let event = EpollEvent { events: IN, data: BREAK };
        if let Err(errno) = kernel.epoll_add(epfd, eventfd, event) {
            close(kernel, eventfd);
            close(kernel, epfd);
            return Err(errno);
        }
        Ok(Epoll { epfd, eventfd, wake_sig: P::AtomicU32::new(0) })
    }

    /// The number of the queue, for whoever has to send a signal to its poller.
    pub fn queue(&self) -> RawFd {
        self.epfd
    }

    /// Registers `fd` for its life.
    ///
    /// # Errors
    /// `EPERM` for a file that cannot be polled, `ENOSPC` and `ENOMEM` when the kernel has no room.
    pub fn open(&self, kernel: &P::Kernel, fd: RawFd, data: u64) -> Result<(), Errno> {
        assert_ne!(data, BREAK, "S31: fd {fd} would look like a break");
        kernel.epoll_add(
            self.epfd,
            fd,
            EpollEvent { events: interest(Mode::Read) | interest(Mode::Write) | ET, data },
        )
    }

    /// Deregisters `fd`.
    ///
    /// # Errors
    /// Only those of a descriptor that is not registered, which is a bug above.
    pub fn close(&self, kernel: &P::Kernel, fd: RawFd) -> Result<(), Errno> {
        kernel.epoll_del(self.epfd, fd)
    }

    /// Polls once and reports each event to `event`. A negative delay waits without limit, 0 does not
    /// wait. Returns early, without events, when a signal interrupts a timed wait (S30).
    ///
    /// # Panics
    /// When the kernel refuses: the queue is gone, and with it every wake-up.
    pub fn poll(
        &self,
        kernel: &P::Kernel,
        delay_ns: i64,
        batch: &mut Batch,
        mut event: impl FnMut(u64, Readiness),
    ) {
        let timeout = timeout_ms(delay_ns);
        let events = batch.room();
        let count = loop {
            match kernel.epoll_wait(self.epfd, events, timeout) {
                Ok(count) => break count,
                // The caller computes its delay anew; retrying here would wait too long.
                Err(Errno::EINTR) if timeout > 0 => return,
                Err(Errno::EINTR) => {}
                Err(errno) => panic!("epoll_wait on fd {}: {errno}", self.epfd),
            }
        };
        for item in &events[..count] {
            if item.events == 0 {
                continue;
            }
            if item.data == BREAK {
                assert_eq!(item.events, IN, "the break channel reports {:#x}", item.events);
                if timeout != 0 {
                    self.drain(kernel);
                }
                continue;
            }
            event(item.data, readiness(item.events));
        }
    }

    /// Takes the break out of the channel and, after that, allows the next one.
    fn drain(&self, kernel: &P::Kernel) {
        let mut counter = [0; 8];
        loop {
            match kernel.read(self.eventfd, &mut counter) {
                Ok(_) | Err(Errno::EAGAIN) => break,
                Err(Errno::EINTR) => {}
                Err(errno) => panic!("read of the break channel: {errno}"),
            }
        }
        self.wake_sig.swap(0, Acquire);
        kernel.trace(Event::Drained);
    }

    /// Makes the blocked poll, or the next one that blocks, return at once.
    ///
    /// # Panics
    /// When the channel cannot be written for a reason that no correct program meets.
    pub fn wake(&self, kernel: &P::Kernel) {
        let sent = self.wake_sig.swap(1, Release) == 0;
        kernel.trace(Event::Break { sent });
        if !sent {
            return;
        }
        loop {
            match kernel.write(self.eventfd, &1u64.to_ne_bytes()) {
                // A full counter is readable: the poller will come back.
                Ok(_) | Err(Errno::EAGAIN) => return,
                Err(Errno::EINTR) => {}
                Err(errno) => panic!("write to the break channel: {errno}"),
            }
        }
    }

    /// Closes the queue. Nobody polls and nobody breaks any more (golang-like pollers wrote into a
    /// reused number otherwise: netty#9362); the runtime calls this when its last reference goes.
    pub fn shutdown(&self, kernel: &P::Kernel) {
        close(kernel, self.eventfd);
        close(kernel, self.epfd);
    }
}

/// `close` for our own channels: its result says nothing that could be acted on.
fn close<K: Kernel>(kernel: &K, fd: RawFd) {
    let _released = kernel.close(fd);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_positive_delay_never_becomes_zero_and_none_is_invalid() {
        let cases = [
            (i64::MIN, -1),
            (-1, -1),
            (0, 0),
            (1, 1),
            (999_999, 1),
            (1_000_000, 1),
            (1_900_000, 1),
            (2_000_000, 2),
            (LONGEST_NS - 1, 999_999_999),
            (LONGEST_NS, LONGEST_MS),
            (i64::MAX, LONGEST_MS),
        ];
        for (delay, timeout) in cases {
            assert_eq!(timeout_ms(delay), timeout, "delay {delay}");
        }
    }

    #[test]
    fn hang_up_and_error_wake_both_directions() {
        let both = |events| {
            let Readiness { read, write, error, .. } = readiness(events);
            (read, write, error)
        };
        assert_eq!(both(IN), (true, false, false));
        assert_eq!(both(RDHUP), (true, false, false));
        assert_eq!(both(OUT), (false, true, false));
        assert_eq!(both(HUP), (true, true, false));
        assert_eq!(both(ERR), (true, true, true));
        assert_eq!(both(ERR | HUP), (true, true, false), "an error with company is no sole error");
        assert_eq!(both(0), (false, false, false));
    }

    #[test]
    fn after_the_end_an_error_or_urgent_data_a_short_read_proves_nothing() {
        for (events, unsure) in [
            (IN, false),
            (IN | OUT, false),
            (IN | RDHUP, true),
            (HUP, true),
            (ERR, true),
            (PRI, true),
        ] {
            assert_eq!(readiness(events).unsure, unsure, "{events:#x}");
        }
    }
}
