//! A queue of waiters in order of arrival, out of which each can be taken by its seat.

use std::collections::VecDeque;

/// A place in a [`WaitQueue`]. Seats are numbered in order of arrival and never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Seat(u64);

/// Waiters in order of arrival.
///
/// Invariant: seats ascend from front to back, so a seat is found by binary search.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct WaitQueue<W> {
    entries: VecDeque<(Seat, W)>,
    next_seat: u64,
}

impl<W> WaitQueue<W> {
    /// A queue with nobody in it.
    #[must_use]
    pub(super) fn new() -> Self {
        WaitQueue { entries: VecDeque::new(), next_seat: 0 }
    }

    /// Puts `waiter` at the end.
    pub(super) fn push(&mut self, waiter: W) -> Seat {
        let seat = Seat(self.next_seat);
        self.next_seat += 1;
        self.entries.push_back((seat, waiter));
        seat
    }

    /// Puts `waiter` back where `seat`, which it had and left, is.
    pub(super) fn push_again(&mut self, seat: Seat, waiter: W) {
        assert!(seat.0 < self.next_seat, "{seat:?} was never given");
        let index = self.find(seat).expect_err("a seat that is taken");
        self.entries.insert(index, (seat, waiter));
    }

    /// The first waiter, who stays.
    #[must_use]
    pub(super) fn front(&self) -> Option<&W> {
        self.entries.front().map(|(_, waiter)| waiter)
    }

    /// Takes the first waiter out.
    pub(super) fn pop(&mut self) -> Option<(Seat, W)> {
        self.entries.pop_front()
    }

    /// Takes the waiter on `seat` out; `None` when it has left already.
    pub(super) fn remove(&mut self, seat: Seat) -> Option<W> {
        let index = self.find(seat).ok()?;
        self.entries.remove(index).map(|(_, waiter)| waiter)
    }

    /// Takes all waiters out, in order.
    pub(super) fn take(&mut self) -> VecDeque<(Seat, W)> {
        std::mem::take(&mut self.entries)
    }

    /// Whether nobody waits.
    #[must_use]
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn find(&self, seat: Seat) -> Result<usize, usize> {
        self.entries.binary_search_by_key(&seat, |(seat, _)| *seat)
    }
}

impl<W> Default for WaitQueue<W> {
    fn default() -> Self {
        WaitQueue::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiters_leave_in_order_of_arrival_unless_they_are_removed() {
        let mut queue = WaitQueue::new();
        let seats = ["a", "b", "c"].map(|waiter| queue.push(waiter));
        assert_eq!(queue.remove(seats[1]), Some("b"));
        assert_eq!(queue.remove(seats[1]), None);
        assert_eq!(queue.pop(), Some((seats[0], "a")));
        queue.push("d");
        queue.push_again(seats[0], "a");
        let order: Vec<_> = queue.take().into_iter().map(|(_, waiter)| waiter).collect();
        assert_eq!(order, ["a", "c", "d"]);
        assert!(queue.is_empty());
    }
}
