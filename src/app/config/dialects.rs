//! The keys that name a dialect, and what fits which kind.

use super::routes::{Reader, WORD_ALLOWED, word};
use super::section::Section;
use super::value::{quote, quote_all};
use crate::base::limits::DIALECTS_MAX;
use crate::engine::ClassId;
use crate::kind::Kind;
use crate::route::{Dialect, DialectId};

/// The field of an addressed message that names its receiver.
const TO: &str = "to_user";

/// The name of a dialect in a configuration.
pub(crate) fn dialect_name(dialect: &Dialect) -> &'static str {
    match dialect {
        Dialect::Tallycast => "tallycast",
        Dialect::Steps { .. } => "steps",
        Dialect::Plain => "plain",
        Dialect::Addressed { .. } => "addressed",
        Dialect::Cells => "cells",
        Dialect::Event { of, .. } => dialect_name(of),
    }
}

/// The dialects that can carry a kind.
fn fitting(kind: Kind) -> [&'static str; 2] {
    match kind {
        Kind::Vote => ["tallycast", "steps"],
        Kind::Feed | Kind::Echo | Kind::Group => ["tallycast", "plain"],
        Kind::Direct => ["tallycast", "addressed"],
        Kind::Table => ["tallycast", "cells"],
        #[cfg(feature = "faults")]
        Kind::Fault => ["tallycast", "plain"],
    }
}

/// The dialect that the keys `dialect`, `key` and `to` name: one of `words`.
pub(super) fn read(section: &Section<'_>, default: &'static str, words: &[&'static str]) -> Option<Dialect> {
    let name = match section.get("dialect") {
        Some(_) => section.word("dialect", words)?,
        None => default,
    };
    for (key, of) in [("key", "steps"), ("to", "addressed")] {
        // A key of a dialect that cannot stand here is no key here at all, which is told elsewhere.
        if name != of && words.contains(&of) && section.get(key).is_some() {
            let wrong = format!("the dialect {name:?} has no `{key}`");
            section.refuse(key, wrong, format!("`{key}` for dialect {of:?}"));
        }
    }
    Some(match name {
        "steps" => {
            let key = section.require("key", WORD_ALLOWED, |value| match word(value)? {
                "count" => Err("\"count\" is the name of the count itself".to_owned()),
                key => Ok(key),
            })?;
            Dialect::Steps { key: key.to_owned() }
        }
        "plain" => Dialect::Plain,
        "addressed" => {
            let to = section.read("to", WORD_ALLOWED, word);
            Dialect::Addressed { to: to.map_or(TO, toml::Spanned::into_inner).to_owned() }
        }
        "cells" => Dialect::Cells,
        _ => Dialect::Tallycast,
    })
}

impl Reader<'_> {
    /// The dialect, one of `words`, can carry the channel's kind.
    pub(super) fn check_dialect(
        &self,
        section: &Section<'_>,
        (channel, class): (&str, ClassId),
        dialect: &Dialect,
        words: &[&'static str],
    ) {
        let name = dialect_name(dialect);
        let Some(kind) = self.kind(class).filter(|kind| !fitting(*kind).contains(&name)) else {
            return;
        };
        let fitting = fitting(kind);
        let kind = kind.name();
        let wrong = format!("{} is of kind {kind:?}, which the dialect {name:?} cannot carry", quote(channel));
        let allowed = fitting.iter().copied().filter(|fitting| words.contains(fitting));
        section.refuse("dialect", wrong, format!("for kind {kind:?} one of {}", quote_all(allowed)));
    }

    /// The number of the dialect; a new one if no route before has it.
    pub(super) fn dialect_id(&mut self, section: &Section<'_>, dialect: Dialect) -> DialectId {
        let dialects = &mut self.setup.dialects;
        let index = dialects.iter().position(|known| *known == dialect).unwrap_or(dialects.len());
        if index >= DIALECTS_MAX {
            let key = if section.get("key").is_some() { "key" } else { "dialect" };
            let wrong = "too many different dialects";
            let allowed =
                format!("at most {DIALECTS_MAX}; each key, field, and event of a namespace makes one of its own");
            section.refuse(key, wrong, allowed);
            return DialectId::TALLYCAST;
        }
        if index == dialects.len() {
            dialects.push(dialect);
        }
        DialectId(index as u8)
    }
}
