//! Why an ordering stays although no model fails without it.
//!
//! A reason is for the accesses whose name begins with its prefix; the longest prefix counts. A fence has
//! no reason: one that no model needs is not needed.

/// A prefix of access names, and the reason for those that no model catches.
pub type Reason = (&'static str, &'static str);

/// All reasons, by file.
pub const REASONS: &[Reason] = &[
    (
        "goroutine/arena.rs",
        "on std atomics: the address range is the process's, no decision of the runtime depends on it, \
         and signal handlers read it; A1 and A2 in the file give the pairs",
    ),
    (
        "goroutine/fiber_cell.rs",
        "on std atomics: it guards a stack against a mistake of the scheduler (C1), and no checker can \
         see what is on a stack",
    ),
    (
        "goroutine/header.rs",
        "on std atomics: orders a thread against its own signal handler (H1), which no checker has",
    ),
    (
        "platform/os/parker.rs",
        "below the seam: checkers have a parker of their own; argued in the file, whose long ping-pong \
         hunts the edge on both ways to sleep",
    ),
    (
        "platform/os/signal.rs",
        "below the seam: orders threads against a signal handler (Q2), which no checker has",
    ),
    (
        "sched/runq.rs RunQueue::push load",
        "Q2: without it the owner could store into a place before a thief has read it; loom never lets a \
         read see a store that is made later",
    ),
    (
        "sched/runq.rs RunQueue::steal_into compare_exchange",
        "Q2, the other end: the thief's reads of the places before the owner's next stores; loom never \
         lets a read see a store that is made later",
    ),
];

/// The reason for an access.
#[must_use]
pub fn reason(name: &str) -> Option<&'static str> {
    let fitting = REASONS.iter().filter(|(prefix, _)| name.starts_with(prefix));
    fitting.max_by_key(|(prefix, _)| prefix.len()).map(|(_, reason)| *reason)
}
