//! One script on both kernels, step by step.

use std::sync::{Arc, Mutex, PoisonError};

use netpoll::platform::EpollEvent;

use super::script::{Script, World};
use super::{Difference, RealKernel, events_text};
use crate::{NetConfig, Outcome, SimConfig, run};

/// How often the kernel of this machine gets more time for events that the simulated one has had.
const PATIENCE: usize = 60;

/// How often it gets time after the end of a side of a connection, which may be acknowledged 40 ms late:
/// the acknowledgement is an edge.
const ENDS: usize = 25;

/// As Linux's defaults, so that what fits into a Unix socket is the same.
const BUFFER: usize = 212_992;

/// See the module documentation.
pub(super) struct Case;

impl Case {
    /// The difference of a script, if it shows in three attempts, in as few steps as possible.
    pub(super) fn confirm(script: &Script, seed: u64) -> Option<Difference> {
        let attempt = |script: &Script| (0..3).try_fold(None, |_, _| Some(Some(compare(script)?)));
        let found = attempt(script)??;
        let mut script = script.up_to(found.steps.len());
        let mut smallest = found;
        let mut index = script.len();
        while index > 0 {
            index -= 1;
            let smaller = script.without(index);
            if let Some(Some(found)) = attempt(&smaller) {
                script = smaller.up_to(found.steps.len());
                smallest = found;
                index = index.min(script.len());
            }
        }
        Some(Difference { seed, ..smallest })
    }
}

/// Runs a script on both kernels up to the first difference.
fn compare(script: &Script) -> Option<Difference> {
    let found = Arc::new(Mutex::new(None));
    let (script, result) = (script.clone(), Arc::clone(&found));
    let net = NetConfig { sndbuf: BUFFER, rcvbuf: BUFFER, ..NetConfig::default() };
    let config = SimConfig { net, ..SimConfig::seed(0).replaying(Vec::new()) };
    let report = run(config, move |kernel| {
        let (mut simulated, mut real) = (World::new(&kernel), World::new(&RealKernel));
        let difference = both(&script, &mut simulated, &mut real);
        simulated.end();
        real.end();
        *result.lock().unwrap_or_else(PoisonError::into_inner) = difference;
    });
    assert_eq!(report.outcome, Outcome::Finished, "a script ends");
    let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
    found.take()
}

fn both(script: &Script, simulated: &mut World<'_>, real: &mut World<'_>) -> Option<Difference> {
    let mut steps = Vec::new();
    for index in 0..script.len() {
        let words = simulated.words(script, index);
        let answers = (simulated.make(script, index), real.make(script, index));
        let differ = |steps, simulated, real| Some(Difference { seed: 0, steps, simulated, real });
        if answers.0 != answers.1 {
            steps.push(words);
            return differ(steps, answers.0, answers.1);
        }
        steps.push(format!("{words} = {}", answers.0));
        simulated.settle();
        let expected = simulated.harvest().map(by_data);
        let waits = match (real.travels, real.ends) {
            (_, true) => ENDS,
            (true, false) => 1,
            (false, false) => 0,
        };
        (0..waits).for_each(|_| real.settle());
        let mut seen = real.harvest().map(by_data);
        for _ in 0..PATIENCE {
            if seen == expected {
                break;
            }
            real.settle();
            let [edges, levels] = real.harvest().map(by_data);
            seen = [merged(&seen[0], edges), levels];
        }
        if seen != expected {
            let text = |[edges, levels]: [Vec<EpollEvent>; 2]| {
                format!("edges [{}], levels [{}]", events_text(&edges), events_text(&levels))
            };
            return differ(steps, text(expected), text(seen));
        }
    }
    None
}

fn by_data(mut events: Vec<EpollEvent>) -> Vec<EpollEvent> {
    events.sort_by_key(|event| event.data);
    events
}

/// Events that came in two harvests, as if in one.
fn merged(first: &[EpollEvent], second: Vec<EpollEvent>) -> Vec<EpollEvent> {
    let mut all = first.to_vec();
    for event in second {
        match all.iter_mut().find(|other| other.data == event.data) {
            Some(other) => other.events |= event.events,
            None => all.push(event),
        }
    }
    by_data(all)
}
