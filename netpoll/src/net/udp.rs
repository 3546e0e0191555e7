//! A UDP socket.

use std::io;
use std::net::SocketAddr;

use super::addr::{ToSocketAddrs, try_each};
use super::handle::{Handle, both_ways, handle, waits};
use super::options::{flag, inet, set_ttl, take_error, ttl};
use crate::platform::Domain;
use crate::trace::Mode;
use crate::waiter::current_runtime;

/// A UDP socket in the shape of [`std::net::UdpSocket`]: an operation that has to wait parks the calling
/// goroutine.
///
/// It is used through a shared reference, by as many goroutines as there are. Receives come one after the
/// other, each with one whole datagram, and so do sends. Dropping the last handle closes the socket.
/// Time limits are those of [`TcpStream`](super::TcpStream).
///
/// Multicast groups are joined before the socket gets here: join on a socket of `std` and pass it to
/// [`from_std`](UdpSocket::from_std).
///
/// ```
/// use netpoll::net::UdpSocket;
///
/// # fn main() -> std::io::Result<()> {
/// netpoll::run(|| {
///     let server = UdpSocket::bind("127.0.0.1:0")?;
///     let addr = server.local_addr()?;
///     netpoll::go(move || -> std::io::Result<()> {
///         let mut buf = [0; 1500];
///         loop {
///             let (len, peer) = server.recv_from(&mut buf)?;
///             server.send_to(&buf[..len], peer)?;
///         }
///     });
///     let client = UdpSocket::bind("127.0.0.1:0")?;
///     client.connect(addr)?;
///     client.send(b"ping")?;
///     let mut buf = [0; 16];
///     let len = client.recv(&mut buf)?;
///     assert_eq!(&buf[..len], b"ping");
///     Ok(())
/// })?
/// # }
/// ```
pub struct UdpSocket(Handle);

handle!(UdpSocket, "socket");
both_ways!(impl [] UdpSocket);
waits!(UdpSocket, Read, Write);

impl UdpSocket {
    /// Binds a socket to the first of `addrs` that can be bound. Port 0 takes a free one.
    ///
    /// # Errors
    /// That of the last address tried; outside of a runtime.
    pub fn bind(addrs: impl ToSocketAddrs) -> io::Result<UdpSocket> {
        let runtime = current_runtime()?;
        try_each(addrs, |addr| {
            runtime.datagram(Domain::of(&addr), Some(addr.into())).map(UdpSocket::new)
        })
    }

    /// Connects the socket to the first of `addrs` that it can be connected to: [`send`](UdpSocket::send)
    /// sends there, only what comes from there is received, and that nobody listens there becomes an
    /// error of a later operation.
    ///
    /// # Errors
    /// That of the last address tried.
    pub fn connect(&self, addrs: impl ToSocketAddrs) -> io::Result<()> {
        try_each(addrs, |addr| self.descriptor().connect(&addr.into()))
    }

    /// Receives a datagram, and says from where. What does not fit into `buf` is lost.
    ///
    /// # Errors
    /// `TimedOut` past the deadline; an error for which [`is_closed`](super::is_closed) is true when the
    /// socket is closed; what `recvfrom(2)` returned.
    pub fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        received(self.handle().starts(Mode::Read)?.recv_from(buf, false)?)
    }

    /// As [`recv_from`](UdpSocket::recv_from), leaving the datagram in the socket.
    ///
    /// # Errors
    /// As for receiving.
    pub fn peek_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        received(self.handle().starts(Mode::Read)?.recv_from(buf, true)?)
    }

    /// Sends a datagram to the first of `addrs`.
    ///
    /// # Errors
    /// `TimedOut` past the deadline; an error for which [`is_closed`](super::is_closed) is true when the
    /// socket is closed; what `sendto(2)` returned.
    pub fn send_to(&self, buf: &[u8], addrs: impl ToSocketAddrs) -> io::Result<usize> {
        let Some(addr) = addrs.to_socket_addrs()?.next() else {
            let text = "no addresses to send data to";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        };
        self.handle().starts(Mode::Write)?.send_to(buf, &addr.into())
    }

    /// Receives a datagram, from the peer if the socket is connected. What does not fit into `buf` is
    /// lost.
    ///
    /// # Errors
    /// As [`recv_from`](UdpSocket::recv_from).
    pub fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.handle().starts(Mode::Read)?.read(buf)
    }

    /// As [`recv`](UdpSocket::recv), leaving the datagram in the socket.
    ///
    /// # Errors
    /// As for receiving.
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.handle().starts(Mode::Read)?.peek(buf)
    }

    /// Sends a datagram to the peer that the socket is connected to.
    ///
    /// # Errors
    /// As [`send_to`](UdpSocket::send_to).
    pub fn send(&self, buf: &[u8]) -> io::Result<usize> {
        self.handle().starts(Mode::Write)?.write(buf)
    }

    /// The address that it is bound to.
    ///
    /// # Errors
    /// As `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        inet(self.descriptor().local_addr()?)
    }

    /// The address that it is connected to.
    ///
    /// # Errors
    /// As `getpeername(2)`.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        inet(self.descriptor().peer_addr()?)
    }

    /// Whether it may send to a broadcast address (`SO_BROADCAST`).
    ///
    /// # Errors
    /// As `getsockopt(2)`.
    pub fn broadcast(&self) -> io::Result<bool> {
        flag(self.descriptor(), libc::SOL_SOCKET, libc::SO_BROADCAST)
    }

    /// Sets whether it may send to a broadcast address (`SO_BROADCAST`).
    ///
    /// # Errors
    /// As `setsockopt(2)`.
    pub fn set_broadcast(&self, broadcast: bool) -> io::Result<()> {
        let value = i32::from(broadcast);
        self.descriptor().setsockopt(libc::SOL_SOCKET, libc::SO_BROADCAST, value)
    }

    /// The time to live of packets sent (`IP_TTL`).
    ///
    /// # Errors
    /// As `getsockopt(2)`.
    pub fn ttl(&self) -> io::Result<u32> {
        ttl(self.descriptor())
    }

    /// Sets the time to live of packets sent (`IP_TTL`).
    ///
    /// # Errors
    /// As `setsockopt(2)`.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        set_ttl(self.descriptor(), ttl)
    }

    /// Takes the pending error of the socket (`SO_ERROR`).
    ///
    /// # Errors
    /// As `getsockopt(2)`.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        take_error(self.descriptor())
    }
}

/// A datagram of a socket on which every sender has an internet address.
fn received(
    (len, peer): (usize, Option<crate::platform::SockAddr>),
) -> io::Result<(usize, SocketAddr)> {
    let no_sender = || io::Error::new(io::ErrorKind::InvalidData, "a datagram without a sender");
    Ok((len, inet(peer.ok_or_else(no_sender)?)?))
}
