//! IPv6, where this machine has it.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream as StdStream, UdpSocket as StdSocket};
use std::thread;
use std::time::Duration;

use netpoll::go;
use netpoll::net::{TcpListener, TcpStream, UdpSocket};
use netpoll_tests::child::within;

const LIMIT: Duration = Duration::from_secs(60);

/// Runs `f` as a goroutine, if there is a loopback interface for IPv6.
fn run(f: impl FnOnce() + Send + 'static) {
    match StdSocket::bind("[::1]:0") {
        Ok(_) => within(LIMIT, || netpoll::run(f).unwrap()),
        Err(error) => {
            let absent = [ErrorKind::AddrNotAvailable, ErrorKind::Unsupported];
            let no_family = error.raw_os_error() == Some(libc::EAFNOSUPPORT);
            assert!(absent.contains(&error.kind()) || no_family, "{error}");
            println!("skipped: this machine has no ::1: {error}");
        }
    }
}

#[test]
fn tcp_connects_listens_and_names_its_ends() {
    run(|| {
        let listener = TcpListener::bind("[::1]:0").unwrap();
        let addr = listener.local_addr().unwrap();
        assert!(addr.is_ipv6() && addr.port() != 0, "{addr}");
        let server = go(move || {
            for _ in 0..2 {
                let (mut stream, peer) = listener.accept().unwrap();
                assert_eq!(stream.peer_addr().unwrap(), peer);
                assert!(peer.is_ipv6(), "{peer}");
                let mut bytes = [0; 4];
                stream.read_exact(&mut bytes).unwrap();
                stream.write_all(&bytes).unwrap();
            }
        });
        let mut bytes = [0; 4];
        let mut ours = TcpStream::connect(("::1", addr.port())).unwrap();
        assert_eq!(ours.peer_addr().unwrap(), addr);
        ours.write_all(b"ours").unwrap();
        ours.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"ours");
        let plain = thread::spawn(move || {
            let mut theirs = StdStream::connect(addr).unwrap();
            theirs.write_all(b"std.").unwrap();
            let mut bytes = [0; 4];
            theirs.read_exact(&mut bytes).unwrap();
            assert_eq!(&bytes, b"std.");
        });
        server.join().unwrap();
        plain.join().unwrap();
    });
}

#[test]
fn udp_sends_and_receives_and_an_address_of_the_other_family_is_refused() {
    run(|| {
        let (ours, theirs) =
            (UdpSocket::bind("[::1]:0").unwrap(), StdSocket::bind("[::1]:0").unwrap());
        let to = theirs.local_addr().unwrap();
        assert_eq!(ours.send_to(b"ping", to).unwrap(), 4);
        let mut buf = [0; 8];
        assert_eq!(theirs.recv_from(&mut buf).unwrap(), (4, ours.local_addr().unwrap()));
        theirs.send_to(b"pong!", ours.local_addr().unwrap()).unwrap();
        assert_eq!(ours.recv_from(&mut buf).unwrap(), (5, to));
        ours.connect(to).unwrap();
        assert_eq!(ours.peer_addr().unwrap(), to);

        let v4 = SocketAddr::from(([127, 0, 0, 1], 9));
        let theirs = StdSocket::bind("[::1]:0").unwrap().send_to(b"x", v4).unwrap_err();
        assert_eq!(ours.send_to(b"x", v4).unwrap_err().kind(), theirs.kind());
    });
}
