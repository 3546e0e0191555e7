//! `cargo sim coverage`.

use std::time::Duration;

use netpoll_models::check::Checker;
use netpoll_models::child::{Job, Verdict as Outcome};
use netpoll_models::coverage::{Matrix, SIMULATOR, of_simulator};
use netpoll_models::{crew, protocols};
use serde_json::json;

use crate::args::CoverageArgs;
use crate::models::{cannot_run, hands, parent};
use crate::output::{Output, commas};
use crate::{Usage, Verdict};

/// How long one model may take.
const PATIENCE: Duration = Duration::from_secs(15 * 60);
/// Seeds that one thread of this machine takes at a time.
const PORTION: u64 = 25;

pub(crate) fn coverage(args: &CoverageArgs, output: &mut Output) -> Result<Verdict, Usage> {
    let matrix = matrix(args)?;
    let complaints: Vec<String> = matrix.complaints().collect();
    if args.json {
        let violated = !complaints.is_empty();
        let object = json!({ "violated": violated, "coverage": matrix, "complaints": complaints });
        output.print(&format!("{object}\n"));
    } else {
        output.print(&text(&matrix));
        for complaint in &complaints {
            output.print(&format!("{complaint}\n"));
        }
        if complaints.is_empty() {
            output.print("every legal transition is exercised, and no other was made\n");
        }
    }
    Ok(if complaints.is_empty() { Verdict::Clean } else { Verdict::Violated })
}

fn matrix(args: &CoverageArgs) -> Result<Matrix, Usage> {
    let mut matrix = Matrix::new(&["loom", "shuttle", SIMULATOR]);
    let jobs: Vec<Job> = protocols::all()
        .flat_map(|model| model.checkers().map(|checker| Job::new(model.name, checker)))
        .collect();
    let hands = hands(args.jobs);
    let verdicts = crew::run(&parent(PATIENCE), &jobs, hands, &()).map_err(cannot_run)?;
    for (job, verdict) in jobs.iter().zip(verdicts) {
        match verdict {
            Outcome::Passed(passed) => {
                let column = usize::from(job.checker != Checker::Loom.name());
                matrix.add(column, &passed.transitions);
            }
            Outcome::Violated(violated) => {
                let Job { model, checker, .. } = job;
                let text = format!("{model} under {checker} does not hold: {}", violated.what);
                return Err(Usage(text));
            }
        }
    }
    let portions = args.seeds.div_ceil(PORTION);
    let portion = |index: usize| {
        let start = index as u64 * PORTION;
        of_simulator(start..(start + PORTION).min(args.seeds))
    };
    let portions = usize::try_from(portions).unwrap_or(usize::MAX);
    for seen in crew::each(portions, hands, &portion) {
        matrix.add(2, &seen.map_err(Usage)?);
    }
    Ok(matrix)
}

fn text(matrix: &Matrix) -> String {
    let mut text = format!("{:<8} {:<10}    {:<10}", "machine", "from", "to");
    for checker in &matrix.checkers {
        text += &format!(" {checker:>12}");
    }
    text += "\n";
    for row in &matrix.rows {
        text += &format!("{:<8} {:<10} -> {:<10}", row.machine.name(), row.from, row.to);
        for &count in &row.counts {
            text += &format!(" {:>12}", commas(count));
        }
        text += if row.legal { "\n" } else { "  NOT LEGAL\n" };
    }
    text + "\n"
}
