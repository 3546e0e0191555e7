//! A reader that waits at once after a short read, against bytes and the end of the stream.
//!
//! The interleaving hunted: bytes and the end arrive together and are announced by one event; the reader
//! takes the bytes with a short read, believes that nothing is left, and waits for an edge that has
//! been. The end's mark in the summary prevents it, if the reader sees it: its dispatch may be a second
//! edge on a slot that is `Ready` already, and must be part of what the reader acquires there (O2).
//!
//! The kernel is a lock around a byte count, an end and a pending event, as a socket is. The poller
//! harvests and dispatches in two steps, so a dispatch may come late.

use std::sync::Arc;

use netpoll::backend::Readiness;
use netpoll::platform::{Lock, Thread};
use netpoll::poll::desc::StartRead;
use netpoll::trace::Mode;

use super::descriptor::Descriptor;
use crate::check::{Bound, models};
use crate::platform::{Checked, join};

models! {
    /// A reader that waits after a short read always sees the end.
    short_read_against_end { loom: Bound::preemptions(3), shuttle: [Pct, Urw] }
}

/// A socket of the model's kernel.
#[derive(Default)]
struct Socket {
    bytes: u32,
    ended: bool,
    /// What the next harvest reports.
    pending: Option<Readiness>,
}

struct Stream<P: Checked> {
    descriptor: Arc<Descriptor<P>>,
    socket: P::Mutex<Socket>,
}

impl<P: Checked> Stream<P> {
    fn arrive(&self, bytes: u32, ended: bool) {
        let mut socket = self.socket.lock();
        socket.bytes += bytes;
        socket.ended |= ended;
        socket.pending =
            Some(Readiness { read: true, unsure: socket.ended, ..Readiness::default() });
    }

    fn poll(&self) {
        let harvested = self.socket.lock().pending.take();
        harvested.into_iter().for_each(|what| self.descriptor.event(what));
    }

    /// `File::read` with a large buffer: the bytes, 0 at the end.
    fn read(&self, last_was_short: bool) -> u32 {
        let Descriptor { pd, kernel, .. } = &*self.descriptor;
        let wait = || self.descriptor.wait(Mode::Read).expect("nobody closes");
        if pd.start_read(kernel, last_was_short).expect("nobody closes") == StartRead::Wait {
            wait();
        }
        loop {
            {
                let mut socket = self.socket.lock();
                if socket.bytes > 0 || socket.ended {
                    return std::mem::take(&mut socket.bytes);
                }
            }
            wait();
        }
    }
}

fn short_read_against_end<P: Checked>() {
    let socket = P::Mutex::new(Socket::default());
    let stream = Arc::new(Stream { descriptor: Descriptor::<P>::open(), socket });
    let peer = {
        let stream = stream.clone();
        P::thread(move || {
            stream.arrive(2, false);
            stream.arrive(1, true);
        })
    };
    let poller = {
        let stream = stream.clone();
        P::thread(move || {
            stream.poll();
            peer.join();
            stream.poll();
        })
    };
    let (mut total, mut short) = (0, false);
    loop {
        match stream.read(short) {
            0 => break,
            bytes => total += bytes,
        }
        short = true;
    }
    assert_eq!(total, 3);
    join([poller]);
}
