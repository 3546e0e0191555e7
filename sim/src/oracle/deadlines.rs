//! Oracle 3: timers and deadlines, neither early nor late.
//!
//! **Early** is exact: no timer fires, and no deadline expires, before its time (L5).
//!
//! **Late** is a matter of who had to see to it. Virtual time passes as the explorer pleases, a thread that
//! could run may be left waiting for long, and a goroutine may keep its worker for as long as it likes. So
//! lateness is not measured at the end but demanded of each thread at its own steps:
//!
//! * who sets a deadline has armed a timer for it by the time he goes on (L2);
//! * who has taken a timer out has carried it out by the time he goes on: the deadline has expired, unless it
//!   was set anew meanwhile (L2);
//! * a worker that runs a goroutine has, since it ran the one before, taken out of its own timers what was
//!   due by then: at most one slice of one goroutine lies between a timer and its worker (L2);
//! * the final poller blocks for no longer than it has to: until the earliest timer, which the kernel's
//!   milliseconds round up by less than one, counted from its last look at the clock (S29), and the 50 µs by
//!   which Linux's timers may be late;
//! * when all threads are blocked, one of them gets up for the earliest timer (L7, L8).
//!
//! So the *slack* of a timer is: one millisecond, and the kernel's own; plus the time that its poller was not let run between its
//! look at the clock and its call; plus, while its worker is kept by a goroutine and nobody else looks, the
//! 10 ms of oracle 9.

use netpoll::ops::Deadlines;
use netpoll::trace::{Event, Micros, Mode, TimerUse, WorkerPhase};
use netpoll_traces::{BlockedOn, Entry, Record, ThreadId, WorldEvent};

use super::facts::{Actor, Facts, Role, Stage, Thread, Timer};
use super::{About, Complaint, Idle, Look, Oracle, Verdict};
use crate::engine::SLACKS_NS;
use crate::explore::Property;

static ABOUT: About = About {
    number: 3,
    property: Property::Deadline,
    sentence: "no timer fires early, and none later than its worker and the poller can help",
};

/// The kernel waits in whole milliseconds.
const ROUNDING_NS: u64 = 1_000_000;
/// How late the kernel's own timers may be.
pub(super) const KERNEL_SLACK_NS: u64 = SLACKS_NS[SLACKS_NS.len() - 1];

/// Somebody sets a deadline, or ends a timer, and has not gone on yet.
#[derive(Clone, Copy, Debug)]
enum Duty {
    /// A timer stands for this deadline.
    Arm { pd: u32, serial: u64, mode: Mode, at_ns: i64 },
    /// The deadline expires for which the timer was armed.
    Expire { pd: u32, mode: Mode, setting: u64, worker: u32, number: u64 },
}

impl Duty {
    fn expires(&self, pd: u32, mode: Mode) -> bool {
        matches!(*self, Duty::Expire { pd: p, mode: m, .. } if (p, m) == (pd, mode))
    }
}

/// The time of the last record of a worker with which it gave up a goroutine, or got up.
#[derive(Clone, Copy, Debug, Default)]
struct Stop {
    t_ns: u64,
    seq: u64,
}

/// See the module documentation.
#[derive(Debug, Default)]
pub struct DeadlineOracle {
    duties: Vec<(ThreadId, Duty)>,
    /// By descriptor: how often its deadlines were set or forgotten.
    settings: Vec<u64>,
    /// Timers of descriptors, by worker and number, and the setting that each was armed under.
    armed_under: Vec<(u32, u64, u64)>,
    /// By thread.
    stops: Vec<Stop>,
    checks: u64,
}

impl Oracle for DeadlineOracle {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn checks(&self) -> u64 {
        self.checks
    }

    #[inline(always)]
    fn observe(&mut self, record: &Record, facts: &Facts, _: &dyn Look) -> Verdict {
        if !self.duties.is_empty() {
            self.go_on(record, facts)?;
        }
        match record.event {
            Entry::Runtime(event) => self.observe_event(record, facts, event),
            Entry::World(WorldEvent::Block { on: BlockedOn::Poll(_), until_ns }) => {
                self.blocks(record, facts, until_ns)
            }
            Entry::World(_) => Ok(()),
        }
    }

