//! Tests of the engine: what each granularity can find, how runs end, and that they repeat.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::{mem, ptr};

use netpoll::platform::{Atomic, Kernel, Lock, Park, Primitives, Thread};

use netpoll_traces::{Entry, Record, Trace, WorldEvent};

use crate::choice::ChoiceKind;
use crate::engine::{CALL_NS, NEVER, START_NS};
use crate::platform::{SimMutex, SimParker};
use crate::tests::{check, check_with};
use crate::{
    FaultKind, Faults, Granularity, Healing, Journal, Keep, Note, Outcome, Report, Sim, SimConfig,
    Source, Virtual, run,
};

type Counter = <Virtual as Primitives>::AtomicU64;

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> impl Thread {
    Virtual::spawn(name.to_string(), Box::new(body)).expect("threads are free")
}

/// Two threads increment a counter, each by a load and a store: T1 loads, T2 loads, both store.
fn lost_update(seed: u64, granularity: Granularity) -> Report {
    check_with(seed, granularity, |_| {
        let counter = Arc::new(Counter::new(0));
        let add = |counter: Arc<Counter>| move || counter.store(counter.load(Relaxed) + 1, Relaxed);
        let threads = [spawn("a", add(counter.clone())), spawn("b", add(counter.clone()))];
        threads.into_iter().for_each(Thread::join);
        assert_eq!(counter.load(Relaxed), 2, "lost update");
    })
}

fn has_panicked(report: &Report) -> bool {
    matches!(report.outcome, Outcome::Panicked { .. })
}

#[test]
fn a_lost_update_is_found_at_the_fine_granularity_only() {
    let found = |granularity| (0..200).any(|seed| has_panicked(&lost_update(seed, granularity)));
    assert!(found(Granularity::Atomic));
    assert!(!found(Granularity::Syscall));
}

#[test]
fn a_failure_repeats_from_its_seed_and_from_its_choices() {
    let failing = |&seed: &u64| has_panicked(&lost_update(seed, Granularity::Atomic));
    let seed = (0..200).find(failing).expect("see above");
    let first = lost_update(seed, Granularity::Atomic);
    assert_eq!(lost_update(seed, Granularity::Atomic), first);
    let config = SimConfig {
        granularity: Granularity::Atomic,
        ..SimConfig::seed(0).replaying(first.choices.clone())
    };
    let again = run(config, |_| {
        let counter = Arc::new(Counter::new(0));
        let add = |counter: Arc<Counter>| move || counter.store(counter.load(Relaxed) + 1, Relaxed);
        let threads = [spawn("a", add(counter.clone())), spawn("b", add(counter.clone()))];
        threads.into_iter().for_each(Thread::join);
        assert_eq!(counter.load(Relaxed), 2, "lost update");
    });
    assert_eq!((again.trace, again.choices, again.diverged), (first.trace, first.choices, None));
}

#[test]
fn a_panic_is_reported_with_its_message_thread_and_place_and_ends_the_run() {
    let report = check_with(1, Granularity::Syscall, |_| {
        let thread = spawn("netpoll-w3", || panic!("I7: slot {} is gone", 4));
        thread.join();
        unreachable!("the run is over");
    });
    let Outcome::Panicked { message, location, thread } = report.outcome else {
        panic!("{:?}", report.outcome);
    };
    assert_eq!((&*message, &*thread), ("I7: slot 4 is gone", "w3"));
    assert!(location.is_some_and(|at| at.contains("tests.rs:")));
}

#[test]
fn a_panic_that_is_caught_inside_is_nobodys_business() {
    check(|_| {
        let caught = std::panic::catch_unwind(|| panic!("expected"));
        assert!(caught.is_err());
    });
}

