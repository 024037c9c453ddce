//! `[[route]]`.

use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use super::channels;
use super::section::{Section, unknown};
use super::value::{self, quote, quote_all};
use crate::base::keys::ListenerId;
use crate::base::limits::{CONFIG_ENTRIES_MAX, DIALECTS_MAX, WORD_BYTES_MAX};
use crate::kind::Kind;
use crate::route::{Aim, Dialect, DialectId, PageId, PathPattern, Route, Serve, Setup, Target};

pub(super) const KEYS: [&str; 12] =
    ["listener", "path", "serve", "channel", "dialect", "key", "wait", "field", "accepted", "page", "session", "text"];
/// Keys that every route has.
const COMMON: [&str; 3] = ["listener", "path", "serve"];
const WORD_ALLOWED: &str = "1 to 64 bytes of text without control characters";
const CHANNEL_ALLOWED: &str = "the name of a channel of this file, or a name that fits a pattern of it";

/// Which requests a route is asked for, as bits.
type Requests = u8;
const UPGRADE: Requests = 1;
const GET: Requests = 2;
const POST: Requests = 4;
const ALL: Requests = 15;

/// What can be served, with the requests it is for, the keys it needs and those it may have.
struct Service {
    name: &'static str,
    requests: Requests,
    required: &'static [&'static str],
    optional: &'static [&'static str],
    read: fn(&mut Reader<'_>, &Section<'_>) -> Option<Serve>,
}

const SERVICES: [Service; 7] = [
    Service { name: "channels", requests: ALL, required: &[], optional: &[], read: |_, _| Some(Serve::Channels) },
    Service {
        name: "websocket",
        requests: UPGRADE,
        required: &["channel"],
        optional: &["dialect", "key"],
        read: |reader, section| reader.websocket(section),
    },
    Service {
        name: "long-poll",
        requests: GET,
        required: &["channel"],
        optional: &["dialect", "key", "wait"],
        read: |reader, section| reader.long_poll(section),
    },
    Service {
        name: "form",
        requests: POST,
        required: &["channel", "field", "accepted"],
        optional: &[],
        read: |reader, section| reader.form(section),
    },
    Service {
        name: "page",
        requests: GET,
        required: &["channel", "page"],
        optional: &["session"],
        read: |reader, section| reader.page(section),
    },
    Service {
        name: "text",
        requests: GET,
        required: &["text"],
        optional: &[],
        read: |reader, section| reader.text(section),
    },
    Service { name: "echo-body", requests: ALL, required: &[], optional: &[], read: |_, _| Some(Serve::EchoBody) },
];

/// Puts all routes that are whole, and the dialects that they name, into the setup, which has all else already.
/// `kinds_known` tells for each class whether its kind could be read, so that it can be judged what fits it.
pub(super) fn read(document: &Section<'_>, setup: &mut Setup, kinds_known: &[bool]) {
    let mut reader = Reader { setup, kinds_known };
    let mut taken: Vec<Taken> = Vec::new();
    for section in document.tables("route", &KEYS, CONFIG_ENTRIES_MAX, |index, _| format!("route[{index}]")) {
        let Some((listeners, path, service, serve)) = reader.route(&section) else {
            continue;
        };
        if taken.len() + listeners.len() > CONFIG_ENTRIES_MAX {
            let wrong = format!("more than {CONFIG_ENTRIES_MAX} routes, counted for each listener");
            section.refuse("listener", wrong, "fewer routes, or fewer listeners for them");
            break;
        }
        let line = section.line();
        let mut told = None;
        for listener in listeners {
            let route = Route { listener, path: path.clone(), serve: serve.clone() };
            let new = Taken { route, requests: service.requests, line };
            if let Some(other) = taken.iter().find(|other| other.hides(&new))
                && told.replace(other.line) != Some(other.line)
            {
                let name = &reader.setup.listeners[usize::from(listener.0)].name;
                let wrong = format!(
                    "the routes in lines {} and {line} are for the same requests on listener {}",
                    other.line,
                    quote(name)
                );
                section.refuse("path", wrong, "one route for each listener, path, method and upgrade");
            }
            taken.push(new);
        }
    }
    setup.routes = taken.into_iter().map(|taken| taken.route).collect();
}

