//! What can be turned into socket addresses.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::{array, iter, option, slice, vec};

use crate::go::blocking;
use crate::waiter::current_runtime;

/// What can be turned into socket addresses: the counterpart of [`std::net::ToSocketAddrs`].
///
/// Literal addresses are parsed on the spot. Names are resolved by `std`, that is by the system's
/// resolver, on the blocking pool while the calling goroutine is parked. A simulated world has no name
/// server: it knows `localhost`, and its own hosts by their names.
pub trait ToSocketAddrs {
    /// What the addresses are taken out of.
    type Iter: Iterator<Item = SocketAddr>;

    /// The addresses, in the order in which they should be tried.
    ///
    /// # Errors
    /// When the text is not an address, or its name cannot be resolved.
    fn to_socket_addrs(&self) -> io::Result<Self::Iter>;
}

/// What is one address as it is: nothing is allocated on the way to a `send_to`. Not one implementation
/// for all that is `Into<SocketAddr>`: it could overlap with those of names.
macro_rules! one {
    ($($addr:ty),*) => {$(
        impl ToSocketAddrs for $addr {
            type Iter = option::IntoIter<SocketAddr>;

            fn to_socket_addrs(&self) -> io::Result<option::IntoIter<SocketAddr>> {
                Ok(Some(SocketAddr::from(*self)).into_iter())
            }
        }
    )*};
}

one!(SocketAddr, SocketAddrV4, SocketAddrV6, (IpAddr, u16), (Ipv4Addr, u16), (Ipv6Addr, u16));

impl ToSocketAddrs for (&str, u16) {
    type Iter = vec::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<vec::IntoIter<SocketAddr>> {
        resolve(self.0, self.1)
    }
}

impl ToSocketAddrs for (String, u16) {
    type Iter = vec::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<vec::IntoIter<SocketAddr>> {
        resolve(&self.0, self.1)
    }
}

/// `address:port` or `name:port`.
impl ToSocketAddrs for str {
    type Iter = vec::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<vec::IntoIter<SocketAddr>> {
        if let Ok(addr) = self.parse::<SocketAddr>() {
            return Ok(one(addr));
        }
        let Some((host, port)) = self.rsplit_once(':') else {
            return Err(invalid(format!("invalid socket address {self:?}: no port")));
        };
        let Ok(port) = port.parse() else {
            return Err(invalid(format!("invalid port in {self:?}")));
        };
        resolve(host, port)
    }
}

impl ToSocketAddrs for String {
    type Iter = vec::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<vec::IntoIter<SocketAddr>> {
        (**self).to_socket_addrs()
    }
}

impl<'a> ToSocketAddrs for &'a [SocketAddr] {
    type Iter = iter::Copied<slice::Iter<'a, SocketAddr>>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        Ok(self.iter().copied())
    }
}

impl<const N: usize> ToSocketAddrs for [SocketAddr; N] {
    type Iter = array::IntoIter<SocketAddr, N>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        Ok((*self).into_iter())
    }
}

impl<A: ToSocketAddrs + ?Sized> ToSocketAddrs for &A {
    type Iter = A::Iter;

    fn to_socket_addrs(&self) -> io::Result<A::Iter> {
        (**self).to_socket_addrs()
    }
}

/// Calls `f` with one address after the other until it succeeds.
///
/// # Errors
/// The last error; `InvalidInput` when there is no address.
pub(super) fn try_each<T>(
    addrs: impl ToSocketAddrs,
    mut f: impl FnMut(SocketAddr) -> io::Result<T>,
) -> io::Result<T> {
    let mut last = invalid("could not resolve to any addresses".to_owned());
    for addr in addrs.to_socket_addrs()? {
        match f(addr) {
            Ok(value) => return Ok(value),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn one(addr: impl Into<SocketAddr>) -> vec::IntoIter<SocketAddr> {
    vec![addr.into()].into_iter()
}

fn invalid(text: String) -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, text)
}

fn resolve(host: &str, port: u16) -> io::Result<vec::IntoIter<SocketAddr>> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(one((ip, port)));
    }
    if let Ok(runtime) = current_runtime()
        && !runtime.is_real()
    {
        return resolve_simulated(host, port, runtime.address_of(host));
    }
    let host = host.to_owned();
    blocking(move || std::net::ToSocketAddrs::to_socket_addrs(&(host.as_str(), port)))
}

fn resolve_simulated(
    host: &str,
    port: u16,
    known: Option<IpAddr>,
) -> io::Result<vec::IntoIter<SocketAddr>> {
    match known {
        Some(ip) => Ok(one((ip, port))),
        None if host == "localhost" => Ok(one((Ipv4Addr::LOCALHOST, port))),
        None => {
            let text = format!(
                "a simulated world has no name server for {host:?}: use a literal address or the \
                 name of one of its hosts"
            );
            Err(io::Error::new(ErrorKind::Unsupported, text))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(addrs: impl ToSocketAddrs, expected: &str) {
        let found = match addrs.to_socket_addrs() {
            Ok(addrs) => addrs.map(|a| a.to_string()).collect::<Vec<_>>().join(" "),
            Err(error) => error.to_string(),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn everything_that_std_takes_is_an_address() {
        let v4: SocketAddr = "10.0.0.1:80".parse().unwrap();
        let v6: SocketAddr = "[::1]:80".parse().unwrap();
        check(v4, "10.0.0.1:80");
        check("10.0.0.1:80", "10.0.0.1:80");
        check(String::from("[::1]:80"), "[::1]:80");
        check(("10.0.0.1", 80), "10.0.0.1:80");
        check(("::1", 80), "[::1]:80");
        check((String::from("10.0.0.1"), 80), "10.0.0.1:80");
        check((Ipv4Addr::LOCALHOST, 1), "127.0.0.1:1");
        check((IpAddr::V4(Ipv4Addr::LOCALHOST), 1), "127.0.0.1:1");
        check([v4, v6], "10.0.0.1:80 [::1]:80");
        check(&[v4, v6][..], "10.0.0.1:80 [::1]:80");
        let (SocketAddr::V4(v4), SocketAddr::V6(v6)) = (v4, v6) else {
            unreachable!("by their text");
        };
        check(v4, "10.0.0.1:80");
        check(v6, "[::1]:80");
    }

    #[test]
    fn what_is_no_address_is_an_error_that_quotes_it() {
        check("nonsense", "invalid socket address \"nonsense\": no port");
        check("host:seventy", "invalid port in \"host:seventy\"");
        check("host:70000", "invalid port in \"host:70000\"");
    }

    #[test]
    fn a_simulated_world_knows_itself_only() {
        let addrs = resolve_simulated("localhost", 7, None).unwrap();
        assert!(addrs.eq([SocketAddr::from(([127, 0, 0, 1], 7))]));
        let error = resolve_simulated("example.org", 7, None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }

    #[test]
    fn addresses_are_tried_in_order_and_the_last_error_counts() {
        let addrs = [1, 2, 3].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let even = |addr: SocketAddr| match addr.port() {
            2 => Ok(2),
            port => Err(io::Error::other(port.to_string())),
        };
        assert_eq!(try_each(addrs, even).unwrap(), 2);
        let error = try_each([addrs[0], addrs[2]], even).unwrap_err();
        assert_eq!(error.to_string(), "3");
        let error = try_each([], even).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
}
