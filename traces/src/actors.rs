//! Who acts in a trace: threads and goroutines, and what each of them is doing at any moment.
//!
//! A trace names no states, only what changed them. This module replays the changes once, so that
//! every picture draws the same lines: a [`Lane`] for each thread and each goroutine, with the
//! [`Stretch`]es of its life.
//!
//! A trace may have lost its beginning ([`Keep::Last`](crate::Keep::Last)). Whoever is seen in the
//! middle of something then begins where it is first seen: a record that carries a goroutine says that
//! this goroutine runs on that thread.

use std::collections::BTreeMap;

use netpoll::trace::{Event, WaitReason, WorkerPhase};

use crate::{BlockedOn, Entry, Record, ThreadId, Trace, WorldEvent};

/// Something that acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Actor {
    /// A thread; [`ThreadId::KERNEL`] is the kernel.
    Thread(ThreadId),
    /// A goroutine, by its number.
    Goroutine(u64),
}

/// What an actor is doing for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// A thread runs this goroutine.
    Running(u64),
    /// A worker has nothing to run.
    Phase(WorkerPhase),
    /// A thread cannot go on.
    Blocked(BlockedOn),
    /// A goroutine runs on this thread.
    On(ThreadId),
    /// A goroutine could run and waits for a worker.
    Runnable,
    /// A goroutine waits for something.
    Parked(WaitReason),
}

impl Doing {
    /// What a picture writes at a stretch: `g7`, `polling`, `lock #3`, `w0`, `runnable`, `read fd4`.
    #[must_use]
    pub fn label(&self, trace: &Trace) -> String {
        match self {
            Doing::Running(g) => format!("g{g}"),
            Doing::Phase(WorkerPhase::Polling { .. }) => "polling".to_string(),
            Doing::Phase(phase) => phase.to_string(),
            Doing::Blocked(BlockedOn::Join(thread)) => {
                format!("end of {}", trace.thread_name(*thread))
            }
            Doing::Blocked(on) => on.to_string(),
            Doing::On(thread) => trace.thread_name(*thread).to_string(),
            Doing::Runnable => "runnable".to_string(),
            Doing::Parked(on) => on.to_string(),
        }
    }
}

/// A part of an actor's life, between two records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// The index of the record that began it.
    pub from: usize,
    /// The index of the record that ended it; the number of records when nothing did.
    pub to: usize,
    /// What went on.
    pub doing: Doing,
}

/// The line of one actor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane {
    /// Whose line it is.
    pub actor: Actor,
    /// The first record that shows it alive.
    pub from: usize,
    /// The record of its end; the number of records when it has none.
    pub to: usize,
    /// What it was doing, in order and without overlaps; a gap is a thread that is busy with itself.
    pub stretches: Vec<Stretch>,
    /// For threads: where it could not go on. Each lies within one stretch or one gap.
    pub blocks: Vec<Stretch>,
}

impl Lane {
    /// Its name: `w0`, `kernel`, `g7`.
    #[must_use]
    pub fn name(&self, trace: &Trace) -> String {
        match self.actor {
            Actor::Thread(thread) => trace.thread_name(thread).to_string(),
            Actor::Goroutine(g) => format!("g{g}"),
        }
    }
}

/// The lines of a trace, and which of them each record lies on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actors {
    /// The kernel if it did anything, then the threads by number, then the goroutines by number.
    pub lanes: Vec<Lane>,
    /// For each record, the index of its lane: that of its goroutine if it has one, or of its thread.
    pub of: Vec<usize>,
}

impl Actors {
    /// Who acts in `trace`.
    #[must_use]
    pub fn of(trace: &Trace) -> Actors {
        let mut cast = Cast::new(trace);
        for (at, record) in trace.records.iter().enumerate() {
            cast.take(at, record);
        }
        cast.finish()
    }

    /// The lane of an actor.
    #[must_use]
    pub fn lane(&self, actor: Actor) -> Option<usize> {
        self.lanes.iter().position(|lane| lane.actor == actor)
    }
}

/// The lanes while the trace is read.
struct Cast {
    end: usize,
    lanes: Vec<Lane>,
    of: Vec<usize>,
    places: BTreeMap<Actor, usize>,
    /// What each lane is doing, since when.
    now: Vec<Option<(usize, Doing)>>,
    /// What each lane is blocked on, since when.
    blocked: Vec<Option<(usize, Doing)>>,
}

