//! Goroutines on stacks of their own, on workers that are threads of a checker.
//!
//! The interleavings hunted:
//!
//! * a goroutine that parks (join, channel, lock, wait group), against another one, on the same worker
//!   or on another, that ends the park between its decision and T3, or while the worker already falls
//!   asleep: it runs again, once.
//! * a goroutine that is stolen before its first instruction: from then on it stays on its thread.
//! * a goroutine that panics: its joiner has the payload, its worker lives, no lock is poisoned.
//! * a goroutine that parks while it unwinds, against its waker: its worker sleeps in place, outside of
//!   the idle set, and is woken nevertheless.
//!
//! Everything is production code from `Builder::build_on` to the end of `Runtime`'s drop, including the
//! threads' shutdown. The face's own locks are `std`'s; what checkers know of them is said in
//! `platform/loom.rs`.

use std::mem::ManuallyDrop;
use std::panic::{panic_any, resume_unwind};
use std::sync::Arc;

use netpoll::sync::{Condvar, Mutex, Receiver, WaitGroup, channel};
use netpoll::{Builder, JoinHandle, Runtime, go, yield_now};

use crate::check::{Bound, models};
use crate::platform::{Checked, Checker};

models! {
    /// On one worker a join has the results of two goroutines.
    join_on_one_worker {
        loom: Bound::preemptions(2),
        shuttle: [Pct, Random, Urw],
        kernel: Scripted
    }
    /// On two workers too, wherever they run.
    join_across_workers {
        loom: Bound::preemptions(2).capped(10_000),
        shuttle: [Pct, Random, Urw],
        kernel: Scripted
    }
    /// A goroutine that parks is resumed by the thread on which it took its first step.
    stolen_goroutine_stays {
        loom: Bound::preemptions(2).capped(5_000),
        shuttle: [Pct, Random, Urw],
        kernel: Scripted
    }
    /// A panic reaches the join, and the worker and the locks live on.
    panic_reaches_join {
        loom: Bound::preemptions(2).capped(5_000),
        shuttle: [Pct, Random, Urw],
        kernel: Scripted
    }
    /// A rendezvous between goroutines hands over each value once, in order, and then its end.
    goroutines_share_channel {
        loom: Bound::preemptions(2).capped(5_000),
        shuttle: [Pct, Random, Urw],
        kernel: Scripted
    }
    /// Goroutines that park for a mutex lose no increment.
    goroutines_share_mutex {
        loom: Bound::preemptions(2).capped(5_000),
        shuttle: [Pct, Random, Urw],
        kernel: Scripted
    }
    /// A wait group and a condition variable wake goroutines on other workers.
    goroutines_wait_for_each_other { shuttle: [Pct, Random, Urw], kernel: Scripted }
    /// A goroutine that parks while it unwinds is woken.
    park_while_unwinding {
        loom: Bound::preemptions(2),
        shuttle: [Pct, Random, Urw],
        kernel: Scripted
    }
}

/// The stacks of goroutines here: they call checkers, who format panics.
const STACK_BYTES: usize = 128 * 1024;

/// A runtime with this many workers, and later up to `workers_max`, to be ended by [`shut_down`].
///
/// Not by its drop: a model that fails unwinds, and then nobody may wait for workers, who take
/// themselves to be panicking as well and park in place.
pub(super) fn runtime<P: Checked>(workers: usize, workers_max: usize) -> ManuallyDrop<Runtime> {
    let builder = Builder::new().workers(workers).workers_max(workers_max).stack_size(STACK_BYTES);
    let runtime = builder.build_on::<P>(P::kernel(workers));
    ManuallyDrop::new(runtime.expect("the simulated kernel refuses no runtime"))
}

/// Ends a runtime with all its threads.
pub(super) fn shut_down(runtime: ManuallyDrop<Runtime>) {
    ManuallyDrop::into_inner(runtime).shutdown();
}

/// Runs `program` as the first goroutine, and looks that nothing is left.
pub(super) fn run<P: Checked>(workers: usize, program: impl FnOnce() + Send + 'static) {
    let runtime = runtime::<P>(workers, workers);
    runtime.run(program).expect("a goroutine has a stack");
    let inspector = runtime.inspector();
    shut_down(runtime);
    assert_eq!(inspector.goroutines(), [], "goroutines are left at the end");
    assert_eq!(inspector.waiters(), 0, "S17: waiters are left at the end");
}

