//! The descriptor's mutex: operations that wait for each other, and a close.
//!
//! The interleavings hunted:
//!
//! * a holder that gives the lock back while another one queues up, and a third that barges in: whoever
//!   was subtracted is woken, and who holds the lock sees what its predecessors did (M1, S28, L15).
//! * a close with operations under way and others that wait for them: each waiter is sent away once
//!   (S28), nobody gets in afterwards (S27), and whoever drops the last reference, and only it, destroys
//!   the file, after all uses (M2, S16, S26).
//! * two closes at once: one of them is told so.
//!
//! The file is a relaxed word, as the plain data behind a real one: the mutex alone has to order it.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use netpoll::fd::mutex::{Closed, FdMutex};
use netpoll::platform::Atomic;
use netpoll::trace::{Mode, WaitReason};

use crate::check::{Bound, models};
use crate::platform::{Checked, join};

models! {
    /// The lock of a direction goes from hand to hand with what it guards.
    lock_against_lock { loom: Bound::UNBOUNDED, shuttle: [Pct, Dfs] }
    /// The lock goes from hand to hand while somebody else holds a reference.
    lock_against_lock_and_reference { loom: Bound::preemptions(3), shuttle: [Pct, Urw] }
    /// A third one that barges in strands nobody.
    lock_against_two_locks { loom: Bound::preemptions(3), shuttle: [Pct, Urw] }
    /// A close destroys the file once, after the operations that it found.
    close_against_operations { loom: Bound::preemptions(3), shuttle: [Pct, Urw] }
    /// A close sends away everybody who waits for a lock.
    close_against_lock_waiters { loom: Bound::preemptions(3), shuttle: [Pct, Urw] }
    /// A close destroys the file once, after the last reference.
    close_against_references { loom: Bound::preemptions(3), shuttle: [Pct, Urw] }
    /// Of two closes one succeeds.
    close_against_close { loom: Bound::UNBOUNDED, shuttle: [Pct, Dfs] }
}

const WHY: WaitReason = WaitReason::FdLock(5, Mode::Read);
/// The file's word when the file has been destroyed.
const DESTROYED: u32 = 1000;

struct File<P: Checked> {
    mutex: FdMutex<P>,
    /// What the read lock guards: how many operations there were.
    operations: P::AtomicU32,
    /// What a reference keeps alive: one word for each user.
    uses: [P::AtomicU32; 2],
    /// `operations` and all uses as the destroyer found them, plus [`DESTROYED`].
    found: P::AtomicU32,
}

impl<P: Checked> File<P> {
    fn new() -> Arc<File<P>> {
        let zero = || P::AtomicU32::new(0);
        let uses = [zero(), zero()];
        Arc::new(File { mutex: FdMutex::new(), operations: zero(), uses, found: zero() })
    }

    /// An operation under the read lock.
    fn operate(&self) -> Result<(), Closed> {
        self.mutex.lock(Mode::Read, WHY)?;
        self.work();
        Ok(())
    }

    /// The rest of an operation, by the lock's holder.
    fn work(&self) {
        let before = self.operations.load(Relaxed);
        self.operations.store(before + 1, Relaxed);
        if self.mutex.unlock(Mode::Read) {
            self.destroy();
        }
    }

    /// An operation that takes only a reference.
    fn refer(&self, user: usize) -> Result<(), Closed> {
        self.mutex.incref()?;
        self.uses[user].store(1, Relaxed);
        if self.mutex.decref() {
            self.destroy();
        }
        Ok(())
    }

    fn close(&self) -> Result<(), Closed> {
        self.mutex.incref_and_close()?;
        if self.mutex.decref() {
            self.destroy();
        }
        Ok(())
    }

    fn destroy(&self) {
        let uses: u32 = self.uses.iter().map(|word| word.load(Relaxed)).sum();
        let found = DESTROYED + self.operations.load(Relaxed) + uses;
        assert_eq!(self.found.swap(found, Relaxed), 0, "S26: destroyed twice");
    }

