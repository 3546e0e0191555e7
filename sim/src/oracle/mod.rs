//! Oracles: what every run is held against while it goes on, not only when a test asks.
//!
//! An oracle watches the stream of records (the runtime's events, its system calls, what the kernel and the
//! threads do) and stops the run at the record that must not be. So a lost wakeup is reported where it is
//! lost and not where everybody hangs. Each oracle is one file with a number, a name and a sentence:
//!
//! | # | oracle | what it holds the run to |
//! |---|---|---|
//! | 1 | [`readiness`] | every edge reaches its slot, and nothing else makes one ready |
//! | 5 | [`wakeups`] | a park is ended once, by one wake-up |
//!
//! What several of them have to know (who runs where, in which state a slot is) is kept once, in
//! [`facts`]. An oracle sees the facts as they were *before* the record that it looks at.
//!
//! # The order of records
//!
//! Records come in the order in which the simulated world does things: the runtime says that it exchanged a
//! word before it touches shared memory again, and threads are switched only there. So an oracle may argue
//! "this came before that" across threads.
//!
//! # What costs
//!
//! Millions of runs are made under oracles. They match on the record's kind first, keep what they know in
//! vectors by index, and form sentences only for a violation.

pub mod facts;
pub mod readiness;
#[cfg(test)]
mod tests;
pub mod wakeups;

use std::fmt;

use netpoll::platform::RawFd;
use netpoll_traces::{Record, ThreadId};

use crate::explore::{Property, Violation};
pub use facts::Facts;

/// What an oracle is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct About {
    /// Its number.
    pub number: u8,
    /// What it is called, and what a violation of it is called in failure files.
    pub property: Property,
    /// What it holds a run to.
    pub sentence: &'static str,
}

impl About {
    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.property.name()
    }
}

/// Why a run is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// The invariant: `S4`, `L10`.
    number: &'static str,
    what: String,
    subject: Option<(u64, RawFd)>,
}

impl Complaint {
    /// That `what` breaks the invariant with this number.
    #[must_use]
    pub fn new(number: &'static str, what: String) -> Box<Complaint> {
        Box::new(Complaint { number, what, subject: None })
    }

    /// The goroutine and the descriptor that it is about: a report shows what happened to them.
    #[must_use]
    pub fn about(mut self: Box<Complaint>, g: Option<u64>, fd: RawFd) -> Box<Complaint> {
        self.subject = g.map(|g| (g, fd));
        self
    }

    fn into_violation(self, about: &About) -> Violation {
        let Complaint { number, what, subject } = self;
        let sentence = format!("{number} {}: {what}", about.name());
        Violation { property: about.property, sentence, subject }
    }
}

/// What an oracle says to what it has seen. Small, since it is nearly always "fine".
pub type Verdict = Result<(), Box<Complaint>>;

/// What oracles may look at, beside the records.
pub trait Look {
    /// Whether a thread cannot go on now. One that was woken can, also before it does.
    fn is_blocked(&self, thread: ThreadId) -> bool;
    /// The file behind a number, if there is one. Only at a system call, not inside of one.
    fn file_of(&self, fd: RawFd) -> Option<u32>;
}

/// One thing that is watched in every run.
pub trait Oracle: fmt::Debug {
    /// What it is.
    fn about(&self) -> &'static About;

    /// Something happens. `facts` are those of the moment before.
    ///
    /// # Errors
    /// When it must not.
    fn observe(&mut self, record: &Record, facts: &Facts, look: &dyn Look) -> Verdict;

    /// How often there was something to check: an oracle that never checks watches over nothing.
    fn checks(&self) -> u64;
}

/// How many oracles there are.
pub const COUNT: usize = 2;

/// How often each oracle had something to check, in the order of their numbers.
pub type Checks = [u64; COUNT];

/// Declares the set of all oracles. Every call is one of a known type: nothing here is virtual.
macro_rules! oracles {
    ($($name:ident: $oracle:ty,)*) => {
        /// All oracles of one run.
        #[derive(Debug, Default)]
        pub struct Oracles {
            facts: Facts,
            $($name: $oracle,)*
            violations: Vec<Violation>,
        }

        impl Oracles {
            /// What the oracles are, in the order of their numbers.
            #[must_use]
            pub fn abouts() -> [&'static About; COUNT] {
                let all = Oracles::default();
                [$(all.$name.about(),)*]
            }

            /// How often each had something to check.
            #[must_use]
            pub fn checks(&self) -> Checks {
                [$(self.$name.checks(),)*]
            }

            /// Shows one record to all. False when it must not be: the run is over then.
            pub fn observe(&mut self, record: &Record, look: &dyn Look) -> bool {
                $(
                    let verdict = self.$name.observe(record, &self.facts, look);
                    if let Err(complaint) = verdict {
                        let about = self.$name.about();
                        self.violations.push(complaint.into_violation(about));
                    }
                )*
                self.facts.apply(record, look);
                self.violations.is_empty()
            }
        }
    };
}

oracles! {
    readiness: readiness::Readiness,
    wakeups: wakeups::Wakeups,
}

impl Oracles {
    /// A thread was introduced; its id is the next one.
    pub fn add_thread(&mut self, name: &str) {
        self.facts.add_thread(name);
    }

    /// What the last record violated: the first of these counts.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }
}
