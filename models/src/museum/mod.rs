//! The bug museum: wrong versions of the runtime, each of which a named model has to kill, and seeds of the
//! simulator have to find.
//!
//! An exhibit is an edit of the sources. It is applied to a copy of the workspace, the copy is built, and
//! the model runs there, or all scenarios do; production code has no hook for it. Before any exhibit, the copy
//! is built as it is and whatever is to kill something has to pass: a killer that fails anyway proves nothing.
//!
//! | file | what it is |
//! |---|---|
//! | `mod.rs` | an exhibit, and what showing it needs |
//! | `exhibits.rs` | the exhibits |
//! | `workshop.rs` | the copy, its edits and its builds |

mod exhibits;
mod workshop;

pub use exhibits::EXHIBITS;
pub use workshop::{Found, Shown, Workshop, WorkshopError};

use crate::check::Checker;

/// A wrong version of the runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exhibit {
    /// Its name on the command line.
    pub id: &'static str,
    /// What is wrong, in one sentence.
    pub wrong: &'static str,
    /// Where the bug comes from: a number of the catalogue, an issue of another project.
    pub source: &'static str,
    /// The edits that put it in.
    pub edits: &'static [Edit],
    /// The model that has to kill it, and under which checker; `None` when it is for seeds only.
    pub model: Option<(&'static str, Checker)>,
    /// Why seeds of the simulator cannot find it, if they cannot.
    pub unseen: Option<&'static str>,
}

/// A replacement in one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edit {
    /// The file, from the root of the workspace.
    pub file: &'static str,
    /// What stands there, exactly once.
    pub find: &'static str,
    /// What stands there in the wrong version.
    pub replace: &'static str,
}

impl Edit {
    /// The text with the edit.
    ///
    /// # Errors
    /// When what is to be replaced does not stand there exactly once: the sources have moved on, and the
    /// exhibit has to follow.
    pub fn apply(&self, text: &str) -> Result<String, String> {
        match text.matches(self.find).count() {
            1 => Ok(text.replacen(self.find, self.replace, 1)),
            count => Err(format!(
                "{} has {count} places for an edit that needs exactly one:\n{}",
                self.file, self.find
            )),
        }
    }
}

/// The exhibit with this name.
#[must_use]
pub fn find(id: &str) -> Option<&'static Exhibit> {
    EXHIBITS.iter().find(|exhibit| exhibit.id == id)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;
    use crate::protocols;

    #[test]
    fn every_exhibit_fits_the_sources_of_today_and_names_a_model_of_today() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for exhibit in EXHIBITS {
            let mut texts: BTreeMap<&str, String> = BTreeMap::new();
            for edit in exhibit.edits {
                let text = texts.entry(edit.file).or_insert_with(|| {
                    std::fs::read_to_string(root.join(edit.file)).expect("a file of the workspace")
                });
                *text = edit.apply(text).unwrap_or_else(|why| panic!("{}: {why}", exhibit.id));
            }
            let Some((name, checker)) = exhibit.model else {
                assert_eq!(exhibit.unseen, None, "{} has no killer", exhibit.id);
                continue;
            };
            let model = protocols::find(name).expect(name);
            assert!(model.checkers().any(|it| it == checker), "{}", exhibit.id);
        }
    }

    #[test]
    fn ids_are_unique() {
        for (index, exhibit) in EXHIBITS.iter().enumerate() {
            let first = EXHIBITS.iter().position(|other| other.id == exhibit.id);
            assert_eq!(first, Some(index), "{}", exhibit.id);
        }
    }

    #[test]
    fn an_edit_that_fits_nowhere_or_twice_is_an_error() {
        let edit = Edit { file: "a.rs", find: "x", replace: "y" };
        assert_eq!(edit.apply("a x b").unwrap(), "a y b");
        assert!(edit.apply("a").unwrap_err().contains("0 places"));
        assert!(edit.apply("x x").unwrap_err().contains("2 places"));
    }
}
