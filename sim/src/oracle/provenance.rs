//! Oracle 2: what is done to a number is done to the file that it was opened as.
//!
//! Numbers and descriptors are used again at once; three things go wrong when somebody does not notice:
//!
//! * a file is destroyed while somebody has a reference to it (S26), or its number is closed before the
//!   descriptor's life has ended and the registration is gone (S15): the next file gets the number, and the
//!   holder of the earlier one its bytes;
//! * a system call is made by a holder of an earlier life (S16, S33): each call of an operation must meet the
//!   file that was opened as what the operation is on; a number that is no file at all is the same mistake
//!   before the number is used again;
//! * an event of an earlier life is dispatched to a later one (S8).
//!
//! That a late *edge* may reach the next life, between the poll loop's look at the life and its exchange, is
//! no violation: every consumer retries its call.

use netpoll::platform::{Errno, RawFd};
use netpoll::trace::Event;
use netpoll_traces::{Entry, Record, WorldEvent};

use super::facts::{Actor, Facts};
use super::{About, Complaint, Look, Oracle, Verdict};
use crate::explore::Property;

static ABOUT: About = About {
    number: 2,
    property: Property::Provenance,
    sentence: "calls, bytes and events are of the file and the life that they are meant for",
};

/// See the module documentation.
#[derive(Debug, Default)]
pub struct Provenance {
    /// The numbers that are registered.
    registered: Vec<RawFd>,
    checks: u64,
}

impl Oracle for Provenance {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn checks(&self) -> u64 {
        self.checks
    }

    #[inline(always)]
    fn observe(&mut self, record: &Record, facts: &Facts, look: &dyn Look) -> Verdict {
        let event = match record.event {
            Entry::Runtime(event) => event,
            Entry::World(WorldEvent::Watch { fd, .. }) => {
                self.registered.push(fd);
                return Ok(());
            }
            Entry::World(_) => return Ok(()),
        };
        match event {
            Event::Syscall { name, fd, arg, result } => {
                if result == Err(Errno::EBADF) {
                    let fd = if name.starts_with("epoll_") { arg as RawFd } else { fd };
                    return Err(no_file(record, facts, name, fd));
                }
                match name {
                    "epoll_wait" | "epoll_add" | "epoll_mod" => Ok(()),
                    "epoll_del" => {
                        self.registered.retain(|&it| result.is_err() || it != arg as RawFd);
                        Ok(())
                    }
                    "close" => self.close(record, facts, fd),
                    _ => self.call(record, facts, look, name, fd),
                }
            }
            Event::Dispatch { pd, life } => self.dispatch(record, facts, pd, life),
            Event::End { fd, pd } => self.end(record, facts, fd, pd),
            _ => Ok(()),
        }
    }
}

fn no_file(record: &Record, facts: &Facts, name: &str, fd: RawFd) -> Box<Complaint> {
    let who = facts.name(record);
    let what = format!("{who} calls {name} on fd{fd}, which is no file");
    Complaint::new("S16", what).about(record.g, fd)
}

impl Provenance {
    /// A call on a number must meet the file that its maker uses under this number.
    fn call(
        &mut self,
        record: &Record,
        facts: &Facts,
        look: &dyn Look,
        name: &str,
        fd: RawFd,
    ) -> Verdict {
        let by = Actor::of(record);
        let Some(using) = facts.using(by).filter(|using| using.fd == fd) else {
            return Ok(());
        };
        self.checks += 1;
        let file = look.file_of(fd);
        if file == using.file {
            return Ok(());
        }
        let who = facts.name(record);
        let pd = using.pd;
        let what = format!(
            "{who} calls {name} on fd{fd}, which is another file than the one that pd#{pd} was opened for"
        );
        Err(Complaint::new("S33", what).about(by.goroutine(), fd))
    }

    fn dispatch(&mut self, record: &Record, facts: &Facts, pd: u32, life: u32) -> Verdict {
        self.checks += 1;
        let descriptor = facts.descriptor(pd);
        if descriptor.life == Some(life) {
            return Ok(());
        }
        let who = facts.name(record);
        let now = match descriptor.life {
            Some(now) => format!("is in life {now}"),
            None => "is in no life".to_string(),
        };
        let fd = descriptor.fd;
        let what =
            format!("{who} dispatches an event of life {life} to pd#{pd}, which {now} (fd{fd})");
        Err(Complaint::new("S8", what))
    }

    /// A life ends, and the number is about to be closed: nobody uses it any more.
    fn end(&mut self, record: &Record, facts: &Facts, fd: RawFd, pd: u32) -> Verdict {
        self.checks += 1;
        let serial = facts.descriptor(pd).serial;
        let Some(user) = facts.user_of(serial) else {
            return Ok(());
        };
        let (who, user_name) = (facts.name(record), facts.actor_name(user));
        let what = format!("{who} ends fd{fd}, to which {user_name} has a reference");
        Err(Complaint::new("S26", what).about(user.goroutine(), fd))
    }

    /// A number is closed after its descriptor's life has ended, and deregistered before.
    fn close(&mut self, record: &Record, facts: &Facts, fd: RawFd) -> Verdict {
        self.checks += 1;
        let who = || facts.name(record);
        let lives = facts.descriptors().any(|(_, it)| it.fd == fd && it.life.is_some());
        let is_registered = self.registered.contains(&fd) && facts.break_fd != Some(fd);
        self.registered.retain(|&it| it != fd);
        let what = if lives {
            format!("{} closes fd{fd} before the life of its descriptor has ended", who())
        } else if is_registered {
            format!("{} closes fd{fd} before it is deregistered", who())
        } else {
            return Ok(());
        };
        Err(Complaint::new("S15", what).about(record.g, fd))
    }
}
