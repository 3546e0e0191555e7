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
use serde::{Deserialize, Serialize};

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
