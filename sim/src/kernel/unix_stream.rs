//! Unix stream sockets. See `unix.rs`.
//!
//! What Linux does, and this does too:
//!
//! * `connect` is over at once: with a connection, with `ECONNREFUSED` where nobody listens, or with `EAGAIN`
//!   where the queue is full, and then no edge tells when to come back.
//! * It makes no edge for the one who connects. The queue takes one connection more than `listen` asked for.
//! * A write is cut into pieces of at most half the buffer; a piece is taken as long as the buffer is not
//!   full, so at least one always is. Pieces make no difference to the reader, only to when the writer hears
//!   that they were read.
//! * Closing an end with unread data is an error for the other, after what it has got; later writes say
//!   `EPIPE`.
//!
//! A read that is shorter than asked empties the queue (T4 in `tcp.rs` holds here too), and a short write,
//! which is a fault, leaves a piece in the queue whose reading makes an edge (T5).

use netpoll::platform::{Errno, SockAddr};

use super::bytes;
use super::env::Env;
use super::epoll::{READABLE, WRITABLE};
use super::machine::{FileId, Machine, Object};
use super::net::SOMAXCONN;
use super::unix::{Message, State, Unix, cost_of_piece, unix_addr};
use crate::choice::ChoiceKind;
use crate::faults::FaultKind;
use crate::oracle::Moved;

/// The longest piece of a write.
const PIECE_MAX: usize = 36_544;

/// How much less than half of the buffer a piece takes.
const PIECE_SLACK: usize = 64;

impl Machine {
    pub(super) fn unix_listen(&mut self, id: FileId, backlog: i32) -> Result<(), Errno> {
        let unix = self.unix_open(id);
        let limit = if (0..=SOMAXCONN).contains(&backlog) { backlog } else { SOMAXCONN };
        if unix.name.is_unnamed() || unix.state == State::Established {
            return Err(Errno::EINVAL);
        }
        unix.state = State::Listen;
        unix.queue_max = limit as usize;
        Ok(())
    }

    pub(super) fn unix_stream_connect(
        &mut self,
        env: &Env<'_>,
        id: FileId,
        addr: &SockAddr,
    ) -> Result<(), Errno> {
        let addr = unix_addr(addr)?;
        let kind = self.unix_open(id).kind;
        let listener = self.here().names.find(addr, kind)?;
        let other = self.unix_open(listener);
        if other.state != State::Listen || other.shut_read {
            return Err(Errno::ECONNREFUSED);
        }
        if other.is_full() {
            return Err(Errno::EAGAIN);
        }
        let name = other.name;
        match self.unix_open(id).state {
            State::Established => return Err(Errno::EISCONN),
            State::Listen => return Err(Errno::EINVAL),
            State::Closed => {}
        }
        let mut child = Unix::new(kind, self.config);
        child.state = State::Established;
        child.name = name;
        child.peer = Some(id);
        let child = self.add_file(Object::Unix(Box::new(child)));
        let unix = self.unix_open(id);
        unix.state = State::Established;
        unix.peer = Some(child);
        unix.peer_name = name;
        self.unix_open(listener).pending.push_back(child);
        self.edge(env, listener, READABLE);
        Ok(())
    }

    /// The next connection of a listener.
    pub(super) fn unix_accept(&mut self, id: FileId) -> Result<FileId, Errno> {
        let unix = self.unix_open(id);
        if unix.state != State::Listen {
            return Err(Errno::EINVAL);
        }
        unix.pending.pop_front().ok_or(Errno::EAGAIN)
    }