/// T1 holds A and wants B, T2 holds B and wants A.
#[test]
fn a_deadlock_of_two_locks_is_found_and_says_who_waits_for_what() {
    let deadlock = |seed| {
        let report = check_with(seed, Granularity::Atomic, |_| {
            let locks = Arc::new((SimMutex::new(()), SimMutex::new(())));
            let other = locks.clone();
            let thread = spawn("other", move || {
                let _b = other.1.lock();
                let _a = other.0.lock();
            });
            let a = locks.0.lock();
            let b = locks.1.lock();
            drop((a, b));
            thread.join();
        });
        match report.outcome {
            Outcome::Finished => None,
            outcome => Some(outcome.to_string()),
        }
    };
    let found = (0..200).find_map(deadlock).expect("a deadlock");
    assert!(found.starts_with("deadlock: main waits for lock #"), "{found}");
    assert!(found.contains(", other waits for lock #"), "{found}");
}

/// Depth 2: the reader must start late, and come exactly between two of the writer's 22 operations.
#[test]
fn a_bug_of_depth_two_is_found() {
    let found = (0..5_000).find(|&seed| {
        has_panicked(&check_with(seed, Granularity::Atomic, |_| {
            let flag = Arc::new((Counter::new(0), Counter::new(0)));
            let writer = flag.clone();
            let thread = spawn("writer", move || {
                for _ in 0..20 {
                    writer.1.load(Relaxed);
                }
                writer.0.store(1, Relaxed);
                writer.1.store(1, Relaxed);
            });
            if flag.0.load(Relaxed) == 1 {
                assert_eq!(flag.1.load(Relaxed), 1, "published before it was there");
            }
            thread.join();
        }))
    });
    assert!(found.is_some());
}

#[test]
fn the_clock_jumps_when_everybody_sleeps_and_creeps_when_somebody_calls() {
    let report = check(|kernel| {
        let parker = SimParker::new();
        parker.park_timeout(600_000_000_000);
        for _ in 0..10 {
            kernel.eventfd().unwrap();
        }
    });
    let crept = 11 * CALL_NS;
    assert_eq!(report.end_ns, START_NS + 600_000_000_000 + crept);
}

#[test]
fn a_busy_wait_lets_the_others_run_even_if_every_choice_is_dull() {
    check(|kernel| {
        let flag = Arc::new(Counter::new(0));
        let setter = flag.clone();
        let thread = spawn("setter", move || setter.store(1, Relaxed));
        // Neither looks like waiting to the engine; the slice ends both.
        while flag.load(Relaxed) == 0 {
            let _ = kernel.close(99);
        }
        thread.join();
    });
    check(|_| {
        let flag = Arc::new(Counter::new(0));
        let setter = flag.clone();
        let thread = spawn("setter", move || setter.store(1, Relaxed));
        while flag.load(Relaxed) == 0 {
            Virtual::spin_hint();
        }
        thread.join();
    });
}

#[test]
fn a_run_that_never_ends_is_given_up() {
    let config = SimConfig { step_limit: 5_000, record: Keep::Last(10), ..SimConfig::seed(3) };
    let report = run(config, |_| {
        loop {
            Virtual::spin_hint();
        }
    });
    assert_eq!(report.outcome, Outcome::StepLimit);
    assert_eq!(report.steps, 5_001);
}

/// Whoever spins on shared memory, at either granularity, waits for another thread or for time.
#[test]
fn a_spin_without_calls_lets_others_run_and_time_pass_and_ends_at_the_step_limit() {
    for granularity in [Granularity::Syscall, Granularity::Atomic] {
        let report = check_with(1, granularity, |_| {
            let flag = Arc::new(<Virtual as Primitives>::AtomicU32::new(0));
            let setter = flag.clone();
            let thread = spawn("setter", move || {
                SimParker::new().park_timeout(50_000);
                setter.store(1, Relaxed);
            });
            while flag.load(Relaxed) == 0 {}
            thread.join();
        });
        assert_eq!(report.outcome, Outcome::Finished);
        let config = SimConfig { granularity, step_limit: 5_000, ..SimConfig::seed(1) };
        let report = run(config, |_| {
            let never = <Virtual as Primitives>::AtomicU32::new(0);
            while never.load(Relaxed) == 0 {}
        });
        assert_eq!(report.outcome, Outcome::StepLimit);
    }
}

