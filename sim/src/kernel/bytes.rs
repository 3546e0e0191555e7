//! Queues of bytes, and the buffers that calls bring.

use std::collections::VecDeque;
use std::io::IoSliceMut;
use std::mem;

/// Copies the front of a queue; returns how much there was room and bytes for.
pub(super) fn copy_front(queue: &VecDeque<u8>, buf: &mut [u8]) -> usize {
    let (front, back) = queue.as_slices();
    let n = front.len().min(buf.len());
    buf[..n].copy_from_slice(&front[..n]);
    let m = back.len().min(buf.len() - n);
    buf[n..n + m].copy_from_slice(&back[..m]);
    n + m
}

/// Drops the front of a queue.
pub(super) fn drop_front(queue: &mut VecDeque<u8>, len: usize) {
    match len == queue.len() {
        true => queue.clear(),
        false => drop(queue.drain(..len)),
    }
}

/// Moves the first `len` bytes of one queue to the end of another.
pub(super) fn transfer(from: &mut VecDeque<u8>, to: &mut VecDeque<u8>, len: usize) {
    if to.is_empty() && from.len() == len {
        return mem::swap(from, to);
    }
    let (front, back) = from.as_slices();
    let n = front.len().min(len);
    to.extend(&front[..n]);
    to.extend(&back[..len - n]);
    drop_front(from, len);
}

/// Appends the first `len` bytes of what is to be written.
pub(super) fn append(queue: &mut VecDeque<u8>, parts: &[&[u8]], len: usize) {
    let mut left = len;
    for part in parts {
        let n = part.len().min(left);
        queue.extend(&part[..n]);
        left -= n;
    }
    assert_eq!(left, 0, "more is taken than is offered");
}

/// How many bytes are to be written.
pub(super) fn total(parts: &[&[u8]]) -> usize {
    parts.iter().map(|part| part.len()).sum()
}

/// Spreads the bytes of one read over several buffers.
pub(super) fn scatter(bytes: &[u8], bufs: &mut [IoSliceMut<'_>]) {
    let mut left = bytes;
    for buf in bufs {
        let n = buf.len().min(left.len());
        let (now, later) = left.split_at(n);
        buf[..n].copy_from_slice(now);
        left = later;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A queue whose bytes lie on both sides of the end of its memory.
    fn wrapped() -> VecDeque<u8> {
        let mut queue = VecDeque::with_capacity(8);
        queue.extend([0, 0, 0, 0, 0, 0, 1]);
        queue.drain(..6);
        queue.extend([2, 3, 4, 5]);
        assert!(!queue.as_slices().1.is_empty(), "lies in one piece");
        queue
    }

    #[test]
    fn bytes_are_moved_across_the_end_of_the_memory() {
        let mut queue = wrapped();
        let mut buf = [0; 4];
        assert_eq!(copy_front(&queue, &mut buf), 4);
        assert_eq!(buf, [1, 2, 3, 4]);
        assert_eq!(copy_front(&queue, &mut [0; 9]), 5);
        let mut to = VecDeque::from([9]);
        transfer(&mut queue, &mut to, 4);
        assert_eq!((to, queue), (VecDeque::from([9, 1, 2, 3, 4]), VecDeque::from([5])));
    }

    #[test]
    fn a_whole_queue_is_moved_and_dropped_like_a_part_of_it() {
        let (mut from, mut to) = (wrapped(), VecDeque::new());
        transfer(&mut from, &mut to, 5);
        assert_eq!((&to, &from), (&VecDeque::from([1, 2, 3, 4, 5]), &VecDeque::new()));
        drop_front(&mut to, 2);
        assert_eq!(to, VecDeque::from([3, 4, 5]));
        drop_front(&mut to, 3);
        assert!(to.is_empty());
    }

    #[test]
    fn buffers_are_gathered_and_filled_in_their_order() {
        let parts: [&[u8]; 3] = [b"ab", b"", b"cde"];
        let mut queue = VecDeque::new();
        append(&mut queue, &parts, 4);
        assert_eq!((total(&parts), queue), (5, VecDeque::from(*b"abcd")));
        let (mut a, mut b) = ([0; 2], [0; 3]);
        scatter(b"xyz", &mut [IoSliceMut::new(&mut a), IoSliceMut::new(&mut b)]);
        assert_eq!((&a, &b), (b"xy", b"z\0\0"));
    }
}
