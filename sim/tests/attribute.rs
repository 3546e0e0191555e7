//! `#[netpoll_sim::test]` as somebody uses it who knows nothing else of this: in tests that pass, and in processes of their
//! own for tests that fail, abort or never end. The command that a report prints is taken out of it and run.

use std::env;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;
use std::{fs, hint, process, thread};

use netpoll::go;
use netpoll::net::{TcpListener, TcpStream};
use netpoll_sim::{FaultKind, Faults, rand, sometimes};

const RESETS: Faults = Faults::none().with(FaultKind::StreamReset, 300);

fn say(text: &str, to: &str) -> io::Result<()> {
    TcpStream::connect(to)?.write_all(text.as_bytes())
}

#[netpoll_sim::test]
fn nothing_needs_to_be_said() {
    assert_eq!(go(|| 6 * 7).join().expect("it does not panic"), 42);
}

#[netpoll_sim::test(seeds = 10..60, faults = light, workers = 3, granularity = atomic, time_limit = "2m")]
fn everything_may_be_said() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:80")?;
    let client = go(|| say("hello", "127.0.0.1:80"));
    let mut text = String::new();
    listener.accept()?.0.read_to_string(&mut text)?;
    assert_eq!(text, "hello");
    client.join().expect("it does not panic")
}

#[netpoll_sim::test(seeds = 200, faults = RESETS)]
fn connections_break_sometimes_and_sometimes_not() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:80")?;
    let client = go(|| say("hello", "127.0.0.1:80"));
    let received = listener.accept()?.0.read_to_string(&mut String::new());
    sometimes!(received.is_err(), "a connection breaks");
    sometimes!(received.is_ok(), "a connection holds");
    // Who writes may not hear of it.
    drop(client.join().expect("it does not panic"));
    Ok(())
}

#[netpoll_sim::test(seeds = 5)]
#[should_panic(expected = "should_panic_works, seed 0: g1 panicked at sim/tests/attribute.rs:")]
fn should_panic_works() {
    assert_eq!(1, 2);
}

// ---- tests that fail when they are to, for the ones below --------------------------------------------

/// The variable that lets them fail: without it they do nothing.
const FIXTURE: &str = "NETPOLL_TEST_FIXTURE";

fn is_wanted() -> bool {
    env::var_os(FIXTURE).is_some()
}

mod fixtures {
    use super::*;

    #[netpoll_sim::test(seeds = 100)]
    fn loses_a_message() {
        if is_wanted() {
            let lost = rand::below(10) == 7;
            assert!(!lost, "a message is lost");
        }
    }

    #[netpoll_sim::test(seeds = 100)]
    fn never_full() {
        sometimes!(!is_wanted() || rand::below(10) == 10, "the queue is full");
    }

    #[netpoll_sim::test(seeds = 100)]
    fn panics_while_it_panics() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("the second");
            }
        }
        if is_wanted() && rand::below(10) == 7 {
            let _bomb = Bomb;
            panic!("the first");
        }
    }

    fn deep(level: u64) -> u64 {
        let frame = hint::black_box([level; 100]);
        if level == u64::MAX { 0 } else { deep(level + 1) + frame[99] }
    }

    #[netpoll_sim::test(seeds = 100)]
    fn overflows_a_stack() {
        if is_wanted() && rand::below(10) == 7 {
            hint::black_box(deep(0));
        }
    }

    /// What each run leaks. All of them together leak three times as much as a process may.
    const LEAKED: usize = 4 << 20;

    fn leak() {
        hint::black_box(vec![1u8; LEAKED].leak());
    }

    /// Of numbers below this, seed 153 draws 7, and no other.
    const SIDES: u64 = 260;

    #[netpoll_sim::test(seeds = 200)]
    fn grows() {
        if is_wanted() {
            leak();
        }
        let drawn = rand::below(SIDES);
        sometimes!(drawn == 7, "it is late");
        sometimes!(drawn != 7, "it is early");
    }

    #[netpoll_sim::test(seeds = 200)]
    fn grows_and_fails() {
        if is_wanted() {
            leak();
            assert!(rand::below(SIDES) != 7, "it has grown");
        }
    }

    #[netpoll_sim::test(seeds = 200)]
    #[should_panic(expected = "it has grown")]
    fn grows_and_is_to_fail() {
        if is_wanted() {
            leak();
        }
        assert!(rand::below(SIDES) != 7, "it has grown");
    }

    #[netpoll_sim::test(seeds = 200, time_limit = "500ms")]
    fn grows_and_never_ends() {
        if is_wanted() {
            leak();
            if rand::below(SIDES) == 7 {
                loop {
                    hint::spin_loop();
                }
            }
        }
    }

    #[netpoll_sim::test(seeds = 200)]
    fn grows_and_aborts() {
        if is_wanted() {
            leak();
            if rand::below(SIDES) == 7 {
                process::abort();
            }
        }
    }

    #[netpoll_sim::test(seeds = 100..101, time_limit = "500ms")]
    fn never_ends_when_it_is_smaller() {
        if is_wanted() {
            if rand::below(1 << 40) == 0 {
                loop {
                    hint::spin_loop();
                }
            }
            panic!("it is many");
        }
    }

    #[netpoll_sim::test(seeds = 100, time_limit = "500ms")]
    fn never_ends() {
        if is_wanted() && rand::below(10) == 7 {
            let listener = TcpListener::bind("127.0.0.1:80");
            loop {
                hint::black_box(&listener);
            }
        }
    }
}

