//! The file format of traces, and writing it.
//!
//! ```text
//! 14 bytes  netpoll-trace\n
//!  2 bytes  version, little-endian: 1
//!  1 byte   origin: 0 a simulator, 1 production
//!  text     title: what ran
//!  text     end: how it ended
//!  1 byte   1 if something was violated, then: text property, text sentence,
//!           number of the guilty record + 1 (0: none), goroutine + 1 (0: none), descriptor + 1 (0: none)
//!  number   how many names follow, and so many texts: system calls and faults
//!  number   how many threads follow, and so many texts: their names
//!  number   how many records before the first one are lost
//!  records  1 byte tag; number: thread + 1, 0 for the kernel; signed: nanoseconds since the last record;
//!           as many signed numbers as the event with this tag has words
//!  1 byte   255, then number: how many records there were
//!  8 bytes  FNV-1a of everything before them, little-endian
//! ```
//!
//! A *number* is LEB128, 7 bits a byte, low ones first; a *signed* one is a number after zigzag; a *text*
//! is a number of bytes and as many bytes of UTF-8. Tags and words are those of [`words`](super::words); tags from
//! 128 on are what a simulator says of its world (`netpoll-traces`).

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::words::Packed;

/// How a file begins.
pub const MAGIC: &[u8; 14] = b"netpoll-trace\n";
/// The version that is written.
pub const VERSION: u16 = 1;
/// The tag behind the last record.
pub const END: u8 = 255;
/// The number of the kernel where threads are numbered.
pub const KERNEL: u32 = u32::MAX;

/// Where a trace comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A simulated run.
    Simulator,
    /// A run on the kernel of a machine.
    Production,
}

/// A violation, as it stands in a file.
#[derive(Clone, Copy, Debug)]
pub struct Violated<'a> {
    /// What was violated.
    pub property: &'a str,
    /// The sentence about it.
    pub sentence: &'a str,
    /// The guilty record.
    pub at: Option<u64>,
    /// The goroutine that it is about.
    pub g: Option<u64>,
    /// The descriptor that it is about.
    pub fd: Option<u64>,
}

/// What stands before the records.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// Where the trace comes from.
    pub origin: Origin,
    /// What ran.
    pub title: &'a str,
    /// How it ended.
    pub end: &'a str,
    /// What it violated.
    pub violated: Option<Violated<'a>>,
    /// The names that events refer to by number.
    pub names: &'a [&'a str],
    /// The names of the threads.
    pub threads: &'a [String],
    /// Records that are lost.
    pub lost: u64,
}

/// Writes the hash of what it passes on behind it.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    hash: u64,
    last_ns: u64,
    count: u64,
    /// The record that is being put together, to be used again.
    bytes: Vec<u8>,
}

/// Begins an [`fnv`].
pub const FNV_BASIS: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a, 64 bits.
#[must_use]
pub fn fnv(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

/// Numbers of either sign as numbers, small ones small.
#[must_use]
pub const fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63).cast_unsigned()
}

/// What [`zigzag`] made of.
#[must_use]
pub const fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

