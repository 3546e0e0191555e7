//! Deadlines and timeouts: never early, not much too late, movable, and in the past.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener as StdListener, TcpStream as StdStream};
use std::sync::Arc;
use std::time::Duration;

use netpoll::net::{TcpListener, TcpStream};
use netpoll::time::{Instant, sleep};
use netpoll::{JoinHandle, go};
use netpoll_tests::child::within;

const LIMIT: Duration = Duration::from_secs(60);
/// What a loaded machine may add to a deadline.
const SLACK: Duration = Duration::from_millis(1500);

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn run<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    within(LIMIT, || netpoll::run(f).unwrap())
}

fn pair() -> (Arc<TcpStream>, StdStream) {
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (Arc::new(ours), listener.accept().unwrap().0)
}

/// The operation times out, after `at` and by `at + SLACK`.
#[track_caller]
fn assert_times_out_at<T: std::fmt::Debug>(at: Instant, operation: impl FnOnce() -> io::Result<T>) {
    let error = operation().unwrap_err();
    let now = Instant::now();
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{error:?}");
    assert!(error.raw_os_error().is_none(), "ours, not the system's");
    assert!(now >= at, "{:?} early", at - now);
    assert!(now - at < SLACK, "{:?} late", now - at);
}

/// A goroutine that reads one byte, and when it ended.
fn reader(stream: &Arc<TcpStream>) -> JoinHandle<(io::Result<usize>, Instant)> {
    let stream = stream.clone();
    go(move || {
        let result = (&*stream).read(&mut [0]);
        (result, Instant::now())
    })
}

#[test]
fn a_read_deadline_fires_and_the_stream_is_good_afterwards() {
    run(|| {
        let (ours, mut theirs) = pair();
        let at = Instant::now() + ms(40);
        ours.set_read_deadline(Some(at)).unwrap();
        assert_times_out_at(at, || (&*ours).read(&mut [0]));
        // Past it every read fails at once, data or not, and writes do not care.
        theirs.write_all(b"x").unwrap();
        sleep(ms(10));
        assert_times_out_at(at, || (&*ours).read(&mut [0]));
        assert_eq!((&*ours).write(b"y").unwrap(), 1);
        // Without it, nothing is lost.
        ours.set_read_deadline(None).unwrap();
        let mut byte = [0];
        assert_eq!((&*ours).read(&mut byte).unwrap(), 1);
        assert_eq!(&byte, b"x");
    });
}

#[test]
fn a_write_deadline_fires_and_leaves_reads_alone() {
    run(|| {
        let (ours, mut theirs) = pair();
        let at = Instant::now() + ms(80);
        ours.set_write_deadline(Some(at)).unwrap();
        assert_times_out_at(at, || (&*ours).write_all(&vec![0; 64 << 20]));
        theirs.write_all(b"x").unwrap();
        assert_eq!((&*ours).read(&mut [0]).unwrap(), 1);
    });
}

#[test]
fn one_deadline_for_both_directions_ends_both() {
    run(|| {
        let (ours, _theirs) = pair();
        let at = Instant::now() + ms(80);
        ours.set_deadline(Some(at)).unwrap();
        let its = ours.clone();
        let writer = go(move || (&*its).write_all(&vec![0; 64 << 20]));
        assert_times_out_at(at, || (&*ours).read(&mut [0]));
        assert_times_out_at(at, || writer.join().unwrap());
    });
}

#[test]
fn a_deadline_in_the_past_fails_at_once() {
    run(|| {
        let (ours, _theirs) = pair();
        sleep(ms(5));
        for past in [Instant::now() - ms(1), Instant::now()] {
            ours.set_read_deadline(Some(past)).unwrap();
            assert_times_out_at(past, || (&*ours).read(&mut [0]));
        }
    });
}

#[test]
fn a_deadline_set_to_the_past_releases_the_waiter() {
    run(|| {
        let (ours, _theirs) = pair();
        let reader = reader(&ours);
        sleep(ms(30));
        let at = Instant::now();
        ours.set_read_deadline(Some(at)).unwrap();
        let (result, ended) = reader.join().unwrap();
        assert_eq!(result.unwrap_err().kind(), ErrorKind::TimedOut);
        assert!(ended - at < SLACK);
    });
}

