//! The place where one thread sleeps: a binary token in one word.
//!
//! # States
//!
//! | word | meaning | who may leave it, to where |
//! |---|---|---|
//! | `EMPTY` | no token, nobody sleeps | `park` to `PARKED`; `unpark` to `NOTIFIED` |
//! | `PARKED` | the owner sleeps or is about to | `unpark` to `NOTIFIED`; the owner, on timeout, to `EMPTY` |
//! | `NOTIFIED` | the token is there | only the owner, to `EMPTY` |
//!
//! # Orderings
//!
//! The promise is: what happened before an `unpark` is visible after the `park` that takes its
//! token. So every way into `NOTIFIED` is a release and every way out of it an acquire. An `unpark`
//! that finds `NOTIFIED` must write it again all the same, and with a read-modify-write: the
//! sleeper takes one token for several unparks and owes visibility to each of them; the swap
//! continues the release sequence of the earlier one, so that one acquire sees both. For the same
//! reason the owner takes the token with a read-modify-write, never by a store over what it has
//! loaded before. `EMPTY` to `PARKED` is relaxed: it publishes nothing and takes nothing.
//!
//! # No lost wake-up
//!
//! The sleep is conditional on the word still being `PARKED`, and the kernel compares it atomically
//! with queueing (the lock does that where there is no futex). `unpark` writes first and wakes
//! second. Either the sleeper's comparison comes after the write and it does not sleep, or it is
//! queued before the wake.
//!
//! Tested below on both implementations; the protocols that use a parker are in the models.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::platform::Park;

const EMPTY: u32 = 0;
const NOTIFIED: u32 = 1;
const PARKED: u32 = 2;

/// What a parker needs from the operating system: to sleep while a word has a value.
trait Sleep: Default + Send + Sync + 'static {
    /// Sleeps while `word` is `PARKED`, for at most `timeout_ns`. May return for no reason.
    fn sleep(&self, word: &AtomicU32, timeout_ns: Option<u64>);
    /// Wakes the sleeper. The word has been changed before.
    fn wake(&self, word: &AtomicU32);
}

/// The parker of the production platform.
#[derive(Debug, Default)]
pub struct OsParker(Token<imp::System>);

impl Park for OsParker {
    fn new() -> OsParker {
        OsParker::default()
    }

    #[inline]
    fn park(&self) {
        self.0.park();
    }

    #[inline]
    fn park_timeout(&self, timeout_ns: u64) {
        self.0.park_timeout(timeout_ns);
    }

    #[inline]
    fn unpark(&self) {
        self.0.unpark();
    }
}

/// The protocol of the module docs over some way to sleep.
#[derive(Debug, Default)]
struct Token<S> {
    word: AtomicU32,
    system: S,
}

impl<S: Sleep> Token<S> {
    #[inline]
    fn park(&self) {
        if self.take() {
            return;
        }
        if self.word.compare_exchange(EMPTY, PARKED, Relaxed, Relaxed).is_err() {
            // The token came in between. A swap, since an unpark between these two lines would
            // otherwise lose the visibility that it was promised.
            self.word.swap(EMPTY, Acquire);
            return;
        }
        while !self.take() {
            self.system.sleep(&self.word, None);
        }
    }

    #[inline]
    fn park_timeout(&self, timeout_ns: u64) {
        if self.take() {
            return;
        }
        if self.word.compare_exchange(EMPTY, PARKED, Relaxed, Relaxed).is_err() {
            self.word.swap(EMPTY, Acquire);
            return;
        }
        self.system.sleep(&self.word, Some(timeout_ns));
        // Woken, timed out or neither: the caller loops anyway, so one swap ends all three.
        self.word.swap(EMPTY, Acquire);
    }

    /// Takes the token if it is there. Once the word is `NOTIFIED` only the owner changes its
    /// value.
    #[inline]
    fn take(&self) -> bool {
        self.word.compare_exchange(NOTIFIED, EMPTY, Acquire, Relaxed).is_ok()
    }

    #[inline]
    fn unpark(&self) {
        if self.word.swap(NOTIFIED, Release) == PARKED {
            self.system.wake(&self.word);
        }
    }
}

#[cfg(target_os = "linux")]
mod imp {
    //! Sleeping on a futex. The word itself is the only state.

    use super::{AtomicU32, PARKED, Sleep};
    use std::ptr;

    /// A futex needs nothing besides the word.
    #[derive(Debug, Default)]
    pub(super) struct System;

