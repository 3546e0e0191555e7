//! The simulated kernel as a plain state machine: no threads, no clock of its own, no blocking.
//!
//! What it needs from outside comes through [`Env`]: the time, the choices, and somebody to wake. A
//! [`Host`](super::Host) puts it under the threads of the engine or of a model checker.
//!
//! Vocabulary: a *host* has one process, its own numbers, ports and addresses (`site.rs`); all hosts of a run are in one
//! machine. A *number* is a descriptor number of that process; a *file* is an open file description,
//! to which several numbers may refer. Files are never renumbered, so that an event in flight cannot
//! meet another file than the one it was meant for.
//!
//! Invariants:
//!
//! * **K1** a new number is the lowest one that is free, from 3 up.
//! * **K2** `numbers` of a file is the count of table entries that refer to it.
//! * **K3** `watches` of a file and the items of epoll instances mirror each other.

use netpoll::platform::{Errno, RawFd};
use netpoll_traces::WorldEvent;

use super::env::Env;
use super::epoll::{Epoll, IN, OUT};
use super::eventfd::EventFd;
use super::flight::Flight;
use super::links::Links;
use super::net::NetConfig;
use super::pipe::{Pipe, PipeWriter};
use super::site::{HostId, Site};
use super::tcp::Tcp;
use super::udp::Udp;
use super::unix::Unix;
use crate::faults::FaultKind;

/// Identifies a file for the whole run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FileId(u32);

impl FileId {
    /// The identity as others see it: in [`OpenFd::file`](super::OpenFd::file), and in what
    /// [`Machine::file_of`] returns.
    pub(super) fn number(self) -> u32 {
        self.0
    }
}

/// A registration that watches a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Watch {
    pub(super) ep: FileId,
    pub(super) fd: RawFd,
    pub(super) is_exclusive: bool,
}

/// What a file is.
#[derive(Debug)]
pub(super) enum Object {
    Epoll(Epoll),
    EventFd(EventFd),
    /// The end of a pipe that is read.
    Pipe(Box<Pipe>),
    PipeWriter(PipeWriter),
    /// An empty file on a disk: always ready, and so nothing that one could wait for.
    Regular,
    Tcp(Box<Tcp>),
    Udp(Box<Udp>),
    Unix(Box<Unix>),
}

/// An open file description.
#[derive(Debug)]
pub(super) struct File {
    pub(super) object: Object,
    /// Whose it is.
    pub(super) host: HostId,
    /// K2.
    pub(super) numbers: u32,
    /// Calls that are blocked in this file, which keeps it open (epoll only).
    pub(super) pins: u32,
    /// The number under which traces show it: the first it got, −1 before that.
    pub(super) shown_as: RawFd,
    /// K3. In the order in which they are woken: see `epoll.rs`.
    pub(super) watches: Vec<Watch>,
}

/// The whole kernel.
#[derive(Debug)]
pub struct Machine {
    pub(super) config: NetConfig,
    /// By [`HostId`]; there is always one.
    pub(super) sites: Vec<Site>,
    /// The host whose call, or whose packet, this is.
    here: HostId,
    files: Vec<Option<Box<File>>>,
    pub(super) flight: Flight,
    pub(super) links: Links,
    /// Where calls with several buffers collect their bytes.
    pub(super) scratch: Vec<u8>,
}

impl Machine {
    /// A kernel in which nothing has happened.
    #[must_use]
    pub fn new(config: NetConfig) -> Machine {
        Machine {
            config,
            sites: vec![Site::new(HostId::TEST)],
            here: HostId::TEST,
            files: Vec::new(),
            flight: Flight::default(),
            links: Links::default(),
            scratch: Vec::new(),
        }
    }

    // Hosts

    /// What follows is done by a host.
    #[inline]
    pub(super) fn enter(&mut self, host: HostId) {
        self.here = host;
    }

    /// The host that calls.
    #[inline]
    pub(super) fn here(&mut self) -> &mut Site {
        &mut self.sites[self.here.index()]
    }

    /// Its number.
    pub(super) fn here_id(&self) -> HostId {
        self.here
    }

    /// The host that calls, to look at.
    #[inline]
    pub(super) fn here_ref(&self) -> &Site {
        &self.sites[self.here.index()]
    }

    /// The host that a file is of.
    #[inline]
    pub(super) fn site_of(&mut self, id: FileId) -> &mut Site {
        let host = self.file(id).host;
        &mut self.sites[host.index()]
    }

    // Numbers

    /// The file behind a number.
    #[inline]
    pub(super) fn lookup(&self, fd: RawFd) -> Result<FileId, Errno> {
        let index = usize::try_from(fd).map_err(|_| Errno::EBADF)?;
        self.here_ref().numbers.get(index).copied().flatten().ok_or(Errno::EBADF)
    }

