//! Marks: what must be true sometimes.
//!
//! An assertion says what is always so. That a test comes to the places that it is for, over all its seeds, no
//! assertion can say: a test whose connections never break, or whose queue is never full, passes and has tested
//! nothing. [`sometimes!`](crate::sometimes) says it, and [`Sim`](crate::Sim) fails when a mark that was passed was
//! true in none of the runs. The idea is that of Antithesis' sometimes assertions.

use crate::engine;

/// A place in a program, and what is to be true there sometimes.
#[derive(Debug, PartialEq, Eq)]
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

/// Passes a mark; returns the condition. Outside a run it does nothing else.
pub fn pass(mark: &'static Mark, condition: bool) -> bool {
    engine::with(|engine| engine.map(|engine| engine.mark(mark, condition)));
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
