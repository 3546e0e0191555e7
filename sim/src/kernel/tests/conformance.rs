//! Scripts that run on the simulated kernel and on the kernel of this machine and must read the same.
//!
//! The simulated one runs with the dullest choices; what it may do differently is in `freedom.rs`.

use std::sync::{Arc, Mutex};

use netpoll::platform::{EpollEvent, Kernel, RawFd, Shutdown};

use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;

use super::{EDGES, listener, loopback, pair, read, ready, tcp, verdict, watch};
use crate::choice::below;
use crate::conform::{RealKernel, Scripted};
use crate::tests;

macro_rules! say {
    ($log:expr, $($arg:tt)*) => { $log.push(format!($($arg)*)) };
}

type Log = Vec<String>;

/// Runs the script on both kernels and compares what it says.
///
/// The real kernel gets three attempts, because on a busy machine something may be in flight for
/// longer than the script waits.
#[track_caller]
fn check(script: impl Fn(&dyn Scripted, &mut Log) + Clone + Send + 'static) {
    let simulated = Arc::new(Mutex::new(Log::new()));
    let (log, in_run) = (simulated.clone(), script.clone());
    tests::check(move |kernel| in_run(&kernel, &mut log.lock().unwrap()));
    let simulated = simulated.lock().unwrap();
    for attempt in 1.. {
        let mut real = Log::new();
        script(&RealKernel, &mut real);
        if *simulated == real {
            return;
        }
        let same = simulated.iter().zip(&real).take_while(|(a, b)| a == b);
        let step = same.count();
        assert!(
            attempt < 3,
            "simulated: {:?}\nreal, up to here:\n{}",
            simulated.get(step),
            real[..real.len().min(step + 1)].join("\n")
        );
    }
}

fn close_all(k: &dyn Scripted, fds: &[RawFd]) {
    for &fd in fds {
        k.close(fd).unwrap();
    }
}

fn so_error(k: &dyn Kernel, fd: RawFd) -> i32 {
    k.getsockopt(fd, libc::SOL_SOCKET, libc::SO_ERROR).unwrap()
}

#[test]
fn a_fresh_socket_is_hung_up_and_writable() {
    check(|k, log| {
        let (ep, fd) = (k.epoll_create1().unwrap(), tcp(k));
        watch(k, ep, fd, EDGES, 1);
        say!(log, "{}", ready(k, ep));
        say!(log, "{} {}", read(k, fd), verdict(k.write(fd, b"x")));
        say!(log, "{}", verdict(k.peek(fd, &mut [0; 4])));
        say!(log, "{}", verdict(k.read(fd, &mut [])));
        say!(log, "{}", verdict(k.getpeername(fd)));
        say!(log, "{}", verdict(k.accept4(fd)));
        say!(log, "{}", verdict(k.shutdown(fd, Shutdown::Both)));
        say!(log, "{}", ready(k, ep));
        close_all(k, &[fd, ep]);
    });
}

#[test]
fn a_refused_connection_says_so_once() {
    check(|k, log| {
        let (listener, addr) = listener(k);
        k.close(listener).unwrap(); // nobody listens there now
        for ask in [so_error as fn(&dyn Kernel, RawFd) -> i32, |_, _| 0] {
            let (ep, fd) = (k.epoll_create1().unwrap(), tcp(k));
            say!(log, "{}", verdict(k.connect(fd, &addr)));
            watch(k, ep, fd, EDGES, 1);
            k.settle();
            say!(log, "{}", ready(k, ep));
            say!(log, "{}", ask(k, fd));
            say!(log, "{}", verdict(k.getpeername(fd)));
            say!(log, "{} {}", read(k, fd), read(k, fd));
            say!(log, "{}", verdict(k.write(fd, b"x")));
            say!(log, "{}", verdict(k.connect(fd, &addr)));
            say!(log, "{}", verdict(k.connect(fd, &addr)));
            close_all(k, &[fd, ep]);
        }
    });
}

