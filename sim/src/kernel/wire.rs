//! The wire between two TCP ends: segments, the handshake, FIN and RST.
//!
//! A segment's length and every delay are choices. The receiver sees short reads as a consequence of
//! what has arrived, never by a choice of their own (T4).
//!
//! As faults, an attempt to connect is refused, unanswered or finds no way; and a connection is reset, or
//! one end of it gives up because what it sends is not answered. The other end of that one learns of it
//! when it sends something, as from every end that has no connection.

use netpoll::platform::Errno;
use netpoll_traces::WorldEvent;

use super::bytes;
use super::env::Env;
use super::epoll::{ERR, READABLE, WRITABLE};
use super::flight::Packet;
use super::machine::{FileId, Machine, Object};
use super::tcp::{Connect, Fin, State, Tcp};
use crate::choice::ChoiceKind;
use crate::faults::FaultKind;

/// After this long a client knocks again at a listener whose queue was full. As Linux.
pub(super) const SYN_RETRY_NS: u64 = 1_000_000_000;

/// After this long nobody tries again what was not answered. Linux takes two minutes for an attempt to
/// connect and a quarter of an hour for data; `TCP_SYNCNT` and `TCP_USER_TIMEOUT` make it less.
pub(super) const GIVE_UP_NS: u64 = 3_000_000_000;

/// How many short segments may be sent in a row; then one carries all that is left.
const SHORT_SEGMENTS_MAX: usize = 3;

impl Machine {
    fn peer(&mut self, id: FileId) -> Option<(FileId, &mut Tcp)> {
        let peer = self.tcp(id)?.peer?;
        self.tcp(peer).map(|tcp| (peer, tcp))
    }

    /// When something that `from` sends now arrives: after a chosen delay, and in order (T2).
    fn arrival_ns(&mut self, env: &Env<'_>, from: FileId, kind: ChoiceKind) -> u64 {
        let (here, there) = (self.file(from).host, self.far_host(from));
        let at_ns = env.now_ns() + self.delay_between_ns(env, here, there, kind);
        let Some(tcp) = self.tcp(from) else {
            return at_ns;
        };
        tcp.last_arrival_ns = tcp.last_arrival_ns.max(at_ns);
        tcp.last_arrival_ns
    }

    // Sending

    /// A client begins to connect to `remote`, which it has stored.
    pub(super) fn send_syn(&mut self, env: &Env<'_>, client: FileId) {
        let at_ns = self.arrival_ns(env, client, ChoiceKind::HandshakeDelay);
        let attempt = self.tcp_open(client).attempt;
        self.flight.dispatch(at_ns, Packet::Syn { client, attempt });
    }

    /// Sends what the peer's window lets through, then the FIN if one is queued.
    pub(super) fn pump(&mut self, env: &Env<'_>, from: FileId) {
        for segment in 0.. {
            let Some(tcp) = self.tcp(from) else { return };
            if tcp.is_stalled {
                return;
            }
            let (in_flight, waiting) = (tcp.in_flight, tcp.out.len() - tcp.in_flight);
            let has_more = waiting > 0 || tcp.fin == Fin::Queued;
            let window = match self.peer(from).map(|(_, peer)| peer.window(in_flight)) {
                Some(window) => window,
                // From here nobody knows that another host has forgotten the connection.
                None if self.far_host(from) != self.file(from).host => {
                    self.config.rcvbuf.saturating_sub(in_flight)
                }
                // The other end has given up and is gone: it would answer whatever comes with a reset.
                None if has_more => return self.answer_with_reset(env, from),
                None => return,
            };
            let sendable = waiting.min(window);
            if sendable == 0 {
                break;
            }
            if env.strikes(FaultKind::StreamReset) {
                return self.reset_both(env, from);
            }
            if env.strikes(FaultKind::StreamTimeout) {
                self.tcp_open(from).is_stalled = true;
                let at_ns = env.now_ns() + GIVE_UP_NS;
                return self.flight.dispatch(at_ns, Packet::GiveUp { to: from });
            }
            let len = match segment {
                0..SHORT_SEGMENTS_MAX => segment_len(env, sendable),
                _ => sendable,
            };
            let at_ns = self.arrival_ns(env, from, ChoiceKind::SegmentDelay);
            self.tcp_open(from).in_flight += len;
            let len = u32::try_from(len).expect("buffers are below 4 GiB");
            self.flight.dispatch(at_ns, Packet::Segment { from, len });
        }
        let tcp = self.tcp_open(from);
        if tcp.fin == Fin::Queued && tcp.in_flight == tcp.out.len() {
            tcp.fin = Fin::Sent;
            let at_ns = self.arrival_ns(env, from, ChoiceKind::SegmentDelay);
            self.flight.dispatch(at_ns, Packet::Fin { from });
        }
    }

