//! Failure files: a run that violated something, small enough to keep for ever.
//!
//! ```text
//! netpoll-failure 1
//! scenario close_vs_read
//! netpoll 0.1.0
//! seed 17
//! granularity atomic
//! faults poll-eintr=20 spurious-wake=20
//! workers 2
//! violated lost-wakeup
//! sentence L3 lost wakeup: g7 is parked in read fd5, which is closing
//! choices 41
//! thread:0/2*36 thread:1/2 segment-delay:3/8 thread:0/3*2
//! poll-eintr:1/2
//! end
//! ```
//!
//! | line | holds |
//! |---|---|
//! | `netpoll-failure` | the version of this format |
//! | `scenario` | the program |
//! | `netpoll` | the version that made it; another one may ask other questions, and says so |
//! | `seed` | where the choices came from, or `-`; for the reader, a replay does not use it |
//! | `granularity`, `faults`, `workers` | what determined the run beside its choices; faults as rates per mille, or `none` |
//! | `violated`, `sentence` | what it violated; `\n` and `\\` stand for a line break and a backslash |
//! | `choices` | how many follow: `kind:k/n`, `*m` for m equal ones in a row, any number to a line |
//! | `end` | proof that nothing is missing |
//!
//! Empty lines and lines that begin with `#` are skipped, except before the first line. All else must
//! be as written here: a file that has been damaged is refused, with the line and what was expected
//! there. A file is written under another name first and renamed, so that no half of one is ever seen.

use std::fmt::{self, Write as _};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process;

use netpoll::runtime::WORKERS_MAX;

use crate::explore::{Finding, Options, Property, faults_name, granularity_name};
use crate::{Choice, ChoiceKind, FaultKind, Faults, Granularity};

/// The version of the format.
pub const VERSION: u32 = 1;
/// More choices than any run can make within its limit of steps: a bound on what a damaged file can
/// make the parser allocate.
const CHOICES_MAX: usize = 16_000_000;
/// Where lines of choices are broken.
const WIDTH: usize = 100;

/// What a failure file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The program's name.
    pub scenario: String,
    /// The version of netpoll that made it.
    pub netpoll: String,
    /// The seed, if it came from one.
    pub seed: Option<u64>,
    /// What determined the run beside its choices.
    pub options: Options,
    /// What it violated.
    pub property: Property,
    /// The same for people.
    pub sentence: String,
    /// Every choice of the run.
    pub choices: Vec<Choice>,
}

impl From<&Finding> for Failure {
    fn from(finding: &Finding) -> Failure {
        Failure {
            scenario: finding.scenario.name.to_string(),
            netpoll: env!("CARGO_PKG_VERSION").to_string(),
            seed: finding.seed,
            options: finding.options.clone(),
            property: finding.violation.property,
            sentence: finding.violation.sentence.clone(),
            choices: finding.choices.clone(),
        }
    }
}

impl Failure {
    /// Writes the file into `dir`, which is made if it is not there. Returns its path.
    ///
    /// # Errors
    /// What the file system says.
    pub fn save(&self, dir: &Path) -> io::Result<PathBuf> {
        fs::create_dir_all(dir)?;
        let path = dir.join(self.file_name());
        let draft = dir.join(format!(".{}.{}", self.file_name(), process::id()));
        let written = fs::write(&draft, self.to_string()).and_then(|()| fs::rename(&draft, &path));
        if written.is_err() {
            // What is left of the draft is of no use, and the first error is the one to report.
            let _unwritten = fs::remove_file(&draft);
        }
        written.map(|()| path)
    }

    /// `close_vs_read-17-atomic-light.failure`.
    fn file_name(&self) -> String {
        let seed = self
            .seed
            .map_or("shrunk".to_string(), |seed| seed.to_string());
        let granularity = granularity_name(self.options.granularity);
        let faults = faults_name(&self.options.faults).unwrap_or("custom");
        let mut name = format!("{}-{seed}-{granularity}-{faults}", self.scenario);
        if self.options.workers != crate::explore::WORKERS_DEFAULT {
            write!(name, "-{}w", self.options.workers).expect("to a String");
        }
        name + ".failure"
    }

