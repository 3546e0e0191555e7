//! The state machines of the runtime as tables and diagrams, kept in `traces/snapshots/machines`: an edge
//! more or less is a change that somebody looks at (`cargo insta review`).
//!
//! They are derived from the code. The edges of the slot and of the fdMutex are found by the runtime, which
//! walks its own transition functions. For the worker's word and the break every operation is tried here in
//! every state: each edge that the [coverage](Machine::legal) counts as legal must be made by one of them,
//! and what an operation would make beyond those is remarked upon, because it is never called there.
//!
//! The ticket has no table here: its list of edges is written by hand, in `sched/ticket.rs`.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::{Arc, Mutex};

use netpoll::backend::{Batch, Epoll};
use netpoll::platform::Os;
use netpoll::sched::idle::StateWord;
use netpoll_models::coverage::{self, Machine};
use netpoll_models::platform::Probe;
use netpoll_sim::{Outcome, SimConfig, SimKernel, Virtual, run};

/// What an operation makes of a state.
struct Step {
    from: String,
    operation: &'static str,
    to: String,
}

#[test]
fn the_slot_is_as_it_was() {
    check(Machine::Slot, "");
}

#[test]
fn the_fd_mutex_is_as_it_was() {
    check(Machine::FdMutex, "");
}

#[test]
fn the_word_of_a_worker_is_as_it_was() {
    type Word = StateWord<Os>;
    type Operation = (&'static str, fn(&Word));
    let ways: [fn(&Word); 3] = [
        |_| {},
        |word| word.fall_asleep(),
        |word| {
            word.fall_asleep();
            assert!(word.go_polling());
        },
    ];
    let operations: [Operation; 3] = [
        ("fall_asleep", |word| word.fall_asleep()),
        ("go_polling", |word| {
            let _went = word.go_polling();
        }),
        ("wake", |word| {
            let _ended = word.wake_after_publishing();
        }),
    ];
    let mut steps = Vec::new();
    for way in ways {
        for (operation, operate) in operations {
            let word = Word::new();
            way(&word);
            let from = format!("{:?}", word.load());
            operate(&word);
            steps.push(Step { from, operation, to: format!("{:?}", word.load()) });
        }
    }
    check_steps(Machine::Worker, &steps);
}

#[test]
fn the_break_is_as_it_was() {
    type Backend = Epoll<Probe<Virtual>>;
    type Operation = (&'static str, fn(&Backend, &SimKernel));
    let found = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&found);
    let report = run(SimConfig::seed(0), move |kernel| {
        let operations: [Operation; 3] = [
            ("wake", |backend, kernel| backend.wake(kernel)),
            ("poll", |backend, kernel| {
                backend.poll(kernel, 1_000_000, &mut Batch::default(), |_, _| {})
            }),
            ("poll without waiting", |backend, kernel| {
                backend.poll(kernel, 0, &mut Batch::default(), |_, _| {})
            }),
        ];
        for from in ["clear", "in flight"] {
            for (operation, operate) in operations {
                let backend = Backend::new(&kernel).expect("there is room");
                if from == "in flight" {
                    backend.wake(&kernel);
                }
                coverage::start();
                operate(&backend, &kernel);
                let to = match coverage::take().as_slice() {
                    [] => from.to_string(),
                    [only] => {
                        assert_eq!((only.machine, only.from.as_str()), (Machine::Break, from));
                        only.to.clone()
                    }
                    more => panic!("{operation} makes several steps: {more:?}"),
                };
                told.lock().unwrap().push(Step { from: from.to_string(), operation, to });
                backend.shutdown(&kernel);
            }
        }
    });
    assert_eq!(report.outcome, Outcome::Finished);
    check_steps(Machine::Break, &found.lock().unwrap());
}

/// Compares a machine whose operations were tried with what is kept.
fn check_steps(machine: Machine, steps: &[Step]) {
    let legal = machine.legal();
    let mut table = String::from("\nwhat each operation makes of each state:\n");
    for from in states(machine) {
        write!(table, "\n{from:<10}").expect("to a String");
        for Step { operation, to, .. } in steps.iter().filter(|step| step.from == from) {
            let is_legal = from == to || legal.contains(&(from, to.as_str()));
            let remark = if is_legal { "" } else { " (never called here)" };
            write!(table, " | {operation}: {to}{remark}").expect("to a String");
        }
    }
    table.push('\n');
    // What is said to be legal is what an operation does.
    for (from, to) in legal {
        let made = steps.iter().any(|step| (step.from.as_str(), step.to.as_str()) == (from, to));
        assert!(made, "{}: no operation makes {from} -> {to}", machine.name());
    }
    check(machine, &table);
}

/// Compares a machine with what is kept.
fn check(machine: Machine, more: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../../traces/snapshots/machines");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    let text = table(machine) + more + &diagram(machine);
    settings.bind(|| insta::assert_snapshot!(machine.name(), text));
}

/// The states, in the order of their names.
fn states(machine: Machine) -> BTreeSet<&'static str> {
    machine.legal().into_iter().flat_map(|(from, to)| [from, to]).collect()
}

/// Which state may follow which.
fn table(machine: Machine) -> String {
    let (states, legal) = (states(machine), machine.legal());
    let mut text = "from \\ to ".to_string();
    for to in &states {
        write!(text, " {to:<9}").expect("to a String");
    }
    for from in &states {
        write!(text, "\n{from:<10}").expect("to a String");
        for to in &states {
            let mark = if legal.contains(&(from, to)) { "x" } else { "." };
            write!(text, " {mark:<9}").expect("to a String");
        }
    }
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n") + "\n"
}

/// The same for people who like pictures: GitHub draws it.
fn diagram(machine: Machine) -> String {
    let id = |state: &str| state.replace(' ', "_");
    let mut text = "\n```mermaid\nstateDiagram-v2\n".to_string();
    for (from, to) in BTreeSet::from_iter(machine.legal()) {
        writeln!(text, "    {} --> {}", id(from), id(to)).expect("to a String");
    }
    text + "```\n"
}
