//! Unix datagram sockets. See `unix.rs`.
//!
//! What Linux does, and this does too:
//!
//! * Datagrams are never lost and keep their order. A receiver holds a few of those who send to it by name
//!   ([`Unix::is_full`]); a peer that it is connected to itself may fill its own buffer.
//! * Who meets `EAGAIN` because the receiver of its connection is full, or asks for room then, hears when a
//!   datagram is taken there, once.
//! * A socket that is connected hears from its peer only (`EPERM` for others).
//! * Nobody is told when a peer goes. The next send says `ECONNREFUSED`, once, ends the connection, and
//!   throws away what had been received and not read.
//! * `shutdown` of reading refuses what is sent (`EPIPE`) and ends nothing on a non-blocking socket.

use netpoll::platform::{Errno, SockAddr, SockType, UnixAddr};

use super::bytes;
use super::env::Env;
use super::epoll::{ERR, OUT, READABLE, WRITABLE};
use super::machine::{FileId, Machine};
use super::unix::{Message, Unix, cost_of_datagram, unix_addr};
use crate::faults::FaultKind;

/// How much less than its buffer a datagram may have.
const SLACK: usize = 32;

impl Machine {
    pub(super) fn unix_datagram_connect(
        &mut self,
        env: &Env<'_>,
        id: FileId,
        addr: &SockAddr,
    ) -> Result<(), Errno> {
        let other = self.here().names.find(unix_addr(addr)?, SockType::Datagram)?;
        if !self.may_send(id, other) {
            return Err(Errno::EPERM);
        }
        let name = self.unix_open(other).name;
        let unix = self.unix_open(id);
        unix.peer_name = name;
        let old = unix.peer.replace(other);
        if let Some(old) = old {
            self.leave_waiting(id);
            self.edge(env, id, WRITABLE);
            if old != other {
                self.disconnected(env, id, old);
            }
        }
        Ok(())
    }

    /// Whether `other` hears `id`.
    fn may_send(&mut self, id: FileId, other: FileId) -> bool {
        self.unix(other).is_none_or(|other| other.peer.is_none_or(|peer| peer == id))
    }

    /// A connection of `id` to `old` has ended: what it has not read is lost.
    fn disconnected(&mut self, env: &Env<'_>, id: FileId, old: FileId) {
        if self.unix_open(id).queue.is_empty() {
            return;
        }
        self.drop_queue(env, id);
        self.wake_waiting(env, id, 0);
        if let Some(other) = self.unix(old)
            && other.peer == Some(id)
        {
            other.error = Some(Errno::ECONNRESET);
            self.edge(env, old, ERR);
        }
    }

    pub(super) fn unix_datagram_read(
        &mut self,
        env: &Env<'_>,
        id: FileId,
        buf: &mut [u8],
        peek: bool,
    ) -> Result<(usize, Option<SockAddr>), Errno> {
        let unix = self.unix_open(id);
        if let Some(error) = unix.error.take() {
            return Err(error);
        }
        let message = *unix.queue.front().ok_or(Errno::EAGAIN)?;
        let count = message.len.min(buf.len());
        bytes::copy_front(&unix.bytes, &mut buf[..count]);
        if !peek {
            unix.queue.pop_front();
            unix.bytes.drain(..message.len);
        }
        let sender = self.unix_sender(message.from);
        // Linux wakes those who wait also for a look.
        self.wake_waiting(env, id, WRITABLE);
        if !peek {
            self.credit(env, message.from, message.cost);
        }
        Ok((count, sender))
    }

