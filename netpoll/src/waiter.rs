//! One park of whoever calls, goroutine or plain thread, and the ticket that ends it.
//!
//! Everything in the face that waits (locks, channels, joins, sleeps) waits through a `Parking`:
//!
//! 1. `Parking::prepare` opens the park; from here on a `Waiter` of it may be used;
//! 2. the sleeper publishes the `Waiter` where its waker will find it, usually in a queue behind an
//!    internal lock, and gives that lock back;
//! 3. `Parking::park` sleeps until somebody used the `Waiter` or the deadline passed. Exactly one
//!    of the two ends it, and `Waiter::unpark` returns true to the one who did.
//!
//! An `unpark` between 1 and 3 is not lost: the park then returns at once. There are no spurious
//! wake-ups.
//!
//! A `Parking` that is dropped without parking ends its ticket. A notification that had hit it by then
//! is lost, so the rule for callers is: *publish only when you are going to park, then park*. All
//! users in this crate decide under their internal lock, publish under it, and do nothing that can
//! fail between publishing and parking. They also let the state behind the lock, not the `unpark`,
//! decide who was chosen: a sleeper whose deadline passed looks there whether it was chosen
//! nevertheless, and then it was. That is why nobody here depends on `unpark`'s result.
//!
//! # A plain thread's ticket
//!
//! | state | meaning | who may leave it, to where |
//! |---|---|---|
//! | `WAITING` | the park is open | a waker to `UNPARKED`; the sleeper to `TIMED_OUT` |
//! | `UNPARKED` | a waker ended it | nobody |
//! | `TIMED_OUT` | the deadline ended it | nobody |
//!
//! Ordering: what happened before `unpark` is visible after the `park` that it ended. So the waker's
//! compare-exchange releases and the sleeper's load acquires. A timeout publishes nothing, and one that
//! comes too late acquires nothing: the sleeper looks again, and that load finds the waker's word or a
//! later one. `models/src/protocols/waiter_model.rs` fails without either edge.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

pub(crate) use crate::goroutine::with_current;
use crate::ops::{RuntimeOps, Wake};
use crate::platform::{Atomic as _, Os, Park as _, Primitives};
use crate::time;
use crate::trace::WaitReason;

/// What every entrance says to a caller that is not a goroutine.
pub(crate) const NO_RUNTIME: &str =
    "not inside a netpoll runtime: start one with `netpoll::run(|| ...)` and call this in there";

/// The runtime of the goroutine that runs.
///
/// # Errors
/// On a plain thread.
pub(crate) fn current_runtime() -> io::Result<Arc<dyn RuntimeOps>> {
    with_current(|current| match current {
        Some(current) => Ok(Arc::clone(&current.runtime)),
        None => Err(io::Error::other(NO_RUNTIME)),
    })
}

/// A point before an operation on shared state, where a simulator may switch.
///
/// Not while the caller unwinds: a guard that is dropped then must not run others, who would find
/// `std::thread::panicking()` true.
#[inline]
pub(crate) fn checkpoint() {
    with_current(|current| {
        if let Some(current) = current
            && !std::thread::panicking()
        {
            current.runtime.checkpoint();
        }
    });
}

const WAITING: u32 = 0;
const UNPARKED: u32 = 1;
const TIMED_OUT: u32 = 2;

/// A park of a plain thread.
struct ThreadTicket<P: Primitives> {
    state: P::AtomicU32,
    parker: P::Parker,
}

enum Kind<P: Primitives> {
    Goroutine { runtime: Arc<dyn RuntimeOps>, g: u32, ticket: u64 },
    Thread(Arc<ThreadTicket<P>>),
}

/// The right to end one park. Copies of it are for the same park.
pub struct Waiter<P: Primitives = Os>(Kind<P>);

impl<P: Primitives> Waiter<P> {
    /// Ends the park. True when this call did; false when it had ended already.
    ///
    /// Call it after giving back the lock under which the waiter was found, so that the woken does not
    /// run into that lock.
    pub fn unpark(&self) -> bool {
        match &self.0 {
            Kind::Goroutine { runtime, g, ticket } => runtime.unpark(*g, *ticket),
            Kind::Thread(ticket) => {
                let ended =
                    ticket.state.compare_exchange(WAITING, UNPARKED, Release, Relaxed).is_ok();
                if ended {
                    ticket.parker.unpark();
                }
                ended
            }
        }
    }
}

impl<P: Primitives> Clone for Waiter<P> {
    fn clone(&self) -> Self {
        Waiter(match &self.0 {
            Kind::Goroutine { runtime, g, ticket } => {
                Kind::Goroutine { runtime: Arc::clone(runtime), g: *g, ticket: *ticket }
            }
            Kind::Thread(ticket) => Kind::Thread(Arc::clone(ticket)),
        })
    }
}

impl<P: Primitives> fmt::Debug for Waiter<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Goroutine { g, ticket, .. } => write!(f, "Waiter(#{g}, ticket {ticket})"),
            Kind::Thread(_) => f.write_str("Waiter(thread)"),
        }
    }
}