impl Cast {
    fn new(trace: &Trace) -> Cast {
        let end = trace.records.len();
        let kernel = trace.records.iter().any(|record| record.thread == ThreadId::KERNEL);
        let kernel = kernel.then_some(ThreadId::KERNEL);
        let threads = kernel
            .into_iter()
            .chain((0..trace.thread_count() as u16).map(ThreadId))
            .map(Actor::Thread);
        let seen = trace.records.iter().flat_map(|record| [record.g, record.event.goroutine()]);
        let mut gs: Vec<u64> = Vec::new();
        for g in seen.flatten() {
            // Runs of the same number are the rule: most of them never reach the sort.
            if gs.last() != Some(&g) {
                gs.push(g);
            }
        }
        gs.sort_unstable();
        gs.dedup();
        let actors = threads.chain(gs.into_iter().map(Actor::Goroutine));
        let lanes: Vec<Lane> = actors
            .map(|actor| Lane {
                actor,
                from: end,
                to: end,
                stretches: Vec::new(),
                blocks: Vec::new(),
            })
            .collect();
        let places = lanes.iter().enumerate().map(|(place, lane)| (lane.actor, place)).collect();
        let (now, blocked) = (vec![None; lanes.len()], vec![None; lanes.len()]);
        Cast { end, of: Vec::with_capacity(end), places, now, blocked, lanes }
    }

    fn place(&self, actor: Actor) -> usize {
        self.places[&actor]
    }

    fn take(&mut self, at: usize, record: &Record) {
        let thread = self.place(Actor::Thread(record.thread));
        self.is_alive(thread, at);
        let lane = record.g.map_or(thread, |g| self.place(Actor::Goroutine(g)));
        self.of.push(lane);
        // A run, and a park that is abandoned, carry their goroutine as every record after them does.
        if let Some(g) = record.g {
            self.runs(at, thread, g, record.thread);
        }
        match record.event {
            Entry::Runtime(event) => self.runtime(at, thread, event),
            Entry::World(event) => self.world(at, thread, event),
        }
    }

    fn runtime(&mut self, at: usize, thread: usize, event: Event) {
        match event {
            Event::Go { g } => self.goroutine(at, g, Doing::Runnable),
            Event::Yield { g } => {
                self.change(at, thread, None);
                self.goroutine(at, g, Doing::Runnable);
            }
            Event::Park { g, on } => {
                self.change(at, thread, None);
                self.goroutine(at, g, Doing::Parked(on));
            }
            Event::Ready { g } => self.goroutine(at, g, Doing::Runnable),
            Event::Done { g } => {
                self.change(at, thread, None);
                let place = self.place(Actor::Goroutine(g));
                self.ends(at, place);
            }
            Event::Worker { phase: WorkerPhase::Awake } => self.change(at, thread, None),
            Event::Worker { phase } => self.change(at, thread, Some(Doing::Phase(phase))),
            _ => {}
        }
    }

    fn world(&mut self, at: usize, thread: usize, event: WorldEvent) {
        match event {
            WorldEvent::Spawn { thread } => {
                if let Some(&place) = self.places.get(&Actor::Thread(thread)) {
                    self.is_alive(place, at);
                }
            }
            WorldEvent::Exit => self.ends(at, thread),
            WorldEvent::Block { on, .. } => {
                self.unblock(at, thread);
                self.blocked[thread] = Some((at, Doing::Blocked(on)));
            }
            WorldEvent::Resume { .. } => self.unblock(at, thread),
            _ => {}
        }
    }

    fn is_alive(&mut self, place: usize, at: usize) {
        let lane = &mut self.lanes[place];
        lane.from = lane.from.min(at);
    }

    /// Goroutine `g` runs on a thread, from here on unless it did already.
    fn runs(&mut self, at: usize, thread: usize, g: u64, id: ThreadId) {
        let is_running = matches!(self.now[thread], Some((_, Doing::Running(other))) if other == g);
        if !is_running {
            self.change(at, thread, Some(Doing::Running(g)));
            self.goroutine(at, g, Doing::On(id));
        }
    }

    fn goroutine(&mut self, at: usize, g: u64, doing: Doing) {
        let place = self.place(Actor::Goroutine(g));
        self.is_alive(place, at);
        self.change(at, place, Some(doing));
    }

    /// A lane does something else from record `at` on.
    fn change(&mut self, at: usize, place: usize, doing: Option<Doing>) {
        let doing = doing.map(|doing| (at, doing));
        if let Some((from, doing)) = std::mem::replace(&mut self.now[place], doing)
            && from < at
        {
            self.lanes[place].stretches.push(Stretch { from, to: at, doing });
        }
    }

    fn unblock(&mut self, at: usize, place: usize) {
        if let Some((from, doing)) = self.blocked[place].take() {
            self.lanes[place].blocks.push(Stretch { from, to: at, doing });
        }
    }

    fn ends(&mut self, at: usize, place: usize) {
        self.change(at, place, None);
        self.unblock(at, place);
        self.lanes[place].to = at;
    }

    fn finish(mut self) -> Actors {
        for place in 0..self.lanes.len() {
            self.change(self.end, place, None);
            self.unblock(self.end, place);
        }
        Actors { lanes: self.lanes, of: self.of }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Keep, Recorder};
    use netpoll::trace::Mode;

    const W0: ThreadId = ThreadId(1);
    const READ: WaitReason = WaitReason::Io(4, Mode::Read);

    fn trace(keep: Keep, events: &[(ThreadId, Entry)]) -> Trace {
        let mut recorder = Recorder::new(keep);
        recorder.add_thread("main");
        recorder.add_thread("netpoll-w0");
        for (thread, event) in events {
            recorder.record(0, *thread, event);
        }
        recorder.finish()
    }

