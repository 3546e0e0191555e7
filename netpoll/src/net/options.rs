//! Socket options and addresses, of whatever socket has them.

use std::io;
use std::net::SocketAddr;

use crate::ops::Descriptor;
use crate::platform::SockAddr;

/// An option that is on or off.
pub(super) fn flag(descriptor: &dyn Descriptor, level: i32, name: i32) -> io::Result<bool> {
    Ok(descriptor.getsockopt(level, name)? != 0)
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
