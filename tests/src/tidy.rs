//! The house rules, as functions from a file's path and text to what is wrong with it.
//!
//! They police structure: where `unsafe` and `cfg` may stand and which words must not appear. Each
//! message names the file, the line and the cure. All rules but those about paths look at the code only:
//! comments and the insides of literals are blanked first, so prose may say what it likes.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// One breach of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// File, relative to the root.
    pub path: String,
    /// Line, from 1 on.
    pub line: usize,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub cure: &'static str,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)?;
        write!(f, "\n    cure: {}", self.cure)
    }
}

/// A file, seen by a rule.
#[derive(Debug)]
pub struct Source {
    /// Path relative to the root, with `/`.
    pub path: String,
    /// As it is.
    pub text: String,
    /// With comments and the insides of literals blanked, line for line.
    pub code: String,
}

impl Source {
    /// A file with this text.
    #[must_use]
    pub fn new(path: &str, text: &str) -> Source {
        Source { path: path.to_owned(), text: text.to_owned(), code: blank(text) }
    }

    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    fn is_under(&self, places: &[&str]) -> bool {
        places.iter().any(|place| self.path.starts_with(place))
    }

    /// The code before the test module at the end of the file.
    fn production(&self) -> &str {
        let is_test_file = self.path.ends_with("_test.rs") || self.path.contains("/tests/");
        let end = if is_test_file { Some(0) } else { None };
        let end = end.or_else(|| self.code.find("#[cfg(test)]\nmod tests"));
        &self.code[..end.unwrap_or(self.code.len())]
    }

    fn breach(&self, offset: usize, what: impl Into<String>, cure: &'static str) -> Breach {
        let before = self.code.as_bytes()[..offset].iter();
        Breach {
            path: self.path.clone(),
            line: 1 + before.filter(|&&byte| byte == b'\n').count(),
            what: what.into(),
            cure,
        }
    }
}

/// What a rule is.
pub type Rule = fn(&Source) -> Vec<Breach>;

/// All rules that look at one file at a time, by name.
pub const RULES: [(&str, Rule); 8] = [
    ("system", system),
    ("unsafe", unsafe_code),
    ("loom", loom),
    ("clock", clock),
    ("order", order),
    ("seqcst", seqcst),
    ("unfinished", unfinished),
    ("machine", machine),
];

/// Where the operating system may be told apart.
const SYSTEM_PLACES: [&str; 2] = ["netpoll/src/platform/", "netpoll/src/backend/"];

fn system(source: &Source) -> Vec<Breach> {
    if !source.is_rust() || source.is_under(&SYSTEM_PLACES) {
        return Vec::new();
    }
    let names = ["target_os", "target_family", "target_env", "unix", "windows"];
    let cure = "move what differs behind the platform's seam, to netpoll/src/platform/ or backend/";
    let mut found = Vec::new();
    for (offset, condition) in conditions(&source.code) {
        if names.iter().any(|name| words(condition, name).next().is_some()) {
            found.push(source.breach(offset, format!("`{condition}` outside the seam"), cure));
        }
    }
    found
}

/// Where unsafe code may stand, and why.
const UNSAFE_PLACES: [&str; 11] = [
    "netpoll/src/goroutine/",
    "netpoll/src/platform/",
    "netpoll/src/backend/",
    // Hides one lifetime from the goroutines of a scope, as std's scoped threads do.
    "netpoll/src/go/scope.rs",
    // Owning a descriptor that the runtime has given up is unsafe by signature.
    "netpoll/src/net/convert.rs",
    // Virtual threads switch stacks.
    "sim/src/engine/",
    "sim/src/platform.rs",
    // A handler of a fatal signal.
    "sim/src/user/last_words.rs",
    // The checkers' platforms.
    "models/src/platform/",
    // The kernel of this machine, called directly so that the runtime can be compared with it.
    "sim/src/conform/real.rs",
    // The runtime's counterparts and what measures it.
    "tests/src/",
];

fn unsafe_code(source: &Source) -> Vec<Breach> {
    if !source.is_rust() || source.is_under(&UNSAFE_PLACES) {
        return Vec::new();
    }
    let cure = "give the owner of the invariant (goroutine/, platform/, backend/) a safe function \
                for it, or argue for a new place in UNSAFE_PLACES";
    let found = words(&source.code, "unsafe");
    found.map(|offset| source.breach(offset, "`unsafe` outside its places", cure)).collect()
}

