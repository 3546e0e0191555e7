//! How fast the simulator is, beside madsim, turmoil and shuttle, in one run.
//!
//! ```text
//! cd tests/speed && cargo run --release            # prints the table of SPEED.md
//! ```
//!
//! One thread, medians of several rounds in which the contenders take turns, since the machine is not ours alone.
//!
//! * **ping-pong**: clients send 64 bytes over a simulated TCP connection and wait for them to come back. Counted are
//!   messages, two for each round trip.
//! * **short runs**: the same with one client and one round trip, and a world of its own for each. Counted are runs.
//! * **handshake**: each of two threads parks until the other one says that it is ready, under random schedules. Counted
//!   are executions, and scheduling steps as the checker counts them.
//!
//! What the others simulate is less: their tasks are polled by one loop, and their TCP is a queue of messages. Here each message goes
//! through the production scheduler and poller and a kernel with `epoll`: a write, an edge, a harvest, a dispatch, a wake-up, a
//! read and one that finds nothing, some thirty operations on shared memory, four choices. That is about 11,000 instructions
//! (callgrind), and nothing stands out among them: the scheduler and the poller have 45 % of them (`find_runnable`, which looks for
//! others to rob, 14 %), the simulated kernel 38 %, the engine 7 %, choices 4 %. Oracles, which look at thirty records of each
//! message, take one and a half times as long again. With `lto = "fat"` and one worker it is half as fast again.
//!
//! A short run here starts and ends a runtime of two workers and sysmon, which is a sixth of it; the rest are the steps to listen,
//! to connect and to shut down, each under the oracles.

mod handshake;
mod madsim_tcp;
mod netpoll_tcp;
mod turmoil_tcp;

use std::time::{Duration, Instant};

/// Bytes of a message.
const LEN: usize = 64;
/// So many runs of one round trip make a turn.
const SHORT_RUNS: u64 = 2_000;
/// Rounds in which everybody takes a turn.
const ROUNDS: usize = 7;

/// So much work, and the time that it took.
struct Rate {
    work: u64,
    time: Duration,
}

impl Rate {
    fn per_second(&self) -> f64 {
        self.work as f64 / self.time.as_secs_f64()
    }
}

