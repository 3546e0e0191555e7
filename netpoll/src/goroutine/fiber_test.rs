//! Fibers and cells: switching, ending, leaking, and what they refuse.

use super::*;
use crate::goroutine::testing::{current, fiber};
use crate::goroutine::{FiberCell, Stack, StackSize, suspend, with_current};
use crate::platform::os::testing::{is_child, run_child};
use std::os::unix::process::ExitStatusExt;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc;

const YIELD: Resumed = Resumed::Suspended(Commit::Yield);

fn ignore(_: Resumed) {}

fn park(ticket: u64) -> Commit {
    Commit::Park { ticket, why: crate::trace::WaitReason::Sleep }
}

fn current_g() -> Option<u32> {
    with_current(|current| current.map(|current| current.g))
}

/// The text of the panic that `body` ends with.
fn panic_text(body: impl FnOnce()) -> String {
    let payload = panic::catch_unwind(AssertUnwindSafe(body)).expect_err("it should panic");
    *payload.downcast::<String>().expect("a formatted message")
}

#[test]
fn a_fiber_runs_suspends_with_its_commit_and_ends() {
    let log = Arc::new(Mutex::new(Vec::new()));
    let inner = Arc::clone(&log);
    let mut fiber = fiber(7, move || {
        inner.lock().unwrap().push(current_g());
        suspend(Commit::Yield);
        inner.lock().unwrap().push(current_g());
        suspend(park(3));
    });
    assert!(!fiber.is_started() && !fiber.is_done());
    assert_eq!(fiber.resume(), YIELD);
    assert_eq!(current_g(), None, "the resumer's stack is not a goroutine's");
    assert_eq!(fiber.resume(), Resumed::Suspended(park(3)));
    assert_eq!(fiber.resume(), Resumed::Done);
    assert!(fiber.is_done());
    assert_eq!(*log.lock().unwrap(), [Some(7), Some(7)]);
    drop(fiber.into_stack());
    assert_eq!(Arc::strong_count(&log), 1, "the body was dropped");
}

#[test]
fn a_stack_serves_one_fiber_after_another() {
    let mut stack = Stack::new(StackSize::MIN).unwrap();
    let extent = stack.extent();
    for g in 0..100 {
        let body = Box::new(move || assert_eq!(current_g(), Some(g)));
        let mut fiber = Fiber::new(stack, current(g), u64::from(g), None, body);
        assert_eq!(fiber.resume(), Resumed::Done);
        stack = fiber.into_stack();
        assert_eq!(stack.extent(), extent);
    }
}

#[test]
fn fibers_may_be_nested_and_each_knows_itself() {
    let mut outer = fiber(1, || {
        let mut inner = fiber(2, || {
            suspend(Commit::Yield);
            assert_eq!(current_g(), Some(2));
        });
        assert_eq!(inner.resume(), YIELD);
        assert_eq!(current_g(), Some(1));
        suspend(park(9));
        assert_eq!(inner.resume(), Resumed::Done);
    });
    assert_eq!(outer.resume(), Resumed::Suspended(park(9)));
    assert_eq!(outer.resume(), Resumed::Done);
}

/// What the simulator does: the worker is itself a coroutine, and code on a goroutine's stack
/// switches that coroutine away in the middle of the goroutine.
#[test]
fn a_worker_that_is_a_coroutine_may_switch_while_its_goroutine_runs() {
    let virtual_thread = |g: u32| {
        Coroutine::<(), u32, ()>::new(move |yielder, ()| {
            let switch = SendPtr(std::ptr::from_ref(yielder));
            let mut goroutine = fiber(g, move || {
                let switch = switch;
                for _ in 0..3 {
                    assert_eq!(current_g(), Some(g));
                    // SAFETY: the virtual thread's frame, which owns it, is below us.
                    unsafe { &*switch.0 }.suspend(g);
                    assert_eq!(current_g(), Some(g));
                    suspend(Commit::Yield);
                }
            });
            for _ in 0..3 {
                assert_eq!(goroutine.resume(), YIELD);
                assert_eq!(current_g(), None);
            }
            assert_eq!(goroutine.resume(), Resumed::Done);
        })
    };
    struct SendPtr(*const corosensei::Yielder<(), u32>);
    // SAFETY: all of this test is one thread.
    unsafe impl Send for SendPtr {}

    let mut threads = [virtual_thread(1), virtual_thread(2)];
    for _ in 0..3 {
        for (i, thread) in threads.iter_mut().enumerate() {
            assert_eq!(thread.resume(()).as_yield(), Some(i as u32 + 1));
            assert_eq!(current_g(), None);
        }
    }
    for thread in &mut threads {
        assert_eq!(thread.resume(()).as_return(), Some(()));
    }
}

