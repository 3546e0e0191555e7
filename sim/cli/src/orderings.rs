//! `cargo sim models --orderings`.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use netpoll_models::orderings::sweep::{Outcome, Row, sweep};
use netpoll_models::orderings::table::{footing, is_unexplained, line, table};
use netpoll_models::orderings::{scan, weaker};
use serde_json::{Value, json};

use crate::args::ModelsArgs;
use crate::models::{cannot_run, hands, parent, root, save};
use crate::output::Output;
use crate::{Usage, Verdict};

/// How long one model may take with one access bent. As it is it takes seconds; one that runs away has
/// noticed the difference.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) fn orderings(args: &ModelsArgs, output: &mut Output) -> Result<Verdict, Usage> {
    let source = root()?.join("netpoll/src");
    let sites = scan(&source).map_err(|error| Usage(error.to_string()))?;
    let rows: usize =
        sites.iter().map(|site| weaker(site.operation, &site.orderings).len().max(1)).sum();
    let target = if io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(Some(rows as u64), target);
    let template = "{wide_bar} {human_pos} of {human_len} weakenings, {eta} left";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    let start = Instant::now();
    let rows = sweep(&parent(PATIENCE), &sites, hands(args.jobs), &|_| bar.inc(1));
    bar.finish_and_clear();
    let rows = rows.map_err(cannot_run)?;
    let unexplained = rows.iter().any(is_unexplained);
    if args.json {
        let all: Vec<Value> = rows.iter().map(to_json).collect();
        let object = json!({ "violated": unexplained, "orderings": all });
        output.print(&format!("{object}\n"));
    } else {
        for row in &rows {
            output.print(&format!("{}\n", line(row)));
        }
        let seconds = start.elapsed().as_secs_f64();
        output.print(&format!("\n{}in {seconds:.0} s\n", footing(&rows)));
    }
    if args.save {
        save("orderings.txt", &table(&rows))?;
    }
    Ok(if unexplained { Verdict::Violated } else { Verdict::Clean })
}

fn to_json(row: &Row) -> Value {
    let names = |list: &[std::sync::atomic::Ordering]| -> Vec<String> {
        list.iter().map(|order| format!("{order:?}")).collect()
    };
    let (outcome, model, models) = match &row.outcome {
        Outcome::Weakest => ("weakest", None, None),
        Outcome::Caught { model, .. } => ("caught", Some(model), None),
        Outcome::Survived { models } => ("survived", None, Some(*models)),
        Outcome::NotPassed => ("not passed", None, Some(0)),
    };
    let reason = netpoll_models::orderings::reasons::reason(&row.site.name());
    json!({
        "access": row.site.name(),
        "line": row.site.line,
        "orderings": names(&row.site.orderings),
        "weaker": row.weaker.as_deref().map(names),
        "outcome": outcome,
        "model": model,
        "models": models,
        "reason": reason.filter(|_| matches!(outcome, "survived" | "not passed")),
    })
}
