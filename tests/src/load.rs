//! The load generator: an epoll loop of its own that keeps one request in flight on each connection.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;

use crate::pattern;
use crate::raw_epoll::Epoll;

/// Events taken by one call.
const BATCH: usize = 256;
const INTEREST: u32 = (libc::EPOLLIN | libc::EPOLLET) as u32;

/// One connection. Its requests are all alike: positions within one are told apart, requests are not.
struct Connection {
    stream: TcpStream,
    request: Vec<u8>,
    /// Bytes of the answer so far.
    received: usize,
}

/// Connections to an echo server.
pub struct Load {
    epoll: Epoll,
    /// By descriptor number.
    connections: Vec<Option<Connection>>,
    answer: Vec<u8>,
}

impl std::fmt::Debug for Load {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let count = self.connections.iter().flatten().count();
        f.debug_struct("Load").field("connections", &count).finish_non_exhaustive()
    }
}

impl Load {
    /// Opens `count` connections whose requests have `size` bytes; `size` has to fit into a socket's
    /// buffer.
    ///
    /// # Errors
    /// What the system calls say.
    pub fn connect(addr: SocketAddr, count: usize, size: usize) -> io::Result<Load> {
        let epoll = Epoll::new()?;
        let mut connections = Vec::new();
        for number in 0..count {
            let stream = TcpStream::connect(addr)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            let fd = stream.as_raw_fd();
            epoll.add(fd, INTEREST)?;
            let mut request = vec![0; size];
            pattern::fill(number as u64, 0, &mut request);
            let index = fd as usize;
            if connections.len() <= index {
                connections.resize_with(index + 1, || None);
            }
            connections[index] = Some(Connection { stream, request, received: 0 });
        }
        Ok(Load { epoll, connections, answer: vec![0; size] })
    }

    /// Makes `requests` requests, as many at a time as there are connections, and waits for all answers.
    ///
    /// # Errors
    /// What the system calls say; `InvalidData` for an answer that is not the request.
    pub fn run(&mut self, requests: u64) -> io::Result<()> {
        let (mut begun, mut answered) = (0, 0);
        for connection in self.connections.iter_mut().flatten() {
            if begun < requests {
                connection.send()?;
                begun += 1;
            }
        }
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; BATCH];
        while answered < requests {
            let count = self.epoll.wait(&mut events)?;
            for event in &events[..count] {
                let number = event.u64 as usize;
                let connection = self.connections[number].as_mut();
                let connection = connection.expect("a registered connection");
                if !connection.receive(&mut self.answer)? {
                    continue;
                }
                answered += 1;
                if begun < requests {
                    connection.send()?;
                    begun += 1;
                }
            }
        }
        Ok(())
    }
}

impl Connection {
    fn send(&mut self) -> io::Result<()> {
        let count = self.stream.write(&self.request)?;
        assert_eq!(count, self.request.len(), "a request that does not fit");
        Ok(())
    }

    /// Whether the answer is complete.
    fn receive(&mut self, answer: &mut [u8]) -> io::Result<bool> {
        while self.received < self.request.len() {
            let room = &mut answer[self.received..];
            let count = match self.stream.read(room) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            };
            let expected = &self.request[self.received..self.received + count];
            if room[..count] != *expected {
                return Err(ErrorKind::InvalidData.into());
            }
            self.received += count;
        }
        self.received = 0;
        Ok(true)
    }
}
