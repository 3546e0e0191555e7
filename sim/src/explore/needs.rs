//! What a failing run needs: its deviations in words, with what the trace shows around each.
//!
//! ```text
//! g4 gives way to w1 between `read fd7: Nil -> Wait` and `park g4: read fd7`
//! poll-eintr in `epoll_wait(fd3, -1) = EINTR` of w0
//! a slow segment (3 of 7) after `write(fd6, 1) = 1` of g2
//! ```

use netpoll::trace::Event;
use netpoll_traces::{Entry, Record, ThreadId, Trace, WorldEvent, text};

use crate::Report;
use crate::choice::ChoiceKind;
use crate::deviation::{Asker, Deviation};

/// More needs than these tell nobody anything: the run has to be made smaller first.
const NEEDS_MAX: usize = 16;

/// The needs of a run that was recorded in full, in the order of its choices; `None` if there are too
/// many to be read.
pub(super) fn needs(report: &Report) -> Option<Vec<String>> {
    let few = report.deviations.len() <= NEEDS_MAX && report.trace.dropped == 0;
    few.then(|| report.deviations.iter().map(|it| Around::new(&report.trace, it).text()).collect())
}

/// The needs in one line.
#[must_use]
pub fn sentence(needs: &[String]) -> String {
    match needs {
        [] => "nothing but the dullest run".to_string(),
        needs => needs.join(", then "),
    }
}

/// A deviation, and what the trace has of its asker before and after.
struct Around<'a> {
    trace: &'a Trace,
    deviation: &'a Deviation,
    before: Option<&'a Record>,
    after: Option<&'a Record>,
}

impl<'a> Around<'a> {
    fn new(trace: &'a Trace, deviation: &'a Deviation) -> Around<'a> {
        let is_of_asker = |record: &&Record| match deviation.asker {
            Asker::Goroutine(g) => record.g == Some(g),
            Asker::Thread { thread, .. } => record.thread == thread,
            Asker::Kernel => true,
        };
        let is_told = |record: &&Record| {
            // That it strikes is what is being said.
            !matches!(record.event, Entry::World(WorldEvent::Fault { .. }))
        };
        let (before, after) = trace.records.split_at(deviation.seen.min(trace.records.len()));
        Around {
            trace,
            deviation,
            before: before.iter().rev().find(is_of_asker),
            after: after.iter().filter(is_told).find(is_of_asker),
        }
    }

    fn text(&self) -> String {
        let (choice, who) = (self.deviation.choice, self.asker());
        let what = match choice.kind {
            ChoiceKind::Thread => return self.switch(&who),
            ChoiceKind::Fault(fault) => {
                let fault = fault.name();
                return match self.after.filter(is_call) {
                    Some(call) => format!("{fault} in {} of {who}", self.quoted(call)),
                    None => format!("{fault} {} of {who}", self.after_what_came()),
                };
            }
            ChoiceKind::HandshakeDelay => "a slow handshake",
            ChoiceKind::SegmentDelay => "a slow segment",
            ChoiceKind::SegmentLen => "a short segment",
            ChoiceKind::EventOrder => "another event first",
            ChoiceKind::EventCount => "fewer events",
            ChoiceKind::InterruptDelay => "a late signal",
            ChoiceKind::WriteLen => "a shorter write",
            ChoiceKind::Random => "a random number",
            ChoiceKind::DiskLoss => "what a disk lost with the power",
            ChoiceKind::PacketLoss => return format!("a lost packet {} of {who}", self.between()),
            kind => kind.name(),
        };
        format!("{what} ({} of {}) {} of {who}", choice.k, choice.n - 1, self.between())
    }

    /// Another thread than the dullest.
    fn switch(&self, who: &str) -> String {
        let target = self.deviation.target.map_or("another", |it| self.trace.thread_name(it));
        match self.before {
            // It cannot go on.
            Some(Record {
                event: Entry::World(WorldEvent::Block { .. } | WorldEvent::Exit),
                ..
            }) => {
                format!("{target} goes first {} of {who}", self.after_what_came())
            }
            _ if self.thread() == self.deviation.target => {
                format!("{who} goes on before others {}", self.between())
            }
            _ => format!("{who} gives way to {target} {}", self.between()),
        }
    }

    fn between(&self) -> String {
        match (self.before, self.after) {
            (Some(before), Some(after)) => {
                format!("between {} and {}", self.quoted(before), self.quoted(after))
            }
            (None, Some(after)) => format!("before {}", self.quoted(after)),
            (_, None) => self.after_what_came(),
        }
    }

    fn after_what_came(&self) -> String {
        match self.before {
            Some(before) => format!("after {}", self.quoted(before)),
            None => "at the beginning".to_string(),
        }
    }

    fn asker(&self) -> String {
        match self.deviation.asker {
            Asker::Goroutine(g) => format!("g{g}"),
            Asker::Thread { thread, .. } => self.trace.thread_name(thread).to_string(),
            Asker::Kernel => "the kernel".to_string(),
        }
    }

    /// The thread that asked.
    fn thread(&self) -> Option<ThreadId> {
        match self.deviation.asker {
            Asker::Thread { thread, .. } => Some(thread),
            Asker::Goroutine(_) => self.before.map(|record| record.thread),
            Asker::Kernel => None,
        }
    }

    fn quoted(&self, record: &Record) -> String {
        format!("`{}`", text::event(self.trace, record))
    }
}

