//! The scanner, against the text of the production code and against what it must refuse.

use std::fs;
use std::path::PathBuf;

use syn::visit::{self, Visit};

use super::scan::{production_files, scan_text};
use super::syntax::is_test_only;
use super::{Operation, SKIPPED, ScanError, Site, scan};

/// The folder of the production code.
fn root() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "..", "netpoll", "src"].iter().collect()
}

fn text_of(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap()
}

fn sites() -> Vec<Site> {
    scan(&root()).unwrap_or_else(|error| panic!("{error}"))
}

// ---- the production code ---------------------------------------------------------------------------

#[test]
fn every_site_is_where_its_operation_is_written() {
    for site in sites() {
        let text = text_of(&site.file);
        let line = text.lines().nth(site.line as usize - 1).unwrap();
        let from: String = line.chars().skip(site.column as usize - 1).collect();
        let call = format!("{}(", site.operation);
        if site.operation == Operation::Fence {
            assert!(from.contains(&call), "{site}: {line}");
        } else {
            assert!(from.starts_with(&call), "{site}: {line}");
        }
    }
}

/// How many words of production code name an ordering. It knows nothing of syntax but how this
/// repository formats comments, `use` and test modules.
fn orderings_written(text: &str) -> usize {
    let mut imports = false;
    let mut count = 0;
    let production = text.split("\n#[cfg(test)]\nmod tests").next().unwrap();
    for line in production.lines() {
        let code = line.split("//").next().unwrap();
        imports |=
            ["use ", "pub use ", "pub(crate) use "].iter().any(|u| code.trim().starts_with(u));
        if !imports {
            let words = code.split(|c: char| !c.is_alphanumeric() && c != '_');
            let names = ["Relaxed", "Acquire", "Release", "AcqRel", "SeqCst"];
            count += words.filter(|word| names.contains(word)).count();
        }
        imports &= !code.contains(';');
    }
    count
}

#[test]
fn as_many_orderings_are_listed_as_are_written_in_each_file() {
    let sites = sites();
    for file in production_files(&root()).unwrap() {
        let here = sites.iter().filter(|site| site.file == file);
        let listed: usize = here.map(|site| site.orderings.len()).sum();
        assert_eq!(listed, orderings_written(&text_of(&file)), "{file}");
    }
    assert!(sites.len() > 150, "only {} sites: is this still the production code?", sites.len());
}

#[test]
fn sites_are_in_order_and_have_names_of_their_own() {
    let sites = sites();
    let place = |site: &Site| (site.file.clone(), site.line, site.column);
    assert!(sites.is_sorted_by(|a, b| place(a) < place(b)));

    let mut names: Vec<String> = sites.iter().map(Site::name).collect();
    names.sort_unstable();
    let twice: Vec<_> = names.windows(2).filter(|pair| pair[0] == pair[1]).collect();
    assert!(twice.is_empty(), "{twice:?}");
}

#[test]
fn the_known_accesses_of_the_slot_and_its_fences_are_listed() {
    let sites = sites();
    let of = |file: &str, operation: Operation| -> Vec<String> {
        let here = sites.iter().filter(|site| site.file == file && site.operation == operation);
        here.map(|site| site.to_string().split_once(' ').unwrap().1.to_owned()).collect()
    };
    let update = "Slot::update: self.word.compare_exchange(AcqRel, Relaxed)";
    assert_eq!(of("poll/slot.rs", Operation::CompareExchange), [update]);
    assert_eq!(of("poll/slot.rs", Operation::Swap), ["Slot::leave: self.word.swap(Acquire)"]);
    // F4 of the armer of a timer.
    assert_eq!(of("poll/netpoll.rs", Operation::Fence).len(), 1);
}

/// Collects the files of `#[cfg(test)] mod x;` that has no `#[path]`.
struct TestFiles<'a> {
    folder: &'a str,
    files: Vec<String>,
}

impl<'ast> Visit<'ast> for TestFiles<'_> {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        let elsewhere = item.attrs.iter().any(|attribute| attribute.path().is_ident("path"));
        if item.content.is_none() && is_test_only(&item.attrs) && !elsewhere {
            self.files.push(format!("{}{}.rs", self.folder, item.ident));
        }
        visit::visit_item_mod(self, item);
    }
}

