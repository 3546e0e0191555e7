//! Which transitions of the runtime's state words were exercised.
//!
//! The probe sees every write of a state word. Here the words are decoded, with the runtime's own
//! functions, and the transitions counted. The legal ones are listed by the runtime as well; a legal
//! transition that no checker exercises is a missing model, and one that is not legal is a bug, in the
//! runtime or in its table.

use std::cell::RefCell;
use std::collections::BTreeMap;

use netpoll::fd::mutex::Phase;
use netpoll::poll::slot;
use netpoll::sched::idle::WorkerState;
use netpoll::sched::ticket;
use netpoll::trace::SlotState;
use netpoll_sim::explore::{Options, execute_on};
use netpoll_sim::{Granularity, Keep, Source, Virtual, scenarios};
use serde::{Deserialize, Serialize};

use crate::platform::Probe;

/// A state machine of the runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Machine {
    /// The slot of one direction of a descriptor.
    Slot,
    /// The word of a descriptor's mutex.
    FdMutex,
    /// A worker's idle state.
    Worker,
    /// The flag of a break in flight.
    Break,
    /// One park of a goroutine.
    Ticket,
}

/// A transition, and how often it was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    /// The machine.
    pub machine: Machine,
    /// The state it left.
    pub from: String,
    /// The state it entered, or stayed in.
    pub to: String,
    /// How often.
    pub count: u64,
}

impl Machine {
    /// All of them.
    pub const ALL: [Machine; 5] =
        [Machine::Slot, Machine::FdMutex, Machine::Worker, Machine::Break, Machine::Ticket];

    /// The name in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Machine::Slot => "slot",
            Machine::FdMutex => "fdMutex",
            Machine::Worker => "worker",
            Machine::Break => "break",
            Machine::Ticket => "ticket",
        }
    }

    /// The machine whose word is made in this file of the runtime.
    #[must_use]
    pub fn of_file(file: &str) -> Option<Machine> {
        match file {
            "poll/slot.rs" => Some(Machine::Slot),
            "fd/mutex.rs" => Some(Machine::FdMutex),
            "sched/idle.rs" => Some(Machine::Worker),
            "backend/epoll.rs" => Some(Machine::Break),
            "sched/ticket.rs" => Some(Machine::Ticket),
            _ => None,
        }
    }

    /// The state of a word.
    fn state(self, word: u64) -> &'static str {
        match self {
            Machine::Slot => match slot::decode(word as u32) {
                SlotState::Nil => "Nil",
                SlotState::Ready => "Ready",
                SlotState::Wait => "Wait",
                SlotState::Parked(_) => "Parked",
            },
            Machine::FdMutex => Phase::of(word).name(),
            Machine::Worker => match WorkerState::decode(word as u32) {
                WorkerState::Awake => "Awake",
                WorkerState::Asleep => "Asleep",
                WorkerState::Polling => "Polling",
            },
            Machine::Break => match word {
                0 => "clear",
                _ => "in flight",
            },
            Machine::Ticket => ticket::state_name(word),
        }
    }

    /// The legal transitions, `(from, to)`.
    #[must_use]
    pub fn legal(self) -> Vec<(&'static str, &'static str)> {
        match self {
            Machine::Slot => {
                let words = |(from, to)| (self.state(from), self.state(to));
                distinct(slot::transitions().into_iter().map(words))
            }
            Machine::FdMutex => {
                let names = |(from, to): (Phase, Phase)| (from.name(), to.name());
                distinct(Phase::transitions().into_iter().map(names))
            }
            // The table in `sched/idle.rs`, and a waker that comes second: it finds `Awake`.
            Machine::Worker => vec![
                ("Awake", "Asleep"),
                ("Asleep", "Awake"),
                ("Asleep", "Polling"),
                ("Awake", "Awake"),
                ("Polling", "Awake"),
            ],
            // The third is a breaker that finds a break in flight.
            Machine::Break => {
                vec![("clear", "in flight"), ("in flight", "clear"), ("in flight", "in flight")]
            }
            Machine::Ticket => ticket::transitions().to_vec(),
        }
    }

    /// Whether an attempt that fails is worth counting, as a transition that changes nothing.
    fn counts_refusals(self) -> bool {
        self == Machine::Break
    }
}

fn distinct<T: Ord>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut items: Vec<T> = items.collect();
    items.sort_unstable();
    items.dedup();
    items
}

type Counts = BTreeMap<(Machine, &'static str, &'static str), u64>;

thread_local! {
    static COUNTS: RefCell<Option<Counts>> = const { RefCell::new(None) };
}

/// Counts the transitions that this thread makes from now on.
pub fn start() {
    COUNTS.set(Some(Counts::new()));
}

/// What has been counted since [`start`].
#[must_use]
pub fn take() -> Vec<Transition> {
    let counts = COUNTS.take().unwrap_or_default().into_iter();
    let transition = |((machine, from, to), count): ((_, &str, &str), _)| {
        let (from, to) = (from.to_string(), to.to_string());
        Transition { machine, from, to, count }
    };
    counts.map(transition).collect()
}

