//! An echo server on a runtime in this process.

use std::io::{self, Read, Write};
use std::net::SocketAddr;

use netpoll::net::{TcpListener, TcpStream};
use netpoll::{Builder, GoBuilder, Runtime};

/// Bytes that the server reads at a time.
pub const BUFFER_SIZE: usize = 4096;

/// An echo server that runs until it is dropped.
#[derive(Debug)]
pub struct EchoServer {
    listener: TcpListener,
    addr: SocketAddr,
    runtime: Runtime,
}

impl EchoServer {
    /// Starts a server on a port of its own.
    ///
    /// # Panics
    /// When the system has no port, thread or descriptor for it.
    #[must_use]
    pub fn start(builder: Builder) -> EchoServer {
        EchoServer::with_handler(builder, |mut stream, _| {
            // A connection that ends with an error has ended.
            let _ended = echo(&mut stream);
        })
    }

    /// Starts a server with another handler.
    ///
    /// # Panics
    /// As [`start`](EchoServer::start).
    #[must_use]
    pub fn with_handler<F>(builder: Builder, handler: F) -> EchoServer
    where
        F: Fn(TcpStream, SocketAddr) + Send + Sync + 'static,
    {
        let runtime = builder.build().expect("a runtime");
        let listener = runtime.run(|| TcpListener::bind("127.0.0.1:0"));
        let listener = listener.expect("a goroutine").expect("a port");
        let addr = listener.local_addr().expect("a bound socket");
        let acceptor = listener.try_clone().expect("a handle");
        let started = runtime.run(move || {
            let serve = move || acceptor.serve(handler).expect("accept");
            GoBuilder::new().name("acceptor").spawn(serve).map(drop)
        });
        started.expect("a goroutine").expect("a goroutine");
        EchoServer { listener, addr, runtime }
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The runtime that it runs on.
    #[must_use]
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// The socket that it accepts from.
    #[must_use]
    pub fn listener(&self) -> &TcpListener {
        &self.listener
    }
}

impl Drop for EchoServer {
    fn drop(&mut self) {
        // Ends the accept loop. A test may have closed it before.
        let _already_closed = self.listener.close();
    }
}

/// Sends back what comes until the peer has sent its last, and returns how many bytes that were.
///
/// # Errors
/// What reading or writing says.
pub fn echo(stream: &mut TcpStream) -> io::Result<u64> {
    let mut buf = vec![0; BUFFER_SIZE];
    let mut total = 0;
    loop {
        let count = stream.read(&mut buf)?;
        if count == 0 {
            return Ok(total);
        }
        stream.write_all(&buf[..count])?;
        total += count as u64;
    }
}
