//! From source text to sites.
//!
//! The scanner promises that nothing is missed silently. An access is a method call with the name and
//! the number of arguments of an [`Operation`], or a call of a function named `fence`; its orderings are
//! written out. What only looks like that, or has an ordering in another place, is an error:
//!
//! * the argument that should be an ordering is anything else than the path of one;
//! * the path of an ordering stands outside of an access: in a variable, in a constant, in a call;
//! * a macro whose arguments are not expressions names an ordering or an access.
//!
//! So a new way to write an access makes the scan fail, and does not make the list shorter. Out of sight
//! remains what is not in this source text: accesses that a macro of another crate brings along.
//!
//! Test code is left out: files by [`SKIPPED`] and their name, items by their `cfg`. A `cfg` that depends
//! on the system as well counts as production, because it is production somewhere.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;

use proc_macro2::{Span, TokenStream};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Expr, Token};

use super::syntax::{
    as_written, is_test_only, last, method, named, ordering, shape, suspect, type_name,
};
use super::{Operation, Site};

/// Files that are not scanned, relative to `netpoll/src/`, each with the reason. Besides them, a file
/// whose name ends in `_test.rs` is a test.
pub const SKIPPED: [(&str, &str); 5] = [
    ("go/fake.rs", "a runtime for unit tests, declared under cfg(test)"),
    ("goroutine/testing.rs", "helpers of unit tests, declared under cfg(test)"),
    ("net/fake.rs", "descriptors for unit tests, declared under cfg(test)"),
    ("platform/os/testing.rs", "helpers of unit tests, declared under cfg(test)"),
    (
        "platform/os/primitives.rs",
        "the seam: forwards the caller's ordering to `std`, has none itself",
    ),
];

/// What the scanner cannot read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanError {
    /// Path relative to the scanned folder, with `/`.
    pub file: String,
    /// Line, from 1 on.
    pub line: u32,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub cure: &'static str,
}

impl fmt::Display for ScanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ScanError { file, line, what, cure } = self;
        write!(f, "{file}:{line}: {what}; {cure}")
    }
}

impl std::error::Error for ScanError {}

/// All sites in the production code below `root`, which is the folder `netpoll/src`, in the order of
/// file, line and column.
///
/// # Errors
/// When a file cannot be read or parsed, and when something in it could be an access but cannot be
/// listed as one.
pub fn scan(root: &Path) -> Result<Vec<Site>, ScanError> {
    let mut sites = Vec::new();
    for file in production_files(root)? {
        let text =
            fs::read_to_string(root.join(&file)).map_err(|error| unreadable(&file, &error))?;
        sites.extend(scan_text(&file, &text)?);
    }
    Ok(sites)
}

/// The files to scan, relative to `root`, in order.
pub(super) fn production_files(root: &Path) -> Result<Vec<String>, ScanError> {
    let mut files = Vec::new();
    collect(root, "", &mut files).map_err(|error| unreadable(&root.to_string_lossy(), &error))?;
    files.retain(|file| {
        let is_test = file.ends_with("_test.rs");
        !is_test && !SKIPPED.iter().any(|(skipped, _)| file == skipped)
    });
    files.sort();
    Ok(files)
}

fn collect(folder: &Path, prefix: &str, files: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), &format!("{path}/"), files)?;
        } else if path.ends_with(".rs") {
            files.push(path);
        }
    }
    Ok(())
}

fn unreadable(file: &str, error: &io::Error) -> ScanError {
    let cure = "the folder to scan is `netpoll/src`";
    ScanError { file: file.into(), line: 1, what: format!("cannot be read: {error}"), cure }
}

/// The sites in the text of one file.
pub(super) fn scan_text(file: &str, text: &str) -> Result<Vec<Site>, ScanError> {
    let syntax = syn::parse_file(text).map_err(|error| {
        let what = format!("cannot be parsed: {error}");
        fault(file, error.span(), what, "if the compiler can, a newer `syn` is needed")
    })?;
    let mut scanner = Scanner { file, ..Scanner::default() };
    if !is_test_only(&syntax.attrs) {
        scanner.visit_file(&syntax);
    }
    scanner.errors.sort_by_key(|error| error.line);
    match scanner.errors.into_iter().next() {
        Some(error) => Err(error),
        None => Ok(numbered(scanner.sites)),
    }
}

fn fault(file: &str, at: Span, what: String, cure: &'static str) -> ScanError {
    ScanError { file: file.into(), line: place(at).0, what, cure }
}

/// Line and column as the compiler counts them.
fn place(at: Span) -> (u32, u32) {
    let start = at.start();
    let small = |number: usize| u32::try_from(number).expect("source files are short");
    (small(start.line), small(start.column + 1))
}

/// Brings the sites of one file into source order and counts those that share a name.
fn numbered(mut sites: Vec<Site>) -> Vec<Site> {
    sites.sort_by_key(|site| (site.line, site.column));
    let mut counts = BTreeMap::new();
    for site in &mut sites {
        let count = counts.entry((site.function.clone(), site.operation)).or_insert(0);
        *count += 1;
        site.ordinal = *count;
    }
    sites
}

// ---- the walk --------------------------------------------------------------------------------------

