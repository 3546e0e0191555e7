//! The scanner, against the compiler: this file calls probes, and scans itself.

use std::cell::RefCell;
use std::panic::Location;
use std::sync::atomic::Ordering::{self, AcqRel, Acquire, Relaxed, Release, SeqCst};

use netpoll::platform::Atomic;

use super::scan::scan_text;

thread_local! {
    /// Where the probes were called from: line and column.
    static CALLS: RefCell<Vec<(u32, u32)>> = const { RefCell::new(Vec::new()) };
}

#[track_caller]
fn record() {
    let caller = Location::caller();
    CALLS.with_borrow_mut(|calls| calls.push((caller.line(), caller.column())));
}

/// An atomic, and a platform, that only notes who calls it.
#[derive(Debug)]
struct Probe;

impl Atomic<u32> for Probe {
    fn new(_: u32) -> Probe {
        Probe
    }
    #[track_caller]
    fn load(&self, _: Ordering) -> u32 {
        record();
        0
    }
    #[track_caller]
    fn store(&self, _: u32, _: Ordering) {
        record();
    }
    #[track_caller]
    fn swap(&self, _: u32, _: Ordering) -> u32 {
        record();
        0
    }
    #[track_caller]
    fn compare_exchange(&self, _: u32, _: u32, _: Ordering, _: Ordering) -> Result<u32, u32> {
        record();
        Ok(0)
    }
    #[track_caller]
    fn fetch_add(&self, _: u32, _: Ordering) -> u32 {
        record();
        0
    }
    #[track_caller]
    fn fetch_sub(&self, _: u32, _: Ordering) -> u32 {
        record();
        0
    }
}

trait Fences {
    fn fence(_: Ordering);
}

impl Fences for Probe {
    #[track_caller]
    fn fence(_: Ordering) {
        record();
    }
}

#[track_caller]
fn fence(_: Ordering) {
    record();
}

struct Words<A> {
    word: A,
    words: [A; 2],
}

/// Calls the probes in all the ways in which production code calls atomics, and in some more. Rustfmt
/// would join the chains that are broken here.
#[rustfmt::skip]
fn accesses<A: Atomic<u32>, P: Fences>(words: &Words<A>) -> String {
    words.word.load(Acquire);
    words.word
        .store(1, Release);
    words
        .words[words.word.load(Ordering::Relaxed) as usize]
        .swap(
            2,
            AcqRel,
        );
    if words.word.load(Relaxed) == 0 && words.word.compare_exchange(0, 1, AcqRel, Acquire).is_ok() {
        P::fence(SeqCst);
    }
    words.word.store(words.word.fetch_add(1, Relaxed) + words.word.fetch_sub(1, Relaxed), Release);
    let again = || { fence(SeqCst); self::fence(SeqCst); <P as Fences>::fence(SeqCst) };
    again();
    P::
        fence(SeqCst);
    assert_eq!(words.word.load(Acquire), 0);
    assert!(matches!(words.word
        .compare_exchange(0, 1, AcqRel, Acquire), Ok(_) | Err(1)));
    format!("größer {} {:?}", { words.word.load(Relaxed) }, words.word.swap(0, AcqRel))
}

#[test]
fn lines_and_columns_are_those_that_the_compiler_gives_to_a_callee() {
    accesses::<Probe, Probe>(&Words { word: Probe, words: [Probe, Probe] });
    let mut called = CALLS.take();
    called.sort_unstable();

    let listed = scan_text("caller_test.rs", include_str!("caller_test.rs")).unwrap();
    assert!(listed.iter().all(|site| site.function == "accesses"), "{listed:?}");
    let listed: Vec<(u32, u32)> = listed.iter().map(|site| (site.line, site.column)).collect();
    assert_eq!(listed, called);
    assert_eq!(listed.len(), 18);
}
