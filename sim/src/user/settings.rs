//! The variables `NETPOLL_SIM_…`.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::PathBuf;
use std::{env, fmt};

use super::relay;
use crate::names::nearest;

/// What all of them begin with.
const PREFIX: &str = "NETPOLL_SIM_";
/// All of them, and what they do.
const KNOWN: [(&str, &str); 5] = [
    ("NETPOLL_SIM_SEED", "run this seed only"),
    ("NETPOLL_SIM_SEEDS", "run other seeds: a number of them from 0, or a range as 100..200"),
    ("NETPOLL_SIM_REPLAY", "replay this failure file"),
    ("NETPOLL_SIM_JOBS", "run seeds on so many threads"),
    ("NETPOLL_SIM_TRACE", "write traces into this folder"),
];
/// What the command line tells the processes that it starts.
const INTERNAL: &str = "NETPOLL_SIM_WORKER";

/// What somebody wants otherwise than the test says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) seeds: Option<Range<u64>>,
    pub(super) replay: Option<PathBuf>,
    pub(super) jobs: Option<NonZeroUsize>,
    /// Where traces of failures go, and of single runs.
    pub(super) trace: Option<PathBuf>,
    /// Whether failures are kept in files, and tried first.
    pub(super) keep: bool,
    pub(super) part: Part,
}

/// Which part of a test's seeds a process runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Part {
    /// All of them.
    #[default]
    All,
    /// The first ones; it may hand on the others.
    First,
    /// Those that were handed on to it.
    Later,
}

/// A variable that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Nonsense(String);

impl fmt::Display for Nonsense {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Settings {
    /// Nothing otherwise, and no files.
    pub(super) fn nothing() -> Settings {
        Settings::default()
    }

    /// What the variables of this process say.
    pub(super) fn of_process() -> Result<Settings, Nonsense> {
        Settings::of(env::vars_os())
    }

