//! `[[channel]]`.

use std::collections::HashMap;
use std::time::Duration;

use compact_str::CompactString;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::section::Section;
use super::value::{self, quote};
use crate::base::limits::{
    CHANNEL_IDLE, CHANNEL_NAME_BYTES_MAX, CONFIG_ENTRIES_MAX, Limits, OPTION_BYTES_MAX, OPTIONS_MAX,
};
use crate::engine::{ChannelSpec, Data, TallyOption};
use crate::kind::{Kind, Manners};
use crate::route::{Class, Heartbeat, Pattern};

pub(super) const KEYS: [&str; 6] = ["name", "pattern", "kind", "options", "history", "heartbeat"];
const NAME_ALLOWED: &str = "1 to 128 bytes of text without control characters and without `*`, such as \"poll/lunch\"";
const PATTERN_ALLOWED: &str = "1 to 128 bytes of text with one `*`, at its end, such as \"poll/*\"";
const OPTIONS_ALLOWED: &str = "a list of 1 to 1000 options such as [{ id = \"1\", label = \"Rice\" }]";
const OPTION_ALLOWED: &str = "{ id = \"1\", label = \"Rice\" }";
const ID_ALLOWED: &str =
    "1 to 64 bytes of text without white space at its ends and without control characters, such as \"1\"";
const LABEL_ALLOWED: &str = "a text, or texts by language such as { en = \"Rice\", zh = \"米饭\" }";
const HEARTBEAT_ALLOWED: &str = "{ text = \"still here\", every = \"2s\" }";
const LANGUAGE_ALLOWED: &str = "a language tag such as `en` or `zh-Hant`";
/// The language of a label that names none (RFC 5646 section 4.1: undetermined).
const LANGUAGE_UNKNOWN: &str = "und";

/// A channel of the file.
pub(super) struct Channel {
    /// What the cores need to know. If the file is wrong, stand-ins keep the places.
    pub(super) class: Class,
    /// Whether the kind could be read, so that it can be judged what fits it.
    pub(super) kind_known: bool,
}

/// A name or pattern as a file writes it.
pub(crate) fn written(pattern: &Pattern) -> String {
    match pattern {
        Pattern::Name(name) => name.to_string(),
        Pattern::Prefix(prefix) => format!("{prefix}*"),
    }
}

/// All channels that have a name or a pattern.
pub(super) fn read(document: &Section<'_>, limits: &Limits) -> Vec<Channel> {
    let mut lines: HashMap<String, usize> = HashMap::new();
    let mut channels = Vec::new();
    for section in document.tables("channel", &KEYS, CONFIG_ENTRIES_MAX, path) {
        // What else is wrong is told even where the name is.
        let pattern = pattern(&section);
        let (kind, spec) = spec(&section, limits, matches!(pattern, Some(Pattern::Prefix(_))));
        let heartbeat = heartbeat(&section, kind, limits);
        let Some(pattern) = pattern else { continue };
        let channel = Channel {
            class: Class { pattern, kind: kind.unwrap_or(Kind::Echo), spec, heartbeat, manners: Manners::default() },
            kind_known: kind.is_some(),
        };
        let written = written(&channel.class.pattern);
        if let Some(other) = lines.insert(written.clone(), section.line()) {
            let key = if section.get("name").is_some() { "name" } else { "pattern" };
            let wrong = format!("{} stands also in line {other}", quote(&written));
            section.refuse(key, wrong, "each name and each pattern once");
        }
        channels.push(channel);
    }
    channels
}

/// All kinds that a file may name.
pub(super) const KINDS: &[Kind] = &[
    Kind::Vote,
    Kind::Feed,
    Kind::Echo,
    #[cfg(feature = "faults")]
    Kind::Fault,
];

/// Whether a channel may have this name.
pub(super) fn name<'t>(value: &'t DeValue<'t>) -> Result<&'t str, String> {
    let text = value::text(value)?;
    if text.contains('*') {
        return Err(format!("{} is a pattern, not a name", quote(text)));
    }
    if text.is_empty() || text.len() > CHANNEL_NAME_BYTES_MAX || text.contains(char::is_control) {
        return Err(format!("{} is not a name for a channel", quote(text)));
    }
    Ok(text)
}

