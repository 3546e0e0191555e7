//! What the simulated kernel may do in many ways: under every seed the bytes arrive, once and in
//! order, an edge-triggered loop that waits after `EAGAIN` never hangs, and nothing is left behind.

use std::collections::BTreeMap;
use std::sync::Arc;

use netpoll::platform::{
    Domain, EpollEvent, Errno, Kernel, Park, Primitives, RawFd, Shutdown, SockAddr, SockType,
    Thread,
};

use super::{EDGES, loopback, pair, ready, tcp, watch};
use crate::conform::Scripted;
use crate::platform::SimParker;
use crate::tests::check;
use crate::{FaultKind, Faults, NetConfig, Outcome, Report, SimConfig, SimKernel, Virtual, run};

/// Waits until `fd`, registered edge-triggered in `ep`, may have become ready.
fn wait(k: &SimKernel, ep: RawFd) {
    let mut events = [EpollEvent::default(); 4];
    loop {
        match k.epoll_wait(ep, &mut events, -1) {
            Ok(_) => return,
            Err(errno) => assert_eq!(errno, Errno::EINTR),
        }
    }
}

/// Repeats a call that the kernel is too short of something for, or that a signal interrupts.
fn retry<R>(mut call: impl FnMut() -> Result<R, Errno>) -> Result<R, Errno> {
    loop {
        match call() {
            Err(
                Errno::EINTR
                | Errno::EMFILE
                | Errno::ENFILE
                | Errno::ENOBUFS
                | Errno::ENOMEM
                | Errno::ENOSPC,
            ) => {}
            result => return result,
        }
    }
}

/// An endpoint driven by an edge-triggered loop of its own.
struct End<'a> {
    k: &'a SimKernel,
    ep: RawFd,
    fd: RawFd,
}

impl<'a> End<'a> {
    fn new(k: &'a SimKernel, fd: RawFd) -> End<'a> {
        let ep = k.epoll_create1().unwrap();
        retry(|| k.epoll_add(ep, fd, EpollEvent { events: EDGES, data: 1 })).unwrap();
        End { k, ep, fd }
    }

    /// Retries `call` until it has not to wait.
    fn until_done<R>(&self, mut call: impl FnMut() -> Result<R, Errno>) -> Result<R, Errno> {
        loop {
            match retry(&mut call) {
                Err(Errno::EAGAIN) => wait(self.k, self.ep),
                result => return result,
            }
        }
    }

    fn write_all(&self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let n = self.until_done(|| self.k.write(self.fd, bytes)).unwrap();
            bytes = &bytes[n..];
        }
    }

    fn read_to_end(&self) -> Vec<u8> {
        let mut all = Vec::new();
        let mut buf = [0; 700];
        loop {
            match self.until_done(|| self.k.read(self.fd, &mut buf)).unwrap() {
                0 => return all,
                n => all.extend(&buf[..n]),
            }
        }
    }

    fn close(self) {
        self.k.close(self.fd).unwrap();
        self.k.close(self.ep).unwrap();
    }
}

/// A TCP connection to somebody who listens, after as many attempts as it takes.
fn connect(k: &SimKernel, addr: &SockAddr) -> RawFd {
    loop {
        let fd = retry(|| k.socket(Domain::Inet, SockType::Stream)).unwrap();
        let connecting = k.connect(fd, addr).unwrap_err();
        assert!(matches!(connecting, Errno::EINPROGRESS | Errno::EINTR));
        let end = End::new(k, fd);
        let error = loop {
            match k.getsockopt(fd, libc::SOL_SOCKET, libc::SO_ERROR).unwrap() {
                0 if k.getpeername(fd).is_ok() => break 0,
                0 => wait(k, end.ep),
                error => break error,
            }
        };
        k.close(end.ep).unwrap();
        if error == 0 {
            return fd;
        }
        k.close(fd).unwrap();
    }
}

/// A client sends 10,000 bytes through tiny buffers and gets them back from a server thread.
fn echo(config: SimConfig) -> Report {
    run(config, |kernel| {
        let sent: Vec<u8> = (0..10_000u32).map(|i| (i * 7 % 251) as u8).collect();
        let listening = retry(|| kernel.socket(Domain::Inet, SockType::Stream)).unwrap();
        kernel.bind(listening, &loopback(0)).unwrap();
        kernel.listen(listening, 16).unwrap();
        let addr = kernel.getsockname(listening).unwrap();
        let k = kernel.clone();
        let server = Virtual::spawn(
            "server".to_string(),
            Box::new(move || {
                let listening = End::new(&k, listening);
                let (fd, _) = listening.until_done(|| k.accept4(listening.fd)).unwrap();
                let end = End::new(&k, fd);
                end.write_all(&end.read_to_end());
                end.close();
                listening.close();
            }),
        );
        let end = End::new(&kernel, connect(&kernel, &addr));
        end.write_all(&sent);
        kernel.shutdown(end.fd, Shutdown::Write).unwrap();
        assert_eq!(end.read_to_end(), sent);
        end.close();
        server.expect("threads are free").join();
        kernel.settle();
        assert_eq!(
            kernel.host().machine().files().count(),
            0,
            "files are freed with their last use"
        );
    })
}

