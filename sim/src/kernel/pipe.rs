//! Pipes: a ring of pages between an end that is read and an end that is written.
//!
//! The ring stands in the file of the end that is read; with that end it is gone. What Linux does
//! (`fs/pipe.c`), and this does too:
//!
//! * Room is counted in pages. A write first fills up the last page, if the odd bytes of it (its length
//!   modulo a page) fit there whole; what is left starts a page of its own. So a write of up to `PIPE_BUF`
//!   bytes is all or nothing (pipe(7)), and small ones share pages.
//! * Every write wakes the reader once the pipe has been polled, also one that finds the pipe not empty.
//!   A read wakes the writer only if it frees a page of a full ring.
//! * The end of one side, and not of the other before, wakes both: `HUP` for the reader, `ERR` for the
//!   writer.
//!
//! A short write is followed by an edge when there is room (**P1**), like one of TCP (T5).

use std::collections::VecDeque;

use netpoll::platform::{Errno, RawFd};

use super::bytes;
use super::env::Env;
use super::epoll::{ERR, HUP, IN, OUT, RDNORM, WRNORM};
use super::machine::{FileId, Machine, Object};
use crate::choice::ChoiceKind;
use crate::faults::FaultKind;
use crate::oracle::Moved;

/// Up to here a write is all or nothing, and this is what a page holds.
const PIPE_BUF: usize = 4096;

/// What a page holds of one or several writes.
#[derive(Clone, Copy, Debug)]
struct Page {
    /// Bytes that have been read from its front.
    taken: usize,
    len: usize,
}

/// The end that is read, and the ring.
#[derive(Debug)]
pub(super) struct Pipe {
    /// The other end, while it is open.
    writer: Option<FileId>,
    bytes: VecDeque<u8>,
    pages: VecDeque<Page>,
    pages_max: usize,
    /// Somebody has asked for the readiness of either end.
    polled: bool,
    /// P1.
    wants_room: bool,
}

impl Pipe {
    fn is_full(&self) -> bool {
        self.pages.len() >= self.pages_max
    }

    /// How many of `len` bytes can be taken, and how many of them go to the last page.
    fn room(&self, len: usize) -> (usize, usize) {
        let odd = len % PIPE_BUF;
        let merged = match self.pages.back() {
            Some(last) if odd > 0 && last.taken + last.len + odd <= PIPE_BUF => odd,
            _ => 0,
        };
        let free = (self.pages_max - self.pages.len()) * PIPE_BUF;
        (merged + (len - merged).min(free), merged)
    }

    fn put(&mut self, parts: &[&[u8]], len: usize, merged: usize) {
        bytes::append(&mut self.bytes, parts, len);
        if let Some(last) = self.pages.back_mut() {
            last.len += merged;
        }
        let mut left = len - merged;
        while left > 0 {
            let len = left.min(PIPE_BUF);
            self.pages.push_back(Page { taken: 0, len });
            left -= len;
        }
    }

    /// Takes bytes from the front; true when that frees a page of a full ring.
    fn take(&mut self, len: usize) -> bool {
        let was_full = self.is_full();
        let before = self.pages.len();
        self.bytes.drain(..len);
        let mut left = len;
        while let Some(page) = self.pages.front_mut().filter(|_| left > 0) {
            let n = page.len.min(left);
            page.taken += n;
            page.len -= n;
            left -= n;
            if page.len == 0 {
                self.pages.pop_front();
            }
        }
        was_full && self.pages.len() < before
    }

    pub(super) fn readiness(&self) -> u32 {
        let readable = if self.pages.is_empty() { 0 } else { IN };
        let over = if self.writer.is_none() { HUP } else { 0 };
        readable | over
    }
}

/// The end that is written.
#[derive(Debug)]
pub(super) struct PipeWriter {
    /// The other end, while it is open.
    reader: Option<FileId>,
    /// There was no room when that end went, and there will be none.
    was_full: bool,
}

impl Machine {
    /// `pipe2`.
    pub(super) fn pipe(&mut self, env: &Env<'_>) -> Result<(RawFd, RawFd), Errno> {
        self.check_two_numbers_free()?;
        let kinds = [FaultKind::NoDescriptor, FaultKind::NoFile];
        Machine::shortage(env, &kinds)?;
        let writer =
            self.add_file(Object::PipeWriter(PipeWriter { reader: None, was_full: false }));
        let reader = self.add_file(Object::Pipe(Box::new(Pipe {
            writer: Some(writer),
            bytes: VecDeque::new(),
            pages: VecDeque::new(),
            pages_max: self.config.pipe_pages,
            polled: false,
            wants_room: false,
        })));
        self.pipe_writer(writer).reader = Some(reader);
        Ok((self.number(reader), self.number(writer)))
    }

