//! Any other file that the kernel can be asked to watch.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::Arc;

use super::error::closed_error;
use super::handle::{Handle, both_ways};
use crate::platform::Lock as _;
use crate::platform::os::OsMutex;
use crate::trace::Mode;
use crate::waiter::current_runtime;

/// A file of any kind that can be polled (a terminal, an inotify, timer or signal descriptor, a device, a
/// socket of another family …), with operations that park the calling goroutine instead of blocking its
/// worker.
///
/// The operations are the file's own: [`read_with`](Pollable::read_with) and
/// [`write_with`](Pollable::write_with) call one, and whenever it says
/// [`WouldBlock`](io::ErrorKind::WouldBlock) they wait until it is worth another try. Where `&F` is
/// `Read` or `Write`, so is this.
///
/// It is shared as [`TcpStream`](super::TcpStream) is, with the same time limits, and closing it closes
/// the file.
///
/// The file is made non-blocking, which concerns everybody who has it open: a terminal or a pipe that was
/// inherited may be shared with other processes. It stays so when it is given back by
/// [`into_inner`](Pollable::into_inner). While it is here it must not be registered a second time, nor
/// its number be closed behind this type's back.
///
/// ```
/// use std::fs::File;
/// use std::io::Read;
/// use std::os::fd::OwnedFd;
/// use std::process::{Command, Stdio};
/// use netpoll::net::Pollable;
///
/// # fn main() -> std::io::Result<()> {
/// netpoll::run(|| {
///     let mut child = Command::new("echo").arg("hello").stdout(Stdio::piped()).spawn()?;
///     let stdout = child.stdout.take().expect("it is piped");
///     // `Read` for a shared reference is what `File` has and `ChildStdout` has not.
///     let mut stdout = Pollable::new(File::from(OwnedFd::from(stdout)))?;
///     let mut text = String::new();
///     stdout.read_to_string(&mut text)?;
///     assert_eq!(text, "hello\n");
///     netpoll::blocking(move || child.wait()).map(drop)
/// })?
/// # }
/// ```
pub struct Pollable<F>(Arc<Inner<F>>);

struct Inner<F> {
    /// Before the file: it is dropped, and the file deregistered, first.
    handle: Handle,
    /// The file, until it is closed. Operations have a reference of their own while they use it, under
    /// the descriptor's lock of their direction, so a close finds the last one here.
    file: OsMutex<Option<Arc<F>>>,
}

impl<F: AsFd + Send + Sync + 'static> Pollable<F> {
    /// Makes `file` non-blocking and registers it, in the runtime of the caller.
    ///
    /// # Errors
    /// `Unsupported` for a file that cannot be polled, such as a regular file or a folder, and under a
    /// simulated kernel, which does not have it; `AlreadyExists` for one that is registered already;
    /// outside of a runtime. The file is dropped then.
    pub fn new(file: F) -> io::Result<Pollable<F>> {
        let descriptor = current_runtime()?.watch(file.as_fd())?;
        let file = OsMutex::new(Some(Arc::new(file)));
        Ok(Pollable(Arc::new(Inner { handle: Handle::new(descriptor), file })))
    }
}

