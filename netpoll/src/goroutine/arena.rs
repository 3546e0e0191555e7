//! The arena: one reserved range of addresses that all goroutine stacks come from.
//!
//! It promises that any address inside a stack leads to that stack in a few nanoseconds and without
//! a lock, that a stack costs no mapping of its own where the kernel can help it, and that running
//! out is an error with a text that says what to do.
//!
//! ```text
//!  base                                                                    base + len
//!  | region 0 (1 GiB)        | region 1               | region 2 | ...            |
//!  | 272 KiB | 272 KiB | ... | 80 KiB | 80 KiB | ...  | 272 KiB  | not yet used   |
//!       |
//!       |  one slot:
//!       |  low                                                              high = top
//!       |  +-----------+-------------------------------------------+--------+
//!       +->|  guard    |  usable: the stack, which grows this way  | header |
//!          |  16 KiB   |  <------------------------------- base    |        |
//!          +-----------+-------------------------------------------+--------+
//! ```
//!
//! The whole range is reserved at once and never given back. Each region is made usable when it is
//! first needed and from then on serves slots of one size. Slots are carved off it one by one, get
//! their guard, and are handed out and taken back through a list of free ones (`books.rs`).
//!
//! # Invariants
//!
//! * A1: `base` and `len` change once, from "nothing" to what was reserved; the range stays
//!   reserved for the life of the process.
//! * A2: A region's slot size changes once, from 0, before its first slot exists. From then on all
//!   of the region outside its guards is readable and writable, for ever.
//! * A3: A slot has at most one owner: a [`Stack`], or the free list, and a leaked `Stack` keeps
//!   it.
//! * A4: The guard of a slot is installed before the slot is first handed out, and is never
//!   removed.
//!
//! The range and the table of slot sizes are the one process-wide state of goroutines. It holds no
//! scheduling state: no decision of the runtime depends on it, so no checker has to see it. Its
//! lock is held for a few instructions (and the one call that installs a guard), never across a
//! switch.
//!
//! Rejected: aligned slots of a power of two, whose owner a mask would find. The stacks' tops then
//! compete for the same cache sets, and sizes in between waste half of the range; the division
//! costs less than either.
//!
//! Tested in `arena_test.rs`, which has arenas of its own.

use std::io;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicUsize};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::books::Books;
use super::stack::{Extent, Stack, StackSize};
use crate::platform::Errno;
use crate::platform::os::memory;

/// How much is reserved if the system allows it: sixteen million default stacks.
const LEN_MAX: usize = 4 << 40;
/// The least that is useful: room for stacks of two sizes.
const LEN_MIN: usize = 2 * REGION_LEN;
/// The unit that has one slot size. Large, so that the table is small and there are few mappings
/// where they cannot be merged; it holds at least three slots of the largest size.
const REGION_LEN: usize = 1 << 30;
const REGIONS_MAX: usize = LEN_MAX / REGION_LEN;
/// Rust touches every page of a frame in order, so one page would do for Rust. C compiled without
/// stack probes jumps further; this catches frames of up to 16 KiB, and costs addresses only.
const GUARD_LEN: usize = 16 << 10;

const _: () = {
    assert!(usize::BITS == 64, "it takes a large address space");
    assert!(LEN_MAX.is_multiple_of(REGION_LEN));
    // Slot sizes and offsets in a region are stored in 32 bits.
    assert!(REGION_LEN <= u32::MAX as usize);
    assert!(3 * (GUARD_LEN + StackSize::MAX) <= REGION_LEN);
};

static ARENA: Arena = Arena::new(LEN_MAX, Guards::Marks);

/// The arena of this process.
pub(super) fn arena() -> &'static Arena {
    &ARENA
}

/// The slot that `addr` is in, if it is in the arena of this process.
#[inline]
pub(super) fn slot_of(addr: usize) -> Option<Slot> {
    ARENA.slot_of(addr)
}

/// Where one stack and its guard are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    /// The lowest address, where the guard begins.
    pub(super) start: usize,
    /// The end, behind the header.
    pub(super) top: usize,
}

