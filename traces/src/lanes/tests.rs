//! Small traces, written by hand, and what they look like.

use insta::assert_snapshot;
use netpoll::platform::Errno;
use netpoll::trace::{Event, Mode, SlotState, TimerUse, WaitReason, WorkerPhase};

use super::{Options, render};
use crate::{BlockedOn, Caption, Entry, Guilt, Keep, Recorder, ThreadId, Trace, WorldEvent};

const MAIN: ThreadId = ThreadId::MAIN;
const W0: ThreadId = ThreadId(1);
const W1: ThreadId = ThreadId(2);
const SYSMON: ThreadId = ThreadId(3);
const KERNEL: ThreadId = ThreadId::KERNEL;

/// A trace in the making; time passes with [`Script::wait`] only.
struct Script {
    recorder: Recorder,
    now_ns: u64,
}

impl Script {
    fn new(workers: usize) -> Script {
        let mut recorder = Recorder::new(Keep::All);
        recorder.add_thread("main");
        (0..workers).for_each(|nth| recorder.add_thread(&format!("netpoll-w{nth}")));
        recorder.add_thread("netpoll-sysmon");
        Script { recorder, now_ns: 1_000_000 }
    }

    /// Two workers and sysmon have been started, in no time.
    fn started() -> Script {
        let mut script = Script::new(2);
        for thread in [W0, W1, SYSMON] {
            script.add(MAIN, WorldEvent::Spawn { thread });
        }
        script
    }

    fn add(&mut self, thread: ThreadId, event: impl Into<Entry>) -> &mut Script {
        self.recorder.record(self.now_ns, thread, &event.into());
        self
    }

    fn wait(&mut self, ns: u64) -> &mut Script {
        self.now_ns += ns;
        self
    }

    /// `g` finds nothing on fd 4 and parks.
    fn park(&mut self, thread: ThreadId, g: u64) -> &mut Script {
        let slot = |from, to| slot(4, from, to);
        self.add(thread, Event::Run { g })
            .wait(1_000)
            .add(thread, call("read", 4, Err(Errno::EAGAIN)))
            .add(thread, slot(SlotState::Nil, SlotState::Wait))
            .add(thread, Event::Park { g, on: WaitReason::Io(4, Mode::Read) })
            .add(thread, slot(SlotState::Wait, SlotState::Parked(g as u32 - 1)))
    }

    /// The kernel has something for fd 4, and a poll finds it.
    fn edge(&mut self, thread: ThreadId, g: u64) -> &mut Script {
        let (fd, file, ready) = (4, 1, libc::EPOLLIN as u32);
        self.add(KERNEL, WorldEvent::Edge { fd, file, ready, wakeup: ready })
            .wait(1_000)
            .add(KERNEL, WorldEvent::Harvest { fd, file, events: ready, data: 0 })
            .add(thread, call("epoll_wait", 3, Ok(1)))
            .add(thread, Event::Dispatch { pd: 0, life: 1 })
            .add(thread, slot(4, SlotState::Parked(g as u32 - 1), SlotState::Ready))
            .add(thread, Event::Ready { g })
    }

    fn trace(&self) -> Trace {
        self.recorder.clone().finish()
    }
}

fn call(name: &'static str, fd: i32, result: Result<i64, Errno>) -> Event {
    Event::Syscall { name, fd, arg: 0, result }
}

fn slot(fd: i32, from: SlotState, to: SlotState) -> Event {
    Event::Slot { pd: 0, fd, mode: Mode::Read, from, to }
}

fn lanes(trace: &Trace, guilt: Option<Guilt>, options: Options) -> String {
    let (title, end) = ("a run".to_string(), "finished: 3 steps".to_string());
    render(trace, &Caption { title, end, guilt }, &options)
}

/// Without the legend, which is the same every time.
fn body(text: &str) -> &str {
    let (_, body) = text.split_once("\n\n").expect("a blank line follows the legend");
    body
}

/// A read that parks on one worker while the other one polls for it.
fn parked_and_woken() -> Script {
    let mut script = Script::started();
    script.wait(1_000).add(W0, Event::Open { fd: 4, pd: 0, life: 1 });
    script.park(W0, 7).wait(500).edge(W1, 7).wait(1_000).add(W0, Event::Run { g: 7 });
    script.add(W0, slot(4, SlotState::Ready, SlotState::Nil));
    script.wait(1_000).add(W0, call("read", 4, Ok(8))).add(W0, Event::Done { g: 7 });
    script
}

