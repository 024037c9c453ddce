//! Reads a table key by key, and takes down everything that is wrong in it.

use std::cell::RefCell;
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::ConfigError;
use super::value::{self, nearest, quote, quote_all};

/// The text of a configuration, and all that was found wrong in it.
pub(super) struct Source<'t> {
    name: &'t str,
    text: &'t str,
    /// The byte behind each newline.
    line_starts: Vec<usize>,
    errors: RefCell<Vec<ConfigError>>,
}

impl<'t> Source<'t> {
    pub(super) fn new(name: &'t str, text: &'t str) -> Source<'t> {
        Source {
            name,
            text,
            line_starts: memchr::memchr_iter(b'\n', text.as_bytes()).map(|at| at + 1).collect(),
            errors: RefCell::default(),
        }
    }

    /// The line of a byte, counted from 1.
    pub(super) fn line(&self, offset: usize) -> usize {
        1 + self.line_starts.partition_point(|start| *start <= offset)
    }

    /// Takes an error down.
    pub(super) fn refuse(
        &self,
        at: usize,
        key: impl Into<String>,
        wrong: impl Into<String>,
        allowed: impl Into<String>,
    ) {
        self.errors.borrow_mut().push(ConfigError {
            file: self.name.to_owned(),
            line: Some(self.line(at)),
            key: key.into(),
            wrong: wrong.into(),
            allowed: allowed.into(),
        });
    }

    /// What the parser could not read. The key is what stands before the `=` of that line.
    pub(super) fn refuse_syntax(&self, error: &toml::de::Error) {
        let at = error.span().map_or(0, |span: Range<usize>| span.start);
        let line = self.text.lines().nth(self.line(at) - 1).unwrap_or_default();
        let key = line.split('=').next().unwrap_or_default().trim();
        self.refuse(
            at,
            key.chars().take(60).collect::<String>(),
            format!("this is not TOML: {}", error.message().replace('\n', " ")),
            "TOML, https://toml.io",
        );
    }

    /// All errors so far.
    pub(super) fn into_errors(self) -> Vec<ConfigError> {
        self.errors.into_inner()
    }
}

/// A table of the configuration.
pub(super) struct Section<'t> {
    source: &'t Source<'t>,
    /// `None`: it is not there, and so are none of its keys.
    table: Option<&'t DeTable<'t>>,
    at: usize,
    path: String,
}