    /// `close` of the last number.
    pub(super) fn tcp_close(&mut self, env: &Env<'_>, id: FileId) {
        let tcp = self.tcp_open(id);
        tcp.orphan = true;
        match tcp.state {
            State::Closed | State::SynSent => self.free_if_over(id),
            State::Listen => {
                self.abandon_backlog(env, id);
                self.tcp_open(id).state = State::Closed;
                self.free_if_over(id);
            }
            State::Synchronised if !tcp.unread.is_empty() => self.abort(env, id),
            // Data that has not been sent goes with the rest; a connection whose end both sides have said
            // needs no reset.
            State::Synchronised
                if tcp.options.linger == Some(0)
                    && !(tcp.fin != Fin::None && tcp.done && tcp.out.is_empty()) =>
            {
                self.abort(env, id);
            }
            State::Synchronised => {
                tcp.shut_read = true;
                self.shut_write(env, id);
            }
        }
    }

    /// Ends the writing side after what has been written.
    pub(super) fn shut_write(&mut self, env: &Env<'_>, id: FileId) {
        let tcp = self.tcp_open(id);
        tcp.shut_write = true;
        if tcp.fin == Fin::None {
            tcp.fin = Fin::Queued;
            tcp.ends_actively = !tcp.done;
            self.pump(env, id);
        }
    }

    /// Voids the connection of `id`: what has not been sent is lost and the peer gets a RST.
    pub(super) fn abort(&mut self, env: &Env<'_>, id: FileId) {
        let tcp = self.tcp_open(id);
        tcp.unread.clear();
        let peer = tcp.peer;
        self.end_connection(id);
        match peer {
            Some(to) => {
                let at_ns = self.arrival_ns(env, id, ChoiceKind::SegmentDelay);
                self.flight.dispatch(at_ns, Packet::Rst { from: Some(id), to });
            }
            None => self.free_if_over(id),
        }
    }

    /// The network resets a connection: both ends hear of it.
    pub(super) fn reset_both(&mut self, env: &Env<'_>, id: FileId) {
        let peer = self.tcp_open(id).peer;
        for to in [Some(id), peer].into_iter().flatten() {
            let at_ns = env.now_ns() + env.delay_ns(ChoiceKind::SegmentDelay);
            self.flight.dispatch(at_ns, Packet::Rst { from: None, to });
        }
    }

    /// Enters `Closed` for good, and gives the port back unless the socket was bound to it.
    pub(super) fn end_connection(&mut self, id: FileId) {
        let tcp = self.tcp_open(id);
        tcp.enter_closed();
        if !tcp.keeps_port {
            self.tcp_release_port(id);
        }
    }

    /// Both sides have said their last word, which has arrived.
    fn end_in_order(&mut self, env: &Env<'_>, id: FileId) {
        let tcp = self.tcp_open(id);
        if tcp.ends_actively {
            let (local, reuse) = (tcp.local, tcp.options.reuse_addr);
            self.site_of(id).tcp_ports.enter_time_wait(local, reuse, env.now_ns());
        }
        self.end_connection(id);
    }

    /// Gives up a listener's queue. It listens no more.
    pub(super) fn abandon_backlog(&mut self, env: &Env<'_>, listener: FileId) {
        self.site_of(listener).listeners.retain(|&other| other != listener);
        for child in std::mem::take(&mut self.tcp_open(listener).backlog).queue {
            self.abandon(env, child);
        }
    }

    /// Nobody will accept this connection.
    pub(super) fn abandon(&mut self, env: &Env<'_>, child: FileId) {
        let tcp = self.tcp_open(child);
        tcp.orphan = true;
        match tcp.state {
            State::Synchronised => self.abort(env, child),
            _ => self.free_if_over(child),
        }
    }

