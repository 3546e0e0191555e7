//! Timers: one 4-ary heap per worker.
//!
//! The heap is plain sequential data with integers for time; concurrency is one lock around it
//! ([`Timers`]) and one word, the earliest time, that other workers read without the lock. Equal times
//! fire in the order in which they were armed, so that a run is reproducible.
//!
//! A heap and not a wheel: a wheel fires per tick, which makes the order depend on the tick's length.

use std::sync::atomic::Ordering::Relaxed;

use crate::platform::{Atomic, Lock, Primitives};
use crate::poll::DeadlineJob;
use crate::trace::{Event, TimerUse};

/// Children per node: a shallower heap than a binary one, and the children share a cache line or two.
const ARITY: usize = 4;
/// `earliest` of an empty heap.
pub const NEVER: u64 = u64::MAX;

/// What a timer does when it is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    /// Expires a descriptor's deadline.
    Deadline(DeadlineJob),
    /// Ends a park by its deadline.
    Wake {
        /// The parked goroutine.
        g: u32,
        /// The ticket of the park.
        ticket: u64,
    },
}

impl Job {
    fn what(self) -> TimerUse {
        match self {
            Job::Deadline(DeadlineJob { pd, which, .. }) => TimerUse::Deadline { pd, which },
            Job::Wake { g, .. } => TimerUse::Park { g },
        }
    }
}

/// Names an armed timer. Using it after the timer fired or was removed is harmless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerId {
    /// Whose heap.
    pub worker: u32,
    place: u32,
    generation: u32,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    when: u64,
    /// Arming order; breaks ties.
    order: u64,
    place: u32,
}

impl Node {
    fn key(&self) -> (u64, u64) {
        (self.when, self.order)
    }
}

/// Where a timer is in the heap. A place is reused; its generation tells its timers apart.
#[derive(Clone, Copy, Debug)]
struct Place {
    generation: u32,
    node: usize,
    job: Option<Job>,
}

/// See the module documentation.
#[derive(Debug, Default)]
pub struct TimerHeap {
    nodes: Vec<Node>,
    places: Vec<Place>,
    free: Vec<u32>,
    armed: u64,
}

impl TimerHeap {
    /// The earliest time, or [`NEVER`].
    #[must_use]
    pub fn earliest(&self) -> u64 {
        self.nodes.first().map_or(NEVER, |node| node.when)
    }

    /// How many timers are armed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether no timer is armed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Arms a timer.
    pub fn add(&mut self, worker: u32, when: u64, job: Job) -> TimerId {
        let node = self.nodes.len();
        let place = match self.free.pop() {
            Some(place) => place,
            None => {
                self.places.push(Place { generation: 0, node: 0, job: None });
                (self.places.len() - 1) as u32
            }
        };
        let entry = &mut self.places[place as usize];
        (entry.node, entry.job) = (node, Some(job));
        let generation = entry.generation;
        self.armed += 1;
        self.nodes.push(Node { when, order: self.armed, place });
        self.sift_up(node);
        TimerId { worker, place, generation }
    }

    /// Removes a timer; returns its number, or `None` when it is not armed any more.
    pub fn remove(&mut self, id: TimerId) -> Option<u64> {
        match self.places.get(id.place as usize) {
            Some(place) if place.generation == id.generation && place.job.is_some() => {
                Some(self.take(place.node).0)
            }
            _ => None,
        }
    }

    /// Takes out the earliest timer if it is due: its number and its job.
    pub fn pop_due(&mut self, now: u64) -> Option<(u64, Job)> {
        if self.earliest() > now {
            return None;
        }
        Some(self.take(0))
    }

    /// The number of the timer that was armed last.
    fn last(&self) -> u64 {
        self.armed
    }

    /// Takes out the node at `index` and returns its number and its job.
    fn take(&mut self, index: usize) -> (u64, Job) {
        let node = self.nodes.swap_remove(index);
        let place = &mut self.places[node.place as usize];
        let job = place.job.take().expect("a node of the heap has a job");
        place.generation = place.generation.wrapping_add(1);
        self.free.push(node.place);
        if index < self.nodes.len() {
            self.sift_down(index);
            self.sift_up(index);
        }
        (node.order, job)
    }

    fn settle(&mut self, index: usize, node: Node) {
        self.nodes[index] = node;
        self.places[node.place as usize].node = index;
    }

    fn sift_up(&mut self, mut index: usize) {
        let node = self.nodes[index];
        while index > 0 {
            let parent = (index - 1) / ARITY;
            if self.nodes[parent].key() <= node.key() {
                break;
            }
            self.settle(index, self.nodes[parent]);
            index = parent;
        }
        self.settle(index, node);
    }

    fn sift_down(&mut self, mut index: usize) {
        let node = self.nodes[index];
        loop {
            let first = index * ARITY + 1;
            let last = (first + ARITY).min(self.nodes.len());
            let Some(child) = (first..last).min_by_key(|&child| self.nodes[child].key()) else {
                break;
            };
            if node.key() <= self.nodes[child].key() {
                break;
            }
            self.settle(index, self.nodes[child]);
            index = child;
        }
        self.settle(index, node);
    }
}

