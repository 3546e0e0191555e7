//! Unix sockets: what both kinds have in common, and their names.
//!
//! Nothing travels here: what is sent stands at once in the receiver's queue, in order and without loss,
//! and costs the *sender* of its buffer until somebody takes it. That is why the reader's progress is the
//! writer's edge. What is particular to one kind is in `unix_stream.rs` and `unix_datagram.rs`.
//!
//! What Linux does (unix(7), `net/unix/af_unix.c`, measured), and this does too:
//!
//! * A path stays in the file system after its socket has been closed: nobody answers there any more
//!   (`ECONNREFUSED`), and nobody else can bind there (`EADDRINUSE`) until it is unlinked. An abstract name
//!   goes with its socket; each kind of socket has its own abstract names.
//! * A socket is writable while at most a quarter of its buffer is in use, and *each* message that leaves a
//!   receiver's queue makes an edge of it.
//! * A socket outlives its last number until what it has sent has been taken.
//!
//! Directories are not modelled: every path can be bound.

use std::collections::VecDeque;

use netpoll::platform::{Domain, Errno, SockAddr, SockType, UnixAddr};

use super::env::Env;
use super::epoll::{ERR, HUP, IN, OUT, RDHUP, WRITABLE};
use super::machine::{FileId, Machine, Object};
use super::net::NetConfig;
use super::options::Options;

/// What a message of so many bytes costs of its sender's buffer: its memory, which comes in powers of two,
/// with the kernel's own data at its end and a record beside it; and pages for what goes beyond `linear_max`
/// bytes. Measured on Linux 6 on x86-64 (`truesize`).
fn cost(len: usize, linear_max: usize) -> usize {
    const SHARED_INFO: usize = 320;
    const RECORD: usize = 256;
    const LEAST: usize = 512;
    const PAGE: usize = 4096;
    let paged = len.saturating_sub(linear_max).next_multiple_of(PAGE).min(len);
    let linear = (len - paged + SHARED_INFO).next_power_of_two().max(LEAST);
    linear + RECORD + paged
}

/// What a piece of a stream costs: up to a page lies in one part.
pub(super) fn cost_of_piece(len: usize) -> usize {
    cost(len, 4096 - 320)
}

/// What a datagram costs: up to four pages lie in one part.
pub(super) fn cost_of_datagram(len: usize) -> usize {
    cost(len, 4 * 4096 - 320)
}

/// How many datagrams, and one more, a receiver holds of senders it has not connected to
/// (`net.unix.max_dgram_qlen`).
const DATAGRAMS_MAX: usize = 10;

/// What a socket is, in the words of Linux's `sk_state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Closed,
    Listen,
    Established,
}

/// What stands in a receiver's queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message {
    pub(super) len: usize,
    pub(super) from: FileId,
    /// What it cost the sender.
    pub(super) cost: usize,
}

/// A Unix socket.
#[derive(Debug)]
pub(super) struct Unix {
    pub(super) kind: SockType,
    pub(super) state: State,
    pub(super) name: UnixAddr,
    /// The other end. It may be gone already: [`Machine::unix`] says so.
    pub(super) peer: Option<FileId>,
    /// The name of the peer, for when it is gone.
    pub(super) peer_name: UnixAddr,
    /// `SO_ERROR`.
    pub(super) error: Option<Errno>,
    pub(super) shut_read: bool,
    pub(super) shut_write: bool,
    /// The cost of what has been sent and nobody has taken.
    pub(super) unread: usize,
    pub(super) bytes: VecDeque<u8>,
    pub(super) queue: VecDeque<Message>,
    /// Connections that nobody has accepted, oldest first.
    pub(super) pending: VecDeque<FileId>,
    /// The queue is full when it is longer than this.
    pub(super) queue_max: usize,
    /// Senders of datagrams who want an edge when the queue gets shorter (`peer_wait` in Linux).
    pub(super) waiting: Vec<FileId>,
    /// In whose `waiting` this one stands.
    pub(super) waits_at: Option<FileId>,
    /// No number refers to this socket any more.
    pub(super) orphan: bool,
    pub(super) options: Options,
}

impl Unix {
    pub(super) fn new(kind: SockType, config: NetConfig) -> Unix {
        Unix {
            kind,
            state: State::Closed,
            name: UnixAddr::UNNAMED,
            peer: None,
            peer_name: UnixAddr::UNNAMED,
            error: None,
            shut_read: false,
            shut_write: false,
            unread: 0,
            bytes: VecDeque::new(),
            queue: VecDeque::new(),
            pending: VecDeque::new(),
            queue_max: DATAGRAMS_MAX,
            waiting: Vec::new(),
            waits_at: None,
            orphan: false,
            options: Options::new(Domain::Unix, config),
        }
    }

    /// `SO_TYPE`.
    pub(super) fn type_number(&self) -> i32 {
        match self.kind {
            SockType::Stream => libc::SOCK_STREAM,
            SockType::Datagram => libc::SOCK_DGRAM,
        }
    }

    pub(super) fn is_listening(&self) -> bool {
        self.state == State::Listen
    }