/// A route with what it takes from those behind it.
struct Taken {
    route: Route,
    requests: Requests,
    line: usize,
}

impl Taken {
    /// Whether some request that `later` is for never reaches it.
    fn hides(&self, later: &Taken) -> bool {
        if self.route.listener != later.route.listener || self.requests & later.requests == 0 {
            return false;
        }
        match (&self.route.path, &later.route.path) {
            (PathPattern::Exact(mine), PathPattern::Exact(theirs)) => mine == theirs,
            (PathPattern::Prefix(mine), PathPattern::Exact(theirs) | PathPattern::Prefix(theirs)) => {
                theirs.starts_with(mine.as_str())
            }
            (PathPattern::Exact(_), PathPattern::Prefix(_)) => false,
        }
    }
}

/// What a route may refer to.
struct Reader<'r> {
    setup: &'r mut Setup,
    kinds_known: &'r [bool],
}

impl Reader<'_> {
    /// One entry. All of it is read, so that all that is wrong with it is told.
    fn route(&mut self, section: &Section<'_>) -> Option<(Vec<ListenerId>, PathPattern, &'static Service, Serve)> {
        let listeners = section.require("listener", &self.listeners_allowed(), |value| self.listeners(value));
        let names = SERVICES.map(|service| service.name);
        if section.get("serve").is_none() {
            section.missing("serve", quote_all(names).as_str());
        }
        let name = section.word("serve", &names);
        let service = SERVICES.iter().find(|service| Some(service.name) == name);
        let path = self.path(section, service);
        let service = service?;
        check_keys(section, service);
        let serve = (service.read)(self, section);
        Some((listeners?, path?, service, serve?))
    }

    fn listeners_allowed(&self) -> String {
        const SHOWN_MAX: usize = 20;
        let names = self.setup.listeners.iter().map(|listener| listener.name.as_str());
        format!("a listener of this file or a list of them: {}", quote_all(names.take(SHOWN_MAX)))
    }

    fn listeners(&self, value: &DeValue<'_>) -> Result<Vec<ListenerId>, String> {
        let one = |name: &str| {
            let known = || self.setup.listeners.iter().map(|listener| listener.name.as_str());
            let index = known().position(|known| known == name);
            index.map(|index| ListenerId(index as u16)).ok_or_else(|| unknown(name, known()))
        };
        let list = match value {
            DeValue::String(name) => return Ok(vec![one(name)?]),
            DeValue::Array(list) if !list.is_empty() => list,
            DeValue::Array(_) => return Err("the list is empty".into()),
            other => return Err(format!("{} where a text or a list belongs", value::describe(other))),
        };
        let mut ids = Vec::with_capacity(list.len());
        for entry in list.iter() {
            let name = value::text(entry.get_ref())?;
            let id = one(name)?;
            if ids.contains(&id) {
                return Err(format!("{} stands there twice", quote(name)));
            }
            ids.push(id);
        }
        Ok(ids)
    }

    fn path(&self, section: &Section<'_>, service: Option<&Service>) -> Option<PathPattern> {
        let bytes_max = self.setup.limits.target_bytes_max;
        let allowed = format!(
            "a path that begins with `/`, without `?`, `#`, percent-encoding and control characters, of at most {bytes_max} bytes"
        );
        let text = section.require("path", &allowed, |value| {
            let text = value::text(value)?;
            let odd = |c: char| c.is_control() || c == '?' || c == '#';
            if !text.starts_with('/') || text.contains(odd) || text.len() > bytes_max || is_encoded(text) {
                return Err(format!("{} is not a path", quote(text)));
            }
            Ok(text)
        })?;
        let service = service?;
        let prefix = text.strip_suffix('*').filter(|prefix| prefix.ends_with('/'));
        match (service.name == "channels", prefix) {
            (true, Some(prefix)) if !prefix.contains('*') => Some(PathPattern::Prefix(prefix.to_owned())),
            (true, _) => {
                let wrong = format!("{} leaves no place for the channel's name", quote(text));
                section.refuse("path", wrong, "for serve = \"channels\" a path with `/*` at its end, such as \"/c/*\"");
                None
            }
            (false, Some(prefix)) if service.name == "echo-body" && !prefix.contains('*') => {
                Some(PathPattern::Prefix(prefix.to_owned()))
            }
            (false, _) if text.contains('*') => {
                let wrong = format!("{} is not one path", quote(text));
                section.refuse("path", wrong, "`/*` at its end for serve = \"channels\" or \"echo-body\"");
                None
            }
            (false, _) => Some(PathPattern::Exact(text.to_owned())),
        }
    }

    fn websocket(&mut self, section: &Section<'_>) -> Option<Serve> {
        let target = self.target(section);
        let dialect = self.dialect(section, "tallycast", &["tallycast", "steps", "plain"]);
        let (target, dialect) = (target?, dialect?);
        let fitting: &[&str] = match self.kind(&target)? {
            Kind::Vote => &["tallycast", "steps"],
            Kind::Feed | Kind::Echo | Kind::Group => &["tallycast", "plain"],
            Kind::Direct => &["tallycast", "addressed"],
            Kind::Table => &["tallycast", "cells"],
            #[cfg(feature = "faults")]
            Kind::Fault => &["tallycast", "plain"],
        };
        self.check_dialect(section, &target, &dialect, fitting);
        let dialect = self.dialect_id(section, dialect);
        Some(Serve::WebSocket { aim: Aim::One(target), dialect })
    }

    fn long_poll(&mut self, section: &Section<'_>) -> Option<Serve> {
        let target = self.target(section);
        let dialect = self.dialect(section, "steps", &["steps"]);
        let wait = section.duration("wait", Duration::from_millis(10)..=self.setup.limits.poll_wait_max);
        let (target, dialect) = (target?, dialect?);
        self.check_kind(section, &target, &[Kind::Vote]);
        Some(Serve::LongPoll {
            target,
            dialect: self.dialect_id(section, dialect),
            wait: wait.unwrap_or(self.setup.limits.poll_wait_max),
        })
    }

    fn form(&mut self, section: &Section<'_>) -> Option<Serve> {
        let target = self.target(section);
        let field = section.read("field", WORD_ALLOWED, word);
        let accepted = section.read("accepted", "a text", value::text);
        let target = target?;
        self.check_kind(section, &target, &[Kind::Vote, Kind::Feed]);
        Some(Serve::Form { target, field: field?.into_inner().to_owned(), accepted: accepted?.into_inner().to_owned() })
    }

    fn page(&mut self, section: &Section<'_>) -> Option<Serve> {
        let target = self.target(section);
        let page = section.word("page", &["vote"]);
        let session = section.boolean("session");
        let target = target?;
        self.check_kind(section, &target, &[Kind::Vote]);
        page?;
        Some(Serve::Page { target: Some(target), page: PageId::Vote, session })
    }

    fn text(&mut self, section: &Section<'_>) -> Option<Serve> {
        let text = section.read("text", "a text", value::text)?;
        Some(Serve::Text { text: text.into_inner().to_owned() })
    }

    fn target(&self, section: &Section<'_>) -> Option<Target> {
        let target = |value| {
            let name = channels::name(value)?;
            match self.setup.class_of(name) {
                Some(class) => Ok(Target { channel: name.into(), class }),
                None => {
                    let known: Vec<String> =
                        self.setup.classes.iter().map(|class| channels::written(&class.pattern)).collect();
                    Err(unknown(name, known.iter().map(String::as_str)))
                }
            }
        };
        section.read("channel", CHANNEL_ALLOWED, target).map(Spanned::into_inner)
    }

    /// The kind of the target, if it could be read.
    fn kind(&self, target: &Target) -> Option<Kind> {
        self.kinds_known[usize::from(target.class.0)].then_some(self.setup.class(target.class).kind)
    }

    fn check_kind(&self, section: &Section<'_>, target: &Target, fitting: &[Kind]) {
        let Some(kind) = self.kind(target).filter(|kind| !fitting.contains(kind)) else {
            return;
        };
        let wrong = format!("{} is of kind {:?}", quote(&target.channel), kind.name());
        let kinds = quote_all(fitting.iter().map(|kind| kind.name()));
        section.refuse("channel", wrong, format!("here a channel of kind {kinds}"));
    }

    /// The dialect that the keys `dialect` and `key` name.
    fn dialect(&self, section: &Section<'_>, default: &'static str, words: &[&'static str]) -> Option<Dialect> {
        let name = match section.get("dialect") {
            Some(_) => section.word("dialect", words)?,
            None => default,
        };
        if name == "steps" {
            let key = section.require("key", WORD_ALLOWED, |value| match word(value)? {
                "count" => Err("\"count\" is the name of the count itself".to_owned()),
                key => Ok(key),
            })?;
            return Some(Dialect::Steps { key: key.to_owned() });
        }
        if section.get("key").is_some() {
            section.refuse("key", format!("the dialect {name:?} has no key"), "`key` for dialect \"steps\"");
        }
        match name {
            "plain" => Some(Dialect::Plain),
            _ => Some(Dialect::Tallycast),
        }
    }

    fn check_dialect(&self, section: &Section<'_>, target: &Target, dialect: &Dialect, fitting: &[&str]) {
        let name = dialect_name(dialect);
        let Some(kind) = self.kind(target).filter(|_| !fitting.contains(&name)) else {
            return;
        };
        let kind = kind.name();
        let wrong = format!("{} is of kind {kind:?}, which the dialect {name:?} cannot carry", quote(&target.channel));
        let allowed = format!("for kind {kind:?} one of {}", quote_all(fitting.iter().copied()));
        section.refuse("dialect", wrong, allowed);
    }

    fn dialect_id(&mut self, section: &Section<'_>, dialect: Dialect) -> DialectId {
        let known = self.setup.dialects.iter().position(|known| *known == dialect);
        let index = known.unwrap_or_else(|| {
            self.setup.dialects.push(dialect);
            self.setup.dialects.len() - 1
        });
        if index >= DIALECTS_MAX {
            section.refuse("key", "too many different keys", format!("at most {DIALECTS_MAX} dialects"));
        }
        DialectId(index as u8)
    }
}

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