impl Slot {
    /// Where the guard ends and the stack may begin to be used.
    pub(super) fn floor(self) -> usize {
        self.start + guard_len()
    }

    /// Bytes that are not guard.
    pub(super) fn usable(self) -> usize {
        self.top - self.floor()
    }
}

/// How guards are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guards {
    /// As marks in the page table, which cost no mapping.
    Marks,
    /// By taking the access rights away, where the kernel has no marks.
    Rights,
}

/// A range of addresses, cut into regions and slots.
pub(super) struct Arena {
    /// The lowest address; 0 before anything is reserved. Written with release after `len`, so that
    /// whoever sees it with acquire sees the length too.
    base: AtomicUsize,
    len: AtomicUsize,
    /// Bytes in a slot of each region; 0 for one that is not in use (A2).
    slot_lens: [AtomicU32; REGIONS_MAX],
    /// How much to reserve at most.
    len_max: usize,
    books: Mutex<Books>,
}

impl Arena {
    /// An arena that will reserve at most `len_max` bytes, and nothing before the first stack.
    pub(super) const fn new(len_max: usize, guards: Guards) -> Arena {
        Arena {
            base: AtomicUsize::new(0),
            len: AtomicUsize::new(0),
            slot_lens: [const { AtomicU32::new(0) }; REGIONS_MAX],
            len_max,
            books: Mutex::new(Books::new(guards)),
        }
    }

    /// The slot that `addr` is in. Any address may be asked about, from anywhere, even from a
    /// signal handler.
    #[inline]
    pub(super) fn slot_of(&self, addr: usize) -> Option<Slot> {
        let base = self.base.load(Acquire);
        let offset = addr.wrapping_sub(base);
        // The length was written before the base, whose acquire brings it along; without a base it says
        // nothing yet.
        if base == 0 || offset >= self.len.load(Relaxed) {
            return None;
        }
        let slot_len = self.slot_lens[offset / REGION_LEN].load(Acquire);
        let in_region = (offset % REGION_LEN) as u32;
        let index = in_region.checked_div(slot_len)?;
        let start = base + offset - (in_region - index * slot_len) as usize;
        let top = start + slot_len as usize;
        // What is left at the end of a region is too short for a slot.
        let region_end = base + (offset / REGION_LEN + 1) * REGION_LEN;
        (top <= region_end).then_some(Slot { start, top })
    }

    /// A stack of the given size: one that was given back, or a new one.
    ///
    /// # Errors
    /// `OutOfMemory` when there is no room for another one, in addresses or in mappings.
    pub(super) fn stack(&'static self, size: StackSize) -> io::Result<Stack> {
        let mut books = self.books();
        let class = books.class(size.get());
        let top = match books.classes[class].free.pop() {
            Some(top) => top,
            None => self.carve(&mut books, class)?,
        };
        drop(books);
        // SAFETY: the slot came from the free list or has just been made, so it has no owner (A3);
        // it is usable (A2) and guarded (A4).
        Ok(unsafe { Stack::from_slot(self, top, size.get()) })
    }

    /// Takes a slot back.
    ///
    /// # Safety
    /// The caller is the owner of this slot of this arena, and gives it up; nothing on it is alive.
    pub(super) unsafe fn give_back(&self, extent: Extent) {
        if self.books().put_warm(extent) {
            return;
        }
        // SAFETY: the caller owns the slot, which is not in a free list yet, and nothing on it is
        // alive. The call may take a microsecond, so the lock is not held.
        unsafe { extent.trim() };
        self.books().put(extent);
    }

    /// Makes a slot that has not existed before.
    fn carve(&self, books: &mut Books, class: usize) -> io::Result<usize> {
        let usable = books.classes[class].usable;
        let slot_len = guard_len() + usable;
        if books.classes[class].end - books.classes[class].next < slot_len {
            let start = self.open_region(books, slot_len)?;
            books.classes[class].next = start;
            books.classes[class].end = start + REGION_LEN;
        }
        let start = books.classes[class].next;
        self.guard(books, start)?;

        let class = &mut books.classes[class];
        class.next += slot_len;
        class.made += 1;
        let missing = class.made - class.free.len();
        class.free.reserve(missing);
        Ok(start + slot_len)
    }

