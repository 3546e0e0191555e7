//! A failing run of shuttle, made smaller by the simulator's shrinker.
//!
//! A failing execution may take its process along, and each leaks what it had parked. So this is for a
//! process of its own ([`child`](crate::child)), which tells each smaller list as soon as it has it.

use std::cell::OnceCell;

use netpoll_sim::choice::ChoiceKind;
use netpoll_sim::deviation::{Asker, Deviation};
use netpoll_sim::shrink::{self, Budget, Shrunk, Unshrinkable};
use netpoll_sim::{Choice, Source};

use super::shuttle::{Broken, Switch, execute_once};
use super::{Failed, Model, panics, prepare};

/// What became of a failing run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Smaller {
    /// The smallest run that was found, by its list without the zeros at the end.
    pub failed: Failed,
    /// What it was made from.
    pub shrunk: Shrunk,
    /// In words, its choices that are not the dullest.
    pub needs: Vec<String>,
}

/// How a run failed, without what is different in a smaller one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Manner {
    /// Where it panicked.
    location: Option<String>,
    /// The beginning of the message, without numbers: the checkers panic at one place for all reasons.
    message: String,
}

impl Manner {
    fn of(broken: &Broken) -> Manner {
        let what = &broken.failed.what;
        let message = what.split(':').next().unwrap_or_default();
        let message = message.chars().filter(|c| !c.is_ascii_digit()).collect();
        Manner { location: broken.location.clone(), message }
    }
}

/// Makes the run of a model with these choices smaller, while it fails at the same place by the same
/// message. `better` is told each list that is smaller than all before.
///
/// # Errors
/// The run does not fail, or a run did not repeat itself.
pub fn shrink(
    model: &Model,
    choices: Vec<Choice>,
    budget: &Budget,
    better: impl FnMut(&[Choice]),
) -> Result<Smaller, Unshrinkable> {
    let _prepared = prepare().map_err(|failed| Unshrinkable::Differs(failed.what))?;
    let manner = OnceCell::new();
    let attempt = |source| {
        let broken = execute_once(model, source).err()?;
        let its = Manner::of(&broken);
        // The first attempt says in which way the run is to fail.
        (*manner.get_or_init(|| its.clone()) == its).then_some(broken.chosen)
    };
    panics::quietly(|| {
        let shrunk = shrink::shrink(choices, budget, attempt, better)?;
        let last = execute_once(model, Source::Replay(shrunk.choices.clone()));
        let last = last.err().filter(|last| manner.get() == Some(&Manner::of(last)));
        let Some(Broken { failed, chosen, switches, .. }) = last else {
            return Err(Unshrinkable::Differs("its replay did not fail in the same way".into()));
        };
        let needs = needs(&chosen.deviations, &switches);
        let failed = Failed { choices: shrunk.choices.clone(), ..failed };
        Ok(Smaller { failed, shrunk, needs })
    })
}

/// The deviations in words.
fn needs(deviations: &[Deviation], switches: &[Switch]) -> Vec<String> {
    let mut switches = switches.iter();
    let need = |deviation: &Deviation| {
        let Deviation { choice, asker, target, .. } = deviation;
        let who = match asker {
            Asker::Thread { thread, .. } => format!("thread {}", thread.0),
            Asker::Goroutine(g) => format!("g{g}"),
            Asker::Kernel => "the kernel".to_string(),
        };
        if choice.kind != ChoiceKind::Thread {
            return format!(
                "{} {} of {} in a call of {who}",
                choice.kind.name(),
                choice.k,
                choice.n - 1
            );
        }
        let target = target.map_or("another".to_string(), |target| format!("thread {}", target.0));
        match switches.next() {
            Some(Switch { blocked: true, .. }) | None => {
                format!("{target} goes first when {who} waits")
            }
            Some(Switch { before: Some(at), .. }) => {
                format!("{who} gives way to {target} before {}:{}", at.file(), at.line())
            }
            Some(Switch { before: None, .. }) => {
                format!("{who} gives way to {target} at a lock or a call")
            }
        }
    };
    deviations.iter().map(need).collect()
}