/// The keys that a service needs are there, and none that it does not know.
fn check_keys(section: &Section<'_>, service: &Service) {
    for key in service.required {
        if section.get(key).is_none() {
            section.missing(key, needed(key));
        }
    }
    let fits = |key: &str| {
        let lists: [&[&str]; 3] = [&COMMON, service.required, service.optional];
        lists.iter().any(|list| list.contains(&key))
    };
    for key in KEYS.iter().filter(|key| section.get(key).is_some() && !fits(key)) {
        let users = SERVICES.iter().filter(|other| other.required.contains(key) || other.optional.contains(key));
        let allowed = format!("`{key}` for serve = {}", quote_all(users.map(|other| other.name)));
        section.refuse(key, format!("{:?} has no use for it", service.name), allowed);
    }
}

/// What a key that is missing should be.
fn needed(key: &str) -> &'static str {
    match key {
        "channel" => CHANNEL_ALLOWED,
        "page" => "\"vote\"",
        "field" => WORD_ALLOWED,
        _ => "a text",
    }
}

fn word<'t>(value: &'t DeValue<'t>) -> Result<&'t str, String> {
    let text = value::text(value)?;
    if text.is_empty() || text.len() > WORD_BYTES_MAX || text.contains(char::is_control) {
        return Err(format!("{} will not do", quote(text)));
    }
    Ok(text)
}

/// Paths are compared after decoding, so an encoded one would never be asked for.
fn is_encoded(path: &str) -> bool {
    percent_encoding::percent_decode_str(path).decode_utf8_lossy() != path
}