#[test]
fn a_connection_becomes_writable_and_connect_is_answered_in_order() {
    check(|k, log| {
        let (listener, addr) = listener(k);
        let (ep, fd) = (k.epoll_create1().unwrap(), tcp(k));
        say!(log, "{}", verdict(k.accept4(listener)));
        say!(log, "{}", verdict(k.connect(fd, &addr)));
        watch(k, ep, fd, EDGES, 1);
        watch(k, ep, listener, EDGES, 2);
        k.settle();
        say!(log, "{} / {}", ready(k, ep), ready(k, ep));
        say!(log, "{}", so_error(k, fd));
        say!(log, "{:?}", k.getpeername(fd) == Ok(addr));
        say!(log, "{}", verdict(k.connect(fd, &addr)));
        say!(log, "{}", verdict(k.connect(fd, &addr)));
        let (server, from) = k.accept4(listener).unwrap();
        say!(log, "{:?}", k.getsockname(fd) == Ok(from));
        say!(log, "{:?}", k.getsockname(server) == Ok(addr));
        say!(log, "{}", verdict(k.listen(fd, 1)));
        say!(log, "{}", verdict(k.connect(listener, &addr)));
        say!(log, "{} {}", read(k, listener), verdict(k.write(listener, b"x")));
        close_all(k, &[fd, listener, server, ep]);
    });
}

#[test]
fn each_arrival_is_an_edge_and_the_level_stays() {
    check(|k, log| {
        let (client, server) = pair(k);
        let (edge, level) = (k.epoll_create1().unwrap(), k.epoll_create1().unwrap());
        watch(k, edge, server, EDGES, 1);
        watch(k, level, server, libc::EPOLLIN as u32, 1);
        say!(log, "{} / {}", ready(k, edge), ready(k, edge));
        for part in [b"one", b"two"] {
            k.write(client, part).unwrap();
            k.settle();
            say!(log, "{} / {}", ready(k, edge), ready(k, edge));
            say!(log, "{} / {}", ready(k, level), ready(k, level));
        }
        say!(log, "{}", verdict(k.peek(server, &mut [0; 2])));
        say!(log, "{} {}", read(k, server), read(k, server));
        say!(log, "{} / {}", ready(k, edge), ready(k, level));
        close_all(k, &[client, server, edge, level]);
    });
}

#[test]
fn a_half_closed_connection_still_carries_the_other_direction() {
    check(|k, log| {
        let (client, server) = pair(k);
        let ep = k.epoll_create1().unwrap();
        watch(k, ep, client, EDGES, 1);
        watch(k, ep, server, EDGES, 2);
        say!(log, "{}", ready(k, ep));
        k.write(client, b"last").unwrap();
        say!(log, "{}", verdict(k.shutdown(client, Shutdown::Write)));
        say!(log, "{}", verdict(k.shutdown(client, Shutdown::Write)));
        k.settle();
        say!(log, "{}", ready(k, ep));
        say!(log, "{}", verdict(k.write(client, b"x")));
        say!(log, "{} {} {}", read(k, server), read(k, server), read(k, server));
        say!(log, "{}", verdict(k.write(server, b"answer")));
        k.settle();
        say!(log, "{} {}", ready(k, ep), read(k, client));
        k.close(server).unwrap();
        k.settle();
        say!(log, "{} {}", ready(k, ep), read(k, client));
        say!(log, "{}", verdict(k.getpeername(client)));
        say!(log, "{}", verdict(k.shutdown(client, Shutdown::Both)));
        close_all(k, &[client, ep]);
    });
}

#[test]
fn closing_with_unread_data_resets_the_peer() {
    check(|k, log| {
        let (client, server) = pair(k);
        let ep = k.epoll_create1().unwrap();
        watch(k, ep, client, EDGES, 1);
        k.write(client, b"unread").unwrap();
        k.write(server, b"readable").unwrap();
        k.settle();
        say!(log, "{}", ready(k, ep));
        k.close(server).unwrap();
        k.settle();
        say!(log, "{}", ready(k, ep));
        say!(log, "{}", read(k, client));
        say!(log, "{} {}", read(k, client), read(k, client));
        say!(log, "{}", verdict(k.write(client, b"x")));
        say!(log, "{}", verdict(k.getpeername(client)));
        close_all(k, &[client, ep]);
    });
}

