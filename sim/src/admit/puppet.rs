//! One descriptor of a trace, and who plays its peer.

use netpoll::platform::{Domain, Kernel, RawFd, Shutdown, SockAddr, SockType};

use super::host::OneThread;
use crate::kernel::Simulated;

/// The kernel that the calls are made on.
pub(super) type TheKernel = Simulated<OneThread>;

/// Bytes that are moved at a time where their number does not matter.
const CHUNK: usize = 64 * 1024;

/// What a descriptor of the trace is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Epoll,
    EventFd,
    Listener,
    /// A socket that is none of the others, yet or at all.
    Socket,
    /// One that is being connected to a listener of ours.
    Connecting {
        listener: RawFd,
    },
    /// One end of a connection that the puppet has reset.
    Abandoned,
    /// One end of a connection; the other one is the puppet.
    Connected {
        puppet: RawFd,
    },
}

/// A descriptor of the trace.
#[derive(Clone, Copy, Debug)]
pub(super) struct File {
    /// Its number in the simulated kernel.
    pub(super) number: RawFd,
    pub(super) role: Role,
}

/// The address of the simulated machine, with a port that it picks.
fn any() -> SockAddr {
    SockAddr::Inet(([127, 0, 0, 1], 0).into())
}

fn new_socket(kernel: &TheKernel) -> RawFd {
    kernel.socket(Domain::Inet, SockType::Stream).expect("the simulated kernel has room")
}

/// A listener for one connect of the trace.
pub(super) fn listener(kernel: &TheKernel) -> (RawFd, SockAddr) {
    let fd = new_socket(kernel);
    kernel.bind(fd, &any()).expect("a free port");
    kernel.listen(fd, 1).expect("it is bound");
    (fd, kernel.getsockname(fd).expect("it is bound"))
}

/// Puts a client into the queue of a listener of the trace.
pub(super) fn knock(kernel: &TheKernel, listener: RawFd) -> RawFd {
    let fd = new_socket(kernel);
    let addr = kernel.getsockname(listener).expect("it listens");
    let _under_way = kernel.connect(fd, &addr);
    kernel.host().deliver();
    fd
}

impl File {
    pub(super) fn puppet(&self) -> Option<RawFd> {
        match self.role {
            Role::Connected { puppet } => Some(puppet),
            _ => None,
        }
    }

    /// The connection that is under way comes about.
    pub(super) fn connect(&mut self, kernel: &TheKernel) {
        let Role::Connecting { listener } = self.role else { return };
        kernel.host().deliver();
        if let Ok((puppet, _)) = kernel.accept4(listener) {
            let _closed = kernel.close(listener);
            self.role = Role::Connected { puppet };
        }
    }

    /// How many bytes there are to be read, up to `most`.
    pub(super) fn unread(&self, kernel: &TheKernel, most: usize) -> usize {
        kernel.peek(self.number, &mut vec![0; most]).unwrap_or(0)
    }

    /// The puppet sends, until there are so many bytes to be read.
    pub(super) fn fill(&self, kernel: &TheKernel, bytes: usize) {
        let Some(puppet) = self.puppet() else { return };
        loop {
            let missing = bytes.saturating_sub(self.unread(kernel, bytes));
            if missing == 0 || !matches!(kernel.write(puppet, &vec![0; missing]), Ok(1..)) {
                return;
            }
            kernel.host().deliver();
        }
    }

    /// The puppet reads all that has been written to it.
    pub(super) fn drain(&self, kernel: &TheKernel) {
        let Some(puppet) = self.puppet() else { return };
        let mut buf = vec![0; CHUNK];
        kernel.host().deliver();
        while matches!(kernel.read(puppet, &mut buf), Ok(1..)) {
            kernel.host().deliver();
        }
    }

    /// The puppet has stopped reading long ago: there is no room for writing.
    pub(super) fn choke(&self, kernel: &TheKernel) {
        while matches!(kernel.write(self.number, &[0; CHUNK]), Ok(1..)) {
            kernel.host().deliver();
        }
    }

    /// The puppet has said everything.
    pub(super) fn end(&self, kernel: &TheKernel) {
        if let Some(puppet) = self.puppet() {
            let _once = kernel.shutdown(puppet, Shutdown::Write);
            kernel.host().deliver();
        }
    }

    /// The puppet resets the connection, and is gone.
    pub(super) fn reset(&mut self, kernel: &TheKernel) {
        if let Some(puppet) = self.puppet() {
            kernel.set_linger(puppet, Some(0)).expect("it is open");
            kernel.close(puppet).expect("it is open");
            kernel.host().deliver();
            self.role = Role::Abandoned;
        }
    }

    /// Nobody needs the puppet any more.
    pub(super) fn dismiss(&mut self, kernel: &TheKernel) {
        match self.role {
            // By a reset, so that no port waits for its packets.
            Role::Connected { .. } => self.reset(kernel),
            Role::Connecting { listener } => {
                let _closed = kernel.close(listener);
            }
            _ => {}
        }
    }
}
