//! Oracle 4: byte streams come out as they went in.
//!
//! Per stream, that is per receiving file, what is read is the next part of what was written to it: nothing
//! missing, nothing twice, nothing of another stream, in order. And the end of a stream comes after all of
//! it, unless the stream was reset, or its reader shut it down.
//!
//! This watches the simulated kernel, on whose word everything else here relies; that the runtime hands the
//! bytes on as it got them, only the program can say, and scenarios do.

use std::collections::VecDeque;

use netpoll::platform::Errno;
use netpoll::trace::Event;
use netpoll_traces::{Entry, Record};

use super::facts::Facts;
use super::{About, Complaint, Look, Moved, Oracle, Verdict};
use crate::explore::Property;

static ABOUT: About = About {
    number: 4,
    property: Property::Bytes,
    sentence: "what is read from a stream is what was written to it, whole and in order",
};

/// What travels to one file.
#[derive(Debug, Default)]
struct Stream {
    /// Written and not read.
    bytes: VecDeque<u8>,
    /// How many have been read.
    read: u64,
    /// It was reset, or shut down by its reader: it may end early.
    is_broken: bool,
}

/// See the module documentation.
#[derive(Debug, Default)]
pub struct Bytes {
    /// By receiving file.
    streams: Vec<Stream>,
    checks: u64,
}

impl Oracle for Bytes {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn checks(&self) -> u64 {
        self.checks
    }

    #[inline(always)]
    fn observe(&mut self, record: &Record, facts: &Facts, look: &dyn Look) -> Verdict {
        let Entry::Runtime(Event::Syscall { name, fd, arg, result }) = record.event else {
            return Ok(());
        };
        match (name, result) {
            ("read" | "readv", Ok(0)) if arg > 0 => {
                let Some(file) = look.file_of(fd) else { return Ok(()) };
                self.checks += 1;
                let Some(stream) = self.streams.get(file as usize) else {
                    return Ok(());
                };
                if stream.bytes.is_empty() || stream.is_broken {
                    return Ok(());
                }
                let (who, missing) = (facts.name(record), stream.bytes.len());
                let what = format!("{who} reads the end of fd{fd}, {missing} bytes too early");
                Err(Complaint::new("S33", what).about(record.g, fd))
            }
            // An error that a call or the socket's own report of it has taken.
            ("getsockopt", Ok(1..)) | ("shutdown", _) => self.breaks(look.file_of(fd)),
            ("read" | "readv" | "write" | "writev" | "recvfrom" | "sendto", Err(errno))
                if errno != Errno::EAGAIN && errno != Errno::EINTR =>
            {
                self.breaks(look.file_of(fd))
            }
            _ => Ok(()),
        }
    }

    fn moved(&mut self, moved: &Moved<'_>) -> Verdict {
        match *moved {
            Moved::Written { to, parts, count } => {
                let stream = self.stream(to);
                let mut left = count;
                for part in parts {
                    // As slices, which are copied whole.
                    let part = &part[..part.len().min(left)];
                    stream.bytes.extend(part);
                    left -= part.len();
                }
                Ok(())
            }
            Moved::Read { from, bytes, is_peek } => self.read(from, bytes, is_peek),
        }
    }
}

impl Bytes {
    fn stream(&mut self, file: u32) -> &mut Stream {
        let index = file as usize;
        if self.streams.len() <= index {
            self.streams.resize_with(index + 1, Stream::default);
        }
        &mut self.streams[index]
    }

    fn breaks(&mut self, file: Option<u32>) -> Verdict {
        if let Some(file) = file {
            self.stream(file).is_broken = true;
        }
        Ok(())
    }

    fn read(&mut self, file: u32, bytes: &[u8], is_peek: bool) -> Verdict {
        self.checks += 1;
        let stream = self.stream(file);
        let (front, back) = stream.bytes.as_slices();
        let cut = front.len().min(bytes.len());
        let is_next = bytes[..cut] == front[..cut] && back.starts_with(&bytes[cut..]);
        if is_next {
            if !is_peek {
                stream.bytes.drain(..bytes.len());
                stream.read += bytes.len() as u64;
            }
            return Ok(());
        }
        let written = stream.bytes.iter();
        let same = written.zip(bytes).take_while(|(written, read)| written == read).count();
        let at = stream.read + same as u64;
        let read = bytes[same];
        let what = match stream.bytes.get(same) {
            Some(written) => {
                format!("byte {at} of file {file} was written as {written} and read as {read}")
            }
            None => format!("byte {at} of file {file} was read and never written"),
        };
        Err(Complaint::new("S33", what))
    }
}
