//! The explorer on programs that are wrong in known ways, and on those that are right.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use netpoll::go;
use netpoll::net::TcpListener;
use netpoll::sync::channel;
use netpoll::time::sleep;
use netpoll_sim::explore::{Finding, Options, Plan, Property, Summary, execute, explore};
use netpoll_sim::scenarios::{self, Scenario};
use netpoll_sim::{Faults, Granularity, Keep, Source};

/// A scenario that lives as long as the tests.
fn scenario(body: fn()) -> &'static Scenario {
    let scenario = Scenario::new("made_for_a_test", "", body);
    Box::leak(Box::new(Scenario { faults: Faults::none(), ..scenario }))
}

fn search(scenario: &'static Scenario, seeds: u64, jobs: usize) -> Summary {
    let plan = Plan {
        scenario,
        seeds: 0..seeds,
        time: None,
        options: Options::of(scenario),
        jobs: NonZeroUsize::new(jobs),
    };
    explore(&plan, &|_| {})
}

/// Demands that a body is found to violate `property` at once.
#[track_caller]
fn check(body: fn(), property: Property, part_of_the_sentence: &str) -> Finding {
    let summary = search(scenario(body), 50, 1);
    let finding = summary.finding.expect("a violation");
    let violation = &finding.violation;
    assert_eq!(violation.property, property, "{finding}");
    assert!(violation.sentence.contains(part_of_the_sentence), "{finding}");
    finding
}

#[test]
fn a_panic_of_a_goroutine_is_found_with_its_message_and_place() {
    let finding = check(
        || go(|| panic!("seven is {}", 8)).join().unwrap_or_else(|p| std::panic::resume_unwind(p)),
        Property::Panic,
        "seven is 8",
    );
    let report = finding.to_string();
    assert!(report.contains("explore.rs:"), "{report}");
    assert!(report.contains("(g2 panicked on w"), "{report}");
    let last = finding.events.last().expect("events");
    assert!(last.ends_with("panic raised"), "{report}");
}

#[test]
fn a_goroutine_that_waits_for_nobody_is_a_deadlock() {
    let finding = check(
        || {
            let (_sender, receiver) = channel::<()>(0);
            let _never = receiver.recv();
        },
        Property::Deadlock,
        "nobody can ever run: g1 waits for chan recv",
    );
    assert!(finding.to_string().contains("g1    w"), "{finding}");
}

#[test]
fn an_accept_that_nobody_connects_to_is_a_deadlock_and_no_lost_wakeup() {
    check(
        || {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let _never = listener.accept();
        },
        Property::Deadlock,
        "g1 waits for read fd5",
    );
}

#[test]
fn a_goroutine_that_outlives_the_program_is_a_leak() {
    check(|| drop(go(|| sleep(Duration::from_secs(3_600)))), Property::GoroutineLeak, "g2");
}

#[test]
fn a_descriptor_that_is_never_closed_is_a_leak() {
    check(
        || std::mem::forget(TcpListener::bind("127.0.0.1:0").unwrap()),
        Property::DescriptorLeak,
        "fd5 tcp listener",
    );
}

#[test]
fn a_program_without_end_is_a_livelock() {
    check(
        || {
            loop {
                sleep(Duration::from_nanos(1));
            }
        },
        Property::Livelock,
        "did not end in",
    );
}

#[test]
fn the_smallest_failing_seed_is_found_with_any_number_of_jobs() {
    let first = search(scenarios::broken(), 1_000, 1).finding.expect("found");
    let again = search(scenarios::broken(), 1_000, 3).finding.expect("found");
    assert_eq!(first.seed, again.seed);
    assert_eq!(first.to_string(), again.to_string());
    assert_eq!(first.nondeterminism, None);
    let seed = first.seed.expect("it has one");
    let command =
        format!("cargo sim replay broken --seed {seed} --granularity atomic --faults none");
    assert_eq!(first.replay_command(), Some(command));
}

#[test]
fn a_finding_replays_exactly_from_its_seed_and_from_its_choices() {
    let finding = search(scenarios::broken(), 1_000, 1).finding.expect("found");
    let again = |source| execute(finding.scenario, &finding.options, source, Keep::All);
    let from_seed = again(Source::Seed(finding.seed.expect("it has one")));
    let from_choices = again(Source::Replay(finding.choices.clone()));
    assert_eq!(from_choices.report.diverged, None);
    assert_eq!(from_seed.report, from_choices.report);
    assert_eq!(from_choices.violation, Some(finding.violation));
}

/// A program that is not a function of its choices must not be believed.
#[test]
fn a_run_that_does_not_repeat_is_called_out() {
    static RUNS: AtomicU32 = AtomicU32::new(0);
    let summary = search(
        scenario(|| {
            let runs = RUNS.fetch_add(1, Relaxed);
            panic!("run {runs}");
        }),
        1,
        1,
    );
    let finding = summary.finding.expect("a violation");
    let report = finding.to_string();
    assert!(report.starts_with("DETERMINISM FAILURE: "), "{report}");
    assert!(report.contains("run 0") && report.contains("run 1"), "{report}");
}

#[test]
fn an_exploration_whose_time_is_up_starts_nothing() {
    let plan = Plan {
        scenario: scenarios::broken(),
        seeds: 0..u64::MAX,
        time: Some(Duration::ZERO),
        options: Options::of(scenarios::broken()),
        jobs: NonZeroUsize::new(2),
    };
    let summary = explore(&plan, &|_| {});
    assert_eq!(summary.progress.seeds, 0);
    assert!(summary.finding.is_none());
}

/// Few seeds of everything; `cargo sim explore --all` runs many.
#[test]
fn every_scenario_is_clean_at_both_granularities_under_all_faults() {
    for scenario in scenarios::all() {
        for granularity in [Granularity::Syscall, Granularity::Atomic] {
            for faults in [Faults::none(), Faults::light(), Faults::chaos()] {
                let plan = Plan {
                    scenario,
                    seeds: 0..20,
                    time: None,
                    options: Options { granularity, faults, ..Options::of(scenario) },
                    jobs: None,
                };
                if let Some(finding) = explore(&plan, &|_| {}).finding {
                    panic!("{finding}");
                }
            }
        }
    }
}