/// A folder of its own for what a process leaves; it is the package's folder for the process.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("attribute-{name}"));
        // What an earlier run has left.
        let _absent = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).expect("a folder can be made");
        Folder(dir)
    }
}

/// Runs `arguments` of this test program, as `cargo test … -- ARGUMENTS` does.
fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let this = env::current_exe().expect("it has a name");
    let mut command = Command::new(this);
    command.args(arguments).env(FIXTURE, "1").envs(variables.iter().copied());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().expect("it can be started");
    let (id, (sender, ended)) = (child.id(), mpsc::channel());
    let watch = thread::spawn(move || sender.send(child.wait_with_output()));
    let output = ended.recv_timeout(LIMIT).unwrap_or_else(|_| {
        // It is ours, and has not been waited for.
        let killed = Command::new("kill").args(["-9", &id.to_string()]).status();
        panic!("{arguments:?} has not ended in {LIMIT:?} ({killed:?})");
    });
    watch.join().expect("it does not panic").expect("somebody receives");
    output.expect("it can be waited for")
}

/// Longer than any of them takes.
const LIMIT: Duration = Duration::from_secs(60);

fn text(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&both).into_owned()
}

/// What a fixture that fails prints.
fn report(fixture: &str, variables: &[(&str, &str)]) -> String {
    let output = run(&["--exact", fixture], variables);
    assert!(!output.status.success());
    text(&output)
}

/// The command in a report that sets `variable`: its value, and the arguments of the test program.
fn command(report: &str, variable: &str) -> (String, Vec<String>) {
    let start = format!("{variable}=");
    let line = report.lines().map(str::trim).find(|line| line.starts_with(&start));
    let line = line.unwrap_or_else(|| panic!("no {variable} in:\n{report}"));
    let (value, rest) = line[start.len()..].split_once(' ').expect("a command follows");
    let package = concat!("cargo test -p ", env!("CARGO_PKG_NAME"), " -- ");
    let arguments = rest.strip_prefix(package).unwrap_or_else(|| panic!("{rest}"));
    (value.to_string(), arguments.split(' ').map(str::to_string).collect())
}

/// Runs the command that a report prints.
fn again(report: &str, variable: &str, others: &[(&str, &str)]) -> String {
    let (value, arguments) = command(report, variable);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let output = run(&arguments, &[&[(variable, &*value)], others].concat());
    assert!(!output.status.success());
    text(&output)
}

/// Removes the failure file that a fixture has left in this package.
struct Left(PathBuf);

impl Drop for Left {
    fn drop(&mut self) {
        // It is gone, or it will be seen by whoever looks at the folder.
        let _gone = fs::remove_file(&self.0);
        let _empty = self.0.parent().map(fs::remove_dir);
    }
}

fn saved(report: &str) -> Left {
    let path = report.lines().find_map(|line| line.trim().strip_prefix("saved: "));
    Left(PathBuf::from(path.unwrap_or_else(|| panic!("nothing is saved:\n{report}"))))
}

#[test]
fn a_failing_test_says_how_to_see_it_again_and_that_is_so() {
    let report = report("fixtures::loses_a_message", &[]);
    let file = saved(&report);
    assert!(file.0.is_file(), "{report}");
    let sentence = "a message is lost";
    assert!(report.contains(sentence), "{report}");
    let traces = Folder::new("traces");
    let traces = [("NETPOLL_SIM_TRACE", traces.0.to_str().expect("a plain path"))];
    for variable in ["NETPOLL_SIM_SEED", "NETPOLL_SIM_REPLAY"] {
        let shown = again(&report, variable, &traces);
        assert!(shown.contains(sentence), "{shown}");
    }
    let page = Path::new(traces[0].1).join("attribute.fixtures.loses_a_message.html");
    assert!(page.is_file(), "{}", page.display());
}

#[test]
fn a_mark_that_is_never_true_fails_the_test() {
    let report = report("fixtures::never_full", &[]);
    assert!(
        report.contains("never true in 100 runs: `the queue is full` (sim/tests/attribute.rs:"),
        "{report}"
    );
}

#[test]
fn a_variable_that_is_not_known_is_refused() {
    let report = report("fixtures::never_full", &[("NETPOLL_SIM_JOB", "1")]);
    assert!(
        report.contains("NETPOLL_SIM_JOB is not known; did you mean NETPOLL_SIM_JOBS?"),
        "{report}"
    );
}