/// Wakes all of `waiters`, in their order.
pub(crate) fn unpark_all<P: Primitives>(waiters: impl IntoIterator<Item = Waiter<P>>) {
    for waiter in waiters {
        waiter.unpark();
    }
}

/// The sleeping side of one park.
pub struct Parking<P: Primitives = Os> {
    waiter: Waiter<P>,
    why: WaitReason,
}

impl<P: Primitives> Parking<P> {
    /// Opens a park of the caller.
    #[must_use]
    pub fn prepare(why: WaitReason) -> Self {
        let kind = with_current(|current| match current {
            Some(current) => Kind::Goroutine {
                runtime: Arc::clone(&current.runtime),
                g: current.g,
                ticket: current.runtime.prepare_park(current.g),
            },
            None => Kind::Thread(Arc::new(ThreadTicket {
                state: P::AtomicU32::new(WAITING),
                parker: P::Parker::new(),
            })),
        });
        let waiter = Waiter(kind);
        Parking { waiter, why }
    }

    /// The ticket, to be given to a waker.
    #[must_use]
    pub fn waiter(&self) -> Waiter<P> {
        self.waiter.clone()
    }

    /// Sleeps until the ticket is used or `deadline` passes, in nanoseconds of the caller's clock (the
    /// runtime's for a goroutine, `CLOCK_MONOTONIC` for a plain thread).
    pub fn park(self, deadline: Option<u64>) -> Wake {
        match &self.waiter.0 {
            Kind::Goroutine { runtime, g, ticket } => runtime.park(*g, *ticket, self.why, deadline),
            Kind::Thread(ticket) => ticket.park(deadline),
        }
    }
}

impl<P: Primitives> fmt::Debug for Parking<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Parking({:?}, {})", self.waiter, self.why)
    }
}

impl<P: Primitives> ThreadTicket<P> {
    fn park(&self, deadline: Option<u64>) -> Wake {
        while self.state.load(Acquire) == WAITING {
            let Some(deadline) = deadline else {
                self.parker.park();
                continue;
            };
            let left_ns = deadline.saturating_sub(time::thread_clock());
            if left_ns > 0 {
                self.parker.park_timeout(left_ns);
            } else if self.state.compare_exchange(WAITING, TIMED_OUT, Relaxed, Relaxed).is_ok() {
                return Wake::TimedOut;
            }
        }
        Wake::Unparked
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::Thread as _;
    use std::time::Duration;

    fn prepare() -> Parking {
        Parking::prepare(WaitReason::Sleep)
    }

    #[test]
    fn an_unpark_before_the_park_is_kept() {
        let parking = prepare();
        assert!(parking.waiter().unpark());
        assert_eq!(parking.park(None), Wake::Unparked);
    }

    #[test]
    fn only_the_first_unpark_of_a_park_counts() {
        let parking = prepare();
        let waiter = parking.waiter();
        assert!(waiter.unpark());
        assert!(!waiter.clone().unpark());
        assert_eq!(parking.park(Some(1)), Wake::Unparked);
        assert!(!waiter.unpark());
    }

    #[test]
    fn a_deadline_in_the_past_ends_the_park_and_later_unparks_miss() {
        let parking = prepare();
        let waiter = parking.waiter();
        assert_eq!(parking.park(Some(1)), Wake::TimedOut);
        assert!(!waiter.unpark());
    }

    #[test]
    fn an_unpark_wakes_a_thread_that_sleeps() {
        let parking = prepare();
        let waiter = parking.waiter();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                std::thread::sleep(Duration::from_millis(5));
                assert!(waiter.unpark());
            });
            assert_eq!(parking.park(None), Wake::Unparked);
        });
    }

    #[test]
    fn a_park_sleeps_no_shorter_than_its_deadline() {
        let deadline = time::deadline_after(Duration::from_millis(10));
        assert_eq!(prepare().park(Some(deadline)), Wake::TimedOut);
        assert!(time::now() >= deadline);
    }

    /// Hunts the deadline that passes while the waker is between its decision and its wake-up.
    #[test]
    fn timeout_and_unpark_agree_on_who_ended_the_park() {
        for round in 0..300 {
            let parking = prepare();
            let waiter = parking.waiter();
            let (report, result) = std::sync::mpsc::channel();
            let waker = Os::spawn(
                "waker".to_owned(),
                Box::new(move || {
                    std::thread::sleep(Duration::from_micros(round % 7 * 20));
                    report.send(waiter.unpark()).unwrap();
                }),
            );
            let wake = parking.park(Some(time::deadline_after(Duration::from_micros(100))));
            assert_eq!(wake == Wake::Unparked, result.recv().unwrap());
            waker.unwrap().join();
        }
    }

    #[test]
    fn outside_a_runtime_the_error_says_how_to_start_one() {
        let error = current_runtime().unwrap_err();
        assert!(error.to_string().contains("netpoll::run"), "{error}");
    }
}
