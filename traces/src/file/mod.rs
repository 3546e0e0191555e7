//! Trace files: what `NETPOLL_TRACE` and `cargo sim replay --trace FILE` write, read back.
//!
//! The format is described in [`netpoll::trace::file`]. A file is read whole and checked before anything is shown of
//! it: one that is truncated, damaged, foreign or newer is refused with the offset and what is wrong there.
//!
//! ```no_run
//! let bytes = std::fs::read("server.trace")?;
//! let file = netpoll_traces::TraceFile::parse(&bytes)?;
//! println!("{}: {} records", file.caption.title, file.trace.records.len());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod read;
mod world;

use std::fmt;
use std::io::{self, Write};

use netpoll::trace::file::{Head, KERNEL, Violated, Writer};
pub use netpoll::trace::file::{Origin, write_whole};
use netpoll::trace::words::Names;

use crate::{Caption, Entry, Guilt, ThreadId, Trace};

/// Tags of the world's events begin here.
const WORLD: u8 = 128;

/// A trace and what stands beside it, as a file has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceFile {
    /// Where it comes from.
    pub origin: Origin,
    /// What ran, how it ended and what it violated.
    pub caption: Caption,
    /// The records.
    pub trace: Trace,
}

/// Why bytes are no trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileError {
    /// Where, from the start of the file.
    pub offset: usize,
    /// What is wrong there.
    pub what: String,
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {}: {}", self.offset, self.what)
    }
}

impl std::error::Error for FileError {}

/// The names of one file, in the order of their numbers.
#[derive(Debug)]
struct Table(Vec<&'static str>);

impl Names for Table {
    fn number(&self, name: &'static str) -> u64 {
        let place = self.0.iter().position(|&it| it == name);
        place.expect("every name of the trace is in its table") as u64
    }
    fn name(&self, number: u64) -> Option<&'static str> {
        self.0.get(usize::try_from(number).ok()?).copied()
    }
}

impl TraceFile {
    /// Reads a file.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn parse(bytes: &[u8]) -> Result<TraceFile, FileError> {
        read::read(bytes)
    }

    /// Writes it.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, out: impl Write) -> io::Result<()> {
        let trace = &self.trace;
        let mut names = Table(Vec::new());
        for record in &trace.records {
            if let Some(name) = world::name_in(record.event).filter(|name| !names.0.contains(name))
            {
                names.0.push(name);
            }
        }
        let guilt = self.caption.guilt.as_ref();
        let head = Head {
            origin: self.origin,
            title: &self.caption.title,
            end: &self.caption.end,
            violated: guilt.map(|Guilt { property, sentence, at, g, fd }| Violated {
                property,
                sentence,
                at: at.map(|at| at as u64),
                g: *g,
                fd: fd.and_then(|fd| fd.try_into().ok()),
            }),
            names: &names.0,
            threads: &trace.threads,
            lost: trace.dropped,
        };
        let mut writer = Writer::new(out, &head)?;
        for record in &trace.records {
            let thread = match record.thread {
                ThreadId::KERNEL => KERNEL,
                ThreadId(thread) => thread.into(),
            };
            let packed = match record.event {
                Entry::Runtime(event) => event.pack(&names),
                Entry::World(event) => event.pack(&names),
            };
            writer.record(record.t_ns, thread, &packed)?;
        }
        writer.finish()?.flush()
    }
}

#[cfg(test)]
mod tests;
