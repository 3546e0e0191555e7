//! The shrinker on programs whose smallest failure is known: each a closure that asks questions.

use std::cell::Cell;

use netpoll_traces::ThreadId;
use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;

use super::*;
use crate::choice::{Choices, below};
use crate::deviation::Asker;
use crate::strategy::PointKind;
use crate::{ChoiceKind, FaultKind};

const KIND: ChoiceKind = ChoiceKind::EventOrder;

/// Runs a program, which returns whether it failed.
fn run(program: impl Fn(&mut Choices) -> bool) -> impl Fn(Source) -> Option<Chosen> {
    move |source| {
        let mut choices = Choices::new(source);
        let failed = program(&mut choices);
        failed.then(|| choices.finish())
    }
}

/// Asks `count` questions, each with five answers.
fn answers(choices: &mut Choices, count: usize) -> Vec<u32> {
    (0..count).map(|_| choices.choose(KIND, 5)).collect()
}

/// The first run of a program that fails.
fn first_failure(program: &impl Fn(Source) -> Option<Chosen>) -> Chosen {
    (0..10_000).find_map(|seed| program(Source::Seed(seed))).expect("some seed fails")
}

/// Shrinks the first failure of a program as far as it goes; returns what remains.
#[track_caller]
fn smallest(program: impl Fn(&mut Choices) -> bool) -> Chosen {
    let program = run(program);
    let first = first_failure(&program).choices;
    let budget = Budget { time: Duration::MAX / 4, ..Budget::default() };
    let shrunk = shrink(first.clone(), &budget, &program, |_| {}).expect("it fails");
    assert_eq!(shrunk.end, End::Smallest);
    assert_eq!(shrunk.before, Size::of(&first));
    assert_eq!(shrunk.after, Size::of(&shrunk.choices));
    assert_eq!(shrink(first, &budget, &program, |_| {}), Ok(shrunk.clone()), "H3");
    let last = program(Source::Replay(shrunk.choices.clone())).expect("H1");
    assert_eq!(last.diverged, None);
    assert_eq!(trimmed(&last.choices), shrunk.choices);
    last
}

/// Where the choices are that are not the dullest, and what was chosen.
fn left(chosen: &Chosen) -> Vec<(usize, u32)> {
    chosen.deviations.iter().map(|it| (it.index, it.choice.k)).collect()
}

#[test]
fn sizes_compare_by_deviations_then_length_then_sum() {
    let size = |text: &str| {
        let choices: Vec<Choice> = text.split(' ').map(|word| word.parse().unwrap()).collect();
        Size::of(&choices)
    };
    let ascending = [
        "thread:0/2 thread:0/2",
        "thread:1/2",
        "thread:2/3",
        "thread:0/2 thread:1/2 thread:0/2",
        "thread:1/2 thread:1/2",
    ];
    assert!(ascending.map(size).is_sorted_by(|a, b| a < b));
    assert_eq!(size("thread:0/2 thread:2/3 thread:0/2"), Size { deviations: 1, len: 2, sum: 2 });
}

#[test]
fn one_choice_of_a_thousand_remains_and_is_as_low_as_it_can_be() {
    let last = smallest(|choices| answers(choices, 1_000)[700] >= 3);
    assert_eq!(left(&last), [(700, 3)]);
}

#[test]
fn a_failure_without_need_becomes_the_dullest_run() {
    let always = run(|choices| {
        choices.chance(ChoiceKind::Fault(FaultKind::IoEintr), 500);
        answers(choices, 50).len() == 50
    });
    let mut first = vec![Choice { kind: KIND, n: 5, k: 3 }; 51];
    first[0] = Choice { kind: ChoiceKind::Fault(FaultKind::IoEintr), n: 2, k: 1 };
    let shrunk = shrink(first, &Budget::default(), &always, |_| {}).expect("it fails");
    assert_eq!(shrunk.before, Size { deviations: 51, len: 51, sum: 151 });
    assert_eq!(shrunk.after, Size::default());
    assert_eq!(shrunk.attempts, 4, "nothing at all is what is tried first");
}

#[test]
fn choices_far_apart_remain_together() {
    let last = smallest(|choices| {
        let it = answers(choices, 900);
        it[10] > 0 && it[899] > 0
    });
    assert_eq!(left(&last), [(10, 1), (899, 1)]);
}