/// One worker's timers.
///
/// What is done to them is told to `says` while the lock is held: so nobody who finds a timer gone can come
/// before the event.
pub struct Timers<P: Primitives> {
    heap: P::Mutex<TimerHeap>,
    /// Copy of the heap's earliest time, written under the lock. It brings nothing along: the timers are
    /// taken under the lock. Who sees it late looks late; that nobody sleeps over it is a matter of F3
    /// and F4 (O5).
    earliest: P::AtomicU64,
}

impl<P: Primitives> std::fmt::Debug for Timers<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Timers").field("earliest", &self.earliest()).finish_non_exhaustive()
    }
}

impl<P: Primitives> Timers<P> {
    /// No timers.
    pub fn new() -> Timers<P> {
        Timers { heap: P::Mutex::new(TimerHeap::default()), earliest: P::AtomicU64::new(NEVER) }
    }

    /// The earliest time, or [`NEVER`], without the lock.
    #[inline]
    pub fn earliest(&self) -> u64 {
        self.earliest.load(Relaxed)
    }

    /// Arms a timer. The second value says that it became the earliest.
    pub fn add(
        &self,
        worker: u32,
        when: u64,
        job: Job,
        says: impl FnOnce(Event),
    ) -> (TimerId, bool) {
        let mut heap = self.heap.lock();
        let before = heap.earliest();
        let id = heap.add(worker, when, job);
        says(Event::Arm { worker, timer: heap.last(), at_ns: when, what: job.what() });
        self.earliest.store(heap.earliest(), Relaxed);
        (id, heap.earliest() < before)
    }

    /// Removes a timer. False when it has fired or been removed before.
    pub fn remove(&self, id: TimerId, says: impl FnOnce(Event)) -> bool {
        let mut heap = self.heap.lock();
        let removed = heap.remove(id);
        if let Some(timer) = removed {
            says(Event::Disarm { worker: id.worker, timer });
        }
        self.earliest.store(heap.earliest(), Relaxed);
        removed.is_some()
    }

    /// Moves the jobs that are due into `due`, earliest first. They are run with no timer lock held
    /// (S25).
    pub fn take_due(&self, worker: u32, now: u64, due: &mut Vec<Job>, says: impl Fn(Event)) {
        if self.earliest() > now {
            return;
        }
        let mut heap = self.heap.lock();
        while let Some((timer, job)) = heap.pop_due(now) {
            says(Event::Fire { worker, timer });
            due.push(job);
        }
        self.earliest.store(heap.earliest(), Relaxed);
    }

    /// How many timers are armed.
    pub fn len(&self) -> usize {
        self.heap.lock().len()
    }

    /// Whether no timer is armed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<P: Primitives> Default for Timers<P> {
    fn default() -> Timers<P> {
        Timers::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wake(g: u32) -> Job {
        Job::Wake { g, ticket: 0 }
    }

    /// A small xorshift, so that the test is the same every time.
    fn random(state: &mut u64) -> u64 {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state
    }

    #[test]
    fn timers_fire_in_order_of_time_and_then_of_arming() {
        let mut heap = TimerHeap::default();
        let mut state = 88172645463325252;
        let mut expected = Vec::new();
        for g in 0..1000 {
            let when = random(&mut state) % 100;
            heap.add(0, when, wake(g));
            expected.push((when, g));
        }
        expected.sort_unstable();
        let fired: Vec<Job> =
            std::iter::from_fn(|| heap.pop_due(100)).map(|(_, job)| job).collect();
        assert_eq!(fired, expected.iter().map(|&(_, g)| wake(g)).collect::<Vec<_>>());
    }

    #[test]
    fn the_heap_agrees_with_a_sorted_list_over_random_operations() {
        let mut heap = TimerHeap::default();
        let mut model: Vec<(u64, u32, TimerId)> = Vec::new();
        let mut stale: Vec<TimerId> = Vec::new();
        let mut state = 123456789;
        for g in 0..20_000 {
            match random(&mut state) % 4 {
                0 | 1 => {
                    let when = 1 + random(&mut state) % 1000;
                    model.push((when, g, heap.add(3, when, wake(g))));
                }
                2 if !model.is_empty() => {
                    let (_, _, id) = model.remove(random(&mut state) as usize % model.len());
                    assert!(heap.remove(id).is_some());
                    stale.push(id);
                }
                _ => {
                    let earliest = model.iter().map(|&(when, g, _)| (when, g)).min();
                    assert_eq!(heap.earliest(), earliest.map_or(NEVER, |(when, _)| when));
                    if let Some((when, g)) = earliest {
                        assert_eq!(heap.pop_due(when - 1), None);
                        assert_eq!(heap.pop_due(when).map(|(_, job)| job), Some(wake(g)));
                        model.retain(|&(_, other, _)| other != g);
                    }
                }
            }
            assert_eq!(heap.len(), model.len());
        }
        assert!(
            stale.into_iter().all(|id| heap.remove(id).is_none()),
            "a stale id removes nothing"
        );
    }
}
