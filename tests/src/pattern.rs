//! Bytes that say which connection they are of and where in its stream they stand.
//!
//! An echo of zeros looks right however it is cut, shifted or mixed up with another connection's. Here
//! eight bytes at a time are a hash of the connection's number and the position, so that any byte that
//! is lost, doubled or foreign shows within the next few.

/// Bytes that one hash yields.
const WORD: u64 = 8;

/// The finaliser of splitmix64: every bit of the input matters to every bit of the output.
fn hash(stream: u64, word: u64) -> [u8; WORD as usize] {
    let mut x = (stream << 40 ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    (x ^ x >> 31).to_le_bytes()
}

/// Writes the bytes of `stream` from position `at` on.
pub fn fill(stream: u64, at: u64, buf: &mut [u8]) {
    each_piece(stream, at, buf.len(), |range, bytes| {
        buf[range].copy_from_slice(bytes);
        true
    });
}

/// Where `buf` first differs from the bytes of `stream` from position `at` on.
#[must_use]
pub fn mismatch(stream: u64, at: u64, buf: &[u8]) -> Option<usize> {
    let mut found = None;
    each_piece(stream, at, buf.len(), |range, bytes| {
        let piece = &buf[range.clone()];
        if piece != bytes {
            let offset = piece.iter().zip(bytes).position(|(got, want)| got != want);
            found = offset.map(|offset| range.start + offset);
        }
        found.is_none()
    });
    found
}

/// Calls `piece` with each part that one hash covers, until it says no.
fn each_piece(
    stream: u64,
    at: u64,
    length: usize,
    mut piece: impl FnMut(std::ops::Range<usize>, &[u8]) -> bool,
) {
    let mut done = 0;
    while done < length {
        let position = at + done as u64;
        let skip = (position % WORD) as usize;
        let bytes = hash(stream, position / WORD);
        let take = (bytes.len() - skip).min(length - done);
        if !piece(done..done + take, &bytes[skip..skip + take]) {
            return;
        }
        done += take;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(stream: u64, at: u64, length: usize) -> Vec<u8> {
        let mut buf = vec![0; length];
        fill(stream, at, &mut buf);
        buf
    }

    #[test]
    fn a_stream_is_the_same_however_it_is_cut() {
        let whole = bytes(3, 0, 100);
        for cut in 0..100 {
            let mut parts = bytes(3, 0, cut);
            parts.extend(bytes(3, cut as u64, 100 - cut));
            assert_eq!(parts, whole, "cut at {cut}");
        }
    }

    #[test]
    fn shifts_losses_and_foreign_bytes_are_found() {
        let whole = bytes(3, 0, 4096);
        assert_eq!(mismatch(3, 0, &whole), None);
        assert!(mismatch(3, 1, &whole).is_some_and(|at| at < 8));
        assert!(mismatch(4, 0, &whole).is_some_and(|at| at < 8));
        let mut damaged = whole.clone();
        damaged[1234] ^= 1;
        assert_eq!(mismatch(3, 0, &damaged), Some(1234));
        damaged = whole;
        damaged.remove(2000);
        assert!(mismatch(3, 0, &damaged).is_some_and(|at| (2000..2016).contains(&at)));
    }
}
