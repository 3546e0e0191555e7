//! A Unix socket that listens.

use std::io;
use std::os::unix::net::SocketAddr;
use std::path::Path;

use super::super::handle::{Handle, handle};
use super::super::listener::{BACKLOG, Incoming};
use super::super::options::take_error;
use super::super::serve;
use super::{UnixStream, from_std, path, to_std};
use crate::ops::Deadlines;
use crate::time::Instant;
use crate::waiter::current_runtime;

/// A listening socket in the shape of [`std::os::unix::net::UnixListener`]: `accept` parks the calling
/// goroutine.
///
/// Several goroutines may accept at a time; connections go to one of them each. Dropping the last
/// handle closes the socket and leaves the path where it is.
///
/// ```
/// use std::io::{Read, Write};
/// use netpoll::net::{UnixListener, UnixStream};
///
/// # fn main() -> std::io::Result<()> {
/// # let folder = std::env::temp_dir().join(format!("netpoll-doc-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// # let path = folder.join("listener");
/// # let _ = std::fs::remove_file(&path);
/// netpoll::run(move || {
///     let listener = UnixListener::bind(&path)?;
///     netpoll::go(move || listener.serve(|mut stream, _peer| drop(stream.write_all(b"hello"))));
///     let mut text = String::new();
///     UnixStream::connect(&path)?.read_to_string(&mut text)?;
///     assert_eq!(text, "hello");
///     std::fs::remove_file(&path)
/// })?
/// # ?; std::fs::remove_dir(folder)
/// # }
/// ```
pub struct UnixListener(Handle);

handle!(UnixListener, "socket");

impl UnixListener {
    /// Listens at `path`, which must not exist.
    ///
    /// # Errors
    /// `InvalidInput` for a path that is too long or has a zero byte in it; what `bind(2)` returned,
    /// `AddrInUse` for a path that exists; outside of a runtime.
    pub fn bind(path: impl AsRef<Path>) -> io::Result<UnixListener> {
        current_runtime()?.listen(self::path(path)?, BACKLOG).map(UnixListener::new)
    }

    /// As [`bind`](UnixListener::bind), at an address.
    ///
    /// # Errors
    /// What `bind(2)` returned; outside of a runtime.
    pub fn bind_addr(addr: &SocketAddr) -> io::Result<UnixListener> {
        current_runtime()?.listen(from_std(addr), BACKLOG).map(UnixListener::new)
    }

    /// Takes the next connection, waiting for one.
    ///
    /// # Errors
    /// As [`TcpListener::accept`](crate::net::TcpListener::accept).
    pub fn accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
        let (descriptor, peer) = self.descriptor().accept()?;
        Ok((UnixStream::new(descriptor), to_std(Some(peer))?))
    }

    /// As [`accept`](UnixListener::accept), but waits a shortage of descriptors or memory out, as
    /// [`TcpListener::accept_retrying`](crate::net::TcpListener::accept_retrying) does.
    ///
    /// # Errors
    /// Those of `accept` that do not pass by themselves.
    pub fn accept_retrying(&self) -> io::Result<(UnixStream, SocketAddr)> {
        serve::accept_retrying(|| self.accept())
    }

    /// Accepts until the listener is closed and runs `handler` for each connection in a goroutine of its
    /// own: see [`TcpListener::serve`](crate::net::TcpListener::serve).
    ///
    /// # Errors
    /// Those of `accept` that do not pass by themselves. A closed listener is a success.
    pub fn serve<F>(&self, handler: F) -> io::Result<()>
    where
        F: Fn(UnixStream, SocketAddr) + Send + Sync + 'static,
    {
        let runtime = self.descriptor().runtime();
        serve::serve(&*runtime, || self.accept(), |peer| format!("{peer:?}"), handler)
    }

    /// The connections that come, one after the other, without end.
    pub fn incoming(&self) -> Incoming<'_, UnixListener> {
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
        to_std(Some(self.descriptor().local_addr()?))
    }

    /// Takes the pending error of the socket (`SO_ERROR`).
    ///
    /// # Errors
    /// As `getsockopt(2)`.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        take_error(self.descriptor())
    }
}

impl Iterator for Incoming<'_, UnixListener> {
    type Item = io::Result<UnixStream>;

    fn next(&mut self) -> Option<io::Result<UnixStream>> {
        Some(self.0.accept().map(|(stream, _)| stream))
    }
}