#[test]
fn writing_to_a_closed_peer_works_once() {
    check(|k, log| {
        let (client, server) = pair(k);
        let ep = k.epoll_create1().unwrap();
        watch(k, ep, client, EDGES, 1);
        say!(log, "{}", ready(k, ep));
        k.close(server).unwrap();
        k.settle();
        say!(log, "{}", ready(k, ep));
        say!(log, "{}", verdict(k.write(client, b"x")));
        k.settle();
        say!(log, "{}", ready(k, ep));
        say!(log, "{}", read(k, client));
        say!(log, "{}", verdict(k.write(client, b"x")));
        say!(log, "{}", verdict(k.write(client, b"x")));
        close_all(k, &[client, ep]);
    });
}

#[test]
fn shutdown_of_reading_ends_reads_after_what_has_arrived() {
    check(|k, log| {
        let (client, server) = pair(k);
        let ep = k.epoll_create1().unwrap();
        k.write(client, b"before").unwrap();
        k.settle();
        watch(k, ep, server, EDGES, 1);
        say!(log, "{}", ready(k, ep));
        say!(log, "{}", verdict(k.shutdown(server, Shutdown::Read)));
        say!(log, "{}", ready(k, ep));
        say!(log, "{} {}", read(k, server), read(k, server));
        k.write(client, b"after").unwrap();
        k.settle();
        say!(log, "{}", ready(k, ep));
        say!(log, "{} {}", read(k, server), read(k, server));
        close_all(k, &[client, server, ep]);
    });
}

#[test]
fn a_full_connection_is_not_writable_until_its_reader_reads() {
    check(|k, log| {
        let (client, server) = pair(k);
        let ep = k.epoll_create1().unwrap();
        watch(k, ep, client, EDGES, 1);
        say!(log, "{}", ready(k, ep));
        let chunk = vec![7; 64 * 1024];
        let mut refused = 0;
        while refused < 3 {
            match k.write(client, &chunk) {
                Ok(_) => refused = 0,
                Err(errno) => {
                    refused += 1;
                    say!(log, "{errno}");
                    k.settle();
                }
            }
            log.dedup();
        }
        say!(log, "{}", ready(k, ep));
        let mut buf = vec![0; 64 * 1024];
        let mut quiet = 0;
        while quiet < 3 {
            if k.read(server, &mut buf).is_err() {
                quiet += 1;
                k.settle();
            }
        }
        say!(log, "{} / {}", ready(k, ep), ready(k, ep));
        say!(log, "{}", verdict(k.write(client, b"x")));
        close_all(k, &[client, server, ep]);
    });
}

#[test]
fn epoll_refuses_what_it_must() {
    check(|k, log| {
        let (ep, fd) = (k.epoll_create1().unwrap(), tcp(k));
        let event = EpollEvent { events: EDGES, data: 1 };
        say!(log, "{}", verdict(k.epoll_add(ep, fd, event)));
        say!(log, "{}", verdict(k.epoll_add(ep, fd, event)));
        say!(log, "{}", verdict(k.epoll_add(ep, 9_999, event)));
        say!(log, "{}", verdict(k.epoll_add(9_999, fd, event)));
        say!(log, "{}", verdict(k.epoll_add(fd, fd, event)));
        say!(log, "{}", verdict(k.epoll_add(ep, ep, event)));
        say!(log, "{}", verdict(k.epoll_del(ep, fd)));
        say!(log, "{}", verdict(k.epoll_del(ep, fd)));
        say!(log, "{}", verdict(k.epoll_del(ep, 9_999)));
        say!(log, "{}", verdict(k.epoll_wait(ep, &mut [], 0)));
        let mut events = [EpollEvent::default()];
        say!(log, "{}", verdict(k.epoll_wait(fd, &mut events, 0)));
        say!(log, "{}", verdict(k.epoll_wait(9_999, &mut events, 0)));
        say!(log, "{:?}", k.epoll_wait(ep, &mut events, 1));
        say!(log, "{} {}", read(k, ep), verdict(k.write(ep, b"12345678")));
        close_all(k, &[fd, ep]);
    });
}

#[test]
fn a_duplicate_keeps_the_interest_of_a_closed_number() {
    check(|k, log| {
        let (client, server) = pair(k);
        let ep = k.epoll_create1().unwrap();
        watch(k, ep, server, libc::EPOLLIN as u32, 1);
        let copy = k.dup(server).unwrap();
        watch(k, ep, copy, libc::EPOLLIN as u32, 2);
        k.write(client, b"x").unwrap();
        k.settle();
        say!(log, "{}", ready(k, ep));
        k.close(server).unwrap();
        say!(log, "{}", ready(k, ep));
        say!(log, "{}", verdict(k.epoll_del(ep, server)));
        k.close(copy).unwrap();
        say!(log, "{}", ready(k, ep));
        close_all(k, &[client, ep]);
    });
}