fn timed(work: impl FnOnce() -> u64) -> f64 {
    let start = Instant::now();
    let work = work();
    Rate { work, time: start.elapsed() }.per_second()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A contender: its name, and one turn, which returns figures per second.
type Contender<'a> = (&'a str, Box<dyn Fn() -> Vec<f64> + 'a>);

/// Lets everybody take turns: for each contender the figures of each of its turns.
fn compare(contenders: &[Contender<'_>]) -> Vec<Vec<Vec<f64>>> {
    let mut all: Vec<Vec<Vec<f64>>> = contenders.iter().map(|_| Vec::new()).collect();
    for _ in 0..ROUNDS {
        for ((_, turn), figures) in contenders.iter().zip(&mut all) {
            figures.push(turn());
        }
    }
    all
}

/// The median of one figure.
fn figure(turns: &[Vec<f64>], at: usize) -> f64 {
    median(turns.iter().map(|turn| turn[at]).collect())
}

/// The median of the ratios of one figure, round by round.
fn ratio(ours: &[Vec<f64>], theirs: &[Vec<f64>], at: usize) -> f64 {
    median(ours.iter().zip(theirs).map(|(ours, theirs)| ours[at] / theirs[at]).collect())
}

fn thousands(value: f64) -> String {
    format!("{:.0}k", value / 1000.0)
}

fn main() {
    if let Some(what) = std::env::args().nth(1) {
        return only(&what);
    }
    println!("# How fast the simulator is, beside others\n");
    println!(
        "What `cd tests/speed && cargo run --release > SPEED.md` prints: one thread, medians of {ROUNDS} rounds.\n"
    );
    println!("| messages of {LEN} bytes per second | 1 client | 100 clients |");
    println!("|---|---|---|");
    let [one, hundred] = [1, 100].map(ping_pong);
    for (nth, (name, turns)) in one.iter().enumerate() {
        let figures = [turns, &hundred[nth].1].map(|turns| thousands(figure(turns, 0)));
        println!("| {name} | {} |", figures.join(" | "));
    }
    for (nth, (name, turns)) in one.iter().enumerate().skip(2) {
        let [one, hundred] =
            [ratio(&one[BARE].1, turns, 0), ratio(&hundred[BARE].1, &hundred[nth].1, 0)];
        println!("| without oracles, to {name} | {one:.2} | {hundred:.2} |");
    }
    println!("\n| runs of one round trip | per second |");
    println!("|---|---|");
    for (name, turns) in short_runs() {
        println!("| {name} | {:.1}k |", figure(&turns, 0) / 1000.0);
    }
    println!("\n| handshake | executions per second | steps per second |");
    println!("|---|---|---|");
    let handshake = park_and_ready();
    for (name, turns) in &handshake {
        let figures = [0, 1].map(|at| thousands(figure(turns, at)));
        println!("| {name} | {} |", figures.join(" | "));
    }
    let ratios = [0, 1].map(|at| format!("{:.2}", ratio(&handshake[0].1, &handshake[1].1, at)));
    println!("| ratio | {} |", ratios.join(" | "));
}

/// The place of the simulator without oracles among the contenders.
const BARE: usize = 1;

/// One contender for some seconds, for a profiler: `bare`, `watched`, `short` or `handshake`.
fn only(what: &str) {
    let start = Instant::now();
    let mut turns = Vec::new();
    while start.elapsed() < Duration::from_secs(8) {
        turns.push(match what {
            "bare" => timed(|| netpoll_tcp::bare(1)),
            "watched" => timed(|| netpoll_tcp::watched(1)),
            "short" => timed(netpoll_tcp::short),
            "handshake" => timed(|| handshake::netpoll().1),
            other => {
                eprintln!("speed: `{other}`: say bare, watched, short, handshake, or nothing");
                std::process::exit(2);
            }
        });
    }
    println!("{what}: {} per second", thousands(median(turns)));
}

/// The turns of each contender, by name.
type Turns = Vec<(&'static str, Vec<Vec<f64>>)>;

fn turns_of(contenders: &[Contender<'static>]) -> Turns {
    let figures = compare(contenders);
    contenders.iter().zip(figures).map(|((name, _), figures)| (*name, figures)).collect()
}

/// A run of somebody else's: of a seed, so many clients and so many round trips of each.
type Run = fn(u64, usize, usize);

/// One run of so many messages; returns how many there really were.
fn long_run(run: Run, messages: usize, clients: usize) -> u64 {
    let round_trips = messages / 2 / clients;
    run(1, clients, round_trips);
    (2 * clients * round_trips) as u64
}

/// Runs of one round trip; returns how many there are.
fn many_runs(run: Run) -> u64 {
    (0..SHORT_RUNS).for_each(|seed| run(seed, 1, 1));
    SHORT_RUNS
}

fn ping_pong(clients: usize) -> Turns {
    let rate = |work: fn(usize) -> u64| move || vec![timed(|| work(clients))];
    let contenders: [Contender<'static>; 4] = [
        ("netpoll-sim, under all oracles, as tests run", Box::new(rate(netpoll_tcp::watched))),
        ("netpoll-sim, no oracles, one long run", Box::new(rate(netpoll_tcp::bare))),
        (
            "madsim",
            Box::new(rate(|clients| long_run(madsim_tcp::run, madsim_tcp::MESSAGES, clients))),
        ),
        (
            "turmoil",
            Box::new(rate(|clients| long_run(turmoil_tcp::run, turmoil_tcp::MESSAGES, clients))),
        ),
    ];
    turns_of(&contenders)
}

fn short_runs() -> Turns {
    let rate = |work: fn() -> u64| move || vec![timed(work)];
    let contenders: [Contender<'static>; 3] = [
        ("netpoll-sim, under all oracles, as tests run", Box::new(rate(netpoll_tcp::short))),
        ("madsim", Box::new(rate(|| many_runs(madsim_tcp::run)))),
        ("turmoil", Box::new(rate(|| many_runs(turmoil_tcp::run)))),
    ];
    turns_of(&contenders)
}

fn park_and_ready() -> Turns {
    let rates = |work: fn() -> (u64, u64)| {
        move || {
            let start = Instant::now();
            let (executions, steps) = work();
            let time = start.elapsed();
            [executions, steps].map(|work| Rate { work, time }.per_second()).to_vec()
        }
    };
    let contenders: [Contender<'static>; 2] = [
        ("netpoll-sim, atomic granularity", Box::new(rates(handshake::netpoll))),
        ("shuttle, random", Box::new(rates(handshake::shuttle))),
    ];
    turns_of(&contenders)
}
