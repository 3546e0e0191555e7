//! The simulated platform: `Virtual`.
//!
//! Its primitives are those of `std` with a point of the [engine] before each
//! operation, and blocking that the engine does. They are ordinary memory-safe objects: the values
//! live in real atomics, so an object that outlives its run, or is used outside one, still works as
//! long as it would not have to block.
//!
//! * [`SimMutex`]: unlocking wakes every waiter and they compete again, so that each order of
//!   acquisition, barging included, is a choice of threads.
//! * [`SimParker`]: `park` may wake for no reason ([`FaultKind::SpuriousWake`]), and one `unpark` of a
//!   run may be lost ([`FaultKind::LostUnpark`], where a test asks for it).

use std::cell::UnsafeCell;
use std::fmt;
use std::io;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{self, AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use netpoll::platform::{Atomic, Lock, Park, Platform, Primitives, Thread};
use netpoll_traces::{BlockedOn, ThreadId};

use crate::choice::ChoiceKind;
use crate::engine::{self, NEVER, SLACKS_NS, Wake, atomic_point};
use crate::faults::FaultKind;
use crate::kernel::SimKernel;

/// Computes for so long: what a program says that is to be simulated as one that keeps its worker busy, since a
/// loop takes no virtual time. Others may go on when it is over, and what is due meanwhile happens. Outside a run it
/// takes real time.
pub fn compute(time: Duration) {
    let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / 2);
    let is_simulated = engine::with(|engine| engine.map(|engine| engine.compute(ns)).is_some());
    if !is_simulated {
        let start = Instant::now();
        while start.elapsed() < time {
            std::hint::spin_loop();
        }
    }
}

/// The simulated platform.
#[derive(Debug)]
pub enum Virtual {}

impl Platform for Virtual {
    type Kernel = SimKernel;
}

impl Primitives for Virtual {
    type AtomicU32 = SimAtomic<AtomicU32>;
    type AtomicU64 = SimAtomic<atomic::AtomicU64>;
    type AtomicUsize = SimAtomic<atomic::AtomicUsize>;
    type Mutex<T: Send + 'static> = SimMutex<T>;
    type Parker = SimParker;
    type Thread = SimThread;

    fn fence(order: Ordering) {
        atomic_point();
        match engine::is_running() {
            // The threads of a run share one thread of the operating system, whose program order is theirs: there
            // is nobody to whom a fence of the machine would show anything. (Others than those are refused.)
            true => atomic::compiler_fence(order),
            false => atomic::fence(order),
        }
    }

    fn spawn(name: String, body: Box<dyn FnOnce() + Send>) -> io::Result<SimThread> {
        let id = engine::inside("starting a thread", |engine| engine.spawn(&name, body));
        Ok(SimThread(id))
    }

    fn spin_hint() {
        engine::with(|engine| engine.map(|engine| engine.yield_point()));
    }
}

/// An atomic integer with a point before each operation. `A` is the atomic of `std`.
#[derive(Debug, Default)]
pub struct SimAtomic<A>(pub(crate) A);

macro_rules! atomic {
    ($integer:ty, $atomic:ty) => {
        impl Atomic<$integer> for SimAtomic<$atomic> {
            fn new(value: $integer) -> Self {
                SimAtomic(<$atomic>::new(value))
            }
            #[inline]
            fn load(&self, order: Ordering) -> $integer {
                atomic_point();
                self.0.load(order)
            }
            #[inline]
            fn store(&self, value: $integer, order: Ordering) {
                atomic_point();
                self.0.store(value, order);
            }
            #[inline]
            fn swap(&self, value: $integer, order: Ordering) -> $integer {
                atomic_point();
                self.0.swap(value, order)
            }
            #[inline]
            fn compare_exchange(
                &self,
                current: $integer,
                new: $integer,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$integer, $integer> {
                atomic_point();
                self.0.compare_exchange(current, new, success, failure)
            }
            #[inline]
            fn fetch_add(&self, value: $integer, order: Ordering) -> $integer {
                atomic_point();
                self.0.fetch_add(value, order)
            }
            #[inline]
            fn fetch_sub(&self, value: $integer, order: Ordering) -> $integer {
                atomic_point();
                self.0.fetch_sub(value, order)
            }
        }
    };
}

atomic!(u32, AtomicU32);
atomic!(u64, atomic::AtomicU64);
atomic!(usize, atomic::AtomicUsize);

/// The number under which a lock or parker appears in traces, given at first sight; 0 before.
#[derive(Default)]
struct Number(AtomicU32);

impl Number {
    fn get(&self, engine: &engine::Engine) -> u32 {
        match self.0.load(Ordering::Relaxed) {
            0 => {
                let number = engine.object_number();
                self.0.store(number, Ordering::Relaxed);
                number
            }
            number => number,
        }
    }
}

/// A lock that blocks virtual threads.
pub struct SimMutex<T> {
    locked: AtomicBool,
    /// Whether a virtual thread may be blocked on it.
    contended: AtomicBool,
    number: Number,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached only through a guard, and `locked`, a real atomic, lets only one guard
// exist at a time, whatever the engine does. `T: Send` because the guard may be on any thread.
unsafe impl<T: Send> Sync for SimMutex<T> {}

impl<T> fmt::Debug for SimMutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let locked = self.locked.load(Ordering::Relaxed);
        f.debug_struct("SimMutex").field("locked", &locked).finish_non_exhaustive()
    }
}

