//! `epoll`: an interest list and a ready list.
//!
//! What Linux does, and this does too:
//!
//! * An item is queued on the ready list each time the file's wait queue is woken with a mask that
//!   the item wants (0 means "something changed" and suits everybody), whether or not readiness
//!   changed, and once when it is added to a file that is ready already.
//! * An item stands on the list at most once: later wake-ups merge into it.
//! * The reported mask is the file's readiness at the time of the harvest. An item whose mask is
//!   empty by then silently leaves the list.
//! * A reported level-triggered item goes back to the end of the list, behind those that did not fit;
//!   an edge-triggered one leaves it.
//! * Closing the last number of a file removes its items; a duplicate keeps them.
//!
//! What is left open there is chosen here: the order of the list, and how much of it one call takes.
//! Epoll descriptors inside epoll descriptors are refused with `EINVAL`; netpoll makes none.

use std::collections::{BTreeMap, VecDeque};

use netpoll::platform::{EpollEvent, Errno, RawFd};
use netpoll_traces::WorldEvent;

use super::machine::{Env, FileId, Machine, Object, Watch};
use crate::choice::ChoiceKind;
use crate::faults::FaultKind;

pub(super) const IN: u32 = libc::EPOLLIN as u32;
pub(super) const OUT: u32 = libc::EPOLLOUT as u32;
pub(super) const RDHUP: u32 = libc::EPOLLRDHUP as u32;
pub(super) const HUP: u32 = libc::EPOLLHUP as u32;
pub(super) const ERR: u32 = libc::EPOLLERR as u32;
const EDGE: u32 = libc::EPOLLET as u32;

/// The longest list from whose whole length the next event is chosen.
const ORDER_MAX: usize = 8;

/// What identifies a registration: the number it was made with and the file behind it.
pub(super) type Key = (RawFd, FileId);

#[derive(Debug)]
struct Item {
    events: u32,
    data: u64,
    queued: bool,
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

    /// A wake-up with `wakeup` as its mask; 0 for "something changed". Returns the waiter to wake.
    pub(super) fn poke(&mut self, key: Key, wakeup: u32) -> Option<u16> {
        let item = self.items.get_mut(&key).expect("watched by this item");
        if wakeup != 0 && wakeup & item.events == 0 {
            return None;
        }
        if !item.queued {
            item.queued = true;
            self.ready.push_back(key);
        }
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

    pub(super) fn epoll_add(
        &mut self,
        env: &dyn Env,
        epfd: RawFd,
        fd: RawFd,
        event: EpollEvent,
    ) -> Result<(), Errno> {
        let file = {
            self.lookup(epfd)?;
            self.lookup(fd)?
        };
        let ep = self.epoll_file(epfd)?;
        if matches!(self.file(file).object, Object::Epoll(_)) {
            return Err(Errno::EINVAL);
        }
        let key = (fd, file);
        let epoll = self.epoll_mut(ep);
        if epoll.items.contains_key(&key) {
            return Err(Errno::EEXIST);
        }
        let item = Item { events: event.events | ERR | HUP, data: event.data, queued: false };
        let wanted = item.events;
        epoll.items.insert(key, item);
        self.file_mut(file).watches.push(Watch { ep, fd });
        let ready = self.readiness(file);
        let queued = ready & wanted != 0;
        let (number, events, data) = (file.number(), wanted, event.data);
        env.record(WorldEvent::Watch { fd, file: number, events, data, queued });
        if queued {
            let waiter = self.epoll_mut(ep).poke(key, 0);
            waiter.into_iter().for_each(|waiter| env.wake(waiter));
        }
        Ok(())
    }

    pub(super) fn epoll_del(&mut self, epfd: RawFd, fd: RawFd) -> Result<(), Errno> {
        let file = {
            self.lookup(epfd)?;
            self.lookup(fd)?
        };
        let ep = self.epoll_file(epfd)?;
        if !self.epoll_mut(ep).remove((fd, file)) {
            return Err(Errno::ENOENT);
        }
        let watches = &mut self.file_mut(file).watches;
        watches.retain(|watch| *watch != Watch { ep, fd });
        Ok(())
    }

    /// Takes events from the ready list; returns how many.
    pub(super) fn harvest(
        &mut self,
        env: &dyn Env,
        ep: FileId,
        events: &mut [EpollEvent],
    ) -> usize {
        self.maybe_queue_for_no_reason(env, ep);
        let mut list = std::mem::take(&mut self.epoll_mut(ep).ready);
        let fits = events.len().min(list.len());
        let take = match fits {
            0 | 1 => fits,
            fits => fits - env.choose(ChoiceKind::EventCount, fits as u32) as usize,
        };
        let mut back = VecDeque::new();
        let mut taken = 0;
        while taken < take && !list.is_empty() {
            let among = list.len().min(ORDER_MAX) as u32;
            let key = list.remove(env.choose(ChoiceKind::EventOrder, among) as usize);
            let key = key.expect("chosen below the length");
            let ready = self.readiness(key.1);
            let item = self.epoll_mut(ep).items.get_mut(&key);
            let item = item.expect("removed items leave the ready list");
            let reported = ready & item.events;
            let (fd, file, data) = (key.0, key.1.number(), item.data);
            env.record(WorldEvent::Harvest { fd, file, events: reported, data });
            item.queued = reported != 0 && item.events & EDGE == 0;
            if item.queued {
                back.push_back(key);
            }
            if reported != 0 {
                events[taken] = EpollEvent { events: reported, data: item.data };
                taken += 1;
            }
        }
        list.append(&mut back);
        self.epoll_mut(ep).ready = list;
        taken
    }

    /// The fault of a spurious event: queues an item although nothing happened to its file.
    fn maybe_queue_for_no_reason(&mut self, env: &dyn Env, ep: FileId) {
        let items = self.epoll_mut(ep).items.len();
        if items == 0 || !env.strikes(FaultKind::SpuriousEvent) {
            return;
        }
        let index = env.choose(ChoiceKind::SpuriousItem, items as u32) as usize;
        let epoll = self.epoll_mut(ep);
        let (&key, item) = epoll.items.iter_mut().nth(index).expect("below the length");
        if !item.queued {
            item.queued = true;
            epoll.ready.push_back(key);
        }
        env.record(WorldEvent::Spurious { fd: key.0, file: key.1.number() });
    }

    pub(super) fn epoll_mut(&mut self, ep: FileId) -> &mut Epoll {
        match &mut self.file_mut(ep).object {
            Object::Epoll(epoll) => epoll,
            other => unreachable!("{other:?} was looked up as an epoll instance"),
        }
    }
}
