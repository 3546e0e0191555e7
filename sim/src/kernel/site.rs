//! A host of the simulated network: one process with its numbers, its ports, its names, and a disk.
//!
//! All hosts of a run stand in one [`Machine`](super::Machine), so that a packet between two of them is what it is on one: a
//! few words with the file that it goes to. A file belongs to one host for its whole life. What travels, and what
//! does not, is in `links.rs`; what that does to a connection in `loss.rs`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use netpoll::platform::{Errno, RawFd};

use super::disk::Disk;
use super::env::Env;
use super::machine::{FileId, Machine, Object};
use super::net::Ports;
use super::tcp::State;
use super::unix::Names;

/// Numbers 0, 1 and 2 belong to standard input, output and error.
const FIRST_FD: usize = 3;

/// Identifies a host for the whole run, in the order in which hosts were made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostId(u8);

impl HostId {
    /// The host on which the run's body runs; the only one unless that makes others.
    pub const TEST: HostId = HostId(0);
    /// The most hosts that a run can have.
    pub const MAX: usize = 100;

    /// The host that was made so many-eth.
    ///
    /// # Panics
    /// From [`HostId::MAX`] on.
    #[must_use]
    pub fn new(index: usize) -> HostId {
        assert!(index < HostId::MAX, "a run can have {} hosts", HostId::MAX);
        HostId(index as u8)
    }

    /// Its number.
    #[must_use]
    #[inline]
    pub fn index(self) -> usize {
        self.0.into()
    }

    /// Its address, beside the loopback addresses: 10.0.0.1 of the first one that the body makes, 10.0.0.100 of
    /// the body's own.
    #[must_use]
    pub fn address(self) -> IpAddr {
        let last = if self == HostId::TEST { HostId::MAX as u8 } else { self.0 };
        Ipv4Addr::new(10, 0, 0, last).into()
    }
}

impl fmt::Display for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a machine knows of a host.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) ip: IpAddr,
    /// Whether it answers.
    pub(super) is_up: bool,
    pub(super) numbers: Vec<Option<FileId>>,
    /// No number below this is free.
    pub(super) lowest_free: usize,
    pub(super) tcp_ports: Ports,
    /// The TCP sockets that listen, oldest first.
    pub(super) listeners: Vec<FileId>,
    pub(super) udp_ports: Ports,
    pub(super) names: Names,
    pub(super) disk: Disk,
}

impl Site {
    pub(super) fn new(host: HostId) -> Site {
        Site {
            ip: host.address(),
            is_up: true,
            numbers: vec![None; FIRST_FD],
            lowest_free: FIRST_FD,
            tcp_ports: Ports::from(0),
            listeners: Vec::new(),
            udp_ports: Ports::from(10_000),
            names: Names::default(),
            disk: Disk::default(),
        }
    }
}

impl Machine {
    /// Makes another host, which is up.
    pub(crate) fn add_host(&mut self) -> HostId {
        let host = HostId::new(self.sites.len());
        self.sites.push(Site::new(host));
        host
    }

    /// The host at `ip`, as `from` sees it.
    pub(super) fn host_at(&self, from: HostId, ip: IpAddr) -> Option<HostId> {
        if ip.is_loopback() || ip.is_unspecified() {
            return Some(from);
        }
        self.sites.iter().position(|site| site.ip == ip).map(HostId::new)
    }

    /// A host loses its power: files, numbers, ports and names are gone, nobody is told, and of what it wrote to its disk
    /// and did not force there something may be gone too. It answers nobody until it is [started](Machine::start).
    pub(crate) fn crash(&mut self, env: &Env<'_>, host: HostId) {
        for id in self.files_of(host) {
            self.drop_held(id);
            self.free_file(id);
        }
        let mut disk = std::mem::take(&mut self.sites[host.index()].disk);
        disk.lose_power(env);
        self.sites[host.index()] = Site { is_up: false, disk, ..Site::new(host) };
        self.forget_lost_peers(env);
    }

    /// Only the body's own host is left.
    pub(super) fn crash_others(&mut self, env: &Env<'_>) {
        for index in 1..self.sites.len() {
            self.crash(env, HostId::new(index));
        }
    }

    /// The process of the calling host ends: everything is closed, in the order of the numbers. The host itself goes on, and
    /// refuses whoever knocks.
    pub(crate) fn exit(&mut self, env: &Env<'_>) {
        for id in self.files_of(self.here_id()) {
            // Whose threads are gone waits for nothing.
            self.file_mut(id).pins = 0;
            if let Object::Epoll(epoll) = &mut self.file_mut(id).object {
                epoll.waiters.clear();
            }
        }
        let numbers: Vec<RawFd> = self.open_numbers().map(|(fd, _)| fd).collect();
        for fd in numbers {
            let closed: Result<(), Errno> = self.close(env, fd);
            closed.expect("the number is open");
        }
    }

    /// A host that has crashed answers again.
    pub(crate) fn start(&mut self, host: HostId) {
        self.sites[host.index()].is_up = true;
    }

    fn files_of(&self, host: HostId) -> Vec<FileId> {
        self.file_ids().filter(|&id| self.file(id).host == host).collect()
    }

    /// Ends of connections that nobody holds, and that wait for the last word of an end that is gone without one, are
    /// forgotten after a while. Linux: `tcp_fin_timeout`.
    fn forget_lost_peers(&mut self, env: &Env<'_>) {
        let orphans: Vec<FileId> = self
            .file_ids()
            .filter(|&id| match &self.file(id).object {
                Object::Tcp(tcp) => {
                    let is_lost = tcp.peer.is_some_and(|peer| self.get(peer).is_none());
                    tcp.orphan && tcp.state == State::Synchronised && is_lost
                }
                _ => false,
            })
            .collect();
        for id in orphans {
            self.give_up_later(env, id);
        }
    }
}
