//! The calls that work on every kind of file, and what the kernel may be short of.

use std::io::IoSliceMut;

use netpoll::platform::{Errno, RawFd};

use super::bytes;
use super::env::Env;
use super::machine::{FileId, Machine, Object};
use super::socket::interruptible;
use super::tcp::State;
use crate::faults::FaultKind;

impl Machine {
    /// Makes a file and gives it a number.
    pub(super) fn create(&mut self, object: impl FnOnce() -> Object) -> Result<RawFd, Errno> {
        self.check_number_free()?;
        let file = self.add_file(object());
        Ok(self.number(file))
    }

    pub(super) fn read(
        &mut self,
        env: &Env<'_>,
        fd: RawFd,
        buf: &mut [u8],
    ) -> Result<usize, Errno> {
        let id = self.lookup(fd)?;
        match self.file(id).object {
            Object::Epoll(_) => return Err(Errno::EINVAL),
            Object::PipeWriter(_) => return Err(Errno::EBADF),
            Object::Regular => return Ok(0),
            Object::EventFd(_) => {}
            // Nothing is asked for, so nothing is looked at: not even an error.
            _ if buf.is_empty() => return Ok(0),
            _ => {}
        }
        interruptible(env)?;
        match self.file(id).object {
            Object::EventFd(_) => self.eventfd_read(env, id, buf),
            Object::Pipe(_) => self.pipe_read(env, id, buf),
            _ => {
                let kind = self.socket_kind(id).expect("nothing else is left");
                self.receive_from(env, id, kind, buf, false).map(|(count, _)| count)
            }
        }
    }

    /// One read into several buffers.
    pub(super) fn readv(
        &mut self,
        env: &Env<'_>,
        fd: RawFd,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Result<usize, Errno> {
        let len = bufs.iter().map(|buf| buf.len()).sum();
        let id = self.lookup(fd)?;
        if len == 0 && matches!(self.file(id).object, Object::EventFd(_)) {
            return Ok(0); // Linux stops here without asking the file
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.resize(len, 0);
        let result = self.read(env, fd, &mut scratch);
        if let Ok(count) = result {
            bytes::scatter(&scratch[..count], bufs);
        }
        self.scratch = scratch;
        result
    }

    /// `write`, and `writev` where `is_vector`.
    pub(super) fn write(
        &mut self,
        env: &Env<'_>,
        fd: RawFd,
        parts: &[&[u8]],
        is_vector: bool,
    ) -> Result<usize, Errno> {
        let id = self.lookup(fd)?;
        match self.file(id).object {
            Object::Epoll(_) => return Err(Errno::EINVAL),
            Object::Pipe(_) => return Err(Errno::EBADF),
            Object::Regular => return Ok(bytes::total(parts)),
            // Linux stops here without asking the file.
            Object::EventFd(_) if is_vector && bytes::total(parts) == 0 => return Ok(0),
            _ => {}
        }
        interruptible(env)?;
        match self.file(id).object {
            Object::EventFd(_) => self.eventfd_write(env, id, parts),
            Object::PipeWriter(_) => self.pipe_write(env, id, parts),
            _ => {
                let kind = self.socket_kind(id).expect("nothing else is left");
                self.send_to(env, id, kind, parts, None)
            }
        }
    }

    /// What a call meets if one of the faults strikes by which the kernel is short of something.
    pub(super) fn shortage(env: &Env<'_>, kinds: &[FaultKind]) -> Result<(), Errno> {
        for &kind in kinds {
            if env.strikes(kind) {
                return Err(match kind {
                    FaultKind::NoDescriptor => Errno::EMFILE,
                    FaultKind::NoFile => Errno::ENFILE,
                    FaultKind::NoBuffers => Errno::ENOBUFS,
                    FaultKind::NoMemory => Errno::ENOMEM,
                    FaultKind::NoWatch | FaultKind::NoStreamWatch => Errno::ENOSPC,
                    other => unreachable!("{other:?} is no shortage"),
                });
            }
        }
        Ok(())
    }

    /// The shortages that `EPOLL_CTL_ADD` may meet. Those of a connection are apart, because whoever cannot
    /// watch it will close it, and then its other end has lost it too.
    pub(super) fn watch_shortage(&self, env: &Env<'_>, id: FileId) -> Result<(), Errno> {
        let is_connection = match &self.file(id).object {
            Object::Tcp(tcp) => tcp.state != State::Listen,
            Object::Unix(unix) => unix.peer.is_some(),
            Object::Pipe(_) | Object::PipeWriter(_) => true,
            Object::Udp(_) => false,
            // The runtime's own, without which there is none.
            _ => return Ok(()),
        };
        if is_connection {
            Machine::shortage(env, &[FaultKind::NoStreamWatch])
        } else {
            Machine::shortage(env, &[FaultKind::NoWatch, FaultKind::NoMemory])
        }
    }
}
