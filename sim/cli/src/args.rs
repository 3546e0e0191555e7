//! The arguments.
//!
//! `clap` parses and explains them. Its complaints of several lines are reduced to one, because that is
//! what fits under a failed step of a build, and every complaint ends with exit code 2.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand, ValueEnum};
use netpoll::runtime::WORKERS_MAX;
use netpoll_sim::names::nearest;
use netpoll_sim::scenarios::{self, Scenario};
use netpoll_sim::{Granularity, Profile};

use crate::Usage;

/// What to do.
#[derive(Debug)]
pub(crate) enum Command {
    /// Print this text.
    Help(String),
    List(ListArgs),
    Explore(ExploreArgs),
    Replay(ReplayArgs),
    Trace(TraceArgs),
    Shrink(ShrinkArgs),
    Admit(AdmitArgs),
    Conform(ConformArgs),
    Models(ModelsArgs),
    Coverage(CoverageArgs),
    Museum(MuseumArgs),
}

#[derive(Debug, Parser)]
#[command(
    name = "cargo sim",
    bin_name = "cargo sim",
    version,
    about = "Runs netpoll in a simulated world, where every decision comes from a seed, and its models.",
    after_help = "Exit codes: 0 nothing found, 1 a property was violated, 2 bad usage or unreadable input, \
                  130 interrupted."
)]
struct Cli {
    #[command(subcommand)]
    command: Parsed,
}

#[derive(Debug, Subcommand)]
enum Parsed {
    /// Show the scenarios.
    List(ListArgs),
    /// Run scenarios under many seeds; save and report the first failure of each.
    Explore(ExploreArgs),
    /// Print the trace of one run, byte for byte the same every time.
    Replay(ReplayArgs),
    /// Show a recorded trace.
    Trace(TraceArgs),
    /// Make a failure smaller: the same property violated by fewer choices. Replaces the file.
    Shrink(ShrinkArgs),
    /// Check a recorded run: does the simulated kernel admit what the real one did?
    Admit(AdmitArgs),
    /// Compare the simulated kernel with the kernel of this machine, in lock-step.
    Conform(ConformArgs),
    /// Run the models and print what was covered: the certificates.
    Models(ModelsArgs),
    /// Show which transitions of the runtime's state words each checker exercises.
    Coverage(CoverageArgs),
    /// Put wrong versions into a copy of the sources and show which model kills them.
    Museum(MuseumArgs),
}

