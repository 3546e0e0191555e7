//! The wire between two TCP ends: segments, the handshake, FIN and RST.
//!
//! A segment's length and every delay are choices. The receiver sees short reads as a consequence of
//! what has arrived, never by a choice of their own (T4).

use netpoll::platform::Errno;
use netpoll_traces::WorldEvent;

use super::epoll::{ERR, IN, OUT};
use super::machine::{Env, FileId, Machine, Object};
use super::tcp::{Connect, Fin, Packet, State, Tcp};
use crate::choice::ChoiceKind;

/// After this long a client knocks again at a listener whose queue was full. As Linux.
const SYN_RETRY_NS: u64 = 1_000_000_000;

/// How many short segments may be sent in a row; then one carries all that is left.
const SHORT_SEGMENTS_MAX: usize = 3;

impl Machine {
    /// The TCP end, unless it has been freed.
    pub(super) fn tcp(&mut self, id: FileId) -> Option<&mut Tcp> {
        self.get(id)?;
        match &mut self.file_mut(id).object {
            Object::Tcp(tcp) => Some(tcp),
            other => unreachable!("{other:?} was looked up as a socket"),
        }
    }

    fn peer(&mut self, id: FileId) -> Option<(FileId, &mut Tcp)> {
        let peer = self.tcp(id)?.peer?;
        self.tcp(peer).map(|tcp| (peer, tcp))
    }

    /// When something that `from` sends now arrives: after a chosen delay, and in order (T2).
    fn arrival_ns(&mut self, env: &dyn Env, from: FileId, kind: ChoiceKind) -> u64 {
        let at_ns = env.now_ns() + env.delay_ns(kind);
        let Some(tcp) = self.tcp(from) else {
            return at_ns;
        };
        tcp.last_arrival_ns = tcp.last_arrival_ns.max(at_ns);
        tcp.last_arrival_ns
    }

    // Sending

    /// A client begins to connect to `remote`, which it has stored.
    pub(super) fn send_syn(&mut self, env: &dyn Env, client: FileId) {
        let at_ns = self.arrival_ns(env, client, ChoiceKind::HandshakeDelay);
        self.dispatch(at_ns, Packet::Syn { client });
    }

    /// Sends what the peer's window lets through, then the FIN if one is queued.
    pub(super) fn pump(&mut self, env: &dyn Env, from: FileId) {
        for segment in 0.. {
            let Some(tcp) = self.tcp(from) else { return };
            let (in_flight, waiting) = (tcp.in_flight, tcp.out.len() - tcp.in_flight);
            let window = match self.peer(from) {
                Some((_, peer)) => peer.window(in_flight),
                None => return,
            };
            let sendable = waiting.min(window);
            if sendable == 0 {
                break;
            }
            let len = match segment {
                0..SHORT_SEGMENTS_MAX => segment_len(env, sendable),
                _ => sendable,
            };
            let at_ns = self.arrival_ns(env, from, ChoiceKind::SegmentDelay);
            self.tcp(from).expect("just seen").in_flight += len;
            let len = u32::try_from(len).expect("buffers are below 4 GiB");
            self.dispatch(at_ns, Packet::Segment { from, len });
        }
        let tcp = self.tcp(from).expect("just seen");
        if tcp.fin == Fin::Queued && tcp.in_flight == tcp.out.len() {
            tcp.fin = Fin::Sent;
            let at_ns = self.arrival_ns(env, from, ChoiceKind::SegmentDelay);
            self.dispatch(at_ns, Packet::Fin { from });
        }
    }

    /// `close` of the last number.
    pub(super) fn tcp_close(&mut self, env: &dyn Env, id: FileId) {
        self.release_port(id);
        let tcp = self.tcp(id).expect("being closed");
        tcp.orphan = true;
        match tcp.state {
            State::Closed | State::SynSent => self.free_if_over(id),
            State::Listen => {
                self.abandon_backlog(env, id);
                self.free_file(id);
            }
            State::Synchronised if !tcp.unread.is_empty() => self.abort(env, id),
            State::Synchronised => {
                tcp.shut_read = true;
                self.shut_write(env, id);
            }
        }
    }

    /// Ends the writing side after what has been written.
    pub(super) fn shut_write(&mut self, env: &dyn Env, id: FileId) {
        let tcp = self.tcp(id).expect("is open");
        tcp.shut_write = true;
        if tcp.fin == Fin::None {
            tcp.fin = Fin::Queued;
            self.pump(env, id);
        }
    }

    /// Voids the connection of `id`: what has not been sent is lost and the peer gets a RST.
    pub(super) fn abort(&mut self, env: &dyn Env, id: FileId) {
        let tcp = self.tcp(id).expect("is open");
        tcp.unread.clear();
        tcp.enter_closed();
        match tcp.peer {
            Some(to) => {
                let at_ns = self.arrival_ns(env, id, ChoiceKind::SegmentDelay);
                self.dispatch(at_ns, Packet::Rst { from: Some(id), to });
            }
            None => self.free_if_over(id),
        }
    }

