//! What a trace says of a system call beside its name and descriptor: which argument, and which result.
//!
//! The recorded kernel of production and the simulated one say the same, so that the one's traces can be
//! held against the other.

use crate::platform::{Domain, RawFd, SockAddr, SockType};

/// The argument of `socket`: the kind of socket.
pub const INET_STREAM: i64 = 0;
/// See [`INET_STREAM`].
pub const INET6_STREAM: i64 = 1;

/// The argument of `socket`.
#[must_use]
pub const fn socket_kind(domain: Domain, kind: SockType) -> i64 {
    match (domain, kind) {
        (Domain::Inet, SockType::Stream) => INET_STREAM,
        (Domain::Inet6, SockType::Stream) => INET6_STREAM,
        (Domain::Unix, SockType::Stream) => 2,
        (Domain::Inet, SockType::Datagram) => 3,
        (Domain::Inet6, SockType::Datagram) => 4,
        (Domain::Unix, SockType::Datagram) => 5,
    }
}

/// The port of an address, which is all of it that a trace has; 0 for an address without one.
#[must_use]
pub fn port(addr: &SockAddr) -> i64 {
    addr.as_inet().map_or(0, |addr| addr.port().into())
}

/// The result of a call that returns nothing.
#[must_use]
pub fn nothing(_: &()) -> i64 {
    0
}

/// The result of a call that returns a count.
#[must_use]
pub fn count(count: &usize) -> i64 {
    *count as i64
}

/// The result of a call that returns a descriptor.
#[must_use]
pub fn number(fd: &RawFd) -> i64 {
    (*fd).into()
}