    /// Frees an end that no number refers to and that has nothing more to say.
    pub(super) fn free_if_over(&mut self, id: FileId) {
        let Some(tcp) = self.tcp(id) else { return };
        if tcp.orphan && matches!(tcp.state, State::Closed | State::SynSent) {
            self.tcp_release_port(id);
            self.free_file(id);
        }
    }

    // Arriving

    /// Whether an attempt to connect still goes on.
    fn is_connecting(&mut self, client: FileId, attempt: u32) -> bool {
        let tcp = self.tcp(client);
        tcp.is_some_and(|tcp| tcp.state == State::SynSent && tcp.attempt == attempt)
    }

    pub(super) fn arrive_syn(&mut self, env: &Env<'_>, client: FileId, attempt: u32) {
        if !self.is_connecting(client, attempt) {
            return;
        }
        let fails = [
            (FaultKind::ConnRefused, Errno::ECONNREFUSED),
            (FaultKind::ConnUnreachable, Errno::EHOSTUNREACH),
            (FaultKind::ConnTimeout, Errno::ETIMEDOUT),
        ];
        let tcp = self.tcp_open(client);
        let remote = tcp.remote.expect("connect stored it");
        if remote == tcp.local {
            // A client that knocks at its own door opens it: a simultaneous open, with itself.
            tcp.state = State::Synchronised;
            tcp.peer = Some(client);
            let is_shut = tcp.shut_write;
            self.edge(env, client, 0);
            if is_shut {
                self.shut_write(env, client);
            }
            return;
        }
        if !self.gets_there(env, client) {
            return self.knock_again(env, client, attempt);
        }
        let there = self.far_host(client);
        let failure = match self.listener_at(there, remote) {
            None => Err(Errno::ECONNREFUSED),
            Some(listener) => match fails.into_iter().find(|&(fault, _)| env.strikes(fault)) {
                Some((_, errno)) => Err(errno),
                None => Ok(listener),
            },
        };
        let listener = match failure {
            Ok(listener) => listener,
            Err(_) if !self.gets_here(env, client) => {
                return self.knock_again(env, client, attempt);
            }
            Err(errno) => {
                let delay_ns = match errno {
                    Errno::ETIMEDOUT => GIVE_UP_NS,
                    _ => self.delay_to_ns(env, client, ChoiceKind::HandshakeDelay),
                };
                let failure = Packet::Failure { client, attempt, errno: errno.0 };
                return self.flight.dispatch(env.now_ns() + delay_ns, failure);
            }
        };
        let backlog = &mut self.tcp_open(listener).backlog;
        // Linux lets one more in than `listen` asked for.
        if backlog.queue.len() + backlog.reserved > backlog.limit {
            let at_ns = env.now_ns() + SYN_RETRY_NS;
            return self.flight.dispatch(at_ns, Packet::Syn { client, attempt });
        }
        backlog.reserved += 1;
        let at_ns = env.now_ns() + self.delay_to_ns(env, client, ChoiceKind::HandshakeDelay);
        self.flight.dispatch(at_ns, Packet::SynAck { client, attempt, listener });
    }

    pub(super) fn arrive_syn_ack(
        &mut self,
        env: &Env<'_>,
        client: FileId,
        attempt: u32,
        listener: FileId,
    ) {
        if !self.is_connecting(client, attempt) {
            return self.unreserve(listener);
        }
        if !self.is_heard(client) || !self.gets_here(env, client) {
            self.unreserve(listener);
            return self.knock_again(env, client, attempt);
        }
        let there = self.far_host(client);
        let config = self.config;
        let tcp = self.tcp_open(client);
        let (domain, local, remote) = (tcp.options.domain, tcp.local, tcp.remote);
        tcp.state = State::Synchronised;
        let mut child = Tcp::new(domain, config);
        child.state = State::Synchronised;
        child.connect = Connect::Connected;
        child.local = remote.expect("connect stored it");
        child.remote = Some(local);
        child.peer = Some(client);
        child.holds_port = true;
        if let Some(parent) = self.tcp(listener) {
            child.options = parent.options;
            // A socket that was shut down before it listened passes that on.
            child.shut_read = parent.shut_read;
            child.shut_write = parent.shut_write;
        }
        let local = child.local;
        let child = self.add_file_of(there, Object::Tcp(Box::new(child)));
        self.site_of(child).tcp_ports.bind(child, local);
        self.tcp_open(client).peer = Some(child);
        let at_ns = self.arrival_ns(env, client, ChoiceKind::HandshakeDelay);
        self.flight.dispatch(at_ns, Packet::Ack { child, listener });
        self.edge(env, client, 0);
    }