#[test]
fn a_read_that_parks_and_is_woken_by_the_other_worker() {
    let text = lanes(&parked_and_woken().trace(), None, Options::default());
    assert_snapshot!(text, @r#"
    # a run
    # time: since the line above; │ can run, ┆ sleeps; ▸ switch to this thread, ├─ to a goroutine;
    # * the kernel, a timer or a fault; #3 and pd#2 of the log appear as goroutine and descriptor
    # not shown where brief: use, leave, waiters, pauses of sysmon, rounds of workers that find nothing

            time others   w0              w1               kernel/timers descriptors
                 ▸ main: spawn w0
                 │ main: spawn w1         │
                 │ main: spawn sysmon     │
            +1µs          ▸┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄ open fd4: pd#0 life 1
                          ├─ run g7       │
            +1µs          │ g7 read(fd4, 0) = EAGAIN                     read fd4: Nil -> Wait
                          │ park g7: read fd4                            read fd4: Wait -> Parked(g7)
          +0.5µs          │               │                * edge fd4 IN
            +1µs          │               │                * harvest fd4 IN
                          │               ▸ epoll_wait(fd3, 0) = 1
                          │               │ dispatch to fd4 life 1       read fd4: Parked(g7) -> Ready
                          │               │ ready g7
            +1µs          ▸─ run g7       │                              read fd4: Ready -> Nil
            +1µs          │ g7 read(fd4, 0) = 8
                          │ done g7       │

    # finished: 3 steps
    "#);
}

fn guilt(at: Option<usize>) -> Guilt {
    let sentence =
        "L3 lost wakeup: g7 is parked in read fd4, which was ready before it parked there, and \
                    nobody is left who would tell it"
            .to_string();
    Guilt { property: "lost-wakeup".to_string(), sentence, at, g: Some(7), fd: Some(4) }
}

#[test]
fn the_guilty_line_is_marked_and_the_sentence_stands_beneath_it() {
    let trace = parked_and_woken().trace();
    let parked = trace.records.iter().rposition(|record| {
        matches!(record.event, Entry::Runtime(Event::Slot { to: SlotState::Parked(_), .. }))
    });
    let text = lanes(&trace, Some(guilt(parked)), Options::default());
    assert_snapshot!(text, @r#"
    # a run
    !! VIOLATED lost-wakeup
    !! L3 lost wakeup: g7 is parked in read fd4, which was ready before it parked there, and nobody is
    !! left who would tell it
    !! where: t=1002µs, by w0: the line marked >>
    # time: since the line above; │ can run, ┆ sleeps; ▸ switch to this thread, ├─ to a goroutine;
    # * the kernel, a timer or a fault; #3 and pd#2 of the log appear as goroutine and descriptor
    # not shown where brief: use, leave, waiters, pauses of sysmon, rounds of workers that find nothing

            time others   w0              w1               kernel/timers descriptors
                 ▸ main: spawn w0
                 │ main: spawn w1         │
                 │ main: spawn sysmon     │
            +1µs          ▸┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄ open fd4: pd#0 life 1
                          ├─ run g7       │
            +1µs          │ g7 read(fd4, 0) = EAGAIN                     read fd4: Nil -> Wait
                          │ park g7: read fd4
    >>                    │┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄ read fd4: Wait -> Parked(g7)
    >>           ^ L3 lost wakeup: g7 is parked in read fd4, which was ready before it parked there, and
    >>           nobody is left who would tell it
    >>           parked: g7 (read fd4)
    >>           fd4: read Parked(g7), write Nil
          +0.5µs          │               │                * edge fd4 IN
            +1µs          │               │                * harvest fd4 IN
                          │               ▸ epoll_wait(fd3, 0) = 1
                          │               │ dispatch to fd4 life 1       read fd4: Parked(g7) -> Ready
                          │               │ ready g7
            +1µs          ▸─ run g7       │                              read fd4: Ready -> Nil
            +1µs          │ g7 read(fd4, 0) = 8
                          │ done g7       │

    # finished: 3 steps
    "#);
}

#[test]
fn what_shows_at_the_end_only_is_told_at_the_end() {
    let mut script = Script::started();
    script.add(W0, Event::Open { fd: 4, pd: 0, life: 1 }).park(W0, 7);
    let text = lanes(&script.trace(), Some(guilt(None)), Options::default());
    assert!(text.contains("where: it shows at the end only"), "{text}");
    assert_snapshot!(text.lines().skip(14).collect::<Vec<_>>().join("\n"), @r#"
                          ├─ run g7       │
            +1µs          │ g7 read(fd4, 0) = EAGAIN                     read fd4: Nil -> Wait
                          │ park g7: read fd4                            read fd4: Wait -> Parked(g7)
    >>           ^ L3 lost wakeup: g7 is parked in read fd4, which was ready before it parked there, and
    >>           nobody is left who would tell it
    >>           parked: g7 (read fd4)
    >>           fd4: read Parked(g7), write Nil

    # finished: 3 steps
    "#);
}

/// Sysmon looks up `rounds` times.
fn pauses(script: &mut Script, rounds: usize) {
    for _ in 0..rounds {
        let until_ns = script.now_ns + 20_000;
        script.add(SYSMON, WorldEvent::Block { on: BlockedOn::Parker(2), until_ns });
        script.wait(20_000).add(SYSMON, WorldEvent::Resume { timed_out: true });
    }
}

#[test]
fn of_a_clean_run_only_what_comes_again_and_again_is_folded() {
    let mut script = Script::started();
    script.add(W0, Event::Run { g: 1 });
    pauses(&mut script, 40);
    script.add(W0, Event::Use { fd: 4, pd: 0 });
    script.add(W0, call("getsockname", 4, Ok(0))).add(W0, Event::Leave { fd: 4, pd: 0 });
    pauses(&mut script, 1);
    let phase = |phase| Event::Worker { phase };
    let on = BlockedOn::Parker(1);
    for _ in 0..2 {
        script.add(W1, phase(WorkerPhase::Parked));
        script.add(W1, WorldEvent::Block { on, until_ns: u64::MAX });
        script.wait(1_000).add(W1, WorldEvent::Resume { timed_out: false });
        script.add(W1, phase(WorkerPhase::Awake));
    }
    let trace = script.trace();
    let folded = lanes(&trace, None, Options::default());
    assert_snapshot!(body(&folded), @r#"
            time others   w0              w1               kernel/timers descriptors
                 ▸ main: spawn w0
                 │ main: spawn w1         │
                 │ main: spawn sysmon     │
                          ▸─ run g1       │
                 … 81 events in 800µs: 80 sysmon pauses, 1 count …
                          ▸ g1 getsockname(fd4, 0) = 0
           +20µs          │               ▸ worker parked
                          │               │ block: parker #1
                 … 4 events in 1µs: 4 idle steps …
            +1µs          │               ▸ resume, worker awake

    # finished: 3 steps
    "#);
    let whole = lanes(&trace, None, Options { fold: false, ..Options::default() });
    assert!(!whole.contains('…') && !whole.contains("not shown"), "{whole}");
    assert_eq!(whole.matches("use fd4").count() + whole.matches("leave fd4").count(), 2);
    assert_eq!(whole.matches("sysmon: resume: timed out").count(), 41);
}

#[test]
fn of_a_violation_the_story_of_its_goroutine_and_descriptor_is_left() {
    let mut script = Script::started();
    script.add(W0, Event::Open { fd: 4, pd: 0, life: 1 });
    script.park(W0, 7);
    for g in 20..80 {
        script.wait(1_000).add(W1, Event::Run { g });
        script.add(W1, call("write", 5, Ok(1))).add(W1, Event::Done { g });
    }
    script.edge(W1, 7).add(W0, Event::Run { g: 7 });
    let guilt = Guilt { at: Some(script.trace().records.len() - 1), ..guilt(None) };
    let text = lanes(&script.trace(), Some(guilt), Options::default());
    assert_snapshot!(body(&text), @r#"
            time others   w0              w1               kernel/timers descriptors
                 ▸ main: spawn w0
                 │ main: spawn w1         │
                 │ main: spawn sysmon     │
                          ▸┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄ open fd4: pd#0 life 1
                          ├─ run g7       │
            +1µs          │ g7 read(fd4, 0) = EAGAIN                     read fd4: Nil -> Wait
                          │ park g7: read fd4                            read fd4: Wait -> Parked(g7)
                 … 163 events in 55µs: 54 calls, 109 goroutine events …
                          │               ▸ g74 write(fd5, 0) = 1
                          │               │ done g74
            +1µs          │               ├─ run g75
                          │               │ g75 write(fd5, 0) = 1
                          │               │ done g75
            +1µs          │               ├─ run g76
                          │               │ g76 write(fd5, 0) = 1
                          │               │ done g76
            +1µs          │               ├─ run g77
                          │               │ g77 write(fd5, 0) = 1
                          │               │ done g77
            +1µs          │               ├─ run g78
                          │               │ g78 write(fd5, 0) = 1
                          │               │ done g78
            +1µs          │               ├─ run g79
                          │               │ g79 write(fd5, 0) = 1
                          │               │ done g79
                          │               │                * edge fd4 IN
            +1µs          │               │                * harvest fd4 IN
                          │               │ epoll_wait(fd3, 0) = 1
                          │               │ dispatch to fd4 life 1       read fd4: Parked(g7) -> Ready
                          │               │ ready g7
    >>                    ▸─ run g7       │
    >>           ^ L3 lost wakeup: g7 is parked in read fd4, which was ready before it parked there, and
    >>           nobody is left who would tell it
    >>           running: g7
    >>           fd4: read Ready, write Nil

    # finished: 3 steps
    "#);
}

#[test]
fn timers_and_faults_are_not_done_by_the_thread_that_meets_them() {
    let mut script = Script::started();
    let deadlines = netpoll::ops::Deadlines::Both;
    let (worker, timer) = (0, 1);
    script.add(W0, Event::Open { fd: 4, pd: 0, life: 1 }).add(W0, Event::Run { g: 7 });
    let at_ns = script.now_ns + 1_500_000;
    let what = TimerUse::Deadline { pd: 0, which: deadlines };
    script.add(W0, Event::Deadline { pd: 0, fd: 4, mode: Mode::Read, at_ns: at_ns as i64 });
    script.add(W0, Event::Arm { worker, timer, at_ns, what });
    let park = Event::Arm { worker, timer: 2, at_ns: u64::MAX / 2, what: TimerUse::Park { g: 3 } };
    script.add(W0, park).add(W0, Event::Park { g: 7, on: WaitReason::Sleep });
    script.wait(2_000_000_000).add(W1, WorldEvent::Fault { name: "io-eintr" });
    script.add(W1, Event::Fire { worker, timer }).add(W1, Event::Disarm { worker, timer: 2 });
    script.add(W1, Event::Expired { pd: 0, fd: 4, mode: Mode::Read });
    assert_snapshot!(body(&lanes(&script.trace(), None, Options::default())), @r#"
            time others   w0              w1               kernel/timers descriptors
                 ▸ main: spawn w0
                 │ main: spawn w1         │
                 │ main: spawn sysmon     │
                          ▸┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄ open fd4: pd#0 life 1
                          ├─ run g7       │                              read fd4: deadline +1.5ms
                          │ g7 arm timer w0.1 at +1.5ms: both deadlines of fd4
                          │ g7 arm timer w0.2 at +9223372036.853s: park of g7
                          │ park g7: sleep
             +2s          │               ▸┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄ * fault io-eintr
                          │               │┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄ * fire timer w0.1: both deadlines of fd4
                          │               │ disarm timer w0.2: park of g7
                          │               │┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄ read fd4: deadline expired

    # finished: 3 steps
    "#);
}

#[test]
fn workers_that_share_a_lane_say_who_they_are() {
    let mut script = Script::new(7);
    for nth in 1..=7 {
        let thread = ThreadId(nth);
        script.add(MAIN, WorldEvent::Spawn { thread });
        script.add(thread, Event::Run { g: nth.into() }).add(thread, call("read", 40, Ok(1)));
    }
    assert_snapshot!(body(&lanes(&script.trace(), None, Options::default())), @r#"
            time others   w0      w1      w2      w3…w6    kernel/timers descriptors
                 ▸ main: spawn w0
                          ▸─ run g1
                          │ g1 read(fd40, 0) = 1
                 ▸ main: spawn w1 │
                          │       ▸─ run g2
                          │       │ g2 read(fd40, 0) = 1
                 ▸ main: spawn w2 │       │
                          │       │       ▸─ run g3
                          │       │       │ g3 read(fd40, 0) = 1
                 ▸ main: spawn w3 │       │
                          │       │       │       ▸─ w3: run g4
                          │       │       │       │ w3: g4 read(fd40, 0) = 1
                 ▸ main: spawn w4 │       │
                          │       │       │       ▸─ w4: run g5
                          │       │       │       │ w4: g5 read(fd40, 0) = 1
                 ▸ main: spawn w5 │       │
                          │       │       │       ▸─ w5: run g6
                          │       │       │       │ w5: g6 read(fd40, 0) = 1
                 ▸ main: spawn w6 │       │
                          │       │       │       ▸─ w6: run g7
                          │       │       │       │ w6: g7 read(fd40, 0) = 1

    # finished: 3 steps
    "#);
}

/// Everything that can be long is long.
#[test]
fn no_line_is_wider_than_the_page_and_nothing_is_cut_off() {
    let mut script = Script::new(9);
    let name =
        "a_system_call_that_has_a_name_which_is_longer_than_any_system_call_ever_had_in_any_kernel";
    let mut words = vec![name.to_string(), "event".to_string(), "queued".to_string()];
    for nth in 0..=10 {
        let (thread, fd) = (ThreadId(nth), i32::MAX - i32::from(nth));
        let call = Event::Syscall { name, fd, arg: i64::MIN, result: Err(Errno::EINPROGRESS) };
        let place = u32::MAX - 9;
        script.add(thread, Event::Run { g: u64::MAX }).add(thread, call);
        script.add(thread, slot(fd, SlotState::Wait, SlotState::Parked(place)));
        script.add(KERNEL, WorldEvent::Watch { fd, file: 0, events: !0, data: 0, queued: true });
        words.extend([format!("fd{fd},"), format!("Parked(#{place})"), format!("g{}", u64::MAX)]);
    }
    for width in [0, 80, 81, 100, 140] {
        for fold in [true, false] {
            let text = lanes(&script.trace(), Some(guilt(Some(20))), Options { fold, width });
            for line in text.lines() {
                assert!(line.chars().count() <= width.max(80), "{width}: {line}");
                assert_eq!(line, line.trim_end());
            }
            // What was wrapped is found without the lifelines and spaces in between.
            let letters = text.replace(|c: char| " \n│┆▸>┄".contains(c), "");
            for word in words.iter().filter(|_| !fold) {
                assert!(letters.contains(&word.replace('>', "")), "no `{word}` in\n{text}");
            }
        }
    }
}

/// A snapshot is looked at as a difference.
#[test]
fn an_event_more_is_a_line_more_and_changes_no_other() {
    let with = |extra: bool| {
        let mut script = Script::started();
        script.wait(1_000).add(W0, Event::Open { fd: 4, pd: 0, life: 1 });
        script.park(W0, 7).wait(1_000);
        if extra {
            script.add(W0, Event::Run { g: 1_000_000 }).wait(123_456_789);
        }
        let at_ns = script.now_ns + 1_000;
        let arm = Event::Arm { worker: 1, timer: 1, at_ns, what: TimerUse::Park { g: 0 } };
        script.add(W1, arm).edge(W1, 7).wait(700).add(W0, Event::Run { g: 7 });
        lanes(&script.trace(), None, Options::default())
    };
    let (before, after) = (with(false), with(true));
    let common = before.lines().zip(after.lines()).take_while(|(a, b)| a == b).count();
    let (before, after) = (before.lines().skip(common), after.lines().skip(common));
    let (before, after): (Vec<_>, Vec<_>) = (before.collect(), after.collect());
    assert_eq!(after.len(), before.len() + 1);
    // The line that follows in time counts from the new one.
    assert_eq!(before[1..], after[2..], "{after:#?}");
}

#[test]
fn a_shortened_trace_says_so_and_its_threads_are_there() {
    let mut recorder = Recorder::new(Keep::Last(2));
    ["main", "netpoll-w0", "netpoll-w1"].iter().for_each(|name| recorder.add_thread(name));
    for g in 1..=5 {
        recorder.record(g, W1, &Event::Run { g }.into());
    }
    let text = lanes(&recorder.finish(), None, Options::default());
    assert!(text.contains("# 3 earlier records were not kept"), "{text}");
    assert_snapshot!(body(&text), @r#"
            time others   w0              w1               kernel/timers descriptors
                          │               ▸─ run g4
        +0.001µs          │               ├─ run g5

    # finished: 3 steps
    "#);
}

#[test]
fn an_empty_trace_is_a_page_without_lines() {
    let text = lanes(&Trace::default(), Some(guilt(Some(3))), Options::default());
    assert!(text.contains("VIOLATED lost-wakeup") && text.contains("# finished"), "{text}");
}
