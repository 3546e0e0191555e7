//! Hand-written streams for what a twisted platform cannot bring about.

use netpoll::ops::Deadlines;
use netpoll::trace::{Event, Mode, SlotState, TimerUse, WaitReason, WorkerPhase};
use netpoll_traces::{BlockedOn, WorldEvent};

use super::stream::{MAIN, SYSMON, Stream, W0, W1};
use crate::explore::Property;

const FD: i32 = 5;
const PD: u32 = 2;
const MODE: Mode = Mode::Read;

fn slot(from: SlotState, to: SlotState) -> Event {
    Event::Slot { pd: PD, fd: FD, mode: MODE, from, to }
}

/// Goroutine 7 runs on worker 0 and uses fd 5, file 3, in the first life of its descriptor.
fn user() -> Stream {
    let mut stream = Stream::new();
    stream.scene.files = vec![(FD, 3)];
    stream
        .is_fine(MAIN, Event::Go { g: 7 })
        .is_fine(W0, Event::Run { g: 7 })
        .is_fine(W0, Event::Open { fd: FD, pd: PD, life: 1 })
        .is_fine(W0, Event::Use { fd: FD, pd: PD });
    stream
}

fn call(name: &'static str) -> Event {
    Event::Syscall { name, fd: FD, arg: 1, result: Ok(1) }
}

// ---- 2 -------------------------------------------------------------------------------------------------

#[test]
fn oracle_2_sees_a_call_that_meets_the_next_file_of_its_number() {
    let mut stream = user();
    stream.is_fine(W0, call("read"));
    stream.scene.files = vec![(FD, 4)];
    let violation = stream.is_wrong(W0, call("read"));
    assert_eq!(
        violation.sentence,
        "S33 provenance: g7 on w0 calls read on fd5, which is another file than the one that pd#2 was \
         opened for"
    );
}

#[test]
fn oracle_2_sees_a_life_that_ends_under_its_user() {
    let mut stream = user();
    stream.is_fine(W1, Event::Evict { pd: PD, fd: FD });
    let violation = stream.is_wrong(W1, Event::End { fd: FD, pd: PD });
    let expected = "S26 provenance: w1 ends fd5, to which g7 has a reference";
    assert_eq!(violation.sentence, expected);
}

#[test]
fn oracle_2_sees_an_event_of_an_earlier_life() {
    let mut stream = user();
    let data = 1 << 32 | u64::from(PD);
    let poll = Event::Syscall { name: "epoll_wait", fd: 3, arg: 0, result: Ok(1) };
    stream
        .is_fine(W0, WorldEvent::Watch { fd: FD, file: 3, events: 1, data, queued: true })
        .is_fine(W1, WorldEvent::Harvest { fd: FD, file: 3, events: 1, data })
        .is_fine(W1, poll)
        .is_fine(W0, Event::Leave { fd: FD, pd: PD })
        .is_fine(W0, Event::Evict { pd: PD, fd: FD })
        .is_fine(W0, Event::End { fd: FD, pd: PD })
        .is_fine(W0, Event::Open { fd: FD, pd: PD, life: 2 });
    let violation = stream.is_wrong(W1, Event::Dispatch { pd: PD, life: 1 });
    assert_eq!(
        violation.sentence,
        "S8 provenance: w1 dispatches an event of life 1 to pd#2, which is in life 2 (fd5)"
    );
}

// ---- 3 -------------------------------------------------------------------------------------------------

fn arm(timer: u64, at_ns: u64) -> Event {
    let what = TimerUse::Deadline { pd: PD, which: Deadlines::Read };
    Event::Arm { worker: 0, timer, at_ns, what }
}

fn deadline(at_ns: i64) -> Event {
    Event::Deadline { pd: PD, fd: FD, mode: MODE, at_ns }
}

#[test]
fn oracle_3_sees_a_timer_that_fires_early() {
    let mut stream = user();
    stream.is_fine(W0, deadline(2_000_000)).is_fine(W0, arm(1, 2_000_000));
    let violation = stream.is_wrong(W1, Event::Fire { worker: 0, timer: 1 });
    let expected = "L5 deadline: w1 fires timer w0.1 early: it is for t=2000µs";
    assert_eq!(violation.sentence, expected);
}

