use std::io::{Read, Write};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use netpoll::net::{TcpListener, TcpStream};
use netpoll::platform::Errno;
use netpoll::time::sleep;
use netpoll::trace::Event;
use netpoll::{Builder, go};
use netpoll_traces::{Entry, Record, ThreadId, Trace, TraceFile};

use super::*;

/// What the runtime of this machine records of a program.
fn recorded(program: fn()) -> Trace {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("netpoll-admit-{}-{number}.trace", std::process::id());
    let path = std::env::temp_dir().join(name);
    let runtime = Builder::new().workers(2).trace(&path).trace_records(1 << 18).build().unwrap();
    runtime.run(program).unwrap();
    drop(runtime);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let file = TraceFile::parse(&bytes).unwrap();
    assert_eq!(file.trace.dropped, 0, "the rings are large enough");
    file.trace
}

/// Connections that echo, that are reset, and that are closed as somebody waits.
fn echoes() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let acceptor = listener.try_clone().unwrap();
    let server = go(move || {
        acceptor.serve(|mut stream, _| {
            let mut buf = [0; 1000];
            while let Ok(count @ 1..) = stream.read(&mut buf) {
                if stream.write_all(&buf[..count]).is_err() {
                    return;
                }
            }
        })
    });
    let clients: Vec<_> = (0..8)
        .map(|number| {
            go(move || {
                let mut stream = TcpStream::connect(addr).unwrap();
                for _ in 0..30 {
                    stream.write_all(&vec![number; 700]).unwrap();
                    stream.read_exact(&mut [0; 700]).unwrap();
                }
                if number % 2 == 0 {
                    stream.set_zero_linger().unwrap();
                }
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
    sleep(Duration::from_millis(20));
    listener.close().unwrap();
    server.join().unwrap().unwrap();
}

/// The same, a stream that is longer than buffers, and an attempt that is refused.
fn everything() {
    echoes();
    // More than a connection holds, to somebody who does not read it for a while.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = silent.local_addr().unwrap();
    let writer = go(move || {
        let mut stream = TcpStream::connect(target).unwrap();
        stream.write_all(&vec![7; 12 << 20]).unwrap();
    });
    let (mut stream, _) = silent.accept().unwrap();
    sleep(Duration::from_millis(50));
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    assert_eq!(all.len(), 12 << 20);
    writer.join().unwrap();

    let closed = silent.local_addr().unwrap();
    silent.close().unwrap();
    assert!(TcpStream::connect(closed).is_err());
}

fn said(admission: &Admission) -> String {
    let mut lines: Vec<String> = admission.findings.iter().map(ToString::to_string).collect();
    lines.push(format!("admitted {}, skipped {:?}", admission.admitted, admission.skipped));
    lines.join("\n")
}

#[test]
fn what_the_kernel_of_this_machine_does_is_admitted() {
    let trace = recorded(everything);
    let admission = admit(&trace);
    assert!(admission.findings.is_empty(), "{}", said(&admission));
    assert!(admission.admitted > 1000, "{}", said(&admission));
    assert!(admission.skipped() * 10 < admission.admitted, "{}", said(&admission));
}

/// Traces that differ from this one in one record each: those for which `change` has another event.
fn variants<'a>(
    trace: &'a Trace,
    change: impl Fn(Event) -> Option<Event> + 'a,
) -> impl Iterator<Item = Trace> + 'a {
    let changed = move |at: usize| match trace.records[at].event {
        Entry::Runtime(event) => change(event).map(|event| (at, event)),
        Entry::World(_) => None,
    };
    (0..trace.records.len()).filter_map(changed).map(|(at, event)| {
        let mut variant = trace.clone();
        variant.records[at].event = event.into();
        variant
    })
}

#[test]
fn what_no_kernel_does_is_a_finding_with_the_rule_that_it_breaks() {
    type Change = fn(Event) -> Option<Event>;
    let trace = recorded(echoes);
    let cases: [(&str, Change); 7] = [
        ("stays until it is read", |event| match event {
            Event::Syscall { name: "read", fd, arg: 1000, result: Ok(1..) } => {
                let result = Err(Errno::EAGAIN);
                Some(Event::Syscall { name: "read", fd, arg: 1000, result })
            }
            _ => None,
        }),
        ("up to what it has room for", |event| match event {
            Event::Syscall { name: "read", fd, arg: 1000, result: Ok(1..) } => {
                Some(Event::Syscall { name: "read", fd, arg: 1000, result: Ok(1001) })
            }
            _ => None,
        }),
        ("one file at a time", |event| match event {
            Event::Syscall { name: "accept4", fd, arg, .. } => {
                Some(Event::Syscall { name: "accept4", fd, arg, result: Ok(fd.into()) })
            }
            _ => None,
        }),
        ("registered once", |event| match event {
            Event::Syscall { name: "epoll_add", fd, arg, result: Ok(_) } => {
                let result = Err(Errno::EEXIST);
                Some(Event::Syscall { name: "epoll_add", fd, arg, result })
            }
            _ => None,
        }),
        ("succeeds when and only when", |event| match event {
            Event::Syscall { name: "getpeername", fd, arg, result: Ok(_) } => {
                let result = Err(Errno::EINVAL);
                Some(Event::Syscall { name: "getpeername", fd, arg, result })
            }
            _ => None,
        }),
        ("close(2)", |event| match event {
            Event::Syscall { name: "close", fd, arg, .. } if fd > 5 => {
                Some(Event::Syscall { name: "close", fd, arg, result: Err(Errno::EBADF) })
            }
            _ => None,
        }),
        ("what an event reports", |event| match event {
            // Of a listener, or of the break channel: neither is ever hung up.
            Event::Polled { data, events } if events == libc::EPOLLIN as u32 => {
                Some(Event::Polled { data, events: events | libc::EPOLLHUP as u32 })
            }
            _ => None,
        }),
    ];
    for (rule, change) in cases {
        // Not each is impossible: what was read at once might just as well not have been there yet.
        let mut found = variants(&trace, change).take(40).flat_map(|it| admit(&it).findings);
        assert!(found.any(|finding| finding.rule.contains(rule)), "{rule}: admitted");
    }
}

#[test]
fn an_event_of_what_was_taken_back_long_ago_is_a_finding() {
    let mut trace = recorded(echoes);
    let is_event = |record: &&Record| {
        let breaks = netpoll::poll::lives::BREAK;
        matches!(record.event, Entry::Runtime(Event::Polled { data, .. }) if data != breaks)
    };
    let event = trace.records.iter().find(is_event).expect("there are events").event;
    let last = *trace.records.last().expect("there are records");
    let wait = Event::Syscall { name: "epoll_wait", fd: 3, arg: 0, result: Ok(1) };
    trace.records.push(Record { event: wait.into(), ..last });
    trace.records.push(Record { event, ..last });
    let admission = admit(&trace);
    assert!(
        admission.findings.iter().any(|finding| finding.rule.contains("that is registered")),
        "{}",
        said(&admission)
    );
}

/// A write whose peer resets the connection once it has the bytes, of which another thread harvests the event before the write
/// has returned: the order of records is not that in which things happened. Seen under load.
#[test]
fn a_write_that_returns_after_an_event_of_the_reset_may_have_been_made_before() {
    let call = |name, fd, arg, result| Event::Syscall { name, fd, arg, result: Ok(result) };
    // As the recorder writes it.
    let socket = recorded(echoes).records.into_iter().find_map(|record| match record.event {
        Entry::Runtime(Event::Syscall { name: "socket", arg, .. }) => Some(arg),
        _ => None,
    });
    let stream = socket.expect("there are sockets");
    let gone = (libc::EPOLLIN | libc::EPOLLERR | libc::EPOLLHUP | libc::EPOLLRDHUP) as u32;
    let data = netpoll::poll::lives::encode(7, 1);
    let events = [
        (0, call("epoll_create1", -1, 0, 3)),
        (0, call("socket", -1, stream, 4)),
        (0, call("listen", 4, 128, 0)),
        (0, call("accept4", 4, 0, 5)),
        (0, Event::Open { fd: 5, pd: 7, life: 1 }),
        (0, call("epoll_add", 3, 5, 0)),
        (1, call("epoll_wait", 3, 0, 1)),
        (1, Event::Polled { data, events: gone }),
        (0, call("write", 5, 700, 700)),
    ];
    let trace = |events: &[(u16, Event)]| {
        let record = |(at, &(thread, event)): (usize, &(u16, Event))| Record {
            t_ns: at as u64,
            thread: ThreadId(thread),
            g: None,
            event: event.into(),
        };
        let records = events.iter().enumerate().map(record).collect();
        Trace { threads: vec!["w0".to_string(), "w1".to_string()], records, dropped: 0 }
    };
    let admission = admit(&trace(&events));
    assert!(admission.findings.is_empty() && admission.skipped() == 0, "{}", said(&admission));
    // One that began after the event was not.
    let mut later = events.to_vec();
    later.insert(8, (0, call("getsockname", 5, 0, 0)));
    let admission = admit(&trace(&later));
    let rules: Vec<&str> = admission.findings.iter().map(|finding| finding.rule).collect();
    assert_eq!(rules, ["a write takes what there is room for"], "{}", said(&admission));
}
