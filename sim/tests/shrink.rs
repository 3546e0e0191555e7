//! Whole runs made smaller: schedule, faults and data of the real runtime.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use netpoll::go;
use netpoll::net::TcpListener;
use netpoll::sync::channel;
use netpoll::time::sleep;
use netpoll_sim::explore::{Finding, Options, Plan, Property, execute, explore, shrink};
use netpoll_sim::scenarios::{self, Scenario};
use netpoll_sim::shrink::{Budget, End, Size, Unshrinkable};
use netpoll_sim::{Faults, Granularity, Keep, Source};

/// No time limit, so that a busy machine changes nothing.
const PATIENT: Budget = Budget { time: Duration::from_secs(3_600), attempts: 20_000 };

fn scenario(granularity: Granularity, body: fn()) -> &'static Scenario {
    Box::leak(Box::new(Scenario {
        faults: Faults::none(),
        granularity,
        ..Scenario::new("made_for_a_test", "", body)
    }))
}

/// The first finding of these seeds.
fn find(scenario: &'static Scenario, seeds: std::ops::Range<u64>) -> Finding {
    let plan = Plan { jobs: NonZeroUsize::new(1), ..Plan::new(scenario, seeds) };
    explore(&plan, &()).finding.expect("a violation")
}

#[test]
fn of_a_schedule_that_breaks_the_broken_scenario_a_fifth_remains_at_most() {
    let mut start = 0;
    for _ in 0..5 {
        let found = find(scenarios::broken(), start..10_000);
        start = found.seed.expect("it has one") + 1;
        let smaller = found.clone().shrunk(&PATIENT);
        let shrunk = smaller.shrunk.as_ref().expect("it was made smaller");
        assert_eq!(shrunk.end, End::Smallest);
        assert_eq!(shrunk.before, Size::of(&found.choices));
        assert!(shrunk.after.deviations * 5 <= shrunk.before.deviations, "{smaller}");
        assert!(shrunk.after.deviations > 0, "in order it does not fail: {smaller}");
        assert_eq!(smaller.violation.property, Property::Deadlock);
        assert_eq!(smaller.seed, found.seed);
        // The waiter is interrupted between its look at the flag and its wait.
        let needs = smaller.needs.as_ref().expect("few enough");
        assert_eq!(needs.len(), shrunk.after.deviations);
        let needed = "between `run g";
        assert!(needs.iter().any(|need| need.contains(needed)), "{smaller}");
        let report = smaller.to_string();
        assert!(report.contains("\nneeds:\n") && report.contains("made smaller in"), "{report}");

        let source = Source::Replay(shrunk.choices.clone());
        let replayed = execute(smaller.scenario, &smaller.options, source, Keep::All);
        assert_eq!(replayed.report.diverged, None);
        assert_eq!(replayed.report.choices, smaller.choices);
        assert_eq!(replayed.violation.as_ref(), Some(&smaller.violation));
        assert_eq!(found.shrunk(&PATIENT).choices, smaller.choices, "the same each time");
    }
}

/// Fails at one place or the other, whichever goroutine comes first. The dullest run has an answer, too.
fn either_way() {
    let (sender, receiver) = channel(2);
    let other = sender.clone();
    drop(go(move || sender.send(1)));
    drop(go(move || other.send(2)));
    match receiver.recv() {
        Ok(1) => panic!("the first"),
        _ => panic!("the second"),
    }
}

#[test]
fn a_panic_does_not_become_another_panic() {
    let scenario = scenario(Granularity::Atomic, either_way);
    let dullest = execute(scenario, &Options::of(scenario), Source::Dull, Keep::Last(0));
    let dullest = dullest.violation.expect("it fails anyhow").sentence;
    let mut sentences = Vec::new();
    let mut start = 0;
    while sentences.len() < 20 {
        let found = find(scenario, start..1_000);
        start = found.seed.expect("it has one") + 1;
        let sentence = found.violation.sentence.clone();
        let smaller = found.shrunk(&PATIENT);
        let place =
            |sentence: &str| sentence.split_once(" panicked ").expect("it did").1.to_string();
        assert_eq!(place(&smaller.violation.sentence), place(&sentence), "{smaller}");
        let after = smaller.shrunk.expect("it was made smaller").after;
        assert_eq!(after.deviations == 0, place(&sentence) == place(&dullest));
        sentences.push(place(&sentence));
    }
    sentences.sort();
    sentences.dedup();
    assert_eq!(sentences.len(), 2, "{sentences:?}");
}

#[test]
fn a_failure_that_does_not_come_again_is_called_out_and_left_as_it_was() {
    static RUNS: AtomicU32 = AtomicU32::new(0);
    let scenario = scenario(Granularity::Syscall, || {
        let run = RUNS.fetch_add(1, Relaxed);
        assert!(run >= 4, "one of the first four");
    });
    // Two runs find and confirm it, two more begin to make it smaller.
    let found = find(scenario, 0..1);
    assert_eq!(found.nondeterminism, None);
    let choices = found.choices.clone();
    let report = found.shrunk(&PATIENT);
    assert!(report.to_string().starts_with("DETERMINISM FAILURE: "), "{report}");
    assert_eq!((report.choices, report.shrunk), (choices, None));
}

#[test]
fn a_run_without_a_violation_cannot_be_made_smaller() {
    let echo = scenarios::find("echo").expect("it is one");
    let clean = execute(echo, &Options::of(echo), Source::Seed(1), Keep::Last(0));
    let shrunk = shrink(echo, &Options::of(echo), clean.report.choices, &PATIENT, |_| {});
    assert_eq!(shrunk, Err(Unshrinkable::Passes));
}

/// Opens sockets, with sleeps between, under all faults; one that is refused is an error that it does not
/// expect.
fn opens_twenty() {
    for _ in 0..20 {
        sleep(Duration::from_micros(10));
        drop(TcpListener::bind("127.0.0.1:0").expect("there are descriptors"));
    }
}

#[test]
fn of_many_faults_the_one_that_is_needed_remains_as_early_as_it_can_be() {
    let scenario: &Scenario = Box::leak(Box::new(Scenario {
        faults: Faults::chaos(),
        ..Scenario::new("made_for_a_test", "", opens_twenty)
    }));
    let found = find(scenario, 0..1_000);
    let struck =
        execute(scenario, &found.options, Source::Replay(found.choices.clone()), Keep::All);
    let kinds = struck.report.faults_struck.iter().count();
    assert!(kinds > 1, "other faults struck as well");
    let smaller = found.shrunk(&PATIENT);
    // Beside the fault, that the world has not healed before it.
    let (phase, faults): (Vec<_>, Vec<_>) =
        smaller.needs.iter().flatten().partition(|it| it.starts_with("heal-after"));
    assert_eq!(faults, ["no-descriptor in `socket() = EMFILE` of g1"], "{smaller}");
    assert!(phase.len() <= 1, "{smaller}");
    let calls = |events: &[String]| events.iter().filter(|it| it.contains("socket()")).count();
    assert_eq!(calls(&smaller.events), 1, "the first socket is the one: {smaller}");
}
