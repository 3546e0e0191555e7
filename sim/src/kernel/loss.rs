//! What TCP makes of a link that is cut or loses packets, and of a host that is down.
//!
//! A packet that does not get through is *held* with all that follow it, and sent again after 200 ms, 400 ms and so on, as
//! Linux does (`TCP_RTO_MIN`); each end holds what it has sent itself. Whoever has not been answered for three seconds gives up
//! with `ETIMEDOUT` (a quarter of an hour in Linux unless `TCP_USER_TIMEOUT` says less). An attempt to connect knocks
//! again after a second.
//!
//! A packet that gets through on a link whose way back is cut is delivered, but its sender does not learn that, and
//! gives up as well unless the way back is mended in time. A reset is sent once, so one that is lost leaves a
//! connection half open: its end learns by the answer to what it sends next, or never.
//!
//! * **T6** what is held was sent by an end in state `Synchronised`, with a retry on its way.

use netpoll::platform::Errno;

use super::env::Env;
use super::flight::Packet;
use super::machine::{FileId, Machine};
use super::site::HostId;
use super::tcp::State;
use super::wire::{GIVE_UP_NS, SYN_RETRY_NS};
use crate::choice::ChoiceKind;

/// After this long what was not answered is sent again for the first time.
const RETRY_NS: u64 = 200_000_000;
/// So often: after 0.2, 0.6, 1.4 and 3 seconds.
const RETRIES_MAX: u32 = 4;
/// So often an attempt to connect knocks.
const KNOCKS_MAX: u32 = (GIVE_UP_NS / SYN_RETRY_NS) as u32;
/// After this long an end that nobody holds waits no more for the other one's last word. As Linux.
const FIN_TIMEOUT_NS: u64 = 60_000_000_000;

impl Machine {
    /// The host at the other end of a connection, or of an attempt.
    pub(super) fn far_host(&mut self, id: FileId) -> HostId {
        let host = self.file(id).host;
        if self.sites.len() == 1 {
            return host;
        }
        let remote = self.tcp_open(id).remote;
        remote.and_then(|remote| self.host_at(host, remote.ip())).unwrap_or(host)
    }

    /// Whether what this end sends arrives at the other one.
    pub(super) fn is_heard(&mut self, id: FileId) -> bool {
        let there = self.far_host(id);
        self.reaches(self.file(id).host, there)
    }

    /// Whether what the other end sends arrives at this one.
    pub(super) fn hears(&mut self, id: FileId) -> bool {
        let there = self.far_host(id);
        self.reaches(there, self.file(id).host)
    }

    /// Whether a packet that this end sends arrives at the other one.
    pub(super) fn gets_there(&mut self, env: &Env<'_>, id: FileId) -> bool {
        let there = self.far_host(id);
        self.arrives(env, self.file(id).host, there)
    }

    /// Whether a packet that the other end sends arrives at this one.
    pub(super) fn gets_here(&mut self, env: &Env<'_>, id: FileId) -> bool {
        let there = self.far_host(id);
        self.arrives(env, there, self.file(id).host)
    }

    /// How long something takes from the other end of a connection to this one.
    pub(super) fn delay_to_ns(&mut self, env: &Env<'_>, to: FileId, kind: ChoiceKind) -> u64 {
        let (here, there) = (self.file(to).host, self.far_host(to));
        self.delay_between_ns(env, there, here, kind)
    }

    /// Whether something that the end `from` has sent arrives, now that it should. If it does not, it is held.
    pub(super) fn gets_through(&mut self, env: &Env<'_>, from: FileId, packet: Packet) -> bool {
        let there = self.far_host(from);
        if self.file(from).host == there {
            return true;
        }
        // What comes after something that is held is held with it, whether it arrives or not.
        let is_behind = !self.tcp_open(from).held.is_empty();
        let is_held = is_behind || !self.gets_there(env, from);
        let is_answered = self.hears(from);
        let tcp = self.tcp_open(from);
        if tcp.state != State::Synchronised {
            return !is_held; // it has given up, and sends nothing again
        }
        if is_held {
            tcp.held.push_back(packet);
        }
        if (is_held || !is_answered) && tcp.retries.is_none() {
            tcp.retries = Some(0);
            self.flight.dispatch(env.now_ns() + RETRY_NS, Packet::Retry { from });
        }
        !is_held
    }

    /// An end sends again what it holds, or asks again for an answer.
    pub(super) fn arrive_retry(&mut self, env: &Env<'_>, from: FileId) {
        let Some(tcp) = self.tcp(from) else { return };
        let (Some(retries), State::Synchronised) = (tcp.retries, tcp.state) else {
            return;
        };
        if self.hears(from) && self.gets_there(env, from) {
            let tcp = self.tcp_open(from);
            tcp.retries = None;
            // All of it at once and now: what was sent later is still under way, and must come after it (T2).
            for packet in std::mem::take(&mut tcp.held) {
                self.arrive(env, packet);
            }
            return;
        }
        let retries = retries + 1;
        if retries >= RETRIES_MAX {
            return self.give_up(env, from);
        }
        self.tcp_open(from).retries = Some(retries);
        self.flight.dispatch(env.now_ns() + (RETRY_NS << retries), Packet::Retry { from });
    }

    /// Nobody will send again what an end holds. A connection of which the listener was never told goes with it.
    pub(super) fn drop_held(&mut self, id: FileId) {
        let Some(tcp) = self.tcp_if(id) else { return };
        tcp.retries = None;
        for packet in std::mem::take(&mut tcp.held) {
            if let Packet::Ack { child, listener } = packet {
                self.unreserve(listener);
                self.forget(child);
            }
        }
    }

    /// Frees an end that nobody holds, without a word to the other one.
    pub(super) fn forget(&mut self, id: FileId) {
        if self.tcp(id).is_some() {
            self.tcp_open(id).orphan = true;
            self.end_connection(id);
            self.free_if_over(id);
        }
    }

    /// An attempt to connect was not answered.
    pub(super) fn knock_again(&mut self, env: &Env<'_>, client: FileId, attempt: u32) {
        let tcp = self.tcp_open(client);
        tcp.knocks += 1;
        if tcp.knocks >= KNOCKS_MAX {
            return self.fail(env, client, Errno::ETIMEDOUT);
        }
        let at_ns = env.now_ns() + SYN_RETRY_NS;
        self.flight.dispatch(at_ns, Packet::Syn { client, attempt });
    }

    /// An end that nobody holds has lost the other one.
    pub(super) fn give_up_later(&mut self, env: &Env<'_>, id: FileId) {
        self.flight.dispatch(env.now_ns() + FIN_TIMEOUT_NS, Packet::GiveUp { to: id });
    }
}
