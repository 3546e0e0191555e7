//! Accept loops that survive a shortage of descriptors, memory or stacks.
//!
//! Such a shortage passes when connections end. An accept loop that gives up, or that tries again at
//! once and burns a processor while the backlog is full, turns it into an outage. So it waits, doubling
//! from [`DELAY_MIN`] to [`DELAY_MAX`], and says so: Go's `net/http` does the same.

use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use super::error::is_closed;
use crate::go::GoBuilder;
use crate::ops::RuntimeOps;
use crate::platform::Errno;
use crate::time::sleep;

/// The first wait after a failure.
const DELAY_MIN: Duration = Duration::from_millis(5);
/// No wait is longer.
const DELAY_MAX: Duration = Duration::from_secs(1);

/// See [`TcpListener::accept_retrying`](super::TcpListener::accept_retrying).
pub(super) fn accept_retrying<T>(accept: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    accept_with(accept, &mut Backoff::new())
}

/// See [`TcpListener::serve`](super::TcpListener::serve). `name` says who a peer is.
pub(super) fn serve<S, A>(
    runtime: &dyn RuntimeOps,
    mut accept: impl FnMut() -> io::Result<(S, A)>,
    name: impl Fn(&A) -> String,
    handler: impl Fn(S, A) + Send + Sync + 'static,
) -> io::Result<()>
where
    S: Send + 'static,
    A: Send + 'static,
{
    let handler = Arc::new(handler);
    let mut backoff = Backoff::new();
    loop {
        let (stream, peer) = match accept_with(&mut accept, &mut backoff) {
            Ok(accepted) => accepted,
            Err(error) if is_closed(&error) => return Ok(()),
            Err(error) => return Err(error),
        };
        let handler = Arc::clone(&handler);
        let peer_name = name(&peer);
        let goroutine = GoBuilder::new().name(format!("conn {peer_name}"));
        match goroutine.spawn_on(runtime, move || handler(stream, peer)) {
            Ok(_detached) => backoff.reset(),
            // The stream has gone with the closure.
            Err(error) => backoff.wait(&format!("no goroutine for {peer_name}: {error}")),
        }
    }
}

fn accept_with<T>(
    mut accept: impl FnMut() -> io::Result<T>,
    backoff: &mut Backoff,
) -> io::Result<T> {
    loop {
        match accept() {
            Err(error) if passes_by_itself(&error) => backoff.wait(&error.to_string()),
            result => return result,
        }
    }
}

/// Whether an error of `accept` is a shortage that ends when others give something back.
fn passes_by_itself(error: &io::Error) -> bool {
    const SHORTAGES: [Errno; 4] = [Errno::EMFILE, Errno::ENFILE, Errno::ENOBUFS, Errno::ENOMEM];
    let errno = error.raw_os_error().map(Errno);
    errno.is_some_and(|errno| SHORTAGES.contains(&errno))
}

/// How long to wait after the failures so far.
#[derive(Debug)]
struct Backoff {
    failures: u32,
}

impl Backoff {
    fn new() -> Backoff {
        Backoff { failures: 0 }
    }

    /// The wait after one more failure.
    fn next_delay(&mut self) -> Duration {
        let factor = 2_u32.saturating_pow(self.failures);
        self.failures = self.failures.saturating_add(1);
        DELAY_MIN.saturating_mul(factor).min(DELAY_MAX)
    }

    fn reset(&mut self) {
        self.failures = 0;
    }

    fn wait(&mut self, why: &str) {
        let delay = self.next_delay();
        // Not `eprintln!`: a closed standard error must not end a server.
        let _ = writeln!(io::stderr(), "netpoll: accept: {why}; retrying in {delay:?}");
        sleep(delay);
    }
}

#[cfg(test)]
mod tests {
    use super::super::TcpListener;
    use super::super::fake::FakeDescriptor;
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
    use std::time::Instant;

    #[test]
    fn the_delay_doubles_from_5_ms_to_1_s_and_starts_again_after_a_success() {
        let mut backoff = Backoff::new();
        let delays: Vec<_> = (0..9).map(|_| backoff.next_delay().as_millis()).collect();
        assert_eq!(delays, [5, 10, 20, 40, 80, 160, 320, 640, 1000]);
        backoff.failures = u32::MAX;
        assert_eq!(backoff.next_delay(), DELAY_MAX);
        backoff.reset();
        assert_eq!(backoff.next_delay(), DELAY_MIN);
    }

    #[test]
    fn serve_waits_out_shortages_and_ends_well_when_closed() {
        let script = [Err(libc::EMFILE), Ok(()), Ok(()), Err(libc::ENFILE), Ok(())];
        let listener = TcpListener::new(FakeDescriptor::listener(script, 1));
        let served = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&served);
        let start = Instant::now();
        listener
            .serve(move |_, peer| {
                assert_eq!(peer.port(), 9);
                count.fetch_add(1, Relaxed);
            })
            .unwrap();
        // No goroutine for the first connection, which is the second failure in a row.
        assert_eq!(served.load(Relaxed), 2);
        assert!(start.elapsed() >= Duration::from_millis(5 + 10 + 5));
    }

    #[test]
    fn serve_returns_errors_that_stay() {
        let script = [Ok(()), Err(libc::EINVAL)];
        let listener = TcpListener::new(FakeDescriptor::listener(script, 0));
        let error = listener.serve(|_, _| ()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));

        let listener = TcpListener::new(FakeDescriptor::listener([], 0));
        assert!(is_closed(&listener.accept_retrying().unwrap_err()));
    }
}