/// Adds a number to a buffer.
pub fn push_number(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn push_text(bytes: &mut Vec<u8>, text: &str) {
    push_number(bytes, text.len() as u64);
    bytes.extend_from_slice(text.as_bytes());
}

impl<W: Write> Writer<W> {
    /// Writes what stands before the records.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn new(out: W, head: &Head<'_>) -> io::Result<Writer<W>> {
        let mut writer = Writer { out, hash: FNV_BASIS, last_ns: 0, count: 0, bytes: Vec::new() };
        let mut bytes = MAGIC.to_vec();
        bytes.extend(VERSION.to_le_bytes());
        bytes.push(match head.origin {
            Origin::Simulator => 0,
            Origin::Production => 1,
        });
        push_text(&mut bytes, head.title);
        push_text(&mut bytes, head.end);
        bytes.push(head.violated.is_some().into());
        if let Some(Violated { property, sentence, at, g, fd }) = head.violated {
            push_text(&mut bytes, property);
            push_text(&mut bytes, sentence);
            for number in [at, g, fd] {
                push_number(&mut bytes, number.map_or(0, |number| number + 1));
            }
        }
        push_number(&mut bytes, head.names.len() as u64);
        head.names.iter().for_each(|name| push_text(&mut bytes, name));
        push_number(&mut bytes, head.threads.len() as u64);
        head.threads.iter().for_each(|name| push_text(&mut bytes, name));
        push_number(&mut bytes, head.lost);
        writer.write(&bytes)?;
        Ok(writer)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash = fnv(self.hash, bytes);
        self.out.write_all(bytes)
    }

    /// Writes one record.
    ///
    /// # Errors
    /// Those of the output.
    pub fn record(&mut self, t_ns: u64, thread: u32, event: &Packed) -> io::Result<()> {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        bytes.push(event.tag);
        push_number(&mut bytes, thread.wrapping_add(1).into());
        let since = t_ns.wrapping_sub(self.last_ns).cast_signed();
        push_number(&mut bytes, zigzag(since));
        for word in &event.words[..event.len.into()] {
            push_number(&mut bytes, zigzag(word.cast_signed()));
        }
        (self.last_ns, self.count) = (t_ns, self.count + 1);
        let result = self.write(&bytes);
        self.bytes = bytes;
        result
    }

    /// Writes the end, and gives the output back.
    ///
    /// # Errors
    /// Those of the output.
    pub fn finish(mut self) -> io::Result<W> {
        let mut bytes = vec![END];
        push_number(&mut bytes, self.count);
        self.write(&bytes)?;
        self.out.write_all(&self.hash.to_le_bytes())?;
        self.out.flush()?;
        Ok(self.out)
    }
}

/// Writes a file under another name first and renames it, so that no half of one is ever seen. What is no
/// regular file, a pipe or a device, is written to where it is.
///
/// # Errors
/// What the file system says, with the path; nothing is left then.
pub fn write_whole(
    path: &Path,
    write: impl FnOnce(&mut io::BufWriter<fs::File>) -> io::Result<()>,
) -> io::Result<()> {
    let cannot = |error: io::Error| {
        io::Error::new(error.kind(), format!("{} cannot be written: {error}", path.display()))
    };
    if fs::metadata(path).is_ok_and(|there| !there.is_file()) {
        let file = fs::OpenOptions::new().write(true).open(path).map_err(cannot)?;
        let mut out = io::BufWriter::new(file);
        return write(&mut out).and_then(|()| out.flush()).map_err(cannot);
    }
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.part", std::process::id()));
    let part: PathBuf = path.with_file_name(name);
    let result = fs::File::create(&part).map(io::BufWriter::new).and_then(|mut out| {
        write(&mut out)?;
        out.flush()?;
        fs::rename(&part, path)
    });
    result.map_err(|error| {
        let _may_not_exist = fs::remove_file(&part);
        cannot(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_either_sign_survive_zigzag_and_small_ones_are_short() {
        for value in [0, 1, -1, 63, -64, i64::MAX, i64::MIN] {
            assert_eq!(unzigzag(zigzag(value)), value);
        }
        let mut bytes = Vec::new();
        push_number(&mut bytes, zigzag(-64));
        assert_eq!(bytes, [0x7f]);
    }

    #[test]
    fn a_file_that_cannot_be_written_whole_is_not_there_at_all() {
        let folder =
            std::env::temp_dir().join(format!("netpoll-trace-test-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("a.trace");
        let error = write_whole(&path, |out| {
            out.write_all(b"half")?;
            Err(io::Error::other("the disk is full"))
        });
        let text = error.unwrap_err().to_string();
        assert!(text.contains("a.trace cannot be written: the disk is full"), "{text}");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        write_whole(&path, |out| out.write_all(b"whole")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        // Renaming onto a device would put a file in its place, so it is written to.
        let device = Path::new("/dev/null");
        write_whole(device, |out| out.write_all(b"whole")).unwrap();
        assert!(!fs::metadata(device).unwrap().is_file());
        let text = write_whole(&folder, |_| Ok(())).unwrap_err().to_string();
        assert!(text.contains("cannot be written"), "a folder: {text}");
        fs::remove_dir_all(&folder).unwrap();
    }
}
