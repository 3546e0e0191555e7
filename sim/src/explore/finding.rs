//! A violation with all that a person needs: what, who, how it came, and how to see it again.

use std::fmt;
use std::path::PathBuf;

use netpoll::runtime::GoroutineState;
use netpoll::trace::Event;
use netpoll_traces::{Entry, Record, Trace, WorldEvent, text};

use super::execution::{Execution, Options, WORKERS_DEFAULT, execute};
use super::needs::{needs, sentence};
use super::violation::{Property, Violation, status_text};
use super::{Plan, determinism};
use crate::engine::scope::Scope;
use crate::oracle::deadlock::waits_on;
use crate::scenarios::Scenario;
use crate::shrink::Shrunk;
use crate::{Choice, Faults, Granularity, HostId, Keep, OpenFd, Profile};

/// How many events a report shows.
const EVENTS: usize = 10;

/// A violation that was found. Displays as the report for people:
///
/// 1. what was violated, by which run;
/// 2. the goroutines, and the descriptors if everybody is stuck;
/// 3. the last events: those of the goroutine and the descriptor that the violation is about, if it is
///    about one; else those up to the first panic, if there was one; the one at which it was seen is marked;
/// 4. what it needs, if that is little enough to be read;
/// 5. the command that shows it again, and where it was saved.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The program.
    pub scenario: &'static Scenario,
    /// What else determined the run.
    pub options: Options,
    /// The seed, if it came from one.
    pub seed: Option<u64>,
    /// The profile of faults, if they came from one.
    pub profile: Option<Profile>,
    /// What was violated.
    pub violation: Violation,
    /// The choices that lead there.
    pub choices: Vec<Choice>,
    /// In words, those that are not the dullest; `None` if there are too many.
    pub needs: Option<Vec<String>>,
    /// What it was made smaller from, if it was.
    pub shrunk: Option<Shrunk>,
    /// The goroutines that had not ended.
    pub goroutines: Vec<GoroutineState>,
    /// The descriptors that were open.
    pub open_fds: Vec<OpenFd>,
    /// The names of the hosts beside the body's own, by number from 1 on.
    pub hosts: Vec<String>,
    /// Who raised the first panic, if there was one: behind a deadlock it may be the reason.
    pub panicked: Option<String>,
    /// The last events, as text.
    pub events: Vec<String>,
    /// Which of them was the one too many, if it is among them.
    pub guilty: Option<usize>,
    /// In what a second run of the same differed from the first, which must not be: then the simulator
    /// is not deterministic, and the finding may be its fault.
    pub nondeterminism: Option<String>,
    /// The failure file.
    pub saved: Option<PathBuf>,
}

impl Finding {
    /// The finding of an execution that was recorded in full, if it has violated something.
    #[must_use]
    pub fn of(
        scenario: &'static Scenario,
        options: &Options,
        seed: Option<u64>,
        execution: Execution,
    ) -> Option<Finding> {
        let violation = execution.violation?;
        let report = execution.report;
        let (events, guilty) = last_events(&report.trace, &violation);
        Some(Finding {
            scenario,
            options: options.clone(),
            seed,
            profile: None,
            needs: needs(&report),
            shrunk: None,
            panicked: panicked(&report.trace),
            events,
            guilty,
            violation,
            choices: report.choices,
            goroutines: execution.goroutines,
            open_fds: report.open_fds,
            hosts: report.hosts,
            nondeterminism: None,
            saved: None,
        })
    }

    /// The finding of an execution that has violated something, confirmed by a second run that records
    /// everything and must not differ.
    pub(super) fn confirm(plan: &Plan, seed: u64, first: Execution) -> Finding {
        let (scenario, options) = (plan.scenario, plan.options(seed));
        let second = execute(scenario, &options, plan.source(seed), Keep::All);
        let nondeterminism = first.difference(&second).map(|difference| {
            // Two more, since the first has recorded little.
            match determinism::check(scenario, &options, &plan.source(seed)) {
                Err(parting) => parting.to_string(),
                Ok(_) => difference,
            }
        });
        let shown = match nondeterminism {
            None => second,
            Some(_) => first,
        };
        let finding = Finding::of(scenario, &options, Some(seed), shown);
        let finding = finding.expect("the first execution has violated something");
        Finding { nondeterminism, profile: plan.profile, ..finding }
    }

