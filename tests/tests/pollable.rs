//! Any other descriptor: what can be polled is waited for, what cannot is refused.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream as StdStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use netpoll::net::{Pollable, is_closed};
use netpoll::time::{Instant, sleep};
use netpoll::{go, yield_now};
use netpoll_sim::{SimConfig, Virtual};
use netpoll_tests::child::within;
use netpoll_tests::fds;
use netpoll_tests::folder::Folder;

const LIMIT: Duration = Duration::from_secs(60);
/// Enough for a goroutine to have parked.
const A_WHILE: Duration = Duration::from_millis(30);

fn run<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    within(LIMIT, || netpoll::run(f).unwrap())
}

#[track_caller]
fn assert_closed<T: std::fmt::Debug>(result: io::Result<T>) {
    let error = result.unwrap_err();
    assert!(is_closed(&error), "{error:?}");
}

fn eventfd() -> Pollable<File> {
    Pollable::new(fds::eventfd().unwrap()).unwrap()
}

#[test]
fn an_eventfd_hands_counts_from_one_goroutine_to_another() {
    run(|| {
        let eventfd = eventfd();
        let mut theirs = eventfd.try_clone().unwrap();
        let adding = go(move || {
            for number in 1..=100u64 {
                theirs.write_all(&number.to_ne_bytes()).unwrap();
                if number % 3 == 0 {
                    yield_now();
                }
            }
        });
        let (mut sum, mut count) = (0, [0; 8]);
        while sum < 5050 {
            (&eventfd).read_exact(&mut count).unwrap();
            sum += u64::from_ne_bytes(count);
        }
        assert_eq!(sum, 5050);
        adding.join().unwrap();
        // Full, it makes the writer wait.
        (&eventfd).write_all(&(u64::MAX - 1).to_ne_bytes()).unwrap();
        let mut theirs = eventfd.try_clone().unwrap();
        let adding = go(move || theirs.write_all(&7u64.to_ne_bytes()));
        sleep(A_WHILE);
        (&eventfd).read_exact(&mut count).unwrap();
        assert_eq!(u64::from_ne_bytes(count), u64::MAX - 1);
        adding.join().unwrap().unwrap();
        (&eventfd).read_exact(&mut count).unwrap();
        assert_eq!(u64::from_ne_bytes(count), 7);
    });
}

#[test]
fn a_timer_descriptor_parks_its_reader_and_no_worker() {
    run(|| {
        let delay = Duration::from_millis(60);
        let start = Instant::now();
        let mut timer = Pollable::new(fds::timerfd(delay).unwrap()).unwrap();
        let others = go(|| (0..10).for_each(|_| sleep(Duration::from_millis(1))));
        let mut expirations = [0; 8];
        timer.read_exact(&mut expirations).unwrap();
        assert!(start.elapsed() >= delay);
        assert_eq!(u64::from_ne_bytes(expirations), 1);
        others.join().unwrap();
    });
}

#[test]
fn a_childs_output_is_read_to_its_end() {
    run(|| {
        let mut command = Command::new("sh");
        command.args(["-c", "echo one; sleep 0.05; echo two"]).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdout = OwnedFd::from(child.stdout.take().unwrap());
        let mut text = String::new();
        Pollable::new(File::from(stdout)).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "one\ntwo\n");
        netpoll::blocking(move || child.wait()).unwrap();
    });
}

/// Hunts a wait for an edge that an operation has used without taking everything.
#[test]
fn readiness_is_the_level_and_not_the_edge() {
    run(|| {
        let (ours, mut theirs) = StdStream::pair().unwrap();
        let ours = Pollable::new(ours).unwrap();
        theirs.write_all(b"abc").unwrap();
        for _ in b"abc" {
            ours.readable().unwrap();
            ours.readable().unwrap();
            assert_eq!((&ours).read(&mut [0]).unwrap(), 1);
        }
        ours.writable().unwrap();
        let waiting = ours.try_clone().unwrap();
        let waiting = go(move || waiting.readable());
        sleep(A_WHILE);
        assert!(!waiting.is_finished());
        drop(theirs);
        waiting.join().unwrap().unwrap();
        ours.readable().unwrap();
        assert_eq!((&ours).read(&mut [0]).unwrap(), 0);
    });
}