fn is_call(record: &&Record) -> bool {
    matches!(record.event, Entry::Runtime(Event::Syscall { .. }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Choice;
    use netpoll::platform::Errno;
    use netpoll::trace::{Mode, SlotState, WaitReason};
    use netpoll_traces::{BlockedOn, Keep, Recorder};

    /// A worker runs g7, which looks at fd5 and parks, and then blocks; the kernel has an edge.
    fn trace() -> Trace {
        let mut recorder = Recorder::new(Keep::All);
        for name in ["main", "netpoll-w0", "netpoll-w1"] {
            recorder.add_thread(name);
        }
        let (w0, g, fd, mode) = (ThreadId(1), 7, 5, Mode::Read);
        let read = Event::Syscall { name: "read", fd, arg: 8, result: Err(Errno::EAGAIN) };
        let (from, to) = (SlotState::Nil, SlotState::Wait);
        let on = WaitReason::Io(fd, mode);
        for event in [Event::Run { g }, read, Event::Slot { pd: 1, fd, mode, from, to }] {
            recorder.record(1, w0, &event.into());
        }
        recorder.record(2, w0, &Event::Park { g, on }.into());
        recorder.record(
            3,
            w0,
            &WorldEvent::Block { on: BlockedOn::Poll(3), until_ns: u64::MAX }.into(),
        );
        recorder.record(
            4,
            ThreadId::KERNEL,
            &WorldEvent::Edge { fd, file: 1, ready: 1, wakeup: 1 }.into(),
        );
        recorder.finish()
    }

    #[track_caller]
    fn check(asker: Asker, choice: &str, seen: usize, expected: &str) {
        let choice: Choice = choice.parse().expect("a choice");
        let target = (choice.kind == ChoiceKind::Thread).then_some(ThreadId(2));
        let deviation = Deviation { index: 0, choice, asker, nth: 0, target, seen };
        assert_eq!(Around::new(&trace(), &deviation).text(), expected);
    }

    #[test]
    fn a_need_is_told_with_what_its_asker_did_before_and_after() {
        let g7 = Asker::Goroutine(7);
        let w0 = Asker::Thread { thread: ThreadId(1), after: Some(7) };
        let call = "`read(fd5, 8) = EAGAIN`";
        let slot = "`read fd5: Nil -> Wait`";
        check(g7, "thread:1/2", 2, &format!("g7 gives way to w1 between {call} and {slot}"));
        check(g7, "thread:1/2", 4, "g7 gives way to w1 after `park g7: read fd5`");
        check(w0, "thread:1/2", 5, "w1 goes first after `block: events of fd3` of w0");
        check(g7, "io-eintr:1/2", 1, &format!("io-eintr in {call} of g7"));
        check(g7, "spurious-wake:1/2", 2, &format!("spurious-wake after {call} of g7"));
        let slow = format!("a slow segment (3 of 7) between {call} and {slot} of g7");
        check(g7, "segment-delay:3/8", 2, &slow);
        let slow = "a slow segment (3 of 7) after `edge fd5 IN` of the kernel";
        check(Asker::Kernel, "segment-delay:3/8", 6, slow);
        check(Asker::thread(ThreadId(0)), "thread:1/2", 0, "main gives way to w1 at the beginning");
    }

    #[test]
    fn many_needs_are_a_sentence_and_none_is_one_too() {
        assert_eq!(sentence(&["a".to_string(), "b".to_string()]), "a, then b");
        assert_eq!(sentence(&[]), "nothing but the dullest run");
    }
}