impl<'t> Section<'t> {
    /// The whole document.
    pub(super) fn document(source: &'t Source<'t>, table: &'t DeTable<'t>, keys: &[&str]) -> Section<'t> {
        let section = Section { source, table: Some(table), at: 0, path: String::new() };
        section.check_keys(keys);
        section
    }

    /// The table that `value` is; an error is taken down if it is none, or has other keys than `keys`.
    pub(super) fn of(
        source: &'t Source<'t>,
        value: &'t Spanned<DeValue<'t>>,
        path: String,
        keys: &[&str],
        allowed: &str,
    ) -> Option<Section<'t>> {
        let DeValue::Table(table) = value.get_ref() else {
            let wrong = format!("{} where a table belongs", value::describe(value.get_ref()));
            source.refuse(value.span().start, path, wrong, allowed);
            return None;
        };
        let section = Section { source, table: Some(table), at: value.span().start, path };
        section.check_keys(keys);
        Some(section)
    }

    /// `[key]`; as if empty if it is not there.
    pub(super) fn table(&self, key: &str, keys: &[&str]) -> Section<'t> {
        self.get(key)
            .and_then(|value| Section::of(self.source, value, self.path_of(key), keys, &format!("[{key}]")))
            .unwrap_or(Section { source: self.source, table: None, at: self.at, path: self.path_of(key) })
    }

    /// Each `[[key]]`. `entry` gives an entry its path, which its own name may be better for than its number.
    pub(super) fn tables(
        &self,
        key: &str,
        keys: &[&str],
        entries_max: usize,
        entry: fn(usize, &DeTable<'_>) -> String,
    ) -> Vec<Section<'t>> {
        let allowed = format!("any number of [[{key}]] up to {entries_max}");
        let read = |value: &'t DeValue<'t>| match value {
            DeValue::Array(list) if list.len() > entries_max => Err(format!("{} entries are too many", list.len())),
            DeValue::Array(list) => Ok(list),
            other => Err(format!("{} where a list of tables belongs", value::describe(other))),
        };
        let Some(list) = self.read(key, &allowed, read) else {
            return Vec::new();
        };
        list.into_inner()
            .iter()
            .enumerate()
            .filter_map(|(index, value)| {
                let path = match value.get_ref() {
                    DeValue::Table(table) => entry(index, table),
                    _ => format!("{key}[{index}]"),
                };
                Section::of(self.source, value, path, keys, &format!("[[{key}]]"))
            })
            .collect()
    }

    /// The line where the table begins.
    pub(super) fn line(&self) -> usize {
        self.source.line(self.at)
    }

    /// The text that it is in.
    pub(super) fn source(&self) -> &'t Source<'t> {
        self.source
    }

    /// The dotted path of a key of this table.
    pub(super) fn path_of(&self, key: &str) -> String {
        match self.path.as_str() {
            "" => key.to_owned(),
            path => format!("{path}.{key}"),
        }
    }

    /// What stands there.
    pub(super) fn get(&self, key: &str) -> Option<&'t Spanned<DeValue<'t>>> {
        self.table?.get(key)
    }

    /// The key with what stands there, in the order of the file.
    pub(super) fn entries(&self) -> Vec<(&'t str, &'t Spanned<DeValue<'t>>)> {
        let mut entries: Vec<_> = self.table.into_iter().flatten().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        entries.into_iter().map(|(key, value)| (key.get_ref().as_ref(), value)).collect()
    }

    /// Takes down what is wrong with a key: at its value, or where the table begins if it has none.
    pub(super) fn refuse(&self, key: &str, wrong: impl Into<String>, allowed: impl Into<String>) {
        let at = self.get(key).map_or(self.at, |value| value.span().start);
        self.source.refuse(at, self.path_of(key), wrong, allowed);
    }

    /// Reads a key that may be missing. `None` if it is missing or, then taken down, wrong.
    pub(super) fn read<T>(
        &self,
        key: &str,
        allowed: &str,
        take: impl FnOnce(&'t DeValue<'t>) -> Result<T, String>,
    ) -> Option<Spanned<T>> {
        let value = self.get(key)?;
        match take(value.get_ref()) {
            Ok(taken) => Some(Spanned::new(value.span(), taken)),
            Err(wrong) => {
                self.refuse(key, wrong, allowed);
                None
            }
        }
    }

    /// Reads a key that must be there.
    pub(super) fn require<T>(
        &self,
        key: &str,
        allowed: &str,
        take: impl FnOnce(&'t DeValue<'t>) -> Result<T, String>,
    ) -> Option<T> {
        if self.get(key).is_none() {
            self.missing(key, allowed);
        }
        self.read(key, allowed, take).map(Spanned::into_inner)
    }

    /// Takes down that a key is missing.
    pub(super) fn missing(&self, key: &str, allowed: &str) {
        let wrong = match self.path.as_str() {
            "" => format!("the key `{key}` is missing"),
            path => format!("the key `{key}` is missing in {path}"),
        };
        self.refuse(key, wrong, allowed);
    }

    /// `true` or `false`; `false` if missing.
    pub(super) fn boolean(&self, key: &str) -> bool {
        self.read(key, "true or false", value::boolean).is_some_and(Spanned::into_inner)
    }

    /// A whole number.
    pub(super) fn number(&self, key: &str, range: RangeInclusive<usize>) -> Option<usize> {
        self.read(key, &value::allowed_number(&range), |value| value::number(value, &range)).map(Spanned::into_inner)
    }

    /// A size in bytes.
    pub(super) fn size(&self, key: &str, range: RangeInclusive<usize>) -> Option<usize> {
        self.read(key, &value::allowed_size(&range), |value| value::size(value, &range)).map(Spanned::into_inner)
    }

    /// A duration.
    pub(super) fn duration(&self, key: &str, range: RangeInclusive<Duration>) -> Option<Duration> {
        self.read(key, &value::allowed_duration(&range, false), |value| value::duration(value, &range))
            .map(Spanned::into_inner)
    }

    /// A duration, or zero, which says something of its own.
    pub(super) fn duration_or_zero(&self, key: &str, range: RangeInclusive<Duration>) -> Option<Duration> {
        let take = |value: &DeValue<'_>| match value::duration(value, &(Duration::ZERO..=*range.end()))? {
            Duration::ZERO => Ok(Duration::ZERO),
            _ => value::duration(value, &range),
        };
        self.read(key, &value::allowed_duration(&range, true), take).map(Spanned::into_inner)
    }

    /// One of a few words.
    pub(super) fn word(&self, key: &str, words: &[&'static str]) -> Option<&'static str> {
        let take = |value: &DeValue<'_>| {
            let text = value::text(value)?;
            match words.iter().find(|word| **word == text) {
                Some(word) => Ok(*word),
                None => Err(unknown(text, words.iter().copied())),
            }
        };
        self.read(key, &quote_all(words.iter().copied()), take).map(Spanned::into_inner)
    }

    fn check_keys(&self, keys: &[&str]) {
        for (key, _) in self.table.into_iter().flatten() {
            let name: &str = key.get_ref();
            if keys.contains(&name) {
                continue;
            }
            let elsewhere = super::TABLES.iter().find(|(_, keys)| keys.contains(&name));
            let wrong = match (elsewhere, nearest(name, keys.iter().copied())) {
                (Some((table, _)), _) => format!("unknown key here, it belongs in {table}"),
                (None, Some(near)) => format!("unknown key, the nearest known key is `{near}`"),
                (None, None) => "unknown key".to_owned(),
            };
            self.source.refuse(key.span().start, self.path_of(name), wrong, keys.join(", "));
        }
    }
}

/// What to say of a name that nothing has.
pub(super) fn unknown<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> String {
    match nearest(name, known) {
        Some(near) => format!("{} is unknown, the nearest is {}", quote(name), quote(near)),
        None => format!("{} is unknown", quote(name)),
    }
}