    pub(super) fn unix_datagram_write(
        &mut self,
        env: &Env<'_>,
        id: FileId,
        parts: &[&[u8]],
        to: Option<&SockAddr>,
    ) -> Result<usize, Errno> {
        let to = to.map(unix_addr).transpose()?;
        if to.is_some_and(|to| to.is_unnamed()) {
            return Err(Errno::EINVAL);
        }
        let len = bytes::total(parts);
        let unix = self.unix_open(id);
        if len > unix.options.sndbuf.saturating_sub(SLACK) {
            return Err(Errno::EMSGSIZE);
        }
        if let Some(error) = unix.error.take() {
            return Err(error);
        }
        if unix.shut_write {
            return Err(Errno::EPIPE);
        }
        if unix.unread >= unix.options.sndbuf {
            return Err(Errno::EAGAIN);
        }
        Machine::shortage(env, &[FaultKind::NoBuffers])?;
        let sent = self.send_message(env, id, parts, to);
        if sent.is_err() && self.unix_open(id).has_room() {
            // Linux makes the message first, and room again when it throws it away.
            self.edge(env, id, WRITABLE);
        }
        sent.map(|()| len)
    }

    fn send_message(
        &mut self,
        env: &Env<'_>,
        id: FileId,
        parts: &[&[u8]],
        to: Option<UnixAddr>,
    ) -> Result<(), Errno> {
        let connected = self.unix_open(id).peer;
        let other = match to {
            Some(to) => self.here().names.find(to, SockType::Datagram)?,
            None => connected.ok_or(Errno::ENOTCONN)?,
        };
        if !self.may_send(id, other) {
            return Err(Errno::EPERM);
        }
        let Some(receiver) = self.unix(other) else {
            // The peer is gone.
            self.unix_open(id).peer = None;
            self.disconnected(env, id, other);
            return Err(Errno::ECONNREFUSED);
        };
        if receiver.shut_read {
            return Err(Errno::EPIPE);
        }
        if other != id && receiver.peer != Some(id) && receiver.is_full() {
            if connected == Some(other) {
                self.wait_at(id, other);
            }
            return Err(Errno::EAGAIN);
        }
        let len = bytes::total(parts);
        let cost = cost_of_datagram(len);
        bytes::append(&mut receiver.bytes, parts, len);
        receiver.queue.push_back(Message { len, from: id, cost });
        self.unix_open(id).unread += cost;
        self.edge(env, other, READABLE);
        Ok(())
    }

    /// The receiver that keeps a connected socket from being writable.
    pub(super) fn full_peer(&self, id: FileId, unix: &Unix) -> Option<FileId> {
        let peer = unix.peer.filter(|_| unix.kind == SockType::Datagram)?;
        let receiver = self.unix_ref(peer)?;
        (receiver.peer != Some(id) && receiver.is_full()).then_some(peer)
    }

    /// Somebody asks whether a socket can be written: if its receiver is full, it wants to hear more.
    pub(super) fn unix_polled(&mut self, id: FileId, wanted: u32) {
        if wanted & OUT == 0 {
            return;
        }
        let unix = self.unix_ref(id).expect("is open");
        if unix.kind == SockType::Datagram
            && unix.has_room()
            && let Some(peer) = self.full_peer(id, unix)
        {
            self.wait_at(id, peer);
        }
    }

    fn wait_at(&mut self, id: FileId, receiver: FileId) {
        let unix = self.unix_open(id);
        if unix.waits_at.is_none() {
            unix.waits_at = Some(receiver);
            self.unix_open(receiver).waiting.push(id);
        }
    }

    /// `id` does not want to hear of its receiver any more.
    pub(super) fn leave_waiting(&mut self, id: FileId) {
        let Some(unix) = self.unix_or_orphan(id) else { return };
        let Some(receiver) = unix.waits_at.take() else { return };
        if let Some(receiver) = self.unix(receiver) {
            receiver.waiting.retain(|&other| other != id);
        }
    }

    /// Tells those who wait that the queue of `id` is shorter, or gone.
    pub(super) fn wake_waiting(&mut self, env: &Env<'_>, id: FileId, wakeup: u32) {
        let Some(unix) = self.unix_or_orphan(id) else { return };
        for sender in std::mem::take(&mut unix.waiting) {
            if let Some(unix) = self.unix(sender) {
                unix.waits_at = None;
                self.edge(env, sender, wakeup);
            }
        }
    }
}