    /// The open file description behind a number now, as in [`OpenFd::file`](super::OpenFd::file): what
    /// tells two lives of a number apart.
    #[must_use]
    pub fn file_of(&self, fd: RawFd) -> Option<u32> {
        self.lookup(fd).ok().map(FileId::number)
    }

    /// Moves `lowest_free` to the lowest number that is free.
    fn find_free(&mut self) -> usize {
        let site = self.here();
        while site.numbers.get(site.lowest_free).is_some_and(Option::is_some) {
            site.lowest_free += 1;
        }
        site.lowest_free
    }

    /// Whether another number can be had.
    pub(super) fn check_number_free(&mut self) -> Result<(), Errno> {
        if self.find_free() >= self.config.fd_limit { Err(Errno::EMFILE) } else { Ok(()) }
    }

    /// Whether two more numbers can be had.
    pub(super) fn check_two_numbers_free(&mut self) -> Result<(), Errno> {
        self.check_number_free()?;
        let numbers = &self.here_ref().numbers;
        let known = numbers.len().min(self.config.fd_limit);
        let beyond = self.config.fd_limit - known;
        let free = numbers[..known].iter().filter(|number| number.is_none()).count();
        if free + beyond < 2 { Err(Errno::EMFILE) } else { Ok(()) }
    }

    /// Gives `file` the lowest free number (K1). That there is one has just been checked.
    pub(super) fn number(&mut self, file: FileId) -> RawFd {
        let index = self.find_free();
        let site = self.here();
        if index == site.numbers.len() {
            site.numbers.push(None);
        }
        assert!(site.numbers[index].is_none(), "K1: number {index} is taken");
        site.numbers[index] = Some(file);
        site.lowest_free = index + 1;
        let fd = index as RawFd;
        let file = self.file_mut(file);
        file.numbers += 1;
        if file.shown_as < 0 {
            file.shown_as = fd;
        }
        fd
    }

    /// `dup`.
    pub(super) fn dup(&mut self, env: &Env<'_>, fd: RawFd) -> Result<RawFd, Errno> {
        let file = self.lookup(fd)?;
        self.check_number_free()?;
        Machine::shortage(env, &[FaultKind::NoDescriptor])?;
        Ok(self.number(file))
    }

    /// `close`: frees the number, and the file with its last number.
    pub(super) fn close(&mut self, env: &Env<'_>, fd: RawFd) -> Result<(), Errno> {
        let id = self.lookup(fd)?;
        let site = self.here();
        site.numbers[fd as usize] = None;
        site.lowest_free = site.lowest_free.min(fd as usize);
        let file = self.file_mut(id);
        file.numbers -= 1;
        if file.numbers == 0 && file.pins == 0 {
            self.close_file(env, id);
        }
        Ok(())
    }

    /// Unpins a file, which may have been closed meanwhile.
    pub(super) fn unpin(&mut self, env: &Env<'_>, id: FileId) {
        let file = self.file_mut(id);
        file.pins -= 1;
        if file.numbers == 0 && file.pins == 0 {
            self.close_file(env, id);
        }
    }

    /// The numbers in use, in order.
    pub(super) fn open_numbers(&self) -> impl Iterator<Item = (RawFd, FileId)> {
        let numbers = self.here_ref().numbers.iter().enumerate();
        numbers.filter_map(|(fd, file)| file.map(|file| (fd as RawFd, file)))
    }

    // Files

    /// A new file of the host that calls.
    pub(super) fn add_file(&mut self, object: Object) -> FileId {
        self.add_file_of(self.here, object)
    }

    pub(super) fn add_file_of(&mut self, host: HostId, object: Object) -> FileId {
        let id = FileId(u32::try_from(self.files.len()).expect("fewer than 2^32 files in a run"));
        self.files.push(Some(Box::new(File {
            object,
            host,
            numbers: 0,
            pins: 0,
            shown_as: -1,
            watches: Vec::new(),
        })));
        id
    }

    #[inline]
    pub(super) fn file(&self, id: FileId) -> &File {
        self.get(id).expect("a file that a number refers to exists")
    }

    #[inline]
    pub(super) fn file_mut(&mut self, id: FileId) -> &mut File {
        let file = self.files[id.0 as usize].as_deref_mut();
        file.expect("a file that a number refers to exists")
    }

    /// The file, if it has not been freed.
    #[inline]
    pub(super) fn get(&self, id: FileId) -> Option<&File> {
        self.files[id.0 as usize].as_deref()
    }