#[test]
fn a_parked_goroutine_that_used_little_stack_costs_one_page() {
    let page = crate::platform::os::memory::page_size();
    let stack = Stack::new(96 << 10).unwrap(); // a size that no other test leaves traces in
    let body = Box::new(|| suspend(Commit::Yield));
    let name = Some(Arc::from("a connection"));
    let mut fiber = Fiber::new(stack, current(1), 1, name, body);
    assert_eq!(fiber.resume(), YIELD);
    assert_eq!(fiber.extent().used(), page);
    assert_eq!(fiber.resume(), Resumed::Done);
}

#[test]
fn how_deep_a_stack_was_used_can_be_asked_from_another_thread() {
    let cell = FiberCell::new();
    assert_eq!(cell.extent(), None);
    cell.put(fiber(1, || {
        std::hint::black_box([1u8; 100 << 10]);
        suspend(Commit::Yield);
    }));
    assert_eq!(cell.resume(), YIELD);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let extent = cell.extent().unwrap();
            assert_eq!(extent.size(), StackSize::DEFAULT);
            let used = extent.used();
            assert!((100 << 10..250 << 10).contains(&used), "{used}");
        });
    });
    assert_eq!(cell.resume(), Resumed::Done);
}

#[test]
fn dropping_a_fiber_drops_its_body_unless_it_is_suspended() {
    struct Flag(Arc<AtomicBool>);
    impl Drop for Flag {
        fn drop(&mut self) {
            assert!(!std::thread::panicking(), "F3: it was unwound");
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let dropped = Arc::new(AtomicBool::new(false));
    let flag = Flag(Arc::clone(&dropped));
    let unstarted = fiber(1, move || drop(flag));
    drop(unstarted);
    assert!(dropped.swap(false, Ordering::Relaxed), "the body of an unstarted fiber is dropped");

    let flag = Flag(Arc::clone(&dropped));
    let mut suspended = fiber(2, move || {
        suspend(Commit::Yield);
        drop(flag);
    });
    assert_eq!(suspended.resume(), YIELD);
    drop(suspended);
    assert!(!dropped.load(Ordering::Relaxed), "F3: a suspended fiber is leaked");
}

#[test]
fn a_panic_is_caught_inside_a_fiber_and_its_frames_are_in_the_backtrace() {
    #[inline(never)]
    fn a_frame_of_the_goroutine(text: &Mutex<String>) {
        *text.lock().unwrap() = std::backtrace::Backtrace::force_capture().to_string();
        panic::resume_unwind(Box::new(17));
    }
    let trace = Arc::new(Mutex::new(String::new()));
    let caught = Arc::new(AtomicBool::new(false));
    let (inner, seen) = (Arc::clone(&trace), Arc::clone(&caught));
    let mut fiber = fiber(1, move || {
        let result = panic::catch_unwind(AssertUnwindSafe(|| a_frame_of_the_goroutine(&inner)));
        seen.store(result.is_err_and(|payload| payload.is::<i32>()), Ordering::Relaxed);
        suspend(Commit::Yield);
    });
    assert_eq!(fiber.resume(), YIELD);
    assert!(caught.load(Ordering::Relaxed));
    assert_eq!(fiber.resume(), Resumed::Done);
    let trace = trace.lock().unwrap();
    // The fiber's own, its root, and one of the thread that resumed it.
    let frames = ["a_frame_of_the_goroutine", "init_trampoline", "__rust_begin_short_backtrace"];
    for frame in frames {
        assert!(trace.contains(frame), "{frame} is not in\n{trace}");
    }
}

#[test]
fn a_panic_that_leaves_the_body_ends_the_process() {
    const NAME: &str = "goroutine::fiber::tests::a_panic_that_leaves_the_body_ends_the_process";
    if is_child(NAME) {
        let _ = fiber(1, || panic!("on purpose")).resume();
        unreachable!("F4");
    }
    let output = run_child(NAME);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{errors}");
    assert!(errors.contains("on purpose") && errors.contains("netpoll: F4"), "{errors}");
}

#[test]
fn what_is_not_on_a_fiber_cannot_suspend() {
    let text = panic_text(|| suspend(Commit::Yield));
    assert!(text.contains("outside of a goroutine"), "{text}");
    assert_eq!(current_g(), None);
}

#[test]
fn an_unstarted_fiber_may_move_and_a_started_one_may_not() {
    let mut moved = fiber(1, || suspend(Commit::Yield));
    let mut moved = std::thread::spawn(move || {
        assert_eq!(moved.resume(), YIELD);
        moved
    })
    .join()
    .unwrap();
    let text = panic_text(|| {
        let _ = moved.resume();
    });
    assert!(text.starts_with("F2: a fiber that thread #"), "{text}");
}

#[test]
fn a_cell_refuses_what_would_be_unsound() {
    let cell = Arc::new(FiberCell::new());
    assert!(cell.is_empty() && cell.take().is_none());
    assert!(panic_text(|| ignore(cell.resume())).ends_with("a cell that holds empty"));

    let inside = Arc::clone(&cell);
    cell.put(fiber(1, move || {
        assert!(panic_text(|| ignore(inside.resume())).contains("in use by thread #"));
        assert!(panic_text(|| drop(inside.take())).contains("in use by thread #"));
        assert!(!inside.is_empty());
        suspend(Commit::Yield);
    }));
    assert!(panic_text(|| cell.put(fiber(2, || ()))).contains("a fiber that is not running"));
    assert_eq!(cell.resume(), YIELD);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for text in [panic_text(|| ignore(cell.resume())), panic_text(|| drop(cell.take()))] {
                assert!(text.contains("a fiber that thread #"), "{text}");
            }
        });
    });
    assert_eq!(cell.resume(), Resumed::Done);
    assert!(panic_text(|| ignore(cell.resume())).starts_with("a fiber that is done"));
    drop(cell.take().unwrap().into_stack());
    assert!(cell.is_empty());
}

