//! Choices: everything that the simulator decides.
//!
//! A run is a pure function of its list of choices. Each choice is a number below `n`, recorded by
//! value, so that a run can be repeated, cut short and made duller without the generator that first
//! made it. Promises:
//!
//! * **C1** 0 is always the dullest thing: keep running the same thread, no fault, full length,
//!   shortest delay.
//! * **C2** where there is nothing to choose (`n == 1`) nothing is recorded.
//! * **C3** a replay that meets another question than the recorded one goes on with 0 for the rest of
//!   the run and says where that began. A list that ends goes on with 0 as well, and that is no
//!   divergence: zeros at the end of a list say nothing and may be left out.
//! * **C4** the bias with which a seed chooses (the scheduling strategy of `strategy.rs`, the
//!   longest delay it uses, what `swarm.rs` leaves out) is drawn from the seed and not recorded: the
//!   answers are enough.
//! * **C5** once the world has healed nothing is asked any more, and everything is dull, but for the numbers that
//!   a program asks for: one that draws lots draws them for ever. When that is, is the first choice of a run.

use std::fmt;
use std::mem;
use std::str::FromStr;

use netpoll_traces::ThreadId;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use crate::deviation::{Asker, Deviation, Place, Places};
use crate::faults::FaultKind;
use crate::journal::{Journal, Note};
use crate::strategy::{PointKind, Strategy};
use crate::swarm::Bias;
use crate::tally::Tally;

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
    /// For how long faults may strike and freedoms be taken, before the world heals.
    HealAfter,
    /// A number that the program asked for: see [`rand`](mod@crate::rand).
    Random,
    /// How much of what was not synced a disk loses with the power.
    DiskLoss,
    /// Whether a link that loses packets loses this one.
    PacketLoss,
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
            ChoiceKind::HealAfter => "heal-after",
            ChoiceKind::Random => "random",
            ChoiceKind::DiskLoss => "disk-loss",
            ChoiceKind::PacketLoss => "packet-loss",
            ChoiceKind::Fault(fault) => fault.name(),
        }
    }

    /// The kind with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<ChoiceKind> {
        ChoiceKind::all().find(|kind| kind.name() == name)
    }

    /// The kinds of freedom: what a correct kernel and scheduler may do this way or that. In a fixed order.
    pub const FREEDOMS: [ChoiceKind; 11] = [
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

    /// What is neither a freedom nor a fault. In a fixed order.
    const OTHERS: [ChoiceKind; 4] =
        [ChoiceKind::HealAfter, ChoiceKind::Random, ChoiceKind::DiskLoss, ChoiceKind::PacketLoss];

    /// How many kinds there are.
    pub const COUNT: usize =
        ChoiceKind::FREEDOMS.len() + ChoiceKind::OTHERS.len() + FaultKind::ALL.len();

    /// Every kind, in a fixed order.
    pub fn all() -> impl Iterator<Item = ChoiceKind> {
        let faults = FaultKind::ALL.into_iter().map(ChoiceKind::Fault);
        ChoiceKind::FREEDOMS.into_iter().chain(ChoiceKind::OTHERS).chain(faults)
    }

    /// The place in [`all`](ChoiceKind::all).
    pub(crate) const fn index(self) -> usize {
        match self {
            ChoiceKind::Thread => 0,
            ChoiceKind::HandshakeDelay => 1,
            ChoiceKind::SegmentDelay => 2,
            ChoiceKind::SegmentLen => 3,
            ChoiceKind::DatagramDelay => 4,
            ChoiceKind::EventOrder => 5,
            ChoiceKind::EventCount => 6,
            ChoiceKind::InterruptDelay => 7,
            ChoiceKind::TimerSlack => 8,
            ChoiceKind::SpuriousItem => 9,
            ChoiceKind::WriteLen => 10,
            ChoiceKind::HealAfter => ChoiceKind::FREEDOMS.len(),
            ChoiceKind::Random => ChoiceKind::FREEDOMS.len() + 1,
            ChoiceKind::DiskLoss => ChoiceKind::FREEDOMS.len() + 2,
            ChoiceKind::PacketLoss => ChoiceKind::FREEDOMS.len() + 3,
            ChoiceKind::Fault(fault) => {
                ChoiceKind::FREEDOMS.len() + ChoiceKind::OTHERS.len() + fault as usize
            }
        }
    }
}

