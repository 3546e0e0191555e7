//! Socket addresses in the kernel's form, and back.

use std::mem;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::SocketAddr as StdUnixAddr;
use std::slice;

use crate::platform::{Domain, Errno, SockAddr, UnixAddr};

/// Room for an address of any family, with the length that is in use.
pub(super) struct RawAddr {
    storage: libc::sockaddr_storage,
    len: libc::socklen_t,
}

/// All of `sockaddr_storage`: what a call that fills in an address may write at most.
const CAPACITY: libc::socklen_t = mem::size_of::<libc::sockaddr_storage>() as libc::socklen_t;

/// From `std`'s form, which has the same three kinds.
impl From<&StdUnixAddr> for UnixAddr {
    fn from(addr: &StdUnixAddr) -> UnixAddr {
        let addr = match (addr.as_pathname(), addr.as_abstract_name()) {
            (Some(path), _) => UnixAddr::from_pathname(path),
            (_, Some(name)) => UnixAddr::from_abstract_name(name),
            (None, None) => Ok(UnixAddr::UNNAMED),
        };
        addr.expect("`std` has the same limits")
    }
}

/// To `std`'s form. The path that leaves no room for its zero is the one address that `std` makes only by
/// itself, from what the kernel says; it looks unnamed.
impl From<UnixAddr> for StdUnixAddr {
    fn from(addr: UnixAddr) -> StdUnixAddr {
        let unnamed =
            || StdUnixAddr::from_pathname("").expect("the empty path is the unnamed address");
        let named = match (addr.as_pathname(), addr.as_abstract_name()) {
            (Some(path), _) => StdUnixAddr::from_pathname(path),
            (_, Some(name)) => StdUnixAddr::from_abstract_name(name),
            (None, None) => return unnamed(),
        };
        named.unwrap_or_else(|_| unnamed())
    }
}

/// Where the path stands in the structure of a Unix address.
const SUN_PATH: usize = mem::offset_of!(libc::sockaddr_un, sun_path);

impl RawAddr {
    /// Room that a system call is to fill.
    pub(super) fn empty() -> RawAddr {
        // SAFETY: the C structure consists of integers and padding, for which zero is a value.
        let storage = unsafe { mem::zeroed::<libc::sockaddr_storage>() };
        RawAddr { storage, len: CAPACITY }
    }

    /// `addr` as a system call wants to read it.
    pub(super) fn new(addr: &SockAddr) -> RawAddr {
        match *addr {
            SockAddr::Inet(SocketAddr::V4(addr)) => {
                // SAFETY: as in `empty`.
                let mut raw = unsafe { mem::zeroed::<libc::sockaddr_in>() };
                raw.sin_family = libc::AF_INET as libc::sa_family_t;
                raw.sin_port = addr.port().to_be();
                raw.sin_addr.s_addr = u32::from_ne_bytes(addr.ip().octets());
                RawAddr::from_family(raw)
            }
            SockAddr::Inet(SocketAddr::V6(addr)) => {
                // SAFETY: as in `empty`.
                let mut raw = unsafe { mem::zeroed::<libc::sockaddr_in6>() };
                raw.sin6_family = libc::AF_INET6 as libc::sa_family_t;
                raw.sin6_port = addr.port().to_be();
                raw.sin6_addr.s6_addr = addr.ip().octets();
                raw.sin6_flowinfo = addr.flowinfo();
                raw.sin6_scope_id = addr.scope_id();
                RawAddr::from_family(raw)
            }
            SockAddr::Unix(addr) => {
                // SAFETY: as in `empty`.
                let mut raw = unsafe { mem::zeroed::<libc::sockaddr_un>() };
                raw.sun_family = libc::AF_UNIX as libc::sa_family_t;
                let (path, len) = addr.to_sun_path();
                raw.sun_path = path.map(|byte| byte as libc::c_char);
                let mut raw = RawAddr::from_family(raw);
                // The length says which kind of address it is: unix(7).
                raw.len = (SUN_PATH + len) as libc::socklen_t;
                raw
            }
        }
    }

    /// The address in it.
    ///
    /// # Errors
    /// `EAFNOSUPPORT` for a family that the runtime does not know, `EINVAL` when it is cut short.
    pub(super) fn get(&self) -> Result<SockAddr, Errno> {
        match i32::from(self.storage.ss_family) {
            libc::AF_INET => {
                let raw: libc::sockaddr_in = self.to_family()?;
                let ip = Ipv4Addr::from(raw.sin_addr.s_addr.to_ne_bytes());
                let addr = SocketAddrV4::new(ip, u16::from_be(raw.sin_port));
                Ok(SockAddr::Inet(SocketAddr::V4(addr)))
            }
            libc::AF_INET6 => {
                let raw: libc::sockaddr_in6 = self.to_family()?;
                let ip = Ipv6Addr::from(raw.sin6_addr.s6_addr);
                let port = u16::from_be(raw.sin6_port);
                let addr = SocketAddrV6::new(ip, port, raw.sin6_flowinfo, raw.sin6_scope_id);
                Ok(SockAddr::Inet(SocketAddr::V6(addr)))
            }
            libc::AF_UNIX => {
                let raw: &[u8] = self.as_bytes();
                Ok(SockAddr::Unix(UnixAddr::from_sun_path(&raw[SUN_PATH.min(raw.len())..])))
            }
            _ => Err(Errno::EAFNOSUPPORT),
        }
    }

    /// The address of a sender, if the call has filled one in and it is one that the runtime knows.
    pub(super) fn get_if_any(&self) -> Option<SockAddr> {
        if self.len == 0 { None } else { self.get().ok() }
    }

