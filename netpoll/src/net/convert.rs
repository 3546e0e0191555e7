//! To and from `std`'s types, which is possible on the operating system's kernel only.

use std::io;
use std::net;
use std::os::fd::OwnedFd;
use std::os::unix::net as unix;
use std::sync::Arc;

use super::{
    PipeReader, PipeWriter, TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixListener,
    UnixStream,
};
use crate::ops::Descriptor;
use crate::waiter::current_runtime;

/// A type and its counterpart: `std_type!(TcpStream, net::TcpStream, "connection")`.
macro_rules! std_type {
    ($type:ident, $std:ty, $what:literal) => {
        impl $type {
            #[doc = concat!("Takes over a ", $what, " of `std`, in the runtime of the caller. It becomes")]
            /// non-blocking, and so do its clones.
            ///
            /// # Errors
            /// Outside of a runtime, under a simulated kernel, or when it cannot be registered with the
            /// poller. It is closed then.
            pub fn from_std(theirs: $std) -> io::Result<$type> {
                take_over(theirs.into()).map($type::new)
            }

            #[doc = concat!("Gives the ", $what, " to `std`, in blocking mode. All handles are closed by")]
            /// it; operations that are going on are ended as by a close, and waited for.
            ///
            /// # Errors
            /// The closed error; under a simulated kernel.
            pub fn into_std(self) -> io::Result<$std> {
                Ok(self.descriptor().take_fd()?.into())
            }
        }

        #[doc = concat!("As [`", stringify!($type), "::from_std`].")]
        impl TryFrom<$std> for $type {
            type Error = io::Error;

            fn try_from(theirs: $std) -> io::Result<$type> {
                $type::from_std(theirs)
            }
        }

        #[doc = concat!("As [`", stringify!($type), "::into_std`].")]
        impl TryFrom<$type> for $std {
            type Error = io::Error;

            fn try_from(ours: $type) -> io::Result<$std> {
                ours.into_std()
            }
        }
    };
}

std_type!(TcpStream, net::TcpStream, "connection");
std_type!(TcpListener, net::TcpListener, "listening socket");
std_type!(UdpSocket, net::UdpSocket, "socket");
std_type!(UnixStream, unix::UnixStream, "connection");
std_type!(UnixListener, unix::UnixListener, "listening socket");
std_type!(UnixDatagram, unix::UnixDatagram, "socket");
std_type!(PipeReader, io::PipeReader, "pipe's end");
std_type!(PipeWriter, io::PipeWriter, "pipe's end");

/// Makes a descriptor of the operating system one of the caller's runtime.
fn take_over(theirs: OwnedFd) -> io::Result<Arc<dyn Descriptor>> {
    current_runtime()?.adopt(theirs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outside_a_runtime_nothing_can_be_taken_over() {
        let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
        let error = TcpListener::try_from(listener).unwrap_err();
        assert!(error.to_string().contains("netpoll::run"), "{error}");
    }
}
