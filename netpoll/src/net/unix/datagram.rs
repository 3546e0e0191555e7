//! A Unix socket for datagrams.

use std::io;
use std::net::Shutdown;
use std::os::unix::net::SocketAddr;
use std::path::Path;

use super::super::handle::{Handle, both_ways, handle, waits};
use super::super::options::take_error;
use super::{from_std, path, to_std};
use crate::platform::{Domain, SockAddr, SockType};
use crate::trace::Mode;
use crate::waiter::current_runtime;

/// A socket in the shape of [`std::os::unix::net::UnixDatagram`]: an operation that has to wait parks the
/// calling goroutine.
///
/// It is used through a shared reference, by as many goroutines as there are. No datagram is lost: a send
/// waits while the receiver's queue is full. Time limits are those of
/// [`TcpStream`](crate::net::TcpStream).
///
/// ```
/// use netpoll::net::UnixDatagram;
///
/// # fn main() -> std::io::Result<()> {
/// netpoll::run(|| {
///     let (one, other) = UnixDatagram::pair()?;
///     netpoll::go(move || one.send(b"ping"));
///     let mut buf = [0; 16];
///     let len = other.recv(&mut buf)?;
///     assert_eq!(&buf[..len], b"ping");
///     Ok(())
/// })?
/// # }
/// ```
pub struct UnixDatagram(Handle);

handle!(UnixDatagram, "socket");
both_ways!(impl [] UnixDatagram);
waits!(UnixDatagram, Read, Write);

impl UnixDatagram {
    /// Binds a socket to `path`, which must not exist.
    ///
    /// # Errors
    /// `InvalidInput` for a path that is too long or has a zero byte in it; what `bind(2)` returned;
    /// outside of a runtime.
    pub fn bind(path: impl AsRef<Path>) -> io::Result<UnixDatagram> {
        open(Some(self::path(path)?))
    }

    /// As [`bind`](UnixDatagram::bind), to an address.
    ///
    /// # Errors
    /// What `bind(2)` returned; outside of a runtime.
    pub fn bind_addr(addr: &SocketAddr) -> io::Result<UnixDatagram> {
        open(Some(from_std(addr)))
    }

    /// A socket without an address, to which nobody can send unless it is connected.
    ///
    /// # Errors
    /// As `socket(2)`; outside of a runtime.
    pub fn unbound() -> io::Result<UnixDatagram> {
        open(None)
    }

    /// Two sockets that are connected to each other.
    ///
    /// # Errors
    /// As `socketpair(2)`; outside of a runtime.
    pub fn pair() -> io::Result<(UnixDatagram, UnixDatagram)> {
        let (one, other) = current_runtime()?.socketpair(SockType::Datagram)?;
        Ok((UnixDatagram::new(one), UnixDatagram::new(other)))
    }

    /// Connects to the socket at `path`: [`send`](UnixDatagram::send) sends there, and only what comes
    /// from there is received.
    ///
    /// # Errors
    /// `InvalidInput` for a path that is too long or has a zero byte in it; what `connect(2)` returned.
    pub fn connect(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.descriptor().connect(&self::path(path)?)
    }

    /// As [`connect`](UnixDatagram::connect), to an address.
    ///
    /// # Errors
    /// What `connect(2)` returned.
    pub fn connect_addr(&self, addr: &SocketAddr) -> io::Result<()> {
        self.descriptor().connect(&from_std(addr))
    }

    /// Receives a datagram, and says from where. What does not fit into `buf` is lost.
    ///
    /// # Errors
    /// `TimedOut` past the deadline; an error for which [`is_closed`](crate::net::is_closed) is true when
    /// the socket is closed; what `recvfrom(2)` returned.
    pub fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let (len, peer) = self.handle().starts(Mode::Read)?.recv_from(buf, false)?;
        Ok((len, to_std(peer)?))
    }

    /// As [`recv_from`](UnixDatagram::recv_from), leaving the datagram in the socket.
    ///
    /// # Errors
    /// As for receiving.
    pub fn peek_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let (len, peer) = self.handle().starts(Mode::Read)?.recv_from(buf, true)?;
        Ok((len, to_std(peer)?))
    }

    /// Receives a datagram. What does not fit into `buf` is lost.
    ///
    /// # Errors
    /// As [`recv_from`](UnixDatagram::recv_from).
    pub fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.handle().starts(Mode::Read)?.read(buf)
    }

    /// As [`recv`](UnixDatagram::recv), leaving the datagram in the socket.
    ///
    /// # Errors
    /// As for receiving.
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.handle().starts(Mode::Read)?.peek(buf)
    }

    /// Sends a datagram to the socket at `path`. While that has no room it waits; a socket that is not
    /// connected to it then looks again every few milliseconds, since the kernel does not tell.
    ///
    /// # Errors
    /// `TimedOut` past the deadline; an error for which [`is_closed`](crate::net::is_closed) is true when
    /// the socket is closed; `InvalidInput` for a path that is too long or has a zero byte in it; what
    /// `sendto(2)` returned.
    pub fn send_to(&self, buf: &[u8], path: impl AsRef<Path>) -> io::Result<usize> {
        let addr = self::path(path)?;
        self.handle().starts(Mode::Write)?.send_to(buf, &addr)
    }

    /// As [`send_to`](UnixDatagram::send_to), to an address.
    ///
    /// # Errors
    /// As for `send_to`.
    pub fn send_to_addr(&self, buf: &[u8], addr: &SocketAddr) -> io::Result<usize> {
        self.handle().starts(Mode::Write)?.send_to(buf, &from_std(addr))
    }

    /// Sends a datagram to the peer that the socket is connected to.
    ///
    /// # Errors
    /// As [`send_to`](UnixDatagram::send_to).
    pub fn send(&self, buf: &[u8]) -> io::Result<usize> {
        self.handle().starts(Mode::Write)?.write(buf)
    }

    /// Closes one direction, or both, keeping the descriptor.
    ///
    /// # Errors
    /// As `shutdown(2)`.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.descriptor().shutdown(how)
    }

    /// The address that it is bound to.
    ///
    /// # Errors
    /// As `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        to_std(Some(self.descriptor().local_addr()?))
    }

    /// The address that it is connected to.
    ///
    /// # Errors
    /// As `getpeername(2)`.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        to_std(Some(self.descriptor().peer_addr()?))
    }

    /// Takes the pending error of the socket (`SO_ERROR`).
    ///
    /// # Errors
    /// As `getsockopt(2)`.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        take_error(self.descriptor())
    }
}

fn open(addr: Option<SockAddr>) -> io::Result<UnixDatagram> {
    current_runtime()?.datagram(Domain::Unix, addr).map(UnixDatagram::new)
}
