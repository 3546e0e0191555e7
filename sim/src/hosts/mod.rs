//! Several hosts in one run: each with a kernel, an address and a runtime of its own, and a network between them that
//! may be slow, cut or gone.
//!
//! ```
//! use std::io::{Read, Write};
//! use netpoll::net::{TcpListener, TcpStream};
//! use netpoll_sim::Sim;
//! use netpoll_sim::hosts;
//!
//! Sim::named("two hosts").seeds(0..20).check(|| {
//!     hosts::start("server", || -> std::io::Result<()> {
//!         let listener = TcpListener::bind("0.0.0.0:80")?;
//!         loop {
//!             listener.accept()?.0.write_all(b"hello")?;
//!         }
//!     });
//!     let mut text = String::new();
//!     let mut stream = loop {
//!         match TcpStream::connect("server:80") {
//!             Ok(stream) => break stream,
//!             // It does not listen yet.
//!             Err(_) => netpoll::time::sleep(std::time::Duration::from_millis(1)),
//!         }
//!     };
//!     stream.read_to_string(&mut text).unwrap();
//!     assert_eq!(text, "hello");
//! });
//! ```
//!
//! The body of a test is the first goroutine of a host of its own, `test`. [`start`] makes another one: its program is the
//! first goroutine of a runtime there, and what that starts stays there. Hosts hear each other by name (`"server:80"`) and
//! by [`address`]; a loopback address means the same host. The run is over when the body is, whatever other hosts do; a panic on any of them
//! fails it.
//!
//! | what | how |
//! |---|---|
//! | a host loses its power | [`crash`]: its goroutines never run again, its connections are gone without a word, and of its disk only what it synced is sure |
//! | it comes back | [`restart`]: its program begins anew |
//! | it stands still | [`pause`], [`resume`] |
//! | the network is cut | [`partition`], [`heal`], [`cut`] and [`mend`] for one direction, [`isolate`], [`heal_all`] |
//! | it is slow, or bad | [`latency`], [`loss`], [`reset_connections`], [`hold`] and [`release`] |
//! | what survives a crash | [`disk`] |
//!
//! All of these are done at once, between two steps of everybody else, and may be done by any goroutine of any host.
//!
//! # What it is called elsewhere
//!
//! | here | in turmoil 0.7 | in madsim 0.2 |
//! |---|---|---|
//! | [`start`], [`Sim::host`](crate::Sim::host); the body of the test | `Sim::host`; `Sim::client` | `create_node` with `init`; the main task |
//! | [`crash`], [`restart`], both; [`pause`], [`resume`] | `crash`, `bounce` | `kill`, `restart`; `pause`, `resume` |
//! | [`address`], or the name itself; [`name_of`] | `lookup`, `reverse_lookup` | `NodeBuilder::ip` |
//! | [`partition`], [`heal`]; [`cut`], [`mend`] | `partition`, `repair`; with `_oneway` | `clog_link`, `unclog_link` both ways; one way |
//! | [`isolate`]; [`reset_connections`] | | `clog_node`; `reset_node` |
//! | [`hold`], [`release`] | `hold`, `release` | |
//! | [`latency`], [`loss`] | `set_link_latency`, `set_link_fail_rate`, which breaks a link rather than losing a packet | `send_latency`, `packet_loss_rate` of all links |
//! | [`rand::one_in`](crate::rand::one_in); [`disk`] | | `buggify_with_prob`; `fs` |
//!
//! # What is left behind
//!
//! A host that runs when the body comes to its end, or that crashes, is abandoned where it stands, and what it holds
//! is leaked: its goroutines cannot be unwound without running again. That is some thirty kilobytes for a small host.
//! A test made by [`#[netpoll_sim::test]`](macro@crate::test) goes on in another process when its own has grown by
//! 256 MiB, so it may have any number of seeds; for a [`Sim`](crate::Sim) that is used otherwise, a hundred thousand
//! seeds of three hosts want a machine with gigabytes.
//!
//! # What hosts must not share
//!
//! A program may look at plain data of the test, behind an `Arc<Mutex<…>>` for example, to say what it has seen. It must
//! not use sockets, channels or other things of `netpoll` that another host has made, and must not hold such a lock
//! where it waits: if its host crashes there, the lock is never given back.

mod directory;
pub mod disk;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use netpoll_traces::WorldEvent;

use directory::Program;
pub(crate) use directory::{Directory, Roster};

use crate::engine;
use crate::kernel::{Env, HostId, Machine};
use crate::user::Verdict;

/// Starts a program on a new host. It is called once now, and again at each [`restart`].
///
/// When it returns, its host goes on without it: its connections end, as those of a process do that has ended, and
/// new ones are refused.
///
/// # Panics
/// When there is a host of this name, or there are too many; outside a simulated run.
pub fn start<V: Verdict>(name: &str, program: impl Fn() -> V + Send + Sync + 'static) {
    start_program(name, Arc::new(move || program().judge()));
}

