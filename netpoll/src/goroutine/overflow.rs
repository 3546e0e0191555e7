//! The report of a stack overflow: which goroutine, how large its stack was, and what to do.
//!
//! A frame that does not fit runs into the guard of its slot, and the kernel sends `SIGSEGV`. The
//! handler here runs on the thread's alternate signal stack, since the other one is full, and looks
//! up the address of the fault in the arena. If it lies in a guard, and the thread was running on
//! that very slot, it prints one line and aborts. Every other fault goes to the handler from before
//! (`std`'s, which reports the overflow of a thread), unchanged.
//!
//! * V1: The handler uses async-signal-safe means only: atomic loads, `write` and `abort`. It
//!   neither allocates nor locks; the line is put together in a buffer on its own stack.
//! * V2: It reads the header of a stack only when the interrupted code ran on that stack (H3).
//! * V3: What was installed before is known before the handler is installed, and never changes.
//!
//! The handlers are process-wide because signals are, and stay installed; the alternate stack
//! belongs to a thread. Tested in `overflow_test.rs`, by child processes that overflow on purpose.

use std::io;
use std::mem;
use std::ptr;
use std::sync::{Mutex, OnceLock, PoisonError};

use super::arena::{self, Slot};
use super::header::Header;
use super::stack::StackSize;
use crate::platform::os::fault::{self, AltStack};

/// The faults of a guard: `SIGSEGV` on Linux, `SIGBUS` on some others.
const SIGNALS: [libc::c_int; 2] = [libc::SIGSEGV, libc::SIGBUS];

/// Reports of stack overflows by one thread, as long as this lives.
#[derive(Debug)]
#[must_use = "dropping it ends the reports of this thread"]
pub struct OverflowGuard {
    _stack: AltStack,
}

/// Makes the calling thread report the overflow of goroutine stacks that it runs.
///
/// # Errors
/// When there is no memory for an alternate signal stack, or the handler cannot be installed.
pub fn install_for_thread() -> io::Result<OverflowGuard> {
    let stack = AltStack::install()?;
    install_handlers()?;
    Ok(OverflowGuard { _stack: stack })
}

/// What the signals did before, in the order of `SIGNALS` (V3).
static BEFORE: OnceLock<[libc::sigaction; 2]> = OnceLock::new();

fn install_handlers() -> io::Result<()> {
    static INSTALLED: Mutex<bool> = Mutex::new(false);
    let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
    if *installed {
        return Ok(());
    }
    let before = [action(SIGNALS[0], None)?, action(SIGNALS[1], None)?];
    BEFORE.get_or_init(|| before);
    // SAFETY: the C structure consists of integers and a nullable function: zero is a value of
    // each, and means an empty mask.
    let mut new = unsafe { mem::zeroed::<libc::sigaction>() };
    let handler: extern "C" fn(_, _, _) = handler;
    new.sa_sigaction = handler as usize;
    new.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    for signal in SIGNALS {
        action(signal, Some(&new))?;
    }
    *installed = true;
    Ok(())
}