#[test]
fn an_eventfd_counts_and_is_level_triggered() {
    check(|k, log| {
        let (ep, fd) = (k.epoll_create1().unwrap(), k.eventfd().unwrap());
        watch(k, ep, fd, libc::EPOLLIN as u32, 1);
        say!(log, "{} {}", ready(k, ep), verdict(k.read(fd, &mut [0; 8])));
        for _ in 0..2 {
            say!(log, "{:?}", k.write(fd, &1u64.to_ne_bytes()));
        }
        say!(log, "{} {}", ready(k, ep), ready(k, ep));
        let mut buf = [0; 8];
        say!(log, "{:?} {}", k.read(fd, &mut buf), u64::from_ne_bytes(buf));
        say!(log, "{}", ready(k, ep));
        say!(log, "{:?}", k.write(fd, &(u64::MAX - 1).to_ne_bytes()));
        say!(log, "{:?}", k.write(fd, &1u64.to_ne_bytes()));
        say!(log, "{:?} {:?}", k.write(fd, &[0; 4]), k.read(fd, &mut [0; 4]));
        say!(log, "{}", verdict(k.accept4(fd)));
        close_all(k, &[fd, ep]);
    });
}

#[test]
fn one_place_in_the_list_serves_all_level_triggered_items_in_turn() {
    check(|k, log| {
        let ep = k.epoll_create1().unwrap();
        let fds = [1u64, 2, 3].map(|data| {
            let fd = k.eventfd().unwrap();
            k.write(fd, &data.to_ne_bytes()).unwrap();
            watch(k, ep, fd, libc::EPOLLIN as u32, data);
            fd
        });
        for _ in 0..7 {
            let mut events = [EpollEvent::default()];
            k.epoll_wait(ep, &mut events, 0).unwrap();
            say!(log, "{}", events[0].data);
        }
        close_all(k, &fds);
        say!(log, "{}", ready(k, ep));
        close_all(k, &[ep]);
    });
}

#[test]
fn a_listener_that_closes_resets_those_it_has_not_accepted() {
    check(|k, log| {
        let (listener, addr) = listener(k);
        let (ep, fd) = (k.epoll_create1().unwrap(), tcp(k));
        watch(k, ep, fd, EDGES, 1);
        say!(log, "{}", verdict(k.connect(fd, &addr)));
        k.settle();
        say!(log, "{}", ready(k, ep));
        k.close(listener).unwrap();
        k.settle();
        say!(log, "{}", ready(k, ep));
        say!(log, "{} {}", read(k, fd), read(k, fd));
        close_all(k, &[fd, ep]);
    });
}

#[test]
fn what_a_client_did_before_it_was_accepted_is_there_afterwards() {
    check(|k, log| {
        let (listener, addr) = listener(k);
        let [polite, rude] = [tcp(k), tcp(k)];
        for fd in [polite, rude] {
            say!(log, "{}", verdict(k.connect(fd, &addr)));
            k.settle();
        }
        k.write(polite, b"hello").unwrap();
        k.close(polite).unwrap();
        k.settle();
        let (server, _) = k.accept4(listener).unwrap();
        say!(log, "{} {}", read(k, server), read(k, server));
        k.close(server).unwrap();
        let (server, _) = k.accept4(listener).unwrap();
        k.write(server, b"unread").unwrap();
        k.settle();
        k.close(rude).unwrap();
        k.settle();
        say!(log, "{} {}", read(k, server), read(k, server));
        close_all(k, &[server, listener]);
    });
}

