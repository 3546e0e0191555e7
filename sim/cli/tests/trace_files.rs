//! Trace files on the command line: written, shown, admitted, refused.

mod common;

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use common::{Folder, code, output, parsed, text};
use netpoll::net::{TcpListener, TcpStream};
use netpoll::{Builder, go};

fn replay_into(folder: &Folder, seed: &str) -> (String, PathBuf) {
    let file = folder.0.join("a.trace");
    let path = file.to_str().expect("a path of ours");
    let done = output(&["replay", "broken", "--seed", seed, "--trace", path, "--log"]);
    (text(&done.stdout), file)
}

/// An echo on the kernel of this machine, recorded.
fn record_an_echo(file: &Path) {
    let runtime = Builder::new().workers(2).trace(file).build().expect("a runtime");
    let run = runtime.run(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let addr = listener.local_addr().expect("it is bound");
        let server = go(move || {
            let (mut stream, _) = listener.accept().expect("somebody connects");
            let mut buf = [0; 5];
            stream.read_exact(&mut buf).expect("it writes");
            stream.write_all(&buf).expect("it reads");
        });
        let mut stream = TcpStream::connect(addr).expect("it listens");
        stream.write_all(b"hello").expect("there is room");
        stream.read_exact(&mut [0; 5]).expect("it echoes");
        server.join().expect("no panic");
    });
    run.expect("a goroutine");
    drop(runtime);
}

#[test]
fn a_trace_file_shows_what_the_replay_showed() {
    let folder = Folder::new("trace-file");
    let (replayed, file) = replay_into(&folder, "0");
    let path = file.to_str().expect("a path of ours");
    let shown = output(&["trace", path, "--log"]);
    assert_eq!(code(&shown), 0);
    let shown = text(&shown.stdout);
    assert!(replayed.starts_with(&shown), "the replay has the report behind it");
    let lanes = text(&output(&["trace", path]).stdout);
    assert!(lanes.contains("!! VIOLATED deadlock"), "{lanes}");
}

#[test]
fn a_trace_becomes_a_page_a_picture_and_a_file_for_perfetto() {
    let folder = Folder::new("trace-pictures");
    let (_, file) = replay_into(&folder, "0");
    let path = file.to_str().expect("a path of ours");
    let names = ["a.html", "a.svg", "a.json"].map(|name| folder.0.join(name));
    let [html, svg, perfetto] = names.each_ref().map(|name| name.to_str().expect("ours"));
    let done = output(&["trace", path, "--html", html, "--svg", svg, "--perfetto", perfetto]);
    assert_eq!((code(&done), text(&done.stdout)), (0, String::new()));
    let left = fs::read_dir(folder.path()).expect("it is there").count();
    assert_eq!(left, 4, "no file of another name is left");
    let [html, svg, perfetto] =
        names.each_ref().map(|name| fs::read_to_string(name).expect("it was written"));
    assert!(html.starts_with("<!doctype html>") && html.contains("deadlock"));
    assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
    let perfetto: serde_json::Value = serde_json::from_str(&perfetto).expect("JSON");
    assert!(perfetto["traceEvents"].as_array().is_some_and(|events| events.len() > 100));
}

#[test]
fn an_echo_of_this_machine_is_admitted() {
    let folder = Folder::new("admit");
    let file = folder.0.join("echo.trace");
    record_an_echo(&file);
    let done = output(&["admit", file.to_str().expect("ours")]);
    let said = text(&done.stdout);
    assert_eq!(code(&done), 0, "{said}");
    assert!(said.contains("nothing that the simulated kernel does not admit"), "{said}");
    let json = parsed(&output(&["admit", file.to_str().expect("ours"), "--json"]));
    assert_eq!(json["violated"], false);
    assert!(json["admitted"].as_u64().is_some_and(|calls| calls > 20), "{json}");
}

#[test]
fn what_is_no_trace_is_refused_in_one_line_with_the_offset() {
    let folder = Folder::new("no-trace");
    let (_, file) = replay_into(&folder, "0");
    let bytes = fs::read(&file).expect("it was written");
    let mut newer = bytes.clone();
    newer[14] = 7;
    for (content, part) in [
        (&bytes[..bytes.len() / 2], "truncated or damaged"),
        (&b"\x7fELF"[..], "at byte 0: this is no netpoll trace"),
        (&newer, "at byte 14: a trace of version 7, which is newer"),
    ] {
        fs::write(&file, content).expect("the folder is ours");
        for command in ["trace", "admit"] {
            let done = output(&[command, file.to_str().expect("ours")]);
            let complaint = text(&done.stderr);
            assert_eq!((code(&done), complaint.lines().count()), (2, 1), "{complaint}");
            assert!(complaint.contains(part), "{complaint}");
            assert_eq!(text(&done.stdout), "");
        }
    }
}

#[test]
fn a_simulated_run_need_not_be_admitted() {
    let folder = Folder::new("admit-simulated");
    let (_, file) = replay_into(&folder, "0");
    let done = output(&["admit", file.to_str().expect("ours")]);
    assert_eq!(code(&done), 2);
    assert!(text(&done.stderr).contains("of a simulated run"));
}
