//! What an exploration prints: a row for each scenario as soon as it is done, the reports, and the sum.

use std::time::Duration;

use netpoll_sim::explore::{Plan, granularity_name};
use netpoll_sim::oracle::{self, Oracles};
use netpoll_sim::{ChoiceKind, FaultKind, Totals};
use serde_json::{Map, Value, json};

use crate::crew::Summary;
use crate::explore::seconds;
use crate::output::commas;

/// The table of results.
pub(crate) struct Table {
    width: usize,
}

impl Table {
    pub(crate) fn of(plans: &[Plan]) -> Table {
        let names = plans.iter().map(|plan| plan.scenario.name.len());
        Table { width: names.max().unwrap_or(0).max("scenario".len()) }
    }

    pub(crate) fn header(&self) -> String {
        format!(
            "{:w$}  {:7}  {:>10}  {:>13}  {:>10}  {:>9}  {:9}  {:>6}  {:7}  {:>12}  faults that struck\n",
            "scenario",
            "switch",
            "seeds",
            "steps",
            "steps/s",
            "virtual",
            "result",
            "healed",
            "oracles",
            "freedoms",
            w = self.width
        )
    }

    pub(crate) fn row(&self, summary: &Summary) -> String {
        let (plan, progress) = (&summary.plan, &summary.progress);
        let result = match summary.found {
            None => "clean",
            Some(_) => "VIOLATED",
        };
        let faults: Vec<String> = progress
            .totals
            .faults_struck()
            .map(|(kind, count)| format!("{} {}", commas(count), kind.name()))
            .collect();
        let faults = match faults.as_slice() {
            [] => "none".to_string(),
            faults => faults.join(", "),
        };
        let taken: u64 = progress.totals.freedoms_taken().map(|(_, count)| count).sum();
        let healed = 100 * progress.healed / progress.seeds.max(1);
        format!(
            "{:w$}  {:7}  {:>10}  {:>13}  {:>10}  {:>8.1}s  {result:9}  {:>5}%  {:7}  {:>12}  {faults}\n",
            plan.scenario.name,
            granularity_name(plan.options.granularity),
            commas(progress.seeds),
            commas(progress.steps),
            commas(per_second(progress.steps, summary.elapsed)),
            progress.virtual_ns as f64 / 1e9,
            healed,
            format!("{} of {}", progress.checks.iter().filter(|&&n| n > 0).count(), oracle::COUNT),
            commas(taken),
            w = self.width
        )
    }
}

fn per_second(count: u64, elapsed: Duration) -> u64 {
    (count as f64 / elapsed.as_secs_f64().max(1e-9)) as u64
}

/// The reports, and the sum of it all. `planned` is how many rows there were to be.
pub(crate) fn conclusion(
    summaries: &[Summary],
    planned: usize,
    silent: &[String],
    elapsed: Duration,
) -> String {
    let mut text = String::new();
    let mut totals = Totals::default();
    summaries.iter().for_each(|summary| totals.merge(&summary.progress.totals));
    text += &struck(&totals);
    text += &checked(summaries);
    let found = summaries.iter().filter_map(|summary| summary.found.as_ref());
    let reports: Vec<String> = found.map(|found| found.text()).collect();
    for report in &reports {
        text += &format!("\n{report}");
    }
    for sentence in silent {
        text += &format!("\nNOT TESTED: {sentence}\n");
    }
    let seeds: u64 = summaries.iter().map(|summary| summary.progress.seeds).sum();
    let (seeds, time) = (commas(seeds), seconds(elapsed));
    let found = match (reports.len(), silent.len()) {
        (0, 0) => "nothing found".to_string(),
        (0, _) => "not everything was tested that was to be".to_string(),
        (n, _) => format!("{n} of {} scenarios violated a property", summaries.len()),
    };
    if summaries.len() < planned {
        let (done, planned) = (summaries.len(), planned);
        text += &format!("\ninterrupted in number {done} of {planned}\n");
    }
    text + &format!("\n{found} in {seeds} runs and {time}\n")
}

/// What really happened, over all: which freedoms and faults, of how many occasions, in how many runs.
fn struck(totals: &Totals) -> String {
    let mut text = String::new();
    let is_shown = |&kind: &ChoiceKind| !matches!(kind, ChoiceKind::HealAfter | ChoiceKind::Random);
    let rows = ChoiceKind::all().filter(is_shown);
    for kind in rows.filter(|&kind| totals.asked(kind) > 0) {
        let (struck, asked) = (totals.struck(kind), totals.asked(kind));
        let what = if matches!(kind, ChoiceKind::Fault(_)) { "fault" } else { "freedom" };
        text += &format!(
            "{what:7}  {:16}  struck {:>13} of {:>13} occasions, {:>4.1}%, in {:>9} runs\n",
            kind.name(),
            commas(struck),
            commas(asked),
            100.0 * struck as f64 / asked as f64,
            commas(totals.runs(kind)),
        );
    }
    match text.is_empty() {
        true => text,
        false => format!("\n{text}"),
    }
}

/// Which oracles had something to check, and in how many scenarios.
fn checked(summaries: &[Summary]) -> String {
    let mut text = String::new();
    for (index, about) in Oracles::abouts().iter().enumerate() {
        let each = summaries.iter().map(|summary| summary.progress.checks[index]);
        let (all, scenarios) = (each.clone().sum::<u64>(), each.filter(|&n| n > 0).count());
        text += &format!(
            "oracle   {:16}  checked {:>12} times, in {scenarios} of {} scenarios\n",
            about.name(),
            commas(all),
            summaries.len()
        );
    }
    text
}

pub(crate) fn to_json(summary: &Summary) -> Value {
    let (plan, progress) = (&summary.plan, &summary.progress);
    let totals = &progress.totals;
    let struck: Map<String, Value> = totals
        .faults_struck()
        .map(|(kind, count): (FaultKind, u64)| (kind.name().to_string(), count.into()))
        .collect();
    let counts = |kind: ChoiceKind| {
        let (asked, struck, runs) = (totals.asked(kind), totals.struck(kind), totals.runs(kind));
        (asked > 0).then(|| {
            let counts = json!({ "asked": asked, "struck": struck, "runs": runs });
            (kind.name().to_string(), counts)
        })
    };
    let abouts = Oracles::abouts();
    let checks = abouts.iter().zip(progress.checks);
    let checks: Map<String, Value> =
        checks.map(|(about, n)| (about.name().to_string(), n.into())).collect();
    let all: Map<String, Value> = ChoiceKind::all().filter_map(counts).collect();
    json!({
        "name": plan.scenario.name,
        "granularity": granularity_name(plan.options.granularity),
        "faults": plan.profile.map(|profile| profile.name()),
        "seeds": progress.seeds,
        "steps": progress.steps,
        "virtual_ns": progress.virtual_ns,
        "seconds": summary.elapsed.as_secs_f64(),
        "healed": progress.healed,
        "faults_struck": struck,
        "checks": checks,
        "choices": all,
        "failure": summary.found.as_ref().map(|found| found.to_json()),
    })
}
