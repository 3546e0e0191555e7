//! `cargo sim museum`.

use std::time::Instant;

use netpoll_models::museum::{EXHIBITS, Exhibit, Shown, Workshop, WorkshopError, find};
use serde_json::{Value, json};

use crate::args::{self, MuseumArgs};
use crate::models::root;
use crate::output::Output;
use crate::{Usage, Verdict};

pub(crate) fn museum(args: &MuseumArgs, output: &mut Output) -> Result<Verdict, Usage> {
    let chosen = exhibits(args)?;
    let start = Instant::now();
    let mut workshop = Workshop::open(&root()?).map_err(WorkshopError::Io).map_err(cannot_show)?;
    control(&workshop, &chosen).map_err(cannot_show)?;
    let mut shown = Vec::new();
    for exhibit in chosen {
        let result = show(&mut workshop, exhibit);
        workshop.restore().map_err(WorkshopError::Io).map_err(cannot_show)?;
        let result = result.map_err(|error| Usage(format!("{}: {error}", exhibit.id)))?;
        if !args.json {
            output.print(&row(exhibit, &result));
        }
        shown.push((exhibit, result));
    }
    let alive = shown.iter().filter(|(_, shown)| shown.violation.is_none()).count();
    if args.json {
        let all: Vec<Value> =
            shown.iter().map(|(exhibit, shown)| to_json(exhibit, shown)).collect();
        let object = json!({ "violated": alive > 0, "exhibits": all });
        output.print(&format!("{object}\n"));
    } else {
        let (killed, seconds) = (shown.len() - alive, start.elapsed().as_secs_f64());
        output.print(&format!("\n{killed} killed, {alive} alive, {seconds:.0} s\n"));
    }
    Ok(if alive == 0 { Verdict::Clean } else { Verdict::Violated })
}

fn cannot_show(error: WorkshopError) -> Usage {
    Usage(error.to_string())
}

fn exhibits(args: &MuseumArgs) -> Result<Vec<&'static Exhibit>, Usage> {
    if args.all {
        return Ok(EXHIBITS.iter().collect());
    }
    if args.ids.is_empty() {
        let text = "which exhibit? Give names or --all; `cargo sim museum --list` shows them";
        return Err(Usage(text.to_string()));
    }
    let exhibit = |id: &String| {
        find(id).ok_or_else(|| {
            let ids = EXHIBITS.iter().map(|exhibit| exhibit.id);
            let hint = match args::nearest(id, ids) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "`cargo sim museum --list` shows them".to_string(),
            };
            Usage(format!("no exhibit is called `{id}`; {hint}"))
        })
    };
    args.ids.iter().map(exhibit).collect()
}

/// The copy as it is: every model that is to kill something holds.
fn control(workshop: &Workshop, exhibits: &[&Exhibit]) -> Result<(), WorkshopError> {
    workshop.build()?;
    let mut done = Vec::new();
    for exhibit in exhibits {
        let killer = (exhibit.model, exhibit.checker);
        if done.contains(&killer) {
            continue;
        }
        done.push(killer);
        if let Some((what, _)) = workshop.run(exhibit.model, exhibit.checker)?.violation {
            let Exhibit { model, checker, .. } = exhibit;
            let text = format!("{model} under {checker} fails without any bug: {what}");
            return Err(WorkshopError::Answer(text));
        }
    }
    Ok(())
}

fn show(workshop: &mut Workshop, exhibit: &Exhibit) -> Result<Shown, WorkshopError> {
    workshop.plant(exhibit)?;
    workshop.build()?;
    workshop.run(exhibit.model, exhibit.checker)
}

fn row(exhibit: &Exhibit, shown: &Shown) -> String {
    let Exhibit { id, model, checker, .. } = exhibit;
    let seconds = shown.took.as_secs_f64();
    match &shown.violation {
        Some((what, execution)) => {
            let what: Vec<&str> = what.lines().map(str::trim).collect();
            let what = what.join("; ");
            format!(
                "{id:<32} killed by {model} under {checker}, execution {execution}, {seconds:.2} s: \
                 {what}\n"
            )
        }
        None => format!("{id:<32} ALIVE: {model} under {checker} holds, {seconds:.2} s\n"),
    }
}

fn to_json(exhibit: &Exhibit, shown: &Shown) -> Value {
    let (what, execution) = shown.violation.clone().unzip();
    json!({
        "id": exhibit.id,
        "wrong": exhibit.wrong,
        "source": exhibit.source,
        "model": exhibit.model,
        "checker": exhibit.checker.name(),
        "killed": what.is_some(),
        "execution": execution,
        "what": what,
        "seconds": shown.took.as_secs_f64(),
    })
}

/// `cargo sim museum --list`.
pub(crate) fn list(output: &mut Output, as_json: bool) {
    if as_json {
        let all: Vec<Value> = EXHIBITS
            .iter()
            .map(|exhibit| {
                let Exhibit { id, wrong, source, model, .. } = exhibit;
                json!({ "id": id, "wrong": wrong, "source": source, "model": model })
            })
            .collect();
        return output.print(&format!("{}\n", json!({ "exhibits": all })));
    }
    for Exhibit { id, wrong, source, model, .. } in EXHIBITS {
        output.print(&format!("{id:<32} {wrong} ({source}); killed by {model}\n"));
    }
}