/// What a goroutine returned; its panic goes on here.
pub(super) fn join<T>(handle: JoinHandle<T>) -> T {
    handle.join().unwrap_or_else(|payload| resume_unwind(payload))
}

fn join_two() {
    let first = go(|| 1);
    let second = go(|| 2);
    assert_eq!((join(first), join(second)), (1, 2));
}

fn join_on_one_worker<P: Checked>() {
    run::<P>(1, join_two);
}

fn join_across_workers<P: Checked>() {
    run::<P>(2, join_two);
}

fn stolen_goroutine_stays<P: Checked>() {
    run::<P>(2, || {
        let (sender, receiver) = channel(0);
        let goroutines = [(); 2].map(|()| {
            let receiver = receiver.clone();
            go(move || {
                let thread = P::Checker::thread();
                yield_now();
                assert_eq!(P::Checker::thread(), thread, "it moved in a yield");
                let value = receiver.recv();
                assert_eq!(P::Checker::thread(), thread, "it moved in a park");
                value
            })
        });
        drop(receiver);
        sender.send(1).expect("two receive");
        sender.send(2).expect("two receive");
        let mut values = goroutines.map(|goroutine| join(goroutine).expect("sent"));
        values.sort_unstable();
        assert_eq!(values, [1, 2]);
    });
}

/// What goroutines here panic with. No text, so that nothing is printed about it.
#[derive(Debug, PartialEq)]
struct OnPurpose(u32);

fn panic_reaches_join<P: Checked>() {
    run::<P>(2, || {
        let count = Arc::new(Mutex::new(0));
        let goroutines = [0, 1].map(|number| {
            let count = count.clone();
            go(move || {
                let mut guard = count.lock();
                *guard += 1;
                panic_any(OnPurpose(number));
            })
        });
        for (number, goroutine) in (0..).zip(goroutines) {
            let payload = goroutine.join().expect_err("it panics");
            assert_eq!(payload.downcast_ref(), Some(&OnPurpose(number)));
        }
        assert_eq!(*count.lock(), 2);
        assert_eq!(join(go(|| 3)), 3, "the workers live on");
    });
}

fn goroutines_share_channel<P: Checked>() {
    run::<P>(2, || {
        let (sender, receiver) = channel(0);
        let receiver = go(move || receiver.into_iter().collect::<Vec<_>>());
        let sender = go(move || (0..3).for_each(|value| sender.send(value).expect("received")));
        join(sender);
        assert_eq!(join(receiver), [0, 1, 2]);
    });
}

fn goroutines_share_mutex<P: Checked>() {
    run::<P>(2, || {
        let count = Arc::new(Mutex::new(0));
        let goroutines = [(); 2].map(|()| {
            let count = count.clone();
            go(move || {
                for _ in 0..2 {
                    let mut guard = count.lock();
                    let before = *guard;
                    yield_now(); // the others run into the lock
                    *guard = before + 1;
                }
            })
        });
        goroutines.into_iter().for_each(join);
        assert_eq!(*count.lock(), 4);
    });
}

fn goroutines_wait_for_each_other<P: Checked>() {
    run::<P>(2, || {
        let state = Arc::new((Mutex::new(0), Condvar::new()));
        let group = WaitGroup::new();
        for number in [0, 1] {
            let state = state.clone();
            // Each waits for its turn and passes it on.
            group.go(move || {
                let (turn, condvar) = &*state;
                let mut guard = condvar.wait_while(turn.lock(), |turn| *turn != number);
                *guard += 1;
                condvar.notify_all();
            });
        }
        group.wait();
        assert_eq!(*state.0.lock(), 2);
    });
}

/// Its waker is a plain thread, since for as long as one goroutine unwinds a checker takes all of its
/// threads to be panicking, and then every goroutine would park in place.
fn park_while_unwinding<P: Checked>() {
    /// Receives while it is dropped.
    struct Farewell(Receiver<u32>);

    impl Drop for Farewell {
        fn drop(&mut self) {
            assert_eq!(self.0.recv(), Ok(7));
        }
    }

    let (sender, receiver) = channel(1);
    let waker = P::thread(move || {
        P::Checker::checkpoint(); // as a goroutine would before it uses the channel
        sender.try_send(7).expect("there is room for one");
    });
    run::<P>(1, || {
        let unwinding = go(move || {
            let _farewell = Farewell(receiver);
            panic_any(OnPurpose(0));
        });
        let payload = unwinding.join().expect_err("it panics");
        assert_eq!(payload.downcast_ref(), Some(&OnPurpose(0)));
    });
    crate::platform::join([waker]);
}
