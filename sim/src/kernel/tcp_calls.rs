//! The socket calls on TCP: names, connections, bytes. What the wire does is in `wire.rs`.

use std::net::SocketAddr;

use netpoll::platform::{Errno, SockAddr};

use super::bytes;
use super::env::Env;
use super::epoll::ERR;
use super::machine::{FileId, Machine, Object};
use super::net::{self, SOMAXCONN};
use super::site::HostId;
use super::tcp::{Connect, Fin, State, Tcp};
use crate::choice::ChoiceKind;
use crate::faults::FaultKind;
use crate::oracle::Moved;

impl Machine {
    /// The TCP end, unless it has been freed.
    pub(super) fn tcp(&mut self, id: FileId) -> Option<&mut Tcp> {
        match &mut self.get_mut(id)?.object {
            Object::Tcp(tcp) => Some(tcp),
            other => unreachable!("{other:?} was looked up as a TCP socket"),
        }
    }

    /// The same of a file that may be of another kind.
    pub(super) fn tcp_if(&mut self, id: FileId) -> Option<&mut Tcp> {
        match &mut self.get_mut(id)?.object {
            Object::Tcp(tcp) => Some(tcp),
            _ => None,
        }
    }

    /// The one that a call is about, which is open.
    pub(super) fn tcp_open(&mut self, id: FileId) -> &mut Tcp {
        self.tcp(id).expect("is open")
    }

    // Names

    pub(super) fn tcp_bind(
        &mut self,
        env: &Env<'_>,
        id: FileId,
        addr: &SockAddr,
    ) -> Result<(), Errno> {
        let tcp = self.tcp_open(id);
        let domain = tcp.options.domain;
        let addr = net::local(domain, addr, self.here_ref().ip)?;
        let tcp = self.tcp_open(id);
        if tcp.holds_port || tcp.state != State::Closed {
            return Err(Errno::EINVAL);
        }
        if addr.port() != 0 && self.tcp_is_taken(env, id, addr) {
            return Err(Errno::EADDRINUSE);
        }
        self.tcp_bind_to(env, id, addr).ok_or(Errno::EADDRINUSE)?;
        let tcp = self.tcp_open(id);
        tcp.keeps_port = addr.port() != 0;
        tcp.keeps_addr = !addr.ip().is_unspecified();
        Ok(())
    }

    /// Whether another socket's claim on `addr` excludes that of `id`: unless both allow it and the other
    /// one does not listen. What is left of a connection in `TIME_WAIT` has such a claim too.
    fn tcp_is_taken(&mut self, env: &Env<'_>, id: FileId, addr: SocketAddr) -> bool {
        let reuse = self.tcp_open(id).options.reuse_addr;
        if self.site_of(id).tcp_ports.waits(addr, reuse, env.now_ns()) {
            return true;
        }
        let site = &self.sites[self.file(id).host.index()];
        site.tcp_ports.overlapping(addr).any(|(_, other)| {
            let Object::Tcp(tcp) = &self.file(other).object else {
                unreachable!("holds a TCP port");
            };
            other != id && (!(reuse && tcp.options.reuse_addr) || tcp.is_listening())
        })
    }

    fn tcp_bind_to(&mut self, env: &Env<'_>, id: FileId, mut addr: SocketAddr) -> Option<()> {
        if addr.port() == 0 {
            addr.set_port(self.site_of(id).tcp_ports.ephemeral(env.now_ns())?);
        }
        self.site_of(id).tcp_ports.bind(id, addr);
        let tcp = self.tcp_open(id);
        tcp.local = addr;
        tcp.holds_port = true;
        Some(())
    }

