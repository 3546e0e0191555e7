//! Traces: recording what a run did, and showing it.
//!
//! A [`Record`] is one thing that happened: when, on which thread, in which goroutine. What the
//! runtime says about itself comes in the words of [`netpoll::trace`]; what the world around it did
//! (a thread blocked, the kernel raised an edge, a fault struck) comes as a [`WorldEvent`]. Both are
//! small `Copy` values, so recording formats nothing and allocates nothing per event.
//!
//! * [`Recorder`] collects records, all of them or the last `n`.
//! * [`Trace`] is what a recorder has collected.
//! * [`TraceFile`] is a trace in a file, of a simulated run or of a real one.
//! * [`Caption`] is what a rendering says beside the records.
//! * [`lanes::render`] shows a trace to people: who did what, side by side.
//! * [`html::write`] makes a page to look around in, [`svg::render`] a picture for documents,
//!   [`perfetto::write`] a file for ui.perfetto.dev.
//! * [`actors`] and [`causes`] say who acts in a trace and which record led to which; [`look`] is what the
//!   pictures have in common.
//! * [`text::render`] prints a trace, one line a record, byte for byte the same every time.

pub mod actors;
mod caption;
pub mod causes;
mod file;
pub mod html;
mod json;
pub mod lanes;
pub mod look;
pub mod perfetto;
mod record;
mod recorder;
pub mod svg;
pub mod text;

pub use caption::{Caption, Guilt};
pub use file::{FileError, Origin, TraceFile, write_whole};
pub use record::{BlockedOn, Entry, Readiness, Record, ThreadId, WorldEvent};
pub use recorder::{HOST_SCOPE, Keep, Recorder, Trace, worker_number};
