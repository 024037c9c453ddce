//! What is wrong with a configuration: where, what, and what would be right.

use std::borrow::Cow;
use std::fmt;

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigError {
    /// The file, as its caller named it.
    pub file: String,
    /// The line, counted from 1; `None` if it is not about a line (the file cannot be read).
    pub line: Option<usize>,
    /// The key: `listener[1].address` (entries are counted from 0), `channel "poll/lunch".options[0].id`.
    pub key: String,
    /// What is wrong.
    pub wrong: String,
    /// What is allowed there.
    pub allowed: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", plain(&self.key))?;
        }
        write!(f, ": {}; allowed: {}", plain(&self.wrong), plain(&self.allowed))
    }
}

/// One line for a terminal, whatever a file's keys and texts have in them.
fn plain(text: &str) -> Cow<'_, str> {
    if !text.chars().any(char::is_control) {
        return text.into();
    }
    let escaped = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(escaped).collect::<String>().into()
}

impl std::error::Error for ConfigError {}

/// All that is wrong, in the order of the lines; at least one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigErrors(Vec<ConfigError>);

/// So many errors are shown; of the rest, the number.
const ERRORS_SHOWN_MAX: usize = 100;

impl ConfigErrors {
    /// These errors, at least one, put in the order of their lines.
    pub(super) fn new(mut errors: Vec<ConfigError>) -> ConfigErrors {
        errors.sort_by_key(|error| error.line);
        ConfigErrors(errors)
    }

    /// Each of them.
    pub fn iter(&self) -> std::slice::Iter<'_, ConfigError> {
        self.0.iter()
    }
}

impl fmt::Display for ConfigErrors {
    /// One line for each, without a newline behind the last.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().take(ERRORS_SHOWN_MAX).enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        match self.0.len().checked_sub(ERRORS_SHOWN_MAX) {
            Some(more @ 1..) => write!(f, "\n... and {more} more"),
            Some(0) | None => Ok(()),
        }
    }
}

impl std::error::Error for ConfigErrors {}