    /// The finding of a run that cannot report on itself, because it took its process along or never came
    /// back: `up_to` is what it was up to its last point.
    #[must_use]
    pub fn fatal(
        scenario: &'static Scenario,
        options: &Options,
        seed: Option<u64>,
        violation: Violation,
        up_to: Execution,
    ) -> Finding {
        let execution = Execution { violation: Some(violation), ..up_to };
        let finding = Finding::of(scenario, options, seed, execution);
        finding.expect("it has a violation")
    }

    /// The command that shows the same run again; `None` when only a file can say what it was.
    #[must_use]
    pub fn replay_command(&self) -> Option<String> {
        let name = self.scenario.name;
        if let Some(test) = self.scenario.test {
            // All that the test says itself is the same again.
            return Some(test.command(name, "NETPOLL_SIM_SEED", &self.seed?.to_string()));
        }
        let granularity = granularity_name(self.options.granularity);
        let mut command =
            format!("cargo sim replay {name} --seed {} --granularity {granularity}", self.seed?);
        let faults = self.profile.map(Profile::name).or(faults_name(&self.options.faults));
        match faults {
            Some(faults) => command += &format!(" --faults {faults}"),
            // What the scenario asks for is what it gets when nobody says otherwise.
            None if self.options.faults == self.scenario.faults => {}
            None => return None,
        }
        if self.options.workers != WORKERS_DEFAULT {
            command += &format!(" --workers {}", self.options.workers);
        }
        Some(command)
    }
}

/// What a granularity is called on the command line and in files.
#[must_use]
pub const fn granularity_name(granularity: Granularity) -> &'static str {
    match granularity {
        Granularity::Syscall => "syscall",
        Granularity::Atomic => "atomic",
    }
}

/// The name of a set of faults, if it is one of those that have a name.
#[must_use]
pub fn faults_name(faults: &Faults) -> Option<&'static str> {
    // The swarm's are as many as there are seeds, so they have none.
    let fixed = [Profile::None, Profile::Light, Profile::Chaos];
    let found = fixed.into_iter().find(|profile| profile.faults(0) == *faults);
    found.map(Profile::name)
}

/// The last events of a run, as lines of text, and which of them was guilty.
fn last_events(trace: &Trace, violation: &Violation) -> (Vec<String>, Option<usize>) {
    let end = match violation.subject {
        Some(_) => None,
        None => first_panic(trace).map(|at| at + 1),
    };
    let until = &trace.records[..end.unwrap_or(trace.records.len())];
    let is_shown = |(_, record): &(usize, &Record)| match violation.subject {
        Some((g, fd)) => record.g == Some(g) || concerns(record.event, g, fd),
        // After the last goroutine has parked, workers and sysmon go to sleep at length.
        None => violation.property != Property::Deadlock || record.g.is_some(),
    };
    let last = until.iter().enumerate().rev().filter(is_shown).take(EVENTS);
    let mut places: Vec<usize> = last.map(|(at, _)| at).collect();
    places.reverse();
    let at = violation.guilt(trace).at;
    let guilty = places.iter().position(|&place| Some(place) == at);
    let records = places.iter().map(|&at| trace.records[at]).collect();
    let shown = Trace { threads: trace.threads.clone(), records, dropped: 0 };
    let text = text::render(&shown);
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    (lines.map(|line| line.trim_end().to_string()).collect(), guilty)
}

/// Where the trace has its first panic.
fn first_panic(trace: &Trace) -> Option<usize> {
    let panicked = |record: &Record| record.event == WorldEvent::Panic.into();
    trace.records.iter().position(panicked)
}

/// Who raised the first panic.
fn panicked(trace: &Trace) -> Option<String> {
    let record = &trace.records[first_panic(trace)?];
    let thread = trace.thread_name(record.thread);
    Some(match record.g {
        Some(g) => format!("g{g} panicked on {thread}"),
        None => format!("{thread} panicked"),
    })
}

