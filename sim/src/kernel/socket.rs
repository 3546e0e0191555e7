//! The socket calls: names, addresses and options; what the wire does is in `wire.rs`.

use std::net::SocketAddr;

use netpoll::platform::{Domain, Errno, RawFd, Shutdown, SockAddr, SockType};

use super::machine::{Env, FileId, Machine, Object};
use super::net::{self, SOMAXCONN};
use super::tcp::{Connect, State, Tcp};
use crate::choice::ChoiceKind;
use crate::faults::FaultKind;
use crate::oracle::Moved;

impl Machine {
    /// The TCP socket behind a number.
    pub(super) fn socket_at(&mut self, fd: RawFd) -> Result<(FileId, &mut Tcp), Errno> {
        let id = self.lookup(fd)?;
        match &mut self.file_mut(id).object {
            Object::Tcp(tcp) => Ok((id, tcp)),
            _ => Err(Errno::ENOTSOCK),
        }
    }

    pub(super) fn socket(
        &mut self,
        env: &dyn Env,
        domain: Domain,
        kind: SockType,
    ) -> Result<RawFd, Errno> {
        if domain == Domain::Unix {
            return Err(Errno::EAFNOSUPPORT);
        }
        if kind != SockType::Stream {
            return Err(Errno::EPROTONOSUPPORT);
        }
        self.check_number_free()?;
        if env.strikes(FaultKind::NoDescriptor) {
            return Err(Errno::EMFILE);
        }
        let tcp = Tcp::new(domain, self.config);
        let file = self.add_file(Object::Tcp(Box::new(tcp)));
        Ok(self.number(file))
    }

    pub(super) fn bind(&mut self, fd: RawFd, addr: &SockAddr) -> Result<(), Errno> {
        let (id, tcp) = self.socket_at(fd)?;
        let addr = inet(addr)?;
        net::check_family(tcp.domain, addr)?;
        if !addr.ip().is_loopback() && !addr.ip().is_unspecified() {
            return Err(Errno::EADDRNOTAVAIL);
        }
        if tcp.holds_port || tcp.state != State::Closed {
            return Err(Errno::EINVAL);
        }
        let reuse = tcp.reuse_addr;
        if addr.port() != 0 && self.is_taken(addr, reuse) {
            return Err(Errno::EADDRINUSE);
        }
        self.bind_to(id, addr)
    }

    /// Whether another socket's claim on `addr` excludes this one: unless both allow it and neither
    /// listens.
    fn is_taken(&mut self, addr: SocketAddr, reuse: bool) -> bool {
        let others: Vec<FileId> = self.ports.overlapping(addr.port(), addr.ip()).collect();
        others.into_iter().any(|other| {
            let tcp = self.tcp(other).expect("holds a port");
            !(reuse && tcp.reuse_addr) || tcp.state == State::Listen
        })
    }

    fn bind_to(&mut self, id: FileId, mut addr: SocketAddr) -> Result<(), Errno> {
        if addr.port() == 0 {
            addr.set_port(self.ports.ephemeral()?);
        }
        self.ports.bind(id, addr);
        let tcp = self.tcp(id).expect("is open");
        tcp.local = addr;
        tcp.holds_port = true;
        Ok(())
    }

    pub(super) fn listen(&mut self, fd: RawFd, backlog: i32) -> Result<(), Errno> {
        let (id, tcp) = self.socket_at(fd)?;
        let limit = if (0..=SOMAXCONN).contains(&backlog) { backlog } else { SOMAXCONN };
        if !matches!(tcp.state, State::Closed | State::Listen)
            || tcp.connect != Connect::Unconnected
        {
            return Err(Errno::EINVAL);
        }
        let (local, holds_port) = (tcp.local, tcp.holds_port);
        if tcp.state == State::Closed && holds_port {
            tcp.state = State::Listen; // so that it does not stand in its own way
            let others: Vec<FileId> = self.ports.overlapping(local.port(), local.ip()).collect();
            let is_listening = |machine: &mut Machine, other: FileId| {
                other != id && machine.tcp(other).expect("holds a port").state == State::Listen
            };
            if others.into_iter().any(|other| is_listening(self, other)) {
                self.tcp(id).expect("is open").state = State::Closed;
                return Err(Errno::EADDRINUSE);
            }
        }
        if !holds_port {
            self.bind_to(id, local)?;
        }
        let tcp = self.tcp(id).expect("is open");
        tcp.state = State::Listen;
        tcp.shut_read = false;
        tcp.shut_write = false;
        tcp.backlog.limit = limit as usize;
        Ok(())
    }

