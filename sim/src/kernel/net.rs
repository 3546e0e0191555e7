//! Addresses and ports of the simulated loopback network.
//!
//! The machine has the loopback addresses and nothing else. Two simplifications against Linux: there
//! is no `TIME_WAIT`, and accepted connections do not hold their listener's port. Both differ only for
//! a listener without `SO_REUSEADDR`, which neither `std` nor netpoll makes.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use netpoll::platform::{Domain, Errno};

use super::machine::FileId;

/// Sizes and limits of the simulated network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetConfig {
    /// Bytes that a socket takes before the peer has acknowledged any.
    pub sndbuf: usize,
    /// Bytes that a socket holds for its reader.
    pub rcvbuf: usize,
    /// How many descriptor numbers the process may have (`RLIMIT_NOFILE`).
    pub fd_limit: usize,
}

impl Default for NetConfig {
    fn default() -> NetConfig {
        NetConfig { sndbuf: 64 * 1024, rcvbuf: 64 * 1024, fd_limit: 20_000 }
    }
}

/// The longest queue of connections that `listen` grants.
pub(super) const SOMAXCONN: i32 = 4096;

/// Linux's default range of ephemeral ports.
const EPHEMERAL: std::ops::RangeInclusive<u16> = 32_768..=60_999;

/// Which sockets hold which ports.
#[derive(Debug)]
pub(super) struct Ports {
    bound: BTreeMap<u16, Vec<(IpAddr, FileId)>>,
    next_ephemeral: u16,
}

impl Ports {
    pub(super) fn new() -> Ports {
        Ports { bound: BTreeMap::new(), next_ephemeral: *EPHEMERAL.start() }
    }

    /// The sockets bound to `port` whose address overlaps `ip`, oldest first.
    pub(super) fn overlapping(&self, port: u16, ip: IpAddr) -> impl Iterator<Item = FileId> {
        let bound = self.bound.get(&port).into_iter().flatten();
        bound.filter_map(move |&(other, file)| overlap(ip, other).then_some(file))
    }

    pub(super) fn bind(&mut self, file: FileId, addr: SocketAddr) {
        let bound = self.bound.entry(addr.port()).or_default();
        bound.push((addr.ip(), file));
    }

    pub(super) fn release(&mut self, file: FileId, port: u16) {
        if let Some(bound) = self.bound.get_mut(&port) {
            bound.retain(|&(_, other)| other != file);
            if bound.is_empty() {
                self.bound.remove(&port);
            }
        }
    }

    /// The next port that nobody holds at any address.
    pub(super) fn ephemeral(&mut self) -> Result<u16, Errno> {
        for _ in EPHEMERAL {
            let port = self.next_ephemeral;
            self.next_ephemeral =
                if port == *EPHEMERAL.end() { *EPHEMERAL.start() } else { port + 1 };
            if !self.bound.contains_key(&port) {
                return Ok(port);
            }
        }
        Err(Errno::EADDRINUSE)
    }
}

fn overlap(a: IpAddr, b: IpAddr) -> bool {
    a.is_ipv4() == b.is_ipv4() && (a == b || a.is_unspecified() || b.is_unspecified())
}

/// The address of a socket that is not bound.
pub(super) fn unspecified(domain: Domain) -> SocketAddr {
    let ip = match domain {
        Domain::Inet => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        Domain::Inet6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        Domain::Unix => unreachable!("a Unix socket has no port"),
    };
    SocketAddr::new(ip, 0)
}

/// Checks that `addr` is of the socket's family. Linux calls a short IPv6 address invalid, and a
/// foreign family of an IPv4 socket unsupported.
pub(super) fn check_family(domain: Domain, addr: SocketAddr) -> Result<(), Errno> {
    match (domain, Domain::of(&addr)) {
        (Domain::Inet, Domain::Inet6) => Err(Errno::EAFNOSUPPORT),
        (Domain::Inet6, Domain::Inet) => Err(Errno::EINVAL),
        _ => Ok(()),
    }
}

/// The destination that `connect` to `addr` means: the unspecified address is this host.
pub(super) fn destination(addr: SocketAddr) -> Result<SocketAddr, Errno> {
    let ip = match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip if ip.is_loopback() => ip,
        _ => return Err(Errno::ENETUNREACH),
    };
    Ok(SocketAddr::new(ip, addr.port()))
}
