//! The kernel of this machine: the clock, the environment and the calls that every Unix has.
//!
//! One method, one system call; the exceptions are `read`, `write` and `writev`. They use `recv`,
//! which is cheaper, and `send` and `sendmsg`, because only those can be told not to raise `SIGPIPE`,
//! and fall back to the plain call for a descriptor that turns out not to be a socket: a pipe, or the
//! eventfd of the break protocol. So a pipe pays for a refused call, a tenth of a microsecond, and
//! sockets pay nothing for there being pipes.

use std::ffi::OsString;
use std::io;
use std::mem;
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::ptr;
use std::thread;

use super::linux;
use super::sockaddr::RawAddr;
use crate::platform::{Domain, EpollEvent, Errno, Kernel, RawFd, Shutdown, SockAddr, SockType};

/// The environment variable that sets the number of workers.
const WORKERS_VARIABLE: &str = "NETPOLL_WORKERS";
/// More workers than this are a typing error rather than a wish.
const WORKERS_MAX: usize = 1024;

/// The kernel of this machine. It has no state of its own.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsKernel;

impl Kernel for OsKernel {
    #[inline]
    fn clock(&self) -> u64 {
        let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the call writes into a local. It cannot fail for this clock.
        unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
        let ns = now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64;
        // 0 means "no time" to those who store deadlines.
        ns.max(1)
    }

    fn socket(&self, domain: Domain, kind: SockType) -> Result<RawFd, Errno> {
        linux::socket(domain, kind)
    }

    fn socketpair(&self, domain: Domain, kind: SockType) -> Result<(RawFd, RawFd), Errno> {
        linux::socketpair(domain, kind)
    }

    fn pipe2(&self) -> Result<(RawFd, RawFd), Errno> {
        linux::pipe2()
    }

