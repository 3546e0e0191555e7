//! The kernel of this machine, as far as scripts need it. It is written against libc and not taken from
//! `netpoll::platform::os`, so that a mistake there cannot hide one here.

use std::ffi::{CString, OsStr};
use std::io;
use std::mem;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::unix::ffi::OsStrExt as _;
use std::time::Duration;

use netpoll::platform::{
    Domain, EpollEvent, Errno, Kernel, RawFd, Shutdown, SockAddr, SockType, UnixAddr,
};

use super::Scripted;

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct RealKernel;

fn check(result: i32) -> Result<i32, Errno> {
    if result >= 0 {
        return Ok(result);
    }
    let error = io::Error::last_os_error().raw_os_error();
    Err(Errno(error.expect("a system call failed")))
}

fn check_len(result: isize) -> Result<usize, Errno> {
    usize::try_from(result).map_err(|_| check(-1).unwrap_err())
}

const ADDR_LEN: libc::socklen_t = size_of::<libc::sockaddr_un>() as libc::socklen_t;

/// An address in the kernel's form, of either family, and its length.
#[repr(C)]
union RawAddr {
    family: libc::sa_family_t,
    inet: libc::sockaddr_in,
    unix: libc::sockaddr_un,
}

fn to_raw(addr: &SockAddr) -> (RawAddr, libc::socklen_t) {
    // SAFETY: all bits zero is a value of these plain structures.
    let mut raw: RawAddr = unsafe { mem::zeroed() };
    match addr {
        SockAddr::Inet(SocketAddr::V4(addr)) => {
            raw.inet = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: addr.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from(*addr.ip()).to_be() },
                sin_zero: [0; 8],
            };
            (raw, size_of::<libc::sockaddr_in>() as libc::socklen_t)
        }
        SockAddr::Unix(addr) => {
            // SAFETY: every bit pattern is a value of this structure.
            let unix = unsafe { &mut raw.unix };
            unix.sun_family = libc::AF_UNIX as libc::sa_family_t;
            let path = match (addr.as_pathname(), addr.as_abstract_name()) {
                (Some(path), _) => [path.as_os_str().as_bytes(), &[0]].concat(),
                (_, Some(name)) => [&[0], name].concat(),
                _ => Vec::new(),
            };
            for (place, byte) in unix.sun_path.iter_mut().zip(&path) {
                *place = *byte as libc::c_char;
            }
            (raw, (mem::offset_of!(libc::sockaddr_un, sun_path) + path.len()) as libc::socklen_t)
        }
        other => unreachable!("no script uses {other}"),
    }
}

/// The address that the kernel has filled in, if it has.
fn from_raw(raw: &RawAddr, len: libc::socklen_t) -> Option<SockAddr> {
    if len == 0 {
        return None;
    }
    // SAFETY: the kernel has written at least the family.
    if i32::from(unsafe { raw.family }) == libc::AF_INET {
        // SAFETY: the family says that it is one.
        let inet = unsafe { raw.inet };
        let ip = Ipv4Addr::from(u32::from_be(inet.sin_addr.s_addr));
        let addr = SocketAddrV4::new(ip, u16::from_be(inet.sin_port));
        return Some(SocketAddr::from(addr).into());
    }
    // SAFETY: the family says that it is one; what the kernel has not written is zero.
    let unix = unsafe { &raw.unix };
    let len = (len as usize).saturating_sub(mem::offset_of!(libc::sockaddr_un, sun_path));
    let path: Vec<u8> = unix.sun_path[..len].iter().map(|&byte| byte as u8).collect();
    let addr = match path.as_slice() {
        [] => Ok(UnixAddr::UNNAMED),
        [0, name @ ..] => UnixAddr::from_abstract_name(name),
        path => {
            let len = path.iter().position(|&byte| byte == 0).unwrap_or(path.len());
            UnixAddr::from_pathname(OsStr::from_bytes(&path[..len]))
        }
    };
    Some(addr.expect("the kernel knows its limits").into())
}

/// Calls `f` with room for an address, and returns what the kernel filled in.
fn with_addr<R>(
    f: impl FnOnce(*mut libc::sockaddr, *mut libc::socklen_t) -> Result<R, Errno>,
) -> Result<(R, Option<SockAddr>), Errno> {
    // SAFETY: all bits zero is a value of these plain structures.
    let mut raw: RawAddr = unsafe { mem::zeroed() };
    let mut len = ADDR_LEN;
    let result = f((&raw mut raw).cast(), &raw mut len)?;
    Ok((result, from_raw(&raw, len)))
}

