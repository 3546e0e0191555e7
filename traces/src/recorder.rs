//! Collecting records while a run goes on.
//!
//! The recorder knows which goroutine each thread runs by following the runtime's own events: `Run`
//! and `Abandon` begin it, `Park`, `Yield` and `Done` end it (and still belong to it).

use std::mem;

use netpoll::trace::Event;

use crate::{Entry, Record, ThreadId};

/// How much of a run is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Everything.
    All,
    /// The last `n` records.
    Last(usize),
}

/// Collects the records of one run.
#[derive(Clone, Debug)]
pub struct Recorder {
    keep: Keep,
    /// With [`Keep::Last`], a ring whose oldest record stands at `oldest`.
    records: Vec<Record>,
    oldest: usize,
    dropped: u64,
    names: Vec<String>,
    /// By thread.
    goroutines: Vec<Goroutines>,
}

/// Which goroutines a thread runs.
#[derive(Clone, Copy, Debug, Default)]
struct Goroutines {
    /// The one that runs now.
    running: Option<u64>,
    /// The one that it began to run last.
    ran: Option<u64>,
}

/// Room for the threads of most runs.
const THREADS_FEW: usize = 8;

impl Recorder {
    /// A recorder that has seen nothing.
    #[must_use]
    pub fn new(keep: Keep) -> Recorder {
        Recorder {
            keep,
            records: Vec::new(),
            oldest: 0,
            dropped: 0,
            names: Vec::with_capacity(THREADS_FEW),
            goroutines: Vec::with_capacity(THREADS_FEW),
        }
    }

    /// Introduces the next thread; ids are given out in this order. A name loses its `netpoll-`
    /// prefix: `netpoll-w0` is shown as `w0`.
    pub fn add_thread(&mut self, name: &str) {
        let short = name.strip_prefix("netpoll-").unwrap_or(name);
        self.names.push(short.to_string());
        self.goroutines.push(Goroutines::default());
    }

    /// The name of a thread.
    #[must_use]
    pub fn thread_name(&self, thread: ThreadId) -> &str {
        name_of(&self.names, thread)
    }

    /// Whether any record is kept.
    #[must_use]
    pub fn keeps_any(&self) -> bool {
        self.keep != Keep::Last(0)
    }

    /// Counts records that were made and not shown to it, since it [keeps none](Recorder::keeps_any).
    pub fn pass_over(&mut self, count: usize) {
        self.dropped += count as u64;
    }

    /// Notes which goroutine a thread runs after an event that is not taken down: all that there is to do for one that
    /// [moves the thread](Entry::moves_thread).
    pub fn follow(&mut self, thread: ThreadId, event: Entry) {
        self.goroutine_at(thread, &event);
    }

    /// Takes down one event. Returns the record of it, also when none is kept.
    #[inline]
    pub fn record(&mut self, t_ns: u64, thread: ThreadId, event: &Entry) -> Record {
        let g = self.goroutine_at(thread, event);
        let record = Record { t_ns, thread, g, event: *event };
        self.keep(record);
        record
    }

    /// The goroutine to which `event` belongs; moves the thread on to the next one.
    #[inline]
    fn goroutine_at(&mut self, thread: ThreadId, event: &Entry) -> Option<u64> {
        let Goroutines { running, ran } = self.goroutines.get_mut(usize::from(thread.0))?;
        if let Entry::Runtime(event) = event {
            match *event {
                Event::Run { g } | Event::Abandon { g } => {
                    *running = Some(g);
                    *ran = Some(g);
                }
                Event::Park { .. } | Event::Yield { .. } | Event::Done { .. } => {
                    return running.take();
                }
                _ => {}
            }
        }
        *running
    }

    #[inline]
    fn keep(&mut self, record: Record) {
        match self.keep {
            Keep::Last(0) => self.dropped += 1,
            Keep::Last(n) if self.records.len() == n => {
                self.records[self.oldest] = record;
                self.oldest = if self.oldest + 1 == n { 0 } else { self.oldest + 1 };
                self.dropped += 1;
            }
            Keep::All | Keep::Last(_) => self.records.push(record),
        }
    }

    /// The goroutine that runs on a thread, with whatever is kept.
    #[inline]
    #[must_use]
    pub fn running(&self, thread: ThreadId) -> Option<u64> {
        self.goroutines[usize::from(thread.0)].running
    }

    /// The goroutine that a thread began to run last.
    #[inline]
    #[must_use]
    pub fn ran(&self, thread: ThreadId) -> Option<u64> {
        self.goroutines[usize::from(thread.0)].ran
    }

    /// How many records there have been, those included that were not kept.
    #[must_use]
    pub fn seen(&self) -> usize {
        self.records.len() + self.dropped as usize
    }

    /// Ends the recording, and gives it away.
    #[must_use]
    pub fn finish(&mut self) -> Trace {
        self.records.rotate_left(self.oldest);
        let (threads, records) = (mem::take(&mut self.names), mem::take(&mut self.records));
        Trace { threads, records, dropped: self.dropped }
    }
}

/// What a recorder has collected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// Names of the threads, by [`ThreadId`].
    pub threads: Vec<String>,
    /// The records, oldest first.
    pub records: Vec<Record>,
    /// How many older records were not kept.
    pub dropped: u64,
}

