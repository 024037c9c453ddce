//! `[[channel]]`.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::section::Section;
use super::value::{self, quote, quote_all};
use super::{options, tables};
use crate::base::limits::{
    CHANNEL_IDLE, CHANNEL_NAME_BYTES_MAX, CONFIG_ENTRIES_MAX, Limits, OPTIONS_MAX, RATE_PER_SECOND_MAX,
    TABLE_COLUMNS_MAX, UNHEARD_IDLE, USER_NAME_BYTES_MAX,
};
use crate::engine::{ChannelSpec, Data, TallyOption};
use crate::kind::{Kind, Manners};
use crate::route::{Class, Heartbeat, Pattern, Slow};

pub(super) const KEYS: [&str; 15] = [
    "name",
    "pattern",
    "kind",
    "options",
    "columns",
    "rows",
    "history",
    "recent",
    "echo_sender",
    "absent",
    "kept",
    "notices",
    "heartbeat",
    "slow",
    "max_rate",
];
/// Keys that every channel may have.
const COMMON: [&str; 3] = ["name", "pattern", "kind"];
const NAME_ALLOWED: &str = "1 to 128 bytes of text without control characters and without `*`, such as \"poll/lunch\"";
const PATTERN_ALLOWED: &str = "1 to 128 bytes of text with one `*`, at its end, such as \"poll/*\"";
const OPTION_EXAMPLE: &str = "{ id = \"1\", label = \"Rice\" }";
const HEARTBEAT_ALLOWED: &str = "{ text = \"still here\", every = \"2s\" }";

/// How long messages for who is absent may be kept.
const KEPT: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(366 * 24 * 3600);

/// The keys of a kind.
fn keys_of(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Vote => &["options", "history", "notices", "slow", "max_rate"],
        Kind::Group => &["history", "recent", "echo_sender", "notices", "slow", "max_rate"],
        Kind::Direct => &["history", "absent", "kept", "notices", "slow", "max_rate"],
        Kind::Table => &["columns", "rows", "history", "notices", "slow", "max_rate"],
        Kind::Feed => &["history", "notices", "slow", "max_rate"],
        Kind::Echo => &["heartbeat"],
        #[cfg(feature = "faults")]
        Kind::Fault => &["history", "notices", "slow", "max_rate"],
    }
}

/// What may become of slow readers of a kind; the first is the default.
pub(crate) fn slow_of(kind: Kind) -> &'static [Slow] {
    match kind {
        // There is always a state that says all that was missed.
        Kind::Vote | Kind::Table => &[Slow::Latest, Slow::Close],
        Kind::Group | Kind::Direct | Kind::Feed => &[Slow::Close, Slow::Skip],
        Kind::Echo => &[Slow::Close],
        #[cfg(feature = "faults")]
        Kind::Fault => &[Slow::Close, Slow::Skip],
    }
}

/// A policy's name in a configuration.
pub(crate) fn slow_name(slow: Slow) -> &'static str {
    match slow {
        Slow::Close => "close",
        Slow::Skip => "skip",
        Slow::Latest => "latest",
    }
}

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
    let mut sections = Vec::new();
    for section in document.tables("channel", &KEYS, CONFIG_ENTRIES_MAX, path) {
        // What else is wrong is told even where the name is.
        let pattern = pattern(&section);
        let channel = channel(&section, limits, pattern.clone());
        let Some(written) = pattern.as_ref().map(written) else { continue };
        if let Some(other) = lines.insert(written.clone(), section.line()) {
            let key = if section.get("name").is_some() { "name" } else { "pattern" };
            let wrong = format!("{} stands also in line {other}", quote(&written));
            section.refuse(key, wrong, "each name and each pattern once");
        }
        channels.push(channel);
        sections.push(section);
    }
    check_users(&channels, &sections);
    channels
}

/// All kinds that a file may name.
pub(super) const KINDS: &[Kind] = &[
    Kind::Vote,
    Kind::Group,
    Kind::Direct,
    Kind::Table,
    Kind::Feed,
    Kind::Echo,
    #[cfg(feature = "faults")]
    Kind::Fault,
];

