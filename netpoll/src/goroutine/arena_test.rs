//! The arena on arenas of its own, so that what one test uses up no other test misses.

use super::*;
use crate::goroutine::testing::mappings;
use crate::platform::os::testing::{is_child, run_child};
use std::process::exit;
use std::ptr;

fn arena(len_max: usize, guards: Guards) -> &'static Arena {
    Box::leak(Box::new(Arena::new(len_max, guards)))
}

fn size(bytes: usize) -> StackSize {
    StackSize::new(bytes).unwrap()
}

/// Writes to every page from the top down to `depth`, as frames do.
fn touch(stack: &Stack, depth: usize) {
    let page = memory::page_size();
    let top = stack.extent().top;
    for distance in (page..=depth).step_by(page) {
        let byte = ptr::with_exposed_provenance_mut::<u8>(top - distance);
        // SAFETY: the stack is ours, usable, and nothing is on it.
        unsafe { byte.write_volatile(1) };
    }
}

/// Whether an address can be read, as asked without a fault: by having the kernel read it.
fn readable(addr: usize) -> bool {
    let (source, target) = std::io::pipe().unwrap();
    use std::os::fd::AsRawFd;
    let byte = ptr::with_exposed_provenance::<libc::c_void>(addr);
    // SAFETY: the kernel checks the address and returns an error if it cannot read there.
    let written = unsafe { libc::write(target.as_raw_fd(), byte, 1) };
    drop(source);
    written == 1
}

#[test]
fn every_address_of_a_slot_leads_to_it_and_no_other_address_does() {
    let arena = arena(LEN_MIN, Guards::Marks);
    let probe = 0;
    assert_eq!(arena.slot_of(ptr::from_ref(&probe).addr()), None, "nothing is reserved yet");
    assert_eq!(arena.slot_of(0), None);
    let stacks = [20 << 10, 256 << 10, 20 << 10].map(|bytes| arena.stack(size(bytes)).unwrap());
    for stack in &stacks {
        let extent = stack.extent();
        let start = extent.top - extent.size() - guard_len();
        let slot = Slot { start, top: extent.top };
        for addr in [start, start + 1, slot.floor(), extent.top - 16, extent.top - 1] {
            assert_eq!(arena.slot_of(addr), Some(slot));
        }
        assert_ne!(arena.slot_of(start - 1), Some(slot));
        assert_ne!(arena.slot_of(extent.top), Some(slot));
        assert!(!readable(start) && !readable(slot.floor() - 1), "A4");
        assert!(readable(slot.floor()) && readable(extent.top - 1), "A2");
    }
    assert_eq!(stacks[0].extent().top + guard_len() + (20 << 10), stacks[2].extent().top);

    let base = arena.base.load(Acquire);
    assert_eq!(arena.slot_of(base - 1), None);
    assert_eq!(arena.slot_of(base + LEN_MIN), None);
    assert_eq!(arena.slot_of(usize::MAX), None);
    let slot_len = guard_len() + (256 << 10);
    let rest = REGION_LEN % slot_len;
    assert!(rest > 0);
    assert_eq!(arena.slot_of(base + 2 * REGION_LEN - 1), None, "the rest of a region is no slot");
    assert!(arena.slot_of(base + 2 * REGION_LEN - rest - 1).is_some());
    assert_eq!(arena.slot_of(ptr::from_ref(&probe).addr()), None);
}

#[test]
fn a_stack_that_was_given_back_is_the_next_one_of_its_size() {
    let arena = arena(LEN_MIN, Guards::Marks);
    let (small, large) = (size(64 << 10), size(128 << 10));
    let first = arena.stack(small).unwrap();
    let second = arena.stack(small).unwrap();
    let extent = first.extent();
    assert_ne!(extent, second.extent());
    drop(first);
    assert_ne!(arena.stack(large).unwrap().extent().size(), extent.size());
    let again = arena.stack(small).unwrap();
    assert_eq!(again.extent(), extent);

    std::mem::forget(again);
    assert_ne!(arena.stack(small).unwrap().extent(), extent, "a leaked stack is not reused");
}

#[test]
fn only_a_stack_that_was_used_deeply_is_trimmed_when_it_comes_back() {
    const KEPT: usize = 16 << 10;
    let arena = arena(LEN_MIN, Guards::Marks);
    let size = size(32 << 20); // too large to be kept warm
    let page = memory::page_size();
    for (depth, left) in [(page, page), (KEPT, KEPT), (KEPT + page, KEPT), (9 << 20, KEPT)] {
        let stack = arena.stack(size).unwrap();
        touch(&stack, depth);
        assert_eq!(stack.used(), depth);
        drop(stack);
        let again = arena.stack(size).unwrap();
        assert_eq!(again.used(), left, "after {depth} bytes were used");
        let extent = again.extent();
        assert!(!readable(extent.top - extent.size() - 1), "A4: a guard survives the trimming");
    }
}

#[test]
fn a_few_free_stacks_keep_their_memory_and_a_burst_of_them_gives_it_back() {
    let arena = arena(LEN_MIN, Guards::Marks);
    let size = size(1 << 20); // 16 of them are kept warm
    let stacks: Vec<Stack> = (0..40).map(|_| arena.stack(size).unwrap()).collect();
    let extents: Vec<Extent> = stacks.iter().map(Stack::extent).collect();
    stacks.iter().for_each(|stack| touch(stack, 100 << 10));
    drop(stacks);
    let warm = extents.iter().filter(|extent| extent.used() == 100 << 10).count();
    let trimmed = extents.iter().filter(|extent| extent.used() == 16 << 10).count();
    assert_eq!((warm, trimmed), (16, 24));
}

