//! The disk of the caller's host: files whose names and bytes survive a [crash](super::crash), as far as they were synced.
//!
//! A flat directory. What is written can be read at once; [`sync`] forces it to the disk. When the host crashes, of what was
//! not synced each file keeps the oldest changes, some number of them, and of the next append some part.
//!
//! Every call takes virtual time and is a point at which others may run, as a system call is.

use std::io;

use netpoll::platform::Errno;

use crate::engine;
use crate::kernel::{Disk, HostId};

/// Writes a whole file at once, in place of what it held: afterwards, also after a crash, it has its old content or
/// its new one.
///
/// # Panics
/// Outside a simulated run.
pub fn write(name: &str, bytes: &[u8]) {
    call("disk_write", bytes.len(), |disk| {
        disk.replace(name, bytes);
        Ok(())
    })
    .expect("a simulated disk has room");
}

/// Adds bytes to the end of a file, which need not exist.
///
/// # Panics
/// Outside a simulated run.
pub fn append(name: &str, bytes: &[u8]) {
    call("disk_append", bytes.len(), |disk| {
        disk.append(name, bytes);
        Ok(())
    })
    .expect("a simulated disk has room");
}

/// The content of a file.
///
/// # Errors
/// `NotFound`.
///
/// # Panics
/// Outside a simulated run.
pub fn read(name: &str) -> io::Result<Vec<u8>> {
    call("disk_read", 0, |disk| disk.read(name).ok_or(Errno::ENOENT))
}

/// Forces to the disk what has happened to a file.
///
/// # Errors
/// `NotFound` for a file that never was.
///
/// # Panics
/// Outside a simulated run.
pub fn sync(name: &str) -> io::Result<()> {
    call("disk_sync", 0, |disk| if disk.sync(name) { Ok(()) } else { Err(Errno::ENOENT) })
}

/// Removes a file.
///
/// # Errors
/// `NotFound`.
///
/// # Panics
/// Outside a simulated run.
pub fn remove(name: &str) -> io::Result<()> {
    call("disk_remove", 0, |disk| if disk.remove(name) { Ok(()) } else { Err(Errno::ENOENT) })
}

/// The names of the files, in order.
///
/// # Panics
/// Outside a simulated run.
#[must_use]
pub fn list() -> Vec<String> {
    call("disk_list", 0, |disk| Ok(disk.names())).expect("a simulated disk can be listed")
}

fn call<R>(
    name: &'static str,
    len: usize,
    use_disk: impl FnOnce(&mut Disk) -> Result<R, Errno>,
) -> io::Result<R> {
    let kernel = engine::inside("using a simulated disk", |engine| {
        let host: HostId = engine.host();
        engine.kernel_of(host).expect("a run of hosts has a kernel")
    });
    kernel.disk(name, len, use_disk).map_err(io::Error::from)
}