#[test]
fn the_skipped_files_are_those_that_only_tests_have_and_the_seam() {
    let mut expected = vec!["platform/os/primitives.rs".to_owned()];
    for file in production_files(&root()).unwrap() {
        let folder = match file.strip_suffix("mod.rs").or(file.strip_suffix("lib.rs")) {
            Some(folder) => folder.to_owned(),
            None => format!("{}/", file.strip_suffix(".rs").unwrap()),
        };
        let mut found = TestFiles { folder: &folder, files: Vec::new() };
        found.visit_file(&syn::parse_file(&text_of(&file)).unwrap());
        expected.extend(found.files.into_iter().filter(|file| !file.ends_with("_test.rs")));
    }
    expected.sort_unstable();
    let mut skipped = SKIPPED.map(|(file, _)| file);
    skipped.sort_unstable();
    assert_eq!(skipped.as_slice(), expected);
    assert!(skipped.iter().all(|file| root().join(file).is_file()), "{skipped:?}");
}

// ---- what it reads and what it refuses -------------------------------------------------------------

/// The sites of a text, shown without the file's name.
#[track_caller]
fn check(text: &str, expected: &[&str]) {
    let sites = scan_text("", text).unwrap_or_else(|error| panic!("{error}"));
    let shown: Vec<String> = sites.iter().map(Site::to_string).collect();
    assert_eq!(shown, expected, "{text}");
}

/// The line of the error for a text, and a part of its message.
#[track_caller]
fn refused(text: &str, line: u32, part: &str) {
    let error = scan_text("poll/new.rs", text).unwrap_err();
    let message = error.to_string();
    assert_eq!(error.line, line, "{message}");
    assert!(message.starts_with(&format!("poll/new.rs:{line}: ")), "{message}");
    assert!(message.contains(part), "{message}");
    assert!(!error.cure.is_empty(), "{message}");
}

#[test]
fn functions_are_named_after_their_type() {
    check(
        "fn f() { a.load(Relaxed); }
         impl<P: X> S<P> { fn f(&self) { self.a.load(Relaxed); } }
         impl<P: X> T<u32> for m::S<P> { fn f(&self) { self.a.load(Relaxed); } }
         impl T for [u8] { fn f(&self) { a.load(Relaxed); } }
         trait T { fn f(&self) { self.a.load(Relaxed); } }
         impl S { fn f() { fn g() { a.load(Relaxed); } || a.load(Relaxed); } }
         impl S { fn f() { impl R { fn g() { a.load(Relaxed); } } a.load(Relaxed); } }
         mod m { fn f() { a.load(Relaxed); } }",
        &[
            ":1 f: a.load(Relaxed)",
            ":2 S::f: self.a.load(Relaxed)",
            ":3 T for S::f: self.a.load(Relaxed)",
            ":4 T for [u8]::f: a.load(Relaxed)",
            ":5 T::f: self.a.load(Relaxed)",
            ":6 g: a.load(Relaxed)",
            ":6 S::f: a.load(Relaxed)",
            ":7 R::g: a.load(Relaxed)",
            ":7 S::f: a.load(Relaxed)",
            ":8 f: a.load(Relaxed)",
        ],
    );
}

#[test]
fn the_orderings_are_those_written_and_the_object_is_in_one_line() {
    check(
        "fn f(&self) {
             self.a[self.i.load(Acquire) as usize]
                 .b
                 .compare_exchange_weak(x, y, Ordering::AcqRel, std::sync::atomic::Ordering::Relaxed);
             self.place(head + 1).fetch_update(Release, Relaxed, |x| self.b.load(Relaxed));
             P::fence(SeqCst);
         }",
        &[
            ":2 f: self.i.load(Acquire)",
            ":4 f: self.a[self.i.load(Acquire) as usize].b.compare_exchange_weak(AcqRel, Relaxed)",
            ":5 f: self.place(head + 1).fetch_update(Release, Relaxed)",
            ":5 f: self.b.load(Relaxed)",
            ":6 f: fence(SeqCst)",
        ],
    );
}

#[test]
fn sites_of_one_function_and_operation_are_counted_in_source_order() {
    let text = "fn f() { a.load(Relaxed); b.store(c.load(Relaxed), Release); d.load(Relaxed); }
                fn g() { a.load(Relaxed); }";
    let sites = scan_text("x.rs", text).unwrap();
    let names: Vec<String> = sites.iter().map(Site::name).collect();
    let expected =
        ["x.rs f load", "x.rs f store", "x.rs f load #2", "x.rs f load #3", "x.rs g load"];
    assert_eq!(names, expected);
}