fn path(index: usize, table: &DeTable<'_>) -> String {
    let name = table.get("name").or_else(|| table.get("pattern"));
    match name.and_then(|name| name.get_ref().as_str()) {
        Some(name) => format!("channel {}", quote(name)),
        None => format!("channel[{index}]"),
    }
}

fn pattern(section: &Section<'_>) -> Option<Pattern> {
    if section.get("name").is_some() && section.get("pattern").is_some() {
        section.refuse("pattern", "a name stands there too", "either `name` or `pattern`");
        return None;
    }
    if section.get("pattern").is_some() {
        let prefix = section.require("pattern", PATTERN_ALLOWED, prefix)?;
        return Some(Pattern::Prefix(prefix.to_owned()));
    }
    let name = section.require("name", &format!("{NAME_ALLOWED}; or `pattern` instead"), name)?;
    Some(Pattern::Name(name.into()))
}

fn prefix<'t>(value: &'t DeValue<'t>) -> Result<&'t str, String> {
    let text = value::text(value)?;
    let prefix = text.strip_suffix('*').ok_or_else(|| format!("{} does not end with `*`", quote(text)))?;
    if prefix.contains('*') || prefix.len() >= CHANNEL_NAME_BYTES_MAX || prefix.contains(char::is_control) {
        return Err(format!("{} is not a pattern for channels", quote(text)));
    }
    Ok(prefix)
}

/// The kind, and what the engine keeps for it.
fn spec(section: &Section<'_>, limits: &Limits, by_pattern: bool) -> (Option<Kind>, Option<ChannelSpec>) {
    let names: Vec<&str> = KINDS.iter().map(|kind| kind.name()).collect();
    if section.get("kind").is_none() {
        section.missing("kind", &value::quote_all(names.iter().copied()));
    }
    let kind = section.word("kind", &names).and_then(|name| KINDS.iter().copied().find(|kind| kind.name() == name));
    let options = options(section, kind);
    let history = section.number("history", 1..=limits.history_publications_max);
    let data = match kind {
        Some(Kind::Vote) => Data::Tally { options: options.into() },
        Some(Kind::Feed | Kind::Group | Kind::Direct | Kind::Table) => Data::Log,
        Some(Kind::Echo) => {
            if section.get("history").is_some() {
                section.refuse("history", "an echo keeps no history", "no `history` for kind \"echo\"");
            }
            return (kind, None);
        }
        #[cfg(feature = "faults")]
        Some(Kind::Fault) => Data::Fault,
        None => return (None, None),
    };
    let spec = ChannelSpec {
        data,
        history_publications_max: history.unwrap_or(limits.history_publications_max),
        history_bytes_max: limits.history_bytes_max,
        durable: false,
        idle: by_pattern.then_some(CHANNEL_IDLE),
        users_max: limits.users_max,
    };
    (kind, Some(spec))
}

fn options(section: &Section<'_>, kind: Option<Kind>) -> Vec<TallyOption> {
    match kind {
        Some(Kind::Vote) if section.get("options").is_none() => section.missing("options", OPTIONS_ALLOWED),
        Some(Kind::Vote) | None => {}
        Some(other) => {
            if section.get("options").is_some() {
                let wrong = format!("a channel of kind {:?} has no options", other.name());
                section.refuse("options", wrong, "`options` for kind \"vote\"");
            }
            return Vec::new();
        }
    }
    let Some(list) = section.read("options", OPTIONS_ALLOWED, option_list) else {
        return Vec::new();
    };
    let mut indexes: HashMap<CompactString, usize> = HashMap::new();
    let mut options = Vec::new();
    for (index, entry) in list.into_inner().iter().enumerate() {
        let path = section.path_of(&format!("options[{index}]"));
        let Some(entry) = Section::of(section.source(), entry, path, &["id", "label"], OPTION_ALLOWED) else {
            continue;
        };
        let Some(option) = option(&entry) else { continue };
        if let Some(other) = indexes.insert(option.id.clone(), index) {
            let wrong = format!("{} is also the id of options[{other}]", quote(&option.id));
            entry.refuse("id", wrong, "an id of its own");
        }
        options.push(option);
    }
    options
}

