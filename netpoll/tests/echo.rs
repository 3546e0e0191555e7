//! Real connections on this machine's kernel: a goroutine per connection against plain threads.

use std::io::{Read, Write};
use std::net::TcpStream as StdStream;

use netpoll::net::{TcpListener, is_closed};
use netpoll::{Builder, go};

/// Serves echo until its listener is closed.
fn serve(listener: &TcpListener) {
    while let Ok((mut stream, _)) = listener.accept() {
        stream.set_nodelay(true).unwrap();
        go(move || {
            let mut buf = [0; 4096];
            while let Ok(n @ 1..) = stream.read(&mut buf) {
                stream.write_all(&buf[..n]).unwrap();
            }
        });
    }
}

#[test]
fn plain_clients_get_every_byte_back_on_one_worker_and_on_several() {
    for workers in [1, 2, 4] {
        let runtime = Builder::new().workers(workers).build().unwrap();
        let listener = runtime.run(|| TcpListener::bind("127.0.0.1:0")).unwrap().unwrap();
        let addr = listener.local_addr().unwrap();
        let server = listener.try_clone().unwrap();
        std::thread::scope(|scope| {
            for client in 0..20u8 {
                scope.spawn(move || {
                    let mut stream = StdStream::connect(addr).unwrap();
                    for round in 0..50u8 {
                        let sent: Vec<u8> = (0..5000).map(|i| i as u8 ^ client ^ round).collect();
                        stream.write_all(&sent).unwrap();
                        let mut got = vec![0; sent.len()];
                        stream.read_exact(&mut got).unwrap();
                        assert_eq!(sent, got);
                    }
                });
            }
            scope.spawn(|| runtime.run(move || serve(&server)).unwrap());
            std::thread::sleep(std::time::Duration::from_millis(300));
            listener.close().unwrap();
        });
        assert!(is_closed(&listener.accept().unwrap_err()));
    }
}