#[test]
fn a_deadline_moves_in_both_directions_while_somebody_waits() {
    run(|| {
        for (first, then) in [(60, 200), (10_000, 60), (60, 61)] {
            let (ours, _theirs) = pair();
            let start = Instant::now();
            ours.set_read_deadline(Some(start + ms(first))).unwrap();
            let reader = reader(&ours);
            sleep(ms(20));
            let at = start + ms(then);
            ours.set_read_deadline(Some(at)).unwrap();
            let (result, ended) = reader.join().unwrap();
            assert_eq!(result.unwrap_err().kind(), ErrorKind::TimedOut);
            assert!(ended >= at, "{:?} early after {first} -> {then}", at - ended);
            assert!(ended - at < SLACK, "{:?} late", ended - at);
        }
    });
}

#[test]
fn a_deadline_that_is_taken_back_does_not_fire() {
    run(|| {
        let (ours, mut theirs) = pair();
        ours.set_read_deadline(Some(Instant::now() + ms(40))).unwrap();
        let reader = reader(&ours);
        sleep(ms(10));
        ours.set_read_deadline(None).unwrap();
        sleep(ms(80));
        theirs.write_all(b"x").unwrap();
        assert_eq!(reader.join().unwrap().0.unwrap(), 1);
    });
}

/// Hunts the deadline that is reset while its timer is on its way: the old setting must not end the
/// wait of the new one.
#[test]
fn a_deadline_that_is_moved_on_again_and_again_never_fires() {
    run(|| {
        let (ours, mut theirs) = pair();
        let move_on = || ours.set_read_deadline(Some(Instant::now() + ms(40)));
        move_on().unwrap();
        let reader = reader(&ours);
        let start = Instant::now();
        let mut late = false;
        while start.elapsed() < ms(300) {
            let before = Instant::now();
            sleep(Duration::from_micros(700));
            // A machine that stands still for so long has let the deadline pass rightly.
            late |= before.elapsed() > ms(30);
            move_on().unwrap();
        }
        theirs.write_all(b"x").unwrap();
        let (result, _) = reader.join().unwrap();
        assert!(late || result.is_ok(), "{result:?}");
    });
}

#[test]
fn a_timeout_is_of_each_operation() {
    run(|| {
        let (ours, mut theirs) = pair();
        ours.set_read_timeout(Some(ms(400))).unwrap();
        assert_eq!(ours.read_timeout().unwrap(), Some(ms(400)));
        let start = Instant::now();
        let writer = std::thread::spawn(move || {
            for _ in 0..4 {
                std::thread::sleep(ms(120));
                theirs.write_all(b"x").unwrap();
            }
            theirs
        });
        // Longer together than the timeout, each shorter.
        for _ in 0..4 {
            assert_eq!((&*ours).read(&mut [0]).unwrap(), 1);
        }
        assert!(start.elapsed() >= ms(480));
        let _theirs = writer.join().unwrap();
        let at = Instant::now() + ms(400);
        assert_times_out_at(at, || (&*ours).read(&mut [0]));
        ours.set_write_timeout(Some(ms(60))).unwrap();
        let at = Instant::now() + ms(60);
        assert_times_out_at(at, || (&*ours).write_all(&vec![0; 64 << 20]));
        let zero = ours.set_read_timeout(Some(Duration::ZERO)).unwrap_err();
        assert_eq!(zero.kind(), ErrorKind::InvalidInput, "as in std");
    });
}

#[test]
fn an_accept_has_a_deadline_too() {
    run(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = Instant::now() + ms(40);
        listener.set_deadline(Some(at)).unwrap();
        assert_times_out_at(at, || listener.accept().map(drop));
        listener.set_deadline(None).unwrap();
        let _client = StdStream::connect(listener.local_addr().unwrap()).unwrap();
        listener.accept().unwrap();
    });
}

#[test]
fn a_deadline_binds_a_plain_thread_as_well() {
    run(|| {
        let (ours, _theirs) = pair();
        let at = Instant::now() + ms(40);
        ours.set_read_deadline(Some(at)).unwrap();
        let thread = std::thread::spawn(move || (&*ours).read(&mut [0]));
        assert_times_out_at(at, || thread.join().unwrap());
    });
}