    /// The destroyer has seen all `uses`.
    fn assert_destroyed_after(&self, uses: u32) {
        assert_eq!(
            self.found.load(Relaxed),
            DESTROYED + uses,
            "S16: destroyed before its last use"
        );
        assert_eq!(self.mutex.spare_permits(), 0, "S28: a waiter was released twice");
        assert_eq!(self.mutex.incref(), Err(Closed), "S27");
        assert_eq!(self.mutex.lock(Mode::Read, WHY), Err(Closed), "S27");
        assert_eq!(self.mutex.lock(Mode::Write, WHY), Err(Closed), "S27");
    }
}

/// Starts `body` on a thread and counts its success.
fn start<P: Checked>(
    file: &Arc<File<P>>,
    successes: &Arc<P::AtomicU32>,
    body: impl FnOnce(&File<P>) -> Result<(), Closed> + Send + 'static,
) -> P::Thread {
    let (file, successes) = (file.clone(), successes.clone());
    P::thread(move || {
        if body(&file).is_ok() {
            successes.fetch_add(1, Relaxed);
        }
    })
}

fn lock_against_lock<P: Checked>() {
    let (file, successes) = (File::<P>::new(), Arc::new(P::AtomicU32::new(0)));
    let other = start(&file, &successes, File::operate);
    assert_eq!(file.operate(), Ok(()));
    join([other]);
    assert_eq!(successes.load(Relaxed), 1);
    assert_eq!(file.operations.load(Relaxed), 2);
    assert_eq!(file.mutex.spare_permits(), 0, "S28: a waiter was released twice");
}

fn lock_against_lock_and_reference<P: Checked>() {
    let file = File::<P>::new();
    assert_eq!(file.mutex.lock(Mode::Read, WHY), Ok(()));
    assert_eq!(file.mutex.incref(), Ok(()));
    let other = {
        let file = file.clone();
        P::thread(move || assert_eq!(file.operate(), Ok(())))
    };
    file.work();
    assert!(!file.mutex.decref(), "S26: an open file was to be destroyed");
    join([other]);
    assert_eq!(file.operations.load(Relaxed), 2, "M1: an operation was overwritten");
}

fn lock_against_two_locks<P: Checked>() {
    let (file, successes) = (File::<P>::new(), Arc::new(P::AtomicU32::new(0)));
    let others = [(); 2].map(|()| start(&file, &successes, File::operate));
    assert_eq!(file.operate(), Ok(()));
    join(others);
    assert_eq!(successes.load(Relaxed), 2);
    assert_eq!(file.operations.load(Relaxed), 3);
    assert_eq!(file.mutex.spare_permits(), 0, "S28: a waiter was released twice");
}

fn close_against_operations<P: Checked>() {
    let (file, successes) = (File::<P>::new(), Arc::new(P::AtomicU32::new(0)));
    let others = [(); 2].map(|()| start(&file, &successes, File::operate));
    assert_eq!(file.close(), Ok(()));
    join(others);
    file.assert_destroyed_after(successes.load(Relaxed));
}

fn close_against_lock_waiters<P: Checked>() {
    let (file, successes) = (File::<P>::new(), Arc::new(P::AtomicU32::new(0)));
    assert_eq!(file.mutex.lock(Mode::Read, WHY), Ok(()));
    let others = [(); 2].map(|()| start(&file, &successes, File::operate));
    assert_eq!(file.close(), Ok(()));
    // Nobody gets the lock: the close came while it was held.
    file.work();
    join(others);
    assert_eq!(successes.load(Relaxed), 0, "S27");
    file.assert_destroyed_after(1);
}

fn close_against_references<P: Checked>() {
    let (file, successes) = (File::<P>::new(), Arc::new(P::AtomicU32::new(0)));
    let others = [0, 1].map(|user| start(&file, &successes, move |file| file.refer(user)));
    assert_eq!(file.close(), Ok(()));
    join(others);
    file.assert_destroyed_after(successes.load(Relaxed));
}

fn close_against_close<P: Checked>() {
    let (file, successes) = (File::<P>::new(), Arc::new(P::AtomicU32::new(0)));
    let other = start(&file, &successes, File::close);
    let mine = file.close();
    join([other]);
    let all = successes.load(Relaxed) + u32::from(mine.is_ok());
    assert_eq!(all, 1, "the second close is told that it is the second");
    file.assert_destroyed_after(0);
}
