//! The house rules: they hold for every file of the repository, and each of them is able to fire.

use netpoll_tests::tidy::{Breach, RULES, Source, blank, dead_files, repository};

fn breaches(rule: &str, path: &str, text: &str) -> Vec<Breach> {
    let (_, rule) = RULES.iter().find(|(name, _)| *name == rule).expect("a rule of this name");
    rule(&Source::new(path, text))
}

/// The rule fires on line `line` of `bad`, which names the file and a cure, and not on `good`.
#[track_caller]
fn check(rule: &str, path: &str, bad: &str, line: usize, good: &[(&str, &str)]) {
    let found = breaches(rule, path, bad);
    assert_eq!(found.len(), 1, "{rule} on {bad:?}: {found:?}");
    assert_eq!((found[0].path.as_str(), found[0].line), (path, line));
    let message = found[0].to_string();
    assert!(message.starts_with(&format!("{path}:{line}: ")), "{message}");
    assert!(message.contains("cure: ") && !found[0].cure.is_empty(), "{message}");
    for (path, text) in good {
        let found = breaches(rule, path, text);
        assert!(found.is_empty(), "{rule} on {text:?} in {path}: {found:?}");
    }
}

#[test]
fn the_repository_keeps_the_house_rules() {
    let sources = repository().unwrap();
    assert!(sources.len() > 50, "only {} files were found", sources.len());
    let mut found = dead_files(&sources);
    for (_, rule) in RULES {
        found.extend(sources.iter().flat_map(rule));
    }
    let text: Vec<String> = found.iter().map(Breach::to_string).collect();
    assert!(found.is_empty(), "house rules:\n{}", text.join("\n"));
}

#[test]
fn systems_are_told_apart_only_behind_the_seam() {
    let bad = "fn f() {}\n#[cfg(all(test, target_os = \"linux\"))]\nfn g() {}\n";
    let good = [
        ("netpoll/src/platform/os/mod.rs", bad),
        ("netpoll/src/backend/mod.rs", bad),
        ("netpoll/src/fd/file.rs", "// `cfg(unix)` is not for here\n#[cfg(test)]\nmod tests {}"),
        ("netpoll/src/fd/file.rs", "#[cfg(target_arch = \"x86_64\")]\nuse std::os::unix::net;"),
    ];
    check("system", "netpoll/src/fd/file.rs", bad, 2, &good);
    check("system", "sim/src/lib.rs", "if cfg!(unix) {}", 1, &[]);
    check("system", "sim/src/lib.rs", "#[cfg_attr(windows, path = \"w.rs\")]", 1, &[]);
}

#[test]
fn unsafe_stands_only_in_its_places() {
    let bad = "//! Not unsafe.\n\nfn f() {\n    unsafe { g() }\n}\n";
    let good = [
        ("netpoll/src/goroutine/fiber.rs", bad),
        ("netpoll/src/sched/find.rs", "#![deny(unsafe_code)]\nlet text = \"unsafe\";"),
    ];
    check("unsafe", "netpoll/src/sched/find.rs", bad, 4, &good);
}

#[test]
fn no_second_build_for_the_checkers() {
    let good = [
        ("models/src/lib.rs", "use loom::sync::Arc; // not cfg(loom)\n#[cfg(test)]"),
        ("ARCHITECTURE.md", "There is no `cfg(loom)`."),
    ];
    check("loom", "netpoll/src/lib.rs", "\n#[cfg(all(test, loom))]\nmod m;", 2, &good);
    check("loom", "netpoll/src/lib.rs", "#[cfg(not(loom))]", 1, &[]);
}

