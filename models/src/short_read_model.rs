//! A reader that waits at once after a short read, against bytes and the end of the stream.
//!
//! The interleaving hunted: bytes and the end arrive together and are announced by one event; the reader
//! takes the bytes with a short read, believes that nothing is left, and waits for an edge that has
//! been. The end's mark in the summary prevents it, if the reader sees it: its dispatch may be a second
//! edge on a slot that is `Ready` already, and must be part of what the reader acquires there (O2).
//!
//! The kernel is a lock around a byte count, an end and a pending event, as a socket is. The poller
//! harvests and dispatches in two steps, so a dispatch may come late.

use loom::sync::{Arc, Mutex};
use netpoll::backend::Readiness;
use netpoll::platform::Park;
use netpoll::poll::PollDesc;
use netpoll::poll::desc::{Begin, StartRead};
use netpoll::trace::Mode;

use crate::check::check;
use crate::platform::{Loom, LoomParker, NoKernel};

const G: u32 = 7;

/// A socket of the model's kernel.
#[derive(Default)]
struct Socket {
    bytes: u32,
    ended: bool,
    /// What the next harvest reports.
    pending: Option<Readiness>,
}

struct World {
    pd: PollDesc<Loom>,
    parker: LoomParker,
    socket: Mutex<Socket>,
}

impl World {
    fn arrive(&self, bytes: u32, ended: bool) {
        let mut socket = self.socket.lock().unwrap();
        socket.bytes += bytes;
        socket.ended |= ended;
        socket.pending =
            Some(Readiness { read: true, unsure: socket.ended, ..Readiness::default() });
    }

    fn poll(&self) {
        let harvested = self.socket.lock().unwrap().pending.take();
        if let Some(what) = harvested {
            for g in self.pd.event(&NoKernel, self.pd.life(), what).iter() {
                assert_eq!(g, G);
                self.parker.unpark();
            }
        }
    }

    /// The wait loop of `File::wait_for_edge`.
    fn wait(&self) {
        loop {
            match self.pd.begin(&NoKernel, Mode::Read).unwrap() {
                Begin::Ready => return,
                Begin::Park => {
                    if self.pd.commit(&NoKernel, Mode::Read, G) {
                        self.parker.park();
                    }
                }
            }
            if self.pd.finish(&NoKernel, Mode::Read) {
                return;
            }
        }
    }

    /// `File::read` with a buffer of 8: the bytes, 0 at the end, and whether the read was short.
    fn read(&self, last_was_short: bool) -> u32 {
        if self.pd.start_read(&NoKernel, last_was_short).unwrap() == StartRead::Wait {
            self.wait();
        }
        loop {
            {
                let mut socket = self.socket.lock().unwrap();
                if socket.bytes > 0 || socket.ended {
                    return std::mem::take(&mut socket.bytes);
                }
            }
            self.wait();
        }
    }
}

#[test]
fn a_reader_that_waits_after_a_short_read_always_sees_the_end() {
    check("short read against bytes and the end", Some(3), || {
        let pd = PollDesc::new(0);
        pd.open(5);
        let socket = Mutex::new(Socket::default());
        let world = Arc::new(World { pd, parker: LoomParker::new(), socket });
        let peer = {
            let world = world.clone();
            loom::thread::spawn(move || {
                world.arrive(2, false);
                world.arrive(1, true);
            })
        };
        let poller = {
            let world = world.clone();
            loom::thread::spawn(move || {
                world.poll();
                peer.join().unwrap();
                world.poll();
            })
        };
        let (mut total, mut short) = (0, false);
        loop {
            match world.read(short) {
                0 => break,
                bytes => total += bytes,
            }
            short = true;
        }
        assert_eq!(total, 3);
        poller.join().unwrap();
    });
}
