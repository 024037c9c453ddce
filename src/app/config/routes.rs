//! `[[route]]`.

use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use super::section::{Section, unknown};
use super::value::{self, quote, quote_all};
use super::{channels, dialects, engine_io, pages};
use crate::base::keys::ListenerId;
use crate::base::limits::{CONFIG_ENTRIES_MAX, WORD_BYTES_MAX};
use crate::engine::ClassId;
use crate::kind::{Kind, user_name};
use crate::route::{Aim, PageId, PathPattern, Pattern, Route, Serve, Setup, Target};

pub(super) const KEYS: [&str; 19] = [
    "listener",
    "path",
    "serve",
    "channel",
    "dialect",
    "key",
    "to",
    "gap",
    "wait",
    "field",
    "accepted",
    "page",
    "session",
    "text",
    "ping_interval",
    "ping_timeout",
    "payload_max",
    "connect_timeout",
    "namespaces",
];
/// Keys that every route has.
const COMMON: [&str; 3] = ["listener", "path", "serve"];
pub(super) const WORD_ALLOWED: &str = "1 to 64 bytes of text without control characters";
pub(super) const CHANNEL_ALLOWED: &str = "the name of a channel of this file, or a name that fits a pattern of it";
pub(super) const PATTERN_ALLOWED: &str = "a pattern of this file, such as \"dm/*\"";

/// Which requests a route is asked for, as bits.
type Requests = u8;
const UPGRADE: Requests = 1;
const GET: Requests = 2;
const POST: Requests = 4;
const ALL: Requests = 15;

/// What a service's paths look like.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// One path.
    One,
    /// All paths behind one: `/c/*`.
    Rest,
    /// Either.
    OneOrRest,
    /// One that ends with `/`; what is behind it belongs to it.
    Folder,
}

/// What can be served, with the requests it is for, the keys it needs and those it may have.
struct Service {
    name: &'static str,
    requests: Requests,
    shape: Shape,
    required: &'static [&'static str],
    optional: &'static [&'static str],
    /// The path is there if it is right.
    read: fn(&mut Reader<'_>, &Section<'_>, Option<&PathPattern>) -> Option<Serve>,
}

const SERVICES: [Service; 10] = [
    Service {
        name: "channels",
        requests: ALL,
        shape: Shape::Rest,
        required: &[],
        optional: &[],
        read: |_, _, _| Some(Serve::Channels),
    },
    Service {
        name: "websocket",
        requests: UPGRADE,
        shape: Shape::OneOrRest,
        required: &["channel"],
        optional: &["dialect", "key", "to", "gap"],
        read: |reader, section, path| reader.websocket(section, path),
    },
    Service {
        name: "long-poll",
        requests: GET,
        shape: Shape::One,
        required: &["channel"],
        optional: &["dialect", "key", "wait"],
        read: |reader, section, _| reader.long_poll(section),
    },
    Service {
        name: "form",
        requests: POST,
        shape: Shape::One,
        required: &["channel", "field", "accepted"],
        optional: &[],
        read: |reader, section, _| reader.form(section),
    },
    Service {
        name: "json",
        requests: POST,
        shape: Shape::One,
        required: &["channel", "accepted"],
        optional: &["dialect"],
        read: |reader, section, _| reader.json(section),
    },
    Service {
        name: "engine.io",
        requests: GET | POST | UPGRADE,
        shape: Shape::Folder,
        required: &[],
        optional: &["ping_interval", "ping_timeout", "payload_max"],
        read: |reader, section, _| reader.engine_io(section),
    },
    Service {
        name: "socket.io",
        requests: GET | POST | UPGRADE,
        shape: Shape::Folder,
        required: &["namespaces"],
        optional: &["ping_interval", "ping_timeout", "payload_max", "connect_timeout"],
        read: |reader, section, _| reader.socket_io(section),
    },
    Service {
        name: "page",
        requests: GET,
        shape: Shape::One,
        required: &["page"],
        optional: &["channel", "session"],
        read: |reader, section, _| reader.page(section),
    },
    Service {
        name: "text",
        requests: GET,
        shape: Shape::One,
        required: &["text"],
        optional: &[],
        read: |reader, section, _| reader.text(section),
    },
    Service {
        name: "echo-body",
        requests: ALL,
        shape: Shape::OneOrRest,
        required: &[],
        optional: &[],
        read: |_, _, _| Some(Serve::EchoBody),
    },
];

