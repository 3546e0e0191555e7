//! A trace, as `cargo sim replay` and `cargo sim trace` show it.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use netpoll_traces::{Caption, Trace, TraceFile, html, lanes, perfetto, svg, text, write_whole};

use crate::args::{ShowArgs, TraceArgs};
use crate::output::Output;
use crate::{Usage, Verdict};

/// `cargo sim trace`.
pub(crate) fn trace(args: &TraceArgs, output: &mut Output) -> Result<Verdict, Usage> {
    let TraceFile { caption, trace, .. } = load(&args.file)?;
    output.print(&show(&trace, &caption, &args.show)?);
    Ok(Verdict::Clean)
}

/// A trace in a file.
pub(crate) fn load(path: &Path) -> Result<TraceFile, Usage> {
    let name = path.display();
    let bytes =
        fs::read(path).map_err(|error| Usage(format!("`{name}` cannot be read: {error}")))?;
    TraceFile::parse(&bytes).map_err(|error| Usage(format!("{name}: {error}")))
}

/// Writes a file, or nothing.
pub(crate) fn write(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<fs::File>) -> io::Result<()>,
) -> Result<(), Usage> {
    write_whole(path, write).map_err(|error| Usage(error.to_string()))
}

/// Writes the files that are asked for, and returns what is to be printed: the trace, unless only files were
/// asked for.
pub(crate) fn show(trace: &Trace, caption: &Caption, args: &ShowArgs) -> Result<String, Usage> {
    if let Some(path) = &args.html {
        write(path, |out| html::write(trace, caption, out))?;
    }
    if let Some(path) = &args.svg {
        write(path, |out| out.write_all(svg::render(trace, caption).as_bytes()))?;
    }
    if let Some(path) = &args.perfetto {
        write(path, |out| perfetto::write(trace, caption, out))?;
    }
    if args.log {
        return Ok(format!("# {}\n{}# {}\n", caption.title, text::render(trace), caption.end));
    }
    let is_written = args.html.is_some() || args.svg.is_some() || args.perfetto.is_some();
    if is_written && !args.text && !args.no_fold {
        return Ok(String::new());
    }
    let options = lanes::Options { fold: !args.no_fold, ..lanes::Options::default() };
    Ok(lanes::render(trace, caption, &options))
}
