//! The baseline: an echo server as a good engineer writes it by hand, one thread and one epoll loop.
//!
//! Edge-triggered, since that is the faster of the two here: a level-triggered queue looks at every
//! socket once more after it has been served. A short read says that the socket is drained, so in the
//! usual case a request costs one read, one write and its share of an `epoll_wait`. The exception is a
//! peer that has closed its side: its end of stream came with the same edge, so such a socket is read
//! until it says so.
//!
//! What does not fit into a socket waits in the connection, and nothing is read from it meanwhile.
//! Errors end their connection. There is nothing else: no timers, no limits, no other threads.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// Events taken by one call, as many as the runtime takes.
const BATCH: usize = 128;
/// Bytes read by one call.
const READ_SIZE: usize = 4096;

/// Edge-triggered interest in everything, set once.
const CONNECTION: u32 = (libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET) as u32;
const LISTENER: u32 = libc::EPOLLIN as u32;
/// The peer will send no more.
const LAST: u32 = (libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR) as u32;

/// An epoll queue whose user data is the descriptor's number.
#[derive(Debug)]
pub struct Epoll(OwnedFd);

impl Epoll {
    /// Opens a queue.
    ///
    /// # Errors
    /// What `epoll_create1` says.
    pub fn new() -> io::Result<Epoll> {
        // SAFETY: involves no memory.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was made above, and nobody else has it.
        Ok(Epoll(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Registers a descriptor. Closing it takes it out again.
    ///
    /// # Errors
    /// What `epoll_ctl` says.
    pub fn add(&self, fd: RawFd, events: u32) -> io::Result<()> {
        let mut event = libc::epoll_event { events, u64: u64::from(fd.cast_unsigned()) };
        let (epfd, add) = (self.0.as_raw_fd(), libc::EPOLL_CTL_ADD);
        // SAFETY: the call reads a local.
        match unsafe { libc::epoll_ctl(epfd, add, fd, &raw mut event) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Waits for events, without limit, and returns how many there are in `events`.
    ///
    /// # Errors
    /// What `epoll_wait` says.
    pub fn wait(&self, events: &mut [libc::epoll_event]) -> io::Result<usize> {
        let (epfd, room) = (self.0.as_raw_fd(), events.len() as libc::c_int);
        loop {
            // SAFETY: the call writes at most `room` events, and `events` has room for them.
            match unsafe { libc::epoll_wait(epfd, events.as_mut_ptr(), room, -1) } {
                count @ 0.. => return Ok(count as usize),
                _ => match io::Error::last_os_error() {
                    error if error.kind() == ErrorKind::Interrupted => {}
                    error => return Err(error),
                },
            }
        }
    }
}

/// One client.
struct Connection {
    stream: TcpStream,
    /// Read and not yet written back.
    unsent: Vec<u8>,
}

/// What is to become of a connection.
#[derive(PartialEq, Eq)]
enum Fate {
    Stays,
    Ends,
}

impl Connection {
    /// Reads and writes back until one of the two would have to wait.
    fn serve(&mut self, buf: &mut [u8], last: bool) -> io::Result<Fate> {
        loop {
            if !self.unsent.is_empty() {
                let count = self.send_unsent()?;
                self.unsent.drain(..count);
                if !self.unsent.is_empty() {
                    return Ok(Fate::Stays);
                }
            }
            let count = match self.stream.read(buf) {
                Ok(0) => return Ok(Fate::Ends),
                Ok(count) => count,
                Err(error) => return stays_if_it_only_waits(error),
            };
            let sent = match self.stream.write(&buf[..count]) {
                Ok(sent) => sent,
                Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
                Err(error) => return stays_if_it_only_waits(error),
            };
            if sent < count {
                self.unsent.extend_from_slice(&buf[sent..count]);
            } else if count < buf.len() && !last {
                return Ok(Fate::Stays);
            }
        }
    }

    fn send_unsent(&mut self) -> io::Result<usize> {
        match self.stream.write(&self.unsent) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            result => result,
        }
    }
}

fn stays_if_it_only_waits(error: io::Error) -> io::Result<Fate> {
    match error.kind() {
        ErrorKind::WouldBlock => Ok(Fate::Stays),
        _ => Err(error),
    }
}

/// Serves for ever.
///
/// # Errors
/// When the queue or the listener fails.
pub fn serve(listener: &TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let epoll = Epoll::new()?;
    epoll.add(listener.as_raw_fd(), LISTENER)?;
    // By number, which the kernel keeps small.
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut events = [libc::epoll_event { events: 0, u64: 0 }; BATCH];
    let mut buf = [0; READ_SIZE];
    loop {
        let count = epoll.wait(&mut events)?;
        for event in &events[..count] {
            let (what, number) = (event.events, event.u64 as usize);
            if number == listener.as_raw_fd() as usize {
                accept(listener, &epoll, &mut connections)?;
                continue;
            }
            let slot = &mut connections[number];
            let connection = slot.as_mut().expect("a registered connection");
            let fate = connection.serve(&mut buf, what & LAST != 0);
            if fate.unwrap_or(Fate::Ends) == Fate::Ends {
                *slot = None;
            }
        }
    }
}

fn accept(
    listener: &TcpListener,
    epoll: &Epoll,
    connections: &mut Vec<Option<Connection>>,
) -> io::Result<()> {
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) => return stays_if_it_only_waits(error).map(drop),
        };
        stream.set_nonblocking(true)?;
        let number = stream.as_raw_fd();
        epoll.add(number, CONNECTION)?;
        let index = number as usize;
        if connections.len() <= index {
            connections.resize_with(index + 1, || None);
        }
        connections[index] = Some(Connection { stream, unsent: Vec::new() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Client;
    use std::thread;

    #[test]
    fn the_baseline_echoes_more_than_its_buffer_and_sees_the_end() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        // It ends with the process.
        thread::spawn(move || serve(&listener));
        for number in 0..4 {
            let mut client = Client::connect(addr, number).unwrap();
            for size in [1, 64, READ_SIZE, READ_SIZE + 1, 1 << 20] {
                client.round_trip(size).unwrap();
            }
            let mut stream = client.stream();
            stream.write_all(b"last").unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).unwrap();
            assert_eq!(rest, b"last");
        }
    }
}
