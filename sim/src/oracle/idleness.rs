//! Oracle 7: nobody runs in circles.
//!
//! L18: a system in which nothing happens takes no steps. Three loops could go on for ever without anybody
//! noticing, but for the processor's heat, and each is held to a bound that its protocol justifies:
//!
//! * **polls**: a thread that polls and finds nothing goes to sleep, or finds work elsewhere. Between two
//!   of its useful steps (it ran a goroutine, fired a timer, dispatched an event, slept for a while) a thread
//!   makes no more than [`POLLS_MAX`] polls that bring nothing.
//! * **naps**: a poll that ends by its time ends for a timer, or half a millisecond before one. Without any
//!   timer that is armed, fired or stopped there are no more than [`NAPS_MAX`] of them.
//! * **breaks**: a break is sent for something: a timer, a goroutine that became runnable, a search that
//!   is passed on, a stop. Between two such steps a thread sends no more than [`BREAKS_MAX`]; and none for a timer
//!   when the poller has said that it comes back by then anyway (golang/go#41699).
//! * **sysmon**: 50 rounds of 20 µs, then ever longer ones up to 10 ms, then none until a worker gets up. In a
//!   time in which only sysmon makes records it makes no more rounds than that.

use netpoll::trace::{Event, WorkerPhase};
use netpoll_traces::{BlockedOn, Entry, Record, ThreadId, WorldEvent};

use super::facts::{Facts, Role};
use super::{About, Complaint, Look, Oracle, Verdict};
use crate::explore::Property;

static ABOUT: About = About {
    number: 7,
    property: Property::Idleness,
    sentence: "polls, breaks and rounds of sysmon that bring nothing are few",
};

/// A scheduling round polls twice at most (the quick poll, the final poll), and a worker that found work at
/// another's and lost the race for it makes another round: as often as others are quicker.
pub const POLLS_MAX: u32 = 64;
/// One before the timer, because milliseconds are rounded down, one for it, one that comes too late for it.
pub const NAPS_MAX: u32 = 3;
/// One for each worker that a shutdown or a start of the world wakes, of which one is in the final poll.
pub const BREAKS_MAX: u32 = 4;
/// 51 rounds of 20 µs and 9 longer ones up to 10 ms, with room for parks that end for no reason.
pub const ROUNDS_MAX: u64 = 128;
/// Rounds of 10 ms go on while a worker is in a goroutine that makes no records.
const PAUSE_NS_MAX: u64 = 10_000_000;

/// What one thread has done since its last useful step.
#[derive(Clone, Copy, Debug, Default)]
struct Circles {
    polls: u32,
    breaks: u32,
    blocked_ns: u64,
    /// Whether its last block was in the kernel's poll and ended by its time.
    timed_out: bool,
    /// Whether the last that it did was to arm a timer before which the poller is back.
    armed_in_time: bool,
}

/// See the module documentation.
#[derive(Debug, Default)]
pub struct Idleness {
    /// By thread.
    circles: Vec<Circles>,
    /// Polls that ended by their time since a timer was armed, fired or stopped.
    naps: u32,
    /// Rounds of sysmon since somebody else made a record, and since when.
    rounds: u64,
    quiet_since_ns: u64,
    checks: u64,
}

impl Oracle for Idleness {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn checks(&self) -> u64 {
        self.checks
    }

    #[inline(always)]
    fn observe(&mut self, record: &Record, facts: &Facts, _: &dyn Look) -> Verdict {
        let thread = facts.thread(record.thread);
        if thread.role != Role::Sysmon {
            (self.rounds, self.quiet_since_ns) = (0, record.t_ns);
        }
        if matches!(thread.phase, Some(WorkerPhase::Polling { .. })) {
            // The poller goes on: what an armer reads of it is no longer what it said.
            self.circles.iter_mut().for_each(|circles| circles.armed_in_time = false);
        }
        match record.event {
            Entry::World(WorldEvent::Block { on, .. }) => self.blocks(record, facts, on),
            Entry::World(WorldEvent::Resume { timed_out }) => {
                let on = facts.thread(record.thread).blocked.map(|(on, _)| on);
                let circles = self.of(record.thread);
                circles.timed_out = timed_out && matches!(on, Some(BlockedOn::Poll(_)));
                if record.t_ns > circles.blocked_ns + 1_000 {
                    (circles.polls, circles.breaks) = (0, 0);
                }
                Ok(())
            }
            Entry::World(_) => Ok(()),
            Entry::Runtime(event) => self.observe_event(record, facts, event),
        }
    }
}