#[test]
fn oracle_3_sees_a_deadline_that_was_moved_and_expires_by_its_old_timer() {
    let mut stream = user();
    stream
        .is_fine(W0, deadline(1_010_000))
        .is_fine(W0, arm(1, 1_010_000))
        .is_fine(W0, deadline(9_000_000))
        .is_fine(W0, arm(2, 9_000_000))
        .passes(20_000)
        .is_fine(W1, Event::Fire { worker: 0, timer: 1 });
    let violation = stream.is_wrong(W1, Event::Expired { pd: PD, fd: FD, mode: MODE });
    let expected = "L5 deadline: w1 expires the read deadline of fd5, which is t=9000µs";
    assert_eq!(violation.sentence, expected);
}

#[test]
fn oracle_3_sees_a_deadline_without_a_timer() {
    let mut stream = user();
    stream.is_fine(W0, deadline(2_000_000)).is_fine(W0, arm(1, 2_000_000));
    stream.is_fine(W0, Event::Leave { fd: FD, pd: PD });
    // Extended: the old timer is stopped, and no new one armed.
    stream
        .is_fine(W0, Event::Use { fd: FD, pd: PD })
        .is_fine(W0, deadline(3_000_000))
        .is_fine(W0, Event::Disarm { worker: 0, timer: 1 });
    let violation = stream.is_wrong(W0, Event::Leave { fd: FD, pd: PD });
    let expected = "L2 deadline: w0 set the read deadline of fd5 to t=3000µs and armed no timer";
    assert_eq!(violation.sentence, expected);
}

#[test]
fn oracle_3_sees_a_timer_whose_job_is_forgotten() {
    let mut stream = user();
    stream
        .is_fine(W0, deadline(1_010_000))
        .is_fine(W0, arm(1, 1_010_000))
        .passes(20_000)
        .is_fine(W1, Event::Fire { worker: 0, timer: 1 });
    let violation = stream.is_wrong(W1, Event::Worker { phase: WorkerPhase::Spinning });
    assert_eq!(
        violation.sentence,
        "L2 deadline: w1 fired timer w0.1 and did not expire the read deadline of fd5"
    );
}

#[test]
fn oracle_3_sees_a_worker_that_neglects_its_own_timers() {
    let mut stream = user();
    stream
        .is_fine(W0, deadline(1_010_000))
        .is_fine(W0, arm(1, 1_010_000))
        .is_fine(W0, Event::Go { g: 8 })
        .passes(20_000)
        .is_fine(W0, Event::Leave { fd: FD, pd: PD })
        .is_fine(W0, Event::Yield { g: 7 });
    let violation = stream.is_wrong(W0, Event::Run { g: 8 });
    assert_eq!(
        violation.sentence,
        "L2 deadline: w0 runs g8 before its timer w0.1 of t=1010µs (read deadline of pd#2)"
    );
}

// ---- 7 -------------------------------------------------------------------------------------------------

#[test]
fn oracle_7_sees_breaks_that_nobody_needs() {
    let mut stream = Stream::new();
    let write = Event::Syscall { name: "write", fd: 4, arg: 8, result: Ok(8) };
    let data = u64::MAX;
    stream.is_fine(MAIN, WorldEvent::Watch { fd: 4, file: 1, events: 1, data, queued: false });
    for _ in 0..4 {
        stream
            .is_fine(W1, Event::Break { sent: true })
            .is_fine(W1, write)
            .is_fine(W0, Event::Drained);
    }
    let violation = stream.is_wrong(W1, Event::Break { sent: true });
    let expected = "L18 idleness: w1 has sent 5 breaks and done nothing else";
    assert_eq!(violation.sentence, expected);
}

#[test]
fn oracle_7_sees_a_break_for_a_timer_that_the_poller_does_not_oversleep() {
    let poll = |until_ns| {
        let mut stream = user();
        let phase = WorkerPhase::Polling { until_ns, delay_ns: 1_000 };
        stream.is_fine(W1, Event::Worker { phase });
        stream.is_fine(W1, WorldEvent::Block { on: BlockedOn::Poll(3), until_ns });
        stream.is_fine(W0, deadline(2_000_000)).is_fine(W0, arm(1, 2_000_000));
        stream
    };
    poll(2_000_001).is_fine(W0, Event::Break { sent: true });
    let violation = poll(2_000_000).is_wrong(W0, Event::Break { sent: true });
    let expected = "L8 idleness: w0 breaks the poll for a timer for which the poller is in time";
    assert_eq!(violation.sentence, expected);
}