    impl Sleep for System {
        fn sleep(&self, word: &AtomicU32, timeout_ns: Option<u64>) {
            let timeout = timeout_ns.map(|ns| libc::timespec {
                // A count of nanoseconds in 64 bits is at most 585 years: it fits, and the kernel
                // saturates the sum with the present time.
                tv_sec: libc::time_t::try_from(ns / 1_000_000_000).unwrap_or(libc::time_t::MAX),
                tv_nsec: (ns % 1_000_000_000) as libc::c_long,
            });
            let timeout = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
            let operation = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
            // SAFETY: the word outlives the call because it is borrowed, and `timeout` is null or
            // points into a local of this frame. The kernel only reads both.
            unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation, PARKED, timeout) };
        }

        fn wake(&self, word: &AtomicU32) {
            let operation = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;
            // SAFETY: waking does not access the memory: the address is only a key, so it does not
            // matter if the owner has woken already and given the parker away.
            unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation, 1) };
        }
    }
}

#[cfg(not(target_os = "linux"))]
use condvar as imp;

#[cfg(any(not(target_os = "linux"), test))]
mod condvar {
    //! Sleeping on a condition variable, where there is no futex.

    use super::{AtomicU32, PARKED, Relaxed, Sleep};
    use std::sync::{Condvar, Mutex, PoisonError};
    use std::time::{Duration, Instant};

    #[derive(Debug, Default)]
    pub(super) struct System {
        /// Makes the sleeper's look at the word and its queueing one step, as seen by `wake`.
        lock: Mutex<()>,
        condvar: Condvar,
    }

    impl Sleep for System {
        fn sleep(&self, word: &AtomicU32, timeout_ns: Option<u64>) {
            let guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
            if word.load(Relaxed) != PARKED {
                return;
            }
            let limit = timeout_ns.map(Duration::from_nanos);
            // A time that the clock cannot express never comes.
            match limit.filter(|limit| Instant::now().checked_add(*limit).is_some()) {
                Some(limit) => drop(self.condvar.wait_timeout(guard, limit)),
                None => drop(self.condvar.wait(guard)),
            }
        }

        fn wake(&self, _word: &AtomicU32) {
            // Passing through the lock puts this after the sleeper's queueing, or before its look.
            drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner));
            self.condvar.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;
    use std::time::{Duration, Instant};

    /// Runs one body on both ways to sleep.
    fn on_both(futex: fn(&Token<imp::System>), condvar: fn(&Token<condvar::System>)) {
        futex(&Token::default());
        condvar(&Token::default());
    }

    macro_rules! on_both {
        ($body:ident) => {
            on_both($body::<imp::System>, $body::<condvar::System>)
        };
    }

    #[test]
    fn a_token_that_is_there_ends_the_park_at_once_and_only_once() {
        fn body<S: Sleep>(parker: &Token<S>) {
            parker.unpark();
            parker.unpark();
            parker.park();
            let start = Instant::now();
            parker.park_timeout(20_000_000);
            assert!(start.elapsed() >= Duration::from_millis(20), "two unparks left two tokens");
        }
        on_both!(body);
    }

    #[test]
    fn a_timeout_ends_the_park_and_a_later_token_is_kept() {
        fn body<S: Sleep>(parker: &Token<S>) {
            for timeout_ns in [0, 1, 1_000_000] {
                parker.park_timeout(timeout_ns);
            }
            assert_eq!(parker.word.load(Relaxed), EMPTY);
            parker.unpark();
            parker.park();
        }
        on_both!(body);
    }

    #[test]
    fn a_huge_timeout_is_no_timeout() {
        fn body<S: Sleep>(parker: &Token<S>) {
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    std::thread::sleep(Duration::from_millis(10));
                    parker.unpark();
                });
                let start = Instant::now();
                parker.park_timeout(u64::MAX);
                assert!(start.elapsed() >= Duration::from_millis(9), "returned at once");
            });
        }
        on_both!(body);
    }

    /// Hunts the unpark that falls between the sleeper's decision and its sleep: two threads hand a
    /// turn to and fro, so one lost wake-up hangs the test; and what was written before an unpark
    /// has to be there after the park.
    #[test]
    fn no_wake_up_and_no_write_is_lost_in_a_long_ping_pong() {
        const ROUNDS: usize = 20_000;
        fn body<S: Sleep>(ping: &Token<S>) {
            let pong: Token<S> = Token::default();
            let turn = AtomicUsize::new(0);
            let play = |me: usize, mine: &Token<S>, theirs: &Token<S>| {
                for round in 0..ROUNDS {
                    let expected = 2 * round + me;
                    while turn.load(Relaxed) != expected {
                        if round % 7 == 0 {
                            mine.park_timeout(1_000_000_000);
                        } else {
                            mine.park();
                        }
                    }
                    turn.store(expected + 1, Relaxed);
                    theirs.unpark();
                }
            };
            std::thread::scope(|scope| {
                scope.spawn(|| play(1, &pong, ping));
                play(0, ping, &pong);
            });
            assert_eq!(turn.load(Relaxed), 2 * ROUNDS);
        }
        on_both!(body);
    }
}
