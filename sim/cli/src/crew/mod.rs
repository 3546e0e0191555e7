//! Running seeds in processes of their own.
//!
//! A run is a program somebody wrote, perhaps with a mistake that no simulator can bear: it aborts, it
//! overflows a stack, it loops without a point. Such a run takes its process along, or keeps it for ever, and
//! the results of all other seeds with it. So `cargo sim` only hands seeds out; this program again, started
//! once for each processor, runs them, a few dozen milliseconds' worth at a time, and says after each one
//! how it went. When a process dies or falls silent, the seed is known, the others go on in a new one, and
//! an *autopsy* finds out how far the run came.
//!
//! | file | what it is |
//! |---|---|
//! | `wire.rs` | what the two say to each other, a line at a time |
//! | `worker.rs` | the process that runs seeds |
//! | `member.rs` | such a process, seen from here |
//! | `mod.rs` | handing seeds out: [`Crew::explore`] |
//! | `autopsy.rs` | a run that cannot report on itself |
//!
//! Seeds are handed out in ascending order and none after the first that failed, so the smallest failing seed
//! is found however many processes there are.

mod autopsy;
mod member;
mod wire;
mod worker;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use netpoll_sim::explore::{Plan, Progress, RunNumbers};

pub(crate) use autopsy::{Autopsy, examine};
use member::Member;
pub(crate) use wire::{Found, Run, World};
use wire::{Order, Said};
pub(crate) use worker::serve;

use crate::Usage;

/// How long a worker is to be busy with what it is handed at once: long enough that nobody notices the
/// handing, short enough that a limit of time is kept.
const HELPING: Duration = Duration::from_millis(40);
/// The most seeds that are handed out at once.
const HELPING_MAX: u64 = 4_096;
/// How often limits of time are looked at while nobody says anything.
const GLANCE: Duration = Duration::from_millis(50);

/// What the exploration of one plan has done and found.
#[derive(Debug)]
pub(crate) struct Summary {
    pub(crate) plan: Plan,
    pub(crate) progress: Progress,
    pub(crate) elapsed: Duration,
    /// Of the smallest seed that failed.
    pub(crate) found: Option<Found>,
}

/// A process that has grown to so many bytes is replaced. What the threads of an abandoned run hold is leaked, so a program
/// that ends with goroutines parked, as `shutdown` does, costs its process up to a mebibyte with each run.
const MEMORY_MAX: u64 = 512 << 20;

/// The processes, and how to hear from them.
#[derive(Debug)]
pub(crate) struct Crew {
    members: BTreeMap<u64, Member>,
    /// The number of the next member: none is used again, so that no late word is taken for a new one's.
    next: u64,
    size: usize,
    patience: Duration,
    /// For how long failures are made smaller before they are reported, if they are.
    shrink: Option<Duration>,
    hear: Receiver<(u64, Said)>,
    say: Sender<(u64, Said)>,
}

/// How a seed failed.
#[derive(Debug)]
enum Failure {
    /// It was reported by the process that ran it.
    Found(Box<Found>),
    /// The process ended like this.
    Died(String),
    /// Nothing was heard for too long.
    Silent,
}

impl Crew {
    pub(crate) fn new(
        jobs: Option<NonZeroUsize>,
        patience: Duration,
        shrink: Option<Duration>,
    ) -> Crew {
        let jobs = jobs.or_else(|| thread::available_parallelism().ok());
        let (say, hear) = mpsc::channel();
        let size = jobs.map_or(1, NonZeroUsize::get);
        Crew { members: BTreeMap::new(), next: 0, size, patience, shrink, hear, say }
    }

    /// Runs the seeds of a plan until one fails, all have been run, the time is up or `interrupted` says so.
    /// `watch` hears of every run.
    pub(crate) fn explore(
        &mut self,
        plan: Plan,
        watch: &dyn Fn(&Progress),
        interrupted: &dyn Fn() -> bool,
    ) -> Result<Summary, Usage> {
        let start = Instant::now();
        let mut search = Search {
            deadline: plan.time.map(|time| start + time),
            next: plan.seeds.start,
            progress: Progress::default(),
            failed: None,
            plan,
        };
        loop {
            if interrupted() {
                // What is half done is lost; all that has been said is counted.
                self.members.clear();
                break;
            }
            self.hand_out(&mut search)?;
            if self.members.values().all(Member::is_idle) {
                break;
            }
            self.listen(&mut search, watch);
            self.bury_the_silent(&mut search);
        }
        let Search { plan, progress, failed, .. } = search;
        let found = match failed {
            None => None,
            Some((_, Failure::Found(found))) => Some(*found),
            Some((seed, Failure::Died(words))) => {
                Some(autopsy::of_seed(&plan, seed, Some(&words), self.patience)?)
            }
            Some((seed, Failure::Silent)) => {
                Some(autopsy::of_seed(&plan, seed, None, self.patience)?)
            }
        };
        Ok(Summary { plan, progress, elapsed: start.elapsed(), found })
    }

