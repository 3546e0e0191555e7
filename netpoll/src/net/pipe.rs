//! A pipe.

use std::io;

use super::handle::{Handle, handle, one_way, reads, waits, writes};
use crate::waiter::current_runtime;

/// A pipe in the shape of [`std::io::pipe`]: what is written to one end is read from the other.
///
/// ```
/// use std::io::{Read, Write};
///
/// # fn main() -> std::io::Result<()> {
/// netpoll::run(|| {
///     let (mut reader, mut writer) = netpoll::net::pipe()?;
///     netpoll::go(move || writer.write_all(b"through the pipe"));
///     let mut text = String::new();
///     reader.read_to_string(&mut text)?;
///     assert_eq!(text, "through the pipe");
///     Ok(())
/// })?
/// # }
/// ```
///
/// # Errors
/// As `pipe(2)`; outside of a runtime.
pub fn pipe() -> io::Result<(PipeReader, PipeWriter)> {
    let (reader, writer) = current_runtime()?.pipe()?;
    Ok((PipeReader::new(reader), PipeWriter::new(writer)))
}

/// The end of a [`pipe`] that is read. A read parks the calling goroutine until there is something, and
/// finds the end when the last writer is closed.
pub struct PipeReader(Handle);

handle!(PipeReader, "pipe's end");
one_way!(PipeReader, Read);
waits!(PipeReader, Read);
reads!(PipeReader);

/// The end of a [`pipe`] that is written. A write parks the calling goroutine while the pipe is full.
///
/// When the last reader is closed a write fails with [`BrokenPipe`](io::ErrorKind::BrokenPipe). The kernel
/// also sends `SIGPIPE` then, which a Rust program ignores from its start; a program whose `main` is not
/// Rust's has to ignore it by itself, or it is ended by it.
pub struct PipeWriter(Handle);

handle!(PipeWriter, "pipe's end");
one_way!(PipeWriter, Write);
waits!(PipeWriter, Write);
writes!(PipeWriter);
