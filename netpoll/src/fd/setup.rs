//! Sockets on their way to becoming descriptors: listen, connect, adopt.

use std::io;
use std::os::fd::{IntoRawFd as _, OwnedFd};
use std::sync::Arc;

use super::file::File;
use crate::ops::{Deadlines, Descriptor};
use crate::platform::{Errno, Kernel, Platform, RawFd, SockAddr, SockType};
use crate::sched::shared::Shared;
use crate::trace::Mode;

/// A socket that is closed again unless it becomes a descriptor.
struct Socket<'a, P: Platform> {
    shared: &'a Arc<Shared<P>>,
    number: RawFd,
}

impl<'a, P: Platform> Socket<'a, P> {
    fn stream(shared: &'a Arc<Shared<P>>, addr: &SockAddr) -> io::Result<Socket<'a, P>> {
        let number = shared.kernel.socket(addr.domain(), SockType::Stream)?;
        Ok(Socket { shared, number })
    }

    /// Registers it: from here on the descriptor closes it.
    fn register(self) -> io::Result<Arc<File<P>>> {
        let (shared, number) = (self.shared, self.number);
        std::mem::forget(self);
        File::new(shared, number)
    }
}

impl<P: Platform> Drop for Socket<'_, P> {
    fn drop(&mut self) {
        let _released = self.shared.kernel.close(self.number);
    }
}

/// See [`RuntimeOps::tcp_listen`](crate::ops::RuntimeOps::tcp_listen).
pub(crate) fn tcp_listen<P: Platform>(
    shared: &Arc<Shared<P>>,
    addr: SockAddr,
    backlog: i32,
) -> io::Result<Arc<dyn Descriptor>> {
    let socket = Socket::stream(shared, &addr)?;
    let kernel = &shared.kernel;
    kernel.setsockopt(socket.number, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    kernel.bind(socket.number, &addr)?;
    kernel.listen(socket.number, backlog)?;
    Ok(socket.register()?)
}

/// See [`RuntimeOps::tcp_connect`](crate::ops::RuntimeOps::tcp_connect).
///
/// The connection is begun before the socket is registered, so an edge can only mean its outcome.
pub(crate) fn tcp_connect<P: Platform>(
    shared: &Arc<Shared<P>>,
    addr: SockAddr,
    deadline: Option<u64>,
) -> io::Result<Arc<dyn Descriptor>> {
    let socket = Socket::stream(shared, &addr)?;
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

/// See [`RuntimeOps::adopt`](crate::ops::RuntimeOps::adopt).
pub(crate) fn adopt<P: Platform>(
    shared: &Arc<Shared<P>>,
    fd: OwnedFd,
) -> io::Result<Arc<dyn Descriptor>> {
    if !shared.kernel.is_real() {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "a descriptor of the operating system cannot enter a simulated kernel",
        ));
    }
    Ok(File::new(shared, fd.into_raw_fd())?)
}
