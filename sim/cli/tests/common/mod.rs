//! Running the command and looking at what it says.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::{env, fs};

use serde_json::Value;

pub(crate) fn sim(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_netpoll-cli"));
    command.args(args);
    command
}

pub(crate) fn output(args: &[&str]) -> Output {
    sim(args).output().expect("the binary was built")
}

pub(crate) fn code(output: &Output) -> i32 {
    output.status.code().expect("no signal ended it")
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

/// A new folder, removed at the end of its test.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Folder {
        let dir = format!("netpoll-cli-{}-{name}", std::process::id());
        let dir = env::temp_dir().join(dir);
        fs::create_dir_all(&dir).expect("a folder for temporary files");
        Folder(dir)
    }

    pub(crate) fn path(&self) -> &str {
        self.0.to_str().expect("a plain path")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left behind is in the folder for temporary files.
        let _gone = fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn parsed(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).expect("one JSON object and nothing else")
}
