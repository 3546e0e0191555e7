//! Random numbers for programs: in a run they are choices like all others.
//!
//! So a seed repeats them, a failure file holds them, and making a failure smaller makes them smaller as well: 0 is the
//! dullest. Unlike other choices they go on when the world has healed, since a program that draws lots has to be able to.
//! Outside a run the numbers come from the operating system.
//!
//! [`rng`] is a generator in the terms of `rand_core`, for `rand` and what is built on it.
//!
//! ```
//! use netpoll_sim::{Sim, rand};
//!
//! Sim::named("shuffled").seeds(0..10).check(|| {
//!     let mut cards = [1, 2, 3, 4];
//!     rand::shuffle(&mut cards);
//!     assert_eq!(cards.iter().sum::<i32>(), 10);
//! });
//! ```

use std::convert::Infallible;
use std::fs::File;
use std::io::Read as _;
use std::ops::Range;

use rand_core::TryRng;

use crate::choice::ChoiceKind;
use crate::engine;

/// A random number has this many bits for each choice: one that is drawn whole is made smaller bit by bit.
const BITS: u32 = 16;

/// A number below `n`, each as likely as the others, but for a bias of less than `n / 2^64` when `n` does not fit
/// 32 bits.
///
/// # Panics
/// When `n` is 0, or the operating system has no random numbers.
#[must_use]
pub fn below(n: u64) -> u64 {
    assert!(n > 0, "there is no number below 0");
    match u32::try_from(n) {
        Ok(n) => u64::from(choose(n)),
        Err(_) => u64() % n,
    }
}

/// A number of `range`.
///
/// # Panics
/// When there is none, or the operating system has no random numbers.
#[must_use]
pub fn within(range: Range<u64>) -> u64 {
    assert!(range.start < range.end, "there is no number from {} to {}", range.start, range.end);
    range.start + below(range.end - range.start)
}

/// Any number.
///
/// # Panics
/// When the operating system has no random numbers.
#[must_use]
pub fn u64() -> u64 {
    (0..u64::BITS / BITS).fold(0, |number, _| number << BITS | u64::from(choose(1 << BITS)))
}

/// True once in `n` times.
///
/// # Panics
/// When `n` is 0, or the operating system has no random numbers.
#[must_use]
pub fn one_in(n: u32) -> bool {
    // The dullest is that it is not.
    below(n.into()) == u64::from(n) - 1
}

/// Any order, each as likely as the others.
///
/// # Panics
/// When the operating system has no random numbers.
pub fn shuffle<T>(items: &mut [T]) {
    // Fisher and Yates, backwards as by Durstenfeld; 0 leaves an item where it is.
    for at in (1..items.len()).rev() {
        let step = below(at as u64 + 1) as usize;
        items.swap(at, at - step);
    }
}

/// The same numbers as a generator.
#[must_use]
pub fn rng() -> Generator {
    Generator(())
}

/// See [`rng`]. It has no state: what it returns is chosen when it is asked.
#[derive(Clone, Copy, Debug)]
pub struct Generator(());

impl TryRng for Generator {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(choose(1 << BITS) << BITS | choose(1 << BITS))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        bytes.iter_mut().for_each(|byte| *byte = choose(256) as u8);
        Ok(())
    }
}

/// A number below `n`.
fn choose(n: u32) -> u32 {
    let chosen = engine::with(|engine| engine.map(|engine| engine.choose(ChoiceKind::Random, n)));
    chosen.unwrap_or_else(|| {
        let mut bytes = [0; 8];
        let read = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
        read.expect("the operating system has random numbers");
        (u64::from_ne_bytes(bytes) % u64::from(n)) as u32
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Choice, Report, SimConfig, Source, run};

    fn drawn(config: SimConfig) -> (Report, Vec<u64>) {
        let (sender, drawn) = std::sync::mpsc::channel();
        let report = run(config, move |_| {
            let numbers = [below(6), within(10..12), u64(), u64::from(one_in(3)), below(1 << 40)];
            let mut order = [0, 1, 2, 3, 4];
            shuffle(&mut order);
            let mut bytes = [0; 4];
            let filled = rng().try_fill_bytes(&mut bytes);
            filled.expect("it never fails");
            let all = numbers.into_iter().chain(order).chain(bytes.map(u64::from));
            sender.send(all.collect()).expect("the other end is there");
        });
        (report, drawn.recv().expect("the run came to its end"))
    }

    #[test]
    fn a_seed_and_a_list_repeat_them() {
        let (report, numbers) = drawn(SimConfig::seed(3));
        assert!(numbers[0] < 6 && (10..12).contains(&numbers[1]), "{numbers:?}");
        assert_eq!(drawn(SimConfig::seed(3)).1, numbers);
        assert_ne!(drawn(SimConfig::seed(4)).1, numbers);
        let choices: Vec<Choice> = report.choices;
        assert!(choices.iter().any(|choice| choice.kind == ChoiceKind::Random));
        assert_eq!(drawn(SimConfig::seed(0).replaying(choices)).1, numbers);
    }

    #[test]
    fn the_dullest_are_the_smallest_and_leave_things_where_they_are() {
        let (_, numbers) = drawn(SimConfig { source: Source::Dull, ..SimConfig::seed(0) });
        assert_eq!(numbers, [0, 10, 0, 0, 0, 0, 1, 2, 3, 4, 0, 0, 0, 0]);
    }

    #[test]
    fn each_is_as_likely_as_the_others() {
        let mut seen = [0; 6];
        for seed in 0..600 {
            let (sender, drawn) = std::sync::mpsc::channel();
            let draw = move |_| sender.send(below(6)).expect("the other end is there");
            assert!(run(SimConfig::seed(seed), draw).is_clean());
            seen[drawn.recv().expect("the run came to its end") as usize] += 1;
        }
        assert!(seen.iter().all(|count| (60..140).contains(count)), "{seen:?}");
    }

    #[test]
    fn outside_a_run_they_come_from_the_system() {
        assert!(below(6) < 6);
        assert_ne!(u64(), u64());
    }
}
