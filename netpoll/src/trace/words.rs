//! Events as words: the form in which they lie in a ring and in a file.
//!
//! An event becomes a tag and up to [`WORDS`] words of 64 bits, field after field. Names of system calls are
//! numbers of a table there: of [`SYSCALLS`] in a ring, of the file's own in a file. A tag means the same for
//! ever: a new event gets a new one, and one that goes leaves its tag unused.

use std::fmt;

use super::{Event, Mode, SlotState, TimerUse, WaitReason, WorkerPhase};
use crate::ops::Deadlines;
use crate::platform::Errno;

/// The most words that an event has.
pub const WORDS: usize = 5;

/// The system calls that a trace can name, those that are made most often first.
pub const SYSCALLS: [&str; 31] = [
    "read",
    "write",
    "epoll_wait",
    "accept4",
    "close",
    "epoll_add",
    "epoll_del",
    "connect",
    "recvfrom",
    "sendto",
    "getsockopt",
    "setsockopt",
    "getpeername",
    "getsockname",
    "socket",
    "shutdown",
    "readv",
    "writev",
    "peek",
    "poll",
    "epoll_mod",
    "epoll_create1",
    "eventfd",
    "bind",
    "listen",
    "socketpair",
    "pipe2",
    "dup",
    "fcntl",
    "unlink",
    "open",
];

/// The number of a system call in [`SYSCALLS`]; the number behind the last one for a call that is not there.
#[must_use]
pub fn syscall_number(name: &str) -> u64 {
    let place = SYSCALLS.iter().position(|&it| it == name);
    place.unwrap_or(SYSCALLS.len()) as u64
}

/// An event as words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packed {
    /// Which event.
    pub tag: u8,
    /// How many of the words are the event's.
    pub len: u8,
    /// Its fields; 0 behind the last one.
    pub words: [u64; WORDS],
}

/// How names become numbers and numbers names.
pub trait Names: fmt::Debug {
    /// The number of a name.
    fn number(&self, name: &'static str) -> u64;
    /// The name with this number, if there is one.
    fn name(&self, number: u64) -> Option<&'static str>;
}

/// The names of [`SYSCALLS`].
#[derive(Clone, Copy, Debug)]
pub struct KnownNames;

impl Names for KnownNames {
    fn number(&self, name: &'static str) -> u64 {
        syscall_number(name)
    }
    fn name(&self, number: u64) -> Option<&'static str> {
        SYSCALLS.get(usize::try_from(number).ok()?).copied()
    }
}

/// Puts fields into words.
#[derive(Debug)]
pub struct Packer<'a> {
    packed: Packed,
    names: &'a dyn Names,
}

impl<'a> Packer<'a> {
    /// For an event with this tag.
    #[inline]
    pub fn new(tag: u8, names: &'a dyn Names) -> Packer<'a> {
        Packer { packed: Packed { tag, ..Packed::default() }, names }
    }

    /// The next word.
    ///
    /// # Panics
    /// If there have been [`WORDS`].
    #[inline]
    pub fn word(&mut self, word: u64) {
        self.packed.words[usize::from(self.packed.len)] = word;
        self.packed.len += 1;
    }

    /// All of them.
    #[inline]
    #[must_use]
    pub fn finish(self) -> Packed {
        self.packed
    }
}

/// Takes fields out of words.
#[derive(Debug)]
pub struct Unpacker<'a> {
    words: &'a [u64],
    names: &'a dyn Names,
}

impl<'a> Unpacker<'a> {
    /// From these words.
    #[must_use]
    pub fn new(words: &'a [u64], names: &'a dyn Names) -> Unpacker<'a> {
        Unpacker { words, names }
    }

    /// The next word, if there is one.
    pub fn word(&mut self) -> Option<u64> {
        let (&word, rest) = self.words.split_first()?;
        self.words = rest;
        Some(word)
    }

    /// Whether all have been taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }
}