#[test]
fn oracle_7_sees_a_sysmon_that_never_backs_off() {
    let mut stream = Stream::new();
    let (on, mut rounds) = (BlockedOn::Parker(1), 0);
    let violation = loop {
        let until_ns = stream.now_ns() + 20_000;
        match stream.shows(SYSMON, WorldEvent::Block { on, until_ns }) {
            Some(violation) => break violation,
            None => rounds += 1,
        }
        stream.passes(20_000).is_fine(SYSMON, WorldEvent::Resume { timed_out: true });
    };
    assert_eq!((violation.property, rounds), (Property::Idleness, 128));
}

// ---- 8 -------------------------------------------------------------------------------------------------

/// Worker 1 sleeps; worker 0 runs goroutine 7; goroutine 8 was parked by worker 1.
fn asleep() -> Stream {
    let mut stream = Stream::new();
    let (on, until_ns) = (BlockedOn::Parker(2), u64::MAX);
    stream
        .is_fine(MAIN, Event::Workers { active: 2 })
        .is_fine(MAIN, Event::Go { g: 7 })
        .is_fine(MAIN, WorldEvent::Block { on: BlockedOn::Parker(1), until_ns })
        .is_fine(W0, Event::Run { g: 7 })
        .is_fine(W0, Event::Go { g: 8 })
        .is_fine(W1, Event::Run { g: 8 })
        .is_fine(W1, Event::Park { g: 8, on: WaitReason::Join })
        .is_fine(W1, Event::Worker { phase: WorkerPhase::Parked })
        .is_fine(W1, WorldEvent::Block { on, until_ns });
    stream.scene.blocked = vec![W1];
    stream
}

#[test]
fn oracle_8_sees_a_goroutine_that_is_runnable_beside_its_sleeping_worker() {
    let mut stream = asleep();
    stream.is_fine(W0, Event::Ready { g: 8 });
    let violation = stream.is_wrong(W0, Event::Yield { g: 7 });
    let expected = "L10 conservation: g8 is runnable, and w1, which alone may run it, sleeps";
    assert_eq!(violation.sentence, expected);
}

#[test]
fn oracle_8_sees_a_goroutine_that_nobody_starts() {
    let mut stream = asleep();
    stream.is_fine(W0, Event::Go { g: 9 });
    let violation = stream.is_wrong(W0, Event::Go { g: 10 });
    let expected =
        "L10 conservation: g9 has not started, w1 sleeps, and nobody is on his way to it";
    assert_eq!(violation.sentence, expected);
}

#[test]
fn oracle_8_waits_for_a_break_that_is_under_way() {
    let mut stream = asleep();
    let data = u64::MAX;
    stream
        .is_fine(MAIN, WorldEvent::Watch { fd: 4, file: 1, events: 1, data, queued: false })
        .is_fine(MAIN, Event::Break { sent: true })
        .is_fine(W0, Event::Ready { g: 8 })
        .is_fine(W0, Event::Wake { worker: 1 })
        .is_fine(W0, Event::Break { sent: false })
        .is_fine(W0, Event::Yield { g: 7 });
    // The break was sent, and worker 1 sleeps on.
    let write = Event::Syscall { name: "write", fd: 4, arg: 8, result: Ok(8) };
    stream.is_fine(MAIN, write);
    let violation = stream.is_wrong(W0, Event::Run { g: 7 });
    assert_eq!(violation.property, Property::Conservation);
}

// ---- 9 -------------------------------------------------------------------------------------------------

#[test]
fn oracle_9_sees_a_sysmon_that_passes_by_an_overdue_timer() {
    let mut stream = user();
    let (on, ms) = (BlockedOn::Parker(1), 1_000_000);
    stream
        .is_fine(W0, deadline(1_010_000))
        .is_fine(W0, arm(1, 1_010_000))
        .is_fine(W0, Event::Leave { fd: FD, pd: PD })
        .passes(12 * ms)
        .is_fine(SYSMON, WorldEvent::Resume { timed_out: true });
    let until_ns = stream.now_ns() + 10 * ms;
    let violation = stream.is_wrong(SYSMON, WorldEvent::Block { on, until_ns });
    assert_eq!(
        violation.sentence,
        "L6 starvation: sysmon passes by timer w0.1 of t=1010µs (read deadline of pd#2)"
    );
}

