//! Socket options, and what all kinds of sockets have in common.

use netpoll::platform::{Domain, Errno, RawFd};

use super::machine::{Machine, Object};
use super::net::NetConfig;

/// Linux doubles the size of a buffer that is asked for, for its bookkeeping; and it has this limit
/// (`net.core.wmem_max`) and these least sizes. See socket(7).
const BUFFER_MAX: usize = 212_992;
const SNDBUF_MIN: usize = 4_608;
const RCVBUF_MIN: usize = 2_304;

/// Linux's default for the time to live of a packet (`net.ipv4.ip_default_ttl`).
const TTL: i32 = 64;

/// What a socket was made as and has been told. Those without effect are kept to be read back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Options {
    pub(super) domain: Domain,
    pub(super) reuse_addr: bool,
    pub(super) sndbuf: usize,
    pub(super) rcvbuf: usize,
    /// `SO_LINGER`, in seconds. Only 0 has an effect: `close` resets. Another value would let `close` block,
    /// which is not modelled.
    pub(super) linger: Option<u16>,
    keep_alive: bool,
    broadcast: bool,
    no_delay: bool,
    v6_only: bool,
    ttl: i32,
}

impl Options {
    pub(super) fn new(domain: Domain, config: NetConfig) -> Options {
        Options {
            domain,
            reuse_addr: false,
            sndbuf: config.sndbuf,
            rcvbuf: config.rcvbuf,
            linger: None,
            keep_alive: false,
            broadcast: false,
            no_delay: false,
            v6_only: false,
            ttl: TTL,
        }
    }

    fn get(&self, kind: i32, level: i32, name: i32) -> Result<i32, Errno> {
        Ok(match (level, name) {
            (libc::SOL_SOCKET, libc::SO_TYPE) => kind,
            (libc::SOL_SOCKET, libc::SO_DOMAIN) => match self.domain {
                Domain::Inet => libc::AF_INET,
                Domain::Inet6 => libc::AF_INET6,
                Domain::Unix => libc::AF_UNIX,
            },
            (libc::SOL_SOCKET, libc::SO_PROTOCOL) => match (self.domain, kind) {
                (Domain::Unix, _) => 0,
                (_, libc::SOCK_STREAM) => libc::IPPROTO_TCP,
                _ => libc::IPPROTO_UDP,
            },
            (libc::SOL_SOCKET, libc::SO_REUSEADDR) => self.reuse_addr.into(),
            (libc::SOL_SOCKET, libc::SO_KEEPALIVE) => self.keep_alive.into(),
            (libc::SOL_SOCKET, libc::SO_BROADCAST) => self.broadcast.into(),
            (libc::SOL_SOCKET, libc::SO_SNDBUF) => self.sndbuf as i32,
            (libc::SOL_SOCKET, libc::SO_RCVBUF) => self.rcvbuf as i32,
            (libc::SOL_SOCKET, _) => return Err(Errno::ENOPROTOOPT),
            _ if self.domain == Domain::Unix => return Err(Errno::EOPNOTSUPP),
            (libc::IPPROTO_TCP, libc::TCP_NODELAY) if kind == libc::SOCK_STREAM => {
                self.no_delay.into()
            }
            (libc::IPPROTO_IP, libc::IP_TTL) => self.ttl,
            (libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS) if self.domain == Domain::Inet6 => {
                self.ttl
            }
            (libc::IPPROTO_IPV6, libc::IPV6_V6ONLY) if self.domain == Domain::Inet6 => {
                self.v6_only.into()
            }
            _ => return Err(Errno::ENOPROTOOPT),
        })
    }

    fn set(&mut self, kind: i32, level: i32, name: i32, value: i32) -> Result<(), Errno> {
        let size = usize::try_from(value).unwrap_or(0).min(BUFFER_MAX) * 2;
        match (level, name) {
            (libc::SOL_SOCKET, libc::SO_REUSEADDR) => self.reuse_addr = value != 0,
            (libc::SOL_SOCKET, libc::SO_KEEPALIVE) => self.keep_alive = value != 0,
            (libc::SOL_SOCKET, libc::SO_BROADCAST) => self.broadcast = value != 0,
            (libc::SOL_SOCKET, libc::SO_SNDBUF) => self.sndbuf = size.max(SNDBUF_MIN),
            (libc::SOL_SOCKET, libc::SO_RCVBUF) => self.rcvbuf = size.max(RCVBUF_MIN),
            // Its value is a structure: see `set_linger`.
            (libc::SOL_SOCKET, libc::SO_LINGER) => return Err(Errno::EINVAL),
            (libc::SOL_SOCKET, _) => return Err(Errno::ENOPROTOOPT),
            _ if self.domain == Domain::Unix => return Err(Errno::EOPNOTSUPP),
            (libc::IPPROTO_TCP, libc::TCP_NODELAY) if kind == libc::SOCK_STREAM => {
                self.no_delay = value != 0;
            }
            (libc::IPPROTO_IP, libc::IP_TTL) => match value {
                -1 => self.ttl = TTL,
                1..=255 => self.ttl = value,
                _ => return Err(Errno::EINVAL),
            },
            (libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS) if self.domain == Domain::Inet6 => {
                match value {
                    -1 => self.ttl = TTL,
                    0..=255 => self.ttl = value,
                    _ => return Err(Errno::EINVAL),
                }
            }
            (libc::IPPROTO_IPV6, libc::IPV6_V6ONLY) if self.domain == Domain::Inet6 => {
                self.v6_only = value != 0;
            }
            _ => return Err(Errno::ENOPROTOOPT),
        }
        Ok(())
    }
}

impl Machine {
    /// What a socket has been told, its type, its pending error and whether it listens.
    fn options(
        &mut self,
        fd: RawFd,
    ) -> Result<(&mut Options, i32, &mut Option<Errno>, bool), Errno> {
        let id = self.lookup(fd)?;
        Ok(match &mut self.file_mut(id).object {
            Object::Tcp(tcp) => {
                let listens = tcp.is_listening();
                (&mut tcp.options, libc::SOCK_STREAM, &mut tcp.error, listens)
            }
            Object::Udp(udp) => (&mut udp.options, libc::SOCK_DGRAM, &mut udp.error, false),
            Object::Unix(unix) => {
                let (kind, listens) = (unix.type_number(), unix.is_listening());
                (&mut unix.options, kind, &mut unix.error, listens)
            }
            _ => return Err(Errno::ENOTSOCK),
        })
    }

    pub(super) fn getsockopt(&mut self, fd: RawFd, level: i32, name: i32) -> Result<i32, Errno> {
        let (options, kind, error, listens) = self.options(fd)?;
        match (level, name) {
            (libc::SOL_SOCKET, libc::SO_ERROR) => Ok(error.take().map_or(0, |error| error.0)),
            (libc::SOL_SOCKET, libc::SO_ACCEPTCONN) => Ok(listens.into()),
            _ => options.get(kind, level, name),
        }
    }

    pub(super) fn setsockopt(
        &mut self,
        fd: RawFd,
        level: i32,
        name: i32,
        value: i32,
    ) -> Result<(), Errno> {
        let (options, kind, ..) = self.options(fd)?;
        options.set(kind, level, name, value)
    }

    /// `setsockopt` of `SO_LINGER`.
    pub(super) fn set_linger(&mut self, fd: RawFd, seconds: Option<u16>) -> Result<(), Errno> {
        let (options, ..) = self.options(fd)?;
        options.linger = seconds;
        Ok(())
    }
}