/// One decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
    /// The same, and which freedoms are taken at all, and how often, is drawn from the seed as well: see
    /// [`Profile::Swarm`](crate::Profile).
    Swarm(u64),
    /// A recorded list.
    Replay(Vec<Choice>),
    /// The dullest thing, always.
    Dull,
    /// The dullest thing, but for these: what the [shrinker](crate::shrink) tries. One that is about a
    /// question that is not asked is not made.
    Deviations(Vec<Deviation>),
}

/// What a run has chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chosen {
    /// Every choice, in order.
    pub choices: Vec<Choice>,
    /// The first choice at which a replay met another question than the recorded one.
    pub diverged: Option<usize>,
    /// Those of the choices that are not the dullest. None if the run was made
    /// [without them](Choices::without_deviations).
    pub deviations: Vec<Deviation>,
}

/// The choices of one run: the source, and what it has answered so far.
#[derive(Debug)]
pub struct Choices {
    source: Inner,
    /// Absent where nobody asks for deviations.
    places: Option<Places>,
    chosen: Chosen,
    tally: Tally,
    journal: Option<Journal>,
}

#[derive(Debug)]
enum Inner {
    Random(Box<Random>),
    Replay(Vec<Choice>),
    Dull,
    Guided,
}

/// The seeded source. Threads, data and what the program asks for are drawn from three streams of one seed, of which the
/// latter two are made for the first who asks: many runs are short, and a stream costs as much as ten steps.
#[derive(Debug)]
struct Random {
    strategy: Strategy,
    data: Option<Box<Data>>,
    program: Option<Box<ChaCha8Rng>>,
    seed: u64,
    bias: Bias,
}

/// What the world is drawn from.
#[derive(Debug)]
struct Data {
    rng: ChaCha8Rng,
    /// No delay or length choice of this run goes beyond this: some runs are quick, some are not.
    extreme_max: u32,
}

/// Room for the choices of a short run: growing from nothing costs more than all of them.
const CHOICES_FEW: usize = 64;

impl Choices {
    /// The choices of a run that has not begun.
    #[must_use]
    pub fn new(source: Source) -> Choices {
        let places = match &source {
            Source::Deviations(deviations) => Places::new(deviations),
            _ => Places::default(),
        };
        Choices { places: Some(places), ..Choices::of(source) }
    }

    /// Without places for deviations.
    fn of(source: Source) -> Choices {
        let source = match source {
            Source::Seed(seed) => Inner::Random(Box::new(Random::new(seed, Bias::even()))),
            Source::Swarm(seed) => Inner::Random(Box::new(Random::new(seed, Bias::swarm(seed)))),
            Source::Replay(list) => Inner::Replay(list),
            Source::Dull => Inner::Dull,
            Source::Deviations(_) => Inner::Guided,
        };
        let chosen = Chosen { choices: Vec::with_capacity(CHOICES_FEW), ..Chosen::default() };
        Choices { source, places: None, chosen, tally: Tally::default(), journal: None }
    }

    /// The same, but the deviations are not noted, which takes time: for the many runs of which only the
    /// outcome is looked at.
    ///
    /// # Panics
    /// Where the choices come from deviations.
    #[must_use]
    pub fn without_deviations(source: Source) -> Choices {
        assert!(!matches!(source, Source::Deviations(_)), "deviations are made in their places");
        Choices::of(source)
    }

    /// Tells `journal` of each choice as it is made.
    pub fn set_journal(&mut self, journal: Option<Journal>) {
        self.journal = journal;
    }

    /// Counts a question, if anybody counts; says what is wanted there.
    #[inline]
    fn ask(&mut self, kind: ChoiceKind) -> (Option<Place>, Option<Deviation>) {
        match &mut self.places {
            None => (None, None),
            Some(places) => {
                let (place, wanted) = places.ask(kind);
                (Some(place), wanted)
            }
        }
    }

    /// Chooses a number below `n`.
    pub fn choose(&mut self, kind: ChoiceKind, n: u32) -> u32 {
        let (place, wanted) = self.ask(kind);
        if n == 1 {
            return 0; // C2
        }
        let k = match &mut self.source {
            Inner::Random(random) => random.choose(kind, n),
            Inner::Replay(_) => self.replayed(kind, n),
            Inner::Guided => wanted.map_or(0, |wanted| wanted.choice.k.min(n - 1)),
            Inner::Dull => 0,
        };
        self.recorded(place, Choice { kind, n, k }, || None)
    }

