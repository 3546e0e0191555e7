//! Sockets in the shape of [`std::net`] that park the calling goroutine instead of blocking its worker.
//!
//! | file | what it is |
//! |---|---|
//! | `stream.rs`, `listener.rs` | [`TcpStream`], [`TcpListener`] |
//! | `udp.rs` | [`UdpSocket`] |
//! | `unix/` | [`UnixStream`], [`UnixListener`], [`UnixDatagram`] |
//! | `pipe.rs` | [`pipe()`] and its ends |
//! | `pollable.rs` | [`Pollable`]: any other file that can be polled |
//! | `handle.rs` | what all of them are made of, and what they have in common |
//! | `options.rs` | socket options |
//! | `serve.rs` | accept loops that survive a shortage: [`TcpListener::serve`] |
//! | `timeouts.rs` | `std`'s timeouts over absolute deadlines |
//! | `addr.rs` | [`ToSocketAddrs`]: names are resolved on the blocking pool |
//! | `convert.rs` | to and from `std`'s types |
//! | `error.rs` | the errors that are ours |
//!
//! The types are handles to a descriptor of the runtime that made them and may be used from any thread,
//! by shared reference. Making one needs a runtime: outside of it every constructor fails with an
//! error that says how to start one.
//!
//! # Errors
//!
//! | what | how it looks |
//! |---|---|
//! | a deadline or timeout passed | [`ErrorKind::TimedOut`](std::io::ErrorKind::TimedOut) (`std` returns `WouldBlock` on Unix) |
//! | the handle, or a clone of it, was closed | [`is_closed`] is true; the kind is `NotConnected` |
//! | anything else | what the system call returned |
//!
//! An operation that timed out may be tried again after moving the deadline. After a timed-out
//! `write_all` nobody knows how much was written.

mod addr;
mod convert;
mod error;
mod handle;
mod listener;
mod options;
mod pipe;
mod pollable;
mod serve;
mod stream;
mod timeouts;
mod udp;
mod unix;

#[cfg(test)]
mod fake;

pub use std::net::Shutdown;

pub use addr::ToSocketAddrs;
pub use error::is_closed;
pub(crate) use error::{closed_error, not_pollable_error, timeout_error};
pub use listener::{Incoming, TcpListener};
pub use pipe::{PipeReader, PipeWriter, pipe};
pub use pollable::Pollable;
pub use stream::TcpStream;
pub use udp::UdpSocket;
pub use unix::{UnixDatagram, UnixListener, UnixStream};
