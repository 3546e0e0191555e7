//! The `cargo sim` command: run scenarios under many seeds, look at one run again, make it
//! smaller.
//!
//! | file | what it is |
//! |---|---|
//! | `args.rs` | the arguments, and one clear line for wrong ones |
//! | `output.rs` | standard output that may be closed, tables, numbers |
//! | `crew/` | the processes that seeds are run in |
//! | `table.rs` | what an exploration prints |
//! | `list.rs`, `explore.rs`, `replay.rs`, `shrink.rs`, `admit.rs`, `conform.rs`, `models.rs`, `orderings.rs`, `coverage.rs`, `museum.rs` | the commands |
//! | `show.rs` | a trace, as `replay` and `trace` show it |
//!
//! Exit codes: 0 nothing found, 1 a property was violated, 2 bad usage or unreadable input, 130
//! interrupted.

mod admit;
mod args;
mod conform;
mod coverage;
mod crew;
mod explore;
mod list;
mod models;
mod museum;
mod orderings;
mod output;
mod replay;
mod show;
mod shrink;
mod table;

use std::fmt;
use std::process::ExitCode;

use args::Command;
use output::Output;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Nothing was found.
    Clean,
    /// A property was violated.
    Violated,
    /// Somebody did not want to wait for the rest.
    Interrupted,
}

/// Bad usage or unreadable input: one line that says what to do about it.
#[derive(Debug)]
struct Usage(String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn main() -> ExitCode {
    if crew::serve() {
        return ExitCode::SUCCESS;
    }
    match netpoll_models::child::serve() {
        Ok(false) => {}
        Ok(true) => return ExitCode::SUCCESS,
        Err(_) => return ExitCode::from(2), // the parent is gone
    }
    let mut output = Output::new();
    let result = match args::parse() {
        Ok(Command::Help(text)) => {
            output.print(&text);
            Ok(Verdict::Clean)
        }
        Ok(Command::List(args)) => {
            list::list(&args, &mut output);
            Ok(Verdict::Clean)
        }
        Ok(Command::Explore(args)) => explore::explore(&args, &mut output),
        Ok(Command::Replay(args)) => replay::replay(&args, &mut output),
        Ok(Command::Shrink(args)) => shrink::shrink(&args, &mut output),
        Ok(Command::Trace(args)) => show::trace(&args, &mut output),
        Ok(Command::Admit(args)) => admit::admit(&args, &mut output),
        Ok(Command::Conform(args)) => conform::conform(&args, &mut output),
        Ok(Command::Coverage(args)) => coverage::coverage(&args, &mut output),
        Ok(Command::Museum(args)) if args.list => {
            museum::list(&mut output, args.json);
            Ok(Verdict::Clean)
        }
        Ok(Command::Museum(args)) => museum::museum(&args, &mut output),
        Ok(Command::Models(args)) if args.list => {
            models::list(&mut output, args.json);
            Ok(Verdict::Clean)
        }
        Ok(Command::Models(args)) if args.orderings => orderings::orderings(&args, &mut output),
        Ok(Command::Models(args)) => models::models(&args, &mut output),
        Err(usage) => Err(usage),
    };
    let result = result.and_then(|verdict| output.finish().map(|()| verdict));
    match result {
        Ok(Verdict::Clean) => ExitCode::SUCCESS,
        Ok(Verdict::Violated) => ExitCode::from(1),
        Ok(Verdict::Interrupted) => ExitCode::from(130),
        Err(usage) => {
            // Nothing is left to be done if standard error is gone as well.
            let _unwritten = output::to_stderr(&format!("error: {usage}\n"));
            ExitCode::from(2)
        }
    }
}