    fn idle(&mut self, idle: &Idle, facts: &Facts, _: &dyn Look) -> Verdict {
        let Some(timer) = facts.earliest_timer().filter(|_| !facts.is_stopped()) else {
            return Ok(());
        };
        self.checks += 1;
        let drift_ns = facts.threads().filter_map(|(_, it)| poller_drift_ns(it)).max();
        let slack_ns = ROUNDING_NS + KERNEL_SLACK_NS + drift_ns.unwrap_or(0);
        if idle.next_ns <= timer.at_ns.max(idle.now_ns).saturating_add(slack_ns) {
            return Ok(());
        }
        let (name, at, what) = (timer_name(timer), Micros(timer.at_ns), timer.what);
        let until = match idle.next_ns {
            u64::MAX => "for ever".to_string(),
            next_ns => format!("until t={}", Micros(next_ns)),
        };
        let what = format!("all threads sleep {until}, past timer {name} at t={at} ({what})");
        Err(Complaint::new("L7", what))
    }
}

fn timer_name(timer: &Timer) -> String {
    format!("w{}.{}", timer.worker, timer.number)
}

/// The time between a poller's last look at the clock and the moment at which it was blocked.
fn poller_drift_ns(thread: &Thread) -> Option<u64> {
    let Some(WorkerPhase::Polling { until_ns, delay_ns }) = thread.phase else {
        return None;
    };
    let is_blocked = matches!(thread.blocked, Some((BlockedOn::Poll(_), _)));
    let looked_ns = until_ns - delay_ns;
    (is_blocked && until_ns != u64::MAX).then(|| thread.blocked_ns.saturating_sub(looked_ns))
}

fn covers(which: Deadlines, mode: Mode) -> bool {
    match which {
        Deadlines::Read => mode == Mode::Read,
        Deadlines::Write => mode == Mode::Write,
        Deadlines::Both => true,
    }
}

