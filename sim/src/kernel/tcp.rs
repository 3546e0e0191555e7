//! One end of a TCP connection: its state, and what `read`, `write` and `poll` make of it.
//!
//! | state | left by | to |
//! |---|---|---|
//! | `Closed` | `listen` | `Listen` |
//! | `Closed` | `connect` | `SynSent` |
//! | `Listen` | `close`, `shutdown` of reading | `Closed` |
//! | `SynSent` | SYN-ACK | `Synchronised` |
//! | `SynSent` | RST, `shutdown` | `Closed` |
//! | `Synchronised` | both FINs, RST, `close` with unread data | `Closed` |
//!
//! `Synchronised` is all of ESTABLISHED, FIN_WAIT, CLOSE_WAIT, CLOSING and LAST_ACK: which one follows
//! from `fin` (what we sent) and `done` (what we got).
//!
//! A byte that is written stands in `out` until it arrives; the front `in_flight` bytes of `out` are
//! travelling. The acknowledgement is part of the arrival. Invariants:
//!
//! * **T1** `in_flight <= out.len()`, and packets in flight of one end sum up to `in_flight`.
//! * **T2** packets of one end arrive in the order in which it sent them.
//! * **T3** what is unread and in flight never exceeds the receiver's buffer.
//! * **T4** a read shorter than asked empties the receive queue (epoll(7) relies on it).
//! * **T5** after a write that was short or refused, room for writing makes an `OUT` edge.
//!
//! The wire (packets, the handshake, resets) is in `wire.rs`.

use std::collections::VecDeque;
use std::net::SocketAddr;

use netpoll::platform::{Domain, Errno};

use super::epoll::{ERR, HUP, IN, OUT, RDHUP};
use super::machine::FileId;
use super::net::{NetConfig, unspecified};

/// See the table above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Closed,
    Listen,
    SynSent,
    Synchronised,
}

/// What `connect` has been told so far (`sock->state` in Linux).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Connect {
    Unconnected,
    Connecting,
    Connected,
    /// Shut down after the attempt had failed; of no more use.
    Disconnecting,
}

/// Our own FIN. Ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fin {
    /// Writing is possible.
    None,
    /// To be sent after `out`.
    Queued,
    /// Travels.
    Sent,
    /// Has arrived.
    Arrived,
}

/// Something that travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Packet {
    /// A client knocks.
    Syn { client: FileId },
    /// The listener answers.
    SynAck { client: FileId, listener: FileId },
    /// The client's last word of the handshake; `child` is ready to be accepted.
    Ack { child: FileId, listener: FileId },
    /// Bytes from the front of `from`'s queue.
    Segment { from: FileId, len: u32 },
    /// The end of what `from` writes.
    Fin { from: FileId },
    /// The connection of `to` is void; `from`, if any, has nothing more in flight.
    Rst { from: Option<FileId>, to: FileId },
}

/// What only a listening socket has.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    /// Connections that nobody has accepted, oldest first.
    pub(super) queue: VecDeque<FileId>,
    /// Handshakes under way, which have a place in the queue reserved.
    pub(super) reserved: usize,
    pub(super) limit: usize,
}

/// A TCP socket.
#[derive(Debug)]
pub(super) struct Tcp {
    pub(super) domain: Domain,
    pub(super) state: State,
    pub(super) connect: Connect,
    pub(super) local: SocketAddr,
    /// Whether `local` has a port in the table of ports.
    pub(super) holds_port: bool,
    pub(super) reuse_addr: bool,
    pub(super) remote: Option<SocketAddr>,
    /// The other end, while it exists.
    pub(super) peer: Option<FileId>,
    /// `SO_ERROR`.
    pub(super) error: Option<Errno>,
    /// Reads come to an end.
    pub(super) shut_read: bool,
    /// Writes are refused.
    pub(super) shut_write: bool,
    /// The peer's FIN has arrived.
    pub(super) done: bool,
    pub(super) fin: Fin,
    /// Someone wants an edge when there is room (`SOCK_NOSPACE`).
    pub(super) wants_room: bool,
    /// No number refers to this socket any more.
    pub(super) orphan: bool,
    pub(super) sndbuf: usize,
    pub(super) rcvbuf: usize,
    pub(super) unread: VecDeque<u8>,
    pub(super) out: VecDeque<u8>,
    pub(super) in_flight: usize,
    /// T2: nothing that is sent now arrives before this.
    pub(super) last_arrival_ns: u64,
    pub(super) backlog: Backlog,
    /// Options that are kept and have no effect.
    pub(super) no_delay: bool,
    pub(super) keep_alive: bool,
}