#[test]
fn a_failure_that_only_two_less_keep_is_left_out_two_at_a_time() {
    let last = smallest(|choices| {
        let set = answers(choices, 40).iter().filter(|&&k| k > 0).count();
        set >= 4 && set % 2 == 0
    });
    assert_eq!(last.deviations.len(), 4);
}

/// The first and the last are balanced, and the one between them is needed: no span takes the two away.
#[test]
fn two_choices_at_a_distance_that_only_go_together_go_together() {
    let balanced = run(|choices| {
        let it = answers(choices, 60);
        it[30] > 0 && (it[10] > 0) == (it[50] > 0)
    });
    let mut list = vec![Choice { kind: KIND, n: 5, k: 0 }; 60];
    for at in [10, 30, 50] {
        list[at].k = 1;
    }
    let shrunk = shrink(list, &Budget::default(), balanced, |_| {}).expect("it fails");
    assert_eq!(shrunk.after.deviations, 1);
}

/// Of what the second asker chose, all must go at once, and between any two of it is what is needed.
#[test]
fn what_one_asker_chose_goes_at_once() {
    let program = run(|choices| {
        let mut set = [0, 0];
        for turn in 0..16 {
            choices.set_asker(|| Asker::Goroutine(turn % 2));
            set[turn as usize % 2] += choices.choose(KIND, 2);
        }
        // Room to slide, so that none is pushed over the end.
        set[1] += (0..100).map(|_| choices.choose(KIND, 2)).sum::<u32>();
        set[0] == 8 && [0, 8].contains(&set[1])
    });
    let list = vec![Choice { kind: KIND, n: 2, k: 1 }; 16];
    let shrunk = shrink(list, &Budget::default(), program, |_| {}).expect("it fails");
    assert_eq!(shrunk.after, Size { deviations: 8, len: 15, sum: 8 });
}

/// From thread 0 to 1 and from there to 2, where 2 is all that matters.
#[test]
fn two_switches_of_thread_become_one_to_the_last() {
    let program = run(|choices| {
        let mut running = 0;
        let mut ran_last = false;
        for _ in 0..10 {
            choices.set_asker(|| Asker::thread(ThreadId(running)));
            let k = choices.thread(PointKind::Call, &[0, 1, 2], usize::from(running));
            running = (running + k as u16) % 3;
            ran_last |= running == 2;
        }
        ran_last
    });
    let list = [1, 0, 1].map(|k| Choice { kind: ChoiceKind::Thread, n: 3, k });
    let shrunk = shrink(list.to_vec(), &Budget::default(), program, |_| {}).expect("it fails");
    assert_eq!(shrunk.choices, [Choice { kind: ChoiceKind::Thread, n: 3, k: 2 }]);
}

#[test]
fn a_run_that_fails_and_is_larger_is_not_taken() {
    let first = run(|choices| answers(choices, 5).len() == 5);
    let list = vec![Choice { kind: KIND, n: 5, k: 1 }; 2];
    // Whatever has less in it than the first run becomes a larger one.
    let grows = |source| {
        let chosen = first(source)?;
        match Size::of(&chosen.choices).deviations {
            0 | 1 => first(Source::Replay(vec![Choice { kind: KIND, n: 5, k: 2 }; 5])),
            _ => Some(chosen),
        }
    };
    let shrunk = shrink(list.clone(), &Budget::default(), grows, |_| {}).expect("it fails");
    assert_eq!((shrunk.choices, shrunk.end), (list, End::Smallest));
}

/// Between the first run and the smallest there is only what does not fail.
#[test]
fn a_failure_that_comes_and_goes_gets_no_larger() {
    let last = smallest(|choices| {
        let set = answers(choices, 60).iter().filter(|&&k| k > 0).count();
        [0, 3, 7, 19, 20, 21, 22, 23].contains(&set)
    });
    assert_eq!(left(&last), []);
    let last = smallest(|choices| {
        let set = answers(choices, 60).iter().filter(|&&k| k > 0).count();
        [3, 17, 18, 19, 20, 21].contains(&set)
    });
    assert!(last.deviations.len() <= 17, "{}", last.deviations.len());
}