#[test]
fn a_suspended_fiber_can_be_taken_and_put_back_by_its_thread_only() {
    let (cell, other) = (FiberCell::new(), FiberCell::new());
    cell.put(fiber(1, || suspend(Commit::Yield)));
    assert_eq!(cell.resume(), YIELD);
    other.put(cell.take().unwrap());
    std::thread::scope(|scope| {
        scope.spawn(|| assert!(panic_text(|| ignore(other.resume())).contains("has started")));
    });
    assert_eq!(other.resume(), Resumed::Done);
}

/// Hunts two threads in one unstarted fiber: many threads try to resume it, one of them wins.
#[test]
fn of_several_threads_that_resume_a_cell_exactly_one_does() {
    for _ in 0..200 {
        let cell = FiberCell::new();
        let (sender, runs) = mpsc::channel();
        cell.put(fiber(1, move || {
            sender.send(()).unwrap();
            suspend(Commit::Yield);
        }));
        let won = std::thread::scope(|scope| {
            let resume = || {
                let quiet = AssertUnwindSafe(|| cell.resume() == YIELD);
                panic::catch_unwind(quiet).unwrap_or(false)
            };
            let threads = [scope.spawn(resume), scope.spawn(resume), scope.spawn(resume)];
            threads.map(|thread| usize::from(thread.join().unwrap())).iter().sum::<usize>()
        });
        assert_eq!((won, runs.try_iter().count()), (1, 1));
    }
}
