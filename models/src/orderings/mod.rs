//! The orderings of the runtime: every atomic access and fence that production code makes.
//!
//! An ordering is a claim: with one step less, something breaks. Whoever doubts the claims one by one
//! needs a list of them that is complete, and a list kept by hand is complete only on the day it is
//! written. So [`scan()`] reads the list from the source text and refuses what it cannot read, and
//! [`weaker`] says what there is to doubt about each entry.
//!
//! A [`Site`] says where its access is in the words of the compiler: its line and column are those of
//! `std::panic::Location::caller()` in a callee with `#[track_caller]`. Thus an atomic that is asked for
//! a load at run time can find out which site asks.
//!
//! | file | what it is |
//! |---|---|
//! | `mod.rs` | a site, and the steps down from its orderings |
//! | `scan.rs` | from source text to sites |
//! | `syntax.rs` | what a piece of syntax means to the scanner |
//! | `sweep.rs` | weakens each access by one step and sees which model notices |
//! | `reasons.rs` | why an ordering stays although none does |
//! | `table.rs` | the table of all that, kept in `models/orderings.txt` |
//!
//! # How it is tested
//!
//! `caller_test.rs` compares lines and columns with the compiler's own. `scan_test.rs` counts the
//! orderings that are written in the production code without parsing it, and shows to the scanner what
//! it must refuse.

#[cfg(test)]
mod caller_test;
pub mod reasons;
mod scan;
#[cfg(test)]
mod scan_test;
pub mod sweep;
mod syntax;
pub mod table;

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};

pub use scan::{SKIPPED, ScanError, scan};

/// The ordering with this name.
#[must_use]
pub fn named(name: &str) -> Option<Ordering> {
    let mut all = [Relaxed, Acquire, Release, AcqRel, SeqCst].into_iter();
    all.find(|order| format!("{order:?}") == name)
}

/// What an access does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// Reads.
    Load,
    /// Writes.
    Store,
    /// Writes, and returns what was there.
    Swap,
    /// Writes if a certain value is there.
    CompareExchange,
    /// As `CompareExchange`, but may fail for no reason.
    CompareExchangeWeak,
    /// Adds.
    FetchAdd,
    /// Subtracts.
    FetchSub,
    /// Sets bits.
    FetchOr,
    /// Keeps bits.
    FetchAnd,
    /// Writes if the new value is greater.
    FetchMax,
    /// Writes what a function makes of the value.
    FetchUpdate,
    /// Accesses nothing: orders the accesses around it.
    Fence,
}

impl Operation {
    /// All of them.
    pub const ALL: [Operation; 12] = [
        Operation::Load,
        Operation::Store,
        Operation::Swap,
        Operation::CompareExchange,
        Operation::CompareExchangeWeak,
        Operation::FetchAdd,
        Operation::FetchSub,
        Operation::FetchOr,
        Operation::FetchAnd,
        Operation::FetchMax,
        Operation::FetchUpdate,
        Operation::Fence,
    ];

