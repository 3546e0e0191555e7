//! A worker, seen from the process that gives it orders.

use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::ops::Range;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::Sender;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use netpoll_sim::memory::resident;

use super::wire::{self, Order, Said};
use super::worker::WORKER;
use super::{HELPING, HELPING_MAX};
use crate::Usage;

/// How much of what a worker says on standard error is kept.
const WORDS_MAX: usize = 64 * 1024;
/// The lines of it that are shown.
const LINES_MAX: usize = 6;

/// A process that runs seeds. Dropping it ends the process.
#[derive(Debug)]
pub(super) struct Member {
    child: Child,
    stdin: ChildStdin,
    /// Reads what it says on standard error.
    stderr: Option<JoinHandle<String>>,
    /// The seeds that it has been handed and has not run, the first of which it is at.
    seeds: Option<Range<u64>>,
    /// How many it was handed, and when.
    began: (u64, Instant),
    /// When it was last heard.
    heard: Instant,
    /// How many it is to be handed next.
    helping: u64,
}

impl Member {
    /// Starts a process, whose words go to `listener` under `number`.
    pub(super) fn start(number: u64, listener: Sender<(u64, Said)>) -> Result<Member, Usage> {
        let cannot = |error| Usage(format!("cannot start a process to run seeds in: {error}"));
        let mut command = Command::new(env::current_exe().map_err(cannot)?);
        command.env(WORKER, "1").env("RUST_BACKTRACE", "0");
        // A group of its own: Ctrl-C is for us, who then end it.
        command.process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(cannot)?;
        let stdin = child.stdin.take().expect("standard input is a pipe");
        let stdout = BufReader::new(child.stdout.take().expect("standard output is a pipe"));
        let stderr = child.stderr.take().expect("standard error is a pipe");
        thread::spawn(move || {
            let mut lines = stdout.split(b'\n').map_while(Result::ok);
            let heard = |line: Vec<u8>| wire::parse(&String::from_utf8_lossy(&line));
            // An error means that nobody wants to hear it.
            let all_said = lines.try_for_each(|line| match heard(line) {
                Some(said) => listener.send((number, said)),
                None => Ok(()),
            });
            let _unheard = all_said.and_then(|()| listener.send((number, Said::Gone)));
        });
        let now = Instant::now();
        Ok(Member {
            child,
            stdin,
            stderr: Some(thread::spawn(move || keep(stderr))),
            seeds: None,
            began: (0, now),
            heard: now,
            helping: 4,
        })
    }

    /// Gives it an order. If it is dead already, that will be heard.
    pub(super) fn order(&mut self, order: &Order) {
        let order = serde_json::to_string(order).expect("text and numbers");
        let _dead = writeln!(self.stdin, "{order}").and_then(|()| self.stdin.flush());
        self.heard = Instant::now();
    }

    /// It has been handed these seeds.
    pub(super) fn begin(&mut self, seeds: Range<u64>) {
        self.began = (seeds.end - seeds.start, Instant::now());
        self.seeds = Some(seeds);
    }

    /// It has run a seed.
    pub(super) fn ran(&mut self, seed: u64) {
        self.heard = Instant::now();
        if let Some(seeds) = &mut self.seeds {
            seeds.start = seed.saturating_add(1);
        }
    }

    /// It has run all that it was handed; the next helping is such that it takes [`HELPING`].
    pub(super) fn done(&mut self) {
        self.seeds = None;
        let (count, start) = self.began;
        let took = start.elapsed().as_secs_f64().max(1e-6);
        let fits = count as f64 * HELPING.as_secs_f64() / took;
        self.helping = (fits as u64).clamp(1, HELPING_MAX.min(self.helping * 4));
    }

    pub(super) fn is_idle(&self) -> bool {
        self.seeds.is_none()
    }

    pub(super) fn helping(&self) -> u64 {
        self.helping
    }

    /// The seed that it is at.
    pub(super) fn seed(&self) -> Option<u64> {
        self.seeds.as_ref().map(|seeds| seeds.start)
    }

    /// The bytes of memory that it uses; 0 where nobody says.
    pub(super) fn memory(&self) -> u64 {
        resident(self.child.id()).unwrap_or(0)
    }

    /// For how long nothing has been heard of it.
    pub(super) fn silence(&self) -> Duration {
        self.heard.elapsed()
    }

    /// Of a process whose output has ended: how it ended, and what it said on standard error.
    pub(super) fn last_words(mut self) -> String {
        // The output of a process may end before the process does.
        let status = match wait_a_moment(&mut self.child) {
            Some(status) => describe(status),
            None => "closed its standard output".to_string(),
        };
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
        let said = self.stderr.take().and_then(|said| said.join().ok()).unwrap_or_default();
        let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| is_news(line)).collect();
        let last = &lines[lines.len().saturating_sub(LINES_MAX)..];
        match last {
            [] => format!("{status}, without a word"),
            lines => format!("{status}; it said: {}", lines.join(" / ")),
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Whether a line of standard error says something about the end of its process.
fn is_news(line: &str) -> bool {
    !line.is_empty() && !line.starts_with("note: ") && !line.starts_with("stack backtrace")
}

/// All that comes, of which the end is kept.
fn keep(mut from: impl Read) -> String {
    let (mut kept, mut buf) = (Vec::new(), [0; 4096]);
    while let Ok(len @ 1..) = from.read(&mut buf) {
        kept.extend(&buf[..len]);
        let excess = kept.len().saturating_sub(WORDS_MAX);
        kept.drain(..excess);
    }
    String::from_utf8_lossy(&kept).into_owned()
}

fn wait_a_moment(child: &mut Child) -> Option<ExitStatus> {
    for _ in 0..200 {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        thread::sleep(Duration::from_millis(5));
    }
    None
}

fn describe(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => match name_of(signal) {
            Some(name) => format!("was ended by {name}"),
            None => format!("was ended by signal {signal}"),
        },
        (None, Some(code)) => format!("exited with code {code}"),
        (None, None) => format!("ended: {status}"),
    }
}

/// The names of the signals that end processes which have made a mistake. The numbers are the same on
/// every system that has them.
fn name_of(signal: i32) -> Option<&'static str> {
    match signal {
        4 => Some("SIGILL"),
        6 => Some("SIGABRT"),
        8 => Some("SIGFPE"),
        9 => Some("SIGKILL"),
        11 => Some("SIGSEGV"),
        _ => None,
    }
}