    /// Decides whether something happens that has this probability.
    pub fn chance(&mut self, kind: ChoiceKind, per_mille: u16) -> bool {
        if per_mille == 0 {
            return false;
        }
        let (place, wanted) = self.ask(kind);
        let k = match &mut self.source {
            Inner::Random(random) => {
                u32::from(below(&mut random.data().rng, 1000) < per_mille.into())
            }
            Inner::Replay(_) => self.replayed(kind, 2),
            Inner::Guided => wanted.map_or(0, |wanted| wanted.choice.k.min(1)),
            Inner::Dull => 0,
        };
        self.recorded(place, Choice { kind, n: 2, k }, || None) == 1
    }

    /// Chooses the next thread: an offset, cyclic in `runnable`, from index `start`.
    pub(crate) fn thread(&mut self, point: PointKind, runnable: &[u16], start: usize) -> u32 {
        self.next_thread(runnable, start, |source| match source {
            Inner::Random(random) => random.strategy.pick(point, runnable, start),
            _ => 0,
        })
    }

    /// Chooses the next thread as a policy of the caller's wants it: an offset, cyclic in `runnable`,
    /// from index `start`. `draw` is the policy's wish, and is not asked where a list or deviations are
    /// being replayed. The thread is the one that asks from now on.
    pub fn decide(&mut self, runnable: &[u16], start: usize, draw: impl FnOnce() -> u32) -> u32 {
        let k = self.next_thread(runnable, start, |_| draw());
        let next = runnable[(start + k as usize) % runnable.len()];
        self.set_asker(|| Asker::thread(ThreadId(next)));
        k
    }

    fn next_thread(
        &mut self,
        runnable: &[u16],
        start: usize,
        draw: impl FnOnce(&mut Inner) -> u32,
    ) -> u32 {
        let (place, wanted) = self.ask(ChoiceKind::Thread);
        let n = runnable.len() as u32;
        if n == 1 {
            return 0; // C2
        }
        let thread = |k: u32| ThreadId(runnable[(start + k as usize) % runnable.len()]);
        let k = match &mut self.source {
            Inner::Replay(_) => self.replayed(ChoiceKind::Thread, n),
            Inner::Guided => match wanted {
                Some(Deviation { target: None, choice, .. }) => choice.k.min(n - 1),
                // A thread that cannot run is no reason to prefer a third one.
                Some(Deviation { target: Some(target), .. }) => {
                    (0..n).find(|&k| thread(k) == target).unwrap_or(0)
                }
                None => 0,
            },
            source @ (Inner::Random(_) | Inner::Dull) => draw(source),
        };
        self.recorded(place, Choice { kind: ChoiceKind::Thread, n, k }, || Some(thread(k)))
    }

    /// Tells the strategy that a thread was born.
    pub(crate) fn thread_born(&mut self) {
        if let Inner::Random(random) = &mut self.source {
            random.strategy.thread_born();
        }
    }

    /// Says who asks from now on. In the beginning it is the main thread.
    #[inline]
    pub(crate) fn set_asker(&mut self, asker: impl FnOnce() -> Asker) {
        if let Some(places) = &mut self.places {
            places.set_asker(asker());
        }
    }

    /// Says how many records the trace had when the last deviation was made.
    pub(crate) fn set_seen(&mut self, seen: impl FnOnce() -> usize) {
        if let Some(last) = self.chosen.deviations.last_mut() {
            last.seen = seen();
        }
    }

    /// The recorded answer to this question, or 0 (C3).
    fn replayed(&mut self, kind: ChoiceKind, n: u32) -> u32 {
        let Inner::Replay(list) = &self.source else {
            unreachable!("asked only when replaying");
        };
        let index = self.chosen.choices.len();
        match list.get(index) {
            _ if self.chosen.diverged.is_some() => 0,
            None => 0,
            Some(choice) if choice.kind == kind && choice.n == n && choice.k < n => choice.k,
            Some(_) => {
                self.chosen.diverged = Some(index);
                0
            }
        }
    }

