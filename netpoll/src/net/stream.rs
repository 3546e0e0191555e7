//! A TCP connection.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use super::addr::{ToSocketAddrs, try_each};
use super::handle::{Handle, both_ways, handle, reads, waits, writes};
use super::options::{flag, inet, set_ttl, take_error, ttl};
use crate::time::saturating_add;
use crate::trace::Mode;
use crate::waiter::current_runtime;

/// A TCP connection in the shape of [`std::net::TcpStream`]: reads and writes that have to wait park the
/// calling goroutine.
///
/// It can be read and written through a shared reference, by several goroutines at a time; operations of
/// one direction come one after the other. Dropping the last handle closes the connection.
///
/// # Time limits
///
/// [`set_deadline`](TcpStream::set_deadline) and its kin set absolute times, which also concern the
/// operations that wait now; a time in the past releases them. [`set_read_timeout`] and
/// [`set_write_timeout`] are `std`'s: each operation that starts afterwards may take that long, one
/// `write_all` counting as one operation. Where both apply the earlier wins. Either way the error is
/// [`TimedOut`](io::ErrorKind::TimedOut).
///
/// A direction has one limit for all who use it: an operation that starts under a timeout gives those
/// that are already waiting in the same direction as much time as itself.
///
/// [`set_read_timeout`]: TcpStream::set_read_timeout
/// [`set_write_timeout`]: TcpStream::set_write_timeout
pub struct TcpStream(Handle);

handle!(TcpStream, "connection");
both_ways!(impl [] TcpStream);
waits!(TcpStream, Read, Write);
reads!(TcpStream);
writes!(TcpStream);

impl TcpStream {
    /// Connects to the first of `addrs` that answers.
    ///
    /// # Errors
    /// That of the last address tried; outside of a runtime.
    pub fn connect(addrs: impl ToSocketAddrs) -> io::Result<TcpStream> {
        let runtime = current_runtime()?;
        try_each(addrs, |addr| runtime.connect(addr.into(), None).map(TcpStream::new))
    }

    /// Connects to `addr` within `timeout`.
    ///
    /// # Errors
    /// `TimedOut` when the time is up, `InvalidInput` for a timeout of zero; outside of a runtime.
    pub fn connect_timeout(addr: &SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
        let runtime = current_runtime()?;
        let deadline = connect_deadline(runtime.now(), timeout)?;
        runtime.connect((*addr).into(), Some(deadline)).map(TcpStream::new)
    }

    /// Closes one direction, or both, of the connection, keeping the descriptor.
    ///
    /// # Errors
    /// As `shutdown(2)`.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.descriptor().shutdown(how)
    }

    /// Reads without removing what is read from the stream.
    ///
    /// # Errors
    /// As for reading.
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.handle().starts(Mode::Read)?.peek(buf)
    }

    /// The address of this end.
    ///
    /// # Errors
    /// As `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        inet(self.descriptor().local_addr()?)
    }

    /// The address of the other end.
    ///
    /// # Errors
    /// As `getpeername(2)`.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        inet(self.descriptor().peer_addr()?)
    }

    /// Whether small segments are sent at once (`TCP_NODELAY`).
    ///
    /// # Errors
    /// As `getsockopt(2)`.
    pub fn nodelay(&self) -> io::Result<bool> {
        flag(self.descriptor(), libc::IPPROTO_TCP, libc::TCP_NODELAY)
    }

    /// Sets whether small segments are sent at once (`TCP_NODELAY`).
    ///
    /// # Errors
    /// As `setsockopt(2)`.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        let value = i32::from(nodelay);
        self.descriptor().setsockopt(libc::IPPROTO_TCP, libc::TCP_NODELAY, value)
    }

    /// Makes the close of the connection a reset (`SO_LINGER` with no time): what has not been sent is
    /// dropped, and the peer sees `ConnectionReset` instead of an end. Other times are not offered: with one,
    /// `close(2)` blocks the whole worker.
    ///
    /// # Errors
    /// As `setsockopt(2)`.
    pub fn set_zero_linger(&self) -> io::Result<()> {
        self.descriptor().set_zero_linger()
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

/// Until when a connect may take that starts now.
pub(super) fn connect_deadline(now: u64, timeout: Duration) -> io::Result<u64> {
    if timeout.is_zero() {
        let text = "cannot connect within zero time";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    Ok(saturating_add(now, timeout))
}

#[cfg(test)]
mod tests {
    use super::super::fake::FakeDescriptor;
    use super::*;
    use crate::ops::{Deadlines, Descriptor};
    use std::io::{Read as _, Write as _};
    use std::sync::Arc;

    #[test]
    fn reading_under_a_timeout_moves_the_read_deadline_only() {
        let descriptor = FakeDescriptor::new();
        let mut stream = TcpStream::new(Arc::clone(&descriptor) as Arc<dyn Descriptor>);
        let timeout = Some(Duration::from_nanos(5));
        stream.set_read_timeout(timeout).unwrap();
        let clone = stream.try_clone().unwrap();
        assert_eq!(clone.read_timeout().unwrap(), timeout, "clones share it");
        assert_eq!(clone.write_timeout().unwrap(), None);

        stream.write_all(b"ab").unwrap();
        assert_eq!((&clone).read(&mut [0; 3]).unwrap(), 3);
        assert_eq!(descriptor.deadlines(), [(Deadlines::Read, Some(1 + 5))]);
    }

    #[test]
    fn outside_a_runtime_connecting_says_how_to_start_one() {
        let addr = SocketAddr::from(([127, 0, 0, 1], 1));
        for error in [
            TcpStream::connect(addr).unwrap_err(),
            TcpStream::connect_timeout(&addr, Duration::from_secs(1)).unwrap_err(),
        ] {
            assert!(error.to_string().contains("netpoll::run"), "{error}");
        }
    }
}
