//! The process that runs seeds.

use std::io::{self, BufRead, Write};
use std::sync::mpsc;
use std::{env, process, thread};

use netpoll_sim::explore::{
    Finding, Property, RunNumbers, Violation, execute_telling, execute_up_to,
};
use netpoll_sim::shrink::Budget;
use netpoll_sim::{Journal, Note};

use super::wire::{self, Found, Order};

/// The variable that makes this program a worker.
pub(super) const WORKER: &str = "NETPOLL_SIM_WORKER";

/// Carries out orders until there are no more, if this process is a worker; then it returns true, and the
/// process should end.
pub(crate) fn serve() -> bool {
    if env::var_os(WORKER).is_none() {
        return false;
    }
    let (sender, orders) = mpsc::channel();
    // Read beside the runs, so that a worker whose parent is gone ends even if its run never does.
    thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
        process::exit(0);
    });
    for line in orders {
        let Ok(order) = serde_json::from_str::<Order>(&line) else {
            // Of another version: the file was replaced while the parent ran.
            process::exit(2);
        };
        carry_out(&order);
        say(wire::DONE);
    }
    true
}

fn carry_out(order: &Order) {
    match order {
        Order::Run { world, seeds, shrink } => {
            let Some(plan) = world.plan(seeds.clone()) else { process::exit(2) };
            for seed in seeds.clone() {
                let execution = plan.run(seed);
                say(&wire::ran(seed, &RunNumbers::from(&execution)));
                if execution.violation.is_some() {
                    let mut finding = plan.report(seed, execution);
                    if let Some(time) = *shrink {
                        finding = finding.shrunk(&Budget { time, ..Budget::default() });
                    }
                    return say(&wire::failed(seed, &Found::new(&finding)));
                }
            }
        }
        Order::Tell { run } => {
            let Some((scenario, options, source)) = run.parts() else { process::exit(2) };
            let tell = |note: Note| say(&wire::told(note));
            let _survived = execute_telling(scenario, &options, source, Journal::new(tell));
        }
        Order::UpTo { world, seed, step, choices, property, sentence } => {
            let plan = world.plan(0..0).zip(Property::from_name(property));
            let Some((plan, property)) = plan else { process::exit(2) };
            let violation =
                Violation { property, sentence: sentence.clone(), subject: None, at: None };
            let (options, source) = (plan.options(*seed), plan.source(*seed));
            let up_to = execute_up_to(plan.scenario, &options, source, *step);
            let finding = Finding::fatal(plan.scenario, &options, Some(*seed), violation, up_to);
            let choices = choices.iter().map_while(|choice| choice.parse().ok()).collect();
            let found = Found::new(&Finding { profile: plan.profile, choices, ..finding });
            say(&wire::failed(*seed, &found));
        }
    }
}

/// One word, written at once: there may be no later.
fn say(word: &str) {
    let written = io::stdout().lock().write_all(wire::line(word).as_bytes());
    if written.and_then(|()| io::stdout().flush()).is_err() {
        process::exit(0); // nobody listens any more
    }
}
