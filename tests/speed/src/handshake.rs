//! Two threads: each parks until the other one says that it is ready. The smallest program with wake-ups to be lost.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use netpoll::platform::{Atomic, Park, Primitives, Thread};
use netpoll_sim::platform::SimParker;
use netpoll_sim::{Granularity, SimConfig, Virtual, run};
use netpoll_traces::Keep;
use shuttle::scheduler::{RandomScheduler, Schedule, Scheduler, Task, TaskId};

const EXECUTIONS: u64 = 50_000;

/// What one side waits on.
struct Side {
    is_ready: <Virtual as Primitives>::AtomicU32,
    parker: SimParker,
}

impl Default for Side {
    fn default() -> Side {
        Side { is_ready: Atomic::new(0), parker: Park::new() }
    }
}

impl Side {
    fn wait(&self) {
        while self.is_ready.load(Acquire) == 0 {
            self.parker.park();
        }
    }
    fn wake(&self) {
        self.is_ready.store(1, Release);
        self.parker.unpark();
    }
}

/// Executions and steps of one turn.
pub fn netpoll() -> (u64, u64) {
    let mut steps = 0;
    for seed in 0..EXECUTIONS {
        let config = SimConfig {
            granularity: Granularity::Atomic,
            record: Keep::Last(0),
            ..SimConfig::seed(seed)
        };
        let report = run(config, |_| {
            let (here, there) = (Arc::new(Side::default()), Arc::new(Side::default()));
            let (other, own) = (Arc::clone(&here), Arc::clone(&there));
            let answers = Virtual::spawn(
                "answers".to_string(),
                Box::new(move || {
                    own.wait();
                    other.wake();
                }),
            );
            there.wake();
            here.wait();
            answers.expect("threads are free").join();
        });
        assert!(report.is_clean(), "{}", report.outcome);
        steps += report.steps;
    }
    (EXECUTIONS, steps)
}

/// A scheduler that counts how often it is asked.
struct Counting {
    inner: RandomScheduler,
    steps: Arc<AtomicU64>,
}

impl Scheduler for Counting {
    fn new_execution(&mut self) -> Option<Schedule> {
        self.inner.new_execution()
    }
    fn next_task(
        &mut self,
        runnable: &[&Task],
        current: Option<TaskId>,
        is_yielding: bool,
    ) -> Option<TaskId> {
        self.steps.fetch_add(1, Relaxed);
        self.inner.next_task(runnable, current, is_yielding)
    }
    fn next_u64(&mut self) -> u64 {
        self.inner.next_u64()
    }
}

/// The same under shuttle.
pub fn shuttle() -> (u64, u64) {
    let steps = Arc::new(AtomicU64::new(0));
    let inner = RandomScheduler::new_from_seed(1, EXECUTIONS as usize);
    let scheduler = Counting { inner, steps: Arc::clone(&steps) };
    let executions = shuttle::Runner::new(scheduler, shuttle::Config::default()).run(|| {
        let ready = |_| Arc::new(shuttle::sync::atomic::AtomicU32::new(0));
        let [here, there] = [0, 1].map(ready);
        let (other, own) = (Arc::clone(&here), Arc::clone(&there));
        let this = shuttle::thread::current();
        let wait = |flag: &shuttle::sync::atomic::AtomicU32| {
            while flag.load(Acquire) == 0 {
                shuttle::thread::park();
            }
        };
        let answers = shuttle::thread::spawn(move || {
            wait(&own);
            other.store(1, Release);
            this.unpark();
        });
        there.store(1, Release);
        answers.thread().unpark();
        wait(&here);
        answers.join().expect("it does not panic");
    });
    (executions as u64, steps.load(Relaxed))
}