    #[inline]
    fn recorded(
        &mut self,
        place: Option<Place>,
        choice: Choice,
        target: impl FnOnce() -> Option<ThreadId>,
    ) -> u32 {
        let Choice { kind, n, k } = choice;
        assert!(k < n, "choice {kind:?}: {k} of {n}");
        let Chosen { choices, deviations, .. } = &mut self.chosen;
        if let Some(place) = place.filter(|_| k != 0) {
            deviations.push(place.deviation(choices.len(), choice, target()));
        }
        choices.push(choice);
        self.tally.add(kind, k);
        if let Some(journal) = &self.journal {
            journal.note(Note::Choice(choice));
        }
        k
    }

    /// How often each kind of question has been asked so far.
    #[must_use]
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// What was chosen, and where a replay left its list: all of it, once the run is over.
    #[must_use]
    pub fn finish(&mut self) -> Chosen {
        mem::take(&mut self.chosen)
    }
}

impl Random {
    fn new(seed: u64, bias: Bias) -> Random {
        let strategy = Strategy::from_seed(stream(seed, 1));
        Random { strategy, data: None, program: None, seed, bias }
    }

    #[inline]
    fn data(&mut self) -> &mut Data {
        let seed = self.seed;
        self.data.get_or_insert_with(|| Data::of(seed))
    }

    fn choose(&mut self, kind: ChoiceKind, n: u32) -> u32 {
        if kind == ChoiceKind::Random {
            let seed = self.seed;
            let program = || Box::new(stream(seed, PROGRAM_STREAM));
            return below(self.program.get_or_insert_with(program), n);
        }
        let bias = self.bias;
        let Data { rng, extreme_max } = self.data();
        match kind {
            ChoiceKind::SpuriousItem | ChoiceKind::WriteLen | ChoiceKind::DiskLoss => below(rng, n),
            // Most runs have the longest safety phase, since that is where races are, and none has none.
            ChoiceKind::HealAfter if below(rng, 4) != 0 => n - 1,
            ChoiceKind::HealAfter => 1 + below(rng, n - 1),
            // Mostly nothing special, else anything up to the run's extreme.
            _ if !bias.takes(kind, below(rng, Bias::ONE)) => 0,
            _ => below(rng, n.min(*extreme_max)),
        }
    }
}

impl Data {
    #[cold]
    fn of(seed: u64) -> Box<Data> {
        let mut rng = stream(seed, 0);
        let extreme_max = [1, 2, 4, 8][below(&mut rng, 4) as usize];
        Box::new(Data { rng, extreme_max })
    }
}

/// The stream of what programs ask for; `swarm.rs` has 2 and 3.
const PROGRAM_STREAM: u64 = 4;

