//! Programs that the explorer runs, each written to hunt one kind of race.
//!
//! A body is an ordinary program over `netpoll::{go, net, sync, time}`: nothing in it knows of the
//! simulator, and the tests here run each one on the real kernel as well. It states what it demands
//! with assertions; that it ends, wakes everybody up and leaves nothing open is demanded of all.
//!
//! To add one: copy the nearest file, add it to [`all`], and plant the bug that it is to find in a
//! scratch copy of the runtime to see that it does.

mod common;

mod accept_storm;
mod accept_while_short;
mod all_busy;
mod blocking_calls;
mod break_storm;
mod broken;
mod channel_timeout;
mod close_vs_accept;
mod close_vs_read;
mod close_vs_write;
mod connect_refused;
mod connect_timeout;
mod cpu_beside_io;
mod deadline_moves;
mod deadline_split;
mod deadline_vs_ready;
mod duplex;
mod echo;
mod fd_reuse;
mod half_close;
mod late_accept;
mod listen_again;
mod lock_handoff;
mod lossy_connections;
mod pipe_reader_gone;
mod proxy;
mod reset_midstream;
mod shared_reader;
mod short_connections;
mod shutdown;
mod slow_reader;
mod spawn_storm;
mod timeouts;
mod udp_exchange;
mod unix_datagrams;
mod unix_streams;
mod wait_ready;
mod worker_count;
mod world_stops;

use std::fmt;
use std::panic::RefUnwindSafe;
use std::path::PathBuf;
use std::sync::LazyLock;

use netpoll::Runtime;

use crate::{Faults, Granularity};

/// A program to explore.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What it is called on the command line and in failure files.
    pub name: &'static str,
    /// One line: which race it hunts.
    pub about: &'static str,
    /// The faults that strike unless somebody says otherwise.
    pub faults: Faults,
    /// Where threads are switched unless somebody says otherwise: at atomic operations if the race is
    /// between two of them.
    pub granularity: Granularity,
    /// The program.
    pub body: Body,
    /// Whether it ends its runtime with goroutines parked, which then are no leaks, nor is what they
    /// hold.
    pub abandons: bool,
    /// Whether a panic that leaves no thread is its own affair.
    pub catches_panics: bool,
    /// Where it stands, if it is no scenario of this library but somebody's test.
    pub test: Option<&'static Test>,
}

/// A test of somebody who uses the simulator: its name is that of its [`Scenario`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Test {
    /// The package.
    pub package: String,
    /// The package's version.
    pub version: String,
    /// The crate in it, since several may have tests of one name; or `-`.
    pub krate: String,
    /// The folder with its `Cargo.toml`.
    pub dir: PathBuf,
}

/// How a program is started.
#[derive(Clone, Copy)]
pub enum Body {
    /// As the first goroutine of a runtime.
    Goroutine(fn()),
    /// On a plain thread that owns the runtime, for programs that change it or end it.
    Owner(fn(Runtime)),
    /// As the first goroutine of a runtime: a test's, which lives as long as the process.
    Test(&'static (dyn Fn() + Send + Sync + RefUnwindSafe)),
}

impl Body {
    /// Runs the program to its end, which is the runtime's end as well.
    ///
    /// # Panics
    /// With the program's panic.
    pub fn run(self, runtime: Runtime) {
        match self {
            Body::Goroutine(body) => runtime.run(body).expect("a new runtime starts goroutines"),
            Body::Owner(body) => body(runtime),
            Body::Test(body) => runtime.run(body).expect("a new runtime starts goroutines"),
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Body::Goroutine(_) => "Goroutine",
            Body::Owner(_) => "Owner",
            Body::Test(_) => "Test",
        })
    }
}

impl Scenario {
    /// A program under light faults, with switches at system calls.
    #[must_use]
    pub fn new(name: &'static str, about: &'static str, body: fn()) -> Scenario {
        Scenario {
            name,
            about,
            faults: Faults::light(),
            granularity: Granularity::Syscall,
            body: Body::Goroutine(body),
            abandons: false,
            catches_panics: true,
            test: None,
        }
    }

