//! Who has which slot of the arena: the free ones, and how many there are.
//!
//! A free list is last in, first out: what was used last is the likeliest to be in the cache. The
//! bottom of each list is *warm*: its stacks keep all of their memory, so goroutines that come and
//! go neither fault nor call the kernel. Those above it are *trimmed* when they come back: their
//! deep part is given to the system if it was used. Hence after a burst the memory of its stacks
//! returns, and in a steady state nothing is done twice.

use super::arena::Guards;
use super::stack::{Extent, StackSize};

/// How much memory the warm stacks of one size may keep: 64 default stacks, and none of a very
/// large size, one of which could hold as much.
const WARM_LEN_MAX: usize = 16 << 20;

/// Who has which slot.
pub(super) struct Books {
    pub(super) regions_used: usize,
    pub(super) guards: Guards,
    /// One for each slot size that was ever asked for; there are few.
    pub(super) classes: Vec<Class>,
}

/// The slots of one size.
pub(super) struct Class {
    pub(super) usable: usize,
    /// Tops of the slots that nobody uses. The capacity is at least `made`: putting never
    /// allocates.
    pub(super) free: Vec<usize>,
    /// How many slots there are.
    pub(super) made: usize,
    /// What is left of the region that slots of this size are carved from.
    pub(super) next: usize,
    pub(super) end: usize,
}

impl Books {
    pub(super) const fn new(guards: Guards) -> Books {
        Books { regions_used: 0, guards, classes: Vec::new() }
    }

    /// Puts a stack into the free list as it is, if the list is short enough.
    pub(super) fn put_warm(&mut self, extent: Extent) -> bool {
        let class = self.class(extent.usable);
        let warm = self.classes[class].free.len() < WARM_LEN_MAX / extent.usable;
        if warm {
            self.put(extent);
        }
        warm
    }

    /// Puts a stack into the free list.
    pub(super) fn put(&mut self, extent: Extent) {
        let class = self.class(extent.usable);
        let class = &mut self.classes[class];
        debug_assert!(class.free.len() < class.made, "A3: more free slots than were made");
        class.free.push(extent.top);
    }

    /// The index of the class of this size; there is one from now on.
    pub(super) fn class(&mut self, usable: usize) -> usize {
        let found = self.classes.iter().position(|class| class.usable == usable);
        found.unwrap_or_else(|| {
            self.classes.push(Class { usable, free: Vec::new(), made: 0, next: 0, end: 0 });
            self.classes.len() - 1
        })
    }

    /// `3 of 256 KiB, 1 of 64 KiB`.
    pub(super) fn inventory(&self) -> String {
        let made = self.classes.iter().filter(|class| class.made > 0);
        let counts: Vec<String> = made
            .map(|class| format!("{} of {}", class.made, StackSize::text(class.usable)))
            .collect();
        if counts.is_empty() {
            return "none yet".to_owned();
        }
        counts.join(", ")
    }
}