    pub(super) fn unix_stream_read(
        &mut self,
        env: &Env<'_>,
        id: FileId,
        buf: &mut [u8],
        peek: bool,
    ) -> Result<(usize, Option<SockAddr>), Errno> {
        let unix = self.unix_open(id);
        if unix.state != State::Established {
            return Err(Errno::EINVAL);
        }
        let Some(first) = unix.queue.front() else {
            if let Some(error) = unix.error.take() {
                return Err(error);
            }
            return if unix.shut_read { Ok((0, None)) } else { Err(Errno::EAGAIN) };
        };
        let from = first.from;
        let count = bytes::copy_front(&unix.bytes, buf);
        env.moved(
            self.file(id).host,
            Moved::Read { from: id.number(), bytes: &buf[..count], is_peek: peek },
        );
        let sender = self.unix_sender(from);
        if peek {
            return Ok((count, sender));
        }
        let unix = self.unix_open(id);
        unix.bytes.drain(..count);
        let mut left = count;
        let mut cost = 0;
        while let Some(piece) = unix.queue.front_mut() {
            let n = piece.len.min(left);
            piece.len -= n;
            left -= n;
            if piece.len > 0 {
                break;
            }
            cost += piece.cost;
            unix.queue.pop_front();
        }
        if cost > 0 {
            self.credit(env, from, cost);
        }
        Ok((count, sender))
    }

    pub(super) fn unix_stream_write(
        &mut self,
        env: &Env<'_>,
        id: FileId,
        parts: &[&[u8]],
        to: Option<&SockAddr>,
    ) -> Result<usize, Errno> {
        let unix = self.unix_open(id);
        if to.is_some() {
            return Err(match unix.state {
                State::Established => Errno::EISCONN,
                _ => Errno::EOPNOTSUPP,
            });
        }
        let peer = unix.peer.ok_or(Errno::ENOTCONN)?;
        if unix.shut_write {
            return Err(Errno::EPIPE);
        }
        let len = bytes::total(parts);
        if len == 0 {
            return Ok(0);
        }
        if let Some(error) = unix.error.take() {
            return Err(error);
        }
        let room = Room::of(unix);
        let mut count = room.acceptable(len);
        if count == 0 {
            return Err(Errno::EAGAIN);
        }
        if count > 1 && env.strikes(FaultKind::ShortWrite) {
            count -= 1 + env.choose(ChoiceKind::WriteLen, count as u32 - 1) as usize;
        }
        if self.unix(peer).is_none_or(|other| other.shut_read) {
            if self.unix_open(id).has_room() {
                // Linux makes the piece first, and room again when it throws it away.
                self.edge(env, id, WRITABLE);
            }
            return Err(Errno::EPIPE);
        }
        let host = self.here_id();
        let other = self.unix_open(peer);
        env.moved(host, Moved::Written { to: peer.number(), parts, count });
        bytes::append(&mut other.bytes, parts, count);
        let mut total = 0;
        for len in room.pieces(count) {
            let cost = cost_of_piece(len);
            other.queue.push_back(Message { len, from: id, cost });
            total += cost;
        }
        self.unix_open(id).unread += total;
        self.edge(env, peer, READABLE);
        Ok(count)
    }
}

/// How a write is cut, and how much of it there is room for.
struct Room {
    piece_max: usize,
    free: usize,
}

impl Room {
    fn of(unix: &Unix) -> Room {
        let half = (unix.options.sndbuf / 2).saturating_sub(PIECE_SLACK);
        let free = unix.options.sndbuf.saturating_sub(unix.unread);
        Room { piece_max: half.clamp(1, PIECE_MAX), free }
    }

    /// The lengths of the pieces of `len` bytes.
    fn pieces(&self, len: usize) -> impl Iterator<Item = usize> {
        let piece_max = self.piece_max;
        (0..len).step_by(piece_max).map(move |at| piece_max.min(len - at))
    }

    /// How many of `len` bytes go in: a piece is taken whole as long as there is any room.
    fn acceptable(&self, len: usize) -> usize {
        let mut free = self.free;
        let mut count = 0;
        for piece in self.pieces(len) {
            if free == 0 {
                break;
            }
            free = free.saturating_sub(cost_of_piece(piece));
            count += piece;
        }
        count
    }
}
