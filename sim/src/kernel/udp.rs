//! UDP: datagrams that arrive whole or not at all.
//!
//! What Linux does (udp(7), `net/ipv4/udp.c`, measured), and this does too:
//!
//! * A datagram longer than the buffer of its reader is cut; the rest is lost.
//! * One that finds the receive buffer full is dropped, and nobody is told.
//! * A connected socket hears only its peer, and learns by an error that nobody takes datagrams there. The
//!   error comes before data, once, at the next call of either direction.
//! * `shutdown` of reading ends nothing on a non-blocking socket: reads go on saying `EAGAIN`.
//!
//! What is left open, and chosen here: how long a datagram travels; and as faults, that it is lost, comes
//! twice or is overtaken. A busy network holds datagrams back, so a sender may meet `EAGAIN`.

use std::collections::VecDeque;
use std::net::SocketAddr;

use netpoll::platform::{Domain, Errno, SockAddr};
use netpoll_traces::WorldEvent;

use super::bytes;
use super::env::Env;
use super::epoll::{ERR, HUP, IN, OUT, RDHUP, READABLE, WRITABLE};
use super::flight::Packet;
use super::machine::{FileId, Machine, Object};
use super::net::{self, NetConfig, unspecified};
use super::options::Options;
use super::site::HostId;
use crate::choice::ChoiceKind;
use crate::faults::FaultKind;

/// The most bytes of one datagram: what fits into an IP packet beside the two headers.
const LEN_MAX: usize = 65_507;

/// What a datagram costs of a buffer beside its bytes. About what Linux counts for a small one.
const OVERHEAD: usize = 512;

/// What travels or is queued.
#[derive(Debug, Default)]
pub(super) struct Datagram {
    bytes: Vec<u8>,
    /// The sender, whose buffer it stands in until it arrives; `None` for a second copy.
    sender: Option<FileId>,
    ends: Option<(SocketAddr, SocketAddr)>,
    /// The hosts at these addresses.
    pub(super) hosts: (HostId, HostId),
    is_lost: bool,
}

/// A UDP socket.
#[derive(Debug)]
pub(super) struct Udp {
    pub(super) local: SocketAddr,
    holds_port: bool,
    remote: Option<SocketAddr>,
    /// `SO_ERROR`.
    pub(super) error: Option<Errno>,
    shut_read: bool,
    shut_write: bool,
    /// What has been sent and has not arrived yet.
    sending: usize,
    bytes: VecDeque<u8>,
    /// The lengths and senders of what is queued.
    queue: VecDeque<(usize, SocketAddr)>,
    /// Nothing that is sent now arrives before this, unless it overtakes.
    last_arrival_ns: u64,
    pub(super) options: Options,
}

impl Udp {
    pub(super) fn new(domain: Domain, config: NetConfig) -> Udp {
        Udp {
            local: unspecified(domain),
            holds_port: false,
            remote: None,
            error: None,
            shut_read: false,
            shut_write: false,
            sending: 0,
            bytes: VecDeque::new(),
            queue: VecDeque::new(),
            last_arrival_ns: 0,
            options: Options::new(domain, config),
        }
    }

    /// What is queued, with its cost.
    fn held(&self) -> usize {
        self.bytes.len() + self.queue.len() * OVERHEAD
    }

    /// Whether the socket counts as writable: half of its buffer is free.
    fn has_room(&self) -> bool {
        self.sending < self.options.sndbuf / 2
    }

    /// `datagram_poll`.
    pub(super) fn readiness(&self) -> u32 {
        let mut ready = 0;
        if self.error.is_some() {
            ready |= ERR;
        }
        if self.shut_read {
            ready |= IN | RDHUP;
            if self.shut_write {
                ready |= HUP;
            }
        }
        if !self.queue.is_empty() {
            ready |= IN;
        }
        if self.has_room() {
            ready |= OUT;
        }
        ready
    }

    /// The address that `getpeername` returns.
    pub(super) fn peer_name(&self) -> Result<SocketAddr, Errno> {
        self.remote.filter(|remote| remote.port() != 0).ok_or(Errno::ENOTCONN)
    }
}

impl Machine {
    /// The UDP socket, unless it has been closed.
    fn udp(&mut self, id: FileId) -> Option<&mut Udp> {
        self.get(id)?;
        match &mut self.file_mut(id).object {
            Object::Udp(udp) => Some(udp),
            other => unreachable!("{other:?} was looked up as a UDP socket"),
        }
    }

