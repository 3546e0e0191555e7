//! The blocking client: one thread a connection, `std::net` and nothing of the runtime.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::pattern;

/// Bytes on their way at the most. A client that wrote everything before it read anything would wait
/// for a server that waits for it, once both directions' buffers are full; this much fits in the
/// smallest buffers that Linux gives a connection.
const WINDOW: usize = 64 * 1024;
/// Bytes read by one call.
const READ_SIZE: usize = 16 * 1024;
/// A server that has not moved for so long will not: an error is better than a client that hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// What came back instead of the bytes that were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// Number of the connection.
    pub stream: u64,
    /// Position in its stream.
    pub at: u64,
}

/// Why a client gave up.
#[derive(Debug)]
pub enum Failure {
    /// The wrong bytes came back.
    Mismatch(Mismatch),
    /// A call failed; what it was for.
    Io(&'static str, io::Error),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Mismatch(Mismatch { stream, at }) => {
                write!(f, "connection {stream}: wrong byte at position {at}")
            }
            Failure::Io(what, error) => write!(f, "{what}: {error}"),
        }
    }
}

impl std::error::Error for Failure {}

/// A connection to an echo server.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    number: u64,
    /// Bytes sent and received so far.
    position: u64,
}

impl Client {
    /// Connects. `number` chooses the bytes that this client sends.
    ///
    /// # Errors
    /// What `connect` says.
    pub fn connect(addr: SocketAddr, number: u64) -> Result<Client, Failure> {
        let stream = TcpStream::connect(addr).map_err(|error| Failure::Io("connect", error))?;
        let set_up = || {
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))
        };
        set_up().map_err(|error| Failure::Io("socket option", error))?;
        Ok(Client { stream, number, position: 0 })
    }

    /// Sends `size` bytes and checks each byte that comes back.
    ///
    /// # Errors
    /// The first byte that is wrong, or what a call said.
    pub fn round_trip(&mut self, size: usize) -> Result<(), Failure> {
        let mut room = [0; READ_SIZE];
        let (mut sent, mut received) = (0, 0);
        while received < size {
            let ahead = sent - received;
            if sent < size && ahead < WINDOW {
                let length = (size - sent).min(WINDOW - ahead).min(READ_SIZE);
                let piece = &mut room[..length];
                pattern::fill(self.number, self.position + sent as u64, piece);
                let written = self.stream.write_all(piece);
                written.map_err(|error| Failure::Io("write", error))?;
                sent += length;
                continue;
            }
            let wanted = (sent - received).min(READ_SIZE);
            let count = match self.stream.read(&mut room[..wanted]) {
                Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result,
            };
            let count = count.map_err(|error| Failure::Io("read", error))?;
            let position = self.position + received as u64;
            if let Some(offset) = pattern::mismatch(self.number, position, &room[..count]) {
                return Err(Failure::Mismatch(Mismatch {
                    stream: self.number,
                    at: position + offset as u64,
                }));
            }
            received += count;
        }
        self.position += size as u64;
        Ok(())
    }

    /// The connection itself.
    #[must_use]
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }
}