fn tiny_buffers(seed: u64, faults: Faults) -> SimConfig {
    SimConfig {
        faults,
        net: NetConfig { sndbuf: 900, rcvbuf: 1_100, ..NetConfig::default() },
        ..SimConfig::seed(seed)
    }
}

#[test]
fn bytes_arrive_once_and_in_order_under_every_seed() {
    let mut struck = BTreeMap::new();
    for seed in 0..150 {
        for faults in [Faults::none(), Faults::light(), Faults::chaos()] {
            let report = echo(tiny_buffers(seed, faults));
            assert!(report.is_clean(), "seed {seed}: {}", report.outcome);
            for (kind, count) in report.faults_struck.iter() {
                *struck.entry(kind).or_insert(0) += count;
            }
        }
    }
    let expected = [
        FaultKind::PollEintr,
        FaultKind::IoEintr,
        FaultKind::SpuriousEvent,
        FaultKind::FalseEvent,
        FaultKind::ShortWrite,
        FaultKind::NoDescriptor,
        FaultKind::NoFile,
        FaultKind::NoBuffers,
        FaultKind::NoMemory,
        FaultKind::NoWatch,
        FaultKind::ConnRefused,
        FaultKind::ConnUnreachable,
        FaultKind::ConnTimeout,
    ];
    for kind in expected {
        assert!(struck.contains_key(&kind), "{} never struck", kind.name());
    }
}

#[test]
fn a_run_repeats_from_its_seed_and_from_its_choices() {
    for seed in 0..10 {
        let config = tiny_buffers(seed, Faults::light());
        let first = echo(config.clone());
        assert_eq!(echo(config.clone()), first);
        assert_eq!(echo(config.replaying(first.choices.clone())), first);
        let text = netpoll_traces::text::render(&first.trace);
        assert!(text.contains("kernel  -  edge fd"), "{text}");
    }
}

#[test]
fn two_seeds_give_two_different_runs() {
    let trace = |seed| echo(tiny_buffers(seed, Faults::none())).trace;
    assert_ne!(trace(1), trace(2));
}

#[test]
fn short_reads_come_from_what_has_arrived() {
    let mut lengths = std::collections::BTreeSet::new();
    for seed in 0..100 {
        let read = Arc::new(std::sync::Mutex::new(0));
        let result = read.clone();
        let report = run(SimConfig::seed(seed), move |k| {
            let (client, server) = pair(&k);
            k.write(client, &[1; 100]).unwrap();
            let end = End::new(&k, server);
            let n = end.until_done(|| k.read(server, &mut [0; 100])).unwrap();
            if n < 100 {
                let mut machine = k.host().machine();
                let (id, _) = machine.socket_at(server).unwrap();
                assert_eq!(machine.tcp_open(id).unread.len(), 0, "T4");
            }
            *result.lock().unwrap() = n;
        });
        assert_eq!(report.outcome, Outcome::Finished);
        lengths.insert(*read.lock().unwrap());
    }
    assert!(lengths.contains(&100) && lengths.contains(&50) && lengths.contains(&1), "{lengths:?}");
}

#[test]
fn epoll_wait_returns_no_earlier_than_asked_and_can_be_interrupted() {
    check(|k| {
        let ep = k.epoll_create1().unwrap();
        let start = k.clock();
        let mut events = [EpollEvent::default()];
        assert_eq!(k.epoll_wait(ep, &mut events, 7), Ok(0));
        assert!((7_000_000..7_010_000).contains(&(k.clock() - start)));
        assert_eq!(k.epoll_wait(ep, &mut events, 0), Ok(0));
    });
    let faults = Faults::none().with(FaultKind::PollEintr, 1000);
    let config = SimConfig { faults, ..SimConfig::seed(4) };
    let report = run(config, |k| {
        let ep = k.epoll_create1().unwrap();
        let mut events = [EpollEvent::default()];
        assert_eq!(k.epoll_wait(ep, &mut events, 0), Ok(0), "never without waiting");
        assert_eq!(k.epoll_wait(ep, &mut events, -1), Err(Errno::EINTR));
    });
    assert_eq!(report.faults_struck.of(FaultKind::PollEintr), 1);
    assert_eq!(report.outcome, Outcome::Finished);
}

#[test]
fn faults_that_are_healed_strike_no_more_and_are_not_asked_about() {
    let faults = Faults::none().with(FaultKind::NoDescriptor, 1000);
    let config = SimConfig { faults, ..SimConfig::seed(0) };
    let report = run(config, |k| {
        let socket = || k.socket(Domain::Inet, SockType::Stream);
        assert_eq!(socket(), Err(Errno::EMFILE));
        k.heal();
        k.close(socket().unwrap()).unwrap();
    });
    assert!(report.is_clean(), "{}", report.outcome);
    assert_eq!(report.choices.len(), 1, "{:?}", report.choices);
}

