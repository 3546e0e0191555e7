//! Children of this process overflow on purpose; what they print and how they die is looked at.

use super::*;
use crate::goroutine::testing::{self, current};
use crate::goroutine::{Commit, Fiber, Resumed, Stack};
use crate::platform::os::testing::{is_child, run_child};
use std::os::unix::process::ExitStatusExt;
use std::process::Output;
use std::sync::Arc;

/// Uses about 1 KiB of stack at each level, `levels` times.
#[inline(never)]
fn recurse(levels: usize) -> usize {
    let frame = std::hint::black_box([levels as u8; 1024]);
    if levels == 0 {
        return 0;
    }
    recurse(levels - 1) + usize::from(std::hint::black_box(frame)[levels % 1024])
}

/// Runs a goroutine that recurses without end.
fn overflow(stack_size: usize, id: u64, name: Option<&str>) {
    let guard = install_for_thread().unwrap();
    let stack = Stack::new(stack_size).unwrap();
    let body = Box::new(|| {
        std::hint::black_box(recurse(usize::MAX));
    });
    let mut fiber = Fiber::new(stack, current(7), id, name.map(Arc::from), body);
    let _ = fiber.resume();
    drop(guard);
    panic!("{SURVIVED}");
}

/// A child that comes this far must end, not start children of its own.
const SURVIVED: &str = "the child has survived what should have ended it";

#[track_caller]
fn check(output: &Output, signal: libc::c_int, text: &str) {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.signal(), Some(signal), "{errors}");
    assert!(errors.contains(text), "{text:?} is not in\n{errors}");
}

macro_rules! path {
    ($test:ident) => {
        concat!("goroutine::overflow::tests::", stringify!($test))
    };
}

#[test]
fn an_overflow_is_reported_with_the_goroutines_name_and_stack_size() {
    let name = path!(an_overflow_is_reported_with_the_goroutines_name_and_stack_size);
    if is_child(name) {
        overflow(StackSize::DEFAULT, 7, Some("conn 127.0.0.1:5512"));
    }
    check(
        &run_child(name),
        libc::SIGABRT,
        "netpoll: goroutine 7 'conn 127.0.0.1:5512' overflowed its 256 KiB stack; \
         give it more with Builder::stack_size\n",
    );
}

#[test]
fn a_goroutine_without_a_name_is_reported_by_its_number_with_either_kind_of_guard() {
    let name =
        path!(a_goroutine_without_a_name_is_reported_by_its_number_with_either_kind_of_guard);
    if is_child(name) {
        arena::arena().forget_marks();
        overflow(1 << 20, u64::MAX, None);
    }
    check(
        &run_child(name),
        libc::SIGABRT,
        "netpoll: goroutine 18446744073709551615 overflowed its 1 MiB stack; \
         give it more with Builder::stack_size\n",
    );
}

#[test]
fn the_overflow_of_a_thread_is_still_reported_by_std() {
    let name = path!(the_overflow_of_a_thread_is_still_reported_by_std);
    if is_child(name) {
        let guard = install_for_thread().unwrap();
        std::hint::black_box(recurse(usize::MAX));
        drop(guard);
        panic!("{SURVIVED}");
    }
    check(&run_child(name), libc::SIGABRT, "has overflowed its stack");
}

#[test]
fn another_fault_of_a_goroutine_is_a_plain_segmentation_fault() {
    let name = path!(another_fault_of_a_goroutine_is_a_plain_segmentation_fault);
    if is_child(name) {
        let guard = install_for_thread().unwrap();
        let body = Box::new(|| {
            let nowhere = ptr::with_exposed_provenance_mut::<u8>(8);
            // SAFETY: it is not; the kernel ends this child here, which is what is tested.
            unsafe { nowhere.write_volatile(1) };
        });
        let stack = Stack::new(StackSize::DEFAULT).unwrap();
        let _ = Fiber::new(stack, current(1), 1, None, body).resume();
        drop(guard);
        panic!("{SURVIVED}");
    }
    check(&run_child(name), libc::SIGSEGV, "");
}

#[test]
fn a_wild_write_into_a_guard_is_not_called_an_overflow() {
    let name = path!(a_wild_write_into_a_guard_is_not_called_an_overflow);
    if is_child(name) {
        let guard = install_for_thread().unwrap();
        let mut parked = testing::fiber(1, || crate::goroutine::suspend(Commit::Yield));
        assert_eq!(parked.resume(), Resumed::Suspended(Commit::Yield));
        let extent = parked.extent();
        let byte = ptr::with_exposed_provenance_mut::<u8>(extent.top - extent.size() - 1);
        // SAFETY: it is not; the kernel ends this child here, which is what is tested.
        unsafe { byte.write_volatile(1) };
        drop(guard);
        panic!("{SURVIVED}");
    }
    let output = run_child(name);
    check(&output, libc::SIGSEGV, "");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("overflowed"));
}

#[test]
fn a_long_name_is_cut_and_the_words_after_it_are_there() {
    let mut line = Line::default();
    line.push("x");
    line.push(&"n".repeat(1000));
    line.push("y");
    line.push_number(0);
    let expected = format!("x{}y0", "n".repeat(Line::PART_MAX));
    assert_eq!(&line.bytes[..line.len], expected.as_bytes());
}
