//! How files come to be: listen, connect, bind, pairs, pipes, and what others made.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, IntoRawFd as _, OwnedFd};
use std::sync::Arc;

use super::file::{File, Kind, Owner};
use super::nap::Nap;
use crate::net::timeout_error;
use crate::ops::{Deadlines, Descriptor};
use crate::platform::{Domain, Errno, Kernel, Platform, RawFd, SockAddr, SockType};
use crate::sched::shared::Shared;
use crate::trace::Mode;

/// Two descriptors that are made by one call.
type Pair = (Arc<dyn Descriptor>, Arc<dyn Descriptor>);

/// A number that is closed again unless it becomes a descriptor.
struct Number<'a, P: Platform> {
    shared: &'a Arc<Shared<P>>,
    number: RawFd,
    kind: Kind,
}

impl<'a, P: Platform> Number<'a, P> {
    /// A stream socket of the family of `addr`.
    fn stream(shared: &'a Arc<Shared<P>>, addr: &SockAddr) -> io::Result<Number<'a, P>> {
        let number = shared.kernel.socket(addr.domain(), SockType::Stream)?;
        let kind = match addr {
            SockAddr::Inet(_) => Kind::Tcp,
            SockAddr::Unix(_) => Kind::Stream,
        };
        Ok(Number { shared, number, kind })
    }

    /// Registers it: from here on the descriptor closes it.
    fn register(self) -> io::Result<Arc<File<P>>> {
        let Number { shared, number, kind } = self;
        std::mem::forget(self);
        File::new(shared, number, kind, Owner::File)
    }
}

impl<P: Platform> Drop for Number<'_, P> {
    fn drop(&mut self) {
        let _released = self.shared.kernel.close(self.number);
    }
}

