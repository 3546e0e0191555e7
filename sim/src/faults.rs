//! The faults that the simulated world may commit, and how often.
//!
//! Every fault of a profile is something that Linux (or POSIX, where netpoll has to live with other
//! kernels) allows a correct kernel to do. A rate of 0 means that the question is not even asked, so
//! that it takes no place in the list of choices.
//!
//! What they do to a program, and where they belong:
//!
//! | a program notices | kinds | profiles |
//! |---|---|---|
//! | nothing, if it is correct | the kinds up to `ShortWrite`; `IoEintr` and `ConnAborted` are in `chaos` only | `light`, `chaos` |
//! | an error, and may try the same call again; a datagram that does not come | the others down to `DatagramReordered` | `chaos` |
//! | that a connection is gone, and what it was promised with it | `NoStreamWatch`, `StreamReset`, `StreamTimeout` | none |
//! | a thread that sleeps for ever, which no kernel may do to it | `LostUnpark` | none |
//!
//! Those of the third row are for programs that do not call the loss of a connection a failure; those of
//! the last for tests of what watches over the runtime. Both are asked for by name:
//! `Faults::chaos().with(FaultKind::StreamReset, 5)`.

use crate::choice::Source;
use crate::swarm;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum FaultKind {
    /// A blocked `epoll_wait` returns `EINTR`.
    PollEintr,
    /// `read`, `write`, their kin, `accept4` or `connect` returns `EINTR`.
    IoEintr,
    /// A parked thread wakes for no reason.
    SpuriousWake,
    /// `epoll_wait` reports the readiness of a descriptor to which nothing new has happened.
    SpuriousEvent,
    /// `epoll_wait` reports a socket ready that is not: select(2), under "Bugs".
    FalseEvent,
    /// `accept4` returns `ECONNABORTED` for a connection that was reset before it was accepted, which is
    /// gone then. (Linux hands out the dead connection; accept(2) allows this.)
    ConnAborted,
    /// `write` takes fewer bytes than there is room for.
    ShortWrite,
    /// A call that makes a descriptor returns `EMFILE`, without effect on later calls.
    NoDescriptor,
    /// A call that makes a socket or a pipe returns `ENFILE`, in the same way.
    NoFile,
    /// `socket`, `accept4` or the sending of a datagram returns `ENOBUFS`, in the same way.
    NoBuffers,
    /// `socket`, `socketpair`, `accept4` or `EPOLL_CTL_ADD` returns `ENOMEM`, in the same way.
    NoMemory,
    /// `EPOLL_CTL_ADD` of a file that is no connection returns `ENOSPC`.
    NoWatch,
    /// An attempt to connect is refused, although somebody listens.
    ConnRefused,
    /// An attempt to connect fails with `EHOSTUNREACH`.
    ConnUnreachable,
    /// An attempt to connect fails with `ETIMEDOUT`, after some seconds.
    ConnTimeout,
    /// A UDP datagram is lost.
    DatagramLost,
    /// A UDP datagram comes twice.
    DatagramDuplicated,
    /// A UDP datagram is overtaken by later ones.
    DatagramReordered,
    /// `EPOLL_CTL_ADD` of a connection returns `ENOSPC`: who holds it has to close it, and its peer loses
    /// it.
    NoStreamWatch,
    /// A TCP connection is reset: both ends lose it, and what travels.
    StreamReset,
    /// What one end of a TCP connection sends is not answered any more: `ETIMEDOUT` after some seconds.
    StreamTimeout,
    /// An unpark has no effect, neither on a sleeper nor on the next park. At most once in a run.
    LostUnpark,
}

impl FaultKind {
    /// Every kind, in a fixed order.
    pub const ALL: [FaultKind; 22] = [
        FaultKind::PollEintr,
        FaultKind::IoEintr,
        FaultKind::SpuriousWake,
        FaultKind::SpuriousEvent,
        FaultKind::FalseEvent,
        FaultKind::ConnAborted,
        FaultKind::ShortWrite,
        FaultKind::NoDescriptor,
        FaultKind::NoFile,
        FaultKind::NoBuffers,
        FaultKind::NoMemory,
        FaultKind::NoWatch,
        FaultKind::ConnRefused,
        FaultKind::ConnUnreachable,
        FaultKind::ConnTimeout,
        FaultKind::DatagramLost,
        FaultKind::DatagramDuplicated,
        FaultKind::DatagramReordered,
        FaultKind::NoStreamWatch,
        FaultKind::StreamReset,
        FaultKind::StreamTimeout,
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
            FaultKind::FalseEvent => "false-event",
            FaultKind::ConnAborted => "conn-aborted",
            FaultKind::ShortWrite => "short-write",
            FaultKind::NoDescriptor => "no-descriptor",
            FaultKind::NoFile => "no-file",
            FaultKind::NoBuffers => "no-buffers",
            FaultKind::NoMemory => "no-memory",
            FaultKind::NoWatch => "no-watch",
            FaultKind::ConnRefused => "conn-refused",
            FaultKind::ConnUnreachable => "conn-unreachable",
            FaultKind::ConnTimeout => "conn-timeout",
            FaultKind::DatagramLost => "datagram-lost",
            FaultKind::DatagramDuplicated => "datagram-duplicated",
            FaultKind::DatagramReordered => "datagram-reordered",
            FaultKind::NoStreamWatch => "no-stream-watch",
            FaultKind::StreamReset => "stream-reset",
            FaultKind::StreamTimeout => "stream-timeout",
            FaultKind::LostUnpark => "lost-unpark",
        }
    }
}

