//! The command line is a contract: exit codes, one-line complaints, equal bytes, one JSON object.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use common::{Folder, code, output, parsed, sim, text};
use serde_json::Value;

/// Finds the failure of the broken scenario; returns what was printed and the file.
fn find_failure(folder: &Folder) -> (String, PathBuf) {
    explore_broken(folder, &[])
}

/// The same, as it was found.
fn find_original(folder: &Folder) -> (String, PathBuf) {
    explore_broken(folder, &["--no-shrink"])
}

fn explore_broken(folder: &Folder, more: &[&str]) -> (String, PathBuf) {
    let output = output(&[&["explore", "broken", "--save", folder.path()], more].concat());
    assert_eq!(code(&output), 1);
    let files: Vec<_> = fs::read_dir(&folder.0)
        .expect("the folder is there")
        .map(|entry| entry.expect("it can be read").path())
        .collect();
    assert_eq!(files.len(), 1, "{files:?}");
    (text(&output.stdout), files[0].clone())
}

/// Demands exit code 2, nothing on standard output, and one line that contains `part`.
#[track_caller]
fn check_usage(args: &[&str], part: &str) {
    let output = output(args);
    let complaint = text(&output.stderr);
    assert_eq!(code(&output), 2, "{args:?}: {complaint}");
    assert_eq!(text(&output.stdout), "", "{args:?}");
    assert_eq!(complaint.lines().count(), 1, "{args:?}: {complaint}");
    assert!(complaint.starts_with("error: "), "{args:?}: {complaint}");
    assert!(complaint.contains(part), "{args:?}: {complaint}");
}

#[test]
fn bad_usage_is_one_clear_line_and_code_2() {
    for (args, part) in [
        (&[][..], "which command?"),
        (&["dance"], "'dance'"),
        (&["explore"], "which scenario? Give names or --all"),
        (&["explore", "--all", "echo"], "--all"),
        (&["explore", "ecko"], "did you mean `echo`?"),
        (&["explore", "weather"], "see `cargo sim list`"),
        (&["explore", "echo", "--seeds", "0"], "--seeds"),
        (&["explore", "echo", "--seeds", "x"], "from 1 on"),
        (&["explore", "echo", "--jobs", "0"], "--jobs"),
        (&["explore", "echo", "--workers", "0"], "--workers"),
        (&["explore", "echo", "--time", "30"], "such as 500ms, 30s"),
        (&["explore", "echo", "--time", "0s"], "such as 500ms, 30s"),
        (&["explore", "echo", "--start", "0xg"], "decimal or 0x"),
        (&["explore", "echo", "--start", "0xffffffffffffffff"], "2^64"),
        (&["explore", "echo", "--faults", "heavy"], "chaos"),
        (&["explore", "echo", "--granularity", "fine"], "both"),
        (&["explore", "echo", "--patience", "0s"], "such as 500ms, 30s"),
        (&["replay", "echo", "--seed", "1", "--granularity", "both"], "atomic"),
        (&["explore", "echo", "--colour"], "'--colour'"),
        (&["replay"], "<NAME|FILE>"),
        (&["replay", "echo"], "--seed 17"),
        (&["replay", "echo", "--seed", "-1"], "-1"),
        (&["replay", "echo", "--seed", "1", "--text", "--json"], "--json"),
        (&["replay", "echo", "--seed", "1", "--log", "--no-fold"], "--no-fold"),
        (&["replay", "no/such/file"], "cannot be read"),
        (&["replay", "/"], "cannot be read"),
        (&["replay", "ehco", "--seed", "1"], "did you mean `echo`?"),
        (&["list", "everything"], "'everything'"),
        (&["shrink"], "<FILE>"),
        (&["shrink", "no/such/file"], "cannot be read"),
        (&["shrink", "/"], "cannot be read"),
        (&["shrink", "file", "--time", "10"], "such as 500ms, 30s"),
    ] {
        check_usage(args, part);
    }
}

#[test]
fn help_and_version_are_no_errors() {
    for args in [&["--help"][..], &["explore", "--help"], &["--version"]] {
        let output = output(args);
        assert_eq!(code(&output), 0, "{args:?}");
        assert!(!output.stdout.is_empty() && output.stderr.is_empty());
    }
}

#[test]
fn list_names_every_scenario() {
    let printed = text(&output(&["list"]).stdout);
    let listed = parsed(&output(&["list", "--json"]));
    let scenarios = listed["scenarios"].as_array().expect("an array");
    assert_eq!(scenarios.len(), printed.lines().count() - 1);
    for scenario in scenarios {
        assert!(printed.contains(scenario["name"].as_str().expect("a name")));
    }
}

