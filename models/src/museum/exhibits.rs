//! The exhibits.
//!
//! The first three are the protocol as popular accounts of Go's netpoller tell it.

use super::{Edit, Exhibit};
use crate::check::Checker::Loom;

/// All of them.
pub const EXHIBITS: &[Exhibit] = &[
    Exhibit {
        id: "cancel-writes-ready",
        wrong: "a close and a deadline set the slot to Ready, as an edge does",
        source: "popular accounts; D6",
        edits: &[Edit {
            file: "netpoll/src/poll/slot.rs",
            find: "        SlotState::Parked(g) => (SlotState::Nil, Some(g)),\n        SlotState::Wait => (SlotState::Nil, None),",
            replace: "        SlotState::Parked(g) => (SlotState::Ready, Some(g)),\n        SlotState::Wait => (SlotState::Ready, None),",
        }],
        model: "park_against_close",
        checker: Loom,
    },
    Exhibit {
        id: "goroutine-found-on-wake-up",
        wrong: "a canceller leaves the goroutine in the slot, and who wakes up and finds itself there takes it for normal",
        source: "popular accounts; S1, S3",
        edits: &[
            Edit {
                file: "netpoll/src/poll/slot.rs",
                find: "        SlotState::Parked(g) => (SlotState::Nil, Some(g)),\n",
                replace: "        SlotState::Parked(g) => (SlotState::Parked(g), Some(g)),\n",
            },
            Edit {
                file: "netpoll/src/poll/slot.rs",
                find: "        if let SlotState::Parked(g) = from {\n            panic!(\"S1: goroutine #{g} runs while it is parked in the slot it leaves\");\n        }\n",
                replace: "",
            },
        ],
        model: "park_against_ready_and_deadline",
        checker: Loom,
    },
    Exhibit {
        id: "no-checks-around-wait",
        wrong: "the wait loop goes on while blocking says false: it looks at the summary neither before nor after it publishes Wait",
        source: "popular accounts; S7",
        edits: &[
            Edit {
                file: "netpoll/src/poll/desc.rs",
                find: "        self.info.load().check(mode)?;\n        let (change, enter) = self.slot(mode).enter();",
                replace: "        let (change, enter) = self.slot(mode).enter();",
            },
            RECHECK,
        ],
        model: "park_against_close",
        checker: Loom,
    },
    Exhibit {
        id: "no-recheck",
        wrong: "the summary is not looked at again after Wait has been published",
        source: "B18",
        edits: &[RECHECK],
        model: "park_against_close",
        checker: Loom,
    },
    Exhibit {
        id: "no-fence-before-the-last-look",
        wrong: "a worker that falls asleep looks at its inbox without a fence (F3)",
        source: "the class of B17",
        edits: &[Edit {
            file: "netpoll/src/sched/idle.rs",
            find: "    pub fn look_again(&self) {\n        P::fence(SeqCst);\n",
            replace: "    pub fn look_again(&self) {\n",
        }],
        model: "inbox_push_against_sleep",
        checker: Loom,
    },
];

/// The look at the summary after `Wait`, left out.
const RECHECK: Edit = Edit {
    file: "netpoll/src/poll/desc.rs",
    find: "                match self.info.load().check(mode) {\n",
    replace: "                match Ok::<(), PollError>(()) {\n",
};