fn start_program(name: &str, program: Program) {
    let host = engine::inside("starting a host", |engine| {
        let host = engine.directory().add(name, program).unwrap_or_else(|why| panic!("{why}"));
        let kernel = engine.kernel_of(HostId::TEST).expect("a run of hosts has a kernel");
        let made = kernel.arrange(|machine, _| machine.add_host());
        assert_eq!(host, made, "the kernel has the same hosts");
        engine.add_host();
        host
    });
    directory::boot(host);
}

/// The address of a host: 10.0.0.1 of the first one that was started, and so on.
///
/// # Panics
/// When there is no such host; outside a simulated run.
#[must_use]
pub fn address(name: &str) -> IpAddr {
    find(name).address()
}

/// The name of the host with this address: of that which a connection comes from, for example.
///
/// # Panics
/// Outside a simulated run.
#[must_use]
pub fn name_of(address: IpAddr) -> Option<String> {
    engine::inside("asking for a host", |engine| engine.directory().name_of(address))
}

/// The name of the host that the caller is on: `test` for the body of the test.
///
/// # Panics
/// Outside a simulated run.
#[must_use]
pub fn here() -> String {
    engine::inside("asking for the host", |engine| {
        let host = engine.host();
        engine.directory().name(host).to_string()
    })
}

/// Takes the power from a host. If it is the caller's, this does not return.
///
/// # Panics
/// When there is no such host, or it is the one of the test; outside a simulated run.
pub fn crash(name: &str) {
    let host = find_other(name, "crash");
    arrange(&format!("crash {name}"), |machine, env| machine.crash(env, host));
    engine::inside("crashing a host", |engine| {
        engine.directory().set_down(host);
        engine.kill(host, false);
    });
}

/// Starts a host again that has crashed, or whose program has returned.
///
/// # Panics
/// When there is no such host, or it is running; outside a simulated run.
pub fn restart(name: &str) {
    let host = find_other(name, "restart");
    engine::inside("restarting a host", |engine| {
        assert!(!engine.directory().is_running(host), "the host {name:?} is running");
    });
    arrange(&format!("restart {name}"), |machine, _| machine.start(host));
    directory::boot(host);
}

/// Whether the program of a host is running: it has neither returned nor been taken away by a crash.
///
/// # Panics
/// When there is no such host; outside a simulated run.
#[must_use]
pub fn is_running(name: &str) -> bool {
    let host = find(name);
    engine::inside("asking for a host", |engine| engine.directory().is_running(host))
}

/// Lets all threads of a host stand still, wherever they are. Its kernel goes on: connections are accepted into its
/// queues, and data into its buffers. [Oracles](crate::oracle) do not watch a host after its first pause, because
/// nothing that they know about times holds there.
///
/// # Panics
/// When there is no such host, or it is the one of the test; outside a simulated run.
pub fn pause(name: &str) {
    let host = find_other(name, "pause");
    arrange(&format!("pause {name}"), |_, _| ());
    engine::inside("pausing a host", |engine| engine.set_paused(host, true));
}

/// Lets a host go on that was paused.
///
/// # Panics
/// When there is no such host, or it is the one of the test; outside a simulated run.
pub fn resume(name: &str) {
    let host = find_other(name, "resume");
    arrange(&format!("resume {name}"), |_, _| ());
    engine::inside("resuming a host", |engine| engine.set_paused(host, false));
}

/// Cuts both directions between two hosts. What is sent meanwhile is lost; TCP sends it again, and gives up after three
/// seconds.
///
/// # Panics
/// When there is no such host, or both are the same; outside a simulated run.
pub fn partition(a: &str, b: &str) {
    set_links(&format!("partition {a} and {b}"), &[(a, b), (b, a)], false);
}

/// Mends both directions between two hosts.
///
/// # Panics
/// As [`partition`].
pub fn heal(a: &str, b: &str) {
    set_links(&format!("heal {a} and {b}"), &[(a, b), (b, a)], true);
}

/// Cuts one direction: `to` hears nothing from `from`, which still hears `to`.
///
/// # Panics
/// As [`partition`].
pub fn cut(from: &str, to: &str) {
    set_links(&format!("cut {from} to {to}"), &[(from, to)], false);
}

/// Mends one direction.
///
/// # Panics
/// As [`partition`].
pub fn mend(from: &str, to: &str) {
    set_links(&format!("mend {from} to {to}"), &[(from, to)], true);
}

/// Cuts a host off from all others that there are.
///
/// # Panics
/// When there is no such host; outside a simulated run.
pub fn isolate(name: &str) {
    let all = names();
    let others = all.iter().map(String::as_str).filter(|&other| other != name);
    let links: Vec<_> = others.flat_map(|other| [(name, other), (other, name)]).collect();
    set_links(&format!("isolate {name}"), &links, false);
}

