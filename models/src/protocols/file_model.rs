//! A file that is closed while somebody reads from it, from end to end.
//!
//! The interleavings hunted:
//!
//! * the reader is about to park, parked, or released and not yet gone: the close returns only when the
//!   reader has let go and the number is free (golang/go#21856, L3, S15).
//! * the reader holds the last reference, so it destroys the file: once (S26), and it makes no system
//!   call on the number afterwards, which is another file's by then (S16, S33).
//!
//! * another file is opened meanwhile and gets the number, or the descriptor, as soon as it is free:
//!   deregistering and ending the life come before (S13, S15).
//!
//! * a thread waits while the only worker falls asleep: the worker has looked at the count of waiters
//!   before the thread was counted, the thread has looked for a sleeper before the worker was one, and
//!   nobody polls. The count is before F4 and the look at it after F3 (O7).
//!
//! `File`, `Netpoll` and the scheduler's part in it are the production ones; reader and closer are
//! threads, for which a record of the runtime stands in the slot.

use std::sync::Arc;

use netpoll::fd::file::{File, Kind, Owner};
use netpoll::net::is_closed;
use netpoll::ops::Descriptor;
use netpoll::platform::Kernel;
use netpoll::poll::{Delay, Harvest};
use netpoll::trace::{Mode, SlotState};

use super::scheduler::runtime;
use crate::check::{Bound, models};
use crate::platform::{Checked, join};

models! {
    /// A close sends a reader away and returns when the number is free.
    close_against_read { loom: Bound::preemptions(3), shuttle: [Pct, Urw], kernel: Scripted }
    /// A read that a close overtakes reads from its own file or not at all.
    close_against_last_read { loom: Bound::preemptions(4), shuttle: [Pct, Urw], kernel: Scripted }
    /// Of two closes of a file one succeeds.
    close_against_close_of_a_file { loom: Bound::UNBOUNDED, shuttle: [Pct, Urw], kernel: Scripted }
    /// A close leaves the next file of that number alone.
    close_against_open { loom: Bound::UNBOUNDED, shuttle: [Pct, Urw], kernel: Scripted }
    /// A thread that waits never misses the worker that has to poll for it.
    read_against_sleep { loom: Bound::preemptions(3), shuttle: [Pct, Urw], kernel: Scripted }
}

/// A file over an eventfd that holds `count`.
fn open<P: Checked>(count: u64) -> Arc<File<P>> {
    let runtime = runtime::<P>(1);
    let shared = runtime.shared();
    let number = shared.kernel.eventfd().expect("numbers are free");
    if count > 0 {
        assert_eq!(shared.kernel.write(number, &count.to_ne_bytes()), Ok(8));
    }
    File::new(shared, number, Kind::Other, Owner::File).expect("an eventfd can be polled")
}

/// Closes the file and makes the next one, which holds 9, of its number.
fn close_and_reuse<P: Checked>(file: &File<P>) {
    let kernel = file.shared().kernel.clone();
    file.close().expect("the only close");
    let next = kernel.eventfd().expect("numbers are free");
    assert_eq!(next, file.raw_fd(), "a close returns when the number is free");
    assert_eq!(kernel.write(next, &9u64.to_ne_bytes()), Ok(8));
}

fn assert_nothing_left<P: Checked>(file: &File<P>) {
    let netpoll = &file.shared().netpoll;
    assert_eq!(netpoll.lives.alive(), 0, "a descriptor is left");
    assert_eq!(netpoll.waiters(), 0, "S17: a waiter is left");
}

fn close_against_read<P: Checked>() {
    let file = open::<P>(0);
    let closer = {
        let file = file.clone();
        P::thread(move || close_and_reuse(&file))
    };
    let error = file.read(&mut [0; 8]).expect_err("there is nothing to read");
    assert!(is_closed(&error), "{error}");
    join([closer]);
    assert_nothing_left(&file);
}

fn close_against_last_read<P: Checked>() {
    let file = open::<P>(1);
    let closer = {
        let file = file.clone();
        P::thread(move || close_and_reuse(&file))
    };
    let mut bytes = [0; 8];
    match file.read(&mut bytes) {
        Ok(count) => assert_eq!((count, u64::from_ne_bytes(bytes)), (8, 1), "S33"),
        Err(error) => assert!(is_closed(&error), "{error}"),
    }
    join([closer]);
    assert_nothing_left(&file);
}

fn close_against_close_of_a_file<P: Checked>() {
    let file = open::<P>(0);
    let other = {
        let file = file.clone();
        P::thread(move || {
            if let Err(error) = file.close() {
                assert!(is_closed(&error), "{error}");
            }
        })
    };
    if let Err(error) = file.close() {
        assert!(is_closed(&error), "{error}");
    }
    join([other]);
    assert_nothing_left(&file);
    let next = file.shared().kernel.eventfd();
    assert_eq!(next, Ok(file.raw_fd()), "the number is free");
}

fn close_against_open<P: Checked>() {
    let file = open::<P>(0);
    let shared = file.shared().clone();
    let closer = P::thread(move || file.close().expect("the only close"));
    let (kernel, netpoll) = (&shared.kernel, &shared.netpoll);
    let number = kernel.eventfd().expect("numbers are free");
    let next =
        File::new(&shared, number, Kind::Other, Owner::File).expect("an eventfd can be polled");
    join([closer]);
    assert_eq!(netpoll.lives.alive(), 1);
    assert_eq!(kernel.write(number, &1u64.to_ne_bytes()), Ok(8));
    netpoll.poll(kernel, Delay::None, &mut Harvest::default());
    let told = netpoll.lives.iter().any(|pd| pd.slot_state(Mode::Read) == SlotState::Ready);
    assert!(told, "S15: the next file is not registered any more");
    next.close().expect("the only close");
}

fn read_against_sleep<P: Checked>() {
    let file = open::<P>(0);
    let shared = file.shared().clone();
    let g = shared.allocate_g();
    let reader = {
        let (file, shared) = (file.clone(), shared.clone());
        P::thread(move || {
            assert_eq!(file.read(&mut [0; 8]).expect("nobody closes"), 8);
            shared.submit(g);
        })
    };
    let peer = {
        let (file, shared) = (file.clone(), shared.clone());
        P::thread(move || {
            assert_eq!(shared.kernel.write(file.raw_fd(), &1u64.to_ne_bytes()), Ok(8));
        })
    };
    assert_eq!(shared.worker_loop(0).find_runnable(), Some(g));
    join([reader, peer]);
    assert_eq!(shared.netpoll.waiters(), 0, "S17: a waiter is left");
    file.close().expect("the only close");
}