    /// Reads a file's text.
    ///
    /// # Errors
    /// The line that is not as it should be, and what was expected there.
    pub fn parse(text: &str) -> Result<Failure, ParseError> {
        parse(text)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "netpoll-failure {VERSION}")?;
        writeln!(f, "scenario {}", self.scenario)?;
        writeln!(f, "netpoll {}", self.netpoll)?;
        match self.seed {
            Some(seed) => writeln!(f, "seed {seed}")?,
            None => writeln!(f, "seed -")?,
        }
        writeln!(
            f,
            "granularity {}",
            granularity_name(self.options.granularity)
        )?;
        writeln!(f, "faults {}", rates(&self.options.faults))?;
        writeln!(f, "workers {}", self.options.workers)?;
        writeln!(f, "violated {}", self.property.name())?;
        writeln!(f, "sentence {}", escape(&self.sentence))?;
        writeln!(f, "choices {}", self.choices.len())?;
        let mut line = String::new();
        for run in self.choices.chunk_by(|a, b| a == b) {
            let word = match run.len() {
                1 => run[0].to_string(),
                m => format!("{}*{m}", run[0]),
            };
            if !line.is_empty() && line.len() + 1 + word.len() > WIDTH {
                writeln!(f, "{line}")?;
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line += &word;
        }
        if !line.is_empty() {
            writeln!(f, "{line}")?;
        }
        writeln!(f, "end")
    }
}

fn rates(faults: &Faults) -> String {
    let rates: Vec<String> = FaultKind::ALL
        .into_iter()
        .filter(|&kind| faults.per_mille(kind) > 0)
        .map(|kind| format!("{}={}", kind.name(), faults.per_mille(kind)))
        .collect();
    if rates.is_empty() {
        return "none".to_string();
    }
    rates.join(" ")
}

fn escape(sentence: &str) -> String {
    let escaped = sentence.replace('\\', "\\\\").replace('\n', "\\n");
    escaped.replace('\r', "\\r")
}

fn unescape(text: &str) -> Option<String> {
    let mut sentence = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        sentence.push(match c {
            '\\' => match chars.next()? {
                'n' => '\n',
                'r' => '\r',
                '\\' => '\\',
                _ => return None,
            },
            c => c,
        });
    }
    Some(sentence)
}

/// Why a text is no failure file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// The line, counted from 1.
    pub line: usize,
    /// What should be there.
    pub expected: String,
    /// What is there; `None` for the end of the file.
    pub found: Option<String>,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: expected {}, found ", self.line, self.expected)?;
        match &self.found {
            None => f.write_str("the end of the file"),
            Some(found) => {
                let short: String = found.chars().take(60).collect();
                let more = if short.len() < found.len() { "…" } else { "" };
                write!(f, "`{}{more}`", short.escape_debug())
            }
        }
    }
}

impl std::error::Error for ParseError {}

/// The lines of a file, with their numbers.
struct Lines<'a> {
    lines: std::iter::Enumerate<std::str::Lines<'a>>,
    /// The line that was read last.
    number: usize,
    text: Option<&'a str>,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str) -> Lines<'a> {
        Lines {
            lines: text.lines().enumerate(),
            number: 0,
            text: None,
        }
    }

    /// The next line that says something.
    fn next(&mut self) -> Option<&'a str> {
        self.text = None;
        for (index, line) in self.lines.by_ref() {
            self.number = index + 1;
            if index == 0 || !(line.trim().is_empty() || line.starts_with('#')) {
                self.text = Some(line);
                return self.text;
            }
        }
        self.number += 1;
        None
    }

    /// The complaint about the line that was read last.
    fn expected(&self, expected: impl Into<String>) -> ParseError {
        ParseError {
            line: self.number,
            expected: expected.into(),
            found: self.text.map(str::to_string),
        }
    }

    /// The value of the next line, which must be `key value` with a value that `parse` takes.
    fn value<T>(
        &mut self,
        key: &str,
        expected: &str,
        parse: impl FnOnce(&'a str) -> Option<T>,
    ) -> Result<T, ParseError> {
        let line = self.next();
        let value = line.and_then(|line| line.strip_prefix(key)?.strip_prefix(' '));
        let parsed = value.and_then(parse);
        parsed.ok_or_else(|| self.expected(format!("`{key} {expected}`")))
    }
}

