//! A stack of the arena that somebody owns, its size, and how much of it was used.

use std::fmt;
use std::io;
use std::mem;

use super::arena::{self, Arena};
use super::header::Header;
use crate::platform::os::memory;

/// The top part of a stack that keeps its memory when the rest is trimmed. Most goroutines never
/// leave it.
const KEEP_LEN: usize = 16 << 10;

/// A valid size of a stack: a whole number of pages within limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StackSize(usize);

impl StackSize {
    /// The smallest stack: less than this does not hold a formatted panic message.
    pub const MIN: usize = 16 << 10;
    /// The largest stack: a thread does not usually get as much.
    pub const MAX: usize = 256 << 20;
    /// What a goroutine gets when nobody says. It is address space; only touched pages are memory.
    pub const DEFAULT: usize = 256 << 10;

    /// At least `bytes`, rounded up to whole pages.
    ///
    /// # Errors
    /// `InvalidInput` when it is below [`MIN`](StackSize::MIN) or above [`MAX`](StackSize::MAX).
    pub fn new(bytes: usize) -> io::Result<StackSize> {
        if !(StackSize::MIN..=StackSize::MAX).contains(&bytes) {
            let (min, max) = (StackSize::text(StackSize::MIN), StackSize::text(StackSize::MAX));
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("a goroutine stack of {bytes} bytes: it must have {min} to {max}"),
            ));
        }
        Ok(StackSize(bytes.next_multiple_of(memory::page_size())))
    }

    /// The size in bytes.
    #[must_use]
    pub fn get(self) -> usize {
        self.0
    }

    /// A size as people say it: `256 KiB`.
    pub(super) fn text(bytes: usize) -> String {
        let (count, unit) = StackSize::in_units(bytes);
        format!("{count} {unit}")
    }

    /// The largest unit that divides a size, and how many of it.
    pub(super) fn in_units(bytes: usize) -> (usize, &'static str) {
        let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
        for (shift, unit) in units {
            if bytes >= 1 << shift && bytes.trailing_zeros() >= shift {
                return (bytes >> shift, unit);
            }
        }
        (bytes, "bytes")
    }
}

/// A stack that nobody else uses. Dropping it makes it available again; a leaked one is never
/// reused.
pub struct Stack {
    arena: &'static Arena,
    /// The end of the slot, behind the header.
    top: usize,
    usable: usize,
}

impl Stack {
    /// A stack of at least `bytes` bytes, less the header (about a hundred).
    ///
    /// # Errors
    /// `InvalidInput` when the size is out of range, `OutOfMemory` when there is no room for
    /// another stack; the text says what to do.
    pub fn new(bytes: usize) -> io::Result<Stack> {
        arena::arena().stack(StackSize::new(bytes)?)
    }

    /// The stack in a slot of an arena.
    ///
    /// # Safety
    /// The slot is usable, guarded and has no other owner (A2, A3, A4).
    pub(super) unsafe fn from_slot(arena: &'static Arena, top: usize, usable: usize) -> Stack {
        Stack { arena, top, usable }
    }

    /// Its size, header included.
    #[must_use]
    pub fn size(&self) -> usize {
        self.usable
    }

    /// Where it is: for those who want to know later how much of it was used.
    #[must_use]
    pub fn extent(&self) -> Extent {
        Extent { top: self.top, usable: self.usable }
    }

    /// Bytes from the top down to the deepest page that was touched. See [`Extent::used`].
    #[must_use]
    pub fn used(&self) -> usize {
        self.extent().used()
    }

    /// The header at its top. What may be done with it is in the module docs of `header.rs`.
    pub(super) fn header(&self) -> &Header {
        // SAFETY: the slot is usable (A2) and is ours (A3) as long as the reference lives.
        unsafe { Header::at_top(self.top) }
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: a `Stack` is the owner of its slot (A3) and ends here. Nothing on it is alive: a
        // fiber owns the stack that it runs on, and one that is suspended leaks it.
        unsafe { self.arena.give_back(self.extent()) };
    }
}

impl fmt::Debug for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stack({} at {:#x})", StackSize::text(self.usable), self.top - self.usable)
    }
}

// SAFETY: the memory between the guard and the header belongs to this value alone (A3), it is
// larger than corosensei's minimum (`StackSize::MIN`), and there is a guard below it (A4).
unsafe impl corosensei::stack::Stack for Stack {
    fn base(&self) -> corosensei::stack::StackPointer {
        let base = self.top - mem::size_of::<Header>();
        corosensei::stack::StackPointer::new(base).expect("A1: the arena is not at address 0")
    }

