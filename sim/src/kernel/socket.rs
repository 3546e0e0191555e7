//! The socket calls: to which kind of socket each goes, and what is common to all kinds.

use netpoll::platform::{Domain, Errno, RawFd, Shutdown, SockAddr, SockType};

use super::env::Env;
use super::machine::{FileId, Machine, Object};
use super::tcp::Tcp;
use super::udp::Udp;
use super::unix::Unix;
use crate::faults::FaultKind;

/// A socket, by kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Socket {
    Tcp,
    Udp,
    UnixStream,
    UnixDatagram,
}

impl Machine {
    /// What kind of socket a number refers to.
    pub(super) fn socket_at(&self, fd: RawFd) -> Result<(FileId, Socket), Errno> {
        let id = self.lookup(fd)?;
        self.socket_kind(id).map(|kind| (id, kind)).ok_or(Errno::ENOTSOCK)
    }

    /// What kind of socket a file is, if it is one.
    pub(super) fn socket_kind(&self, id: FileId) -> Option<Socket> {
        match &self.file(id).object {
            Object::Tcp(_) => Some(Socket::Tcp),
            Object::Udp(_) => Some(Socket::Udp),
            Object::Unix(unix) => Some(match unix.kind {
                SockType::Stream => Socket::UnixStream,
                SockType::Datagram => Socket::UnixDatagram,
            }),
            _ => None,
        }
    }

    /// Whether it is a socket.
    pub(super) fn is_socket(&self, id: FileId) -> bool {
        self.socket_kind(id).is_some()
    }

    pub(super) fn socket(
        &mut self,
        env: &Env<'_>,
        domain: Domain,
        kind: SockType,
    ) -> Result<RawFd, Errno> {
        Machine::shortage(env, &[FaultKind::NoFile, FaultKind::NoMemory, FaultKind::NoBuffers])?;
        self.check_number_free()?;
        Machine::shortage(env, &[FaultKind::NoDescriptor])?;
        let file = self.add_file(match (domain, kind) {
            (Domain::Unix, kind) => Object::Unix(Box::new(Unix::new(kind, self.config))),
            (_, SockType::Stream) => Object::Tcp(Box::new(Tcp::new(domain, self.config))),
            (_, SockType::Datagram) => Object::Udp(Box::new(Udp::new(domain, self.config))),
        });
        Ok(self.number(file))
    }

    pub(super) fn socketpair(
        &mut self,
        env: &Env<'_>,
        domain: Domain,
        kind: SockType,
    ) -> Result<(RawFd, RawFd), Errno> {
        self.check_two_numbers_free()?;
        Machine::shortage(env, &[FaultKind::NoDescriptor, FaultKind::NoFile, FaultKind::NoMemory])?;
        if domain != Domain::Unix {
            return Err(Errno::EOPNOTSUPP);
        }
        let (a, b) = self.unix_pair(kind);
        Ok((self.number(a), self.number(b)))
    }

    pub(super) fn bind(&mut self, env: &Env<'_>, fd: RawFd, addr: &SockAddr) -> Result<(), Errno> {
        match self.socket_at(fd)? {
            (id, Socket::Tcp) => self.tcp_bind(env, id, addr),
            (id, Socket::Udp) => self.udp_bind(env, id, addr),
            (id, Socket::UnixStream | Socket::UnixDatagram) => self.unix_bind(id, addr),
        }
    }

    pub(super) fn listen(&mut self, env: &Env<'_>, fd: RawFd, backlog: i32) -> Result<(), Errno> {
        match self.socket_at(fd)? {
            (id, Socket::Tcp) => self.tcp_listen(env, id, backlog),
            (id, Socket::UnixStream) => self.unix_listen(id, backlog),
            (_, Socket::Udp | Socket::UnixDatagram) => Err(Errno::EOPNOTSUPP),
        }
    }

    pub(super) fn accept(&mut self, env: &Env<'_>, fd: RawFd) -> Result<(RawFd, SockAddr), Errno> {
        self.lookup(fd)?;
        self.check_number_free()?;
        Machine::shortage(env, &[FaultKind::NoDescriptor])?;
        let (id, kind) = self.socket_at(fd)?;
        Machine::shortage(env, &[FaultKind::NoFile, FaultKind::NoMemory, FaultKind::NoBuffers])?;
        interruptible(env)?;
        match kind {
            Socket::Tcp => {
                let child = self.tcp_accept(env, id)?;
                let remote = self.tcp_open(child).remote.expect("has a peer");
                Ok((self.number(child), remote.into()))
            }
            Socket::UnixStream => {
                let child = self.unix_accept(id)?;
                let unix = self.unix_ref(child).expect("unaccepted");
                let name = self.unix_peer_name(unix).expect("has a peer");
                Ok((self.number(child), name.into()))
            }
            Socket::Udp | Socket::UnixDatagram => Err(Errno::EOPNOTSUPP),
        }
    }