impl<T: Send + 'static> Lock<T> for SimMutex<T> {
    type Guard<'a> = SimGuard<'a, T>;

    fn new(value: T) -> Self {
        SimMutex {
            locked: AtomicBool::new(false),
            contended: AtomicBool::new(false),
            number: Number::default(),
            value: UnsafeCell::new(value),
        }
    }

    fn lock(&self) -> SimGuard<'_, T> {
        atomic_point();
        while self.locked.swap(true, Ordering::Acquire) {
            engine::inside("waiting for a lock", |engine| {
                self.contended.store(true, Ordering::Relaxed);
                let on = BlockedOn::Lock(self.number.get(engine));
                let _ = engine.block(on, NEVER);
            });
        }
        SimGuard { lock: self }
    }
}

/// Holds a [`SimMutex`].
pub struct SimGuard<'a, T> {
    lock: &'a SimMutex<T>,
}

impl<T: fmt::Debug> fmt::Debug for SimGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T> Deref for SimGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: this guard is the only one, and gives out `&mut` only for `&mut` of itself.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for SimGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: this guard is the only one, and it is borrowed exclusively.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> Drop for SimGuard<'_, T> {
    fn drop(&mut self) {
        self.lock.locked.store(false, Ordering::Release);
        engine::with(|engine| {
            let Some(engine) = engine else { return };
            // No exchange: only threads of the run block here, and none of them runs now.
            if self.lock.contended.load(Ordering::Relaxed) {
                self.lock.contended.store(false, Ordering::Relaxed);
                engine.wake_all(BlockedOn::Lock(self.lock.number.get(engine)));
            }
        });
        atomic_point();
    }
}

/// A parker for a virtual thread.
pub struct SimParker {
    token: AtomicBool,
    /// The id of the thread that is blocked here, plus 1; 0 for nobody.
    sleeper: AtomicU32,
    number: Number,
}

impl fmt::Debug for SimParker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let token = self.token.load(Ordering::Relaxed);
        f.debug_struct("SimParker").field("token", &token).finish_non_exhaustive()
    }
}

impl Park for SimParker {
    fn new() -> Self {
        SimParker {
            token: AtomicBool::new(false),
            sleeper: AtomicU32::new(0),
            number: Number::default(),
        }
    }

    fn park(&self) {
        self.park_until(|_| NEVER);
    }

    fn park_timeout(&self, timeout_ns: u64) {
        self.park_until(|now_ns| now_ns.saturating_add(timeout_ns));
    }

    fn unpark(&self) {
        engine::with(|engine| {
            if let Some(engine) = engine {
                engine.call_point();
                if engine.strikes_once(FaultKind::LostUnpark) {
                    return;
                }
            }
            self.token.store(true, Ordering::Release);
            let (Some(engine), Some(sleeper)) = (engine, self.sleeper()) else {
                return;
            };
            engine.wake(sleeper);
            engine.return_point();
        });
    }
}

