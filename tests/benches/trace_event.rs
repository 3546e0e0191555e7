//! What an event of a trace costs the thread that records it.
//!
//! ```text
//! cargo bench -p netpoll-tests --bench trace_event
//! ```
//!
//! Each round records a million events of the kinds that an echo makes, through the kernel that a recording
//! runtime has, and does the same on one that does not; the figure is the median of the rounds. "Off" is
//! what is left of an event when nobody records, which is nothing.
//!
//! Run by `cargo test`, without `--bench`, it does nothing.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use netpoll::platform::Kernel;
use netpoll::platform::os::{OsKernel, RecordingKernel, Tracer};
use netpoll::trace::{Event, Mode, SlotState, WaitReason};

const ROUNDS: usize = 21;
const EVENTS: u64 = 1_000_000;

fn main() {
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    let kernel = RecordingKernel::new(Arc::new(Tracer::new(64 * 1024)));
    let (mut on, mut off, mut clock) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        on.push(ns_an_event(|n| record(&kernel, n)));
        off.push(ns_an_event(|n| record(&OsKernel, n)));
        clock.push(ns_an_event(|_| {
            black_box(OsKernel.clock());
        }));
    }
    println!("recording on   {:>6.1} ns an event", median(on));
    println!("recording off  {:>6.1} ns an event", median(off));
    println!("the clock      {:>6.1} ns, which is part of the first", median(clock));
}

/// One of the events that a goroutine makes on its way through a read.
fn record<K: Kernel>(kernel: &K, n: u64) {
    let (fd, pd) = (7, 3);
    let slot = |from, to| Event::Slot { pd, fd, mode: Mode::Read, from, to };
    match n % 5 {
        0 => kernel.trace(slot(SlotState::Nil, SlotState::Wait)),
        1 => kernel.trace(Event::Park { g: n, on: WaitReason::Io(fd, Mode::Read) }),
        2 => kernel.trace(Event::Ready { g: n }),
        3 => kernel.trace(Event::Run { g: n }),
        _ => kernel.trace(Event::Syscall { name: "read", fd, arg: 4096, result: Ok(64) }),
    }
}

fn ns_an_event(mut event: impl FnMut(u64)) -> f64 {
    let start = Instant::now();
    for n in 0..EVENTS {
        event(black_box(n));
    }
    start.elapsed().as_nanos() as f64 / EVENTS as f64
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
