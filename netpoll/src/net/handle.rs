//! What every type of this folder is made of, and what they have in common.
//!
//! A type is a [`Handle`] in a cover that says which operations there are. The covers are written with
//! the macros below, so that each operation and its documentation stand here once:
//!
//! | macro | gives |
//! |---|---|
//! | `handle!` | `new`, `try_clone`, `close`, the number, `Debug` |
//! | `both_ways!` | deadlines and timeouts of both directions |
//! | `one_way!` | the deadline and timeout of the only direction |
//! | `waits!` | `wait_readable`, `wait_writable` |
//! | `reads!`, `writes!` | `Read` and `Write`, by value and by shared reference |
//! | `std_type!` (in `convert.rs`) | to and from `std`'s counterpart |

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::timeouts::Timeouts;
use crate::ops::{Deadlines, Descriptor};
use crate::time::Instant;
use crate::trace::Mode;

/// A descriptor and the time limits of its operations, shared by all who have a copy.
#[derive(Clone)]
pub(super) struct Handle(Arc<Inner>);

struct Inner {
    descriptor: Arc<dyn Descriptor>,
    timeouts: Timeouts,
}

impl Handle {
    /// The handle of a descriptor that nobody else has.
    pub(super) fn new(descriptor: Arc<dyn Descriptor>) -> Handle {
        Handle(Arc::new(Inner { descriptor, timeouts: Timeouts::new() }))
    }

    #[inline]
    pub(super) fn descriptor(&self) -> &dyn Descriptor {
        &*self.0.descriptor
    }

    /// The descriptor, for an operation that starts now.
    #[inline]
    pub(super) fn starts(&self, mode: Mode) -> io::Result<&dyn Descriptor> {
        let descriptor = self.descriptor();
        self.0.timeouts.start(descriptor, mode)?;
        Ok(descriptor)
    }

    pub(super) fn wait(&self, mode: Mode) -> io::Result<()> {
        self.starts(mode)?.wait(mode)
    }

    pub(super) fn set_deadline(&self, which: Deadlines, at: Option<Instant>) -> io::Result<()> {
        let at = at.map(Instant::as_nanos);
        self.0.timeouts.set_deadline(self.descriptor(), which, at)
    }

    pub(super) fn set_timeout(&self, mode: Mode, timeout: Option<Duration>) -> io::Result<()> {
        self.0.timeouts.set_timeout(self.descriptor(), mode, timeout)
    }

    pub(super) fn timeout(&self, mode: Mode) -> Option<Duration> {
        self.0.timeouts.timeout(mode)
    }
}

/// A type that is a handle: `handle!(TcpStream, "connection")`.
macro_rules! handle {
    ($type:ident, $what:literal) => {
        impl $type {
            #[doc = concat!("The ", $what, " of a descriptor that nobody else has.")]
            pub(crate) fn new(
                descriptor: std::sync::Arc<dyn $crate::ops::Descriptor>,
            ) -> $type {
                $type($crate::net::handle::Handle::new(descriptor))
            }

            #[doc = concat!("Another handle to the same ", $what, ". It shares everything, time limits")]
            /// included, and closing one closes both.
            ///
            /// # Errors
            /// None; the signature is that of `std`.
            pub fn try_clone(&self) -> std::io::Result<$type> {
                Ok($type(self.0.clone()))
            }

            #[doc = concat!("Closes the ", $what, " for all handles: whoever waits in an operation gets")]
            /// an error for which [`is_closed`](crate::net::is_closed) is true. Returns when the
            /// descriptor's number is free.
            ///
            /// # Errors
            /// The closed error when it was closed before.
            pub fn close(&self) -> std::io::Result<()> {
                self.descriptor().close()
            }

            #[inline]
            pub(in crate::net) fn handle(&self) -> &$crate::net::handle::Handle {
                &self.0
            }

            #[inline]
            pub(in crate::net) fn descriptor(&self) -> &dyn $crate::ops::Descriptor {
                self.0.descriptor()
            }
        }

        /// There is no `AsFd`: any handle may close the descriptor while another is borrowed, and then
        /// the number may be somebody else's. For the same reason this number is good only for as long
        /// as the caller knows that nobody closes.
        impl std::os::fd::AsRawFd for $type {
            fn as_raw_fd(&self) -> std::os::fd::RawFd {
                self.descriptor().raw_fd()
            }
        }

        impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let fd = self.descriptor().raw_fd();
                f.debug_struct(stringify!($type)).field("fd", &fd).finish()
            }
        }
    };
}