/// Whether an event is about this goroutine or this descriptor, whoever caused it. That others use the descriptor
/// is too much to be told.
fn concerns(event: Entry, subject_g: u64, subject_fd: i32) -> bool {
    let is_use = matches!(event, Entry::Runtime(Event::Use { .. } | Event::Leave { .. }));
    event.goroutine() == Some(subject_g) || (event.fd() == Some(subject_fd) && !is_use)
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(difference) = &self.nondeterminism {
            writeln!(
                f,
                "DETERMINISM FAILURE: the same run made twice differed: {difference}.\n\
                 What follows is the first one; look for the difference before you believe it.\n"
            )?;
        }
        let name = self.scenario.name;
        match self.seed {
            Some(seed) => writeln!(f, "{name}, seed {seed}:")?,
            None => writeln!(f, "{name}:")?,
        }
        writeln!(f, "  {}", self.violation)?;
        if let Some(panicked) = &self.panicked {
            writeln!(f, "  ({panicked})")?;
        }
        self.hosts_fmt(f)?;
        self.goroutines_fmt(f)?;
        match (self.violation.subject, &self.panicked) {
            (Some((g, fd)), _) => writeln!(f, "\nlast events of g{g} and fd{fd}:")?,
            (None, Some(_)) => writeln!(f, "\nlast events before the panic:")?,
            (None, None) if self.violation.property == Property::Deadlock => {
                writeln!(f, "\nlast events of goroutines:")?;
            }
            (None, None) => writeln!(f, "\nlast events:")?,
        }
        for (nth, line) in self.events.iter().enumerate() {
            let mark = if Some(nth) == self.guilty { ">" } else { " " };
            writeln!(f, "{mark} {line}")?;
        }
        self.needs_fmt(f)?;
        match self.shrunk {
            // The seed leads to the run that was found, the file to the smaller one.
            Some(_) => writeln!(f, "\nreplay, as it was found and as it is:")?,
            None => writeln!(f, "\nreplay:")?,
        }
        if let Some(command) = self.replay_command() {
            writeln!(f, "  {command}")?;
        }
        if let Some(path) = &self.saved {
            match self.scenario.test {
                None => writeln!(f, "  cargo sim replay {}", path.display())?,
                Some(test) => writeln!(f, "  {}", test.replay_command(self.scenario.name, path))?,
            }
            writeln!(f, "\nsaved: {}", path.display())?;
        }
        Ok(())
    }
}

impl Finding {
    fn needs_fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(needs) = &self.needs {
            writeln!(f, "\nneeds:")?;
            for need in needs {
                writeln!(f, "  {need}")?;
            }
            if needs.is_empty() {
                writeln!(f, "  {}", sentence(needs))?;
            }
        }
        if let Some(shrunk) = &self.shrunk {
            writeln!(f, "\n{shrunk}")?;
        }
        Ok(())
    }

    /// Which numbers are whose, where there are several hosts.
    fn hosts_fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, name) in self.hosts.iter().enumerate() {
            let host = HostId::new(index + 1);
            let (separator, address) =
                (if index == 0 { "\nhosts: " } else { ", " }, host.address());
            write!(f, "{separator}{name} at {address} has g{0}…, fd{0}…", Scope(host).g(0))?;
        }
        if self.hosts.is_empty() { Ok(()) } else { writeln!(f) }
    }

    fn goroutines_fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\ngoroutines that have not ended:")?;
        if self.goroutines.is_empty() {
            writeln!(f, "  none")?;
        }
        for g in &self.goroutines {
            let worker = g.worker.map_or("-".to_string(), |index| format!("w{index}"));
            write!(f, "  g{:<4} {worker:<4} {}", g.id, status_text(g.status))?;
            if let Some(open) = waits_on(g, &self.open_fds) {
                write!(f, " ({open})")?;
            }
            match g.parked_io.and_then(|parked| parked.cancelled) {
                Some(reason) => writeln!(f, ", which is over: {reason}")?,
                None => writeln!(f)?,
            }
        }
        let stuck = [Property::LostWakeup, Property::Deadlock];
        if stuck.contains(&self.violation.property) {
            writeln!(f, "\nopen descriptors:")?;
            for open in &self.open_fds {
                writeln!(f, "  {open}")?;
            }
        }
        Ok(())
    }
}
