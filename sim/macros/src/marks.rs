//! The marks in a function's body.

use proc_macro2::{Delimiter, Literal, TokenStream, TokenTree};

/// The names in all `sometimes!(…, "name")`, whatever path the macro is called by.
pub(crate) fn of(body: TokenStream) -> Vec<Literal> {
    let mut found = Vec::new();
    collect(body, &mut found);
    found
}

fn collect(tokens: TokenStream, found: &mut Vec<Literal>) {
    // How much of `sometimes !` has been seen.
    let mut matched = 0;
    for token in tokens {
        matched = match &token {
            TokenTree::Ident(ident) if ident == "sometimes" => 1,
            TokenTree::Punct(punct) if matched == 1 && punct.as_char() == '!' => 2,
            TokenTree::Group(group) => {
                if matched == 2 {
                    found.extend(last_literal(group.stream()));
                }
                // A condition may have marks of its own.
                if group.delimiter() != Delimiter::None || !group.stream().is_empty() {
                    collect(group.stream(), found);
                }
                0
            }
            _ => 0,
        };
    }
}

/// The name: the last argument, perhaps with a comma after it.
fn last_literal(arguments: TokenStream) -> Option<Literal> {
    arguments
        .into_iter()
        .filter_map(|token| match token {
            TokenTree::Literal(literal) => Some(Some(literal)),
            TokenTree::Punct(punct) if punct.as_char() == ',' => None,
            _ => Some(None),
        })
        .last()?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(body: &str) -> Vec<String> {
        let body: TokenStream = body.parse().expect("it is Rust");
        of(body).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_mark_of_a_body_is_found() {
        let body = r#"
            sometimes!(a, "first");
            if netpoll_sim::sometimes!(b == "no", "second",) { go(|| { sometimes!(c[0], "third") }); }
            sometimes(d, "a function"); never!(e, "another macro");
        "#;
        assert_eq!(names(body), [r#""first""#, r#""second""#, r#""third""#]);
    }
}
