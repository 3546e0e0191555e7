//! How much memory a process uses.

use std::fs;

/// The bytes of a process that are in memory; `None` where nobody says.
#[must_use]
pub fn resident(pid: u32) -> Option<u64> {
    // proc_pid_status(5): `VmRSS:    1234 kB`, whatever the size of a page.
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;
    use std::process;

    use super::*;

    #[test]
    fn what_a_process_takes_is_seen() {
        let Some(before) = resident(process::id()) else { return };
        let block = vec![1u8; 256 << 20];
        let after = resident(process::id()).expect("it was there before");
        black_box(&block);
        // Other tests give memory back meanwhile.
        assert!(after > before + (128 << 20), "{before} and {after}");
        assert_eq!(resident(u32::MAX), None);
    }
}
