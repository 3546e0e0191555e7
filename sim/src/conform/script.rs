//! Random scripts, and what one step of them does to one kernel.
//!
//! A step names descriptors by their place in a table, modulo its length, so that any list of steps is a
//! script: that is what lets a failing one be made smaller. Both kernels have a table each, and what a step
//! says about its result tells whether it has grown.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};

use netpoll::platform::{Domain, EpollEvent, Errno, RawFd, Shutdown, SockAddr, SockType, UnixAddr};
use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;

use super::{Scripted, draw, events_text};

/// A number that is not open.
const CLOSED_FD: RawFd = 19_999;

/// The largest read and write where TCP or UDP takes part. So little that all of a case fits into any
/// buffer.
const BYTES_MAX: u32 = 900;
/// The largest elsewhere: some fill a pipe or a socket.
const LOCAL_BYTES_MAX: u32 = 70_000;

/// The bits of a mask that `poll` knows.
const POLLED: u32 = (libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP).cast_unsigned();

/// What can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Make {
    Tcp,
    TcpListener,
    TcpPair,
    Udp,
    UdpBound,
    Unix,
    UnixListener,
    UnixDatagram,
    UnixBoundDatagram,
    UnixPair,
    UnixDatagramPair,
    Pipe,
    EventFd,
    Regular,
}

/// What can be done to a descriptor. `other` is another place in the table.
#[derive(Clone, Copy, Debug)]
enum Act {
    Read(u32),
    Readv(u32),
    Write(u32),
    Writev(u32),
    /// Writes of this length until one is refused.
    Fill(u32),
    /// Reads of this length until one brings nothing.
    Drain(u32),
    Receive {
        len: u32,
        peek: bool,
    },
    Send {
        len: u32,
        other: Option<u8>,
    },
    Shutdown(Shutdown),
    Connect {
        other: u8,
    },
    BindLike {
        other: u8,
    },
    BindNew,
    Listen(i32),
    Accept,
    LocalName,
    PeerName,
    Poll {
        flags: u32,
    },
    Error,
    Listens,
    Reuse(bool),
    Linger,
    Dup,
    Close,
    Add {
        flags: u32,
    },
    Modify {
        flags: u32,
    },
    Delete,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Make(Make),
    Do(u8, Act),
    /// Takes up to so many events from the third instance.
    Wait(u8),
}

/// The kinds of cases: which files take part. Fewer kinds at a time meet more often.
const MIXES: [&[Make]; 11] = [
    &[Make::Pipe],
    &[Make::Pipe, Make::EventFd, Make::Regular],
    &[Make::UnixPair],
    &[Make::UnixPair, Make::Unix, Make::UnixListener],
    &[Make::Unix, Make::UnixListener],
    &[Make::UnixDatagram, Make::UnixBoundDatagram, Make::UnixDatagramPair],
    &[Make::UnixBoundDatagram],
    &[Make::Udp, Make::UdpBound],
    &[Make::TcpPair],
    &[Make::Tcp, Make::TcpListener, Make::TcpPair],
    &[
        Make::Pipe,
        Make::EventFd,
        Make::Regular,
        Make::UnixPair,
        Make::UnixListener,
        Make::UnixBoundDatagram,
        Make::UdpBound,
        Make::TcpPair,
    ],
];

/// A list of steps.
#[derive(Clone, Debug)]
pub(super) struct Script {
    steps: Vec<Step>,
}

impl Script {
    /// The script of a seed.
    pub(super) fn random(seed: u64, len: usize) -> Script {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        let mut rng = ChaCha8Rng::from_seed(key);
        let mix = MIXES[draw(&mut rng, MIXES.len() as u32) as usize];
        let steps = (0..len).map(|index| step(&mut rng, mix, index)).collect();
        Script { steps }
    }

    pub(super) fn len(&self) -> usize {
        self.steps.len()
    }

    /// The first `len` steps.
    pub(super) fn up_to(&self, len: usize) -> Script {
        Script { steps: self.steps[..len].to_vec() }
    }

    /// The same without one step.
    pub(super) fn without(&self, index: usize) -> Script {
        let mut steps = self.steps.clone();
        steps.remove(index);
        Script { steps }
    }
}

