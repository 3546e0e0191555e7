//! Pipes: ends, full and broken ones, under deadlines and closes, and as a child's output.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use netpoll::net::{PipeReader, PipeWriter, is_closed, pipe};
use netpoll::time::{Instant, sleep};
use netpoll::{go, yield_now};
use netpoll_tests::child::{in_child, within};
use netpoll_tests::{fds, pattern};

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

/// What a program sees of a pipe, as text. It is compiled against `std` and against ours.
macro_rules! program {
    ($pipe:expr) => {{
        let mut seen = Vec::new();
        let (mut reader, mut writer) = $pipe.unwrap();
        let mut buf = [b'.'; 8];
        seen.push(format!("{:?}", writer.write(b"hello").unwrap()));
        seen.push(format!("{:?}", reader.read(&mut []).unwrap()));
        seen.push(format!("{:?} {buf:?}", reader.read(&mut buf[..2]).unwrap()));
        seen.push(format!("{:?} {buf:?}", reader.read(&mut buf).unwrap()));
        let parts = [IoSlice::new(b"one "), IoSlice::new(b""), IoSlice::new(b"two")];
        seen.push(format!("{:?}", writer.write_vectored(&parts).unwrap()));
        let (mut first, mut second) = ([0; 3], [0; 8]);
        let mut room = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
        seen.push(format!("{:?}", reader.read_vectored(&mut room).unwrap()));
        seen.push(format!("{first:?} {second:?}"));
        writer.write_all(b"").unwrap();
        writer.flush().unwrap();
        let mut clone = writer.try_clone().unwrap();
        drop(writer);
        clone.write_all(b"from the clone").unwrap();
        drop(clone);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        seen.push(text);
        seen.push(format!("{:?}", reader.read(&mut buf).unwrap()));
        let (reader, mut writer) = $pipe.unwrap();
        drop(reader);
        seen.push(format!("{:?}", writer.write(b"x").unwrap_err().kind()));
        seen.push(format!("{:?}", writer.write_all(b"x").unwrap_err().kind()));
        seen.push(format!("{:?}", writer.write_vectored(&parts).unwrap_err().kind()));
        seen
    }};
}

/// In a process of its own: elsewhere another test may start a process just now, and until that runs its
/// program it has a copy of every descriptor, so that a close closes nothing yet.
#[test]
fn a_program_for_std_sees_the_same() {
    let child = in_child("a_program_for_std_sees_the_same", || {
        let theirs = program!(io::pipe());
        let ours = run(|| program!(pipe()));
        assert_eq!(ours, theirs);
        assert!(ours.contains(&"from the clone".to_owned()), "it says something");
    });
    if let Some(child) = child {
        child.assert_passed();
    }
}

#[test]
fn a_reader_waits_for_a_writer_and_finds_the_end() {
    run(|| {
        let (mut reader, mut writer) = pipe().unwrap();
        let reading = go(move || {
            let mut text = String::new();
            reader.read_to_string(&mut text).map(|_| text)
        });
        for word in ["one ", "two ", "three"] {
            sleep(Duration::from_millis(10));
            writer.write_all(word.as_bytes()).unwrap();
        }
        writer.close().unwrap();
        assert_eq!(reading.join().unwrap().unwrap(), "one two three");
    });
}

/// Hunts the byte that comes behind a short read, and the edge that a pipe may spare its reader.
#[test]
fn a_byte_at_a_time_arrives_whatever_the_reader_has_left() {
    run(|| {
        let (mut reader, writer) = pipe().unwrap();
        let writing = thread::spawn(move || {
            let mut writer = &writer;
            for round in 0..3000u32 {
                writer.write_all(&round.to_le_bytes()).unwrap();
                if round % 5 == 0 {
                    thread::yield_now();
                }
            }
        });
        let (mut buf, mut got) = ([0; 7], Vec::new());
        loop {
            match reader.read(&mut buf).unwrap() {
                0 => break,
                count => got.extend_from_slice(&buf[..count]),
            }
        }
        let numbers = got.chunks(4).map(|bytes| u32::from_le_bytes(bytes.try_into().unwrap()));
        assert!(numbers.eq(0..3000));
        writing.join().unwrap();
    });
}

