//! The run queue: unstarted goroutines of one worker, which other workers may steal.
//!
//! A bounded ring and, in front of it, one slot `next` for the goroutine created last: it runs first,
//! because its creator is likely to wait for it. The owner pushes and pops; thieves take half of the
//! ring in one step. A full ring hands half of itself to the global queue.
//!
//! The ring's algorithm is the one of Go's scheduler: `head` and `tail` only grow (wrapping); the owner
//! alone moves `tail`; `head` is moved by a CAS of whoever takes something.
//!
//! # Ordering
//!
//! * Q1: the owner stores an entry, then `tail` with release; a thief acquires `tail`, then reads. So
//!   the entry is there and the goroutine's record comes along. A thief publishes its loot the same way.
//! * Q2: a thief reads entries, then moves `head` with a release; the owner acquires `head` before it
//!   stores into their places again. A thief whose exchange fails throws away what it read. The owner's
//!   own reads need no such care.
//! * Q3: `next` is filled with a release and stolen with an acquire, so the record comes along.
//! * Q4: the owner moves `head` with a release too, and a thief acquires it: it then sees a `tail` that
//!   is no older. It could do without, but not without trying again and again.
//! * Whether a queue is empty decides nothing that taking from it does not; in the last look of a
//!   sleeper it is a matter of F3.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::platform::{Atomic, Primitives};

/// See the module documentation.
#[derive(Debug)]
pub struct RunQueue<P: Primitives> {
    head: P::AtomicU32,
    tail: P::AtomicU32,
    /// Table index + 1; 0 is none.
    next: P::AtomicU32,
    ring: Box<[P::AtomicU32]>,
}

impl<P: Primitives> RunQueue<P> {
    /// An empty queue.
    pub fn new() -> RunQueue<P> {
        const { assert!(P::RUN_QUEUE.is_power_of_two(), "wrapping indices need a power of two") };
        RunQueue {
            head: P::AtomicU32::new(0),
            tail: P::AtomicU32::new(0),
            next: P::AtomicU32::new(0),
            ring: (0..P::RUN_QUEUE).map(|_| P::AtomicU32::new(0)).collect(),
        }
    }

    fn place(&self, position: u32) -> &P::AtomicU32 {
        &self.ring[(position % P::RUN_QUEUE) as usize]
    }

    /// Whether there is nothing to take. The answer of a moment: exact for the owner.
    pub fn is_empty(&self) -> bool {
        self.next.load(Relaxed) == 0 && self.head.load(Relaxed) == self.tail.load(Relaxed)
    }

    /// The owner puts `g` first; the one it displaces goes to the end. What did not fit any more is
    /// returned, for the global queue.
    #[must_use = "goroutines that did not fit belong into the global queue"]
    pub fn push_next(&self, g: u32) -> Vec<u32> {
        match self.next.swap(g + 1, Release) {
            0 => Vec::new(),
            displaced => self.push(displaced - 1),
        }
    }

    /// The owner puts `g` at the end. What did not fit any more is returned, for the global queue.
    #[must_use = "goroutines that did not fit belong into the global queue"]
    pub fn push(&self, g: u32) -> Vec<u32> {
        loop {
            let head = self.head.load(Acquire);
            let tail = self.tail.load(Relaxed);
            let length = tail.wrapping_sub(head);
            let places = P::RUN_QUEUE;
            assert!(length <= places, "run queue of {length} entries in {places} places");
            if length < places {
                self.place(tail).store(g, Relaxed);
                self.tail.store(tail.wrapping_add(1), Release);
                return Vec::new();
            }
            let half = places / 2;
            let mut overflow: Vec<u32> =
                (0..half).map(|i| self.place(head.wrapping_add(i)).load(Relaxed)).collect();
            let moved = head.wrapping_add(half);
            if self.head.compare_exchange(head, moved, Release, Relaxed).is_ok() {
                overflow.push(g);
                return overflow;
            }
            // Thieves made room meanwhile.
        }
    }

    /// The owner takes what is in `next`.
    pub fn pop_next(&self) -> Option<u32> {
        if self.next.load(Relaxed) == 0 {
            return None;
        }
        self.next.swap(0, Relaxed).checked_sub(1)
    }

    /// The owner takes the first entry of the ring.
    pub fn pop(&self) -> Option<u32> {
        let mut head = self.head.load(Relaxed);
        loop {
            if head == self.tail.load(Relaxed) {
                return None;
            }
            let g = self.place(head).load(Relaxed);
            match self.head.compare_exchange(head, head.wrapping_add(1), Release, Relaxed) {
                Ok(_) => return Some(g),
                Err(found) => head = found,
            }
        }
    }

