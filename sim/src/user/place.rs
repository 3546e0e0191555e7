//! Which test of which package, and the commands that run it again.

use std::env;
use std::panic::Location;
use std::path::{Path, PathBuf};
use std::thread;

use crate::scenarios::Test;

/// Where a simulation stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its name, as `cargo test` prints it if it is a test.
    pub(super) name: String,
    /// Its package.
    pub(super) test: Test,
}

impl Place {
    /// What the attribute knows: `path` begins with the name of the crate, which test names do not have.
    #[doc(hidden)]
    #[must_use]
    pub fn new(package: &str, version: &str, dir: &str, path: &str) -> Place {
        let (krate, name) = path.split_once("::").unwrap_or(("-", path));
        let (package, version) = (package.to_string(), version.to_string());
        let krate = krate.to_string();
        let test = Test { package, version, krate, dir: PathBuf::from(dir) };
        Place { name: name.to_string(), test }
    }

    /// The test that the thread runs, or else the place of the call.
    pub(super) fn here(caller: &Location<'_>) -> Place {
        match thread::current().name() {
            // Tests run on the main thread when there is to be only one.
            None | Some("main") => Place::named(&format!("{}:{}", caller.file(), caller.line())),
            Some(name) => Place::named(name),
        }
    }

    /// With this name, in the package that cargo runs.
    pub(super) fn named(name: &str) -> Place {
        // A name is one word in a failure file.
        let name = name.replace(char::is_whitespace, "_");
        let variable = |name: &str| env::var(name).ok().filter(|value| !value.contains(' '));
        let test = Test {
            package: variable("CARGO_PKG_NAME").unwrap_or_else(|| "-".to_string()),
            version: variable("CARGO_PKG_VERSION").unwrap_or_else(|| "-".to_string()),
            krate: "-".to_string(),
            dir: variable("CARGO_MANIFEST_DIR").map_or_else(PathBuf::new, PathBuf::from),
        };
        Place { name, test }
    }
}

impl Test {
    /// Whether the attribute made it, so that its name is the one that the test program knows it by.
    pub(super) fn is_of_attribute(&self) -> bool {
        self.krate != "-"
    }

    /// The command that runs the test `name` again with `variable` set to `value`.
    #[must_use]
    pub fn command(&self, name: &str, variable: &str, value: &str) -> String {
        let package = match self.package.as_str() {
            "-" => String::new(),
            package => format!(" -p {package}"),
        };
        format!("{variable}={value} cargo test{package} -- --exact {name} --nocapture")
    }

    /// The command that replays a failure file.
    #[must_use]
    pub fn replay_command(&self, name: &str, file: &Path) -> String {
        self.command(name, "NETPOLL_SIM_REPLAY", &quoted(&file.display().to_string()))
    }
}

/// As a shell wants it.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./+,:@%".contains(c);
    match text.chars().all(is_plain) {
        true => text.to_string(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}
