//! The table of orderings, as it is printed and kept in `models/orderings.txt`.
//!
//! One line for each weakening: the access, its orderings, the weaker ones, and who noticed. A test holds
//! the kept table against today's sources: every access is in it, and every line is caught, weakest or
//! explained.

use std::sync::atomic::Ordering;

use super::reasons::reason;
use super::sweep::{Outcome, Row};

/// What separates the columns.
const SEPARATOR: &str = " | ";

/// `AcqRel/Acquire`; `none` for a fence that is left out.
pub(super) fn orderings(orderings: &[Ordering]) -> String {
    let names: Vec<String> = orderings.iter().map(|order| format!("{order:?}")).collect();
    if names.is_empty() { "none".to_string() } else { names.join("/") }
}

/// The line of a row.
#[must_use]
pub fn line(row: &Row) -> String {
    let name = row.site.name();
    let weaker = row.weaker.as_deref().map_or("-".to_string(), orderings);
    let verdict = match (&row.outcome, reason(&name)) {
        (Outcome::Weakest, _) => "weakest".to_string(),
        (Outcome::Caught { model, .. }, _) => format!("caught by {model}"),
        (_, Some(reason)) if !row.is_fence() => format!("kept: {reason}"),
        (Outcome::Survived { models }, _) => format!("UNEXPLAINED: {models} models hold"),
        (Outcome::NotPassed, _) => "UNEXPLAINED: no model passes it".to_string(),
    };
    let written = orderings(&row.site.orderings);
    format!("{name:<58}{SEPARATOR}{written:<15}{SEPARATOR}{weaker:<15}{SEPARATOR}{verdict}")
}

/// The whole table.
#[must_use]
pub fn table(rows: &[Row]) -> String {
    let heading = |name, written, weaker, verdict| {
        format!("{name:<58}{SEPARATOR}{written:<15}{SEPARATOR}{weaker:<15}{SEPARATOR}{verdict}\n")
    };
    let mut text = heading("access", "ordering", "weaker", "without it");
    for row in rows {
        text += &(line(row) + "\n");
    }
    text + "\n" + &footing(rows)
}

/// The sums.
#[must_use]
pub fn footing(rows: &[Row]) -> String {
    let count = |wanted: fn(&Row) -> bool| rows.iter().filter(|row| wanted(row)).count();
    let caught = count(|row| matches!(row.outcome, Outcome::Caught { .. }));
    let weakest = count(|row| row.outcome == Outcome::Weakest);
    let unexplained = count(is_unexplained);
    let kept = rows.len() - caught - weakest - unexplained;
    format!(
        "{} weakenings: {caught} caught, {kept} kept for a reason, {weakest} where nothing is weaker, \
         {unexplained} unexplained\n",
        rows.len()
    )
}

/// Whether a row is neither caught nor weakest nor explained.
#[must_use]
pub fn is_unexplained(row: &Row) -> bool {
    match row.outcome {
        Outcome::Weakest | Outcome::Caught { .. } => false,
        _ => row.is_fence() || reason(&row.site.name()).is_none(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::super::{Operation, scan, weaker};
    use super::*;
    use crate::protocols;

    /// The table as `cargo sim models --orderings --save` left it.
    const KEPT: &str = include_str!("../../orderings.txt");

    /// Access, orderings, weaker ones, verdict.
    fn kept() -> impl Iterator<Item = [&'static str; 4]> {
        let lines = KEPT.lines().skip(1).take_while(|line| !line.is_empty());
        lines.map(|line| {
            let mut columns = line.splitn(4, SEPARATOR).map(str::trim);
            std::array::from_fn(|_| columns.next().expect("four columns"))
        })
    }

    fn source() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../netpoll/src")
    }

    #[test]
    fn the_kept_table_lists_every_access_and_every_weakening_of_today() {
        let mut today = BTreeSet::new();
        for site in scan(&source()).unwrap() {
            let (name, written) = (site.name(), orderings(&site.orderings));
            let steps = weaker(site.operation, &site.orderings);
            if steps.is_empty() {
                today.insert([name.clone(), written.clone(), "-".to_string()]);
            }
            for step in steps {
                today.insert([name.clone(), written.clone(), orderings(&step)]);
            }
        }
        let kept: BTreeSet<[String; 3]> =
            kept().map(|[a, b, c, _]| [a, b, c].map(str::to_string)).collect();
        let missing: Vec<_> = today.difference(&kept).collect();
        let gone: Vec<_> = kept.difference(&today).collect();
        assert!(
            missing.is_empty() && gone.is_empty(),
            "not in models/orderings.txt: {missing:#?}\nthere and not in the sources: {gone:#?}\n\
             make it anew with `cargo sim models --orderings --save`"
        );
    }

    #[test]
    fn every_row_is_caught_by_a_model_of_today_or_weakest_or_explained() {
        for [access, written, _, verdict] in kept() {
            let caught = verdict.strip_prefix("caught by ");
            let is_caught = caught.is_some_and(|model| protocols::find(model).is_some());
            let is_fence = access.ends_with(Operation::Fence.name())
                || access.contains(&format!(" {} #", Operation::Fence.name()));
            let explained = reason(access).map(|reason| format!("kept: {reason}"));
            let is_explained = !is_fence && explained.as_deref() == Some(verdict);
            assert!(
                is_caught || verdict == "weakest" || is_explained,
                "{access} ({written}): {verdict}"
            );
        }
    }

    #[test]
    fn every_reason_is_of_use() {
        for (prefix, _) in super::super::reasons::REASONS {
            let uses = kept().filter(|[access, _, _, verdict]| {
                access.starts_with(prefix) && verdict.starts_with("kept: ")
            });
            assert!(uses.count() > 0, "no kept row begins with `{prefix}`");
        }
    }
}
