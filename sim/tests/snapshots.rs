//! One run of every scenario as lanes, kept in `traces/snapshots/scenarios`: what a change of the runtime
//! does to them is looked at before it is accepted (`cargo insta review`).
//!
//! The run is that of seed 0 with the scenario's own faults, with switches at system calls only. The
//! whole would be too long to be looked at, so a snapshot shows
//!
//! * how the run ended, what its choices were (the first of them), and a digest of its whole log, so
//!   that a change outside of what is shown is not missed;
//! * the folded lanes from where the first goroutine runs to its end: how a runtime starts and ends is
//!   the same in every scenario, and one of them shows it;
//! * of those, the first and the last lines, and how many are between.

use std::fmt::Write;

use netpoll::trace::file::{FNV_BASIS, fnv};
use netpoll_sim::explore::{Execution, Options, execute};
use netpoll_sim::scenarios::{self, Scenario};
use netpoll_sim::{Choice, Granularity, Keep, Source, failure};
use netpoll_traces::{Caption, lanes, text};

/// The scenario whose snapshot shows how a runtime starts and ends.
const WHOLE: &str = "echo";
/// How many lines of the lanes are shown from their start.
const HEAD: usize = 72;
/// And from their end.
const TAIL: usize = 28;
/// How many lines of choices.
const CHOICES: usize = 3;
const WIDTH: usize = 100;

#[test]
fn the_canonical_run_of_every_scenario_is_as_it_was() {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../../traces/snapshots/scenarios");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    let _bound = settings.bind_to_scope();
    // All of them are looked at, also when one has changed.
    let mut changed = Vec::new();
    for scenario in scenarios::all() {
        let snapshot = snapshot(scenario);
        assert!(snapshot.lines().count() <= 120, "{} is too long to be looked at", scenario.name);
        let compared =
            std::panic::catch_unwind(|| insta::assert_snapshot!(scenario.name, snapshot));
        if compared.is_err() {
            changed.push(scenario.name);
        }
    }
    assert!(changed.is_empty(), "look at them with `cargo insta review`: {changed:?}");
}

fn snapshot(scenario: &Scenario) -> String {
    let options = Options { granularity: Granularity::Syscall, ..Options::of(scenario) };
    let Execution { report, violation, .. } =
        execute(scenario, &options, Source::Seed(0), Keep::All);
    let trace = &report.trace;
    let guilt = violation.map(|violation| violation.guilt(trace));
    let title = format!("{} seed 0, granularity syscall", scenario.name);
    let end = format!("{}: {} steps", report.outcome, report.steps);
    let caption = Caption { title, end, guilt };
    let page = lanes::render(trace, &caption, &lanes::Options { fold: true, width: WIDTH });
    let (legend, lines) = page.split_once("\n\n").expect("a blank line follows the legend");

    let (deviations, choices) = (count(&report.choices), report.choices.len());
    let digest = fnv(FNV_BASIS, text::render(trace).as_bytes());
    let mut snapshot = legend.lines().next().expect("the title is the first line").to_string();
    writeln!(snapshot, "\n# {}, digest {digest:016x}", caption.end).expect("to a String");
    writeln!(snapshot, "# {choices} choices, of which {deviations} are not the dullest:")
        .expect("to a String");
    write_choices(&report.choices, &mut snapshot);

    let lines: Vec<&str> = lines.lines().collect();
    let (heading, lines) = lines.split_first().expect("there is a heading");
    let lines = match scenario.name {
        WHOLE => lines,
        _ => between(lines, "─ run g1", "done g1"),
    };
    writeln!(snapshot, "\n{heading}").expect("to a String");
    if lines.len() <= HEAD + TAIL {
        snapshot += &lines.join("\n");
    } else {
        let (head, rest) = lines.split_at(HEAD);
        let (middle, tail) = rest.split_at(rest.len() - TAIL);
        snapshot += &head.join("\n");
        let note = format!("[{} lines more]", middle.len());
        writeln!(snapshot, "\n\n{note:^WIDTH$}\n").expect("to a String");
        snapshot += &tail.join("\n");
    }
    // An editor may take them away, and then it is another snapshot.
    snapshot.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// The lines from the first one with this to the last one with that.
fn between<'a, 'b>(lines: &'a [&'b str], this: &str, that: &str) -> &'a [&'b str] {
    // Not `g12` for `g1`.
    let has = |line: &str, what: &str| {
        line.split(what).skip(1).any(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    let first = lines.iter().position(|line| has(line, this)).unwrap_or(0);
    let last = lines.iter().rposition(|line| has(line, that)).unwrap_or(lines.len() - 1);
    &lines[first..=last]
}

fn count(choices: &[Choice]) -> usize {
    choices.iter().filter(|choice| choice.k != 0).count()
}

/// The first lines of choices, as failure files have them.
fn write_choices(choices: &[Choice], snapshot: &mut String) {
    let mut words = failure::words(choices);
    let mut left = true;
    for _ in 0..CHOICES {
        let mut line = "#".to_string();
        for word in words.by_ref() {
            line = format!("{line} {word}");
            if line.len() > WIDTH - 24 {
                break;
            }
        }
        left = line.len() > 1;
        if left {
            writeln!(snapshot, "{line}").expect("to a String");
        }
    }
    if left && words.next().is_some() {
        writeln!(snapshot, "# …").expect("to a String");
    }
}