    /// Gives every idle member seeds, and makes new members while there are seeds for them.
    fn hand_out(&mut self, search: &mut Search) -> Result<(), Usage> {
        let world = World::of(&search.plan);
        while self.members.len() < self.size && search.has_more() {
            let member = Member::start(self.next, self.say.clone())?;
            self.members.insert(self.next, member);
            self.next += 1;
        }
        for member in self.members.values_mut().filter(|member| member.is_idle()) {
            if let Some(seeds) = search.take(member.helping()) {
                let (world, shrink) = (world.clone(), self.shrink);
                member.order(&Order::Run { world, seeds: seeds.clone(), shrink });
                member.begin(seeds);
            }
        }
        Ok(())
    }

    /// Hears what there is to hear, waiting a moment for the first word.
    fn listen(&mut self, search: &mut Search, watch: &dyn Fn(&Progress)) {
        let mut words = match self.hear.recv_timeout(GLANCE) {
            Ok(words) => Some(words),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => unreachable!("the crew can speak to itself"),
        };
        while let Some((number, said)) = words {
            // Who is buried has nothing more to say.
            if let Some(member) = self.members.get_mut(&number) {
                match said {
                    Said::Ran(seed, numbers) => {
                        member.ran(seed);
                        search.ran(seed, &numbers);
                        watch(&search.progress);
                    }
                    Said::Failed(seed, found) => {
                        search.fail(seed, Failure::Found(found));
                    }
                    Said::Done => {
                        member.done();
                        if member.memory() > MEMORY_MAX {
                            // A new one takes its place when there are more seeds.
                            self.members.remove(&number);
                        }
                    }
                    Said::Gone => {
                        let member = self.members.remove(&number).expect("just seen");
                        let seed = member.seed();
                        let words = member.last_words();
                        if let Some(seed) = seed {
                            search.lost(seed, Failure::Died(words));
                        }
                    }
                    // Only an autopsy asks for these.
                    Said::Told(_) => {}
                }
            }
            words = self.hear.try_recv().ok();
        }
    }

    /// Ends members that have said nothing for too long.
    fn bury_the_silent(&mut self, search: &mut Search) {
        let silent: Vec<u64> = self
            .members
            .iter()
            .filter(|(_, member)| !member.is_idle() && member.silence() > self.patience)
            .map(|(&number, _)| number)
            .collect();
        for number in silent {
            let member = self.members.remove(&number).expect("just seen");
            if let Some(seed) = member.seed() {
                search.lost(seed, Failure::Silent);
            }
        }
    }
}

/// The exploration of one plan.
struct Search {
    plan: Plan,
    deadline: Option<Instant>,
    /// The next seed to hand out.
    next: u64,
    progress: Progress,
    /// The smallest seed that has failed so far.
    failed: Option<(u64, Failure)>,
}

impl Search {
    /// Whether there are seeds to hand out. However late it is, every plan gets its first helping.
    fn has_more(&self) -> bool {
        let time_is_up = self.deadline.is_some_and(|at| Instant::now() >= at);
        let has_begun = self.next > self.plan.seeds.start;
        !(time_is_up && has_begun) && self.failed.is_none() && self.next < self.plan.seeds.end
    }

    fn take(&mut self, at_most: u64) -> Option<Range<u64>> {
        if !self.has_more() {
            return None;
        }
        let start = self.next;
        self.next = start.saturating_add(at_most).min(self.plan.seeds.end);
        Some(start..self.next)
    }

    fn ran(&mut self, seed: u64, numbers: &RunNumbers) {
        let faults = self.plan.options(seed).faults;
        self.progress.add(numbers, &faults);
    }

    /// A run that never came to its numbers.
    fn lost(&mut self, seed: u64, failure: Failure) {
        self.progress.seeds += 1;
        self.fail(seed, failure);
    }

    fn fail(&mut self, seed: u64, failure: Failure) {
        if self.failed.as_ref().is_none_or(|&(smallest, _)| seed < smallest) {
            self.failed = Some((seed, failure));
        }
    }
}
