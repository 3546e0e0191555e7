//! Oracles: what every run is held against while it goes on, not only when a test asks.
//!
//! An oracle watches the stream of records (the runtime's events, its system calls, what the kernel and the
//! threads do) and stops the run at the record that must not be. So a lost wakeup is reported where it is
//! lost and not where everybody hangs. Each oracle is one file with a number, a name and a sentence:
//!
//! | # | oracle | what it holds the run to |
//! |---|---|---|
//! | 1 | [`readiness`] | each edge reaches its slot and its consumer, and nothing else makes a slot ready |
//! | 2 | [`provenance`] | calls, bytes and events are of the file and the life that they are meant for |
//! | 3 | [`deadlines`] | no timer fires early, and none later than its worker and the poller can help |
//! | 4 | [`bytes`] | what is read from a stream is what was written to it, whole and in order |
//! | 5 | [`wakeups`] | each park is ended by exactly one wake-up, and nothing runs that was not woken |
//! | 6 | [`balance`] | goroutines, threads, files, lives and timers that were made are gone at the end |
//! | 7 | [`idleness`] | polls, breaks and rounds of sysmon that bring nothing are few |
//! | 8 | [`conservation`] | nothing is runnable beside a sleeping worker that may run it |
//! | 9 | [`starvation`] | the network and timers of busy workers are looked after within 10 ms |
//! | 10 | [`waiters`] | the poller's count is the number of those who are parked in I/O |
//! | 11 | [`deadlock`] | somebody can go on, or the program has ended |
//! | 12 | [`invariants`] | state words change as their tables say, by those who may change them |
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
//! vectors by index, and form sentences only for a violation. Of the kinds that there are most of, each has a copy of all
//! oracles that does nothing else ([`Oracles::observe`]): twelve jumps by the same kind, one after the other, cost more
//! than what most of them lead to.

pub mod balance;
pub mod bytes;
pub mod conservation;
pub mod deadlines;
pub mod deadlock;
pub mod facts;
pub mod idleness;
pub mod invariants;
pub mod provenance;
pub mod readiness;
pub mod starvation;
#[cfg(test)]
mod tests;
pub mod waiters;
pub mod wakeups;

use std::fmt;

use netpoll::platform::RawFd;
use netpoll::runtime::GoroutineState;
use netpoll::trace::Event;
use netpoll_traces::{Entry, Record, ThreadId, WorldEvent};

use crate::explore::{Property, Violation};
use crate::{OpenFd, Outcome};
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
    /// Another name for it than the oracle's.
    property: Option<Property>,
    what: String,
    subject: Option<(u64, RawFd)>,
}

impl Complaint {
    /// That `what` breaks the invariant with this number.
    #[must_use]
    pub fn new(number: &'static str, what: String) -> Box<Complaint> {
        Box::new(Complaint { number, property: None, what, subject: None })
    }

    /// The same, under a name of its own.
    #[must_use]
    pub fn of(property: Property, number: &'static str, what: String) -> Box<Complaint> {
        Box::new(Complaint { number, property: Some(property), what, subject: None })
    }

    /// The goroutine and the descriptor that it is about: a report shows what happened to them.
    #[must_use]
    pub fn about(mut self: Box<Complaint>, g: Option<u64>, fd: RawFd) -> Box<Complaint> {
        self.subject = g.map(|g| (g, fd));
        self
    }

    fn into_violation(self, about: &About, at: Option<usize>) -> Violation {
        let Complaint { number, property, what, subject } = self;
        let property = property.unwrap_or(about.property);
        let name = property.name().replace('-', " ");
        let sentence = format!("{number} {name}: {what}").trim_start().to_string();
        Violation { property, sentence, subject, at }
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

/// A time in which no thread can go on.
#[derive(Clone, Copy, Debug)]
pub struct Idle {
    /// The virtual time.
    pub now_ns: u64,
    /// When the next thread or the kernel gets up; `u64::MAX` for never.
    pub next_ns: u64,
}

/// Bytes of a stream, at the moment at which the kernel takes them or gives them.
#[derive(Clone, Copy, Debug)]
pub enum Moved<'a> {
    /// The first `count` of these were written, and will be read from file `to`.
    Written {
        /// The receiving file.
        to: u32,
        /// What the writer has.
        parts: &'a [&'a [u8]],
        /// How much of it the kernel took.
        count: usize,
    },
    /// These were read.
    Read {
        /// The file.
        from: u32,
        /// What the reader got.
        bytes: &'a [u8],
        /// They stay in the stream.
        is_peek: bool,
    },
}

/// How a run ended.
#[derive(Clone, Copy, Debug)]
pub struct End<'a> {
    /// In the engine's words.
    pub outcome: &'a Outcome,
    /// The goroutines that had not ended.
    pub goroutines: &'a [GoroutineState],
    /// The poller's count of waiters.
    pub waiters: i32,
    /// The descriptors that were open.
    pub open_fds: &'a [OpenFd],
    /// The files that were left when no number was and the wire was empty.
    pub files_left: usize,
    /// The threads that had not ended when the main thread had.
    pub threads_abandoned: usize,
    /// Whether the program may leave goroutines parked, and what they hold.
    pub abandons: bool,
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

    /// All threads are blocked, and the clock is about to jump.
    ///
    /// # Errors
    /// When somebody should go on.
    fn idle(&mut self, idle: &Idle, facts: &Facts, look: &dyn Look) -> Verdict {
        let _ = (idle, facts, look);
        Ok(())
    }

    /// Bytes enter or leave a stream.
    ///
    /// # Errors
    /// When they are not the ones.
    fn moved(&mut self, moved: &Moved<'_>) -> Verdict {
        let _ = moved;
        Ok(())
    }

    /// The run is over: the last word.
    ///
    /// # Errors
    /// When it should not have ended so.
    fn finish(&mut self, end: &End<'_>, facts: &Facts) -> Verdict {
        let _ = (end, facts);
        Ok(())
    }

    /// How often there was something to check: an oracle that never checks watches over nothing.
    fn checks(&self) -> u64;
}

