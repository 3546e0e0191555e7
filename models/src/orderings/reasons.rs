//! Why an ordering stays although no model fails without it.
//!
//! A reason is for the accesses whose name begins with its prefix; the longest prefix counts. A fence has
//! no reason: one that no model needs is not needed.

/// A prefix of access names, and the reason for those that no model catches.
pub type Reason = (&'static str, &'static str);

/// All reasons, by file.
pub const REASONS: &[Reason] = &[];

/// The reason for an access.
#[must_use]
pub fn reason(name: &str) -> Option<&'static str> {
    let fitting = REASONS.iter().filter(|(prefix, _)| name.starts_with(prefix));
    fitting.max_by_key(|(prefix, _)| prefix.len()).map(|(_, reason)| *reason)
}
