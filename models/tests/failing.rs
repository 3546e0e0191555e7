//! What a failing model leaves: a message, and under shuttle a list of choices that repeats the failure.
//!
//! The models here are broken on purpose. One fails by an assumption about the order of events, which
//! the kernel does not promise; the others fail beside goroutines that are parked on stacks of their
//! own, where no checker may unwind them (F3), or hit a limit of their checker.

use std::mem::ManuallyDrop;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use netpoll::platform::{Atomic, EpollEvent, Kernel};
use netpoll::sync::channel;
use netpoll::{Builder, go};
use netpoll_models::check::{
    self, Bodies, Bound, Checker, Failed, KernelUse, Model, Profile, shuttle,
};
use netpoll_models::platform::{Checked, Loom, Probe, Shuttle, join};
use netpoll_sim::Choice;
use netpoll_sim::choice::ChoiceKind;
use netpoll_sim::shrink::{Budget, End, Shrunk, Size, Unshrinkable};

/// A model of this file.
macro_rules! model {
    ($name:ident) => {
        Model {
            name: stringify!($name),
            module: module_path!(),
            claim: "It is broken.",
            kernel: KernelUse::Faulty,
            timed_waits: 0,
            loom: Some(Bound::preemptions(2)),
            shuttle: &[Checker::Pct],
            bodies: Bodies { loom: $name::<Probe<Loom>>, shuttle: $name::<Probe<Shuttle>> },
        }
    };
}

fn failure(model: &Model, checker: Checker) -> Failed {
    check::run(model, checker, Profile::Quick).expect_err("the model is broken")
}

/// The order of events in each execution of `assumes_an_order`, since this was last emptied.
static SEEN: Mutex<Vec<Vec<u64>>> = Mutex::new(Vec::new());

fn seen() -> Vec<Vec<u64>> {
    std::mem::take(&mut SEEN.lock().unwrap())
}

/// Two writers, and a poller that takes the order of events for that of the writes.
fn assumes_an_order<P: Checked>() {
    let kernel = P::kernel(1);
    let epfd = kernel.epoll_create1().unwrap();
    let fds = [0, 1, 2].map(|data| {
        let fd = kernel.eventfd().unwrap();
        kernel.epoll_add(epfd, fd, EpollEvent { events: 1 | 1 << 31, data }).unwrap();
        fd
    });
    let writers = [0, 1].map(|first: usize| {
        let kernel = kernel.clone();
        let fds = fds[first..first + 2].to_vec();
        P::thread(move || {
            for fd in fds {
                kernel.write(fd, &1u64.to_ne_bytes()).unwrap();
            }
        })
    });
    join(writers);
    let mut order = Vec::new();
    let mut events = [EpollEvent::default(); 4];
    while order.len() < 3 {
        let n = kernel.epoll_wait(epfd, &mut events, -1).unwrap();
        order.extend(events[..n].iter().map(|event| event.data));
    }
    SEEN.lock().unwrap().push(order.clone());
    assert!(order[2] != 0, "the event of the first write came last: {order:?}");
}

#[test]
fn a_failure_is_replayed_from_its_choices_message_and_all() {
    let model = model!(assumes_an_order);
    let found = failure(&model, Checker::Pct);
    assert!(found.what.contains("the event of the first write came last"), "{found}");
    let has = |kind| found.choices.iter().any(|choice| choice.kind == kind);
    assert!(has(ChoiceKind::Thread), "the schedule is among the choices");
    assert!(has(ChoiceKind::EventOrder), "and so is what the kernel chose");
    let last = seen().pop();

    for _ in 0..2 {
        let replayed = shuttle::replay(&model, found.choices.clone()).unwrap_err();
        assert_eq!((&replayed.what, &replayed.choices), (&found.what, &found.choices));
        assert_eq!(seen().pop(), last, "the same events in the same order");
    }

    // A list that does not fit is a run, too: the same one each time.
    let half = found.choices.len() / 2;
    let dull = |choice: &Choice| Choice { k: 0, ..*choice };
    let zeros: Vec<Choice> =
        found.choices[..half].iter().map(dull).chain(found.choices[half..].to_vec()).collect();
    for list in [zeros, found.choices[half..].to_vec(), found.choices[..half].to_vec(), Vec::new()]
    {
        let run = |list| {
            let certificate = shuttle::replay(&model, list);
            // What it covered, without how long it took.
            (certificate.map(|certificate| certificate.row()), seen())
        };
        assert_eq!(run(list.clone()), run(list));
    }
}