impl DeadlineOracle {
    #[inline(always)]
    fn observe_event(&mut self, record: &Record, facts: &Facts, event: Event) -> Verdict {
        match event {
            Event::Deadline { pd, mode, at_ns, .. } => {
                *self.setting_of(pd) += 1;
                if at_ns > 0 {
                    let serial = facts.descriptor(pd).serial;
                    self.duties.push((record.thread, Duty::Arm { pd, serial, mode, at_ns }));
                }
                Ok(())
            }
            Event::Evict { pd, .. } => {
                *self.setting_of(pd) += 1;
                Ok(())
            }
            Event::Arm { worker, timer, what, .. } => {
                if let TimerUse::Deadline { pd, .. } = what {
                    let setting = *self.setting_of(pd);
                    self.armed_under.push((worker, timer, setting));
                }
                Ok(())
            }
            Event::Disarm { worker, timer } => {
                self.armed_under.retain(|it| (it.0, it.1) != (worker, timer));
                Ok(())
            }
            Event::Fire { worker, timer } => self.fire(record, facts, worker, timer),
            Event::Expired { pd, mode, .. } => self.expired(record, facts, pd, mode),
            Event::Run { g } => self.run(record, facts, g),
            Event::Park { .. } | Event::Yield { .. } | Event::Done { .. } => {
                self.stop(record, facts);
                Ok(())
            }
            Event::Worker { phase: WorkerPhase::Awake } => {
                self.stop(record, facts);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn setting_of(&mut self, pd: u32) -> &mut u64 {
        let index = pd as usize;
        if self.settings.len() <= index {
            self.settings.resize(index + 1, 0);
        }
        &mut self.settings[index]
    }

    fn stop(&mut self, record: &Record, facts: &Facts) {
        let index = usize::from(record.thread.0);
        if self.stops.len() <= index {
            self.stops.resize(index + 1, Stop::default());
        }
        self.stops[index] = Stop { t_ns: record.t_ns, seq: facts.seq };
    }

    // ---- early -----------------------------------------------------------------------------------------

    fn fire(&mut self, record: &Record, facts: &Facts, worker: u32, number: u64) -> Verdict {
        self.checks += 1;
        let who = || facts.name(record);
        let Some(&timer) = facts.timer(worker, number) else {
            let what = format!("{} fires timer w{worker}.{number}, which is not armed", who());
            return Err(Complaint::new("S10", what));
        };
        if record.t_ns < timer.at_ns {
            let (name, at) = (timer_name(&timer), Micros(timer.at_ns));
            let what = format!("{} fires timer {name} early: it is for t={at}", who());
            return Err(Complaint::new("L5", what));
        }
        let is_it = |it: &(u32, u64, u64)| (it.0, it.1) == (worker, number);
        let place = self.armed_under.iter().position(is_it);
        let setting = place.map(|place| self.armed_under.swap_remove(place).2);
        if let (TimerUse::Deadline { pd, which }, Some(setting)) = (timer.what, setting) {
            for mode in [Mode::Read, Mode::Write].into_iter().filter(|&mode| covers(which, mode)) {
                let duty = Duty::Expire { pd, mode, setting, worker, number };
                self.duties.push((record.thread, duty));
            }
        }
        Ok(())
    }

    fn expired(&mut self, record: &Record, facts: &Facts, pd: u32, mode: Mode) -> Verdict {
        self.checks += 1;
        self.duties.retain(|(by, duty)| *by != record.thread || !duty.expires(pd, mode));
        let descriptor = facts.descriptor(pd);
        let deadline_ns = descriptor.slot(mode).deadline_ns;
        if deadline_ns > 0 && deadline_ns.unsigned_abs() <= record.t_ns {
            return Ok(());
        }
        let (who, fd) = (facts.name(record), descriptor.fd);
        let is = match deadline_ns {
            0 => "which is not set".to_string(),
            ..0 => "which has passed before".to_string(),
            at => format!("which is t={}", Micros(at.unsigned_abs())),
        };
        let what = format!("{who} expires the {mode} deadline of fd{fd}, {is}");
        let g = descriptor.slot(mode).consumer.and_then(Actor::goroutine);
        Err(Complaint::new("L5", what).about(g, fd))
    }

    // ---- late ------------------------------------------------------------------------------------------

    /// A thread that has a duty makes another record: if that is no part of it, it must be done.
    fn go_on(&mut self, record: &Record, facts: &Facts) -> Verdict {
        let thread = record.thread;
        if !self.duties.iter().any(|(by, _)| *by == thread) || facts.is_part_of_waking(record) {
            return Ok(());
        }
        let (arming, expiring) = match record.event {
            // The rest of setting a deadline.
            Entry::Runtime(Event::Deadline { .. } | Event::Arm { .. } | Event::Disarm { .. }) => {
                (true, true)
            }
            // Several timers are taken out before the first is carried out.
            Entry::Runtime(
                Event::Fire { .. }
                | Event::Expired { .. }
                | Event::Slot { .. }
                | Event::Ready { .. }
                | Event::Waiters { .. },
            ) => (false, true),
            Entry::World(WorldEvent::Panic) => (true, true),
            _ => (false, false),
        };
        let is_over = |&(by, duty): &(ThreadId, Duty)| {
            let goes_on = match duty {
                Duty::Arm { .. } => arming,
                Duty::Expire { .. } => expiring,
            };
            by == thread && !goes_on
        };
        while let Some(place) = self.duties.iter().position(is_over) {
            self.checks += 1;
            let (_, duty) = self.duties.remove(place);
            self.is_done(record, facts, duty)?;
        }
        Ok(())
    }

    fn is_done(&mut self, record: &Record, facts: &Facts, duty: Duty) -> Verdict {
        let thread = &facts.thread(record.thread).name;
        match duty {
            Duty::Arm { pd, serial, mode, at_ns } => {
                let descriptor = facts.descriptor(pd);
                let slot = descriptor.slot(mode);
                let is_as_set = descriptor.serial == serial
                    && !descriptor.is_closing
                    && slot.deadline_ns == at_ns;
                let is_armed = |timer: &Timer| match timer.what {
                    TimerUse::Deadline { pd: it, which } => {
                        it == pd && covers(which, mode) && timer.at_ns == at_ns.unsigned_abs()
                    }
                    TimerUse::Park { .. } => false,
                };
                let fires = |(_, duty): &(ThreadId, Duty)| duty.expires(pd, mode);
                let is_kept = facts.timers().iter().any(is_armed) || self.duties.iter().any(fires);
                if !is_as_set || is_kept || self.is_being_set(record.thread, pd) {
                    return Ok(());
                }
                let (fd, at) = (descriptor.fd, Micros(at_ns.unsigned_abs()));
                let what = format!(
                    "{thread} set the {mode} deadline of fd{fd} to t={at} and armed no timer"
                );
                let g = slot.consumer.and_then(Actor::goroutine);
                Err(Complaint::new("L2", what).about(g, fd))
            }
            Duty::Expire { pd, mode, setting, worker, number } => {
                // What was set anew has another timer, and this one is of an earlier generation (S10).
                if *self.setting_of(pd) != setting {
                    return Ok(());
                }
                let fd = facts.descriptor(pd).fd;
                let what = format!(
                    "{thread} fired timer w{worker}.{number} and did not expire the {mode} deadline of fd{fd}"
                );
                Err(Complaint::new("L2", what))
            }
        }
    }

    /// Whether another thread is in the middle of setting a deadline of this descriptor.
    fn is_being_set(&self, but: ThreadId, pd: u32) -> bool {
        let sets = |duty: &Duty| matches!(*duty, Duty::Arm { pd: it, .. } if it == pd);
        self.duties.iter().any(|(by, duty)| *by != but && sets(duty))
    }

    /// A worker takes up a goroutine: what was due when it gave up the last one has been taken out.
    fn run(&mut self, record: &Record, facts: &Facts, g: u64) -> Verdict {
        let Role::Worker(worker) = facts.thread(record.thread).role else {
            return Ok(());
        };
        let stop = self.stops.get(usize::from(record.thread.0)).copied().unwrap_or_default();
        let is_overdue = |timer: &&Timer| {
            let is_seen = timer.is_seen(record.thread, stop.seq);
            timer.worker == worker && timer.at_ns <= stop.t_ns && is_seen
        };
        // A goroutine whose park was abandoned goes on at once.
        if matches!(facts.goroutine(g).stage, Stage::Running(_)) {
            return Ok(());
        }
        self.checks += 1;
        let Some(timer) = facts.timers().iter().find(is_overdue) else {
            return Ok(());
        };
        let (name, at, what) = (timer_name(timer), Micros(timer.at_ns), timer.what);
        let what = format!("w{worker} runs g{g} before its timer {name} of t={at} ({what})");
        Err(Complaint::new("L2", what))
    }

    /// The final poller blocks.
    fn blocks(&mut self, record: &Record, facts: &Facts, until_ns: u64) -> Verdict {
        let Some(WorkerPhase::Polling { delay_ns, until_ns: timer_ns }) =
            facts.thread(record.thread).phase
        else {
            return Ok(());
        };
        if timer_ns == u64::MAX {
            return Ok(());
        }
        self.checks += 1;
        let longest_ns = delay_ns.max(ROUNDING_NS).saturating_add(KERNEL_SLACK_NS);
        let longest_ns = record.t_ns.saturating_add(longest_ns);
        if until_ns <= longest_ns {
            return Ok(());
        }
        let thread = &facts.thread(record.thread).name;
        let (until, at) = (Micros(until_ns), Micros(timer_ns));
        let what = format!("{thread} polls until t={until} and has to be back at t={at}");
        Err(Complaint::new("S29", what))
    }
}
