//! A TCP socket that listens.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

use super::addr::{ToSocketAddrs, try_each};
use super::stream::{TcpStream, inet, set_ttl, take_error, ttl};
use crate::ops::{Deadlines, Descriptor};
use crate::time::Instant;
use crate::waiter::current_runtime;

/// How many connections may wait to be accepted. The kernel lowers it to its own limit
/// (`net.core.somaxconn`), so this asks for as many as there may be.
const BACKLOG: i32 = 4096;

/// A listening TCP socket in the shape of [`std::net::TcpListener`]: `accept` parks the calling
/// goroutine.
///
/// Several goroutines may accept at a time; connections go to one of them each. Dropping the last
/// handle closes the socket.
pub struct TcpListener(Arc<dyn Descriptor>);

impl TcpListener {
    /// Listens on the first of `addrs` that can be bound. Port 0 takes a free one.
    ///
    /// # Errors
    /// That of the last address tried; outside of a runtime.
    pub fn bind(addrs: impl ToSocketAddrs) -> io::Result<TcpListener> {
        let runtime = current_runtime()?;
        try_each(addrs, |addr| runtime.listen(addr.into(), BACKLOG).map(TcpListener))
    }

    /// The listener of a descriptor.
    pub(crate) fn new(descriptor: Arc<dyn Descriptor>) -> TcpListener {
        TcpListener(descriptor)
    }

    /// Takes the next connection, waiting for one.
    ///
    /// # Errors
    /// `TimedOut` past the deadline; an error for which [`is_closed`](super::is_closed) is true when the
    /// listener is closed; what `accept(2)` returned. When descriptors or memory are short, see
    /// [`accept_retrying`](TcpListener::accept_retrying).
    pub fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (descriptor, peer) = self.0.accept()?;
        Ok((TcpStream::new(descriptor), inet(peer)?))
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
        let at = at.map(Instant::as_nanos);
        self.0.set_deadline(Deadlines::Read, at)
    }

    /// Another handle to the same socket.
    ///
    /// # Errors
    /// None; the signature is that of `std`.
    pub fn try_clone(&self) -> io::Result<TcpListener> {
        Ok(TcpListener(Arc::clone(&self.0)))
    }

    /// Closes the socket for all handles: whoever waits in `accept` gets an error for which
    /// [`is_closed`](super::is_closed) is true. Returns when the descriptor's number is free.
    ///
    /// # Errors
    /// The closed error when it was closed before.
    pub fn close(&self) -> io::Result<()> {
        self.0.close()
    }

    /// The address that it listens on.
    ///
    /// # Errors
    /// As `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        inet(self.0.local_addr()?)
    }

    /// The time to live of packets sent (`IP_TTL`).
    ///
    /// # Errors
    /// As `getsockopt(2)`.
    pub fn ttl(&self) -> io::Result<u32> {
        ttl(&*self.0)
    }

    /// Sets the time to live of packets sent (`IP_TTL`).
    ///
    /// # Errors
    /// As `setsockopt(2)`.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        set_ttl(&*self.0, ttl)
    }

    /// Takes the pending error of the socket (`SO_ERROR`).
    ///
    /// # Errors
    /// As `getsockopt(2)`.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        take_error(&*self.0)
    }

    pub(super) fn descriptor(&self) -> &dyn Descriptor {
        &*self.0
    }
}

/// As for [`TcpStream`], there is no `AsFd`.
impl AsRawFd for TcpListener {
    fn as_raw_fd(&self) -> RawFd {
        self.0.raw_fd()
    }
}

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fd = self.as_raw_fd();
        f.debug_struct("TcpListener").field("fd", &fd).finish()
    }
}

/// The connections of a listener: see [`TcpListener::incoming`].
#[derive(Debug)]
pub struct Incoming<'a>(&'a TcpListener);

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
