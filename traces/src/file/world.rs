//! What the world did, as words.

use netpoll::packed_events;
use netpoll::trace::Event;
use netpoll::trace::words::{Field, Packer, Unpacker};

use crate::{BlockedOn, Entry, ThreadId, WorldEvent};

impl Field for ThreadId {
    fn put(&self, packer: &mut Packer<'_>) {
        self.0.put(packer);
    }
    fn get(unpacker: &mut Unpacker<'_>) -> Option<ThreadId> {
        u16::get(unpacker).map(ThreadId)
    }
}

impl Field for BlockedOn {
    const LEN: usize = 2;
    fn put(&self, packer: &mut Packer<'_>) {
        let (kind, number) = match *self {
            BlockedOn::Lock(lock) => (0, lock),
            BlockedOn::Parker(parker) => (1, parker),
            BlockedOn::Join(thread) => (2, thread.0.into()),
            BlockedOn::Poll(fd) => (3, fd.cast_unsigned()),
        };
        packer.word(kind);
        packer.word(number.into());
    }
    fn get(unpacker: &mut Unpacker<'_>) -> Option<BlockedOn> {
        let (kind, number) = (unpacker.word()?, unpacker.word()?);
        let number = u32::try_from(number).ok()?;
        Some(match kind {
            0 => BlockedOn::Lock(number),
            1 => BlockedOn::Parker(number),
            2 => BlockedOn::Join(ThreadId(number.try_into().ok()?)),
            3 => BlockedOn::Poll(number.cast_signed()),
            _ => return None,
        })
    }
}

packed_events! { WorldEvent:
    128 Spawn { thread: ThreadId }
    129 Exit {}
    130 Panic {}
    131 Block { on: BlockedOn, until_ns: u64 }
    132 Resume { timed_out: bool }
    133 Arrive { fd: i32, len: u32 }
    134 Watch { fd: i32, file: u32, events: u32, data: u64, queued: bool }
    135 Edge { fd: i32, file: u32, ready: u32, wakeup: u32 }
    136 Spurious { fd: i32, file: u32 }
    137 Harvest { fd: i32, file: u32, events: u32, data: u64 }
    138 Fault { name: &'static str }
    139 Healed {}
    140 Arranged { what: &'static str }
}

/// The name that an event refers to, if it refers to one.
pub(super) fn name_in(event: Entry) -> Option<&'static str> {
    match event {
        Entry::Runtime(Event::Syscall { name, .. }) | Entry::World(WorldEvent::Fault { name }) => {
            Some(name)
        }
        Entry::World(WorldEvent::Arranged { what }) => Some(what),
        _ => None,
    }
}
