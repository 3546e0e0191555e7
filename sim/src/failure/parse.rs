//! Reading failure files. Every complaint names the line and what was expected there.

use std::fmt;

use netpoll::runtime::WORKERS_MAX;

use super::{Failure, Original, Program, VERSION};
use crate::explore::{Options, Property};
use crate::{Choice, ChoiceKind, Faults, Granularity};

/// More choices than any run can make within its limit of steps: a bound on what a damaged file can
/// make the parser allocate.
const CHOICES_MAX: usize = 16_000_000;
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

/// Reads a file's text.
pub(super) fn parse(text: &str) -> Result<Failure, ParseError> {
    let lines = &mut Lines::new(text);
    let versions = format!("1` to `netpoll-failure {VERSION}");
    let version: u32 = lines.value("netpoll-failure", &versions, |value| {
        (1..=VERSION).find(|version| value == version.to_string())
    })?;
    let word = |value: &str| {
        let is_word = !value.is_empty() && !value.contains(char::is_whitespace);
        is_word.then(|| value.to_string())
    };
    let program = parse_program(lines, version)?;
    let netpoll = lines.value("netpoll", "VERSION", word)?;
    let seed = lines.value("seed", "NUMBER` or `seed -", |value| match value {
        "-" => Some(None),
        value => value.parse().ok().map(Some),
    })?;
    let granularity =
        lines.value("granularity", "syscall` or `granularity atomic", |value| match value {
            "syscall" => Some(Granularity::Syscall),
            "atomic" => Some(Granularity::Atomic),
            _ => None,
        })?;
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
    let (needs, original) = match version {
        1 => (None, None),
        _ => (parse_needs(lines)?, parse_original(lines)?),
    };
    let choices = parse_choices(lines)?;
    if lines.next().is_some() {
        return Err(lines.expected("nothing after `end`"));
    }
    let options = Options { granularity, faults, workers };
    Ok(Failure { program, netpoll, seed, options, property, sentence, needs, original, choices })
}

/// `scenario NAME`, or since version 3 `test PACKAGE VERSION CRATE NAME`.
fn parse_program(lines: &mut Lines<'_>, version: u32) -> Result<Program, ParseError> {
    let words: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
    let has_empty = words.iter().any(|word| word.is_empty());
    let program = match words[..] {
        ["scenario", name] => Some(Program::Scenario(name.to_string())),
        ["test", package, its, krate, name] if version >= 3 => Some(Program::Test {
            package: package.to_string(),
            version: its.to_string(),
            krate: krate.to_string(),
            name: name.to_string(),
        }),
        _ => None,
    };
    let expected = "`scenario NAME` or `test PACKAGE VERSION CRATE NAME`";
    program.filter(|_| !has_empty).ok_or_else(|| lines.expected(expected))
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

fn parse_needs(lines: &mut Lines<'_>) -> Result<Option<String>, ParseError> {
    lines.value("needs", "TEXT` or `needs -", |value| match value {
        "-" => Some(None),
        value => unescape(value).map(Some),
    })
}

fn parse_original(lines: &mut Lines<'_>) -> Result<Option<Original>, ParseError> {
    let expected = "CHOICES DEVIATIONS` or `original -`, as in `original 1717 201";
    lines.value("original", expected, |value| {
        if value == "-" {
            return Some(None);
        }
        let (choices, deviations) = value.split_once(' ')?;
        let (choices, deviations) = (choices.parse().ok()?, deviations.parse().ok()?);
        (deviations <= choices).then_some(Some(Original { choices, deviations }))
    })
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

/// What was [escaped](super::escape).
pub(crate) fn unescape(text: &str) -> Option<String> {
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

/// The lines of a file, with their numbers.
struct Lines<'a> {
    lines: std::iter::Enumerate<std::str::Lines<'a>>,
    /// The line that was read last.
    number: usize,
    text: Option<&'a str>,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str) -> Lines<'a> {
        Lines { lines: text.lines().enumerate(), number: 0, text: None }
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