    fn pipe_of(&mut self, reader: FileId) -> &mut Pipe {
        match &mut self.file_mut(reader).object {
            Object::Pipe(pipe) => pipe,
            other => unreachable!("{other:?} was looked up as a pipe"),
        }
    }

    fn pipe_writer(&mut self, writer: FileId) -> &mut PipeWriter {
        match &mut self.file_mut(writer).object {
            Object::PipeWriter(writer) => writer,
            other => unreachable!("{other:?} was looked up as the end of a pipe"),
        }
    }

    /// The readiness of the end that is written.
    pub(super) fn pipe_writer_readiness(&self, writer: &PipeWriter) -> u32 {
        match writer.reader.map(|reader| &self.file(reader).object) {
            None if writer.was_full => ERR,
            None => OUT | ERR,
            Some(Object::Pipe(pipe)) if pipe.is_full() => 0,
            Some(_) => OUT,
        }
    }

    /// Somebody asks for the readiness of the end `id`.
    pub(super) fn pipe_polled(&mut self, id: FileId) {
        let reader = match &self.file(id).object {
            Object::PipeWriter(writer) => writer.reader,
            _ => Some(id),
        };
        if let Some(reader) = reader {
            self.pipe_of(reader).polled = true;
        }
    }

    pub(super) fn pipe_read(
        &mut self,
        env: &Env<'_>,
        id: FileId,
        buf: &mut [u8],
    ) -> Result<usize, Errno> {
        let host = self.here_id();
        let pipe = self.pipe_of(id);
        if pipe.pages.is_empty() {
            return if pipe.writer.is_some() { Err(Errno::EAGAIN) } else { Ok(0) };
        }
        let count = bytes::copy_front(&pipe.bytes, buf);
        env.moved(host, Moved::Read { from: id.number(), bytes: &buf[..count], is_peek: false });
        let frees = pipe.take(count);
        let wakes = frees || (pipe.wants_room && !pipe.is_full());
        let writer = pipe.writer;
        if let Some(writer) = writer.filter(|_| wakes) {
            pipe.wants_room = false;
            self.edge(env, writer, OUT | WRNORM);
        }
        Ok(count)
    }

    pub(super) fn pipe_write(
        &mut self,
        env: &Env<'_>,
        id: FileId,
        parts: &[&[u8]],
    ) -> Result<usize, Errno> {
        let len = bytes::total(parts);
        if len == 0 {
            return Ok(0);
        }
        let Some(reader) = self.pipe_writer(id).reader else {
            return Err(Errno::EPIPE);
        };
        let host = self.here_id();
        let pipe = self.pipe_of(reader);
        let was_empty = pipe.pages.is_empty();
        let (mut count, merged) = pipe.room(len);
        let least = merged.max(1);
        if len > PIPE_BUF && count > least && env.strikes(FaultKind::ShortWrite) {
            count -= 1 + env.choose(ChoiceKind::WriteLen, (count - least) as u32) as usize;
            pipe.wants_room = true; // P1
        }
        env.moved(host, Moved::Written { to: reader.number(), parts, count });
        pipe.put(parts, count, merged);
        if was_empty || pipe.polled {
            // Also when nothing could be taken, as Linux does.
            self.edge(env, reader, IN | RDNORM);
        }
        if count > 0 { Ok(count) } else { Err(Errno::EAGAIN) }
    }

    /// The last number of an end is closed.
    pub(super) fn pipe_close(&mut self, env: &Env<'_>, id: FileId) {
        let (other, is_full) = match &self.file(id).object {
            Object::Pipe(pipe) => (pipe.writer, pipe.is_full()),
            Object::PipeWriter(writer) => (writer.reader, false),
            other => unreachable!("{other:?} is closed as the end of a pipe"),
        };
        self.free_file(id);
        let Some(other) = other else { return };
        match &mut self.file_mut(other).object {
            Object::Pipe(pipe) => pipe.writer = None,
            Object::PipeWriter(writer) => {
                *writer = PipeWriter { reader: None, was_full: is_full };
            }
            other => unreachable!("{other:?} is the end of a pipe"),
        }
        self.edge(env, other, 0);
    }
}
