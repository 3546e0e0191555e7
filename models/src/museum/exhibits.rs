//! The exhibits.
//!
//! The first three are the protocol as popular accounts of Go's netpoller tell it. Those without a model
//! are bugs of whole programs, which seeds have to find.

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
        model: Some(("park_against_close", Loom)),
        unseen: None,
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
        model: Some(("park_against_ready_and_deadline", Loom)),
        unseen: None,
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
        model: Some(("park_against_close", Loom)),
        unseen: None,
    },
    Exhibit {
        id: "no-recheck",
        wrong: "the summary is not looked at again after Wait has been published",
        source: "B18",
        edits: &[RECHECK],
        model: Some(("park_against_close", Loom)),
        unseen: None,
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
        model: Some(("inbox_push_against_sleep", Loom)),
        unseen: Some(WEAK_MEMORY),
    },
    Exhibit {
        id: "no-fence-before-looking-for-sleepers",
        wrong: "who submits work looks for idle workers without a fence (F4)",
        source: "the class of B17",
        edits: &[Edit {
            file: "netpoll/src/sched/idle.rs",
            find: "    pub fn wake_one(&self) {\n        // F4, partner of F3 in `look_again`.\n        P::fence(SeqCst);\n",
            replace: "    pub fn wake_one(&self) {\n",
        }],
        model: Some(("sleep_against_run_queue", Loom)),
        unseen: Some(WEAK_MEMORY),
    },
    Exhibit {
        id: "drain-after-clear",
        wrong: "the poller allows the next break before it has drained the channel",
        source: "D1; S22, L9",
        edits: &[
            Edit {
                file: "netpoll/src/backend/epoll.rs",
                find: "        let mut counter = [0; 8];\n        loop {\n            match kernel.read",
                replace: "        self.wake_sig.swap(0, Acquire);\n        let mut counter = [0; 8];\n        loop {\n            match kernel.read",
            },
            Edit {
                file: "netpoll/src/backend/epoll.rs",
                find: "                Err(errno) => panic!(\"read of the break channel: {errno}\"),\n            }\n        }\n        self.wake_sig.swap(0, Acquire);\n",
                replace: "                Err(errno) => panic!(\"read of the break channel: {errno}\"),\n            }\n        }\n",
            },
        ],
        model: Some(("two_breaks_against_sleep", Loom)),
        unseen: None,
    },
    Exhibit {
        id: "quick-poll-drains",
        wrong: "a poll that does not block takes the break of the one that does",
        source: "D2; S23",
        edits: &[Edit {
            file: "netpoll/src/backend/epoll.rs",
            find: "                if timeout != 0 {\n                    self.drain(kernel);\n                }\n",
            replace: "                self.drain(kernel);\n",
        }],
        model: Some(("break_against_quick_poll", Loom)),
        unseen: None,
    },
    Exhibit {
        id: "failed-break-is-no-release",
        wrong: "a break that finds another one in flight releases nothing: a failed compare-exchange",
        source: "found by the table of orderings",
        edits: &[Edit {
            file: "netpoll/src/backend/epoll.rs",
            find: "self.wake_sig.swap(1, Release) == 0;",
            replace: "self.wake_sig.compare_exchange(0, 1, Release, Acquire).is_ok();",
        }],
        model: Some(("two_breaks_against_sleep", Loom)),
        unseen: Some(WEAK_MEMORY),
    },
    Exhibit {
        id: "parks-over-an-edge",
        wrong: "T3 is a store: the consumer parks over an edge that came in between",
        source: "D8",
        edits: &[Edit {
            file: "netpoll/src/poll/slot.rs",
            find: "        self.update(|state| park(state, g).map(|to| (to, ()))).map(|(change, ())| change)\n",
            replace: "        let from = self.state();\n        let to = park(SlotState::Wait, g)?;\n        self.word.swap(encode(to), AcqRel);\n        Some(Change { from, to })\n",
        }],
        model: Some(("park_against_ready", Loom)),
        unseen: None,
    },
    Exhibit {
        id: "publishes-after-cancelling",
        wrong: "a close looks at the slots before it publishes its reason",
        source: "D9",
        edits: &[Edit {
            file: "netpoll/src/poll/desc.rs",
            find: "        self.info.publish(inner.snapshot());\n        kernel.trace(Event::Evict { pd: self.index, fd });\n        self.cancel(kernel, true, true)\n",
            replace: "        let released = self.cancel(kernel, true, true);\n        self.info.publish(inner.snapshot());\n        kernel.trace(Event::Evict { pd: self.index, fd });\n        released\n",
        }],
        model: Some(("park_against_close", Loom)),
        unseen: None,
    },
    Exhibit {
        id: "no-life-in-the-tag",
        wrong: "an event is for the descriptor, whatever life it was harvested in",
        source: "B01, B05; S8",
        edits: &[Edit {
            file: "netpoll/src/poll/desc.rs",
            find: "        if self.life() != life {\n            kernel.trace(Event::Stale { pd, life });\n            return Released::default();\n        }\n",
            replace: "",
        }],
        model: Some(("stale_event_against_new_life", Loom)),
        unseen: None,
    },
    Exhibit {
        id: "stale-error-bit",
        wrong: "an error that was harvested before a close poisons the next file",
        source: "B01, golang/go#59545; S9",
        edits: &[Edit {
            file: "netpoll/src/poll/info.rs",
            find: "(old.life() == life && next != old.0)",
            replace: "(next != old.0)",
        }],
        model: Some(("stale_event_against_new_life", Loom)),
        unseen: None,
    },
    Exhibit {
        id: "timer-without-generation",
        wrong: "a timer of an earlier setting or life fires",
        source: "B23, D11; S10",
        edits: &[Edit {
            file: "netpoll/src/poll/deadline.rs",
            find: "        if current != job.generation {\n            return Released::default();\n        }\n",
            replace: "        let _ = current;\n",
        }],
        model: Some(("park_against_cleared_deadline", Loom)),
        unseen: None,
    },
    Exhibit {
        id: "closes-before-deregistering",
        wrong: "the number is closed before its registration is taken back",
        source: "B08; S15",
        edits: &[
            Edit {
                file: "netpoll/src/fd/file.rs",
                find: "        self.shared.netpoll.close(self.kernel(), self.pd);\n        if self.keep",
                replace: "        if self.keep",
            },
            Edit {
                file: "netpoll/src/fd/file.rs",
                find: "        self.closed.release();\n    }\n}\n",
                replace: "        self.shared.netpoll.close(self.kernel(), self.pd);\n        self.closed.release();\n    }\n}\n",
            },
        ],
        model: Some(("close_against_open", Loom)),
        unseen: None,
    },
    Exhibit {
        id: "destroys-what-is-open",
        wrong: "the last reference destroys a file that nobody has closed",
        source: "D19; S26",
        edits: &[Edit {
            file: "netpoll/src/fd/mutex.rs",
            find: "        self.is_closed() && self.refs() == 0\n",
            replace: "        self.refs() == 0\n",
        }],
        model: Some(("close_against_references", Loom)),
        unseen: None,
    },
    Exhibit {
        id: "two-final-pollers",
        wrong: "sysmon stores into last_poll what it should exchange, over the claim of a final poller",
        source: "D4; S20",
        edits: &[Edit {
            file: "netpoll/src/poll/netpoll.rs",
            find: "            && self.last_poll.compare_exchange(last, now, Relaxed, Relaxed).is_ok()\n",
            replace: "            && self.last_poll.swap(now, Relaxed) < oldest\n",
        }],
        model: Some(("sysmon_against_final_poll", Loom)),
        unseen: None,
    },
    Exhibit {
        id: "says-one-time-and-sleeps-by-another",
        wrong: "the final poller says when it comes back, looks again, and sleeps by what it sees then",
        source: "found by sleep_against_replaced_timer; L8",
        edits: &[Edit {
            file: "netpoll/src/sched/find.rs",
            find: "            netpoll.set_poll_until((until != NEVER).then_some(until));\n            let now",
            replace: "            netpoll.set_poll_until((until != NEVER).then_some(until));\n            P::fence(std::sync::atomic::Ordering::SeqCst);\n            let until = shared.earliest_timer();\n            netpoll.set_poll_until((until != NEVER).then_some(until));\n            let now",
        }],
        model: Some(("sleep_against_replaced_timer", Loom)),
        unseen: None,
    },
    Exhibit {
        id: "spins-while-it-looks",
        wrong: "a worker stops spinning after its last look at all work, not before",
        source: "B44; L10",
        edits: &[
            Edit {
                file: "netpoll/src/sched/find.rs",
                find: "        if was_spinning {\n            shared.stop_spinning();\n        }\n        // F3",
                replace: "        // F3",
            },
            Edit {
                file: "netpoll/src/sched/find.rs",
                find: "            found_elsewhere = active && shared.work_for_any();\n",
                replace: "            found_elsewhere = active && shared.work_for_any();\n            if was_spinning {\n                shared.stop_spinning();\n            }\n",
            },
        ],
        model: Some(("sleep_against_run_queue", Loom)),
        unseen: None,
    },
    Exhibit {
        id: "closes-the-number-at-once",
        wrong: "a close frees the number while others still use it, and not when the last of them has left",
        source: "B11, golang/go#7970; S26, S33",
        edits: &[
            Edit {
                file: "netpoll/src/fd/file.rs",
                find: "        self.shared.release_from_here(released);\n        if self.mutex.decref() {\n",
                replace: "        self.shared.release_from_here(released);\n        if !keep && self.owner == Owner::File {\n            self.shared.netpoll.close(self.kernel(), self.pd);\n            let _released = self.kernel().close(self.number);\n        }\n        if self.mutex.decref() {\n",
            },
            Edit {
                file: "netpoll/src/fd/file.rs",
                find: "        self.shared.netpoll.close(self.kernel(), self.pd);\n        if self.keep.load(Relaxed) == 0 && self.owner == Owner::File {\n            // Not retried on EINTR: the number is free whatever the result (S15).\n            let errno = self.kernel().close(self.number).err().map_or(0, |errno| errno.0);\n            self.close_result.store(errno.cast_unsigned(), Relaxed);\n        }\n",
                replace: "        if self.keep.load(Relaxed) != 0 || self.owner != Owner::File {\n            self.shared.netpoll.close(self.kernel(), self.pd);\n        }\n",
            },
        ],
        model: None,
        unseen: None,
    },
    Exhibit {
        id: "close-does-not-wait",
        wrong: "a close returns before the number is free",
        source: "B33, golang/go#21856",
        edits: &[Edit {
            file: "netpoll/src/fd/file.rs",
            find: "        self.closed.acquire(WaitReason::Close(self.number));\n",
            replace: "        let _ = (&self.closed, WaitReason::Close(self.number));\n",
        }],
        model: None,
        unseen: None,
    },
    Exhibit {
        id: "waiters-only-grow",
        wrong: "whom an edge releases is not taken off the count of waiters",
        source: "B14, golang/go#33624; S17",
        edits: &[Edit {
            file: "netpoll/src/sched/shared.rs",
            find: "        let count = harvest.len();\n        for g in harvest.drain() {\n            self.make_runnable(here, g);\n        }\n        self.netpoll.sub_waiters(&self.kernel, count);\n",
            replace: "        for g in harvest.drain() {\n            self.make_runnable(here, g);\n        }\n",
        }],
        model: None,
        unseen: None,
    },
    Exhibit {
        id: "count-before-runnable",
        wrong: "whom an edge releases is taken off the count of waiters before it is runnable",
        source: "B15, golang/go#61454; S18",
        edits: &[Edit {
            file: "netpoll/src/sched/shared.rs",
            find: "        let count = harvest.len();\n        for g in harvest.drain() {\n            self.make_runnable(here, g);\n        }\n        self.netpoll.sub_waiters(&self.kernel, count);\n",
            replace: "        self.netpoll.sub_waiters(&self.kernel, harvest.len());\n        for g in harvest.drain() {\n            self.make_runnable(here, g);\n        }\n",
        }],
        model: None,
        unseen: None,
    },
    Exhibit {
        id: "no-error-is-connected",
        wrong: "a connect takes an edge without an error for its success",
        source: "B02, golang/go#14548",
        edits: &[Edit {
            file: "netpoll/src/fd/setup.rs",
            find: "            Errno(0) => match kernel.getpeername(number) {\n                Ok(_) => return Ok(()),\n                Err(Errno::ENOTCONN) => {}\n                Err(errno) => return Err(errno.into()),\n            },\n",
            replace: "            Errno(0) => return Ok(()),\n",
        }],
        model: None,
        unseen: None,
    },
    Exhibit {
        id: "failed-open-keeps-its-life",
        wrong: "a descriptor that cannot be registered is not given back",
        source: "B26; S34",
        edits: &[Edit {
            file: "netpoll/src/poll/netpoll.rs",
            find: "            pd.abandon(kernel);\n            self.lives.free(index);\n",
            replace: "",
        }],
        model: None,
        unseen: None,
    },
    Exhibit {
        id: "eintr-leaks-out",
        wrong: "a call that a signal interrupts is not made again",
        source: "B54",
        edits: &[Edit {
            file: "netpoll/src/fd/file.rs",
            find: "                Err(Errno::EINTR) => {}\n                Err(Errno::EAGAIN) => self.wait_for_edge(mode)?,\n",
            replace: "                Err(Errno::EAGAIN) => self.wait_for_edge(mode)?,\n",
        }],
        model: None,
        unseen: None,
    },
    Exhibit {
        id: "timeout-is-cut-off",
        wrong: "less than a millisecond to sleep is none at all: the poller runs in circles",
        source: "B56; S29, L18",
        edits: &[Edit {
            file: "netpoll/src/sched/find.rs",
            find: "                let delay = Delay::until(until, now);\n",
            replace: "                let delay = match Delay::until(until, now) {\n                    Delay::Ns(ns) => Delay::Ns(ns / 1_000_000 * 1_000_000),\n                    delay => delay,\n                };\n",
        }],
        model: None,
        unseen: None,
    },
    Exhibit {
        id: "breaks-for-every-timer",
        wrong: "whoever arms a timer breaks the poll, though the poller comes back in time",
        source: "B42, golang/go#41699",
        edits: &[Edit {
            file: "netpoll/src/poll/netpoll.rs",
            find: "            until if until > when => Sleeper::Break,\n            _ => Sleeper::InTime,\n",
            replace: "            _ => {\n                let _ = when;\n                Sleeper::Break\n            }\n",
        }],
        model: None,
        unseen: None,
    },
    Exhibit {
        id: "sysmon-does-not-poll",
        wrong: "while all workers are busy nobody asks the kernel",
        source: "B48, B51; L6",
        edits: &[Edit {
            file: "netpoll/src/sched/sysmon.rs",
            find: "        if self.netpoll.try_begin_overdue(neglected, now) {\n            self.netpoll.poll(&self.kernel, Delay::None, &mut harvest);\n        }\n",
            replace: "",
        }],
        model: None,
        unseen: None,
    },
    Exhibit {
        id: "calls-no-poll-a-poll",
        wrong: "a worker that claimed the final poll and was woken before it notes a poll that it did not make",
        source: "found here by `explore all_busy`; L6",
        edits: &[Edit {
            file: "netpoll/src/sched/find.rs",
            find: "            netpoll.end_final(if polls { now } else { last });\n",
            replace: "            let _ = (last, polls);\n            netpoll.end_final(now);\n",
        }],
        model: None,
        unseen: None,
    },
    Exhibit {
        id: "nobody-runs-a-busy-workers-timers",
        wrong: "timers of a worker that is busy with one goroutine wait until it is done",
        source: "B48, golang/go#38860; L6",
        edits: &[
            Edit {
                file: "netpoll/src/sched/sysmon.rs",
                find: "        self.run_neglected_timers(neglected) || polled\n",
                replace: "        let _ = Self::run_neglected_timers;\n        polled\n",
            },
            Edit {
                file: "netpoll/src/sched/find.rs",
                find: "                if last && robbed.timers.earliest() != NEVER {\n",
                replace: "                if last && false && robbed.timers.earliest() != NEVER {\n",
            },
        ],
        model: None,
        unseen: None,
    },
    Exhibit {
        id: "last-look-forgets-the-queues",
        wrong: "a worker that goes to sleep does not look at the others' queues again",
        source: "B44, B45; L10",
        edits: &[Edit {
            file: "netpoll/src/sched/find.rs",
            find: "            found_elsewhere = active && shared.work_for_any();\n",
            replace: "",
        }],
        model: None,
        unseen: None,
    },
];

/// Why seeds cannot find a missing fence: the simulator runs one thread at a time, so its memory is
/// sequentially consistent.
const WEAK_MEMORY: &str = "needs a weak memory model";

/// The look at the summary after `Wait`, left out.
const RECHECK: Edit = Edit {
    file: "netpoll/src/poll/desc.rs",
    find: "                match self.info.load().check(mode) {\n",
    replace: "                match Ok::<(), PollError>(()) {\n",
};
