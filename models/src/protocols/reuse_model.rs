//! A descriptor that has a new life, against what is still under way for the old one.
//!
//! The interleavings hunted:
//!
//! * an event of the first life that was harvested before the close and is dispatched after the next
//!   open: it may leave a spurious `Ready` behind, for the test of the life and the edge are two steps
//!   (S8), but neither an event error, which would refuse every read of a healthy file
//!   (golang/go#59545), nor the mark that a short read proves nothing (S9).
//! * that spurious `Ready` against the new file's first edge: whichever comes second changes nothing in
//!   the state of the slot, and the consumer must be told of the bytes nevertheless (O2, L1).
//! * a deadline of the first life that fires into the second (S10).
//! * the same on the kernel: the new file has the old one's number, its descriptor the old one's index,
//!   and the poller dispatches late. Bytes come from the right file (S33), and the new file's edge
//!   reaches its reader whatever the old one's did to the slot (L1, L17).

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use netpoll::ops::Deadlines;
use netpoll::platform::{Atomic, Kernel, RawFd};
use netpoll::poll::desc::StartRead;
use netpoll::poll::{Delay, FileKind, Harvest, Netpoll, PollDesc, Released};
use netpoll::trace::Mode;

use super::descriptor::{Descriptor, ERROR, Seats, Timers};
use crate::check::{Bound, models};
use crate::platform::{Checked, join};

models! {
    /// An event of an earlier life leaves no error behind.
    stale_event_against_new_life { loom: Bound::preemptions(3), shuttle: [Pct, Urw] }
    /// A spurious edge hides no edge.
    spurious_edge_against_edge { loom: Bound::preemptions(3), shuttle: [Pct, Urw] }
    /// A deadline of an earlier life times nobody out.
    stale_deadline_against_new_life { loom: Bound::UNBOUNDED, shuttle: [Pct, Dfs] }
    /// A file that reuses number and descriptor gets its own edges and its own bytes.
    reuse_against_late_dispatch {
        loom: Bound::preemptions(3), shuttle: [Pct, Urw], kernel: Scripted
    }
}

impl<P: Checked> Descriptor<P> {
    /// The life ends and the next one begins.
    fn reopen(&self) {
        self.evict();
        self.pd.end(&self.kernel);
        self.pd.open(&self.kernel, 5, FileKind::Other);
    }

    fn assert_healthy(&self) {
        assert_eq!(self.pd.check(Mode::Read), Ok(()), "S9: an error of another life");
        let start = self.pd.start_read(&self.kernel, true);
        assert_eq!(start, Ok(StartRead::Wait), "S9: a mark of another life");
    }
}

fn stale_event_against_new_life<P: Checked>() {
    let descriptor = Descriptor::<P>::open();
    let harvested = descriptor.pd.life();
    let poller = {
        let descriptor = descriptor.clone();
        P::thread(move || descriptor.event_of(harvested, ERROR))
    };
    descriptor.reopen();
    descriptor.assert_healthy();
    join([poller]);
    descriptor.assert_healthy();
    let before = descriptor.pd.slot_state(Mode::Read);
    descriptor.event_of(harvested, ERROR);
    assert_eq!(descriptor.pd.slot_state(Mode::Read), before, "S8: an event that fits no more");
    descriptor.evict();
    descriptor.pd.end(&descriptor.kernel);
}

fn spurious_edge_against_edge<P: Checked>() {
    let descriptor = Descriptor::<P>::open();
    let poller = {
        let descriptor = descriptor.clone();
        P::thread(move || descriptor.edge())
    };
    // The file's bytes. Whoever is told of them by the slot sees them (O2).
    let bytes = Arc::new(P::AtomicU32::new(0));
    let peer = {
        let (descriptor, bytes) = (descriptor.clone(), bytes.clone());
        P::thread(move || {
            bytes.store(1, Relaxed);
            descriptor.edge();
        })
    };
    while bytes.load(Relaxed) == 0 {
        assert_eq!(descriptor.wait(Mode::Read), Ok(()));
    }
    join([poller, peer]);
}

fn stale_deadline_against_new_life<P: Checked>() {
    let descriptor = Descriptor::<P>::open();
    let armed = descriptor.set_deadline(Deadlines::Both, 1000);
    let generation = armed[0].generation;
    let timer = {
        let descriptor = descriptor.clone();
        P::thread(move || descriptor.expire(Deadlines::Both, generation))
    };
    descriptor.reopen();
    let armed = descriptor.set_deadline(Deadlines::Read, 1000);
    assert_eq!(descriptor.pd.check(Mode::Read), Ok(()), "S10: a deadline of another life");
    join([timer]);
    assert_eq!(descriptor.pd.check(Mode::Read), Ok(()), "S10: a deadline of another life");
    assert_eq!(descriptor.pd.check(Mode::Write), Ok(()), "S10: a deadline of another life");
    descriptor.expire(Deadlines::Read, armed[0].generation);
    assert!(descriptor.pd.check(Mode::Read).is_err(), "the deadline of this life has fired");
}

struct World<P: Checked> {
    kernel: P::Kernel,
    netpoll: Netpoll<P>,
    seats: Seats<P>,
    over: P::AtomicU32,
}

impl<P: Checked> World<P> {
    fn new() -> Arc<World<P>> {
        let kernel = P::kernel(1);
        let netpoll = Netpoll::new(&kernel).expect("numbers are free");
        Arc::new(World { kernel, netpoll, seats: Seats::new(), over: P::AtomicU32::new(0) })
    }

    /// The poll loop, until the model is over.
    fn poll(&self) {
        while self.over.load(Acquire) == 0 {
            let mut harvest = Harvest::default();
            self.netpoll.poll(&self.kernel, Delay::Forever, &mut harvest);
            harvest.drain().for_each(|g| self.seats.wake(g));
        }
    }

    /// `File::shut` and `File::destroy` of a file that nobody uses.
    fn close(&self, fd: RawFd, index: u32) {
        let pd: &PollDesc<P> = self.netpoll.lives.get(index);
        let released = pd.evict(&self.kernel, &Timers::default());
        assert_eq!(released, Released::default(), "nobody waits");
        self.netpoll.close(&self.kernel, index);
        assert_eq!(self.kernel.close(fd), Ok(()));
    }
}

fn reuse_against_late_dispatch<P: Checked>() {
    let world = World::<P>::new();
    let World { kernel, netpoll, seats, .. } = &*world;
    let first = kernel.eventfd().expect("numbers are free");
    let index = netpoll.open(kernel, first, FileKind::Other).expect("an eventfd can be polled");
    assert_eq!(kernel.write(first, &1u64.to_ne_bytes()), Ok(8));
    let poller = {
        let world = world.clone();
        P::thread(move || world.poll())
    };
    world.close(first, index);
    let second = kernel.eventfd().expect("numbers are free");
    assert_eq!(second, first, "the lowest free number");
    let again = netpoll.open(kernel, second, FileKind::Other).expect("an eventfd can be polled");
    assert_eq!(again, index, "the last descriptor freed");
    assert_eq!(kernel.write(second, &2u64.to_ne_bytes()), Ok(8));
    assert_eq!(seats.wait(netpoll.lives.get(again), kernel, Mode::Read), Ok(()));
    let mut bytes = [0; 8];
    assert_eq!(kernel.read(second, &mut bytes), Ok(8));
    assert_eq!(u64::from_ne_bytes(bytes), 2, "S33");
    world.over.store(1, Release);
    netpoll.wake(kernel);
    join([poller]);
}
