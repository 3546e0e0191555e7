//! The example of a replicated register: as it is it holds, and each of its bugs is found and made small.

#[path = "../examples/register/history.rs"]
mod history;
#[path = "../examples/register/register.rs"]
mod register;
#[path = "../examples/register/trial.rs"]
mod trial;

use history::{Did, Operation, is_linearizable};
use netpoll::time::Instant;
use register::Bug;

#[netpoll_sim::test(seeds = 300)]
fn a_register_that_leaves_nothing_out_holds() {
    trial::program(Bug::None);
}

/// Finds a bug, and makes it smaller to at most so many choices that are not the dullest.
fn finds(bug: Bug, most: u64) {
    let failed = trial::sim(0..1_000).try_check(move || trial::program(bug));
    let failed = failed.expect_err("it is broken");
    let finding = failed.finding().expect("a run is to blame");
    println!("{failed}");
    let text = finding.violation.to_string();
    assert!(text.contains("no register does this"), "{text}");
    let shrunk = finding.shrunk.as_ref().expect("it was made smaller");
    assert!(shrunk.after.deviations < shrunk.before.deviations, "{shrunk}");
    assert!(shrunk.after.deviations as u64 <= most, "{shrunk}");
}

#[test]
fn a_read_that_does_not_write_back_is_found() {
    finds(Bug::NoWriteBack, 30);
}

#[test]
fn an_acknowledgement_of_what_is_not_on_the_disk_is_found() {
    finds(Bug::NoSync, 30);
}

#[test]
fn the_search_tells_histories_apart() {
    let at = |ns: u64| Instant::now() + std::time::Duration::from_nanos(ns);
    let start = at(0);
    let of = |did, from, to: Option<u64>| {
        let ns = std::time::Duration::from_nanos;
        Operation { client: 0, did, from: start + ns(from), to: to.map(|to| start + ns(to)) }
    };
    let write = |from, to| of(Did::Write(1), from, to);
    let read = |value, from, to| of(Did::Read(value), from, Some(to));
    for (history, is_fine) in [
        (vec![write(0, Some(10)), read(1, 11, 12)], true),
        (vec![write(0, Some(10)), read(0, 11, 12)], false),
        (vec![write(0, Some(10)), read(0, 5, 6), read(1, 7, 8)], true),
        (vec![write(0, Some(10)), read(1, 5, 6), read(0, 7, 8)], false),
        (vec![write(0, None), read(0, 5, 6), read(1, 70, 80)], true),
        (vec![write(0, None), read(0, 5, 6)], true),
        (vec![read(1, 5, 6)], false),
    ] {
        assert_eq!(is_linearizable(&history), is_fine, "{history:?}");
    }
}