#[test]
fn an_operation_is_tried_until_it_does_not_block_and_no_further() {
    run(|| {
        let (ours, theirs) = StdStream::pair().unwrap();
        let ours = Pollable::new(ours).unwrap();
        let tries = AtomicU32::new(0);
        let writing = thread::spawn(move || {
            thread::sleep(A_WHILE);
            (&theirs).write_all(b"x").map(|()| theirs)
        });
        let count = ours.read_with(|mut stream| {
            let tried = tries.fetch_add(1, Relaxed);
            if tried == 0 { Err(ErrorKind::Interrupted.into()) } else { stream.read(&mut [0; 8]) }
        });
        assert_eq!(count.unwrap(), 1);
        // Interrupted, empty unless this machine is slow, and the one that finds it.
        assert!((2..=4).contains(&tries.load(Relaxed)), "{tries:?}");
        let own = ours.read_with(|_| Err::<(), _>(io::Error::other("its own")));
        assert_eq!(own.unwrap_err().to_string(), "its own");

        // Room is waited for as well.
        let theirs = writing.join().unwrap().unwrap();
        let writing = ours.try_clone().unwrap();
        let writing = go(move || {
            let mut sent = 0;
            while sent < 1 << 20 {
                sent += writing.write_with(|mut stream| stream.write(&[7; 10_000])).unwrap();
            }
            (writing.close(), sent)
        });
        let reading = thread::spawn(move || {
            let mut all = Vec::new();
            (&theirs).read_to_end(&mut all).map(|_| all.len())
        });
        let (closed, sent) = writing.join().unwrap();
        closed.unwrap();
        assert_eq!(reading.join().unwrap().unwrap(), sent);
    });
}

#[test]
fn what_cannot_be_polled_is_refused_with_a_reason_and_left_as_it_was() {
    run(|| {
        let folder = Folder::new();
        let regular = Arc::new(File::create(folder.path("regular")).unwrap());
        let directory = Arc::new(File::open(folder.path("")).unwrap());
        for file in [regular, directory] {
            let error = Pollable::new(file.clone()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.to_string().contains("not pollable"), "{error}");
            assert!(!fds::is_nonblocking(&file).unwrap());
        }
    });
}