#[test]
fn an_exploration_that_finds_nothing_is_code_0_and_a_table() {
    let output = output(&["explore", "echo", "accept_storm", "--seeds", "20"]);
    assert_eq!((code(&output), text(&output.stderr)), (0, String::new()));
    let table = text(&output.stdout);
    let row = table.lines().find(|line| line.starts_with("echo "));
    assert!(row.is_some_and(|row| row.contains(" 20 ") && row.contains("clean")), "{table}");
    assert!(table.contains("nothing found in 40 runs"), "{table}");
}

#[test]
fn an_exploration_can_be_limited_by_time() {
    let output = output(&["explore", "--all", "--time", "400ms", "--json"]);
    assert_eq!(code(&output), 0);
    let object = parsed(&output);
    let scenarios = object["scenarios"].as_array().expect("an array");
    assert!(scenarios.iter().all(|it| it["seeds"].as_u64() > Some(0)), "{object}");
}

#[test]
fn a_finding_is_code_1_with_its_four_parts_and_a_file() {
    let folder = Folder::new("finding");
    let (printed, file) = find_failure(&folder);
    for part in [
        "deadlock: nobody can ever run: ",
        "goroutines that have not ended:\n  g1 ",
        "waits for condvar",
        "last events of goroutines:\n  t=",
        "cargo sim replay broken --seed ",
        "--granularity atomic --faults none\n",
        &format!("saved: {}", file.display()),
    ] {
        assert!(printed.contains(part), "no `{part}` in:\n{printed}");
    }
}

#[test]
fn a_replay_is_the_same_bytes_from_the_command_and_from_the_file() {
    let folder = Folder::new("replay");
    let (printed, file) = find_original(&folder);
    let command = printed.lines().find_map(|line| line.trim().strip_prefix("cargo sim replay b"));
    let command = format!("replay b{}", command.expect("the command is printed"));
    let from_seed: Vec<&str> = command.split(' ').collect();
    let from_file = ["replay", file.to_str().expect("a plain path")];
    let first = output(&from_seed);
    assert_eq!(code(&first), 1);
    assert!(first.stderr.is_empty());
    for args in [&from_seed[..], &from_file] {
        let again = output(args);
        assert_eq!(code(&again), 1, "{args:?}");
        assert!(first.stdout == again.stdout, "{args:?} prints something else");
    }
    let trace = text(&first.stdout);
    assert!(trace.contains("park g") && trace.contains("deadlock: "), "{trace}");
}

#[test]
fn a_replay_of_a_clean_run_is_code_0_and_its_seed_may_be_hexadecimal() {
    let decimal = output(&["replay", "echo", "--seed", "255"]);
    let hexadecimal = output(&["replay", "echo", "--seed", "0xff"]);
    assert_eq!((code(&decimal), code(&hexadecimal)), (0, 0));
    assert!(decimal.stdout == hexadecimal.stdout);
    assert!(text(&decimal.stdout).contains("# finished: "));
    let other = output(&["replay", "echo", "--seed", "256"]);
    assert!(decimal.stdout != other.stdout);
}

#[test]
fn a_replay_prints_lanes_whole_lanes_or_a_log() {
    let print = |flags: &[&str]| {
        let broken = ["replay", "broken", "--seed", "0", "--granularity", "atomic"];
        let output = output(&[&broken[..], flags].concat());
        assert_eq!(code(&output), 1, "{flags:?}");
        text(&output.stdout)
    };
    let (lanes, whole, log) = (print(&[]), print(&["--no-fold"]), print(&["--log"]));
    assert_eq!(lanes, print(&["--text"]));
    for lanes in [&lanes, &whole] {
        for part in
            ["!! VIOLATED deadlock\n", "!! deadlock: nobody can", "\n>>           ^ deadlock: "]
        {
            assert!(lanes.contains(part), "no `{part}` in:\n{lanes}");
        }
        assert!(lanes.lines().all(|line| line.chars().count() <= 100), "{lanes}");
    }
    let pauses = |text: &str| text.matches("resume: timed out").count();
    assert!(lanes.contains(" sysmon pauses") && pauses(&lanes) == 0, "{lanes}");
    // Nothing is folded, nothing is lost: each record of the log is in the whole lanes.
    assert!(pauses(&whole) > 10 && pauses(&whole) == pauses(&log));
    assert!(log.contains("\nt=") && !log.contains("VIOLATED"), "{log}");
}