    pub(super) fn udp_bind(
        &mut self,
        env: &Env<'_>,
        id: FileId,
        addr: &SockAddr,
    ) -> Result<(), Errno> {
        let udp = self.udp(id).expect("is open");
        let domain = udp.options.domain;
        let addr = net::local(domain, addr, self.here_ref().ip)?;
        let udp = self.udp(id).expect("is open");
        if udp.holds_port {
            return Err(Errno::EINVAL);
        }
        let reuse = udp.options.reuse_addr;
        if addr.port() != 0 {
            let others = self.site_of(id).udp_ports.overlapping(addr).collect::<Vec<_>>();
            let excludes = |machine: &mut Machine, other| {
                !(reuse && machine.udp(other).expect("holds a port").options.reuse_addr)
            };
            if others.into_iter().any(|(_, other)| excludes(self, other)) {
                return Err(Errno::EADDRINUSE);
            }
        }
        self.udp_bind_to(env, id, addr).ok_or(Errno::EADDRINUSE)
    }

    fn udp_bind_to(&mut self, env: &Env<'_>, id: FileId, mut addr: SocketAddr) -> Option<()> {
        if addr.port() == 0 {
            addr.set_port(self.site_of(id).udp_ports.ephemeral(env.now_ns())?);
        }
        self.site_of(id).udp_ports.bind(id, addr);
        let udp = self.udp(id).expect("is open");
        udp.local = addr;
        udp.holds_port = true;
        Some(())
    }

    /// Binds a socket that is about to talk and has no port.
    fn udp_autobind(&mut self, env: &Env<'_>, id: FileId) -> Result<(), Errno> {
        let udp = self.udp(id).expect("is open");
        if udp.holds_port {
            return Ok(());
        }
        let local = udp.local;
        self.udp_bind_to(env, id, local).ok_or(Errno::EAGAIN)
    }

    pub(super) fn udp_connect(
        &mut self,
        env: &Env<'_>,
        id: FileId,
        addr: &SockAddr,
    ) -> Result<(), Errno> {
        self.udp_autobind(env, id)?;
        let udp = self.udp(id).expect("is open");
        let addr = net::inet(udp.options.domain, addr)?;
        let local = udp.local.ip();
        let remote = self.destination(addr, local)?;
        let source = self.source(remote);
        let udp = self.udp(id).expect("is open");
        udp.remote = Some(remote);
        if local.is_unspecified() {
            udp.local.set_ip(source);
            let local = udp.local;
            self.site_of(id).udp_ports.rebind(id, local);
        }
        Ok(())
    }

    /// `shutdown`, which takes effect also where it fails.
    pub(super) fn udp_shutdown(
        &mut self,
        env: &Env<'_>,
        id: FileId,
        reading: bool,
        writing: bool,
    ) -> Result<(), Errno> {
        let udp = self.udp(id).expect("is open");
        udp.shut_read |= reading;
        udp.shut_write |= writing;
        let is_connected = udp.remote.is_some();
        self.edge(env, id, 0);
        if is_connected { Ok(()) } else { Err(Errno::ENOTCONN) }
    }

    pub(super) fn udp_close(&mut self, id: FileId) {
        let udp = self.udp(id).expect("being closed");
        if udp.holds_port {
            let port = udp.local.port();
            self.site_of(id).udp_ports.release(id, port);
        }
        self.free_file(id);
    }

    /// Takes the next datagram, or looks at it; returns how much of it `buf` holds, and its sender.
    pub(super) fn udp_read(
        &mut self,
        id: FileId,
        buf: &mut [u8],
        peek: bool,
    ) -> Result<(usize, SockAddr), Errno> {
        let udp = self.udp(id).expect("is open");
        if let Some(error) = udp.error.take() {
            return Err(error);
        }
        let &(len, sender) = udp.queue.front().ok_or(Errno::EAGAIN)?;
        let count = len.min(buf.len());
        bytes::copy_front(&udp.bytes, &mut buf[..count]);
        if !peek {
            udp.queue.pop_front();
            udp.bytes.drain(..len);
        }
        Ok((count, sender.into()))
    }

    pub(super) fn udp_write(
        &mut self,
        env: &Env<'_>,
        id: FileId,
        parts: &[&[u8]],
        to: Option<&SockAddr>,
    ) -> Result<usize, Errno> {
        self.udp_autobind(env, id)?;
        let len = bytes::total(parts);
        if len > usize::from(u16::MAX) {
            return Err(Errno::EMSGSIZE);
        }
        let udp = self.udp(id).expect("is open");
        let remote = match to {
            Some(to) => {
                let to = net::inet(udp.options.domain, to)?;
                if to.port() == 0 {
                    return Err(Errno::EINVAL);
                }
                let local = udp.local.ip();
                self.destination(to, local)?
            }
            None => udp.remote.ok_or(Errno::EDESTADDRREQ)?,
        };
        let udp = self.udp(id).expect("is open");
        if len > LEN_MAX {
            return Err(Errno::EMSGSIZE);
        }
        if let Some(error) = udp.error.take() {
            return Err(error);
        }
        if udp.shut_write {
            return Err(Errno::EPIPE);
        }
        if udp.sending >= udp.options.sndbuf {
            return Err(Errno::EAGAIN);
        }
        Machine::shortage(env, &[FaultKind::NoBuffers])?;
        self.send_datagram(env, id, remote, parts);
        Ok(len)
    }

