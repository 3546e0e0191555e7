//! Address space: reserve it, make it usable, guard a part, discard a part, see what is resident.

use std::io;
use std::ptr;

use super::kernel::check;
use crate::platform::Errno;

/// Turns pages into guards without a mapping of their own (Linux 6.13). `libc` does not have it
/// yet.
const MADV_GUARD_INSTALL: libc::c_int = 102;

/// Bytes in a page of memory.
pub(crate) fn page_size() -> usize {
    // SAFETY: no memory is involved.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).expect("the system has a page size")
}

/// Reserves address space that nothing can be stored in yet. It is never given back.
///
/// Huge pages are refused for all of it: one of them would back several stacks at once, and a
/// parked goroutine is to cost one small page.
pub(crate) fn reserve(len: usize) -> io::Result<usize> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a new mapping at an address of the kernel's choice replaces nothing.
    let start = unsafe { libc::mmap(ptr::null_mut(), len, libc::PROT_NONE, flags, -1, 0) };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: this is a hint about memory that was mapped above. A kernel without huge pages fails,
    // and has done what we want.
    unsafe { libc::madvise(start, len, libc::MADV_NOHUGEPAGE) };
    Ok(start.expose_provenance())
}

/// Makes reserved memory readable and writable. It is all zeros.
///
/// # Safety
/// The range is page-aligned, inside what [`reserve`] returned, and unused.
pub(crate) unsafe fn make_usable(start: usize, len: usize) -> Result<(), Errno> {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: the caller promises that nothing else depends on this memory being inaccessible.
    check(unsafe { libc::mprotect(pointer(start), len, access) })?;
    Ok(())
}

/// Makes memory fault on access, as a mark in the page table: no mapping is split. The mark
/// survives [`discard`]. `EINVAL` when this kernel, or this memory, cannot do it.
///
/// # Safety
/// The range is page-aligned, usable, and nobody will use it again.
pub(crate) unsafe fn guard_by_mark(start: usize, len: usize) -> Result<(), Errno> {
    // SAFETY: the caller promises that the contents, which are lost, belong to nobody.
    check(unsafe { libc::madvise(pointer(start), len, MADV_GUARD_INSTALL) })?;
    Ok(())
}

/// Makes memory fault on access by taking the rights away: costs two mappings for each guard.
///
/// # Safety
/// As [`guard_by_mark`].
pub(crate) unsafe fn guard_by_rights(start: usize, len: usize) -> Result<(), Errno> {
    // SAFETY: the caller promises that the contents belong to nobody.
    check(unsafe { libc::mprotect(pointer(start), len, libc::PROT_NONE) })?;
    Ok(())
}

/// Gives the pages back to the system. The memory stays usable and is zero when it is next read.
///
/// # Safety
/// The range is page-aligned, usable, and nobody needs its contents.
pub(crate) unsafe fn discard(start: usize, len: usize) {
    // SAFETY: the caller promises that the contents, which are lost, belong to nobody. A failure
    // leaves the memory as it was, which costs memory and nothing else.
    unsafe { libc::madvise(pointer(start), len, libc::MADV_DONTNEED) };
}

/// For each page of the range, whether it is in memory. Sees nothing when the system does not tell.
///
/// The range must be page-aligned and reserved by [`reserve`]; otherwise nothing is seen.
pub(crate) fn residency(start: usize, pages: &mut [u8], page_size: usize) {
    let (len, marks) = (pages.len() * page_size, pages.as_mut_ptr());
    // SAFETY: the call writes one byte for each page of `len`, and reads nothing but page tables.
    let result = unsafe { libc::mincore(pointer(start), len, marks) };
    if result != 0 {
        pages.fill(0);
    }
    for page in pages {
        *page &= 1;
    }
}

fn pointer(addr: usize) -> *mut libc::c_void {
    ptr::with_exposed_provenance_mut(addr)
}
