//! Programs that no simulator can bear, and people who do not want to wait: what has been learnt is kept.

mod common;

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::{Folder, code, output, parsed, sim, text};

/// Explores one of them. Returns what was printed, after a check of the exit code, the property, and that the
/// seeds before it were run; and the failure file.
#[track_caller]
fn check(name: &str, property: &str, sentence: &str) -> (String, String) {
    let folder = Folder::new(name);
    let args = ["explore", name, "--seeds", "500", "--patience", "2s", "--save", folder.path()];
    let printed = output(&args);
    let report = text(&printed.stdout);
    assert_eq!((code(&printed), text(&printed.stderr)), (1, String::new()), "{report}");
    assert!(report.contains(sentence), "no `{sentence}` in:\n{report}");
    let object = parsed(&output(&[&args[..], &["--json"]].concat()));
    let scenario = &object["scenarios"][0];
    let failure = &scenario["failure"];
    assert_eq!(failure["property"], property, "{object}");
    let seed = failure["seed"].as_u64().expect("a seed");
    assert!(report.contains(&format!("{name}, seed {seed}:")), "{report}");
    assert!(report.contains("last events"), "{report}");
    assert!(scenario["seeds"].as_u64() > Some(seed), "the seeds before it count: {object}");
    let file = failure["file"].as_str().expect("it was saved");
    let kept = fs::read_to_string(file).expect("it can be read");
    // Its replay comes to the same end, and leaves this process alive.
    if property != "nondeterminism" {
        let again = output(&["replay", file, "--patience", "2s"]);
        let trace = text(&again.stdout);
        assert_eq!(code(&again), 1, "{trace}");
        // The panic of a thread that is no part of the run is printed like any other.
        assert!(property == "intrusion" || again.stderr.is_empty(), "{}", text(&again.stderr));
        assert!(trace.contains(sentence) && trace.contains("spawn w0"), "{trace}");
        let seed = seed.to_string();
        let from_seed = output(&["replay", name, "--seed", &seed, "--patience", "2s"]);
        assert_eq!(code(&from_seed), 1);
        assert!(text(&from_seed.stdout).contains(sentence));
    }
    (report, kept)
}

#[test]
fn a_run_that_takes_its_process_along_is_reported_with_its_seed_and_last_events() {
    let (report, kept) = check("broken_abort", "crash", "was ended by SIGABRT, without a word");
    assert!(report.contains("g1    w"), "the goroutine that did it: {report}");
    assert!(kept.contains("violated crash"), "{kept}");
    check("broken_exit", "crash", "exited with code 7");
    check("broken_drop", "crash", "was ended by SIGABRT; it said: ");
    check("broken_overflow", "crash", "goroutine 1 'main' overflowed its 256 KiB stack");
}

#[test]
fn a_run_that_never_comes_back_is_ended_and_reported() {
    let sentence =
        "the run passed no point for 2s: a loop that neither waits nor looks at the clock";
    check("broken_endless", "hang", sentence);
    check("broken_block", "hang", sentence);
}

#[test]
fn a_run_that_is_no_function_of_its_choices_is_reported() {
    check("broken_clock", "nondeterminism", "two runs of this seed are not the same: they part at");
    let sentence = "a thread of the operating system makes a system call of a simulated runtime";
    check("broken_thread", "intrusion", sentence);
}

#[test]
fn a_crash_is_found_at_the_smallest_seed_with_any_number_of_processes() {
    let seeds = ["1", "3"].map(|jobs| {
        let folder = Folder::new(&format!("jobs-{jobs}"));
        let args = ["explore", "broken_abort", "--seeds", "500", "--jobs", jobs, "--json"];
        let object = parsed(&output(&[&args[..], &["--save", folder.path()]].concat()));
        object["scenarios"][0]["failure"]["seed"].as_u64().expect("a seed")
    });
    assert_eq!(seeds[0], seeds[1]);
}

