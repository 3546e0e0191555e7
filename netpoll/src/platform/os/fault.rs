//! What a handler of memory faults needs: a stack to run on, and where the fault happened.

use std::io;
use std::marker::PhantomData;
use std::mem;
use std::ptr;

use super::memory::page_size;

/// What the handlers of the runtime, and those they pass a fault on to, may use besides the signal
/// frame. Ours needs about 1 KiB; the rest is for a stranger's that prints a backtrace.
const HANDLER_SIZE: usize = 64 << 10;
/// The entry of the auxiliary vector that says how large a signal frame is on this processor.
const AT_MINSIGSTKSZ: libc::c_ulong = 51;

/// The alternate signal stack of one thread, for as long as this lives.
///
/// `std` gives its threads one, but sized for its own handler; a thread that C has made has none.
#[derive(Debug)]
pub(crate) struct AltStack {
    /// What to unmap, and what was installed before; `None` when that was large enough.
    own: Option<(usize, usize, libc::stack_t)>,
    /// Alternate stacks belong to threads.
    not_send: PhantomData<*const ()>,
}

impl AltStack {
    /// Makes sure that the calling thread has an alternate stack that is large enough.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub(crate) fn install() -> io::Result<AltStack> {
        // SAFETY: reading the auxiliary vector involves no memory of ours; 0 if it has no such
        // entry.
        let frame = unsafe { libc::getauxval(AT_MINSIGSTKSZ) } as usize;
        let size = (frame.max(libc::MINSIGSTKSZ) + HANDLER_SIZE).next_multiple_of(page_size());
        let before = exchange(None)?;
        if before.ss_flags & libc::SS_DISABLE == 0 && before.ss_size >= size {
            return Ok(AltStack { own: None, not_send: PhantomData });
        }

        let len = size + page_size();
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping at an address of the kernel's choice replaces nothing.
        let start = unsafe { libc::mmap(ptr::null_mut(), len, access, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = start.expose_provenance();
        let own = AltStack { own: Some((start, len, before)), not_send: PhantomData };
        // SAFETY: the lowest page of a mapping made above, which nobody uses yet, becomes a guard.
        // If it does not, an overflow of the handler goes unnoticed, which is no worse than without
        // it.
        unsafe { libc::mprotect(ptr::with_exposed_provenance_mut(start), page_size(), 0) };
        exchange(Some(libc::stack_t {
            ss_sp: ptr::with_exposed_provenance_mut(start + page_size()),
            ss_flags: 0,
            ss_size: size,
        }))?;
        Ok(own)
    }
}

impl Drop for AltStack {
    fn drop(&mut self) {
        let Some((start, len, before)) = self.own.take() else {
            return;
        };
        let restored = match exchange(None) {
            // Somebody has replaced ours meanwhile: theirs stays.
            Ok(now) if now.ss_sp.addr() != start + page_size() => true,
            Ok(_) => exchange(Some(before)).is_ok(),
            Err(_) => false,
        };
        if restored {
            // SAFETY: `install` mapped this for us alone, no signal will be delivered on it any
            // more, and we do not run on it: handlers do not drop an `AltStack`.
            unsafe { libc::munmap(ptr::with_exposed_provenance_mut(start), len) };
        }
    }
}

/// Sets the alternate stack of this thread, if one is given, and returns the one from before.
fn exchange(new: Option<libc::stack_t>) -> io::Result<libc::stack_t> {
    // SAFETY: the C structure consists of a pointer, integers and padding: zero is a value of each.
    let mut before = unsafe { mem::zeroed::<libc::stack_t>() };
    let new = new.as_ref().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: `new` is null or names memory that is mapped for this purpose until it is replaced
    // (by `AltStack`, or by whoever installed it before).
    match unsafe { libc::sigaltstack(new, &raw mut before) } {
        0 => Ok(before),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The stack pointer at the time of a signal, where we know how to find it.
///
/// # Safety
/// `context` is what the kernel passed to a handler that was installed with `SA_SIGINFO`, and the
/// handler has not returned.
pub(crate) unsafe fn stack_pointer(context: *mut libc::c_void) -> Option<usize> {
    // SAFETY: the caller promises that there is such a structure, for as long as the handler runs.
    let context = unsafe { &*context.cast::<libc::ucontext_t>() };
    #[cfg(target_arch = "x86_64")]
    return Some(context.uc_mcontext.gregs[libc::REG_RSP as usize] as usize);
    #[cfg(target_arch = "aarch64")]
    return Some(context.uc_mcontext.sp as usize);
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        let _ = context;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_gets_a_large_alternate_stack_and_its_old_one_back() {
        let before = exchange(None).unwrap();
        {
            let _outer = AltStack::install().unwrap();
            let during = exchange(None).unwrap();
            assert!(during.ss_size >= HANDLER_SIZE);
            {
                let _inner = AltStack::install().unwrap();
                assert_eq!(exchange(None).unwrap().ss_sp, during.ss_sp, "large enough: kept");
            }
            assert_eq!(exchange(None).unwrap().ss_sp, during.ss_sp);
        }
        let after = exchange(None).unwrap();
        assert_eq!((after.ss_sp, after.ss_size), (before.ss_sp, before.ss_size));
    }
}
