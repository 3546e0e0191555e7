//! The inbox: goroutines of a worker that somebody else made runnable.
//!
//! A stack through the goroutines' records: any thread pushes with a CAS, the owner takes all at once
//! and restores the order of arrival. Because it takes all, there is no ABA.
//!
//! A push is followed by the wake-up rule of `idle.rs`: fence, then look whether the owner sleeps. The
//! owner, going to sleep, says so, passes the partner fence, and looks here (O7).
//!
//! # Ordering
//!
//! Pushing is a release and taking an acquire, so the goroutine's record and its link come along. A push
//! is an exchange, so who takes the last one has acquired those below it as well. Looking whether there
//! is anything decides nothing that the fence or the taking does not.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::g::G;
use super::local::LocalQueue;
use crate::platform::{Atomic, Platform, Primitives};
use crate::table::Table;

/// See the module documentation.
#[derive(Debug)]
pub struct Inbox<P: Primitives> {
    /// Table index + 1 of the goroutine pushed last; 0 is none.
    top: P::AtomicU32,
}

impl<P: Platform> Inbox<P> {
    /// An empty inbox.
    pub fn new() -> Inbox<P> {
        Inbox { top: P::AtomicU32::new(0) }
    }

    /// Whether there is nothing in it, at this moment.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.top.load(Relaxed) == 0
    }

    /// Puts a goroutine in. The caller owns it and wakes the worker afterwards.
    pub fn push(&self, gs: &Table<G<P>>, g: u32) {
        let mut top = self.top.load(Relaxed);
        loop {
            gs.get(g).next.store(top, Relaxed);
            match self.top.compare_exchange(top, g + 1, Release, Relaxed) {
                Ok(_) => return,
                Err(found) => top = found,
            }
        }
    }

    /// The owner moves everything to its local queue, in the order of arrival.
    pub fn drain_into(&self, gs: &Table<G<P>>, queue: &LocalQueue) {
        if self.is_empty() {
            return;
        }
        let mut rest = self.top.swap(0, Acquire);
        let mut reversed = 0;
        while let Some(g) = rest.checked_sub(1) {
            let link = &gs.get(g).next;
            rest = link.load(Relaxed);
            link.store(reversed, Relaxed);
            reversed = g + 1;
        }
        while let Some(g) = reversed.checked_sub(1) {
            reversed = gs.get(g).next.load(Relaxed);
            queue.push(gs, g);
        }
    }
}

impl<P: Platform> Default for Inbox<P> {
    fn default() -> Inbox<P> {
        Inbox::new()
    }
}
