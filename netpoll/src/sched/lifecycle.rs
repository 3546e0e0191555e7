//! Starting the runtime's threads and ending them.

use std::io;
use std::sync::atomic::Ordering::Relaxed;

use super::shared::Shared;
use crate::goroutine::install_for_thread;
use crate::platform::{Atomic, Kernel, Lock, Platform, Thread};
use crate::trace::Event;

impl<P: Platform> Shared<P> {
    /// Starts the first workers and sysmon.
    pub(crate) fn start(&self) -> io::Result<()> {
        self.kernel.trace(Event::Workers { active: self.worker_count() as u32 });
        for index in 0..self.worker_count() {
            self.start_worker(index as u32)?;
        }
        let shared = self.arc();
        let body = Box::new(move || shared.run_sysmon());
        let thread = P::spawn("netpoll-sysmon".to_string(), body)?;
        self.threads.lock().push(thread);
        Ok(())
    }

    /// Starts the next worker's thread.
    pub(super) fn start_worker(&self, index: u32) -> io::Result<()> {
        let shared = self.arc();
        let body = Box::new(move || {
            // Without the report an overflow still dies at the guard, only without a name: a failure
            // to install it is no reason not to run.
            let _guard = install_for_thread();
            shared.run_worker(index);
        });
        // It counts before it runs: who counts sleepers must not see more than there are workers.
        let stopped = {
            let mut sched = self.sched.lock();
            sched.started = index as usize + 1;
            // In a stopped world it stands still first thing, as those did that were counted.
            sched.running += usize::from(sched.stopped);
            sched.stopped
        };
        match P::spawn(format!("netpoll-w{index}"), body) {
            Ok(thread) => {
                self.threads.lock().push(thread);
                Ok(())
            }
            Err(error) => {
                let mut sched = self.sched.lock();
                sched.started = index as usize;
                sched.running -= usize::from(stopped);
                Err(error)
            }
        }
    }

    /// Workers below this number have a thread. Public for the models, whose threads are workers.
    pub fn set_started(&self, count: usize) {
        self.sched.lock().started = count;
    }

    /// Ends all threads. Workers end when the goroutine that they run parks or ends; what is parked
    /// stays where it is and is never unwound.
    pub fn shut_down(&self) {
        if self.shutdown.swap(1, Relaxed) != 0 {
            return;
        }
        for worker in &self.workers {
            self.notify(worker);
        }
        self.sysmon.wake();
        self.pool.shutdown();
        let threads = std::mem::take(&mut *self.threads.lock());
        // A goroutine that drops its own runtime cannot wait for the worker that it runs on.
        if self.current_g().is_none() {
            threads.into_iter().for_each(Thread::join);
            self.drop_unstarted();
        }
    }

    /// Drops the goroutines that never ran; whoever waits for one of them learns it. No worker has a
    /// thread any more.
    fn drop_unstarted(&self) {
        self.drop_global();
        for worker in &self.workers {
            worker.runq.drain().into_iter().for_each(|g| self.end_g(g));
        }
    }

    /// Drops the goroutines in the global queue of a runtime that is shut down.
    pub(super) fn drop_global(&self) {
        let unstarted = std::mem::take(&mut self.sched.lock().global);
        unstarted.into_iter().for_each(|g| self.end_g(g));
    }
}
