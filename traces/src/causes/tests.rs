use netpoll::platform::Errno;
use netpoll::poll::lives::{BREAK, encode};
use netpoll::trace::{Event, Mode, SlotState, TimerUse, WaitReason, WorkerPhase};

use super::*;
use crate::{BlockedOn, Entry, Keep, Recorder, WorldEvent};

const MAIN: ThreadId = ThreadId::MAIN;
const W0: ThreadId = ThreadId(1);
const W1: ThreadId = ThreadId(2);
const KERNEL: ThreadId = ThreadId::KERNEL;
const IN: u32 = libc::EPOLLIN as u32;
const OUT: u32 = libc::EPOLLOUT as u32;
const ET: u32 = libc::EPOLLET as u32;

fn trace(events: &[(ThreadId, Entry)]) -> Trace {
    let mut recorder = Recorder::new(Keep::All);
    for name in ["main", "netpoll-w0", "netpoll-w1"] {
        recorder.add_thread(name);
    }
    for (time, (thread, event)) in events.iter().enumerate() {
        recorder.record(time as u64, *thread, event);
    }
    recorder.finish()
}

/// The arrows of these events are those, and no others.
#[track_caller]
fn check(events: &[(ThreadId, Entry)], expected: &[(usize, usize, Why)]) {
    let causes = Causes::of(&trace(events));
    let found = causes.arrows().iter().map(|arrow| (arrow.from, arrow.to, arrow.why));
    assert_eq!(found.collect::<Vec<_>>(), expected);
}

fn syscall(name: &'static str, result: i64) -> Entry {
    Event::Syscall { name, fd: 3, arg: 0, result: Ok(result) }.into()
}

fn slot(from: SlotState, to: SlotState) -> Entry {
    Event::Slot { pd: 7, fd: 9, mode: Mode::Read, from, to }.into()
}

fn park(g: u64) -> Entry {
    Event::Park { g, on: WaitReason::Io(9, Mode::Read) }.into()
}

fn watch(events: u32, queued: bool) -> Entry {
    WorldEvent::Watch { fd: 9, file: 5, events, data: encode(7, 1), queued }.into()
}

fn edge(wakeup: u32) -> Entry {
    WorldEvent::Edge { fd: 9, file: 5, ready: IN | OUT, wakeup }.into()
}

fn harvest(events: u32) -> Entry {
    WorldEvent::Harvest { fd: 9, file: 5, events, data: encode(7, 1) }.into()
}

fn dispatch() -> Entry {
    Event::Dispatch { pd: 7, life: 1 }.into()
}

fn run(g: u64) -> Entry {
    Event::Run { g }.into()
}

fn ready(g: u64) -> Entry {
    Event::Ready { g }.into()
}

fn block(on: BlockedOn) -> Entry {
    WorldEvent::Block { on, until_ns: u64::MAX }.into()
}

fn resume(timed_out: bool) -> Entry {
    WorldEvent::Resume { timed_out }.into()
}

#[test]
fn a_thread_starts_because_it_was_spawned() {
    let spawn = WorldEvent::Spawn { thread: W0 }.into();
    let spinning: Entry = Event::Worker { phase: WorkerPhase::Spinning }.into();
    check(&[(MAIN, spawn), (W0, spinning), (W0, spinning)], &[(0, 1, Why::Spawn)]);
}

#[test]
fn a_goroutine_runs_because_it_was_created_made_runnable_or_had_yielded() {
    let (go, on) = (Event::Go { g: 1 }.into(), WaitReason::Mutex);
    let (go_on, sleep) = (Event::Yield { g: 1 }.into(), Event::Park { g: 1, on }.into());
    check(
        &[
            (MAIN, go),
            (W0, run(1)),
            (W0, go_on),
            (W0, run(1)),
            (W0, sleep),
            (W1, ready(1)),
            (W0, run(1)),
        ],
        &[(0, 1, Why::Go), (2, 3, Why::Yield), (5, 6, Why::Ready)],
    );
}

#[test]
fn an_edge_is_the_reason_of_all_that_ends_in_its_waiter_running() {
    use SlotState::{Nil, Parked, Ready, Wait};
    let arrive = WorldEvent::Arrive { fd: 9, len: 1 }.into();
    check(
        &[
            (W0, run(1)),
            (W0, slot(Nil, Wait)),
            (W0, park(1)),
            (W0, slot(Wait, Parked(0))),
            (KERNEL, arrive),
            (KERNEL, edge(IN)),
            (KERNEL, harvest(IN)),
            (W1, syscall("epoll_wait", 1)),
            (W1, dispatch()),
            (W1, slot(Parked(0), Ready)),
            (W1, ready(1)),
            (W0, run(1)),
            (W0, slot(Ready, Nil)),
        ],
        &[
            (4, 5, Why::Arrive),
            (5, 6, Why::Queue),
            (6, 8, Why::Dispatch),
            (8, 9, Why::Change),
            (9, 10, Why::Release),
            (10, 11, Why::Ready),
            (9, 12, Why::Take),
        ],
    );
}

