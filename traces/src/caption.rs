//! What a rendering says about a trace beside the records: what ran, and what it violated at which record.

/// What stands above a rendering.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caption {
    /// What ran, in one line: `close_vs_read seed 17, granularity atomic, faults light, 2 workers`.
    pub title: String,
    /// How the run ended, in one line: `finished: 310 steps, 88 choices`.
    pub end: String,
    /// What it violated, if anything.
    pub guilt: Option<Guilt>,
}

/// A violation, and where the trace shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guilt {
    /// What was violated, as a short name: `readiness`, `lost-wakeup`, `panic`.
    pub property: String,
    /// The sentence about it.
    pub sentence: String,
    /// The index of the guilty record among [`Trace::records`](crate::Trace::records). A violation that
    /// shows at the end of a run only is that of the last record.
    pub at: Option<usize>,
    /// The goroutine that it is about, if it is about one.
    pub g: Option<u64>,
    /// The descriptor that it is about, if it is about one.
    pub fd: Option<i32>,
}