/// One of the independent random streams of a seed.
///
/// The seed's bytes are the key as they stand, so its meaning depends on ChaCha8 alone and not on
/// how a library expands small seeds.
pub(crate) fn stream(seed: u64, number: u64) -> ChaCha8Rng {
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
    fn ask(source: Source) -> Chosen {
        asked(Choices::new(source))
    }

    fn asked(mut choices: Choices) -> Chosen {
        for i in 0..100 {
            choices.choose(ChoiceKind::EventOrder, 1 + i % 5);
            choices.chance(ChoiceKind::Fault(FaultKind::ShortWrite), 300);
            choices.thread(PointKind::Call, &[0, 1, 4], 1);
        }
        choices.finish()
    }

    #[test]
    fn one_seed_gives_one_list_and_its_replay_the_same() {
        let chosen = ask(Source::Seed(7));
        assert_eq!(ask(Source::Seed(7)), chosen);
        assert_ne!(ask(Source::Seed(8)).choices, chosen.choices);
        assert_eq!(ask(Source::Replay(chosen.choices.clone())), chosen);
        assert_eq!(chosen.diverged, None);
    }

    #[test]
    fn the_deviations_of_a_run_give_the_same_run() {
        let chosen = ask(Source::Seed(7));
        let set = chosen.choices.iter().filter(|choice| choice.k != 0).count();
        assert_eq!(chosen.deviations.len(), set);
        assert!(set > 10, "{set}");
        assert_eq!(ask(Source::Deviations(chosen.deviations.clone())), chosen);
        let without = asked(Choices::without_deviations(Source::Seed(7)));
        assert_eq!(without, Chosen { deviations: Vec::new(), ..chosen });
        assert!(ask(Source::Deviations(Vec::new())).deviations.is_empty());
    }

    #[test]
    fn one_deviation_less_is_one_choice_less_where_the_program_does_the_same() {
        let chosen = ask(Source::Seed(7));
        let mut fewer = chosen.deviations.clone();
        let gone = fewer.remove(5);
        let mut expected = chosen.choices;
        expected[gone.index].k = 0;
        assert_eq!(ask(Source::Deviations(fewer)).choices, expected);
    }

    /// Two askers by turns: which of them comes first does not matter to the deviations of the other.
    #[test]
    fn a_deviation_is_made_where_its_asker_asks_again() {
        let asked_by = |order: &[u64], source| {
            let mut choices = Choices::new(source);
            for &g in order {
                choices.set_asker(|| Asker::Goroutine(g));
                choices.choose(ChoiceKind::EventOrder, 4);
            }
            choices.finish()
        };
        let kind = ChoiceKind::EventOrder;
        let list = [0, 0, 3, 1].map(|k| Choice { kind, n: 4, k });
        let deviations = asked_by(&[1, 1, 2, 1], Source::Replay(list.to_vec())).deviations;
        let other = asked_by(&[2, 1, 2, 1, 2, 1, 1], Source::Deviations(deviations.clone()));
        assert_eq!(
            other.choices.iter().map(|choice| choice.k).collect::<Vec<_>>(),
            [3, 0, 0, 0, 0, 1, 0]
        );
        let never = asked_by(&[3, 3, 3], Source::Deviations(deviations));
        assert!(never.deviations.is_empty());
    }

    #[test]
    fn a_deviation_of_threads_is_about_the_thread_and_not_its_place_in_the_queue() {
        let next = |runnable: &[u16], start, source| {
            let mut choices = Choices::new(source);
            let k = choices.thread(PointKind::Call, runnable, start);
            (k, choices.finish().deviations)
        };
        let list = vec![Choice { kind: ChoiceKind::Thread, n: 3, k: 2 }];
        let (_, deviations) = next(&[0, 1, 4], 0, Source::Replay(list));
        assert_eq!(deviations[0].target, Some(ThreadId(4)));
        let guided = || Source::Deviations(deviations.clone());
        assert_eq!(next(&[0, 4], 0, guided()).0, 1);
        assert_eq!(next(&[1, 4], 1, guided()).0, 0, "it runs already");
        assert_eq!(next(&[0, 1, 2], 0, guided()).0, 0, "it cannot run");
    }

    #[test]
    fn where_there_is_nothing_to_choose_nothing_is_recorded() {
        let mut choices = Choices::new(Source::Seed(1));
        assert_eq!(choices.choose(ChoiceKind::EventOrder, 1), 0);
        assert_eq!(choices.thread(PointKind::Call, &[3], 0), 0);
        assert!(!choices.chance(ChoiceKind::Fault(FaultKind::IoEintr), 0));
        assert!(choices.finish().choices.is_empty());
    }

    #[test]
    fn a_replay_that_does_not_fit_goes_on_with_zeros_and_says_where() {
        let mut list = ask(Source::Seed(7)).choices;
        list.truncate(40);
        list[20].n += 1;
        let replayed = ask(Source::Replay(list.clone()));
        assert_eq!(replayed.diverged, Some(20));
        assert_eq!(replayed.choices[..20], list[..20]);
        assert!(replayed.choices[20..].iter().all(|choice| choice.k == 0));
    }

    #[test]
    fn a_list_that_ends_goes_on_with_zeros_and_has_not_diverged() {
        let mut list = ask(Source::Seed(7)).choices;
        list.truncate(10);
        let replayed = ask(Source::Replay(list.clone()));
        assert_eq!(replayed.diverged, None);
        assert_eq!(replayed.choices[..10], list);
        assert!(replayed.choices[10..].iter().all(|choice| choice.k == 0));
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
        let all: Vec<ChoiceKind> = ChoiceKind::all().collect();
        assert_eq!(all.len(), ChoiceKind::COUNT);
        for (index, kind) in all.iter().enumerate() {
            assert_eq!(kind.index(), index, "{}", kind.name());
            assert_eq!(ChoiceKind::from_name(kind.name()), Some(*kind));
        }
    }

    #[test]
    fn a_choice_is_read_back_from_its_text() {
        for choice in ask(Source::Seed(3)).choices {
            assert_eq!(choice.to_string().parse(), Ok(choice));
        }
        for wrong in ["", "thread", "thread:3/3", "thread:0/1", "weather:0/2", "thread:x/2"] {
            assert!(wrong.parse::<Choice>().is_err(), "{wrong}");
        }
    }
}
