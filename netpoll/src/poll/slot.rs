//! The slot: the binary semaphore between one consumer and everybody who can release it.
//!
//! Each poll descriptor has two, one per direction. A slot is one word:
//!
//! | value | state | who may leave it, to where |
//! |---|---|---|
//! | 0 | `Nil`    | the consumer, to `Wait` (T2); the poll loop, to `Ready` (T5) |
//! | 1 | `Ready`  | the consumer only, to `Nil` (T1, T4, T7) |
//! | 2 | `Wait`   | the consumer's worker, to `Parked` (T3); the poll loop, to `Ready` (T5); a canceller, to `Nil` (T6); the consumer, to `Nil` (T4) |
//! | g+3 | `Parked(g)` | the poll loop, to `Ready` (T5); a canceller, to `Nil` (T6); each then owns g |
//!
//! The *consumer* is the goroutine that holds the descriptor's lock for that direction, so there is at
//! most one. A *canceller* (deadline, close) never makes readiness up and never destroys it (S4): it
//! releases the waiter by writing `Nil`, and the waiter finds the reason in the summary word.
//!
//! # Ordering
//!
//! The promises: (a) who takes a goroutine out of a slot may use the goroutine; (b) a consumer that
//! sees `Ready` sees the summary word as it was when the edge was recorded; (c) a consumer that parks
//! has not missed a cancellation.
//!
//! * O1, for (a): T3 is a release; T5 and T6 acquire.
//! * O2, for (b): T5 is a release; T1, T4 and T7 acquire.
//! * O3, for (c): T6 is a release; T2 acquires. This looks like a Dekker pair — the consumer writes
//!   `Wait` and reads the summary, the canceller writes the summary and reads the slot — and Dekker
//!   pairs need fences. Here none is needed, because both sides *exchange* the slot word:
//!   * every write of the word after its first is a read-modify-write, so each reads the one before it
//!     in the word's modification order, and no release sequence is ever broken;
//!   * T6 stores even a state that it does not change, so it has a place in that order;
//!   * if T6 comes after T2, it finds the consumer in the slot, or finds that it has been released or
//!     has left; if it comes before, then T2 reads what T6 wrote or what continues its release
//!     sequence, so T2 synchronises with T6, and the look at the summary that follows T2 sees the
//!     reason that was published before T6.
//!
//!   So this breaks when a transition becomes a plain store, when a canceller only looks at a slot, or
//!   when T2 gives up its acquire or T6 its release.
//! * O4: T7 needs no fence. The system call that follows it is ordered against later edges of the same
//!   file by the kernel's own lock on that file: an edge that the call did not see happens after T7.
//! * O5: nothing else is ordered here. T4 and T7 release nothing: the next consumer is ordered after
//!   this one by the descriptor's lock (M1), and a releaser uses nothing of a consumer that left. A
//!   look at the word that no exchange follows decides nothing: T3 that is refused goes on to T4, and
//!   T7 that finds no edge leaves the slot alone; an edge that was there before and is not any more
//!   was acquired by the exchange of this consumer, or of one before it, that took it.
//!
//! # How it is tested
//!
//! The transitions are pure functions, tested here over every state; their table is a snapshot. The
//! protocol around them is explored by the models and by the simulator at atomic granularity.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

use crate::platform::{Atomic, Primitives};
use crate::trace::SlotState;

const NIL: u32 = 0;
const READY: u32 = 1;
const WAIT: u32 = 2;
/// Words from here on are goroutines: table index + `FIRST_G`.
const FIRST_G: u32 = 3;

const _: () = assert!(crate::table::CAPACITY < u32::MAX - FIRST_G, "every goroutine has a word");

/// The word of a state.
const fn encode(state: SlotState) -> u32 {
    match state {
        SlotState::Nil => NIL,
        SlotState::Ready => READY,
        SlotState::Wait => WAIT,
        SlotState::Parked(g) => g + FIRST_G,
    }
}

/// The state of a word.
#[must_use]
pub const fn decode(word: u32) -> SlotState {
    match word {
        NIL => SlotState::Nil,
        READY => SlotState::Ready,
        WAIT => SlotState::Wait,
        g => SlotState::Parked(g - FIRST_G),
    }
}

