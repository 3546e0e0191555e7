//! Pipes whose reader goes while their writer waits for it.

use std::io::{ErrorKind, Read, Write};

use netpoll::go;
use netpoll::net::{PipeReader, PipeWriter, pipe};

use super::Scenario;
use super::common::{check_pattern, join, pattern, retry};

/// Goroutines that make pipes at a time, so that descriptors are used again at once.
const LANES: u8 = 2;
/// Pipes of each.
const ROUNDS: u8 = 6;
/// Bytes of a message.
const LEN: usize = 5_000;

pub(super) fn scenario() -> Scenario {
    Scenario::new(
        "pipe_reader_gone",
        "a full pipe tells of its reader's end by an error alone: its writer hears, and the next life does not",
        body,
    )
}

fn body() {
    let lane = |lane: u8| move || (0..ROUNDS).for_each(|round| turn(lane * ROUNDS + round, round));
    let lanes: Vec<_> = (0..LANES).map(|number| go(lane(number))).collect();
    lanes.into_iter().for_each(join);
}

fn turn(tag: u8, round: u8) {
    let (mut reader, mut writer) = retry(pipe).expect("descriptors are there");
    // Whatever the last life of these descriptors has left, this one works, in both directions.
    writer.write_all(&pattern(tag, 0, LEN)).expect("the reader is there");
    let mut heard = vec![0; LEN];
    reader.read_exact(&mut heard).expect("the writer writes");
    check_pattern(tag, 0, &heard);
    match round % 3 {
        0 => the_writer_is_parked(reader, writer),
        1 => the_writer_goes_at_once(reader, writer),
        _ => the_writer_goes_first(reader, writer, tag),
    }
}

fn the_writer_is_parked(mut reader: PipeReader, writer: PipeWriter) {
    let parked = go(move || write_without_end(&writer));
    // It has begun, and perhaps has filled the pipe.
    reader.read_exact(&mut [0; 3 * 4096]).expect("the writer writes");
    reader.close().expect("nobody else closes");
    join(parked);
}

/// The error travels to a descriptor that is closed, and may be another's when it comes.
fn the_writer_goes_at_once(reader: PipeReader, writer: PipeWriter) {
    let full = go(move || fill(&writer));
    let writer = join(full);
    reader.close().expect("nobody else closes");
    writer.close().expect("nobody else closes");
}

fn the_writer_goes_first(mut reader: PipeReader, mut writer: PipeWriter, tag: u8) {
    let writing = go(move || {
        writer.write_all(&pattern(tag, 0, LEN)).expect("the reader is there");
        writer.close().expect("nobody else closes");
    });
    let mut heard = Vec::new();
    reader.read_to_end(&mut heard).expect("the writer ends the stream");
    assert_eq!(heard.len(), LEN);
    check_pattern(tag, 0, &heard);
    join(writing);
}

fn write_without_end(mut writer: &PipeWriter) {
    let zeros = [0; 4096];
    loop {
        if let Err(error) = writer.write(&zeros) {
            assert_eq!(error.kind(), ErrorKind::BrokenPipe, "without a reader: {error}");
            return;
        }
    }
}

/// Writes until the pipe is full, so that the next event can only be an error.
fn fill(writer: &PipeWriter) -> PipeWriter {
    let mut writer = writer.try_clone().expect("a clone is a handle");
    let soon = netpoll::time::Instant::now() + std::time::Duration::from_micros(50);
    writer.set_deadline(Some(soon)).expect("it is open");
    // All but a few writes fill it; those that are cut short go on with the rest.
    let error = loop {
        if let Err(error) = writer.write_all(&[0; 16 * 1024]) {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::TimedOut, "nobody reads: {error}");
    writer
}
