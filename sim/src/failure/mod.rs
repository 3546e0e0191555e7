//! Failure files: a run that violated something, small enough to keep for ever.
//!
//! ```text
//! netpoll-failure 3
//! scenario close_vs_read
//! netpoll 0.1.0
//! seed 17
//! granularity atomic
//! faults poll-eintr=20 spurious-wake=20
//! workers 2
//! violated lost-wakeup
//! sentence L3 lost wakeup: g7 is parked in read fd5, which is closing
//! needs g7 gives way to w1 between `read fd5: Nil -> Wait` and `park g7: read fd5`
//! original 1717 201
//! choices 37
//! thread:0/2*36 thread:1/2
//! end
//! ```
//!
//! | line | holds |
//! |---|---|
//! | `netpoll-failure` | the version of this format |
//! | `scenario` | the program; or `test PACKAGE VERSION CRATE NAME`, if it is a test of somebody's |
//! | `netpoll` | the version that made it; another one may ask other questions, and says so |
//! | `seed` | where the choices came from, or `-`; for the reader, a replay does not use it |
//! | `granularity`, `faults`, `workers` | what determined the run beside its choices; faults as rates per mille, or `none` |
//! | `violated`, `sentence` | what it violated; `\n` and `\\` stand for a line break and a backslash |
//! | `needs` | which choices made it fail, or `-`; for the reader |
//! | `original` | how many choices the run had before it was made smaller, and how many of them were not the dullest; or `-` |
//! | `choices` | how many follow: `kind:k/n`, `*m` for m equal ones in a row, any number to a line |
//! | `end` | proof that nothing is missing |
//!
//! After the last choice all others are 0, so zeros at the end may be left out. Version 1 had neither
//! `needs` nor `original`, and version 2 knew of no tests; both are still read.
//!
//! Empty lines and lines that begin with `#` are skipped, except before the first line. All else must
//! be as written here: a file that has been damaged is refused, with the line and what was expected
//! there. A file is written under another name first and renamed, so that no half of one is ever seen.

mod parse;

use std::fmt::{self, Write as _};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process;

use crate::explore::{Finding, Options, Property, faults_name, granularity_name, sentence};
use crate::scenarios::{self, Scenario, Test};
use crate::{Choice, FaultKind, Faults};
pub use parse::ParseError;
pub(crate) use parse::unescape;

/// The version of the format.
pub const VERSION: u32 = 3;
/// Where lines of choices are broken.
const WIDTH: usize = 100;

/// What a failure file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The program.
    pub program: Program,
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
    /// Which choices made it fail, for people.
    pub needs: Option<String>,
    /// The size of the run that it was made smaller from.
    pub original: Option<Original>,
    /// Every choice of the run, but for zeros at the end.
    pub choices: Vec<Choice>,
}

/// Which program a failure is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// One of [`scenarios`].
    Scenario(String),
    /// A test of somebody who uses the simulator.
    Test {
        /// Its package.
        package: String,
        /// The version of the package in which it failed.
        version: String,
        /// The crate of the package, or `-`.
        krate: String,
        /// Its name.
        name: String,
    },
}

impl Program {
    pub(crate) fn of(scenario: &Scenario) -> Program {
        let name = scenario.name.to_string();
        match scenario.test {
            None => Program::Scenario(name),
            Some(Test { package, version, krate, .. }) => Program::Test {
                package: package.clone(),
                version: version.clone(),
                krate: krate.clone(),
                name,
            },
        }
    }

    /// Its name, whatever it is.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Program::Scenario(name) | Program::Test { name, .. } => name,
        }
    }

    /// What its files are called, before the seed. Names of tests are paths; those of a library have its package's name, and need
    /// no other.
    pub(crate) fn file_stem(&self) -> String {
        let plain = |name: &str| name.replace("::", ".").replace(['/', ':'], ".");
        match self {
            Program::Test { package, krate, name, .. }
                if krate != "-" && *krate != package.replace('-', "_") =>
            {
                format!("{krate}.{}", plain(name))
            }
            Program::Test { name, .. } | Program::Scenario(name) => plain(name),
        }
    }

    /// The scenario, if it is one of this library.
    #[must_use]
    pub fn scenario(&self) -> Option<&'static Scenario> {
        match self {
            Program::Scenario(name) => scenarios::find(name),
            Program::Test { .. } => None,
        }
    }
}

