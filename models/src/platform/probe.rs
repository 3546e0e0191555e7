//! A platform that looks over another one's shoulder.
//!
//! `Probe<C>` passes every access on to `C` and meanwhile
//!
//! * takes down which *places* of the runtime's source were passed, so that an ordering which no model
//!   reaches is known;
//! * counts which transitions the runtime's state words made ([`coverage`]);
//! * *bends* one place: uses a weaker ordering there, or leaves a fence out. The runtime is the same
//!   compiled code with and without; it has no hook.
//!
//! What it takes down belongs to the thread of the operating system, on which a checker runs all
//! threads of a model.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::io;
use std::marker::PhantomData;
use std::panic::Location;
use std::str::FromStr;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{self, Relaxed};

use netpoll::platform::{Atomic, Platform, Primitives};
use netpoll_sim::kernel::Simulated;
use netpoll_sim::{SimKernel, Virtual};
use serde::{Deserialize, Serialize};

use super::{Checker, CheckerHost};
use crate::coverage::{self, Machine};
use crate::orderings;

/// Where the runtime's sources are, in the paths that the compiler puts into locations.
const ROOT: &str = "netpoll/src/";

/// A place of the runtime's source at which shared memory is accessed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// The file, relative to `netpoll/src/`.
    pub file: String,
    /// Its line, from 1 on.
    pub line: u32,
    /// The column of the operation's name, from 1 on.
    pub column: u32,
}

impl Place {
    fn is(&self, location: &Location<'_>) -> bool {
        self.line == location.line()
            && self.column == location.column()
            && location.file().strip_prefix(ROOT) == Some(&self.file)
    }
}

/// One place, and the orderings that are used there instead of those that are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bend {
    /// Where.
    pub place: Place,
    /// One ordering, two for a compare-exchange, none to leave a fence out.
    pub orderings: Vec<Ordering>,
}

/// `poll/slot.rs:131:24=Acquire,Acquire`.
impl std::fmt::Display for Bend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Place { file, line, column } = &self.place;
        let orderings: Vec<String> =
            self.orderings.iter().map(|order| format!("{order:?}")).collect();
        write!(f, "{file}:{line}:{column}={}", orderings.join(","))
    }
}

impl FromStr for Bend {
    type Err = String;

    fn from_str(text: &str) -> Result<Bend, String> {
        let parse = || {
            let (place, orderings) = text.split_once('=')?;
            let mut parts = place.rsplitn(3, ':');
            let column = parts.next()?.parse().ok()?;
            let line = parts.next()?.parse().ok()?;
            let file = parts.next()?.to_string();
            let names = orderings.split(',').filter(|name| !name.is_empty());
            let orderings = names.map(orderings::named).collect::<Option<_>>()?;
            Some(Bend { place: Place { file, line, column }, orderings })
        };
        parse().ok_or_else(|| {
            format!("`{text}` is not a place and orderings such as `poll/slot.rs:131:24=Relaxed`")
        })
    }
}

/// Places as the compiler gives them: file, line, column.
type Passed = BTreeSet<(&'static str, u32, u32)>;

thread_local! {
    static BEND: Cell<Option<&'static Bend>> = const { Cell::new(None) };
    /// How often the bent place was passed.
    static BENT: Cell<u64> = const { Cell::new(0) };
    static PLACES: RefCell<Option<Passed>> = const { RefCell::new(None) };
    /// The place that was passed last.
    static LAST: Cell<Option<&'static Location<'static>>> = const { Cell::new(None) };
}

/// Bends one place for all models that this thread runs from now on, or none.
pub fn bend(bend: Option<Bend>) {
    BEND.set(bend.map(|bend| &*Box::leak(Box::new(bend))));
    BENT.set(0);
}

/// The place that is bent.
#[must_use]
pub fn is_bent() -> Option<&'static Bend> {
    BEND.get()
}

/// How often the bent place has been passed.
#[must_use]
pub fn bent() -> u64 {
    BENT.get()
}

/// Takes down the places that this thread passes from now on.
pub fn watch_places() {
    PLACES.set(Some(BTreeSet::new()));
}

/// The places that have been passed since [`watch_places`].
#[must_use]
pub fn take_places() -> Vec<Place> {
    let places = PLACES.take().unwrap_or_default().into_iter();
    let place = |(file, line, column): (&str, _, _)| Place { file: file.to_string(), line, column };
    places.map(place).collect()
}

/// The place that this thread has passed last since the last call. A checker that is asked which thread
/// goes on finds the access at which the running one stands.
pub(crate) fn take_last() -> Option<&'static Location<'static>> {
    LAST.take()
}

/// The orderings to use here: those that are written, or the bent ones.
#[inline]
fn orderings_here<const N: usize>(
    at: &'static Location<'static>,
    written: [Ordering; N],
) -> [Ordering; N] {
    pass(at);
    let Some(bend) = BEND.get().filter(|bend| bend.place.is(at)) else {
        return written;
    };
    BENT.set(BENT.get() + 1);
    match <[Ordering; N]>::try_from(&bend.orderings[..]) {
        Ok(bent) => bent,
        Err(_) => panic!("{bend} does not fit the access there, which has {N} orderings"),
    }
}

