//! Choices: everything that the simulator decides.
//!
//! A run is a pure function of its list of choices. Each choice is a number below `n`, recorded by
//! value, so that a run can be repeated, cut short and made duller without the generator that first
//! made it. Promises:
//!
//! * **C1** 0 is always the dullest thing: keep running the same thread, no fault, full length,
//!   shortest delay.
//! * **C2** where there is nothing to choose (`n == 1`) nothing is recorded.
//! * **C3** a replay that meets another question than the recorded one, or no more answers, goes on
//!   with 0 for the rest of the run and says where that began.
//! * **C4** the bias with which a seed chooses (the scheduling strategy of `strategy.rs`, the
//!   longest delay it uses) is drawn from the seed and not recorded: the answers are enough.

use std::fmt;
use std::str::FromStr;

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use crate::faults::FaultKind;
use crate::strategy::{PointKind, Strategy};

/// What a choice is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ChoiceKind {
    /// Which thread runs next, counted from the one that runs.
    Thread,
    /// How long a step of a TCP handshake takes.
    HandshakeDelay,
    /// How long a segment travels.
    SegmentDelay,
    /// How much of what could be sent one segment carries.
    SegmentLen,
    /// How long a datagram travels.
    DatagramDelay,
    /// Which ready event comes next, counted from the one that was ready first.
    EventOrder,
    /// How many of the ready events are left for the next call.
    EventCount,
    /// When the signal comes that interrupts a call.
    InterruptDelay,
    /// How late a timer is.
    TimerSlack,
    /// Which descriptor is reported ready for no reason.
    SpuriousItem,
    /// How much of a write is taken.
    WriteLen,
    /// Whether a fault strikes.
    Fault(FaultKind),
}

impl ChoiceKind {
    /// The name in files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            ChoiceKind::Thread => "thread",
            ChoiceKind::HandshakeDelay => "handshake-delay",
            ChoiceKind::SegmentDelay => "segment-delay",
            ChoiceKind::SegmentLen => "segment-len",
            ChoiceKind::DatagramDelay => "datagram-delay",
            ChoiceKind::EventOrder => "event-order",
            ChoiceKind::EventCount => "event-count",
            ChoiceKind::InterruptDelay => "interrupt-delay",
            ChoiceKind::TimerSlack => "timer-slack",
            ChoiceKind::SpuriousItem => "spurious-item",
            ChoiceKind::WriteLen => "write-len",
            ChoiceKind::Fault(fault) => fault.name(),
        }
    }

    /// The kind with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<ChoiceKind> {
        let plain = [
            ChoiceKind::Thread,
            ChoiceKind::HandshakeDelay,
            ChoiceKind::SegmentDelay,
            ChoiceKind::SegmentLen,
            ChoiceKind::DatagramDelay,
            ChoiceKind::EventOrder,
            ChoiceKind::EventCount,
            ChoiceKind::InterruptDelay,
            ChoiceKind::TimerSlack,
            ChoiceKind::SpuriousItem,
            ChoiceKind::WriteLen,
        ];
        let faults = FaultKind::ALL.into_iter().map(ChoiceKind::Fault);
        let mut all = plain.into_iter().chain(faults);
        all.find(|kind| kind.name() == name)
    }
}

/// One decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// What it was about.
    pub kind: ChoiceKind,
    /// How many possibilities there were; at least 2.
    pub n: u32,
    /// The one that was taken, below `n`.
    pub k: u32,
}

/// `thread:1/3`: kind, the one that was taken, how many there were.
impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}/{}", self.kind.name(), self.k, self.n)
    }
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Choice, String> {
        let parse = || {
            let (kind, numbers) = text.split_once(':')?;
            let (k, n) = numbers.split_once('/')?;
            let kind = ChoiceKind::from_name(kind)?;
            let (k, n) = (k.parse().ok()?, n.parse().ok()?);
            (k < n && n > 1).then_some(Choice { kind, n, k })
        };
        parse().ok_or_else(|| format!("`{text}` is not a choice such as `thread:1/3`"))
    }
}

/// Where choices come from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// A stream of random numbers.
    Seed(u64),
    /// A recorded list.
    Replay(Vec<Choice>),
    /// The dullest thing, always.
    Dull,
}

