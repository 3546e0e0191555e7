//! The kernel of this machine, as far as the conformance scripts need it. It is written against libc
//! and not taken from `netpoll::platform::os`, so that a mistake there cannot hide one here.

use std::io;
use std::mem;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use netpoll::platform::{Domain, EpollEvent, Errno, Kernel, RawFd, Shutdown, SockAddr, SockType};

use super::Scripted;

#[derive(Debug)]
pub(super) struct RealKernel;

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

fn to_raw(addr: &SockAddr) -> libc::sockaddr_in {
    let Some(SocketAddr::V4(addr)) = addr.as_inet() else {
        unreachable!("the scripts use IPv4");
    };
    libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: addr.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from(*addr.ip()).to_be() },
        sin_zero: [0; 8],
    }
}

const ADDR_LEN: libc::socklen_t = size_of::<libc::sockaddr_in>() as libc::socklen_t;

/// Calls `f` with room for an address, and returns the address that it filled in.
fn with_addr(
    f: impl FnOnce(*mut libc::sockaddr, *mut libc::socklen_t) -> i32,
) -> Result<(i32, SockAddr), Errno> {
    // SAFETY: all bits zero is a value of this plain structure.
    let mut raw: libc::sockaddr_in = unsafe { mem::zeroed() };
    let mut len = ADDR_LEN;
    let result = check(f((&raw mut raw).cast(), &raw mut len))?;
    let ip = Ipv4Addr::from(u32::from_be(raw.sin_addr.s_addr));
    let addr = SocketAddrV4::new(ip, u16::from_be(raw.sin_port));
    Ok((result, SockAddr::Inet(addr.into())))
}

impl Scripted for RealKernel {
    fn settle(&self) {
        std::thread::sleep(Duration::from_millis(2));
    }
}

impl Kernel for RealKernel {
    fn clock(&self) -> u64 {
        unreachable!("the scripts look at no clock")
    }
    fn socket(&self, _domain: Domain, _kind: SockType) -> Result<RawFd, Errno> {
        let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: no pointers.
        check(unsafe { libc::socket(libc::AF_INET, kind, 0) })
    }
    fn socketpair(&self, _domain: Domain, _kind: SockType) -> Result<(RawFd, RawFd), Errno> {
        unreachable!("the scripts make no pairs")
    }
    fn pipe2(&self) -> Result<(RawFd, RawFd), Errno> {
        unreachable!("the scripts use no pipes")
    }
    fn dup(&self, fd: RawFd) -> Result<RawFd, Errno> {
        // SAFETY: no pointers.
        check(unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 0) })
    }
    fn set_nonblocking(&self, _fd: RawFd) -> Result<(), Errno> {
        unreachable!("everything that the scripts make is non-blocking")
    }
    fn bind(&self, fd: RawFd, addr: &SockAddr) -> Result<(), Errno> {
        let raw = to_raw(addr);
        // SAFETY: the pointer and length are those of a local structure.
        check(unsafe { libc::bind(fd, (&raw const raw).cast(), ADDR_LEN) }).map(drop)
    }
    fn listen(&self, fd: RawFd, backlog: i32) -> Result<(), Errno> {
        // SAFETY: no pointers.
        check(unsafe { libc::listen(fd, backlog) }).map(drop)
    }
    fn accept4(&self, fd: RawFd) -> Result<(RawFd, SockAddr), Errno> {
        let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: `with_addr` passes pointers to local structures.
        with_addr(|addr, len| unsafe { libc::accept4(fd, addr, len, flags) })
    }
    fn connect(&self, fd: RawFd, addr: &SockAddr) -> Result<(), Errno> {
        let raw = to_raw(addr);
        // SAFETY: the pointer and length are those of a local structure.
        check(unsafe { libc::connect(fd, (&raw const raw).cast(), ADDR_LEN) }).map(drop)
    }
    fn getsockname(&self, fd: RawFd) -> Result<SockAddr, Errno> {
        // SAFETY: `with_addr` passes pointers to local structures.
        with_addr(|addr, len| unsafe { libc::getsockname(fd, addr, len) }).map(|(_, addr)| addr)
    }
    fn getpeername(&self, fd: RawFd) -> Result<SockAddr, Errno> {
        // SAFETY: `with_addr` passes pointers to local structures.
        with_addr(|addr, len| unsafe { libc::getpeername(fd, addr, len) }).map(|(_, addr)| addr)
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
        _fd: RawFd,
        _buf: &mut [u8],
        _peek: bool,
    ) -> Result<(usize, Option<SockAddr>), Errno> {
        unreachable!("the scripts use no datagrams")
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
        // SAFETY: `IoSlice` has the layout of `iovec`.
        check_len(unsafe { libc::writev(fd, bufs.as_ptr().cast(), bufs.len() as i32) })
    }
    fn sendto(&self, _fd: RawFd, _buf: &[u8], _addr: Option<&SockAddr>) -> Result<usize, Errno> {
        unreachable!("the scripts use no datagrams")
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