#[test]
fn oracle_9_sees_a_sysmon_that_does_not_poll_for_busy_workers() {
    let mut stream = Stream::new();
    let (on, ms) = (BlockedOn::Parker(1), 1_000_000);
    stream
        .is_fine(MAIN, Event::Go { g: 7 })
        .is_fine(MAIN, Event::Go { g: 8 })
        .is_fine(W0, Event::Run { g: 7 })
        .is_fine(W1, Event::Run { g: 8 })
        .passes(15 * ms)
        .is_fine(SYSMON, WorldEvent::Resume { timed_out: true });
    let until_ns = stream.now_ns() + 10 * ms;
    let violation = stream.is_wrong(SYSMON, WorldEvent::Block { on, until_ns });
    let expected = "L6 starvation: nobody has polled since t=0µs, and sysmon passes by";
    assert_eq!(violation.sentence, expected);
}

/// Both workers and sysmon have gone to sleep; there is something to do, and the first worker gets up.
fn one_gets_up_while_sysmon_sleeps() -> Stream {
    let mut stream = Stream::new();
    let on = BlockedOn::Parker(1);
    stream
        .is_fine(W0, Event::Worker { phase: WorkerPhase::Parked })
        .is_fine(W1, Event::Worker { phase: WorkerPhase::Parked })
        .is_fine(SYSMON, WorldEvent::Block { on, until_ns: u64::MAX })
        .is_fine(MAIN, Event::Go { g: 7 })
        .is_fine(W0, Event::Worker { phase: WorkerPhase::Awake });
    stream
}

#[test]
fn oracle_9_sees_a_sysmon_that_sleeps_while_a_worker_works() {
    let mut stream = one_gets_up_while_sysmon_sleeps();
    stream.scene.blocked = vec![SYSMON, W1];
    let violation = stream.is_wrong(W0, Event::Run { g: 7 });
    let expected = "L6 starvation: w0 works, and sysmon sleeps until somebody wakes it";
    assert_eq!(violation.sentence, expected);
}

/// Found by a host that computes beside another one: sysmon was woken, and left waiting for longer than a timer may be.
#[test]
fn oracle_9_knows_that_sysmon_pauses_before_it_looks_when_it_was_woken() {
    let mut stream = Stream::new();
    let (on, ms) = (BlockedOn::Parker(1), 1_000_000);
    let (worker, timer, what) = (1, 3, TimerUse::Park { g: 0 });
    let at_ns = stream.now_ns() + ms;
    stream
        .is_fine(W0, Event::Arm { worker, timer, at_ns, what })
        .is_fine(W0, Event::Worker { phase: WorkerPhase::Parked })
        .is_fine(W1, Event::Worker { phase: WorkerPhase::Parked })
        .is_fine(SYSMON, WorldEvent::Block { on, until_ns: u64::MAX })
        .is_fine(W0, Event::Worker { phase: WorkerPhase::Awake })
        .passes(15 * ms)
        .is_fine(SYSMON, WorldEvent::Resume { timed_out: false });
    let until_ns = stream.now_ns() + 20_000;
    stream
        .is_fine(SYSMON, WorldEvent::Block { on, until_ns })
        .passes(20_000)
        .is_fine(SYSMON, WorldEvent::Resume { timed_out: true });
    stream.is_wrong(SYSMON, WorldEvent::Block { on, until_ns: until_ns + 40_000 });
}

/// Found by the example of a replicated register, seed 8: the first worker that gets up has taken it upon itself to wake
/// sysmon, and is left waiting before it does.
#[test]
fn oracle_9_knows_that_another_worker_may_be_about_to_wake_sysmon() {
    let mut stream = one_gets_up_while_sysmon_sleeps();
    stream.scene.blocked = vec![SYSMON];
    stream
        .is_fine(W0, Event::Run { g: 7 })
        .is_fine(W1, Event::Worker { phase: WorkerPhase::Awake })
        .is_fine(W0, Event::Done { g: 7 })
        .is_fine(MAIN, Event::Go { g: 8 });
    stream.is_wrong(W0, Event::Run { g: 8 });
}

// ---- 10 ------------------------------------------------------------------------------------------------

#[test]
fn oracle_10_sees_a_goroutine_that_is_subtracted_before_it_is_runnable() {
    let mut stream = user();
    stream
        .is_fine(W0, slot(SlotState::Nil, SlotState::Wait))
        .is_fine(W0, Event::Park { g: 7, on: WaitReason::Io(FD, MODE) })
        .is_fine(W0, slot(SlotState::Wait, SlotState::Parked(0)))
        .is_fine(W0, Event::Waiters { count: 1 })
        .is_fine(W1, Event::Evict { pd: PD, fd: FD })
        .is_fine(W1, slot(SlotState::Parked(0), SlotState::Nil));
    let violation = stream.is_wrong(W1, Event::Waiters { count: 0 });
    let expected = "S18 waiter count: w1 subtracts g7 before it is runnable";
    assert_eq!(violation.sentence, expected);
}