    /// What a call reads: the address and its length.
    pub(super) fn as_parts(&self) -> (*const libc::sockaddr, libc::socklen_t) {
        ((&raw const self.storage).cast(), self.len)
    }

    /// What a call fills in: room for an address, and its length to be updated.
    pub(super) fn as_parts_mut(&mut self) -> (*mut libc::sockaddr, *mut libc::socklen_t) {
        ((&raw mut self.storage).cast(), &raw mut self.len)
    }

    /// The bytes that are in use.
    fn as_bytes(&self) -> &[u8] {
        // A call that had to cut an address short reports how long it would have been.
        let len = self.len.min(CAPACITY) as usize;
        // SAFETY: all bytes of `storage`, which the slice borrows, are initialised, and `len` is no
        // more than there are.
        unsafe { slice::from_raw_parts((&raw const self.storage).cast(), len) }
    }

    fn from_family<T: Family>(raw: T) -> RawAddr {
        let mut addr = RawAddr::empty();
        addr.len = mem::size_of::<T>() as libc::socklen_t;
        let room = (&raw mut addr.storage).cast::<T>();
        // SAFETY: `sockaddr_storage` is large and aligned enough for every family (asserted by
        // `Family::FITS`), and it is a local.
        unsafe { room.write(raw) };
        let () = T::FITS;
        addr
    }

    fn to_family<T: Family>(&self) -> Result<T, Errno> {
        let () = T::FITS;
        if (self.len as usize) < mem::size_of::<T>() {
            return Err(Errno::EINVAL);
        }
        let room = (&raw const self.storage).cast::<T>();
        // SAFETY: it fits (`Family::FITS`), all bytes of `storage` are initialised, and every
        // pattern of bits is a value of the C structures that implement `Family`.
        Ok(unsafe { room.read() })
    }
}

/// The C structure of one address family: integers only.
trait Family: Copy {
    /// Fails to compile when the family would not fit into the storage.
    const FITS: () = {
        assert!(mem::size_of::<Self>() <= mem::size_of::<libc::sockaddr_storage>());
        assert!(mem::align_of::<Self>() <= mem::align_of::<libc::sockaddr_storage>());
    };
}

impl Family for libc::sockaddr_in {}
impl Family for libc::sockaddr_in6 {}
impl Family for libc::sockaddr_un {}

/// The number of an address family.
pub(super) fn family(domain: Domain) -> libc::c_int {
    match domain {
        Domain::Inet => libc::AF_INET,
        Domain::Inet6 => libc::AF_INET6,
        Domain::Unix => libc::AF_UNIX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_way_to_the_kernel_and_back() {
        let mut addrs: Vec<SocketAddr> =
            ["0.0.0.0:0", "127.0.0.1:80", "255.254.253.252:65535", "[::]:0", "[::1]:443"]
                .iter()
                .map(|text| text.parse().unwrap())
                .collect();
        let link_local = "fe80::1234".parse().unwrap();
        addrs.push(SocketAddr::V6(SocketAddrV6::new(link_local, 7, 0x000a_bcde, 3)));
        for addr in addrs {
            let addr = SockAddr::from(addr);
            assert_eq!(RawAddr::new(&addr).get(), Ok(addr));
        }
    }

    #[test]
    fn unix_addresses_survive_too_and_their_length_tells_them_apart() {
        let path = UnixAddr::from_pathname("/run/a").unwrap();
        let name = UnixAddr::from_abstract_name("a\0b").unwrap();
        let longest = UnixAddr::from_pathname("x".repeat(UnixAddr::LEN_MAX)).unwrap();
        for (addr, len) in [(UnixAddr::UNNAMED, 2), (path, 2 + 7), (name, 2 + 4), (longest, 110)] {
            let raw = RawAddr::new(&addr.into());
            assert_eq!(raw.len, len, "{addr}");
            assert_eq!(raw.get(), Ok(addr.into()));
        }
        let nobody = RawAddr { len: 0, ..RawAddr::empty() };
        assert_eq!(nobody.get_if_any(), None, "a sender that has no address");
    }

    #[test]
    fn unix_addresses_survive_the_way_to_std_and_back() {
        let path = UnixAddr::from_pathname("/run/a").unwrap();
        let name = UnixAddr::from_abstract_name("a\0b").unwrap();
        let longest = UnixAddr::from_abstract_name("x".repeat(UnixAddr::LEN_MAX)).unwrap();
        for addr in [UnixAddr::UNNAMED, path, name, longest] {
            assert_eq!(UnixAddr::from(&StdUnixAddr::from(addr)), addr);
        }
        assert!(StdUnixAddr::from(UnixAddr::UNNAMED).is_unnamed());
        let too_long_for_std = UnixAddr::from_sun_path(&[b'y'; 108]);
        assert!(StdUnixAddr::from(too_long_for_std).is_unnamed());
    }

    #[test]
    fn bytes_are_in_network_order() {
        let raw = RawAddr::new(&SockAddr::Inet("1.2.3.4:258".parse().unwrap()));
        let raw: libc::sockaddr_in = raw.to_family().unwrap();
        assert_eq!(raw.sin_port.to_ne_bytes(), [1, 2]);
        assert_eq!(raw.sin_addr.s_addr.to_ne_bytes(), [1, 2, 3, 4]);
    }

    #[test]
    fn what_cannot_be_read_is_an_error() {
        assert_eq!(RawAddr::empty().get(), Err(Errno::EAFNOSUPPORT));
        let mut short = RawAddr::new(&SockAddr::Inet("[::1]:1".parse().unwrap()));
        short.len = 8;
        assert_eq!(short.get(), Err(Errno::EINVAL));
    }
}