    /// Gives up a listener's queue; it ends in `Closed`.
    pub(super) fn abandon_backlog(&mut self, env: &dyn Env, listener: FileId) {
        let tcp = self.tcp(listener).expect("is open");
        tcp.state = State::Closed;
        for child in std::mem::take(&mut tcp.backlog).queue {
            self.tcp(child).expect("unaccepted").orphan = true;
            match self.tcp(child).expect("unaccepted").state {
                State::Synchronised => self.abort(env, child),
                _ => self.free_if_over(child),
            }
        }
    }

    pub(super) fn release_port(&mut self, id: FileId) {
        let tcp = self.tcp(id).expect("is open");
        if std::mem::take(&mut tcp.holds_port) {
            let port = tcp.local.port();
            self.ports.release(id, port);
        }
    }

    /// Frees an end that no number refers to and that has nothing more to say.
    fn free_if_over(&mut self, id: FileId) {
        let Some(tcp) = self.tcp(id) else { return };
        if tcp.orphan && matches!(tcp.state, State::Closed | State::SynSent) {
            self.free_file(id);
        }
    }

    // Arriving

    /// Lets a packet arrive.
    pub(super) fn arrive(&mut self, env: &dyn Env, packet: Packet) {
        match packet {
            Packet::Syn { client } => self.arrive_syn(env, client),
            Packet::SynAck { client, listener } => self.arrive_syn_ack(env, client, listener),
            Packet::Ack { child, listener } => self.arrive_ack(env, child, listener),
            Packet::Segment { from, len } => self.arrive_segment(env, from, len),
            Packet::Fin { from } => self.arrive_fin(env, from),
            Packet::Rst { from, to } => {
                self.arrive_rst(env, to);
                if let Some(from) = from {
                    self.free_if_over(from);
                }
            }
        }
    }

    fn arrive_syn(&mut self, env: &dyn Env, client: FileId) {
        let Some(tcp) = self.tcp(client) else { return };
        if tcp.state != State::SynSent {
            return;
        }
        let remote = tcp.remote.expect("connect stored it");
        let Some(listener) = self.listener_at(remote) else {
            let at_ns = env.now_ns() + env.delay_ns(ChoiceKind::HandshakeDelay);
            let (from, to) = (None, client);
            return self.dispatch(at_ns, Packet::Rst { from, to });
        };
        let backlog = &mut self.tcp(listener).expect("listens").backlog;
        // Linux lets one more in than `listen` asked for.
        if backlog.queue.len() + backlog.reserved > backlog.limit {
            let at_ns = env.now_ns() + SYN_RETRY_NS;
            return self.dispatch(at_ns, Packet::Syn { client });
        }
        backlog.reserved += 1;
        let at_ns = env.now_ns() + env.delay_ns(ChoiceKind::HandshakeDelay);
        self.dispatch(at_ns, Packet::SynAck { client, listener });
    }

    fn arrive_syn_ack(&mut self, env: &dyn Env, client: FileId, listener: FileId) {
        let config = self.config;
        let is_waiting = |tcp: &mut Tcp| tcp.state == State::SynSent;
        if !self.tcp(client).is_some_and(is_waiting) {
            return self.unreserve(listener);
        }
        let tcp = self.tcp(client).expect("just seen");
        let (domain, local, remote) = (tcp.domain, tcp.local, tcp.remote);
        tcp.state = State::Synchronised;
        let mut child = Tcp::new(domain, config);
        child.state = State::Synchronised;
        child.connect = Connect::Connected;
        child.local = remote.expect("connect stored it");
        child.remote = Some(local);
        child.peer = Some(client);
        if let Some(parent) = self.tcp(listener) {
            child.sndbuf = parent.sndbuf;
            child.rcvbuf = parent.rcvbuf;
        }
        let child = self.add_file(Object::Tcp(Box::new(child)));
        self.tcp(client).expect("just seen").peer = Some(child);
        let at_ns = self.arrival_ns(env, client, ChoiceKind::HandshakeDelay);
        self.dispatch(at_ns, Packet::Ack { child, listener });
        self.edge(env, client, 0);
    }

    fn unreserve(&mut self, listener: FileId) {
        if let Some(tcp) = self.tcp(listener) {
            tcp.backlog.reserved = tcp.backlog.reserved.saturating_sub(1);
        }
    }

