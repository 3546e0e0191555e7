//! Many children at a time.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::child::{Job, Parent, Verdict};

/// Who is told what the children do. Calls come from several threads.
pub trait Watch: Sync {
    /// Job number `index` has had so many executions and is, where that can be had, so far along.
    fn progress(&self, index: usize, executions: u64, share: Option<f64>) {
        let _ = (index, executions, share);
    }
    /// Job number `index` begins.
    fn begun(&self, index: usize) {
        let _ = index;
    }
    /// Job number `index` is over.
    fn done(&self, index: usize, verdict: &Verdict) {
        let _ = (index, verdict);
    }
}

/// Nobody.
impl Watch for () {}

/// Runs all jobs, `hands` of them at a time; returns their verdicts in the order of the jobs.
///
/// # Errors
/// The first error of a child that could not be started or waited for.
pub fn run(
    parent: &Parent,
    jobs: &[Job],
    hands: usize,
    watch: &dyn Watch,
) -> io::Result<Vec<Verdict>> {
    let one = |index: usize| {
        watch.begun(index);
        let verdict =
            parent.run(&jobs[index], &|count, share| watch.progress(index, count, share))?;
        watch.done(index, &verdict);
        Ok(verdict)
    };
    each(jobs.len(), hands, &one).into_iter().collect()
}

/// Does `work` for every number below `count`, `hands` at a time; returns the results in order.
pub fn each<T: Send>(count: usize, hands: usize, work: &(dyn Fn(usize) -> T + Sync)) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new((0..count).map(|_| None).collect::<Vec<Option<T>>>());
    let hand = || {
        loop {
            let index = next.fetch_add(1, Relaxed);
            if index >= count {
                return;
            }
            let result = work(index);
            results.lock().unwrap_or_else(PoisonError::into_inner)[index] = Some(result);
        }
    };
    thread::scope(|scope| {
        for _ in 1..hands.min(count) {
            scope.spawn(hand);
        }
        hand();
    });
    let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.into_iter().map(|result| result.expect("every number was taken")).collect()
}
