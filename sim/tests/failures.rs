//! Every failure that was ever found stays mended.

use std::fs;
use std::path::Path;

use netpoll_sim::explore::execute;
use netpoll_sim::failure::Failure;
use netpoll_sim::{Keep, Source};

#[test]
fn every_saved_failure_replays_clean() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../traces/failures");
    let entries = fs::read_dir(dir).expect("the folder is part of the repository");
    let paths = entries.map(|entry| entry.expect("it can be read").path());
    for path in paths.filter(|path| path.extension().is_some_and(|ext| ext == "failure")) {
        let name = path.display();
        let text = fs::read_to_string(&path).expect("it can be read");
        let failure = Failure::parse(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let scenario = failure.program.scenario();
        let scenario = scenario.unwrap_or_else(|| panic!("{name}: no such scenario"));
        let source = Source::Replay(failure.choices);
        let execution = execute(scenario, &failure.options, source, Keep::Last(0));
        if let Some(violation) = execution.violation {
            panic!("{name}: {violation}\nsee `cargo sim replay {name}`");
        }
    }
}
