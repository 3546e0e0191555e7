//! The run that takes its process along: a stack overflow, `abort`, a panic inside a panic.
//!
//! Nobody reports after that, so a handler of SIGABRT, which all of these come to, says which seed of which test ran
//! on the thread that aborts. It does only what signal-safety(7) allows: it reads a thread-local value, formats a number
//! into its own frame and writes.

use std::cell::Cell;
use std::io::Write as _;
use std::mem;
use std::ptr;
use std::sync::Once;

thread_local! {
    /// What runs on this thread: the seed, and the text around it. Initialised at compile time and without a
    /// destructor, so that reading it is one load.
    static RUNNING: Cell<Option<(Option<u64>, &'static str)>> = const { Cell::new(None) };
}

/// This thread begins a run. `words` are the test's name, and the command that runs it again: one line that is whole, or
/// two between which the seed comes.
pub(super) fn begin(seed: Option<u64>, words: &'static str) {
    RUNNING.set(Some((seed, words)));
}

/// The run is over.
pub(super) fn end() {
    RUNNING.set(None);
}

/// Installs the handler, where there is none.
pub(super) fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // SAFETY: all zeros are a valid `sigaction`: no flags, an empty mask, the default action.
        let mut before: libc::sigaction = unsafe { mem::zeroed() };
        // SAFETY: a null pointer asks for the present action only, and `before` is there to be written to.
        let asked = unsafe { libc::sigaction(libc::SIGABRT, ptr::null(), &mut before) };
        if asked != 0 || before.sa_sigaction != libc::SIG_DFL {
            // Somebody else has a use for it.
            return;
        }
        // SAFETY: as above.
        let mut action: libc::sigaction = unsafe { mem::zeroed() };
        action.sa_sigaction = on_abort as extern "C" fn(libc::c_int) as libc::sighandler_t;
        // On the alternate stack, where the thread has one: its own may have overflowed.
        action.sa_flags = libc::SA_ONSTACK;
        // SAFETY: the handler has the signature of one without SA_SIGINFO, and is async-signal-safe.
        unsafe { libc::sigaction(libc::SIGABRT, &action, ptr::null_mut()) };
    });
}

/// `abort` raises the signal again with the default action when this returns.
extern "C" fn on_abort(_signal: libc::c_int) {
    let Some((seed, words)) = RUNNING.get() else { return };
    let mut parts = words.splitn(3, '\n');
    let mut next = || parts.next().unwrap_or_default();
    let (name, before, after) = (next(), next(), next());
    let mut digits = [0; 20];
    let (comma, seed) = match seed {
        Some(seed) => (", seed ", decimal(seed, &mut digits)),
        None => ("", ""),
    };
    let start = "\nnetpoll-sim: the process ends in ";
    let all = [start, name, comma, seed, "; to see it again:\n  ", before, seed, after, "\n"];
    for text in all {
        // SAFETY: the pointer and the length are those of a slice that lives.
        unsafe { libc::write(libc::STDERR_FILENO, text.as_ptr().cast(), text.len()) };
    }
}

/// A number in decimal. Formatting an integer neither allocates nor locks.
fn decimal(number: u64, digits: &mut [u8; 20]) -> &str {
    let mut room = &mut digits[..];
    // 20 digits have room for any.
    let _fits = write!(room, "{number}");
    let len = 20 - room.len();
    str::from_utf8(&digits[..len]).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_in_decimal() {
        for number in [0, 7, 10, 4_711, u64::MAX] {
            assert_eq!(decimal(number, &mut [0; 20]), number.to_string());
        }
    }
}
