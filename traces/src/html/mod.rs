//! A trace as one HTML page: a space-time diagram to look around in.
//!
//! The page is a file of its own: it loads nothing, and its policy forbids it to. The trace is in it as
//! JSON, by columns and with differences instead of large numbers; texts that occur again are kept
//! once. Everything that takes knowledge of traces (lanes, stretches, arrows) is worked out here, by
//! the modules that all pictures share; the script draws.
//!
//! | file | what it does |
//! |---|---|
//! | `page.html`, `page.css` | the frame |
//! | `model.js` | unpacks the trace |
//! | `view.js` | what is visible: scales, rows, visible records |
//! | `draw.js`, `arrows.js` | the diagram |
//! | `minimap.js` | the overview below it |
//! | `panel.js` | details, search, filter |
//! | `input.js` | mouse and keyboard, and how it begins |
//! | `selfcheck.js` | a test that the page runs on itself when it is opened with `#selfcheck` |

mod data;

use std::io;

use crate::look;
use crate::{Caption, Trace};

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
/// In the order in which they need each other.
const SCRIPTS: [&str; 8] = [
    include_str!("model.js"),
    include_str!("view.js"),
    include_str!("arrows.js"),
    include_str!("draw.js"),
    include_str!("minimap.js"),
    include_str!("panel.js"),
    include_str!("input.js"),
    include_str!("selfcheck.js"),
];

/// Writes the page of a trace.
///
/// # Errors
/// Those of `out`.
pub fn write(trace: &Trace, caption: &Caption, out: &mut dyn io::Write) -> io::Result<()> {
    let mut rest = PAGE;
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, after) = after.split_once("}}").expect("a placeholder of the page has its end");
        out.write_all(before.as_bytes())?;
        match name {
            "title" => out.write_all(escape(&caption.title).as_bytes())?,
            "style" => out.write_all(style().as_bytes())?,
            "trace" => out.write_all(data::json(trace, caption).as_bytes())?,
            "script" => SCRIPTS.iter().try_for_each(|script| out.write_all(script.as_bytes()))?,
            name => unreachable!("the page has a place for {name}"),
        }
        rest = after;
    }
    out.write_all(rest.as_bytes())
}

/// The style sheet. The system's choice of light or dark holds unless the reader has made one.
fn style() -> String {
    let (light, dark) = (look::declarations(false), look::declarations(true));
    format!(
        ":root{{color-scheme:light;{light}}}\n\
         @media (prefers-color-scheme:dark){{:root:not([data-theme=light]){{color-scheme:dark;{dark}}}}}\n\
         :root[data-theme=dark]{{color-scheme:dark;{dark}}}\n{STYLE}"
    )
}

/// Text as it may stand in HTML and XML.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c => escaped.push(c),
        }
    }
    escaped
}
