//! Tests that need a process for themselves: because it is to die, or because what they change is
//! process-wide.

use std::process::{Command, Output};

/// Whether this process is the child that `run_child` started for the test `name`.
pub(crate) fn is_child(name: &str) -> bool {
    std::env::var_os(CHILD).is_some_and(|child| child == name)
}

/// Runs the test `name` (its full path) alone in a child process.
pub(crate) fn run_child(name: &str) -> Output {
    let tests = std::env::current_exe().unwrap();
    let mut child = Command::new(tests);
    child.args([name, "--exact", "--nocapture", "--test-threads=1"]);
    child.env(CHILD, name).env("RUST_BACKTRACE", "0").output().unwrap()
}

/// Runs `body` alone in a child process, as the test `name` (its full path).
#[track_caller]
pub(crate) fn in_child(name: &str, body: impl FnOnce()) {
    if is_child(name) {
        return body();
    }
    let output = run_child(name);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", output.status);
    // A wrong name would run no test at all, successfully.
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("1 passed"),
        "no test is called {name}"
    );
}

const CHILD: &str = "NETPOLL_TEST_CHILD";