    pub(super) fn accept(&mut self, env: &dyn Env, fd: RawFd) -> Result<(RawFd, SockAddr), Errno> {
        self.socket_at(fd)?;
        self.check_number_free()?;
        if env.strikes(FaultKind::NoDescriptor) {
            return Err(Errno::EMFILE);
        }
        let (_, tcp) = self.socket_at(fd)?;
        if tcp.state != State::Listen {
            return Err(Errno::EINVAL);
        }
        if env.strikes(FaultKind::IoEintr) {
            return Err(Errno::EINTR);
        }
        if tcp.backlog.queue.is_empty() {
            return Err(Errno::EAGAIN);
        }
        if env.strikes(FaultKind::ConnAborted) {
            return Err(Errno::ECONNABORTED);
        }
        let child = tcp.backlog.queue.pop_front().expect("not empty");
        let number = self.number(child);
        let remote = self.tcp(child).expect("accepted").remote;
        Ok((number, SockAddr::Inet(remote.expect("has a peer"))))
    }

    pub(super) fn connect(
        &mut self,
        env: &dyn Env,
        fd: RawFd,
        addr: &SockAddr,
    ) -> Result<(), Errno> {
        let (id, tcp) = self.socket_at(fd)?;
        match (tcp.connect, tcp.state) {
            (Connect::Connected, _) => return Err(Errno::EISCONN),
            (Connect::Disconnecting, _) => return Err(Errno::EINVAL),
            (Connect::Connecting, State::SynSent) => return Err(Errno::EALREADY),
            (Connect::Connecting, State::Closed) => {
                // The attempt has failed: say why, and be as good as new.
                let error = tcp.error.take().unwrap_or(Errno::ECONNABORTED);
                self.disconnect(id);
                return Err(error);
            }
            (Connect::Connecting, _) => {
                tcp.connect = Connect::Connected;
                return Ok(());
            }
            (Connect::Unconnected, State::Closed) => {}
            (Connect::Unconnected, _) => return Err(Errno::EISCONN),
        }
        let addr = inet(addr)?;
        net::check_family(tcp.domain, addr)?;
        let remote = net::destination(addr)?;
        let (holds_port, mut local) = (tcp.holds_port, tcp.local);
        if !holds_port {
            self.bind_to(id, SocketAddr::new(remote.ip(), 0))?;
        } else if local.ip().is_unspecified() {
            local.set_ip(remote.ip());
            self.tcp(id).expect("is open").local = local;
        }
        let tcp = self.tcp(id).expect("is open");
        tcp.remote = Some(remote);
        tcp.state = State::SynSent;
        tcp.connect = Connect::Connecting;
        self.send_syn(env, id);
        if env.strikes(FaultKind::IoEintr) {
            return Err(Errno::EINTR); // the attempt goes on
        }
        Err(Errno::EINPROGRESS)
    }

    /// Returns a socket to the state before `connect` or `listen`, but for a port it was bound to.
    fn disconnect(&mut self, id: FileId) {
        let tcp = self.tcp(id).expect("is open");
        tcp.state = State::Closed;
        tcp.connect = Connect::Unconnected;
        tcp.remote = None;
        tcp.peer = None;
        tcp.shut_read = false;
        tcp.shut_write = false;
        tcp.done = false;
    }

