//! A call of a trace: what it needs, and what it returns.

use std::collections::{BTreeMap, VecDeque};

use netpoll::platform::{Domain, EpollEvent, Errno, Kernel, RawFd, Shutdown, SockType};
use netpoll::poll::lives::BREAK;
use netpoll::trace::calls::{INET_STREAM, INET6_STREAM};
use netpoll_traces::Trace;

use super::host::OneThread;
use super::order::{Call, What};
use super::puppet::{File, Role, TheKernel, knock, listener};
use super::{Admission, Finding};
use crate::kernel::{NetConfig, Simulated};

const IN: u32 = libc::EPOLLIN as u32;
const OUT: u32 = libc::EPOLLOUT as u32;
const ERR: u32 = libc::EPOLLERR as u32;
const HUP: u32 = libc::EPOLLHUP as u32;
const RDHUP: u32 = libc::EPOLLRDHUP as u32;
/// What the runtime registers for.
const INTEREST: u32 = IN | OUT | RDHUP | libc::EPOLLPRI as u32 | libc::EPOLLET as u32;
/// Buffers of sockets: larger than any real one, so that only results limit what is moved.
const BUFFER: usize = 256 << 20;
/// Events that one look at the simulated epoll takes.
const EVENTS: usize = 64;

// Why a call is skipped.
const UNKNOWN: &str = "a descriptor from outside, or from before the trace";
const UNMODELLED: &str = "no puppet for this kind of file";
const OPTIONS: &str = "options and addresses are not compared";

type Outcome = Result<i64, Errno>;

/// A registration of the trace.
#[derive(Clone, Copy, Debug)]
struct Watched {
    fd: RawFd,
    /// The record that took it back, if one has.
    until: Option<usize>,
}

/// See the module documentation.
pub(super) struct Check<'a> {
    trace: &'a Trace,
    kernel: TheKernel,
    pub(super) admission: Admission,
    files: BTreeMap<RawFd, File>,
    /// What events carry, by what they carry.
    watched: BTreeMap<u64, Watched>,
    /// The simulated number of the epoll instance, of which a runtime has one.
    epoll: Option<RawFd>,
    /// What the next registration of a descriptor carries.
    data: BTreeMap<RawFd, u64>,
    /// The event that said that a descriptor's peer has said everything.
    ended_at: BTreeMap<RawFd, usize>,
    /// The last read of each descriptor.
    read_at: BTreeMap<RawFd, usize>,
    /// When each descriptor's peer was seen to have reset it.
    reset_at: BTreeMap<RawFd, usize>,
    /// Puppets in the queue of a listener, by its simulated number.
    queued: BTreeMap<RawFd, VecDeque<RawFd>>,
    /// The calls about each descriptor that say what its peer did, in their order.
    about: BTreeMap<RawFd, Vec<(usize, What)>>,
}