/// More than a pipe holds, so that each side waits for the other.
#[test]
fn a_lot_of_bytes_crosses_unharmed_to_and_from_plain_threads() {
    const BYTES: usize = 4 << 20;
    const PIECE: usize = 100_003;
    fn send(mut to: impl Write) {
        let mut piece = vec![0; PIECE];
        for at in (0..BYTES).step_by(PIECE) {
            let piece = &mut piece[..PIECE.min(BYTES - at)];
            pattern::fill(5, at as u64, piece);
            to.write_all(piece).unwrap();
        }
    }
    fn receive(mut from: impl Read) {
        let (mut at, mut buf) = (0, vec![0; 30_000]);
        loop {
            let count = from.read(&mut buf).unwrap();
            assert_eq!(pattern::mismatch(5, at as u64, &buf[..count]), None, "at {at}");
            at += count;
            if count == 0 {
                return assert_eq!(at, BYTES);
            }
        }
    }
    run(|| {
        let (reader, writer) = pipe().unwrap();
        let writing = go(move || send(writer));
        receive(reader);
        writing.join().unwrap();

        let (theirs, ours) = io::pipe().unwrap();
        let ours = PipeWriter::from_std(ours).unwrap();
        let plain = thread::spawn(move || receive(theirs));
        send(ours);
        plain.join().unwrap();

        let (ours, theirs) = io::pipe().unwrap();
        let ours = PipeReader::from_std(ours).unwrap();
        let plain = thread::spawn(move || send(theirs));
        receive(ours);
        plain.join().unwrap();
    });
}

/// Hunts the writer that nobody wakes: a full pipe without a reader is not writable, it is broken, and
/// that is all the kernel reports.
#[test]
fn a_writer_that_waits_learns_that_the_last_reader_is_gone() {
    run(|| {
        let (reader, mut writer) = pipe().unwrap();
        let writing = go(move || writer.write_all(&vec![0; 1 << 20]));
        sleep(A_WHILE);
        drop(reader);
        let error = writing.join().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        assert!(!is_closed(&error));
    });
}

#[test]
fn writers_take_turns_with_whole_messages() {
    run(|| {
        let (mut reader, writer) = pipe().unwrap();
        let writers: Vec<_> = (0..8u8)
            .map(|number| {
                let writer = writer.try_clone().unwrap();
                // Larger than what the kernel keeps together by itself.
                go(move || (&writer).write_all(&[number; 100_000]))
            })
            .collect();
        drop(writer);
        let mut all = Vec::new();
        let reading = go(move || reader.read_to_end(&mut all).map(|_| all));
        for writer in writers {
            writer.join().unwrap().unwrap();
        }
        let all = reading.join().unwrap().unwrap();
        assert_eq!(all.len(), 800_000);
        assert!(all.chunks(100_000).all(|message| message.iter().all(|&byte| byte == message[0])));
    });
}

