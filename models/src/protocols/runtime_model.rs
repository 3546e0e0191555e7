//! The whole runtime: workers, sysmon, goroutines and connections, from `Builder::build_on` to the end of
//! `Runtime`'s drop, on the simulated kernel.
//!
//! The interleavings hunted:
//!
//! * a read or an accept that parks, against data, the peer's end, a close, a deadline: while another
//!   worker is in the final poll, or on its way into it, or both look for work.
//! * the shutdown, against a worker that falls asleep or into the final poll, sysmon in its pause, a
//!   pool thread that waits for a job, a goroutine that is made runnable or started.
//! * a stopped world, against workers that sleep, poll, or are being woken; and the number of workers,
//!   against goroutines that are started meanwhile.
//!
//! Packets arrive at once or some system calls later (`platform/kernel.rs`). Where a claim needs time to
//! pass, `timed_waits` is more than any execution takes: every wait with a time limit then ends by it,
//! after giving way to the others, so sysmon gets through its rounds up to its deep sleep.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use netpoll::net::{TcpListener, TcpStream, is_closed};
use netpoll::sync::channel;
use netpoll::time::{self, Instant};
use netpoll::{Dump, blocking, go, yield_now};

use super::goroutine_model::{join, run, runtime, shut_down};
use crate::check::{Bound, models};
use crate::platform::{self, Checked};

models! {
    /// Bytes cross a connection and come back, and its end is seen.
    connection_echo {
        loom: Bound::preemptions(2).capped(3_000),
        shuttle: [Pct, Random, Urw],
        kernel: Faulty
    }
    /// The same while time passes and sysmon polls.
    connection_echo_with_time { shuttle: [Pct, Random, Urw], kernel: Faulty, timed_waits: 1_000 }
    /// A close releases who reads and who accepts.
    connection_close_against_read {
        loom: Bound::preemptions(2).capped(3_000),
        shuttle: [Pct, Random, Urw],
        kernel: Faulty
    }
    /// A read whose deadline passes returns; one that is given more time has its bytes.
    connection_deadline {
        loom: Bound::preemptions(2).capped(3_000),
        shuttle: [Pct, Random, Urw],
        kernel: Faulty,
        timed_waits: 1_000
    }
    /// A read ends by its bytes, its deadline or a close, with all three under way.
    connection_close_and_deadline {
        loom: Bound::preemptions(2).capped(3_000),
        shuttle: [Pct, Random, Urw],
        kernel: Faulty,
        timed_waits: 1_000
    }
    /// A shutdown ends every thread, whatever is parked, runnable or not started yet.
    shutdown_with_everything_in_flight { shuttle: [Pct, Random, Urw], kernel: Faulty }
    /// The same while time passes.
    shutdown_with_time { shuttle: [Pct, Random, Urw], kernel: Faulty, timed_waits: 1_000 }
    /// A shutdown against a goroutine that is being woken.
    shutdown_against_wake {
        loom: Bound::preemptions(2).capped(30_000),
        shuttle: [Pct, Random, Urw],
        kernel: Scripted
    }
    /// A dump stops every worker and shows each waiter, and the world goes on.
    dump_under_load { shuttle: [Pct, Random, Urw], kernel: Faulty }
    /// Workers come and go under goroutines that start others, and none is stranded.
    set_workers_under_load { shuttle: [Pct, Random, Urw], kernel: Scripted }
    /// A blocking call returns to its goroutine, and parks on its thread like one.
    blocking_call {
        loom: Bound::preemptions(2).capped(30_000),
        shuttle: [Pct, Random, Urw],
        kernel: Scripted
    }
}

fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
    let addr = listener.local_addr().expect("it is open");
    (listener, addr)
}

/// Both ends of a connection.
fn pair() -> (TcpStream, TcpStream) {
    let (listener, addr) = listen();
    let client = TcpStream::connect(addr).expect("somebody listens");
    let (server, _) = listener.accept().expect("it is open");
    (client, server)
}

fn echo() {
    let (listener, addr) = listen();
    let server = go(move || {
        let (mut stream, _) = listener.accept().expect("it is open");
        let mut buf = [0; 8];
        loop {
            match stream.read(&mut buf).expect("the client is there") {
                0 => return,
                n => stream.write_all(&buf[..n]).expect("the client is there"),
            }
        }
    });
    let mut stream = TcpStream::connect(addr).expect("somebody listens");
    stream.write_all(b"ping").expect("the server is there");
    let mut heard = [0; 4];
    stream.read_exact(&mut heard).expect("the server is there");
    assert_eq!(&heard, b"ping", "S33");
    stream.close().expect("it is open");
    join(server);
}

fn connection_echo<P: Checked>() {
    run::<P>(2, echo);
}

fn connection_echo_with_time<P: Checked>() {
    run::<P>(2, echo);
}

fn connection_close_against_read<P: Checked>() {
    run::<P>(2, || {
        let (client, server) = pair();
        let (listener, _) = listen();
        let (server, listener) = (Arc::new(server), Arc::new(listener));
        let reader = {
            let server = server.clone();
            go(move || (&*server).read(&mut [0; 1]))
        };
        let acceptor = {
            let listener = listener.clone();
            go(move || listener.accept())
        };
        server.close().expect("it is open");
        listener.close().expect("it is open");
        assert!(is_closed(&join(reader).expect_err("nothing was sent")), "L3");
        assert!(is_closed(&join(acceptor).expect_err("nobody connects")), "L3");
        drop(client);
    });
}

