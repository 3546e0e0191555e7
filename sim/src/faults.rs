//! The faults that the simulated world may commit, and how often.
//!
//! Every fault of a profile is something that Linux (or POSIX, where netpoll has to live with other
//! kernels) allows a correct kernel to do. A rate of 0 means that the question is not even asked, so
//! that it takes no place in the list of choices.
//!
//! One kind is in no profile because no kernel may do it: [`FaultKind::LostUnpark`]. It is for tests of
//! what watches over the runtime, which must see through it.

use crate::choice::Source;
use crate::swarm;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum FaultKind {
    /// A blocked `epoll_wait` returns `EINTR`.
    PollEintr,
    /// `read`, `write`, `accept4` or `connect` returns `EINTR`.
    IoEintr,
    /// A parked thread wakes for no reason.
    SpuriousWake,
    /// `epoll_wait` reports the readiness of a descriptor to which nothing new has happened.
    SpuriousEvent,
    /// `accept4` returns `ECONNABORTED`: a connection came and went before it was accepted.
    ConnAborted,
    /// `write` takes fewer bytes than there is room for.
    ShortWrite,
    /// `socket` or `accept4` returns `EMFILE`, without effect on later calls.
    NoDescriptor,
    /// An unpark has no effect, neither on a sleeper nor on the next park. At most once in a run.
    LostUnpark,
}

impl FaultKind {
    /// Every kind, in a fixed order.
    pub const ALL: [FaultKind; 8] = [
        FaultKind::PollEintr,
        FaultKind::IoEintr,
        FaultKind::SpuriousWake,
        FaultKind::SpuriousEvent,
        FaultKind::ConnAborted,
        FaultKind::ShortWrite,
        FaultKind::NoDescriptor,
        FaultKind::LostUnpark,
    ];

    /// The name in traces, tables and files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            FaultKind::PollEintr => "poll-eintr",
            FaultKind::IoEintr => "io-eintr",
            FaultKind::SpuriousWake => "spurious-wake",
            FaultKind::SpuriousEvent => "spurious-event",
            FaultKind::ConnAborted => "conn-aborted",
            FaultKind::ShortWrite => "short-write",
            FaultKind::NoDescriptor => "no-descriptor",
            FaultKind::LostUnpark => "lost-unpark",
        }
    }
}

/// How often each fault strikes, per mille of the occasions on which it could.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    per_mille: [u16; FaultKind::ALL.len()],
}

impl Faults {
    /// No faults: only order and delays vary.
    #[must_use]
    pub fn none() -> Faults {
        Faults::default()
    }

    /// What a busy machine does to a program in a day, compressed. A correct program notices nothing.
    #[must_use]
    pub fn light() -> Faults {
        Faults::none()
            .with(FaultKind::PollEintr, 20)
            .with(FaultKind::SpuriousWake, 20)
            .with(FaultKind::SpuriousEvent, 20)
            .with(FaultKind::ShortWrite, 20)
    }

    /// Everything that is allowed, often. Errors may reach the program.
    #[must_use]
    pub fn chaos() -> Faults {
        Faults::none()
            .with(FaultKind::PollEintr, 150)
            .with(FaultKind::IoEintr, 50)
            .with(FaultKind::SpuriousWake, 150)
            .with(FaultKind::SpuriousEvent, 150)
            .with(FaultKind::ConnAborted, 100)
            .with(FaultKind::ShortWrite, 200)
            .with(FaultKind::NoDescriptor, 20)
    }

    /// The same faults, with another rate for one kind.
    ///
    /// # Panics
    /// If the rate is over 1000.
    #[must_use]
    pub fn with(mut self, kind: FaultKind, per_mille: u16) -> Faults {
        assert!(per_mille <= 1000, "a rate of {per_mille} per mille");
        self.per_mille[kind as usize] = per_mille;
        self
    }

    /// The rate of one kind.
    #[must_use]
    pub fn per_mille(&self, kind: FaultKind) -> u16 {
        self.per_mille[kind as usize]
    }
}

/// A named choice of faults and freedoms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Profile {
    /// No faults.
    None,
    /// [`Faults::light`].
    Light,
    /// [`Faults::chaos`].
    Chaos,
    /// Each seed draws which of the faults of chaos there are at all and how often they strike, and the
    /// same for freedoms. Which they were, need not be known to repeat a run by its choices.
    Swarm,
}

impl Profile {
    /// Every profile, in a fixed order.
    pub const ALL: [Profile; 4] = [Profile::None, Profile::Light, Profile::Chaos, Profile::Swarm];

    /// What it is called on the command line and in files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Profile::None => "none",
            Profile::Light => "light",
            Profile::Chaos => "chaos",
            Profile::Swarm => "swarm",
        }
    }

    /// The profile with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Profile> {
        Profile::ALL.into_iter().find(|profile| profile.name() == name)
    }

    /// The faults of a seed.
    #[must_use]
    pub fn faults(self, seed: u64) -> Faults {
        match self {
            Profile::None => Faults::none(),
            Profile::Light => Faults::light(),
            Profile::Chaos => Faults::chaos(),
            Profile::Swarm => swarm::faults(seed),
        }
    }

    /// Where the choices of a seed come from.
    #[must_use]
    pub fn source(self, seed: u64) -> Source {
        match self {
            Profile::None | Profile::Light | Profile::Chaos => Source::Seed(seed),
            Profile::Swarm => Source::Swarm(seed),
        }
    }
}

/// How often each kind of fault struck in a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultCounts {
    counts: [u32; FaultKind::ALL.len()],
}

impl FaultCounts {
    pub(crate) fn add(&mut self, kind: FaultKind) {
        self.counts[kind as usize] += 1;
    }

    /// How often `kind` struck.
    #[must_use]
    pub fn of(&self, kind: FaultKind) -> u32 {
        self.counts[kind as usize]
    }

    /// The kinds that struck, with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (FaultKind, u32)> {
        let all = FaultKind::ALL.into_iter().zip(self.counts);
        all.filter(|&(_, count)| count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_all_kinds_is_that_of_their_numbers() {
        for (index, kind) in FaultKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index);
        }
    }

    #[test]
    fn what_no_kernel_may_do_is_in_no_profile() {
        for faults in [Faults::none(), Faults::light(), Faults::chaos()] {
            assert_eq!(faults.per_mille(FaultKind::LostUnpark), 0);
        }
    }

    #[test]
    fn the_program_sees_no_errors_under_light_faults() {
        for kind in [FaultKind::IoEintr, FaultKind::ConnAborted, FaultKind::NoDescriptor] {
            assert_eq!(Faults::light().per_mille(kind), 0, "{}", kind.name());
        }
    }
}
