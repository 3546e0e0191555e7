//! A UDP echo server: several goroutines share one socket, and each answers the datagrams that it gets.
//!
//! ```text
//! cargo run -p netpoll --example udp_echo -- 127.0.0.1:7000
//! ```
//!
//! Then `nc -u 127.0.0.1 7000` talks to it.

use std::env;
use std::io;

use netpoll::net::UdpSocket;

/// Goroutines that receive. One would do: the others answer while it is at work.
const GOROUTINES: usize = 4;
/// No datagram is longer.
const LARGEST: usize = 65_535;

fn serve(socket: &UdpSocket) -> io::Result<()> {
    let mut datagram = vec![0; LARGEST];
    loop {
        let (len, peer) = socket.recv_from(&mut datagram)?;
        if let Err(error) = socket.send_to(&datagram[..len], peer) {
            eprintln!("{peer}: {error}");
        }
    }
}

fn main() -> io::Result<()> {
    let addr = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7000".to_owned());
    netpoll::run(move || {
        let socket = UdpSocket::bind(&addr)?;
        println!("answering datagrams to {}", socket.local_addr()?);
        let others: Vec<_> = (1..GOROUTINES)
            .map(|_| {
                let socket = socket.try_clone()?;
                Ok(netpoll::go(move || serve(&socket)))
            })
            .collect::<io::Result<_>>()?;
        serve(&socket)?;
        others.into_iter().try_for_each(|other| other.join().expect("it does not panic"))
    })?
}
