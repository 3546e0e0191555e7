//! A test whose seeds are run by several processes, one after the other.
//!
//! What a run leaves behind that ends while hosts are running, or that crashes some, is leaked, since it cannot be
//! unwound (E4 in `engine/mod.rs`), and the program of a test may leak as well. So a process that has grown by
//! [`GROWTH_MAX`] begins no more seeds, and for those that are left the test starts its own program again, with
//! nothing but this one test in it. That process runs seeds until it has grown as well, says how far it came, and
//! ends; and so on. Whatever the number of seeds, there are never more than two processes, and neither grows beyond
//! the limit by more than a few runs.
//!
//! The next process is told by two variables: `NETPOLL_SIM_SEEDS` has the seeds that are left, and [`VARIABLE`] says
//! that somebody listens. It tries no failure files, and misses no marks, as those may have been true in other
//! processes. What it says goes out on its standard output among whatever else is printed there: one line for each
//! [`Word`]. A failure it reports and keeps itself, as always.
//!
//! Only a test that the attribute has made is handed on: of others nobody knows by which arguments its program comes
//! to it, or whether it has other effects on the way. And only where the system says how much memory a process uses.

use std::fmt;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::ops::Range;
use std::os::unix::process::CommandExt as _;
use std::process::{self, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::{env, thread};

use super::place::Place;
use crate::explore::Progress;
use crate::failure::{escape, unescape};
use crate::memory::resident;
use crate::{Mark, Marks};

/// Tells a process that it is one of several.
pub(super) const VARIABLE: &str = "NETPOLL_SIM_RELAY";
/// A process that has grown by so many bytes begins no more runs. Far above what a test needs, and below what
/// anybody would miss.
const GROWTH_MAX: u64 = 256 << 20;
/// Memory is looked at before one seed in so many.
const LOOK: u64 = 16;
/// What a line begins with that is for the process before.
const TO_PARENT: &str = "netpoll-sim relay: ";

/// Says when a process has grown too large.
#[derive(Debug)]
pub(super) struct Limit {
    /// When the test began, in bytes.
    start: u64,
    asked: AtomicU64,
    is_lifted: AtomicBool,
}

impl Limit {
    /// Growth counts from here on; `None` if somebody else cannot go on with the test.
    pub(super) fn new(place: &Place) -> Option<Limit> {
        let start = place.test.is_of_attribute().then(|| resident(process::id()))??;
        Some(Limit { start, asked: AtomicU64::new(0), is_lifted: AtomicBool::new(false) })
    }

    pub(super) fn lift(&self) {
        self.is_lifted.store(true, Relaxed);
    }

    pub(super) fn is_reached(&self) -> bool {
        let is_time = self.asked.fetch_add(1, Relaxed).is_multiple_of(LOOK);
        let counts = is_time && !self.is_lifted.load(Relaxed);
        counts && resident(process::id()).is_some_and(|now| now > self.start + GROWTH_MAX)
    }
}

/// What one of the processes has done.
#[derive(Debug, Default)]
pub(super) struct Leg {
    pub(super) progress: Progress,
    pub(super) marks: Marks,
}

/// Why there is no leg.
#[derive(Debug)]
pub(super) enum Broken {
    /// A run failed, and the process has said so; this is the sentence.
    Failed(String),
    /// There was no such process, or it did nothing.
    Useless(String),
}

/// Lets another process run these seeds, or the first of them. What it prints is printed here.
pub(super) fn hand_on(place: &Place, seeds: Range<u64>) -> Result<Leg, Broken> {
    let useless = |error: io::Error| Broken::Useless(error.to_string());
    // This very program, although another one may have been built in its place meanwhile.
    let mut command = Command::new("/proc/self/exe");
    if let Some(name) = env::args_os().next() {
        command.arg0(name); // what it is called where processes are listed
    }
    command.args(["--exact", &place.name, "--nocapture", "--include-ignored"]);
    command.env_remove("NETPOLL_SIM_SEED").env(VARIABLE, "1");
    command.env("NETPOLL_SIM_SEEDS", format!("{}..{}", seeds.start, seeds.end));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(useless)?;
    let mut errors = child.stderr.take().expect("it is a pipe");
    let errors = thread::spawn(move || {
        let mut text = Vec::new();
        // What was read before an error is still of use.
        let _unread = errors.read_to_end(&mut text);
        text
    });
    let mut heard = Leg::default();
    let mut failure = None;
    for line in BufReader::new(child.stdout.take().expect("it is a pipe")).split(b'\n') {
        let line = line.map_err(useless)?;
        let line = String::from_utf8_lossy(&line);
        match line.strip_prefix(TO_PARENT).and_then(Word::parse) {
            Some(Word::Ran { seeds, steps, virtual_ns }) => {
                heard.progress = Progress { seeds, steps, virtual_ns, ..Progress::default() };
            }
            Some(Word::Passed { mark, hit }) => heard.marks.add_of(mark, hit),
            Some(Word::Failed(sentence)) => failure = Some(sentence),
            None => println!("{line}"),
        }
    }
    let status = child.wait().map_err(useless)?;
    let errors = errors.join().expect("reading does not panic");
    eprint!("{}", String::from_utf8_lossy(&errors));
    match failure {
        Some(sentence) => Err(Broken::Failed(sentence)),
        // This is its last word, however the test program takes it: a test that is to panic has not.
        None if heard.progress.seeds > 0 => Ok(heard),
        None if status.success() => Err(Broken::Useless("it has run no seed".to_string())),
        // A run took it along.
        None => {
            let Range { start, end } = seeds;
            let sentence = format!("a process that ran seeds of {start}..{end} ended: {status}");
            Err(Broken::Failed(sentence))
        }
    }
}

/// Says to the process before this one how far it came.
pub(super) fn tell_leg(progress: &Progress, marks: &Marks) {
    let &Progress { seeds, steps, virtual_ns, .. } = progress;
    let marks = marks.iter().map(|(mark, hit)| Word::Passed { mark: mark.clone(), hit });
    tell(marks.chain([Word::Ran { seeds, steps, virtual_ns }]));
}

/// Says to the process before this one what failed.
pub(super) fn tell_failure(sentence: &str) {
    tell([Word::Failed(sentence.to_string())]);
}

fn tell(words: impl IntoIterator<Item = Word>) {
    // Past what `cargo test` may capture, and not behind something on the same line.
    let mut out = io::stdout().lock();
    let written = words.into_iter().try_for_each(|word| write!(out, "\n{TO_PARENT}{word}\n"));
    if let Err(error) = written.and_then(|()| out.flush()) {
        eprintln!("netpoll-sim: nobody listens: {error}");
    }
}

/// What one process says to the one before.
#[derive(Debug, PartialEq, Eq)]
enum Word {
    /// All that it has run.
    Ran { seeds: u64, steps: u64, virtual_ns: u64 },
    /// It has come to this mark.
    Passed { mark: Mark, hit: bool },
    /// A run has failed.
    Failed(String),
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Word::Ran { seeds, steps, virtual_ns } => {
                write!(f, "ran {seeds} {steps} {virtual_ns}")
            }
            Word::Passed { mark: Mark { name, file, line }, hit } => {
                write!(f, "passed {hit} {line} {file}\t{}", escape(name))
            }
            Word::Failed(sentence) => write!(f, "failed {}", escape(sentence)),
        }
    }
}

