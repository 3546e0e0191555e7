//! Echo servers on the real kernel against plain `std::net` clients: no byte is lost, doubled or moved.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener as StdListener, TcpStream as StdStream};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::Duration;

use netpoll::net::TcpStream;
use netpoll::{Builder, go};
use netpoll_tests::child::{eventually, within};
use netpoll_tests::client::Client;
use netpoll_tests::os;
use netpoll_tests::pattern;
use netpoll_tests::server::{EchoServer, echo};

const LIMIT: Duration = Duration::from_secs(60);

#[track_caller]
fn check_round_trips(workers: usize, clients: u64, rounds: usize, size: usize) {
    within(LIMIT, move || {
        let server = EchoServer::start(Builder::new().workers(workers));
        let addr = server.addr();
        let together = Barrier::new(clients as usize);
        thread::scope(|scope| {
            for number in 0..clients {
                let together = &together;
                scope.spawn(move || {
                    let client = Client::connect(addr, number);
                    together.wait();
                    let mut client = client.unwrap();
                    for _ in 0..rounds {
                        client.round_trip(size).unwrap();
                    }
                });
            }
        });
        // All clients have gone: so do their goroutines. The acceptor stays.
        eventually("the connections' goroutines end", || server.runtime().goroutines() == 1);
    });
}

#[test]
fn single_bytes_come_back_to_two_hundred_clients() {
    check_round_trips(2, 200, 20, 1);
}

#[test]
fn small_requests_come_back_to_two_hundred_clients() {
    check_round_trips(2, 200, 20, 64);
}

#[test]
fn requests_larger_than_any_buffer_come_back_to_two_hundred_clients() {
    check_round_trips(2, 200, 20, 65_536);
}

#[test]
fn one_worker_and_many_workers_serve_alike() {
    check_round_trips(1, 50, 20, 5000);
    check_round_trips(8, 50, 20, 5000);
}

