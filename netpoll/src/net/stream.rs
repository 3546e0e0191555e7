//! A TCP connection.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use super::addr::{ToSocketAddrs, try_each};
use super::timeouts::Timeouts;
use crate::ops::{Deadlines, Descriptor};
use crate::platform::SockAddr;
use crate::time::{Instant, saturating_add};
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
pub struct TcpStream(Arc<Inner>);

/// What clones of a stream share.
struct Inner {
    descriptor: Arc<dyn Descriptor>,
    timeouts: Timeouts,
}

impl TcpStream {
    /// Connects to the first of `addrs` that answers.
    ///
    /// # Errors
    /// That of the last address tried; outside of a runtime.
    pub fn connect(addrs: impl ToSocketAddrs) -> io::Result<TcpStream> {
        let runtime = current_runtime()?;
        try_each(addrs, |addr| {
            let descriptor = runtime.connect(addr.into(), None)?;
            Ok(TcpStream::new(descriptor))
        })
    }

    /// Connects to `addr` within `timeout`.
    ///
    /// # Errors
    /// `TimedOut` when the time is up, `InvalidInput` for a timeout of zero; outside of a runtime.
    pub fn connect_timeout(addr: &SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
        let runtime = current_runtime()?;
        if timeout.is_zero() {
            let text = "cannot connect within zero time";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let deadline = saturating_add(runtime.now(), timeout);
        let descriptor = runtime.connect((*addr).into(), Some(deadline))?;
        Ok(TcpStream::new(descriptor))
    }

    /// The stream of a descriptor that nobody else has.
    pub(crate) fn new(descriptor: Arc<dyn Descriptor>) -> TcpStream {
        TcpStream(Arc::new(Inner { descriptor, timeouts: Timeouts::new() }))
    }

    /// Another handle to the same connection. It shares everything, deadlines and timeouts included, and
    /// closing one closes both.
    ///
    /// # Errors
    /// None; the signature is that of `std`.
    pub fn try_clone(&self) -> io::Result<TcpStream> {
        Ok(TcpStream(Arc::clone(&self.0)))
    }

    /// Closes the connection for all handles: whoever waits in an operation gets an error for which
    /// [`is_closed`](super::is_closed) is true. Returns when the descriptor's number is free.
    ///
    /// # Errors
    /// The closed error when it was closed before.
    pub fn close(&self) -> io::Result<()> {
        self.descriptor().close()
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
        self.starts(Mode::Read)?.peek(buf)
    }

    /// Waits until a read would find something: data, the end of the stream or an error.
    ///
    /// # Errors
    /// As for reading.
    pub fn wait_readable(&self) -> io::Result<()> {
        self.starts(Mode::Read)?.wait(Mode::Read)
    }

    /// Waits until a write would find room, or an error.
    ///
    /// # Errors
    /// As for writing.
    pub fn wait_writable(&self) -> io::Result<()> {
        self.starts(Mode::Write)?.wait(Mode::Write)
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

    /// Sets the time until which reads and writes may take, those that wait now included; `None` for
    /// ever.
    ///
    /// # Errors
    /// The closed error.
    pub fn set_deadline(&self, at: Option<Instant>) -> io::Result<()> {
        self.set_deadlines(Deadlines::Both, at)
    }

    /// As [`set_deadline`](TcpStream::set_deadline), of reads.
    ///
    /// # Errors
    /// The closed error.
    pub fn set_read_deadline(&self, at: Option<Instant>) -> io::Result<()> {
        self.set_deadlines(Deadlines::Read, at)
    }

    /// As [`set_deadline`](TcpStream::set_deadline), of writes.
    ///
    /// # Errors
    /// The closed error.
    pub fn set_write_deadline(&self, at: Option<Instant>) -> io::Result<()> {
        self.set_deadlines(Deadlines::Write, at)
    }

    /// Sets how long each read may take that starts from now on; `None` for ever.
    ///
    /// # Errors
    /// `InvalidInput` for zero; the closed error.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        let timeouts = &self.0.timeouts;
        timeouts.set_timeout(self.descriptor(), Mode::Read, timeout)
    }

    /// Sets how long each write may take that starts from now on; `None` for ever.
    ///
    /// # Errors
    /// `InvalidInput` for zero; the closed error.
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        let timeouts = &self.0.timeouts;
        timeouts.set_timeout(self.descriptor(), Mode::Write, timeout)
    }