/// The first answer decides how many questions come before the one that matters.
#[test]
fn a_choice_that_moves_the_others_can_be_left_out() {
    let last = smallest(|choices| {
        let more = answers(choices, 1)[0];
        answers(choices, 20 + 3 * more as usize);
        answers(choices, 1)[0] == 4
    });
    assert_eq!(left(&last), [(21, 4)]);
}

#[test]
fn what_happens_in_any_round_happens_in_the_first() {
    let last = smallest(|choices| {
        let rounds: Vec<Vec<u32>> = (0..40).map(|_| answers(choices, 5)).collect();
        rounds.iter().skip(1).any(|it| it[1] == 4 && it[3] > 1)
    });
    assert_eq!(left(&last), [(6, 4), (8, 2)]);
}

/// Thread 0 runs on until somebody is put in its place. Thread 1 must run twice, and thread 0 between.
#[test]
fn a_schedule_keeps_the_switches_that_it_needs() {
    let last = smallest(|choices| {
        let (mut running, mut order) = (0, vec![0]);
        for _ in 0..60 {
            choices.set_asker(|| Asker::thread(ThreadId(running)));
            let k = choices.thread(PointKind::Yield, &[0, 1, 2], usize::from(running));
            running = (running + k as u16) % 3;
            order.push(running);
        }
        let ran: Vec<u16> = order.chunk_by(|a, b| a == b).map(|run| run[0]).collect();
        ran.windows(3).any(|it| it == [1, 0, 1])
    });
    assert_eq!(last.deviations.len(), 3, "{:?}", left(&last));
}

#[test]
fn a_run_that_does_not_fail_is_said_not_to() {
    let program = run(|choices| answers(choices, 9).len() > 9);
    let shrunk = shrink(Vec::new(), &Budget::default(), program, |_| {});
    assert_eq!(shrunk, Err(Unshrinkable::Passes));
}

/// A list that does not fit the program becomes the one of the run that it gave.
#[test]
fn a_list_of_another_program_is_made_to_fit() {
    let program = run(|choices| answers(choices, 9)[0] == 2);
    let list = ["event-order:2/5", "thread:1/2"].map(|word| word.parse().unwrap());
    let shrunk = shrink(list.to_vec(), &Budget::default(), &program, |_| {}).expect("it fails");
    assert_eq!(shrunk.before, Size { deviations: 1, len: 1, sum: 2 });
    assert_eq!(shrunk.choices, list[..1]);
}

#[test]
fn a_failure_that_does_not_repeat_itself_is_called_out() {
    let steady = run(|choices| answers(choices, 30)[29] > 0);
    let first = first_failure(&steady).choices;
    // From some run on, every second one does not fail; or has another choice.
    for sober in [2, 3, 5, 8] {
        let runs = Cell::new(0);
        let flaky = |source| {
            runs.set(runs.get() + 1);
            let fails = runs.get() < sober || runs.get() % 2 == 0;
            steady(source).filter(|_| fails)
        };
        let shrunk = shrink(first.clone(), &Budget::default(), flaky, |_| {});
        let Err(Unshrinkable::Differs(how)) = shrunk else {
            panic!("sober from run {sober} on: {shrunk:?}");
        };
        assert_eq!(how, "its replay did not fail in the same way");
    }
    let drifting = |source| {
        let mut chosen = steady(source)?;
        chosen.choices[7].k = (chosen.choices[7].k + 1) % 5;
        Some(chosen)
    };
    let shrunk = shrink(first, &Budget::default(), drifting, |_| {});
    let how = "its replay chose otherwise from choice 7 on".to_string();
    assert_eq!(shrunk, Err(Unshrinkable::Differs(how)));
}