#[inline]
fn pass(at: &'static Location<'static>) {
    LAST.set(Some(at));
    PLACES.with_borrow_mut(|places| {
        if let Some(places) = places
            && let Some(file) = at.file().strip_prefix(ROOT)
        {
            places.insert((file, at.line(), at.column()));
        }
    });
}

/// See the module documentation.
#[derive(Debug)]
pub struct Probe<C>(PhantomData<C>);

impl<C: Checker> Platform for Probe<C> {
    type Kernel = Simulated<CheckerHost<C>>;
}

/// The simulator, looked over its shoulder.
impl Platform for Probe<Virtual> {
    type Kernel = SimKernel;
}

impl<C: Primitives> Primitives for Probe<C> {
    const RUN_QUEUE: u32 = C::RUN_QUEUE;

    type AtomicU32 = ProbeAtomic<C::AtomicU32>;
    type AtomicU64 = ProbeAtomic<C::AtomicU64>;
    type AtomicUsize = ProbeAtomic<C::AtomicUsize>;
    type Mutex<T: Send + 'static> = C::Mutex<T>;
    type Parker = C::Parker;
    type Thread = C::Thread;

    #[track_caller]
    fn fence(order: Ordering) {
        let at = Location::caller();
        pass(at);
        if BEND.get().is_some_and(|bend| bend.place.is(at)) {
            BENT.set(BENT.get() + 1);
            return;
        }
        C::fence(order);
    }

    fn spawn(name: String, body: Box<dyn FnOnce() + Send>) -> io::Result<C::Thread> {
        C::spawn(name, body)
    }

    fn spin_hint() {
        C::spin_hint();
    }
}

/// An atomic and what the probe knows of it.
#[derive(Debug)]
pub struct ProbeAtomic<A> {
    inner: A,
    /// The state machine whose word it is.
    machine: Option<Machine>,
    /// What was last written, in the order in which the checker ran the writes. An atomic of `std`: no
    /// checker sees it.
    last: AtomicU64,
}

macro_rules! atomic {
    ($value:ty) => {
        impl<A: Atomic<$value>> Atomic<$value> for ProbeAtomic<A> {
            #[track_caller]
            fn new(value: $value) -> Self {
                let file = Location::caller().file().strip_prefix(ROOT);
                ProbeAtomic {
                    inner: A::new(value),
                    machine: file.and_then(Machine::of_file),
                    last: AtomicU64::new(value as u64),
                }
            }
            #[track_caller]
            fn load(&self, order: Ordering) -> $value {
                let [order] = orderings_here(Location::caller(), [order]);
                self.inner.load(order)
            }
            #[track_caller]
            fn store(&self, value: $value, order: Ordering) {
                let [order] = orderings_here(Location::caller(), [order]);
                self.inner.store(value, order);
                self.wrote(value as u64);
            }
            #[track_caller]
            fn swap(&self, value: $value, order: Ordering) -> $value {
                let [order] = orderings_here(Location::caller(), [order]);
                let before = self.inner.swap(value, order);
                self.exchanged(before as u64, value as u64);
                before
            }
            #[track_caller]
            fn compare_exchange(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                let [success, failure] = orderings_here(Location::caller(), [success, failure]);
                let result = self.inner.compare_exchange(current, new, success, failure);
                match result {
                    Ok(_) => self.exchanged(current as u64, new as u64),
                    Err(found) => self.was_refused(found as u64),
                }
                result
            }
            #[track_caller]
            fn fetch_add(&self, value: $value, order: Ordering) -> $value {
                let [order] = orderings_here(Location::caller(), [order]);
                let before = self.inner.fetch_add(value, order);
                self.exchanged(before as u64, before.wrapping_add(value) as u64);
                before
            }
            #[track_caller]
            fn fetch_sub(&self, value: $value, order: Ordering) -> $value {
                let [order] = orderings_here(Location::caller(), [order]);
                let before = self.inner.fetch_sub(value, order);
                self.exchanged(before as u64, before.wrapping_sub(value) as u64);
                before
            }
        }
    };
}

atomic!(u32);
atomic!(u64);
atomic!(usize);

impl<A> ProbeAtomic<A> {
    #[inline]
    fn was_refused(&self, found: u64) {
        if let Some(machine) = self.machine {
            coverage::record_refusal(machine, found);
        }
    }

    /// A read-modify-write says itself what it replaced. Under loom another thread may have written
    /// since, before this one returned (`loom_atomic.rs`), so `last` would not do.
    #[inline]
    fn exchanged(&self, before: u64, value: u64) {
        self.last.store(value, Relaxed);
        if let Some(machine) = self.machine {
            coverage::record(machine, before, value);
        }
    }

    #[inline]
    fn wrote(&self, value: u64) {
        let before = self.last.swap(value, Relaxed);
        if let Some(machine) = self.machine {
            coverage::record(machine, before, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bend_is_read_back_from_its_text() {
        for text in
            ["poll/slot.rs:131:24=Acquire,Relaxed", "poll/desc.rs:7:13=", "a.rs:1:2=Relaxed"]
        {
            assert_eq!(text.parse::<Bend>().unwrap().to_string(), text);
        }
        for wrong in ["", "poll/slot.rs:131=Relaxed", "a.rs:1:2", "a.rs:1:2=Loose"] {
            assert!(wrong.parse::<Bend>().is_err(), "{wrong}");
        }
    }
}
