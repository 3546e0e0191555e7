//! The errors that are ours rather than the system's.

use std::error::Error;
use std::fmt;
use std::io::{self, ErrorKind};

/// The descriptor was closed before or during the operation.
#[derive(Debug)]
struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("use of closed network connection")
    }
}

impl Error for Closed {}

/// Whether an operation failed because its descriptor had been closed, by this handle or by a clone of
/// it, before the operation or while it waited.
///
/// It is how an accept loop sees that somebody wants it to end. The peer closing the connection is
/// another matter: that is the end of the stream, or `ConnectionReset`.
#[must_use]
pub fn is_closed(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Closed>())
}

/// The error of every operation on a closed descriptor.
///
/// The kind is `NotConnected`: no kind of `std` means "closed by ourselves", and this one makes no
/// library retry, as `Interrupted` and `WouldBlock` would, nor ignore it, as some do with `BrokenPipe`.
pub(crate) fn closed_error() -> io::Error {
    io::Error::new(ErrorKind::NotConnected, Closed)
}

/// The error of an operation whose deadline has passed.
///
/// It has no error number, unlike the `ETIMEDOUT` of a connection whose peer does not answer any more,
/// which has the same kind.
pub(crate) fn timeout_error() -> io::Error {
    io::Error::new(ErrorKind::TimedOut, "i/o timeout: the deadline has passed")
}

/// The error of waiting on a descriptor that the poller does not take, such as a regular file.
pub(crate) fn not_pollable_error() -> io::Error {
    let text = "not pollable: this kind of descriptor cannot be waited for";
    io::Error::new(ErrorKind::Unsupported, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_closed_error_is_closed() {
        let closed = closed_error();
        assert!(is_closed(&closed));
        assert_eq!(closed.to_string(), "use of closed network connection");
        assert_eq!(closed.kind(), ErrorKind::NotConnected);
        for other in [
            timeout_error(),
            not_pollable_error(),
            ErrorKind::NotConnected.into(),
            io::Error::from_raw_os_error(libc::ENOTCONN),
        ] {
            assert!(!is_closed(&other), "{other}");
        }
        assert_eq!(timeout_error().kind(), ErrorKind::TimedOut);
    }
}