fn parse(text: &str) -> Result<Failure, ParseError> {
    let lines = &mut Lines::new(text);
    let version = VERSION.to_string();
    lines.value("netpoll-failure", &version, |value| {
        (value == version).then_some(())
    })?;
    let word = |value: &str| {
        let is_word = !value.is_empty() && !value.contains(char::is_whitespace);
        is_word.then(|| value.to_string())
    };
    let scenario = lines.value("scenario", "NAME", word)?;
    let netpoll = lines.value("netpoll", "VERSION", word)?;
    let seed = lines.value("seed", "NUMBER` or `seed -", |value| match value {
        "-" => Some(None),
        value => value.parse().ok().map(Some),
    })?;
    let granularity =
        lines.value(
            "granularity",
            "syscall` or `granularity atomic",
            |value| match value {
                "syscall" => Some(Granularity::Syscall),
                "atomic" => Some(Granularity::Atomic),
                _ => None,
            },
        )?;
    let rates = "none` or `faults KIND=RATE …` with rates up to 1000 per mille, as in `faults poll-eintr=20";
    let faults = lines.value("faults", rates, parse_rates)?;
    let workers = format!("N` with N from 1 to {WORKERS_MAX}, as in `workers 2");
    let workers = lines.value("workers", &workers, |value| {
        let workers = value.parse().ok()?;
        (1..=WORKERS_MAX).contains(&workers).then_some(workers)
    })?;
    let names: Vec<&str> = Property::ALL.iter().map(|it| it.name()).collect();
    let property = lines.value("violated", &names.join("|"), Property::from_name)?;
    let sentence = lines.value("sentence", "TEXT", unescape)?;
    let choices = parse_choices(lines)?;
    if lines.next().is_some() {
        return Err(lines.expected("nothing after `end`"));
    }
    let options = Options {
        granularity,
        faults,
        workers,
    };
    Ok(Failure {
        scenario,
        netpoll,
        seed,
        options,
        property,
        sentence,
        choices,
    })
}

fn parse_rates(text: &str) -> Option<Faults> {
    let mut faults = Faults::none();
    if text == "none" {
        return Some(faults);
    }
    for word in text.split(' ') {
        let (name, rate) = word.split_once('=')?;
        let Some(ChoiceKind::Fault(kind)) = ChoiceKind::from_name(name) else {
            return None;
        };
        let rate = rate.parse().ok()?;
        if !(1..=1000).contains(&rate) || faults.per_mille(kind) > 0 {
            return None;
        }
        faults = faults.with(kind, rate);
    }
    Some(faults)
}

fn parse_choices(lines: &mut Lines<'_>) -> Result<Vec<Choice>, ParseError> {
    let expected = format!("N` with N up to {CHOICES_MAX}, as in `choices 41");
    let total: usize = lines.value("choices", &expected, |value| {
        let total = value.parse().ok()?;
        (total <= CHOICES_MAX).then_some(total)
    })?;
    let mut choices = Vec::new();
    loop {
        let left = total - choices.len();
        match lines.next() {
            Some("end") if left == 0 => return Ok(choices),
            Some(line) if left > 0 && line != "end" => {
                for word in line.split(' ') {
                    let run = parse_run(word, total - choices.len());
                    let (choice, m) = run.map_err(|expected| ParseError {
                        found: Some(word.to_string()),
                        ..lines.expected(expected)
                    })?;
                    choices.resize(choices.len() + m, choice);
                }
            }
            _ if left == 0 => return Err(lines.expected("`end` after the last choice")),
            _ => return Err(lines.expected(format!("{left} more of {total} choices"))),
        }
    }
}

/// One choice, and how often it is made in a row; else what was expected.
fn parse_run(word: &str, left: usize) -> Result<(Choice, usize), String> {
    let (choice, m) = match word.split_once('*') {
        None => (word, Some(1)),
        Some((choice, m)) => (choice, m.parse().ok().filter(|&m| m >= 2)),
    };
    let shape = "a choice such as `thread:1/3` or `thread:0/2*17`";
    let choice = choice.parse().map_err(|_unspecific: String| shape)?;
    match m {
        Some(m) if m <= left => Ok((choice, m)),
        Some(_) => Err(format!("no more than {left} choices")),
        None => Err(shape.to_string()),
    }
}

#[cfg(test)]
#[path = "failure_test.rs"]
mod tests;
