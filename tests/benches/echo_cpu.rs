//! What a request costs: the runtime against a hand-written epoll loop, or against itself while it records a
//! trace.
//!
//! ```text
//! cargo bench -p netpoll-tests --bench echo_cpu [-- --connections 64 --requests 200000 --pairs 7 --recorded]
//! ```
//!
//! Both servers echo 64 bytes. Each is a process of its own, this binary started again, and is pinned to
//! the first processor; the load generator is pinned to the second and keeps one request in flight on
//! each connection. The two take turns, A B A B …, so that a machine that speeds up or slows down does
//! so to both; each pair gives one ratio, and the medians are the result.
//!
//! The cost is the processor time of the whole server process (for the runtime: workers, sysmon and all)
//! over a fixed number of requests after a warm-up, user and system time together.
//!
//! Run by `cargo test`, without `--bench`, it does nothing.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use netpoll_tests::load::Load;
use netpoll_tests::{os, raw_epoll, server};

const SERVER_CORE: usize = 0;
const LOAD_CORE: usize = 1;
/// Bytes of a request.
const SIZE: usize = 64;
/// Requests per connection before anything is measured: pages are touched, buffers have their size.
const WARM_UP: u64 = 100;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let result = match args.first().map(String::as_str) {
        Some("--serve") => serve(args.get(1).map_or("", String::as_str)),
        _ if args.iter().any(|arg| arg == "--bench") => measure(&args),
        _ => Ok(()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("echo_cpu: {error}");
            ExitCode::FAILURE
        }
    }
}

// ---- the servers -----------------------------------------------------------------------------------

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Netpoll,
    Raw,
    /// The runtime, recording.
    Recorded,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Netpoll => "netpoll",
            Kind::Raw => "raw",
            Kind::Recorded => "recorded",
        }
    }
}

/// The child: serves until standard input ends, with its parent at the latest.
fn serve(kind: &str) -> io::Result<()> {
    // Threads that are started from here on inherit it.
    os::pin_to_core(SERVER_CORE)?;
    let announce = |addr: SocketAddr| {
        println!("{addr}");
        std::thread::spawn(|| {
            let _ended = io::stdin().read(&mut [0]);
            std::process::exit(0);
        });
    };
    if kind == Kind::Raw.name() {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        announce(listener.local_addr()?);
        return raw_epoll::serve(&listener);
    }
    let mut builder = netpoll::Builder::new().workers(1);
    if kind == Kind::Recorded.name() {
        // What it records is of no interest here: only what that costs.
        builder = builder.trace("/dev/null");
    }
    builder.build()?.run(move || {
        let listener = netpoll::net::TcpListener::bind("127.0.0.1:0")?;
        announce(listener.local_addr()?);
        listener.serve(|mut stream, _| {
            let _ended = server::echo(&mut stream);
        })
    })?
}

struct Server {
    child: Child,
    addr: SocketAddr,
}

