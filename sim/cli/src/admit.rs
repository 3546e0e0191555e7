//! `cargo sim admit`.

use netpoll_sim::admit::{Admission, admit as check};
use netpoll_traces::Origin;
use serde_json::{Value, json};

use crate::args::AdmitArgs;
use crate::output::{Output, commas};
use crate::{Usage, Verdict, show};

pub(crate) fn admit(args: &AdmitArgs, output: &mut Output) -> Result<Verdict, Usage> {
    let file = show::load(&args.file)?;
    if file.origin == Origin::Simulator {
        let name = args.file.display();
        let text = format!("{name} is of a simulated run: the simulated kernel admits what it did");
        return Err(Usage(text));
    }
    let admission = check(&file.trace);
    if args.json {
        let object = to_json(&admission, file.trace.dropped);
        output.print(&format!("{object}\n"));
    } else {
        output.print(&to_text(&admission, file.trace.dropped));
    }
    Ok(match admission.findings.is_empty() {
        true => Verdict::Clean,
        false => Verdict::Violated,
    })
}

fn to_text(admission: &Admission, lost: u64) -> String {
    let mut text = String::new();
    for finding in &admission.findings {
        text += &format!("{finding}\n");
    }
    for ((name, why), count) in &admission.skipped {
        text += &format!("skipped {name:<14} {:>10}: {why}\n", commas(*count));
    }
    if admission.spurious > 0 {
        let count = commas(admission.spurious);
        text += &format!("{count} events without an edge that we know of, which epoll(7) allows\n");
    }
    if lost > 0 {
        let lost = commas(lost);
        text += &format!(
            "{lost} records before the first one are lost: NETPOLL_TRACE_RECORDS keeps more\n"
        );
    }
    let (admitted, found) = (commas(admission.admitted), admission.findings.len());
    let verdict = match found {
        0 => "nothing that the simulated kernel does not admit".to_string(),
        1 => "1 finding".to_string(),
        found => format!("{found} findings"),
    };
    text + &format!("\nadmitted {admitted}, skipped {}: {verdict}\n", commas(admission.skipped()))
}

fn to_json(admission: &Admission, lost: u64) -> Value {
    let skipped = admission
        .skipped
        .iter()
        .map(|((name, why), count)| json!({ "call": name, "why": why, "count": count }));
    let findings = admission.findings.iter().map(|finding| {
        json!({
            "record": finding.at,
            "what": finding.what,
            "instead": finding.instead,
            "rule": finding.rule,
        })
    });
    json!({
        "violated": !admission.findings.is_empty(),
        "admitted": admission.admitted,
        "spurious": admission.spurious,
        "lost": lost,
        "skipped": skipped.collect::<Vec<_>>(),
        "findings": findings.collect::<Vec<_>>(),
    })
}
