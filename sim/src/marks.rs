//! Marks: what must be true sometimes.
//!
//! An assertion says what is always so. That a test comes to the places that it is for, over all its seeds, no
//! assertion can say: a test whose connections never break, or whose queue is never full, passes and has tested
//! nothing. [`sometimes!`](crate::sometimes) says it, and [`Sim`](crate::Sim) fails when a mark that was passed was
//! true in none of the runs. The idea is that of Antithesis' sometimes assertions.

use std::ptr;

use crate::engine;

/// A place in a program, and what is to be true there sometimes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// What is to be true, in words.
    pub name: &'static str,
    /// The source file.
    pub file: &'static str,
    /// The line in it.
    pub line: u32,
}

impl Mark {
    /// What the macro makes.
    #[must_use]
    pub const fn new(name: &'static str, file: &'static str, line: u32) -> Mark {
        Mark { name, file, line }
    }
}

/// The marks that were passed, in one run or in many, each with whether its condition was ever true.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks(Vec<(&'static Mark, bool)>);

impl Marks {
    /// A mark was passed.
    pub(crate) fn pass(&mut self, mark: &'static Mark, hit: bool) {
        match self.0.iter_mut().find(|(its, _)| ptr::eq(*its, mark)) {
            Some((_, was_hit)) => *was_hit |= hit,
            None => self.0.push((mark, hit)),
        }
    }

    /// Adds those of another run.
    pub(crate) fn add(&mut self, other: &Marks) {
        other.0.iter().for_each(|&(mark, hit)| self.pass(mark, hit));
    }

    /// Adds one of another process, where it is at another address.
    pub(crate) fn add_of(&mut self, mark: Mark, hit: bool) {
        match self.0.iter_mut().find(|(its, _)| **its == mark) {
            Some((_, was_hit)) => *was_hit |= hit,
            None => self.0.push((Box::leak(Box::new(mark)), hit)),
        }
    }

    /// Each mark, and whether it was ever true.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static Mark, bool)> + '_ {
        self.0.iter().copied()
    }

    /// Those that were never true, and those of `expected` that were never passed, in words; `None` if all were.
    #[must_use]
    pub fn missed(&self, expected: &[&'static str]) -> Option<Vec<String>> {
        let never_true = self.0.iter().filter(|(_, hit)| !hit);
        let never_true =
            never_true.map(|(mark, _)| format!("`{}` ({}:{})", mark.name, mark.file, mark.line));
        let is_known = |name: &&&str| self.0.iter().any(|(mark, _)| mark.name == **name);
        let never_passed = expected.iter().filter(|name| !is_known(name));
        let never_passed = never_passed.map(|name| format!("`{name}` (no run came to it)"));
        let mut missed: Vec<String> = never_true.chain(never_passed).collect();
        missed.sort();
        missed.dedup();
        (!missed.is_empty()).then_some(missed)
    }
}

/// Passes a mark; returns the condition. Outside a run it does nothing else.
pub fn pass(mark: &'static Mark, condition: bool) -> bool {
    engine::with(|engine| engine.map(|engine| engine.marks().pass(mark, condition)));
    condition
}

/// Says that a condition must be true at least once over all seeds of a test; evaluates to the condition.
///
/// The name, a literal, stands in the report. A mark that no run comes to is not known of, unless it stands in the body
/// of a function with [`#[netpoll_sim::test]`](macro@crate::test) or was named to [`Sim::expects`](crate::Sim::expects).
///
/// ```
/// use netpoll_sim::{Sim, rand, sometimes};
///
/// Sim::named("dice").seeds(0..100).check(|| {
///     let die = 1 + rand::below(6);
///     sometimes!(die == 6, "a six");
/// });
/// ```
#[macro_export]
macro_rules! sometimes {
    ($condition:expr, $name:literal $(,)?) => {{
        static MARK: $crate::Mark = $crate::Mark::new($name, ::core::file!(), ::core::line!());
        $crate::marks::pass(&MARK, $condition)
    }};
}