    fn send_datagram(&mut self, env: &Env<'_>, id: FileId, remote: SocketAddr, parts: &[&[u8]]) {
        let is_lost = env.strikes(FaultKind::DatagramLost);
        let comes_twice = !is_lost && env.strikes(FaultKind::DatagramDuplicated);
        let is_overtaken = env.strikes(FaultKind::DatagramReordered);
        let source = self.source(remote);
        let from = self.file(id).host;
        let to = self.host_at(from, remote.ip()).unwrap_or(from);
        let udp = self.udp(id).expect("is open");
        let mut local = udp.local;
        if local.ip().is_unspecified() {
            local.set_ip(source);
        }
        udp.sending += bytes::total(parts) + OVERHEAD;
        for sender in [Some(id), None] {
            if sender.is_none() && !comes_twice {
                break;
            }
            let index = self.flight.store(|datagram| {
                datagram.bytes.clear();
                parts.iter().for_each(|part| datagram.bytes.extend(*part));
                datagram.sender = sender;
                datagram.ends = Some((local, remote));
                datagram.hosts = (from, to);
                datagram.is_lost = is_lost;
            });
            let delay_ns = |machine: &Machine| {
                machine.delay_between_ns(env, from, to, ChoiceKind::DatagramDelay)
            };
            let mut at_ns = env.now_ns() + delay_ns(self);
            if is_overtaken {
                // Later than it would be: those behind it need not wait for it.
                at_ns += delay_ns(self);
            } else {
                let udp = self.udp(id).expect("is open");
                udp.last_arrival_ns = udp.last_arrival_ns.max(at_ns);
                at_ns = udp.last_arrival_ns;
            }
            self.flight.dispatch(at_ns, Packet::Datagram { index });
        }
    }

    pub(super) fn arrive_datagram(&mut self, env: &Env<'_>, index: u32) {
        let datagram = self.flight.take(index);
        let (from, to) = datagram.hosts;
        let is_lost = datagram.is_lost || !self.arrives(env, from, to);
        let is_refused = !is_lost && !self.deliver(env, &datagram);
        if let Some(sender) = datagram.sender
            && let Some(udp) = self.udp(sender)
        {
            udp.sending -= datagram.bytes.len() + OVERHEAD;
            if udp.has_room() {
                self.edge(env, sender, WRITABLE);
            }
        }
        self.flight.give_back(index, datagram);
        if is_refused {
            let delay_ns = self.delay_between_ns(env, to, from, ChoiceKind::DatagramDelay);
            self.flight.dispatch(env.now_ns() + delay_ns, Packet::Unreachable { index });
        } else {
            self.flight.free(index);
        }
    }

    /// Queues a datagram where it belongs, or drops it; false when it belongs nowhere.
    fn deliver(&mut self, env: &Env<'_>, datagram: &Datagram) -> bool {
        let (from, to) = datagram.ends.expect("was sent");
        let (_, host) = datagram.hosts;
        let Some(receiver) = self.udp_receiver(host, from, to) else {
            return false;
        };
        let fd = self.file(receiver).shown_as;
        let udp = self.udp(receiver).expect("is open");
        if udp.held() <= udp.options.rcvbuf {
            udp.bytes.extend(&datagram.bytes);
            udp.queue.push_back((datagram.bytes.len(), from));
            env.record(host, WorldEvent::Arrive { fd, len: datagram.bytes.len() as u32 });
            self.edge(env, receiver, READABLE);
        }
        true
    }

    /// The network says that nobody takes a datagram, which only the socket that is connected there
    /// believes.
    pub(super) fn arrive_unreachable(&mut self, env: &Env<'_>, index: u32) {
        let datagram = self.flight.take(index);
        let ends = datagram.ends;
        let (from, to) = datagram.hosts;
        if self.arrives(env, to, from)
            && let Some(id) = datagram.sender
            && let Some(udp) = self.udp(id)
            && ends == udp.remote.map(|remote| (udp.local, remote))
        {
            udp.error = Some(Errno::ECONNREFUSED);
            self.edge(env, id, ERR);
        }
        self.flight.give_back(index, datagram);
        self.flight.free(index);
    }

    /// The socket of a host that takes what `from` sends to `to`: one that is bound to the address itself before a
    /// wildcard, one that is connected to the sender before one that is not, and the newest.
    fn udp_receiver(&self, host: HostId, from: SocketAddr, to: SocketAddr) -> Option<FileId> {
        let mut best = None;
        for (ip, id) in self.sites[host.index()].udp_ports.overlapping(to).rev() {
            let Object::Udp(udp) = &self.file(id).object else {
                unreachable!("holds a UDP port");
            };
            if udp.remote.is_some_and(|remote| remote != from) {
                continue;
            }
            let score = (ip == to.ip(), udp.remote.is_some());
            if best.is_none_or(|(other, _)| score > other) {
                best = Some((score, id));
            }
        }
        best.map(|(_, id)| id)
    }
}