#[test]
fn exhaustion_is_an_error_that_says_what_there_is_and_what_to_do() {
    let arena = arena(LEN_MIN, Guards::Marks);
    let _small = arena.stack(size(StackSize::MIN)).unwrap();
    let large: Vec<Stack> = std::iter::repeat_with(|| arena.stack(size(StackSize::MAX)))
        .map_while(Result::ok)
        .collect();
    assert_eq!(large.len(), 3);
    let error = arena.stack(size(StackSize::MAX)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
    assert_eq!(
        error.to_string(),
        "no room for another goroutine stack of 256 MiB: there are 1 of 16 KiB, 3 of 256 MiB in \
         2 GiB of address space; run fewer goroutines at a time, give them smaller stacks \
         (Builder::stack_size), or raise the limit on address space (ulimit -v)"
    );
    drop(large);
    assert!(arena.stack(size(StackSize::MAX)).is_ok(), "what was given back can be had again");
}

#[test]
fn an_arena_that_cannot_reserve_its_least_is_an_error() {
    let error = arena(LEN_MIN / 2, Guards::Marks).stack(size(StackSize::MIN)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
    assert!(error.to_string().starts_with("cannot reserve even 2 GiB"), "{error}");
}

#[test]
fn a_hundred_thousand_stacks_with_guards_are_a_few_mappings() {
    const STACKS: usize = 100_000;
    let arena = arena(LEN_MAX, Guards::Marks);
    let Some(before) = mappings() else {
        eprintln!("skipped: this system has no /proc/self/maps");
        return;
    };
    let size = size(StackSize::DEFAULT);
    let first = arena.stack(size).unwrap();
    if arena.books().guards != Guards::Marks {
        eprintln!("skipped: this kernel has no MADV_GUARD_INSTALL (Linux 6.13)");
        return;
    }
    let stacks: Vec<Stack> = (1..STACKS).map(|_| arena.stack(size).unwrap()).collect();
    let more = mappings().unwrap().saturating_sub(before);
    // Other tests start threads meanwhile; one mapping a stack would be a thousand times as many.
    assert!(more < 100, "{STACKS} stacks have cost {more} mappings");
    for stack in [&first, &stacks[50_000], &stacks[STACKS - 2]] {
        let extent = stack.extent();
        assert!(!readable(extent.top - extent.size() - 1), "A4");
        assert_eq!(arena.slot_of(extent.top - 1).unwrap().top, extent.top);
    }
}

#[test]
fn without_marks_guards_are_made_by_taking_rights_away() {
    let arena = arena(LEN_MIN, Guards::Rights);
    for _ in 0..3 {
        let stack = arena.stack(size(64 << 10)).unwrap();
        let extent = stack.extent();
        touch(&stack, extent.size());
        assert!(!readable(extent.top - extent.size() - 1), "A4");
        std::mem::forget(stack);
    }
}

/// In a child, because a process without mappings to spare is no place for other tests.
#[test]
fn too_many_guards_without_marks_are_an_error_that_names_the_limit() {
    const NAME: &str =
        "goroutine::arena::tests::too_many_guards_without_marks_are_an_error_that_names_the_limit";
    if is_child(NAME) {
        let arena = arena(LEN_MAX, Guards::Rights);
        let size = size(StackSize::MIN);
        let mut stacks = Vec::with_capacity(100_000);
        while stacks.len() < stacks.capacity() {
            match arena.stack(size) {
                Ok(stack) => stacks.push(stack),
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
                    eprintln!("{error}");
                    drop(stacks.pop());
                    assert!(arena.stack(size).is_ok(), "what was given back can be had again");
                    exit(0);
                }
            }
        }
        eprintln!("skipped: this system allows more than {} mappings", 2 * stacks.len());
        exit(0);
    }
    let output = run_child(NAME);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    if errors.contains("skipped: ") {
        eprintln!("{errors}");
        return;
    }
    for words in ["ENOMEM; there are ", " of 16 KiB, and", "vm.max_map_count", "Linux 6.13"] {
        assert!(errors.contains(words), "{words:?} is not in {errors}");
    }
}

/// Hunts two owners of one slot: threads take and give back stacks of two sizes, and mark them.
#[test]
fn threads_never_get_the_same_stack() {
    let arena = arena(LEN_MIN, Guards::Marks);
    std::thread::scope(|scope| {
        for thread in 1..=4u8 {
            scope.spawn(move || {
                for round in 0..2_000usize {
                    let bytes = if round % 3 == 0 { 16 << 10 } else { 32 << 10 };
                    let stacks = [(); 3].map(|()| arena.stack(size(bytes)).unwrap());
                    let marks = stacks.each_ref().map(|stack| {
                        ptr::with_exposed_provenance_mut::<u8>(stack.extent().top - 256)
                    });
                    for mark in marks {
                        // SAFETY: the stack is ours, usable, and nothing is on it.
                        unsafe { mark.write_volatile(thread) };
                    }
                    std::thread::yield_now();
                    for mark in marks {
                        // SAFETY: as above.
                        assert_eq!(unsafe { mark.read_volatile() }, thread, "A3");
                    }
                }
            });
        }
    });
    let made: usize = arena.books().classes.iter().map(|class| class.made).sum();
    let free: usize = arena.books().classes.iter().map(|class| class.free.len()).sum();
    assert_eq!(made, free, "A3: all of them came back");
    assert!(made <= 24);
}
