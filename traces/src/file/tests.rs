use netpoll::platform::Errno;
use netpoll::trace::{Event, Mode, SlotState};

use super::*;
use crate::{BlockedOn, Keep, Recorder, WorldEvent};

fn file() -> TraceFile {
    let mut recorder = Recorder::new(Keep::All);
    recorder.add_thread("main");
    recorder.add_thread("netpoll-w0");
    let w0 = ThreadId(1);
    let world: [WorldEvent; 16] = [
        WorldEvent::Spawn { thread: w0 },
        WorldEvent::Block { on: BlockedOn::Lock(3), until_ns: u64::MAX },
        WorldEvent::Block { on: BlockedOn::Parker(u32::MAX), until_ns: 5 },
        WorldEvent::Block { on: BlockedOn::Join(w0), until_ns: 0 },
        WorldEvent::Block { on: BlockedOn::Poll(-1), until_ns: 7 },
        WorldEvent::Resume { timed_out: true },
        WorldEvent::Arrive { fd: -1, len: u32::MAX },
        WorldEvent::Watch { fd: 5, file: 1, events: 1 << 31, data: u64::MAX, queued: true },
        WorldEvent::Edge { fd: 5, file: 1, ready: 5, wakeup: 1 },
        WorldEvent::Spurious { fd: 5, file: 1 },
        WorldEvent::Harvest { fd: 5, file: 1, events: 4, data: 8 },
        WorldEvent::Fault { name: "poll-eintr" },
        WorldEvent::Fault { name: "a fault of tomorrow" },
        WorldEvent::Healed,
        WorldEvent::Panic,
        WorldEvent::Exit,
    ];
    for (t_ns, event) in (1_000_000..).zip(world) {
        recorder.record(t_ns, ThreadId::MAIN, &event.into());
    }
    recorder.record(2_000_000, w0, &Event::Run { g: 7 }.into());
    let slot = Event::Slot {
        pd: 0,
        fd: 4,
        mode: Mode::Read,
        from: SlotState::Nil,
        to: SlotState::Parked(9),
    };
    recorder.record(1_999_000, w0, &slot.into());
    let read = Event::Syscall { name: "read", fd: 4, arg: 64, result: Err(Errno::EAGAIN) };
    recorder.record(u64::MAX, w0, &read.into());
    recorder.record(u64::MAX, ThreadId::KERNEL, &WorldEvent::Healed.into());
    let guilt = Guilt {
        property: "lost-wakeup".to_string(),
        sentence: "L3: g7 is parked".to_string(),
        at: Some(17),
        g: Some(7),
        fd: Some(4),
    };
    let caption =
        Caption { title: "a run".to_string(), end: "it ended".to_string(), guilt: Some(guilt) };
    TraceFile {
        origin: Origin::Simulator,
        caption,
        trace: Trace { dropped: 3, ..recorder.finish() },
    }
}

fn bytes(file: &TraceFile) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.write(&mut bytes).unwrap();
    bytes
}

#[test]
fn a_file_says_what_was_put_into_it() {
    let file = file();
    assert_eq!(TraceFile::parse(&bytes(&file)).unwrap(), file);
    let clean = TraceFile {
        origin: Origin::Production,
        caption: Caption::default(),
        trace: Trace::default(),
    };
    assert_eq!(TraceFile::parse(&bytes(&clean)).unwrap(), clean);
}

#[test]
fn a_file_that_ends_early_is_refused_at_its_end() {
    let bytes = bytes(&file());
    for len in 1..bytes.len() {
        let error = TraceFile::parse(&bytes[..len]).unwrap_err();
        assert_eq!(error.offset, len, "{error}");
        let text = error.to_string();
        assert!(text.contains("truncated") || text.contains("ends in"), "{text}");
    }
}

#[test]
fn a_file_with_one_other_byte_is_refused() {
    let original = bytes(&file());
    for at in 0..original.len() {
        let mut bytes = original.clone();
        bytes[at] ^= 0x20;
        let error = TraceFile::parse(&bytes).unwrap_err();
        let where_it_shows = match at {
            0..14 => 0,
            14..16 => 14,
            _ => bytes.len(),
        };
        assert_eq!(error.offset, where_it_shows, "byte {at}: {error}");
    }
}

/// With a hash that fits.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let body = bytes.len() - 8;
    let hash = netpoll::trace::file::fnv(netpoll::trace::file::FNV_BASIS, &bytes[..body]);
    bytes[body..].copy_from_slice(&hash.to_le_bytes());
    bytes
}

#[test]
fn what_is_wrong_is_said_in_one_line() {
    let good = bytes(&file());
    let said = |bytes: &[u8]| TraceFile::parse(bytes).unwrap_err().to_string();
    assert_eq!(said(b"\x7fELF"), "at byte 0: this is no netpoll trace");
    assert_eq!(said(b""), "at byte 0: this is no netpoll trace");
    let mut newer = good.clone();
    newer[14] = 9;
    let text = "at byte 14: a trace of version 9, which is newer than what this program reads, 1";
    assert_eq!(said(&newer), text);
    let mut origin = good.clone();
    origin[16] = 7;
    assert_eq!(said(&sealed(origin)), "at byte 16: an origin is 0 or 1, not 7");
    let mut long = good.clone();
    let end = long.len() - 8;
    long.insert(end, 0);
    assert!(said(&sealed(long)).ends_with("something follows the end"));
    let mut guilty = file();
    guilty.caption.guilt.as_mut().unwrap().at = Some(20);
    let text = said(&bytes(&guilty));
    assert!(text.ends_with("record 20 is said to be guilty, and there are 20"), "{text}");
}

#[test]
fn bytes_that_were_damaged_and_sealed_are_read_or_refused_but_never_a_panic() {
    let original = bytes(&file());
    for at in 16..original.len() - 8 {
        for change in [1, 0x20, 0x80, 0xff] {
            let mut bytes = original.clone();
            bytes[at] ^= change;
            let _read_or_refused = TraceFile::parse(&sealed(bytes));
        }
    }
}
