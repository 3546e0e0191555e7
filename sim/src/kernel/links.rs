//! The network between hosts: which of them hear each other, and how long what they say takes.
//!
//! A link has a direction, so that a host may be heard that hears nobody. What is sent into a link that is cut is lost, and
//! one may lose some packets without being cut; TCP sends them again (`loss.rs`). A link that *stands still* loses nothing: what
//! comes to its end stays there, in this order, until it is let go.

use std::collections::{BTreeMap, BTreeSet};

use netpoll::platform::Errno;

use super::env::{DELAYS_NS, Env};
use super::flight::Packet;
use super::machine::{FileId, Machine};
use super::site::HostId;
use super::tcp::State;
use crate::choice::ChoiceKind;

/// From one host to another.
type Link = (HostId, HostId);

/// See the module documentation.
#[derive(Debug, Default)]
pub(super) struct Links {
    cut: BTreeSet<Link>,
    /// The least and the most that a packet takes, where somebody has said so.
    latencies: BTreeMap<Link, (u64, u64)>,
    /// How many packets of a thousand are lost, where some are.
    losses: BTreeMap<Link, u16>,
    /// Those that stand still, and what has come to their ends.
    standing: BTreeMap<Link, Vec<Packet>>,
}

impl Machine {
    /// Cuts a link, or mends it.
    pub(crate) fn set_link(&mut self, from: HostId, to: HostId, is_open: bool) {
        if is_open {
            self.links.cut.remove(&(from, to));
        } else {
            self.links.cut.insert((from, to));
        }
    }

    /// Says how long packets of a link take: between `least_ns` and `most_ns`.
    pub(crate) fn set_latency(&mut self, from: HostId, to: HostId, least_ns: u64, most_ns: u64) {
        self.links.latencies.insert((from, to), (least_ns, most_ns));
    }

    /// Says how many packets of a thousand a link loses.
    pub(crate) fn set_loss(&mut self, from: HostId, to: HostId, per_mille: u16) {
        self.links.losses.insert((from, to), per_mille);
    }

    /// Lets a link stand still.
    pub(crate) fn hold(&mut self, from: HostId, to: HostId) {
        self.links.standing.entry((from, to)).or_default();
    }

    /// Lets it go on: what has come to its end arrives.
    pub(crate) fn release(&mut self, env: &Env<'_>, from: HostId, to: HostId) {
        for packet in self.links.standing.remove(&(from, to)).unwrap_or_default() {
            self.arrive(env, packet);
        }
    }

    /// Lets all links go on.
    pub(super) fn release_all(&mut self, env: &Env<'_>) {
        while let Some((&(from, to), _)) = self.links.standing.first_key_value() {
            self.release(env, from, to);
        }
    }

    /// Whether a packet has come to the end of a link that stands still, and stays there.
    #[inline]
    pub(super) fn stands_still(&mut self, packet: Packet) -> bool {
        !self.links.standing.is_empty() && self.joins_standing(packet)
    }

    #[cold]
    fn joins_standing(&mut self, packet: Packet) -> bool {
        let Some(link) = self.link_of(packet) else { return false };
        let Some(standing) = self.links.standing.get_mut(&link) else { return false };
        standing.push(packet);
        true
    }

    /// The link that a packet comes by; `None` for what is no packet but a time that has come, or concerns nobody any more.
    fn link_of(&mut self, packet: Packet) -> Option<Link> {
        let (end, is_sender) = match packet {
            // Nobody has answered.
            Packet::Failure { errno, .. } if errno == Errno::ETIMEDOUT.0 => return None,
            Packet::Syn { client: from, .. }
            | Packet::Segment { from, .. }
            | Packet::Fin { from }
            | Packet::Rst { from: Some(from), .. } => (from, true),
            Packet::SynAck { client: to, .. }
            | Packet::Ack { child: to, .. }
            | Packet::Failure { client: to, .. }
            | Packet::Rst { from: None, to } => (to, false),
            Packet::Datagram { index } => return Some(self.flight.hosts_of(index)),
            Packet::Unreachable { index } => {
                let (from, to) = self.flight.hosts_of(index);
                return Some((to, from));
            }
            Packet::GiveUp { .. } | Packet::Retry { .. } => return None,
        };
        self.tcp(end)?;
        let (here, there) = (self.file(end).host, self.far_host(end));
        Some(if is_sender { (here, there) } else { (there, here) })
    }

    /// Whether what one host sends to another arrives: a packet may be lost, so each is asked about once.
    pub(super) fn arrives(&self, env: &Env<'_>, from: HostId, to: HostId) -> bool {
        let is_lost = || {
            let loss = self.links.losses.get(&(from, to));
            loss.is_some_and(|&per_mille| per_mille > 0 && env.loses(per_mille))
        };
        self.reaches(from, to) && !is_lost()
    }

    /// Whether anything that one host sends to another can arrive.
    #[inline]
    pub(super) fn reaches(&self, from: HostId, to: HostId) -> bool {
        from == to || (self.sites[to.index()].is_up && !self.links.cut.contains(&(from, to)))
    }

    /// How long something takes from one host to another: a choice, of which 0 is the shortest.
    pub(super) fn delay_between_ns(
        &self,
        env: &Env<'_>,
        from: HostId,
        to: HostId,
        kind: ChoiceKind,
    ) -> u64 {
        match self.links.latencies.get(&(from, to)) {
            None => env.delay_ns(kind),
            Some(&(least_ns, most_ns)) => {
                let n = DELAYS_NS.len() as u64;
                let k = u64::from(env.choose(kind, n as u32));
                least_ns + (most_ns - least_ns) * k / (n - 1)
            }
        }
    }

    /// Resets all connections between two hosts: both ends hear of it, as far as they are reached.
    pub(crate) fn reset_connections(&mut self, env: &Env<'_>, a: HostId, b: HostId) {
        let ends: Vec<FileId> = self.tcp_ends().filter(|&id| self.file(id).host == a).collect();
        for id in ends {
            let is_connected = self.tcp_open(id).state == State::Synchronised;
            if is_connected && self.far_host(id) == b {
                self.reset_both(env, id);
            }
        }
    }
}