/// Parks one goroutine for good on each of two workers, then fails in `fail`, which may be on a goroutine.
fn beside_parked_goroutines<P: Checked>(fail: impl FnOnce() + Send + 'static) {
    let builder = Builder::new().workers(2).workers_max(2);
    // Leaked when `fail` fails, as models do: what unwinds must not wait for the workers.
    let runtime = ManuallyDrop::new(builder.build_on::<P>(P::kernel(2)).unwrap());
    let done = runtime.run(|| {
        let (parked, is_parked) = channel(2);
        for _ in 0..2 {
            let parked = parked.clone();
            drop(go(move || {
                let (_sender, receiver) = channel::<()>(0);
                parked.send(()).unwrap();
                receiver.recv()
            }));
        }
        is_parked.recv().unwrap();
        is_parked.recv().unwrap();
        fail();
    });
    done.unwrap();
    ManuallyDrop::into_inner(runtime).shutdown();
}

fn panics_on_a_goroutine<P: Checked>() {
    beside_parked_goroutines::<P>(|| panic!("on a goroutine"));
}

fn panics_on_a_thread<P: Checked>() {
    let thread = P::thread(|| ());
    beside_parked_goroutines::<P>(|| ());
    join([thread]);
    panic!("on a thread");
}

/// A goroutine waits for what nobody does, so everybody waits.
fn deadlocks<P: Checked>() {
    beside_parked_goroutines::<P>(|| {
        let (_sender, receiver) = channel::<()>(0);
        let _ = receiver.recv();
    });
}

#[test]
fn a_failure_beside_parked_goroutines_is_a_message_and_no_abort() {
    let expected = [
        (model!(panics_on_a_goroutine), "on a goroutine"),
        (model!(panics_on_a_thread), "on a thread"),
        (model!(deadlocks), "deadlock"),
    ];
    for (model, message) in expected {
        for checker in [Checker::Pct, Checker::Loom] {
            let failed = failure(&model, checker);
            assert!(failed.what.contains(message), "{} under {checker}: {failed}", model.name);
        }
    }
}

#[test]
fn a_failure_beside_parked_goroutines_is_replayed() {
    let model = model!(panics_on_a_goroutine);
    let found = failure(&model, Checker::Pct);
    let replayed = shuttle::replay(&model, found.choices.clone()).unwrap_err();
    assert_eq!((replayed.what, replayed.choices), (found.what, found.choices));
}

/// Takes it for granted that a word does not change between two looks at it; much else goes on besides.
fn looks_twice<P: Checked>() {
    fn work<P: Checked>() {
        let word = P::AtomicU32::new(0);
        (0..20).for_each(|_| word.store(1, Relaxed));
    }
    let busy = [0, 1].map(|_| P::thread(work::<P>));
    let flag = Arc::new(P::AtomicU32::new(0));
    let setter = {
        let flag = Arc::clone(&flag);
        P::thread(move || {
            work::<P>();
            flag.store(1, Relaxed);
        })
    };
    work::<P>();
    let before = flag.load(Relaxed);
    assert_eq!(before, flag.load(Relaxed), "it changed between two looks");
    join(busy.into_iter().chain([setter]));
}

