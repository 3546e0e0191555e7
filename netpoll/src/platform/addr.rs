//! Socket addresses and the kinds of sockets, as values that every kernel understands.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// The address family of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// `AF_INET`.
    Inet,
    /// `AF_INET6`.
    Inet6,
    /// `AF_UNIX`.
    Unix,
}

impl Domain {
    /// The family that can reach `addr`.
    #[must_use]
    pub fn of(addr: &SocketAddr) -> Domain {
        if addr.is_ipv4() { Domain::Inet } else { Domain::Inet6 }
    }
}

/// The type of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SockType {
    /// `SOCK_STREAM`.
    Stream,
    /// `SOCK_DGRAM`.
    Datagram,
}

/// An address of any family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SockAddr {
    /// IPv4 or IPv6.
    Inet(SocketAddr),
    /// An address of this machine.
    Unix(UnixAddr),
}

impl SockAddr {
    /// The internet address in it, if it is one.
    #[must_use]
    pub fn as_inet(&self) -> Option<SocketAddr> {
        match *self {
            SockAddr::Inet(addr) => Some(addr),
            SockAddr::Unix(_) => None,
        }
    }

    /// The Unix address in it, if it is one.
    #[must_use]
    pub fn as_unix(&self) -> Option<UnixAddr> {
        match *self {
            SockAddr::Inet(_) => None,
            SockAddr::Unix(addr) => Some(addr),
        }
    }

    /// The family that can reach it.
    #[must_use]
    pub fn domain(&self) -> Domain {
        match self {
            SockAddr::Inet(addr) => Domain::of(addr),
            SockAddr::Unix(_) => Domain::Unix,
        }
    }
}

impl From<SocketAddr> for SockAddr {
    fn from(addr: SocketAddr) -> SockAddr {
        SockAddr::Inet(addr)
    }
}

impl From<UnixAddr> for SockAddr {
    fn from(addr: UnixAddr) -> SockAddr {
        SockAddr::Unix(addr)
    }
}

impl fmt::Display for SockAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SockAddr::Inet(addr) => addr.fmt(f),
            SockAddr::Unix(addr) => addr.fmt(f),
        }
    }
}

/// The address of a Unix socket: unnamed, a path, or an abstract name, which is Linux's.
///
/// The bytes stand in it, so that addresses are plain values.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct UnixAddr {
    kind: Kind,
    len: u8,
    /// The path or the name; 0 from `len` on, so that equality and hash may be derived.
    bytes: [u8; UnixAddr::CAPACITY],
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Unnamed,
    Pathname,
    Abstract,
}

impl UnixAddr {
    /// The room in the kernel's structure (`sun_path`).
    const CAPACITY: usize = 108;

    /// The most bytes that a path or an abstract name may have here. The kernel has room for one more
    /// byte, which is the zero that ends a path or begins an abstract name.
    pub const LEN_MAX: usize = UnixAddr::CAPACITY - 1;

    /// The address of a socket that is not bound.
    pub const UNNAMED: UnixAddr =
        UnixAddr { kind: Kind::Unnamed, len: 0, bytes: [0; UnixAddr::CAPACITY] };

    /// The address of a socket that is bound to a path. The empty path is the unnamed address, as it is
    /// for `std` and for the kernel.
    ///
    /// # Errors
    /// `InvalidInput` for more than [`LEN_MAX`](UnixAddr::LEN_MAX) bytes or a zero byte in it.
    pub fn from_pathname(path: impl AsRef<Path>) -> io::Result<UnixAddr> {
        let bytes = path.as_ref().as_os_str().as_bytes();
        if bytes.contains(&0) {
            return Err(invalid("the path of a Unix socket must not contain a zero byte".into()));
        }
        let kind = if bytes.is_empty() { Kind::Unnamed } else { Kind::Pathname };
        UnixAddr::new(kind, bytes)
    }

    /// An address in the abstract namespace, where names are arbitrary bytes and vanish with their
    /// sockets. `name` is without the zero byte that the kernel's form begins with.
    ///
    /// # Errors
    /// `InvalidInput` for more than [`LEN_MAX`](UnixAddr::LEN_MAX) bytes.
    pub fn from_abstract_name(name: impl AsRef<[u8]>) -> io::Result<UnixAddr> {
        UnixAddr::new(Kind::Abstract, name.as_ref())
    }

    fn new(kind: Kind, bytes: &[u8]) -> io::Result<UnixAddr> {
        if bytes.len() > UnixAddr::LEN_MAX {
            let (len, max) = (bytes.len(), UnixAddr::LEN_MAX);
            return Err(invalid(format!(
                "the address of a Unix socket has at most {max} bytes, and this one has {len}"
            )));
        }
        Ok(UnixAddr::fill(kind, bytes))
    }

    fn fill(kind: Kind, bytes: &[u8]) -> UnixAddr {
        let mut addr = UnixAddr { kind, len: bytes.len() as u8, ..UnixAddr::UNNAMED };
        addr.bytes[..bytes.len()].copy_from_slice(bytes);
        addr
    }

    /// The address that the kernel describes by the bytes of `sun_path` it has filled in, of which there
    /// are never more than the structure has room for and one.
    pub(super) fn from_sun_path(path: &[u8]) -> UnixAddr {
        match path {
            [] => UnixAddr::UNNAMED,
            [0, name @ ..] => UnixAddr::fill(Kind::Abstract, name),
            // The kernel counts the zero in that ends a path. A path that leaves no room for one is an
            // address too, though neither `std` nor `from_pathname` makes it.
            path => {
                let len = path.iter().position(|&byte| byte == 0).unwrap_or(path.len());
                UnixAddr::fill(Kind::Pathname, &path[..len.min(UnixAddr::CAPACITY)])
            }
        }
    }

