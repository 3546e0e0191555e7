//! The copy of the workspace in which exhibits are shown.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Edit, Exhibit};
use crate::check::Checker;

/// What the copy consists of.
const PARTS: [&str; 7] =
    ["Cargo.toml", "Cargo.lock", "netpoll", "sim", "models", "traces", "tests"];

/// Why an exhibit cannot be shown.
#[derive(Debug)]
pub enum WorkshopError {
    /// The file system, or a program that cannot be started.
    Io(io::Error),
    /// The sources have moved on.
    Misfit(String),
    /// The copy does not build; with what the compiler said.
    Build(String),
    /// The program in the copy did not answer as it should.
    Answer(String),
}

impl fmt::Display for WorkshopError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WorkshopError::Io(error) => write!(f, "{error}"),
            WorkshopError::Misfit(why) => write!(f, "the exhibit no longer fits: {why}"),
            WorkshopError::Build(said) => write!(f, "the copy does not build:\n{said}"),
            WorkshopError::Answer(what) => write!(f, "{what}"),
        }
    }
}

impl std::error::Error for WorkshopError {}

impl From<io::Error> for WorkshopError {
    fn from(error: io::Error) -> WorkshopError {
        WorkshopError::Io(error)
    }
}

/// How a model fared in the copy.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    /// The violation and its execution; `None`: the model held.
    pub violation: Option<(String, u64)>,
    /// How long the model ran, its build apart.
    pub took: Duration,
}

/// A run of a scenario in the copy that violated something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The scenario.
    pub scenario: String,
    /// The first of its seeds that does.
    pub seed: u64,
    /// What was violated, by the name that stands in failure files.
    pub property: String,
    /// The sentence about it.
    pub sentence: String,
}

/// A copy of the workspace.
#[derive(Debug)]
pub struct Workshop {
    root: PathBuf,
    copy: PathBuf,
    target: PathBuf,
    /// The files that are not as in the workspace, and what they were.
    edited: BTreeMap<&'static str, String>,
}

impl Workshop {
    /// Copies the workspace at `root` into its target folder. Only what differs is written, so that what
    /// has been built there before need not be built again.
    ///
    /// # Errors
    /// What the file system says.
    pub fn open(root: &Path) -> io::Result<Workshop> {
        let museum = root.join("target").join("museum");
        let copy = museum.join("copy");
        fs::create_dir_all(&copy)?;
        for part in PARTS {
            mirror(&root.join(part), &copy.join(part)).map_err(|error| {
                io::Error::new(error.kind(), format!("{part} cannot be copied: {error}"))
            })?;
        }
        let (root, target) = (root.to_path_buf(), museum.join("target"));
        Ok(Workshop { root, copy, target, edited: BTreeMap::new() })
    }

    /// Puts an exhibit's bug into the copy.
    ///
    /// # Errors
    /// When it does not fit, or what the file system says.
    pub fn plant(&mut self, exhibit: &Exhibit) -> Result<(), WorkshopError> {
        for edit in exhibit.edits {
            self.edit(edit)?;
        }
        Ok(())
    }

    fn edit(&mut self, edit: &Edit) -> Result<(), WorkshopError> {
        let path = self.copy.join(edit.file);
        let text = fs::read_to_string(&path)?;
        let wrong = edit.apply(&text).map_err(WorkshopError::Misfit)?;
        fs::write(&path, wrong)?;
        self.edited.entry(edit.file).or_insert(text);
        Ok(())
    }

    /// Makes the copy what the workspace is.
    ///
    /// # Errors
    /// What the file system says.
    pub fn restore(&mut self) -> io::Result<()> {
        for (file, text) in std::mem::take(&mut self.edited) {
            fs::write(self.copy.join(file), text)?;
        }
        Ok(())
    }

    /// Builds the copy.
    ///
    /// # Errors
    /// What the compiler says.
    pub fn build(&self) -> Result<(), WorkshopError> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .args(["build", "--quiet", "--package", "netpoll-cli"])
            .current_dir(&self.copy)
            .env("CARGO_TARGET_DIR", &self.target)
            .output()?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let errors: Vec<&str> =
            said.lines().skip_while(|line| !line.starts_with("error")).take(30).collect();
        Err(WorkshopError::Build(errors.join("\n")))
    }

    /// Runs a model in the copy, which has been built.
    ///
    /// # Errors
    /// When the program cannot be run or does not answer.
    pub fn run(&self, model: &str, checker: Checker) -> Result<Shown, WorkshopError> {
        let start = Instant::now();
        let output = Command::new(self.target.join("debug").join("netpoll-cli"))
            .args(["models", model, "--checker", checker.name(), "--json"])
            .current_dir(&self.root)
            .output()?;
        let took = start.elapsed();
        let answer: Value = serde_json::from_slice(&output.stdout).map_err(|_| {
            let said = String::from_utf8_lossy(&output.stderr);
            WorkshopError::Answer(format!("{model} under {checker} gave no answer: {said}"))
        })?;
        let violation = answer["violations"].get(0).map(|violation| {
            let what = violation["what"].as_str().unwrap_or_default().to_string();
            (what, violation["execution"].as_u64().unwrap_or(0))
        });
        Ok(Shown { violation, took })
    }
}

impl Workshop {
    /// Runs seeds of every scenario in the copy, which has been built, with all faults that are allowed.
    /// Returns which scenarios found something.
    ///
    /// # Errors
    /// When the program cannot be run or does not answer.
    pub fn explore(&self, granularity: &str, seeds: u64) -> Result<Vec<Found>, WorkshopError> {
        let failures = self.target.join("failures");
        let output = Command::new(self.target.join("debug").join("netpoll-cli"))
            .args(["explore", "--all", "--faults", "chaos", "--granularity", granularity])
            .args(["--seeds", &seeds.to_string(), "--no-shrink", "--json", "--save"])
            .arg(&failures)
            .current_dir(&self.root)
            .output()?;
        let answer: Value = serde_json::from_slice(&output.stdout).map_err(|_| {
            let said = String::from_utf8_lossy(&output.stderr);
            WorkshopError::Answer(format!("the scenarios gave no answer: {said}"))
        })?;
        let found = answer["scenarios"].as_array().into_iter().flatten().filter_map(|scenario| {
            let failure = scenario["failure"].as_object()?;
            let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
            Some(Found {
                scenario: text(&scenario["name"]),
                seed: failure["seed"].as_u64().unwrap_or(0),
                property: text(&failure["property"]),
                sentence: text(&failure["sentence"]),
            })
        });
        Ok(found.collect())
    }
}

/// Makes `copy` what `original` is, and leaves alone what is the same.
fn mirror(original: &Path, copy: &Path) -> io::Result<()> {
    if !original.is_dir() {
        let text = fs::read(original)?;
        if fs::read(copy).is_ok_and(|there| there == text) {
            return Ok(());
        }
        return fs::write(copy, text);
    }
    fs::create_dir_all(copy)?;
    let names = |dir: &Path| -> io::Result<Vec<_>> {
        fs::read_dir(dir)?.map(|entry| entry.map(|entry| entry.file_name())).collect()
    };
    let here = names(original)?;
    for gone in names(copy)?.into_iter().filter(|name| !here.contains(name)) {
        let gone = copy.join(gone);
        if gone.is_dir() { fs::remove_dir_all(gone)? } else { fs::remove_file(gone)? }
    }
    for name in here.into_iter().filter(|name| name != "target") {
        mirror(&original.join(&name), &copy.join(&name))?;
    }
    Ok(())
}
