//! What clients have seen of a register, and whether one register could have shown them that.
//!
//! A history is *linearizable* if each operation can be given a moment between its beginning and its end so that, done at
//! these moments, one after the other, they return what they returned (Herlihy and Wing, 1990). The search is that of Wing
//! and Gong (1993): some operation that begins before any other has ended is the first; try each.

use std::fmt;

use netpoll::time::Instant;

/// What an operation did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Did {
    /// It read this.
    Read(u64),
    /// It wrote this.
    Write(u64),
}

/// An operation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operation {
    /// Who did it.
    pub(crate) client: u64,
    /// What.
    pub(crate) did: Did,
    /// When it began.
    pub(crate) from: Instant,
    /// When it ended; `None` if nobody knows whether it has taken effect.
    pub(crate) to: Option<Instant>,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, value) = match self.did {
            Did::Read(value) => ("reads", value),
            Did::Write(value) => ("writes", value),
        };
        let client = self.client;
        match self.to {
            Some(to) => write!(f, "client {client} {word} {value} from {:?} to {to:?}", self.from),
            None => write!(f, "client {client} {word} {value} from {:?}, perhaps", self.from),
        }
    }
}

/// Whether a register that begins with 0 could have done all this.
pub(crate) fn is_linearizable(history: &[Operation]) -> bool {
    assert!(history.len() <= 64, "the search keeps a set of operations in a word");
    follow(history, 0, 0, &mut Default::default())
}

/// Whether the operations that are not in `done` can follow, when the register holds `value`.
fn follow(
    history: &[Operation],
    done: u64,
    value: u64,
    seen: &mut std::collections::BTreeSet<(u64, u64)>,
) -> bool {
    let left = || history.iter().enumerate().filter(|(nth, _)| done & (1 << nth) == 0);
    // One that nobody knows of need not have happened.
    if left().all(|(_, it)| it.to.is_none()) {
        return true;
    }
    if !seen.insert((done, value)) {
        return false;
    }
    let first_end = left().filter_map(|(_, it)| it.to).min();
    let mut first = left().filter(|(_, it)| first_end.is_none_or(|end| it.from <= end));
    first.any(|(nth, it)| {
        let done = done | 1 << nth;
        match it.did {
            Did::Read(read) => read == value && follow(history, done, value, seen),
            Did::Write(written) => follow(history, done, written, seen),
        }
    })
}
