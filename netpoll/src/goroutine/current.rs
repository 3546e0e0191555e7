//! Who is running, found by the address of the stack.
//!
//! The stack pointer leads to a region of the arena, the region's slot size to the slot, and the
//! slot's top to the header. Nothing is kept per thread: a worker may itself be a coroutine that
//! the simulator moves about, and code on a goroutine's stack may switch that outer coroutine away
//! and back without anybody here noticing.
//!
//! Anywhere else (a thread's own stack, a signal stack, a coroutine of somebody else inside a
//! goroutine) the answer is "no goroutine", never a guess.

use super::Commit;
use super::Current;
use super::arena;
use super::header::Header;

/// Calls `f` with the goroutine that the caller runs on; with `None` outside of goroutines.
#[inline]
pub fn with_current<R>(f: impl FnOnce(Option<&Current>) -> R) -> R {
    let header = header();
    let facts = header.as_ref().and_then(|header| header.header.facts());
    f(facts.map(|facts| &facts.current))
}

/// Switches to whoever resumed the fiber that the caller runs on, and returns when it is resumed
/// again.
///
/// # Panics
/// When the caller does not run on a fiber's stack.
#[inline]
pub fn suspend(commit: Commit) {
    let yielder = header().map_or(std::ptr::null(), |header| header.header.yielder());
    // SAFETY: not null, so it was stored by the fiber that runs on this stack (H3) and points to
    // the top of the same stack, where it stays until the fiber ends.
    let Some(yielder) = (unsafe { yielder.as_ref() }) else {
        panic!(
            "suspend({commit:?}) was called outside of a goroutine: there is nothing to switch to"
        );
    };
    yielder.suspend(commit);
}

/// The header of the stack that this thread runs on right now. It must not outlive the frame that
/// asked, which neither `Send` nor a lifetime can say; so it stays in this module.
struct OwnHeader {
    header: &'static Header,
    /// The header belongs to this stack (H3): it is not for other threads.
    not_send: std::marker::PhantomData<*const ()>,
}

#[inline]
fn header() -> Option<OwnHeader> {
    let slot = arena::slot_of(stack_pointer())?;
    // SAFETY: code runs on this slot's stack, so it is usable, and the code is ours (H3). The
    // callers above use it only while their own frames on that stack exist.
    let header = unsafe { Header::at_top(slot.top) };
    Some(OwnHeader { header, not_send: std::marker::PhantomData })
}

/// An address inside the current frame. It is the register where we know its name: AddressSanitizer
/// moves locals to the heap.
#[inline(always)]
fn stack_pointer() -> usize {
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    {
        let address: usize;
        #[cfg(target_arch = "x86_64")]
        // SAFETY: it copies a register and changes nothing.
        unsafe {
            std::arch::asm!("mov {}, rsp", out(reg) address,
                options(nomem, nostack, preserves_flags));
        }
        #[cfg(target_arch = "aarch64")]
        // SAFETY: it copies a register and changes nothing.
        unsafe {
            std::arch::asm!("mov {}, sp", out(reg) address,
                options(nomem, nostack, preserves_flags));
        }
        address
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        let local = 0u8;
        std::hint::black_box(&raw const local).addr()
    }
}