    pub(super) fn of(
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Settings, Nonsense> {
        let mut settings = Settings { keep: true, part: Part::First, ..Settings::nothing() };
        let mut seen = Vec::new();
        for (name, value) in variables {
            let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else {
                continue;
            };
            if name == INTERNAL {
                continue;
            }
            let text = value.to_str().unwrap_or_default();
            let wrong = |expected: &str| {
                let value = value.display();
                Nonsense(format!("{name}={value}: expected {expected}"))
            };
            match name {
                relay::VARIABLE => settings.part = Part::Later,
                "NETPOLL_SIM_SEED" => {
                    let seed = text.parse().ok().filter(|&seed: &u64| seed < u64::MAX);
                    let seed = seed.ok_or_else(|| wrong("a number below 2^64 - 1, as in 17"))?;
                    settings.seeds = Some(seed..seed + 1);
                }
                "NETPOLL_SIM_SEEDS" => {
                    let seeds = range(text);
                    let expected =
                        "a number of seeds, or a range that is not empty, as in 100..200";
                    settings.seeds = Some(seeds.ok_or_else(|| wrong(expected))?);
                }
                "NETPOLL_SIM_REPLAY" => settings.replay = Some(path(&value, || wrong("a file"))?),
                "NETPOLL_SIM_TRACE" => settings.trace = Some(path(&value, || wrong("a folder"))?),
                "NETPOLL_SIM_JOBS" => {
                    let jobs =
                        text.parse().map_err(|_unspecific| wrong("a number of threads, 1 or more"));
                    settings.jobs = Some(jobs?);
                }
                name => return Err(unknown(name)),
            }
            seen.push(name.to_string());
        }
        let choices = ["NETPOLL_SIM_SEED", "NETPOLL_SIM_SEEDS", "NETPOLL_SIM_REPLAY"];
        let chosen: Vec<&str> =
            choices.into_iter().filter(|choice| seen.iter().any(|name| name == choice)).collect();
        match chosen[..] {
            [first, second, ..] => {
                Err(Nonsense(format!("{first} contradicts {second}: set one of them")))
            }
            _ => Ok(settings),
        }
    }
}

fn range(text: &str) -> Option<Range<u64>> {
    let seeds = match text.split_once("..") {
        None => 0..text.parse().ok()?,
        Some((start, end)) => start.parse().ok()?..end.parse().ok()?,
    };
    (!seeds.is_empty()).then_some(seeds)
}

fn path(value: &OsString, wrong: impl FnOnce() -> Nonsense) -> Result<PathBuf, Nonsense> {
    match value.is_empty() {
        true => Err(wrong()),
        false => Ok(PathBuf::from(value)),
    }
}

fn unknown(name: &str) -> Nonsense {
    // All begin alike, which says nothing about how near they are.
    let own = |name: &'static str| name.strip_prefix(PREFIX).unwrap_or(name);
    let near = nearest(&name[PREFIX.len()..], KNOWN.into_iter().map(|(known, _)| own(known)));
    let hint = match near {
        Some(known) => format!("did you mean {PREFIX}{known}?"),
        None => {
            let all = KNOWN.map(|(known, about)| format!("\n  {known}: {about}"));
            format!("there are:{}", all.concat())
        }
    };
    Nonsense(format!("{name} is not known; {hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Result<Settings, String> {
        let variables = variables.iter().map(|&(name, value)| (name.into(), value.into()));
        Settings::of(variables).map_err(|error| error.to_string())
    }

    #[test]
    fn each_variable_says_what_it_says() {
        let nothing = Settings { keep: true, part: Part::First, ..Settings::nothing() };
        assert_eq!(of(&[("PATH", "/bin"), (INTERNAL, "1")]), Ok(nothing.clone()));
        let check = |name, value, expected| assert_eq!(of(&[(name, value)]), Ok(expected));
        check("NETPOLL_SIM_SEED", "17", Settings { seeds: Some(17..18), ..nothing.clone() });
        check("NETPOLL_SIM_SEEDS", "17", Settings { seeds: Some(0..17), ..nothing.clone() });
        check("NETPOLL_SIM_SEEDS", "5..9", Settings { seeds: Some(5..9), ..nothing.clone() });
        check(
            "NETPOLL_SIM_REPLAY",
            "a b",
            Settings { replay: Some("a b".into()), ..nothing.clone() },
        );
        check(
            "NETPOLL_SIM_TRACE",
            "dir",
            Settings { trace: Some("dir".into()), ..nothing.clone() },
        );
        check("NETPOLL_SIM_JOBS", "3", Settings { jobs: NonZeroUsize::new(3), ..nothing.clone() });
        check(relay::VARIABLE, "1", Settings { part: Part::Later, ..nothing });
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        let check = |variables: &[(&str, &str)], expected: &str| {
            assert_eq!(of(variables).expect_err("it makes no sense"), expected);
        };
        check(
            &[("NETPOLL_SIM_SEED", "-1")],
            "NETPOLL_SIM_SEED=-1: expected a number below 2^64 - 1, as in 17",
        );
        check(
            &[("NETPOLL_SIM_SEEDS", "9..9")],
            "NETPOLL_SIM_SEEDS=9..9: expected a number of seeds, or a range that is not empty, as in 100..200",
        );
        check(
            &[("NETPOLL_SIM_JOBS", "0")],
            "NETPOLL_SIM_JOBS=0: expected a number of threads, 1 or more",
        );
        check(&[("NETPOLL_SIM_REPLAY", "")], "NETPOLL_SIM_REPLAY=: expected a file");
        check(
            &[("NETPOLL_SIM_SEDS", "1")],
            "NETPOLL_SIM_SEDS is not known; did you mean NETPOLL_SIM_SEEDS?",
        );
        check(
            &[("NETPOLL_SIM_SEED", "1"), ("NETPOLL_SIM_REPLAY", "f")],
            "NETPOLL_SIM_SEED contradicts NETPOLL_SIM_REPLAY: set one of them",
        );
        let far = of(&[("NETPOLL_SIM_COLOUR", "red")]).expect_err("there is none");
        assert!(far.contains("there are:\n  NETPOLL_SIM_SEED: run this seed only\n"), "{far}");
    }
}