    /// The same for a program that owns its runtime.
    #[must_use]
    pub fn owner(name: &'static str, about: &'static str, body: fn(Runtime)) -> Scenario {
        Scenario { body: Body::Owner(body), ..Scenario::new(name, about, || ()) }
    }

    /// With switches at every atomic operation.
    #[must_use]
    pub fn atomic(self) -> Scenario {
        Scenario { granularity: Granularity::Atomic, ..self }
    }
}

/// Every scenario, in the order in which they are shown.
#[must_use]
pub fn all() -> &'static [Scenario] {
    static ALL: LazyLock<Vec<Scenario>> = LazyLock::new(|| {
        vec![
            // Streams of bytes.
            echo::scenario(),
            duplex::scenario(),
            slow_reader::scenario(),
            half_close::scenario(),
            reset_midstream::scenario(),
            proxy::scenario(),
            shared_reader::scenario(),
            wait_ready::scenario(),
            unix_streams::scenario(),
            // Datagrams.
            udp_exchange::scenario(),
            unix_datagrams::scenario(),
            // Descriptors that come and go.
            accept_storm::scenario(),
            accept_while_short::scenario(),
            late_accept::scenario(),
            short_connections::scenario(),
            fd_reuse::scenario(),
            listen_again::scenario(),
            pipe_reader_gone::scenario(),
            connect_refused::scenario(),
            connect_timeout::scenario(),
            lossy_connections::scenario(),
            close_vs_read::scenario(),
            close_vs_write::scenario(),
            close_vs_accept::scenario(),
            // Time.
            deadline_vs_ready::scenario(),
            deadline_moves::scenario(),
            deadline_split::scenario(),
            timeouts::scenario(),
            break_storm::scenario(),
            // Goroutines and workers.
            spawn_storm::scenario(),
            channel_timeout::scenario(),
            lock_handoff::scenario(),
            blocking_calls::scenario(),
            cpu_beside_io::scenario(),
            all_busy::scenario(),
            world_stops::scenario(),
            worker_count::scenario(),
            shutdown::scenario(),
        ]
    });
    &ALL
}

/// A program that is wrong itself, to see what a failure looks like. It is none of [`all`].
#[must_use]
pub fn broken() -> &'static Scenario {
    static BROKEN: LazyLock<Scenario> = LazyLock::new(broken::scenario);
    &BROKEN
}

/// Programs that do what no simulator can bear: they take their process along, never come back, or are no
/// function of their choices. For tests of the explorer; nobody lists them.
#[must_use]
pub fn unbearable() -> &'static [Scenario] {
    static UNBEARABLE: LazyLock<Vec<Scenario>> = LazyLock::new(broken::family);
    &UNBEARABLE
}

/// The scenario with this name, broken ones included.
#[must_use]
pub fn find(name: &str) -> Option<&'static Scenario> {
    let mut every = all().iter().chain([broken()]).chain(unbearable());
    every.find(|scenario| scenario.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same program on the kernel of this machine.
    #[test]
    fn every_scenario_passes_on_the_real_kernel() {
        for scenario in all() {
            for workers in [2, 3, 1, 2, 4] {
                let runtime = netpoll::Builder::new().workers(workers).build();
                scenario.body.run(runtime.expect("a runtime can be made"));
            }
        }
    }

    #[test]
    fn names_are_unique_words_and_abouts_are_one_line() {
        let every = || all().iter().chain([broken()]).chain(unbearable());
        for (index, scenario) in every().enumerate() {
            let word = |c: char| c.is_ascii_lowercase() || c == '_';
            assert!(scenario.name.chars().all(word), "{}", scenario.name);
            assert!(!scenario.about.contains('\n'), "{}", scenario.name);
            let first = every().position(|other| other.name == scenario.name);
            assert_eq!(first, Some(index), "{}", scenario.name);
        }
        assert!(find("weather").is_none());
    }
}
