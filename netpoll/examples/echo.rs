//! An echo server: a goroutine a connection, code as for threads.
//!
//! ```text
//! cargo run --release -p netpoll --example echo -- 127.0.0.1:7000 [--workers N]
//! ```
//!
//! `SIGQUIT` (`Ctrl-\`) prints what every goroutine waits for.

use std::io::{self, Read, Write};
use std::process::ExitCode;

use netpoll::Builder;
use netpoll::net::{TcpListener, TcpStream};

/// Ten thousand connections that do nothing keep ten thousand buffers: begin small, …
const BUFFER_MIN: usize = 512;
/// … and grow for those that have much to say.
const BUFFER_MAX: usize = 64 * 1024;

fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buf = vec![0; BUFFER_MIN];
    loop {
        let count = stream.read(&mut buf)?;
        if count == 0 {
            return Ok(());
        }
        stream.write_all(&buf[..count])?;
        if count == buf.len() && count < BUFFER_MAX {
            buf.resize(2 * count, 0);
        }
    }
}

fn serve(addr: &str) -> io::Result<()> {
    let listener = TcpListener::bind(addr)?;
    println!("listening on {}", listener.local_addr()?);
    listener.serve(|stream, _peer| {
        // A peer that goes away in the middle is nothing to report.
        let _ended = echo(stream);
    })
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let (addr, workers) = match args[..] {
        [addr] => (addr.to_owned(), None),
        [addr, "--workers", count] | ["--workers", count, addr] => (addr.to_owned(), Some(count)),
        _ => return fail("usage: echo ADDR:PORT [--workers N]"),
    };
    let mut builder = Builder::new().dump_on_sigquit(true);
    if let Some(count) = workers {
        match count.parse() {
            Ok(count) => builder = builder.workers(count),
            Err(_) => return fail(&format!("echo: --workers {count}: not a number")),
        }
    }
    let run = |runtime: netpoll::Runtime| {
        let addr = addr.clone();
        runtime.run(move || serve(&addr))?
    };
    match builder.build().and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("echo: {addr}: {error}")),
    }
}

fn fail(text: &str) -> ExitCode {
    eprintln!("{text}");
    ExitCode::from(2)
}