#[derive(Debug, Args)]
pub(crate) struct MuseumArgs {
    /// The exhibits to show.
    #[arg(value_name = "ID")]
    pub(crate) ids: Vec<String>,
    /// Show every exhibit.
    #[arg(long, conflicts_with = "ids")]
    pub(crate) all: bool,
    /// Say what there is; build nothing.
    #[arg(long, conflicts_with_all = ["ids", "all"])]
    pub(crate) list: bool,
    /// Let the simulator look for each by seeds, also where there is a model.
    #[arg(long)]
    pub(crate) by_seeds: bool,
    /// Up to how many seeds of each scenario and granularity, where seeds have to find it.
    #[arg(long, value_name = "N", default_value = "3000", value_parser = at_least_one)]
    pub(crate) seeds: u64,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CoverageArgs {
    /// Seeds of each scenario in the simulator.
    #[arg(long, value_name = "N", default_value = "500", value_parser = at_least_one)]
    pub(crate) seeds: u64,
    /// How many runs to make at a time [default: one for each processor].
    #[arg(long, value_name = "J", value_parser = jobs)]
    pub(crate) jobs: Option<NonZeroUsize>,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ModelsArgs {
    /// The models to run [default: all].
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// Only this checker: loom, shuttle-pct, shuttle-random, shuttle-urw, shuttle-dfs.
    #[arg(long, value_name = "CHECKER")]
    pub(crate) checker: Option<String>,
    /// Higher bounds: hours, unless --time says otherwise.
    #[arg(long)]
    pub(crate) deep: bool,
    /// With --deep: loom gives one model up after this long, and its certificate says so.
    #[arg(long, value_name = "TIME", value_parser = time, requires = "deep")]
    pub(crate) time: Option<Duration>,
    /// Run once, by the choices of a failure that was saved.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["names", "checker", "deep", "save"])]
    pub(crate) replay: Option<PathBuf>,
    /// Keep failing runs as they were found; otherwise each is made smaller, in up to 10 s.
    #[arg(long)]
    pub(crate) no_shrink: bool,
    /// How many models to run at a time [default: one for each processor].
    #[arg(long, value_name = "J", value_parser = jobs)]
    pub(crate) jobs: Option<NonZeroUsize>,
    /// Keep the table in models/certificates.txt, where the tests expect it.
    #[arg(long)]
    pub(crate) save: bool,
    /// Weaken every ordering of the runtime by one step, remove every fence, and show which model
    /// notices: minutes. With --save the table is kept in models/orderings.txt.
    #[arg(long, conflicts_with_all = ["names", "checker", "deep"])]
    pub(crate) orderings: bool,
    /// Show the models and what they claim; run nothing.
    #[arg(long, conflicts_with_all = ["names", "checker", "deep", "save", "orderings"])]
    pub(crate) list: bool,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ExploreArgs {
    /// The scenarios to run.
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// Run every scenario.
    #[arg(long, conflicts_with = "names")]
    pub(crate) all: bool,
    /// How many seeds to run, of each scenario [default: 10000, or without end with --time].
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) seeds: Option<u64>,
    /// The first seed, decimal or 0x hexadecimal.
    #[arg(long, value_name = "S", default_value = "0", value_parser = seed)]
    pub(crate) start: u64,
    /// Stop after this long, shared among the scenarios: 500ms, 30s, 2m, 1h.
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) time: Option<Duration>,
    /// Processes to run seeds in [default: one for each processor].
    #[arg(long, value_name = "J", value_parser = jobs)]
    pub(crate) jobs: Option<NonZeroUsize>,
    /// Which faults may strike [default: the scenario's].
    #[arg(long, value_enum)]
    pub(crate) faults: Option<FaultsArg>,
    /// Where threads may be switched [default: the scenario's].
    #[arg(long, value_enum)]
    pub(crate) granularity: Option<GranularitiesArg>,
    /// Workers of the runtime [default: 2].
    #[arg(long, value_name = "W", value_parser = workers)]
    pub(crate) workers: Option<usize>,
    /// Save and report failures as they were found; otherwise each is made smaller, in up to 10 s.
    #[arg(long)]
    pub(crate) no_shrink: bool,
    /// Run every seed twice and compare; without this, one in 128.
    #[arg(long)]
    pub(crate) check_determinism: bool,
    /// Give a run up that passes no point for so long.
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = time)]
    pub(crate) patience: Duration,
    /// Where to save failures [default: traces/failures in the workspace].
    #[arg(long, value_name = "DIR")]
    pub(crate) save: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ShrinkArgs {
    /// The failure file.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Stop looking for something smaller after this long.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time)]
    pub(crate) time: Duration,
    /// Write the smaller failure here and leave FILE as it is.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ConformArgs {
    /// How many steps to make on both kernels.
    #[arg(long, value_name = "N", default_value = "4000", value_parser = at_least_one)]
    pub(crate) ops: u64,
    /// The seed of the first case, decimal or 0x hexadecimal.
    #[arg(long, value_name = "S", default_value = "0", value_parser = seed)]
    pub(crate) seed: u64,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// A scenario, or a failure file.
    #[arg(value_name = "NAME|FILE")]
    pub(crate) what: String,
    /// The seed to run a scenario with, decimal or 0x hexadecimal.
    #[arg(long, value_name = "S", value_parser = seed)]
    pub(crate) seed: Option<u64>,
    #[command(flatten)]
    pub(crate) world: WorldArgs,
    /// Give the run up if it passes no point for so long.
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = time)]
    pub(crate) patience: Duration,
    #[command(flatten)]
    pub(crate) show: ShowArgs,
    /// Write the trace into a file that `cargo sim trace` shows.
    #[arg(long, value_name = "F")]
    pub(crate) trace: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long, conflicts_with_all = ["text", "log", "no_fold"])]
    pub(crate) json: bool,
}