#[test]
fn other_scenarios_go_on_after_a_crash_and_what_programs_print_is_no_word_of_ours() {
    let folder = Folder::new("others");
    let names = ["broken_noise", "broken_exit", "echo"];
    let args = ["explore", "--seeds", "60", "--json", "--save", folder.path()];
    let printed = output(&[&args[..], &names].concat());
    assert_eq!(code(&printed), 1);
    let object = parsed(&printed);
    for (index, name) in names.into_iter().enumerate() {
        let scenario = &object["scenarios"][index];
        assert_eq!((&scenario["name"], scenario["failure"].is_null()), (&name.into(), index != 1));
        assert!(index == 1 || scenario["seeds"] == 60, "{object}");
        assert!(scenario["steps"].as_u64() > Some(500), "{object}");
    }
}

#[test]
fn swarm_both_granularities_and_determinism_of_every_seed_can_be_asked_for() {
    let args = ["explore", "close_vs_read", "--faults", "swarm", "--granularity", "both"];
    let args = [&args[..], &["--seeds", "40", "--check-determinism", "--json"]].concat();
    let printed = output(&args);
    assert_eq!(code(&printed), 0, "{}", text(&printed.stdout));
    let object = parsed(&printed);
    let rows = object["scenarios"].as_array().expect("an array");
    let granularities: Vec<_> = rows.iter().map(|row| row["granularity"].as_str()).collect();
    assert_eq!(granularities, [Some("syscall"), Some("atomic")]);
    for row in rows {
        assert_eq!((&row["faults"], &row["seeds"]), (&"swarm".into(), &40.into()));
        let thread = &row["choices"]["thread"];
        assert!(thread["struck"].as_u64() > Some(0) && thread["runs"] == 40, "{row}");
    }
    assert_eq!(object["silent"].as_array().map(Vec::len), Some(0));
}

/// Runs an exploration without end and interrupts it once it has a row.
fn interrupt(args: &[&str]) -> (Option<i32>, String) {
    let args = [&["explore", "--all", "--time", "90s"], args].concat();
    let mut child = sim(&args).stdout(Stdio::piped()).spawn().expect("the binary was built");
    sleep(Duration::from_millis(1_500));
    let start = Instant::now();
    signal("INT", child.id());
    let mut printed = String::new();
    let mut stdout = child.stdout.take().expect("a pipe");
    stdout.read_to_string(&mut printed).expect("text");
    let status = child.wait().expect("it ends");
    assert!(start.elapsed() < Duration::from_secs(30), "it took {:?}", start.elapsed());
    (status.code(), printed)
}

fn signal(name: &str, pid: u32) {
    let command = format!("kill -{name} {pid}");
    let sent = Command::new("sh").args(["-c", &command]).status().expect("there is a shell");
    assert!(sent.success());
}

#[test]
fn ctrl_c_prints_what_has_been_learnt_so_far() {
    let (code, table) = interrupt(&[]);
    assert_eq!(code, Some(130), "{table}");
    assert!(
        table.lines().any(|line| line.starts_with("echo ") && line.contains("clean")),
        "{table}"
    );
    assert!(table.contains("interrupted in number 1 of"), "{table}");
    assert!(table.contains("nothing found in "), "{table}");
    let (code, object) = interrupt(&["--json"]);
    assert_eq!(code, Some(130), "{object}");
    let object: serde_json::Value = serde_json::from_str(&object).expect("one object");
    assert_eq!(object["interrupted"], true);
    assert!(object["scenarios"][0]["seeds"].as_u64() > Some(0), "{object}");
}

/// The processes in which seeds run end with the one that started them, even in the middle of a run that
/// never ends.
#[test]
fn no_process_is_left_behind_by_one_that_is_killed() {
    let args = ["explore", "broken_endless", "--patience", "1h", "--jobs", "2"];
    let mut parent = sim(&args).stdout(Stdio::null()).spawn().expect("the binary was built");
    sleep(Duration::from_millis(700));
    let pid = parent.id();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let children = children.expect("this system tells");
    assert!(children.split_whitespace().count() > 0, "somebody runs the seeds");
    parent.kill().expect("it runs");
    parent.wait().expect("it ends");
    let deadline = Instant::now() + Duration::from_secs(30);
    for child in children.split_whitespace() {
        let stat = Path::new("/proc").join(child).join("stat");
        // A zombie that nobody reaps has ended as well.
        let runs = || fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z "));
        while runs() {
            assert!(Instant::now() < deadline, "process {child} still runs");
            sleep(Duration::from_millis(20));
        }
    }
}
