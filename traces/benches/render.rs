//! What showing a long run costs, as lanes without folding and as pictures: time to write it, and its size.
//!
//! ```text
//! cargo bench -p netpoll-traces [-- --records 100000 --into FOLDER]
//! ```
//!
//! With `--into` what was written is kept there, to be looked at. Run by `cargo test`, without `--bench`,
//! it does nothing.

use std::io;
use std::path::PathBuf;
use std::time::Instant;

use netpoll_traces::{Caption, Guilt, Trace, html, lanes, perfetto, svg};

mod synthetic;

/// Writes one picture.
type Write = fn(&Trace, &Caption, &mut dyn io::Write) -> io::Result<()>;

const PICTURES: [(&str, &str, Write); 4] = [
    ("lanes", "txt", |trace, caption, out| {
        let options = lanes::Options { fold: false, ..lanes::Options::default() };
        out.write_all(lanes::render(trace, caption, &options).as_bytes())
    }),
    ("html", "html", html::write),
    ("svg", "svg", |trace, caption, out| out.write_all(svg::render(trace, caption).as_bytes())),
    ("perfetto", "json", perfetto::write),
];

fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if !args.iter().any(|arg| arg == "--bench") {
        return Ok(());
    }
    let value = |name: &str| {
        let place = args.iter().position(|arg| arg == name)?;
        args.get(place + 1).cloned()
    };
    let records = value("--records").map_or(Ok(100_000), |text| text.parse());
    let records = records.map_err(|error| io::Error::other(format!("--records: {error}")))?;
    let into = value("--into").map(PathBuf::from);

    let trace = synthetic::trace(records);
    let caption = caption(&trace);
    println!("{} records", trace.records.len());
    for (name, extension, write) in PICTURES {
        let mut picture = Vec::new();
        let mut times: Vec<f64> = Vec::new();
        for _ in 0..5 {
            picture.clear();
            let begin = Instant::now();
            write(&trace, &caption, &mut picture)?;
            times.push(begin.elapsed().as_secs_f64() * 1e3);
        }
        times.sort_by(f64::total_cmp);
        let megabytes = picture.len() as f64 / 1e6;
        println!("{name:9} {:7.1} ms (median of 5)  {megabytes:6.2} MB", times[2]);
        if let Some(folder) = &into {
            std::fs::write(folder.join(format!("long.{extension}")), &picture)?;
        }
    }
    Ok(())
}

fn caption(trace: &Trace) -> Caption {
    Caption {
        title: "a made-up run, 200 goroutines, 4 workers".to_string(),
        end: format!("finished: {} records", trace.records.len()),
        guilt: Some(Guilt {
            property: "lost-wakeup".to_string(),
            sentence: "g17 is parked in a read although an edge has come (made up as well)"
                .to_string(),
            at: Some(trace.records.len() * 3 / 5),
            g: Some(17),
            fd: Some(26),
        }),
    }
}
