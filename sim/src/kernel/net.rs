//! Addresses and ports of the simulated loopback network.
//!
//! A host has the loopback addresses and one of its own, by which other hosts reach it. A simplification against Linux: a wildcard
//! socket of IPv6 does not take what is sent to IPv4 addresses (as if `IPV6_V6ONLY` were set).

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use netpoll::platform::{Domain, Errno, SockAddr};

use super::machine::{FileId, Machine};

/// Sizes and limits of the simulated kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetConfig {
    /// Bytes that a socket takes before the peer has acknowledged any.
    pub sndbuf: usize,
    /// Bytes that a socket holds for its reader.
    pub rcvbuf: usize,
    /// Pages of 4 KiB that a pipe holds.
    pub pipe_pages: usize,
    /// How many descriptor numbers the process may have (`RLIMIT_NOFILE`).
    pub fd_limit: usize,
}

impl Default for NetConfig {
    fn default() -> NetConfig {
        NetConfig { sndbuf: 64 * 1024, rcvbuf: 64 * 1024, pipe_pages: 16, fd_limit: 20_000 }
    }
}

/// The longest queue of connections that `listen` grants.
pub(super) const SOMAXCONN: i32 = 4096;

/// Linux's default range of ephemeral ports.
const EPHEMERAL: std::ops::RangeInclusive<u16> = 32_768..=60_999;

/// How long a closed connection keeps its port from those who do not say `SO_REUSEADDR`. As Linux.
const TIME_WAIT_NS: u64 = 60_000_000_000;

/// A connection that is over and whose last packets might still be under way.
#[derive(Clone, Copy, Debug)]
struct TimeWait {
    ip: IpAddr,
    reuse: bool,
    until_ns: u64,
}

/// Who holds one port.
#[derive(Debug, Default)]
struct Port {
    /// Oldest first.
    holders: Vec<(IpAddr, FileId)>,
    time_wait: Vec<TimeWait>,
}

/// Which sockets of one protocol hold which ports.
#[derive(Debug)]
pub(super) struct Ports {
    ports: BTreeMap<u16, Port>,
    next_ephemeral: u16,
}

impl Ports {
    /// No port is taken, and the first one to be given out is the `nth`: by different ones the sockets of
    /// different protocols are told apart in traces.
    pub(super) fn from(nth: u16) -> Ports {
        Ports { ports: BTreeMap::new(), next_ephemeral: EPHEMERAL.start() + nth }
    }

    /// The sockets bound to the port of `addr` whose address overlaps its own, oldest first.
    pub(super) fn overlapping(
        &self,
        addr: SocketAddr,
    ) -> impl DoubleEndedIterator<Item = (IpAddr, FileId)> {
        let holders = self.ports.get(&addr.port()).map_or(&[][..], |port| &port.holders);
        holders.iter().copied().filter(move |&(other, _)| overlap(addr.ip(), other))
    }

    /// Whether a connection in `TIME_WAIT` stands in the way of whoever wants `addr`.
    pub(super) fn waits(&self, addr: SocketAddr, reuse: bool, now_ns: u64) -> bool {
        let waiting = self.ports.get(&addr.port()).map_or(&[][..], |port| &port.time_wait);
        let excludes = |it: &TimeWait| it.until_ns > now_ns && !(reuse && it.reuse);
        waiting.iter().any(|it| overlap(addr.ip(), it.ip) && excludes(it))
    }

    pub(super) fn bind(&mut self, file: FileId, addr: SocketAddr) {
        self.ports.entry(addr.port()).or_default().holders.push((addr.ip(), file));
    }

    /// The address of a holder has become a more precise one.
    pub(super) fn rebind(&mut self, file: FileId, addr: SocketAddr) {
        let port = self.ports.get_mut(&addr.port()).expect("has a holder");
        let holder = port.holders.iter_mut().find(|(_, other)| *other == file);
        holder.expect("holds this port").0 = addr.ip();
    }

    pub(super) fn release(&mut self, file: FileId, port: u16) {
        let Some(port_of) = self.ports.get_mut(&port) else { return };
        port_of.holders.retain(|&(_, other)| other != file);
        if port_of.holders.is_empty() && port_of.time_wait.is_empty() {
            self.ports.remove(&port);
        }
    }

