//! The header at the very top of a stack: whose stack this is, and how to switch away from it.
//!
//! It is what makes "who is running" a matter of the stack's address. It shares the top page with
//! the first frames, so it costs no memory of its own.
//!
//! # Who may touch it
//!
//! * H1: `live` is `LIVE` exactly while `facts` hold a value. Memory of a new slot is zero, which
//!   reads as not live.
//! * H2: A header becomes live and ceases to be live through the owner of its [`Stack`], while
//!   nothing runs on that stack.
//! * H3: Everybody else who reads it runs on that very stack, or is a signal handler that
//!   interrupted what runs there. So no two threads ever touch a header at the same time without
//!   having synchronised through the ownership of the stack.
//!
//! [`Stack`]: super::Stack

use std::cell::{Cell, UnsafeCell};
use std::fmt;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use corosensei::Yielder;

use super::{Commit, Current};

/// Any other value, zero above all, means that there is no goroutine.
const LIVE: u32 = 0x676f_7275;

/// Switches back to whoever resumed the fiber.
pub(super) type FiberYielder = Yielder<(), Commit>;

/// What is kept for a goroutine.
pub(super) struct Facts {
    pub(super) current: Current,
    pub(super) id: u64,
    pub(super) name: Option<Arc<str>>,
}

/// The top of a slot.
#[repr(C, align(16))]
pub(super) struct Header {
    /// H1. Atomic because a signal handler reads it; it orders nothing between threads (H3).
    live: AtomicU32,
    /// Null until the fiber has started.
    yielder: Cell<*const FiberYielder>,
    facts: UnsafeCell<MaybeUninit<Facts>>,
}

const _: () = {
    // The base of the stack lies below the header and has to be aligned as a stack pointer.
    assert!(size_of::<Header>().is_multiple_of(corosensei::stack::STACK_ALIGNMENT));
    assert!(
        size_of::<Header>() <= 128,
        "the header takes this much of every goroutine's only page"
    );
};

impl Header {
    /// The header of the slot that ends at `top`.
    ///
    /// # Safety
    /// The slot is usable, and the caller is one of those whom H2 and H3 allow, for `'a`.
    #[inline]
    pub(super) unsafe fn at_top<'a>(top: usize) -> &'a Header {
        let header = ptr::with_exposed_provenance::<Header>(top - size_of::<Header>());
        // SAFETY: the memory is usable (A2), aligned since slots end at pages and the size is a
        // multiple of the alignment, and zero is a valid header. The caller vouches for `'a`.
        unsafe { &*header }
    }

    /// Fills it in.
    ///
    /// # Safety
    /// The caller owns the stack, nothing runs on it, and the header is not live (H2).
    pub(super) unsafe fn enter(&self, facts: Facts) {
        debug_assert!(self.facts().is_none(), "H2: a stack was given to two goroutines");
        self.yielder.set(ptr::null());
        // SAFETY: nobody else looks at it (H2), and there is no value in it to lose (H1).
        unsafe { self.facts.get().write(MaybeUninit::new(facts)) };
        self.live.store(LIVE, Ordering::Release);
    }

    /// Empties it.
    ///
    /// # Safety
    /// The caller owns the stack and nothing runs on it (H2).
    pub(super) unsafe fn leave(&self) -> Option<Facts> {
        if self.live.swap(0, Ordering::Acquire) != LIVE {
            return None;
        }
        self.yielder.set(ptr::null());
        // SAFETY: nobody else looks at it (H2).
        let facts = unsafe { self.facts.get().read() };
        // SAFETY: it was live, so there was a value (H1), and there is none any more.
        Some(unsafe { facts.assume_init() })
    }

    /// What is kept for the goroutine, if there is one.
    #[inline]
    pub(super) fn facts(&self) -> Option<&Facts> {
        if self.live.load(Ordering::Acquire) != LIVE {
            return None;
        }
        // SAFETY: nobody writes while this header is borrowed, since the owner of the stack does so
        // only while nothing runs on it (H2), and other readers are on the stack (H3).
        let facts = unsafe { &*self.facts.get() };
        // SAFETY: it is live (H1).
        Some(unsafe { facts.assume_init_ref() })
    }

    /// Remembers how to switch away. The fiber does this as the first thing on its stack.
    pub(super) fn set_yielder(&self, yielder: &FiberYielder) {
        self.yielder.set(yielder);
    }

    /// How to switch away; null when the fiber has not started.
    #[inline]
    pub(super) fn yielder(&self) -> *const FiberYielder {
        self.yielder.get()
    }
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.facts().map(|facts| facts.id);
        f.debug_struct("Header").field("id", &id).finish_non_exhaustive()
    }
}
