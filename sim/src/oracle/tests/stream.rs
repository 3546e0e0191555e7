//! Hand-written streams of records.

use netpoll::platform::RawFd;
use netpoll_traces::{Entry, Keep, Recorder, ThreadId};

use crate::explore::Violation;
use crate::oracle::{End, Look, Oracles};

/// Threads of a stream, by id.
pub(super) const MAIN: ThreadId = ThreadId(0);
pub(super) const W0: ThreadId = ThreadId(1);
pub(super) const W1: ThreadId = ThreadId(2);
pub(super) const SYSMON: ThreadId = ThreadId(3);

/// What oracles may look at in a stream.
#[derive(Default)]
pub(super) struct Scene {
    pub(super) blocked: Vec<ThreadId>,
    /// Number and file.
    pub(super) files: Vec<(RawFd, u32)>,
}

impl Look for Scene {
    fn is_blocked(&self, thread: ThreadId) -> bool {
        self.blocked.contains(&thread)
    }

    fn file_of(&self, fd: RawFd) -> Option<u32> {
        let found = self.files.iter().find(|(number, _)| *number == fd);
        found.map(|(_, file)| *file)
    }
}

/// A stream that is written record by record, 1 µs apart.
pub(super) struct Stream {
    oracles: Oracles,
    recorder: Recorder,
    now_ns: u64,
    pub(super) scene: Scene,
}

impl Stream {
    /// A stream of a runtime with two workers.
    pub(super) fn new() -> Stream {
        let (mut oracles, mut recorder) = (Oracles::default(), Recorder::new(Keep::Last(0)));
        for name in ["main", "netpoll-w0", "netpoll-w1", "netpoll-sysmon"] {
            oracles.add_thread(name);
            recorder.add_thread(name);
        }
        Stream { oracles, recorder, now_ns: 1_000_000, scene: Scene::default() }
    }

    /// The time of the last record.
    pub(super) fn now_ns(&self) -> u64 {
        self.now_ns
    }

    /// Time passes.
    pub(super) fn passes(&mut self, ns: u64) -> &mut Stream {
        self.now_ns += ns;
        self
    }

    /// The end of the stream.
    pub(super) fn ends(&mut self, end: &End<'_>) -> Option<Violation> {
        self.oracles.finish(end)
    }

    /// The next record, and what one oracle has against it.
    pub(super) fn shows(&mut self, thread: ThreadId, event: impl Into<Entry>) -> Option<Violation> {
        self.show(thread, event.into());
        self.oracles.violations().first().cloned()
    }

    /// The next record, which nobody minds.
    #[track_caller]
    pub(super) fn is_fine(&mut self, thread: ThreadId, event: impl Into<Entry>) -> &mut Stream {
        let event = event.into();
        let is_fine = self.show(thread, event);
        assert!(is_fine, "`{event}`: {:?}", self.oracles.violations());
        self
    }

    /// The next record, which one oracle minds.
    #[track_caller]
    pub(super) fn is_wrong(&mut self, thread: ThreadId, event: impl Into<Entry>) -> Violation {
        let event = event.into();
        assert!(!self.show(thread, event), "nobody minds `{event}`");
        let [violation] = self.oracles.violations() else {
            panic!("`{event}`: {:?}", self.oracles.violations());
        };
        violation.clone()
    }

    fn show(&mut self, thread: ThreadId, event: Entry) -> bool {
        self.now_ns += 1_000;
        let record = self.recorder.record(self.now_ns, thread, &event);
        self.oracles.observe(&record, &self.scene)
    }
}