// ---- 12 ------------------------------------------------------------------------------------------------

#[test]
fn oracle_12_sees_a_park_against_a_reason_that_was_published_before() {
    let mut stream = user();
    stream
        .is_fine(W1, Event::Evict { pd: PD, fd: FD })
        .is_fine(W0, slot(SlotState::Nil, SlotState::Wait))
        .is_fine(W0, Event::Park { g: 7, on: WaitReason::Io(FD, MODE) });
    let violation = stream.is_wrong(W0, slot(SlotState::Wait, SlotState::Parked(0)));
    let expected =
        "S7 invariant: g7 parks in the read slot of fd5, which is closing since before it waited";
    assert_eq!(violation.sentence, expected);
    assert_eq!(violation.subject, Some((7, FD)));
}

#[test]
fn oracle_12_sees_a_canceller_that_leaves_its_waiter() {
    let mut stream = user();
    stream
        .is_fine(W0, slot(SlotState::Nil, SlotState::Wait))
        .is_fine(W0, Event::Park { g: 7, on: WaitReason::Io(FD, MODE) })
        .is_fine(W0, slot(SlotState::Wait, SlotState::Parked(0)))
        .is_fine(W1, deadline(-1));
    let violation = stream.is_wrong(W1, Event::Worker { phase: WorkerPhase::Spinning });
    let expected =
        "S7 invariant: w1 leaves a waiter in the read slot of fd5, which is past its deadline";
    assert_eq!(violation.sentence, expected);
}

#[test]
fn oracle_12_sees_a_waiter_that_is_released_without_a_reason() {
    let mut stream = user();
    stream.is_fine(W0, slot(SlotState::Nil, SlotState::Wait));
    let violation = stream.is_wrong(W1, slot(SlotState::Wait, SlotState::Nil));
    assert_eq!(
        violation.sentence,
        "S4 invariant: w1 takes the read slot of fd5 from Wait to Nil; it was Wait"
    );
}

#[test]
fn oracle_12_sees_two_teardowns_and_two_final_polls() {
    let mut stream = user();
    stream.is_fine(W1, Event::Evict { pd: PD, fd: FD });
    let violation = stream.is_wrong(W1, Event::Evict { pd: PD, fd: FD });
    let expected = "S13 invariant: w1 tears down fd5, which has been torn down";
    assert_eq!(violation.sentence, expected);

    let mut stream = Stream::new();
    let phase = WorkerPhase::Polling { until_ns: u64::MAX, delay_ns: u64::MAX };
    let (on, until_ns) = (BlockedOn::Poll(3), u64::MAX);
    stream.is_fine(W0, Event::Worker { phase }).is_fine(W0, WorldEvent::Block { on, until_ns });
    let violation = stream.is_wrong(W1, Event::Worker { phase });
    let expected = "S20 invariant: w1 begins the final poll, in which w0 is";
    assert_eq!(violation.sentence, expected);
}

#[test]
fn oracle_12_sees_a_drain_after_its_flag_was_cleared() {
    let mut stream = Stream::new();
    let data = u64::MAX;
    let call = |name| Event::Syscall { name, fd: 4, arg: 8, result: Ok(8) };
    let phase = WorkerPhase::Polling { until_ns: u64::MAX, delay_ns: u64::MAX };
    stream
        .is_fine(MAIN, WorldEvent::Watch { fd: 4, file: 1, events: 1, data, queued: false })
        .is_fine(W0, Event::Worker { phase })
        .is_fine(W1, Event::Break { sent: true })
        .is_fine(W1, call("write"))
        // The flag first: a second break comes between the two.
        .is_fine(W0, Event::Drained)
        .is_fine(W1, Event::Break { sent: true })
        .is_fine(W1, call("write"))
        .is_fine(W0, call("read"));
    let violation = stream.is_wrong(W0, Event::Worker { phase: WorkerPhase::Awake });
    assert_eq!(
        violation.sentence,
        "S22 invariant: w0 has drained a break whose flag stays set: no other one will be sent"
    );
}