/// The transitions that `seeds` runs of every scenario make in the simulator, on this thread.
///
/// # Errors
/// The scenario and seed that violated something: what it exercised then means nothing.
pub fn of_simulator(seeds: std::ops::Range<u64>) -> Result<Vec<Transition>, String> {
    start();
    for seed in seeds {
        for scenario in scenarios::all() {
            let options = Options { granularity: Granularity::Atomic, ..Options::of(scenario) };
            let source = Source::Seed(seed);
            let run = execute_on::<Probe<Virtual>>(scenario, &options, source, Keep::Last(1));
            if let Some(violation) = run.violation {
                return Err(format!("{} under seed {seed}: {}", scenario.name, violation.sentence));
            }
        }
    }
    Ok(take())
}

/// How often each legal transition was made, by checker, and what else was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Matrix {
    /// The checkers, in the order of the counts.
    pub checkers: Vec<String>,
    /// Every transition that is legal or was made.
    pub rows: Vec<Row>,
}

/// The checker that runs scenarios and no models.
pub const SIMULATOR: &str = "sim";

/// One transition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The machine.
    pub machine: Machine,
    /// The state it left.
    pub from: String,
    /// The state it entered, or stayed in.
    pub to: String,
    /// Whether the runtime lists it.
    pub legal: bool,
    /// How often each checker saw it.
    pub counts: Vec<u64>,
}

impl Matrix {
    /// A matrix in which nothing has been exercised.
    #[must_use]
    pub fn new(checkers: &[&str]) -> Matrix {
        let checkers: Vec<String> = checkers.iter().map(ToString::to_string).collect();
        let mut rows = Vec::new();
        for machine in Machine::ALL {
            for (from, to) in machine.legal() {
                let (from, to) = (from.to_string(), to.to_string());
                rows.push(Row { machine, from, to, legal: true, counts: vec![0; checkers.len()] });
            }
        }
        Matrix { checkers, rows }
    }

    /// Adds what the checker with this index has seen.
    pub fn add(&mut self, checker: usize, seen: &[Transition]) {
        for Transition { machine, from, to, count } in seen {
            let is = |row: &Row| (row.machine, &row.from, &row.to) == (*machine, from, to);
            let place = self.rows.iter().position(is).unwrap_or_else(|| {
                let counts = vec![0; self.checkers.len()];
                let (from, to) = (from.clone(), to.clone());
                self.rows.push(Row { machine: *machine, from, to, legal: false, counts });
                self.rows.len() - 1
            });
            self.rows[place].counts[checker] += count;
        }
    }

    /// Whether it is legal and no model exercises it. That the simulator does is not enough.
    fn is_missing(&self, row: &Row) -> bool {
        let mut counts = self.checkers.iter().zip(&row.counts);
        row.legal && counts.all(|(checker, &count)| checker == SIMULATOR || count == 0)
    }

    /// The legal transitions that no model exercises, and the others that somebody has made.
    pub fn complaints(&self) -> impl Iterator<Item = String> {
        self.rows.iter().filter_map(|row| {
            let Row { machine, from, to, .. } = row;
            let name = machine.name();
            if self.is_missing(row) {
                return Some(format!("{name}: no model exercises {from} -> {to}"));
            }
            (!row.legal).then(|| format!("{name}: {from} -> {to} was made and is not legal"))
        })
    }
}

/// Takes down a write of a state word.
pub(crate) fn record(machine: Machine, before: u64, after: u64) {
    COUNTS.with_borrow_mut(|counts| {
        if let Some(counts) = counts {
            let key = (machine, machine.state(before), machine.state(after));
            *counts.entry(key).or_default() += 1;
        }
    });
}

/// Takes down a compare-exchange that found another word.
pub(crate) fn record_refusal(machine: Machine, found: u64) {
    if machine.counts_refusals() {
        record(machine, found, found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_legal_transition_that_nobody_made_and_one_that_is_not_legal_are_complaints() {
        let mut matrix = Matrix::new(&["loom"]);
        let all = |machine: Machine| machine.legal().into_iter().map(move |edge| (machine, edge));
        let mut seen: Vec<Transition> = Machine::ALL
            .into_iter()
            .flat_map(all)
            .map(|(machine, (from, to))| {
                let (from, to) = (from.to_string(), to.to_string());
                Transition { machine, from, to, count: 1 }
            })
            .collect();
        matrix.add(0, &seen);
        assert_eq!(matrix.complaints().count(), 0);

        let missed = seen.remove(0);
        seen[0].to = "Nowhere".to_string();
        let mut matrix = Matrix::new(&["loom"]);
        matrix.add(0, &seen);
        let complaints: Vec<String> = matrix.complaints().collect();
        assert!(complaints[0].contains(&format!("{} -> {}", missed.from, missed.to)));
        assert!(complaints.iter().any(|complaint| complaint.contains("is not legal")));
    }

    #[test]
    fn the_simulator_exercises_slots_and_makes_only_legal_transitions() {
        let seen = of_simulator(0..3).unwrap();
        let mut matrix = Matrix::new(&["sim"]);
        matrix.add(0, &seen);
        assert!(seen.iter().any(|seen| seen.machine == Machine::Slot && seen.to == "Parked"));
        let illegal: Vec<String> =
            matrix.complaints().filter(|complaint| complaint.contains("not legal")).collect();
        assert!(illegal.is_empty(), "{illegal:?}");
    }
}
