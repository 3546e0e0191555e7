//! How a seed schedules: the policy behind the choices of threads.
//!
//! A strategy only biases the draw. What it picked is recorded as an offset among the runnable
//! threads, so a replay does not need it.
//!
//! * **Sticky**: the running thread goes on, and with a fixed probability another one takes over.
//!   Few switches find protocol bugs that need long undisturbed stretches, many find races.
//! * **PCT** (Burckhardt et al., "A randomized scheduler with probabilistic guarantees of finding
//!   bugs", ASPLOS 2010): each thread has a random priority, the highest runnable one runs, and at
//!   `d - 1` random points the running thread drops to the bottom. A bug that needs `d` ordering
//!   constraints is found with probability at least `1 / (threads * points^(d-1))`. Here, unlike in
//!   the paper, a thread that yields also drops, or a busy-wait would never end.

use rand_chacha::ChaCha8Rng;

use crate::choice::below;

/// Why the engine asks for a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PointKind {
    /// The thread is about to make, or has just made, a call; or it is at an atomic operation. It is
    /// the first candidate.
    Call,
    /// The thread lets others go first: it is the last candidate.
    Yield,
    /// The thread that ran cannot go on and is no candidate.
    Blocked,
}

/// A scheduling policy.
#[derive(Debug)]
pub(crate) struct Strategy {
    rng: ChaCha8Rng,
    policy: Policy,
}

#[derive(Debug)]
enum Policy {
    /// Switch with probability `1 / one_in`.
    Sticky {
        one_in: u32,
    },
    Pct(Pct),
}

#[derive(Debug)]
struct Pct {
    /// By thread; higher runs first.
    priorities: Vec<i64>,
    /// The priority that the next demoted thread gets: below all others.
    lowest: i64,
    /// How many points have passed.
    points: u32,
    /// The points at which the running thread is demoted, ascending.
    changes: Vec<u32>,
}

/// The lengths of run, in scheduling points, among which a seed guesses when it spreads its change
/// points: a short run needs them early, a long one late.
const PCT_SPANS: [u32; 3] = [50, 500, 5_000];

impl Strategy {
    /// The policy that a random stream picks for its run.
    pub(crate) fn from_seed(mut rng: ChaCha8Rng) -> Strategy {
        let policy = match below(&mut rng, 4) {
            0 => Policy::Sticky { one_in: 2 },
            1 => Policy::Sticky { one_in: 8 },
            2 => Policy::Sticky { one_in: 32 },
            _ => {
                let span = PCT_SPANS[below(&mut rng, 3) as usize];
                let depth = 1 + below(&mut rng, 4);
                let mut changes: Vec<u32> = (1..depth).map(|_| below(&mut rng, span)).collect();
                changes.sort_unstable();
                Policy::Pct(Pct { priorities: Vec::new(), lowest: 0, points: 0, changes })
            }
        };
        Strategy { rng, policy }
    }

    /// Threads are born in the order of their ids.
    pub(crate) fn thread_born(&mut self) {
        if let Policy::Pct(pct) = &mut self.policy {
            pct.priorities.push(1 + i64::from(below(&mut self.rng, 1 << 30)));
        }
    }

    /// Picks an offset, cyclic in `runnable`, from index `start`.
    pub(crate) fn pick(&mut self, point: PointKind, runnable: &[u16], start: usize) -> u32 {
        let n = runnable.len() as u32;
        match &mut self.policy {
            Policy::Sticky { one_in } => match point {
                PointKind::Call if below(&mut self.rng, *one_in) != 0 => 0,
                PointKind::Call => 1 + below(&mut self.rng, n - 1),
                PointKind::Yield | PointKind::Blocked => below(&mut self.rng, n),
            },
            Policy::Pct(pct) => pct.pick(point, runnable, start),
        }
    }
}

impl Pct {
    fn pick(&mut self, point: PointKind, runnable: &[u16], start: usize) -> u32 {
        let n = runnable.len();
        match point {
            PointKind::Call => {
                self.points += 1;
                if self.changes.first().is_some_and(|&at| self.points > at) {
                    self.changes.remove(0);
                    self.demote(runnable[start]);
                }
            }
            // The one that yields is the last candidate.
            PointKind::Yield => self.demote(runnable[(start + n - 1) % n]),
            PointKind::Blocked => {}
        }
        let thread = |offset: usize| runnable[(start + offset) % n];
        let best = (0..n).max_by_key(|&k| (self.priorities[usize::from(thread(k))], n - k));
        best.expect("somebody is runnable") as u32
    }

    fn demote(&mut self, thread: u16) {
        self.lowest -= 1;
        self.priorities[usize::from(thread)] = self.lowest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_core::SeedableRng;

    fn pct(priorities: &[i64], changes: &[u32]) -> Strategy {
        let policy = Policy::Pct(Pct {
            priorities: priorities.to_vec(),
            lowest: 0,
            points: 0,
            changes: changes.to_vec(),
        });
        let rng = ChaCha8Rng::from_seed([0; 32]);
        Strategy { rng, policy }
    }

    #[test]
    fn pct_runs_the_highest_priority_until_a_change_point_demotes_it() {
        let mut strategy = pct(&[5, 9, 7], &[2]);
        let runnable = [0, 1, 2];
        // Thread 1 runs, and stays until the third point; then thread 2 is next after it.
        let picks = [0; 4].map(|_| strategy.pick(PointKind::Call, &runnable, 1));
        assert_eq!(picks, [0, 0, 1, 1]);
        // With thread 2 blocked, thread 0 is the highest.
        assert_eq!(strategy.pick(PointKind::Blocked, &[0, 1], 0), 0);
    }

    #[test]
    fn pct_lets_others_go_first_when_a_thread_yields() {
        let mut strategy = pct(&[5, 9], &[]);
        assert_eq!(strategy.pick(PointKind::Yield, &[0, 1], 0), 0);
        // Now thread 0 runs, and yields to the thread that yielded to it.
        assert_eq!(strategy.pick(PointKind::Yield, &[0, 1], 1), 0);
    }

    #[test]
    fn every_policy_is_picked_by_some_seed_and_stays_in_range() {
        let mut sticky = 0;
        for seed in 0..200 {
            let mut strategy = Strategy::from_seed(ChaCha8Rng::from_seed([seed; 32]));
            (0..5).for_each(|_| strategy.thread_born());
            sticky += usize::from(matches!(strategy.policy, Policy::Sticky { .. }));
            for point in [PointKind::Call, PointKind::Yield, PointKind::Blocked] {
                assert!(strategy.pick(point, &[0, 2, 4], 1) < 3);
            }
        }
        assert!((100..190).contains(&sticky), "{sticky}");
    }
}
