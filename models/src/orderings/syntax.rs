//! What a piece of syntax means to the scanner: an operation, an ordering, a name, test code.

use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};

use proc_macro2::{TokenStream, TokenTree};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Attribute, Expr, Meta, Token, Type};

use super::Operation;

/// How many arguments an operation has, and which of them are orderings.
pub(super) const fn shape(operation: Operation) -> (usize, Range<usize>) {
    match operation {
        Operation::Load | Operation::Fence => (1, 0..1),
        Operation::CompareExchange | Operation::CompareExchangeWeak => (4, 2..4),
        Operation::FetchUpdate => (3, 0..2),
        Operation::Store
        | Operation::Swap
        | Operation::FetchAdd
        | Operation::FetchSub
        | Operation::FetchOr
        | Operation::FetchAnd
        | Operation::FetchMax => (2, 1..2),
    }
}

/// The operation whose method has this name and so many arguments.
pub(super) fn method(name: &syn::Ident, arguments: usize) -> Option<Operation> {
    let found = Operation::ALL.into_iter().find(|operation| name == operation.name())?;
    (found != Operation::Fence && shape(found).0 == arguments).then_some(found)
}

/// The ordering that an argument writes out.
pub(super) fn ordering(argument: &Expr) -> Option<Ordering> {
    match argument {
        Expr::Path(written) => named(&last(&written.path)),
        _ => None,
    }
}

/// The ordering with this name.
pub(super) fn named(name: &str) -> Option<Ordering> {
    match name {
        "Relaxed" => Some(Relaxed),
        "Acquire" => Some(Acquire),
        "Release" => Some(Release),
        "AcqRel" => Some(AcqRel),
        "SeqCst" => Some(SeqCst),
        _ => None,
    }
}

/// The last name in a path.
pub(super) fn last(path: &syn::Path) -> String {
    path.segments.last().map_or(String::new(), |segment| segment.ident.to_string())
}

/// The name of a type without its parameters; a type that has no name as it is written.
pub(super) fn type_name(owner: &Type) -> String {
    match owner {
        Type::Path(named) => last(&named.path),
        _ => as_written(owner),
    }
}

/// The source text in one line. Where a chain of methods is broken, it is joined again.
pub(super) fn as_written(syntax: &impl Spanned) -> String {
    let text = syntax.span().source_text().expect("the syntax comes from a source text");
    text.split_whitespace().collect::<Vec<&str>>().join(" ").replace(" .", ".")
}

/// The first token that names an ordering, or that names an operation which is called.
pub(super) fn suspect(tokens: TokenStream) -> Option<syn::Ident> {
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Group(group) => {
                if let Some(found) = suspect(group.stream()) {
                    return Some(found);
                }
            }
            TokenTree::Ident(name) => {
                let is_operation = Operation::ALL.iter().any(|operation| name == operation.name());
                let is_called = is_operation && has_arguments(tokens.peek());
                if is_called || named(&name.to_string()).is_some() {
                    return Some(name);
                }
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
    None
}

fn has_arguments(next: Option<&TokenTree>) -> bool {
    matches!(next, Some(TokenTree::Group(group)) if !group.stream().is_empty())
}

/// Whether the attributes keep an item out of everything but tests.
pub(super) fn is_test_only(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let path = attribute.path();
        let condition = path.is_ident("cfg").then(|| attribute.parse_args::<Meta>().ok()).flatten();
        path.is_ident("test")
            || condition.is_some_and(|meta| production_value(&meta) == Some(false))
    })
}

/// The value of a `cfg` outside of tests; `None` if it depends on the system.
fn production_value(condition: &Meta) -> Option<bool> {
    let Meta::List(list) = condition else {
        let is_test = condition.path().is_ident("test") || condition.path().is_ident("doctest");
        return is_test.then_some(false);
    };
    let parts = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated).ok()?;
    let values: Vec<Option<bool>> = parts.iter().map(production_value).collect();
    let decided = |value: bool| values.contains(&Some(value)).then_some(value);
    let unanimous = |value: bool| values.iter().all(|v| *v == Some(value)).then_some(value);
    match last(&list.path).as_str() {
        "not" => values.first().copied().flatten().map(|value| !value),
        "all" => decided(false).or(unanimous(true)),
        "any" => decided(true).or(unanimous(false)),
        _ => None,
    }
}