    /// `sun_path` as the kernel wants to read it, and how many bytes of it count.
    pub(super) fn to_sun_path(self) -> ([u8; UnixAddr::CAPACITY], usize) {
        let len = usize::from(self.len);
        match self.kind {
            Kind::Unnamed => (self.bytes, 0),
            Kind::Pathname => (self.bytes, UnixAddr::CAPACITY.min(len + 1)),
            Kind::Abstract => {
                let mut path = [0; UnixAddr::CAPACITY];
                path[1..=len].copy_from_slice(&self.bytes[..len]);
                (path, len + 1)
            }
        }
    }

    /// Whether it is that of a socket that is not bound.
    #[must_use]
    pub fn is_unnamed(&self) -> bool {
        self.kind == Kind::Unnamed
    }

    /// The path, if it is one.
    #[must_use]
    pub fn as_pathname(&self) -> Option<&Path> {
        let path = || Path::new(OsStr::from_bytes(self.as_bytes()));
        (self.kind == Kind::Pathname).then(path)
    }

    /// The abstract name, if it is one, without the zero byte that the kernel's form begins with.
    #[must_use]
    pub fn as_abstract_name(&self) -> Option<&[u8]> {
        (self.kind == Kind::Abstract).then(|| self.as_bytes())
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

fn invalid(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

/// A path as it is, an abstract name behind an `@`, and `(unnamed)`.
impl fmt::Display for UnixAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Unnamed => f.write_str("(unnamed)"),
            Kind::Pathname => String::from_utf8_lossy(self.as_bytes()).fmt(f),
            Kind::Abstract => write!(f, "@{}", self.as_bytes().escape_ascii()),
        }
    }
}

impl fmt::Debug for UnixAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UnixAddr({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unix_address_is_unnamed_a_path_or_an_abstract_name() {
        let path = UnixAddr::from_pathname("/run/a").unwrap();
        assert_eq!(path.as_pathname(), Some(Path::new("/run/a")));
        assert_eq!((path.as_abstract_name(), path.is_unnamed()), (None, false));
        assert_eq!(path.to_string(), "/run/a");

        let name = UnixAddr::from_abstract_name(b"a\0\n").unwrap();
        assert_eq!(name.as_abstract_name(), Some(&b"a\0\n"[..]));
        assert_eq!((name.as_pathname(), name.is_unnamed()), (None, false));
        assert_eq!(name.to_string(), r"@a\x00\n");

        let unnamed = UnixAddr::from_pathname("").unwrap();
        assert_eq!(unnamed, UnixAddr::UNNAMED);
        assert_eq!((unnamed.as_pathname(), unnamed.as_abstract_name()), (None, None));
        assert!(unnamed.is_unnamed());
        assert_eq!(SockAddr::from(unnamed).to_string(), "(unnamed)");
        let empty = UnixAddr::from_abstract_name("").unwrap();
        assert_ne!(empty, unnamed, "the empty abstract name is a name");
        assert_eq!(empty.as_abstract_name(), Some(&b""[..]));
    }

    #[test]
    fn what_the_kernel_has_no_room_for_is_refused_and_says_why() {
        let longest = "x".repeat(107);
        assert!(UnixAddr::from_pathname(&longest).is_ok());
        assert!(UnixAddr::from_abstract_name(&longest).is_ok());
        for error in [
            UnixAddr::from_pathname("x".repeat(108)).unwrap_err(),
            UnixAddr::from_abstract_name("x".repeat(108)).unwrap_err(),
        ] {
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            let text = "the address of a Unix socket has at most 107 bytes, and this one has 108";
            assert_eq!(error.to_string(), text);
        }
        let error = UnixAddr::from_pathname("a\0b").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(error.to_string().contains("zero byte"), "{error}");
    }

    #[test]
    fn addresses_survive_the_kernels_form() {
        let longest = "x".repeat(UnixAddr::LEN_MAX);
        for addr in [
            UnixAddr::UNNAMED,
            UnixAddr::from_pathname("a").unwrap(),
            UnixAddr::from_pathname(&longest).unwrap(),
            UnixAddr::from_abstract_name("").unwrap(),
            UnixAddr::from_abstract_name("a\0").unwrap(),
            UnixAddr::from_abstract_name(&longest).unwrap(),
            // A path without room for its zero, and what the kernel says of it.
            UnixAddr::from_sun_path(&[b'y'; 108]),
        ] {
            let (path, len) = addr.to_sun_path();
            assert_eq!(UnixAddr::from_sun_path(&path[..len]), addr);
        }
        let mut with_zero = [b'y'; 109];
        with_zero[108] = 0;
        assert_eq!(UnixAddr::from_sun_path(&with_zero), UnixAddr::from_sun_path(&[b'y'; 108]));
        let (path, len) = UnixAddr::from_pathname("ab").unwrap().to_sun_path();
        assert_eq!(&path[..len], b"ab\0");
        let (path, len) = UnixAddr::from_abstract_name("ab").unwrap().to_sun_path();
        assert_eq!(&path[..len], b"\0ab");
    }
}