impl<'a> Check<'a> {
    pub(super) fn new(trace: &'a Trace, calls: &[Call]) -> Check<'a> {
        let config =
            NetConfig { sndbuf: BUFFER, rcvbuf: BUFFER, fd_limit: 1 << 20, ..NetConfig::default() };
        let mut about: BTreeMap<RawFd, Vec<(usize, What)>> = BTreeMap::new();
        for call in calls {
            if let What::Syscall { name, fd, .. } = call.what
                && matches!(name, "read" | "readv" | "getsockopt" | "close")
            {
                about.entry(fd).or_default().push((call.at, call.what));
            }
        }
        Check {
            trace,
            kernel: Simulated::on(OneThread::new(config)),
            admission: Admission::default(),
            files: BTreeMap::new(),
            watched: BTreeMap::new(),
            epoll: None,
            data: BTreeMap::new(),
            ended_at: BTreeMap::new(),
            read_at: BTreeMap::new(),
            reset_at: BTreeMap::new(),
            queued: BTreeMap::new(),
            about,
        }
    }

    fn skip(&mut self, name: &'static str, why: &'static str) {
        *self.admission.skipped.entry((name, why)).or_default() += 1;
    }

    fn finding(&mut self, at: usize, rule: &'static str, instead: String) {
        let record = &self.trace.records[at];
        let thread = self.trace.thread_name(record.thread);
        let what = format!("{thread} {}", netpoll_traces::text::event(self.trace, record));
        self.admission.findings.push(Finding { at, what, rule, instead });
    }

    /// Compares results.
    fn compare(&mut self, call: &Call, recorded: Outcome, simulated: Outcome, rule: &'static str) {
        if recorded == simulated {
            self.admission.admitted += 1;
            return;
        }
        let instead = match simulated {
            Ok(value) => format!("the simulated kernel returns {value}"),
            Err(errno) => format!("the simulated kernel returns {errno}"),
        };
        self.finding(call.at, rule, instead);
        self.forget(call);
    }

    /// The peer of a connection resets it.
    fn reset(&mut self, fd: RawFd, at: usize) {
        self.reset_at.entry(fd).or_insert(at);
        if let Some(file) = self.files.get_mut(&fd) {
            file.reset(&self.kernel);
        }
    }

    /// Whether the reset of a connection was seen by another thread between the beginning of a call and its return, so that the
    /// call may have been made before it.
    fn was_before_reset(&self, fd: RawFd, call: &Call) -> bool {
        self.reset_at.get(&fd).is_some_and(|&at| call.since < at && at < call.at)
    }

    /// What went wrong once goes wrong again: the rest of this descriptor's life is not looked at.
    fn forget(&mut self, call: &Call) {
        if let What::Syscall { fd, .. } = call.what
            && let Some(file) = self.files.get(&fd)
            && !matches!(file.role, Role::Epoll | Role::EventFd)
        {
            let mut file = *file;
            file.dismiss(&self.kernel);
            self.files.remove(&fd);
        }
    }

    /// The first result of a call of these about a descriptor after a record, in this life of it.
    fn next(&self, fd: RawFd, after: usize, names: &[&str]) -> Option<(&'static str, Outcome)> {
        let about = self.about.get(&fd)?;
        let from = about.partition_point(|&(at, _)| at <= after);
        about[from..].iter().find_map(|&(_, what)| match what {
            What::Syscall { name, result, .. } if names.contains(&name) || name == "close" => {
                Some((name, result))
            }
            _ => None,
        })
    }

    /// The peer has said everything: it ends its side, once all is read that the trace reads. Not at once: a
    /// read that was short may have been made before the end came, and be recorded after it.
    fn end_if_read(&mut self, fd: RawFd, at: usize) {
        if self.ended_at.contains_key(&fd) && self.rest(fd, at) == 0 {
            self.files[&fd].end(&self.kernel);
        }
    }

    /// How many bytes are read from a descriptor after a record, in this life of it.
    fn rest(&self, fd: RawFd, after: usize) -> usize {
        let about = self.about.get(&fd).map_or(&[][..], Vec::as_slice);
        let from = about.partition_point(|&(at, _)| at <= after);
        let counts = about[from..].iter().map_while(|&(_, what)| match what {
            What::Syscall { name: "close", .. } => None,
            What::Syscall { name: "read" | "readv", result, .. } => Some(result.unwrap_or(0)),
            _ => Some(0),
        });
        counts.sum::<i64>() as usize
    }

    pub(super) fn call(&mut self, call: &Call) {
        match call.what {
            What::Open { fd, data } => {
                self.data.insert(fd, data);
            }
            What::Polled { data, events } => self.polled(call, data, events),
            What::Syscall { name, fd, arg, result } => {
                self.kernel.host().want(result.err());
                self.syscall(call, name, fd, arg, result);
                self.kernel.host().want(None);
            }
        }
    }

    /// A call that makes a descriptor.
    fn make(&mut self, call: &Call, recorded: Outcome, made: Result<RawFd, Errno>, role: Role) {
        const RULE: &str = "a new descriptor, or an error for which a kernel needs no reason";
        if let (Ok(fd), Ok(number)) = (recorded, made) {
            self.adopt(call, fd as RawFd, number, role);
            self.admission.admitted += 1;
        } else {
            self.compare(call, recorded, made.map(i64::from), RULE);
        }
    }

    fn syscall(&mut self, call: &Call, name: &'static str, fd: RawFd, arg: i64, result: Outcome) {
        match name {
            "socket" if arg == INET_STREAM || arg == INET6_STREAM => {
                let made = self.kernel.socket(Domain::Inet, SockType::Stream);
                return self.make(call, result, made, Role::Socket);
            }
            "epoll_create1" => {
                let made = self.kernel.epoll_create1();
                self.epoll = made.ok();
                return self.make(call, result, made, Role::Epoll);
            }
            "eventfd" => return self.make(call, result, self.kernel.eventfd(), Role::EventFd),
            "socket" | "socketpair" | "pipe2" | "dup" => return self.skip(name, UNMODELLED),
            _ => {}
        }
        let Some(&file) = self.files.get(&fd) else {
            return self.skip(name, UNKNOWN);
        };
        match name {
            // It is over where an event has said so; what returned after that had been done before.
            "read" | "readv" | "peek" | "write" | "writev"
                if matches!(result, Ok(count) if (1..=arg).contains(&count))
                    && self.was_before_reset(fd, call) =>
            {
                self.admission.admitted += 1;
            }
            "accept4" => self.accept(call, file, result),
            "connect" => self.connect(call, fd, file, result),
            "read" | "readv" | "peek" => {
                self.read_at.insert(fd, call.at);
                self.read(call, fd, file, arg as usize, result);
            }
            "write" | "writev" => self.write(call, fd, file, arg as usize, result),
            "getsockopt" if arg == libc::SO_ERROR.into() => self.so_error(call, fd, file, result),
            "getpeername" => {
                self.settle(call.at, fd, result.is_ok());
                let simulated = self.kernel.getpeername(file.number);
                let simulated = simulated.map(|_| result.unwrap_or_default());
                let rule =
                    "getpeername(2) succeeds when and only when the connection has come about";
                self.compare(call, result, simulated, rule);
            }
            "bind" if result.is_ok() => {
                let addr = ([127, 0, 0, 1], 0).into();
                let simulated =
                    self.kernel.bind(file.number, &netpoll::platform::SockAddr::Inet(addr));
                self.compare(call, result, simulated.map(|()| 0), "bind(2) of a new socket");
            }
            "listen" => {
                let simulated = self.kernel.listen(file.number, arg as i32).map(|()| 0);
                if simulated.is_ok() {
                    self.files.insert(fd, File { role: Role::Listener, ..file });
                }
                self.compare(call, result, simulated, "listen(2)");
            }
            "shutdown" => {
                let how = match arg {
                    0 => Shutdown::Read,
                    1 => Shutdown::Write,
                    _ => Shutdown::Both,
                };
                self.settle(call.at, fd, result.is_ok());
                let number = file.number;
                let simulated = self.kernel.shutdown(number, how).map(|()| 0);
                let rule = "shutdown(2): ENOTCONN when and only when there is no connection";
                self.compare(call, result, simulated, rule);
            }
            "close" => {
                if let Some(mut file) = self.files.remove(&fd) {
                    file.dismiss(&self.kernel);
                }
                self.ended_at.remove(&fd);
                self.read_at.remove(&fd);
                self.reset_at.remove(&fd);
                let simulated = self.kernel.close(file.number).map(|()| 0);
                self.kernel.host().deliver();
                self.compare(call, result, simulated, "close(2) of an open number succeeds");
            }
            "epoll_add" => self.add(call, file, arg as RawFd, result),
            "epoll_del" => self.del(call, file, arg as RawFd, result),
            "epoll_wait" => self.wait(call, result),
            _ => self.skip(name, OPTIONS),
        }
    }

    /// A puppet knocks at a listener.
    fn knock(&mut self, listener: RawFd) {
        let puppet = knock(&self.kernel, listener);
        self.queued.entry(listener).or_default().push_back(puppet);
    }

    fn accept(&mut self, call: &Call, file: File, result: Outcome) {
        const RULE: &str =
            "accept(2) takes the next connection, and only when there is none says EAGAIN";
        let is_wanted = matches!(result, Ok(_) | Err(Errno::ECONNABORTED));
        if is_wanted && self.kernel.poll(file.number, IN) != Ok(IN) {
            self.knock(file.number);
        }
        let mut puppet = || self.queued.get_mut(&file.number)?.pop_front();
        if result == Err(Errno::ECONNABORTED)
            && let Some(puppet) = puppet()
        {
            let mut client = File { number: -1, role: Role::Connected { puppet } };
            client.reset(&self.kernel);
        }
        let simulated = self.kernel.accept4(file.number);
        match (result, simulated) {
            (Ok(fd), Ok((number, _))) => {
                let puppet = puppet().expect("whoever is accepted is a puppet");
                self.adopt(call, fd as RawFd, number, Role::Connected { puppet });
                self.admission.admitted += 1;
            }
            (_, simulated) => {
                self.compare(call, result, simulated.map(|(fd, _)| fd.into()), RULE);
            }
        }
    }

    /// A number of the trace is that of a new file.
    fn adopt(&mut self, call: &Call, fd: RawFd, number: RawFd, role: Role) {
        if self.files.insert(fd, File { number, role }).is_some() {
            let rule = "a number is given to one file at a time";
            self.finding(call.at, rule, format!("fd{fd} is open"));
        }
    }

    fn connect(&mut self, call: &Call, fd: RawFd, file: File, result: Outcome) {
        const RULE: &str = "connect(2) of a non-blocking TCP socket says EINPROGRESS, once";
        let (own, addr) = listener(&self.kernel);
        let outcome = self.next(fd, call.at, &["getsockopt"]);
        let errno = match outcome {
            Some(("getsockopt", Ok(errno))) => Errno(errno as i32),
            _ => Errno(0),
        };
        let simulated = self.kernel.connect(file.number, &addr).map(|()| 0);
        if errno != Errno(0) {
            // What becomes of an attempt is decided where it arrives.
            self.kernel.host().want(Some(errno));
            self.kernel.host().deliver();
        }
        self.files.insert(fd, File { role: Role::Connecting { listener: own }, ..file });
        self.compare(call, result, simulated, RULE);
    }

    /// What is under way on a socket that is being connected comes to its end, if the trace has seen it there.
    fn settle(&mut self, at: usize, fd: RawFd, is_over: bool) {
        let outcome = self.next(fd, at.saturating_sub(1), &["getsockopt"]);
        let Some(file) = self.files.get_mut(&fd).filter(|_| is_over) else { return };
        match outcome {
            Some(("getsockopt", Ok(1..))) => self.kernel.host().give_up(),
            _ => file.connect(&self.kernel),
        }
    }

    fn so_error(&mut self, call: &Call, fd: RawFd, file: File, result: Outcome) {
        let is_over = result.is_ok_and(|errno| errno != 0);
        self.settle(call.at, fd, is_over);
        if let (Ok(errno), Role::Connected { .. }) = (result, file.role)
            && errno != 0
        {
            self.reset(fd, call.at);
        }
        let simulated = self.kernel.getsockopt(file.number, libc::SOL_SOCKET, libc::SO_ERROR);
        let rule = "SO_ERROR is the reason for which a connection has failed, once";
        self.compare(call, result, simulated.map(i64::from), rule);
    }

    fn read(&mut self, call: &Call, fd: RawFd, file: File, len: usize, result: Outcome) {
        match (file.role, result) {
            (Role::Connected { .. }, Ok(0)) if len > 0 => file.end(&self.kernel),
            (Role::Connected { .. }, Ok(count)) => file.fill(&self.kernel, count as usize),
            (Role::Connected { .. }, Err(Errno::ECONNRESET)) => self.reset(fd, call.at),
            (Role::Connected { .. }, Err(Errno::EAGAIN))
                if self.ended_at.get(&fd).is_some_and(|&at| at <= call.since) =>
            {
                // After an end there is something to read, be it the end.
                file.fill(&self.kernel, 1);
                self.end_if_read(fd, call.at);
            }
            _ => {}
        }
        let mut buf = vec![0; len];
        let simulated = match call.what {
            What::Syscall { name: "peek", .. } => self.kernel.peek(file.number, &mut buf),
            _ => self.kernel.read(file.number, &mut buf),
        };
        let rule = match result {
            Err(Errno::EAGAIN) => "what has arrived, and was reported, stays until it is read",
            Ok(0) => "a stream ends after all that was sent, and only then",
            _ => "a read takes what has arrived, up to what it has room for",
        };
        self.compare(call, result, simulated.map(|count| count as i64), rule);
        if self.files.contains_key(&fd) {
            self.end_if_read(fd, call.at);
        }
    }

    fn write(&mut self, call: &Call, fd: RawFd, file: File, len: usize, result: Outcome) {
        let mut want = len;
        if let Role::Connected { .. } = file.role {
            match result {
                Ok(count) => {
                    // A write that is short has met a full buffer.
                    want = count as usize;
                    file.drain(&self.kernel);
                }
                Err(Errno::EAGAIN) => file.choke(&self.kernel),
                Err(Errno::EPIPE) => {
                    file.end(&self.kernel);
                    self.reset(fd, call.at);
                }
                Err(Errno::ECONNRESET) => self.reset(fd, call.at),
                Err(_) => {}
            }
        }
        let data = match file.role {
            // A counter takes a number.
            Role::EventFd => 1_u64.to_ne_bytes().to_vec(),
            _ => vec![0; want],
        };
        let simulated = self.kernel.write(file.number, &data).map(|count| count as i64);
        if let Ok(count) = result
            && (count as usize) < len
        {
            file.choke(&self.kernel);
        }
        let rule = match result {
            Ok(_) => "a write takes what there is room for",
            Err(Errno::EAGAIN) => "a write is refused only when there is no room",
            Err(_) => "a write fails with the reason for which the connection has ended",
        };
        self.compare(call, result, simulated, rule);
    }

    /// What events of a descriptor carry in this life of it.
    fn data_of(&self, fd: RawFd, file: File) -> u64 {
        match file.role {
            Role::EventFd => BREAK,
            _ => self.data.get(&fd).copied().unwrap_or(fd as u64),
        }
    }

    fn add(&mut self, call: &Call, epoll: File, fd: RawFd, result: Outcome) {
        let Some(&file) = self.files.get(&fd) else {
            return self.skip("epoll_add", UNKNOWN);
        };
        let events = if file.role == Role::EventFd { IN } else { INTEREST };
        let data = self.data_of(fd, file);
        let event = EpollEvent { events, data };
        let simulated = self.kernel.epoll_add(epoll.number, file.number, event).map(|()| 0);
        if simulated.is_ok() {
            self.watched.insert(data, Watched { fd, until: None });
        }
        let rule = "a file is registered once with an epoll instance";
        self.compare(call, result, simulated, rule);
    }

    fn del(&mut self, call: &Call, epoll: File, fd: RawFd, result: Outcome) {
        let Some(&file) = self.files.get(&fd) else {
            return self.skip("epoll_del", UNKNOWN);
        };
        let simulated = self.kernel.epoll_del(epoll.number, file.number).map(|()| 0);
        if let Some(watched) = self.watched.get_mut(&self.data_of(fd, file)) {
            watched.until.get_or_insert(call.at);
        }
        let rule = "only what is registered can be taken back";
        self.compare(call, result, simulated, rule);
    }

    /// The events follow as records of their own.
    fn wait(&mut self, call: &Call, result: Outcome) {
        const RULE: &str = "epoll_wait(2) fails with EINTR only";
        match result {
            Ok(_) | Err(Errno::EINTR) => self.admission.admitted += 1,
            Err(_) => self.finding(call.at, RULE, "the simulated kernel waits".to_string()),
        }
    }

    fn polled(&mut self, call: &Call, data: u64, events: u32) {
        const RULE: &str = "an event is of a file that is registered";
        let Some(&watched) = self.watched.get(&data) else {
            return self.skip("event", UNKNOWN);
        };
        if let Some(until) = watched.until {
            // It was taken back while the wait returned, or before that began.
            if until > call.since {
                self.admission.admitted += 1;
            } else {
                let fd = watched.fd;
                let instead = format!("fd{fd} was taken back in record {until}");
                self.finding(call.at, RULE, instead);
            }
            return;
        }
        let Some(&file) = self.files.get(&watched.fd) else {
            return self.skip("event", UNKNOWN);
        };
        // A read that was made while the wait returned may have come after the event, and taken what it reports.
        let is_used = self.read_at.get(&watched.fd).is_some_and(|&at| at > call.since);
        let events = if is_used { events & !IN } else { events };
        self.provoke(call, watched.fd, file, events);
        // Its end comes later: see `end_if_read`.
        let is_open = matches!(file.role, Role::Connected { .. }) && events & ERR == 0;
        let events = if is_open { events & !RDHUP } else { events };
        if !self.harvest(data) {
            self.admission.spurious += 1;
        }
        let ready = self.kernel.poll(file.number, events).unwrap_or(0) & events;
        if ready == events {
            self.admission.admitted += 1;
            return;
        }
        let instead = format!("fd{} is {} there", watched.fd, netpoll_traces::Readiness(ready));
        let rule = "what an event reports holds when it is harvested";
        self.finding(call.at, rule, instead);
    }

    /// Whether an event is on the list; takes all off it.
    fn harvest(&mut self, data: u64) -> bool {
        let Some(number) = self.epoll else { return false };
        let mut events = [EpollEvent::default(); EVENTS];
        let mut found = false;
        while let Ok(count @ 1..) = self.kernel.epoll_wait(number, &mut events, 0) {
            found |= events[..count].iter().any(|event| event.data == data);
            // The counter is level-triggered: it comes again and again.
            if count < EVENTS {
                break;
            }
        }
        found
    }

    /// The peer does what makes these events true, as far as the trace says what that was.
    fn provoke(&mut self, call: &Call, fd: RawFd, file: File, events: u32) {
        match file.role {
            Role::Listener => {
                if self.kernel.poll(file.number, IN) == Ok(0) {
                    self.knock(file.number);
                }
            }
            Role::Connecting { .. } => self.settle(call.at, fd, true),
            Role::Connected { .. } => {
                let kernel = &self.kernel;
                if events & OUT != 0 && kernel.poll(file.number, OUT) == Ok(0) {
                    file.drain(kernel);
                }
                if events & ERR != 0 {
                    return self.reset(fd, call.at);
                }
                if events & RDHUP != 0 {
                    self.ended_at.entry(fd).or_insert(call.at);
                    self.end_if_read(fd, call.at);
                }
                let kernel = &self.kernel;
                if events & IN != 0 && kernel.poll(file.number, IN) == Ok(0) {
                    file.fill(kernel, 1);
                }
                if events & HUP != 0 && kernel.poll(file.number, HUP) == Ok(0) {
                    self.reset(fd, call.at);
                }
            }
            Role::Epoll | Role::EventFd | Role::Socket | Role::Abandoned => {}
        }
    }
}
