//! The keys that name a dialect, and what fits which kind.

use toml::de::DeValue;

use super::routes::{Reader, WORD_ALLOWED, word};
use super::section::Section;
use super::value::{self, quote, quote_all};
use crate::base::limits::{DIALECTS_MAX, GAP_BYTES_MAX};
use crate::engine::ClassId;
use crate::kind::Kind;
use crate::route::{Dialect, DialectId, Slow};

/// The field of an addressed message that names its receiver.
const TO: &str = "to_user";

/// The name of a dialect in a configuration.
pub(crate) fn dialect_name(dialect: &Dialect) -> &'static str {
    match dialect {
        Dialect::Tallycast => "tallycast",
        Dialect::Steps { .. } => "steps",
        Dialect::Tally => "tally",
        Dialect::Plain { .. } => "plain",
        Dialect::Addressed { .. } => "addressed",
        Dialect::Cells => "cells",
        Dialect::Event { of, .. } => dialect_name(of),
    }
}

/// The dialects that can carry a kind.
fn fitting(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Vote => &["tallycast", "steps", "tally"],
        Kind::Feed | Kind::Echo | Kind::Group => &["tallycast", "plain"],
        Kind::Direct => &["tallycast", "addressed"],
        Kind::Table => &["tallycast", "cells"],
        #[cfg(feature = "faults")]
        Kind::Fault => &["tallycast", "plain"],
    }
}

/// The dialect that the keys `dialect`, `key`, `to` and `gap` name: one of `words`.
pub(super) fn read(section: &Section<'_>, default: &'static str, words: &[&'static str]) -> Option<Dialect> {
    let name = match section.get("dialect") {
        Some(_) => section.word("dialect", words)?,
        None => default,
    };
    for (key, of) in [("key", "steps"), ("to", "addressed"), ("gap", "plain")] {
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
        "tally" => Dialect::Tally,
        "plain" => {
            let gap = section.read("gap", &gap_allowed(), gap);
            Dialect::Plain { gap: gap.map(|gap| gap.into_inner().to_owned()) }
        }
        "addressed" => {
            let to = section.read("to", WORD_ALLOWED, word);
            Dialect::Addressed { to: to.map_or(TO, toml::Spanned::into_inner).to_owned() }
        }
        "cells" => Dialect::Cells,
        _ => Dialect::Tallycast,
    })
}

fn gap_allowed() -> String {
    format!("a text of 1 to {GAP_BYTES_MAX} bytes")
}

/// The text that says that there was a gap.
fn gap<'t>(value: &'t DeValue<'t>) -> Result<&'t str, String> {
    match value::text(value)? {
        text if (1..=GAP_BYTES_MAX).contains(&text.len()) => Ok(text),
        text => Err(format!("{} bytes are not allowed", text.len())),
    }
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
            return self.check_slow(section, (channel, class), dialect);
        };
        let fitting = fitting(kind);
        let kind = kind.name();
        let wrong = format!("{} is of kind {kind:?}, which the dialect {name:?} cannot carry", quote(channel));
        let allowed = fitting.iter().copied().filter(|fitting| words.contains(fitting));
        section.refuse("dialect", wrong, format!("for kind {kind:?} one of {}", quote_all(allowed)));
    }

    /// Slow readers can be told what the channel says.
    fn check_slow(&self, section: &Section<'_>, (channel, class): (&str, ClassId), dialect: &Dialect) {
        let skips = self.setup.class(class).slow == Slow::Skip;
        let has_gap = matches!(dialect, Dialect::Plain { gap: Some(_) });
        if has_gap && !skips && self.kind(class).is_some() {
            let wrong = format!("nothing is left out of {} for who is slow", quote(channel));
            section.refuse("gap", wrong, "`gap` for a channel with slow = \"skip\"");
        }
        if !skips || dialect.has_gaps() {
            return;
        }
        let name = dialect_name(dialect);
        let wrong = format!("{} leaves messages out for who is slow, and {name:?} cannot say so", quote(channel));
        match dialect {
            // One that is wrong was told already.
            Dialect::Plain { .. } if section.get("gap").is_some() => {}
            Dialect::Plain { .. } => section.refuse("gap", wrong, format!("with slow = \"skip\" {}", gap_allowed())),
            _ => section.refuse("dialect", wrong, "slow = \"close\" for the channel, or dialect = \"tallycast\" here"),
        }
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