#[test]
fn a_blocked_poll_ends_when_another_thread_writes_the_eventfd() {
    check(|k| {
        let (ep, fd) = (k.epoll_create1().unwrap(), k.eventfd().unwrap());
        watch(&k, ep, fd, libc::EPOLLIN as u32, 9);
        let breaker = k.clone();
        let thread = Virtual::spawn(
            "breaker".to_string(),
            Box::new(move || {
                SimParker::new().park_timeout(5_000_000);
                breaker.write(fd, &1u64.to_ne_bytes()).unwrap();
            }),
        );
        let mut events = [EpollEvent::default()];
        assert_eq!(k.epoll_wait(ep, &mut events, -1), Ok(1));
        assert_eq!(events[0].data, 9);
        thread.expect("threads are free").join();
    });
}

#[test]
fn a_wait_for_what_never_comes_is_a_deadlock_with_the_descriptors_that_are_open() {
    let report = run(SimConfig::seed(0), |k| {
        let (client, server) = pair(&k);
        let end = End::new(&k, server);
        assert_eq!(ready(&k, end.ep), "1:OUT");
        k.write(client, b"x").unwrap();
        wait(&k, end.ep);
        wait(&k, end.ep); // one edge has come, and there is no other
    });
    let Outcome::Deadlock { blocked } = &report.outcome else {
        panic!("{}", report.outcome);
    };
    assert_eq!(blocked[0].on, "events of fd3");
    let server = &report.open_fds[2];
    assert_eq!(server.to_string(), "fd5 tcp: IN|OUT, no event queued");
}

#[test]
fn numbers_are_the_lowest_free_ones_and_limited() {
    let config =
        SimConfig { net: NetConfig { fd_limit: 6, ..NetConfig::default() }, ..SimConfig::seed(0) };
    let report = run(config, |k| {
        let fds = [(); 3].map(|()| k.eventfd().unwrap());
        assert_eq!(fds, [3, 4, 5]);
        assert_eq!(k.eventfd(), Err(Errno::EMFILE));
        k.close(4).unwrap();
        k.close(3).unwrap();
        assert_eq!((k.eventfd(), k.eventfd()), (Ok(3), Ok(4)));
    });
    assert_eq!(report.outcome, Outcome::Finished);
    assert_eq!(report.open_fds.len(), 3);
    assert!(!report.is_clean());
}

#[test]
fn a_file_keeps_its_identity_and_a_number_does_not() {
    check(|k| {
        let file_of = |fd| k.host().machine().file_of(fd);
        let fd = k.eventfd().unwrap();
        let first = file_of(fd).expect("is open");
        let copy = k.dup(fd).unwrap();
        assert_eq!(file_of(copy), Some(first));
        k.close(fd).unwrap();
        assert_eq!(file_of(fd), None);
        assert_eq!(k.eventfd(), Ok(fd));
        assert_ne!(file_of(fd), Some(first));
        let open: Vec<_> = k.open_fds().iter().map(|open| (open.fd, open.file)).collect();
        assert_eq!(open, [(fd, file_of(fd).unwrap()), (copy, first)]);
    });
}

#[test]
fn a_client_waits_for_a_place_in_a_full_queue() {
    check(|k| {
        let fd = tcp(&k);
        k.bind(fd, &loopback(80)).unwrap();
        k.listen(fd, 0).unwrap();
        let clients = [(); 2].map(|()| {
            let client = tcp(&k);
            let connecting = k.connect(client, &loopback(80));
            assert_eq!(connecting, Err(Errno::EINPROGRESS));
            client
        });
        k.settle();
        let connected = |client| k.getpeername(client).is_ok();
        assert_eq!(clients.map(connected), [true, false]);
        k.accept4(fd).unwrap();
        k.settle();
        assert_eq!(clients.map(connected), [true, true]);
    });
}

/// Not a test of correctness: prints how fast the simulator is.
/// `cargo test --release -p netpoll-sim --lib speed -- --nocapture`
#[test]
fn speed() {
    for (name, keep) in [("all", crate::Keep::All), ("last 64", crate::Keep::Last(64))] {
        let start = std::time::Instant::now();
        let mut steps = 0;
        let mut runs = 0;
        while start.elapsed().as_millis() < 200 {
            let config = SimConfig { record: keep, ..tiny_buffers(runs, Faults::light()) };
            steps += echo(config).steps;
            runs += 1;
        }
        let seconds = start.elapsed().as_secs_f64();
        println!(
            "keeping {name}: {:.0} steps/s, {:.0} runs/s, {} steps a run",
            steps as f64 / seconds,
            runs as f64 / seconds,
            steps / runs
        );
    }
    let start = std::time::Instant::now();
    let config = SimConfig { record: crate::Keep::Last(64), ..SimConfig::seed(1) };
    let report = run(config, |k| {
        let (client, server) = pair(&k);
        let mut buf = [0; 64];
        for _ in 0..100_000 {
            k.write(client, &buf).unwrap();
            let _ = k.read(server, &mut buf);
        }
    });
    let seconds = start.elapsed().as_secs_f64();
    println!("one thread: {:.0} steps/s", report.steps as f64 / seconds);
}
