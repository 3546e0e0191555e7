//! What a thread that is no worker sleeps on: a flag with a parker.
//!
//! # Ordering
//!
//! Ringing is a release and hearing it an acquire: what was done before the ring is seen after it. Both
//! are exchanges, so of several who ring before one hears it, all are heard.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

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
        self.rung.swap(1, Release);
        self.parker.unpark();
    }

    /// Forgets that it was rung. Nobody rings it meanwhile.
    pub fn silence(&self) {
        self.rung.store(0, Relaxed);
    }

    /// Whether it was rung since it was last heard.
    fn hear(&self) -> bool {
        self.rung.swap(0, Acquire) != 0
    }

    /// Sleeps until it is rung.
    pub fn wait(&self) {
        while !self.hear() {
            self.parker.park();
        }
    }

    /// Sleeps until it is rung or `ns` nanoseconds have passed; false when it was not rung. May return
    /// false early.
    pub fn wait_for(&self, ns: u64) -> bool {
        if self.hear() {
            return true;
        }
        self.parker.park_timeout(ns);
        self.hear()
    }
}

impl<P: Primitives> Default for Bell<P> {
    fn default() -> Bell<P> {
        Bell::new()
    }
}
