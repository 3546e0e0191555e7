//! The table of virtual threads.
//!
//! | state      | left by | to |
//! |------------|---------|----|
//! | `Runnable` | the thread itself, at [`block`](Threads::block) | `Blocked` |
//! | `Runnable` | the thread itself, when its body returns | `Ended` |
//! | `Blocked`  | any thread or the kernel, at [`wake`](Threads::wake) | `Runnable` |
//! | `Blocked`  | the clock, at [`expire`](Threads::expire) | `Runnable`, timed out |
//! | any | the end of its host, at [`kill`](Threads::kill) | `Ended` |
//! | `Ended`    | nobody | |

use std::cell::{Cell, RefCell};
use std::{mem, ptr};

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult, Yielder};
use netpoll_traces::{BlockedOn, ThreadId};

use super::{NEVER, stacks};
use crate::kernel::HostId;

/// A virtual thread as the engine resumes it.
pub(super) type Fiber = Coroutine<(), (), (), DefaultStack>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Runnable,
    Blocked { on: BlockedOn, deadline_ns: u64 },
    Ended,
}

/// Whose code runs on the stack of a thread. Goroutines, which have stacks of their own, do not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frames {
    /// The runtime's and the simulator's, which lend nothing on it to anybody.
    Own,
    /// The program's as well, which may lend what is there to a thread of the operating system.
    Any,
}

impl Frames {
    /// Those of a thread with this name: workers and sysmon run the scheduler, the pool's threads what they are given.
    pub(super) fn of(name: &str) -> Frames {
        let is_worker = name.strip_prefix("netpoll-w").is_some_and(|it| it.parse::<u32>().is_ok());
        if is_worker || name == "netpoll-sysmon" { Frames::Own } else { Frames::Any }
    }
}

struct Slot {
    host: HostId,
    frames: Frames,
    state: State,
    /// Stands still: it is not among the runnable ones, though it may be runnable.
    is_paused: bool,
    /// Whether the last block ended by its deadline.
    timed_out: bool,
    /// Absent while the thread runs and after it has ended.
    fiber: Option<Fiber>,
    /// Where the thread suspends itself; null until it has first run.
    yielder: *const Yielder<(), ()>,
}

/// All virtual threads of a run.
pub(super) struct Threads {
    slots: RefCell<Vec<Slot>>,
    /// E1.
    runnable: RefCell<Vec<u16>>,
    current: Cell<u16>,
}

/// Room for the threads of most runs.
const FEW: usize = 8;

impl Default for Threads {
    fn default() -> Threads {
        Threads {
            slots: RefCell::new(Vec::with_capacity(FEW)),
            runnable: RefCell::new(Vec::with_capacity(FEW)),
            current: Cell::new(0),
        }
    }
}

impl Threads {
    /// Adds a runnable thread.
    pub(super) fn add(&self, host: HostId, frames: Frames, body: Box<dyn FnOnce()>) -> ThreadId {
        let mut slots = self.slots.borrow_mut();
        let id = u16::try_from(slots.len()).expect("at most 65,534 threads");
        assert!(id < ThreadId::KERNEL.0, "at most 65,534 threads");
        let fiber = Fiber::with_stack(stacks::take(), move |yielder, ()| {
            super::inside("running a virtual thread", |engine| {
                engine.threads.slots.borrow_mut()[usize::from(id)].yielder = yielder;
            });
            body();
        });
        slots.push(Slot {
            host,
            frames,
            state: State::Runnable,
            is_paused: false,
            timed_out: false,
            fiber: Some(fiber),
            yielder: ptr::null(),
        });
        self.runnable.borrow_mut().push(id); // the highest id so far
        ThreadId(id)
    }

    /// The thread that runs.
    #[inline]
    pub(super) fn current(&self) -> ThreadId {
        ThreadId(self.current.get())
    }

    /// Whether nobody but the running thread could run.
    #[inline]
    pub(super) fn is_alone(&self) -> bool {
        self.runnable.borrow().len() == 1
    }

