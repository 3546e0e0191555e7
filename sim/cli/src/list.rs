//! `cargo sim list`.

use netpoll_sim::explore::{faults_name, granularity_name};
use netpoll_sim::scenarios::{self, Scenario};
use serde_json::json;

use crate::args::ListArgs;
use crate::output::Output;

pub(crate) fn list(args: &ListArgs, output: &mut Output) {
    let every = || scenarios::all().iter().chain([scenarios::broken()]);
    if args.json {
        let all: Vec<_> = every().map(to_json).collect();
        return output.print(&format!("{}\n", json!({ "scenarios": all })));
    }
    let names = every().map(|scenario| scenario.name.len());
    let width = names.max().unwrap_or(0);
    output.print(&format!("{:width$}  faults  granularity  what it hunts\n", "scenario"));
    for scenario in every() {
        output.print(&format!(
            "{:width$}  {:6}  {:11}  {}\n",
            scenario.name,
            faults(scenario),
            granularity_name(scenario.granularity),
            scenario.about
        ));
    }
}

fn faults(scenario: &Scenario) -> &'static str {
    faults_name(&scenario.faults).unwrap_or("custom")
}

fn to_json(scenario: &Scenario) -> serde_json::Value {
    json!({
        "name": scenario.name,
        "about": scenario.about,
        "faults": faults(scenario),
        "granularity": granularity_name(scenario.granularity),
    })
}
