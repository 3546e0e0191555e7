//! All poll descriptors of a runtime: allocation, the free list, and the tag in an event's user data.
//!
//! The user data of a kernel event is `life << 32 | index`: 20 bits of life number and the index of
//! the descriptor. It is compared and decoded as one 64-bit value in this one encoding, and the break
//! event's all-ones value lies outside it (S31; golang/go#72900 compared half of it).

use super::desc::PollDesc;
use super::info::{FileKind, LIFE_BITS};
use crate::platform::{Lock, Platform, RawFd};
use crate::table::Table;

/// User data of the event that breaks a poll.
pub const BREAK: u64 = u64::MAX;

const _: () = assert!(32 + LIFE_BITS < 64, "no descriptor's user data is all ones");

/// The user data for a descriptor's life.
pub fn encode(index: u32, life: u32) -> u64 {
    u64::from(life) << 32 | u64::from(index)
}

/// The index and the life of user data, or `None` when it cannot be ours.
pub fn decode(data: u64) -> Option<(u32, u32)> {
    let life = (data >> 32) as u32;
    if life >> LIFE_BITS != 0 {
        return None;
    }
    Some((data as u32, life))
}

#[derive(Debug, Default)]
struct Free {
    /// Descriptors between two lives; the last one freed is the first one used again.
    list: Vec<u32>,
    /// Descriptors ever made.
    made: u32,
}

/// The descriptors of one runtime.
pub struct Lives<P: Platform> {
    table: Table<PollDesc<P>>,
    free: P::Mutex<Free>,
}

impl<P: Platform> std::fmt::Debug for Lives<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lives").finish_non_exhaustive()
    }
}

impl<P: Platform> Lives<P> {
    /// No descriptors.
    pub fn new() -> Lives<P> {
        Lives { table: Table::new(), free: P::Mutex::new(Free::default()) }
    }

    /// Begins a life for `fd` and returns the descriptor's index.
    pub fn open(&self, kernel: &P::Kernel, fd: RawFd, kind: FileKind) -> u32 {
        let index = self.allocate();
        self.get(index).open(kernel, fd, kind);
        index
    }

    fn allocate(&self) -> u32 {
        let mut free = self.free.lock();
        if let Some(index) = free.list.pop() {
            return index;
        }
        let index = free.made;
        free.made += 1;
        self.table.insert(index, PollDesc::new(index));
        index
    }

    /// Gives back a descriptor whose life has ended or was abandoned.
    pub fn free(&self, index: u32) {
        self.free.lock().list.push(index);
    }

    /// The descriptor with this index.
    #[inline]
    pub fn get(&self, index: u32) -> &PollDesc<P> {
        self.table.get(index)
    }

    /// The descriptor and life that an event names, if the descriptor exists.
    pub fn of_event(&self, data: u64) -> Option<(&PollDesc<P>, u32)> {
        let (index, life) = decode(data)?;
        Some((self.table.try_get(index)?, life))
    }

    /// All descriptors that were ever made.
    pub fn iter(&self) -> impl Iterator<Item = &PollDesc<P>> {
        self.table.iter()
    }

    /// How many descriptors are alive.
    pub fn alive(&self) -> u32 {
        let free = self.free.lock();
        free.made - free.list.len() as u32
    }
}

impl<P: Platform> Default for Lives<P> {
    fn default() -> Lives<P> {
        Lives::new()
    }
}

#[cfg(test)]
mod tests {
    use super::super::info::LIFE_MAX;
    use super::*;

    #[test]
    fn user_data_is_one_to_one_and_never_the_break_value() {
        for index in [0, 1, 0xffff, u32::MAX] {
            for life in [1, 2, LIFE_MAX - 1, LIFE_MAX] {
                let data = encode(index, life);
                assert_eq!(decode(data), Some((index, life)));
                assert_ne!(data, BREAK);
            }
        }
        assert_eq!(decode(BREAK), None);
        assert_eq!(decode(1 << (32 + LIFE_BITS)), None);
    }
}