#[test]
fn a_failure_of_many_choices_becomes_one_of_a_few_that_fails_alike() {
    let model = model!(looks_twice);
    let found = failure(&model, Checker::Random);
    let budget = Budget { time: Duration::from_secs(3_600), attempts: 5_000 };
    let mut told = Vec::new();
    let better = |list: &[Choice]| told.push(list.to_vec());
    let smaller = check::shrink(&model, found.choices.clone(), &budget, better).expect("it fails");
    let Shrunk { before, after, end, .. } = smaller.shrunk;
    assert_eq!((before, end), (Size::of(&found.choices), End::Smallest));
    assert!(before.deviations > 30, "{before:?}");
    assert_eq!(after.deviations, 1, "the setter between two looks: {:?}", smaller.needs);
    let need = &smaller.needs[0];
    assert!(need.starts_with("thread 0 gives way to thread "), "{need}");
    assert!(need.contains(" before models/tests/failing.rs:"), "{need}");
    assert_eq!(told.last(), Some(&smaller.failed.choices));

    let replayed = shuttle::replay(&model, smaller.failed.choices).unwrap_err();
    assert_eq!(replayed.what, smaller.failed.what);
    assert_eq!(replayed.what, found.what);
}

/// Which of two assertions does not hold depends on the schedule, and one does not in any.
fn fails_in_one_way_or_the_other<P: Checked>() {
    let flag = Arc::new(P::AtomicU32::new(0));
    let setter = {
        let flag = Arc::clone(&flag);
        P::thread(move || flag.store(1, Relaxed))
    };
    let seen = flag.load(Relaxed);
    assert_eq!(seen, 0, "early");
    assert_eq!(seen, 1, "late");
    join([setter]);
}

#[test]
fn a_failure_does_not_become_another_one() {
    let model = model!(fails_in_one_way_or_the_other);
    let lists = [Vec::new(), vec!["thread:1/2".parse().unwrap()]];
    let seen = lists.map(|list: Vec<Choice>| {
        let set = list.len();
        let smaller = check::shrink(&model, list, &Budget::default(), |_| {}).expect("it fails");
        assert_eq!(smaller.shrunk.after.deviations, set, "{:?}", smaller.failed);
        smaller.failed.what
    });
    assert!(seen[0].contains("late") && seen[1].contains("early"), "{seen:?}");
}

/// Beside parked goroutines, of which each failing run leaves some behind.
#[test]
fn failures_that_leave_much_behind_are_made_smaller() {
    for model in [model!(panics_on_a_goroutine), model!(panics_on_a_thread), model!(deadlocks)] {
        let found = failure(&model, Checker::Random);
        let budget = Budget::default();
        let smaller = check::shrink(&model, found.choices, &budget, |_| {}).expect("it fails");
        assert_eq!(smaller.shrunk.after.deviations, 0, "{}: it fails anyhow", model.name);
    }
}

#[test]
fn a_model_that_holds_cannot_be_made_to_fail() {
    let shrunk = check::shrink(&model!(does_nothing), Vec::new(), &Budget::default(), |_| {});
    assert_eq!(shrunk, Err(Unshrinkable::Passes));
}

fn does_nothing<P: Checked>() {
    join([P::thread(P::spin_hint)]);
}

/// Waits for nobody, without blocking.
fn spins<P: Checked>() {
    loop {
        P::spin_hint();
    }
}

/// One thread more than loom has.
fn crowd<P: Checked>() {
    join([(); 5].map(|()| P::thread(P::spin_hint)));
}

#[test]
fn a_checker_that_hits_a_limit_says_which_and_what_to_do() {
    let limits = [
        (model!(spins), Checker::Loom, "loom's limit of branches", "let it park"),
        (model!(spins), Checker::Pct, "shuttle's limit of steps", "livelock"),
        (model!(crowd), Checker::Loom, "loom's limit of 5 threads", "play two parts"),
    ];
    for (model, checker, limit, cure) in limits {
        let what = failure(&model, checker).what;
        assert!(what.contains(limit) && what.contains(cure), "{}: {what}", model.name);
    }
}