    /// Whether the socket counts as writable, as far as its own buffer goes.
    pub(super) fn has_room(&self) -> bool {
        self.state != State::Listen && self.unread * 4 <= self.options.sndbuf
    }

    /// Whether the queue takes no more messages or connections.
    pub(super) fn is_full(&self) -> bool {
        self.queue.len() + self.pending.len() > self.queue_max
    }
}

/// The names of Unix sockets.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// In the order in which they were bound. A socket that has been closed leaves its path.
    entries: Vec<(UnixAddr, SockType, Option<FileId>)>,
    /// How many names the kernel has made up.
    made_up: u32,
}

impl Names {
    fn is_same(
        entry: &(UnixAddr, SockType, Option<FileId>),
        addr: UnixAddr,
        kind: SockType,
    ) -> bool {
        entry.0 == addr && (entry.1 == kind || addr.as_pathname().is_some())
    }

    fn is_taken(&self, addr: UnixAddr, kind: SockType) -> bool {
        self.entries.iter().any(|entry| Names::is_same(entry, addr, kind))
    }

    /// The socket with this name.
    pub(super) fn find(&self, addr: UnixAddr, kind: SockType) -> Result<FileId, Errno> {
        if addr.is_unnamed() {
            return Err(Errno::EINVAL);
        }
        let entry = self.entries.iter().find(|entry| Names::is_same(entry, addr, kind));
        match entry {
            None if addr.as_pathname().is_some() => Err(Errno::ENOENT),
            None | Some((_, _, None)) => Err(Errno::ECONNREFUSED),
            Some((_, other, Some(_))) if *other != kind => Err(Errno::EPROTOTYPE),
            Some((_, _, Some(id))) => Ok(*id),
        }
    }

    /// A socket goes.
    fn release(&mut self, id: FileId) {
        for entry in &mut self.entries {
            if entry.2 == Some(id) {
                entry.2 = None;
            }
        }
        self.entries.retain(|(addr, _, owner)| owner.is_some() || addr.as_pathname().is_some());
    }
}

impl Machine {
    /// The Unix socket, unless it is gone for others.
    pub(super) fn unix(&mut self, id: FileId) -> Option<&mut Unix> {
        self.unix_or_orphan(id).filter(|unix| !unix.orphan)
    }

    /// The Unix socket, also one that only what it has sent keeps alive.
    pub(super) fn unix_or_orphan(&mut self, id: FileId) -> Option<&mut Unix> {
        self.get(id)?;
        match &mut self.file_mut(id).object {
            Object::Unix(unix) => Some(unix),
            other => unreachable!("{other:?} was looked up as a Unix socket"),
        }
    }

    /// As [`unix`](Machine::unix), to look at.
    pub(super) fn unix_ref(&self, id: FileId) -> Option<&Unix> {
        match &self.get(id)?.object {
            Object::Unix(unix) => (!unix.orphan).then_some(&**unix),
            other => unreachable!("{other:?} was looked up as a Unix socket"),
        }
    }

    /// The one that a call is about, which is open.
    pub(super) fn unix_open(&mut self, id: FileId) -> &mut Unix {
        self.unix(id).expect("is open")
    }

    // Names

    pub(super) fn unix_bind(&mut self, id: FileId, addr: &SockAddr) -> Result<(), Errno> {
        let mut addr = unix_addr(addr)?;
        let (kind, is_bound) = {
            let unix = self.unix_open(id);
            (unix.kind, !unix.name.is_unnamed())
        };
        if addr.is_unnamed() {
            if is_bound {
                return Ok(()); // it has a name, so it needs none
            }
            addr = self.made_up_name(kind);
        }
        // Linux makes the path before it looks at the socket, and the abstract name after.
        if addr.as_pathname().is_some() && self.here().names.is_taken(addr, kind) {
            return Err(Errno::EADDRINUSE);
        }
        if is_bound {
            return Err(Errno::EINVAL);
        }
        if self.here().names.is_taken(addr, kind) {
            return Err(Errno::EADDRINUSE);
        }
        self.here().names.entries.push((addr, kind, Some(id)));
        self.unix_open(id).name = addr;
        Ok(())
    }

    /// An abstract name of five hexadecimal digits that nobody has.
    fn made_up_name(&mut self, kind: SockType) -> UnixAddr {
        loop {
            self.here().names.made_up += 1;
            let name = format!("{:05x}", self.here().names.made_up);
            let addr = UnixAddr::from_abstract_name(name).expect("is short");
            if !self.here().names.is_taken(addr, kind) {
                return addr;
            }
        }
    }

    /// `unlink` of the path of a socket, which goes on without it.
    pub(super) fn unlink(&mut self, addr: UnixAddr) -> Result<(), Errno> {
        let is_it = |entry: &(UnixAddr, SockType, Option<FileId>)| entry.0 == addr;
        let index = self.here().names.entries.iter().position(is_it);
        let index = index.filter(|_| addr.as_pathname().is_some()).ok_or(Errno::ENOENT)?;
        self.here().names.entries.remove(index);
        Ok(())
    }