#[test]
fn edges_that_nobody_wants_queue_nothing_and_several_stand_behind_one_harvest() {
    check(
        &[
            (KERNEL, watch(IN | ET, true)),
            (KERNEL, edge(OUT)),
            (KERNEL, edge(IN)),
            (KERNEL, edge(0)),
            (KERNEL, harvest(IN)),
            (KERNEL, harvest(IN)),
        ],
        &[(0, 4, Why::Queue), (2, 4, Why::Queue), (3, 4, Why::Queue)],
    );
}

#[test]
fn without_edge_triggering_what_was_reported_is_reported_again() {
    check(
        &[
            (KERNEL, watch(IN, true)),
            (KERNEL, harvest(IN)),
            (KERNEL, harvest(0)),
            (KERNEL, harvest(IN)),
        ],
        &[(0, 1, Why::Queue), (1, 2, Why::Queue)],
    );
}

#[test]
fn an_event_without_an_edge_can_be_spurious() {
    let spurious = WorldEvent::Spurious { fd: 9, file: 5 }.into();
    check(&[(KERNEL, spurious), (KERNEL, harvest(IN))], &[(0, 1, Why::Queue)]);
}

#[test]
fn each_worker_dispatches_what_it_has_harvested_itself() {
    // Both polls return before either event is dispatched, and in the other order.
    check(
        &[
            (KERNEL, harvest(IN)),
            (W0, syscall("epoll_wait", 1)),
            (KERNEL, harvest(OUT)),
            (W1, syscall("epoll_wait", 1)),
            (W1, dispatch()),
            (W0, Event::Stale { pd: 7, life: 1 }.into()),
        ],
        &[(2, 4, Why::Dispatch), (0, 5, Why::Dispatch)],
    );
}

#[test]
fn a_harvest_that_reports_nothing_is_dispatched_by_nobody() {
    check(&[(KERNEL, harvest(0)), (W0, syscall("epoll_wait", 0)), (W0, dispatch())], &[]);
}

#[test]
fn who_is_released_before_it_has_parked_runs_on() {
    use SlotState::{Nil, Ready, Wait};
    let abandon = Event::Abandon { g: 1 }.into();
    check(
        &[
            (W0, run(1)),
            (W0, slot(Nil, Wait)),
            (W0, park(1)),
            (W1, dispatch()),
            (W1, slot(Wait, Ready)),
            (W0, abandon),
            (W0, slot(Ready, Nil)),
        ],
        &[(3, 4, Why::Change), (4, 5, Why::Release), (4, 6, Why::Take)],
    );
}

#[test]
fn a_close_releases_both_waiters_and_their_own_step_back_releases_nobody() {
    use SlotState::{Nil, Parked, Wait};
    let evict = Event::Evict { pd: 7, fd: 9 }.into();
    let write = |from, to| Event::Slot { pd: 7, fd: 9, mode: Mode::Write, from, to }.into();
    check(
        &[
            (W0, run(1)),
            (W0, slot(Nil, Wait)),
            (W0, slot(Wait, Nil)),
            (W0, slot(Nil, Wait)),
            (W0, park(1)),
            (W0, slot(Wait, Parked(0))),
            (W0, run(2)),
            (W0, write(Nil, Wait)),
            (W0, park(2)),
            (W1, evict),
            (W1, slot(Parked(0), Nil)),
            (W1, write(Wait, Nil)),
            (W1, ready(1)),
            (W0, Event::Abandon { g: 2 }.into()),
        ],
        &[
            (9, 10, Why::Change),
            (9, 11, Why::Change),
            (10, 12, Why::Release),
            (11, 13, Why::Release),
        ],
    );
}

#[test]
fn who_steps_back_by_itself_is_made_runnable_by_something_else_later() {
    use SlotState::{Nil, Wait};
    check(&[(W0, run(1)), (W0, slot(Nil, Wait)), (W0, slot(Wait, Nil)), (W1, ready(1))], &[]);
}