/// The time limits of a type with two directions: `both_ways!(impl [] TcpStream)`, where the brackets are
/// for type parameters.
macro_rules! both_ways {
    (impl [$($param:tt)*] $type:ty) => {
        impl<$($param)*> $type {
            /// Sets the time until which reads and writes may take, those that wait now included; `None`
            /// for ever.
            ///
            /// # Errors
            /// The closed error.
            pub fn set_deadline(&self, at: Option<$crate::time::Instant>) -> std::io::Result<()> {
                self.handle().set_deadline($crate::ops::Deadlines::Both, at)
            }

            /// As [`set_deadline`](Self::set_deadline), of reads.
            ///
            /// # Errors
            /// The closed error.
            pub fn set_read_deadline(
                &self,
                at: Option<$crate::time::Instant>,
            ) -> std::io::Result<()> {
                self.handle().set_deadline($crate::ops::Deadlines::Read, at)
            }

            /// As [`set_deadline`](Self::set_deadline), of writes.
            ///
            /// # Errors
            /// The closed error.
            pub fn set_write_deadline(
                &self,
                at: Option<$crate::time::Instant>,
            ) -> std::io::Result<()> {
                self.handle().set_deadline($crate::ops::Deadlines::Write, at)
            }

            /// Sets how long each read may take that starts from now on; `None` for ever.
            ///
            /// # Errors
            /// `InvalidInput` for zero; the closed error.
            pub fn set_read_timeout(
                &self,
                timeout: Option<std::time::Duration>,
            ) -> std::io::Result<()> {
                self.handle().set_timeout($crate::trace::Mode::Read, timeout)
            }

            /// Sets how long each write may take that starts from now on; `None` for ever.
            ///
            /// # Errors
            /// `InvalidInput` for zero; the closed error.
            pub fn set_write_timeout(
                &self,
                timeout: Option<std::time::Duration>,
            ) -> std::io::Result<()> {
                self.handle().set_timeout($crate::trace::Mode::Write, timeout)
            }

            /// How long each read may take.
            ///
            /// # Errors
            /// None; the signature is that of `std`.
            pub fn read_timeout(&self) -> std::io::Result<Option<std::time::Duration>> {
                Ok(self.handle().timeout($crate::trace::Mode::Read))
            }

            /// How long each write may take.
            ///
            /// # Errors
            /// None; the signature is that of `std`.
            pub fn write_timeout(&self) -> std::io::Result<Option<std::time::Duration>> {
                Ok(self.handle().timeout($crate::trace::Mode::Write))
            }
        }
    };
}

/// The time limits of a type with one direction: `one_way!(PipeReader, Read)`.
macro_rules! one_way {
    ($type:ident, $direction:ident) => {
        impl $type {
            /// Sets the time until which operations may take, those that wait now included; `None` for
            /// ever.
            ///
            /// # Errors
            /// The closed error.
            pub fn set_deadline(&self, at: Option<$crate::time::Instant>) -> std::io::Result<()> {
                self.handle().set_deadline($crate::ops::Deadlines::$direction, at)
            }

            /// Sets how long each operation may take that starts from now on; `None` for ever.
            ///
            /// # Errors
            /// `InvalidInput` for zero; the closed error.
            pub fn set_timeout(&self, timeout: Option<std::time::Duration>) -> std::io::Result<()> {
                self.handle().set_timeout($crate::trace::Mode::$direction, timeout)
            }

            /// How long each operation may take.
            #[must_use]
            pub fn timeout(&self) -> Option<std::time::Duration> {
                self.handle().timeout($crate::trace::Mode::$direction)
            }
        }
    };
}

/// Waits without an operation: `waits!(TcpStream, Read, Write)`, or one of the two.
macro_rules! waits {
    ($type:ident $(, $direction:ident)*) => {
        impl $type {
            $($crate::net::handle::waits!(@$direction);)*
        }
    };
    (@Read) => {
        /// Waits until a read would find something: data, the end, an error. Returns at once if it would
        /// already.
        ///
        /// # Errors
        /// As for reading.
        pub fn wait_readable(&self) -> std::io::Result<()> {
            self.handle().wait($crate::trace::Mode::Read)
        }
    };
    (@Write) => {
        /// Waits until a write would find room, or an error. Returns at once if it would already.
        ///
        /// # Errors
        /// As for writing.
        pub fn wait_writable(&self) -> std::io::Result<()> {
            self.handle().wait($crate::trace::Mode::Write)
        }
    };
}

/// `Read` for a stream.
macro_rules! reads {
    ($type:ident) => {
        impl std::io::Read for &$type {
            fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
                self.handle().starts($crate::trace::Mode::Read)?.read(buf)
            }

            fn read_vectored(
                &mut self,
                bufs: &mut [std::io::IoSliceMut<'_>],
            ) -> std::io::Result<usize> {
                self.handle().starts($crate::trace::Mode::Read)?.readv(bufs)
            }
        }

        impl std::io::Read for $type {
            fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
                (&*self).read(buf)
            }

            fn read_vectored(
                &mut self,
                bufs: &mut [std::io::IoSliceMut<'_>],
            ) -> std::io::Result<usize> {
                (&*self).read_vectored(bufs)
            }
        }
    };
}

/// `Write` for a stream.
macro_rules! writes {
    ($type:ident) => {
        impl std::io::Write for &$type {
            fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
                self.handle().starts($crate::trace::Mode::Write)?.write(buf)
            }

            fn write_vectored(&mut self, bufs: &[std::io::IoSlice<'_>]) -> std::io::Result<usize> {
                self.handle().starts($crate::trace::Mode::Write)?.writev(bufs)
            }

            /// One operation: nobody else's write comes between its parts.
            fn write_all(&mut self, buf: &[u8]) -> std::io::Result<()> {
                self.handle().starts($crate::trace::Mode::Write)?.write_all(buf)
            }

            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }

        impl std::io::Write for $type {
            fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
                (&*self).write(buf)
            }

            fn write_vectored(&mut self, bufs: &[std::io::IoSlice<'_>]) -> std::io::Result<usize> {
                (&*self).write_vectored(bufs)
            }

            fn write_all(&mut self, buf: &[u8]) -> std::io::Result<()> {
                (&*self).write_all(buf)
            }

            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
    };
}

pub(super) use {both_ways, handle, one_way, reads, waits, writes};
