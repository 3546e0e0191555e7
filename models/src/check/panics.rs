//! Panics inside models, as the process's hook sees them.

use std::cell::{Cell, RefCell};
use std::panic;
use std::sync::Once;

use shuttle::scheduler::RandomScheduler;
use shuttle::{Config, Runner};

thread_local! {
    /// Where this thread raised a panic first, since somebody asked.
    static FIRST: RefCell<Option<String>> = const { RefCell::new(None) };
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Where this thread has raised a panic first since the last call: `file:line:column`.
pub(super) fn take_first() -> Option<String> {
    FIRST.take()
}

/// Does something, and nothing is said about panics of this thread meanwhile.
pub(super) fn quietly<R>(work: impl FnOnce() -> R) -> R {
    struct Loud;
    impl Drop for Loud {
        fn drop(&mut self) {
            IS_QUIET.set(false);
        }
    }
    IS_QUIET.set(true);
    let _loud = Loud;
    work()
}

/// Makes the process's hook report what models panic with, and nothing else.
///
/// Loom ends each of its threads by a panic whose payload is no text, which is nobody's business. Shuttle
/// puts a hook of its own in front that reports every panic of the process, loom's too, as a failed
/// schedule; it does so once, at its first run, so that run is made here and the hook taken away again.
/// Only the first call does anything.
pub(super) fn install_hook() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let before = panic::take_hook();
        let scheduler = RandomScheduler::new_from_seed(0, 1);
        Runner::new(scheduler, Config::new()).run(|| {});
        panic::set_hook(Box::new(move |info| {
            let payload = info.payload();
            if payload.is::<&str>() || payload.is::<String>() {
                let location = info.location().map(ToString::to_string);
                FIRST.with_borrow_mut(|first| *first = first.take().or(location));
                if !IS_QUIET.get() {
                    before(info);
                }
            }
        }));
    });
}
