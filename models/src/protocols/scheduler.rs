//! A runtime whose workers are threads of the model: what the models of the scheduler have in common.
//!
//! The threads run the production loop, `Loop::find_runnable`, which returns a goroutine when there is
//! one and sleeps when there is none. The goroutines have no stacks: they are records that are parked,
//! made runnable and found, and that is all that the protocols are about.

use std::ops::Deref;
use std::sync::Arc;

use netpoll::goroutine::Commit;
use netpoll::platform::{Kernel, RawFd};
use netpoll::poll::desc::Begin;
use netpoll::poll::{Delay, FileKind, Harvest};
use netpoll::sched::shared::{Settings, Shared};
use netpoll::sched::timers::Job;
use netpoll::trace::Mode;

use crate::platform::Checked;

/// A time in which somebody may come before a timer, in nanoseconds.
pub(super) const SOON_NS: u64 = 100_000_000;

/// A runtime without threads: the model's threads play the workers.
pub(super) struct Runtime<P: Checked>(Arc<Shared<P>>);

/// A runtime with this many workers.
pub(super) fn runtime<P: Checked>(workers: usize) -> Runtime<P> {
    runtime_of(workers, workers)
}

/// A runtime with this many active workers, and up to so many in all that are retired.
pub(super) fn runtime_of<P: Checked>(workers: usize, workers_max: usize) -> Runtime<P> {
    let settings = Settings { workers, workers_max, stack_size: 64 * 1024, pool_max: 1 };
    let shared = Shared::new(P::kernel(workers_max), settings);
    Runtime(shared.expect("the simulated kernel refuses no runtime"))
}

impl<P: Checked> Runtime<P> {
    /// What files of it hold on to.
    pub(super) fn shared(&self) -> &Arc<Shared<P>> {
        &self.0
    }
}

impl<P: Checked> Deref for Runtime<P> {
    type Target = Shared<P>;

    fn deref(&self) -> &Shared<P> {
        &self.0
    }
}

impl<P: Checked> Clone for Runtime<P> {
    fn clone(&self) -> Runtime<P> {
        Runtime(Arc::clone(&self.0))
    }
}

impl<P: Checked> Drop for Runtime<P> {
    /// A model that fails leaves the runtime alone: to drop it is to close the poller, and a checker
    /// makes no more steps for an execution that is over.
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::mem::forget(Arc::clone(&self.0));
        }
    }
}

/// A goroutine that is parked with a ticket.
#[derive(Clone, Copy)]
pub(super) struct Parked {
    pub(super) g: u32,
    pub(super) ticket: u64,
}

impl Parked {
    /// A goroutine of worker `home`, parked.
    pub(super) fn at<P: Checked>(shared: &Shared<P>, home: u32) -> Parked {
        let g = shared.allocate_g();
        let record = shared.gs.get(g);
        record.begin(u64::from(g), None, home);
        let ticket = record.ticket.open();
        assert!(record.ticket.commit(ticket), "nobody has the ticket yet");
        Parked { g, ticket }
    }

    /// What a timer does that ends the park.
    pub(super) fn wake(self) -> Job {
        Job::Wake { g: self.g, ticket: self.ticket }
    }

    /// What a timer does that ends a park which is over: nothing.
    pub(super) fn nothing(self) -> Job {
        Job::Wake { g: self.g, ticket: self.ticket - 1 }
    }
}

/// A file that can be polled, registered, and the goroutine that reads from it.
pub(super) struct Reader<P: Checked> {
    pub(super) shared: Runtime<P>,
    pub(super) g: u32,
    pub(super) pd: u32,
    fd: RawFd,
}

impl<P: Checked> Reader<P> {
    /// A reader of worker `home` that waits for nothing yet.
    pub(super) fn at(shared: &Runtime<P>, home: u32) -> Arc<Reader<P>> {
        let fd = shared.kernel.eventfd().expect("the machine has room");
        let pd = shared
            .netpoll
            .open(&shared.kernel, fd, FileKind::Other)
            .expect("an eventfd can be polled");
        // The edge of the registration: an eventfd can be written.
        shared.netpoll.poll(&shared.kernel, Delay::None, &mut Harvest::default());
        let g = shared.allocate_g();
        shared.gs.get(g).begin(u64::from(g), None, home);
        Arc::new(Reader { shared: shared.clone(), g, pd, fd })
    }

    /// The goroutine finds nothing to read and parks: T2, T3 and the count. False when there is an edge.
    pub(super) fn park(&self) -> bool {
        let pd = self.shared.netpoll.lives.get(self.pd);
        match pd.begin(&self.shared.kernel, Mode::Read) {
            Ok(Begin::Park) => {
                let commit = Commit::Slot { pd: self.pd, mode: Mode::Read };
                self.shared.commit_park(self.g, commit, 0)
            }
            Ok(Begin::Ready) => false,
            Err(error) => panic!("nobody closes fd {}: {error:?}", self.fd),
        }
    }

    /// The file becomes readable.
    pub(super) fn make_ready(&self) {
        let written = self.shared.kernel.write(self.fd, &1u64.to_ne_bytes());
        assert_eq!(written, Ok(8), "the counter has room");
    }
}
