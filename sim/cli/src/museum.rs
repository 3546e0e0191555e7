//! `cargo sim museum`.

use std::time::Instant;

use netpoll_models::check::Checker;
use netpoll_models::museum::{EXHIBITS, Exhibit, Found, Workshop, WorkshopError, find};
use netpoll_sim::names;
use serde_json::{Value, json};

use crate::args::MuseumArgs;
use crate::models::root;
use crate::output::Output;
use crate::{Usage, Verdict};

/// The granularities at which seeds look for an exhibit, in this order.
const GRANULARITIES: [&str; 2] = ["syscall", "atomic"];
/// Seeds of each scenario in the first round; each further one has ten times as many.
const SEEDS_FIRST: u64 = 30;

/// What became of an exhibit.
enum Fate {
    /// A model saw it, in this execution.
    Model { what: String, execution: u64 },
    /// Seeds found it.
    Seeds { found: Vec<Found>, granularity: &'static str, seeds: u64 },
    /// What was to kill it has not.
    Alive { unimpressed: String },
    /// Seeds cannot find it.
    Unseen(&'static str),
}

/// An exhibit, what became of it, and how long that took without the build.
struct Row {
    exhibit: &'static Exhibit,
    fate: Fate,
    seconds: f64,
}

pub(crate) fn museum(args: &MuseumArgs, output: &mut Output) -> Result<Verdict, Usage> {
    let chosen = exhibits(args)?;
    let start = Instant::now();
    let mut workshop = Workshop::open(&root()?).map_err(WorkshopError::Io).map_err(cannot_show)?;
    control(&workshop, &chosen, args).map_err(cannot_show)?;
    let mut rows = Vec::new();
    for exhibit in chosen {
        let result = show(&mut workshop, exhibit, args);
        workshop.restore().map_err(WorkshopError::Io).map_err(cannot_show)?;
        let row = result.map_err(|error| Usage(format!("{}: {error}", exhibit.id)))?;
        if !args.json {
            output.print(&text(&row));
        }
        rows.push(row);
    }
    let count = |is: fn(&Fate) -> bool| rows.iter().filter(|row| is(&row.fate)).count();
    let alive = count(|fate| matches!(fate, Fate::Alive { .. }));
    if args.json {
        let all: Vec<Value> = rows.iter().map(to_json).collect();
        let object = json!({ "violated": alive > 0, "exhibits": all });
        output.print(&format!("{object}\n"));
    } else {
        let unseen = count(|fate| matches!(fate, Fate::Unseen(_)));
        let (killed, seconds) = (rows.len() - alive - unseen, start.elapsed().as_secs_f64());
        let unseen = match unseen {
            0 => String::new(),
            unseen => format!(", {unseen} not to be seen"),
        };
        output.print(&format!("\n{killed} killed, {alive} alive{unseen}, {seconds:.0} s\n"));
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
            let hint = match names::nearest(id, ids) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "`cargo sim museum --list` shows them".to_string(),
            };
            Usage(format!("no exhibit is called `{id}`; {hint}"))
        })
    };
    args.ids.iter().map(exhibit).collect()
}

/// Who has to kill it: a model, or seeds.
fn model_of(exhibit: &Exhibit, args: &MuseumArgs) -> Option<(&'static str, Checker)> {
    exhibit.model.filter(|_| !args.by_seeds)
}

/// The copy as it is: everything that is to kill something holds.
fn control(
    workshop: &Workshop,
    exhibits: &[&Exhibit],
    args: &MuseumArgs,
) -> Result<(), WorkshopError> {
    workshop.build()?;
    let mut done = Vec::new();
    for exhibit in exhibits {
        let Some(killer) = model_of(exhibit, args).filter(|killer| !done.contains(killer)) else {
            continue;
        };
        done.push(killer);
        let (model, checker) = killer;
        if let Some((what, _)) = workshop.run(model, checker)?.violation {
            let text = format!("{model} under {checker} fails without any bug: {what}");
            return Err(WorkshopError::Answer(text));
        }
    }
    if exhibits.iter().any(|exhibit| model_of(exhibit, args).is_none()) {
        for granularity in GRANULARITIES {
            if let Some(found) = workshop.explore(granularity, SEEDS_FIRST)?.first() {
                let Found { scenario, seed, sentence, .. } = found;
                let text = format!("{scenario} seed {seed} fails without any bug: {sentence}");
                return Err(WorkshopError::Answer(text));
            }
        }
    }
    Ok(())
}

