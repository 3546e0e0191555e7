//! A run that cannot report on itself: it took its process along, or never came back.
//!
//! It is run again in a process of its own, which this time tells of every choice and every point as it
//! passes them. So when it dies again the last point that it passed is known; and up to that point it can be
//! run a third time, with everything recorded, without dying.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use netpoll_sim::explore::{Plan, Property, Violation};
use netpoll_sim::{Choice, Note};

use super::member::Member;
use super::wire::{Found, Order, Run, Said, World};
use crate::Usage;

/// How a run went that was watched from outside.
#[derive(Debug)]
pub(crate) enum Autopsy {
    /// It came to its end.
    Survived,
    /// It did not: what it violated, the last point that it passed, and its choices.
    Died { violation: Violation, step: u64, choices: Vec<Choice> },
}

/// Runs something once in a process of its own. A run that passes no point for `patience` is ended.
pub(crate) fn examine(run: Run, patience: Duration) -> Result<Autopsy, Usage> {
    let (say, hear) = mpsc::channel();
    let mut member = Member::start(0, say)?;
    member.order(&Order::Tell { run });
    let (mut step, mut choices) = (0, Vec::new());
    loop {
        match hear.recv_timeout(patience) {
            Ok((_, Said::Told(Note::Step(passed)))) => step = passed,
            Ok((_, Said::Told(Note::Choice(choice)))) => choices.push(choice),
            Ok((_, Said::Done)) => return Ok(Autopsy::Survived),
            Ok((_, Said::Gone)) | Err(RecvTimeoutError::Disconnected) => {
                let violation = died(&member.last_words(), step);
                return Ok(Autopsy::Died { violation, step, choices });
            }
            Err(RecvTimeoutError::Timeout) => {
                let violation = fell_silent(patience, step);
                return Ok(Autopsy::Died { violation, step, choices });
            }
            Ok((_, Said::Ran(..) | Said::Failed(..))) => {}
        }
    }
}

/// The finding of a seed whose process ended with these words, or said nothing for `patience`.
pub(super) fn of_seed(
    plan: &Plan,
    seed: u64,
    words: Option<&str>,
    patience: Duration,
) -> Result<Found, Usage> {
    let world = World::of(plan);
    let run = Run::Seed { world: world.clone(), seed };
    let (violation, step, choices) = match examine(run, patience)? {
        Autopsy::Died { violation, step, choices } => (violation, step, choices),
        Autopsy::Survived => {
            let first = match words {
                Some(words) => died(words, 0),
                None => fell_silent(patience, 0),
            };
            let sentence = format!("{}; but when it was run again it was not so", first.sentence);
            // Nobody knows where it had come to.
            (Violation { sentence, ..first }, 0, Vec::new())
        }
    };
    let Violation { property, sentence, .. } = violation;
    let (say, hear) = mpsc::channel();
    let mut member = Member::start(0, say)?;
    let property = property.name().to_string();
    let choices = choices.iter().map(Choice::to_string).collect();
    let told = sentence.clone();
    member.order(&Order::UpTo { world, seed, step, choices, property, sentence: told });
    loop {
        match hear.recv_timeout(patience) {
            Ok((_, Said::Failed(_, found))) => return Ok(*found),
            Ok((_, Said::Gone | Said::Done)) | Err(_) => {
                // Not the same run as the two before: then only the sentence is sure.
                return Ok(Found::bare(plan, seed, &sentence));
            }
            Ok((_, Said::Ran(..) | Said::Told(_))) => {}
        }
    }
}

fn died(words: &str, step: u64) -> Violation {
    let sentence = format!("{}the process of the run {words}", after(step));
    Violation { property: Property::Crash, sentence, subject: None, at: None }
}

fn fell_silent(patience: Duration, step: u64) -> Violation {
    let sentence = format!(
        "{}the run passed no point for {patience:?}: a loop that neither waits nor looks at the clock, or \
         a call that blocks the thread",
        after(step)
    );
    Violation { property: Property::Hang, sentence, subject: None, at: None }
}

fn after(step: u64) -> String {
    match step {
        0 => String::new(),
        step => format!("after step {step} "),
    }
}