/// The line of a file.
impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Program::Scenario(name) => write!(f, "scenario {name}"),
            Program::Test { package, version, krate, name } => {
                write!(f, "test {package} {version} {krate} {name}")
            }
        }
    }
}

/// How large a run was before it was made smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Original {
    /// Its choices.
    pub choices: usize,
    /// Those of them that were not the dullest.
    pub deviations: usize,
}

impl From<&Finding> for Failure {
    fn from(finding: &Finding) -> Failure {
        Failure {
            program: Program::of(finding.scenario),
            netpoll: env!("CARGO_PKG_VERSION").to_string(),
            seed: finding.seed,
            options: finding.options.clone(),
            property: finding.violation.property,
            sentence: finding.violation.sentence.clone(),
            needs: finding.needs.as_deref().map(sentence),
            original: finding.shrunk.as_ref().map(|shrunk| Original {
                choices: shrunk.before.len,
                deviations: shrunk.before.deviations,
            }),
            choices: match &finding.shrunk {
                Some(shrunk) => shrunk.choices.clone(),
                None => finding.choices.clone(),
            },
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
        self.write(&path).map(|()| path)
    }

    /// Writes the file `path`, in one step as far as others can see, even if the process is ended in
    /// the middle of it.
    ///
    /// # Errors
    /// What the file system says.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
        let draft = format!(".{}.{}", name.display(), process::id());
        let draft = path.with_file_name(draft);
        let written = fs::write(&draft, self.to_string()).and_then(|()| fs::rename(&draft, path));
        if written.is_err() {
            // What is left of the draft is of no use, and the first error is the one to report.
            let _unwritten = fs::remove_file(&draft);
        }
        written
    }

    /// `close_vs_read-17-atomic-light.failure`.
    fn file_name(&self) -> String {
        let seed = self.seed.map_or("shrunk".to_string(), |seed| seed.to_string());
        let granularity = granularity_name(self.options.granularity);
        let faults = faults_name(&self.options.faults).unwrap_or("custom");
        let stem = self.program.file_stem();
        let mut name = format!("{stem}-{seed}-{granularity}-{faults}");
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
        parse::parse(text)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "netpoll-failure {VERSION}")?;
        writeln!(f, "{}", self.program)?;
        writeln!(f, "netpoll {}", self.netpoll)?;
        match self.seed {
            Some(seed) => writeln!(f, "seed {seed}")?,
            None => writeln!(f, "seed -")?,
        }
        writeln!(f, "granularity {}", granularity_name(self.options.granularity))?;
        writeln!(f, "faults {}", rates(&self.options.faults))?;
        writeln!(f, "workers {}", self.options.workers)?;
        writeln!(f, "violated {}", self.property.name())?;
        writeln!(f, "sentence {}", escape(&self.sentence))?;
        writeln!(f, "needs {}", self.needs.as_deref().map_or("-".to_string(), escape))?;
        match self.original {
            Some(Original { choices, deviations }) => {
                writeln!(f, "original {choices} {deviations}")?
            }
            None => writeln!(f, "original -")?,
        }
        writeln!(f, "choices {}", self.choices.len())?;
        let mut line = String::new();
        for word in words(&self.choices) {
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

/// Choices as words: `kind:k/n`, and `*m` behind it for m equal ones in a row.
pub fn words(choices: &[Choice]) -> impl Iterator<Item = String> + '_ {
    choices.chunk_by(|a, b| a == b).map(|run| match run.len() {
        1 => run[0].to_string(),
        m => format!("{}*{m}", run[0]),
    })
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

/// As one line.
pub(crate) fn escape(sentence: &str) -> String {
    let escaped = sentence.replace('\\', "\\\\").replace('\n', "\\n");
    escaped.replace('\r', "\\r")
}

#[cfg(test)]
mod tests;
