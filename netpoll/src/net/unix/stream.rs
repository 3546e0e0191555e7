//! A connection between Unix sockets.

use std::io;
use std::net::Shutdown;
use std::os::unix::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use super::super::handle::{Handle, both_ways, handle, reads, waits, writes};
use super::super::options::take_error;
use super::super::stream::connect_deadline;
use super::{from_std, path, to_std};
use crate::platform::SockType;
use crate::trace::Mode;
use crate::waiter::current_runtime;

/// A connection in the shape of [`std::os::unix::net::UnixStream`]: reads and writes that have to wait
/// park the calling goroutine.
///
/// All that is said of [`TcpStream`](crate::net::TcpStream) holds here: shared use, closing and time
/// limits.
///
/// ```
/// use std::io::{Read, Write};
/// use netpoll::net::UnixStream;
///
/// # fn main() -> std::io::Result<()> {
/// netpoll::run(|| {
///     let (mut ours, mut theirs) = UnixStream::pair()?;
///     netpoll::go(move || theirs.write_all(b"ping"));
///     let mut text = String::new();
///     ours.read_to_string(&mut text)?;
///     assert_eq!(text, "ping");
///     Ok(())
/// })?
/// # }
/// ```
pub struct UnixStream(Handle);

handle!(UnixStream, "connection");
both_ways!(impl [] UnixStream);
waits!(UnixStream, Read, Write);
reads!(UnixStream);
writes!(UnixStream);

impl UnixStream {
    /// Connects to the listener at `path`. It waits while the listener's queue is full, looking again
    /// every few milliseconds, since the kernel does not tell.
    ///
    /// # Errors
    /// `InvalidInput` for a path that is too long or has a zero byte in it; what `connect(2)` returned;
    /// outside of a runtime.
    pub fn connect(path: impl AsRef<Path>) -> io::Result<UnixStream> {
        let runtime = current_runtime()?;
        runtime.connect(self::path(path)?, None).map(UnixStream::new)
    }

    /// As [`connect`](UnixStream::connect), to an address.
    ///
    /// # Errors
    /// What `connect(2)` returned; outside of a runtime.
    pub fn connect_addr(addr: &SocketAddr) -> io::Result<UnixStream> {
        current_runtime()?.connect(from_std(addr), None).map(UnixStream::new)
    }

    /// As [`connect`](UnixStream::connect), within `timeout`.
    ///
    /// # Errors
    /// `TimedOut` when the time is up, `InvalidInput` for a timeout of zero; and as for `connect`.
    pub fn connect_timeout(path: impl AsRef<Path>, timeout: Duration) -> io::Result<UnixStream> {
        let runtime = current_runtime()?;
        let deadline = connect_deadline(runtime.now(), timeout)?;
        runtime.connect(self::path(path)?, Some(deadline)).map(UnixStream::new)
    }

    /// Two connections that are each other's peer.
    ///
    /// # Errors
    /// As `socketpair(2)`; outside of a runtime.
    pub fn pair() -> io::Result<(UnixStream, UnixStream)> {
        let (one, other) = current_runtime()?.socketpair(SockType::Stream)?;
        Ok((UnixStream::new(one), UnixStream::new(other)))
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

    /// The address of this end, which is unnamed unless it is a listener's.
    ///
    /// # Errors
    /// As `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        to_std(Some(self.descriptor().local_addr()?))
    }

    /// The address of the other end.
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