impl SimParker {
    fn park_until(&self, deadline_at: impl FnOnce(u64) -> u64) {
        let take = || self.token.swap(false, Ordering::Acquire);
        let Some(deadline_ns) = engine::with(|engine| {
            let engine = engine?;
            engine.call_point();
            Some(deadline_at(engine.now_ns()))
        }) else {
            assert!(take(), "parking is possible only inside a simulated run");
            return;
        };
        engine::inside("parking", |engine| {
            if take() {
                return;
            }
            let deadline_ns = match deadline_ns {
                NEVER => NEVER,
                at_ns => {
                    let slack = engine.choose(ChoiceKind::TimerSlack, SLACKS_NS.len() as u32);
                    at_ns.saturating_add(SLACKS_NS[slack as usize])
                }
            };
            while !take() {
                if engine.strikes(FaultKind::SpuriousWake) {
                    return;
                }
                assert!(self.sleeper().is_none(), "two threads park on one parker");
                let ThreadId(this) = engine.current();
                self.sleeper.store(u32::from(this) + 1, Ordering::Relaxed);
                let wake = engine.block(BlockedOn::Parker(self.number.get(engine)), deadline_ns);
                self.sleeper.store(0, Ordering::Relaxed);
                if wake == Wake::TimedOut {
                    take();
                    return;
                }
            }
        });
    }

    fn sleeper(&self) -> Option<ThreadId> {
        let id = self.sleeper.load(Ordering::Relaxed).checked_sub(1)?;
        Some(ThreadId(id as u16))
    }
}

/// A virtual thread that was started.
#[derive(Debug)]
pub struct SimThread(ThreadId);

impl Thread for SimThread {
    fn join(self) {
        engine::inside("waiting for a thread", |engine| engine.join(self.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use crate::tests::{check, check_with};
    use crate::{Faults, Granularity, Outcome, SimConfig, run};

    #[test]
    fn a_parker_keeps_a_token_that_comes_before_the_park() {
        check(|_| {
            let parker = SimParker::new();
            parker.unpark();
            parker.park();
        });
    }

    #[test]
    fn a_park_with_a_timeout_takes_that_long_and_no_longer() {
        check(|kernel| {
            let parker = SimParker::new();
            let start = netpoll::platform::Kernel::clock(&kernel);
            parker.park_timeout(5_000_000);
            let took = netpoll::platform::Kernel::clock(&kernel) - start;
            assert!((5_000_000..5_010_000).contains(&took), "{took}");
        });
    }

    #[test]
    fn an_unpark_is_lost_at_most_once_in_a_run() {
        let faults = Faults::none().with(FaultKind::LostUnpark, 1000);
        let config = SimConfig { faults, ..SimConfig::seed(0) };
        let report = run(config, |kernel| {
            let parker = SimParker::new();
            let start = netpoll::platform::Kernel::clock(&kernel);
            parker.unpark();
            parker.park_timeout(5_000_000);
            let took = netpoll::platform::Kernel::clock(&kernel) - start;
            assert!(took >= 5_000_000, "the first one is lost");
            parker.unpark();
            parker.park();
        });
        assert_eq!(report.outcome, Outcome::Finished);
        assert_eq!(report.faults_struck.of(FaultKind::LostUnpark), 1);
    }

    #[test]
    fn two_threads_hand_a_token_back_and_forth() {
        for seed in 0..50 {
            let report = check_with(seed, Granularity::Atomic, |_| {
                let there = Arc::new(SimParker::new());
                let back = Arc::new(SimParker::new());
                let (there2, back2) = (there.clone(), back.clone());
                let thread = Virtual::spawn(
                    "echo".to_string(),
                    Box::new(move || {
                        for _ in 0..10 {
                            there2.park();
                            back2.unpark();
                        }
                    }),
                );
                for _ in 0..10 {
                    there.unpark();
                    back.park();
                }
                thread.expect("threads are free").join();
            });
            assert_eq!(report.outcome, Outcome::Finished);
        }
    }

    #[test]
    fn primitives_work_outside_a_run_as_long_as_they_need_not_block() {
        let lock = SimMutex::new(1);
        *lock.lock() += 1;
        assert_eq!(*lock.lock(), 2);
        let atomic = <Virtual as Primitives>::AtomicU32::new(1);
        assert_eq!(atomic.fetch_add(1, Ordering::Relaxed), 1);
        let parker = SimParker::new();
        parker.unpark();
        parker.park();
        Virtual::spin_hint();
        Virtual::fence(Ordering::SeqCst);
    }

    #[test]
    #[should_panic(expected = "only inside a simulated run")]
    fn a_park_outside_a_run_that_would_block_says_why_it_cannot() {
        SimParker::new().park();
    }
}
