//! What scenarios share: what a correct program tolerates, data that shows where it comes from, and a
//! starting gate.
//!
//! A helper tolerates exactly what it names, so that a scenario never takes a bug for bad weather:
//!
//! | helper | tolerates |
//! |---|---|
//! | [`listen`], [`connect`], [`accept`], [`try_connect`], [`pair`] | a shortage of descriptors, memory or room in the poller: tries again |
//! | [`connect`], [`pair`] | an attempt that the network or the listener's machine failed: tries again |
//! | [`is_reset`], [`is_shortage`], [`is_failed_attempt`] | nothing: they say what may be the reason of an error |

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use netpoll::net::{TcpListener, TcpStream};
use netpoll::platform::Errno;
use netpoll::{JoinHandle, go, time, yield_now};

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
    loop {
        match try_connect(addr) {
            Err(error) if is_failed_attempt(&error) => time::sleep(SHORTAGE),
            result => return result.expect("somebody listens"),
        }
    }
}

/// A connection, if somebody listens.
pub(super) fn try_connect(addr: SocketAddr) -> io::Result<TcpStream> {
    retry(|| TcpStream::connect(addr))
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

/// Whether this is how a connection looks whose other end was closed with bytes unread, or whose listener
/// was closed before it was accepted.
pub(super) fn is_reset(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}

/// The bytes of `stream` from `start` on, each of which says where it belongs: streams differ
/// everywhere, and places of one stream that are less than 251 apart.
pub(super) fn pattern(stream: u8, start: usize, len: usize) -> Vec<u8> {
    (start..start + len).map(|at| byte(stream, at)).collect()
}

/// Demands that `bytes` are those of `stream` from `start` on.
#[track_caller]
pub(super) fn check_pattern(stream: u8, start: usize, bytes: &[u8]) {
    let differs = (start..).zip(bytes).find(|&(at, &found)| found != byte(stream, at));
    if let Some((at, found)) = differs {
        panic!("byte {at} of stream {stream} is {found} instead of {}", byte(stream, at));
    }
}

fn byte(stream: u8, at: usize) -> u8 {
    // 251 is prime: the pattern falls into step with no buffer size.
    (at % 251) as u8 ^ stream.wrapping_mul(67)
}

/// A little of everything, for scenarios that disturb it: connections, messages, timers, goroutines.
pub(super) fn load() {
    const CLIENTS: u8 = 2;
    const MESSAGES: usize = 4;
    let listener = listen();
    let addr = address(&listener);
    let server = go(move || {
        let echo = |mut stream: TcpStream| {
            let mut buf = [0; 64];
            while let len @ 1.. = stream.read(&mut buf).expect("the client is there") {
                stream.write_all(&buf[..len]).expect("the client is there");
            }
        };
        let accepted = (0..CLIENTS).map(|_| accept(&listener).expect("nobody closes it"));
        let connections: Vec<_> = accepted.map(|stream| go(move || echo(stream))).collect();
        connections.into_iter().for_each(join);
    });
    let client = |number: u8| {
        move || {
            let mut stream = connect(addr);
            for message in 0..MESSAGES {
                stream.write_all(&pattern(number, message, 32)).expect("the server is there");
                let mut heard = [0; 32];
                stream.read_exact(&mut heard).expect("the server is there");
                check_pattern(number, message, &heard);
                time::sleep(Duration::from_micros(10));
            }
        }
    };
    let clients: Vec<_> = (0..CLIENTS).map(|number| go(client(number))).collect();
    clients.into_iter().for_each(join);
    join(server);
}

/// Writes into a stream until the writer is released, by an error; nobody reads it, or not all of it.
/// Returns how much was written, and the error.
pub(super) fn write_without_end(mut stream: &TcpStream) -> (usize, io::Error) {
    // Address space however long it is: nobody reads it but the kernel.
    const CHUNK: usize = 1 << 20;
    /// Writes in a row that no ordinary pair of buffers has room for.
    const EAGER: u32 = 16;
    let zeros = vec![0; CHUNK];
    let mut total = 0;
    for turn in 0.. {
        match stream.write(&zeros) {
            Ok(len) => total += len,
            Err(error) => return (total, error),
        }
        // A peer that is gone throws away what comes, at no cost, until its reset has arrived.
        if turn > EAGER {
            time::sleep(Duration::from_micros(10) * turn);
        }
    }
    unreachable!("it writes for ever")
}

/// Tries again for as long as descriptors or memory are short, which faults may do.
fn retry<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match attempt() {
            Err(error) if is_shortage(&error) => time::sleep(SHORTAGE),
            result => return result,
        }
    }
}

/// Whether descriptors, memory or room in the poller were short.
pub(super) fn is_shortage(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno);
    matches!(
        errno,
        Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM | Errno::ENOSPC)
    )
}

/// Whether an attempt to connect may have failed although somebody listens: a busy network or a busy
/// listener does that. The kernel's `ETIMEDOUT` is not the runtime's, which has no number.
pub(super) fn is_failed_attempt(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno);
    matches!(errno, Some(Errno::ECONNREFUSED | Errno::EHOSTUNREACH | Errno::ETIMEDOUT))
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
