//! A client that is too slow: a deadline for the whole request, however it trickles in.
//!
//! ```text
//! cargo run -p netpoll --example deadline
//! ```
//!
//! A timeout for each read would not do: a client that sends a byte now and then never runs into one,
//! and its connection stays for ever. A deadline is a point in time.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use netpoll::net::{TcpListener, TcpStream};
use netpoll::time::{Instant, sleep};

/// What a client has for its line.
const REQUEST_TIME: Duration = Duration::from_millis(300);

fn handle(stream: &TcpStream) -> io::Result<()> {
    stream.set_read_deadline(Some(Instant::now() + REQUEST_TIME))?;
    let mut line = String::new();
    let answer = match BufReader::new(stream).read_line(&mut line) {
        Ok(_) => format!("hello, {}\n", line.trim()),
        Err(error) if error.kind() == ErrorKind::TimedOut => "too slow\n".to_owned(),
        Err(error) => return Err(error),
    };
    let mut stream = stream;
    stream.write_all(answer.as_bytes())
}

fn client(addr: SocketAddr, name: &str, pause: Duration) -> io::Result<()> {
    let start = Instant::now();
    let mut stream = TcpStream::connect(addr)?;
    for byte in name.bytes().chain([b'\n']) {
        sleep(pause);
        if stream.write_all(&[byte]).is_err() {
            // The server has given up on us; its answer is there to be read.
            break;
        }
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let elapsed = start.elapsed().as_millis();
    println!("{name:>5} after {elapsed:>3} ms: {}", answer.trim());
    Ok(())
}

fn main() -> io::Result<()> {
    netpoll::run(|| {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let addr = listener.local_addr()?;
        netpoll::go(move || {
            listener.serve(|stream, peer| {
                if let Err(error) = handle(&stream) {
                    eprintln!("{peer}: {error}");
                }
                // Nothing unread may be left when it is dropped, or the answer is lost to a reset.
                let _sent_and_gone = stream.shutdown(std::net::Shutdown::Write);
                let _rest = io::copy(&mut &stream, &mut io::sink());
            })
        });
        let quick = netpoll::go(move || client(addr, "quick", Duration::ZERO));
        let slow = netpoll::go(move || client(addr, "slow", Duration::from_millis(100)));
        for client in [quick, slow] {
            client.join().expect("a client that does not panic")?;
        }
        Ok(())
    })?
}