fn connection_deadline<P: Checked>() {
    run::<P>(2, || {
        let (client, server) = pair();
        let (client, server) = (Arc::new(client), Arc::new(server));
        let soon = || Some(Instant::now() + Duration::from_millis(2));
        client.set_read_deadline(soon()).expect("it is open");
        server.set_read_deadline(soon()).expect("it is open");
        let reader = {
            let client = client.clone();
            go(move || (&*client).read(&mut [0; 1]))
        };
        let error = (&*server).read(&mut [0; 1]).expect_err("nothing was sent");
        assert_eq!(error.kind(), ErrorKind::TimedOut, "L2");
        // The other deadline passes or is moved, whichever comes first.
        client.set_read_deadline(None).expect("it is open");
        (&*server).write_all(b"x").expect("the client is there");
        match join(reader) {
            Ok(n) => assert_eq!(n, 1, "L5"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::TimedOut),
        }
    });
}

fn connection_close_and_deadline<P: Checked>() {
    run::<P>(2, || {
        let (client, server) = pair();
        let server = Arc::new(server);
        let soon = Instant::now() + Duration::from_millis(2);
        server.set_read_deadline(Some(soon)).expect("it is open");
        let reader = {
            let server = server.clone();
            go(move || (&*server).read(&mut [0; 1]))
        };
        let closer = go(move || server.close());
        // The peer may be gone by now, which is no matter here.
        let _sent = (&client).write_all(b"x");
        match join(reader) {
            Ok(n) => assert_eq!(n, 1, "S33"),
            Err(error) => {
                assert!(error.kind() == ErrorKind::TimedOut || is_closed(&error), "{error}");
            }
        }
        join(closer).expect("the only close");
    });
}

/// Leaves goroutines behind that read, sleep, wait for each other, run and have not started.
fn leave_everything_in_flight() {
    let (client, mut server) = pair();
    drop(go(move || server.read(&mut [0; 1])));
    drop(go(|| time::sleep(Duration::from_secs(1))));
    let (sender, receiver) = channel::<()>(0);
    drop(go(move || receiver.recv()));
    drop(go(move || sender.send(())));
    drop(go(|| blocking(|| 1)));
    drop(go(yield_now));
    (&client).write_all(b"x").expect("the server is there");
}

fn shut_down_in_flight<P: Checked>() {
    let runtime = runtime::<P>(2, 2);
    runtime.run(leave_everything_in_flight).expect("a goroutine has a stack");
    shut_down(runtime);
}

fn shutdown_with_everything_in_flight<P: Checked>() {
    shut_down_in_flight::<P>();
}

fn shutdown_with_time<P: Checked>() {
    shut_down_in_flight::<P>();
}

fn shutdown_against_wake<P: Checked>() {
    let runtime = runtime::<P>(1, 1);
    let (sender, receiver) = channel(0);
    let program = move || drop(go(move || receiver.recv().is_ok_and(|value: u32| value == 1)));
    runtime.run(program).expect("a goroutine has a stack");
    let waker = P::thread(move || {
        // Either it waits by now, or there is nobody to wake: parked or never started.
        let _ = sender.try_send(1);
    });
    shut_down(runtime);
    platform::join([waker]);
}

/// Looks whether a dump fits what runs.
fn check_dump(dump: &Dump) {
    assert!(dump.consistent, "no goroutine runs for 100 ms");
    let on_io = |status: &str| status.starts_with("read fd") || status.starts_with("write fd");
    let on_io = dump.goroutines.iter().filter(|g| on_io(&g.status) && !g.status.contains("lock"));
    assert_eq!(on_io.count() as i32, dump.waiters, "S17: {dump}");
}

fn dump_under_load<P: Checked>() {
    let runtime = Arc::new(runtime::<P>(2, 2));
    let program = {
        let runtime = runtime.clone();
        P::thread(move || runtime.run(echo).expect("a goroutine has a stack"))
    };
    check_dump(&runtime.dump());
    check_dump(&runtime.dump());
    platform::join([program]);
    let dump = runtime.dump();
    assert_eq!(dump.goroutines.len(), 0, "{dump}");
    shut_down(Arc::into_inner(runtime).expect("the program has ended"));
}

fn set_workers_under_load<P: Checked>() {
    let runtime = Arc::new(runtime::<P>(1, 2));
    let program = {
        let runtime = runtime.clone();
        P::thread(move || {
            let sum = runtime.run(|| {
                let parts = [1, 2, 3].map(|value| {
                    go(move || {
                        yield_now();
                        value
                    })
                });
                parts.map(join).into_iter().sum::<u32>()
            });
            assert_eq!(sum.expect("a goroutine has a stack"), 6);
        })
    };
    runtime.set_workers(2).expect("two are allowed");
    assert_eq!(runtime.workers(), 2);
    runtime.set_workers(1).expect("one is allowed");
    platform::join([program]);
    shut_down(Arc::into_inner(runtime).expect("the program has ended"));
}

fn blocking_call<P: Checked>() {
    // Threads of the pool are not joined, so a call may still be on its way out at the end.
    let runtime = runtime::<P>(1, 1);
    let program = || {
        let (sender, receiver) = channel(0);
        let sender = go(move || sender.send(5));
        assert_eq!(blocking(move || receiver.recv()), Ok(5));
        join(sender).expect("the call received it");
    };
    runtime.run(program).expect("a goroutine has a stack");
    shut_down(runtime);
}