/// Walks over one file. The first error counts, but the walk goes on.
#[derive(Default)]
struct Scanner<'a> {
    file: &'a str,
    /// Whose methods we are among: `Type`, `Trait` or `Trait for Type`.
    owner: Option<String>,
    /// The function we are in; empty outside.
    function: String,
    sites: Vec<Site>,
    errors: Vec<ScanError>,
}

const WRITE_IT_OUT: &str = "write the ordering out, in a plain method call or in `P::fence`; a file \
                            that has no ordering of its own may be listed in SKIPPED";

impl Scanner<'_> {
    fn fail(&mut self, at: Span, what: String) {
        self.errors.push(fault(self.file, at, what, WRITE_IT_OUT));
    }

    /// Adds an access that stands at `at`, if its orderings are written out.
    fn access(&mut self, operation: Operation, at: Span, object: String, orderings: &[&Expr]) {
        let orderings: Option<Vec<Ordering>> =
            orderings.iter().map(|argument| ordering(argument)).collect();
        let Some(orderings) = orderings else {
            return self.fail(at, format!("the ordering of this `{operation}` is not written out"));
        };
        if self.function.is_empty() {
            return self.fail(at, format!("this `{operation}` is outside of a function"));
        }
        let (line, column) = place(at);
        let (file, function) = (self.file.to_owned(), self.function.clone());
        let ordinal = 0;
        self.sites.push(Site {
            file,
            line,
            column,
            function,
            object,
            operation,
            orderings,
            ordinal,
        });
    }

    /// Walks over the methods of `owner`.
    fn among(&mut self, owner: Option<String>, walk: impl FnOnce(&mut Self)) {
        let outer = std::mem::replace(&mut self.owner, owner);
        walk(self);
        self.owner = outer;
    }

    /// Walks over the body of the function with this name. Its own items have no owner.
    fn inside(&mut self, name: &syn::Ident, walk: impl FnOnce(&mut Self)) {
        let name = match &self.owner {
            Some(owner) => format!("{owner}::{name}"),
            None => name.to_string(),
        };
        let outer = std::mem::replace(&mut self.function, name);
        self.among(None, walk);
        self.function = outer;
    }
}

impl<'ast> Visit<'ast> for Scanner<'_> {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_test_only(&item.attrs) {
            self.among(None, |scanner| visit::visit_item_mod(scanner, item));
        }
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if !is_test_only(&item.attrs) {
            self.among(None, |scanner| {
                scanner.inside(&item.sig.ident, |scanner| visit::visit_item_fn(scanner, item));
            });
        }
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        if !is_test_only(&item.attrs) {
            let owner = match &item.trait_ {
                Some((path, _)) => format!("{} for {}", last(path), type_name(&item.self_ty)),
                None => type_name(&item.self_ty),
            };
            self.among(Some(owner), |scanner| visit::visit_item_impl(scanner, item));
        }
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        if !is_test_only(&item.attrs) {
            let owner = item.ident.to_string();
            self.among(Some(owner), |scanner| visit::visit_item_trait(scanner, item));
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !is_test_only(&item.attrs) {
            self.inside(&item.sig.ident, |scanner| visit::visit_impl_item_fn(scanner, item));
        }
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if !is_test_only(&item.attrs) {
            self.inside(&item.sig.ident, |scanner| visit::visit_trait_item_fn(scanner, item));
        }
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        let arguments: Vec<&Expr> = call.args.iter().collect();
        let Some(operation) = method(&call.method, arguments.len()) else {
            return visit::visit_expr_method_call(self, call);
        };
        let (_, orderings) = shape(operation);
        let object = as_written(&call.receiver);
        self.access(operation, call.method.span(), object, &arguments[orderings.clone()]);

        // The values may hold accesses of their own.
        self.visit_expr(&call.receiver);
        for (index, argument) in arguments.into_iter().enumerate() {
            if !orderings.contains(&index) {
                self.visit_expr(argument);
            }
        }
    }

    fn visit_expr_call(&mut self, call: &'ast syn::ExprCall) {
        let arguments: Vec<&Expr> = call.args.iter().collect();
        let is_fence =
            matches!(&*call.func, Expr::Path(function) if last(&function.path) == "fence");
        if is_fence && arguments.len() == 1 {
            self.access(Operation::Fence, call.func.span(), String::new(), &arguments);
        } else {
            visit::visit_expr_call(self, call);
        }
    }

    /// The orderings of accesses are not walked over, so whatever comes here is outside of one.
    fn visit_path(&mut self, path: &'ast syn::Path) {
        if named(&last(path)).is_some() {
            self.fail(path.span(), format!("`{}` is outside of an access", last(path)));
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        match call.parse_body_with(Punctuated::<Expr, Token![,]>::parse_terminated) {
            Ok(arguments) => arguments.iter().for_each(|argument| self.visit_expr(argument)),
            Err(_) => self.visit_token_stream(&call.tokens),
        }
    }

    /// Tokens that are not parsed: the body of a macro, the arguments of an attribute, syntax that
    /// `syn` does not know.
    fn visit_token_stream(&mut self, tokens: &'ast TokenStream) {
        if let Some(found) = suspect(tokens.clone()) {
            self.fail(found.span(), format!("`{found}` is in tokens that the scanner cannot read"));
        }
    }
}