/// How a trace is shown.
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// Print the trace as lanes, one for each worker, which is the default.
    #[arg(long, conflicts_with = "log")]
    pub(crate) text: bool,
    /// Print the trace as a log, one line for each record.
    #[arg(long)]
    pub(crate) log: bool,
    /// Print every record in the lanes.
    #[arg(long, conflicts_with = "log")]
    pub(crate) no_fold: bool,
    /// Write a page to look at in a browser.
    #[arg(long, value_name = "F")]
    pub(crate) html: Option<PathBuf>,
    /// Write a picture of the records around the failing one, or of the first.
    #[arg(long, value_name = "F")]
    pub(crate) svg: Option<PathBuf>,
    /// Write a file for ui.perfetto.dev.
    #[arg(long, value_name = "F")]
    pub(crate) perfetto: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct TraceArgs {
    /// A file that `NETPOLL_TRACE` or `cargo sim replay --trace` has written.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) show: ShowArgs,
}

#[derive(Debug, Args)]
pub(crate) struct AdmitArgs {
    /// A file that `NETPOLL_TRACE` has written.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What determines a run beside its choices. By default the scenario says.
#[derive(Debug, Args)]
pub(crate) struct WorldArgs {
    /// Which faults may strike [default: the scenario's].
    #[arg(long, value_enum)]
    pub(crate) faults: Option<FaultsArg>,
    /// Where threads may be switched [default: the scenario's].
    #[arg(long, value_enum)]
    pub(crate) granularity: Option<GranularityArg>,
    /// Workers of the runtime [default: 2].
    #[arg(long, value_name = "W", value_parser = workers)]
    pub(crate) workers: Option<usize>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum FaultsArg {
    /// No faults.
    None,
    /// What a busy machine does in a day.
    Light,
    /// Everything that is allowed, often.
    Chaos,
    /// Each seed draws which faults and freedoms there are.
    Swarm,
}

impl From<FaultsArg> for Profile {
    fn from(arg: FaultsArg) -> Profile {
        match arg {
            FaultsArg::None => Profile::None,
            FaultsArg::Light => Profile::Light,
            FaultsArg::Chaos => Profile::Chaos,
            FaultsArg::Swarm => Profile::Swarm,
        }
    }
}

/// What an exploration may go through.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum GranularitiesArg {
    /// At system calls, parks and contended locks.
    Syscall,
    /// At every atomic and lock operation as well.
    Atomic,
    /// Each scenario at one and then at the other.
    Both,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum GranularityArg {
    Syscall,
    Atomic,
}

impl From<GranularityArg> for Granularity {
    fn from(arg: GranularityArg) -> Granularity {
        match arg {
            GranularityArg::Syscall => Granularity::Syscall,
            GranularityArg::Atomic => Granularity::Atomic,
        }
    }
}

/// Reads the command line.
pub(crate) fn parse() -> Result<Command, Usage> {
    match Cli::try_parse() {
        Ok(cli) => Ok(match cli.command {
            Parsed::List(args) => Command::List(args),
            Parsed::Explore(args) => Command::Explore(args),
            Parsed::Replay(args) => Command::Replay(args),
            Parsed::Shrink(args) => Command::Shrink(args),
            Parsed::Trace(args) => Command::Trace(args),
            Parsed::Admit(args) => Command::Admit(args),
            Parsed::Conform(args) => Command::Conform(args),
            Parsed::Models(args) => Command::Models(args),
            Parsed::Coverage(args) => Command::Coverage(args),
            Parsed::Museum(args) => Command::Museum(args),
        }),
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                Ok(Command::Help(error.to_string()))
            }
            ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
                Err(Usage("which command? See `cargo sim --help`".to_string()))
            }
            _ => Err(Usage(one_line(&error.to_string()))),
        },
    }
}