fn loom(source: &Source) -> Vec<Breach> {
    if !source.is_rust() {
        return Vec::new();
    }
    let cure = "be generic over `Platform`: one build has all four platforms";
    let mut found = Vec::new();
    for (offset, condition) in conditions(&source.code) {
        if words(condition, "loom").chain(words(condition, "shuttle")).next().is_some() {
            found.push(source.breach(offset, format!("`{condition}`: a second build"), cure));
        }
    }
    found
}

fn clock(source: &Source) -> Vec<Breach> {
    let concerns = source.is_rust() && source.is_under(&["netpoll/src/"]);
    if !concerns || source.is_under(&["netpoll/src/platform/"]) {
        return Vec::new();
    }
    let cure = "read the runtime's clock (`RuntimeOps::now`, `crate::time::Instant`), \
                which a simulator owns";
    let code = source.production();
    let mut found = Vec::new();
    for word in ["SystemTime", "clock_gettime"] {
        found.extend(words(code, word).map(|at| source.breach(at, format!("`{word}`"), cure)));
    }
    for at in words(code, "Instant") {
        // Ours has the same name: only where `std`'s comes from counts.
        if statement(code, at).contains("std::time") {
            found.push(source.breach(at, "`std::time::Instant`", cure));
        }
    }
    found
}

fn order(source: &Source) -> Vec<Breach> {
    if !source.is_rust() || !source.is_under(&["sim/src/"]) {
        return Vec::new();
    }
    let cure = "use a BTreeMap, a BTreeSet or a Vec: a run must be a function of its choices, \
                and a hash map's order is not";
    let mut found = Vec::new();
    for word in ["HashMap", "HashSet", "RandomState"] {
        let here = words(&source.code, word);
        found.extend(here.map(|at| source.breach(at, format!("`{word}` in the simulator"), cure)));
    }
    found
}

/// Where orderings are what the code is about: it lists accesses and makes none.
const SEQCST_PLACES: [&str; 1] = ["models/src/orderings/"];

fn seqcst(source: &Source) -> Vec<Breach> {
    if !source.is_rust() || source.is_under(&SEQCST_PLACES) {
        return Vec::new();
    }
    let cure = "use acquire and release, and `P::fence(SeqCst)` for a store-load pair whose two \
                ends name each other: checkers treat a SeqCst access as AcqRel";
    let code = source.code.as_str();
    let mut found = Vec::new();
    for at in words(code, "SeqCst") {
        let before = code[..at].trim_end_matches(|c: char| c.is_alphanumeric() || c == ':');
        let imported = words(statement(code, at), "use").next().is_some();
        if !imported && !before.trim_end().ends_with("fence(") {
            found.push(source.breach(at, "`SeqCst` outside of a fence", cure));
        }
    }
    found
}

fn unfinished(source: &Source) -> Vec<Breach> {
    if !source.is_rust() {
        return Vec::new();
    }
    let cure = "finish it, or return an error that says what is not supported";
    let mut found = Vec::new();
    for word in ["todo!", "unimplemented!", "#[ignore"] {
        let here = source.code.match_indices(word);
        found.extend(here.map(|(at, _)| source.breach(at, format!("`{word}`"), cure)));
    }
    found
}

fn machine(source: &Source) -> Vec<Breach> {
    // In two parts, so that this file is not a breach of its own rule.
    let roots = [("/ho", "me/"), ("/ro", "ot/"), ("/Us", "ers/"), ("/wo", "rk/")];
    let cure = "say it relative to the repository, or ask the environment";
    let mut found = Vec::new();
    for (first, second) in roots {
        let root = format!("{first}{second}");
        for (at, _) in source.text.match_indices(&root) {
            let before = source.text[..at].chars().next_back();
            // A path inside the repository may have such a part.
            if !before.is_some_and(|c| c.is_alphanumeric() || "._-)}".contains(c)) {
                found.push(source.breach(at, format!("a path of one machine, `{root}`"), cure));
            }
        }
    }
    found
}

/// Files that no `mod` names, so that no compiler has ever seen them.
#[must_use]
pub fn dead_files(sources: &[Source]) -> Vec<Breach> {
    let cure = "name it in a `mod`, or delete it";
    let mut found = Vec::new();
    for source in sources.iter().filter(|source| source.is_rust()) {
        let Some((package, inside)) = source.path.split_once("/src/") else {
            continue;
        };
        let is_root = inside == "lib.rs" || inside == "main.rs" || inside.starts_with("bin/");
        if is_root || package.contains("/src/") {
            continue;
        }
        let stem = inside.trim_end_matches(".rs").trim_end_matches("/mod");
        let name = stem.rsplit('/').next().unwrap_or(stem);
        let (named, path) = (format!("mod {name};"), format!("#[path = \"{name}.rs\"]"));
        let package = format!("{package}/src/");
        let mut others = sources.iter().filter(|other| other.path.starts_with(&package));
        if !others.any(|other| other.code.contains(&named) || other.text.contains(&path)) {
            found.push(source.breach(0, format!("nothing says `{named}`"), cure));
        }
    }
    found
}

