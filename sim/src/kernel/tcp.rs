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
//! The socket calls are in `tcp_calls.rs`, the wire (the handshake, segments, resets) in `wire.rs`, and what becomes of packets
//! that get lost between hosts in `loss.rs`.

use std::collections::VecDeque;
use std::net::SocketAddr;

use netpoll::platform::{Domain, Errno};

use super::epoll::{ERR, HUP, IN, OUT, RDHUP};
use super::flight::Packet;
use super::machine::FileId;
use super::net::{NetConfig, unspecified};
use super::options::Options;

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
    pub(super) state: State,
    pub(super) connect: Connect,
    /// Tells attempts to connect apart: what travels for another one is void.
    pub(super) attempt: u32,
    pub(super) local: SocketAddr,
    /// Whether `local` has a port in the table of ports.
    pub(super) holds_port: bool,
    /// Whether the port was asked for, so that it is kept when a connection ends (`SOCK_BINDPORT_LOCK`).
    pub(super) keeps_port: bool,
    /// The same of the address.
    pub(super) keeps_addr: bool,
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
    /// Our side ended first, or at the same time: the connection goes through `TIME_WAIT` here.
    pub(super) ends_actively: bool,
    /// Nothing that we send arrives any more: a fault.
    pub(super) is_stalled: bool,
    /// What was sent and did not get through (T6).
    pub(super) held: VecDeque<Packet>,
    /// How often that was sent again, or an answer asked for; `None` when nothing is amiss.
    pub(super) retries: Option<u32>,
    /// How often this attempt to connect was not answered.
    pub(super) knocks: u32,
    /// Someone wants an edge when there is room (`SOCK_NOSPACE`).
    pub(super) wants_room: bool,
    /// No number refers to this socket any more.
    pub(super) orphan: bool,
    pub(super) unread: VecDeque<u8>,
    pub(super) out: VecDeque<u8>,
    pub(super) in_flight: usize,
    /// T2: nothing that is sent now arrives before this.
    pub(super) last_arrival_ns: u64,
    pub(super) backlog: Backlog,
    pub(super) options: Options,
}

impl Tcp {
    pub(super) fn new(domain: Domain, config: NetConfig) -> Tcp {
        Tcp {
            state: State::Closed,
            connect: Connect::Unconnected,
            attempt: 0,
            local: unspecified(domain),
            holds_port: false,
            keeps_port: false,
            keeps_addr: false,
            remote: None,
            peer: None,
            error: None,
            shut_read: false,
            shut_write: false,
            done: false,
            fin: Fin::None,
            ends_actively: false,
            is_stalled: false,
            held: VecDeque::new(),
            retries: None,
            knocks: 0,
            wants_room: false,
            orphan: false,
            unread: VecDeque::new(),
            out: VecDeque::new(),
            in_flight: 0,
            last_arrival_ns: 0,
            backlog: Backlog::default(),
            options: Options::new(domain, config),
        }
    }

    pub(super) fn is_listening(&self) -> bool {
        self.state == State::Listen
    }

    /// Somebody has asked for the readiness. If there was no room, there is to be an edge when there is
    /// (T5).
    pub(super) fn polled(&mut self, ready: u32) {
        self.wants_room |= self.state == State::Synchronised && ready & OUT == 0;
    }

    /// `tcp_poll`.
    pub(super) fn readiness(&self) -> u32 {
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
            }
        }
        if self.error.is_some() {
            ready |= ERR;
        }
        ready
    }

    /// Whether the socket counts as writable: at least a third of its buffer is free.
    pub(super) fn has_room(&self) -> bool {
        let free = self.options.sndbuf.saturating_sub(self.out.len());
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
        let free = self.options.sndbuf.saturating_sub(self.out.len());
        if free < len {
            self.wants_room = true; // T5
        }
        if free == 0 && len > 0 {
            return Err(Errno::EAGAIN);
        }
        Ok(free.min(len))
    }

    /// The bytes that the peer may have in flight beyond those it has: T3.
    pub(super) fn window(&self, in_flight: usize) -> usize {
        if self.orphan {
            return usize::MAX; // they are thrown away
        }
        self.options.rcvbuf.saturating_sub(self.unread.len() + in_flight)
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