    pub(super) fn unreserve(&mut self, listener: FileId) {
        if let Some(tcp) = self.tcp(listener) {
            tcp.backlog.reserved = tcp.backlog.reserved.saturating_sub(1);
        }
    }

    pub(super) fn arrive_ack(&mut self, env: &Env<'_>, child: FileId, listener: FileId) {
        let Some(peer) = self.tcp(child).map(|tcp| tcp.peer) else {
            return; // its host has crashed
        };
        match peer.filter(|&client| self.get(client).is_some()) {
            Some(client) => {
                if !self.gets_through(env, client, Packet::Ack { child, listener }) {
                    return;
                }
            }
            // The client is gone, and sends nothing again.
            None => {
                if !self.gets_here(env, child) {
                    self.unreserve(listener);
                    return self.forget(child);
                }
            }
        }
        if !self.tcp(listener).is_some_and(|tcp| tcp.is_listening()) {
            return self.abandon(env, child);
        }
        self.unreserve(listener);
        let backlog = &mut self.tcp_open(listener).backlog;
        backlog.queue.push_back(child);
        self.edge(env, listener, READABLE);
        if self.tcp_open(child).shut_write {
            self.shut_write(env, child);
        }
    }

    pub(super) fn arrive_segment(&mut self, env: &Env<'_>, from: FileId, len: u32) {
        let packet = Packet::Segment { from, len };
        let len = len as usize;
        if self.tcp(from).is_none() || !self.gets_through(env, from, packet) {
            return;
        }
        let tcp = self.tcp_open(from);
        if tcp.in_flight < len {
            return; // a reset has emptied the wire (T1)
        }
        tcp.in_flight -= len;
        let mut out = std::mem::take(&mut tcp.out);
        let receiver = self.peer(from).map(|(id, peer)| {
            let takes = peer.state == State::Synchronised && !peer.is_shut_down();
            if takes {
                bytes::transfer(&mut out, &mut peer.unread, len);
            }
            (id, takes, peer.state)
        });
        let is_taken = matches!(receiver, Some((_, true, _)));
        if !is_taken {
            out.drain(..len);
        }
        let tcp = self.tcp_open(from);
        tcp.out = out;
        let has_room = tcp.wants_room && tcp.has_room() && tcp.state == State::Synchronised;
        tcp.wants_room &= !has_room;
        match receiver {
            Some((id, true, _)) => {
                let fd = self.file(id).shown_as;
                let (len, host) = (len as u32, self.file(id).host);
                env.record(host, WorldEvent::Arrive { fd, len });
                self.edge(env, id, READABLE);
            }
            Some((id, false, State::Synchronised)) => self.refuse_data(env, id),
            Some(_) | None => self.answer_with_reset(env, from),
        }
        if has_room {
            self.edge(env, from, WRITABLE);
        }
    }

    /// Data for a socket that has been closed or shut down both ways: the connection is reset for both.
    fn refuse_data(&mut self, env: &Env<'_>, id: FileId) {
        let tcp = self.tcp_open(id);
        if tcp.orphan {
            return self.abort(env, id);
        }
        tcp.error = Some(Errno::ECONNRESET);
        let unread = std::mem::take(&mut tcp.unread);
        self.abort(env, id);
        self.tcp_open(id).unread = unread;
        self.edge(env, id, 0);
        self.edge(env, id, ERR);
    }

    /// Something came from `to` for which there is no connection any more.
    fn answer_with_reset(&mut self, env: &Env<'_>, to: FileId) {
        if self.tcp_open(to).state == State::Synchronised {
            let at_ns = env.now_ns() + self.delay_to_ns(env, to, ChoiceKind::SegmentDelay);
            self.flight.dispatch(at_ns, Packet::Rst { from: None, to });
        }
    }

