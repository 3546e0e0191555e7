//! Started goroutines that are runnable on their own worker: a list through the goroutines' records
//! that only the worker touches.
//!
//! The words are `std` atomics used with `Relaxed`, which on every machine are plain loads and stores:
//! they make the type shareable without `unsafe`, and no checker needs to see them, because nobody else
//! reads them. The links are in [`super::g::G::next`], which the inbox uses too; a goroutine is in at
//! most one of the two.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

use super::g::G;
use crate::platform::{Atomic, Platform};
use crate::table::Table;

/// See the module documentation. Table index + 1 in every word; 0 is none.
#[derive(Debug, Default)]
pub struct LocalQueue {
    first: AtomicU32,
    last: AtomicU32,
    length: AtomicU32,
}

impl LocalQueue {
    /// An empty queue.
    pub fn new() -> LocalQueue {
        LocalQueue::default()
    }

    /// Appends a goroutine.
    pub fn push<P: Platform>(&self, gs: &Table<G<P>>, g: u32) {
        gs.get(g).next.store(0, Relaxed);
        match self.last.swap(g + 1, Relaxed) {
            0 => self.first.store(g + 1, Relaxed),
            last => gs.get(last - 1).next.store(g + 1, Relaxed),
        }
        self.length.store(self.length.load(Relaxed) + 1, Relaxed);
    }

    /// Takes the first goroutine.
    pub fn pop<P: Platform>(&self, gs: &Table<G<P>>) -> Option<u32> {
        let g = self.first.load(Relaxed).checked_sub(1)?;
        let next = gs.get(g).next.load(Relaxed);
        self.first.store(next, Relaxed);
        if next == 0 {
            self.last.store(0, Relaxed);
        }
        self.length.store(self.length.load(Relaxed) - 1, Relaxed);
        Some(g)
    }

    /// Takes a goroutine from wherever it is in the list. False when it is not there.
    pub fn remove<P: Platform>(&self, gs: &Table<G<P>>, g: u32) -> bool {
        let mut found = false;
        for _ in 0..self.len() {
            match self.pop(gs) {
                Some(first) if first == g => found = true,
                Some(first) => self.push(gs, first),
                None => break,
            }
        }
        found
    }

    /// How many goroutines are in it.
    pub fn len(&self) -> u32 {
        self.length.load(Relaxed)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
