//! Unix sockets, in the shape of [`std::os::unix::net`].
//!
//! Addresses are `std`'s: paths, and on Linux abstract names. A path stays in the file system when its
//! socket is closed, as with `std`: who binds it again removes it first.

mod datagram;
mod listener;
mod stream;

use std::io;
use std::os::unix::net::SocketAddr;
use std::path::Path;

pub use datagram::UnixDatagram;
pub use listener::UnixListener;
pub use stream::UnixStream;

use crate::platform::{SockAddr, UnixAddr};

/// The address that a path names.
fn path(path: impl AsRef<Path>) -> io::Result<SockAddr> {
    Ok(UnixAddr::from_pathname(path)?.into())
}

/// The address that `std` means by this one.
fn from_std(addr: &SocketAddr) -> SockAddr {
    UnixAddr::from(addr).into()
}

/// The address of a socket that can only have a Unix address; none is unnamed.
fn to_std(addr: Option<SockAddr>) -> io::Result<SocketAddr> {
    let Some(addr) = addr else {
        return Ok(UnixAddr::UNNAMED.into());
    };
    let not_unix =
        || io::Error::new(io::ErrorKind::InvalidData, "not the address of a Unix socket");
    Ok(addr.as_unix().ok_or_else(not_unix)?.into())
}
