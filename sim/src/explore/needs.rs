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
                let call = self.after.filter(|record| is_call(record));
                return match (call, self.before) {
                    (Some(call), _) => {
                        format!("{} in {} of {who}", fault.name(), self.quoted(call))
                    }
                    (None, Some(before)) => {
                        format!("{} of {who} after {}", fault.name(), self.quoted(before))
                    }
                    (None, None) => format!("{} of {who}", fault.name()),
                };
            }
            ChoiceKind::HandshakeDelay => "a slow handshake",
            ChoiceKind::SegmentDelay => "a slow segment",
            ChoiceKind::SegmentLen => "a short segment",
            ChoiceKind::EventOrder => "another event first",
            ChoiceKind::EventCount => "fewer events",
            ChoiceKind::InterruptDelay => "a late signal",
            ChoiceKind::WriteLen => "a shorter write",
            kind => kind.name(),
        };
        format!("{what} ({} of {}) {} of {who}", choice.k, choice.n - 1, self.between())
    }

    /// Another thread than the dullest.
    fn switch(&self, who: &str) -> String {
        let target = self.deviation.target.map_or("another", |it| self.trace.thread_name(it));
        let blocks = match self.before.map(|record| record.event) {
            Some(Entry::World(WorldEvent::Block { .. } | WorldEvent::Exit)) => true,
            _ => self.before.is_none(),
        };
        match (blocks, self.before) {
            (true, Some(before)) => {
                format!("{target} goes first after {} of {who}", self.quoted(before))
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
            (Some(before), None) => format!("after {}", self.quoted(before)),
            (None, Some(after)) => format!("before {}", self.quoted(after)),
            (None, None) => "at some time".to_string(),
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

fn is_call(record: &Record) -> bool {
    matches!(record.event, Entry::Runtime(Event::Syscall { .. }))
}