#[test]
fn json_is_one_object_on_standard_output() {
    let folder = Folder::new("json");
    let explored = output(&["explore", "broken", "--json", "--save", folder.path()]);
    assert_eq!(code(&explored), 1);
    let object = parsed(&explored);
    assert_eq!(object["violated"], true);
    let failure = &object["scenarios"][0]["failure"];
    assert_eq!(failure["property"], "deadlock");
    let file = failure["file"].as_str().expect("it was saved");
    assert!(Path::new(file).is_file());

    let replayed = output(&["replay", file, "--json"]);
    assert_eq!(code(&replayed), 1);
    let object = parsed(&replayed);
    assert_eq!(object["failure"]["sentence"], failure["sentence"]);
    assert!(object["trace"].as_array().is_some_and(|lines| lines.len() > 10));
    assert_eq!(
        parsed(&output(&["replay", "echo", "--seed", "1", "--json"]))["failure"],
        Value::Null
    );
}

#[test]
fn a_failure_file_that_cannot_be_used_is_refused() {
    let folder = Folder::new("refused");
    let (_, file) = find_failure(&folder);
    let good = fs::read_to_string(&file).expect("it was saved");
    let path = file.to_str().expect("a plain path");
    for (bad, part) in [
        (
            good.replacen("netpoll-failure 3", "netpoll-failure 4", 1),
            "line 1: expected `netpoll-failure 1` to `netpoll-failure 3`",
        ),
        (
            good.replacen("scenario broken", "scenario ecko", 1),
            "line 2: no scenario is called `ecko`",
        ),
        (good[..good.len() / 2].to_string(), "expected "),
        (String::new(), "line 1: expected `netpoll-failure 1` to"),
        (good.replacen("workers 2", "workers 9999", 1), "line 7: expected `workers N`"),
    ] {
        fs::write(&file, bad).expect("it can be written");
        check_usage(&["replay", path], part);
    }
    fs::write(&file, b"\xff\xfe").expect("it can be written");
    check_usage(&["replay", path], "cannot be read");
    fs::write(&file, good).expect("it can be written");
    check_usage(&["replay", path, "--seed", "1"], "--seed contradicts");
    check_usage(&["replay", path, "--workers", "3"], "--workers contradicts");
}

fn choices_of(file: &Path) -> usize {
    let text = fs::read_to_string(file).expect("it was saved");
    let count = text.lines().find_map(|line| line.strip_prefix("choices "));
    count.expect("a line says how many").parse().expect("a number")
}

#[test]
fn a_failure_is_made_smaller_before_it_is_saved() {
    let (as_found, smaller) = (Folder::new("as-found"), Folder::new("smaller"));
    let (original_report, original) = find_original(&as_found);
    let (report, file) = find_failure(&smaller);
    assert!(choices_of(&file) < choices_of(&original));
    assert_eq!(original.file_name(), file.file_name());
    for part in ["\nneeds:\n  ", "gives way to", "\nmade smaller in ", "was found and as it is:"] {
        assert!(report.contains(part), "no `{part}` in:\n{report}");
        assert!(!original_report.contains(part), "`{part}` in:\n{original_report}");
    }
    let replayed = output(&["replay", file.to_str().expect("a plain path")]);
    assert_eq!((code(&replayed), text(&replayed.stderr)), (1, String::new()));
    let text = fs::read_to_string(&file).expect("it was saved");
    assert!(text.contains("\nneeds ") && text.contains("gives way to"), "{text}");
    // Counted without the zeros at the end of its list, which say nothing (C3).
    let (_, counted) = text.split_once("\noriginal ").expect("the original's size");
    let counted = counted.split(' ').next().and_then(|it| it.parse().ok());
    assert!(counted <= Some(choices_of(&original)), "{text}");
    assert!(counted > Some(choices_of(&file)), "{text}");
}