    /// The name of the method, or of the function for a fence.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Operation::Load => "load",
            Operation::Store => "store",
            Operation::Swap => "swap",
            Operation::CompareExchange => "compare_exchange",
            Operation::CompareExchangeWeak => "compare_exchange_weak",
            Operation::FetchAdd => "fetch_add",
            Operation::FetchSub => "fetch_sub",
            Operation::FetchOr => "fetch_or",
            Operation::FetchAnd => "fetch_and",
            Operation::FetchMax => "fetch_max",
            Operation::FetchUpdate => "fetch_update",
            Operation::Fence => "fence",
        }
    }

    /// Whether the ordering at `index` in the list is about a read, and about a write. The second one
    /// of a list is what holds when nothing is written.
    const fn reads_and_writes(self, index: usize) -> (bool, bool) {
        match (self, index) {
            (Operation::Load, _) | (_, 1..) => (true, false),
            (Operation::Store, _) => (false, true),
            _ => (true, true),
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One place in the source text that accesses an atomic or passes a fence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Path relative to `netpoll/src/`, with `/`.
    pub file: String,
    /// Line of the method's name, from 1 on; for a fence, the line where the call starts.
    pub line: u32,
    /// Column of the method's name in characters, from 1 on; for a fence, the column where the call
    /// starts, which is that of `P` in `P::fence(…)`.
    pub column: u32,
    /// `Type::method`, `function` or `Trait for Type::method`. A closure counts as its function.
    pub function: String,
    /// What is accessed, as written: `self.word`, `self.netpoll.waiters`. Empty for a fence.
    pub object: String,
    /// What the access does.
    pub operation: Operation,
    /// The orderings as written: one, or those of success and of failure.
    pub orderings: Vec<Ordering>,
    /// Counts the sites with the same file, function and operation, in source order, from 1 on.
    pub ordinal: u32,
}

impl Site {
    /// A name that stays the same while lines move: `poll/slot.rs Slot::update compare_exchange`, with
    /// ` #2` at the end of the second such site.
    #[must_use]
    pub fn name(&self) -> String {
        let name = format!("{} {} {}", self.file, self.function, self.operation);
        if self.ordinal == 1 { name } else { format!("{name} #{}", self.ordinal) }
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{} {}: ", self.file, self.line, self.function)?;
        if !self.object.is_empty() {
            write!(f, "{}.", self.object)?;
        }
        let orderings: Vec<String> = self.orderings.iter().map(|o| format!("{o:?}")).collect();
        write!(f, "{}({})", self.operation, orderings.join(", "))
    }
}

/// Every list of orderings that is legal and exactly one step weaker than `orderings`, which are legal
/// for `operation`.
///
/// One step takes one edge away: from one ordering of the list, its acquire or its release. The failure
/// ordering of a compare-exchange steps down alone, because the language lets it be stronger than the
/// success ordering. A fence steps down to no fence, which is the empty list: the runtime uses fences
/// only for the order of a store before a load, and of that nothing weaker than `SeqCst` keeps a part.
#[must_use]
pub fn weaker(operation: Operation, orderings: &[Ordering]) -> Vec<Vec<Ordering>> {
    if operation == Operation::Fence {
        return vec![Vec::new()];
    }
    let mut lists = Vec::new();
    for (index, &ordering) in orderings.iter().enumerate() {
        for &step in steps(ordering, operation.reads_and_writes(index)) {
            let mut list = orderings.to_vec();
            list[index] = step;
            lists.push(list);
        }
    }
    lists
}

/// The orderings one step below this one that are legal for an access which reads, writes, or both.
const fn steps(ordering: Ordering, reads_and_writes: (bool, bool)) -> &'static [Ordering] {
    match (ordering, reads_and_writes) {
        (SeqCst, (true, true)) => &[AcqRel],
        (SeqCst, (_, false)) => &[Acquire],
        (SeqCst, (false, true)) => &[Release],
        (AcqRel, _) => &[Acquire, Release],
        (Acquire | Release, _) => &[Relaxed],
        // `Relaxed`, and what the language may add: `Ordering` is not exhaustive.
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(operation: Operation, orderings: &[Ordering], expected: &[&[Ordering]]) {
        assert_eq!(weaker(operation, orderings), expected, "{operation} {orderings:?}");
    }

    #[test]
    fn a_load_gives_up_its_acquire_and_a_store_its_release() {
        check(Operation::Load, &[SeqCst], &[&[Acquire]]);
        check(Operation::Load, &[Acquire], &[&[Relaxed]]);
        check(Operation::Load, &[Relaxed], &[]);
        check(Operation::Store, &[SeqCst], &[&[Release]]);
        check(Operation::Store, &[Release], &[&[Relaxed]]);
        check(Operation::Store, &[Relaxed], &[]);
    }

    #[test]
    fn a_read_modify_write_gives_up_one_of_its_two_edges() {
        use Operation::{FetchAdd, FetchAnd, FetchMax, FetchOr, FetchSub, Swap};
        for operation in [Swap, FetchAdd, FetchSub, FetchOr, FetchAnd, FetchMax] {
            check(operation, &[SeqCst], &[&[AcqRel]]);
            check(operation, &[AcqRel], &[&[Acquire], &[Release]]);
            check(operation, &[Acquire], &[&[Relaxed]]);
            check(operation, &[Release], &[&[Relaxed]]);
            check(operation, &[Relaxed], &[]);
        }
    }

    #[test]
    fn success_and_failure_step_down_one_at_a_time() {
        use Operation::{CompareExchange, CompareExchangeWeak, FetchUpdate};
        for operation in [CompareExchange, CompareExchangeWeak, FetchUpdate] {
            let three: &[&[Ordering]] =
                &[&[Acquire, Acquire], &[Release, Acquire], &[AcqRel, Relaxed]];
            check(operation, &[AcqRel, Acquire], three);
            check(
                operation,
                &[AcqRel, SeqCst],
                &[&[Acquire, SeqCst], &[Release, SeqCst], &[AcqRel, Acquire]],
            );
            check(operation, &[Release, Relaxed], &[&[Relaxed, Relaxed]]);
            check(operation, &[Relaxed, Acquire], &[&[Relaxed, Relaxed]]);
            check(operation, &[Relaxed, Relaxed], &[]);
        }
    }

    #[test]
    fn a_fence_is_removed() {
        check(Operation::Fence, &[SeqCst], &[&[]]);
    }

    #[test]
    fn operations_have_names_of_their_own() {
        for (index, operation) in Operation::ALL.iter().enumerate() {
            assert_eq!(*operation as usize, index, "{operation} is in ALL once");
            let same = Operation::ALL.iter().filter(|other| other.name() == operation.name());
            assert_eq!(same.count(), 1, "{operation}");
        }
    }

    #[test]
    fn a_site_is_shown_with_its_line_and_named_without() {
        let mut site = Site {
            file: "poll/slot.rs".into(),
            line: 151,
            column: 29,
            function: "Slot::update".into(),
            object: "self.word".into(),
            operation: Operation::CompareExchange,
            orderings: vec![AcqRel, Acquire],
            ordinal: 1,
        };
        let shown = "poll/slot.rs:151 Slot::update: self.word.compare_exchange(AcqRel, Acquire)";
        assert_eq!(site.to_string(), shown);
        assert_eq!(site.name(), "poll/slot.rs Slot::update compare_exchange");

        site.ordinal = 2;
        assert_eq!(site.name(), "poll/slot.rs Slot::update compare_exchange #2");

        let (operation, orderings, object) = (Operation::Fence, vec![SeqCst], String::new());
        site = Site { operation, orderings, object, ..site };
        assert_eq!(site.to_string(), "poll/slot.rs:151 Slot::update: fence(SeqCst)");
    }
}
