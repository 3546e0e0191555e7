//! Writing JSON.
//!
//! What the pictures need is a string escaper that is safe inside a page's script; numbers print as
//! themselves. So this crate, which others link to read traces, depends on nothing but their vocabulary. The tests read the result
//! with a parser that is not ours.

use std::fmt::{self, Write};

/// Prints a string as JSON that may also stand inside an HTML `<script>`: no `<` that could begin
/// `</script>` or `<!--`, and none of the line separators that older scripts take for line ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        let mut rest = self.0;
        while let Some(place) = rest.find(is_special) {
            f.write_str(&rest[..place])?;
            let special = rest[place..].chars().next().expect("a character was found here");
            match special {
                '"' | '\\' => write!(f, "\\{special}")?,
                special => write!(f, "\\u{:04x}", u32::from(special))?,
            }
            rest = &rest[place + special.len_utf8()..];
        }
        f.write_str(rest)?;
        f.write_char('"')
    }
}

fn is_special(c: char) -> bool {
    matches!(c, '"' | '\\' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}') || c.is_ascii_control()
}

/// Prints numbers or anything else that prints as JSON, as an array.
pub(crate) fn array<T: fmt::Display>(out: &mut String, items: impl IntoIterator<Item = T>) {
    out.push('[');
    let mut separator = "";
    for item in items {
        write!(out, "{separator}{item}").expect("to a String");
        separator = ",";
    }
    out.push(']');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_strings_are_what_they_were_and_safe_in_a_script() {
        let nasty = "a\"b\\c</script><!-- & \u{2028}\u{2029}\u{0}\n\t\u{7f}é µ \u{1F980}";
        let quoted = Quoted(nasty).to_string();
        assert_eq!(serde_json::from_str::<String>(&quoted).expect("JSON"), nasty);
        for bad in ['<', '>', '&', '\u{2028}', '\u{2029}', '\n'] {
            assert!(!quoted.contains(bad), "{bad:?} in {quoted}");
        }
    }

    #[test]
    fn arrays_have_commas_between_their_items() {
        for (items, text) in [(vec![], "[]"), (vec![1], "[1]"), (vec![1, -2], "[1,-2]")] {
            let mut out = String::new();
            array(&mut out, items);
            assert_eq!(out, text);
        }
    }
}