fn step(rng: &mut ChaCha8Rng, mix: &[Make], index: usize) -> Step {
    let makes = if index < 4 { 3 } else { 24 };
    if draw(rng, makes) == 0 || index == 0 {
        return Step::Make(mix[draw(rng, mix.len() as u32) as usize]);
    }
    if draw(rng, 12) == 0 {
        return Step::Wait(1 + draw(rng, 3) as u8);
    }
    let travelling = [Make::Tcp, Make::TcpPair, Make::Udp, Make::UdpBound];
    let is_local = !mix.iter().any(|it| travelling.contains(it));
    let len = match draw(rng, 8) {
        0 => draw(rng, 9),
        1 => 8,
        2 if is_local => 4_096,
        3 | 4 if is_local => draw(rng, LOCAL_BYTES_MAX),
        _ => draw(rng, BYTES_MAX),
    };
    let other = draw(rng, 256) as u8;
    let act = match draw(rng, 64) {
        0..7 => Act::Read(len),
        7 => Act::Readv(len),
        8..15 => Act::Write(len),
        15 => Act::Writev(len),
        16..19 if is_local => Act::Fill(len.max(1)),
        19..22 if is_local => Act::Drain(len.max(1)),
        16..19 => Act::Write(len),
        19..22 => Act::Read(len),
        22..25 => Act::Receive { len, peek: draw(rng, 3) == 0 },
        25..28 => Act::Send { len, other: (draw(rng, 2) == 0).then_some(other) },
        28 => Act::Shutdown(Shutdown::Read),
        29 => Act::Shutdown(Shutdown::Write),
        30 => Act::Shutdown(Shutdown::Both),
        31..36 => Act::Connect { other },
        36 => Act::BindLike { other },
        37 => Act::BindNew,
        38 => Act::Listen(1 + draw(rng, 4) as i32),
        39..43 => Act::Accept,
        43 => [Act::LocalName, Act::PeerName][draw(rng, 2) as usize],
        44 => Act::Poll { flags: flags(rng) },
        45 => Act::Error,
        46 => Act::Listens,
        47 => Act::Reuse(draw(rng, 3) > 0),
        48 => Act::Linger,
        49 => Act::Dup,
        50..53 => Act::Close,
        53..59 => Act::Add { flags: flags(rng) },
        59..62 => Act::Modify { flags: flags(rng) },
        _ => Act::Delete,
    };
    Step::Do(draw(rng, 256) as u8, act)
}

/// A mask for the third instance.
fn flags(rng: &mut ChaCha8Rng) -> u32 {
    let choices = [
        (libc::EPOLLIN, 3),
        (libc::EPOLLOUT, 2),
        (libc::EPOLLRDHUP, 2),
        (libc::EPOLLET, 2),
        (libc::EPOLLONESHOT, 3),
        (libc::EPOLLEXCLUSIVE, 6),
    ];
    let mut mask = 0;
    for (bit, one_in) in choices {
        if draw(rng, one_in) == 0 {
            mask |= bit.cast_unsigned();
        }
    }
    mask
}

/// One descriptor of a world.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// `None` when it has been closed.
    fd: Option<RawFd>,
    /// The address that it was last seen to have.
    addr: Option<SockAddr>,
}

/// A case on one kernel.
pub(super) struct World<'k> {
    k: &'k dyn Scripted,
    table: Vec<Place>,
    /// Every descriptor, edge-triggered; every one, level-triggered; those that the script adds.
    eps: [RawFd; 3],
    /// Distinguishes the names of this case from those of others on this machine.
    case: u32,
    names: u32,
    /// Whether TCP takes part, so that things travel.
    pub(super) travels: bool,
    /// Whether the last step ended a side of a connection, which may be acknowledged late.
    pub(super) ends: bool,
}

/// Numbers the cases of this process.
static CASES: AtomicU32 = AtomicU32::new(0);

/// What a step has made: how many places, and words about its result.
type Said = Result<String, Errno>;