both_ways!(impl [F: Send + Sync + 'static] Pollable<F>);

impl<F: Send + Sync + 'static> Pollable<F> {
    /// Waits until a read is worth trying: there is data, the end, an error or something urgent. Returns
    /// at once if it is already.
    ///
    /// # Errors
    /// `TimedOut` past the deadline; an error for which [`is_closed`](super::is_closed) is true when it is
    /// closed; `Unsupported` when the kernel reports an error for the file that its operations do not
    /// confirm.
    pub fn readable(&self) -> io::Result<()> {
        self.0.handle.wait(Mode::Read)
    }

    /// Waits until a write is worth trying: there is room, or an error. Returns at once if it is already.
    ///
    /// # Errors
    /// As for [`readable`](Pollable::readable).
    pub fn writable(&self) -> io::Result<()> {
        self.0.handle.wait(Mode::Write)
    }

    /// Calls `operation`, which reads from the file in some way, until it does not say
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) any more, waiting in between until the file is readable.
    /// [`Interrupted`](io::ErrorKind::Interrupted) makes it try again at once.
    ///
    /// It has to say `WouldBlock` when there is nothing, and only then: the next wait ends when something
    /// new has come. Operations of one direction come one after the other, so it must not start another
    /// one of the same direction.
    ///
    /// # Errors
    /// As for [`readable`](Pollable::readable), and what `operation` returned.
    pub fn read_with<R>(&self, operation: impl FnMut(&F) -> io::Result<R>) -> io::Result<R> {
        self.attempt(Mode::Read, operation)
    }

    /// As [`read_with`](Pollable::read_with), for an operation that writes.
    ///
    /// # Errors
    /// As for [`read_with`](Pollable::read_with).
    pub fn write_with<R>(&self, operation: impl FnMut(&F) -> io::Result<R>) -> io::Result<R> {
        self.attempt(Mode::Write, operation)
    }

    fn attempt<R>(
        &self,
        mode: Mode,
        mut operation: impl FnMut(&F) -> io::Result<R>,
    ) -> io::Result<R> {
        let mut result = None;
        self.0.handle.starts(mode)?.attempt(mode, &mut || {
            result = Some(operation(&*self.file()?)?);
            Ok(())
        })?;
        Ok(result.expect("an attempt that succeeded has a result"))
    }

    /// Calls `f` with the file, for what does not have to wait: its settings, its metadata. The file stays
    /// open until it returns, and a close does not wait for that.
    ///
    /// # Errors
    /// The closed error.
    pub fn with<R>(&self, f: impl FnOnce(&F) -> R) -> io::Result<R> {
        Ok(f(&*self.file()?))
    }

    /// Another handle to the same file. It shares everything, time limits included, and closing one
    /// closes both.
    ///
    /// # Errors
    /// None; the signature is that of the other types.
    pub fn try_clone(&self) -> io::Result<Pollable<F>> {
        Ok(Pollable(Arc::clone(&self.0)))
    }

    /// Closes the file for all handles: whoever waits in an operation gets an error for which
    /// [`is_closed`](super::is_closed) is true. When it returns the file has been dropped, unless a call of
    /// [`with`](Pollable::with) is still using it.
    ///
    /// # Errors
    /// The closed error when it was closed before.
    pub fn close(&self) -> io::Result<()> {
        self.take().map(drop)
    }

    /// Gives the file back, still non-blocking. All handles are closed by it; operations that are going on
    /// are ended as by a close, and waited for.
    ///
    /// # Errors
    /// The closed error; `ResourceBusy` while a call of [`with`](Pollable::with) uses the file, which is
    /// dropped after it then.
    pub fn into_inner(self) -> io::Result<F> {
        Arc::into_inner(self.take()?).ok_or_else(|| io::ErrorKind::ResourceBusy.into())
    }

    /// Closes the descriptor, which ends all operations, and takes the file out.
    fn take(&self) -> io::Result<Arc<F>> {
        self.handle().descriptor().close()?;
        self.0.file.lock().take().ok_or_else(closed_error)
    }

    fn file(&self) -> io::Result<Arc<F>> {
        self.0.file.lock().clone().ok_or_else(closed_error)
    }

    fn handle(&self) -> &Handle {
        &self.0.handle
    }
}

impl<F: Send + Sync + 'static> Read for &Pollable<F>
where
    for<'f> &'f F: Read,
{
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.read_with(|mut file| file.read(buf))
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.read_with(|mut file| file.read_vectored(bufs))
    }
}

impl<F: Send + Sync + 'static> Read for Pollable<F>
where
    for<'f> &'f F: Read,
{
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buf)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (&*self).read_vectored(bufs)
    }
}

impl<F: Send + Sync + 'static> Write for &Pollable<F>
where
    for<'f> &'f F: Write,
{
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.write_with(|mut file| file.write(buf))
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.write_with(|mut file| file.write_vectored(bufs))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.write_with(|mut file| file.flush())
    }
}

impl<F: Send + Sync + 'static> Write for Pollable<F>
where
    for<'f> &'f F: Write,
{
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&*self).write(buf)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self).write_vectored(bufs)
    }

    fn flush(&mut self) -> io::Result<()> {
        (&*self).flush()
    }
}

/// As for [`TcpStream`](super::TcpStream), there is no `AsFd`.
impl<F> AsRawFd for Pollable<F> {
    fn as_raw_fd(&self) -> RawFd {
        self.0.handle.descriptor().raw_fd()
    }
}

impl<F> fmt::Debug for Pollable<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pollable").field("fd", &self.as_raw_fd()).finish()
    }
}
