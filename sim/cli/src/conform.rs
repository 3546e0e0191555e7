//! `cargo sim conform`.

use std::io::{self, IsTerminal};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use netpoll_sim::conform::{Conformity, Difference, conform as compare};
use serde_json::{Value, json};

use crate::args::ConformArgs;
use crate::output::{Output, commas};
use crate::{Usage, Verdict};

pub(crate) fn conform(args: &ConformArgs, output: &mut Output) -> Result<Verdict, Usage> {
    let start = Instant::now();
    let done = run(args);
    let verdict = match done.difference {
        None => Verdict::Clean,
        Some(_) => Verdict::Violated,
    };
    if args.json {
        output.print(&format!("{}\n", to_json(args, &done)));
        return Ok(verdict);
    }
    if let Some(difference) = &done.difference {
        output.print(&format!("{difference}\n"));
        output.print(&format!("again: cargo sim conform --seed {} --ops 1\n", difference.seed));
        return Ok(verdict);
    }
    let (steps, cases) = (commas(done.steps), commas(done.cases));
    let seconds = start.elapsed().as_secs_f64();
    output.print(&format!("no difference in {steps} steps of {cases} cases and {seconds:.1} s\n"));
    Ok(verdict)
}

fn run(args: &ConformArgs) -> Conformity {
    let bar = if io::stderr().is_terminal() {
        ProgressBar::with_draw_target(Some(args.ops), ProgressDrawTarget::stderr())
    } else {
        ProgressBar::hidden()
    };
    let template = "{wide_bar} {human_pos} steps, {per_sec}, {eta} left";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    let done = compare(args.ops, args.seed, |steps| bar.set_position(steps));
    bar.finish_and_clear();
    done
}

fn to_json(args: &ConformArgs, done: &Conformity) -> Value {
    let difference = done.difference.as_ref().map(|it: &Difference| {
        json!({ "seed": it.seed, "steps": it.steps, "simulated": it.simulated, "real": it.real })
    });
    json!({
        "violated": difference.is_some(),
        "seed": args.seed,
        "steps": done.steps,
        "cases": done.cases,
        "difference": difference,
    })
}
