//! A run made by hand, small enough to be read whole: g1 waits for a byte and sleeps, g2 runs beside it,
//! a worker is woken out of its poll, and a fault strikes.

use netpoll::platform::Errno;
use netpoll::poll::lives::{BREAK, encode};
use netpoll::trace::{Event, Mode, SlotState, TimerUse, WaitReason, WorkerPhase};
use netpoll_traces::{
    BlockedOn, Caption, Entry, Guilt, Keep, Recorder, ThreadId, Trace, WorldEvent,
};

const MAIN: u16 = 0;
const W0: u16 = 1;
const W1: u16 = 2;
const KERNEL: u16 = u16::MAX;
const IN: u32 = libc::EPOLLIN as u32;
const OUT: u32 = libc::EPOLLOUT as u32;
const ET: u32 = libc::EPOLLET as u32;

/// The run.
pub(crate) fn trace() -> Trace {
    use SlotState::{Nil, Parked, Ready, Wait};
    let call = |name, fd, arg, result| Entry::from(Event::Syscall { name, fd, arg, result });
    let slot = |from, to| Entry::from(Event::Slot { pd: 0, fd: 5, mode: Mode::Read, from, to });
    let watch = |fd, file, events, data| {
        Entry::from(WorldEvent::Watch { fd, file, events, data, queued: false })
    };
    let edge = |fd, file, ready| Entry::from(WorldEvent::Edge { fd, file, ready, wakeup: ready });
    let harvest = |fd, file, data| Entry::from(WorldEvent::Harvest { fd, file, events: IN, data });
    let worker = |phase| Entry::from(Event::Worker { phase });
    let block = |on| Entry::from(WorldEvent::Block { on, until_ns: u64::MAX });
    let resume = |timed_out| Entry::from(WorldEvent::Resume { timed_out });
    let spawn = |thread| Entry::from(WorldEvent::Spawn { thread: ThreadId(thread) });
    let (until_ns, delay_ns) = (u64::MAX, u64::MAX);
    let sleep = TimerUse::Park { g: 0 };
    let records: Vec<(u64, u16, Entry)> = vec![
        (1_000, MAIN, call("epoll_create1", -1, 0, Ok(3))),
        (2_000, MAIN, call("eventfd", -1, 0, Ok(4))),
        (3_000, KERNEL, watch(4, 1, IN, BREAK)),
        (3_000, MAIN, spawn(W0)),
        (3_000, MAIN, spawn(W1)),
        (4_000, MAIN, Event::Go { g: 1 }.into()),
        (4_000, MAIN, block(BlockedOn::Parker(1))),
        (5_000, W0, Event::Run { g: 1 }.into()),
        (6_000, W0, call("socket", -1, 0, Ok(5))),
        (6_000, W0, Event::Open { fd: 5, pd: 0, life: 1 }.into()),
        (6_100, KERNEL, watch(5, 2, IN | OUT | ET, encode(0, 1))),
        (6_100, W0, Event::Go { g: 2 }.into()),
        (7_000, W0, Event::Use { fd: 5, pd: 0 }.into()),
        (8_000, W0, call("read", 5, 64, Err(Errno::EAGAIN))),
        (8_000, W0, slot(Nil, Wait)),
        (8_000, W0, Event::Park { g: 1, on: WaitReason::Io(5, Mode::Read) }.into()),
        (8_000, W0, slot(Wait, Parked(0))),
        (8_000, W0, Event::Waiters { count: 1 }.into()),
        (8_100, W1, worker(WorkerPhase::Spinning)),
        (8_100, W1, worker(WorkerPhase::Polling { until_ns, delay_ns })),
        (8_200, W1, block(BlockedOn::Poll(3))),
        (8_300, W0, Event::Run { g: 2 }.into()),
        (9_000, KERNEL, WorldEvent::Arrive { fd: 5, len: 12 }.into()),
        (9_000, KERNEL, edge(5, 2, IN)),
        (9_100, W1, resume(false)),
        (9_100, W1, WorldEvent::Fault { name: "io-eintr" }.into()),
        (9_200, KERNEL, harvest(5, 2, encode(0, 1))),
        (9_200, W1, call("epoll_wait", 3, -1, Ok(1))),
        (9_200, W1, Event::Dispatch { pd: 0, life: 1 }.into()),
        (9_200, W1, slot(Parked(0), Ready)),
        (9_200, W1, worker(WorkerPhase::Awake)),
        (9_200, W1, Event::Ready { g: 1 }.into()),
        (9_200, W1, Event::Waiters { count: 0 }.into()),
        (9_300, W1, worker(WorkerPhase::Polling { until_ns, delay_ns })),
        (9_300, W1, block(BlockedOn::Poll(3))),
        (9_400, W0, Event::Yield { g: 2 }.into()),
        (9_500, W0, Event::Run { g: 1 }.into()),
        (9_500, W0, slot(Ready, Nil)),
        (9_900, W0, call("read", 5, 64, Ok(12))),
        (9_900, W0, Event::Leave { fd: 5, pd: 0 }.into()),
        (9_900, W0, Event::Arm { worker: 0, timer: 1, at_ns: 20_000, what: sleep }.into()),
        (9_900, W0, Event::Wake { worker: 1 }.into()),
        (9_900, W0, Event::Break { sent: true }.into()),
        (10_000, KERNEL, edge(4, 1, IN)),
        (10_000, W0, call("write", 4, 8, Ok(8))),
        (10_000, W0, Event::Park { g: 1, on: WaitReason::Sleep }.into()),
        (10_100, W1, resume(false)),
        (10_100, KERNEL, harvest(4, 1, BREAK)),
        (10_100, W1, call("epoll_wait", 3, -1, Ok(1))),
        (10_200, W1, Event::Drained.into()),
        (10_200, W1, worker(WorkerPhase::Awake)),
        (10_300, W0, Event::Run { g: 2 }.into()),
        (10_400, W0, Event::Done { g: 2 }.into()),
        (20_000, W1, Event::Fire { worker: 0, timer: 1 }.into()),
        (20_000, W1, Event::Ready { g: 1 }.into()),
        (20_100, W0, Event::Run { g: 1 }.into()),
        (20_200, W0, Event::Evict { fd: 5, pd: 0 }.into()),
        (20_300, W0, Event::End { fd: 5, pd: 0 }.into()),
        (20_400, W0, Event::Done { g: 1 }.into()),
        (20_500, W0, WorldEvent::Exit.into()),
        (20_600, MAIN, block(BlockedOn::Join(ThreadId(W0)))),
        (20_700, MAIN, resume(false)),
    ];
    let mut recorder = Recorder::new(Keep::All);
    for name in ["main", "netpoll-w0", "netpoll-w1"] {
        recorder.add_thread(name);
    }
    for (t_ns, thread, event) in records {
        recorder.record(t_ns, ThreadId(thread), &event);
    }
    recorder.finish()
}

/// What could be said about it: the slot's change to `Ready` is wrong, in words that need escaping.
pub(crate) fn caption(trace: &Trace) -> Caption {
    let is_guilty = |text: &str| text == "read fd5: Parked(#0) -> Ready";
    let at = trace.records.iter().position(|record| is_guilty(&record.event.to_string()));
    Caption {
        title: "made <by> \"hand\" & small</script>\u{2028}".to_string(),
        end: "finished: 62 steps".to_string(),
        guilt: Some(Guilt {
            property: "readiness".to_string(),
            sentence: "S4: <fd5> was made ready & nobody had asked</script><!--".to_string(),
            at,
            g: Some(1),
            fd: Some(5),
        }),
    }
}
