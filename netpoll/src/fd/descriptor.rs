//! The operations of an open file: each is one system call in the shape of `file.rs`.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::file::{File, Kind, Owner};
use super::nap::Nap;
use crate::backend::epoll::{END, interest};
use crate::ops::{Deadlines, Descriptor, RuntimeOps};
use crate::platform::{Atomic, Errno, Kernel, Platform, RawFd, Shutdown, SockAddr};
use crate::poll::desc::StartRead;
use crate::trace::Mode;

/// The most bytes that one system call on a stream moves; larger ones are refused by some kernels.
const CALL_BYTES_MAX: usize = 1 << 30;
/// The most buffers that one vectored call takes (`IOV_MAX` on Linux).
const CALL_BUFFERS_MAX: usize = 1024;

impl<P: Platform> File<P> {
    /// A send to a Unix socket whose queue may be full.
    ///
    /// The kernel tells a sender when its own buffer has room again, and when the queue of the peer that
    /// it is connected to has; of another receiver's queue it tells nobody. What is worse, an attempt
    /// that fails takes room in the sender's own buffer and gives it back, which is an edge: who waited
    /// for edges would try again and again without a pause. So a sender that could send as far as its
    /// own socket is concerned looks again after a while.
    fn send_to_unix(&self, buf: &[u8], addr: &SockAddr) -> io::Result<usize> {
        let locked = self.lock(Mode::Write)?;
        self.begin(Mode::Write)?;
        let mut nap = Nap::new(self.number);
        let sent = loop {
            match self.kernel().sendto(self.number, buf, Some(addr)) {
                Ok(sent) => break sent,
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) if !self.is_ready(Mode::Write)? => {
                    self.wait_for_edge(Mode::Write)?;
                }
                Err(Errno::EAGAIN) => {
                    nap.take();
                    self.pd().check(Mode::Write)?;
                }
                Err(errno) => return Err(errno.into()),
            }
        };
        drop(locked);
        self.spend(Mode::Write);
        Ok(sent)
    }

    /// A read of a datagram socket, or one that need not care.
    ///
    /// When the reading half is shut down, a call that blocks returns nothing, as at the end of a stream.
    /// One that does not block says `EAGAIN` for ever, and only the readiness tells.
    fn receive<R: Default>(
        &self,
        mut call: impl FnMut(&P::Kernel, RawFd) -> Result<R, Errno>,
    ) -> io::Result<R> {
        self.operate(Mode::Read, |kernel, fd| match call(kernel, fd) {
            Err(Errno::EAGAIN) if self.is_shut_down()? => Ok(R::default()),
            result => result,
        })
    }

    /// Whether the reading half of a datagram socket is shut down. That is an event, so as long as there
    /// was none the kernel is not asked.
    fn is_shut_down(&self) -> Result<bool, Errno> {
        let perhaps = self.kind == Kind::Datagram && self.pd().is_unsure();
        Ok(perhaps && self.kernel().poll(self.number, END)? & END != 0)
    }

    /// Whether the kernel says that an operation of this direction is worth trying.
    fn is_ready(&self, mode: Mode) -> Result<bool, Errno> {
        let events = self.kernel().poll(self.number, interest(mode))?;
        Ok(events != 0)
    }
}

impl<P: Platform> Descriptor for File<P> {
    fn runtime(&self) -> Arc<dyn RuntimeOps> {
        self.shared.clone()
    }

    fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        if self.kind == Kind::Datagram {
            return self.receive(|kernel, fd| kernel.read(fd, buf));
        }
        if buf.is_empty() {
            // Not even an expired deadline is reported, but a close is.
            return self.lock(Mode::Read).map(|_| 0);
        }
        let length = buf.len().min(CALL_BYTES_MAX);
        let buf = &mut buf[..length];
        let locked = self.lock(Mode::Read)?;
        let drained = self.drained.load(Relaxed) != 0;
        self.drained.store(0, Relaxed);
        if self.pd().start_read(self.kernel(), drained)? == StartRead::Wait {
            self.wait_for_edge(Mode::Read)?;
        }
        let read = self.retry(Mode::Read, |kernel, fd| kernel.read(fd, buf))?;
        let drained = self.kind == Kind::Tcp && 0 < read && read < length;
        self.drained.store(u32::from(drained), Relaxed);
        drop(locked);
        self.spend(Mode::Read);
        Ok(read)
    }

    fn readv(&self, bufs: &mut [io::IoSliceMut<'_>]) -> io::Result<usize> {
        let count = bufs.len().min(CALL_BUFFERS_MAX);
        let bufs = &mut bufs[..count];
        if bufs.iter().all(|buf| buf.is_empty()) {
            return self.lock(Mode::Read).map(|_| 0);
        }
        self.operate(Mode::Read, |kernel, fd| kernel.readv(fd, bufs))
    }

    fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.receive(|kernel, fd| kernel.peek(fd, buf))
    }

    fn write(&self, buf: &[u8]) -> io::Result<usize> {
        let buf = &buf[..buf.len().min(CALL_BYTES_MAX)];
        self.operate(Mode::Write, |kernel, fd| kernel.write(fd, buf))
    }

    fn write_all(&self, mut buf: &[u8]) -> io::Result<()> {
        let locked = self.lock(Mode::Write)?;
        self.begin(Mode::Write)?;
        while !buf.is_empty() {
            let part = &buf[..buf.len().min(CALL_BYTES_MAX)];
            let written = self.retry(Mode::Write, |kernel, fd| kernel.write(fd, part))?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            assert!(written <= part.len(), "the kernel wrote {written} of {} bytes", part.len());
            buf = &buf[written..];
        }
        drop(locked);
        self.spend(Mode::Write);
        Ok(())
    }

    fn writev(&self, bufs: &[io::IoSlice<'_>]) -> io::Result<usize> {
        let bufs = &bufs[..bufs.len().min(CALL_BUFFERS_MAX)];
        self.operate(Mode::Write, |kernel, fd| kernel.writev(fd, bufs))
    }

    fn recv_from(&self, buf: &mut [u8], peek: bool) -> io::Result<(usize, Option<SockAddr>)> {
        self.receive(|kernel, fd| kernel.recvfrom(fd, buf, peek))
    }

    fn send_to(&self, buf: &[u8], addr: &SockAddr) -> io::Result<usize> {
        match addr {
            SockAddr::Unix(_) => self.send_to_unix(buf, addr),
            _ => self.operate(Mode::Write, |kernel, fd| kernel.sendto(fd, buf, Some(addr))),
        }
    }

    fn connect(&self, addr: &SockAddr) -> io::Result<()> {
        let _reference = self.reference()?;
        loop {
            match self.kernel().connect(self.number, addr) {
                Err(Errno::EINTR) => {}
                result => return Ok(result?),
            }
        }
    }

    fn accept(&self) -> io::Result<(Arc<dyn Descriptor>, SockAddr)> {
        let (number, peer) = self.operate(Mode::Read, |kernel, fd| {
            loop {
                match kernel.accept4(fd) {
                    // That connection is gone; the queue may hold others.
                    Err(Errno::ECONNABORTED) => {}
                    result => return result,
                }
            }
        })?;
        let file: Arc<dyn Descriptor> = File::new(&self.shared, number, self.kind, Owner::File)?;
        Ok((file, peer))
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        let _reference = self.reference()?;
        Ok(self.kernel().shutdown(self.number, how)?)
    }

    fn close(&self) -> io::Result<()> {
        self.shut(false)?;
        match self.close_result.load(Relaxed).cast_signed() {
            0 => Ok(()),
            errno => Err(Errno(errno).into()),
        }
    }

    fn set_deadline(&self, which: Deadlines, at: Option<u64>) -> io::Result<()> {
        let _reference = self.reference()?;
        let at = match at {
            None => 0,
            Some(at) if at <= self.kernel().clock() => -1,
            // Saturates: a time that far ahead never comes (golang/go#14431).
            Some(at) => i64::try_from(at).unwrap_or(i64::MAX),
        };
        let released = self.pd().set_deadline(self.kernel(), &*self.shared, which, at);
        self.shared.release_from_here(released);
        Ok(())
    }

    fn local_addr(&self) -> io::Result<SockAddr> {
        let _reference = self.reference()?;
        Ok(self.kernel().getsockname(self.number)?)
    }

    fn peer_addr(&self) -> io::Result<SockAddr> {
        let _reference = self.reference()?;
        Ok(self.kernel().getpeername(self.number)?)
    }

    fn getsockopt(&self, level: i32, name: i32) -> io::Result<i32> {
        let _reference = self.reference()?;
        Ok(self.kernel().getsockopt(self.number, level, name)?)
    }

    fn setsockopt(&self, level: i32, name: i32, value: i32) -> io::Result<()> {
        let _reference = self.reference()?;
        Ok(self.kernel().setsockopt(self.number, level, name, value)?)
    }

    fn set_zero_linger(&self) -> io::Result<()> {
        let _reference = self.reference()?;
        Ok(self.kernel().set_linger(self.number, Some(0))?)
    }

    fn raw_fd(&self) -> RawFd {
        self.number
    }

    fn wait(&self, mode: Mode) -> io::Result<()> {
        // The level, not the edge: that may have been used by an operation that left something.
        self.operate(mode, |_, _| match self.is_ready(mode)? {
            true => Ok(()),
            false => Err(Errno::EAGAIN),
        })
    }

    fn attempt(&self, mode: Mode, operation: &mut dyn FnMut() -> io::Result<()>) -> io::Result<()> {
        let mut result = Ok(());
        // The operation's own error, if it has one, comes out by way of `result`.
        self.operate(mode, |_, _| match operation() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(Errno::EAGAIN),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(Errno::EINTR),
            done => {
                result = done;
                Ok(())
            }
        })?;
        result
    }

    fn take_fd(&self) -> io::Result<OwnedFd> {
        if !self.kernel().is_real() {
            return self.kernel().own(self.number);
        }
        self.shut(true)?;
        self.kernel().own(self.number)
    }
}
