//! How a run ends.

use std::fmt;

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// The main thread ended.
    Finished,
    /// No thread can run, and neither a deadline nor a kernel event is pending.
    Deadlock {
        /// The threads, in the order of their creation, and what they wait for.
        blocked: Vec<Blocked>,
    },
    /// A panic left a thread.
    Panicked {
        /// The panic's message.
        message: String,
        /// Where it was raised, if the panic hook saw it: `file:line`.
        location: Option<String>,
        /// The thread's name.
        thread: String,
    },
    /// A thread of the operating system that is no part of the run used the runtime.
    Intrusion {
        /// Which, and for what.
        what: String,
    },
    /// An oracle saw what must not be.
    Violated,
    /// The run took more steps than it may.
    StepLimit,
    /// Everybody waits, and the next thing to happen lies beyond the limit of time. When threads that
    /// wake up for ever keep a deadlock from being one, this finds it.
    TimeLimit {
        /// As of a deadlock.
        blocked: Vec<Blocked>,
    },
}

/// The first panic of a run, whether or not somebody caught it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Panicked {
    /// The goroutine, if one was running.
    pub g: Option<u64>,
    /// The panic's message.
    pub message: String,
    /// Where it was raised: `file:line`.
    pub location: String,
}

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.g {
            Some(g) => write!(f, "g{g} panicked at {}: {}", self.location, self.message),
            None => write!(f, "a thread panicked at {}: {}", self.location, self.message),
        }
    }
}

/// A thread of a deadlock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// The thread's name.
    pub thread: String,
    /// What it waits for.
    pub on: String,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Finished => f.write_str("finished"),
            Outcome::Deadlock { blocked } => {
                f.write_str("deadlock:")?;
                list(f, blocked)
            }
            Outcome::Panicked { message, location, thread } => {
                write!(f, "{thread} panicked")?;
                if let Some(location) = location {
                    write!(f, " at {location}")?;
                }
                write!(f, ": {message}")
            }
            Outcome::Intrusion { what } => f.write_str(what),
            Outcome::Violated => f.write_str("stopped by an oracle"),
            Outcome::StepLimit => f.write_str("step limit reached"),
            Outcome::TimeLimit { blocked } => {
                f.write_str("time limit reached:")?;
                list(f, blocked)
            }
        }
    }
}

fn list(f: &mut fmt::Formatter<'_>, blocked: &[Blocked]) -> fmt::Result {
    let mut separator = "";
    for Blocked { thread, on } in blocked {
        write!(f, "{separator} {thread} waits for {on}")?;
        separator = ",";
    }
    Ok(())
}