/// See [`RuntimeOps::listen`](crate::ops::RuntimeOps::listen).
pub(crate) fn listen<P: Platform>(
    shared: &Arc<Shared<P>>,
    addr: SockAddr,
    backlog: i32,
) -> io::Result<Arc<dyn Descriptor>> {
    let socket = Number::stream(shared, &addr)?;
    let kernel = &shared.kernel;
    if let SockAddr::Inet(_) = addr {
        kernel.setsockopt(socket.number, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    }
    kernel.bind(socket.number, &addr)?;
    kernel.listen(socket.number, backlog)?;
    Ok(socket.register()?)
}

/// See [`RuntimeOps::connect`](crate::ops::RuntimeOps::connect).
pub(crate) fn connect<P: Platform>(
    shared: &Arc<Shared<P>>,
    addr: SockAddr,
    deadline: Option<u64>,
) -> io::Result<Arc<dyn Descriptor>> {
    match addr {
        SockAddr::Inet(_) => connect_inet(shared, addr, deadline),
        SockAddr::Unix(_) => connect_unix(shared, addr, deadline),
    }
}

/// The connection is begun before the socket is registered, so an edge can only mean its outcome.
fn connect_inet<P: Platform>(
    shared: &Arc<Shared<P>>,
    addr: SockAddr,
    deadline: Option<u64>,
) -> io::Result<Arc<dyn Descriptor>> {
    let socket = Number::stream(shared, &addr)?;
    match shared.kernel.connect(socket.number, &addr) {
        Ok(()) | Err(Errno::EISCONN) => return Ok(socket.register()?),
        // After EINTR the connection goes on in the background, as after EINPROGRESS.
        Err(Errno::EINPROGRESS | Errno::EALREADY | Errno::EINTR) => {}
        Err(errno) => return Err(errno.into()),
    }
    let file = socket.register()?;
    if deadline.is_some() {
        file.set_deadline(Deadlines::Write, deadline)?;
    }
    file.says_use();
    let connected = wait_connected(&file);
    file.says_leave();
    connected?;
    if deadline.is_some() {
        file.set_deadline(Deadlines::Write, None)?;
    }
    Ok(file)
}

/// Waits for the outcome of a connection attempt. Nobody else has the descriptor yet, so no lock.
fn wait_connected<P: Platform>(file: &Arc<File<P>>) -> io::Result<()> {
    let (kernel, number) = (&file.shared.kernel, file.raw_fd());
    loop {
        file.wait_for_edge(Mode::Write)?;
        match Errno(kernel.getsockopt(number, libc::SOL_SOCKET, libc::SO_ERROR)?) {
            Errno::EISCONN => return Ok(()),
            Errno::EINPROGRESS | Errno::EALREADY | Errno::EINTR => {}
            // 0 alone does not say "connected": a spurious edge, of the descriptor's earlier life for
            // one, looks the same while the connection is in progress (golang/go#14548).
            Errno(0) => match kernel.getpeername(number) {
                Ok(_) => return Ok(()),
                Err(Errno::ENOTCONN) => {}
                Err(errno) => return Err(errno.into()),
            },
            errno => return Err(errno.into()),
        }
    }
}

/// A Unix socket is connected at once or not at all: a listener whose queue is full says `EAGAIN`, and
/// nothing tells when it has room.
fn connect_unix<P: Platform>(
    shared: &Arc<Shared<P>>,
    addr: SockAddr,
    deadline: Option<u64>,
) -> io::Result<Arc<dyn Descriptor>> {
    let socket = Number::stream(shared, &addr)?;
    let mut nap = Nap::new(socket.number);
    loop {
        match shared.kernel.connect(socket.number, &addr) {
            Ok(()) | Err(Errno::EISCONN) => return Ok(socket.register()?),
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => {
                if deadline.is_some_and(|deadline| deadline <= shared.kernel.clock()) {
                    return Err(timeout_error());
                }
                nap.take();
            }
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// See [`RuntimeOps::datagram`](crate::ops::RuntimeOps::datagram).
pub(crate) fn datagram<P: Platform>(
    shared: &Arc<Shared<P>>,
    domain: Domain,
    addr: Option<SockAddr>,
) -> io::Result<Arc<dyn Descriptor>> {
    let number = shared.kernel.socket(domain, SockType::Datagram)?;
    let socket = Number { shared, number, kind: Kind::Datagram };
    if let Some(addr) = addr {
        shared.kernel.bind(number, &addr)?;
    }
    Ok(socket.register()?)
}

/// See [`RuntimeOps::socketpair`](crate::ops::RuntimeOps::socketpair).
pub(crate) fn socketpair<P: Platform>(shared: &Arc<Shared<P>>, kind: SockType) -> io::Result<Pair> {
    let numbers = shared.kernel.socketpair(Domain::Unix, kind)?;
    let kind = match kind {
        SockType::Stream => Kind::Stream,
        SockType::Datagram => Kind::Datagram,
    };
    register_both(shared, numbers, kind)
}

/// See [`RuntimeOps::pipe`](crate::ops::RuntimeOps::pipe).
pub(crate) fn pipe<P: Platform>(shared: &Arc<Shared<P>>) -> io::Result<Pair> {
    let numbers = shared.kernel.pipe2()?;
    register_both(shared, numbers, Kind::Other)
}

fn register_both<P: Platform>(
    shared: &Arc<Shared<P>>,
    numbers: (RawFd, RawFd),
    kind: Kind,
) -> io::Result<Pair> {
    // Both are owned before anything can fail.
    let first = Number { shared, number: numbers.0, kind };
    let second = Number { shared, number: numbers.1, kind };
    Ok((first.register()?, second.register()?))
}

/// See [`RuntimeOps::adopt`](crate::ops::RuntimeOps::adopt).
pub(crate) fn adopt<P: Platform>(
    shared: &Arc<Shared<P>>,
    fd: OwnedFd,
) -> io::Result<Arc<dyn Descriptor>> {
    check_real(shared)?;
    shared.kernel.set_nonblocking(fd.as_raw_fd())?;
    let kind = Kind::of(&shared.kernel, fd.as_raw_fd());
    Ok(File::new(shared, fd.into_raw_fd(), kind, Owner::File)?)
}

/// See [`RuntimeOps::watch`](crate::ops::RuntimeOps::watch).
pub(crate) fn watch<P: Platform>(
    shared: &Arc<Shared<P>>,
    fd: BorrowedFd<'_>,
) -> io::Result<Arc<dyn Descriptor>> {
    check_real(shared)?;
    let kind = Kind::of(&shared.kernel, fd.as_raw_fd());
    let file = File::new(shared, fd.as_raw_fd(), kind, Owner::Other)?;
    // Only now: a file that cannot be polled stays as it was.
    shared.kernel.set_nonblocking(fd.as_raw_fd())?;
    Ok(file)
}

/// Refuses what comes from the operating system on a kernel that is not its.
fn check_real<P: Platform>(shared: &Shared<P>) -> io::Result<()> {
    if shared.kernel.is_real() {
        return Ok(());
    }
    let text = "a descriptor of the operating system cannot enter a simulated kernel";
    Err(io::Error::new(io::ErrorKind::Unsupported, text))
}
