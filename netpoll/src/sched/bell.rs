//! What a thread that is no worker sleeps on: a flag with a parker.

use std::sync::atomic::Ordering::AcqRel;

use crate::platform::{Atomic, Park, Primitives};

/// A parker's token and the flag it stands for: what a thread that is no worker sleeps on.
#[derive(Debug)]
pub struct Bell<P: Primitives> {
    rung: P::AtomicU32,
    parker: P::Parker,
}

impl<P: Primitives> Bell<P> {
    /// Not rung.
    pub fn new() -> Bell<P> {
        Bell { rung: P::AtomicU32::new(0), parker: P::Parker::new() }
    }

    /// Wakes the thread that waits, or the next one that will.
    pub fn ring(&self) {
        self.rung.swap(1, AcqRel);
        self.parker.unpark();
    }

    /// Forgets that it was rung.
    pub fn silence(&self) {
        self.rung.swap(0, AcqRel);
    }

    /// Sleeps until it is rung.
    pub fn wait(&self) {
        while self.rung.swap(0, AcqRel) == 0 {
            self.parker.park();
        }
    }

    /// Sleeps until it is rung or `ns` nanoseconds have passed; false when it was not rung. May return
    /// false early.
    pub fn wait_for(&self, ns: u64) -> bool {
        if self.rung.swap(0, AcqRel) != 0 {
            return true;
        }
        self.parker.park_timeout(ns);
        self.rung.swap(0, AcqRel) != 0
    }
}

impl<P: Primitives> Default for Bell<P> {
    fn default() -> Bell<P> {
        Bell::new()
    }
}