    /// How long each read may take.
    ///
    /// # Errors
    /// None; the signature is that of `std`.
    pub fn read_timeout(&self) -> io::Result<Option<Duration>> {
        Ok(self.0.timeouts.timeout(Mode::Read))
    }

    /// How long each write may take.
    ///
    /// # Errors
    /// None; the signature is that of `std`.
    pub fn write_timeout(&self) -> io::Result<Option<Duration>> {
        Ok(self.0.timeouts.timeout(Mode::Write))
    }

    /// Whether small segments are sent at once (`TCP_NODELAY`).
    ///
    /// # Errors
    /// As `getsockopt(2)`.
    pub fn nodelay(&self) -> io::Result<bool> {
        let value = self.descriptor();
        let value = value.getsockopt(libc::IPPROTO_TCP, libc::TCP_NODELAY)?;
        Ok(value != 0)
    }

    /// Sets whether small segments are sent at once (`TCP_NODELAY`).
    ///
    /// # Errors
    /// As `setsockopt(2)`.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        let value = i32::from(nodelay);
        let descriptor = self.descriptor();
        descriptor.setsockopt(libc::IPPROTO_TCP, libc::TCP_NODELAY, value)
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

    pub(super) fn descriptor(&self) -> &dyn Descriptor {
        &*self.0.descriptor
    }

    /// The descriptor, for an operation that starts now.
    #[inline]
    fn starts(&self, mode: Mode) -> io::Result<&dyn Descriptor> {
        let descriptor = self.descriptor();
        self.0.timeouts.start(descriptor, mode)?;
        Ok(descriptor)
    }

    fn set_deadlines(&self, which: Deadlines, at: Option<Instant>) -> io::Result<()> {
        let at = at.map(Instant::as_nanos);
        self.0.timeouts.set_deadline(self.descriptor(), which, at)
    }
}

/// `IP_TTL` of any socket.
pub(super) fn ttl(descriptor: &dyn Descriptor) -> io::Result<u32> {
    let value = descriptor.getsockopt(libc::IPPROTO_IP, libc::IP_TTL)?;
    u32::try_from(value).map_err(io::Error::other)
}

/// Sets `IP_TTL` of any socket.
pub(super) fn set_ttl(descriptor: &dyn Descriptor, ttl: u32) -> io::Result<()> {
    let value = i32::try_from(ttl);
    let value = value.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    descriptor.setsockopt(libc::IPPROTO_IP, libc::IP_TTL, value)
}

/// `SO_ERROR` of any socket.
pub(super) fn take_error(descriptor: &dyn Descriptor) -> io::Result<Option<io::Error>> {
    let errno = descriptor.getsockopt(libc::SOL_SOCKET, libc::SO_ERROR)?;
    Ok((errno != 0).then(|| io::Error::from_raw_os_error(errno)))
}

/// The address of a socket that can only have an internet address.
pub(super) fn inet(addr: SockAddr) -> io::Result<SocketAddr> {
    let not_inet = || io::Error::new(io::ErrorKind::InvalidData, "not an internet address");
    addr.as_inet().ok_or_else(not_inet)
}

impl Read for &TcpStream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.starts(Mode::Read)?.read(buf)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.starts(Mode::Read)?.readv(bufs)
    }
}

impl Read for TcpStream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buf)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (&*self).read_vectored(bufs)
    }
}

impl Write for &TcpStream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.starts(Mode::Write)?.write(buf)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.starts(Mode::Write)?.writev(bufs)
    }

    /// One operation: nobody else's write comes between its parts.
    fn write_all(&mut self, buf: &[u8]) -> io::Result<()> {
        self.starts(Mode::Write)?.write_all(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for TcpStream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&*self).write(buf)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self).write_vectored(bufs)
    }

    fn write_all(&mut self, buf: &[u8]) -> io::Result<()> {
        (&*self).write_all(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// There is no `AsFd`: any handle may close the descriptor while another is borrowed, and then the
/// number may be somebody else's. For the same reason this number is good only for as long as the
/// caller knows that nobody closes.
impl AsRawFd for TcpStream {
    fn as_raw_fd(&self) -> RawFd {
        self.descriptor().raw_fd()
    }
}

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fd = self.as_raw_fd();
        f.debug_struct("TcpStream").field("fd", &fd).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::FakeDescriptor;
    use super::*;

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