fn family(domain: Domain) -> i32 {
    match domain {
        Domain::Inet => libc::AF_INET,
        Domain::Unix => libc::AF_UNIX,
        Domain::Inet6 => unreachable!("no script uses IPv6"),
    }
}

fn type_of(kind: SockType) -> i32 {
    let kind = match kind {
        SockType::Stream => libc::SOCK_STREAM,
        SockType::Datagram => libc::SOCK_DGRAM,
    };
    kind | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK
}

/// An address that a call has to fill in.
fn named(addr: Option<SockAddr>) -> SockAddr {
    addr.unwrap_or(SockAddr::Unix(UnixAddr::UNNAMED))
}

impl Scripted for RealKernel {
    fn settle(&self) {
        std::thread::sleep(Duration::from_millis(2));
    }
    fn unlink(&self, path: &UnixAddr) -> Result<(), Errno> {
        let path = path.as_pathname().ok_or(Errno::ENOENT)?.as_os_str().as_bytes();
        let path = CString::new(path).expect("no path contains a zero");
        // SAFETY: the pointer is to a string that lives until after the call.
        check(unsafe { libc::unlink(path.as_ptr()) }).map(drop)
    }
    fn open_regular(&self) -> Result<RawFd, Errno> {
        // SAFETY: the pointer is to a constant string.
        check(unsafe { libc::memfd_create(c"netpoll".as_ptr(), libc::MFD_CLOEXEC) })
    }
}