    pub(super) fn tcp_listen(
        &mut self,
        env: &Env<'_>,
        id: FileId,
        backlog: i32,
    ) -> Result<(), Errno> {
        let tcp = self.tcp_open(id);
        let limit = if (0..=SOMAXCONN).contains(&backlog) { backlog } else { SOMAXCONN };
        if !matches!(tcp.state, State::Closed | State::Listen)
            || tcp.connect != Connect::Unconnected
        {
            return Err(Errno::EINVAL);
        }
        let (state, local, holds_port) = (tcp.state, tcp.local, tcp.holds_port);
        if state == State::Closed {
            if holds_port && self.tcp_is_taken(env, id, local) {
                return Err(Errno::EADDRINUSE);
            }
            if !holds_port {
                self.tcp_bind_to(env, id, local).ok_or(Errno::EADDRINUSE)?;
            }
            self.site_of(id).listeners.push(id);
        }
        let tcp = self.tcp_open(id);
        tcp.state = State::Listen;
        tcp.backlog.limit = limit as usize;
        Ok(())
    }

    /// The listener that answers on a host at `addr`: one bound to the address itself before a wildcard.
    pub(super) fn listener_at(&self, host: HostId, addr: SocketAddr) -> Option<FileId> {
        let mut wildcard = None;
        for &id in &self.sites[host.index()].listeners {
            let Object::Tcp(tcp) = &self.file(id).object else {
                unreachable!("a listener is a TCP socket");
            };
            let is_same_family = tcp.local.is_ipv4() == addr.is_ipv4();
            if tcp.local == addr {
                return Some(id);
            }
            if is_same_family
                && tcp.local.port() == addr.port()
                && tcp.local.ip().is_unspecified()
                && wildcard.is_none()
            {
                wildcard = Some(id);
            }
        }
        wildcard
    }

    /// Gives the port back of a socket whose connection has ended or which has been closed.
    pub(super) fn tcp_release_port(&mut self, id: FileId) {
        let tcp = self.tcp_open(id);
        if std::mem::take(&mut tcp.holds_port) {
            let port = tcp.local.port();
            self.site_of(id).tcp_ports.release(id, port);
        }
    }

    // Connections

    /// The next connection of a listener.
    pub(super) fn tcp_accept(&mut self, env: &Env<'_>, id: FileId) -> Result<FileId, Errno> {
        let tcp = self.tcp_open(id);
        if tcp.state != State::Listen {
            return Err(Errno::EINVAL);
        }
        let child = *tcp.backlog.queue.front().ok_or(Errno::EAGAIN)?;
        if env.strikes(FaultKind::StreamReset) {
            self.reset_both(env, child);
        }
        let is_aborted = self.tcp_open(child).state == State::Closed;
        self.tcp_open(id).backlog.queue.pop_front();
        if is_aborted && env.strikes(FaultKind::ConnAborted) {
            self.abandon(env, child);
            return Err(Errno::ECONNABORTED);
        }
        Ok(child)
    }

    pub(super) fn tcp_connect(
        &mut self,
        env: &Env<'_>,
        id: FileId,
        addr: &SockAddr,
    ) -> Result<(), Errno> {
        let tcp = self.tcp_open(id);
        match (tcp.connect, tcp.state) {
            (Connect::Connected, _) => return Err(Errno::EISCONN),
            (Connect::Disconnecting, _) => return Err(Errno::EINVAL),
            (Connect::Connecting, State::SynSent) => return Err(Errno::EALREADY),
            (Connect::Connecting, State::Closed) => {
                // The attempt has failed: say why, and be as good as new.
                let error = tcp.error.take().unwrap_or(Errno::ECONNABORTED);
                self.disconnect(env, id);
                return Err(error);
            }
            (Connect::Connecting, _) => {
                tcp.connect = Connect::Connected;
                return Ok(());
            }
            (Connect::Unconnected, State::Closed) => {}
            (Connect::Unconnected, _) => return Err(Errno::EISCONN),
        }
        let addr = net::inet(tcp.options.domain, addr)?;
        let (holds_port, mut local) = (tcp.holds_port, tcp.local);
        let remote = self.destination(addr, local.ip())?;
        if local.ip().is_unspecified() {
            local.set_ip(self.source(remote));
        }
        if holds_port {
            self.site_of(id).tcp_ports.rebind(id, local);
        } else {
            local.set_port(0);
            self.tcp_bind_to(env, id, local).ok_or(Errno::EADDRNOTAVAIL)?;
            local = self.tcp_open(id).local;
        }
        let tcp = self.tcp_open(id);
        tcp.local = local;
        tcp.remote = Some(remote);
        tcp.state = State::SynSent;
        tcp.connect = Connect::Connecting;
        tcp.attempt += 1;
        tcp.knocks = 0;
        self.send_syn(env, id);
        if env.strikes(FaultKind::IoEintr) {
            return Err(Errno::EINTR); // the attempt goes on
        }
        Err(Errno::EINPROGRESS)
    }