impl Idleness {
    fn of(&mut self, thread: ThreadId) -> &mut Circles {
        let index = usize::from(thread.0);
        if self.circles.len() <= index {
            self.circles.resize(index + 1, Circles::default());
        }
        &mut self.circles[index]
    }

    #[inline(always)]
    fn observe_event(&mut self, record: &Record, facts: &Facts, event: Event) -> Verdict {
        let circles = self.of(record.thread);
        let was_in_time = std::mem::take(&mut circles.armed_in_time);
        if let Event::Arm { at_ns, .. } = event {
            circles.armed_in_time = facts.threads().any(|(_, thread)| {
                let is_back = matches!(
                    thread.phase,
                    Some(WorkerPhase::Polling { until_ns, .. }) if until_ns <= at_ns
                );
                is_back && matches!(thread.blocked, Some((BlockedOn::Poll(_), _)))
            });
        }
        match event {
            Event::Break { .. } if was_in_time => {
                let thread = &facts.thread(record.thread).name;
                let what =
                    format!("{thread} breaks the poll for a timer for which the poller is in time");
                return Err(Complaint::new("L8", what));
            }
            Event::Run { .. } | Event::Dispatch { .. } | Event::Stale { .. } => {
                (circles.polls, circles.breaks) = (0, 0);
            }
            Event::Fire { .. } | Event::Arm { .. } | Event::Disarm { .. } => {
                (circles.polls, circles.breaks) = (0, 0);
                self.naps = 0;
            }
            Event::Go { .. }
            | Event::Ready { .. }
            | Event::Slot { .. }
            | Event::Worker { .. }
            | Event::World { .. } => circles.breaks = 0,
            Event::Syscall { name: "epoll_wait", result, .. } => {
                circles.polls += 1;
                let polls = circles.polls;
                let is_nap = std::mem::take(&mut circles.timed_out) && result == Ok(0);
                self.checks += 1;
                self.naps += u32::from(is_nap);
                if self.naps > NAPS_MAX {
                    let (thread, naps) = (&facts.thread(record.thread).name, self.naps);
                    let what = format!("{thread} gets up the {naps}th time for no timer");
                    return Err(Complaint::new("L18", what));
                }
                if polls > POLLS_MAX {
                    let thread = &facts.thread(record.thread).name;
                    let what = format!("{thread} has polled {polls} times and done nothing else");
                    return Err(Complaint::new("L18", what));
                }
            }
            Event::Break { sent: true } => {
                circles.breaks += 1;
                let breaks = circles.breaks;
                self.checks += 1;
                if breaks > BREAKS_MAX {
                    let thread = &facts.thread(record.thread).name;
                    let what = format!("{thread} has sent {breaks} breaks and done nothing else");
                    return Err(Complaint::new("L18", what));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn blocks(&mut self, record: &Record, facts: &Facts, on: BlockedOn) -> Verdict {
        self.of(record.thread).blocked_ns = record.t_ns;
        let is_sysmon = facts.thread(record.thread).role == Role::Sysmon;
        if !is_sysmon || !matches!(on, BlockedOn::Parker(_)) {
            return Ok(());
        }
        self.rounds += 1;
        self.checks += 1;
        let quiet_ns = record.t_ns - self.quiet_since_ns;
        let (rounds, most) = (self.rounds, ROUNDS_MAX + 2 * (quiet_ns / PAUSE_NS_MAX));
        if rounds <= most {
            return Ok(());
        }
        let ms = quiet_ns / 1_000_000;
        let what = format!("sysmon has made {rounds} rounds in {ms} ms in which nothing happened");
        Err(Complaint::new("L18", what))
    }
}
