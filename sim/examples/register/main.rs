//! A register that is replicated over three hosts, tried out under partitions and crashes.
//!
//! ```text
//! cargo run -p netpoll-sim --example register                  # nothing is found
//! cargo run -p netpoll-sim --example register no-write-back    # a read that is older than one before it
//! cargo run -p netpoll-sim --example register no-sync          # a write that was acknowledged is gone
//! ```
//!
//! The register is in `register.rs`, how it is tried out in `trial.rs`, and what a history of it must be like in
//! `history.rs`.

mod history;
mod register;
mod trial;

use std::env;
use std::process::ExitCode;

use register::Bug;

fn main() -> ExitCode {
    let bug = match env::args().nth(1).as_deref() {
        None => Bug::None,
        Some("no-write-back") => Bug::NoWriteBack,
        Some("no-sync") => Bug::NoSync,
        Some(other) => {
            eprintln!("register: `{other}`: say no-write-back, no-sync, or nothing");
            return ExitCode::from(2);
        }
    };
    match trial::sim(0..1_000).try_check(move || trial::program(bug)) {
        Ok(passed) => println!("{passed}"),
        Err(failed) => {
            println!("{failed}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