/// How many oracles there are.
pub const COUNT: usize = 12;

/// How often each oracle had something to check, in the order of their numbers.
pub type Checks = [u64; COUNT];

/// Adds what other oracles have checked, of the same run or of another.
pub fn add_checks(sum: &mut Checks, more: &Checks) {
    sum.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
}

/// Declares the set of all oracles. Every call is one of a known type: nothing here is virtual.
macro_rules! oracles {
    ($($name:ident: $oracle:ty,)*) => {
        /// All oracles of one run.
        #[derive(Debug, Default)]
        pub struct Oracles {
            facts: Facts,
            $($name: $oracle,)*
            violations: Vec<Violation>,
            /// The index of the next record.
            seen: usize,
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

            /// All threads are blocked. False when somebody should go on: the run is over then.
            pub fn idle(&mut self, idle: &Idle, look: &dyn Look) -> bool {
                $(
                    let verdict = self.$name.idle(idle, &self.facts, look);
                    self.take(self.$name.about(), verdict, self.last());
                )*
                self.violations.is_empty()
            }

            /// Bytes enter or leave a stream. False when they are not the ones.
            pub fn moved(&mut self, moved: &Moved<'_>) -> bool {
                $(
                    let verdict = self.$name.moved(moved);
                    self.take(self.$name.about(), verdict, self.last());
                )*
                self.violations.is_empty()
            }

            /// The last word, unless one was spoken before. What the run violated, if anything.
            pub fn finish(&mut self, end: &End<'_>) -> Option<Violation> {
                if self.violations.is_empty() {
                    $(
                        let verdict = self.$name.finish(end, &self.facts);
                        self.take(self.$name.about(), verdict, None);
                    )*
                }
                self.violations.first().cloned()
            }

            /// Shows all a record of which `is_of_kind` is true.
            ///
            /// There is one of these functions for each `is_of_kind`, and since each begins with that, the compiler
            /// leaves out of it what the oracles do about records of other kinds.
            #[inline(never)]
            fn show(
                &mut self,
                record: &Record,
                look: &dyn Look,
                is_of_kind: impl Fn(&Entry) -> bool,
            ) -> bool {
                if !is_of_kind(&record.event) {
                    unreachable!("{:?} is of another kind", record.event);
                }
                self.seen += 1;
                $(
                    let verdict = self.$name.observe(record, &self.facts, look);
                    self.take(self.$name.about(), verdict, self.last());
                )*
                self.facts.apply(record, look);
                self.violations.is_empty()
            }
        }
    };
}

oracles! {
    readiness: readiness::Readiness,
    provenance: provenance::Provenance,
    deadlines: deadlines::DeadlineOracle,
    bytes: bytes::Bytes,
    wakeups: wakeups::Wakeups,
    balance: balance::Balance,
    idleness: idleness::Idleness,
    conservation: conservation::Conservation,
    starvation: starvation::Starvation,
    waiters: waiters::Waiters,
    deadlock: deadlock::Deadlock,
    invariants: invariants::Invariants,
}

impl Oracles {
    /// Shows one record to all. False when it must not be: the run is over then.
    #[inline]
    pub fn observe(&mut self, record: &Record, look: &dyn Look) -> bool {
        macro_rules! of_kinds {
            ($($kind:pat,)*) => {
                match record.event {
                    $($kind => self.show(record, look, |event| matches!(event, $kind)),)*
                    _ => self.show(record, look, |_| true),
                }
            };
        }
        // The ones that there are most of.
        of_kinds! {
            Entry::Runtime(Event::Slot { .. }),
            Entry::Runtime(Event::Use { .. }),
            Entry::Runtime(Event::Leave { .. }),
            Entry::Runtime(Event::Syscall { .. }),
            Entry::Runtime(Event::Waiters { .. }),
            Entry::Runtime(Event::Dispatch { .. }),
            Entry::Runtime(Event::Run { .. }),
            Entry::Runtime(Event::Ready { .. }),
            Entry::Runtime(Event::Park { .. }),
            Entry::World(WorldEvent::Edge { .. }),
            Entry::World(WorldEvent::Harvest { .. }),
            Entry::World(WorldEvent::Arrive { .. }),
        }
    }

    /// The next record that is shown is the one with this index in the trace; others were of other hosts.
    #[inline]
    pub(crate) fn skip_to(&mut self, index: usize) {
        self.seen = index;
    }

    /// The index of the last record that was shown.
    #[inline]
    fn last(&self) -> Option<usize> {
        self.seen.checked_sub(1)
    }

    #[inline(always)]
    fn take(&mut self, about: &About, verdict: Verdict, at: Option<usize>) {
        if let Err(complaint) = verdict {
            self.complain(about, *complaint, at);
        }
    }

    #[cold]
    fn complain(&mut self, about: &About, complaint: Complaint, at: Option<usize>) {
        self.violations.push(complaint.into_violation(about, at));
    }

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