/// Behind the pattern of a `direct` channel stand users' names, whatever they are: no other channel may be called so.
fn check_users(channels: &[Channel], sections: &[Section<'_>]) {
    let direct = |channel: &&Channel| channel.kind_known && channel.class.kind == Kind::Direct;
    let prefixes: Vec<&str> = (channels.iter().filter(direct))
        .filter_map(|channel| match &channel.class.pattern {
            Pattern::Prefix(prefix) => Some(prefix.as_str()),
            Pattern::Name(_) => None,
        })
        .collect();
    for (channel, section) in channels.iter().zip(sections) {
        let Some(prefix) = prefixes.iter().find(|prefix| lies_within(&channel.class.pattern, prefix)) else {
            continue;
        };
        let key = if section.get("name").is_some() { "name" } else { "pattern" };
        let wrong = format!(
            "{} is what a user of the channel {} of kind \"direct\" could be called",
            quote(&written(&channel.class.pattern)),
            quote(&format!("{prefix}*"))
        );
        section.refuse(key, wrong, "a name that begins otherwise");
    }
}

/// Whether the names that it stands for are among those that begin with the prefix, and it is not that pattern itself.
pub(super) fn lies_within(pattern: &Pattern, prefix: &str) -> bool {
    match pattern {
        Pattern::Name(name) => name.len() > prefix.len() && name.starts_with(prefix),
        Pattern::Prefix(longer) => longer.len() > prefix.len() && longer.starts_with(prefix),
    }
}

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

/// One entry. Where its pattern is wrong it means nothing.
fn channel(section: &Section<'_>, limits: &Limits, pattern: Option<Pattern>) -> Channel {
    let names: Vec<&str> = KINDS.iter().map(|kind| kind.name()).collect();
    if section.get("kind").is_none() {
        section.missing("kind", &quote_all(names.iter().copied()));
    }
    let kind = section.word("kind", &names).and_then(|name| KINDS.iter().copied().find(|kind| kind.name() == name));
    if let Some(kind) = kind {
        check_fit(section, kind, pattern.as_ref());
    }
    // What does not fit the kind is told once, whatever else is wrong with it.
    let may_have = |key: &str| kind.is_none_or(|kind| keys_of(kind).contains(&key));
    let by_pattern = matches!(pattern, Some(Pattern::Prefix(_)));
    let history =
        if may_have("history") { section.number("history", 1..=limits.history_publications_max) } else { None };
    let history = history.unwrap_or(limits.history_publications_max);
    let options = if may_have("options") { options(section) } else { Vec::new() };
    let table = may_have("columns").then(|| tables::read(section, limits));
    let manners = Manners {
        echo_sender: may_have("echo_sender") && section.boolean("echo_sender"),
        keep_for_absent: may_have("absent") && section.word("absent", &["refuse", "keep"]) == Some("keep"),
        notices: may_have("notices") && section.boolean("notices"),
        recent: if may_have("recent") { recent(section, history) } else { 0 },
    };
    let kept = if may_have("kept") { section.duration("kept", KEPT) } else { None };
    if kept.is_some() && !manners.keep_for_absent {
        section.refuse("kept", "nothing is kept for who is absent", "`kept` with absent = \"keep\"");
    }
    let slow = if may_have("slow") { slow(section, kind) } else { Slow::Close };
    let max_rate = if may_have("max_rate") { section.number("max_rate", 1..=RATE_PER_SECOND_MAX) } else { None };
    let max_rate = max_rate.map(|rate| rate as u16);
    let heartbeat = if may_have("heartbeat") { heartbeat(section, limits) } else { None };
    let data = match kind {
        Some(Kind::Vote) => Some(Data::Tally { options: options.into() }),
        Some(Kind::Table) => table.map(|table| Data::Table(Arc::new(table))),
        Some(Kind::Feed | Kind::Group | Kind::Direct) => Some(Data::Log),
        #[cfg(feature = "faults")]
        Some(Kind::Fault) => Some(Data::Fault),
        Some(Kind::Echo) | None => None,
    };
    let spec = data.map(|data| ChannelSpec {
        data,
        history_publications_max: history,
        history_bytes_max: limits.history_bytes_max,
        durable: false,
        idle: by_pattern.then_some(CHANNEL_IDLE),
        unheard: manners.keep_for_absent.then(|| kept.unwrap_or(UNHEARD_IDLE)),
        users_max: limits.users_max,
    });
    let pattern = pattern.unwrap_or(Pattern::Prefix(String::new()));
    let class = Class { pattern, kind: kind.unwrap_or(Kind::Echo), spec, heartbeat, manners, slow, max_rate };
    Channel { class, kind_known: kind.is_some() }
}

/// The keys that a kind needs are there, and none that it does not have.
fn check_fit(section: &Section<'_>, kind: Kind, pattern: Option<&Pattern>) {
    let foreign = |key: &&&str| !COMMON.contains(key) && !keys_of(kind).contains(key) && section.get(key).is_some();
    for key in KEYS.iter().filter(foreign) {
        let wrong = format!("a channel of kind {:?} has no `{key}`", kind.name());
        let others = KINDS.iter().filter(|kind| keys_of(**kind).contains(key)).map(|kind| kind.name());
        section.refuse(key, wrong, format!("`{key}` for kind {}", quote_all(others)));
    }
    let lists = [("options", OPTIONS_MAX, OPTION_EXAMPLE), ("columns", TABLE_COLUMNS_MAX, tables::COLUMN_EXAMPLE)];
    for (key, most, example) in lists {
        if keys_of(kind).contains(&key) && section.get(key).is_none() {
            section.missing(key, &options::allowed(key, most, example));
        }
    }
    match pattern.filter(|_| kind == Kind::Direct) {
        Some(Pattern::Name(name)) => {
            let wrong = format!("{} is one channel, but kind \"direct\" is a channel for each user", quote(name));
            section.refuse("name", wrong, "`pattern` instead, such as \"dm/*\": the user's name stands for the `*`");
        }
        Some(Pattern::Prefix(prefix)) if prefix.len() + USER_NAME_BYTES_MAX > CHANNEL_NAME_BYTES_MAX => {
            let wrong = format!("{} leaves too little for a user's name", quote(prefix));
            let most = CHANNEL_NAME_BYTES_MAX - USER_NAME_BYTES_MAX;
            section.refuse("pattern", wrong, format!("at most {most} bytes before the `*` for kind \"direct\""));
        }
        Some(Pattern::Prefix(_)) | None => {}
    }
}

fn options(section: &Section<'_>) -> Vec<TallyOption> {
    let options = options::read(section, "options", OPTIONS_MAX, OPTION_EXAMPLE).unwrap_or_default();
    options.into_iter().map(|of| TallyOption { id: of.id, labels: of.labels }).collect()
}

/// What becomes of slow readers.
fn slow(section: &Section<'_>, kind: Option<Kind>) -> Slow {
    const ALL: [Slow; 3] = [Slow::Close, Slow::Skip, Slow::Latest];
    let word = section.word("slow", &ALL.map(slow_name));
    let asked = ALL.into_iter().find(|slow| Some(slow_name(*slow)) == word);
    let Some(kind) = kind else { return Slow::Close };
    let fitting = slow_of(kind);
    let asked = asked.unwrap_or(fitting[0]);
    if !fitting.contains(&asked) {
        let wrong = match asked {
            Slow::Latest => format!("a channel of kind {:?} has no state that stands for what was missed", kind.name()),
            Slow::Skip | Slow::Close => format!("slow readers of kind {:?} are better shown its state", kind.name()),
        };
        let words = quote_all(fitting.iter().map(|slow| slow_name(*slow)));
        section.refuse("slow", wrong, format!("for kind {:?} one of {words}", kind.name()));
    }
    asked
}

/// How many messages late joiners get: of those that are kept.
fn recent(section: &Section<'_>, history: usize) -> usize {
    let range = 0..=history;
    let allowed = format!("{}, which is this channel's `history`", value::allowed_number(&range));
    let recent = section.read("recent", &allowed, |value| value::number(value, &range));
    recent.map_or(0, toml::Spanned::into_inner)
}

fn heartbeat(section: &Section<'_>, limits: &Limits) -> Option<Heartbeat> {
    let value = section.get("heartbeat")?;
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
