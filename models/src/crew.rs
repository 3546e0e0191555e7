//! Many children at a time.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::child::{Job, Parent, Verdict};

/// Who is told what the children do. Calls come from several threads.
pub trait Watch: Sync {
    /// Job number `index` has had so many executions.
    fn progress(&self, index: usize, executions: u64) {
        let _ = (index, executions);
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
    let next = AtomicUsize::new(0);
    let verdicts = Mutex::new(jobs.iter().map(|_| None).collect::<Vec<_>>());
    let work = || {
        while let Some((index, job)) =
            Some(next.fetch_add(1, Relaxed)).and_then(|index| Some((index, jobs.get(index)?)))
        {
            watch.begun(index);
            let verdict = parent.run(job, &|executions| watch.progress(index, executions));
            if let Ok(verdict) = &verdict {
                watch.done(index, verdict);
            }
            verdicts.lock().unwrap_or_else(PoisonError::into_inner)[index] = Some(verdict);
        }
    };
    thread::scope(|scope| {
        for _ in 1..hands.min(jobs.len()) {
            scope.spawn(work);
        }
        work();
    });
    let verdicts = verdicts.into_inner().unwrap_or_else(PoisonError::into_inner);
    verdicts.into_iter().map(|verdict| verdict.expect("every job was taken")).collect()
}