/// What a consumer that wants to wait has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Enter {
    /// T1: an edge was there; try the system call again.
    Ready,
    /// T2: the slot says `Wait`; check for cancellation, then park.
    Wait,
}

/// T1 and T2. `Err` when another consumer is in the slot (S2).
const fn enter(state: SlotState) -> Result<(SlotState, Enter), SlotState> {
    match state {
        SlotState::Ready => Ok((SlotState::Nil, Enter::Ready)),
        SlotState::Nil => Ok((SlotState::Wait, Enter::Wait)),
        SlotState::Wait | SlotState::Parked(_) => Err(state),
    }
}

/// T3: `None` when the waiter was released before it could park.
const fn park(state: SlotState, g: u32) -> Option<SlotState> {
    match state {
        SlotState::Wait => Some(SlotState::Parked(g)),
        SlotState::Nil | SlotState::Ready | SlotState::Parked(_) => None,
    }
}

/// T5: the poll loop saw an edge. Returns the next state and the goroutine to make runnable.
const fn edge(state: SlotState) -> (SlotState, Option<u32>) {
    match state {
        SlotState::Parked(g) => (SlotState::Ready, Some(g)),
        SlotState::Nil | SlotState::Wait | SlotState::Ready => (SlotState::Ready, None),
    }
}

/// T6: a deadline passed or the descriptor is closing.
const fn cancel(state: SlotState) -> (SlotState, Option<u32>) {
    match state {
        SlotState::Parked(g) => (SlotState::Nil, Some(g)),
        SlotState::Wait => (SlotState::Nil, None),
        SlotState::Nil | SlotState::Ready => (state, None),
    }
}

/// Every transition of a slot's word, `(from, to)`, as the functions above make them: what a checker of
/// this machine has to exercise.
#[must_use]
pub fn transitions() -> Vec<(u64, u64)> {
    let g = 7;
    let states = [SlotState::Nil, SlotState::Ready, SlotState::Wait, SlotState::Parked(g)];
    let mut all = Vec::new();
    for from in states {
        let entered = enter(from).ok().map(|(to, _)| to);
        let mut next: Vec<SlotState> = entered.into_iter().chain(park(from, g)).collect();
        next.extend([edge(from).0, cancel(from).0]);
        if !matches!(from, SlotState::Parked(_)) {
            next.push(SlotState::Nil); // T4; finding itself parked is corruption
        }
        all.extend(next.into_iter().map(|to| (encode(from).into(), encode(to).into())));
    }
    all
}

/// One change of a slot, for the trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The state before.
    pub from: SlotState,
    /// The state after.
    pub to: SlotState,
}

/// See the module documentation.
#[derive(Debug)]
pub struct Slot<P: Primitives> {
    word: P::AtomicU32,
}

impl<P: Primitives> Slot<P> {
    /// A slot in `Nil`.
    pub(crate) fn new() -> Slot<P> {
        Slot { word: P::AtomicU32::new(NIL) }
    }

    /// The state at this moment, for assertions and dumps.
    pub fn state(&self) -> SlotState {
        decode(self.word.load(Relaxed))
    }

    /// The only CAS loop: applies `step` until its result could be stored; `None` stops.
    ///
    /// An unchanged state is stored too: a second edge on `Ready` must be part of what the consumer
    /// acquires (O2), or it could miss what that event said of the stream's end; and a cancellation of
    /// nobody must be part of what the next consumer acquires (O3), or it could park for ever.
    fn update<A>(
        &self,
        mut step: impl FnMut(SlotState) -> Option<(SlotState, A)>,
    ) -> Option<(Change, A)> {
        let mut word = self.word.load(Relaxed);
        loop {
            let from = decode(word);
            let (to, action) = step(from)?;

            match self.word.compare_exchange(word, encode(to), AcqRel, Relaxed) {
                Ok(_) => return Some((Change { from, to }, action)),
                Err(found) => word = found,
            }
        }
    }

    /// T1 or T2, by the consumer.
    ///
    /// # Panics
    /// S2: when another consumer is in the slot.
    pub(crate) fn enter(&self) -> (Change, Enter) {
        let step = |state| match enter(state) {
            Ok(next) => Some(next),
            Err(found) => panic!("S2: double wait on a slot: {found}"),
        };
        self.update(step).expect("entering a slot has a result in every state or panics")
    }

