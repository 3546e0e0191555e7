//! Which hosts there are, what they run, and how that begins and ends.

use std::fmt;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use netpoll::Builder;
use netpoll::runtime::Inspector;

use crate::engine;
use crate::kernel::HostId;
use crate::names::nearest;
use crate::platform::Virtual;

/// What a host runs.
pub(crate) type Program = Arc<dyn Fn() + Send + Sync>;

/// The name of the host of the test's body.
const TEST: &str = "test";

struct Entry {
    name: String,
    program: Program,
    is_running: bool,
    /// A look into its runtime, while it has one.
    inspector: Option<Inspector>,
}

/// All hosts but the body's own, whose number is 0.
#[derive(Default)]
pub(crate) struct Directory {
    entries: Vec<Entry>,
}

impl Directory {
    pub(super) fn add(&mut self, name: &str, program: Program) -> Result<HostId, String> {
        if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c == '/') {
            return Err(format!("{name:?} is no name for a host: use letters, digits and dashes"));
        }
        if self.place(name).is_some() {
            return Err(format!("there is a host {name:?} already; `restart` starts it again"));
        }
        let count = self.entries.len() + 1;
        if count >= HostId::MAX {
            return Err(format!("{name:?} is one host too many: a run can have {}", HostId::MAX));
        }
        let (name, is_running, inspector) = (name.to_string(), false, None);
        self.entries.push(Entry { name, program, is_running, inspector });
        Ok(HostId::new(count))
    }

    pub(super) fn find(&self, name: &str) -> Result<HostId, String> {
        self.place(name).ok_or_else(|| {
            let names = self.names();
            let hint = match nearest(name, names.iter().map(String::as_str)) {
                Some(meant) => format!("did you mean {meant:?}?"),
                None => format!("there are {}", names.join(", ")),
            };
            format!("no host is called {name:?}: {hint}")
        })
    }

    /// The host of this name.
    pub(crate) fn place(&self, name: &str) -> Option<HostId> {
        if name == TEST {
            return Some(HostId::TEST);
        }
        let index = self.entries.iter().position(|entry| entry.name == name)?;
        Some(HostId::new(index + 1))
    }

    pub(super) fn name_of(&self, address: IpAddr) -> Option<String> {
        let mut all = (0..=self.entries.len()).map(HostId::new);
        all.find(|host| host.address() == address.to_canonical())
            .map(|host| self.name(host).to_string())
    }

    pub(crate) fn name(&self, host: HostId) -> &str {
        host.index().checked_sub(1).map_or(TEST, |index| &self.entries[index].name)
    }

    pub(super) fn names(&self) -> Vec<String> {
        std::iter::once(TEST.to_string()).chain(self.others()).collect()
    }

    pub(crate) fn others(&self) -> Vec<String> {
        self.entries.iter().map(|entry| entry.name.clone()).collect()
    }

    pub(super) fn is_running(&self, host: HostId) -> bool {
        host == HostId::TEST || self.entries[host.index() - 1].is_running
    }

    pub(super) fn set_down(&mut self, host: HostId) {
        let entry = &mut self.entries[host.index() - 1];
        entry.is_running = false;
        // The last reference to a runtime whose threads are gone: it is leaked, like all that they hold.
        std::mem::forget(entry.inspector.take());
    }

    /// Looks into the runtimes of the hosts that are running.
    pub(crate) fn inspectors(&mut self) -> Vec<(HostId, Inspector)> {
        let entries = self.entries.iter_mut().enumerate();
        let seen = entries.filter_map(|(index, entry)| {
            let inspector = entry.inspector.take()?;
            Some((HostId::new(index + 1), inspector))
        });
        seen.collect()
    }
}

/// The hosts that a simulation has from the start.
#[derive(Clone, Default)]
pub(crate) struct Roster(Vec<(String, Program)>);

impl Roster {
    pub(crate) fn add(&mut self, name: &str, program: Program) {
        self.0.push((name.to_string(), program));
    }

    /// Starts all of them.
    pub(crate) fn start(&self) {
        for (name, program) in &self.0 {
            super::start_program(name, Arc::clone(program));
        }
    }
}

impl fmt::Debug for Roster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// Starts the program of a host, as a runtime on a thread of its own.
pub(super) fn boot(host: HostId) {
    engine::inside("starting a host", |engine| {
        engine.directory().entries[host.index() - 1].is_running = true;
        engine.start_host(host, Box::new(move || run(host)));
    });
}

/// The first thread of a host.
fn run(host: HostId) {
    let (program, kernel) = engine::inside("running a host", |engine| {
        let program = Arc::clone(&engine.directory().entries[host.index() - 1].program);
        (program, engine.kernel_of(host).expect("a run of hosts has a kernel"))
    });
    let runtime = Builder::new().build_on::<Virtual>(kernel.clone());
    let runtime = runtime.expect("the simulated kernel refuses no runtime");
    let inspector = runtime.inspector();
    engine::inside("running a host", |engine| {
        engine.directory().entries[host.index() - 1].inspector = Some(inspector);
    });
    // What a panic leaves half done is for the rest of the host to see: the same as for goroutines.
    let program = AssertUnwindSafe(program);
    let result = runtime.run(move || {
        let AssertUnwindSafe(program) = program;
        program();
    });
    result.expect("a new runtime starts goroutines");
    // The process ends: its threads where they stand, its files in order.
    engine::inside("ending a host", |engine| {
        engine.kill(host, true);
        engine.directory().set_down(host);
    });
    std::mem::forget(runtime);
    kernel.arrange(|machine, env| machine.exit(env));
}
