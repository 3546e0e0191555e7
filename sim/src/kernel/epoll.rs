//! `epoll`: an interest list and a ready list.
//!
//! What Linux does (epoll(7), `fs/eventpoll.c`), and this does too:
//!
//! * An item is queued on the ready list each time the file's wait queue is woken with a mask that
//!   the item wants (0 means "something changed" and suits everybody), whether or not readiness
//!   changed, and once when it is added to, or modified on, a file that is ready already.
//! * An item stands on the list at most once: later wake-ups merge into it.
//! * The reported mask is the file's readiness at the time of the harvest. An item whose mask is
//!   empty by then silently leaves the list.
//! * A reported level-triggered item goes back to the end of the list, behind those that did not fit;
//!   an edge-triggered one leaves it; one with `EPOLLONESHOT` leaves it and is dead until modified.
//! * `EPOLLERR` and `EPOLLHUP` need not be asked for and cannot be masked.
//! * Of the watchers of a file the plain ones hear of every wake-up, the last one added first; then those
//!   with `EPOLLEXCLUSIVE`, the oldest first, until one has a thread that waits.
//! * A thread that waits is woken by the first event that comes, one thread for each; the events that a
//!   call leaves on the list wake another.
//! * Closing the last number of a file removes its items; a duplicate keeps them.
//!
//! What is left open there is chosen here: the order of the list, and how much of it one call takes.
//!
//! Epoll descriptors inside epoll descriptors are not modelled: adding one panics and says so, whatever
//! the program, because an error would be a lie that a program might believe.

use std::collections::{BTreeMap, VecDeque};

use netpoll::platform::{EpollEvent, Errno, RawFd};
use netpoll_traces::WorldEvent;

use super::env::Env;
use super::machine::{FileId, Machine, Object, Watch};
use crate::choice::ChoiceKind;
use crate::faults::FaultKind;

pub(super) const IN: u32 = libc::EPOLLIN as u32;
pub(super) const OUT: u32 = libc::EPOLLOUT as u32;
pub(super) const RDHUP: u32 = libc::EPOLLRDHUP as u32;
pub(super) const HUP: u32 = libc::EPOLLHUP as u32;
pub(super) const ERR: u32 = libc::EPOLLERR as u32;
const PRI: u32 = libc::EPOLLPRI as u32;
pub(super) const RDNORM: u32 = libc::EPOLLRDNORM as u32;
pub(super) const WRNORM: u32 = libc::EPOLLWRNORM as u32;
/// The mask with which a socket says that there is something to read.
pub(super) const READABLE: u32 = IN | PRI | RDNORM | libc::EPOLLRDBAND as u32;
/// The mask with which a socket says that there is room.
pub(super) const WRITABLE: u32 = OUT | WRNORM | libc::EPOLLWRBAND as u32;

const EDGE: u32 = libc::EPOLLET as u32;
const ONESHOT: u32 = libc::EPOLLONESHOT as u32;
const EXCLUSIVE: u32 = libc::EPOLLEXCLUSIVE as u32;
/// The bits of a mask that name no event.
const NO_EVENTS: u32 = EDGE | ONESHOT | EXCLUSIVE | libc::EPOLLWAKEUP as u32;
/// What may stand beside `EPOLLEXCLUSIVE`.
const BESIDE_EXCLUSIVE: u32 = IN | OUT | ERR | HUP | EDGE | EXCLUSIVE | libc::EPOLLWAKEUP as u32;

/// The longest list from whose whole length the next event is chosen.
const ORDER_MAX: usize = 8;

/// What identifies a registration: the number it was made with and the file behind it.
pub(super) type Key = (RawFd, FileId);

#[derive(Debug)]
struct Item {
    events: u32,
    data: u64,
    queued: bool,
    /// The next report claims that a socket can be read and written: a fault.
    is_lie: bool,
}

impl Item {
    /// Whether it can be reported: not after `EPOLLONESHOT` has fired.
    fn is_armed(&self) -> bool {
        self.events & !NO_EVENTS != 0
    }
}

/// What a wake-up of one watcher came to.
#[derive(Debug, Default)]
pub(super) struct Poked {
    /// The thread to wake.
    pub(super) waiter: Option<u16>,
    /// Whether the event counts as taken, so that other exclusive watchers need not hear of it.
    pub(super) taken: bool,
}

/// An epoll instance.
#[derive(Debug, Default)]
pub(super) struct Epoll {
    items: BTreeMap<Key, Item>,
    ready: VecDeque<Key>,
    /// Threads that are blocked in `epoll_wait`, oldest first.
    pub(super) waiters: Vec<u16>,
}

impl Epoll {
    /// The registrations, in order.
    pub(super) fn keys(&self) -> impl Iterator<Item = Key> {
        self.items.keys().copied()
    }

