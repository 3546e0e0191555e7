//! A closure under many seeds: what fails, what is said, what is kept.

use std::io::{Read, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use std::{env, fs, process};

use netpoll::net::{TcpListener, TcpStream};
use netpoll::sync::channel;
use netpoll::{go, time};

use super::*;
use crate::explore::Property;
use crate::{ChoiceKind, FaultKind, rand, sometimes};

fn hello() -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:80")?;
    let server = go(move || listener.accept()?.0.write_all(b"hello"));
    let mut text = String::new();
    TcpStream::connect("127.0.0.1:80")?.read_to_string(&mut text)?;
    assert_eq!(text, "hello");
    server.join().expect("it does not panic")
}

/// A connection to somebody, who may not be there.
fn hello_or_bad_luck() -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:80")?;
    TcpStream::connect(listener.local_addr()?).map(drop)
}

/// What a test fails with.
#[track_caller]
fn fails<V: Verdict>(sim: Sim, program: impl Fn() -> V + Send + Sync + 'static) -> Failed {
    *sim.try_check(program).expect_err("it fails")
}

/// A new folder, and the settings and the test that use it.
fn folder(name: &str) -> (Settings, Sim) {
    let dir = env::temp_dir().join(format!("netpoll-sim-{}-{name}", process::id()));
    // What an earlier run has left.
    let _absent = fs::remove_dir_all(&dir);
    let mut sim = Sim::named(name).seeds(0..20);
    sim.place.test.dir = dir;
    (Settings { keep: true, ..Settings::nothing() }, sim)
}

#[test]
fn a_good_program_passes_under_every_seed() {
    let passed = Sim::new().seeds(5..25).workers(3).try_check(hello).expect("it is good");
    assert_eq!((passed.progress.seeds, passed.replayed), (20, 0));
    assert!(passed.to_string().contains("20 runs, "), "{passed}");
}

#[test]
fn the_report_says_what_and_who_and_how_to_see_it_again() {
    let failed = fails(Sim::named("greeting").seeds(3..9), || {
        let (sender, receiver) = channel(1);
        let other = go(move || sender.send(rand::below(1 << 20)));
        let number = receiver.recv().expect("it is sent");
        assert!(number < 77, "{number} is too many");
        other.join().expect("it does not panic").expect("somebody receives");
    });
    let finding = failed.finding().expect("a run is to blame");
    assert_eq!((finding.seed, finding.violation.property), (Some(3), Property::Panic));
    // Made smaller, data and all.
    assert!(failed.sentence().contains(": 77 is too many"), "{}", failed.sentence());
    assert!(
        failed.sentence().contains("g1 panicked at sim/src/user/tests.rs:"),
        "{}",
        failed.sentence()
    );
    let drawn = finding.choices.iter().filter(|choice| choice.kind == ChoiceKind::Random);
    assert_eq!(drawn.map(|choice| choice.k).collect::<Vec<_>>(), [77]);
    let report = failed.to_string();
    for part in [
        "greeting, seed 3:\n",
        "goroutines that have not ended:",
        "needs:\n  a random number (77 of 1048575)",
        "NETPOLL_SIM_SEED=3 cargo test -p netpoll-sim -- --exact greeting --nocapture\n",
    ] {
        assert!(report.contains(part), "no `{part}` in:\n{report}");
    }
}

#[test]
fn what_is_returned_is_judged() {
    let failed = fails(Sim::new().seeds(0..1), || TcpStream::connect("127.0.0.1:80").map(drop));
    assert!(
        failed.sentence().contains("the program returned an error: Os { code: 111"),
        "{failed}"
    );
}

#[test]
fn a_panic_that_nobody_looks_at_is_a_failure_unless_it_is_meant() {
    fn program() {
        let gone = go(|| assert_eq!(1 + 1, 3, "arithmetic"));
        time::sleep(Duration::from_millis(1));
        drop(gone);
    }
    let failed = fails(Sim::new().seeds(0..5), program);
    assert!(failed.sentence().contains("arithmetic"), "{}", failed.sentence());
    assert!(Sim::new().seeds(0..5).catches_panics().try_check(program).is_ok());
}

#[test]
fn the_faults_are_those_that_were_asked_for() {
    let refused = Faults::none().with(FaultKind::ConnRefused, 1000);
    let failed = fails(Sim::new().seeds(0..1).faults(refused), hello);
    assert!(failed.sentence().contains("code: 111"), "{}", failed.sentence());
    let swarm = Sim::new().seeds(0..200).faults(Profile::Swarm);
    let struck = |sim: Sim| sim.catches_panics().try_check(|| drop(hello_or_bad_luck()));
    let passed = struck(swarm).expect("bad luck is no failure");
    assert!(passed.progress.totals.struck(ChoiceKind::Fault(FaultKind::ConnRefused)) > 0);
    let passed = struck(Sim::new().faults(Faults::none()).seeds(0..200)).expect("it is good");
    assert_eq!(passed.progress.totals.struck(ChoiceKind::Fault(FaultKind::ConnRefused)), 0);
}

/// The panic, and not the deadlock that it leads to.
#[test]
fn the_first_reason_is_the_one_that_is_told() {
    let failed = fails(Sim::new().seeds(0..5), || {
        let (sender, receiver) = channel::<u8>(0);
        let kept = sender.clone();
        let server = go(move || {
            let number: Result<u8, _> = "one".parse();
            sender.send(number.expect("it is a number"))
        });
        let _ = receiver.recv();
        drop((kept, server));
    });
    assert_eq!(failed.finding().map(|it| it.violation.property), Some(Property::Panic));
    assert!(failed.sentence().contains("it is a number"), "{}", failed.sentence());
}