#[test]
fn a_deadline_timer_fires_expires_and_releases() {
    use SlotState::{Nil, Parked, Wait};
    let what = TimerUse::Deadline { pd: 7, which: netpoll::ops::Deadlines::Both };
    let expired = |mode| Event::Expired { pd: 7, fd: 9, mode }.into();
    check(
        &[
            (W0, run(1)),
            (W0, Event::Arm { worker: 0, timer: 4, at_ns: 50, what }.into()),
            (W0, slot(Nil, Wait)),
            (W0, park(1)),
            (W0, slot(Wait, Parked(0))),
            (W1, Event::Fire { worker: 0, timer: 4 }.into()),
            (W1, expired(Mode::Read)),
            (W1, expired(Mode::Write)),
            (W1, slot(Parked(0), Nil)),
            (W1, ready(1)),
        ],
        &[
            (1, 5, Why::Fire),
            (5, 6, Why::Expire),
            (5, 7, Why::Expire),
            (6, 8, Why::Change),
            (8, 9, Why::Release),
        ],
    );
}

#[test]
fn a_deadline_that_is_set_to_the_past_releases_at_once() {
    use SlotState::{Nil, Parked, Wait};
    let deadline = Event::Deadline { pd: 7, fd: 9, mode: Mode::Read, at_ns: -1 }.into();
    let break_sent = Event::Break { sent: true }.into();
    check(
        &[
            (W0, run(1)),
            (W0, slot(Nil, Wait)),
            (W0, park(1)),
            (W0, slot(Wait, Parked(0))),
            (W1, deadline),
            // Timers are changed in between, which may break somebody's poll.
            (W1, break_sent),
            (W1, syscall("write", 8)),
            (W1, slot(Parked(0), Nil)),
            (W1, ready(1)),
        ],
        &[(4, 7, Why::Change), (7, 8, Why::Release)],
    );
}

#[test]
fn a_sleep_ends_by_its_own_timer_and_not_by_one_that_was_disarmed() {
    let what = TimerUse::Park { g: 0 };
    let arm = |timer| Event::Arm { worker: 0, timer, at_ns: 9, what }.into();
    let sleep = |g| Event::Park { g, on: WaitReason::Sleep }.into();
    let fire = |timer| Event::Fire { worker: 0, timer }.into();
    check(
        &[
            (W0, run(1)),
            (W0, arm(1)),
            (W0, sleep(1)),
            (W0, run(2)),
            (W0, arm(2)),
            (W0, Event::Disarm { worker: 0, timer: 2 }.into()),
            (W0, arm(3)),
            (W0, sleep(2)),
            (W1, fire(3)),
            (W1, fire(2)),
            (W1, fire(1)),
            (W1, ready(1)),
            (W1, ready(2)),
        ],
        &[(6, 8, Why::Fire), (1, 10, Why::Fire), (10, 11, Why::Expire), (8, 12, Why::Expire)],
    );
}

#[test]
fn a_worker_gets_up_because_it_was_woken_whether_it_slept_already_or_not() {
    let wake = Event::Wake { worker: 0 }.into();
    let awake: Entry = Event::Worker { phase: WorkerPhase::Awake }.into();
    let (parker, lock) = (block(BlockedOn::Parker(1)), block(BlockedOn::Lock(1)));
    check(
        &[(W0, parker), (MAIN, wake), (W0, resume(false)), (W0, awake), (MAIN, wake), (W0, awake)],
        &[(1, 2, Why::Wake), (4, 5, Why::Wake)],
    );
    // The end of a wait for a lock is no wake-up.
    check(&[(MAIN, wake), (W0, lock), (W0, resume(false)), (W0, awake)], &[(0, 3, Why::Wake)]);
}

#[test]
fn a_break_goes_through_the_kernel_to_the_poller() {
    let watch = WorldEvent::Watch { fd: 4, file: 1, events: IN, data: BREAK, queued: false };
    let edge = |wakeup| WorldEvent::Edge { fd: 4, file: 1, ready: IN, wakeup }.into();
    let harvest = WorldEvent::Harvest { fd: 4, file: 1, events: IN, data: BREAK };
    let drain = Event::Syscall { name: "read", fd: 4, arg: 8, result: Err(Errno::EAGAIN) };
    check(
        &[
            (KERNEL, watch.into()),
            (W0, block(BlockedOn::Poll(3))),
            (W1, Event::Wake { worker: 0 }.into()),
            (W1, Event::Break { sent: true }.into()),
            (KERNEL, edge(IN)),
            (W1, syscall("write", 8)),
            (W0, resume(false)),
            (KERNEL, harvest.into()),
            (W0, syscall("epoll_wait", 1)),
            (KERNEL, edge(OUT)),
            (W0, drain.into()),
            (W0, Event::Drained.into()),
        ],
        &[
            (3, 4, Why::Break),
            (4, 6, Why::Rouse),
            (2, 6, Why::Wake),
            (4, 7, Why::Queue),
            (7, 11, Why::Dispatch),
        ],
    );
}

#[test]
fn without_a_kernel_that_tells_a_break_is_the_reason_that_it_is_drained() {
    let sent = |sent| Event::Break { sent }.into();
    check(
        &[
            (W1, sent(true)),
            (W1, sent(false)),
            (W0, Event::Drained.into()),
            (W0, Event::Drained.into()),
        ],
        &[(0, 2, Why::Break)],
    );
}

