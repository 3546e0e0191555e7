//! What oracles say at the end of a run: 6, 10 and 11.

use netpoll::ops::Deadlines;
use netpoll::poll::PollError;
use netpoll::runtime::{GoroutineState, ParkedIo};
use netpoll::sched::g::Status;
use netpoll::trace::{Event, Mode, TimerUse, WaitReason};

use super::stream::{MAIN, Stream, W0};
use crate::oracle::End;
use crate::{OpenFd, Outcome};

const FINISHED: Outcome = Outcome::Finished;

/// An end at which nothing is left.
fn end<'a>(outcome: &'a Outcome) -> End<'a> {
    End {
        outcome,
        goroutines: &[],
        waiters: 0,
        open_fds: &[],
        files_left: 0,
        threads_abandoned: 0,
        abandons: false,
    }
}

#[track_caller]
fn check(stream: &mut Stream, end: &End<'_>, expected: &str) {
    let violation = stream.ends(end);
    let sentence = violation.map_or_else(|| "clean".to_string(), |it| it.sentence);
    assert_eq!(sentence, expected);
}

fn reader(cancelled: Option<PollError>) -> GoroutineState {
    let (fd, mode) = (5, Mode::Read);
    GoroutineState {
        id: 7,
        status: Status::Waiting(WaitReason::Io(fd, mode)),
        worker: Some(1),
        parked_io: Some(ParkedIo { fd, mode, cancelled }),
    }
}

fn socket(ready: i32) -> OpenFd {
    OpenFd { fd: 5, file: 2, kind: "tcp", ready: ready.cast_unsigned(), interest: None }
}

#[test]
fn a_parked_goroutine_with_a_reason_to_be_woken_is_a_lost_wakeup() {
    let outcome = Outcome::Deadlock { blocked: vec![] };
    let lost = "lost wakeup: g7 is parked in read fd5, which";
    let stuck = |cancelled, open_fds: &[OpenFd], expected: String| {
        let end = End { goroutines: &[reader(cancelled)], open_fds, ..end(&outcome) };
        check(&mut Stream::new(), &end, &expected);
    };
    stuck(Some(PollError::Closing), &[], format!("L3 {lost} is closing"));
    stuck(Some(PollError::Timeout), &[socket(0)], format!("L2 {lost} is past its deadline"));
    stuck(None, &[], format!("L3 {lost} is closed"));
    let ready = format!("L1 {lost} is ready (fd5 tcp: IN, not registered)");
    stuck(None, &[socket(libc::EPOLLIN)], ready);
}

#[test]
fn a_parked_goroutine_without_one_is_part_of_a_deadlock() {
    let outcome = Outcome::Deadlock { blocked: vec![] };
    let (goroutines, open_fds) = ([reader(None)], [socket(libc::EPOLLOUT)]);
    let end = End { goroutines: &goroutines, open_fds: &open_fds, ..end(&outcome) };
    let expected =
        "deadlock: nobody can ever run: g7 waits for read fd5 (fd5 tcp: OUT, not registered)";
    check(&mut Stream::new(), &end, expected);
}

#[test]
fn what_a_finished_run_leaves_is_out_of_balance() {
    check(&mut Stream::new(), &end(&FINISHED), "clean");
    let open_fds = [socket(0)];
    check(
        &mut Stream::new(),
        &End { open_fds: &open_fds, ..end(&FINISHED) },
        "S15 descriptor leak: 1 were never closed; fd5 tcp: nothing, not registered",
    );
    let goroutines = [reader(None)];
    check(
        &mut Stream::new(),
        &End { goroutines: &goroutines, ..end(&FINISHED) },
        "goroutine leak: 1 have not ended; g7 waits for read fd5",
    );
    check(
        &mut Stream::new(),
        &End { threads_abandoned: 2, ..end(&FINISHED) },
        "thread leak: 2 had not ended when the runtime was gone",
    );
    check(
        &mut Stream::new(),
        &End { files_left: 3, ..end(&FINISHED) },
        "S15 balance: 3 files are left without a number",
    );
    check(
        Stream::new().is_fine(W0, Event::Open { fd: 5, pd: 2, life: 1 }),
        &end(&FINISHED),
        "S34 balance: pd#2 is left in the life of fd5",
    );
    let what = TimerUse::Deadline { pd: 2, which: Deadlines::Read };
    check(
        Stream::new().is_fine(W0, Event::Arm { worker: 0, timer: 4, at_ns: 9_000_000, what }),
        &end(&FINISHED),
        "S10 balance: 1 timers are left armed; w0.4 for read deadline of pd#2",
    );
}

#[test]
fn a_program_that_abandons_its_goroutines_leaves_them_and_no_threads() {
    let (goroutines, open_fds) = ([reader(None)], [socket(0)]);
    let abandons =
        End { goroutines: &goroutines, open_fds: &open_fds, abandons: true, ..end(&FINISHED) };
    check(&mut Stream::new(), &abandons, "clean");
    let threads = End { threads_abandoned: 1, ..abandons };
    let expected = "thread leak: 1 had not ended when the runtime was gone";
    check(&mut Stream::new(), &threads, expected);
}

#[test]
fn a_count_of_waiters_that_is_not_zero_at_rest_is_seen() {
    let expected = "S17 waiter count: 1 at rest, with nobody parked";
    check(&mut Stream::new(), &End { waiters: 1, ..end(&FINISHED) }, expected);
    // A run that did not finish has other troubles.
    let outcome = Outcome::StepLimit;
    check(&mut Stream::new(), &End { waiters: 1, ..end(&outcome) }, "clean");
    let mut stream = Stream::new();
    stream.is_fine(MAIN, Event::Drained);
}
