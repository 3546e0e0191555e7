//! What the operating system knows about processes: limits, resident memory, processor time, affinity.

use std::fs;
use std::io;
use std::mem;
use std::time::Duration;

fn check(result: libc::c_int) -> io::Result<()> {
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The soft and the hard limit of a resource of this process.
///
/// # Errors
/// What `getrlimit` says.
pub fn limit(resource: libc::__rlimit_resource_t) -> io::Result<libc::rlimit> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the call writes into a local.
    check(unsafe { libc::getrlimit(resource, &raw mut limit) })?;
    Ok(limit)
}

/// Changes the soft limit of a resource of this process.
///
/// # Errors
/// What `setrlimit` says.
pub fn set_soft_limit(resource: libc::__rlimit_resource_t, to: u64) -> io::Result<()> {
    let limit = libc::rlimit { rlim_cur: to, ..limit(resource)? };
    // SAFETY: the call reads a local.
    check(unsafe { libc::setrlimit(resource, &raw const limit) })
}

/// Makes sure that this process may open `needed` descriptors, raising the soft limit to the hard one
/// if it is too low.
///
/// # Errors
/// When the hard limit is too low: the text says by how much and what to do.
pub fn require_descriptors(needed: u64) -> io::Result<()> {
    let now = limit(libc::RLIMIT_NOFILE)?;
    if now.rlim_cur >= needed {
        return Ok(());
    }
    if now.rlim_max < needed {
        return Err(io::Error::other(format!(
            "{needed} descriptors are needed and the hard limit is {}: raise it (ulimit -Hn)",
            now.rlim_max
        )));
    }
    set_soft_limit(libc::RLIMIT_NOFILE, now.rlim_max)
}

/// Resident memory of a process, in KiB.
///
/// `smaps_rollup` counts page by page; `statm`, for kernels without it, may be some pages behind.
///
/// # Errors
/// When there is no such process, or it is somebody else's.
pub fn resident_kib(pid: u32) -> io::Result<u64> {
    let broken = || io::Error::other(format!("/proc/{pid} says nothing about its memory"));
    if let Ok(text) = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) {
        let line = text.lines().find_map(|line| line.strip_prefix("Rss:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        return number.and_then(|text| text.parse().ok()).ok_or_else(broken);
    }
    let text = fs::read_to_string(format!("/proc/{pid}/statm"))?;
    let pages = text.split_whitespace().nth(1);
    let pages: u64 = pages.and_then(|text| text.parse().ok()).ok_or_else(broken)?;
    // SAFETY: involves no memory.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    Ok(pages * page.unsigned_abs() / 1024)
}

/// Pins the calling thread, and those it starts from now on, to one processor.
///
/// # Errors
/// What `sched_setaffinity` says.
pub fn pin_to_core(core: usize) -> io::Result<()> {
    // SAFETY: the set consists of integers: zero is a value of each.
    let mut set = unsafe { mem::zeroed::<libc::cpu_set_t>() };
    assert!(core < 8 * size_of::<libc::cpu_set_t>(), "processor {core}");
    // SAFETY: `set` is a local, and `core` is inside of it (asserted above).
    unsafe { libc::CPU_SET(core, &mut set) };
    // SAFETY: the call reads as many bytes of `set` as it is told.
    check(unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) })
}

/// Processor time that all threads of a process have used, those that have ended included.
///
/// # Errors
/// When there is no such process.
pub fn cpu_time(pid: u32) -> io::Result<Duration> {
    let mut clock = 0;
    // SAFETY: the call writes into a local.
    match unsafe { libc::clock_getcpuclockid(pid.cast_signed(), &raw mut clock) } {
        0 => {}
        errno => return Err(io::Error::from_raw_os_error(errno)),
    }
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes into a local.
    check(unsafe { libc::clock_gettime(clock, &raw mut time) })?;
    Ok(Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32))
}

/// How often the threads of a process gave their processor away because they had to wait.
///
/// # Errors
/// When there is no such process.
pub fn voluntary_switches(pid: u32) -> io::Result<u64> {
    let mut sum = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end between the listing and the look at it.
        let Ok(text) = fs::read_to_string(task?.path().join("status")) else {
            continue;
        };
        let line = text.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        sum += line.and_then(|number| number.trim().parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(sum)
}

/// Sends a signal to a process that the caller has started.
///
/// # Errors
/// What `kill` says.
pub fn signal(pid: u32, signal: libc::c_int) -> io::Result<()> {
    assert!(pid > 1, "{pid} is no process of ours");
    // SAFETY: involves no memory; what the signal does is the receiver's affair.
    check(unsafe { libc::kill(pid.cast_signed(), signal) })
}

/// Makes the next close of a connection a reset.
///
/// # Errors
/// What `setsockopt` says.
pub fn reset_on_close(stream: &std::net::TcpStream) -> io::Result<()> {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    set_option(stream, libc::SO_LINGER, &linger)
}

/// Sets the size of a connection's receive buffer (the kernel doubles it).
///
/// # Errors
/// What `setsockopt` says.
pub fn set_receive_buffer(stream: &std::net::TcpStream, bytes: i32) -> io::Result<()> {
    set_option(stream, libc::SO_RCVBUF, &bytes)
}

fn set_option<T>(stream: &std::net::TcpStream, name: libc::c_int, value: &T) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let value: *const T = value;
    // SAFETY: the call reads the `size_of::<T>()` bytes that `value` refers to.
    check(unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            name,
            value.cast(),
            size_of::<T>() as libc::socklen_t,
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_its_memory_its_time_and_its_switches() {
        let pid = std::process::id();
        assert!(resident_kib(pid).unwrap() > 100);
        let before = cpu_time(pid).unwrap();
        let mut x = 1u64;
        while cpu_time(pid).unwrap() - before < Duration::from_millis(1) {
            x = std::hint::black_box(x.wrapping_mul(3));
        }
        std::thread::sleep(Duration::from_millis(1));
        assert!(voluntary_switches(pid).unwrap() > 0);
    }

    #[test]
    fn too_few_descriptors_are_reported_before_they_are_missed() {
        require_descriptors(3).unwrap();
        let error = require_descriptors(u64::MAX - 1).unwrap_err();
        assert!(error.to_string().contains("ulimit"), "{error}");
    }
}