    /// The wanted mask of a registration and whether it stands on the ready list.
    pub(super) fn interest(&self, key: Key) -> Option<(u32, bool)> {
        self.items.get(&key).map(|item| (item.events, item.queued))
    }

    /// The wanted mask of a registration that there is.
    fn wanted(&self, key: Key) -> u32 {
        self.items[&key].events
    }

    /// A wake-up with `wakeup` as its mask; 0 for "something changed".
    pub(super) fn poke(&mut self, key: Key, wakeup: u32) -> Poked {
        let item = self.items.get_mut(&key).expect("K3: watched by this item");
        if !item.is_armed() || (wakeup != 0 && wakeup & item.events == 0) {
            return Poked::default();
        }
        if !item.queued {
            item.queued = true;
            self.ready.push_back(key);
        }
        let events = item.events;
        let waiter = self.next_waiter();
        let is_taken = match wakeup & (IN | OUT) {
            0 => true,
            side if side == IN || side == OUT => events & side != 0,
            _ => false, // both: nobody is held back
        };
        Poked { waiter, taken: is_taken && waiter.is_some() }
    }

    /// The thread that has waited longest, which does not wait any more.
    fn next_waiter(&mut self) -> Option<u16> {
        (!self.waiters.is_empty()).then(|| self.waiters.remove(0))
    }

    /// Forgets a registration.
    pub(super) fn remove(&mut self, key: Key) -> bool {
        let Some(item) = self.items.remove(&key) else {
            return false;
        };
        if item.queued {
            self.ready.retain(|&other| other != key);
        }
        true
    }
}

impl Machine {
    /// The epoll instance behind a number.
    pub(super) fn epoll_file(&self, epfd: RawFd) -> Result<FileId, Errno> {
        let id = self.lookup(epfd)?;
        match self.file(id).object {
            Object::Epoll(_) => Ok(id),
            _ => Err(Errno::EINVAL),
        }
    }

    /// The instance and the target of an `epoll_ctl`, checked in the order of Linux.
    fn epoll_ctl(&self, epfd: RawFd, fd: RawFd) -> Result<(FileId, FileId), Errno> {
        self.lookup(epfd)?;
        let file = self.lookup(fd)?;
        if matches!(self.file(file).object, Object::Regular) {
            return Err(Errno::EPERM);
        }
        let ep = self.epoll_file(epfd)?;
        if ep == file {
            return Err(Errno::EINVAL);
        }
        Ok((ep, file))
    }

    pub(super) fn epoll_add(
        &mut self,
        env: &Env<'_>,
        epfd: RawFd,
        fd: RawFd,
        event: EpollEvent,
    ) -> Result<(), Errno> {
        let (ep, file) = self.epoll_ctl(epfd, fd)?;
        let is_exclusive = event.events & EXCLUSIVE != 0;
        if is_exclusive && event.events & !BESIDE_EXCLUSIVE != 0 {
            return Err(Errno::EINVAL);
        }
        let is_epoll = matches!(self.file(file).object, Object::Epoll(_));
        assert!(!is_epoll, "fd {fd} in fd {epfd}: epoll inside epoll is not modelled");
        let key = (fd, file);
        if self.epoll_mut(ep).items.contains_key(&key) {
            return Err(Errno::EEXIST);
        }
        self.watch_shortage(env, file)?;
        let wanted = event.events | ERR | HUP;
        let item = Item { events: wanted, data: event.data, queued: false, is_lie: false };
        self.epoll_mut(ep).items.insert(key, item);
        let watches = &mut self.file_mut(file).watches;
        // The plain watchers stand before the exclusive ones, in the order in which they are woken.
        let place = if is_exclusive { watches.len() } else { 0 };
        watches.insert(place, Watch { ep, fd, is_exclusive });
        self.look_at(env, ep, key);
        Ok(())
    }

    pub(super) fn epoll_mod(
        &mut self,
        env: &Env<'_>,
        epfd: RawFd,
        fd: RawFd,
        event: EpollEvent,
    ) -> Result<(), Errno> {
        let (ep, file) = self.epoll_ctl(epfd, fd)?;
        if event.events & EXCLUSIVE != 0 {
            return Err(Errno::EINVAL);
        }
        let key = (fd, file);
        let item = self.epoll_mut(ep).items.get_mut(&key).ok_or(Errno::ENOENT)?;
        if item.events & EXCLUSIVE != 0 {
            return Err(Errno::EINVAL);
        }
        item.events = event.events | ERR | HUP;
        item.data = event.data;
        self.look_at(env, ep, key);
        Ok(())
    }

    /// Queues an item that is new or has changed, if its file is ready.
    fn look_at(&mut self, env: &Env<'_>, ep: FileId, key: Key) {
        let item = &self.epoll_mut(ep).items[&key];
        let (wanted, data) = (item.events, item.data);
        let queued = self.poll(key.1, wanted) & wanted != 0;
        let (fd, file) = (key.0, key.1.number());
        env.record(self.here_id(), WorldEvent::Watch { fd, file, events: wanted, data, queued });
        if queued {
            let poked = self.epoll_mut(ep).poke(key, 0);
            poked.waiter.into_iter().for_each(|waiter| env.wake(waiter));
        }
    }