#[test]
fn deadlines_and_timeouts_are_of_the_only_direction() {
    run(|| {
        let (reader, writer) = pipe().unwrap();
        let (mut reading, mut writing) = (&reader, &writer);
        let at = Instant::now() + Duration::from_millis(40);
        reader.set_deadline(Some(at)).unwrap();
        assert_eq!(reading.read(&mut [0]).unwrap_err().kind(), ErrorKind::TimedOut);
        assert!(Instant::now() >= at);
        reader.set_deadline(None).unwrap();
        writing.write_all(b"x").unwrap();
        reader.wait_readable().unwrap();
        assert_eq!(reading.read(&mut [0]).unwrap(), 1);

        let timeout = Some(Duration::from_millis(40));
        reader.set_timeout(timeout).unwrap();
        assert_eq!(reader.timeout(), timeout);
        let start = Instant::now();
        assert_eq!(reading.read(&mut [0]).unwrap_err().kind(), ErrorKind::TimedOut);
        assert!(start.elapsed() >= Duration::from_millis(40));

        writer.wait_writable().unwrap();
        writer.set_timeout(timeout).unwrap();
        let start = Instant::now();
        let error = writing.write_all(&vec![0; 1 << 20]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(start.elapsed() >= Duration::from_millis(40));
        assert_eq!(writer.wait_writable().unwrap_err().kind(), ErrorKind::TimedOut);
        let zero = writer.set_timeout(Some(Duration::ZERO)).unwrap_err();
        assert_eq!(zero.kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn close_wakes_a_reader_and_a_writer_and_a_plain_thread() {
    run(|| {
        let (reader, _writer) = pipe().unwrap();
        let reader = Arc::new(reader);
        let its = reader.clone();
        let reading = go(move || (&*its).read(&mut [0; 8]));
        let its = reader.clone();
        let plain = thread::spawn(move || (&*its).read(&mut [0; 8]));
        let (_reader, writer) = pipe().unwrap();
        let writer = Arc::new(writer);
        let its = writer.clone();
        let writing = go(move || (&*its).write_all(&vec![0; 1 << 20]));
        sleep(A_WHILE);
        reader.close().unwrap();
        assert_closed(reading.join().unwrap());
        assert_closed(plain.join().unwrap());
        writer.close().unwrap();
        assert_closed(writing.join().unwrap());
    });
}

#[test]
fn a_close_at_any_moment_of_a_read_is_noticed() {
    run(|| {
        for round in 0..2000 {
            let (reader, _writer) = pipe().unwrap();
            let reader = Arc::new(reader);
            let its = reader.clone();
            let reading = go(move || (&*its).read(&mut [0; 8]));
            (0..round % 4).for_each(|_| yield_now());
            (0..round % 7 * 100).for_each(|_| std::hint::spin_loop());
            reader.close().unwrap();
            assert_closed(reading.join().unwrap());
        }
    });
}

#[test]
fn every_operation_after_close_says_so() {
    run(|| {
        let (mut reader, mut writer) = pipe().unwrap();
        reader.close().unwrap();
        writer.close().unwrap();
        assert_closed(reader.read(&mut [0]));
        assert_closed(reader.read(&mut []));
        assert_closed(reader.read_vectored(&mut [IoSliceMut::new(&mut [0])]));
        assert_closed(reader.wait_readable());
        assert_closed(reader.set_deadline(None));
        assert_closed(reader.close());
        assert_closed(writer.write(b"x"));
        assert_closed(writer.write_all(b"x"));
        assert_closed(writer.write_vectored(&[IoSlice::new(b"x")]));
        assert_closed(writer.wait_writable());
        assert_closed(writer.set_deadline(None));
        assert_closed(writer.close());
        assert_closed(writer.into_std());
    });
}

/// A child's output has to be in blocking mode: few programs expect anything else.
#[test]
fn a_child_writes_into_a_pipe_that_is_given_to_it() {
    run(|| {
        let (mut reader, writer) = pipe().unwrap();
        let theirs = writer.into_std().unwrap();
        assert!(!fds::is_nonblocking(&theirs).unwrap());
        let reading = go(move || {
            let mut text = String::new();
            reader.read_to_string(&mut text).map(|_| text)
        });
        let command = "dd if=/dev/zero bs=1000 count=300 2>/dev/null; echo end";
        let status = netpoll::blocking(move || {
            Command::new("sh").args(["-c", command]).stdout(theirs).status()
        });
        assert!(status.unwrap().success());
        let text = reading.join().unwrap().unwrap();
        assert_eq!(text.len(), 300_000 + 4);
        assert!(text.ends_with("\0end\n"));
    });
}

#[test]
fn outside_a_runtime_the_error_says_what_to_do() {
    let (reader, writer) = io::pipe().unwrap();
    for error in [
        pipe().unwrap_err(),
        PipeReader::from_std(reader).unwrap_err(),
        PipeWriter::from_std(writer).unwrap_err(),
    ] {
        assert!(error.to_string().contains("netpoll::run"), "{error}");
    }
}
