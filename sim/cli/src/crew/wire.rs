//! What this program and its workers say to each other: one line a word.
//!
//! Orders are JSON, one each few dozen milliseconds. What workers say begins with [`MARK`] at the start of a
//! line, and with a line break before it: the program that they run may print what it likes to the same
//! output, and not end its lines.

use std::fmt::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use netpoll_sim::explore::{Finding, Options, Plan, RunNumbers};
use netpoll_sim::failure::Failure;
use netpoll_sim::oracle::{Checks, Oracles};
use netpoll_sim::scenarios::{self, Scenario};
use netpoll_sim::{Choice, ChoiceKind, Granularity, Note, Profile, Source, Tally};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::explore::finding_json;

/// What a worker's words begin with.
const MARK: &str = "\u{1}netpoll-sim ";

/// What determines runs beside their seeds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct World {
    scenario: String,
    atomic: bool,
    workers: usize,
    /// The name of a profile; without one the faults are the scenario's.
    profile: Option<String>,
    check_determinism: bool,
}

impl World {
    pub(crate) fn of(plan: &Plan) -> World {
        World {
            scenario: plan.scenario.name.to_string(),
            atomic: plan.options.granularity == Granularity::Atomic,
            workers: plan.options.workers,
            profile: plan.profile.map(|profile| profile.name().to_string()),
            check_determinism: plan.check_determinism,
        }
    }

    /// The plan for some seeds in this world. `None` for a scenario that is not there.
    pub(super) fn plan(&self, seeds: Range<u64>) -> Option<Plan> {
        let scenario = scenarios::find(&self.scenario)?;
        let granularity = if self.atomic { Granularity::Atomic } else { Granularity::Syscall };
        let options = Options { granularity, workers: self.workers, ..Options::of(scenario) };
        Some(Plan {
            options,
            profile: self.profile.as_deref().and_then(Profile::from_name),
            check_determinism: self.check_determinism,
            ..Plan::new(scenario, seeds)
        })
    }
}

/// What a worker is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Order {
    /// Run these seeds, up to the first that fails, and make that failure smaller for so long.
    Run { world: World, seeds: Range<u64>, shrink: Option<Duration> },
    /// Run this once, and tell everything while it happens.
    Tell { run: Run },
    /// Run this seed up to this point, and report what is known of its end.
    UpTo {
        world: World,
        seed: u64,
        step: u64,
        /// Those that it made when it was watched, of which some come after that point.
        choices: Vec<String>,
        property: String,
        sentence: String,
    },
}

/// One run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Run {
    Seed {
        world: World,
        seed: u64,
    },
    /// The text of a failure file.
    File {
        text: String,
    },
}

impl Run {
    /// What to run. `None` if it cannot be made out.
    pub(super) fn parts(&self) -> Option<(&'static Scenario, Options, Source)> {
        match self {
            Run::Seed { world, seed } => {
                let plan = world.plan(*seed..seed.checked_add(1)?)?;
                Some((plan.scenario, plan.options(*seed), plan.source(*seed)))
            }
            Run::File { text } => {
                let failure = Failure::parse(text).ok()?;
                let scenario = failure.program.scenario()?;
                Some((scenario, failure.options, Source::Replay(failure.choices)))
            }
        }
    }
}

/// A violation with its report, ready to be printed and saved.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Found {
    /// The report for people, without where it was saved.
    text: String,
    json: Value,
    /// The failure file.
    file: String,
    #[serde(skip)]
    saved: Option<PathBuf>,
}

impl Found {
    pub(crate) fn new(finding: &Finding) -> Found {
        Found {
            text: finding.to_string(),
            json: finding_json(finding),
            file: Failure::from(finding).to_string(),
            saved: None,
        }
    }

    /// The report of a seed of which no more than a sentence is known. There is no failure file.
    pub(super) fn bare(plan: &Plan, seed: u64, sentence: &str) -> Found {
        let name = plan.scenario.name;
        let text = format!("{name}, seed {seed}:\n  {sentence}\n");
        let json = json!({ "seed": seed, "sentence": sentence });
        Found { text, json, file: String::new(), saved: None }
    }

    /// Saves the failure file in `dir`, if there is one.
    ///
    /// # Errors
    /// Why it cannot be.
    pub(crate) fn save(&mut self, dir: &Path) -> Result<(), String> {
        if self.file.is_empty() {
            return Ok(());
        }
        let failure = Failure::parse(&self.file).map_err(|error| error.to_string())?;
        let path = failure.save(dir).map_err(|error| error.to_string())?;
        self.saved = Some(crate::explore::from_here(path));
        Ok(())
    }

    /// The report for people.
    pub(crate) fn text(&self) -> String {
        let mut text = self.text.clone();
        if let Some(path) = &self.saved {
            let path = path.display();
            let lines = format!("  cargo sim replay {path}\n\nsaved: {path}\n");
            text += &lines;
        }
        text
    }