impl Word {
    /// The word of a line; `None` if it is none.
    fn parse(line: &str) -> Option<Word> {
        let (kind, rest) = line.split_once(' ')?;
        match kind {
            "ran" => {
                let mut numbers = rest.split(' ').map(str::parse);
                let mut next = || numbers.next()?.ok();
                Some(Word::Ran { seeds: next()?, steps: next()?, virtual_ns: next()? })
            }
            "passed" => {
                let (numbers, name) = rest.split_once('\t')?;
                let (hit, place) = numbers.split_once(' ')?;
                let (line, file) = place.split_once(' ')?;
                // Marks are `'static`; there are few of them.
                let (name, file) = (unescape(name)?.leak(), file.to_string().leak());
                let mark = Mark::new(name, file, line.parse().ok()?);
                Some(Word::Passed { mark, hit: hit.parse().ok()? })
            }
            "failed" => unescape(rest).map(Word::Failed),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_comes_as_it_was_said() {
        for word in [
            Word::Ran { seeds: 17, steps: u64::MAX, virtual_ns: 0 },
            Word::Passed { mark: Mark::new("a \\ b\nc\td", "src/a b.rs", 7), hit: true },
            Word::Passed { mark: Mark::new("", "", 0), hit: false },
            Word::Failed("g1 panicked:\n  left: \"\\n\"\r\n".to_string()),
        ] {
            let line = word.to_string();
            assert!(!line.contains('\n'), "one line: {line}");
            assert_eq!(Word::parse(&line), Some(word));
        }
    }

    #[test]
    fn what_is_no_word_is_none() {
        for line in
            ["", "ran", "ran 1 2", "ran 1 2 x", "passed true 7 a.rs", "sat 1", "passed 1 7 a\tb"]
        {
            assert_eq!(Word::parse(line), None, "{line}");
        }
    }

    #[test]
    fn only_a_test_of_the_attribute_is_handed_on() {
        assert!(Limit::new(&Place::named("register")).is_none());
        let place = Place::new("p", "0.1.0", "/p", "p::tests::register");
        let limit = Limit::new(&place);
        assert_eq!(limit.is_some(), resident(process::id()).is_some());
    }
}