    fn stretches(actors: &Actors, actor: Actor) -> Vec<(usize, usize, Doing)> {
        let lane = &actors.lanes[actors.lane(actor).expect("it acts")];
        lane.stretches.iter().map(|s| (s.from, s.to, s.doing)).collect()
    }

    fn life(g: u64) -> [(ThreadId, Entry); 6] {
        [
            (ThreadId::MAIN, Event::Go { g }.into()),
            (W0, Event::Run { g }.into()),
            (W0, Event::Park { g, on: READ }.into()),
            (ThreadId::MAIN, Event::Ready { g }.into()),
            (W0, Event::Run { g }.into()),
            (W0, Event::Done { g }.into()),
        ]
    }

    #[test]
    fn a_goroutine_is_runnable_runs_and_is_parked_in_turn() {
        let actors = Actors::of(&trace(Keep::All, &life(7)));
        let expected = [
            (0, 1, Doing::Runnable),
            (1, 2, Doing::On(W0)),
            (2, 3, Doing::Parked(READ)),
            (3, 4, Doing::Runnable),
            (4, 5, Doing::On(W0)),
        ];
        assert_eq!(stretches(&actors, Actor::Goroutine(7)), expected);
        let running = [(1, 2, Doing::Running(7)), (4, 5, Doing::Running(7))];
        assert_eq!(stretches(&actors, Actor::Thread(W0)), running);
        let lane = &actors.lanes[actors.lane(Actor::Goroutine(7)).expect("it acts")];
        assert_eq!((lane.from, lane.to), (0, 5));
    }

    #[test]
    fn records_lie_on_the_lane_of_their_goroutine_or_else_of_their_thread() {
        let events = [(ThreadId::KERNEL, WorldEvent::Healed.into())];
        let events = [&life(7)[..], &events].concat();
        let trace = trace(Keep::All, &events);
        let actors = Actors::of(&trace);
        let names: Vec<_> = actors.of.iter().map(|&lane| actors.lanes[lane].name(&trace)).collect();
        assert_eq!(names, ["main", "g7", "g7", "main", "g7", "g7", "kernel"]);
        let order: Vec<_> = actors.lanes.iter().map(|lane| lane.name(&trace)).collect();
        assert_eq!(order, ["kernel", "main", "w0", "g7"]);
    }

    #[test]
    fn an_abandoned_park_is_a_run_that_goes_on() {
        let park = (W0, Event::Park { g: 7, on: READ }.into());
        let events = [life(7)[1], park, (W0, Event::Abandon { g: 7 }.into())];
        let actors = Actors::of(&trace(Keep::All, &events));
        let expected = [(0, 1, Doing::On(W0)), (1, 2, Doing::Parked(READ)), (2, 3, Doing::On(W0))];
        assert_eq!(stretches(&actors, Actor::Goroutine(7)), expected);
    }

    #[test]
    fn who_is_seen_in_the_middle_of_something_begins_there() {
        let used = (W0, Event::Use { fd: 4, pd: 0 }.into());
        let events = [life(7)[0], life(7)[1], used, used, life(7)[2]];
        let actors = Actors::of(&trace(Keep::Last(2), &events));
        let expected = [(0, 1, Doing::On(W0)), (1, 2, Doing::Parked(READ))];
        assert_eq!(stretches(&actors, Actor::Goroutine(7)), expected);
    }

    #[test]
    fn blocks_lie_within_what_the_thread_was_doing() {
        let on = BlockedOn::Lock(1);
        let block = (W0, WorldEvent::Block { on, until_ns: u64::MAX }.into());
        let resume = (W0, WorldEvent::Resume { timed_out: false }.into());
        let phase = |phase| (W0, Event::Worker { phase }.into());
        let (parked, awake) = (phase(WorkerPhase::Parked), phase(WorkerPhase::Awake));
        let exit = (W0, WorldEvent::Exit.into());
        let events = [life(7)[1], block, resume, life(7)[2], parked, block, resume, awake, exit];
        let actors = Actors::of(&trace(Keep::All, &events));
        let lane = &actors.lanes[actors.lane(Actor::Thread(W0)).expect("it acts")];
        let doing = Doing::Blocked(on);
        let expected = [Stretch { from: 1, to: 2, doing }, Stretch { from: 5, to: 6, doing }];
        assert_eq!(lane.blocks, expected);
        let expected = [(0, 3, Doing::Running(7)), (4, 7, Doing::Phase(WorkerPhase::Parked))];
        assert_eq!(stretches(&actors, Actor::Thread(W0)), expected);
        assert_eq!(lane.to, 8);
    }

    #[test]
    fn what_never_ends_ends_with_the_trace() {
        let actors = Actors::of(&trace(Keep::All, &life(7)[..3]));
        let last = stretches(&actors, Actor::Goroutine(7)).pop();
        assert_eq!(last, Some((2, 3, Doing::Parked(READ))));
    }
}
