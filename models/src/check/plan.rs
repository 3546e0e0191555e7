//! What a model is, and how far each checker goes with it.

use std::fmt;
use std::time::Duration;

use netpoll_sim::Faults;

use crate::platform::World;

/// A model: one protocol, one interleaving that it hunts.
#[derive(Debug)]
pub struct Model {
    /// Its name on the command line.
    pub name: &'static str,
    /// The module that it is in, with the protocol's description.
    pub module: &'static str,
    /// What it claims, in one sentence.
    pub claim: &'static str,
    /// What of the kernel it uses.
    pub kernel: KernelUse,
    /// How many timed waits of one execution end by their time.
    pub timed_waits: u32,
    /// How far loom goes, if it runs it.
    pub loom: Option<Bound>,
    /// The schedulers of shuttle that run it.
    pub shuttle: &'static [Checker],
    /// The body on each platform.
    pub bodies: Bodies,
}

/// A model's body, once for each platform.
#[derive(Clone, Copy, Debug)]
pub struct Bodies {
    /// Under loom.
    pub loom: fn(),
    /// Under shuttle.
    pub shuttle: fn(),
}

impl Model {
    /// The checkers that run it.
    pub fn checkers(&self) -> impl Iterator<Item = Checker> {
        let loom = self.loom.map(|_| Checker::Loom);
        loom.into_iter().chain(self.shuttle.iter().copied())
    }

    /// What it may meet. Only shuttle chooses, so loom meets no faults.
    #[must_use]
    pub fn world(&self) -> World {
        let faults = match self.kernel {
            KernelUse::None | KernelUse::Scripted => Faults::none(),
            KernelUse::Faulty => Faults::light(),
        };
        World { timed_waits: self.timed_waits, faults }
    }
}

/// How far loom goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Forced switches of thread in one execution, at most; `None` is any number.
    pub preemptions: Option<usize>,
    /// The same in the deep profile.
    pub deep_preemptions: Option<usize>,
    /// Executions after which the quick profile gives up, and the certificate says so.
    pub executions_max: Option<u64>,
}

impl Bound {
    /// Every execution.
    pub const UNBOUNDED: Bound =
        Bound { preemptions: None, deep_preemptions: None, executions_max: None };

    /// Every execution with at most this many forced switches.
    #[must_use]
    pub const fn preemptions(count: usize) -> Bound {
        let (preemptions, deep_preemptions) = (Some(count), Some(count + 1));
        Bound { preemptions, deep_preemptions, executions_max: None }
    }

    /// In the deep profile, this many forced switches.
    #[must_use]
    pub const fn deep(mut self, preemptions: Option<usize>) -> Bound {
        self.deep_preemptions = preemptions;
        self
    }

    /// The quick profile gives up after this many executions.
    #[must_use]
    pub const fn capped(mut self, executions: u64) -> Bound {
        self.executions_max = Some(executions);
        self
    }
}

/// A checker, or one of shuttle's ways to choose schedules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Checker {
    /// Loom: exhaustive over the C11 memory model.
    Loom,
    /// Shuttle, probabilistic concurrency testing: random priorities and a few changes of them.
    Pct,
    /// Shuttle, every schedule decision at random.
    Random,
    /// Shuttle, a uniform random walk: every interleaving about as likely.
    Urw,
    /// Shuttle, depth first: exhaustive, without partial-order reduction.
    Dfs,
}

impl Checker {
    /// All of them.
    pub const ALL: [Checker; 5] =
        [Checker::Loom, Checker::Pct, Checker::Random, Checker::Urw, Checker::Dfs];

    /// The name on the command line and in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Checker::Loom => "loom",
            Checker::Pct => "shuttle-pct",
            Checker::Random => "shuttle-random",
            Checker::Urw => "shuttle-urw",
            Checker::Dfs => "shuttle-dfs",
        }
    }

    /// The checker with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Checker> {
        Checker::ALL.into_iter().find(|checker| checker.name() == name)
    }

    /// What it takes an access to mean.
    #[must_use]
    pub const fn memory_model(self) -> &'static str {
        match self {
            Checker::Loom => "C11",
            _ => "SC",
        }
    }
}

impl fmt::Display for Checker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How much time there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// What `cargo test` does.
    Quick,
    /// Higher bounds, for the night.
    Deep {
        /// Loom gives one model up after this long.
        time: Option<Duration>,
    },
}

/// What of the simulated kernel a model uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelUse {
    /// Nothing: the model makes the edges itself.
    None,
    /// The machine without faults; the model's threads say when what happens.
    Scripted,
    /// The machine with faults, where the checker can choose.
    Faulty,
}

impl KernelUse {
    /// A short name for what is modelled under a checker, the rules that are, and those that are not.
    #[must_use]
    pub const fn rules(self, checker: Checker) -> (&'static str, &'static str, &'static str) {
        match (self, checker) {
            (KernelUse::None, _) => ("-", "none, the model makes every edge itself", "all"),
            (_, Checker::Loom | Checker::Dfs) => (
                "dull",
                "epoll edge and level, merging, one waiter woken, eventfd, lowest free number, signals \
                 that the model sends",
                "order and number of events, faults, delays",
            ),
            (KernelUse::Scripted, _) => {
                ("free", "as dull, and any order and number of events", "faults")
            }
            (KernelUse::Faulty, _) => {
                ("faulty", "as free, and EINTR, spurious events, short writes", "errors")
            }
        }
    }
}

/// Makes models of functions with one parameter, `P: Checked`, and a test for each checker.
///
/// ```text
/// models! {
///     /// A close never leaves the reader parked.
///     park_against_close { loom: Bound::UNBOUNDED, shuttle: [Pct] }
/// }
/// ```
///
/// `kernel:` and `timed_waits:` may follow. Without `loom:` it is for shuttle only.
macro_rules! models {
    ($(
        #[doc = $claim:literal]
        $name:ident {
            $(loom: $loom:expr,)?
            shuttle: [$($scheduler:ident),+]
            $(, kernel: $kernel:ident)?
            $(, timed_waits: $timed_waits:literal)?
            $(,)?
        }
    )*) => {
        /// The models of this file.
        pub(crate) static MODELS: &[$crate::check::Model] = &[$(
            $crate::check::Model {
                name: stringify!($name),
                module: module_path!(),
                claim: $claim,
                kernel: $crate::check::models!(@kernel $($kernel)?),
                timed_waits: 0 $(+ $timed_waits)?,
                loom: $crate::check::models!(@loom $($loom)?),
                shuttle: &[$($crate::check::Checker::$scheduler),+],
                bodies: $crate::check::Bodies {
                    loom: $name::<$crate::platform::Probe<$crate::platform::Loom>>,
                    shuttle: $name::<$crate::platform::Probe<$crate::platform::Shuttle>>,
                },
            },
        )*];

        $(
            #[cfg(test)]
            mod $name {
                #[allow(unused_imports)] // not every file has bounds
                use super::Bound;

                $(
                    #[test]
                    fn loom() {
                        assert_ne!($loom.executions_max, Some(0));
                        $crate::check::test(stringify!($name), &[$crate::check::Checker::Loom]);
                    }
                )?

                #[test]
                fn shuttle() {
                    let schedulers = [$($crate::check::Checker::$scheduler),+];
                    $crate::check::test(stringify!($name), &schedulers);
                }
            }
        )*
    };
    (@loom) => { None };
    (@loom $loom:expr) => { Some($loom) };
    (@kernel) => { $crate::check::KernelUse::None };
    (@kernel $kernel:ident) => { $crate::check::KernelUse::$kernel };
}

pub(crate) use models;
