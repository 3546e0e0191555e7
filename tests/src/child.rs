//! Tests in a process of their own, and tests that end.
//!
//! What a test does to its process (limits, signals, its resident memory) must not meet the other tests
//! of the binary. So such a test starts its own binary again, for itself alone:
//!
//! ```text
//! #[test]
//! fn some_claim() {
//!     let Some(child) = child("some_claim") else {
//!         return in the child: the body has to run here
//!     };
//!     look at the child's exit status and output
//! }
//! ```

use std::env;
use std::io::Read;
use std::panic::resume_unwind;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Names the test that runs in the child.
const CHILD_VARIABLE: &str = "NETPOLL_TESTS_CHILD";
/// How long a child may take.
const CHILD_TIME: Duration = Duration::from_secs(60);
/// Between two looks at something that is awaited.
const LOOK: Duration = Duration::from_millis(2);

/// What became of a child.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// Standard output, with the test harness's own lines.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// Runs `body` in a child process that is this test binary running only `test`, and returns what became
/// of the child. In the child it runs `body` and returns `None`.
pub fn in_child(test: &str, body: impl FnOnce()) -> Option<Finished> {
    in_child_while(test, body, |_| ())
}

/// As [`in_child`], with something to do in the parent while the child runs. It gets the child's process
/// id.
pub fn in_child_while(
    test: &str,
    body: impl FnOnce(),
    meanwhile: impl FnOnce(u32),
) -> Option<Finished> {
    if env::var_os(CHILD_VARIABLE).is_some_and(|name| name == test) {
        body();
        return None;
    }
    let mut child = Command::new(env::current_exe().expect("a test binary"))
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD_VARIABLE, test)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the test binary starts again");
    let stdout = collect(child.stdout.take().expect("a pipe"));
    let stderr = collect(child.stderr.take().expect("a pipe"));
    meanwhile(child.id());
    let status = wait(&mut child);
    let text = |pipe: thread::JoinHandle<String>| pipe.join().expect("a reader");
    let finished = Finished {
        status: status.unwrap_or_else(|| panic!("{test}: the child ran for {CHILD_TIME:?}")),
        stdout: text(stdout),
        stderr: text(stderr),
    };
    Some(finished)
}

impl Finished {
    /// The child's test passed.
    ///
    /// # Panics
    /// If not, with what the child wrote.
    #[track_caller]
    pub fn assert_passed(&self) {
        let ran = self.stdout.contains("1 passed");
        assert!(
            self.status.success() && ran,
            "{}\n--- its stdout\n{}--- its stderr\n{}",
            self.status,
            self.stdout,
            self.stderr
        );
    }
}

fn collect(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _what_came_before_an_error_counts = pipe.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// `None` when it took too long; it has been killed then.
fn wait(child: &mut Child) -> Option<ExitStatus> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("our own child") {
            return Some(status);
        }
        if start.elapsed() > CHILD_TIME {
            child.kill().expect("our own child");
            child.wait().expect("our own child");
            return None;
        }
        thread::sleep(LOOK);
    }
}

/// Runs `f` and returns its result, if it ends within `limit`.
///
/// # Panics
/// When it does not: a lost wake-up fails its test instead of hanging it. Also with the panic of `f`.
#[track_caller]
pub fn within<T: Send + 'static>(limit: Duration, f: impl FnOnce() -> T + Send + 'static) -> T {
    let (send, receive) = mpsc::channel();
    let thread = thread::Builder::new()
        .name(thread::current().name().unwrap_or("test").to_owned())
        .spawn(move || {
            // Sent when `f` is over, also by a panic, which closes the channel.
            let _nobody_waits_any_more = send.send(f());
        })
        .expect("a thread");
    match receive.recv_timeout(limit) {
        Ok(value) => {
            thread.join().expect("it has sent its result");
            value
        }
        Err(mpsc::RecvTimeoutError::Disconnected) => match thread.join() {
            Err(panic) => resume_unwind(panic),
            Ok(()) => unreachable!("it ended without result or panic"),
        },
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("not over after {limit:?}"),
    }
}

/// Waits until `is_so`, which `what` describes.
///
/// # Panics
/// When it is not within ten seconds.
#[track_caller]
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let limit = Duration::from_secs(10);
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        thread::sleep(LOOK);
    }
}
