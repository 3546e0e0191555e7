//! The certificates that are kept, against those of this build.

use super::Certificate;
use crate::protocols;

/// The table as `cargo sim models --save` left it.
const KEPT: &str = include_str!("../../certificates.txt");

fn kept(model: &str, checker: &str) -> Option<&'static str> {
    KEPT.lines().find(|line| {
        let mut words = line.split_whitespace();
        words.next() == Some(model) && words.next() == Some(checker)
    })
}

/// A certificate is the one that is kept, the time aside.
#[track_caller]
pub(super) fn compare(certificate: &Certificate) {
    let row = certificate.row();
    println!("{}", certificate.timed_row());
    let kept = kept(&certificate.model, &certificate.checker).unwrap_or("nothing");
    assert!(
        kept.starts_with(&row),
        "models/certificates.txt has\n  {kept}\nand this run gave\n  {row}\nIf the change is meant, \
         keep it with `cargo sim models --save`."
    );
}

#[test]
fn every_row_that_is_kept_is_of_a_model_and_checker_of_today() {
    let rows = KEPT.lines().skip(1).take_while(|line| !line.is_empty());
    let rows: Vec<(&str, &str)> = rows
        .map(|line| {
            let mut words = line.split_whitespace();
            (words.next().unwrap_or_default(), words.next().unwrap_or_default())
        })
        .collect();
    let today: Vec<(&str, &str)> = protocols::all()
        .flat_map(|model| model.checkers().map(|checker| (model.name, checker.name())))
        .collect();
    assert_eq!(rows, today, "keep today's with `cargo sim models --save`");
}

#[test]
fn names_of_models_are_unique_words() {
    let names: Vec<&str> = protocols::all().map(|model| model.name).collect();
    for (index, name) in names.iter().enumerate() {
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{name}");
        assert_eq!(names.iter().position(|other| other == name), Some(index), "{name}");
    }
}
