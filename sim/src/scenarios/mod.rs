//! Programs that the explorer runs, each written to hunt one kind of race.
//!
//! A body is an ordinary program over `netpoll::{go, net, sync, time}`: nothing in it knows of the
//! simulator, and the tests here run each one on the real kernel as well. It states what it demands
//! with assertions; that it ends, wakes everybody up and leaves nothing open is demanded of all.
//!
//! To add one: copy the nearest file, add it to [`all`], and plant the bug that it is to find in a
//! scratch copy of the runtime to see that it does.

mod accept_storm;
mod broken;
mod close_vs_read;
mod common;
mod deadline_vs_ready;
mod echo;

use std::sync::LazyLock;

use crate::{Faults, Granularity};

/// A program to explore.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What it is called on the command line and in failure files.
    pub name: &'static str,
    /// One line: which race it hunts.
    pub about: &'static str,
    /// The faults that strike unless somebody says otherwise.
    pub faults: Faults,
    /// Where threads are switched unless somebody says otherwise: at atomic operations if the race is
    /// between two of them.
    pub granularity: Granularity,
    /// The program, run as the first goroutine of a runtime.
    pub body: fn(),
}

/// Every scenario, in the order in which they are shown.
#[must_use]
pub fn all() -> &'static [Scenario] {
    static ALL: LazyLock<[Scenario; 4]> = LazyLock::new(|| {
        [
            echo::scenario(),
            accept_storm::scenario(),
            close_vs_read::scenario(),
            deadline_vs_ready::scenario(),
        ]
    });
    &*ALL
}

/// A program that is wrong itself, to see what a failure looks like. It is none of [`all`].
#[must_use]
pub fn broken() -> &'static Scenario {
    static BROKEN: LazyLock<Scenario> = LazyLock::new(broken::scenario);
    &BROKEN
}

/// The scenario with this name, the broken one included.
#[must_use]
pub fn find(name: &str) -> Option<&'static Scenario> {
    let mut every = all().iter().chain([broken()]);
    every.find(|scenario| scenario.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same program on the kernel of this machine.
    #[test]
    fn every_scenario_passes_on_the_real_kernel() {
        for scenario in all() {
            for _ in 0..5 {
                netpoll::run(scenario.body).expect("a runtime can be made");
            }
        }
    }

    #[test]
    fn names_are_unique_words_and_abouts_are_one_line() {
        let every = || all().iter().chain([broken()]);
        for (index, scenario) in every().enumerate() {
            let word = |c: char| c.is_ascii_lowercase() || c == '_';
            assert!(scenario.name.chars().all(word), "{}", scenario.name);
            assert!(!scenario.about.contains('\n'), "{}", scenario.name);
            let first = every().position(|other| other.name == scenario.name);
            assert_eq!(first, Some(index), "{}", scenario.name);
        }
        assert!(find("weather").is_none());
    }
}
