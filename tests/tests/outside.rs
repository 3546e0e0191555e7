//! The example of the README, as somebody would have it: a crate of its own, outside of the workspace. Its planted mistake is
//! found, what is printed is pasted into a shell, and once it is mended the failure file says so.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(path)).expect("it is part of the repository")
}

#[test]
fn the_readme_shows_what_is_tested_here() {
    let (readme, code) = (read("README.md"), read("tests/outside/src/tests.rs"));
    assert!(
        readme.contains(&code),
        "the README shows something else than tests/outside/src/tests.rs"
    );
    let lines = code.lines().filter(|line| !line.trim().is_empty()).count();
    assert!(lines < 25, "{lines} lines: an example that nobody reads");
    let found =
        "  g1 panicked at src/tests.rs:25: assertion `left == right` failed\n  left: \"good m\"\n";
    assert!(readme.contains(found), "the README shows what it prints");
}

/// Runs a line in a shell, in the crate's folder.
fn shell(line: &str, dir: &Path) -> (bool, String) {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("outside-target");
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{line} 2>&1")]).current_dir(dir);
    // What cargo says to us is not meant for another cargo.
    let ours = std::env::vars_os().map(|(name, _)| name);
    for name in ours.filter(|name| name.to_str().is_some_and(|name| name.starts_with("CARGO_"))) {
        if name != "CARGO_HOME" {
            command.env_remove(name);
        }
    }
    command.env("CARGO_TARGET_DIR", target).env("CARGO_NET_OFFLINE", "true");
    let output = command.output().expect("there is a shell");
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

fn copy(dir: &Path) {
    // What an earlier run has left.
    let _absent = fs::remove_dir_all(dir);
    fs::create_dir_all(dir.join("src")).expect("a folder can be made");
    let root = fs::canonicalize(ROOT).expect("it is there");
    let manifest = read("tests/outside/Cargo.toml");
    let manifest = manifest.replace("\"../../", &format!("\"{}/", root.display()));
    fs::write(dir.join("Cargo.toml"), manifest).expect("it can be written");
    // The versions that are here already.
    fs::write(dir.join("Cargo.lock"), read("Cargo.lock")).expect("it can be written");
    for file in ["src/lib.rs", "src/tests.rs"] {
        fs::write(dir.join(file), read(&format!("tests/outside/{file}")))
            .expect("it can be written");
    }
}

#[test]
fn a_crate_outside_finds_its_mistake_replays_and_mends_it() {
    let dir: PathBuf = Path::new(env!("CARGO_TARGET_TMPDIR")).join("outside");
    copy(&dir);
    let sentence = "left: \"good m\"";
    let (good, report) = shell("cargo test", &dir);
    assert!(!good && report.contains(sentence), "{report}");
    for variable in ["NETPOLL_SIM_SEED", "NETPOLL_SIM_REPLAY"] {
        let mut lines = report.lines().map(str::trim);
        let line = lines.find(|line| line.starts_with(variable)).expect("it is printed");
        let (good, shown) = shell(line, &dir);
        assert!(!good && shown.contains(sentence), "{line}\n{shown}");
    }
    let code = read("tests/outside/src/tests.rs");
    let mended = code.replace(
        "let count = from.read(&mut text)?;",
        "let count = text.len(); from.read_exact(&mut text)?;",
    );
    assert_ne!(mended, code);
    fs::write(dir.join("src/tests.rs"), mended).expect("it can be written");
    let (good, shown) = shell("cargo test -- --nocapture", &dir);
    assert!(good && shown.contains("1000 runs, "), "{shown}");
    assert!(shown.contains(", 1 failure files mended"), "{shown}");
}