/// The number of the worker whose thread has this (short) name.
#[must_use]
pub fn worker_number(name: &str) -> Option<u16> {
    let digits = name.strip_prefix('w')?;
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().ok())?
}

/// In a trace of several hosts the goroutines, descriptors, workers and places in tables of host n are numbered from n
/// times this on: `g200003` is the third goroutine of host 2. More than any of them has.
pub const HOST_SCOPE: u64 = 100_000;

impl Trace {
    /// The number of each thread's host. The threads of host 0 have plain names; those of others the host's name in
    /// front, as in `server/w0`, and hosts are numbered as they appear.
    #[must_use]
    pub fn hosts(&self) -> Vec<usize> {
        let mut known: Vec<&str> = Vec::new();
        let hosts = self.threads.iter().map(|thread| {
            let Some((host, _)) = thread.split_once('/') else { return 0 };
            let place = known.iter().position(|&it| it == host).unwrap_or_else(|| {
                known.push(host);
                known.len() - 1
            });
            place + 1
        });
        hosts.collect()
    }

    /// How many threads there are: those that were introduced, and those that are only seen.
    #[must_use]
    pub fn thread_count(&self) -> usize {
        let threads = self.records.iter().map(|record| record.thread);
        let threads = threads.filter(|&thread| thread != ThreadId::KERNEL);
        let seen = threads.map(|thread| usize::from(thread.0) + 1).max();
        seen.unwrap_or(0).max(self.threads.len())
    }

    /// The name of a thread.
    #[must_use]
    pub fn thread_name(&self, thread: ThreadId) -> &str {
        name_of(&self.threads, thread)
    }
}

fn name_of(names: &[String], thread: ThreadId) -> &str {
    if thread == ThreadId::KERNEL {
        return "kernel";
    }
    let name = names.get(usize::from(thread.0));
    name.map_or("?", String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use netpoll::trace::WaitReason;

    fn recorder(keep: Keep) -> Recorder {
        let mut recorder = Recorder::new(keep);
        recorder.add_thread("main");
        recorder.add_thread("netpoll-w0");
        recorder
    }

    #[test]
    fn the_goroutine_column_follows_run_and_park() {
        let mut recorder = recorder(Keep::All);
        let on = WaitReason::Sleep;
        for (thread, event) in [
            (1, Event::Run { g: 7 }),
            (1, Event::Break { sent: true }),
            (0, Event::Break { sent: true }),
            (1, Event::Park { g: 7, on }),
            (1, Event::Break { sent: true }),
        ] {
            recorder.record(1, ThreadId(thread), &event.into());
        }
        let goroutines: Vec<_> = recorder.finish().records.iter().map(|r| r.g).collect();
        assert_eq!(goroutines, [Some(7), Some(7), None, Some(7), None]);
    }

    #[test]
    fn the_last_n_records_are_kept_in_order() {
        let mut recorder = recorder(Keep::Last(3));
        for g in 1..=8 {
            recorder.record(g, ThreadId::MAIN, &Event::Go { g }.into());
        }
        let trace = recorder.finish();
        let times: Vec<_> = trace.records.iter().map(|r| r.t_ns).collect();
        assert_eq!((times, trace.dropped), (vec![6, 7, 8], 5));
    }

    #[test]
    fn a_recorder_that_keeps_nothing_still_says_what_it_saw() {
        let mut recorder = recorder(Keep::Last(0));
        recorder.record(1, ThreadId::MAIN, &Event::Run { g: 1 }.into());
        let record = recorder.record(2, ThreadId::MAIN, &Event::Drained.into());
        assert_eq!((record.t_ns, record.g), (2, Some(1)));
        assert!(recorder.finish().records.is_empty());
    }

    #[test]
    fn who_runs_where_is_known_whatever_is_kept() {
        for keep in [Keep::All, Keep::Last(1), Keep::Last(0)] {
            let mut recorder = recorder(keep);
            let (w0, on) = (ThreadId(1), WaitReason::Sleep);
            let mut told = Vec::new();
            for event in [Event::Run { g: 7 }, Event::Park { g: 7, on }, Event::Run { g: 8 }] {
                recorder.record(1, w0, &event.into());
                told.push((recorder.running(w0), recorder.ran(w0)));
            }
            assert_eq!(told, [(Some(7), Some(7)), (None, Some(7)), (Some(8), Some(8))]);
            assert_eq!(
                (recorder.running(ThreadId::MAIN), recorder.ran(ThreadId::MAIN)),
                (None, None)
            );
            assert_eq!(recorder.seen(), 3);
        }
    }

    #[test]
    fn thread_names_lose_the_prefix_of_the_house() {
        let trace = recorder(Keep::All).finish();
        assert_eq!(trace.thread_name(ThreadId(1)), "w0");
        assert_eq!(trace.thread_name(ThreadId::KERNEL), "kernel");
        assert_eq!(trace.thread_name(ThreadId(9)), "?");
        let numbers = ["w0", "w12", "w", "w1x", "w+1", "w70000", "main"].map(worker_number);
        assert_eq!(numbers, [Some(0), Some(12), None, None, None, None, None]);
    }
}