#[test]
fn shrink_replaces_the_file_by_a_smaller_one_that_fails_in_the_same_way() {
    let folder = Folder::new("shrink");
    let (_, file) = find_original(&folder);
    let path = file.to_str().expect("a plain path");
    let original = fs::read(&file).expect("it was saved");
    let copy = folder.0.join("copy.failure");
    let copied = output(&["shrink", path, "--out", copy.to_str().expect("plain"), "--json"]);
    assert_eq!((code(&copied), text(&copied.stderr)), (1, String::new()));
    assert_eq!(fs::read(&file).expect("it is there"), original, "--out leaves the file alone");
    let object = parsed(&copied);
    let deviations = |size: &Value| size["deviations"].as_u64().expect("a number");
    assert!(deviations(&object["before"]) >= 5 * deviations(&object["after"]), "{object}");
    assert_eq!(object["failure"]["property"], "deadlock");
    assert_eq!(object["end"], "smallest");

    let before = choices_of(&file);
    let shrunk = output(&["shrink", path]);
    assert_eq!((code(&shrunk), text(&shrunk.stderr)), (1, String::new()));
    assert!(choices_of(&file) < before);
    let bytes = fs::read(&file).expect("it is there");
    assert!(
        bytes == fs::read(&copy).expect("it is there"),
        "the same file, smaller in the same way"
    );
    assert!(text(&shrunk.stdout).contains("choices that are not the dullest: "));
    assert_eq!(code(&output(&["replay", path])), 1);

    // There is nothing more to be had, and nothing is lost, the size of the first run included.
    assert_eq!(code(&output(&["shrink", path])), 1);
    assert!(bytes == fs::read(&file).expect("it is there"), "the smallest stays as it is");
    let files = fs::read_dir(&folder.0).expect("the folder is there").count();
    assert_eq!(files, 2, "no draft is left");
}

#[test]
fn shrink_refuses_a_file_that_does_not_fail_any_more_and_leaves_it_alone() {
    let folder = Folder::new("mended");
    let (_, file) = find_failure(&folder);
    let path = file.to_str().expect("a plain path");
    let good = fs::read_to_string(&file).expect("it was saved");
    for (from, to, part) in [
        ("scenario broken", "scenario echo", "does not fail any more"),
        ("violated deadlock", "violated panic", "fails in another way now: deadlock: "),
    ] {
        let bad = good.replacen(from, to, 1);
        fs::write(&file, &bad).expect("it can be written");
        check_usage(&["shrink", path], part);
        assert_eq!(fs::read_to_string(&file).expect("it is there"), bad);
    }
    fs::write(&file, &good).expect("it can be written");
    check_usage(&["shrink", path, "--out", "/no/such/folder/file"], "cannot be written");
}

/// A list that was made by another program: the replay goes on and says so.
#[test]
fn a_replay_that_leaves_its_list_warns() {
    let folder = Folder::new("diverged");
    let (_, file) = find_original(&folder);
    let good = fs::read_to_string(&file).expect("it was saved");
    fs::write(&file, good.replacen("scenario broken", "scenario echo", 1)).expect("writable");
    let output = output(&["replay", file.to_str().expect("a plain path")]);
    assert_eq!(code(&output), 0);
    let warning = text(&output.stderr);
    assert!(warning.starts_with("warning: the program has changed"), "{warning}");
}

#[test]
fn a_failure_that_cannot_be_saved_is_reported_all_the_same() {
    let folder = Folder::new("unsaved");
    let blocked = folder.0.join("file");
    fs::write(&blocked, "in the way").expect("it can be written");
    let output = output(&["explore", "broken", "--save", blocked.to_str().expect("plain")]);
    assert_eq!(code(&output), 1);
    assert!(text(&output.stderr).starts_with("warning: the failure cannot be saved"));
    assert!(text(&output.stdout).contains("cargo sim replay broken"));
}

#[test]
fn failures_are_saved_in_the_workspace_or_else_here() {
    let folder = Folder::new("where");
    let root = folder.0.join("workspace");
    fs::create_dir_all(root.join("traces")).expect("it can be made");
    fs::create_dir_all(root.join("deep/down")).expect("it can be made");
    fs::write(root.join("Cargo.toml"), "[workspace]\n").expect("it can be written");
    for (from, to) in [(root.join("deep/down"), &root), (folder.0.clone(), &folder.0)] {
        let status = sim(&["explore", "broken"]).current_dir(from).stdout(Stdio::null()).status();
        assert_eq!(status.expect("the binary was built").code(), Some(1));
        let saved = fs::read_dir(to.join("traces/failures")).expect("it was made");
        assert_eq!(saved.count(), 1);
    }
}

