//! A register of one number that three hosts keep, so that it survives the loss of any one of them.
//!
//! The algorithm is that of Attiya, Bar-Noy and Dolev, "Sharing Memory Robustly in Message-Passing Systems" (1995), with
//! several writers. Each replica keeps a value and its stamp. Who writes asks a majority for the highest stamp and
//! stores the value under a higher one at a majority; who reads asks a majority, and *stores what it found at a majority*
//! before it returns it, lest a later read ask another majority and find less.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use netpoll::go;
use netpoll::net::{TcpListener, TcpStream};
use netpoll::sync::channel;
use netpoll_sim::hosts::{address, disk};

/// The hosts that keep it.
pub(crate) const REPLICAS: [&str; 3] = ["r1", "r2", "r3"];
const MAJORITY: usize = 2;
const PORT: u16 = 700;
/// After this long a replica is taken for dead.
const PATIENCE: Duration = Duration::from_millis(200);

/// What is left out on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// Nothing.
    None,
    /// A read returns what it found at once.
    NoWriteBack,
    /// A replica acknowledges before what it stores is safe on its disk.
    NoSync,
}

/// A value with its age: how many writes came before it, and whose it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Stamped {
    count: u64,
    writer: u64,
    value: u64,
}

impl Stamped {
    const LEN: usize = 24;

    fn to_bytes(self) -> [u8; Stamped::LEN] {
        let mut bytes = [0; Stamped::LEN];
        for (chunk, word) in bytes.chunks_mut(8).zip([self.count, self.writer, self.value]) {
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Stamped {
        let mut words = bytes.chunks(8).map(|chunk| u64::from_le_bytes(chunk.try_into().unwrap()));
        // No bytes are the register in its beginning: 0, written by nobody.
        let mut next = || words.next().unwrap_or_default();
        Stamped { count: next(), writer: next(), value: next() }
    }
}

/// The program of a replica. A request is a stamped value, answered by the highest that the replica has: 0 asks, since
/// it is never the highest.
pub(crate) fn replica(bug: Bug) -> io::Result<()> {
    // Nothing is there before the first write.
    let kept = disk::read("register").unwrap_or_default();
    let kept = Arc::new(Mutex::new(Stamped::from_bytes(&kept)));
    let listener = TcpListener::bind(("0.0.0.0", PORT))?;
    loop {
        let (stream, _) = listener.accept()?;
        let kept = Arc::clone(&kept);
        // A client that goes away is no concern of others.
        go(move || drop(serve(stream, &kept, bug)));
    }
}

fn serve(mut stream: TcpStream, kept: &Mutex<Stamped>, bug: Bug) -> io::Result<()> {
    let mut bytes = [0; Stamped::LEN];
    stream.read_exact(&mut bytes)?;
    let offered = Stamped::from_bytes(&bytes);
    let (highest, is_new) = {
        let mut kept = kept.lock().unwrap();
        let is_new = offered > *kept;
        *kept = (*kept).max(offered);
        (*kept, is_new)
    };
    if is_new {
        // Another one that is newer still may be on its way: the disk must not go back.
        disk::write("register", &highest.to_bytes());
        if bug != Bug::NoSync {
            disk::sync("register")?;
        }
    }
    stream.write_all(&highest.to_bytes())
}

/// Sends an offer to one replica.
fn ask(replica: &str, offer: Stamped) -> io::Result<Stamped> {
    let addr = SocketAddr::new(address(replica), PORT);
    let mut stream = TcpStream::connect_timeout(&addr, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&offer.to_bytes())?;
    let mut bytes = [0; Stamped::LEN];
    stream.read_exact(&mut bytes)?;
    Ok(Stamped::from_bytes(&bytes))
}

/// Sends an offer to all replicas, and returns the highest answer of the first majority; `None` when there was none.
fn ask_majority(offer: Stamped) -> Option<Stamped> {
    let (sender, answers) = channel(REPLICAS.len());
    for replica in REPLICAS {
        let sender = sender.clone();
        go(move || sender.send(ask(replica, offer).ok()));
    }
    drop(sender);
    let first: Vec<Stamped> = answers.iter().flatten().take(MAJORITY).collect();
    (first.len() == MAJORITY).then(|| first.into_iter().max().expect("not empty"))
}

/// Reads the register; `None` when too few replicas answer.
pub(crate) fn read(bug: Bug) -> Option<u64> {
    let found = ask_majority(Stamped::default())?;
    if bug != Bug::NoWriteBack {
        ask_majority(found)?;
    }
    Some(found.value)
}

/// Writes it. `None` when too few replicas answer: then it may have been written, or may be yet.
pub(crate) fn write(writer: u64, value: u64) -> Option<()> {
    let newest = ask_majority(Stamped::default())?;
    ask_majority(Stamped { count: newest.count + 1, writer, value }).map(drop)
}
