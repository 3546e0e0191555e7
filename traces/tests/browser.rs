//! The pictures in a browser: does the page work, on a small run and on one of a hundred thousand records?
//!
//! The page tests itself when it is opened with `#selfcheck`, before it has loaded, and leaves its verdict
//! in the root element; a headless Chromium prints the document afterwards. Nothing but the browser is
//! needed. It is looked for in the environment, as `CHROMIUM`, and in `PATH`; where there is none, the
//! tests say so and pass.

use std::env;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use netpoll_traces::{Caption, Guilt, Trace, html, svg};

mod made;
#[path = "../benches/synthetic.rs"]
mod synthetic;

const NAMES: [&str; 5] =
    ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome"];
/// A browser that has said nothing by then is frozen.
const PATIENCE: Duration = Duration::from_secs(120);
/// One that does not start has three tries: often enough for a busy machine, and a broken one is told soon.
const ATTEMPTS: usize = 3;

/// The browser of this machine.
fn browser() -> Option<PathBuf> {
    if let Some(named) = env::var_os("CHROMIUM") {
        return Some(PathBuf::from(named));
    }
    let path = env::var_os("PATH")?;
    let folders: Vec<PathBuf> = env::split_paths(&path).collect();
    let places = NAMES.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    let found = places.into_iter().find(|place| place.is_file());
    if found.is_none() {
        // Not by a macro: what those print is kept back when a test passes.
        let words = "SKIPPED: no browser. Install chromium, or name one in the variable CHROMIUM.";
        writeln!(io::stderr(), "{words}").expect("standard error takes a line");
    }
    found
}

/// One browser at a time: what is measured is the page, not how they share the processor.
static TURN: Mutex<()> = Mutex::new(());

/// The document as it is after the browser has opened `file`, or `None` without a browser.
fn open(file: &Path, fragment: &str) -> Option<String> {
    let browser = browser()?;
    // A test that failed in its turn has left nothing behind that matters.
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    // A browser that does not even start, on a machine that is out of something, says nothing about the page.
    let documents = (0..ATTEMPTS).map(|_| print(&browser, file, fragment));
    let document = documents.into_iter().find(|document| !document.trim().is_empty());
    let wrong = file.with_extension("wrong");
    Some(document.unwrap_or_else(|| {
        let said = fs::read_to_string(wrong).unwrap_or_default();
        panic!("{} printed nothing for {}: {said}", browser.display(), file.display())
    }))
}

/// What a browser prints that has opened `file`.
fn print(browser: &Path, file: &Path, fragment: &str) -> String {
    let profile = file.with_extension("profile");
    let (printed, wrong) = (file.with_extension("printed"), file.with_extension("wrong"));
    let create = |path: &Path| fs::File::create(path).expect("a file for what it prints");
    let mut child = Command::new(browser)
        // It opens nothing but what was written a moment ago, often as root in a container.
        .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
        .args(["--no-first-run", "--disable-extensions", "--window-size=1440,900", "--dump-dom"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(format!("file://{}{fragment}", file.display()))
        .stdout(create(&printed))
        .stderr(create(&wrong))
        .spawn()
        .unwrap_or_else(|error| panic!("{} cannot be started: {error}", browser.display()));
    let begin = Instant::now();
    while child.try_wait().expect("a child can be waited for").is_none() {
        if begin.elapsed() > PATIENCE {
            child.kill().expect("a child can be killed");
            panic!("{} has not finished {} in {PATIENCE:?}", browser.display(), file.display());
        }
        thread::sleep(Duration::from_millis(20));
    }
    // Leftovers would only be in the way of the next run.
    let _still_there = fs::remove_dir_all(&profile);
    fs::read_to_string(&printed).expect("what it printed is text")
}

/// A file for this test, by a name of its own.
fn place(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

fn attribute<'a>(document: &'a str, name: &str) -> &'a str {
    let begin = format!("{name}=\"");
    let Some((_, rest)) = document.split_once(&begin) else {
        let start: String = document.chars().take(400).collect();
        panic!("the page has left no {name}; it begins: {start}");
    };
    rest.split('"').next().expect("a split has a first part")
}

/// The page of this trace passes its own check.
#[track_caller]
fn check(name: &str, trace: &Trace, caption: &Caption) {
    let file = place(name);
    let mut page = Vec::new();
    html::write(trace, caption, &mut page).expect("a Vec takes everything");
    fs::write(&file, page).expect("a page can be written");
    let Some(document) = open(&file, "#selfcheck") else { return };
    println!("{name}: {}", attribute(&document, "data-figures"));
    assert_eq!(attribute(&document, "data-selfcheck"), "passed");
}

#[test]
fn a_small_page_shows_its_failing_record() {
    let trace = made::trace();
    check("small.html", &trace, &made::caption(&trace));
}

#[test]
fn a_page_of_a_hundred_thousand_records_stays_quick() {
    let trace = synthetic::trace(100_000);
    let guilt = Guilt {
        property: "lost-wakeup".to_string(),
        sentence: "made up".to_string(),
        at: Some(60_004),
        g: Some(17),
        fd: None,
    };
    let caption = Caption { guilt: Some(guilt), ..Caption::default() };
    check("long.html", &trace, &caption);
}

#[test]
fn a_page_without_a_violation_or_without_records_works_too() {
    check("innocent.html", &made::trace(), &Caption::default());
    check("empty.html", &Trace::default(), &Caption::default());
}

#[test]
fn the_static_picture_is_well_formed() {
    let trace = made::trace();
    let file = place("small.svg");
    fs::write(&file, svg::render(&trace, &made::caption(&trace)))
        .expect("a picture can be written");
    let Some(document) = open(&file, "") else { return };
    assert!(document.contains("</svg>"), "{document}");
    assert!(!document.contains("parsererror"), "{document}");
}
