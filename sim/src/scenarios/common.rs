//! What scenarios share: sockets that survive a shortage of descriptors, and a starting gate.

use std::io;
use std::net::SocketAddr;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use netpoll::net::{TcpListener, TcpStream};
use netpoll::platform::Errno;
use netpoll::{JoinHandle, time, yield_now};

/// How long to wait after a shortage, which the next attempt is unlikely to meet.
const SHORTAGE: Duration = Duration::from_micros(50);

/// A listener on a free port.
pub(super) fn listen() -> TcpListener {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    retry(|| TcpListener::bind(any)).expect("a free port can be listened on")
}

/// The address of a listener.
pub(super) fn address(listener: &TcpListener) -> SocketAddr {
    listener.local_addr().expect("it is open")
}

/// A connection to a listener that is there.
pub(super) fn connect(addr: SocketAddr) -> TcpStream {
    retry(|| TcpStream::connect(addr)).expect("somebody listens")
}

/// The next connection.
pub(super) fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    retry(|| listener.accept()).map(|(stream, _)| stream)
}

/// Both ends of a new connection.
pub(super) fn pair() -> (TcpStream, TcpStream) {
    let listener = listen();
    let client = connect(address(&listener));
    let server = accept(&listener).expect("nobody closes this listener");
    (client, server)
}

/// What a goroutine returned. Its panic goes on here.
pub(super) fn join<T>(goroutine: JoinHandle<T>) -> T {
    goroutine.join().unwrap_or_else(|payload| resume_unwind(payload))
}

/// Tries again for as long as descriptors are short, which faults may do.
fn retry<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match attempt() {
            Err(error) if is_shortage(&error) => time::sleep(SHORTAGE),
            result => return result,
        }
    }
}

fn is_shortage(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno);
    matches!(errno, Some(Errno::EMFILE | Errno::ENFILE))
}

/// Brings goroutines on different workers to the same moment, as near as can be.
///
/// They spin, because a goroutine that is woken up comes late by everything that its worker does
/// before it. Each round of the spin makes a system call, where a simulator can switch, and lets the
/// other goroutines of the worker run. After [`PATIENCE`] rounds it opens by itself: two goroutines on
/// one worker gain nothing from waiting, and a gate must never be what a scenario hangs in.
#[derive(Debug)]
pub(super) struct Gate {
    missing: AtomicUsize,
}

/// Rounds of spinning before a gate opens by itself.
const PATIENCE: usize = 40;

impl Gate {
    /// A gate for `n` goroutines.
    pub(super) fn new(n: usize) -> Gate {
        Gate { missing: AtomicUsize::new(n) }
    }

    /// Waits for the others. `stream` is any open one.
    pub(super) fn pass(&self, stream: &TcpStream) {
        self.spin(|| drop(stream.local_addr()));
    }

    /// As [`pass`](Gate::pass), for those who have a listener.
    pub(super) fn pass_with(&self, listener: &TcpListener) {
        self.spin(|| drop(listener.local_addr()));
    }

    fn spin(&self, call: impl Fn()) {
        self.missing.fetch_sub(1, Ordering::AcqRel);
        for _ in 0..PATIENCE {
            if self.missing.load(Ordering::Acquire) == 0 {
                return;
            }
            call();
            yield_now();
        }
    }
}