impl Kernel for RealKernel {
    fn clock(&self) -> u64 {
        unreachable!("the scripts look at no clock")
    }
    fn socket(&self, domain: Domain, kind: SockType) -> Result<RawFd, Errno> {
        // SAFETY: no pointers.
        check(unsafe { libc::socket(family(domain), type_of(kind), 0) })
    }
    fn socketpair(&self, domain: Domain, kind: SockType) -> Result<(RawFd, RawFd), Errno> {
        let mut fds = [0; 2];
        let to = fds.as_mut_ptr();
        // SAFETY: the pointer is to room for two numbers.
        check(unsafe { libc::socketpair(family(domain), type_of(kind), 0, to) })?;
        Ok((fds[0], fds[1]))
    }
    fn pipe2(&self) -> Result<(RawFd, RawFd), Errno> {
        let mut fds = [0; 2];
        // SAFETY: the pointer is to room for two numbers.
        check(unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) })?;
        Ok((fds[0], fds[1]))
    }
    fn dup(&self, fd: RawFd) -> Result<RawFd, Errno> {
        // SAFETY: no pointers.
        check(unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 0) })
    }
    fn set_nonblocking(&self, fd: RawFd) -> Result<(), Errno> {
        // SAFETY: no pointers.
        check(unsafe { libc::fcntl(fd, libc::F_SETFL, libc::O_NONBLOCK) }).map(drop)
    }
    fn bind(&self, fd: RawFd, addr: &SockAddr) -> Result<(), Errno> {
        let (raw, len) = to_raw(addr);
        // SAFETY: the pointer and length are those of a local structure.
        check(unsafe { libc::bind(fd, (&raw const raw).cast(), len) }).map(drop)
    }
    fn listen(&self, fd: RawFd, backlog: i32) -> Result<(), Errno> {
        // SAFETY: no pointers.
        check(unsafe { libc::listen(fd, backlog) }).map(drop)
    }
    fn accept4(&self, fd: RawFd) -> Result<(RawFd, SockAddr), Errno> {
        let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: `with_addr` passes pointers to local structures.
        let accept = |addr, len| check(unsafe { libc::accept4(fd, addr, len, flags) });
        with_addr(accept).map(|(fd, addr)| (fd, named(addr)))
    }
    fn connect(&self, fd: RawFd, addr: &SockAddr) -> Result<(), Errno> {
        let (raw, len) = to_raw(addr);
        // SAFETY: the pointer and length are those of a local structure.
        check(unsafe { libc::connect(fd, (&raw const raw).cast(), len) }).map(drop)
    }
    fn getsockname(&self, fd: RawFd) -> Result<SockAddr, Errno> {
        // SAFETY: `with_addr` passes pointers to local structures.
        let get = |addr, len| check(unsafe { libc::getsockname(fd, addr, len) });
        with_addr(get).map(|(_, addr)| named(addr))
    }
    fn getpeername(&self, fd: RawFd) -> Result<SockAddr, Errno> {
        // SAFETY: `with_addr` passes pointers to local structures.
        let get = |addr, len| check(unsafe { libc::getpeername(fd, addr, len) });
        with_addr(get).map(|(_, addr)| named(addr))
    }
    fn getsockopt(&self, fd: RawFd, level: i32, name: i32) -> Result<i32, Errno> {
        let mut value = 0i32;
        let mut len = size_of::<i32>() as libc::socklen_t;
        let to = (&raw mut value).cast();
        // SAFETY: the pointers are to locals of the right sizes.
        check(unsafe { libc::getsockopt(fd, level, name, to, &raw mut len) }).map(|_| value)
    }
    fn setsockopt(&self, fd: RawFd, level: i32, name: i32, value: i32) -> Result<(), Errno> {
        let (from, len) = ((&raw const value).cast(), size_of::<i32>() as libc::socklen_t);
        // SAFETY: the pointer is to a local of that size.
        check(unsafe { libc::setsockopt(fd, level, name, from, len) }).map(drop)
    }
    fn set_linger(&self, fd: RawFd, seconds: Option<u16>) -> Result<(), Errno> {
        let linger = libc::linger {
            l_onoff: seconds.is_some().into(),
            l_linger: seconds.unwrap_or(0).into(),
        };
        let (from, len) = ((&raw const linger).cast(), size_of::<libc::linger>());
        let (level, name) = (libc::SOL_SOCKET, libc::SO_LINGER);
        // SAFETY: the pointer is to a local of that size.
        check(unsafe { libc::setsockopt(fd, level, name, from, len as libc::socklen_t) }).map(drop)
    }
    fn shutdown(&self, fd: RawFd, how: Shutdown) -> Result<(), Errno> {
        let how = match how {
            Shutdown::Read => libc::SHUT_RD,
            Shutdown::Write => libc::SHUT_WR,
            Shutdown::Both => libc::SHUT_RDWR,
        };
        // SAFETY: no pointers.
        check(unsafe { libc::shutdown(fd, how) }).map(drop)
    }
    fn read(&self, fd: RawFd, buf: &mut [u8]) -> Result<usize, Errno> {
        // SAFETY: the pointer and length are those of the slice.
        check_len(unsafe { libc::read(fd, buf.as_mut_ptr().cast(), buf.len()) })
    }
    fn readv(&self, fd: RawFd, bufs: &mut [io::IoSliceMut<'_>]) -> Result<usize, Errno> {
        // SAFETY: `IoSliceMut` has the layout of `iovec`.
        check_len(unsafe { libc::readv(fd, bufs.as_mut_ptr().cast(), bufs.len() as i32) })
    }
    fn peek(&self, fd: RawFd, buf: &mut [u8]) -> Result<usize, Errno> {
        let (to, len) = (buf.as_mut_ptr().cast(), buf.len());
        // SAFETY: the pointer and length are those of the slice.
        check_len(unsafe { libc::recv(fd, to, len, libc::MSG_PEEK) })
    }
    fn recvfrom(
        &self,
        fd: RawFd,
        buf: &mut [u8],
        peek: bool,
    ) -> Result<(usize, Option<SockAddr>), Errno> {
        let (to, room) = (buf.as_mut_ptr().cast(), buf.len());
        let flags = if peek { libc::MSG_PEEK } else { 0 };
        // SAFETY: the buffer is the slice, and `with_addr` passes pointers to local structures.
        with_addr(|addr, len| check_len(unsafe { libc::recvfrom(fd, to, room, flags, addr, len) }))
    }
    fn write(&self, fd: RawFd, buf: &[u8]) -> Result<usize, Errno> {
        let (from, len) = (buf.as_ptr().cast(), buf.len());
        // SAFETY: the pointer and length are those of the slice.
        let result = check_len(unsafe { libc::send(fd, from, len, libc::MSG_NOSIGNAL) });
        if result != Err(Errno::ENOTSOCK) {
            return result;
        }
        // SAFETY: the pointer and length are those of the slice.
        check_len(unsafe { libc::write(fd, from, len) })
    }
    fn writev(&self, fd: RawFd, bufs: &[io::IoSlice<'_>]) -> Result<usize, Errno> {
        // SAFETY: all bits zero is a value of this plain structure.
        let mut message: libc::msghdr = unsafe { mem::zeroed() };
        message.msg_iov = bufs.as_ptr().cast_mut().cast();
        message.msg_iovlen = bufs.len();
        // SAFETY: `IoSlice` has the layout of `iovec`, and the message names nothing else.
        let sent = unsafe { libc::sendmsg(fd, &raw const message, libc::MSG_NOSIGNAL) };
        let result = check_len(sent);
        if result != Err(Errno::ENOTSOCK) {
            return result;
        }
        // SAFETY: `IoSlice` has the layout of `iovec`.
        check_len(unsafe { libc::writev(fd, bufs.as_ptr().cast(), bufs.len() as i32) })
    }
    fn sendto(&self, fd: RawFd, buf: &[u8], addr: Option<&SockAddr>) -> Result<usize, Errno> {
        let (from, count) = (buf.as_ptr().cast(), buf.len());
        let raw = addr.map(to_raw);
        let (to, len) = match &raw {
            Some((raw, len)) => ((&raw const *raw).cast(), *len),
            None => (std::ptr::null(), 0),
        };
        let flags = libc::MSG_NOSIGNAL;
        // SAFETY: the pointers and lengths are those of the slice and of a local structure.
        check_len(unsafe { libc::sendto(fd, from, count, flags, to, len) })
    }
    fn poll(&self, fd: RawFd, events: u32) -> Result<u32, Errno> {
        let mut raw = libc::pollfd { fd, events: events as i16, revents: 0 };
        // SAFETY: the pointer is to one local structure.
        check(unsafe { libc::poll(&raw mut raw, 1, 0) })?;
        let no_file = raw.revents & libc::POLLNVAL != 0;
        if no_file { Err(Errno::EBADF) } else { Ok(raw.revents as u32) }
    }
    fn close(&self, fd: RawFd) -> Result<(), Errno> {
        // SAFETY: the scripts close only what they opened.
        check(unsafe { libc::close(fd) }).map(drop)
    }
    fn epoll_create1(&self) -> Result<RawFd, Errno> {
        // SAFETY: no pointers.
        check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })
    }
    fn epoll_add(&self, epfd: RawFd, fd: RawFd, event: EpollEvent) -> Result<(), Errno> {
        let mut raw = libc::epoll_event { events: event.events, u64: event.data };
        // SAFETY: the pointer is to a local structure.
        check(unsafe { libc::epoll_ctl(epfd, libc::EPOLL_CTL_ADD, fd, &raw mut raw) }).map(drop)
    }
    fn epoll_mod(&self, epfd: RawFd, fd: RawFd, event: EpollEvent) -> Result<(), Errno> {
        let mut raw = libc::epoll_event { events: event.events, u64: event.data };
        // SAFETY: the pointer is to a local structure.
        check(unsafe { libc::epoll_ctl(epfd, libc::EPOLL_CTL_MOD, fd, &raw mut raw) }).map(drop)
    }
    fn epoll_del(&self, epfd: RawFd, fd: RawFd) -> Result<(), Errno> {
        let none = std::ptr::null_mut();
        // SAFETY: Linux ignores the pointer when deleting.
        check(unsafe { libc::epoll_ctl(epfd, libc::EPOLL_CTL_DEL, fd, none) }).map(drop)
    }
    fn epoll_wait(
        &self,
        epfd: RawFd,
        events: &mut [EpollEvent],
        timeout_ms: i32,
    ) -> Result<usize, Errno> {
        let mut raw = vec![libc::epoll_event { events: 0, u64: 0 }; events.len()];
        let (to, len) = (raw.as_mut_ptr(), raw.len() as i32);
        // SAFETY: the pointer and length are those of the vector.
        let n = check(unsafe { libc::epoll_wait(epfd, to, len, timeout_ms) })? as usize;
        for (event, raw) in events.iter_mut().zip(&raw[..n]) {
            (event.events, event.data) = (raw.events, raw.u64);
        }
        Ok(n)
    }
    fn eventfd(&self) -> Result<RawFd, Errno> {
        // SAFETY: no pointers.
        check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })
    }
    fn default_workers(&self) -> io::Result<usize> {
        Ok(1)
    }
}