/// The choices of one run: the source, and what it has answered so far.
#[derive(Debug)]
pub struct Choices {
    source: Inner,
    record: Vec<Choice>,
    diverged: Option<usize>,
}

#[derive(Debug)]
enum Inner {
    Random(Box<Random>),
    Replay(Vec<Choice>),
    Dull,
}

/// The seeded source. Threads and data are drawn from two streams of one seed.
#[derive(Debug)]
struct Random {
    strategy: Strategy,
    data: ChaCha8Rng,
    /// No delay or length choice of this run goes beyond this: some runs are quick, some are not.
    extreme_max: u32,
}

impl Choices {
    /// The choices of a run that has not begun.
    #[must_use]
    pub fn new(source: Source) -> Choices {
        let source = match source {
            Source::Seed(seed) => {
                let mut data = stream(seed, 0);
                let extreme_max = [1, 2, 4, 8][below(&mut data, 4) as usize];
                Inner::Random(Box::new(Random {
                    strategy: Strategy::from_seed(stream(seed, 1)),
                    data,
                    extreme_max,
                }))
            }
            Source::Replay(list) => Inner::Replay(list),
            Source::Dull => Inner::Dull,
        };
        Choices { source, record: Vec::new(), diverged: None }
    }

    /// Chooses a number below `n`.
    pub fn choose(&mut self, kind: ChoiceKind, n: u32) -> u32 {
        if n == 1 {
            return 0; // C2
        }
        let k = match &mut self.source {
            Inner::Random(random) => random.choose(kind, n),
            Inner::Replay(_) => self.replayed(kind, n),
            Inner::Dull => 0,
        };
        self.recorded(kind, n, k)
    }

    /// Decides whether something happens that has this probability.
    pub fn chance(&mut self, kind: ChoiceKind, per_mille: u16) -> bool {
        if per_mille == 0 {
            return false;
        }
        let k = match &mut self.source {
            Inner::Random(random) => u32::from(below(&mut random.data, 1000) < per_mille.into()),
            Inner::Replay(_) => self.replayed(kind, 2),
            Inner::Dull => 0,
        };
        self.recorded(kind, 2, k) == 1
    }

    /// Chooses the next thread: an offset, cyclic in `runnable`, from index `start`.
    pub(crate) fn thread(&mut self, point: PointKind, runnable: &[u16], start: usize) -> u32 {
        let n = runnable.len() as u32;
        if n == 1 {
            return 0; // C2
        }
        let k = match &mut self.source {
            Inner::Random(random) => random.strategy.pick(point, runnable, start),
            Inner::Replay(_) => self.replayed(ChoiceKind::Thread, n),
            Inner::Dull => 0,
        };
        self.recorded(ChoiceKind::Thread, n, k)
    }

    /// Chooses a number below `n` as a policy of the caller's wants it: `draw` is the policy's wish, and
    /// is not asked where a list is being replayed.
    pub fn decide(&mut self, kind: ChoiceKind, n: u32, draw: impl FnOnce() -> u32) -> u32 {
        if n == 1 {
            return 0; // C2
        }
        let k = match &self.source {
            Inner::Random(_) | Inner::Dull => draw(),
            Inner::Replay(_) => self.replayed(kind, n),
        };
        self.recorded(kind, n, k)
    }

    /// Tells the strategy that a thread was born.
    pub(crate) fn thread_born(&mut self) {
        if let Inner::Random(random) = &mut self.source {
            random.strategy.thread_born();
        }
    }

    /// The recorded answer to this question, or 0 (C3).
    fn replayed(&mut self, kind: ChoiceKind, n: u32) -> u32 {
        let Inner::Replay(list) = &self.source else {
            unreachable!("asked only when replaying");
        };
        if self.diverged.is_some() {
            return 0;
        }
        let index = self.record.len();
        match list.get(index) {
            Some(choice) if choice.kind == kind && choice.n == n && choice.k < n => choice.k,
            _ => {
                self.diverged = Some(index);
                0
            }
        }
    }

    fn recorded(&mut self, kind: ChoiceKind, n: u32, k: u32) -> u32 {
        assert!(k < n, "choice {kind:?}: {k} of {n}");
        self.record.push(Choice { kind, n, k });
        k
    }