/// Puts all routes that are whole, and the dialects that they name, into the setup, which has all else already.
/// `kinds_known` tells for each class whether its kind could be read, so that it can be judged what fits it.
pub(super) fn read(document: &Section<'_>, setup: &mut Setup, kinds_known: &[bool]) {
    let mut reader = Reader { setup, kinds_known };
    let mut taken: Vec<Taken> = Vec::new();
    let sections = document.tables("route", &KEYS, CONFIG_ENTRIES_MAX, |index, _| format!("route[{index}]"));
    let mut all_whole = true;
    for (entry, section) in sections.iter().enumerate() {
        let Some((listeners, path, service, serve)) = reader.route(section) else {
            all_whole = false;
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
            let new = Taken { route, requests: service.requests, entry, line };
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
    // A route that could not be read may be the one that a page needs.
    if all_whole {
        let routes: Vec<&Route> = taken.iter().map(|taken| &taken.route).collect();
        for page in &taken {
            pages::check_socket_io(&sections[page.entry], reader.setup, &routes, &page.route);
        }
    }
    setup.routes = taken.into_iter().map(|taken| taken.route).collect();
}

/// A route with what it takes from those behind it.
struct Taken {
    route: Route,
    requests: Requests,
    /// Which entry of the file it comes from, and its line.
    entry: usize,
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
pub(super) struct Reader<'r> {
    pub(super) setup: &'r mut Setup,
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
        let serve = (service.read)(self, section, path.as_ref());
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
        shaped(section, text, service?)
    }

    fn websocket(&mut self, section: &Section<'_>, path: Option<&PathPattern>) -> Option<Serve> {
        const DIALECTS: [&str; 6] = ["tallycast", "steps", "tally", "plain", "addressed", "cells"];
        let aim = self.aim(section, path);
        let dialect = dialects::read(section, "tallycast", &DIALECTS);
        let (aim, dialect) = (aim?, dialect?);
        let (channel, class) = match &aim {
            Aim::One(target) => (target.channel.to_string(), target.class),
            Aim::Rest { prefix, class } => (format!("{prefix}*"), *class),
        };
        self.check_dialect(section, (&channel, class), &dialect, &DIALECTS);
        let dialect = self.dialect_id(section, dialect);
        Some(Serve::WebSocket { aim, dialect })
    }

    /// One channel; or, behind a path with `/*` at its end, all channels of a pattern.
    fn aim(&self, section: &Section<'_>, path: Option<&PathPattern>) -> Option<Aim> {
        let by_pattern = match path {
            Some(PathPattern::Prefix(_)) => true,
            Some(PathPattern::Exact(_)) => false,
            None => section.get("channel")?.get_ref().as_str().is_some_and(|text| text.ends_with('*')),
        };
        if !by_pattern {
            return self.target(section).map(Aim::One);
        }
        let (prefix, class) = self.pattern(section)?;
        let mut others = self.setup.classes.iter().map(|class| &class.pattern);
        if let Some(other) = others.find(|other| channels::lies_within(other, prefix)) {
            let wrong = format!(
                "{} is asked for by the same paths, and it is another channel of this file",
                quote(&channels::written(other))
            );
            section.refuse("channel", wrong, "a pattern that no other channel begins with");
        }
        Some(Aim::Rest { prefix: prefix.to_owned(), class })
    }

    fn long_poll(&mut self, section: &Section<'_>) -> Option<Serve> {
        let target = self.target(section);
        let dialect = dialects::read(section, "steps", &["steps"]);
        let wait = section.duration("wait", Duration::from_millis(10)..=self.setup.limits.poll_wait_max);
        let (target, dialect) = (target?, dialect?);
        self.check_kind(section, (&target.channel, target.class), &[Kind::Vote]);
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
        self.check_kind(section, (&target.channel, target.class), &[Kind::Vote, Kind::Group, Kind::Feed]);
        Some(Serve::Form { target, field: field?.into_inner().to_owned(), accepted: accepted?.into_inner().to_owned() })
    }

    fn json(&mut self, section: &Section<'_>) -> Option<Serve> {
        let target = self.target(section);
        let dialect = dialects::read(section, "cells", &["cells"]);
        let accepted = section.read("accepted", "a text", value::text);
        let (target, dialect) = (target?, dialect?);
        self.check_kind(section, (&target.channel, target.class), &[Kind::Table]);
        let dialect = self.dialect_id(section, dialect);
        Some(Serve::Json { target, dialect, accepted: accepted?.into_inner().to_owned() })
    }

    fn text(&mut self, section: &Section<'_>) -> Option<Serve> {
        let text = section.read("text", "a text", value::text)?;
        Some(Serve::Text { text: text.into_inner().to_owned() })
    }

    /// The channel that the key names.
    pub(super) fn target(&self, section: &Section<'_>) -> Option<Target> {
        let target = |value| {
            let name = channels::name(value)?;
            match self.setup.class_of(name) {
                Some(class) if self.names_no_user(name, class) => {
                    Err(format!("{} is of a user whose name is too long", quote(name)))
                }
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

    /// Whether the channel would be one user's, but nobody can be called so.
    fn names_no_user(&self, name: &str, class: ClassId) -> bool {
        let class = self.setup.class(class);
        match &class.pattern {
            Pattern::Prefix(prefix) => class.kind == Kind::Direct && user_name(&name[prefix.len()..]).is_err(),
            Pattern::Name(_) => false,
        }
    }

    /// The pattern that the key `channel` names: what stands before its `*`.
    pub(super) fn pattern<'t>(&self, section: &Section<'t>) -> Option<(&'t str, ClassId)> {
        let take = |value: &'t DeValue<'t>| {
            let text = value::text(value)?;
            let Some(prefix) = text.strip_suffix('*') else {
                return Err(format!("{} is one channel, not a pattern", quote(text)));
            };
            let mut patterns = self.setup.classes.iter().map(|class| &class.pattern);
            let here = |pattern: &Pattern| matches!(pattern, Pattern::Prefix(known) if known == prefix);
            match patterns.position(here) {
                Some(index) => Ok((prefix, ClassId(index as u16))),
                None => {
                    let known: Vec<String> = (self.setup.classes.iter())
                        .filter(|class| matches!(class.pattern, Pattern::Prefix(_)))
                        .map(|class| channels::written(&class.pattern))
                        .collect();
                    Err(unknown(text, known.iter().map(String::as_str)))
                }
            }
        };
        section.read("channel", PATTERN_ALLOWED, take).map(Spanned::into_inner)
    }

    /// The kind of the class, if it could be read.
    pub(super) fn kind(&self, class: ClassId) -> Option<Kind> {
        self.kinds_known[usize::from(class.0)].then_some(self.setup.class(class).kind)
    }

    /// The channel is of one of these kinds.
    pub(super) fn check_kind(&self, section: &Section<'_>, (channel, class): (&str, ClassId), fitting: &[Kind]) {
        let Some(kind) = self.kind(class).filter(|kind| !fitting.contains(kind)) else {
            return;
        };
        let wrong = format!("{} is of kind {:?}", quote(channel), kind.name());
        let kinds = quote_all(fitting.iter().map(|kind| kind.name()));
        section.refuse("channel", wrong, format!("here a channel of kind {kinds}"));
    }
}

/// The path as the service takes it.
fn shaped(section: &Section<'_>, text: &str, service: &Service) -> Option<PathPattern> {
    let prefix = text.strip_suffix('*').filter(|prefix| prefix.ends_with('/') && !prefix.contains('*'));
    let wrong = match (service.shape, prefix) {
        (Shape::Rest | Shape::OneOrRest, Some(prefix)) => return Some(PathPattern::Prefix(prefix.to_owned())),
        (Shape::One | Shape::OneOrRest, _) if !text.contains('*') => return Some(PathPattern::Exact(text.to_owned())),
        (Shape::Folder, _) if text.ends_with('/') && !text.contains('*') => {
            return Some(PathPattern::Prefix(text.to_owned()));
        }
        (Shape::Rest, _) => format!("{} leaves no place for the channel's name", quote(text)),
        (Shape::One | Shape::OneOrRest, _) => format!("{} is not one path", quote(text)),
        (Shape::Folder, _) => format!("{} does not end with `/`", quote(text)),
    };
    let allowed = match service.shape {
        Shape::Rest => {
            format!("for serve = {:?} a path with `/*` at its end, such as \"/c/*\"", service.name)
        }
        Shape::One | Shape::OneOrRest => {
            let others = SERVICES.iter().filter(|other| matches!(other.shape, Shape::Rest | Shape::OneOrRest));
            format!("`/*` at its end for serve = {}", quote_all(others.map(|other| other.name)))
        }
        Shape::Folder => {
            format!("for serve = {:?} a path with `/` at its end, such as \"/{}/\"", service.name, service.name)
        }
    };
    section.refuse("path", wrong, allowed);
    None
}

/// The keys that a service needs are there, and none that it does not know.
fn check_keys(section: &Section<'_>, service: &Service) {
    for key in service.required {
        if section.get(key).is_none() {
            section.missing(key, &needed(key));
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
fn needed(key: &str) -> String {
    match key {
        "channel" => CHANNEL_ALLOWED.into(),
        "page" => quote_all(PageId::ALL.map(PageId::name)),
        "field" => WORD_ALLOWED.into(),
        "namespaces" => engine_io::NAMESPACES_ALLOWED.into(),
        _ => "a text".into(),
    }
}

/// A word that clients see.
pub(super) fn word<'t>(value: &'t DeValue<'t>) -> Result<&'t str, String> {
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