/// A lost wake-up behind a thread that wakes up for ever, as a system monitor does.
#[test]
fn a_deadlock_behind_a_periodic_thread_is_found_by_the_limit_of_time() {
    let report = check_with(3, Granularity::Syscall, |_| {
        let _ = spawn("netpoll-sysmon", || {
            loop {
                SimParker::new().park_timeout(10_000_000);
            }
        });
        SimParker::new().park();
    });
    let Outcome::TimeLimit { blocked } = report.outcome else {
        panic!("{}", report.outcome);
    };
    assert_eq!(blocked[0].thread, "main");
}

/// Two threads that take turns in a world of spurious wake-ups.
fn in_two_phases(source: Source, unit_steps: u64) -> Report {
    let healing = Healing { unit_steps, at_ns: NEVER, quiet_steps: 1_000 };
    let faults = Faults::none().with(FaultKind::SpuriousWake, 500);
    let config = SimConfig { source, faults, healing: Some(healing), ..SimConfig::seed(0) };
    run(config, |_| {
        let other = spawn("other", || {
            let parker = SimParker::new();
            (0..50).for_each(|_| parker.park_timeout(10_000));
        });
        let parker = SimParker::new();
        (0..50).for_each(|_| parker.park_timeout(10_000));
        other.join();
    })
}

#[test]
fn a_healed_world_asks_nothing_and_is_dull_and_a_replay_heals_at_the_same_step() {
    let mut steps = Vec::new();
    for seed in 0..60 {
        let report = in_two_phases(Source::Seed(seed), 5);
        assert_eq!(report.outcome, Outcome::Finished);
        let healed =
            report.trace.records.iter().position(|it| it.event == WorldEvent::Healed.into());
        assert_eq!(healed.is_some(), report.healed.is_some());
        if let Some(at) = healed {
            let strikes = |it: &Record| matches!(it.event, Entry::World(WorldEvent::Fault { .. }));
            assert!(!report.trace.records[at..].iter().any(strikes), "seed {seed}");
        }
        assert_eq!(report.choices[0].kind, ChoiceKind::HealAfter);
        let list = report.choices.clone();
        let again = in_two_phases(Source::Replay(list), 5);
        assert_eq!(again, report, "seed {seed}");
        steps.push(report.healed);
    }
    steps.sort_unstable();
    steps.dedup();
    // After 5, after 20, after 80, and never, because the run was over before.
    assert_eq!(steps, [None, Some(5), Some(20), Some(80)]);
}

#[test]
fn a_quiet_world_gives_a_run_so_many_steps_and_no_more() {
    let healing = Healing { unit_steps: 10, at_ns: NEVER, quiet_steps: 500 };
    for seed in 0..20 {
        let config = SimConfig { healing: Some(healing), ..SimConfig::seed(seed) };
        let report = run(config, |_| {
            loop {
                Virtual::spin_hint();
            }
        });
        assert_eq!(report.outcome, Outcome::StepLimit);
        let healed = report.healed.expect("it runs for long enough");
        assert_eq!(report.steps, healed + 501);
    }
}

#[test]
fn the_world_heals_by_time_when_nobody_takes_a_step() {
    let healing = Healing { unit_steps: 1_000_000, at_ns: 5_000_000_000, quiet_steps: 1_000 };
    // The longest safety phase.
    let choices = vec!["heal-after:5/6".parse().expect("a choice")];
    let config = SimConfig { healing: Some(healing), ..SimConfig::seed(0).replaying(choices) };
    let report = run(config, |_| SimParker::new().park_timeout(60_000_000_000));
    assert_eq!(report.outcome, Outcome::Finished);
    assert!(report.healed.is_some());
}