    pub(super) fn connect(
        &mut self,
        env: &Env<'_>,
        fd: RawFd,
        addr: &SockAddr,
    ) -> Result<(), Errno> {
        match self.socket_at(fd)? {
            (id, Socket::Tcp) => self.tcp_connect(env, id, addr),
            (id, Socket::Udp) => self.udp_connect(env, id, addr),
            (id, Socket::UnixStream) => self.unix_stream_connect(env, id, addr),
            (id, Socket::UnixDatagram) => self.unix_datagram_connect(env, id, addr),
        }
    }

    pub(super) fn getsockname(&self, fd: RawFd) -> Result<SockAddr, Errno> {
        let (id, _) = self.socket_at(fd)?;
        Ok(match &self.file(id).object {
            Object::Tcp(tcp) => tcp.local.into(),
            Object::Udp(udp) => udp.local.into(),
            Object::Unix(unix) => unix.name.into(),
            other => unreachable!("{other:?} is no socket"),
        })
    }

    pub(super) fn getpeername(&self, fd: RawFd) -> Result<SockAddr, Errno> {
        let (id, _) = self.socket_at(fd)?;
        match &self.file(id).object {
            Object::Tcp(tcp) => tcp.peer_name().map(SockAddr::Inet),
            Object::Udp(udp) => udp.peer_name().map(SockAddr::Inet),
            Object::Unix(unix) => self.unix_peer_name(unix).map(SockAddr::Unix),
            other => unreachable!("{other:?} is no socket"),
        }
    }

    pub(super) fn shutdown(
        &mut self,
        env: &Env<'_>,
        fd: RawFd,
        how: Shutdown,
    ) -> Result<(), Errno> {
        let reading = how != Shutdown::Write;
        let writing = how != Shutdown::Read;
        match self.socket_at(fd)? {
            (id, Socket::Tcp) => self.tcp_shutdown(env, id, reading, writing),
            (id, Socket::Udp) => self.udp_shutdown(env, id, reading, writing),
            (id, Socket::UnixStream | Socket::UnixDatagram) => {
                self.unix_shutdown(env, id, reading, writing);
                Ok(())
            }
        }
    }

    /// `recvfrom`.
    pub(super) fn receive(
        &mut self,
        env: &Env<'_>,
        fd: RawFd,
        buf: &mut [u8],
        peek: bool,
    ) -> Result<(usize, Option<SockAddr>), Errno> {
        let (id, kind) = self.socket_at(fd)?;
        interruptible(env)?;
        self.receive_from(env, id, kind, buf, peek)
    }

    pub(super) fn receive_from(
        &mut self,
        env: &Env<'_>,
        id: FileId,
        kind: Socket,
        buf: &mut [u8],
        peek: bool,
    ) -> Result<(usize, Option<SockAddr>), Errno> {
        match kind {
            Socket::Tcp => self.tcp_read(env, id, buf, peek).map(|count| (count, None)),
            Socket::Udp => {
                let (count, sender) = self.udp_read(id, buf, peek)?;
                Ok((count, Some(sender)))
            }
            Socket::UnixStream => self.unix_stream_read(env, id, buf, peek),
            Socket::UnixDatagram => self.unix_datagram_read(env, id, buf, peek),
        }
    }

    /// `sendto`.
    pub(super) fn send(
        &mut self,
        env: &Env<'_>,
        fd: RawFd,
        parts: &[&[u8]],
        to: Option<&SockAddr>,
    ) -> Result<usize, Errno> {
        let (id, kind) = self.socket_at(fd)?;
        interruptible(env)?;
        self.send_to(env, id, kind, parts, to)
    }

    pub(super) fn send_to(
        &mut self,
        env: &Env<'_>,
        id: FileId,
        kind: Socket,
        parts: &[&[u8]],
        to: Option<&SockAddr>,
    ) -> Result<usize, Errno> {
        match kind {
            // Linux ignores the address.
            Socket::Tcp => self.tcp_write(env, id, parts),
            Socket::Udp => self.udp_write(env, id, parts, to),
            Socket::UnixStream => self.unix_stream_write(env, id, parts, to),
            Socket::UnixDatagram => self.unix_datagram_write(env, id, parts, to),
        }
    }
}

/// A signal comes before a call that could have waited has done anything.
pub(super) fn interruptible(env: &Env<'_>) -> Result<(), Errno> {
    if env.strikes(FaultKind::IoEintr) { Err(Errno::EINTR) } else { Ok(()) }
}