#[test]
fn a_poll_that_times_out_was_ended_by_nobody() {
    check(&[(W0, block(BlockedOn::Poll(3))), (KERNEL, edge(IN)), (W0, resume(true))], &[]);
}

#[test]
fn who_joins_a_thread_goes_on_at_its_end() {
    let exit = WorldEvent::Exit.into();
    check(
        &[(MAIN, block(BlockedOn::Join(W0))), (W0, exit), (MAIN, resume(false))],
        &[(1, 2, Why::Join)],
    );
}

#[test]
fn a_story_is_told_backwards_to_its_beginning() {
    use SlotState::{Nil, Parked, Ready, Wait};
    let trace = trace(&[
        (W0, run(1)),
        (W0, slot(Nil, Wait)),
        (W0, park(1)),
        (W0, slot(Wait, Parked(0))),
        (KERNEL, edge(IN)),
        (KERNEL, harvest(IN)),
        (W1, syscall("epoll_wait", 1)),
        (W1, dispatch()),
        (W1, slot(Parked(0), Ready)),
        (W1, ready(1)),
        (W0, run(1)),
        (W0, syscall("getpid", 1)),
        (KERNEL, edge(IN)),
    ]);
    let reasons = Causes::of(&trace).reasons(&Actors::of(&trace));
    assert_eq!(Causes::story(&reasons, 11, 9), [11, 10, 9, 8, 7, 5, 4]);
    assert_eq!(Causes::story(&reasons, 11, 3), [11, 10, 9]);
    // The kernel's lane has no order of its own, and nothing came before the first run.
    assert_eq!((reasons[4], reasons[12], reasons[2]), (None, None, None));
}

#[test]
fn arrows_are_found_from_both_ends() {
    let trace = trace(&[(KERNEL, edge(IN)), (KERNEL, edge(IN)), (KERNEL, harvest(IN))]);
    let causes = Causes::of(&trace);
    let ends = |arrows: Vec<&Arrow>| arrows.iter().map(|a| (a.from, a.to)).collect::<Vec<_>>();
    assert_eq!(ends(causes.before(2).iter().collect()), [(0, 2), (1, 2)]);
    assert_eq!(ends(causes.after(1).collect()), [(1, 2)]);
    assert!(causes.before(0).is_empty());
}

/// Threads of two hosts beside the plain one, `b` started again.
fn hosts_trace(events: &[(u16, Entry)]) -> Trace {
    let mut recorder = Recorder::new(Keep::All);
    for name in ["main", "netpoll-w0", "a/main", "a/w0", "b/main", "b/w0", "b/main", "b/w0"] {
        recorder.add_thread(name);
    }
    for (time, (thread, event)) in events.iter().enumerate() {
        recorder.record(time as u64, ThreadId(*thread), event);
    }
    recorder.finish()
}

#[test]
fn what_happens_on_a_host_wakes_nobody_on_another_one() {
    let edge_of = |fd| WorldEvent::Edge { fd, file: 5, ready: IN, wakeup: IN }.into();
    let watch_of =
        |fd, data| WorldEvent::Watch { fd, file: 5, events: IN, data, queued: false }.into();
    let kernel = KERNEL.0;
    let trace = hosts_trace(&[
        (kernel, watch_of(9, encode(7, 1))),
        (kernel, watch_of(200_009, encode(200_007, 1))),
        (1, block(BlockedOn::Poll(3))),
        (5, block(BlockedOn::Poll(200_003))),
        (kernel, edge_of(200_009)),
        (kernel, edge_of(9)),
        (1, resume(false)),
        (5, resume(false)),
        // Worker 0 of host 2, in its first life and in its second.
        (5, block(BlockedOn::Parker(1))),
        (4, Event::Wake { worker: 200_000 }.into()),
        (5, resume(false)),
        (0, WorldEvent::Spawn { thread: ThreadId(7) }.into()),
        (7, block(BlockedOn::Parker(2))),
        (3, Event::Wake { worker: 0 }.into()),
        (6, Event::Wake { worker: 200_000 }.into()),
        (7, resume(false)),
    ]);
    assert_eq!(trace.hosts(), [0, 0, 1, 1, 2, 2, 2, 2]);
    let causes = Causes::of(&trace);
    let found = causes.arrows().iter().map(|arrow| (arrow.from, arrow.to, arrow.why));
    let expected = [
        (5, 6, Why::Rouse),
        (4, 7, Why::Rouse),
        (9, 10, Why::Wake),
        (11, 12, Why::Spawn),
        (14, 15, Why::Wake),
    ];
    assert_eq!(found.collect::<Vec<_>>(), expected);
}
