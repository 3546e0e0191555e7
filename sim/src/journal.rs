//! A journal: what a run does, told while it does it.
//!
//! The report of a run comes at its end. A run that takes its process along (an abort, a stack overflow, a
//! loop without end) has none, so whoever wants to know how it came to that listens meanwhile.

use std::fmt;
use std::sync::Arc;

use crate::choice::Choice;

/// Something that the run has just done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// It made a choice.
    Choice(Choice),
    /// It passed this many points.
    Step(u64),
}

/// Whom to tell. It is called in the middle of the run and must not touch it.
#[derive(Clone)]
pub struct Journal(Arc<dyn Fn(Note) + Send + Sync>);

impl Journal {
    /// A journal that calls `listener` at once for everything.
    pub fn new(listener: impl Fn(Note) + Send + Sync + 'static) -> Journal {
        Journal(Arc::new(listener))
    }

    #[cold]
    pub(crate) fn note(&self, note: Note) {
        (self.0)(note);
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Journal")
    }
}