#[test]
fn a_file_is_registered_once_and_free_again_after_its_close() {
    run(|| {
        let file = Arc::new(fds::eventfd().unwrap());
        let first = Pollable::new(file.clone()).unwrap();
        assert!(fds::is_nonblocking(&file).unwrap());
        let error = Pollable::new(file.clone()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        first.close().unwrap();
        let second = Pollable::new(file.clone()).unwrap();
        drop(second);
        let third = Pollable::new(file.clone()).unwrap();
        drop(file);
        let mut last = Arc::into_inner(third.into_inner().unwrap()).unwrap();
        last.write_all(&3u64.to_ne_bytes()).unwrap();
        assert_eq!(last.read(&mut [0; 8]).unwrap(), 8, "it is open");
    });
}

#[test]
fn deadlines_and_timeouts_are_those_of_a_stream() {
    run(|| {
        let eventfd = eventfd();
        let mut count = [0; 8];
        let at = Instant::now() + Duration::from_millis(40);
        eventfd.set_read_deadline(Some(at)).unwrap();
        assert_eq!((&eventfd).read(&mut count).unwrap_err().kind(), ErrorKind::TimedOut);
        assert!(Instant::now() >= at);
        assert_eq!(eventfd.readable().unwrap_err().kind(), ErrorKind::TimedOut);
        (&eventfd).write_all(&1u64.to_ne_bytes()).unwrap();
        eventfd.set_deadline(None).unwrap();
        assert_eq!((&eventfd).read(&mut count).unwrap(), 8);
        let timeout = Some(Duration::from_millis(40));
        eventfd.set_read_timeout(timeout).unwrap();
        assert_eq!(eventfd.read_timeout().unwrap(), timeout);
        for _ in 0..2 {
            let start = Instant::now();
            assert_eq!((&eventfd).read(&mut count).unwrap_err().kind(), ErrorKind::TimedOut);
            assert!(start.elapsed() >= Duration::from_millis(40));
        }
    });
}

#[test]
fn close_wakes_whoever_waits_and_closes_the_file() {
    run(|| {
        let (ours, mut theirs) = StdStream::pair().unwrap();
        let ours = Pollable::new(ours).unwrap();
        let waiting: Vec<_> = (0..3)
            .map(|number| {
                let ours = ours.try_clone().unwrap();
                go(move || match number {
                    0 => ours.readable(),
                    _ => (&ours).read(&mut [0; 8]).map(drop),
                })
            })
            .collect();
        let its = ours.try_clone().unwrap();
        let plain = thread::spawn(move || (&its).read(&mut [0; 8]));
        sleep(A_WHILE);
        ours.close().unwrap();
        for waiting in waiting {
            assert_closed(waiting.join().unwrap());
        }
        assert_closed(plain.join().unwrap());
        // Although handles are left, the file is closed.
        assert_eq!(theirs.read(&mut [0]).unwrap(), 0);
        assert_closed((&ours).read(&mut [0]));
        assert_closed((&ours).write(b"x"));
        assert_closed(ours.read_with(|_| Ok(())));
        assert_closed(ours.with(|_| ()));
        assert_closed(ours.readable());
        assert_closed(ours.writable());
        assert_closed(ours.set_deadline(None));
        assert_closed(ours.close());
        assert_closed(ours.into_inner());
    });
}

#[test]
fn a_close_at_any_moment_of_a_read_is_noticed() {
    run(|| {
        for round in 0..2000 {
            let ours = eventfd();
            let its = ours.try_clone().unwrap();
            let reading = go(move || (&its).read(&mut [0; 8]));
            (0..round % 4).for_each(|_| yield_now());
            (0..round % 7 * 100).for_each(|_| std::hint::spin_loop());
            ours.close().unwrap();
            assert_closed(reading.join().unwrap());
        }
    });
}

#[test]
fn the_file_is_there_for_what_does_not_wait_and_comes_back() {
    run(|| {
        let eventfd = eventfd();
        let number = eventfd.with(|file| file.as_raw_fd()).unwrap();
        assert_eq!(number, eventfd.as_raw_fd());
        let its = eventfd.try_clone().unwrap();
        let reading = go(move || (&its).read(&mut [0; 8]));
        sleep(A_WHILE);
        let mut file = eventfd.into_inner().unwrap();
        assert_closed(reading.join().unwrap());
        assert_eq!(file.as_raw_fd(), number);
        file.write_all(&1u64.to_ne_bytes()).unwrap();

        // Whoever uses the file keeps it open, and it cannot be given away meanwhile.
        let eventfd = Pollable::new(file).unwrap();
        let its = eventfd.try_clone().unwrap();
        let error = eventfd.with(move |file| {
            let error = its.into_inner().unwrap_err();
            assert!(fds::is_nonblocking(file).unwrap(), "it is open");
            error
        });
        assert_eq!(error.unwrap().kind(), ErrorKind::ResourceBusy);
        assert_closed(eventfd.close());
    });
}

#[test]
fn a_simulated_kernel_has_no_descriptors_of_this_one() {
    let report = netpoll_sim::run(SimConfig::seed(1), |kernel| {
        let runtime = netpoll::Builder::new().build_on::<Virtual>(kernel).unwrap();
        let refused = || {
            let error = Pollable::new(fds::eventfd().unwrap()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            let text = "a descriptor of the operating system cannot enter a simulated kernel";
            assert_eq!(error.to_string(), text);
            let (ours, _theirs) = StdStream::pair().unwrap();
            let error = netpoll::net::UnixStream::from_std(ours).unwrap_err();
            assert_eq!(error.to_string(), text);
        };
        runtime.run(refused).unwrap();
    });
    assert!(report.is_clean(), "{}", report.outcome);
}

#[test]
fn outside_a_runtime_the_error_says_what_to_do() {
    let error = Pollable::new(fds::eventfd().unwrap()).unwrap_err();
    assert!(error.to_string().contains("netpoll::run"), "{error}");
}
