//! A client for echo servers that checks every byte: `std::net`, one thread a connection.
//!
//! ```text
//! echo_client ADDR [--clients 1000] [--rounds 100] [--size 64]
//! echo_client ADDR --idle N [--pid SERVER]
//! ```
//!
//! The first form connects all clients before any of them sends, lets each make its round trips and
//! prints one line. The second opens idle connections, each after one round trip, so that whatever
//! serves it has really run, and prints how much the server's resident memory grew per connection.
//!
//! Exit codes: 0 all bytes came back, 1 a mismatch or an error, 2 bad arguments or too few
//! descriptors.

use std::net::{SocketAddr, ToSocketAddrs};
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use netpoll_tests::client::{Client, Failure};
use netpoll_tests::os;

const USAGE: &str = "usage: echo_client ADDR [--clients N] [--rounds N] [--size BYTES] \
                     | echo_client ADDR --idle N [--pid PID]";
/// Enough for a client's 16 KiB buffer and what `std` needs; a thousand of them are 96 MiB of address
/// space.
const STACK_SIZE: usize = 96 * 1024;
/// Descriptors for everything but connections.
const SPARE_DESCRIPTORS: u64 = 64;
/// Bytes of an idle connection's round trip.
const IDLE_SIZE: usize = 64;
/// Failures that are worth a line of their own.
const FAILURES_SHOWN: u64 = 5;

#[derive(Debug)]
struct Options {
    addr: SocketAddr,
    clients: u64,
    rounds: u64,
    size: usize,
    idle: Option<u64>,
    pid: Option<u32>,
}

impl Options {
    fn parse(args: impl Iterator<Item = String>) -> Result<Options, String> {
        let mut args = args;
        let mut addr = None;
        let (mut clients, mut rounds, mut size) = (1000, 100, 64);
        let (mut idle, mut pid) = (None, None);
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--clients" => clients = number(&arg, args.next(), 1)?,
                "--rounds" => rounds = number(&arg, args.next(), 1)?,
                "--size" => size = number(&arg, args.next(), 1)?,
                "--idle" => idle = Some(number(&arg, args.next(), 1)?),
                "--pid" => pid = Some(number(&arg, args.next(), 2)?),
                _ if arg.starts_with('-') => return Err(format!("unknown option {arg}; {USAGE}")),
                _ if addr.is_some() => return Err(format!("a second address, {arg}; {USAGE}")),
                _ => addr = Some(resolve(&arg)?),
            }
        }
        if pid.is_some() && idle.is_none() {
            return Err(format!("--pid is of use with --idle only; {USAGE}"));
        }
        Ok(Options {
            addr: addr.ok_or_else(|| format!("no address; {USAGE}"))?,
            clients,
            rounds,
            size,
            idle,
            pid,
        })
    }
}

fn number<T>(name: &str, value: Option<String>, least: T) -> Result<T, String>
where
    T: FromStr + PartialOrd + std::fmt::Display,
{
    let value = value.ok_or_else(|| format!("{name} needs a number"))?;
    match value.parse() {
        Ok(number) if number >= least => Ok(number),
        _ => Err(format!("{name} {value}: not a number from {least} on")),
    }
}

fn resolve(text: &str) -> Result<SocketAddr, String> {
    let mut addrs =
        text.to_socket_addrs().map_err(|error| format!("bad address {text:?}: {error}"))?;
    addrs.next().ok_or_else(|| format!("address {text:?} means no host"))
}

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(text) => {
            eprintln!("echo_client: {text}");
            return ExitCode::from(2);
        }
    };
    let connections = options.idle.unwrap_or(options.clients);
    if let Err(error) = os::require_descriptors(connections.saturating_add(SPARE_DESCRIPTORS)) {
        eprintln!("echo_client: {error}");
        return ExitCode::from(2);
    }
    let result = match options.idle {
        Some(count) => hold_idle(&options, count),
        None => run_rounds(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("echo_client: {text}");
            ExitCode::FAILURE
        }
    }
}

