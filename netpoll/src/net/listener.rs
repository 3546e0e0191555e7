//! A TCP socket that listens.

use std::io;
use std::net::SocketAddr;

use super::addr::{ToSocketAddrs, try_each};
use super::handle::{Handle, handle};
use super::options::{inet, set_ttl, take_error, ttl};
use super::serve;
use super::stream::TcpStream;
use crate::ops::Deadlines;
use crate::time::Instant;
use crate::waiter::current_runtime;

/// How many connections may wait to be accepted. The kernel lowers it to its own limit
/// (`net.core.somaxconn`), so this asks for as many as there may be.
pub(super) const BACKLOG: i32 = 4096;

/// A listening TCP socket in the shape of [`std::net::TcpListener`]: `accept` parks the calling
/// goroutine.
///
/// Several goroutines may accept at a time; connections go to one of them each. Dropping the last
/// handle closes the socket.
pub struct TcpListener(Handle);

handle!(TcpListener, "socket");

impl TcpListener {
    /// Listens on the first of `addrs` that can be bound. Port 0 takes a free one.
    ///
    /// # Errors
    /// That of the last address tried; outside of a runtime.
    pub fn bind(addrs: impl ToSocketAddrs) -> io::Result<TcpListener> {
        let runtime = current_runtime()?;
        try_each(addrs, |addr| runtime.listen(addr.into(), BACKLOG).map(TcpListener::new))
    }

    /// Takes the next connection, waiting for one.
    ///
    /// # Errors
    /// `TimedOut` past the deadline; an error for which [`is_closed`](super::is_closed) is true when the
    /// listener is closed; what `accept(2)` returned. When descriptors or memory are short, see
    /// [`accept_retrying`](TcpListener::accept_retrying).
    pub fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (descriptor, peer) = self.descriptor().accept()?;
        Ok((TcpStream::new(descriptor), inet(peer)?))
    }

    /// As [`accept`](TcpListener::accept), but when descriptors or memory are short (`EMFILE`, `ENFILE`,
    /// `ENOBUFS`, `ENOMEM`) it says so on standard error, sleeps and tries again: 5 ms at first, doubling
    /// to 1 s.
    ///
    /// # Errors
    /// Those of `accept` that do not pass by themselves.
    pub fn accept_retrying(&self) -> io::Result<(TcpStream, SocketAddr)> {
        serve::accept_retrying(|| self.accept())
    }

    /// Accepts until the listener is closed and runs `handler` for each connection in a goroutine of its
    /// own, in the listener's runtime.
    ///
    /// Shortages are waited out as in [`accept_retrying`](TcpListener::accept_retrying). A connection for
    /// which no goroutine can be started is closed, and counts as one. A handler that panics ends its
    /// own connection only.
    ///
    /// # Errors
    /// Those of `accept` that do not pass by themselves. A closed listener is a success.
    pub fn serve<F>(&self, handler: F) -> io::Result<()>
    where
        F: Fn(TcpStream, SocketAddr) + Send + Sync + 'static,
    {
        let runtime = self.descriptor().runtime();
        serve::serve(&*runtime, || self.accept(), SocketAddr::to_string, handler)
    }

    /// The connections that come, one after the other, without end.
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming(self)
    }

    /// Sets the time until which `accept` may take, callers that wait now included; `None` for ever.
    ///
    /// # Errors
    /// The closed error.
    pub fn set_deadline(&self, at: Option<Instant>) -> io::Result<()> {
        self.handle().set_deadline(Deadlines::Read, at)
    }

    /// The address that it listens on.
    ///
    /// # Errors
    /// As `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        inet(self.descriptor().local_addr()?)
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

/// The connections of a listener: see [`TcpListener::incoming`].
#[derive(Debug)]
pub struct Incoming<'a, L = TcpListener>(pub(super) &'a L);

impl Iterator for Incoming<'_> {
    type Item = io::Result<TcpStream>;

    fn next(&mut self) -> Option<io::Result<TcpStream>> {
        Some(self.0.accept().map(|(stream, _)| stream))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outside_a_runtime_binding_says_how_to_start_one() {
        let error = TcpListener::bind("127.0.0.1:0").unwrap_err();
        assert!(error.to_string().contains("netpoll::run"), "{error}");
    }
}