    fn limit(&self) -> corosensei::stack::StackPointer {
        let slot = self.arena.slot_of(self.top - 1).expect("A2: a stack is in a slot");
        corosensei::stack::StackPointer::new(slot.start).expect("A1: the arena is not at address 0")
    }
}

/// Where a stack is. Only a place: nothing keeps the stack alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    pub(super) top: usize,
    pub(super) usable: usize,
}

impl Extent {
    /// The size of the stack, header included.
    #[must_use]
    pub fn size(self) -> usize {
        self.usable
    }

    /// Bytes from the top down to the deepest page that was touched: the high-water mark, in whole
    /// pages. It never says less than the goroutine has used (unless pages were swapped out). It
    /// may say more, because a stack that is reused soon keeps its memory: then it is the mark of
    /// those who had the stack before.
    ///
    /// Any thread may ask at any time; the answer about a running goroutine is a moment old.
    #[must_use]
    pub fn used(self) -> usize {
        /// Pages in one question: 1 MiB of stack.
        const PAGES: usize = 256;
        let page = memory::page_size();
        let mut start = self.top - self.usable;
        while start < self.top {
            let mut pages = [0; PAGES];
            let count = ((self.top - start) / page).min(PAGES);
            memory::residency(start, &mut pages[..count], page);
            if let Some(deepest) = pages[..count].iter().position(|&page| page != 0) {
                return self.top - (start + deepest * page);
            }
            start += count * page;
        }
        0
    }

    /// Gives the deep part of a stack back to the system if it was used.
    ///
    /// One look at one page tells: frames touch their pages in order, so the first page below the
    /// part that is kept has been touched if any deeper one has. (C without stack probes may skip
    /// it; then memory stays resident that could have been given back, and nothing worse.) The look
    /// is one call, of about a microsecond, which only stacks that come back in a burst pay.
    ///
    /// Rejected: a canary in each page, since writing it makes the page resident, which is what is
    /// to be avoided; and reading whether the page is still zero, since that maps the zero page,
    /// which then counts as used, and a frame may well have left zeros.
    ///
    /// # Safety
    /// The caller owns the slot, and nothing on it is alive.
    pub(super) unsafe fn trim(self) {
        let Extent { top, usable } = self;
        let page = memory::page_size();
        let keep = KEEP_LEN.next_multiple_of(page);
        if usable <= keep {
            return;
        }
        let mut touched = [0];
        memory::residency(top - keep - page, &mut touched, page);
        if touched[0] != 0 {
            // SAFETY: this is the stack without its guard and without the part that is kept; it is
            // usable (A2), and the caller does not need its contents.
            unsafe { memory::discard(top - usable, usable - keep) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_whole_pages_within_limits() {
        let page = memory::page_size();
        for (bytes, size) in [
            (StackSize::MIN, StackSize::MIN),
            (StackSize::MIN + 1, StackSize::MIN + page),
            (StackSize::DEFAULT, StackSize::DEFAULT),
            (StackSize::MAX, StackSize::MAX),
        ] {
            assert_eq!(StackSize::new(bytes).unwrap().get(), size);
        }
        for bytes in [0, 1, StackSize::MIN - 1, StackSize::MAX + 1, usize::MAX] {
            let error = StackSize::new(bytes).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            let text =
                format!("a goroutine stack of {bytes} bytes: it must have 16 KiB to 256 MiB");
            assert_eq!(error.to_string(), text);
            assert_eq!(Stack::new(bytes).unwrap_err().to_string(), text);
        }
    }

    #[test]
    fn sizes_are_printed_in_the_largest_unit_that_fits() {
        for (bytes, text) in [
            (100, "100 bytes"),
            (1 << 10, "1 KiB"),
            (20 << 10, "20 KiB"),
            (256 << 20, "256 MiB"),
            ((1 << 20) + (1 << 10), "1025 KiB"),
            (4 << 40, "4 TiB"),
        ] {
            assert_eq!(StackSize::text(bytes), text);
        }
    }

    #[test]
    fn the_size_of_a_stack_counts_from_its_guard_to_its_top() {
        let stack = Stack::new(100_000).unwrap();
        let extent = stack.extent();
        let slot = arena::slot_of(extent.top - 1).unwrap();
        assert_eq!((slot.top, slot.usable()), (extent.top, extent.size()));
        assert_eq!(extent.size(), 100_000usize.next_multiple_of(memory::page_size()));
        assert_eq!(arena::slot_of(slot.start), Some(slot));
    }
}