#[test]
fn bind_and_listen_refuse_what_they_must() {
    check(|k, log| {
        let (listener, addr) = listener(k);
        let fd = tcp(k);
        say!(log, "{}", verdict(k.bind(fd, &addr)));
        say!(log, "{}", verdict(k.bind(listener, &loopback(0))));
        say!(log, "{}", verdict(k.bind(fd, &loopback(0))));
        say!(log, "{}", verdict(k.bind(9_999, &loopback(0))));
        say!(log, "{}", verdict(k.listen(listener, 5)));
        let name = |name| k.getsockopt(listener, libc::SOL_SOCKET, name);
        say!(log, "{:?}", name(libc::SO_ACCEPTCONN));
        say!(log, "{:?}", name(libc::SO_TYPE));
        say!(log, "{}", verdict(k.shutdown(listener, Shutdown::Write)));
        say!(log, "{}", verdict(k.accept4(listener)));
        say!(log, "{}", verdict(k.shutdown(listener, Shutdown::Read)));
        say!(log, "{}", verdict(k.accept4(listener)));
        say!(log, "{}", verdict(k.close(fd)));
        say!(log, "{}", verdict(k.close(fd)));
        close_all(k, &[listener]);
    });
}

/// What one side of a connection may do.
#[derive(Clone, Copy, Debug)]
enum Op {
    Write(usize),
    Read(usize),
    Peek,
    Shutdown(Shutdown),
    SoError,
    PeerName,
    Connect,
    Listen,
    Close,
}

/// A random script of two sides of a connection, the same on both kernels.
fn random_ops(seed: u8) -> Vec<(usize, Op)> {
    let mut rng = ChaCha8Rng::from_seed([seed; 32]);
    let mut draw = |n| below(&mut rng, n);
    let mut op = || match draw(20) {
        0..6 => Op::Write(draw(3_000) as usize),
        6..12 => Op::Read(1 + draw(4_000) as usize),
        12 => Op::Peek,
        13 => Op::Shutdown(Shutdown::Read),
        14 => Op::Shutdown(Shutdown::Write),
        15 => Op::Shutdown(Shutdown::Both),
        16 => Op::SoError,
        17 => Op::PeerName,
        18 => [Op::Connect, Op::Listen][draw(2) as usize],
        _ => Op::Close,
    };
    let ops: Vec<Op> = (0..25).map(|_| op()).collect();
    ops.into_iter().map(|op| (draw(2) as usize, op)).collect()
}

#[test]
fn random_scripts_of_a_connection_read_the_same_on_both_kernels() {
    for seed in 0..RANDOM_SCRIPTS {
        check(move |k, log| run_ops(k, log, seed));
    }
}

/// More agree too (100 were tried), but the real kernel takes its time for each.
const RANDOM_SCRIPTS: u8 = 6;

fn run_ops(k: &dyn Scripted, log: &mut Log, seed: u8) {
    let (client, server) = pair(k);
    let address = k.getpeername(client).unwrap();
    let sides = [client, server];
    for fd in sides {
        // Else Nagle's algorithm holds small writes back for longer than a script waits.
        k.setsockopt(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1).unwrap();
    }
    let mut open = [true; 2];
    let ep = k.epoll_create1().unwrap();
    watch(k, ep, client, EDGES, 0);
    watch(k, ep, server, EDGES, 1);
    say!(log, "seed {seed}: {}", ready(k, ep));
    for (side, op) in random_ops(seed) {
        if !open[side] {
            continue;
        }
        let fd = sides[side];
        let mut buf = vec![0; 4_096];
        let result = match op {
            Op::Write(len) => format!("{:?}", k.write(fd, &buf[..len])),
            Op::Read(len) => format!("{:?}", k.read(fd, &mut buf[..len])),
            Op::Peek => format!("{:?}", k.peek(fd, &mut buf)),
            Op::Shutdown(how) => verdict(k.shutdown(fd, how)),
            Op::SoError => so_error(k, fd).to_string(),
            Op::PeerName => verdict(k.getpeername(fd)),
            Op::Connect => verdict(k.connect(fd, &address)),
            Op::Listen => verdict(k.listen(fd, 1)),
            Op::Close => {
                open[side] = false;
                verdict(k.close(fd))
            }
        };
        // A FIN may be acknowledged late, and the acknowledgement is an edge.
        let settles = match op {
            Op::Shutdown(_) | Op::Close => 25,
            _ => 1,
        };
        (0..settles).for_each(|_| k.settle());
        say!(log, "seed {seed}: side {side}: {op:?} = {result}, then {}", ready(k, ep));
    }
    for side in [0, 1] {
        if open[side] {
            k.close(sides[side]).unwrap();
        }
    }
    k.close(ep).unwrap();
}