    pub(super) fn unix_peer_name(&self, unix: &Unix) -> Result<UnixAddr, Errno> {
        let peer = unix.peer.ok_or(Errno::ENOTCONN)?;
        Ok(self.unix_ref(peer).map_or(unix.peer_name, |peer| peer.name))
    }

    /// The name of who has sent something, if it has one.
    pub(super) fn unix_sender(&mut self, id: FileId) -> Option<SockAddr> {
        let name = self.unix_or_orphan(id).expect("what it sent keeps it").name;
        (!name.is_unnamed()).then_some(name.into())
    }

    // Calls

    /// `socketpair`.
    pub(super) fn unix_pair(&mut self, kind: SockType) -> (FileId, FileId) {
        let config = self.config;
        let [a, b] = [(); 2].map(|()| {
            let mut unix = Unix::new(kind, config);
            unix.state = State::Established;
            self.add_file(Object::Unix(Box::new(unix)))
        });
        self.unix_open(a).peer = Some(b);
        self.unix_open(b).peer = Some(a);
        (a, b)
    }

    pub(super) fn unix_shutdown(&mut self, env: &Env<'_>, id: FileId, read: bool, write: bool) {
        let unix = self.unix_open(id);
        unix.shut_read |= read;
        unix.shut_write |= write;
        let peer = unix.peer.filter(|_| unix.kind == SockType::Stream);
        self.edge(env, id, 0);
        if let Some(peer) = peer
            && let Some(other) = self.unix(peer)
        {
            other.shut_read |= write;
            other.shut_write |= read;
            self.edge(env, peer, 0);
        }
    }

    /// `close` of the last number, or the end of a connection that nobody will accept.
    pub(super) fn unix_close(&mut self, env: &Env<'_>, id: FileId) {
        self.unix_close_as(env, id, false);
    }

    pub(super) fn unix_close_as(&mut self, env: &Env<'_>, id: FileId, unaccepted: bool) {
        self.site_of(id).names.release(id);
        let unix = self.unix_open(id);
        unix.orphan = true;
        unix.state = State::Closed;
        let (kind, name, peer) = (unix.kind, unix.name, unix.peer.take());
        let loses_data = !unix.queue.is_empty() || !unix.pending.is_empty() || unaccepted;
        self.wake_waiting(env, id, 0);
        if let Some(peer) = peer {
            self.leave_waiting(id);
            if let Some(other) = self.unix(peer).filter(|other| other.peer == Some(id)) {
                other.peer_name = name;
                if kind == SockType::Stream {
                    other.shut_read = true;
                    other.shut_write = true;
                    if loses_data {
                        other.error = Some(Errno::ECONNRESET);
                    }
                    self.edge(env, peer, 0);
                }
            }
        }
        let pending = std::mem::take(&mut self.unix_or_orphan(id).expect("was open").pending);
        for child in pending {
            self.unix_close_as(env, child, true);
        }
        self.drop_queue(env, id);
        self.free_if_paid(id);
    }

    /// Throws away what stands in a queue.
    pub(super) fn drop_queue(&mut self, env: &Env<'_>, id: FileId) {
        let unix = self.unix_or_orphan(id).expect("has a queue");
        unix.bytes.clear();
        for message in std::mem::take(&mut unix.queue) {
            self.credit(env, message.from, message.cost);
        }
    }

    /// Frees a socket that no number refers to once all that it sent has been taken.
    fn free_if_paid(&mut self, id: FileId) {
        if self.unix_or_orphan(id).is_some_and(|unix| unix.orphan && unix.unread == 0) {
            self.free_file(id);
        }
    }

    // Room

    /// A message has been taken: its sender has room again, and hears of it if it is enough
    /// (`unix_write_space`).
    pub(super) fn credit(&mut self, env: &Env<'_>, sender: FileId, cost: usize) {
        let unix = self.unix_or_orphan(sender).expect("what it sent keeps it");
        unix.unread -= cost;
        if unix.orphan {
            self.free_if_paid(sender);
        } else if unix.has_room() {
            self.edge(env, sender, WRITABLE);
        }
    }

    /// The readiness of a socket: `unix_poll`, `unix_dgram_poll`.
    pub(super) fn unix_readiness(&self, id: FileId, unix: &Unix) -> u32 {
        let mut ready = 0;
        if unix.error.is_some() {
            ready |= ERR;
        }
        if unix.shut_read {
            ready |= IN | RDHUP;
            if unix.shut_write {
                ready |= HUP;
            }
        }
        if !unix.queue.is_empty() || !unix.pending.is_empty() {
            ready |= IN;
        }
        if unix.kind == SockType::Stream && unix.state == State::Closed {
            ready |= HUP;
        }
        if unix.has_room() && self.full_peer(id, unix).is_none() {
            ready |= OUT;
        }
        ready
    }
}

pub(super) fn unix_addr(addr: &SockAddr) -> Result<UnixAddr, Errno> {
    addr.as_unix().ok_or(Errno::EINVAL)
}
