//! A checker's limits, as sentences: which one was hit and what to do.

/// What a panic of a checker about itself means, if it is one.
#[must_use]
pub fn explain(message: &str) -> Option<&'static str> {
    let limits = [
        (
            "Model exceeded maximum number of branches",
            "loom's limit of branches in one execution was hit (`BRANCHES_MAX` in check/loom.rs). \
             Usually a thread of the model waits in a loop without blocking: let it park, or bound \
             the loop. If the execution really is that long, raise the limit",
        ),
        (
            "threads.len() < self.max_threads",
            "loom's limit of 5 threads in one model, the main one included, was hit. Let one thread \
             of the model play two parts, one after the other",
        ),
        (
            "self.threads.len() < self.max()",
            "loom's limit of 5 threads in one model, the main one included, was hit. Let one thread \
             of the model play two parts, one after the other",
        ),
        (
            "exceeded max_steps bound",
            "shuttle's limit of steps in one execution was hit (`STEPS_MAX` in check/shuttle.rs). \
             Either the model does not end under this schedule, which is a livelock, or the limit is \
             too low for it",
        ),
        (
            "Is the model fully deterministic?",
            "the model did not do the same thing twice: it depends on a clock, on an address or on \
             state that outlives an execution",
        ),
    ];
    limits.into_iter().find(|(sign, _)| message.contains(sign)).map(|(_, meaning)| meaning)
}