#[test]
fn a_client_that_closes_its_side_still_gets_the_rest() {
    within(LIMIT, || {
        let server = EchoServer::start(Builder::new().workers(2));
        let mut sent = vec![0; 200_000];
        pattern::fill(1, 0, &mut sent);
        let mut stream = StdStream::connect(server.addr()).unwrap();
        let mut writer = stream.try_clone().unwrap();
        let data = sent.clone();
        let writing = thread::spawn(move || {
            writer.write_all(&data).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        let mut got = Vec::new();
        stream.read_to_end(&mut got).unwrap();
        writing.join().unwrap();
        assert_eq!(got.len(), sent.len());
        assert_eq!(pattern::mismatch(1, 0, &got), None);
    });
}

/// Hunts the end of stream that comes with the last data: their edge is one, so a server that took a
/// short read for a drained socket would wait for an edge that has been.
#[test]
fn data_and_the_end_of_the_stream_may_come_as_one_edge() {
    within(LIMIT, || {
        let server = EchoServer::start(Builder::new().workers(2));
        for round in 0..300u64 {
            let mut stream = StdStream::connect(server.addr()).unwrap();
            let limit = Some(Duration::from_secs(10));
            stream.set_read_timeout(limit).unwrap();
            stream.write_all(&round.to_le_bytes()).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut got = Vec::new();
            stream.read_to_end(&mut got).unwrap();
            assert_eq!(got, round.to_le_bytes());
        }
    });
}

#[test]
fn a_reset_ends_its_own_goroutine_and_no_other() {
    within(LIMIT, || {
        let (report, ends) = mpsc::channel();
        let server = EchoServer::with_handler(Builder::new().workers(2), move |mut stream, _| {
            let _ = report.send(echo(&mut stream).map_err(|error| error.kind()));
        });
        let mut steady = Client::connect(server.addr(), 0).unwrap();
        steady.round_trip(64).unwrap();
        for number in 1..=20 {
            let mut client = Client::connect(server.addr(), number).unwrap();
            client.round_trip(64).unwrap();
            os::reset_on_close(client.stream()).unwrap();
            drop(client);
            let end = ends.recv_timeout(Duration::from_secs(10)).unwrap();
            assert_eq!(end, Err(ErrorKind::ConnectionReset));
            steady.round_trip(64).unwrap();
        }
        drop(steady);
        let end = ends.recv_timeout(Duration::from_secs(10)).unwrap();
        assert_eq!(end, Ok(21 * 64));
    });
}

#[test]
fn a_panicking_handler_ends_its_own_connection_and_no_other() {
    within(LIMIT, || {
        let server = EchoServer::with_handler(Builder::new().workers(1), |mut stream, _| {
            let mut byte = [0];
            while let Ok(1) = stream.read(&mut byte) {
                assert_ne!(byte[0], 13, "on purpose");
                stream.write_all(&byte).unwrap();
            }
        });
        let mut steady = StdStream::connect(server.addr()).unwrap();
        let mut doomed = StdStream::connect(server.addr()).unwrap();
        doomed.write_all(&[13]).unwrap();
        assert_eq!(doomed.read(&mut [0]).unwrap(), 0, "closed by the unwinding");
        steady.write_all(&[7]).unwrap();
        let mut byte = [0];
        steady.read_exact(&mut byte).unwrap();
        assert_eq!(byte, [7]);
    });
}

#[test]
fn a_reader_that_does_not_read_holds_its_writer_back() {
    const TOTAL: u64 = 64 << 20;
    within(LIMIT, || {
        let written = Arc::new(AtomicU64::new(0));
        let count = written.clone();
        let server = EchoServer::with_handler(Builder::new().workers(1), move |mut stream, _| {
            let mut piece = vec![0; 64 * 1024];
            while count.load(Relaxed) < TOTAL {
                let at = count.load(Relaxed);
                pattern::fill(5, at, &mut piece);
                let n = stream.write(&piece).unwrap();
                count.fetch_add(n as u64, Relaxed);
            }
        });
        let mut stream = StdStream::connect(server.addr()).unwrap();
        os::set_receive_buffer(&stream, 64 * 1024).unwrap();
        // It stands still once the buffers are full.
        let mut before = u64::MAX;
        eventually("the writer waits", || {
            thread::sleep(Duration::from_millis(100));
            let now = written.load(Relaxed);
            now > 0 && now == std::mem::replace(&mut before, now)
        });
        assert!(before < TOTAL / 2, "{before} bytes went into buffers");
        let dump = server.runtime().dump();
        let waits = |g: &netpoll::runtime::GoroutineDump| g.status.starts_with("write fd");
        assert!(dump.goroutines.iter().any(waits), "{dump}");
        // And it goes on as soon as somebody reads.
        let (mut buf, mut got) = (vec![0; 256 * 1024], 0);
        while got < written.load(Relaxed) || got < TOTAL {
            let n = stream.read(&mut buf).unwrap();
            if n == 0 {
                break;
            }
            assert_eq!(pattern::mismatch(5, got, &buf[..n]), None);
            got += n as u64;
        }
        assert_eq!(got, written.load(Relaxed));
    });
}

/// A connection between a stream of the runtime that runs this and a plain one.
fn pair() -> (TcpStream, StdStream) {
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (ours, listener.accept().unwrap().0)
}

#[test]
fn several_readers_of_one_stream_take_turns_and_lose_nothing() {
    const BYTES: usize = 20_000;
    let run = || {
        netpoll::run(|| {
            let (ours, mut theirs) = pair();
            let ours = Arc::new(ours);
            let readers: Vec<_> = (0..4)
                .map(|_| {
                    let ours = ours.clone();
                    go(move || {
                        let (mut got, mut byte) = ([0usize; 256], [0]);
                        while (&*ours).read(&mut byte).unwrap() == 1 {
                            got[byte[0] as usize] += 1;
                        }
                        got
                    })
                })
                .collect();
            let writer = thread::spawn(move || {
                let bytes: Vec<u8> = (0..BYTES).map(|i| (i % 251) as u8).collect();
                theirs.write_all(&bytes).unwrap();
            });
            let mut sum = [0; 256];
            for reader in readers {
                let got = reader.join().unwrap();
                sum.iter_mut().zip(got).for_each(|(sum, got)| *sum += got);
            }
            writer.join().unwrap();
            for (value, count) in sum.into_iter().enumerate() {
                let expected = (0..BYTES).filter(|i| i % 251 == value).count();
                assert_eq!(count, expected, "byte {value}");
            }
        })
    };
    within(LIMIT, run).unwrap();
}

#[test]
fn several_writers_of_one_stream_do_not_write_into_each_other() {
    const FRAME: usize = 300_000;
    let run = || {
        netpoll::run(|| {
            let (ours, mut theirs) = pair();
            let ours = Arc::new(ours);
            let writers: Vec<_> = (1..=4u8)
                .map(|number| {
                    let ours = ours.clone();
                    go(move || (&*ours).write_all(&vec![number; FRAME]).unwrap())
                })
                .collect();
            let reader = thread::spawn(move || {
                let mut frames = Vec::new();
                for _ in 0..4 {
                    let mut frame = vec![0; FRAME];
                    theirs.read_exact(&mut frame).unwrap();
                    assert!(frame.iter().all(|&byte| byte == frame[0]), "torn frame");
                    frames.push(frame[0]);
                }
                frames.sort_unstable();
                frames
            });
            writers.into_iter().for_each(|writer| writer.join().unwrap());
            assert_eq!(reader.join().unwrap(), [1, 2, 3, 4]);
        })
    };
    within(LIMIT, run).unwrap();
}
