//! Panics inside a run: caught, kept, and not printed.
//!
//! A panic is an expected result of a simulated run, so the process-wide hook prints nothing while a
//! run is going on on the panicking thread of the operating system, and takes down where it was raised.
//! Everywhere else the hook that was installed before decides.

use std::any::Any;
use std::cell::RefCell;
use std::panic;
use std::sync::Once;

/// What the hook saw of the last panic on this OS thread inside a run.
#[derive(Clone)]
pub(super) struct Seen {
    pub(super) message: String,
    /// `file:line`.
    pub(super) location: String,
}

thread_local! {
    static LAST: RefCell<Option<Seen>> = const { RefCell::new(None) };
}

/// Puts the hook in front of the one that is there. Only the first call does anything.
pub(super) fn install_hook() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if super::with(|engine| engine.is_none()) {
                return previous(info);
            }
            let location = info.location();
            let seen = Seen {
                message: text(info.payload()),
                location: location
                    .map_or_else(String::new, |at| format!("{}:{}", at.file(), at.line())),
            };
            super::with(|engine| engine.map(|engine| engine.record_panic(&seen)));
            LAST.set(Some(seen));
        }));
    });
}

/// The message of a payload, and where it was raised if that was the last panic here.
pub(super) fn describe(payload: &(dyn Any + Send)) -> (String, Option<String>) {
    let message = text(payload);
    let seen = LAST.take().filter(|seen| seen.message == message);
    (message, seen.map(|seen| seen.location))
}

fn text(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&'static str>() {
        return (*text).to_string();
    }
    match payload.downcast_ref::<String>() {
        Some(text) => text.clone(),
        None => "a payload that is not text".to_string(),
    }
}