#[test]
fn nobody_reads_a_clock_except_through_the_platform() {
    let bad = "use std::time::{Duration, Instant};\nfn f() { Instant::now(); }";
    let good = [
        ("netpoll/src/platform/os/parker.rs", bad),
        ("tests/src/client.rs", bad),
        ("netpoll/src/go/scope_test.rs", bad),
        ("netpoll/src/time.rs", "pub struct Instant(u64);\nfn f() { Instant::now(); }"),
        (
            "netpoll/src/net/serve.rs",
            "use crate::time::sleep;\n\n#[cfg(test)]\nmod tests {\n    use std::time::Instant;\n}",
        ),
    ];
    check("clock", "netpoll/src/sched/find.rs", bad, 1, &good);
    let qualified = "fn f() {\n    let now = std::time::Instant::now();\n}";
    check("clock", "netpoll/src/sched/find.rs", qualified, 2, &[]);
    check("clock", "netpoll/src/lib.rs", "use std::time::SystemTime;", 1, &[]);
}

#[test]
fn the_simulator_has_no_order_that_differs_from_run_to_run() {
    let good = [
        ("sim/src/kernel/net.rs", "use std::collections::BTreeMap; // not a HashMap"),
        ("traces/src/text.rs", "use std::collections::HashMap;"),
    ];
    check("order", "sim/src/kernel/net.rs", "use std::collections::HashMap;", 1, &good);
}

#[test]
fn seqcst_is_for_fences() {
    let good = [
        (
            "netpoll/src/poll/desc.rs",
            "use std::sync::atomic::{\n    Ordering::{Acquire, SeqCst},\n};\nP::fence(SeqCst);",
        ),
        ("sim/src/platform.rs", "Sim::fence(Ordering::SeqCst);"),
        ("sim/src/platform.rs", "// a SeqCst load\nfence(\n    SeqCst,\n);"),
        ("models/src/orderings/a.rs", "match name { \"SeqCst\" => SeqCst }"),
    ];
    check("seqcst", "netpoll/src/poll/desc.rs", "\nx.load(SeqCst);", 2, &good);
    check("seqcst", "models/src/a.rs", "x.swap(1, Ordering::SeqCst);", 1, &[]);
}

#[test]
fn nothing_is_left_unfinished() {
    let good = [("sim/src/lib.rs", "// todo!() is not for here\nlet text = \"todo!\";")];
    check("unfinished", "sim/src/lib.rs", "fn f() { todo!() }", 1, &good);
    check("unfinished", "sim/src/lib.rs", "\nunimplemented!(\"later\")", 2, &[]);
    check("unfinished", "tests/tests/echo.rs", "#[test]\n#[ignore = \"slow\"]", 2, &[]);
}

#[test]
fn no_path_of_one_machine() {
    let bad = ["# Title\n\nsee /ho", "me/me/file\n"].concat();
    let good = [("README.md", "see https://example.org/home/ and src/work/x")];
    check("machine", "README.md", &bad, 3, &good);
}

#[test]
fn a_file_that_no_module_names_is_dead() {
    let source = |path: &str, text: &str| Source::new(path, text);
    let mut sources = vec![
        source("sim/src/lib.rs", "mod kernel;"),
        source("sim/src/kernel/mod.rs", "mod tcp;"),
        source("sim/src/kernel/tcp.rs", "#[path = \"tcp_test.rs\"]\nmod tests;"),
        source("sim/src/kernel/tcp_test.rs", ""),
        source("sim/src/bin/tool.rs", ""),
        source("sim/tests/whole.rs", ""),
    ];
    assert_eq!(dead_files(&sources), []);
    sources.push(source("sim/src/kernel/udp.rs", "// mod udp;"));
    let found = dead_files(&sources);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].path, "sim/src/kernel/udp.rs");
}

#[test]
fn prose_and_literals_are_not_code() {
    let cases = [
        ("a // b\nc", "a     \nc"),
        ("a /* b /* c */ d */ e", "a                   e"),
        (r#"f("a \" b", 'c', '\'', '"', x)"#, "f(        ,    ,     ,    , x)"),
        ("r#\"a \" b\"# c", "           c"),
        ("fn f<'a>(x: &'a str)", "fn f< a>(x: & a str)"),
        ("br\"a\" for\"b\"", "br    for   "),
    ];
    for (text, code) in cases {
        assert_eq!(blank(text).trim_end(), code.trim_end(), "{text}");
        assert_eq!(blank(text).len(), text.len());
    }
}