#[test]
fn a_journal_hears_every_choice_and_step_at_once() {
    let heard = Arc::new(std::sync::Mutex::new((Vec::new(), 0)));
    let its = heard.clone();
    let journal = Journal::new(move |note| {
        let mut heard = its.lock().unwrap();
        match note {
            Note::Choice(choice) => heard.0.push(choice),
            Note::Step(step) => {
                assert_eq!(step, heard.1 + 1);
                heard.1 = step;
            }
        }
    });
    let config = SimConfig { journal: Some(journal), ..SimConfig::seed(4) };
    let report = run(config, |kernel| {
        let other = spawn("other", || SimParker::new().park_timeout(5_000));
        kernel.eventfd().unwrap();
        other.join();
    });
    assert_eq!(*heard.lock().unwrap(), (report.choices, report.steps));
}

#[test]
fn the_run_is_over_when_the_main_thread_is_as_in_a_process() {
    let report = check(|_| {
        let _ = spawn("sleeper", || SimParker::new().park());
    });
    assert_eq!(report.threads_abandoned, 1);
}

/// A goroutine is a coroutine on a virtual thread; points on its stack switch the thread.
#[test]
fn threads_are_switched_on_the_stacks_of_nested_coroutines() {
    use corosensei::{Coroutine, CoroutineResult};
    for seed in 0..50 {
        let report = check_with(seed, Granularity::Atomic, |_| {
            let sum = Arc::new(Counter::new(0));
            let work = |sum: Arc<Counter>| {
                move || {
                    let mut goroutine: Coroutine<(), (), ()> =
                        Coroutine::new(move |yielder, ()| {
                            for _ in 0..5 {
                                sum.fetch_add(1, Relaxed);
                                yielder.suspend(());
                            }
                        });
                    while let CoroutineResult::Yield(()) = goroutine.resume(()) {}
                }
            };
            let threads = [spawn("a", work(sum.clone())), spawn("b", work(sum.clone()))];
            threads.into_iter().for_each(Thread::join);
            assert_eq!(sum.load(Relaxed), 10);
        });
        assert_eq!(report.outcome, Outcome::Finished);
    }
}

/// The second thread blocks in a destructor while it unwinds; the first must not notice.
#[test]
fn a_thread_may_block_while_it_unwinds() {
    struct ParkOnDrop(Arc<SimParker>);
    impl Drop for ParkOnDrop {
        fn drop(&mut self) {
            self.0.park();
        }
    }
    let report = check(|_| {
        let parker = Arc::new(SimParker::new());
        let inner = parker.clone();
        let thread = spawn("unwinding", move || {
            let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let _guard = ParkOnDrop(inner);
                panic!("on purpose");
            }));
            assert!(caught.is_err());
        });
        SimParker::new().park_timeout(1_000_000);
        parker.unpark();
        thread.join();
    });
    assert_eq!(report.threads_abandoned, 0);
}

#[test]
fn a_run_abandoned_in_the_middle_of_unwinding_does_not_change_the_next_one() {
    struct ParkOnDrop;
    impl Drop for ParkOnDrop {
        fn drop(&mut self) {
            SimParker::new().park();
        }
    }
    let before = lost_update(5, Granularity::Atomic);
    let report = check_with(0, Granularity::Syscall, |_| {
        let _guard = ParkOnDrop;
        panic!("never seen: the run ends in the destructor");
    });
    assert!(matches!(report.outcome, Outcome::Deadlock { .. }));
    assert_eq!(lost_update(5, Granularity::Atomic), before);
}

#[test]
fn runs_go_on_in_parallel_on_several_threads_of_the_system() {
    let runs =
        [1, 2, 1, 2].map(|seed| std::thread::spawn(move || lost_update(seed, Granularity::Atomic)));
    let reports = runs.map(|run| run.join().unwrap());
    assert_eq!(reports[0], reports[2]);
    assert_eq!(reports[1], reports[3]);
}