    /// Moves half of this queue, rounded up, into the thief's own empty queue, and returns one of them.
    /// With `also_next`, takes `next` when the ring is empty.
    pub fn steal_into(&self, thief: &RunQueue<P>, also_next: bool) -> Option<u32> {
        let thief_tail = thief.tail.load(Relaxed);
        let count = loop {
            let head = self.head.load(Acquire);
            let length = self.tail.load(Acquire).wrapping_sub(head);
            let count = length - length / 2;
            if count == 0 {
                if also_next && self.next.load(Relaxed) != 0 {
                    return self.next.swap(0, Acquire).checked_sub(1);
                }
                return None;
            }
            if length > P::RUN_QUEUE {
                // `head` and `tail` are of different moments.
                continue;
            }
            for i in 0..count {
                let g = self.place(head.wrapping_add(i)).load(Relaxed);
                thief.place(thief_tail.wrapping_add(i)).store(g, Relaxed);
            }
            let moved = head.wrapping_add(count);
            if self.head.compare_exchange(head, moved, Release, Relaxed).is_ok() {
                break count;
            }
        };
        // The last one is run at once; the others are published in the thief's queue.
        let last = thief_tail.wrapping_add(count - 1);
        let g = thief.place(last).load(Relaxed);
        thief.tail.store(last, Release);
        Some(g)
    }

    /// The owner, or anybody while the world is stopped, takes everything out.
    pub fn drain(&self) -> Vec<u32> {
        self.pop_next().into_iter().chain(std::iter::from_fn(|| self.pop())).collect()
    }
}

impl<P: Primitives> Default for RunQueue<P> {
    fn default() -> RunQueue<P> {
        RunQueue::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::Os;

    const CAPACITY: u32 = Os::RUN_QUEUE;

    #[test]
    fn the_newest_goes_first_and_the_others_in_order() {
        let queue = RunQueue::<Os>::new();
        for g in 0..4 {
            assert!(queue.push_next(g).is_empty());
        }
        assert_eq!(queue.drain(), [3, 0, 1, 2]);
        assert!(queue.is_empty());
    }

    #[test]
    fn a_full_ring_gives_its_older_half_away_and_loses_nothing() {
        let queue = RunQueue::<Os>::new();
        for g in 0..CAPACITY {
            assert!(queue.push(g).is_empty());
        }
        let overflow = queue.push(CAPACITY);
        assert_eq!(overflow, (0..CAPACITY / 2).chain([CAPACITY]).collect::<Vec<_>>());
        assert_eq!(queue.drain(), (CAPACITY / 2..CAPACITY).collect::<Vec<_>>());
    }

    #[test]
    fn a_thief_takes_half_and_the_newest_only_when_told_to() {
        let (victim, thief) = (RunQueue::<Os>::new(), RunQueue::<Os>::new());
        (0..5).for_each(|g| assert!(victim.push(g).is_empty()));
        assert_eq!(victim.steal_into(&thief, false), Some(2));
        assert_eq!(thief.drain(), [0, 1]);
        assert_eq!(victim.drain(), [3, 4]);
        assert!(victim.push_next(9).is_empty());
        assert_eq!(victim.steal_into(&thief, false), None);
        assert_eq!(victim.steal_into(&thief, true), Some(9));
        assert!(victim.is_empty());
    }

    #[test]
    fn under_real_threads_every_entry_is_taken_exactly_once() {
        // The race: the owner pops and overflows while two thieves take halves.
        const COUNT: u32 = 200_000;
        let queue = RunQueue::<Os>::new();
        let taken = std::sync::Mutex::new(Vec::new());
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let own = RunQueue::<Os>::new();
                    let mut mine = Vec::new();
                    while !done.load(Acquire) || !queue.is_empty() {
                        mine.extend(queue.steal_into(&own, true));
                        mine.extend(own.drain());
                    }
                    taken.lock().unwrap().extend(mine);
                });
            }
            let mut mine = Vec::new();
            for g in 0..COUNT {
                mine.extend(if g % 3 == 0 { queue.push_next(g) } else { queue.push(g) });
                if g % 5 == 0 {
                    mine.extend(queue.pop());
                }
            }
            done.store(true, Release);
            mine.extend(queue.drain());
            taken.lock().unwrap().extend(mine);
        });
        let mut taken = taken.into_inner().unwrap();
        taken.sort_unstable();
        assert_eq!(taken, (0..COUNT).collect::<Vec<_>>());
    }
}