    fn dup(&self, fd: RawFd) -> Result<RawFd, Errno> {
        // SAFETY: no memory is involved.
        check(unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 0) })
    }

    fn set_nonblocking(&self, fd: RawFd) -> Result<(), Errno> {
        set_status(fd, |flags| flags | libc::O_NONBLOCK)
    }

    fn bind(&self, fd: RawFd, addr: &SockAddr) -> Result<(), Errno> {
        let raw = RawAddr::new(addr);
        let (addr, len) = raw.as_parts();
        // SAFETY: `raw` outlives the call, which reads `len` bytes of it.
        check(unsafe { libc::bind(fd, addr, len) })?;
        Ok(())
    }

    fn listen(&self, fd: RawFd, backlog: i32) -> Result<(), Errno> {
        // SAFETY: no memory is involved.
        check(unsafe { libc::listen(fd, backlog) })?;
        Ok(())
    }

    fn accept4(&self, fd: RawFd) -> Result<(RawFd, SockAddr), Errno> {
        linux::accept4(fd)
    }

    fn connect(&self, fd: RawFd, addr: &SockAddr) -> Result<(), Errno> {
        let raw = RawAddr::new(addr);
        let (addr, len) = raw.as_parts();
        // SAFETY: `raw` outlives the call, which reads `len` bytes of it.
        check(unsafe { libc::connect(fd, addr, len) })?;
        Ok(())
    }

    fn getsockname(&self, fd: RawFd) -> Result<SockAddr, Errno> {
        let mut addr = RawAddr::empty();
        let (room, len) = addr.as_parts_mut();
        // SAFETY: `room` has the size that `len` says, and both are in a local of this frame.
        check(unsafe { libc::getsockname(fd, room, len) })?;
        addr.get()
    }

    fn getpeername(&self, fd: RawFd) -> Result<SockAddr, Errno> {
        let mut addr = RawAddr::empty();
        let (room, len) = addr.as_parts_mut();
        // SAFETY: `room` has the size that `len` says, and both are in a local of this frame.
        check(unsafe { libc::getpeername(fd, room, len) })?;
        addr.get()
    }

    fn getsockopt(&self, fd: RawFd, level: i32, name: i32) -> Result<i32, Errno> {
        let mut value: libc::c_int = 0;
        let mut len = INT_SIZE;
        let room = (&raw mut value).cast();
        // SAFETY: the call writes at most `len` bytes, which is the size of the local behind
        // `room`.
        check(unsafe { libc::getsockopt(fd, level, name, room, &raw mut len) })?;
        Ok(value)
    }

    fn setsockopt(&self, fd: RawFd, level: i32, name: i32, value: i32) -> Result<(), Errno> {
        let value = (&raw const value).cast();
        // SAFETY: the call reads the size of an `int` from a local that is one.
        check(unsafe { libc::setsockopt(fd, level, name, value, INT_SIZE) })?;
        Ok(())
    }

    fn set_linger(&self, fd: RawFd, seconds: Option<u16>) -> Result<(), Errno> {
        let linger = libc::linger {
            l_onoff: seconds.is_some().into(),
            l_linger: seconds.unwrap_or(0).into(),
        };
        let (value, len) = ((&raw const linger).cast(), size_of::<libc::linger>());
        let (level, name) = (libc::SOL_SOCKET, libc::SO_LINGER);
        // SAFETY: the call reads as many bytes as the local has.
        check(unsafe { libc::setsockopt(fd, level, name, value, len as libc::socklen_t) })?;
        Ok(())
    }

    fn shutdown(&self, fd: RawFd, how: Shutdown) -> Result<(), Errno> {
        let how = match how {
            Shutdown::Read => libc::SHUT_RD,
            Shutdown::Write => libc::SHUT_WR,
            Shutdown::Both => libc::SHUT_RDWR,
        };
        // SAFETY: no memory is involved.
        check(unsafe { libc::shutdown(fd, how) })?;
        Ok(())
    }

    #[inline]
    fn read(&self, fd: RawFd, buf: &mut [u8]) -> Result<usize, Errno> {
        let (room, len) = (buf.as_mut_ptr().cast(), buf.len());
        // On a socket `recv` is `read` without the detour through the file layer.
        // SAFETY: the buffer is exclusively ours and as long as we say.
        match check_len(unsafe { libc::recv(fd, room, len, 0) }) {
            // SAFETY: as above.
            Err(Errno::ENOTSOCK) => check_len(unsafe { libc::read(fd, room.cast(), len) }),
            result => result,
        }
    }

    fn readv(&self, fd: RawFd, bufs: &mut [io::IoSliceMut<'_>]) -> Result<usize, Errno> {
        let count = vector_len(bufs.len());
        // SAFETY: `IoSliceMut` is `iovec` by its documentation, each names memory that is
        // exclusively ours, and there are at least `count` of them.
        check_len(unsafe { libc::readv(fd, bufs.as_mut_ptr().cast(), count) })
    }

    fn peek(&self, fd: RawFd, buf: &mut [u8]) -> Result<usize, Errno> {
        let (room, len) = (buf.as_mut_ptr().cast(), buf.len());
        // SAFETY: the buffer is exclusively ours and as long as we say.
        check_len(unsafe { libc::recv(fd, room, len, libc::MSG_PEEK) })
    }

    fn recvfrom(
        &self,
        fd: RawFd,
        buf: &mut [u8],
        peek: bool,
    ) -> Result<(usize, Option<SockAddr>), Errno> {
        let (room, len) = (buf.as_mut_ptr().cast(), buf.len());
        let flags = if peek { libc::MSG_PEEK } else { 0 };
        let mut addr = RawAddr::empty();
        let (from, from_len) = addr.as_parts_mut();
        // SAFETY: the buffer is exclusively ours and as long as we say, and so is `from`, a local.
        let count = check_len(unsafe { libc::recvfrom(fd, room, len, flags, from, from_len) })?;
        // What has been received is not given back because of its sender's family.
        Ok((count, addr.get_if_any()))
    }

    #[inline]
    fn write(&self, fd: RawFd, buf: &[u8]) -> Result<usize, Errno> {
        let (data, len) = (buf.as_ptr().cast(), buf.len());
        // SAFETY: the kernel reads `len` bytes of a buffer that is that long.
        match check_len(unsafe { libc::send(fd, data, len, libc::MSG_NOSIGNAL) }) {
            // SAFETY: as above.
            Err(Errno::ENOTSOCK) => check_len(unsafe { libc::write(fd, data, len) }),
            result => result,
        }
    }

    fn writev(&self, fd: RawFd, bufs: &[io::IoSlice<'_>]) -> Result<usize, Errno> {
        let count = vector_len(bufs.len());
        // SAFETY: the C structure consists of integers, pointers and padding: zero is a value of
        // each.
        let mut message = unsafe { mem::zeroed::<libc::msghdr>() };
        // `IoSlice` is `iovec` by its documentation. The pointer is mutable for C's sake only.
        message.msg_iov = bufs.as_ptr().cast_mut().cast();
        message.msg_iovlen = count as _;
        // SAFETY: `message` names no address and no control data, and `count` buffers that are
        // borrowed during the call, which only reads them.
        match check_len(unsafe { libc::sendmsg(fd, &raw const message, libc::MSG_NOSIGNAL) }) {
            Err(Errno::ENOTSOCK) => {
                // SAFETY: as above.
                check_len(unsafe { libc::writev(fd, bufs.as_ptr().cast(), count) })
            }
            result => result,
        }
    }

    fn sendto(&self, fd: RawFd, buf: &[u8], addr: Option<&SockAddr>) -> Result<usize, Errno> {
        let (data, len) = (buf.as_ptr().cast(), buf.len());
        let raw = addr.map(RawAddr::new);
        let (addr, addr_len) = raw.as_ref().map_or((ptr::null(), 0), RawAddr::as_parts);
        let flags = libc::MSG_NOSIGNAL;
        // SAFETY: the kernel reads `len` bytes of a buffer that is that long, and `addr_len` bytes of
        // `raw`, which outlives the call; none of a null pointer, whose length is 0.
        check_len(unsafe { libc::sendto(fd, data, len, flags, addr, addr_len) })
    }

    fn poll(&self, fd: RawFd, events: u32) -> Result<u32, Errno> {
        linux::poll(fd, events)
    }

    fn close(&self, fd: RawFd) -> Result<(), Errno> {
        // SAFETY: no memory is involved. Whoever passes a number here owns it: the seam's contract.
        check(unsafe { libc::close(fd) })?;
        Ok(())
    }

    fn epoll_create1(&self) -> Result<RawFd, Errno> {
        linux::epoll_create1()
    }

    fn epoll_add(&self, epfd: RawFd, fd: RawFd, event: EpollEvent) -> Result<(), Errno> {
        linux::epoll_ctl(epfd, libc::EPOLL_CTL_ADD, fd, event)
    }

    fn epoll_mod(&self, epfd: RawFd, fd: RawFd, event: EpollEvent) -> Result<(), Errno> {
        linux::epoll_ctl(epfd, libc::EPOLL_CTL_MOD, fd, event)
    }

    fn epoll_del(&self, epfd: RawFd, fd: RawFd) -> Result<(), Errno> {
        linux::epoll_ctl(epfd, libc::EPOLL_CTL_DEL, fd, EpollEvent::default())
    }

    fn epoll_wait(
        &self,
        epfd: RawFd,
        events: &mut [EpollEvent],
        timeout_ms: i32,
    ) -> Result<usize, Errno> {
        linux::epoll_wait(epfd, events, timeout_ms)
    }

    fn eventfd(&self) -> Result<RawFd, Errno> {
        linux::eventfd()
    }

    fn default_workers(&self) -> io::Result<usize> {
        match std::env::var_os(WORKERS_VARIABLE) {
            Some(text) => workers_from(text),
            // A machine that will not say how many processors it has gets one worker.
            None => Ok(thread::available_parallelism().map_or(1, usize::from)),
        }
    }

    fn is_real(&self) -> bool {
        true
    }

    fn own(&self, fd: RawFd) -> io::Result<OwnedFd> {
        // SAFETY: the caller gives up an open descriptor, so this is its only owner.
        let owned = unsafe { OwnedFd::from_raw_fd(fd) };
        set_status(fd, |flags| flags & !libc::O_NONBLOCK)?;
        Ok(owned)
    }
}

/// Changes the status flags of an open file.
fn set_status(fd: RawFd, change: impl FnOnce(libc::c_int) -> libc::c_int) -> Result<(), Errno> {
    // SAFETY: no memory is involved.
    let flags = check(unsafe { libc::fcntl(fd, libc::F_GETFL) })?;
    let changed = change(flags);
    if changed != flags {
        // SAFETY: no memory is involved.
        check(unsafe { libc::fcntl(fd, libc::F_SETFL, changed) })?;
    }
    Ok(())
}

const INT_SIZE: libc::socklen_t = mem::size_of::<libc::c_int>() as libc::socklen_t;

/// How many buffers one vectored call may name (`IOV_MAX` of Linux; more is `EINVAL`).
const VECTOR_LEN_MAX: usize = 1024;

fn vector_len(len: usize) -> libc::c_int {
    len.min(VECTOR_LEN_MAX) as libc::c_int
}

/// The number of workers that `text` asks for: decimal digits and nothing else.
fn workers_from(text: OsString) -> io::Result<usize> {
    let digits = text.to_str().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    match digits.and_then(|digits| digits.parse().ok()) {
        Some(count) if (1..=WORKERS_MAX).contains(&count) => Ok(count),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{WORKERS_VARIABLE}={text:?}: it must be a number from 1 to {WORKERS_MAX}"),
        )),
    }
}

/// The result of a call that returns −1 and sets `errno` on failure.
#[inline]
pub(super) fn check(result: libc::c_int) -> Result<libc::c_int, Errno> {
    if result < 0 { Err(errno()) } else { Ok(result) }
}

/// As [`check`], for calls that return a count.
#[inline]
pub(super) fn check_len(result: isize) -> Result<usize, Errno> {
    usize::try_from(result).map_err(|_| errno())
}

#[cold]
fn errno() -> Errno {
    Errno(io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO))
}

#[cfg(test)]
#[path = "files_test.rs"]
mod files_tests;
#[cfg(test)]
#[path = "kernel_test.rs"]
mod tests;