/// A complaint of clap in one line: its first paragraph, its tip, and where to read on.
fn one_line(complaint: &str) -> String {
    let complaint = complaint.strip_prefix("error: ").unwrap_or(complaint);
    let words = |lines: &mut dyn Iterator<Item = &str>| {
        let lines: Vec<&str> = lines.map(str::trim).collect();
        lines.join(" ")
    };
    let mut line = words(&mut complaint.lines().take_while(|line| !line.is_empty()));
    if let Some(tip) = complaint.lines().find_map(|line| line.trim().strip_prefix("tip: ")) {
        line += &format!("; {tip}");
    }
    line + "; see `cargo sim --help`"
}

/// The scenario with this name.
pub(crate) fn scenario(name: &str) -> Result<&'static Scenario, Usage> {
    scenarios::find(name).ok_or_else(|| {
        let hint = match nearest(name, names()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "see `cargo sim list`".to_string(),
        };
        Usage(format!("no scenario is called `{name}`; {hint}"))
    })
}

pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    let every = scenarios::all().iter().chain([scenarios::broken()]);
    every.map(|scenario| scenario.name)
}

fn at_least_one(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("not a number from 1 on".to_string()),
        Ok(n) => Ok(n),
    }
}

fn jobs(text: &str) -> Result<NonZeroUsize, String> {
    let jobs = text.parse().ok().filter(|jobs| *jobs <= JOBS_MAX);
    jobs.ok_or_else(|| format!("not a number from 1 to {JOBS_MAX}"))
}

/// More threads than any machine has use for.
const JOBS_MAX: NonZeroUsize = NonZeroUsize::new(1024).expect("not zero");

fn workers(text: &str) -> Result<usize, String> {
    let workers = text.parse().ok().filter(|w| (1..=WORKERS_MAX).contains(w));
    workers.ok_or_else(|| format!("not a number from 1 to {WORKERS_MAX}"))
}

fn seed(text: &str) -> Result<u64, String> {
    let number = match text.strip_prefix("0x").or(text.strip_prefix("0X")) {
        Some(hex) if !hex.starts_with('+') => u64::from_str_radix(hex, 16),
        _ => text.parse(),
    };
    number.map_err(|_| "not a seed: a number up to 2^64 - 1, decimal or 0x hexadecimal".to_string())
}

fn time(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let ms = match unit {
        "ms" => Some(1),
        "s" => Some(1_000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        _ => None,
    };
    let number = number.parse::<u64>().ok().filter(|&number| number > 0);
    let total = number.zip(ms).and_then(|(number, ms)| number.checked_mul(ms));
    total
        .map(Duration::from_millis)
        .ok_or_else(|| "not a time such as 500ms, 30s, 2m or 1h".to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn seeds_are_decimal_or_hexadecimal() {
        assert_eq!(seed("17"), Ok(17));
        assert_eq!(seed("0xff"), Ok(255));
        assert_eq!(seed("18446744073709551615"), Ok(u64::MAX));
        for wrong in ["", "-1", "x", "0x", "0x+1", "1e3", "18446744073709551616"] {
            assert!(seed(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_have_a_unit() {
        assert_eq!(time("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(time("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(time("2m"), Ok(Duration::from_secs(120)));
        for wrong in [
            "",
            "30",
            "s",
            "0s",
            "-1s",
            "1.5s",
            "30 s",
            "99999999999999999999s",
            "9999999999999999h",
        ] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_misspelt_name_leads_to_the_right_one() {
        assert_eq!(nearest("ecko", names()), Some("echo"));
        assert_eq!(nearest("close_vs_raed", names()), Some("close_vs_read"));
        assert_eq!(nearest("close-vs-read", names()), Some("close_vs_read"));
        assert_eq!(nearest("weather", names()), None);
    }

    #[test]
    fn complaints_are_one_line() {
        let complaint = "error: a\n  b\n\n  tip: c\n\nUsage: d\n";
        assert_eq!(one_line(complaint), "a b; c; see `cargo sim --help`");
    }
}