#[test]
fn an_access_in_the_arguments_of_a_macro_is_listed() {
    check("fn f() { assert!(a.load(Relaxed) == 1, \"{}\", 1); }", &[":1 f: a.load(Relaxed)"]);
    check("fn f() { m!(x, m![a.load(Relaxed)]) }", &[":1 f: a.load(Relaxed)"]);
}

#[test]
fn methods_that_only_share_a_name_are_no_accesses() {
    check(
        "fn f() { info.load(); bytes.store(1); std::mem::swap(a, b); wood.fence(); fence(); }",
        &[],
    );
    check("fn f() { vec![0; 4]; println!(\"{x}\"); matches!(x, A | B if c); }", &[]);
}

#[test]
fn an_ordering_that_is_not_written_out_is_refused_at_its_place() {
    refused("\nfn f() { a.load(order); }", 2, "this `load`");
    refused(
        "fn f() {\n    a\n        .store(1, if b { Release } else { Relaxed });\n}",
        3,
        "`store`",
    );
    refused("fn f() { a.compare_exchange(0, 1, AcqRel, failure); }", 1, "`compare_exchange`");
    refused("fn f() { a.fetch_update(set, Relaxed, g); }", 1, "`fetch_update`");
    refused("fn f() {\n    P::fence(order);\n}", 2, "this `fence`");
    refused("fn f() { assert!(a.load(order) == 1); }", 1, "this `load`");
    refused("fn f() { b.load(Relaxed); }\nfn g() { a.load(order).swap(order); }", 2, "this `load`");
}

#[test]
fn an_ordering_outside_of_an_access_is_refused() {
    refused("fn f() { let order = Relaxed; }", 1, "`Relaxed` is outside");
    refused("const STRONG: Ordering =\n    Ordering::AcqRel;", 2, "`AcqRel` is outside");
    refused("fn f() { helper(&a, Acquire); }", 1, "`Acquire` is outside");
    refused("fn f() { AtomicU32::load(&a, Acquire); }", 1, "`Acquire` is outside");
    refused("fn f() { a.fetch_nand(1, Release); }", 1, "`Release` is outside");
    refused("fn f() { compiler_fence(SeqCst); }", 1, "`SeqCst` is outside");
    refused("fn f() { a.load(Relaxed, Acquire); }", 1, "`Relaxed` is outside");
    refused("static A: u32 = a.load(Relaxed);", 1, "outside of a function");
}

#[test]
fn an_access_where_the_scanner_cannot_read_is_refused() {
    refused("macro_rules! m {\n    ($a:expr) => { $a.load(Relaxed) };\n}", 2, "`load`");
    refused("fn f() { select! { x => order(Acquire) } }", 1, "`Acquire`");
    refused("fn f() { select! { x => a.swap(1, order) } }", 1, "`swap`");
    refused("thread_local! { static A: u32 = NEXT.fetch_add(1, order); }", 1, "`fetch_add`");
    refused("fn f() {\n    a.load(\n}", 3, "cannot be parsed");
}

#[test]
fn test_code_is_skipped() {
    for test_only in
        ["test", "cfg(test)", "cfg(all(test, unix))", "cfg(doctest)", "cfg(not(not(test)))"]
    {
        for item in ["fn f() { a.load(order); }", "mod m { fn f() { a.load(order); } }"] {
            check(&format!("#[{test_only}] {item}"), &[]);
            check(&format!("impl S {{ #[{test_only}] fn f() {{ a.load(order); }} }}"), &[]);
            check(&format!("#[{test_only}] impl S {{ fn f() {{ a.load(order); }} }}"), &[]);
        }
    }
    check("#![cfg(test)] fn f() { a.load(order); }", &[]);
}

#[test]
fn code_that_is_production_on_some_system_is_not_skipped() {
    let conditions = ["unix", "any(not(unix), test)", "not(test)", "all(unix, not(test))"];
    for condition in conditions {
        let text = format!("#[cfg({condition})] mod m {{ fn f() {{ a.load(Relaxed); }} }}");
        check(&text, &[":1 f: a.load(Relaxed)"]);
    }
}

#[test]
fn a_folder_that_is_not_there_is_an_error() {
    let error: ScanError = scan(&root().join("nowhere")).unwrap_err();
    assert!(error.to_string().contains("cannot be read"), "{error}");
}
