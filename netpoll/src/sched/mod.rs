//! The scheduler: who runs where, who sleeps, and who wakes whom.
//!
//! A worker is Go's M and P fused for its whole life. A goroutine that has run is pinned to its worker;
//! one that has not may be taken by any.
//!
//! * [`g`] — the goroutine's record; [`ticket`] — one park and its one end;
//! * [`runq`] — unstarted goroutines, stealable; [`local`] — started ones, owner only; [`inbox`] —
//!   started ones that somebody else made runnable;
//! * [`timers`] — one heap per worker;
//! * [`shared`] — the runtime's shared part: spawn, ready, wake-up rules; [`idle`] — the idle set and
//!   the state word of a worker;
//! * [`worker`] — the scheduling loop; [`find`] — where it finds work, and how it goes to sleep;
//! * [`sysmon`] — the watchman; [`world`] — stop and start, dump, number of workers;
//! * [`inspect`] — a look from outside, for checkers;
//! * [`pool`] — threads for calls that block; `lifecycle` — starting and ending all threads; `late` —
//!   what the face asks, behind a virtual call; `bell` — what threads other than workers sleep on.

pub mod bell;
pub mod find;
pub mod g;
pub mod idle;
pub mod inbox;
pub mod inspect;
mod late;
mod lifecycle;
pub mod local;
pub mod pool;
pub mod runq;
pub mod shared;
pub mod sysmon;
pub mod ticket;
pub mod timers;
pub mod worker;
pub mod world;
