//! A consumer that parks in its slot, against whoever may release it.
//!
//! The interleavings hunted:
//!
//! * park against close: the consumer checks the summary, finds nothing; the closer publishes
//!   `closing`, looks at the slot, sees `Nil`, leaves; the consumer writes `Wait` and parks for ever
//!   (B18 of the bug museum). The re-check after `Wait` and the fences F1 and F2 prevent it.
//! * park against an edge: T5 between T2 and T3 must make T3 fail.
//! * a deadline and an edge at once: exactly one of them takes the goroutine out (S3).
//! * a deadline that is moved while it fires: the consumer neither times out nor stays parked (L5).
//!
//! Here a consumer is a loom thread, and "runnable again" is the parker's token. A lost wakeup is a
//! thread that waits for ever, which loom reports as a deadlock.

use std::cell::Cell;
use std::sync::atomic::Ordering::{AcqRel, Acquire};

use loom::sync::Arc;
use loom::sync::atomic::AtomicU32;
use netpoll::backend::Readiness;
use netpoll::ops::Deadlines;
use netpoll::platform::Park;
use netpoll::poll::desc::Begin;
use netpoll::poll::{DeadlineJob, DeadlineTimers, PollDesc, PollError, Released};
use netpoll::sched::timers::{Job, TimerHeap, TimerId};
use netpoll::trace::Mode;

use crate::check::check;
use crate::platform::{Loom, LoomParker, NoKernel};

/// The goroutine of the consumer.
const G: u32 = 7;

/// One descriptor, and where its consumer sleeps.
struct World {
    pd: PollDesc<Loom>,
    parker: LoomParker,
    /// How often the consumer was made runnable.
    wakes: AtomicU32,
}

impl World {
    fn new() -> Arc<World> {
        let pd = PollDesc::new(0);
        pd.open(5);
        Arc::new(World { pd, parker: LoomParker::new(), wakes: AtomicU32::new(0) })
    }

    /// The production wait loop, with a parker in the place of the scheduler.
    fn wait(&self) -> Result<(), PollError> {
        loop {
            match self.pd.begin(&NoKernel, Mode::Read)? {
                Begin::Ready => return Ok(()),
                Begin::Park => {
                    if self.pd.commit(&NoKernel, Mode::Read, G) {
                        self.parker.park();
                        let wakes = self.wakes.swap(0, AcqRel);
                        assert_eq!(wakes, 1, "S3: woken {wakes} times in one park");
                    }
                }
            }
            if self.pd.finish(&NoKernel, Mode::Read) {
                return Ok(());
            }
            self.pd.check(Mode::Read)?;
        }
    }

    fn release(&self, released: Released) {
        for g in released.iter() {
            assert_eq!(g, G);
            self.wakes.fetch_add(1, AcqRel);
            self.parker.unpark();
        }
    }

    fn edge(&self) {
        let what = Readiness { read: true, ..Readiness::default() };
        self.release(self.pd.event(&NoKernel, self.pd.life(), what));
    }

    fn expire(&self, generation: u64) {
        let job = DeadlineJob { pd: 0, generation, which: Deadlines::Read };
        self.release(self.pd.expire(&NoKernel, job));
    }
}

/// Timers that never fire by themselves and remember the generation armed last. Only the thread that
/// sets deadlines uses them.
#[derive(Default)]
struct Timers {
    heap: std::cell::RefCell<TimerHeap>,
    generation: Cell<u64>,
}

impl DeadlineTimers for Timers {
    fn arm(&self, when: u64, job: DeadlineJob) -> TimerId {
        self.generation.set(job.generation);
        self.heap.borrow_mut().add(0, when, Job::Deadline(job))
    }

    fn disarm(&self, id: TimerId) {
        self.heap.borrow_mut().remove(id);
    }
}

#[test]
fn a_close_never_leaves_the_reader_parked() {
    check("park against close", None, || {
        let world = World::new();
        let closer = {
            let world = world.clone();
            loom::thread::spawn(move || {
                let released = world.pd.evict(&NoKernel, &Timers::default());
                world.release(released);
            })
        };
        assert_eq!(world.wait(), Err(PollError::Closing));
        closer.join().unwrap();
    });
}

#[test]
fn an_edge_never_leaves_the_reader_parked() {
    check("park against ready", None, || {
        let world = World::new();
        let poller = {
            let world = world.clone();
            loom::thread::spawn(move || world.edge())
        };
        assert_eq!(world.wait(), Ok(()));
        poller.join().unwrap();
    });
}

#[test]
fn an_edge_and_a_deadline_release_the_reader_once() {
    check("park against ready and deadline", Some(3), || {
        let world = World::new();
        let timers = Timers::default();
        let set = world.pd.set_deadline(&NoKernel, &timers, Deadlines::Read, 1000);
        assert_eq!(set, Released::default());
        let generation = timers.generation.get();
        let poller = {
            let world = world.clone();
            loom::thread::spawn(move || world.edge())
        };
        let timer = {
            let world = world.clone();
            loom::thread::spawn(move || world.expire(generation))
        };
        let outcome = world.wait();
        assert!(matches!(outcome, Ok(()) | Err(PollError::Timeout)), "{outcome:?}");
        poller.join().unwrap();
        timer.join().unwrap();
        // Whatever came first: afterwards the deadline has expired, and says so.
        assert_eq!(world.pd.check(Mode::Read), Err(PollError::Timeout));
    });
}

#[test]
fn a_deadline_that_is_cleared_while_it_fires_times_nobody_out_for_good() {
    check("park against a deadline that is cleared", Some(3), || {
        let world = World::new();
        let timers = Timers::default();
        let set = world.pd.set_deadline(&NoKernel, &timers, Deadlines::Read, 1000);
        assert_eq!(set, Released::default());
        let generation = timers.generation.get();
        let cleared = Arc::new(AtomicU32::new(0));
        let timer = {
            let world = world.clone();
            loom::thread::spawn(move || world.expire(generation))
        };
        let setter = {
            let (world, cleared) = (world.clone(), cleared.clone());
            loom::thread::spawn(move || {
                let timers = Timers::default();
                // The first arming put the timer's record into another heap; removing it here is a
                // stale removal, which is legal.
                world.release(world.pd.set_deadline(&NoKernel, &timers, Deadlines::Read, 0));
                cleared.store(1, std::sync::atomic::Ordering::Release);
                world.edge();
            })
        };
        match world.wait() {
            Ok(()) => {}
            // Legal only if it saw the deadline before it was cleared.
            Err(error) => assert_eq!(error, PollError::Timeout),
        }
        setter.join().unwrap();
        timer.join().unwrap();
        assert_eq!(cleared.load(Acquire), 1);
        // S10: the stale callback cannot expire a deadline that has been cleared.
        assert_eq!(world.pd.check(Mode::Read), Ok(()));
    });
}
