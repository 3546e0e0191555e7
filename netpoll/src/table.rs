//! A growing table whose entries never move and are never freed before the table is.
//!
//! Goroutines and poll descriptors are *type-stable*: a stale reference (an event harvested before a
//! close, a ticket used late) may still look at the object, and finds there that its life is over.
//! Objects are named by a `u32` index, so no word of the runtime holds a pointer.
//!
//! Entry `i` lives in chunk `k` of `64 << k` entries. Looking one up is two loads and no lock. The
//! chunk pointers are `OnceLock`s of `std` under every platform: an index reaches another thread only
//! through the platform's own synchronisation, which orders the initialisation before the look-up.

use std::sync::OnceLock;

/// Entries of the first chunk.
const FIRST: u32 = 64;
/// Chunks: together 64 · (2²⁰ − 1), about 67 million entries, a bound far above any stack arena.
const CHUNKS: usize = 20;

/// The most entries that a table can have.
pub const CAPACITY: u32 = FIRST * ((1 << CHUNKS) - 1);

/// See the module documentation.
pub struct Table<T> {
    chunks: [OnceLock<Box<[OnceLock<T>]>>; CHUNKS],
}

/// The chunk of entry `index`, and its place there.
fn locate(index: u32) -> (usize, usize) {
    let shifted = index / FIRST + 1;
    let chunk = shifted.ilog2();
    let before = FIRST * ((1 << chunk) - 1);
    (chunk as usize, (index - before) as usize)
}

impl<T> Table<T> {
    /// An empty table.
    pub fn new() -> Table<T> {
        Table { chunks: std::array::from_fn(|_| OnceLock::new()) }
    }

    /// The entry with this index.
    ///
    /// # Panics
    /// When there is none: an index always comes from [`insert`](Table::insert).
    #[inline]
    pub fn get(&self, index: u32) -> &T {
        self.try_get(index).expect("a table index comes from an insertion")
    }

    /// The entry with this index, if there is one.
    #[inline]
    pub fn try_get(&self, index: u32) -> Option<&T> {
        let (chunk, place) = locate(index);
        self.chunks.get(chunk)?.get()?.get(place)?.get()
    }

    /// All entries, in the order of their indices, up to the first that is missing.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        (0..).map_while(|index| self.try_get(index))
    }

    /// Puts an entry at `index`, which the caller owns and has not used before.
    ///
    /// # Panics
    /// When the entry is there already or the index is not below [`CAPACITY`].
    pub fn insert(&self, index: u32, value: T) -> &T {
        assert!(index < CAPACITY, "table index {index} is not below {CAPACITY}");
        let (chunk, place) = locate(index);
        let entries = self.chunks[chunk].get_or_init(|| {
            let length = (FIRST as usize) << chunk;
            (0..length).map(|_| OnceLock::new()).collect()
        });
        assert!(entries[place].set(value).is_ok(), "table entry {index} was used before");
        self.get(index)
    }
}

impl<T> Default for Table<T> {
    fn default() -> Table<T> {
        Table::new()
    }
}

impl<T> std::fmt::Debug for Table<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let chunks = self.chunks.iter().filter(|chunk| chunk.get().is_some()).count();
        f.debug_struct("Table").field("chunks", &chunks).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_index_has_a_place_of_its_own_and_chunks_are_filled_in_order() {
        let mut expected = (0, 0);
        for index in 0..100_000 {
            assert_eq!(locate(index), expected, "index {index}");
            expected.1 += 1;
            if expected.1 == (FIRST as usize) << expected.0 {
                expected = (expected.0 + 1, 0);
            }
        }
        assert_eq!(locate(CAPACITY - 1), (CHUNKS - 1, ((FIRST as usize) << (CHUNKS - 1)) - 1));
    }

    #[test]
    fn entries_are_found_again_and_missing_ones_are_not() {
        let table = Table::new();
        for index in 0..500 {
            table.insert(index, index * 3);
        }
        assert!((0..500).all(|index| *table.get(index) == index * 3));
        assert_eq!(table.try_get(500), None);
        assert_eq!(table.try_get(u32::MAX), None);
    }
}