/// A field of an event.
pub trait Field: Sized {
    /// How many words it takes.
    const LEN: usize = 1;
    /// Puts it into words.
    fn put(&self, packer: &mut Packer<'_>);
    /// Takes it out of words; `None` when they are not those of such a field.
    fn get(unpacker: &mut Unpacker<'_>) -> Option<Self>;
}

macro_rules! numbers {
    ($($type:ty: $wide:ty,)*) => {
        $(impl Field for $type {
            #[inline]
            fn put(&self, packer: &mut Packer<'_>) {
                // Negative numbers keep their sign: the word is that of the wide type.
                packer.word(<$wide>::from(*self) as u64);
            }
            fn get(unpacker: &mut Unpacker<'_>) -> Option<Self> {
                <$type>::try_from(unpacker.word()? as $wide).ok()
            }
        })*
    };
}

numbers! {
    u16: u64,
    u32: u64,
    u64: u64,
    i32: i64,
    i64: i64,
}

impl Field for bool {
    #[inline]
    fn put(&self, packer: &mut Packer<'_>) {
        packer.word((*self).into());
    }
    fn get(unpacker: &mut Unpacker<'_>) -> Option<bool> {
        match unpacker.word()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}

impl Field for &'static str {
    #[inline]
    fn put(&self, packer: &mut Packer<'_>) {
        let number = packer.names.number(self);
        packer.word(number);
    }
    fn get(unpacker: &mut Unpacker<'_>) -> Option<&'static str> {
        let number = unpacker.word()?;
        unpacker.names.name(number)
    }
}

/// Joins a kind, a byte and 32 bits in one word.
const fn join(kind: u8, byte: u8, low: u32) -> u64 {
    (low as u64) << 32 | (byte as u64) << 8 | kind as u64
}

/// Takes apart what [`join`] has joined.
fn part(word: u64) -> Option<(u8, u8, u32)> {
    let (low, rest) = ((word >> 32) as u32, word as u32);
    (rest <= 0xffff).then_some((rest as u8, (rest >> 8) as u8, low))
}

/// The one of `all` with this number.
fn nth<T: Copy>(all: &[T], number: u8) -> Option<T> {
    all.get(usize::from(number)).copied()
}

const MODES: [Mode; 2] = [Mode::Read, Mode::Write];
const DEADLINES: [Deadlines; 3] = [Deadlines::Read, Deadlines::Write, Deadlines::Both];

impl Field for Mode {
    #[inline]
    fn put(&self, packer: &mut Packer<'_>) {
        packer.word(*self as u64);
    }
    fn get(unpacker: &mut Unpacker<'_>) -> Option<Mode> {
        nth(&MODES, u8::try_from(unpacker.word()?).ok()?)
    }
}

impl Field for SlotState {
    #[inline]
    fn put(&self, packer: &mut Packer<'_>) {
        packer.word(match *self {
            SlotState::Nil => join(0, 0, 0),
            SlotState::Ready => join(1, 0, 0),
            SlotState::Wait => join(2, 0, 0),
            SlotState::Parked(g) => join(3, 0, g),
        });
    }
    fn get(unpacker: &mut Unpacker<'_>) -> Option<SlotState> {
        match part(unpacker.word()?)? {
            (0, 0, 0) => Some(SlotState::Nil),
            (1, 0, 0) => Some(SlotState::Ready),
            (2, 0, 0) => Some(SlotState::Wait),
            (3, 0, g) => Some(SlotState::Parked(g)),
            _ => None,
        }
    }
}

/// The reasons that are about no descriptor, by number; those about one come before.
const REASONS: [WaitReason; 11] = [
    WaitReason::Sleep,
    WaitReason::Join,
    WaitReason::Scope,
    WaitReason::ChanRecv,
    WaitReason::ChanSend,
    WaitReason::Mutex,
    WaitReason::RwLock,
    WaitReason::Condvar,
    WaitReason::WaitGroup,
    WaitReason::Blocking,
    WaitReason::StopTheWorld,
];
/// How many reasons are about a descriptor.
const ABOUT_FD: u8 = 3;

impl WaitReason {
    /// The reason as a word, whose low byte says which.
    pub(crate) const fn encode(self) -> u64 {
        const fn plain(index: u8) -> u64 {
            join(ABOUT_FD + index, 0, 0)
        }
        match self {
            WaitReason::Io(fd, mode) => join(0, mode as u8, fd.cast_unsigned()),
            WaitReason::FdLock(fd, mode) => join(1, mode as u8, fd.cast_unsigned()),
            WaitReason::Close(fd) => join(2, 0, fd.cast_unsigned()),
            WaitReason::Sleep => plain(0),
            WaitReason::Join => plain(1),
            WaitReason::Scope => plain(2),
            WaitReason::ChanRecv => plain(3),
            WaitReason::ChanSend => plain(4),
            WaitReason::Mutex => plain(5),
            WaitReason::RwLock => plain(6),
            WaitReason::Condvar => plain(7),
            WaitReason::WaitGroup => plain(8),
            WaitReason::Blocking => plain(9),
            WaitReason::StopTheWorld => plain(10),
        }
    }

    /// The reason of a word; `None` when it is of none.
    pub(crate) fn decode(word: u64) -> Option<WaitReason> {
        let (kind, mode, fd) = part(word)?;
        let fd = fd.cast_signed();
        match kind {
            0 => Some(WaitReason::Io(fd, nth(&MODES, mode)?)),
            1 => Some(WaitReason::FdLock(fd, nth(&MODES, mode)?)),
            2 => Some(WaitReason::Close(fd)),
            _ => nth(&REASONS, kind - ABOUT_FD),
        }
    }
}

impl Field for WaitReason {
    #[inline]
    fn put(&self, packer: &mut Packer<'_>) {
        packer.word(self.encode());
    }
    fn get(unpacker: &mut Unpacker<'_>) -> Option<WaitReason> {
        WaitReason::decode(unpacker.word()?)
    }
}

impl Field for WorkerPhase {
    const LEN: usize = 3;
    #[inline]
    fn put(&self, packer: &mut Packer<'_>) {
        let (kind, until_ns, delay_ns) = match *self {
            WorkerPhase::Spinning => (0, 0, 0),
            WorkerPhase::Polling { until_ns, delay_ns } => (1, until_ns, delay_ns),
            WorkerPhase::Parked => (2, 0, 0),
            WorkerPhase::Awake => (3, 0, 0),
            WorkerPhase::Stopped => (4, 0, 0),
        };
        packer.word(kind);
        packer.word(until_ns);
        packer.word(delay_ns);
    }
    fn get(unpacker: &mut Unpacker<'_>) -> Option<WorkerPhase> {
        let (kind, until_ns, delay_ns) = (unpacker.word()?, unpacker.word()?, unpacker.word()?);
        match kind {
            0 => Some(WorkerPhase::Spinning),
            1 => Some(WorkerPhase::Polling { until_ns, delay_ns }),
            2 => Some(WorkerPhase::Parked),
            3 => Some(WorkerPhase::Awake),
            4 => Some(WorkerPhase::Stopped),
            _ => None,
        }
    }
}

impl Field for TimerUse {
    #[inline]
    fn put(&self, packer: &mut Packer<'_>) {
        packer.word(match *self {
            TimerUse::Deadline { pd, which } => join(0, which as u8, pd),
            TimerUse::Park { g } => join(1, 0, g),
        });
    }
    fn get(unpacker: &mut Unpacker<'_>) -> Option<TimerUse> {
        match part(unpacker.word()?)? {
            (0, which, pd) => Some(TimerUse::Deadline { pd, which: nth(&DEADLINES, which)? }),
            (1, 0, g) => Some(TimerUse::Park { g }),
            _ => None,
        }
    }
}

impl Field for Result<i64, Errno> {
    const LEN: usize = 2;
    #[inline]
    fn put(&self, packer: &mut Packer<'_>) {
        let (is_error, value) = match *self {
            Ok(value) => (false, value),
            Err(errno) => (true, errno.0.into()),
        };
        is_error.put(packer);
        value.put(packer);
    }
    fn get(unpacker: &mut Unpacker<'_>) -> Option<Result<i64, Errno>> {
        let (is_error, value) = (bool::get(unpacker)?, i64::get(unpacker)?);
        Some(match is_error {
            false => Ok(value),
            true => Err(Errno(value.try_into().ok()?)),
        })
    }
}

/// Declares how the variants of an enumeration become words: a tag for each, and its fields with their types
/// in the order in which they come. A compiler error says when a variant or a field is missing.
#[macro_export]
#[doc(hidden)]
macro_rules! packed_events {
    ($(#[$meta:meta])* $type:ident: $($tag:literal $name:ident { $($field:ident: $of:ty),* })*) => {
        impl $type {
            /// The event as words.
            #[inline]
            #[must_use]
            pub fn pack(&self, names: &dyn $crate::trace::words::Names) -> $crate::trace::words::Packed {
                use $crate::trace::words::{Field, Packer};
                match *self {
                    $($type::$name { $($field),* } => {
                        #[allow(unused_mut, reason = "an event without fields")]
                        let mut packer = Packer::new($tag, names);
                        $(<$of as Field>::put(&$field, &mut packer);)*
                        packer.finish()
                    })*
                }
            }

            /// The event that was [packed](Self::pack) so; `None` when none was.
            #[must_use]
            pub fn unpack(
                tag: u8,
                words: &[u64],
                names: &dyn $crate::trace::words::Names,
            ) -> Option<$type> {
                use $crate::trace::words::{Field, Unpacker};
                let mut unpacker = Unpacker::new(words, names);
                let event = match tag {
                    $($tag => $type::$name { $($field: <$of as Field>::get(&mut unpacker)?),* },)*
                    _ => return None,
                };
                unpacker.is_empty().then_some(event)
            }

            /// How many words the event with this tag has; `None` when there is no such event.
            #[must_use]
            pub const fn words_of(tag: u8) -> Option<usize> {
                match tag {
                    $($tag => Some(0 $(+ <$of as $crate::trace::words::Field>::LEN)*),)*
                    _ => None,
                }
            }
        }
    };
}

packed_events! { Event:
    0 Go { g: u64 }
    1 Run { g: u64 }
    2 Yield { g: u64 }
    3 Park { g: u64, on: WaitReason }
    4 Abandon { g: u64 }
    5 Ready { g: u64 }
    6 Panic { g: u64 }
    7 Done { g: u64 }
    8 Open { fd: i32, pd: u32, life: u32 }
    9 End { fd: i32, pd: u32 }
    10 Use { fd: i32, pd: u32 }
    11 Leave { fd: i32, pd: u32 }
    12 Dispatch { pd: u32, life: u32 }
    13 Stale { pd: u32, life: u32 }
    14 Slot { pd: u32, fd: i32, mode: Mode, from: SlotState, to: SlotState }
    15 Deadline { pd: u32, fd: i32, mode: Mode, at_ns: i64 }
    16 Expired { pd: u32, fd: i32, mode: Mode }
    17 Evict { pd: u32, fd: i32 }
    18 Waiters { count: i32 }
    19 Arm { worker: u32, timer: u64, at_ns: u64, what: TimerUse }
    20 Disarm { worker: u32, timer: u64 }
    21 Fire { worker: u32, timer: u64 }
    22 Worker { phase: WorkerPhase }
    23 Wake { worker: u32 }
    24 Workers { active: u32 }
    25 World { is_stopped: bool }
    26 Break { sent: bool }
    27 Drained {}
    28 Syscall { name: &'static str, fd: i32, arg: i64, result: Result<i64, Errno> }
    29 Polled { data: u64, events: u32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Event> {
        let mut all = vec![
            Event::Go { g: u64::MAX },
            Event::Run { g: 7 },
            Event::Yield { g: 7 },
            Event::Abandon { g: 7 },
            Event::Ready { g: 7 },
            Event::Panic { g: 7 },
            Event::Done { g: 7 },
            Event::Open { fd: -1, pd: 3, life: u32::MAX },
            Event::End { fd: i32::MAX, pd: 3 },
            Event::Use { fd: 4, pd: 3 },
            Event::Leave { fd: 4, pd: 3 },
            Event::Dispatch { pd: 3, life: 5 },
            Event::Stale { pd: 3, life: 5 },
            Event::Deadline { pd: 3, fd: 4, mode: Mode::Write, at_ns: -1 },
            Event::Expired { pd: 3, fd: 4, mode: Mode::Read },
            Event::Evict { pd: 3, fd: 4 },
            Event::Waiters { count: -2 },
            Event::Disarm { worker: 1, timer: 9 },
            Event::Fire { worker: 1, timer: 9 },
            Event::Wake { worker: 1 },
            Event::Workers { active: 2 },
            Event::World { is_stopped: true },
            Event::Break { sent: false },
            Event::Drained,
            Event::Syscall { name: "read", fd: 4, arg: -1, result: Ok(-5) },
            Event::Syscall { name: "open", fd: -1, arg: i64::MIN, result: Err(Errno::EAGAIN) },
            Event::Polled { data: u64::MAX, events: u32::MAX },
        ];
        let about_fd = [
            WaitReason::Io(-1, Mode::Write),
            WaitReason::FdLock(7, Mode::Read),
            WaitReason::Close(i32::MAX),
        ];
        all.extend(about_fd.into_iter().chain(REASONS).map(|on| Event::Park { g: 1, on }));
        let states =
            [SlotState::Nil, SlotState::Ready, SlotState::Wait, SlotState::Parked(u32::MAX)];
        for (from, to) in states.iter().flat_map(|&from| states.map(|to| (from, to))) {
            all.push(Event::Slot { pd: 1, fd: 2, mode: Mode::Read, from, to });
        }
        let uses = DEADLINES.map(|which| TimerUse::Deadline { pd: 8, which });
        for what in uses.into_iter().chain([TimerUse::Park { g: u32::MAX }]) {
            all.push(Event::Arm { worker: 0, timer: 1, at_ns: u64::MAX, what });
        }
        let phases = [
            WorkerPhase::Spinning,
            WorkerPhase::Polling { until_ns: u64::MAX, delay_ns: 1 },
            WorkerPhase::Parked,
            WorkerPhase::Awake,
            WorkerPhase::Stopped,
        ];
        all.extend(phases.map(|phase| Event::Worker { phase }));
        all
    }

    #[test]
    fn every_event_comes_out_of_words_as_it_went_in() {
        let mut tags = Vec::new();
        for event in all() {
            let packed = event.pack(&KnownNames);
            let words = &packed.words[..packed.len.into()];
            assert_eq!(Event::words_of(packed.tag), Some(words.len()), "{event}");
            assert_eq!(Event::unpack(packed.tag, words, &KnownNames), Some(event), "{event}");
            tags.push(packed.tag);
        }
        tags.sort_unstable();
        tags.dedup();
        let every: Vec<u8> = (0..=u8::MAX).filter(|&tag| Event::words_of(tag).is_some()).collect();
        assert_eq!(tags, every, "each event is tried");
    }

    #[test]
    fn words_that_are_of_no_event_are_refused() {
        let unpack = |tag, words: &[u64]| Event::unpack(tag, words, &KnownNames);
        assert_eq!(unpack(200, &[]), None, "a tag of no event");
        assert_eq!(unpack(0, &[]), None, "a word is missing");
        assert_eq!(unpack(0, &[1, 2]), None, "a word too many");
        assert_eq!(unpack(25, &[2]), None, "no boolean");
        assert_eq!(unpack(23, &[1 << 32]), None, "no u32");
        assert_eq!(unpack(3, &[1, 99]), None, "no reason");
        assert_eq!(unpack(28, &[SYSCALLS.len() as u64, 0, 0, 0, 0]), None, "no name");
    }

    #[test]
    fn system_calls_have_one_number_each() {
        for (number, name) in SYSCALLS.into_iter().enumerate() {
            assert_eq!(syscall_number(name), number as u64);
        }
        assert_eq!(KnownNames.name(syscall_number("fork")), None);
    }
}
