//! From bytes to a trace.

use std::collections::HashSet;
use std::sync::{LazyLock, Mutex, PoisonError};

use netpoll::trace::Event;
use netpoll::trace::file::{END, FNV_BASIS, MAGIC, Origin, VERSION, fnv, unzigzag};
use netpoll::trace::words::{SYSCALLS, WORDS};

use super::{FileError, Table, TraceFile, WORLD};
use crate::{Caption, Entry, Guilt, Keep, Recorder, ThreadId, WorldEvent};

/// More names, threads or bytes of a text than any trace has: a length beyond is damage.
const NAMES_MAX: u64 = 1000;
const THREADS_MAX: u64 = 60_000;
const TEXT_MAX: u64 = 1 << 20;
/// Bytes of the hash at the end.
const HASH: usize = 8;

type Read<T> = Result<T, FileError>;

/// The bytes, and how far they have been read.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn error<T>(&self, what: impl Into<String>) -> Read<T> {
        Err(FileError { offset: self.at, what: what.into() })
    }

    fn take(&mut self, len: usize, what: &str) -> Read<&[u8]> {
        let Some(bytes) = self.bytes.get(self.at..).and_then(|rest| rest.get(..len)) else {
            let at = self.bytes.len();
            return Err(FileError { offset: at, what: format!("the file ends in {what}") });
        };
        self.at += len;
        Ok(bytes)
    }

    fn byte(&mut self, what: &str) -> Read<u8> {
        self.take(1, what).map(|bytes| bytes[0])
    }

    fn number(&mut self, what: &str) -> Read<u64> {
        let start = self.at;
        let mut number: u64 = 0;
        for shift in (0..).step_by(7) {
            let byte = self.byte(what)?;
            let bits = u64::from(byte & 0x7f);
            if shift > 63 || bits << shift >> shift != bits {
                return Err(FileError { offset: start, what: format!("no number fits {what}") });
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        Ok(number)
    }

    /// A number that is at most `max`.
    fn count(&mut self, max: u64, what: &str) -> Read<u64> {
        let start = self.at;
        match self.number(what)? {
            count if count <= max => Ok(count),
            count => {
                Err(FileError { offset: start, what: format!("{what} is {count}, over {max}") })
            }
        }
    }

    fn signed(&mut self, what: &str) -> Read<i64> {
        self.number(what).map(unzigzag)
    }

    fn text(&mut self, what: &str) -> Read<String> {
        let len = self.count(TEXT_MAX, what)? as usize;
        let start = self.at;
        let bytes = self.take(len, what)?.to_vec();
        String::from_utf8(bytes)
            .map_err(|_| FileError { offset: start, what: format!("{what} is not UTF-8") })
    }

    /// A number after which one more would have been none at all.
    fn option(&mut self, what: &str) -> Read<Option<u64>> {
        Ok(self.number(what)?.checked_sub(1))
    }
}

pub(super) fn read(bytes: &[u8]) -> Read<TraceFile> {
    let mut cursor = Cursor { bytes, at: 0 };
    let is_start = bytes.len().min(MAGIC.len());
    if bytes[..is_start] != MAGIC[..is_start] || bytes.is_empty() {
        return cursor.error("this is no netpoll trace");
    }
    cursor.take(MAGIC.len(), "its first line")?;
    let version = u16::from_le_bytes(cursor.take(2, "its version")?.try_into().expect("two bytes"));
    if version != VERSION {
        cursor.at -= 2;
        let than = if version > VERSION { "newer" } else { "older" };
        return cursor.error(format!(
            "a trace of version {version}, which is {than} than what this program reads, {VERSION}"
        ));
    }
    check_hash(bytes)?;
    let origin = match cursor.byte("its origin")? {
        0 => Origin::Simulator,
        1 => Origin::Production,
        other => {
            cursor.at -= 1;
            return cursor.error(format!("an origin is 0 or 1, not {other}"));
        }
    };
    let caption = caption(&mut cursor)?;
    let names = cursor.count(NAMES_MAX, "the number of names")?;
    let names: Read<Vec<_>> = (0..names).map(|_| cursor.text("a name").map(intern)).collect();
    let names = Table(names?);
    let mut recorder = Recorder::new(Keep::All);
    let threads = cursor.count(THREADS_MAX, "the number of threads")?;
    for _ in 0..threads {
        recorder.add_thread(&cursor.text("the name of a thread")?);
    }
    let lost = cursor.number("the number of lost records")?;
    let mut now: u64 = 0;
    let mut count: u64 = 0;
    loop {
        let start = cursor.at;
        let tag = cursor.byte("the records, without their end")?;
        if tag == END {
            break;
        }
        let thread = match cursor.count(threads, "the thread of a record")?.checked_sub(1) {
            None => ThreadId::KERNEL,
            Some(thread) => ThreadId(thread as u16),
        };
        now = now.wrapping_add_signed(cursor.signed("the time of a record")?);
        let event = event(&mut cursor, tag, &names, start)?;
        recorder.record(now, thread, &event);
        count += 1;
    }
    let start = cursor.at;
    let said = cursor.number("the number of records")?;
    if said != count {
        return Err(FileError { offset: start, what: format!("{count} records, not {said}") });
    }
    if cursor.at + HASH != bytes.len() {
        return cursor.error("something follows the end");
    }
    let mut trace = recorder.finish();
    trace.dropped = lost;
    if let Some(at) = caption.guilt.as_ref().and_then(|guilt| guilt.at)
        && at >= trace.records.len()
    {
        let what = format!("record {at} is said to be guilty, and there are {count}");
        return Err(FileError { offset: start, what });
    }
    Ok(TraceFile { origin, caption, trace })
}

/// The hash first: behind it, whatever does not fit is the writer's fault and not the disk's.
fn check_hash(bytes: &[u8]) -> Read<()> {
    let end = bytes.len().saturating_sub(HASH);
    let (body, hash) = bytes.split_at(end);
    if hash.len() == HASH && fnv(FNV_BASIS, body).to_le_bytes() == hash {
        return Ok(());
    }
    let what = "the file does not end with the hash of what is in it: it is truncated or damaged";
    Err(FileError { offset: bytes.len(), what: what.to_string() })
}

fn caption(cursor: &mut Cursor<'_>) -> Read<Caption> {
    let (title, end) = (cursor.text("the title")?, cursor.text("the end of the run")?);
    let guilt = match cursor.byte("the violation")? {
        0 => None,
        1 => Some(Guilt {
            property: cursor.text("what was violated")?,
            sentence: cursor.text("the sentence")?,
            at: cursor.option("the guilty record")?.map(|at| at as usize),
            g: cursor.option("the goroutine")?,
            fd: cursor.option("the descriptor")?.and_then(|fd| fd.try_into().ok()),
        }),
        other => {
            cursor.at -= 1;
            return cursor.error(format!("there is a violation (1) or none (0), not {other}"));
        }
    };
    Ok(Caption { title, end, guilt })
}

fn event(cursor: &mut Cursor<'_>, tag: u8, names: &Table, start: usize) -> Read<Entry> {
    let len = if tag < WORLD { Event::words_of(tag) } else { WorldEvent::words_of(tag) };
    let Some(len) = len else {
        return Err(FileError { offset: start, what: format!("no event has the tag {tag}") });
    };
    let mut words = [0; WORDS];
    for word in &mut words[..len] {
        *word = cursor.signed("a record")?.cast_unsigned();
    }
    let words = &words[..len];
    let event = match tag {
        ..WORLD => Event::unpack(tag, words, names).map(Entry::Runtime),
        WORLD.. => WorldEvent::unpack(tag, words, names).map(Entry::World),
    };
    event.ok_or_else(|| {
        let what = format!("an event with the tag {tag} does not consist of {words:?}");
        FileError { offset: start, what }
    })
}

/// A name that lives as long as the program: events refer to names of their own program. There are few, and
/// each is kept once.
fn intern(name: String) -> &'static str {
    static NAMES: LazyLock<Mutex<HashSet<&'static str>>> =
        LazyLock::new(|| Mutex::new(SYSCALLS.into_iter().collect()));
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(&name) = names.get(name.as_str()) {
        return name;
    }
    let name: &'static str = Box::leak(name.into_boxed_str());
    names.insert(name);
    name
}
