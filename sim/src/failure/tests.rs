//! Failure files read back as they were written, and damaged ones are refused by line.

use super::*;
use crate::explore::WORKERS_DEFAULT;
use crate::{ChoiceKind, Granularity};

fn failure() -> Failure {
    let thread = |k, n| Choice { kind: ChoiceKind::Thread, n, k };
    let fault = Choice { kind: ChoiceKind::Fault(FaultKind::PollEintr), n: 2, k: 1 };
    let mut choices = vec![thread(0, 2); 36];
    choices.extend([thread(1, 2), fault, thread(2, 3), thread(2, 3)]);
    Failure {
        program: Program::Scenario("close_vs_read".to_string()),
        netpoll: "0.1.0".to_string(),
        seed: Some(17),
        options: Options {
            granularity: Granularity::Atomic,
            faults: Faults::light(),
            workers: WORKERS_DEFAULT,
        },
        property: Property::LostWakeup,
        sentence: "L3 lost wakeup: one\ntwo \\ three".to_string(),
        needs: Some("g7 gives way to w1".to_string()),
        original: Some(Original { choices: 1717, deviations: 201 }),
        choices,
    }
}

#[test]
fn a_file_reads_as_documented() {
    let expected = "\
netpoll-failure 3
scenario close_vs_read
netpoll 0.1.0
seed 17
granularity atomic
faults poll-eintr=20 spurious-wake=20 spurious-event=20 false-event=20 short-write=20
workers 2
violated lost-wakeup
sentence L3 lost wakeup: one\\ntwo \\\\ three
needs g7 gives way to w1
original 1717 201
choices 40
thread:0/2*36 thread:1/2 poll-eintr:1/2 thread:2/3*2
end
";
    assert_eq!(failure().to_string(), expected);
}

#[test]
fn a_file_is_read_back_as_it_was_written() {
    let mut failures = vec![failure(); 3];
    failures[1].seed = None;
    failures[1].options.faults = Faults::none();
    failures[1].needs = None;
    failures[2].choices.clear();
    failures[2].original = None;
    for failure in failures {
        assert_eq!(Failure::parse(&failure.to_string()), Ok(failure));
    }
}

#[test]
fn a_file_of_version_1_is_still_read() {
    let text = failure().to_string();
    let old = text.replacen("netpoll-failure 3", "netpoll-failure 1", 1);
    let old = old.replacen("needs g7 gives way to w1\noriginal 1717 201\n", "", 1);
    let expected = Failure { needs: None, original: None, ..failure() };
    assert_eq!(Failure::parse(&old), Ok(expected));
    // What a version has is not optional.
    let mixed = text.replacen("netpoll-failure 3", "netpoll-failure 1", 1);
    assert_eq!(Failure::parse(&mixed).unwrap_err().line, 10);
    let mixed = old.replacen("netpoll-failure 1", "netpoll-failure 2", 1);
    assert_eq!(Failure::parse(&mixed).unwrap_err().line, 10);
}

#[test]
fn tests_have_a_package_since_version_3() {
    let program = Program::Test {
        package: "my-proto".to_string(),
        version: "0.3.1".to_string(),
        krate: "frames".to_string(),
        name: "tests::frames".to_string(),
    };
    let failure = Failure { program, ..failure() };
    let text = failure.to_string();
    assert!(text.contains("\ntest my-proto 0.3.1 frames tests::frames\n"), "{text}");
    assert_eq!(Failure::parse(&text), Ok(failure.clone()));
    assert_eq!(failure.file_name(), "frames.tests.frames-17-atomic-light.failure");
    let old = text.replacen("netpoll-failure 3", "netpoll-failure 2", 1);
    assert_eq!(Failure::parse(&old).unwrap_err().line, 2);
}

#[test]
fn long_lists_are_broken_into_lines() {
    let mut failure = failure();
    let first = failure.choices.clone();
    (0..100).for_each(|_| failure.choices.extend_from_slice(&first[30..]));
    let text = failure.to_string();
    assert!(text.lines().all(|line| line.len() <= WIDTH));
    assert_eq!(Failure::parse(&text), Ok(failure));
}

#[test]
fn comments_and_empty_lines_are_skipped() {
    let text = failure().to_string();
    let commented = text.replacen('\n', "\n# found by hand\n\n", 1);
    assert_eq!(Failure::parse(&commented), Ok(failure()));
}

/// Replaces a part of a good file and demands a complaint.
#[track_caller]
fn check(from: &str, to: &str, expected: &str) {
    let text = failure().to_string();
    assert!(text.contains(from), "no `{from}` in the file");
    let error = Failure::parse(&text.replacen(from, to, 1)).unwrap_err();
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_damaged_file_is_refused_with_line_and_expectation() {
    check(
        "netpoll-failure 3",
        "netpoll-failure 4",
        "line 1: expected `netpoll-failure 1` to `netpoll-failure 3`, found `netpoll-failure 4`",
    );
    check("seed 17", "seed x", "line 4: expected `seed NUMBER` or `seed -`, found `seed x`");
    check(
        "granularity atomic",
        "granularity fine",
        "line 5: expected `granularity syscall` or `granularity atomic`, found `granularity fine`",
    );
    check(
        "workers 2",
        "workers 0",
        "line 7: expected `workers N` with N from 1 to 1024, as in `workers 2`, found `workers 0`",
    );
    check(
        "thread:1/2",
        "thread:2/2",
        "line 13: expected a choice such as `thread:1/3` or `thread:0/2*17`, found `thread:2/2`",
    );
    check(
        "thread:0/2*36",
        "thread:0/2*4000000000",
        "line 13: expected no more than 40 choices, found `thread:0/2*4000000000`",
    );
    check("choices 40", "choices 41", "line 14: expected 1 more of 41 choices, found `end`");
    check(
        "choices 40",
        "choices 39",
        "line 13: expected no more than 1 choices, found `thread:2/3*2`",
    );
    for wrong in ["1717", "1717 x", "12 13", ""] {
        let original = format!("original {wrong}");
        let text = failure().to_string().replacen("original 1717 201", &original, 1);
        let error = Failure::parse(&text).unwrap_err();
        assert_eq!(error.line, 11, "{error}");
    }
    check("end", "end\nmore", "line 15: expected nothing after `end`, found `more`");
    for (from, to) in [
        ("poll-eintr=20", "poll-eintr=1001"),
        ("poll-eintr=20", "poll-eintr"),
        ("poll-eintr=20", "weather=20"),
        ("poll-eintr=20", "spurious-wake=20"),
        ("faults ", "faults  "),
    ] {
        let error = Failure::parse(&failure().to_string().replacen(from, to, 1)).unwrap_err();
        assert_eq!(error.line, 6, "{to}: {error}");
    }
}

/// Every prefix is refused, wherever the file was cut off.
#[test]
fn a_truncated_file_is_refused() {
    let text = failure().to_string();
    for len in 0..text.len() - 1 {
        assert!(Failure::parse(&text[..len]).is_err(), "{len} bytes");
    }
    let cut = text.find("choices").unwrap();
    let error = Failure::parse(&text[..cut]).unwrap_err();
    assert!(error.to_string().ends_with("found the end of the file"));
    assert_eq!(error.line, 12);
}

#[test]
fn a_saved_file_can_be_read_and_no_draft_is_left() {
    let dir = std::env::temp_dir().join(format!("netpoll-failure-{}", process::id()));
    let path = failure().save(&dir).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(Failure::parse(&text), Ok(failure()));
    assert_eq!(path.file_name().unwrap(), "close_vs_read-17-atomic-light.failure");
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
    fs::remove_dir_all(&dir).unwrap();
}