    pub(super) fn epoll_del(&mut self, epfd: RawFd, fd: RawFd) -> Result<(), Errno> {
        let (ep, file) = self.epoll_ctl(epfd, fd)?;
        if !self.epoll_mut(ep).remove((fd, file)) {
            return Err(Errno::ENOENT);
        }
        let watches = &mut self.file_mut(file).watches;
        watches.retain(|watch| (watch.ep, watch.fd) != (ep, fd));
        Ok(())
    }

    /// Whether `epoll_wait` would return something: what `poll` says of the instance.
    pub(super) fn has_event(&self, epoll: &Epoll) -> bool {
        epoll.ready.iter().any(|&key| self.readiness(key.1) & epoll.wanted(key) != 0)
    }

    /// Takes events from the ready list; returns how many.
    pub(super) fn harvest(
        &mut self,
        env: &Env<'_>,
        ep: FileId,
        events: &mut [EpollEvent],
    ) -> usize {
        self.maybe_queue_for_no_reason(env, ep);
        if self.epoll(ep).ready.is_empty() {
            return 0;
        }
        let mut list = std::mem::take(&mut self.epoll_mut(ep).ready);
        let fits = events.len().min(list.len());
        let take = match fits {
            0 | 1 => fits,
            fits => fits - env.choose(ChoiceKind::EventCount, fits as u32) as usize,
        };
        // Level-triggered items that were reported; they go behind those that were not looked at.
        let mut back = 0;
        let mut taken = 0;
        while taken < take && list.len() > back {
            let among = (list.len() - back).min(ORDER_MAX) as u32;
            let key = list.remove(env.choose(ChoiceKind::EventOrder, among) as usize);
            let key = key.expect("chosen below the length");
            let wanted = self.epoll_mut(ep).wanted(key);
            let ready = self.poll(key.1, wanted);
            let host = self.here_id();
            let item = self.epoll_mut(ep).items.get_mut(&key);
            let item = item.expect("removed items leave the ready list");
            let claimed = if std::mem::take(&mut item.is_lie) { ready | IN | OUT } else { ready };
            let reported = claimed & item.events;
            let (fd, file, data) = (key.0, key.1.number(), item.data);
            env.record(host, WorldEvent::Harvest { fd, file, events: reported, data });
            item.queued = reported != 0 && item.events & (EDGE | ONESHOT) == 0;
            if item.queued {
                list.push_back(key);
                back += 1;
            }
            if reported != 0 {
                events[taken] = EpollEvent { events: reported, data: item.data };
                taken += 1;
                if item.events & ONESHOT != 0 {
                    item.events &= NO_EVENTS;
                }
            }
        }
        let epoll = self.epoll_mut(ep);
        epoll.ready = list;
        if !epoll.ready.is_empty()
            && let Some(waiter) = epoll.next_waiter()
        {
            env.wake(waiter);
        }
        taken
    }

    /// The faults of spurious events: one queues an item although nothing happened to its file, the other
    /// reports a socket ready that is not, which select(2) warns of under "Bugs".
    fn maybe_queue_for_no_reason(&mut self, env: &Env<'_>, ep: FileId) {
        let items = self.epoll_mut(ep).items.len();
        if items == 0 {
            return;
        }
        for fault in [FaultKind::SpuriousEvent, FaultKind::FalseEvent] {
            if !env.strikes(fault) {
                continue;
            }
            let index = env.choose(ChoiceKind::SpuriousItem, items as u32) as usize;
            let key = self.epoll_mut(ep).keys().nth(index).expect("below the length");
            let lies = fault == FaultKind::FalseEvent;
            if lies && !self.is_socket(key.1) {
                continue;
            }
            let epoll = self.epoll_mut(ep);
            let item = epoll.items.get_mut(&key).expect("it is a key");
            if !item.is_armed() {
                continue;
            }
            item.is_lie |= lies;
            if !item.queued {
                item.queued = true;
                epoll.ready.push_back(key);
            }
            env.record(self.here_id(), WorldEvent::Spurious { fd: key.0, file: key.1.number() });
        }
    }

    pub(super) fn epoll(&self, ep: FileId) -> &Epoll {
        match &self.file(ep).object {
            Object::Epoll(epoll) => epoll,
            other => unreachable!("{other:?} was looked up as an epoll instance"),
        }
    }

    pub(super) fn epoll_mut(&mut self, ep: FileId) -> &mut Epoll {
        match &mut self.file_mut(ep).object {
            Object::Epoll(epoll) => epoll,
            other => unreachable!("{other:?} was looked up as an epoll instance"),
        }
    }
}
