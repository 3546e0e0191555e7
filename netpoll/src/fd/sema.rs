//! A counting semaphore that parks goroutines and threads alike.

use std::collections::VecDeque;

use crate::ops::Wake;
use crate::platform::{Lock, Primitives};
use crate::trace::WaitReason;
use crate::waiter::{Parking, Waiter};

#[derive(Debug)]
struct State<P: Primitives> {
    permits: u64,
    waiters: VecDeque<Waiter<P>>,
}

/// First come, first served; a permit released to a waiter is never seen by anybody else.
pub struct Sema<P: Primitives> {
    state: P::Mutex<State<P>>,
}

impl<P: Primitives> std::fmt::Debug for Sema<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sema").finish_non_exhaustive()
    }
}

impl<P: Primitives> Sema<P> {
    /// A semaphore with `permits`.
    pub fn new(permits: u64) -> Sema<P> {
        Sema { state: P::Mutex::new(State { permits, waiters: VecDeque::new() }) }
    }

    /// Permits that nobody has taken.
    pub fn permits(&self) -> u64 {
        self.state.lock().permits
    }

    /// Takes a permit; waits for one if need be.
    pub fn acquire(&self, why: WaitReason) {
        let parking = {
            let mut state = self.state.lock();
            if state.permits > 0 {
                state.permits -= 1;
                return;
            }
            let parking = Parking::prepare(why);
            state.waiters.push_back(parking.waiter());
            parking
        };
        let wake = parking.park(None);
        assert_eq!(wake, Wake::Unparked, "a park without a deadline timed out");
    }

    /// Releases a permit, to the first waiter if there is one.
    pub fn release(&self) {
        let waiter = {
            let mut state = self.state.lock();
            let waiter = state.waiters.pop_front();
            if waiter.is_none() {
                state.permits += 1;
            }
            waiter
        };
        if let Some(waiter) = waiter {
            let ended = waiter.unpark();
            assert!(ended, "S28: a semaphore's waiter was woken by somebody else");
        }
    }
}