fn option_list<'t>(value: &'t DeValue<'t>) -> Result<&'t DeArray<'t>, String> {
    match value {
        DeValue::Array(list) if (1..=OPTIONS_MAX).contains(&list.len()) => Ok(list),
        DeValue::Array(list) => Err(format!("{} options are not allowed", list.len())),
        other => Err(format!("{} where a list belongs", value::describe(other))),
    }
}

fn option(entry: &Section<'_>) -> Option<TallyOption> {
    let id = entry.require("id", ID_ALLOWED, |value| {
        let text = value::text(value)?;
        // A ballot is trimmed before it is looked up.
        let odd = text.trim() != text || text.contains(char::is_control);
        if text.is_empty() || text.len() > OPTION_BYTES_MAX || odd {
            return Err(format!("{} is not an id", quote(text)));
        }
        Ok(CompactString::new(text))
    });
    let labels = labels(entry);
    let id = id?;
    let labels = labels.unwrap_or_else(|| vec![(LANGUAGE_UNKNOWN.into(), id.to_string())]);
    Some(TallyOption { id, labels })
}

/// The labels in the order of the file: the first is the default. `None` if there are none.
fn labels(entry: &Section<'_>) -> Option<Vec<(CompactString, String)>> {
    let value = entry.get("label")?;
    let table = match value.get_ref() {
        DeValue::String(text) if !text.is_empty() => return Some(vec![(LANGUAGE_UNKNOWN.into(), text.to_string())]),
        DeValue::Table(table) if !table.is_empty() => table,
        other => {
            let wrong = match other {
                DeValue::String(_) | DeValue::Table(_) => "the label is empty".to_owned(),
                other => format!("{} where a label belongs", value::describe(other)),
            };
            entry.refuse("label", wrong, LABEL_ALLOWED);
            return None;
        }
    };
    let keys: Vec<&str> = table.keys().map(|key| key.get_ref().as_ref()).collect();
    let section = Section::of(entry.source(), value, entry.path_of("label"), &keys, LABEL_ALLOWED)?;
    let mut labels = Vec::new();
    for (language, _) in section.entries() {
        let tag = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if !(2..=35).contains(&language.len()) || !language.bytes().all(tag) {
            let wrong = format!("{} is not a language", quote(language));
            section.refuse(language, wrong, LANGUAGE_ALLOWED);
        }
        let text = section.require(language, "a text that is not empty", |value| match value::text(value)? {
            "" => Err("the label is empty".to_owned()),
            text => Ok(text),
        });
        labels.push((language.into(), text.unwrap_or_default().to_owned()));
    }
    Some(labels)
}

fn heartbeat(section: &Section<'_>, kind: Option<Kind>, limits: &Limits) -> Option<Heartbeat> {
    let value: &Spanned<DeValue<'_>> = section.get("heartbeat")?;
    if let Some(other) = kind.filter(|kind| *kind != Kind::Echo) {
        let wrong = format!("a channel of kind {:?} has no heartbeat text", other.name());
        section.refuse("heartbeat", wrong, "`heartbeat` for kind \"echo\"");
        return None;
    }
    let path = section.path_of("heartbeat");
    let heartbeat = Section::of(section.source(), value, path, &["text", "every"], HEARTBEAT_ALLOWED)?;
    let allowed = format!("a text of 1 to {} bytes", limits.message_bytes_max);
    let text = heartbeat.require("text", &allowed, |value| match value::text(value)? {
        text if (1..=limits.message_bytes_max).contains(&text.len()) => Ok(text.to_owned()),
        text => Err(format!("{} bytes are not allowed", text.len())),
    });
    let range = Duration::from_millis(10)..=Duration::from_secs(24 * 3600);
    let every =
        heartbeat.require("every", &value::allowed_duration(&range, false), |value| value::duration(value, &range));
    Some(Heartbeat { text: text?, every: every? })
}