    /// Whether nobody could run.
    pub(super) fn is_stuck(&self) -> bool {
        self.runnable.borrow().is_empty()
    }

    /// Calls `pick` with the runnable threads and the index of the running one, or of the one after
    /// it if it is not runnable (which may be one past the end).
    #[inline]
    pub(super) fn with_runnable<R>(&self, pick: impl FnOnce(&[u16], usize) -> R) -> R {
        let runnable = self.runnable.borrow();
        let index = match runnable.binary_search(&self.current.get()) {
            Ok(index) | Err(index) => index,
        };
        pick(&runnable, index)
    }

    /// Makes `thread` the running one. The caller then suspends or resumes accordingly.
    #[inline]
    pub(super) fn set_current(&self, thread: u16) {
        self.current.set(thread);
    }

    /// Suspends the running thread; returns when it has been resumed.
    #[inline]
    pub(super) fn suspend(&self, thread: u16) {
        let yielder = self.slots.borrow()[usize::from(thread)].yielder;
        // SAFETY: the yielder stands on the stack of `thread`, which is the caller, so it has run and
        // has not ended. It may be the caller by way of a goroutine nested in it: suspending from
        // there saves the inner stack pointer, and resuming returns to it.
        unsafe { (*yielder).suspend(()) };
    }

    /// Resumes the thread that is the running one. True when it has ended.
    pub(super) fn resume_current(&self) -> bool {
        let index = usize::from(self.current.get());
        let fiber = self.slots.borrow_mut()[index].fiber.take();
        let mut fiber = fiber.expect("a runnable thread is suspended or new");
        let result = fiber.resume(());
        // The thread that suspended itself is the one that was resumed: switches go through here.
        let mut slots = self.slots.borrow_mut();
        match result {
            CoroutineResult::Yield(()) => {
                slots[index].fiber = Some(fiber);
                false
            }
            CoroutineResult::Return(()) => {
                slots[index].state = State::Ended;
                slots[index].yielder = ptr::null();
                drop(slots);
                self.runnable.borrow_mut().retain(|&id| usize::from(id) != index);
                stacks::give(fiber.into_stack());
                true
            }
        }
    }

    /// Marks the running thread blocked.
    pub(super) fn block(&self, on: BlockedOn, deadline_ns: u64) {
        let id = self.current.get();
        let slot = &mut self.slots.borrow_mut()[usize::from(id)];
        assert_eq!(slot.state, State::Runnable, "E1: a blocked thread runs");
        slot.state = State::Blocked { on, deadline_ns };
        slot.timed_out = false;
        self.runnable.borrow_mut().retain(|&other| other != id);
    }

    /// Whether the deadline ended the last block of the running thread.
    pub(super) fn timed_out(&self) -> bool {
        self.slots.borrow()[usize::from(self.current.get())].timed_out
    }

    /// Makes a thread runnable if it is blocked.
    pub(super) fn wake(&self, thread: ThreadId) {
        let slot = &mut self.slots.borrow_mut()[usize::from(thread.0)];
        if matches!(slot.state, State::Blocked { .. }) {
            slot.state = State::Runnable;
            self.make_runnable(thread.0, slot);
        }
    }

    /// Makes all threads runnable that wait for `what`.
    pub(super) fn wake_all(&self, what: BlockedOn) {
        for (id, slot) in self.slots.borrow_mut().iter_mut().enumerate() {
            if matches!(slot.state, State::Blocked { on, .. } if on == what) {
                slot.state = State::Runnable;
                self.make_runnable(id as u16, slot);
            }
        }
    }

    /// Makes all threads runnable whose deadline has passed, and returns the earliest one left.
    pub(super) fn expire(&self, now_ns: u64) -> u64 {
        let mut earliest_ns = NEVER;
        for (id, slot) in self.slots.borrow_mut().iter_mut().enumerate() {
            let State::Blocked { deadline_ns, .. } = slot.state else {
                continue;
            };
            if deadline_ns > now_ns {
                earliest_ns = earliest_ns.min(deadline_ns);
                continue;
            }
            slot.state = State::Runnable;
            slot.timed_out = true;
            self.make_runnable(id as u16, slot);
        }
        earliest_ns
    }