impl Server {
    fn start(kind: Kind) -> io::Result<Server> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--serve", kind.name()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line)?;
        let addr = line.trim().parse();
        let addr = addr.map_err(|_| io::Error::other(format!("{kind:?} did not start: {line:?}")));
        match addr {
            Ok(addr) => Ok(Server { child, addr }),
            Err(error) => {
                child.kill()?;
                child.wait()?;
                Err(error)
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It is ours, and it may have ended already.
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

// ---- the measurement -------------------------------------------------------------------------------

#[derive(Clone, Copy, Debug)]
struct Sample {
    cpu_ns_per_request: f64,
    requests_per_second: f64,
    switches_per_request: f64,
}

fn sample(kind: Kind, connections: usize, requests: u64) -> io::Result<Sample> {
    let server = Server::start(kind)?;
    let pid = server.child.id();
    let mut load = Load::connect(server.addr, connections, SIZE)?;
    load.run(WARM_UP * connections as u64)?;

    let (cpu, switches) = (os::cpu_time(pid)?, os::voluntary_switches(pid)?);
    let start = Instant::now();
    load.run(requests)?;
    let elapsed = start.elapsed();
    let cpu: Duration = os::cpu_time(pid)? - cpu;
    let switches = os::voluntary_switches(pid)? - switches;

    Ok(Sample {
        cpu_ns_per_request: cpu.as_nanos() as f64 / requests as f64,
        requests_per_second: requests as f64 / elapsed.as_secs_f64(),
        switches_per_request: switches as f64 / requests as f64,
    })
}

fn measure(args: &[String]) -> io::Result<()> {
    let option = |name: &str| -> io::Result<Option<u64>> {
        let Some(at) = args.iter().position(|arg| arg == name) else {
            return Ok(None);
        };
        let number = args.get(at + 1).and_then(|text| text.parse().ok());
        let number = number.filter(|&number| number > 0);
        let error = || io::Error::other(format!("{name} needs a number from 1 on"));
        number.map(Some).ok_or_else(error)
    };
    let pairs = option("--pairs")?.unwrap_or(7);
    let requests = option("--requests")?.unwrap_or(200_000);
    let variants = match option("--connections")? {
        Some(count) => vec![count as usize],
        None => vec![64, 1000],
    };
    os::require_descriptors(variants.iter().max().map_or(0, |&max| max as u64) + 64)?;
    os::pin_to_core(LOAD_CORE)?;
    let recorded = args.iter().any(|arg| arg == "--recorded");
    let kinds = match recorded {
        true => (Kind::Recorded, Kind::Netpoll),
        false => (Kind::Netpoll, Kind::Raw),
    };
    for connections in variants {
        compare(kinds, connections, requests, pairs)?;
    }
    Ok(())
}

fn compare(
    (one, other): (Kind, Kind),
    connections: usize,
    requests: u64,
    pairs: u64,
) -> io::Result<()> {
    let (first, second) = (one.name(), other.name());
    println!("{connections} connections, {requests} requests of {SIZE} bytes, {pairs} pairs");
    println!(
        "{:>6} {:>12} {:>12} {:>7} {:>12} {:>12} {:>11} {:>11}",
        "pair", first, second, "ratio", first, second, first, second
    );
    println!(
        "{:>6} {:>12} {:>12} {:>7} {:>12} {:>12} {:>11} {:>11}",
        "", "ns/req", "ns/req", "", "req/s", "req/s", "switch/req", "switch/req"
    );
    let mut samples = Vec::new();
    for pair in 0..pairs {
        let both = (sample(one, connections, requests)?, sample(other, connections, requests)?);
        let ratio = both.0.cpu_ns_per_request / both.1.cpu_ns_per_request;
        print_row(&format!("{}", pair + 1), both, ratio);
        samples.push(both);
    }
    let ratio = median(&samples, |(one, other)| one.cpu_ns_per_request / other.cpu_ns_per_request);
    let middle = |of: fn(&(Sample, Sample)) -> Sample| Sample {
        cpu_ns_per_request: median(&samples, |both| of(both).cpu_ns_per_request),
        requests_per_second: median(&samples, |both| of(both).requests_per_second),
        switches_per_request: median(&samples, |both| of(both).switches_per_request),
    };
    print_row("median", (middle(|both| both.0), middle(|both| both.1)), ratio);
    let throughput =
        median(&samples, |(one, other)| one.requests_per_second / other.requests_per_second);
    println!("throughput, {first} to {second}: {throughput:.3}");
    println!();
    io::stdout().flush()
}

fn print_row(name: &str, (one, other): (Sample, Sample), ratio: f64) {
    println!(
        "{name:>6} {:>12.0} {:>12.0} {ratio:>7.3} {:>12.0} {:>12.0} {:>11.4} {:>11.4}",
        one.cpu_ns_per_request,
        other.cpu_ns_per_request,
        one.requests_per_second,
        other.requests_per_second,
        one.switches_per_request,
        other.switches_per_request,
    );
}

fn median<T>(samples: &[T], value: impl Fn(&T) -> f64) -> f64 {
    let mut values: Vec<f64> = samples.iter().map(value).collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) {
        (values[middle - 1] + values[middle]) / 2.0
    } else {
        values[middle]
    }
}