/// Mends everything that is cut.
///
/// # Panics
/// Outside a simulated run.
pub fn heal_all() {
    let all = names();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let pairs = all.iter().flat_map(|&a| all.iter().map(move |&b| (a, b)));
    set_links("heal all", &pairs.filter(|(a, b)| a != b).collect::<Vec<_>>(), true);
}

/// Sets how long each packet takes between two hosts, in both directions: something in this range, by a choice of which
/// the dullest is its start. Unless somebody says otherwise it is 5 µs to 120 ms, mostly the least.
///
/// # Panics
/// When there is no such host, both are the same, or the range is empty; outside a simulated run.
pub fn latency(a: &str, b: &str, range: RangeInclusive<Duration>) {
    assert!(!range.is_empty(), "a latency from {:?} to {:?}", range.start(), range.end());
    let ns = |time: &Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / 4);
    let (least_ns, most_ns) = (ns(range.start()), ns(range.end()));
    let what = format!("latency of {a} and {b}: {:?} to {:?}", range.start(), range.end());
    both_ways(&what, a, b, |machine, _, from, to| {
        machine.set_latency(from, to, least_ns, most_ns);
    });
}

/// Lets packets get lost between two hosts, in both directions: each with a chance of `per_mille` out of a thousand, of which the
/// dullest choice is that it arrives. TCP sends them again, later and later, as after a [`partition`].
///
/// # Panics
/// When there is no such host, both are the same, or `per_mille` is more than 1000; outside a simulated run.
pub fn loss(a: &str, b: &str, per_mille: u16) {
    assert!(per_mille <= 1000, "a loss of {per_mille} packets out of a thousand");
    let what = format!("loss between {a} and {b}: {per_mille} of 1000");
    both_ways(&what, a, b, |machine, _, from, to| machine.set_loss(from, to, per_mille));
}

/// Holds everything that arrives from one of two hosts at the other, what is under way already included. Nothing of it is lost,
/// be it datagrams or connections, and nobody gives up: it comes when it is [released](release), in the same order.
///
/// # Panics
/// As [`partition`].
pub fn hold(a: &str, b: &str) {
    let what = format!("hold what passes between {a} and {b}");
    both_ways(&what, a, b, |machine, _, from, to| machine.hold(from, to));
}

/// Lets arrive what was [held](hold) between two hosts, and hold nothing any more.
///
/// # Panics
/// As [`partition`].
pub fn release(a: &str, b: &str) {
    let what = format!("release what is held between {a} and {b}");
    both_ways(&what, a, b, |machine, env, from, to| machine.release(env, from, to));
}

/// Resets all connections between two hosts.
///
/// # Panics
/// As [`partition`].
pub fn reset_connections(a: &str, b: &str) {
    let (one, other) = two(a, b);
    arrange(&format!("reset connections of {a} and {b}"), |machine, env| {
        machine.reset_connections(env, one, other)
    });
}

/// The names of all hosts, that of the test included, in the order in which they were started.
///
/// # Panics
/// Outside a simulated run.
#[must_use]
pub fn names() -> Vec<String> {
    engine::inside("asking for the hosts", |engine| engine.directory().names())
}

fn find(name: &str) -> HostId {
    engine::inside("asking for a host", |engine| {
        engine.directory().find(name).unwrap_or_else(|why| panic!("{why}"))
    })
}

/// A host that is not the test's.
fn find_other(name: &str, doing: &str) -> HostId {
    let host = find(name);
    assert!(host != HostId::TEST, "the host of the test itself cannot {doing}");
    host
}

fn two(a: &str, b: &str) -> (HostId, HostId) {
    assert!(a != b, "there is no link from {a:?} to itself");
    (find(a), find(b))
}

fn set_links(what: &str, links: &[(&str, &str)], is_open: bool) {
    let links: Vec<_> = links.iter().map(|&(from, to)| two(from, to)).collect();
    arrange(what, |machine, _| {
        for (from, to) in links {
            machine.set_link(from, to, is_open);
        }
    });
}

/// A change of both links between two hosts.
fn both_ways(
    what: &str,
    a: &str,
    b: &str,
    change: impl Fn(&mut Machine, &Env<'_>, HostId, HostId),
) {
    let (one, other) = two(a, b);
    arrange(what, |machine, env| {
        change(machine, env, one, other);
        change(machine, env, other, one);
    });
}

/// A point, and a change of the world, which the trace tells in these words.
fn arrange<R>(what: &str, change: impl FnOnce(&mut Machine, &Env<'_>) -> R) -> R {
    let kernel = engine::inside("changing the world", |engine| {
        engine.call_point();
        engine.record(WorldEvent::Arranged { what: kept(what) }.into());
        engine.kernel_of(HostId::TEST).expect("a run of hosts has a kernel")
    });
    kernel.arrange(change)
}

/// A text that lives as long as the process, since records are `Copy`. There are as many as programs say different things.
fn kept(text: &str) -> &'static str {
    static KEPT: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    match kept.get(text) {
        Some(text) => text,
        None => {
            let text: &'static str = text.to_string().leak();
            kept.insert(text);
            text
        }
    }
}