/// What the clients have counted together.
#[derive(Debug, Default)]
struct Totals {
    round_trips: AtomicU64,
    mismatches: AtomicU64,
    errors: AtomicU64,
}

impl Totals {
    fn note(&self, client: u64, failure: &Failure) {
        let count = match failure {
            Failure::Mismatch(_) => &self.mismatches,
            Failure::Io(..) => &self.errors,
        };
        if count.fetch_add(1, Relaxed) < FAILURES_SHOWN {
            eprintln!("echo_client: client {client}: {failure}");
        }
    }
}

fn run_rounds(options: &Options) -> Result<(), String> {
    let &Options { addr, clients, rounds, size, .. } = options;
    let totals = Arc::new(Totals::default());
    // The clients and this thread, which starts the clock.
    let barrier = Arc::new(Barrier::new(clients as usize + 1));
    let mut threads = Vec::new();
    for number in 0..clients {
        let (totals, barrier) = (totals.clone(), barrier.clone());
        let body = move || {
            let client = Client::connect(addr, number);
            // A client that failed comes here too, or the others would wait for it for ever.
            barrier.wait();
            let result = client.and_then(|mut client| {
                for _ in 0..rounds {
                    client.round_trip(size)?;
                    totals.round_trips.fetch_add(1, Relaxed);
                }
                Ok(())
            });
            if let Err(failure) = result {
                totals.note(number, &failure);
            }
        };
        let builder = thread::Builder::new().stack_size(STACK_SIZE);
        match builder.spawn(body) {
            Ok(thread) => threads.push(thread),
            // Those that have started wait at the barrier and end with the process.
            Err(error) => return Err(format!("thread {number} of {clients}: {error}")),
        }
    }
    barrier.wait();
    let start = Instant::now();
    let panicked = threads.into_iter().filter_map(|thread| thread.join().err()).count() as u64;
    let seconds = start.elapsed().as_secs_f64();

    let trips = totals.round_trips.load(Relaxed);
    let mismatches = totals.mismatches.load(Relaxed);
    let errors = totals.errors.load(Relaxed) + panicked;
    println!(
        "clients={clients} round_trips={trips} bytes={} seconds={seconds:.3} \
         round_trips_per_second={:.0} mismatches={mismatches} errors={errors}",
        trips * size as u64,
        trips as f64 / seconds,
    );
    if mismatches + errors == 0 && trips == clients * rounds {
        Ok(())
    } else {
        Err(format!("{mismatches} mismatches, {errors} errors"))
    }
}

fn hold_idle(options: &Options, count: u64) -> Result<(), String> {
    let resident = || -> Result<Option<u64>, String> {
        let read = |pid| os::resident_kib(pid).map_err(|error| format!("process {pid}: {error}"));
        options.pid.map(read).transpose()
    };
    let before = resident()?;
    let start = Instant::now();
    let mut clients = Vec::new();
    for number in 0..count {
        let client = Client::connect(options.addr, number).and_then(|mut client| {
            client.round_trip(IDLE_SIZE)?;
            Ok(client)
        });
        clients.push(client.map_err(|failure| format!("connection {number}: {failure}"))?);
    }
    // The server's last goroutines are on their way back into the poller.
    thread::sleep(Duration::from_millis(300));
    let after = resident()?;
    // They were idle, not lost.
    for (number, client) in clients.iter_mut().enumerate() {
        let trip = client.round_trip(IDLE_SIZE);
        trip.map_err(|failure| format!("connection {number}, after the idle time: {failure}"))?;
    }
    let seconds = start.elapsed().as_secs_f64();
    match before.zip(after) {
        Some((before, after)) => println!(
            "idle={count} seconds={seconds:.3} server_rss_kib_before={before} \
             server_rss_kib_after={after} kib_per_connection={:.2}",
            (after as f64 - before as f64) / count as f64
        ),
        None => println!("idle={count} seconds={seconds:.3}"),
    }
    Ok(())
}