    /// Returns a socket to the state before `connect` or `listen`, but for a port that it was bound to.
    /// Linux tells those who watch it, as of an error.
    fn disconnect(&mut self, env: &Env<'_>, id: FileId) {
        let tcp = self.tcp_open(id);
        let was_closed = std::mem::replace(&mut tcp.state, State::Closed) == State::Closed;
        tcp.connect = Connect::Unconnected;
        tcp.remote = None;
        tcp.peer = None;
        tcp.shut_read = false;
        tcp.shut_write = false;
        tcp.done = false;
        tcp.fin = Fin::None;
        tcp.unread.clear();
        tcp.out.clear();
        tcp.in_flight = 0;
        if !tcp.keeps_addr {
            tcp.local.set_ip(net::unspecified(tcp.options.domain).ip());
        }
        let (keeps_port, holds_port, local) = (tcp.keeps_port, tcp.holds_port, tcp.local);
        if !keeps_port && !was_closed {
            self.tcp_release_port(id);
        } else if holds_port {
            self.site_of(id).tcp_ports.rebind(id, local);
        }
        self.edge(env, id, ERR);
    }

    pub(super) fn tcp_shutdown(
        &mut self,
        env: &Env<'_>,
        id: FileId,
        reading: bool,
        writing: bool,
    ) -> Result<(), Errno> {
        let tcp = self.tcp_open(id);
        let state = tcp.state;
        if tcp.connect == Connect::Connecting {
            tcp.connect = match state {
                State::Closed => Connect::Disconnecting,
                _ => Connect::Connected,
            };
        }
        match state {
            State::Closed | State::Synchronised => {
                tcp.shut_read |= reading;
                tcp.shut_write |= writing;
                if writing && state == State::Synchronised {
                    self.shut_write(env, id);
                }
            }
            State::Listen if !reading => {}
            State::Listen => {
                self.abandon_backlog(env, id);
                self.disconnect(env, id);
            }
            State::SynSent => self.disconnect(env, id),
        }
        self.edge(env, id, 0);
        match state {
            State::Closed => Err(Errno::ENOTCONN),
            _ => Ok(()),
        }
    }

    // Bytes

    pub(super) fn tcp_read(
        &mut self,
        env: &Env<'_>,
        id: FileId,
        buf: &mut [u8],
        peek: bool,
    ) -> Result<usize, Errno> {
        let tcp = self.tcp_open(id);
        if tcp.readable()? == 0 {
            return Ok(0);
        }
        let count = bytes::copy_front(&tcp.unread, buf);
        let host = self.file(id).host;
        env.moved(host, Moved::Read { from: id.number(), bytes: &buf[..count], is_peek: peek });
        if !peek {
            let tcp = self.tcp_open(id);
            bytes::drop_front(&mut tcp.unread, count);
            if let Some(peer) = tcp.peer {
                self.pump(env, peer); // the window has grown
            }
        }
        Ok(count)
    }

    pub(super) fn tcp_write(
        &mut self,
        env: &Env<'_>,
        id: FileId,
        parts: &[&[u8]],
    ) -> Result<usize, Errno> {
        let len = bytes::total(parts);
        let tcp = self.tcp_open(id);
        let mut count = tcp.writable(len)?;
        if count > 1 && env.strikes(FaultKind::ShortWrite) {
            count -= 1 + env.choose(ChoiceKind::WriteLen, count as u32 - 1) as usize;
            tcp.wants_room = true; // T5
        }
        if let Some(peer) = tcp.peer {
            let host = self.get(peer).map_or(self.file(id).host, |peer| peer.host);
            env.moved(host, Moved::Written { to: peer.number(), parts, count });
        }
        bytes::append(&mut self.tcp_open(id).out, parts, count);
        if count > 0 {
            self.pump(env, id);
        }
        Ok(count)
    }
}
