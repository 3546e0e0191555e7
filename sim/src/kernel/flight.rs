//! What travels: packets, by the time of their arrival.
//!
//! A packet is a few words. A datagram's bytes stand in a table beside them, whose places are used again.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::env::Env;
use super::machine::{File, FileId, Machine, Object};
use super::site::HostId;
use super::udp::Datagram;

/// Something that travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Packet {
    /// A client knocks. `attempt` tells its attempts apart.
    Syn { client: FileId, attempt: u32 },
    /// The listener answers.
    SynAck { client: FileId, attempt: u32, listener: FileId },
    /// The client's last word of the handshake; `child` is ready to be accepted.
    Ack { child: FileId, listener: FileId },
    /// Bytes from the front of `from`'s queue.
    Segment { from: FileId, len: u32 },
    /// The end of what `from` writes.
    Fin { from: FileId },
    /// The connection of `to` is void; `from`, if any, has nothing more in flight.
    Rst { from: Option<FileId>, to: FileId },
    /// An attempt to connect ends with an error.
    Failure { client: FileId, attempt: u32, errno: i32 },
    /// `to` has sent the same thing often enough without an answer.
    GiveUp { to: FileId },
    /// `from` sends again what did not get through.
    Retry { from: FileId },
    /// A datagram of the table.
    Datagram { index: u32 },
    /// Word for the sender of a datagram of the table that nobody took it.
    Unreachable { index: u32 },
}

/// What is under way.
#[derive(Debug, Default)]
pub(super) struct Flight {
    /// By time of arrival and order of dispatch.
    packets: BinaryHeap<Reverse<(u64, u64, Packet)>>,
    sent: u64,
    datagrams: Vec<Datagram>,
    /// Places in `datagrams` that are not in use.
    unused: Vec<u32>,
}

impl Flight {
    /// Sends a packet that arrives at `at_ns`.
    pub(super) fn dispatch(&mut self, at_ns: u64, packet: Packet) {
        self.sent += 1;
        self.packets.push(Reverse((at_ns, self.sent, packet)));
    }

    /// A place for a datagram, filled in by `fill`, which finds an old one there.
    pub(super) fn store(&mut self, fill: impl FnOnce(&mut Datagram)) -> u32 {
        let index = self.unused.pop().unwrap_or_else(|| {
            self.datagrams.push(Datagram::default());
            self.datagrams.len() as u32 - 1
        });
        fill(&mut self.datagrams[index as usize]);
        index
    }

    /// The hosts that a datagram travels between.
    pub(super) fn hosts_of(&self, index: u32) -> (HostId, HostId) {
        self.datagrams[index as usize].hosts
    }

    /// Takes a datagram out; [`give_back`](Flight::give_back) returns its memory.
    pub(super) fn take(&mut self, index: u32) -> Datagram {
        std::mem::take(&mut self.datagrams[index as usize])
    }

    /// Puts a datagram back that was taken out.
    pub(super) fn give_back(&mut self, index: u32, datagram: Datagram) {
        self.datagrams[index as usize] = datagram;
    }

    /// Lets the place of a datagram be used again.
    pub(super) fn free(&mut self, index: u32) {
        self.unused.push(index);
    }

    /// When the next packet arrives.
    #[inline]
    fn next_arrival_ns(&self) -> u64 {
        let next = self.packets.peek();
        next.map_or(u64::MAX, |Reverse((at_ns, ..))| *at_ns)
    }
}

impl Machine {
    /// When the next packet arrives.
    #[inline]
    pub(super) fn next_arrival_ns(&self) -> u64 {
        self.flight.next_arrival_ns()
    }

    /// Whether a thread is blocked in `epoll_wait`.
    #[must_use]
    pub fn is_waited_for(&self) -> bool {
        let waits =
            |file: &File| matches!(&file.object, Object::Epoll(epoll) if !epoll.waiters.is_empty());
        self.files().any(waits)
    }

    /// Whether a packet is in flight that arrives before `until_ns`.
    #[must_use]
    pub fn is_expecting(&self, until_ns: u64) -> bool {
        self.next_arrival_ns() < until_ns
    }

    /// Lets everything arrive that is in flight, and what that sends, up to before `until_ns`: for a host
    /// on which time stands still.
    pub fn arrive_before(&mut self, env: &Env<'_>, until_ns: u64) {
        while self.is_expecting(until_ns)
            && let Some(Reverse((_, _, packet))) = self.flight.packets.pop()
        {
            self.arrive(env, packet);
        }
    }

    /// Lets everything arrive that is due.
    pub(super) fn tick(&mut self, env: &Env<'_>) {
        while self.next_arrival_ns() <= env.now_ns() {
            let Some(Reverse((_, _, packet))) = self.flight.packets.pop() else {
                return;
            };
            self.arrive(env, packet);
        }
    }

    pub(super) fn arrive(&mut self, env: &Env<'_>, packet: Packet) {
        if self.stands_still(packet) {
            return;
        }
        match packet {
            Packet::Syn { client, attempt } => self.arrive_syn(env, client, attempt),
            Packet::SynAck { client, attempt, listener } => {
                self.arrive_syn_ack(env, client, attempt, listener);
            }
            Packet::Ack { child, listener } => self.arrive_ack(env, child, listener),
            Packet::Segment { from, len } => self.arrive_segment(env, from, len),
            Packet::Fin { from } => self.arrive_fin(env, from),
            Packet::Rst { from, to } => self.arrive_rst(env, from, to),
            Packet::Failure { client, attempt, errno } => {
                self.arrive_failure(env, client, attempt, errno);
            }
            Packet::GiveUp { to } => self.give_up(env, to),
            Packet::Retry { from } => self.arrive_retry(env, from),
            Packet::Datagram { index } => self.arrive_datagram(env, index),
            Packet::Unreachable { index } => self.arrive_unreachable(env, index),
        }
    }
}
