//! The visual language of the pictures: kinds of events with their shapes, and the colours.
//!
//! The page and the static picture both draw from here, so that who has learned to read the one can
//! read the other. Nothing is told by colour alone: each kind has its own shape, each line of arrows
//! its own dashes.

use netpoll::trace::Event;

use crate::causes::Why;
use crate::{Entry, WorldEvent};

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A goroutine's life: made, runnable, running, parked, ended.
    Goroutine,
    /// A slot of a descriptor.
    Slot,
    /// The life of a descriptor, and what is dispatched to it.
    Descriptor,
    /// Timers and deadlines.
    Timer,
    /// Threads: what workers do, who wakes or blocks whom.
    Thread,
    /// A system call.
    Syscall,
    /// What the kernel does by itself.
    Kernel,
    /// Faults and panics.
    Fault,
}

impl Kind {
    /// All of them, in the order of their numbers.
    pub const ALL: [Kind; 8] = [
        Kind::Goroutine,
        Kind::Slot,
        Kind::Descriptor,
        Kind::Timer,
        Kind::Thread,
        Kind::Syscall,
        Kind::Kernel,
        Kind::Fault,
    ];

    /// The kind of an event.
    #[must_use]
    pub fn of(event: &Entry) -> Kind {
        match event {
            Entry::Runtime(event) => Kind::of_runtime(event),
            Entry::World(event) => match event {
                WorldEvent::Fault { .. }
                | WorldEvent::Healed
                | WorldEvent::Arranged { .. }
                | WorldEvent::Panic => Kind::Fault,
                WorldEvent::Spawn { .. }
                | WorldEvent::Exit
                | WorldEvent::Block { .. }
                | WorldEvent::Resume { .. } => Kind::Thread,
                _ => Kind::Kernel,
            },
        }
    }

    fn of_runtime(event: &Event) -> Kind {
        match event {
            Event::Go { .. }
            | Event::Run { .. }
            | Event::Yield { .. }
            | Event::Park { .. }
            | Event::Abandon { .. }
            | Event::Ready { .. }
            | Event::Done { .. } => Kind::Goroutine,
            Event::Panic { .. } => Kind::Fault,
            Event::Slot { .. } | Event::Waiters { .. } => Kind::Slot,
            Event::Open { .. }
            | Event::End { .. }
            | Event::Use { .. }
            | Event::Leave { .. }
            | Event::Dispatch { .. }
            | Event::Stale { .. }
            | Event::Evict { .. } => Kind::Descriptor,
            Event::Deadline { .. }
            | Event::Expired { .. }
            | Event::Arm { .. }
            | Event::Disarm { .. }
            | Event::Fire { .. } => Kind::Timer,
            Event::Syscall { .. } => Kind::Syscall,
            _ => Kind::Thread,
        }
    }

    /// Its name, which is also that of its colour.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kind::Goroutine => "goroutine",
            Kind::Slot => "slot",
            Kind::Descriptor => "descriptor",
            Kind::Timer => "timer",
            Kind::Thread => "thread",
            Kind::Syscall => "syscall",
            Kind::Kernel => "kernel",
            Kind::Fault => "fault",
        }
    }

    /// Its mark, as an SVG path around the origin that fits into a circle of radius 5.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Kind::Goroutine => "M-4.5 0A4.5 4.5 0 1 1 4.5 0A4.5 4.5 0 1 1 -4.5 0Z",
            Kind::Slot => "M0 -5.2L5.2 0L0 5.2L-5.2 0Z",
            Kind::Descriptor => "M-4 -4H4V4H-4Z",
            Kind::Timer => "M0 -5L5 4H-5Z",
            Kind::Thread => "M-5 0L-2.5 -4.4H2.5L5 0L2.5 4.4H-2.5Z",
            Kind::Syscall => "M-1.6 -4.5H1.6V4.5H-1.6Z",
            Kind::Kernel => "M0 5L5 -4H-5Z",
            Kind::Fault => {
                "M-4.8 -3L-3 -4.8L0 -1.8L3 -4.8L4.8 -3L1.8 0L4.8 3L3 4.8L0 1.8L-3 4.8L-4.8 3L-1.8 0Z"
            }
        }
    }
}

/// The line of an arrow: what sort of story it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Line {
    /// Something becomes runnable or awake.
    Wakeup,
    /// From the kernel to a slot.
    Io,
    /// Timers.
    Time,
    /// Somebody begins or ends.
    Life,
}

impl Line {
    /// All of them, in the order of their numbers.
    pub const ALL: [Line; 4] = [Line::Wakeup, Line::Io, Line::Time, Line::Life];

    /// The line that an arrow is drawn with.
    #[must_use]
    pub fn of(why: Why) -> Line {
        match why {
            Why::Ready | Why::Yield | Why::Release | Why::Wake | Why::Break | Why::Rouse => {
                Line::Wakeup
            }
            Why::Arrive | Why::Queue | Why::Dispatch | Why::Change | Why::Take => Line::Io,
            Why::Fire | Why::Expire => Line::Time,
            Why::Spawn | Why::Go | Why::Join => Line::Life,
        }
    }