impl<'k> World<'k> {
    pub(super) fn new(k: &'k dyn Scripted) -> World<'k> {
        let eps = [(); 3].map(|()| k.epoll_create1().expect("descriptors are free"));
        let case = CASES.fetch_add(1, Ordering::Relaxed);
        World { k, table: Vec::new(), eps, case, names: 0, travels: false, ends: false }
    }

    /// Makes one step; returns what it says about its result.
    pub(super) fn make(&mut self, script: &Script, index: usize) -> String {
        self.ends = false;
        let said = match script.steps[index] {
            Step::Make(what) => self.create(what),
            Step::Wait(max) => self.wait(self.eps[2], max.into()),
            Step::Do(..) if self.table.is_empty() => Ok("nothing there".to_string()),
            Step::Do(place, act) => self.act(self.place(place), act),
        };
        said.unwrap_or_else(|errno| errno.to_string())
    }

    /// A step in words, with the places that it means in this world.
    pub(super) fn words(&self, script: &Script, index: usize) -> String {
        let step = script.steps[index];
        let Step::Do(place, act) = step else {
            return format!("{step:?}");
        };
        if self.table.is_empty() {
            return format!("{act:?}");
        }
        let place = self.place(place);
        match act {
            Act::Connect { other } => format!("{place}: Connect to {}", self.place(other)),
            Act::BindLike { other } => format!("{place}: BindLike {}", self.place(other)),
            Act::Send { len, other: Some(other) } => {
                format!("{place}: Send {len} bytes to {}", self.place(other))
            }
            act => format!("{place}: {act:?}"),
        }
    }

    /// The place that a step means: mostly one that is open.
    fn place(&self, number: u8) -> usize {
        let number = usize::from(number);
        let is_open = |&index: &usize| self.table[index].fd.is_some();
        let open: Vec<usize> = (0..self.table.len()).filter(is_open).collect();
        if open.is_empty() || number.is_multiple_of(16) {
            return number / 16 % self.table.len();
        }
        open[number % open.len()]
    }

    /// The events of the first two instances now.
    pub(super) fn harvest(&self) -> [Vec<EpollEvent>; 2] {
        [self.eps[0], self.eps[1]].map(|ep| {
            let mut events = vec![EpollEvent::default(); 100];
            let count = self.k.epoll_wait(ep, &mut events, 0).expect("a queue");
            events.truncate(count);
            events
        })
    }

    /// Waits until what travels has arrived.
    pub(super) fn settle(&self) {
        self.k.settle();
    }

    fn wait(&self, ep: RawFd, max: usize) -> Said {
        let mut events = vec![EpollEvent::default(); max];
        let count = self.k.epoll_wait(ep, &mut events, 0)?;
        let events = &mut events[..count];
        if self.travels {
            // What arrives first is nobody's promise.
            events.sort_by_key(|event| event.data);
        }
        Ok(events_text(events))
    }

    // Making

    fn create(&mut self, what: Make) -> Said {
        let k = self.k;
        let tcp = || k.socket(Domain::Inet, SockType::Stream);
        let udp = || k.socket(Domain::Inet, SockType::Datagram);
        let unix = |kind| k.socket(Domain::Unix, kind);
        match what {
            Make::Tcp => {
                let fd = tcp()?;
                self.enter_tcp(fd)
            }
            Make::TcpListener => {
                let fd = tcp()?;
                k.bind(fd, &self.inet())?;
                k.listen(fd, 16)?;
                self.enter_tcp(fd)
            }
            Make::TcpPair => {
                let (listener, client) = (tcp()?, tcp()?);
                k.bind(listener, &self.inet())?;
                k.listen(listener, 16)?;
                let connecting = k.connect(client, &k.getsockname(listener)?);
                assert_eq!(connecting, Err(Errno::EINPROGRESS));
                let mut server = Err(Errno::EAGAIN);
                for _ in 0..100 {
                    k.settle();
                    server = k.accept4(listener);
                    if server.is_ok() {
                        break;
                    }
                }
                k.close(listener)?;
                self.enter_tcp(client)?;
                self.enter_tcp(server?.0)
            }
            Make::Udp => {
                let fd = udp()?;
                self.enter(fd)
            }
            Make::UdpBound => {
                let fd = udp()?;
                k.bind(fd, &self.inet())?;
                self.enter(fd)
            }
            Make::Unix => {
                let fd = unix(SockType::Stream)?;
                self.enter(fd)
            }
            Make::UnixListener => {
                let fd = unix(SockType::Stream)?;
                k.bind(fd, &self.name().into())?;
                k.listen(fd, 1)?;
                self.enter(fd)
            }
            Make::UnixDatagram => {
                let fd = unix(SockType::Datagram)?;
                self.enter(fd)
            }
            Make::UnixBoundDatagram => {
                let fd = unix(SockType::Datagram)?;
                k.bind(fd, &self.name().into())?;
                self.enter(fd)
            }
            Make::UnixPair | Make::UnixDatagramPair => {
                let kind = match what {
                    Make::UnixPair => SockType::Stream,
                    _ => SockType::Datagram,
                };
                let (a, b) = k.socketpair(Domain::Unix, kind)?;
                self.enter(a)?;
                self.enter(b)
            }
            Make::Pipe => {
                let (reader, writer) = k.pipe2()?;
                self.enter(reader)?;
                self.enter(writer)
            }
            Make::EventFd => {
                let fd = k.eventfd()?;
                self.enter(fd)
            }
            Make::Regular => {
                let fd = k.open_regular()?;
                self.enter(fd)
            }
        }
    }

    fn enter_tcp(&mut self, fd: RawFd) -> Said {
        self.travels = true;
        // Else Nagle's algorithm holds small writes back for longer than a step waits.
        self.k.setsockopt(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1)?;
        self.enter(fd)
    }

    /// Gives a new descriptor a place, and watches it.
    fn enter(&mut self, fd: RawFd) -> Said {
        let data = self.table.len() as u64;
        self.table.push(Place { fd: Some(fd), addr: None });
        self.look_at_name(data as usize);
        let all = (libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP).cast_unsigned();
        let edges = EpollEvent { events: all | libc::EPOLLET.cast_unsigned(), data };
        self.k.epoll_add(self.eps[0], fd, edges)?;
        self.k.epoll_add(self.eps[1], fd, EpollEvent { events: all, data })?;
        Ok(format!("{data}"))
    }

    /// An internet address that no other process uses, with any port.
    fn inet(&self) -> SockAddr {
        let [.., a, b] = std::process::id().to_be_bytes();
        SocketAddr::from((Ipv4Addr::new(127, a, b, 77), 0)).into()
    }

    /// A name that nobody else uses.
    fn name(&mut self) -> UnixAddr {
        self.names += 1;
        let (process, case, name) = (std::process::id(), self.case, self.names);
        let name = format!("netpoll-conform-{process}-{case}-{name}");
        if self.names.is_multiple_of(2) {
            let path = std::env::temp_dir().join(name);
            UnixAddr::from_pathname(path).expect("folders for files have short names")
        } else {
            UnixAddr::from_abstract_name(name).expect("is short")
        }
    }

    // Doing

    fn fd(&self, place: usize) -> RawFd {
        self.table[place].fd.unwrap_or(CLOSED_FD)
    }

    /// Remembers the address of a descriptor that has one that others can reach.
    fn look_at_name(&mut self, place: usize) {
        if let Ok(addr) = self.k.getsockname(self.fd(place)) {
            let is_one = match addr {
                SockAddr::Inet(addr) => addr.port() != 0,
                SockAddr::Unix(addr) => !addr.is_unnamed(),
                _ => false,
            };
            if is_one {
                self.table[place].addr = Some(addr);
            }
        }
    }

    /// The address of `place`, or one where nobody ever was.
    fn addr(&self, place: u8) -> SockAddr {
        let place = self.place(place);
        let nobody = UnixAddr::from_abstract_name("netpoll-conform-nobody").expect("is short");
        self.table[place].addr.unwrap_or(nobody.into())
    }

    /// Whose address it is, in words that are the same on both kernels.
    fn whose(&self, addr: SockAddr) -> String {
        let owner = self.table.iter().position(|place| place.addr == Some(addr));
        let owner = owner.map_or("somebody".to_string(), |place| format!("{place}'s"));
        match addr {
            SockAddr::Inet(addr) if addr.port() == 0 => format!("{} without a port", addr.ip()),
            SockAddr::Inet(addr) if addr.ip() == IpAddr::V4(Ipv4Addr::UNSPECIFIED) => {
                format!("any address, {owner}")
            }
            SockAddr::Unix(addr) if addr.is_unnamed() => "unnamed".to_string(),
            _ => owner,
        }
    }

    fn act(&mut self, place: usize, act: Act) -> Said {
        let (k, fd) = (self.k, self.fd(place));
        let said = match act {
            Act::Read(len) => {
                let mut buf = vec![0; len as usize];
                k.read(fd, &mut buf).map(|count| bytes_text(&buf[..count]))
            }
            Act::Readv(len) => {
                let mut buf = vec![0; len as usize];
                let (front, back) = buf.split_at_mut(len as usize / 3);
                let mut bufs = [std::io::IoSliceMut::new(front), std::io::IoSliceMut::new(back)];
                k.readv(fd, &mut bufs).map(|count| bytes_text(&buf[..count]))
            }
            Act::Write(len) => k.write(fd, &self.bytes(len)).map(|count| count.to_string()),
            Act::Writev(len) => {
                let bytes = self.bytes(len);
                let (front, back) = bytes.split_at(len as usize / 3);
                let bufs = [std::io::IoSlice::new(front), std::io::IoSlice::new(back)];
                k.writev(fd, &bufs).map(|count| count.to_string())
            }
            Act::Fill(len) => {
                let bytes = self.bytes(len);
                let (count, errno) = until_refused(|| k.write(fd, &bytes));
                Ok(format!("{count}, then {errno}"))
            }
            Act::Drain(len) => {
                let mut buf = vec![0; len as usize];
                let (count, errno) = until_refused(|| k.read(fd, &mut buf));
                Ok(format!("{count}, then {errno}"))
            }
            Act::Receive { len, peek } => {
                let mut buf = vec![0; len as usize];
                k.recvfrom(fd, &mut buf, peek).map(|(count, from)| {
                    let from = from.map_or("nobody".to_string(), |from| self.whose(from));
                    format!("{} from {from}", bytes_text(&buf[..count]))
                })
            }
            Act::Send { len, other } => {
                let to = other.map(|other| self.addr(other));
                k.sendto(fd, &self.bytes(len), to.as_ref()).map(|count| count.to_string())
            }
            Act::Shutdown(how) => done(k.shutdown(fd, how)),
            Act::Connect { other } => done(k.connect(fd, &self.addr(other))),
            Act::BindLike { other } => done(k.bind(fd, &self.addr(other))),
            Act::BindNew => {
                let addr = match k.getsockname(fd) {
                    Ok(SockAddr::Inet(_)) => self.inet(),
                    _ => self.name().into(),
                };
                done(k.bind(fd, &addr))
            }
            Act::Listen(backlog) => done(k.listen(fd, backlog)),
            Act::Accept => match k.accept4(fd) {
                Ok((new, from)) => {
                    let is_inet = matches!(from, SockAddr::Inet(_));
                    let from = self.whose(from);
                    let said = if is_inet { self.enter_tcp(new) } else { self.enter(new) };
                    said.map(|said| format!("{said} from {from}"))
                }
                Err(errno) => Err(errno),
            },
            Act::LocalName => {
                self.look_at_name(place);
                k.getsockname(fd).map(|addr| self.whose(addr))
            }
            Act::PeerName => k.getpeername(fd).map(|addr| self.whose(addr)),
            Act::Poll { flags } => {
                let events = k.poll(fd, flags & POLLED);
                events.map(|events| events_text(&[EpollEvent { events, data: 0 }]))
            }
            Act::Error => option(k, fd, libc::SO_ERROR),
            Act::Listens => option(k, fd, libc::SO_ACCEPTCONN),
            Act::Reuse(on) => {
                done(k.setsockopt(fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, on.into()))
            }
            Act::Linger => done(k.set_linger(fd, Some(0))),
            Act::Dup => k.dup(fd).and_then(|new| self.enter(new)),
            Act::Close => {
                self.table[place].fd = None;
                done(k.close(fd))
            }
            Act::Add { flags } => {
                let event = EpollEvent { events: flags, data: place as u64 };
                done(k.epoll_add(self.eps[2], fd, event))
            }
            Act::Modify { flags } => {
                let event = EpollEvent { events: flags, data: place as u64 };
                done(k.epoll_mod(self.eps[2], fd, event))
            }
            Act::Delete => done(k.epoll_del(self.eps[2], fd)),
        };
        self.ends = self.travels && matches!(act, Act::Shutdown(_) | Act::Close);
        self.look_at_name(place);
        said
    }

    /// Bytes to write. As the first eight of an eventfd's they are a small number.
    fn bytes(&self, len: u32) -> Vec<u8> {
        let byte = |index: u32| (index.wrapping_mul(len) % 251) as u8;
        let mut bytes: Vec<u8> = (0..len).map(byte).collect();
        bytes.iter_mut().take(8).skip(1).for_each(|byte| *byte = 0);
        bytes
    }

    /// Closes everything, and takes the names out of the file system.
    pub(super) fn end(self) {
        let open = self.table.iter().filter_map(|place| place.fd);
        for fd in open.chain(self.eps) {
            self.k.close(fd).expect("is open");
        }
        for place in &self.table {
            if let Some(SockAddr::Unix(addr)) = place.addr {
                // It may have been taken out already, or be no path.
                let _gone = self.k.unlink(&addr);
            }
        }
    }
}

/// How many bytes calls move in all until one moves none, and what that one says.
fn until_refused(mut call: impl FnMut() -> Result<usize, Errno>) -> (usize, String) {
    let mut total = 0;
    // An eventfd and a file take something for ever.
    for _ in 0..2_000 {
        match call() {
            Ok(0) => return (total, "nothing".to_string()),
            Ok(count) => total += count,
            Err(errno) => return (total, errno.to_string()),
        }
    }
    (total, "more".to_string())
}

fn done(result: Result<(), Errno>) -> Said {
    result.map(|()| "ok".to_string())
}

fn option(k: &dyn Scripted, fd: RawFd, name: i32) -> Said {
    k.getsockopt(fd, libc::SOL_SOCKET, name).map(|value| value.to_string())
}

/// How many bytes, and a sum by which they can be told from others.
fn bytes_text(bytes: &[u8]) -> String {
    let sum = bytes.iter().fold(0u32, |sum, &byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    format!("{} bytes #{sum:x}", bytes.len())
}