#[test]
fn a_deadlock_is_found_without_a_time_limit() {
    let failed = fails(Sim::new().seeds(0..1), || {
        let (sender, receiver) = channel::<u8>(0);
        assert!(receiver.recv().is_err());
        drop(sender);
    });
    assert_eq!(failed.finding().map(|it| it.violation.property), Some(Property::Deadlock));
}

#[test]
fn what_must_be_true_sometimes_is_missed_when_it_never_is() {
    let dice = || {
        let die = rand::below(6) + 1;
        sometimes!(die == 6, "a six");
        sometimes!(die == 7, "a seven");
        if die > 6 {
            sometimes!(true, "beyond");
        }
    };
    let failed = fails(Sim::named("dice").seeds(0..100).expects(&["a six", "beyond"]), dice);
    let sentence = failed.sentence();
    let start = "dice: never true in 100 runs: `a seven` (sim/src/user/tests.rs:";
    assert!(sentence.starts_with(start), "{sentence}");
    assert!(sentence.ends_with("), `beyond` (no run came to it)"), "{sentence}");
    assert!(failed.finding().is_none());
    // One seed alone need not come to everything.
    let settings = Settings { seeds: Some(1..2), ..Settings::nothing() };
    assert!(Sim::named("dice").run(&settings, dice).is_ok());
}

/// True while a bug is in the program.
static BROKEN: AtomicBool = AtomicBool::new(true);

#[test]
fn a_failure_is_kept_tried_first_and_stays_mended() {
    fn program() {
        let number = rand::below(100);
        assert!(!BROKEN.load(Relaxed) || number < 50, "{number}");
    }
    let (settings, sim) = folder("kept");
    let failed = sim.clone().run(&settings, program).expect_err("it is broken");
    let file = failed.finding().and_then(|it| it.saved.clone()).expect("it is saved");
    assert_eq!(file.parent(), Some(&*sim.place.test.dir.join("netpoll-failures")));
    let command = format!("NETPOLL_SIM_REPLAY={} cargo test ", file.display());
    assert!(failed.to_string().contains(&command), "{failed}");
    // Before any seed: these would not find it.
    let again =
        Sim { seeds: 0..0, ..sim.clone() }.run(&settings, program).expect_err("it is broken still");
    assert_eq!(again.finding().and_then(|it| it.saved.clone()), Some(file.clone()));
    assert!(again.sentence().ends_with(": 50"), "made smaller: {}", again.sentence());
    let replay = Settings { replay: Some(file.clone()), ..settings.clone() };
    assert!(sim.clone().run(&replay, program).is_err());

    BROKEN.store(false, Relaxed);
    let passed = sim.clone().run(&settings, program).expect("it is mended");
    assert_eq!((passed.progress.seeds, passed.replayed), (20, 1));
    assert_eq!(sim.clone().run(&replay, program).map(|it| it.replayed).ok(), Some(1));

    // A file of another test, and a damaged one.
    let other =
        Sim { place: Place { name: "other".to_string(), ..sim.place.clone() }, ..sim.clone() };
    let refused = other.run(&replay, program).expect_err("it is not its own").sentence();
    let expected = ": it is of test netpoll-sim 0.1.0 - kept, and this is other";
    assert!(refused.ends_with(expected), "{refused}");
    let text = fs::read_to_string(&file).expect("it was written");
    fs::write(&file, &text[..text.len() / 2]).expect("it can be written");
    for settings in [settings, replay] {
        let refused = sim.clone().run(&settings, program).expect_err("half a file").sentence();
        assert!(refused.contains(".failure: line "), "{refused}");
    }
}

#[test]
fn traces_are_written_where_they_are_wanted() {
    let (settings, sim) = folder("traced");
    let settings = Settings { trace: Some(sim.place.test.dir.clone()), ..settings };
    let one = Settings { seeds: Some(4..5), ..settings.clone() };
    assert!(sim.clone().run(&one, hello).is_ok());
    let read = |extension: &str| {
        fs::read_to_string(sim.place.test.dir.join(format!("traced.{extension}"))).expect("written")
    };
    assert!(read("txt").contains("accept4") && read("html").contains("accept4"));
    let failed =
        sim.clone().run(&settings, || assert_eq!(2, 3, "on purpose")).expect_err("it panics");
    assert!(failed.to_string().contains("\ntrace: "), "{failed}");
    assert!(read("txt").contains("on purpose"), "{}", read("txt"));
}

#[test]
fn a_simulation_in_another_one_is_refused() {
    let failed = fails(Sim::new().seeds(0..1), || Sim::named("inner").check(|| ()));
    let expected = "a simulation inside another one: use what is there";
    assert!(failed.sentence().ends_with(expected), "{}", failed.sentence());
}

#[test]
#[should_panic(expected = "there are no seeds from 7 to 7")]
fn a_test_that_runs_nothing_is_refused() {
    let _ = Sim::new().seeds(7..7);
}

#[test]
#[should_panic(expected = "workers = 0: a runtime has 1 to ")]
fn a_runtime_without_workers_is_refused() {
    let _ = Sim::new().workers(0);
}

/// There is no such test in this program: another process of it runs no seed.
#[test]
fn a_test_that_nobody_takes_over_runs_all_its_seeds_itself() {
    static GROWN: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());
    let sim = Sim::at(Place::new("p", "0.1.0", "/p", "p::no_such_test")).seeds(0..100);
    let settings = Settings { part: Part::First, ..Settings::nothing() };
    let passed = sim.run(&settings, || GROWN.lock().unwrap().push(vec![1; 4 << 20]));
    let passed = passed.expect("nothing is wrong with it");
    assert_eq!((passed.progress.seeds, passed.processes), (100, 1));
    assert!(GROWN.lock().unwrap().len() >= 100, "here, and some of them twice");
    GROWN.lock().unwrap().clear();
}