    pub(super) fn arrive_fin(&mut self, env: &Env<'_>, from: FileId) {
        let is_over = self.tcp(from).is_none_or(|tcp| tcp.state != State::Synchronised);
        if is_over || !self.gets_through(env, from, Packet::Fin { from }) {
            return;
        }
        let tcp = self.tcp_open(from);
        tcp.fin = Fin::Arrived;
        let is_its_own = tcp.peer == Some(from);
        let sender_is_over = tcp.done || is_its_own;
        let receiver = self.peer(from);
        if let Some((id, peer)) = receiver.filter(|(_, peer)| peer.state == State::Synchronised) {
            peer.done = true;
            peer.shut_read = true;
            let is_orphan = peer.orphan;
            if sender_is_over {
                assert_eq!(peer.fin, Fin::Arrived, "the sender is done by the peer's FIN");
                self.end_in_order(env, id);
            }
            if !is_orphan {
                self.edge(env, id, 0);
            }
            self.free_if_over(id);
        } else {
            self.answer_with_reset(env, from);
        }
        // The acknowledgement of our FIN is a change of state, so the sender hears of it.
        if is_its_own {
            return;
        }
        if sender_is_over {
            self.end_in_order(env, from);
        }
        if self.tcp_open(from).orphan {
            self.free_if_over(from);
        } else {
            self.edge(env, from, 0);
        }
    }

    pub(super) fn arrive_rst(&mut self, env: &Env<'_>, from: Option<FileId>, to: FileId) {
        let arrives = self.tcp(to).is_some() && self.gets_here(env, to);
        if let Some(tcp) = self.tcp(to).filter(|_| arrives) {
            match tcp.state {
                State::Synchronised => {
                    let ends = tcp.done && tcp.fin == Fin::None;
                    let error = if ends { Errno::EPIPE } else { Errno::ECONNRESET };
                    self.fail(env, to, error);
                }
                // An attempt that was given up; its failure is another packet.
                State::SynSent | State::Listen => {}
                State::Closed => self.free_if_over(to),
            }
        }
        if let Some(from) = from {
            self.free_if_over(from);
        }
    }

    pub(super) fn arrive_failure(
        &mut self,
        env: &Env<'_>,
        client: FileId,
        attempt: u32,
        errno: i32,
    ) {
        if self.is_connecting(client, attempt) {
            self.fail(env, client, Errno(errno));
        }
    }

    /// An end has waited long enough for an answer. A peer that nobody holds any more, and that only waits
    /// for this end's FIN, is forgotten with it; Linux does so after `tcp_fin_timeout`.
    pub(super) fn give_up(&mut self, env: &Env<'_>, to: FileId) {
        let Some(tcp) = self.tcp(to).filter(|tcp| tcp.state == State::Synchronised) else {
            return;
        };
        let peer = tcp.peer;
        self.fail(env, to, Errno::ETIMEDOUT);
        let is_forgotten = |tcp: &mut Tcp| tcp.orphan && tcp.state == State::Synchronised;
        if let Some(peer) = peer
            && self.tcp(peer).is_some_and(is_forgotten)
        {
            self.end_connection(peer);
            self.free_if_over(peer);
        }
    }

    /// The connection of `id` is void, or will never be.
    pub(super) fn fail(&mut self, env: &Env<'_>, id: FileId, error: Errno) {
        self.drop_held(id);
        let tcp = self.tcp_open(id);
        tcp.error = Some(error);
        tcp.in_flight = 0;
        tcp.peer = None;
        let is_orphan = tcp.orphan;
        self.end_connection(id);
        if is_orphan {
            return self.free_if_over(id);
        }
        self.edge(env, id, 0);
        self.edge(env, id, ERR);
    }
}

/// How much of `sendable` bytes one segment carries.
fn segment_len(env: &Env<'_>, sendable: usize) -> usize {
    if sendable == 1 {
        return 1;
    }
    match env.choose(ChoiceKind::SegmentLen, 4) {
        0 => sendable,
        1 => sendable.div_ceil(2),
        2 => 1,
        _ => sendable - 1,
    }
}
