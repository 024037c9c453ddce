//! `serve = "engine.io"` and `serve = "socket.io"`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use toml::de::DeValue;

use super::options;
use super::routes::Reader;
use super::section::Section;
use super::value::{self, quote, quote_all};
use super::{dialects, json};
use crate::base::limits::{EVENT_NAME_BYTES_MAX, EVENTS_MAX, NAMESPACES_MAX};
use crate::kind::Kind;
use crate::route::{Connected, Dialect, DialectId, Does, EngineIo, EventRule, Namespace, Serve, Speaks};

/// As the reference servers have them.
const PING_INTERVAL: Duration = Duration::from_secs(25);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
const PAYLOAD_BYTES: usize = 1_000_000;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(45);

const SHORT: Duration = Duration::from_millis(10);
const INTERVAL_MAX: Duration = Duration::from_secs(3600);
const WAIT_MAX: Duration = Duration::from_secs(600);
/// The fewest bytes of a payload that let a client say something.
const PAYLOAD_BYTES_LEAST: usize = 64;

pub(super) const NAMESPACE_KEYS: [&str; 8] =
    ["name", "channel", "dialect", "key", "gap", "event", "connected", "events"];
const CONNECTED_KEYS: [&str; 3] = ["event", "data", "auth"];
const EVENT_KEYS: [&str; 3] = ["name", "does", "as"];

pub(super) const NAMESPACES_ALLOWED: &str =
    "a list of 1 to 64 namespaces such as [{ name = \"/\", channel = \"news\" }]";
const NAMESPACE_EXAMPLE: &str = "{ name = \"/\", channel = \"news\", event = \"message\" }";
const NAMESPACE_ALLOWED: &str =
    "\"/\", or `/` and a name of at most 128 bytes together, without `,`, `?` and control characters";
const EVENT_ALLOWED: &str =
    "a name of 1 to 128 bytes without control characters, and none that the protocol has for itself";
const EVENT_EXAMPLE: &str = "{ name = \"message\", does = \"send\" }";
const CONNECTED_EXAMPLE: &str = "{ event = \"hello\", data = { text = \"Welcome\" } }";
const DATA_ALLOWED: &str = "a table, a list or another value, or a text that is JSON such as '{\"text\":\"Welcome\"}'";
const DOES: [&str; 4] = ["send", "nothing", "back", "acknowledge"];
/// Dialects of namespaces.
const DIALECTS: [&str; 5] = ["tallycast", "steps", "tally", "plain", "cells"];
/// Events that clients and servers of Socket.IO have for themselves.
const RESERVED: [&str; 6] =
    ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

const _: () = assert!(NAMESPACES_MAX == 64 && EVENT_NAME_BYTES_MAX == 128, "the texts above say so");

impl Reader<'_> {
    pub(super) fn engine_io(&mut self, section: &Section<'_>) -> Option<Serve> {
        Some(self.endpoint(section, Speaks::Echo))
    }

    pub(super) fn socket_io(&mut self, section: &Section<'_>) -> Option<Serve> {
        let connect_timeout = section.duration("connect_timeout", SHORT..=WAIT_MAX).unwrap_or(CONNECT_TIMEOUT);
        let namespaces = self.namespaces(section);
        Some(self.endpoint(section, Speaks::SocketIo { connect_timeout, namespaces }))
    }

    fn endpoint(&self, section: &Section<'_>, speaks: Speaks) -> Serve {
        let limits = &self.setup.limits;
        let most = limits.body_bytes_max.min(limits.message_bytes_max);
        let range = PAYLOAD_BYTES_LEAST..=most;
        let allowed = format!("{} (limits.body_bytes_max, limits.message_bytes_max)", value::allowed_size(&range));
        let payload = section.read("payload_max", &allowed, |value| value::size(value, &range));
        Serve::EngineIo(Arc::new(EngineIo {
            ping_interval: section.duration("ping_interval", SHORT..=INTERVAL_MAX).unwrap_or(PING_INTERVAL),
            ping_timeout: section.duration("ping_timeout", SHORT..=WAIT_MAX).unwrap_or(PING_TIMEOUT),
            payload_bytes_max: payload.map_or(PAYLOAD_BYTES.min(most), toml::Spanned::into_inner),
            speaks,
        }))
    }

    fn namespaces(&mut self, section: &Section<'_>) -> Vec<Namespace> {
        let take = |value| options::list(value, "namespaces", 1, NAMESPACES_MAX);
        let Some(list) = section.read("namespaces", NAMESPACES_ALLOWED, take) else {
            return Vec::new();
        };
        let mut names: HashMap<String, usize> = HashMap::new();
        let mut namespaces = Vec::new();
        for (index, entry) in list.into_inner().iter().enumerate() {
            let path = section.path_of(&format!("namespaces[{index}]"));
            let Some(entry) = Section::of(section.source(), entry, path, &NAMESPACE_KEYS, NAMESPACE_EXAMPLE) else {
                continue;
            };
            let Some(namespace) = self.namespace(&entry) else { continue };
            if let Some(other) = names.insert(namespace.name.clone(), index) {
                let wrong = format!("{} is also the name of namespaces[{other}]", quote(&namespace.name));
                entry.refuse("name", wrong, "a name of its own");
            }
            namespaces.push(namespace);
        }
        namespaces
    }

    /// All of it is read, so that all that is wrong with it is told.
    fn namespace(&mut self, entry: &Section<'_>) -> Option<Namespace> {
        let name = entry.require("name", NAMESPACE_ALLOWED, namespace_name);
        let has_channel = entry.get("channel").is_some();
        let target = self.target(entry);
        let event = entry.read("event", EVENT_ALLOWED, event_name).map_or("message", toml::Spanned::into_inner);
        let dialect = if has_channel { dialects::read(entry, "tallycast", &DIALECTS) } else { None };
        let talks = ["dialect", "key", "gap", "event"];
        for key in talks.iter().filter(|key| !has_channel && entry.get(key).is_some()) {
            let wrong = "the namespace has no channel: nothing goes out";
            entry.refuse(key, wrong, format!("`{key}` for a namespace with a `channel`"));
        }
        if let Some(target) = &target {
            // An echo never reaches an engine: nothing would go out either.
            let echo = self.kind(target.class) == Some(Kind::Echo);
            if echo {
                let wrong = format!("{} is of kind \"echo\"", quote(&target.channel));
                entry.refuse(
                    "channel",
                    wrong,
                    "a channel of another kind; here an event that does \"back\" is an echo",
                );
            }
            if let Some(dialect) = dialect.as_ref().filter(|_| !echo) {
                self.check_dialect(entry, (&target.channel, target.class), dialect, &DIALECTS);
            }
        }
        let connected = connected(entry, self.setup.limits.private_bytes_max);
        let events = events(entry, has_channel);
        let name = name?.to_owned();
        let dialect = match dialect {
            Some(of) => {
                let event = Dialect::Event { namespace: name.clone(), event: event.to_owned(), of: Box::new(of) };
                self.dialect_id(entry, event)
            }
            None => DialectId::TALLYCAST,
        };
        Some(Namespace { name, target, dialect, connected, events })
    }
}

