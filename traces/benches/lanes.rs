//! How fast a trace becomes lanes: `cargo bench -p netpoll-traces`.
//!
//! Nothing is folded, so every record is written. The records are those of workers that read, park and
//! are woken, which is what traces are full of.

use std::hint::black_box;
use std::time::Instant;

use netpoll::platform::Errno;
use netpoll::trace::{Event, Mode, SlotState, WaitReason};
use netpoll_traces::{Caption, Entry, Keep, Recorder, ThreadId, Trace, WorldEvent, lanes};

const RECORDS: usize = 100_000;
const ROUNDS: u32 = 5;

fn main() {
    let trace = trace();
    let options = lanes::Options { fold: false, ..lanes::Options::default() };
    let caption = Caption::default();
    let mut bytes = 0;
    let began = Instant::now();
    for _ in 0..ROUNDS {
        bytes = black_box(lanes::render(black_box(&trace), &caption, &options)).len();
    }
    let each = began.elapsed() / ROUNDS;
    println!("lanes: {RECORDS} records, {bytes} bytes, {each:?}");
}

fn trace() -> Trace {
    let mut recorder = Recorder::new(Keep::All);
    for name in ["main", "netpoll-w0", "netpoll-w1", "netpoll-sysmon"] {
        recorder.add_thread(name);
    }
    let mut at = 0;
    for round in 0.. {
        let thread = ThreadId(1 + round % 2);
        let (g, fd) = (u64::from(round % 40) + 1, i32::from(round % 40) + 5);
        for (thread, event) in exchange(thread, g, fd) {
            recorder.record(1_000_000 + at as u64 * 700, thread, event);
            at += 1;
            if at == RECORDS {
                return recorder.finish();
            }
        }
    }
    unreachable!("there is no last round")
}

/// A read that parks, and what ends it.
fn exchange(thread: ThreadId, g: u64, fd: i32) -> Vec<(ThreadId, Entry)> {
    let pd = fd as u32 - 5;
    let place = g as u32 - 1;
    let slot = |from, to| Event::Slot { pd, fd, mode: Mode::Read, from, to };
    let syscall = |result| Event::Syscall { name: "read", fd, arg: 64, result };
    let ready = libc::EPOLLIN as u32;
    let edge = WorldEvent::Edge { fd, file: 1, ready, wakeup: ready };
    vec![
        (thread, Event::Run { g }.into()),
        (thread, syscall(Err(Errno::EAGAIN)).into()),
        (thread, slot(SlotState::Nil, SlotState::Wait).into()),
        (thread, Event::Park { g, on: WaitReason::Io(fd, Mode::Read) }.into()),
        (thread, slot(SlotState::Wait, SlotState::Parked(place)).into()),
        (thread, Event::Waiters { count: 1 }.into()),
        (ThreadId::KERNEL, edge.into()),
        (thread, Event::Dispatch { pd, life: 1 }.into()),
        (thread, slot(SlotState::Parked(place), SlotState::Ready).into()),
        (thread, Event::Ready { g }.into()),
    ]
}