impl Tcp {
    pub(super) fn new(domain: Domain, config: NetConfig) -> Tcp {
        Tcp {
            domain,
            state: State::Closed,
            connect: Connect::Unconnected,
            local: unspecified(domain),
            holds_port: false,
            reuse_addr: false,
            remote: None,
            peer: None,
            error: None,
            shut_read: false,
            shut_write: false,
            done: false,
            fin: Fin::None,
            wants_room: false,
            orphan: false,
            sndbuf: config.sndbuf,
            rcvbuf: config.rcvbuf,
            unread: VecDeque::new(),
            out: VecDeque::new(),
            in_flight: 0,
            last_arrival_ns: 0,
            backlog: Backlog::default(),
            no_delay: false,
            keep_alive: false,
        }
    }

    /// `tcp_poll`.
    pub(super) fn readiness(&mut self) -> u32 {
        if self.state == State::Listen {
            return if self.backlog.queue.is_empty() { 0 } else { IN };
        }
        let mut ready = 0;
        if self.state == State::Closed || (self.shut_read && self.shut_write) {
            ready |= HUP;
        }
        if self.shut_read {
            ready |= IN | RDHUP;
        }
        if self.state != State::SynSent {
            if !self.unread.is_empty() {
                ready |= IN;
            }
            if self.shut_write || self.has_room() {
                ready |= OUT;
            } else {
                self.wants_room = true;
            }
        }
        if self.error.is_some() {
            ready |= ERR;
        }
        ready
    }

    /// Whether the socket counts as writable: at least a third of its buffer is free.
    pub(super) fn has_room(&self) -> bool {
        let free = self.sndbuf.saturating_sub(self.out.len());
        free >= self.out.len() / 2 && free > 0
    }

    /// Whether data that arrives is refused: nobody will read it, and we have ended our side as well.
    pub(super) fn is_shut_down(&self) -> bool {
        self.shut_read && self.fin != Fin::None && !self.done
    }

    /// What a read returns, without taking the bytes: `Ok(0)` is the end of the stream.
    pub(super) fn readable(&mut self) -> Result<usize, Errno> {
        if self.state == State::Listen {
            return Err(Errno::ENOTCONN);
        }
        if !self.unread.is_empty() {
            return Ok(self.unread.len());
        }
        if self.done {
            return Ok(0);
        }
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        if self.shut_read {
            return Ok(0);
        }
        Err(match self.state {
            State::Closed => Errno::ENOTCONN,
            _ => Errno::EAGAIN,
        })
    }

    /// How many bytes a write can take; fails when it can take none.
    pub(super) fn writable(&mut self, len: usize) -> Result<usize, Errno> {
        if self.state == State::SynSent {
            return Err(self.error.take().unwrap_or(Errno::EAGAIN));
        }
        let open = self.state == State::Synchronised && !self.shut_write;
        if !open || self.error.is_some() {
            return Err(self.error.take().unwrap_or(Errno::EPIPE));
        }
        let free = self.sndbuf.saturating_sub(self.out.len());
        if free < len {
            self.wants_room = true; // T5
        }
        if free == 0 && len > 0 {
            return Err(Errno::EAGAIN);
        }
        Ok(free.min(len))
    }

    /// Copies the front of the receive queue.
    pub(super) fn copy_unread(&self, buf: &mut [u8]) -> usize {
        let (front, back) = self.unread.as_slices();
        let n = front.len().min(buf.len());
        buf[..n].copy_from_slice(&front[..n]);
        let m = back.len().min(buf.len() - n);
        buf[n..n + m].copy_from_slice(&back[..m]);
        n + m
    }

    /// The bytes that the peer may have in flight beyond those it has: T3.
    pub(super) fn window(&self, in_flight: usize) -> usize {
        if self.orphan {
            return usize::MAX; // they are thrown away
        }
        self.rcvbuf.saturating_sub(self.unread.len() + in_flight)
    }

    /// Enters `Closed` for good: no more reading or writing, nothing left to send but what travels.
    pub(super) fn enter_closed(&mut self) {
        self.state = State::Closed;
        self.shut_read = true;
        self.shut_write = true;
        self.out.truncate(self.in_flight);
    }

    /// The address that `getpeername` returns.
    pub(super) fn peer_name(&self) -> Result<SocketAddr, Errno> {
        match (self.state, self.remote) {
            (State::Synchronised, Some(remote)) => Ok(remote),
            _ => Err(Errno::ENOTCONN),
        }
    }
}
