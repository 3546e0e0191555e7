//! A graceful end: accept nobody any more, let those who are being served finish, wait for them.
//!
//! ```text
//! cargo run -p netpoll --example graceful
//! ```

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use netpoll::net::{TcpListener, TcpStream, is_closed};
use netpoll::sync::WaitGroup;
use netpoll::time::{Instant, sleep};

/// How long a request takes.
const WORK: Duration = Duration::from_millis(200);
/// What those who are being served are given.
const GRACE: Duration = Duration::from_secs(5);

fn handle(mut stream: TcpStream) -> io::Result<()> {
    let mut request = [0; 1];
    stream.read_exact(&mut request)?;
    sleep(WORK);
    stream.write_all(&request)
}

/// Accepts until the listener is closed. Every connection counts in `served`.
fn accept(listener: &TcpListener, served: &WaitGroup) -> io::Result<()> {
    loop {
        let (stream, peer) = match listener.accept_retrying() {
            Ok(accepted) => accepted,
            Err(error) if is_closed(&error) => return Ok(()),
            Err(error) => return Err(error),
        };
        served.go(move || {
            if let Err(error) = handle(stream) {
                eprintln!("{peer}: {error}");
            }
        });
    }
}

fn client(addr: SocketAddr, number: u8) -> io::Result<()> {
    let mut stream = TcpStream::connect(addr)?;
    let mut byte = [number];
    stream.write_all(&byte)?;
    stream.read_exact(&mut byte)?;
    println!("client {number} has its answer");
    Ok(())
}

fn main() -> io::Result<()> {
    netpoll::run(|| {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let addr = listener.local_addr()?;
        let served = WaitGroup::new();
        let acceptor = {
            let (listener, served) = (listener.try_clone()?, served.clone());
            netpoll::go(move || accept(&listener, &served))
        };
        let clients: Vec<_> = (0..3).map(|i| netpoll::go(move || client(addr, i))).collect();
        sleep(WORK / 2);

        // The end. Closing wakes the accept loop; who is being served does not notice.
        listener.close()?;
        acceptor.join().expect("an acceptor that does not panic")?;
        match client(addr, 9) {
            Ok(()) => println!("client 9 was served although the listener is closed"),
            Err(error) => println!("client 9 comes too late: {error}"),
        }
        let start = Instant::now();
        if !served.wait_timeout(GRACE) {
            println!("some did not finish within {GRACE:?}: they are left behind");
        }
        println!("served the others for {} ms more", start.elapsed().as_millis());
        for client in clients {
            client.join().expect("a client that does not panic")?;
        }
        Ok(())
    })?
}
