//! Standard output and standard error. That nobody reads them any more (a broken pipe) is no reason to end.

use std::fmt::Display;
use std::io::{self, Write};

/// Writes the lines to standard output, each at once.
pub(super) fn lines(lines: &[String]) {
    let mut stdout = io::stdout().lock();
    for line in lines {
        if writeln!(stdout, "{line}").and_then(|()| stdout.flush()).is_err() {
            return;
        }
    }
}

/// Writes a message to standard error.
pub(super) fn error(message: &dyn Display) {
    let written = writeln!(io::stderr(), "{message}");
    // There is nowhere left to say that it failed.
    drop(written);
}