fn namespace_name<'t>(value: &'t DeValue<'t>) -> Result<&'t str, String> {
    let text = value::text(value)?;
    let odd = |c: char| c.is_control() || c == ',' || c == '?';
    if !text.starts_with('/') || text.len() > EVENT_NAME_BYTES_MAX || text.contains(odd) {
        return Err(format!("{} is not a namespace", quote(text)));
    }
    Ok(text)
}

fn event_name<'t>(value: &'t DeValue<'t>) -> Result<&'t str, String> {
    let text = value::text(value)?;
    if RESERVED.contains(&text) {
        return Err(format!("{} is an event of Socket.IO itself", quote(text)));
    }
    if text.is_empty() || text.len() > EVENT_NAME_BYTES_MAX || text.contains(char::is_control) {
        return Err(format!("{} is not a name for an event", quote(text)));
    }
    Ok(text)
}

/// The greeting, of at most so many bytes: it waits for each client alone.
fn connected(namespace: &Section<'_>, bytes_max: usize) -> Option<Connected> {
    let value = namespace.get("connected")?;
    let path = namespace.path_of("connected");
    let section = Section::of(namespace.source(), value, path, &CONNECTED_KEYS, CONNECTED_EXAMPLE)?;
    let event = section.require("event", EVENT_ALLOWED, event_name);
    let auth = section.boolean("auth");
    if auth && section.get("data").is_some() {
        section.refuse("auth", "`data` stands there too", "either `data`, or auth = true");
    }
    let data = if auth {
        None
    } else {
        let allowed = format!("{DATA_ALLOWED}, of at most {bytes_max} bytes; or auth = true instead");
        Some(section.require("data", &allowed, |value| {
            let json = match value {
                DeValue::String(text) => json::checked(text)?,
                other => json::compact(other)?,
            };
            if json.len() > bytes_max {
                return Err(format!("{} bytes are not allowed", json.len()));
            }
            Ok(json)
        })?)
    };
    Some(Connected { event: event?.to_owned(), data })
}

fn events(namespace: &Section<'_>, has_channel: bool) -> Vec<EventRule> {
    let allowed = format!("a list of at most {EVENTS_MAX} events such as [{EVENT_EXAMPLE}]");
    let Some(list) = namespace.read("events", &allowed, |value| options::list(value, "events", 0, EVENTS_MAX)) else {
        return Vec::new();
    };
    let mut names: HashMap<String, usize> = HashMap::new();
    let mut rules = Vec::new();
    for (index, entry) in list.into_inner().iter().enumerate() {
        let path = namespace.path_of(&format!("events[{index}]"));
        let Some(entry) = Section::of(namespace.source(), entry, path, &EVENT_KEYS, EVENT_EXAMPLE) else {
            continue;
        };
        let Some(rule) = event(&entry, has_channel) else { continue };
        if let Some(other) = names.insert(rule.event.clone(), index) {
            let wrong = format!("{} is also the name of events[{other}]", quote(&rule.event));
            entry.refuse("name", wrong, "a name of its own");
        }
        rules.push(rule);
    }
    rules
}

fn event(entry: &Section<'_>, has_channel: bool) -> Option<EventRule> {
    let name = entry.require("name", EVENT_ALLOWED, event_name);
    if entry.get("does").is_none() {
        entry.missing("does", &quote_all(DOES));
    }
    let word = entry.word("does", &DOES);
    if let Some(word) = word.filter(|word| *word != "back" && entry.get("as").is_some()) {
        entry.refuse("as", format!("{word:?} sends no event back"), "`as` for does = \"back\"");
    }
    let does = match word? {
        "send" => {
            if !has_channel {
                let wrong = "the namespace has no channel to send to";
                entry.refuse(
                    "does",
                    wrong,
                    format!("{} here, or a `channel` for the namespace", quote_all(DOES[1..].iter().copied())),
                );
            }
            Does::Send
        }
        "nothing" => Does::Nothing,
        "back" => Does::Back(entry.require("as", EVENT_ALLOWED, event_name)?.to_owned()),
        _ => Does::Acknowledge,
    };
    Some(EventRule { event: name?.to_owned(), does })
}