#[test]
fn a_budget_is_kept_and_what_it_found_fails() {
    let program = run(|choices| answers(choices, 300).iter().filter(|&&k| k > 1).count() > 20);
    let first = first_failure(&program).choices;
    let mut sizes = Vec::new();
    for attempts in [0, 2, 3, 10, 40, 100] {
        let runs = Cell::new(0);
        let counted = |source| {
            runs.set(runs.get() + 1);
            program(source)
        };
        let budget = Budget { attempts, time: Duration::MAX / 4 };
        let shrunk = shrink(first.clone(), &budget, counted, |_| {}).expect("it fails");
        assert_eq!(shrunk.end, End::Attempts);
        assert_eq!(shrunk.attempts, runs.get());
        // Two to know what there is, and one more where the last attempt had to be confirmed.
        assert!(runs.get() <= attempts.max(2) + 1, "{} of {attempts}", runs.get());
        assert!(program(Source::Replay(shrunk.choices)).is_some());
        sizes.push(shrunk.after);
    }
    assert!(sizes.is_sorted_by(|more, less| more >= less), "{sizes:?}");
    assert!(sizes[5] < sizes[0]);
    let no_time = Budget { time: Duration::ZERO, ..Budget::default() };
    let shrunk = shrink(first.clone(), &no_time, &program, |_| {}).expect("it fails");
    assert_eq!((shrunk.end, shrunk.attempts), (End::Time, 2));
    assert_eq!(shrunk.choices, trimmed(&first));
}

#[test]
fn every_better_list_is_told_and_fails() {
    let program = run(|choices| answers(choices, 200).iter().filter(|&&k| k > 1).count() > 9);
    let mut told = Vec::new();
    let first = first_failure(&program).choices;
    let shrunk = shrink(first, &Budget::default(), &program, |list| told.push(list.to_vec()));
    assert_eq!(told.last(), Some(&shrunk.expect("it fails").choices));
    assert!(told.is_sorted_by(|more, less| Size::of(more) > Size::of(less)));
    assert!(told.iter().all(|list| program(Source::Replay(list.clone())).is_some()));
}

/// A program drawn at random: askers by turns, answers that lead to more questions, and a failure that
/// needs one of several sets of answers.
struct Drawn {
    turns: Vec<(u64, u32)>,
    /// After an answer other than 0 to these, the asker asks more.
    leads: Vec<(usize, usize)>,
    /// By turn, the least that must have been answered; any one of the sets.
    fatal: Vec<Vec<(usize, u32)>>,
}

impl Drawn {
    fn new(number: u64) -> Drawn {
        let rng = &mut ChaCha8Rng::seed_from_u64(number);
        let len = 20 + below(rng, 150) as usize;
        let mut draw = |n: u32| below(rng, n);
        let turns = (0..len).map(|_| (u64::from(draw(4)), 2 + draw(4))).collect::<Vec<_>>();
        let leads = (0..draw(4)).map(|_| (draw(len as u32) as usize, 1 + draw(3) as usize));
        let leads = leads.collect();
        let mut set = || {
            let answer = |_| {
                let at = draw(len as u32) as usize;
                (at, 1 + draw(turns[at].1 - 1))
            };
            (0..3).map(answer).collect::<Vec<_>>()
        };
        let fatal = vec![set(), set()];
        Drawn { turns, leads, fatal }
    }

    fn fails(&self, choices: &mut Choices) -> bool {
        let mut answers = Vec::new();
        for (at, &(g, n)) in self.turns.iter().enumerate() {
            choices.set_asker(|| Asker::Goroutine(g));
            answers.push(choices.choose(KIND, n));
            let more = self.leads.iter().filter(|lead| lead.0 == at && answers[at] > 0);
            for _ in 0..more.map(|lead| lead.1).sum() {
                choices.choose(KIND, n);
            }
        }
        let holds = |set: &Vec<(usize, u32)>| set.iter().all(|&(at, least)| answers[at] >= least);
        self.fatal.iter().any(holds)
    }
}

/// Nothing can be taken from the result, and it is no more than the largest set that is fatal.
#[test]
fn what_remains_of_a_drawn_program_cannot_be_made_smaller_by_one() {
    let mut shrunk = 0;
    for number in 0..300 {
        let drawn = Drawn::new(number);
        let program = run(|choices| drawn.fails(choices));
        if (0..500).all(|seed| program(Source::Seed(seed)).is_none()) {
            continue;
        }
        shrunk += 1;
        let last = smallest(|choices| drawn.fails(choices));
        let most = drawn.fatal.iter().map(Vec::len).max().expect("there is a set");
        assert!(last.deviations.len() <= most, "program {number}: {:?}", left(&last));
        for at in 0..last.deviations.len() {
            let mut fewer = last.deviations.clone();
            fewer.remove(at);
            assert!(program(Source::Deviations(fewer)).is_none(), "program {number}, {at}");
        }
    }
    assert!(shrunk > 200, "{shrunk}");
}