    /// Its name, which is also that of its colour after `line-`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Line::Wakeup => "wakeup",
            Line::Io => "io",
            Line::Time => "time",
            Line::Life => "life",
        }
    }

    /// Lengths of its dashes and gaps; none for an unbroken line.
    #[must_use]
    pub fn dashes(self) -> &'static [u32] {
        match self {
            Line::Wakeup => &[],
            Line::Io => &[7, 3],
            Line::Time => &[2, 3],
            Line::Life => &[10, 3, 2, 3],
        }
    }
}

/// How many colours threads have; the next thread begins again.
pub const THREAD_COLOURS: usize = 6;

/// The colours: name, in light, in dark.
pub const PALETTE: [(&str, &str, &str); 30] = [
    ("back", "#ffffff", "#11151b"),
    ("panel", "#f5f6f8", "#191e26"),
    ("stripe", "#f8f9fb", "#151a21"),
    ("rule", "#d5dae2", "#303945"),
    ("edge", "#7b8494", "#758193"),
    ("text", "#1a1f28", "#e6eaf0"),
    ("muted", "#545d6c", "#a3aebd"),
    ("accent", "#1a56b0", "#82b4ff"),
    ("on-accent", "#ffffff", "#0d1117"),
    ("guilt", "#b3142e", "#ff8797"),
    ("guilt-back", "#fdebee", "#3b1620"),
    ("found", "#8a5a00", "#ffd166"),
    ("goroutine", "#1a56b0", "#82b4ff"),
    ("slot", "#a8480a", "#ffab57"),
    ("descriptor", "#0a6f6a", "#55d3ca"),
    ("timer", "#7434b4", "#cda3ff"),
    ("thread", "#465164", "#c2ccda"),
    ("syscall", "#616b7b", "#98a4b5"),
    ("kernel", "#2b722f", "#83d687"),
    ("fault", "#b3142e", "#ff8797"),
    ("line-wakeup", "#1a56b0", "#82b4ff"),
    ("line-io", "#2b722f", "#83d687"),
    ("line-time", "#7434b4", "#cda3ff"),
    ("line-life", "#616b7b", "#98a4b5"),
    ("thread-0", "#4b7fd1", "#5b8fdd"),
    ("thread-1", "#2a8f62", "#3fa878"),
    ("thread-2", "#b8711d", "#c98636"),
    ("thread-3", "#8d5cc4", "#a277d6"),
    ("thread-4", "#bb4a80", "#d0659a"),
    ("thread-5", "#338a9d", "#479fb2"),
];

/// The palette as declarations of CSS properties, `--name:value;`.
#[must_use]
pub fn declarations(is_dark: bool) -> String {
    let colours = PALETTE.iter().map(|(name, light, dark)| {
        let value = if is_dark { dark } else { light };
        format!("--{name}:{value};")
    });
    colours.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn colour(name: &str, is_dark: bool) -> &'static str {
        let found = PALETTE.iter().find(|(of, _, _)| *of == name);
        let (_, light, dark) = found.unwrap_or_else(|| panic!("no colour is called {name}"));
        if is_dark { dark } else { light }
    }

    /// Relative luminance, as the Web Content Accessibility Guidelines define it.
    fn luminance(colour: &str) -> f64 {
        let channel = |place: usize| {
            let value = u8::from_str_radix(&colour[place..place + 2], 16).expect("two digits");
            let value = f64::from(value) / 255.0;
            if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5)
    }

    fn contrast(a: &str, b: &str) -> f64 {
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[track_caller]
    fn check(front: &str, back: &str, at_least: f64) {
        for is_dark in [false, true] {
            let ratio = contrast(colour(front, is_dark), colour(back, is_dark));
            assert!(ratio >= at_least, "{front} on {back}, dark {is_dark}: {ratio:.2}");
        }
    }

    #[test]
    fn text_has_the_contrast_that_the_guidelines_ask_for() {
        for back in ["back", "panel", "stripe"] {
            for front in ["text", "muted", "accent", "guilt", "found"] {
                check(front, back, 4.5);
            }
        }
        check("text", "guilt-back", 4.5);
        check("guilt", "guilt-back", 4.5);
        check("on-accent", "accent", 4.5);
    }

    #[test]
    fn marks_and_lines_stand_out_from_the_ground() {
        for back in ["back", "stripe", "panel"] {
            for kind in Kind::ALL {
                check(kind.name(), back, 3.0);
            }
            for line in Line::ALL {
                check(&format!("line-{}", line.name()), back, 3.0);
            }
            for number in 0..THREAD_COLOURS {
                check(&format!("thread-{number}"), back, 3.0);
            }
            check("edge", back, 3.0);
        }
    }

    #[test]
    fn kinds_and_lines_differ_without_colour() {
        let paths: std::collections::BTreeSet<_> = Kind::ALL.map(Kind::path).into();
        assert_eq!(paths.len(), Kind::ALL.len());
        let dashes: std::collections::BTreeSet<_> = Line::ALL.map(Line::dashes).into();
        assert_eq!(dashes.len(), Line::ALL.len());
        for (place, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, place, "{kind:?} is drawn by its number");
        }
    }
}