    /// What was chosen, and where a replay left its list.
    #[must_use]
    pub fn finish(self) -> (Vec<Choice>, Option<usize>) {
        (self.record, self.diverged)
    }
}

impl Random {
    fn choose(&mut self, kind: ChoiceKind, n: u32) -> u32 {
        match kind {
            ChoiceKind::SpuriousItem | ChoiceKind::WriteLen => below(&mut self.data, n),
            // Half of the time nothing special, else anything up to the run's extreme.
            _ if below(&mut self.data, 2) == 0 => 0,
            _ => below(&mut self.data, n.min(self.extreme_max)),
        }
    }
}

/// One of the independent random streams of a seed.
///
/// The seed's bytes are the key as they stand, so its meaning depends on ChaCha8 alone and not on
/// how a library expands small seeds.
fn stream(seed: u64, number: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    let mut rng = ChaCha8Rng::from_seed(key);
    rng.set_stream(number);
    rng
}

/// A random number below `n`. The bias of at most `n / 2^32` does not matter here.
pub(crate) fn below(rng: &mut ChaCha8Rng, n: u32) -> u32 {
    ((u64::from(rng.next_u32()) * u64::from(n)) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks a fixed series of questions.
    fn ask(source: Source) -> (Vec<Choice>, Option<usize>) {
        let mut choices = Choices::new(source);
        for i in 0..100 {
            choices.choose(ChoiceKind::EventOrder, 1 + i % 5);
            choices.chance(ChoiceKind::Fault(FaultKind::ShortWrite), 300);
            choices.thread(PointKind::Call, &[0, 1, 4], 1);
        }
        choices.finish()
    }

    #[test]
    fn one_seed_gives_one_list_and_its_replay_the_same() {
        let (list, _) = ask(Source::Seed(7));
        assert_eq!(ask(Source::Seed(7)).0, list);
        assert_ne!(ask(Source::Seed(8)).0, list);
        assert_eq!(ask(Source::Replay(list.clone())), (list, None));
    }

    #[test]
    fn where_there_is_nothing_to_choose_nothing_is_recorded() {
        let mut choices = Choices::new(Source::Seed(1));
        assert_eq!(choices.choose(ChoiceKind::EventOrder, 1), 0);
        assert_eq!(choices.thread(PointKind::Call, &[3], 0), 0);
        assert!(!choices.chance(ChoiceKind::Fault(FaultKind::IoEintr), 0));
        assert!(choices.finish().0.is_empty());
    }

    #[test]
    fn a_replay_that_does_not_fit_goes_on_with_zeros_and_says_where() {
        let (mut list, _) = ask(Source::Seed(7));
        list.truncate(40);
        list[20].n += 1;
        let (replayed, diverged) = ask(Source::Replay(list.clone()));
        assert_eq!(diverged, Some(20));
        assert_eq!(replayed[..20], list[..20]);
        assert!(replayed[20..].iter().all(|choice| choice.k == 0));
        list.truncate(10);
        assert_eq!(ask(Source::Replay(list)).1, Some(10));
    }

    #[test]
    fn the_meaning_of_a_seed_never_changes() {
        let mut rng = stream(42, 0);
        let drawn: Vec<u32> = (0..4).map(|_| below(&mut rng, 1000)).collect();
        assert_eq!(drawn, [99, 348, 88, 285]);
    }

    #[test]
    fn kinds_have_distinct_names_that_lead_back_to_them() {
        for kind in
            [ChoiceKind::Thread, ChoiceKind::SegmentLen, ChoiceKind::Fault(FaultKind::SpuriousWake)]
        {
            assert_eq!(ChoiceKind::from_name(kind.name()), Some(kind));
        }
        assert_eq!(ChoiceKind::from_name("weather"), None);
    }

    #[test]
    fn a_choice_is_read_back_from_its_text() {
        for choice in ask(Source::Seed(3)).0 {
            assert_eq!(choice.to_string().parse(), Ok(choice));
        }
        for wrong in ["", "thread", "thread:3/3", "thread:0/1", "weather:0/2", "thread:x/2"] {
            assert!(wrong.parse::<Choice>().is_err(), "{wrong}");
        }
    }
}