impl FaultKind {
    /// Whether a program over netpoll gets to see it as an error of a call. `EINTR` and `ECONNABORTED` it does
    /// not: the runtime tries again.
    #[must_use]
    pub const fn is_error(self) -> bool {
        match self {
            FaultKind::PollEintr
            | FaultKind::IoEintr
            | FaultKind::SpuriousWake
            | FaultKind::SpuriousEvent
            | FaultKind::FalseEvent
            | FaultKind::ConnAborted
            | FaultKind::ShortWrite
            | FaultKind::DatagramLost
            | FaultKind::DatagramDuplicated
            | FaultKind::DatagramReordered
            | FaultKind::LostUnpark => false,
            FaultKind::NoDescriptor
            | FaultKind::NoFile
            | FaultKind::NoBuffers
            | FaultKind::NoMemory
            | FaultKind::NoWatch
            | FaultKind::ConnRefused
            | FaultKind::ConnUnreachable
            | FaultKind::ConnTimeout
            | FaultKind::NoStreamWatch
            | FaultKind::StreamReset
            | FaultKind::StreamTimeout => true,
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
    pub const fn none() -> Faults {
        Faults { per_mille: [0; FaultKind::ALL.len()] }
    }

    /// What a busy machine does to a program in a day, compressed. A correct program notices nothing.
    #[must_use]
    pub const fn light() -> Faults {
        Faults::none()
            .with(FaultKind::PollEintr, 20)
            .with(FaultKind::SpuriousWake, 20)
            .with(FaultKind::SpuriousEvent, 20)
            .with(FaultKind::FalseEvent, 20)
            .with(FaultKind::ShortWrite, 20)
    }

    /// Everything that is allowed and takes no connection away, often. Errors may reach the program.
    #[must_use]
    pub const fn chaos() -> Faults {
        Faults::none()
            .with(FaultKind::PollEintr, 150)
            .with(FaultKind::IoEintr, 50)
            .with(FaultKind::SpuriousWake, 150)
            .with(FaultKind::SpuriousEvent, 150)
            .with(FaultKind::FalseEvent, 100)
            .with(FaultKind::ConnAborted, 500)
            .with(FaultKind::ShortWrite, 200)
            .with(FaultKind::NoDescriptor, 20)
            .with(FaultKind::NoFile, 10)
            .with(FaultKind::NoBuffers, 10)
            .with(FaultKind::NoMemory, 10)
            .with(FaultKind::NoWatch, 20)
            .with(FaultKind::ConnRefused, 20)
            .with(FaultKind::ConnUnreachable, 20)
            .with(FaultKind::ConnTimeout, 20)
            .with(FaultKind::DatagramLost, 50)
            .with(FaultKind::DatagramDuplicated, 50)
            .with(FaultKind::DatagramReordered, 100)
    }

    /// The same faults, with another rate for one kind.
    ///
    /// # Panics
    /// If the rate is over 1000.
    #[must_use]
    pub const fn with(mut self, kind: FaultKind, per_mille: u16) -> Faults {
        assert!(per_mille <= 1000, "a rate is at most 1000 per mille");
        self.per_mille[kind as usize] = per_mille;
        self
    }

    /// The same without those that a program over netpoll gets to see as errors of calls, for programs that
    /// do not try again.
    #[must_use]
    pub fn without_errors(self) -> Faults {
        let kinds = FaultKind::ALL.into_iter().filter(|kind| kind.is_error());
        kinds.fold(self, |faults, kind| faults.with(kind, 0))
    }

    /// The rate of one kind.
    #[must_use]
    pub const fn per_mille(&self, kind: FaultKind) -> u16 {
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
    fn what_takes_more_than_an_error_is_in_no_profile() {
        let kinds = [
            FaultKind::NoStreamWatch,
            FaultKind::StreamReset,
            FaultKind::StreamTimeout,
            FaultKind::LostUnpark,
        ];
        for faults in [Faults::none(), Faults::light(), Faults::chaos()] {
            let rates = kinds.map(|kind| faults.per_mille(kind));
            assert_eq!(rates, [0; 4]);
        }
        let struck = |kind: &FaultKind| Faults::chaos().per_mille(*kind) > 0;
        let in_chaos = FaultKind::ALL.iter().filter(|kind| struck(kind)).count();
        assert_eq!(in_chaos, FaultKind::ALL.len() - kinds.len(), "chaos has all others");
    }

    #[test]
    fn the_program_sees_no_errors_under_light_faults() {
        let unnoticed = [
            FaultKind::PollEintr,
            FaultKind::SpuriousWake,
            FaultKind::SpuriousEvent,
            FaultKind::FalseEvent,
            FaultKind::ShortWrite,
        ];
        for kind in FaultKind::ALL {
            let may_strike = Faults::light().per_mille(kind) > 0;
            assert_eq!(may_strike, unnoticed.contains(&kind), "{}", kind.name());
        }
    }
}