fn show(
    workshop: &mut Workshop,
    exhibit: &'static Exhibit,
    args: &MuseumArgs,
) -> Result<Row, WorkshopError> {
    let model = model_of(exhibit, args);
    if let (None, Some(why)) = (model, exhibit.unseen) {
        return Ok(Row { exhibit, fate: Fate::Unseen(why), seconds: 0.0 });
    }
    workshop.plant(exhibit)?;
    workshop.build()?;
    let start = Instant::now();
    let fate = match model {
        Some((model, checker)) => match workshop.run(model, checker)?.violation {
            Some((what, execution)) => Fate::Model { what, execution },
            None => Fate::Alive { unimpressed: format!("{model} under {checker} holds") },
        },
        None => search(workshop, args.seeds)?,
    };
    Ok(Row { exhibit, fate, seconds: start.elapsed().as_secs_f64() })
}

/// Looks for a bug by more and more seeds of every scenario.
fn search(workshop: &Workshop, most: u64) -> Result<Fate, WorkshopError> {
    let mut seeds = SEEDS_FIRST.min(most);
    loop {
        for granularity in GRANULARITIES {
            let found = workshop.explore(granularity, seeds)?;
            if !found.is_empty() {
                return Ok(Fate::Seeds { found, granularity, seeds });
            }
        }
        if seeds == most {
            let unimpressed = format!("{seeds} seeds of each scenario find nothing");
            return Ok(Fate::Alive { unimpressed });
        }
        seeds = (seeds * 10).min(most);
    }
}

fn text(Row { exhibit, fate, seconds }: &Row) -> String {
    let id = exhibit.id;
    let line = |text: &str| text.lines().map(str::trim).collect::<Vec<_>>().join("; ");
    match fate {
        Fate::Model { what, execution } => {
            let (model, checker) = exhibit.model.expect("a model killed it");
            let what = line(what);
            format!(
                "{id:<36} killed by {model} under {checker}, execution {execution}, {seconds:.2} s: {what}\n"
            )
        }
        Fate::Seeds { found, granularity, seeds } => {
            let Found { scenario, seed, property, sentence } = nearest(found);
            let others = match found.len() - 1 {
                0 => String::new(),
                1 => " and by another scenario".to_string(),
                others => format!(" and by {others} other scenarios"),
            };
            format!(
                "{id:<36} found by {property} in {scenario}, seed {seed} of {seeds} ({granularity}){others}, \
                 {seconds:.1} s: {}\n",
                line(sentence)
            )
        }
        Fate::Unseen(why) => format!("{id:<36} not to be seen by seeds: {why}\n"),
        Fate::Alive { unimpressed } => {
            format!("{id:<36} ALIVE: {unimpressed}, {seconds:.2} s\n")
        }
    }
}

/// The one that needed the fewest seeds.
fn nearest(found: &[Found]) -> &Found {
    found.iter().min_by_key(|found| found.seed).expect("something was found")
}

fn to_json(Row { exhibit, fate, seconds }: &Row) -> Value {
    let mut object = json!({
        "id": exhibit.id,
        "wrong": exhibit.wrong,
        "source": exhibit.source,
        "model": exhibit.model.map(|(model, _)| model),
        "checker": exhibit.model.map(|(_, checker)| checker.name()),
        "killed": matches!(fate, Fate::Model { .. } | Fate::Seeds { .. }),
        "seconds": seconds,
    });
    match fate {
        Fate::Model { what, execution } => {
            object["what"] = json!(what);
            object["execution"] = json!(execution);
        }
        Fate::Seeds { found, granularity, seeds } => {
            let first = nearest(found);
            object["what"] = json!(first.sentence);
            object["property"] = json!(first.property);
            object["scenario"] = json!(first.scenario);
            object["seed"] = json!(first.seed);
            object["granularity"] = json!(granularity);
            object["seeds"] = json!(seeds);
            object["scenarios"] = json!(found.len());
        }
        Fate::Unseen(why) => object["unseen"] = json!(why),
        Fate::Alive { .. } => {}
    }
    object
}

/// `cargo sim museum --list`.
pub(crate) fn list(output: &mut Output, as_json: bool) {
    if as_json {
        let one = |Exhibit { id, wrong, source, model, unseen, .. }: &Exhibit| {
            let model = model.map(|(model, _)| model);
            json!({ "id": id, "wrong": wrong, "source": source, "model": model, "unseen": unseen })
        };
        let all: Vec<Value> = EXHIBITS.iter().map(one).collect();
        return output.print(&format!("{}\n", json!({ "exhibits": all })));
    }
    for Exhibit { id, wrong, source, model, .. } in EXHIBITS {
        let killer = model.map_or("seeds", |(model, _)| model);
        output.print(&format!("{id:<36} {wrong} ({source}); killed by {killer}\n"));
    }
}