    pub(super) fn shutdown(
        &mut self,
        env: &dyn Env,
        fd: RawFd,
        how: Shutdown,
    ) -> Result<(), Errno> {
        let (id, tcp) = self.socket_at(fd)?;
        let reading = how != Shutdown::Write;
        let writing = how != Shutdown::Read;
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
            State::Listen => self.abandon_backlog(env, id),
            State::SynSent => self.disconnect(id),
        }
        self.edge(env, id, 0);
        match state {
            State::Closed => Err(Errno::ENOTCONN),
            _ => Ok(()),
        }
    }

    pub(super) fn getsockopt(&mut self, fd: RawFd, level: i32, name: i32) -> Result<i32, Errno> {
        let (_, tcp) = self.socket_at(fd)?;
        Ok(match (level, name) {
            (libc::SOL_SOCKET, libc::SO_ERROR) => tcp.error.take().map_or(0, |error| error.0),
            (libc::SOL_SOCKET, libc::SO_TYPE) => libc::SOCK_STREAM,
            (libc::SOL_SOCKET, libc::SO_PROTOCOL) => libc::IPPROTO_TCP,
            (libc::SOL_SOCKET, libc::SO_DOMAIN) => match tcp.domain {
                Domain::Inet => libc::AF_INET,
                Domain::Inet6 => libc::AF_INET6,
                Domain::Unix => libc::AF_UNIX,
            },
            (libc::SOL_SOCKET, libc::SO_ACCEPTCONN) => i32::from(tcp.state == State::Listen),
            (libc::SOL_SOCKET, libc::SO_REUSEADDR) => i32::from(tcp.reuse_addr),
            (libc::SOL_SOCKET, libc::SO_KEEPALIVE) => i32::from(tcp.keep_alive),
            (libc::SOL_SOCKET, libc::SO_SNDBUF) => tcp.sndbuf as i32,
            (libc::SOL_SOCKET, libc::SO_RCVBUF) => tcp.rcvbuf as i32,
            (libc::IPPROTO_TCP, libc::TCP_NODELAY) => i32::from(tcp.no_delay),
            _ => return Err(Errno::ENOPROTOOPT),
        })
    }

    pub(super) fn setsockopt(
        &mut self,
        fd: RawFd,
        level: i32,
        name: i32,
        value: i32,
    ) -> Result<(), Errno> {
        let (_, tcp) = self.socket_at(fd)?;
        let size = usize::try_from(value).unwrap_or(0).min(212_992) * 2;
        match (level, name) {
            (libc::SOL_SOCKET, libc::SO_REUSEADDR) => tcp.reuse_addr = value != 0,
            (libc::SOL_SOCKET, libc::SO_KEEPALIVE) => tcp.keep_alive = value != 0,
            // Linux doubles the size, for its bookkeeping, and has these least sizes.
            (libc::SOL_SOCKET, libc::SO_SNDBUF) => tcp.sndbuf = size.max(4_608),
            (libc::SOL_SOCKET, libc::SO_RCVBUF) => tcp.rcvbuf = size.max(2_304),
            (libc::IPPROTO_TCP, libc::TCP_NODELAY) => tcp.no_delay = value != 0,
            _ => return Err(Errno::ENOPROTOOPT),
        }
        Ok(())
    }

    // Bytes

    pub(super) fn tcp_read(
        &mut self,
        env: &dyn Env,
        id: FileId,
        buf: &mut [u8],
    ) -> Result<usize, Errno> {
        if buf.is_empty() {
            return Ok(0);
        }
        if env.strikes(FaultKind::IoEintr) {
            return Err(Errno::EINTR);
        }
        let tcp = self.tcp(id).expect("is open");
        if tcp.readable()? == 0 {
            return Ok(0);
        }
        let count = tcp.copy_unread(buf);
        tcp.unread.drain(..count);
        env.moved(Moved::Read { from: id.number(), bytes: &buf[..count], is_peek: false });
        if let Some(peer) = tcp.peer {
            self.pump(env, peer); // the window has grown
        }
        Ok(count)
    }

    pub(super) fn peek(
        &mut self,
        env: &dyn Env,
        fd: RawFd,
        buf: &mut [u8],
    ) -> Result<usize, Errno> {
        let (id, tcp) = self.socket_at(fd)?;
        tcp.readable()?;
        let count = tcp.copy_unread(buf);
        env.moved(Moved::Read { from: id.number(), bytes: &buf[..count], is_peek: true });
        Ok(count)
    }

    pub(super) fn tcp_write(
        &mut self,
        env: &dyn Env,
        id: FileId,
        parts: &[&[u8]],
    ) -> Result<usize, Errno> {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        if len > 0 && env.strikes(FaultKind::IoEintr) {
            return Err(Errno::EINTR);
        }
        let tcp = self.tcp(id).expect("is open");
        let mut count = tcp.writable(len)?;
        if count > 1 && env.strikes(FaultKind::ShortWrite) {
            count -= 1 + env.choose(ChoiceKind::WriteLen, count as u32 - 1) as usize;
            tcp.wants_room = true; // T5
        }
        if let Some(peer) = tcp.peer {
            env.moved(Moved::Written { to: peer.number(), parts, count });
        }
        let mut left = count;
        for part in parts {
            let n = part.len().min(left);
            tcp.out.extend(&part[..n]);
            left -= n;
        }
        if count > 0 {
            self.pump(env, id);
        }
        Ok(count)
    }
}

fn inet(addr: &SockAddr) -> Result<SocketAddr, Errno> {
    addr.as_inet().ok_or(Errno::EAFNOSUPPORT)
}
