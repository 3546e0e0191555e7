//! The explorer on programs that are wrong in known ways, and on those that are right.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use netpoll::net::TcpListener;
use netpoll::sync::channel;
use netpoll::time::sleep;
use netpoll::{go, yield_now};
use netpoll_sim::explore::{Finding, Options, Plan, Property, Summary, execute, explore};
use netpoll_sim::scenarios::{self, Scenario};
use netpoll_sim::{ChoiceKind, FaultKind, Faults, Granularity, Keep, Profile, Source};
use netpoll_traces::WorldEvent;

/// A scenario that lives as long as the tests.
fn scenario(body: fn()) -> &'static Scenario {
    let scenario = Scenario::new("made_for_a_test", "", body);
    Box::leak(Box::new(Scenario { faults: Faults::none(), ..scenario }))
}

fn search(scenario: &'static Scenario, seeds: u64, jobs: usize) -> Summary {
    let plan = Plan { jobs: NonZeroUsize::new(jobs), ..Plan::new(scenario, 0..seeds) };
    explore(&plan, &())
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
fn a_program_without_end_does_not_end_in_a_quiet_world_either() {
    check(
        || {
            loop {
                sleep(Duration::from_nanos(1));
            }
        },
        Property::Liveness,
        "quiet must become done, but the world healed at step",
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

#[test]
fn a_panic_is_at_the_record_that_tells_of_it_whatever_is_kept() {
    let scenario = scenario(|| {
        sleep(Duration::from_nanos(1));
        panic!("no more");
    });
    let run = |keep| {
        let run = execute(scenario, &Options::of(scenario), Source::Seed(3), keep);
        (run.violation.expect("it panics"), run.report.trace)
    };
    let all = run(Keep::All);
    let last = run(Keep::Last(all.1.records.len() - 5));
    assert_eq!(all.0, last.0);
    assert!(last.1.dropped > 0 && last.0.at > last.0.guilt(&last.1).at);
    for (violation, trace) in [all, last] {
        // It was raised some records before the end: destructors ran after it.
        let at = violation.guilt(&trace).at.expect("it was kept");
        assert_eq!(trace.records[at].event, WorldEvent::Panic.into());
    }
}

/// A program that is not a function of its choices must not be believed.
#[test]
fn a_run_that_does_not_repeat_is_called_out() {
    static RUNS: AtomicU32 = AtomicU32::new(0);
    let body = || {
        let runs = RUNS.fetch_add(1, Relaxed);
        panic!("run {runs}");
    };
    // Not one of the seeds that are run twice in any case.
    let summary = explore(&Plan::new(scenario(body), 1..2), &());
    let finding = summary.finding.expect("a violation");
    let report = finding.to_string();
    assert!(report.starts_with("DETERMINISM FAILURE: "), "{report}");
    // What is shown is the first run; where two others part is told.
    assert!(report.contains("run 0\n"), "{report}");
    assert!(report.contains("they part at event "), "{report}");
}

#[test]
fn an_exploration_whose_time_is_up_starts_nothing() {
    let plan = Plan {
        time: Some(Duration::ZERO),
        jobs: NonZeroUsize::new(2),
        ..Plan::new(scenarios::broken(), 0..u64::MAX)
    };
    let summary = explore(&plan, &());
    assert_eq!(summary.progress.seeds, 0);
    assert!(summary.finding.is_none());
}

/// Few seeds of everything; `cargo sim explore --all` runs many.
#[test]
fn every_scenario_is_clean_at_both_granularities_under_all_profiles() {
    for scenario in scenarios::all() {
        for granularity in [Granularity::Syscall, Granularity::Atomic] {
            for profile in [None].into_iter().chain(Profile::ALL.map(Some)) {
                let options = Options { granularity, ..Options::of(scenario) };
                let plan = Plan { options, profile, ..Plan::new(scenario, 0..8) };
                if let Some(finding) = explore(&plan, &()).finding {
                    panic!("{finding}");
                }
            }
        }
    }
}

#[test]
fn a_swarm_seed_repeats_by_its_command_and_by_its_choices_alone() {
    let found = (0..50).find_map(|start| {
        let plan = Plan {
            profile: Some(Profile::Swarm),
            ..Plan::new(scenarios::broken(), start * 20..start * 20 + 20)
        };
        explore(&plan, &()).finding
    });
    let finding = found.expect("a violation");
    let seed = finding.seed.expect("it has one");
    let command = finding.replay_command().expect("there is one");
    assert!(command.ends_with("--faults swarm"), "{command}");
    assert_eq!(finding.options.faults, Profile::Swarm.faults(seed));
    let again = |source| execute(finding.scenario, &finding.options, source, Keep::All);
    let by_seed = again(Profile::Swarm.source(seed));
    let by_choices = again(Source::Replay(finding.choices.clone()));
    assert_eq!(by_choices.report.diverged, None);
    assert_eq!(by_seed.report, by_choices.report);
}

/// The seeds of a swarm differ from each other, and from the same seeds without it.
#[test]
fn what_strikes_is_counted_and_a_swarm_leaves_some_of_it_out() {
    let scenario = scenarios::find("echo").expect("it is there");
    let totals = |profile| {
        let plan = Plan { profile: Some(profile), ..Plan::new(scenario, 0..40) };
        explore(&plan, &()).progress.totals
    };
    let (none, chaos, swarm) =
        (totals(Profile::None), totals(Profile::Chaos), totals(Profile::Swarm));
    let wake = ChoiceKind::Fault(FaultKind::SpuriousWake);
    assert_eq!((none.asked(wake), none.struck(wake)), (0, 0));
    assert!(chaos.struck(wake) > 40 && chaos.runs(wake) > 30);
    assert!((5..36).contains(&swarm.runs(wake)), "on in {} of 40 runs", swarm.runs(wake));
    for freedom in [ChoiceKind::Thread, ChoiceKind::SegmentDelay, ChoiceKind::EventOrder] {
        assert!(none.struck(freedom) > 0 && swarm.struck(freedom) > 0, "{}", freedom.name());
    }
    assert!(chaos.silent().is_empty(), "{:?}", chaos.silent());
}

#[test]
fn a_run_that_looks_at_a_real_clock_parts_from_itself_at_a_named_event() {
    let body = || {
        // Two readings of a real clock agree in this for one pair of runs in sixteen.
        let real = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("after 1970");
        (0..real.as_nanos() % 997 % 16).for_each(|_| yield_now());
    };
    let plan = Plan { check_determinism: true, ..Plan::new(scenario(body), 1..50) };
    let finding = explore(&plan, &()).finding.expect("it is not deterministic");
    assert_eq!(finding.violation.property, Property::Nondeterminism, "{finding}");
    let sentence = &finding.violation.sentence;
    assert!(sentence.starts_with("two runs of this seed are not the same: "), "{sentence}");
    assert!(sentence.contains("they part at event "), "{sentence}");
    // A clean program is not accused.
    let plan =
        Plan { check_determinism: true, ..Plan::new(scenarios::all().first().unwrap(), 0..9) };
    assert!(explore(&plan, &()).finding.is_none());
}

#[test]
fn a_thread_of_the_operating_system_that_uses_the_runtime_is_called_out() {
    let finding = check(
        || {
            let listener = std::sync::Arc::new(TcpListener::bind("127.0.0.1:0").unwrap());
            let its = std::sync::Arc::clone(&listener);
            let thread = std::thread::Builder::new().name("stranger".into());
            // Whether its panic is seen or not: the run is not to be believed.
            let _panicked = thread.spawn(move || its.local_addr().is_ok()).unwrap().join();
        },
        Property::Intrusion,
        "a thread of the operating system `stranger` makes a system call of a simulated runtime",
    );
    assert_eq!(finding.seed, Some(0));
}
