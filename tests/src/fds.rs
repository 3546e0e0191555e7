//! Descriptors that `std` does not make, and what it does not do to those it makes.

use std::fs::File;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::time::Duration;

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn owned(fd: RawFd) -> OwnedFd {
    // SAFETY: the callers pass a number that the kernel has just given them.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// An eventfd that counts from 0, in blocking mode.
///
/// # Errors
/// What `eventfd` says.
pub fn eventfd() -> io::Result<File> {
    // SAFETY: involves no memory.
    let fd = check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) })?;
    Ok(owned(fd).into())
}

/// A timer descriptor that expires once, after `delay`, in blocking mode.
///
/// # Errors
/// What `timerfd_create` and `timerfd_settime` say.
pub fn timerfd(delay: Duration) -> io::Result<File> {
    // SAFETY: involves no memory.
    let fd = check(unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_CLOEXEC) })?;
    let timer = File::from(owned(fd));
    let it_value = libc::timespec {
        tv_sec: delay.as_secs() as libc::time_t,
        tv_nsec: delay.subsec_nanos().into(),
    };
    let setting =
        libc::itimerspec { it_interval: libc::timespec { tv_sec: 0, tv_nsec: 0 }, it_value };
    // SAFETY: the call reads a local, and is told of nowhere to write.
    check(unsafe { libc::timerfd_settime(fd, 0, &raw const setting, ptr::null_mut()) })?;
    Ok(timer)
}

/// Lets `SIGPIPE` end this process, as it does to one whose `main` is not Rust's.
pub fn default_sigpipe() {
    // SAFETY: a default action refers to no code and no memory.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}

/// Whether the open file is in non-blocking mode.
///
/// # Errors
/// What `fcntl` says.
pub fn is_nonblocking(file: &impl AsRawFd) -> io::Result<bool> {
    // SAFETY: involves no memory.
    let flags = check(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETFL) })?;
    Ok(flags & libc::O_NONBLOCK != 0)
}

/// Lowers the number of connections that a listener keeps until they are accepted.
///
/// # Errors
/// What `listen` says.
pub fn set_backlog(listener: &impl AsRawFd, backlog: i32) -> io::Result<()> {
    // SAFETY: involves no memory.
    check(unsafe { libc::listen(listener.as_raw_fd(), backlog) }).map(drop)
}

/// A control message with one descriptor, as `cmsg(3)` lays it out.
#[repr(C)]
struct Control {
    header: libc::cmsghdr,
    descriptor: RawFd,
}

/// Sends `bytes`, and with them a descriptor, over a Unix socket. Returns how many bytes went.
///
/// # Errors
/// What `sendmsg` says.
pub fn send_with_descriptor(
    socket: &impl AsRawFd,
    bytes: &[u8],
    descriptor: &impl AsRawFd,
) -> io::Result<usize> {
    // SAFETY: all bits zero is a value of this plain structure.
    let mut control: Control = unsafe { mem::zeroed() };
    control.header.cmsg_level = libc::SOL_SOCKET;
    control.header.cmsg_type = libc::SCM_RIGHTS;
    control.header.cmsg_len = mem::offset_of!(Control, descriptor) + size_of::<RawFd>();
    control.descriptor = descriptor.as_raw_fd();
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: as above.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = (&raw mut control).cast();
    message.msg_controllen = size_of::<Control>();
    // SAFETY: `message` refers to `bytes` and `control`, which outlive the call.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn an_eventfd_counts_and_a_timer_expires() {
        let mut counter = [0; 8];
        let mut eventfd = eventfd().unwrap();
        eventfd.write_all(&3u64.to_ne_bytes()).unwrap();
        eventfd.read_exact(&mut counter).unwrap();
        assert_eq!(u64::from_ne_bytes(counter), 3);
        assert!(!is_nonblocking(&eventfd).unwrap());
        let start = std::time::Instant::now();
        timerfd(Duration::from_millis(5)).unwrap().read_exact(&mut counter).unwrap();
        assert!(start.elapsed() >= Duration::from_millis(5));
        assert_eq!(u64::from_ne_bytes(counter), 1);
    }

    /// It is what `Kind::Stream` of the runtime is about.
    #[test]
    fn a_read_ends_behind_bytes_that_carry_a_descriptor() {
        let (mut one, mut other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert_eq!(send_with_descriptor(&one, b"ab", &one).unwrap(), 2);
        one.write_all(b"cd").unwrap();
        let mut buf = [0; 8];
        assert_eq!(other.read(&mut buf).unwrap(), 2);
        assert_eq!(other.read(&mut buf).unwrap(), 2);
    }
}
