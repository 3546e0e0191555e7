//! The network between hosts: which of them hear each other, and how long what they say takes.
//!
//! A link has a direction, so that a host may be heard that hears nobody. What is sent into a link that is cut is lost;
//! TCP sends it again (`loss.rs`).

use std::collections::{BTreeMap, BTreeSet};

use super::env::{DELAYS_NS, Env};
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

    /// Whether what one host sends to another arrives.
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