    /// The same, to change.
    #[inline]
    pub(super) fn get_mut(&mut self, id: FileId) -> Option<&mut File> {
        self.files[id.0 as usize].as_deref_mut()
    }

    /// Frees a file. What is in flight to or from it finds nothing.
    pub(super) fn free_file(&mut self, id: FileId) {
        self.files[id.0 as usize] = None;
    }

    /// The files that exist.
    pub(super) fn file_ids(&self) -> impl Iterator<Item = FileId> {
        let files = self.files.iter().enumerate();
        files.filter_map(|(index, file)| file.as_ref().map(|_| FileId(index as u32)))
    }

    /// The TCP sockets among them.
    pub(super) fn tcp_ends(&self) -> impl Iterator<Item = FileId> {
        self.file_ids().filter(|&id| matches!(self.file(id).object, Object::Tcp(_)))
    }

    /// A signal hits the thread that has waited longest for this epoll instance: returns its number, and
    /// does not count it as a waiter any more.
    pub fn interrupt(&mut self, epfd: RawFd) -> Option<u16> {
        let ep = self.epoll_file(epfd).ok()?;
        let waiters = &mut self.epoll_mut(ep).waiters;
        (!waiters.is_empty()).then(|| waiters.remove(0))
    }

    /// The files that exist, those without a number among them.
    pub(super) fn files(&self) -> impl Iterator<Item = &File> {
        self.files.iter().flatten().map(|file| &**file)
    }

    /// How many files a host has, those without a number among them.
    pub(super) fn files_count(&self, host: HostId) -> usize {
        self.files().filter(|file| file.host == host).count()
    }

    fn close_file(&mut self, env: &Env<'_>, id: FileId) {
        for Watch { ep, fd, .. } in std::mem::take(&mut self.file_mut(id).watches) {
            assert!(self.epoll_mut(ep).remove((fd, id)), "K3: no such item");
        }
        match &self.file(id).object {
            Object::EventFd(_) | Object::Regular => self.free_file(id),
            Object::Pipe(_) | Object::PipeWriter(_) => self.pipe_close(env, id),
            Object::Tcp(_) => self.tcp_close(env, id),
            Object::Udp(_) => self.udp_close(id),
            Object::Unix(_) => self.unix_close(env, id),
            Object::Epoll(epoll) => {
                for (_, watched) in epoll.keys().collect::<Vec<_>>() {
                    let watches = &mut self.file_mut(watched).watches;
                    watches.retain(|watch| watch.ep != id);
                }
                self.free_file(id);
            }
        }
    }

    // Readiness

    /// The file's readiness now.
    pub(super) fn readiness(&self, id: FileId) -> u32 {
        match &self.file(id).object {
            Object::Epoll(epoll) if self.has_event(epoll) => IN,
            Object::Epoll(_) => 0,
            Object::Regular => IN | OUT,
            Object::EventFd(eventfd) => eventfd.readiness(),
            Object::Pipe(pipe) => pipe.readiness(),
            Object::PipeWriter(writer) => self.pipe_writer_readiness(writer),
            Object::Tcp(tcp) => tcp.readiness(),
            Object::Udp(udp) => udp.readiness(),
            Object::Unix(unix) => self.unix_readiness(id, unix),
        }
    }

    /// Asks for the file's readiness with an interest in `wanted`, as Linux's `poll` operation does: some
    /// files remember that, and make an edge later that they would not make otherwise.
    pub(super) fn poll(&mut self, id: FileId, wanted: u32) -> u32 {
        let ready = self.readiness(id);
        match &mut self.file_mut(id).object {
            Object::Tcp(tcp) => tcp.polled(ready),
            Object::Pipe(_) | Object::PipeWriter(_) => self.pipe_polled(id),
            Object::Unix(_) => self.unix_polled(id, wanted),
            _ => {}
        }
        ready
    }

    /// Wakes those who watch a file. `wakeup` is the mask of the wake-up, 0 for "something changed", of
    /// which everybody hears.
    pub(super) fn edge(&mut self, env: &Env<'_>, id: FileId, wakeup: u32) {
        let fd = self.file(id).shown_as;
        if fd >= 0 {
            let ready = self.readiness(id);
            let host = self.file(id).host;
            env.record(host, WorldEvent::Edge { fd, file: id.number(), ready, wakeup });
        }
        for index in 0..self.file(id).watches.len() {
            let Watch { ep, fd, is_exclusive } = self.file(id).watches[index];
            let poked = self.epoll_mut(ep).poke((fd, id), wakeup);
            if let Some(waiter) = poked.waiter {
                env.wake(waiter);
            }
            if is_exclusive && poked.taken && wakeup != 0 {
                return;
            }
        }
    }
}
