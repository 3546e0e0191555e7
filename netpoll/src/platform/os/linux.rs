//! The calls that only Linux has: epoll, eventfd, and sockets that are non-blocking from birth.

use std::mem;

use super::kernel::{check, check_len};
use super::sockaddr::{RawAddr, family};
use crate::platform::{Domain, EpollEvent, Errno, RawFd, SockAddr, SockType};

pub(super) fn socket(domain: Domain, kind: SockType) -> Result<RawFd, Errno> {
    // SAFETY: no memory is involved.
    check(unsafe { libc::socket(family(domain), flagged(kind), 0) })
}

pub(super) fn socketpair(domain: Domain, kind: SockType) -> Result<(RawFd, RawFd), Errno> {
    let mut ends = [-1; 2];
    // SAFETY: the call writes two numbers into a local that has room for them.
    check(unsafe { libc::socketpair(family(domain), flagged(kind), 0, ends.as_mut_ptr()) })?;
    Ok(ends.into())
}

pub(super) fn pipe2() -> Result<(RawFd, RawFd), Errno> {
    let mut ends = [-1; 2];
    // SAFETY: the call writes two numbers into a local that has room for them.
    check(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) })?;
    Ok(ends.into())
}

/// The number of a socket type, with the flags that every socket is born with.
fn flagged(kind: SockType) -> libc::c_int {
    let kind = match kind {
        SockType::Stream => libc::SOCK_STREAM,
        SockType::Datagram => libc::SOCK_DGRAM,
    };
    kind | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK
}

pub(super) fn accept4(fd: RawFd) -> Result<(RawFd, SockAddr), Errno> {
    let mut addr = RawAddr::empty();
    let (room, len) = addr.as_parts_mut();
    let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: `room` has the size that `len` says, and both are in a local of this frame.
    let accepted = check(unsafe { libc::accept4(fd, room, len, flags) })?;
    match addr.get() {
        Ok(addr) => Ok((accepted, addr)),
        Err(errno) => {
            // A peer that cannot be named must not leak its descriptor.
            // SAFETY: the number was made above and nobody else knows it.
            unsafe { libc::close(accepted) };
            Err(errno)
        }
    }
}

pub(super) fn poll(fd: RawFd, events: u32) -> Result<u32, Errno> {
    // On Linux the bits of `poll` are those of `epoll`.
    const {
        assert!(libc::POLLIN as u32 == libc::EPOLLIN as u32);
        assert!(libc::POLLPRI as u32 == libc::EPOLLPRI as u32);
        assert!(libc::POLLOUT as u32 == libc::EPOLLOUT as u32);
        assert!(libc::POLLERR as u32 == libc::EPOLLERR as u32);
        assert!(libc::POLLHUP as u32 == libc::EPOLLHUP as u32);
        assert!(libc::POLLRDHUP as u32 == libc::EPOLLRDHUP as u32);
    }
    let mut record = libc::pollfd { fd, events: events as i16, revents: 0 };
    // SAFETY: the call reads and writes one record, a local.
    check(unsafe { libc::poll(&raw mut record, 1, 0) })?;
    if record.revents & libc::POLLNVAL != 0 {
        return Err(Errno::EBADF);
    }
    Ok(u32::from(record.revents.cast_unsigned()))
}

pub(super) fn epoll_create1() -> Result<RawFd, Errno> {
    // SAFETY: no memory is involved.
    check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })
}

/// Adds, changes or removes a registration, as `operation` says. Removing looks at no event, but kernels
/// before 2.6.9 wanted to see one.
pub(super) fn epoll_ctl(
    epfd: RawFd,
    operation: libc::c_int,
    fd: RawFd,
    event: EpollEvent,
) -> Result<(), Errno> {
    let mut record = libc::epoll_event { events: event.events, u64: event.data };
    // SAFETY: the kernel reads the record, a local, during the call only.
    check(unsafe { libc::epoll_ctl(epfd, operation, fd, &raw mut record) })?;
    Ok(())
}

/// Lets the kernel write its records into the caller's buffer, and widens them where they are.
///
/// The kernel's record is smaller than ours on x86-64, where it is packed. Going backwards, record
/// `i` is written at `16 i`, at or behind every record before it, which ends at `12 i` at the
/// latest: nothing is overwritten before it has been read. So there is no second buffer on the hot
/// path.
pub(super) fn epoll_wait(
    epfd: RawFd,
    events: &mut [EpollEvent],
    timeout_ms: i32,
) -> Result<usize, Errno> {
    const {
        assert!(mem::size_of::<libc::epoll_event>() <= mem::size_of::<EpollEvent>());
        assert!(mem::align_of::<libc::epoll_event>() <= mem::align_of::<EpollEvent>());
    }
    let records = events.as_mut_ptr().cast::<libc::epoll_event>();
    let capacity = libc::c_int::try_from(events.len()).unwrap_or(libc::c_int::MAX);
    // SAFETY: `capacity` records fit into the buffer because none is larger than an `EpollEvent`,
    // and whatever is left there is a valid `EpollEvent`, which consists of integers.
    let count =
        check_len(unsafe { libc::epoll_wait(epfd, records, capacity, timeout_ms) } as isize)?;
    debug_assert!(count <= events.len(), "epoll_wait returned more events than there is room for");
    for i in (0..count).rev() {
        // SAFETY: `i < count <= capacity`, so this stays inside the buffer.
        let record = unsafe { records.add(i) };
        // SAFETY: the kernel has written record `i`, and the events written so far by this loop,
        // all with a larger index, begin behind its end (see above).
        let record = unsafe { record.read() };
        events[i] = EpollEvent { events: record.events, data: record.u64 };
    }
    Ok(count)
}

pub(super) fn eventfd() -> Result<RawFd, Errno> {
    // SAFETY: no memory is involved.
    check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })
}
