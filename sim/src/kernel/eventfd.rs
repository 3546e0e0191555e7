//! `eventfd`: a counter that one can wait for.

use netpoll::platform::Errno;

use super::env::Env;
use super::epoll::{IN, OUT};
use super::machine::{FileId, Machine, Object};

/// The largest value the counter can hold.
const COUNT_MAX: u64 = u64::MAX - 1;

/// A counter in the plain mode: a read takes all of it.
#[derive(Debug, Default)]
pub(super) struct EventFd {
    count: u64,
}

impl EventFd {
    /// Takes the counter; its eight bytes go to the front of `buf`.
    pub(super) fn read(&mut self, buf: &mut [u8]) -> Result<usize, Errno> {
        let buf = buf.first_chunk_mut::<8>().ok_or(Errno::EINVAL)?;
        if self.count == 0 {
            return Err(Errno::EAGAIN);
        }
        *buf = self.count.to_ne_bytes();
        self.count = 0;
        Ok(8)
    }

    /// Adds a number of eight bytes to the counter. More than eight are refused too: measured on Linux,
    /// of which eventfd(2) says it of less only.
    pub(super) fn write(&mut self, buf: &[u8]) -> Result<usize, Errno> {
        let buf: [u8; 8] = buf.try_into().map_err(|_| Errno::EINVAL)?;
        let value = u64::from_ne_bytes(buf);
        if value > COUNT_MAX {
            return Err(Errno::EINVAL);
        }
        if value > COUNT_MAX - self.count {
            return Err(Errno::EAGAIN);
        }
        self.count += value;
        Ok(8)
    }

    pub(super) fn readiness(&self) -> u32 {
        let readable = if self.count > 0 { IN } else { 0 };
        let writable = if self.count < COUNT_MAX { OUT } else { 0 };
        readable | writable
    }
}

impl Machine {
    pub(super) fn eventfd_read(
        &mut self,
        env: &Env<'_>,
        id: FileId,
        buf: &mut [u8],
    ) -> Result<usize, Errno> {
        let count = self.eventfd_mut(id).read(buf)?;
        self.edge(env, id, OUT);
        Ok(count)
    }

    /// Each buffer is a write of its own, up to the first that fails (`do_loop_readv_writev`).
    pub(super) fn eventfd_write(
        &mut self,
        env: &Env<'_>,
        id: FileId,
        parts: &[&[u8]],
    ) -> Result<usize, Errno> {
        let mut count = 0;
        for part in parts {
            match self.eventfd_mut(id).write(part) {
                Ok(n) => count += n,
                Err(errno) if count == 0 => return Err(errno),
                Err(_) => break,
            }
            self.edge(env, id, IN);
        }
        Ok(count)
    }

    fn eventfd_mut(&mut self, id: FileId) -> &mut EventFd {
        match &mut self.file_mut(id).object {
            Object::EventFd(eventfd) => eventfd,
            other => unreachable!("{other:?} was looked up as an eventfd"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_takes_the_sum_of_all_writes() {
        let mut eventfd = EventFd::default();
        let mut buf = [0; 8];
        assert_eq!(eventfd.read(&mut buf), Err(Errno::EAGAIN));
        assert_eq!(eventfd.readiness(), OUT);
        for value in [1u64, 41] {
            assert_eq!(eventfd.write(&value.to_ne_bytes()), Ok(8));
        }
        assert_eq!(eventfd.readiness(), IN | OUT);
        assert_eq!(eventfd.read(&mut buf), Ok(8));
        assert_eq!(u64::from_ne_bytes(buf), 42);
        assert_eq!(eventfd.readiness(), OUT);
    }

    #[test]
    fn the_counter_never_overflows() {
        let mut eventfd = EventFd::default();
        assert_eq!(eventfd.write(&COUNT_MAX.to_ne_bytes()), Ok(8));
        assert_eq!(eventfd.readiness(), IN);
        assert_eq!(eventfd.write(&1u64.to_ne_bytes()), Err(Errno::EAGAIN));
        assert_eq!(eventfd.write(&u64::MAX.to_ne_bytes()), Err(Errno::EINVAL));
        assert_eq!(eventfd.write(&[0; 4]), Err(Errno::EINVAL));
        assert_eq!(eventfd.read(&mut [0; 4]), Err(Errno::EINVAL));
    }
}