    pub(crate) fn to_json(&self) -> Value {
        let mut json = self.json.clone();
        json["file"] = self.saved.as_ref().map(|path| path.display().to_string()).into();
        json
    }
}

/// What was heard of a worker.
#[derive(Debug)]
pub(super) enum Said {
    /// A seed has been run.
    Ran(u64, Box<RunNumbers>),
    /// It has violated something.
    Failed(u64, Box<Found>),
    /// The order is carried out.
    Done,
    /// Something happened in a run that is to be told.
    Told(Note),
    /// Nothing more will be heard.
    Gone,
}

/// The word for a seed that has been run: `ran SEED STEPS NS HEALED ORACLE=CHECKS… KIND:ASKED:STRUCK…`.
pub(super) fn ran(seed: u64, numbers: &RunNumbers) -> String {
    let RunNumbers { steps, virtual_ns, healed, tally, checks } = numbers;
    let mut line = format!("ran {seed} {steps} {virtual_ns} {}", u8::from(*healed));
    for (about, checks) in Oracles::abouts().iter().zip(checks) {
        write!(line, " {}={checks}", about.name()).expect("to a String");
    }
    for (kind, asked, struck) in tally.iter() {
        write!(line, " {}:{asked}:{struck}", kind.name()).expect("to a String");
    }
    line
}

/// The word for a seed that has failed.
pub(super) fn failed(seed: u64, found: &Found) -> String {
    let found = serde_json::to_string(found).expect("text and numbers");
    format!("failed {seed} {found}")
}

/// The word for something that happened.
pub(super) fn told(note: Note) -> String {
    match note {
        Note::Choice(choice) => format!("choice {choice}"),
        Note::Step(step) => format!("step {step}"),
    }
}

/// The word for the end of an order.
pub(super) const DONE: &str = "done";

/// A word as it is written.
pub(super) fn line(word: &str) -> String {
    format!("\n{MARK}{word}\n")
}

/// What a line says, if it is a worker's word and not something that a program has printed.
pub(super) fn parse(line: &str) -> Option<Said> {
    let word = line.strip_prefix(MARK)?;
    let (verb, rest) = word.split_once(' ').unwrap_or((word, ""));
    match verb {
        "ran" => parse_ran(rest),
        "failed" => {
            let (seed, found) = rest.split_once(' ')?;
            Some(Said::Failed(seed.parse().ok()?, serde_json::from_str(found).ok()?))
        }
        "choice" => Some(Said::Told(Note::Choice(rest.parse::<Choice>().ok()?))),
        "step" => Some(Said::Told(Note::Step(rest.parse().ok()?))),
        DONE => Some(Said::Done),
        _ => None,
    }
}

fn parse_ran(text: &str) -> Option<Said> {
    let mut words = text.split(' ');
    let mut number = || words.next()?.parse::<u64>().ok();
    let (seed, steps, virtual_ns, healed) = (number()?, number()?, number()?, number()? != 0);
    let (mut tally, mut checks) = (Tally::default(), Checks::default());
    for word in words {
        if let Some((oracle, count)) = word.split_once('=') {
            let index = Oracles::abouts().iter().position(|about| about.name() == oracle)?;
            checks[index] = count.parse().ok()?;
            continue;
        }
        let (kind, counts) = word.split_once(':')?;
        let (asked, struck) = counts.split_once(':')?;
        let (asked, struck) = (asked.parse().ok()?, struck.parse().ok()?);
        tally.set(ChoiceKind::from_name(kind)?, asked, struck);
    }
    Some(Said::Ran(seed, Box::new(RunNumbers { steps, virtual_ns, healed, tally, checks })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use netpoll_sim::FaultKind;

    #[test]
    fn what_is_said_is_heard_even_in_the_middle_of_noise() {
        let mut tally = Tally::default();
        tally.set(ChoiceKind::Thread, 50, 7);
        tally.set(ChoiceKind::Fault(FaultKind::ShortWrite), 3, 0);
        let mut checks = Checks::default();
        checks[1] = 30;
        let numbers = RunNumbers { steps: 9, virtual_ns: 12_000, healed: true, tally, checks };
        let said = format!("a program's line without an end{}more noise", line(&ran(17, &numbers)));
        let heard: Vec<Said> = said.lines().filter_map(parse).collect();
        let [Said::Ran(17, heard)] = heard.as_slice() else {
            panic!("{heard:?}");
        };
        assert_eq!(**heard, numbers);
        for note in [Note::Step(8), Note::Choice("thread:1/3".parse().expect("a choice"))] {
            let word = line(&told(note));
            let heard: Vec<Said> = word.lines().filter_map(parse).collect();
            assert!(matches!(heard.as_slice(), [Said::Told(told)] if *told == note), "{heard:?}");
        }
        assert!(parse("ran 1 2 3 0").is_none(), "a program may print that");
    }
}