    fn arrive_ack(&mut self, env: &dyn Env, child: FileId, listener: FileId) {
        let listens = |tcp: &mut Tcp| tcp.state == State::Listen;
        if !self.tcp(listener).is_some_and(listens) {
            let tcp = self.tcp(child).expect("only the queue gives it away");
            tcp.orphan = true;
            if tcp.state == State::Synchronised {
                self.abort(env, child);
            }
            return;
        }
        self.unreserve(listener);
        let backlog = &mut self.tcp(listener).expect("listens").backlog;
        backlog.queue.push_back(child);
        self.edge(env, listener, IN);
    }

    fn arrive_segment(&mut self, env: &dyn Env, from: FileId, len: u32) {
        let len = len as usize;
        let Some(tcp) = self.tcp(from) else { return };
        if tcp.in_flight < len {
            return; // a reset has emptied the wire (T1)
        }
        tcp.in_flight -= len;
        let mut out = std::mem::take(&mut tcp.out);
        let receiver = self.peer(from).map(|(id, peer)| {
            let takes = peer.state == State::Synchronised && !peer.is_shut_down();
            if takes {
                let (front, back) = out.as_slices();
                let n = front.len().min(len);
                peer.unread.extend(&front[..n]);
                peer.unread.extend(&back[..len - n]);
            }
            (id, takes, peer.state)
        });
        out.drain(..len);
        let tcp = self.tcp(from).expect("just seen");
        tcp.out = out;
        let has_room = tcp.wants_room && tcp.has_room() && tcp.state == State::Synchronised;
        tcp.wants_room &= !has_room;
        match receiver {
            Some((id, true, _)) => {
                let fd = self.file(id).shown_as;
                let len = len as u32;
                env.record(WorldEvent::Arrive { fd, len });
                self.edge(env, id, IN);
            }
            Some((id, false, State::Synchronised)) => self.refuse_data(env, id),
            Some(_) | None => {}
        }
        if has_room {
            self.edge(env, from, OUT);
        }
    }

    /// Data for a socket that has been closed or shut down both ways: the connection is reset for both.
    fn refuse_data(&mut self, env: &dyn Env, id: FileId) {
        let tcp = self.tcp(id).expect("just seen");
        if tcp.orphan {
            return self.abort(env, id);
        }
        tcp.error = Some(Errno::ECONNRESET);
        let unread = std::mem::take(&mut tcp.unread);
        self.abort(env, id);
        self.tcp(id).expect("is open").unread = unread;
        self.edge(env, id, 0);
        self.edge(env, id, ERR);
    }

    fn arrive_fin(&mut self, env: &dyn Env, from: FileId) {
        let Some(tcp) = self.tcp(from) else { return };
        if tcp.state != State::Synchronised {
            return;
        }
        tcp.fin = Fin::Arrived;
        let sender_is_over = tcp.done;
        let receiver = self.peer(from);
        if let Some((id, peer)) = receiver.filter(|(_, peer)| peer.state == State::Synchronised) {
            peer.done = true;
            peer.shut_read = true;
            if sender_is_over {
                assert_eq!(peer.fin, Fin::Arrived, "the sender is done by the peer's FIN");
                peer.enter_closed();
            }
            if !peer.orphan {
                self.edge(env, id, 0);
            }
            self.free_if_over(id);
        }
        // The acknowledgement of our FIN is a change of state, so the sender hears of it.
        let tcp = self.tcp(from).expect("just seen");
        if sender_is_over {
            tcp.enter_closed();
        }
        if tcp.orphan {
            self.free_if_over(from);
        } else {
            self.edge(env, from, 0);
        }
    }

    fn arrive_rst(&mut self, env: &dyn Env, to: FileId) {
        let Some(tcp) = self.tcp(to) else { return };
        let error = match tcp.state {
            State::Closed | State::Listen => return self.free_if_over(to),
            State::SynSent => Errno::ECONNREFUSED,
            State::Synchronised if tcp.done && tcp.fin == Fin::None => Errno::EPIPE,
            State::Synchronised => Errno::ECONNRESET,
        };
        tcp.error = Some(error);
        tcp.in_flight = 0;
        tcp.enter_closed();
        tcp.peer = None;
        if tcp.orphan {
            return self.free_if_over(to);
        }
        self.edge(env, to, 0);
        self.edge(env, to, ERR);
    }

    /// The listener that answers at `addr`: one bound to the address itself before a wildcard.
    fn listener_at(&mut self, addr: std::net::SocketAddr) -> Option<FileId> {
        let candidates: Vec<FileId> = self.ports.overlapping(addr.port(), addr.ip()).collect();
        let mut best = None;
        for id in candidates {
            let tcp = self.tcp(id).expect("holds a port");
            if tcp.state == State::Listen {
                let is_exact = tcp.local.ip() == addr.ip();
                if is_exact || best.is_none() {
                    best = Some(id);
                }
                if is_exact {
                    break;
                }
            }
        }
        best
    }
}

/// How much of `sendable` bytes one segment carries.
fn segment_len(env: &dyn Env, sendable: usize) -> usize {
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