    /// T3, on the worker's stack. False when the waiter was released before it could park.
    pub(crate) fn park(&self, g: u32) -> Option<Change> {
        self.update(|state| park(state, g).map(|to| (to, ()))).map(|(change, ())| change)
    }

    /// T4, by the consumer after it resumed or decided not to park. True when the wait ended by an
    /// edge.
    ///
    /// # Panics
    /// S1: when a goroutine is still parked in the slot, which is the consumer itself.
    pub(crate) fn leave(&self) -> (Change, bool) {
        // O2: acquires what the poll loop published before the edge.
        let from = decode(self.word.swap(NIL, Acquire));
        if let SlotState::Parked(g) = from {
            panic!("S1: goroutine #{g} runs while it is parked in the slot it leaves");
        }
        (Change { from, to: SlotState::Nil }, from == SlotState::Ready)
    }

    /// T5, by the poll loop.
    pub(crate) fn edge(&self) -> (Change, Option<u32>) {
        self.update(|state| Some(edge(state))).expect("an edge has a result in every state")
    }

    /// T6, by a canceller that has published its reason (O3).
    pub(crate) fn cancel(&self) -> (Change, Option<u32>) {
        self.update(|state| Some(cancel(state)))
            .expect("a cancellation has a result in every state")
    }

    /// T7, by the consumer at the start of an operation: throws an old edge away, because the system
    /// call that follows sees whatever it announced (S6, O4).
    ///
    /// Discarding is a courtesy that saves a futile retry later, never a need, so a slot without an
    /// edge is left alone: the usual case costs one load.
    ///
    /// # Panics
    /// S2: when a consumer is in the slot.
    pub(crate) fn reset(&self) -> Option<Change> {
        match decode(self.word.load(Relaxed)) {
            SlotState::Nil => None,
            SlotState::Ready => Some(self.leave().0),
            found => panic!("S2: an operation starts while a waiter is in its slot: {found}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [SlotState; 4] =
        [SlotState::Nil, SlotState::Ready, SlotState::Wait, SlotState::Parked(7)];

    /// The transition matrix as text, one line a state.
    fn matrix() -> String {
        let mut text = String::new();
        for state in STATES {
            let enter = match enter(state) {
                Ok((to, action)) => format!("{to} ({action:?})"),
                Err(_) => "panic S2".to_string(),
            };
            let park = park(state, 7).map_or("refused".to_string(), |to| to.to_string());
            let show = |(to, g): (SlotState, Option<u32>)| match g {
                Some(g) => format!("{to}, runs #{g}"),
                None => to.to_string(),
            };
            let (edge, cancel) = (show(edge(state)), show(cancel(state)));
            text += &format!(
                "{:<10} | enter {enter:<12} | park {park:<10} | edge {edge:<14} | cancel {cancel}\n",
                state.to_string()
            );
        }
        text
    }

    #[test]
    fn the_transition_matrix_is_the_one_of_the_specification() {
        let mut settings = insta::Settings::clone_current();
        // Beside those of the other machines.
        settings.set_snapshot_path("../../../traces/snapshots/machines");
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.bind(|| insta::assert_snapshot!("slot_functions", matrix()));
    }

    #[test]
    fn words_and_states_are_one_to_one() {
        for word in (0..1000).chain([u32::MAX - 1, u32::MAX]) {
            assert_eq!(encode(decode(word)), word);
        }
    }

    #[test]
    fn cancellers_never_touch_readiness() {
        // S4, S5: from Ready a canceller changes nothing; from elsewhere it never makes Ready.
        for state in STATES {
            let (to, _) = cancel(state);
            assert_eq!(to == SlotState::Ready, state == SlotState::Ready, "from {state}");
        }
    }

    #[test]
    fn a_parked_goroutine_is_returned_by_exactly_one_release() {
        // S3: whatever releases first takes the goroutine, and the state it leaves gives it to nobody.
        for first in [edge, cancel] {
            let (after, taken) = first(SlotState::Parked(7));
            assert_eq!(taken, Some(7));
            assert_eq!(edge(after).1, None);
            assert_eq!(cancel(after).1, None);
        }
    }
}