    /// The start of a region that has been made usable for slots of this size.
    fn open_region(&self, books: &mut Books, slot_len: usize) -> io::Result<usize> {
        let base = self.reserved(books, slot_len)?;
        let index = books.regions_used;
        if (index + 1) * REGION_LEN > self.len.load(Relaxed) {
            return Err(self.exhausted(books, slot_len));
        }
        let start = base + index * REGION_LEN;
        // SAFETY: the region is inside the reserved range (A1), and has not been used: its number
        // is the one that comes next.
        unsafe { memory::make_usable(start, REGION_LEN) }.map_err(|errno| {
            out_of_memory(format!(
                "cannot make 1 GiB of address space usable for goroutine stacks ({errno}): raise \
                 the limit on data (ulimit -d) or, with vm.overcommit_memory=2, the commit limit"
            ))
        })?;
        books.regions_used += 1;
        self.slot_lens[index].store(slot_len as u32, Release);
        Ok(start)
    }

    /// The lowest address of the range; reserves it first if need be. Whoever has the books is the only
    /// one who writes it: only those without them need the release.
    fn reserved(&self, books: &Books, slot_len: usize) -> io::Result<usize> {
        let base = self.base.load(Relaxed);
        if base != 0 {
            return Ok(base);
        }
        let mut len = self.len_max;
        while len >= LEN_MIN {
            if let Ok(base) = memory::reserve(len) {
                self.len.store(len, Relaxed);
                self.base.store(base, Release);
                return Ok(base);
            }
            len /= 2;
        }
        Err(self.exhausted(books, slot_len))
    }

    /// Installs the guard of a slot that begins at `start`.
    fn guard(&self, books: &mut Books, start: usize) -> io::Result<()> {
        if books.guards == Guards::Marks {
            // SAFETY: the slot is new and usable, and its guard belongs to nobody.
            match unsafe { memory::guard_by_mark(start, guard_len()) } {
                Ok(()) => return Ok(()),
                // This kernel has no marks, or memory is locked (`mlockall`) and cannot have them.
                Err(Errno::EINVAL) => books.guards = Guards::Rights,
                Err(errno) => {
                    let text = format!("cannot install the guard of a goroutine stack: {errno}");
                    return Err(out_of_memory(text));
                }
            }
        }
        // SAFETY: as above.
        unsafe { memory::guard_by_rights(start, guard_len()) }.map_err(|errno| {
            let stacks = books.inventory();
            out_of_memory(format!(
                "cannot install the guard of a goroutine stack: {errno}; there are {stacks}, and \
                 on this kernel each costs two of the mappings that vm.max_map_count limits: raise it \
                 (sysctl vm.max_map_count=1000000), or use Linux 6.13, which needs none"
            ))
        })
    }

    fn exhausted(&self, books: &Books, slot_len: usize) -> io::Error {
        let stacks = books.inventory();
        let size = StackSize::text(slot_len - guard_len());
        let len = self.len.load(Relaxed);
        if len == 0 {
            return out_of_memory(format!(
                "cannot reserve even {} of address space for goroutine stacks: raise the limit on \
                 it (ulimit -v)",
                StackSize::text(LEN_MIN)
            ));
        }
        out_of_memory(format!(
            "no room for another goroutine stack of {size}: there are {stacks} in {} of address \
             space; run fewer goroutines at a time, give them smaller stacks \
             (Builder::stack_size), or raise the limit on address space (ulimit -v)",
            StackSize::text(len)
        ))
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes all guards from here on as kernels without marks do.
    #[cfg(test)]
    pub(super) fn forget_marks(&self) {
        self.books().guards = Guards::Rights;
    }
}

/// Bytes of guard below each stack: whole pages.
fn guard_len() -> usize {
    GUARD_LEN.next_multiple_of(memory::page_size())
}

#[cold]
fn out_of_memory(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::OutOfMemory, text)
}

#[cfg(test)]
#[path = "arena_test.rs"]
mod tests;
