//! Network errors that the runtime makes itself.

use std::io;

/// The error of an operation on a closed descriptor.
pub(crate) fn closed_error() -> io::Error {
    io::Error::new(
        io::ErrorKind::NotConnected,
        "use of closed network connection",
    )
}

/// The error of an operation past its deadline.
pub(crate) fn timeout_error() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "deadline passed")
}

/// The error of a wait for a file that cannot be polled.
pub(crate) fn not_pollable_error() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "the file cannot be polled")
}