/// Sets what a signal does, if something is given, and returns what it did.
fn action(signal: libc::c_int, new: Option<&libc::sigaction>) -> io::Result<libc::sigaction> {
    // SAFETY: as in `install_handlers`.
    let mut before = unsafe { mem::zeroed::<libc::sigaction>() };
    let new = new.map_or(ptr::null(), ptr::from_ref);
    // SAFETY: `new` is null, our handler, or what was installed before us.
    match unsafe { libc::sigaction(signal, new, &raw mut before) } {
        0 => Ok(before),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Runs on the alternate stack of the thread that faulted (V1).
extern "C" fn handler(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes what belongs to this signal, for as long as the handler runs.
    if let Some(slot) = unsafe { overflown(info, context) } {
        report(slot);
    }
    // SAFETY: as above; we pass on what we were passed.
    unsafe { chain(signal, info, context) };
}

/// The slot whose stack has overflowed, if that is what the fault means.
///
/// # Safety
/// The arguments are those of a handler that has not returned.
unsafe fn overflown(info: *mut libc::siginfo_t, context: *mut libc::c_void) -> Option<Slot> {
    // SAFETY: the caller promises that it is there.
    let info = unsafe { &*info };
    if info.si_code <= 0 {
        return None; // sent by `kill`: there is no address
    }
    // SAFETY: these two signals, sent by the kernel, carry an address.
    let addr = unsafe { info.si_addr() }.addr();
    let slot = arena::slot_of(addr).filter(|slot| addr < slot.floor())?;
    // A wild pointer may hit the guard of a stack that another thread is using (V2). An overflow
    // has the stack pointer in the slot, or, before a large frame is probed, a guard's length
    // below.
    // SAFETY: the caller promises that it is the context of this signal.
    let Some(stack_pointer) = (unsafe { fault::stack_pointer(context) }) else {
        return Some(slot);
    };
    let guard_len = slot.floor() - slot.start;
    let near = slot.start - guard_len..=slot.top;
    near.contains(&stack_pointer).then_some(slot)
}

/// Prints the line and ends the process; returns if there is no goroutine on the slot.
fn report(slot: Slot) {
    // SAFETY: the interrupted code ran on this slot (V2, H3), which is usable.
    let header = unsafe { Header::at_top(slot.top) };
    let Some(facts) = header.facts() else {
        return;
    };
    let mut line = Line::default();
    line.push("netpoll: goroutine ");
    line.push_number(facts.id);
    if let Some(name) = &facts.name {
        line.push(" '");
        line.push(name);
        line.push("'");
    }
    line.push(" overflowed its ");
    let (count, unit) = StackSize::in_units(slot.usable());
    line.push_number(count as u64);
    line.push(" ");
    line.push(unit);
    line.push(" stack; give it more with Builder::stack_size\n");
    line.print();
    // SAFETY: it may be called from a handler, and does not return.
    unsafe { libc::abort() };
}

/// Does with the signal what would have been done without us.
///
/// # Safety
/// The arguments are those of a handler that has not returned.
unsafe fn chain(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let before = BEFORE.get().map(|before| before[usize::from(signal != SIGNALS[0])]);
    match before {
        Some(before)
            if before.sa_sigaction != libc::SIG_DFL && before.sa_sigaction != libc::SIG_IGN =>
        {
            if before.sa_flags & libc::SA_SIGINFO != 0 {
                type Informed = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);
                // SAFETY: it is neither of the two special values, and its flags say that this is
                // its type.
                let handler = unsafe { mem::transmute::<usize, Informed>(before.sa_sigaction) };
                handler(signal, info, context);
            } else {
                type Simple = extern "C" fn(libc::c_int);
                // SAFETY: as above.
                let handler = unsafe { mem::transmute::<usize, Simple>(before.sa_sigaction) };
                handler(signal);
            }
        }
        // Nobody handles it. The instruction faults again on return, and this time it is fatal;
        // ignoring a fault means the same to the kernel.
        _ => {
            // SAFETY: the default action refers to no code and no memory.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
            // SAFETY: the caller promises that it is there.
            if unsafe { (*info).si_code } <= 0 {
                // A signal that somebody sent does not come again by itself.
                // SAFETY: no memory is involved; it is delivered when this handler returns.
                unsafe { libc::raise(signal) };
            }
        }
    }
}

/// A line of text in a fixed buffer (V1). What does not fit is cut off.
struct Line {
    bytes: [u8; Line::LEN_MAX],
    len: usize,
}

impl Default for Line {
    fn default() -> Line {
        Line { bytes: [0; Line::LEN_MAX], len: 0 }
    }
}

impl Line {
    /// Enough for our words and a name of two hundred bytes.
    const LEN_MAX: usize = 384;
    /// A longer name is cut, so that the words after it are there.
    const PART_MAX: usize = 200;

    fn push(&mut self, part: &str) {
        for &byte in part.as_bytes().iter().take(Line::PART_MAX) {
            if let Some(room) = self.bytes.get_mut(self.len) {
                *room = byte;
                self.len += 1;
            }
        }
    }

    fn push_number(&mut self, mut number: u64) {
        let mut digits = [b'0'; 20];
        let mut start = digits.len();
        loop {
            start -= 1;
            digits[start] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        self.push(std::str::from_utf8(&digits[start..]).unwrap_or_default());
    }

    fn print(&self) {
        // SAFETY: the call reads bytes of a local. Nothing can be done if it fails.
        unsafe { libc::write(libc::STDERR_FILENO, self.bytes.as_ptr().cast(), self.len) };
    }
}

#[cfg(test)]
#[path = "overflow_test.rs"]
mod tests;