/// Goroutines on all workers, of which one panics.
fn four_sleepers_and_a_panic(kernel: crate::SimKernel) {
    let runtime = netpoll::Builder::new().build_on::<Virtual>(kernel).expect("it can be made");
    let program = || {
        let all: Vec<_> = (0..4)
            .map(|nth| {
                netpoll::go(move || {
                    netpoll::time::sleep(std::time::Duration::from_micros(nth));
                    assert_ne!(nth, 2, "on purpose");
                })
            })
            .collect();
        all.into_iter().map(|it| it.join().is_err()).collect::<Vec<_>>()
    };
    assert_eq!(runtime.run(program).expect("it starts"), [false, false, true, false]);
}

#[test]
fn a_run_that_nobody_hears_is_the_same_run() {
    for seed in 0..20 {
        let config = |record| SimConfig { record, ..SimConfig::seed(seed) };
        let heard = run(config(Keep::All), four_sleepers_and_a_panic);
        let unheard = run(config(Keep::Last(0)), four_sleepers_and_a_panic);
        assert!(heard.panicked.as_ref().is_some_and(|it| it.g.is_some()), "{:?}", heard.panicked);
        assert!(unheard.trace.records.is_empty());
        assert_eq!(unheard.trace.dropped as usize, heard.trace.records.len());
        let rest = |report| Report { trace: Trace::default(), deviations: Vec::new(), ..report };
        assert_eq!(rest(unheard), rest(heard));
    }
}

/// Where the stacks are of threads with this name that have not ended when their run has, in six runs.
fn places_of_abandoned(name: &'static str) -> BTreeSet<usize> {
    let place = || {
        let place = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&place);
        let report = run(SimConfig::seed(0), move |_| {
            let thread = spawn(name, move || {
                let local = 0u8;
                seen.store((&raw const local).addr(), Relaxed);
                SimParker::new().park();
            });
            // Somebody else runs meanwhile.
            (0..100).for_each(|_| Virtual::spin_hint());
            drop(thread);
        });
        assert_eq!((report.outcome, report.threads_abandoned), (Outcome::Finished, 1));
        place.load(Relaxed)
    };
    (0..6).map(|_| place()).collect()
}

/// E4: what a program has on a stack may be lent to somebody who goes on.
#[test]
fn a_stack_on_which_the_program_stood_is_not_used_again() {
    assert!(places_of_abandoned("netpoll-w0").len() <= 2, "that of a thread and of the main one");
    assert_eq!(places_of_abandoned("netpoll-pool0").len(), 6);
    assert_eq!(places_of_abandoned("somebody's").len(), 6);
}

/// Where the alternate signal stack of the calling thread is.
fn alternate_stack() -> usize {
    // SAFETY: the C structure consists of a pointer, integers and padding: zero is a value of each.
    let mut now = unsafe { mem::zeroed::<libc::stack_t>() };
    // SAFETY: a null pointer asks for the present one only, and `now` is there to be written to.
    let asked = unsafe { libc::sigaltstack(ptr::null(), &raw mut now) };
    assert_eq!(asked, 0);
    now.ss_sp.addr()
}

/// Otherwise each run maps one, and the worker that ends first takes it away from the others.
#[test]
fn workers_find_the_alternate_stack_of_their_thread_large_enough() {
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let inside = Arc::clone(&seen);
    let sim = Sim::named("alternate").seeds(0..20).jobs(NonZeroUsize::MIN);
    let passed = sim.try_check(move || {
        for _ in 0..4 {
            let inside = Arc::clone(&inside);
            let look = move || inside.lock().unwrap().insert(alternate_stack());
            netpoll::go(look).join().unwrap();
        }
    });
    assert!(passed.is_ok());
    assert_eq!(seen.lock().unwrap().iter().copied().collect::<Vec<_>>(), [alternate_stack()]);
}