    /// The connection that had `addr` is over.
    pub(super) fn enter_time_wait(&mut self, addr: SocketAddr, reuse: bool, now_ns: u64) {
        let port = self.ports.entry(addr.port()).or_default();
        port.time_wait.retain(|it| it.until_ns > now_ns);
        let until_ns = now_ns + TIME_WAIT_NS;
        port.time_wait.push(TimeWait { ip: addr.ip(), reuse, until_ns });
    }

    /// The next port that nobody holds at any address.
    pub(super) fn ephemeral(&mut self, now_ns: u64) -> Option<u16> {
        for _ in EPHEMERAL {
            let port = self.next_ephemeral;
            self.next_ephemeral =
                if port == *EPHEMERAL.end() { *EPHEMERAL.start() } else { port + 1 };
            let is_free = |it: &Port| {
                it.holders.is_empty() && it.time_wait.iter().all(|it| it.until_ns <= now_ns)
            };
            if self.ports.get(&port).is_none_or(is_free) {
                return Some(port);
            }
        }
        None
    }
}

fn overlap(a: IpAddr, b: IpAddr) -> bool {
    a.is_ipv4() == b.is_ipv4() && (a == b || a.is_unspecified() || b.is_unspecified())
}

/// The address of an internet socket that is not bound.
pub(super) fn unspecified(domain: Domain) -> SocketAddr {
    let ip = match domain {
        Domain::Inet => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        Domain::Inet6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        Domain::Unix => unreachable!("a Unix socket has no port"),
    };
    SocketAddr::new(ip, 0)
}

/// The address that a socket of `domain` can be bound or connected to. Linux calls an address too short
/// for IPv6 invalid, and a foreign family of an IPv4 socket unsupported.
pub(super) fn inet(domain: Domain, addr: &SockAddr) -> Result<SocketAddr, Errno> {
    match (domain, *addr) {
        (Domain::Inet, SockAddr::Inet(addr)) if addr.is_ipv4() => Ok(addr),
        (Domain::Inet6, SockAddr::Inet(addr)) if addr.is_ipv6() => Ok(addr),
        (Domain::Inet6, SockAddr::Inet(_)) => Err(Errno::EINVAL),
        _ => Err(Errno::EAFNOSUPPORT),
    }
}

/// The address that one may bind to on a host with this address.
pub(super) fn local(domain: Domain, addr: &SockAddr, own: IpAddr) -> Result<SocketAddr, Errno> {
    let addr = inet(domain, addr)?;
    let is_ours = addr.ip().is_loopback() || addr.ip().is_unspecified() || addr.ip() == own;
    if is_ours { Ok(addr) } else { Err(Errno::EADDRNOTAVAIL) }
}

impl Machine {
    /// The destination that `addr` means to a socket of the calling host that is bound to `local`: the unspecified
    /// address is that of the socket itself, and of this host if it has none (`ip_route_output_key`). What comes from a
    /// loopback address never leaves its host (`ip_route_output_key` again: a martian source).
    pub(super) fn destination(&self, addr: SocketAddr, local: IpAddr) -> Result<SocketAddr, Errno> {
        let ip = match addr.ip() {
            ip if ip.is_unspecified() && local.is_unspecified() => self.source(addr),
            ip if ip.is_unspecified() => local,
            ip if ip.is_loopback() => ip,
            ip => match self.host_at(self.here_id(), ip) {
                None => return Err(Errno::ENETUNREACH),
                Some(host) if host != self.here_id() && local.is_loopback() => {
                    return Err(Errno::EINVAL);
                }
                Some(_) => ip,
            },
        };
        Ok(SocketAddr::new(ip, addr.port()))
    }

    /// The address from which a socket of the calling host that has none reaches `remote`: the preferred one of the
    /// loopback interface, also for its other addresses. Measured on Linux. Other hosts are reached from its own.
    pub(super) fn source(&self, remote: SocketAddr) -> IpAddr {
        match remote.ip() {
            ip if self.sites.iter().any(|site| site.ip == ip) => self.here_ref().ip,
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        }
    }
}