#[test]
fn a_closed_pipe_ends_nothing_in_a_panic() {
    let mut child = sim(&["replay", "echo", "--seed", "1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary was built");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!((code(&output), text(&output.stderr)), (0, String::new()));
}

#[test]
fn a_model_is_run_and_certified() {
    let output = output(&["models", "park_against_close", "--json"]);
    assert_eq!(code(&output), 0);
    let object: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    let models = object["models"].as_array().expect("a list");
    assert!(models.len() >= 2, "one object for each checker: {object}");
    assert_eq!(object["violated"], false);
    assert_eq!(models[0]["checker"], "loom");
    assert_eq!(models[0]["complete"], true);
    for key in ["memory_model", "executions", "deepest", "bound", "seconds", "rules", "rules_not"] {
        assert!(!models[0][key].is_null(), "{key}: {object}");
    }
}

#[test]
fn a_model_that_does_not_hold_is_reported_with_the_command_that_shows_it_again() {
    // Without F3 the worker may sleep beside what has been pushed.
    let mut command = sim(&["models", "inbox_push_against_sleep", "--checker", "loom"]);
    let fence = fence_of("sched/idle.rs", "look_again");
    let output = command.env("NETPOLL_MODELS_BEND", fence).output().expect("the binary was built");
    assert_eq!(code(&output), 1, "{}", text(&output.stderr));
    let text = text(&output.stdout);
    assert!(text.contains("VIOLATED"), "{text}");
    assert!(text.contains("deadlock"), "{text}");
    assert!(
        text.contains("again: cargo sim models inbox_push_against_sleep --checker loom"),
        "{text}"
    );
}

#[test]
fn a_failing_schedule_of_a_model_is_made_smaller_kept_and_replayed() {
    let folder = Folder::new("model");
    // A compare-exchange has two orderings: with one for it, whoever passes it first panics.
    let bend = place_of("poll/slot.rs", "fn update", ".compare_exchange(") + "Relaxed";
    let run = |args: &[&str]| {
        let mut command = sim(args);
        command.current_dir(&folder.0).env("NETPOLL_MODELS_BEND", &bend);
        command.output().expect("the binary was built")
    };
    let model = ["models", "close_against_read", "--checker", "shuttle-urw"];
    let found = run(&model);
    let report = text(&found.stdout);
    assert_eq!(code(&found), 1, "{report}");
    assert!(report.contains("\n  made smaller in ") && report.contains("0 remain"), "{report}");
    let path = report.lines().find_map(|line| line.strip_prefix("only that execution: cargo sim "));
    let replay: Vec<&str> = path.expect("it was kept").split(' ').collect();
    let kept = fs::read_to_string(folder.0.join(replay[2])).expect("it was kept");
    assert!(kept.contains("\n# made smaller in ") && kept.contains("\nchoices 0\n"), "{kept}");
    let replayed = run(&replay);
    assert_eq!(code(&replayed), 1);
    assert!(text(&replayed.stdout).contains("does not fit"), "{}", text(&replayed.stdout));

    let whole = run(&[&model[..], &["--no-shrink"]].concat());
    assert!(!text(&whole.stdout).contains("made smaller"), "{}", text(&whole.stdout));
    let kept = fs::read_to_string(folder.0.join(replay[2])).expect("it was kept");
    assert!(!kept.contains("\nchoices 0\n"), "{kept}");
}

/// The place of a fence, bent to none, by the function that it stands in.
fn fence_of(file: &str, function: &str) -> String {
    place_of(file, &format!("fn {function}("), "P::fence(")
}

/// The place of an operation, by what comes before it, ready for what it is to be bent to.
fn place_of(file: &str, after: &str, operation: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../netpoll/src").join(file);
    let source = fs::read_to_string(path).expect("the runtime's source is there");
    let mut lines = source.lines().enumerate();
    lines.find(|(_, line)| line.contains(after)).expect("what comes before");
    let (number, line) = lines.find(|(_, line)| line.contains(operation)).expect("the operation");
    let name = operation.trim_start_matches('.');
    let column = line.find(name).expect("just found") + 1;
    format!("{file}:{}:{column}=", number + 1)
}

#[test]
fn models_that_are_not_there_are_one_line_and_exit_code_2() {
    for (args, said) in [
        (&["models", "park_agianst_close"][..], "did you mean `park_against_close`?"),
        (&["models", "weather"], "no model is called `weather`"),
        (&["models", "--checker", "spin"], "no checker is called `spin`"),
        (&["models", "park_against_close", "--save"], "--save keeps"),
        (&["models", "--replay", "nowhere.model"], "nowhere.model: No such file"),
        (&["models", "--time", "3s"], "--deep"),
        (&["museum", "no-rechekc"], "did you mean"),
        (&["museum"], "which exhibit?"),
    ] {
        let output = output(args);
        assert_eq!(code(&output), 2, "{args:?}");
        let error = text(&output.stderr);
        assert!(error.starts_with("error: ") && error.contains(said), "{args:?}: {error}");
        assert_eq!(error.trim_end().lines().count(), 1, "{args:?}: {error}");
        assert!(output.stdout.is_empty(), "{args:?}");
    }
}
