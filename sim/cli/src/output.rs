//! Standard output: it may be closed while we write, as by `| head`, and then nobody wants the rest.

use std::io::{self, ErrorKind, Write};

use crate::Usage;

/// Standard output and the first error that it had.
#[derive(Debug)]
pub(crate) struct Output {
    error: Option<io::Error>,
}

impl Output {
    pub(crate) fn new() -> Output {
        Output { error: None }
    }

    /// Writes `text` as it stands.
    pub(crate) fn print(&mut self, text: &str) {
        if self.error.is_some() {
            return;
        }
        let mut stdout = io::stdout().lock();
        let written = stdout.write_all(text.as_bytes());
        self.error = written.and_then(|()| stdout.flush()).err();
    }

    /// The error that a reader should hear of. A pipe that was closed is none.
    pub(crate) fn finish(self) -> Result<(), Usage> {
        match self.error {
            Some(error) if error.kind() != ErrorKind::BrokenPipe => {
                Err(Usage(format!("cannot write the output: {error}")))
            }
            _ => Ok(()),
        }
    }
}

/// Writes to standard error without the panic that `eprint!` has when it is closed.
pub(crate) fn to_stderr(text: &str) -> io::Result<()> {
    io::stderr().lock().write_all(text.as_bytes())
}

/// A number with commas: `1,234,567`.
pub(crate) fn commas(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_numbers_get_commas() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(commas(number), text);
        }
    }
}