    fn make_runnable(&self, id: u16, slot: &Slot) {
        if slot.is_paused {
            return;
        }
        let mut runnable = self.runnable.borrow_mut();
        let index = runnable.binary_search(&id).expect_err("E1: was blocked");
        runnable.insert(index, id);
    }

    /// How many threads of a host have not ended.
    pub(super) fn unended(&self, host: HostId) -> usize {
        let slots = self.slots.borrow();
        slots.iter().filter(|slot| slot.host == host && slot.state != State::Ended).count()
    }

    /// How many threads there have been.
    pub(super) fn count(&self) -> usize {
        self.slots.borrow().len()
    }

    /// The host that a thread belongs to.
    #[inline]
    pub(super) fn host_of(&self, thread: ThreadId) -> HostId {
        self.slots.borrow()[usize::from(thread.0)].host
    }

    /// Ends all threads of a host but one, as if each stood still for ever. Who waits for the end of one goes on.
    pub(super) fn kill(&self, host: HostId, spared: Option<ThreadId>) {
        let mut ended = Vec::new();
        for (id, slot) in self.slots.borrow_mut().iter_mut().enumerate() {
            let id = ThreadId(id as u16);
            if slot.host == host && slot.state != State::Ended && spared != Some(id) {
                slot.state = State::Ended;
                ended.push(id);
            }
        }
        self.runnable.borrow_mut().retain(|&id| !ended.contains(&ThreadId(id)));
        for id in ended {
            self.wake_all(BlockedOn::Join(id));
        }
    }

    /// Leaves the threads of a host out when somebody is picked, or no more.
    pub(super) fn set_paused(&self, host: HostId, is_paused: bool) {
        for (id, slot) in self.slots.borrow_mut().iter_mut().enumerate() {
            if slot.host != host || slot.is_paused == is_paused {
                continue;
            }
            slot.is_paused = is_paused;
            let id = id as u16;
            match (slot.state, is_paused) {
                (State::Runnable, true) => self.runnable.borrow_mut().retain(|&it| it != id),
                (State::Runnable, false) => self.make_runnable(id, slot),
                _ => {}
            }
        }
    }

    /// Whether a thread has ended.
    pub(super) fn has_ended(&self, thread: ThreadId) -> bool {
        self.slots.borrow()[usize::from(thread.0)].state == State::Ended
    }

    /// Whether a thread is blocked.
    pub(super) fn is_blocked(&self, thread: ThreadId) -> bool {
        let slots = self.slots.borrow();
        let slot = slots.get(usize::from(thread.0));
        slot.is_some_and(|slot| matches!(slot.state, State::Blocked { .. }))
    }

    /// The blocked threads and what they wait for, in the order of their ids.
    pub(super) fn blocked(&self) -> Vec<(ThreadId, BlockedOn)> {
        let slots = self.slots.borrow();
        let blocked = slots.iter().enumerate().filter_map(|(id, slot)| match slot.state {
            State::Blocked { on, .. } => Some((ThreadId(id as u16), on)),
            _ => None,
        });
        blocked.collect()
    }

    /// Takes the stacks of all threads back that have not ended, where the program lent nothing; returns how many of
    /// the threads are not the main thread. See E4 for what that means.
    pub(super) fn abandon(&self) -> usize {
        let mut others = 0;
        for (id, slot) in self.slots.take().into_iter().enumerate() {
            let Some(mut fiber) = slot.fiber else {
                continue;
            };
            others += usize::from(id != 0 && slot.host == HostId::TEST);
            if slot.frames == Frames::Any {
                mem::forget(fiber);
                continue;
            }
            // SAFETY: as if the thread stood still for ever (E4); nothing on its stack is read,
            // dropped or run again, and nothing there was lent to whoever goes on.
            unsafe { fiber.force_reset() };
            stacks::give(fiber.into_stack());
        }
        others
    }
}