// ---- reading Rust ----------------------------------------------------------------------------------

/// Where `word` stands as a whole word.
fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word)
        .filter(move |(at, _)| {
            !code[..*at].chars().next_back().is_some_and(is_part)
                && !code[at + word.len()..].chars().next().is_some_and(is_part)
        })
        .map(|(at, _)| at)
}

/// The statement that `at` is in, from its beginning to `at`'s line end.
fn statement(code: &str, at: usize) -> &str {
    let start = code[..at].rfind(';').map_or(0, |semicolon| semicolon + 1);
    let end = code[at..].find('\n').map_or(code.len(), |line| at + line);
    &code[start..end]
}

/// Every `cfg(…)`, `cfg!(…)` and the condition of every `cfg_attr(…)`, with its offset.
fn conditions(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let starts = ["cfg(", "cfg!(", "cfg_attr("].into_iter();
    let starts = starts.flat_map(|start| code.match_indices(start));
    starts.map(|(at, start)| {
        let mut depth = 0;
        let inside = &code[at + start.len()..];
        let end = inside.find(|c: char| {
            depth += i32::from(c == '(') - i32::from(c == ')');
            depth < 0 || (depth == 0 && c == ',' && start == "cfg_attr(")
        });
        (at, &code[at..at + start.len() + end.unwrap_or(inside.len())])
    })
}

/// The text with comments and the insides of literals replaced by blanks; line breaks stay.
#[must_use]
pub fn blank(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let previous = code.chars().next_back();
        let in_word = previous.is_some_and(|c| c.is_alphanumeric() || c == '_');
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if first == '"' {
            string(rest)
        } else if first == 'r' && !in_word && raw_hashes(rest).is_some() {
            raw_string(rest)
        } else if first == '\'' {
            character(rest)
        } else {
            code.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        let (gone, left) = rest.split_at(length);
        // Byte for byte, so that offsets in the code are offsets in the text.
        code.extend(gone.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }));
        rest = left;
    }
    code
}

fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest.starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

fn string(text: &str) -> usize {
    let mut escaped = false;
    let end = text.char_indices().skip(1).find(|&(_, c)| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |(at, _)| at + 1)
}

/// How many `#` open the raw string at the beginning, if one is there.
fn raw_hashes(text: &str) -> Option<usize> {
    let hashes = text[1..].bytes().take_while(|&byte| byte == b'#').count();
    (text.as_bytes().get(1 + hashes) == Some(&b'"')).then_some(hashes)
}

fn raw_string(text: &str) -> usize {
    let hashes = raw_hashes(text).unwrap_or(0);
    let start = hashes + 2;
    let close = format!("\"{}", "#".repeat(hashes));
    text[start..].find(&close).map_or(text.len(), |at| start + at + close.len())
}

/// A character literal, or the quote alone of a lifetime.
fn character(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), Some((after, _))) => {
            let from = after + 1;
            text.get(from..).and_then(|rest| rest.find('\'')).map_or(1, |at| from + at + 1)
        }
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 1,
    }
}

// ---- the repository --------------------------------------------------------------------------------

/// All files of the repository that the rules are about, in the order of their paths.
///
/// # Errors
/// When they cannot be read.
pub fn repository() -> io::Result<Vec<Source>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = Vec::new();
    collect(&root, &mut files)?;
    files.sort();
    let read = |file: &PathBuf| {
        let path = file.strip_prefix(&root).expect("under the root");
        let text = fs::read_to_string(file)?;
        Ok(Source::new(&path.to_string_lossy().replace('\\', "/"), &text))
    };
    files.iter().map(read).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        let kind = entry.file_type()?;
        if kind.is_dir() {
            let is_code = name != "target" && (!name.starts_with('.') || name == ".cargo");
            if is_code {
                collect(&path, files)?;
            }
        } else if [".rs", ".toml", ".md", ".yml"].iter().any(|ending| name.ends_with(ending)) {
            files.push(path);
        }
    }
    Ok(())
}
