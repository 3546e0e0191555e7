//! To and from `std`'s types, which is possible on the operating system's kernel only.

use std::io;
use std::net;
use std::sync::Arc;

use super::listener::TcpListener;
use super::stream::TcpStream;
use crate::ops::RuntimeOps;
use crate::waiter::current_runtime;

impl TcpStream {
    /// Takes over a connection of `std`, in the runtime of the caller. It becomes non-blocking, and so
    /// do its clones.
    ///
    /// # Errors
    /// Outside of a runtime, under a simulated kernel, or when it cannot be registered with the poller.
    /// The connection is closed then.
    pub fn from_std(stream: net::TcpStream) -> io::Result<TcpStream> {
        let runtime = real_runtime()?;
        stream.set_nonblocking(true)?;
        Ok(TcpStream::new(runtime.adopt(stream.into())?))
    }

    /// Gives the connection to `std`, in blocking mode. All handles are closed by it; operations that
    /// are going on are waited for.
    ///
    /// # Errors
    /// The closed error; under a simulated kernel.
    pub fn into_std(self) -> io::Result<net::TcpStream> {
        let stream = net::TcpStream::from(self.descriptor().take_fd()?);
        stream.set_nonblocking(false)?;
        Ok(stream)
    }
}

impl TcpListener {
    /// Takes over a listening socket of `std`, in the runtime of the caller. It becomes non-blocking,
    /// and so do its clones.
    ///
    /// # Errors
    /// As [`TcpStream::from_std`].
    pub fn from_std(listener: net::TcpListener) -> io::Result<TcpListener> {
        let runtime = real_runtime()?;
        listener.set_nonblocking(true)?;
        Ok(TcpListener::new(runtime.adopt(listener.into())?))
    }

    /// Gives the socket to `std`, in blocking mode. All handles are closed by it; operations that are
    /// going on are waited for.
    ///
    /// # Errors
    /// The closed error; under a simulated kernel.
    pub fn into_std(self) -> io::Result<net::TcpListener> {
        let listener = net::TcpListener::from(self.descriptor().take_fd()?);
        listener.set_nonblocking(false)?;
        Ok(listener)
    }
}

/// As [`TcpStream::from_std`].
impl TryFrom<net::TcpStream> for TcpStream {
    type Error = io::Error;

    fn try_from(stream: net::TcpStream) -> io::Result<TcpStream> {
        TcpStream::from_std(stream)
    }
}

/// As [`TcpListener::from_std`].
impl TryFrom<net::TcpListener> for TcpListener {
    type Error = io::Error;

    fn try_from(listener: net::TcpListener) -> io::Result<TcpListener> {
        TcpListener::from_std(listener)
    }
}

/// As [`TcpStream::into_std`].
impl TryFrom<TcpStream> for net::TcpStream {
    type Error = io::Error;

    fn try_from(stream: TcpStream) -> io::Result<net::TcpStream> {
        stream.into_std()
    }
}

/// As [`TcpListener::into_std`].
impl TryFrom<TcpListener> for net::TcpListener {
    type Error = io::Error;

    fn try_from(listener: TcpListener) -> io::Result<net::TcpListener> {
        listener.into_std()
    }
}

/// The caller's runtime, if its descriptors are the operating system's.
fn real_runtime() -> io::Result<Arc<dyn RuntimeOps>> {
    let runtime = current_runtime()?;
    if runtime.is_real() {
        return Ok(runtime);
    }
    let text = "a simulated kernel cannot take a descriptor of the operating system";
    Err(io::Error::new(io::ErrorKind::Unsupported, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outside_a_runtime_nothing_can_be_taken_over() {
        let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
        let error = TcpListener::try_from(listener).unwrap_err();
        assert!(error.to_string().contains("netpoll::run"), "{error}");
    }
}