#[test]
fn a_process_that_is_taken_along_names_the_seed_before_it_goes() {
    let output = run(&["--exact", "fixtures::panics_while_it_panics"], &[]);
    assert_eq!(output.status.code(), None, "ended by a signal");
    let report = text(&output);
    assert!(
        report.contains("netpoll-sim: the process ends in fixtures::panics_while_it_panics, seed "),
        "{report}"
    );
    let shown = again(&report, "NETPOLL_SIM_SEED", &[]);
    assert!(shown.contains("the process ends in"), "{shown}");
}

#[test]
fn a_goroutine_that_overflows_its_stack_is_named_and_its_seed_too() {
    let report = text(&run(&["--exact", "fixtures::overflows_a_stack"], &[]));
    let shown = again(&report, "NETPOLL_SIM_SEED", &[]);
    for report in [report, shown] {
        for part in [
            "netpoll: goroutine 1 'main' overflowed its 256 KiB stack",
            "netpoll-sim: the process ends in fixtures::overflows_a_stack, seed ",
        ] {
            assert!(report.contains(part), "no `{part}` in:\n{report}");
        }
    }
}

#[test]
fn a_run_that_never_ends_is_ended_and_says_where_it_was() {
    let output = run(&["--exact", "fixtures::never_ends"], &[]);
    assert_eq!(output.status.code(), Some(101));
    let report = text(&output);
    let file = saved(&report);
    for part in
        ["hang: the run has not ended in 500ms: it came to step ", "is running", "listen(fd"]
    {
        assert!(report.contains(part), "no `{part}` in:\n{report}");
    }
    // From its file as well, which would be tried before any seed.
    for shown in
        [again(&report, "NETPOLL_SIM_REPLAY", &[]), again(&report, "NETPOLL_SIM_SEED", &[])]
    {
        let which = format!("fixtures::never_ends, {}: has not ended in 500ms", file.0.display());
        assert!(shown.contains(&which), "no `{which}` in:\n{shown}");
    }
}

#[test]
fn a_failure_whose_smaller_runs_never_end_is_told_as_it_was_found() {
    let output = run(&["--exact", "fixtures::never_ends_when_it_is_smaller"], &[]);
    assert_eq!(output.status.code(), Some(101));
    let report = text(&output);
    for part in ["it is many", "not made smaller: a smaller run has not ended in 500ms", "replay:"]
    {
        assert!(report.contains(part), "no `{part}` in:\n{report}");
    }
    saved(&report);
}

/// What a process printed that ran the seeds of a fixture in several others.
fn grown(fixture: &str, code: Option<i32>) -> String {
    let output = run(&["--exact", fixture, "--nocapture"], &[("NETPOLL_SIM_JOBS", "2")]);
    let text = text(&output);
    assert_eq!(output.status.code(), code, "{text}");
    text
}

/// Where a process can be asked how large it is, which the relay needs.
fn relays() -> bool {
    netpoll_sim::memory::resident(process::id()).is_some()
}

#[test]
fn a_test_whose_process_grows_runs_its_other_seeds_in_others() {
    if !relays() {
        return;
    }
    let report = grown("fixtures::grows", Some(0));
    let line =
        report.lines().rfind(|line| line.starts_with("netpoll-sim: fixtures::grows: 200 runs"));
    let line = line.unwrap_or_else(|| panic!("{report}"));
    let processes = line.split(", ").find_map(|part| part.strip_suffix(" processes"));
    let processes: u64 = processes.expect("several").parse().expect("a number");
    assert!((3..=5).contains(&processes), "800 MiB, and 256 MiB for each: {line}");
}

#[test]
fn what_another_process_finds_fails_the_test_as_if_it_were_this_one() {
    if !relays() {
        return;
    }
    let report = grown("fixtures::grows_and_fails", Some(101));
    let file = saved(&report);
    assert!(file.0.is_file(), "{report}");
    // That of the process which found it, and that of the test.
    let said = "fixtures::grows_and_fails, seed 153: g1 panicked at sim/tests/attribute.rs:";
    assert_eq!(report.matches(&format!("netpoll-sim: {said}")).count(), 2, "{report}");
    assert_eq!(report.matches("NETPOLL_SIM_REPLAY=").count(), 1, "{report}");
    let shown = again(&report, "NETPOLL_SIM_REPLAY", &[]);
    assert!(shown.contains("it has grown"), "{shown}");
    grown("fixtures::grows_and_is_to_fail", Some(0));
}

#[test]
fn a_run_that_ends_another_process_fails_the_test_as_well() {
    if !relays() {
        return;
    }
    let report = grown("fixtures::grows_and_never_ends", Some(101));
    saved(&report);
    let hang = "netpoll-sim: fixtures::grows_and_never_ends, seed 153: hang: the run has not ended";
    assert_eq!(report.matches(hang).count(), 2, "{report}");
    let report = grown("fixtures::grows_and_aborts", Some(101));
    for part in [
        "netpoll-sim: the process ends in fixtures::grows_and_aborts, seed 153; to see it again:",
        " ended: signal: 6 (SIGABRT)",
    ] {
        assert!(report.contains(part), "no `{part}` in:\n{report}");
    }
}
