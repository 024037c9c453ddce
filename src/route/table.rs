//! Finding the route of a request.

use std::sync::Arc;

use super::page::Link;
use super::{Aim, PathPattern, Pattern, Route, Serve, Setup, Target};
use crate::base::keys::ListenerId;
use crate::base::limits::CHANNEL_NAME_BYTES_MAX;
use crate::kind::{Kind, user_name};

/// What a request is for.
#[derive(Clone, PartialEq, Debug)]
pub enum Found<'s> {
    /// This, and for a prefix of channels which one.
    Serve(&'s Serve, Option<Target>),
    /// The path is known, the method is not; these are, for `Allow`.
    OtherMethod(Vec<&'static str>),
    /// The path is served to WebSocket clients alone.
    WebSocketOnly,
    /// No route, or no such channel.
    Nothing,
}

impl Setup {
    /// The route of a request: `path` percent-decoded, `websocket` if it asks for that upgrade.
    pub fn find(&self, listener: ListenerId, method: &str, path: &str, websocket: bool) -> Found<'_> {
        let mut allowed: Vec<&'static str> = Vec::new();
        let mut websocket_only = false;
        let mut without_upgrade = None;
        for route in self.routes.iter().filter(|route| route.listener == listener) {
            let Some(rest) = route.path.fits(path) else { continue };
            let target = match &route.serve {
                Serve::Channels => match self.target(rest) {
                    Some(target) => Some(target),
                    None => continue,
                },
                Serve::WebSocket { aim: Aim::One(target), .. } => Some(target.clone()),
                Serve::WebSocket { aim: Aim::Rest { prefix, .. }, .. } => match self.target(&format!("{prefix}{rest}"))
                {
                    Some(target) => Some(target),
                    None => continue,
                },
                Serve::LongPoll { .. }
                | Serve::Form { .. }
                | Serve::Json { .. }
                | Serve::EngineIo(_)
                | Serve::Page { .. }
                | Serve::Text { .. }
                | Serve::EchoBody => None,
            };
            let methods = self.methods(&route.serve, target.as_ref());
            if route.serves(method, websocket, methods) {
                // An upgrade is served by a route that has it, if there is one; otherwise it is ignored.
                if !websocket || route.upgrades() {
                    return Found::Serve(&route.serve, target);
                }
                without_upgrade.get_or_insert(Found::Serve(&route.serve, target));
            }
            websocket_only |= method == "GET" && matches!(route.serve, Serve::WebSocket { .. });
            for method in methods {
                if !allowed.contains(method) {
                    allowed.push(method);
                }
            }
        }
        if let Some(found) = without_upgrade {
            return found;
        }
        match (websocket_only, allowed.is_empty()) {
            (true, _) => Found::WebSocketOnly,
            (false, true) => Found::Nothing,
            (false, false) => Found::OtherMethod(allowed),
        }
    }

    /// The pages of a listener, in the order of the configuration.
    pub fn links(&self, listener: ListenerId) -> Vec<Link<'_>> {
        self.routes
            .iter()
            .filter(|route| route.listener == listener)
            .filter_map(|route| match (&route.path, &route.serve) {
                (PathPattern::Exact(path), Serve::Page { target, page, .. }) => {
                    Some(Link { page: *page, path, channel: target.as_ref().map(|target| &*target.channel) })
                }
                _ => None,
            })
            .collect()
    }

    /// The methods with which a path is served; none if it is not.
    pub fn allowed(&self, listener: ListenerId, path: &str) -> Vec<&'static str> {
        match self.find(listener, "", path, false) {
            Found::OtherMethod(methods) => methods,
            Found::Serve(serve, target) => self.methods(serve, target.as_ref()).to_vec(),
            Found::WebSocketOnly => vec!["GET"],
            Found::Nothing => Vec::new(),
        }
    }

    /// The methods that a route answers without an upgrade: of a channel that keeps nothing, nothing can be read.
    fn methods(&self, serve: &Serve, target: Option<&Target>) -> &'static [&'static str] {
        match (serve, target) {
            (Serve::Channels, Some(target)) if self.class(target.class).spec.is_none() => &["POST"],
            (serve, _) => serve.methods(),
        }
    }

    /// Whether an Engine.IO endpoint is at this path.
    pub fn has_engine_io(&self, listener: ListenerId, path: &str) -> bool {
        self.routes.iter().any(|route| {
            route.listener == listener && matches!(route.serve, Serve::EngineIo(_)) && route.path.fits(path).is_some()
        })
    }

    /// What a path has behind the route's that serves this.
    pub fn rest_of<'p>(&self, listener: ListenerId, serve: &Serve, path: &'p str) -> &'p str {
        let of_it = |route: &&Route| route.listener == listener && std::ptr::eq(&raw const route.serve, serve);
        self.routes.iter().find(of_it).and_then(|route| route.path.fits(path)).unwrap_or_default()
    }

    /// The channel of this name, if there may be one.
    pub fn target(&self, name: &str) -> Option<Target> {
        if name.is_empty() || name.len() > CHANNEL_NAME_BYTES_MAX {
            return None;
        }
        let class = self.class_of(name)?;
        // Of `direct`, the rest is a user's name.
        if let (Kind::Direct, Pattern::Prefix(prefix)) = (self.class(class).kind, &self.class(class).pattern) {
            user_name(&name[prefix.len()..]).ok()?;
        }
        Some(Target { channel: Arc::from(name), class })
    }
}

impl PathPattern {
    /// What stands behind the pattern's fixed part, if the path fits.
    fn fits<'p>(&self, path: &'p str) -> Option<&'p str> {
        match self {
            PathPattern::Exact(exact) => (exact == path).then_some(""),
            PathPattern::Prefix(prefix) => path.strip_prefix(prefix.as_str()),
        }
    }
}

impl Route {
    fn serves(&self, method: &str, websocket: bool, methods: &[&str]) -> bool {
        match &self.serve {
            Serve::WebSocket { .. } => method == "GET" && websocket,
            Serve::Channels => methods.contains(&method) || (method == "GET" && websocket),
            Serve::EchoBody => !method.is_empty(),
            // What it refuses, it refuses in its own words.
            Serve::EngineIo(_) => !method.is_empty(),
            Serve::LongPoll { .. }
            | Serve::Form { .. }
            | Serve::Json { .. }
            | Serve::Page { .. }
            | Serve::Text { .. } => methods.contains(&method),
        }
    }
}

impl Route {
    fn upgrades(&self) -> bool {
        matches!(self.serve, Serve::Channels | Serve::WebSocket { .. } | Serve::EngineIo(_))
    }
}

impl Serve {
    /// The methods that it answers. (HEAD is a GET without a body.)
    pub fn methods(&self) -> &'static [&'static str] {
        match self {
            Serve::Channels => &["GET", "HEAD", "POST"],
            Serve::WebSocket { .. } => &["GET"],
            Serve::LongPoll { .. } | Serve::Page { .. } | Serve::Text { .. } => &["GET", "HEAD"],
            Serve::Form { .. } | Serve::Json { .. } => &["POST"],
            Serve::EngineIo(_) => &["GET", "POST"],
            Serve::EchoBody => &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::limits::Limits;
    use crate::engine::{ChannelSpec, ClassId, Data};
    use crate::kind::Manners;
    use crate::route::{Class, Dialect, DialectId, Slow};

    fn class(pattern: Pattern) -> Class {
        let spec = ChannelSpec {
            data: Data::Log,
            history_publications_max: 1,
            history_bytes_max: 1,
            durable: false,
            unheard: None,
            users_max: 1000,
            idle: None,
        };
        Class {
            pattern,
            kind: Kind::Feed,
            spec: Some(spec),
            heartbeat: None,
            manners: Manners::default(),
            slow: Slow::Close,
            max_rate: None,
        }
    }

    fn setup() -> Setup {
        let target = Target { channel: "poll/lunch".into(), class: ClassId(0) };
        let route = |path: &str, serve| Route {
            listener: ListenerId(0),
            path: match path.strip_suffix('*') {
                Some(prefix) => PathPattern::Prefix(prefix.into()),
                None => PathPattern::Exact(path.into()),
            },
            serve,
        };
        let websocket = Serve::WebSocket { aim: Aim::One(target.clone()), dialect: DialectId(0) };
        Setup {
            limits: Limits::default(),
            listeners: vec![],
            classes: vec![
                class(Pattern::Name("poll/lunch".into())),
                class(Pattern::Prefix("poll/".into())),
                class(Pattern::Prefix("poll/big/".into())),
                Class { kind: Kind::Echo, spec: None, ..class(Pattern::Name("echo".into())) },
            ],
            dialects: vec![Dialect::Tallycast],
            routes: vec![
                route("/c/*", Serve::Channels),
                route("/votes", websocket.clone()),
                route(
                    "/votes",
                    Serve::LongPoll { target: target.clone(), dialect: DialectId(0), wait: Duration::from_secs(1) },
                ),
                route("/socket", websocket.clone()),
                route("/later", Serve::Text { text: "no".into() }),
                route("/later", websocket),
                route("/text", Serve::Text { text: "no".into() }),
                route("/vote", Serve::Form { target, field: "id".into(), accepted: "yes".into() }),
            ],
        }
    }

    #[test]
    fn the_longest_pattern_wins_and_a_name_wins_over_all() {
        let setup = setup();
        for (name, class) in [
            ("poll/lunch", Some(0)),
            ("poll/x", Some(1)),
            ("poll/big/x", Some(2)),
            ("poll/big/", Some(1)),
            ("poll/", None),
            ("other", None),
            ("", None),
        ] {
            assert_eq!(setup.class_of(name), class.map(ClassId), "{name}");
        }
    }

    #[test]
    fn rows_of_requests_find_their_routes() {
        let setup = setup();
        let word = |method: &str, path: &str, websocket| match setup.find(ListenerId(0), method, path, websocket) {
            Found::Serve(Serve::Channels, Some(target)) => format!("channel {}", target.channel),
            Found::Serve(Serve::WebSocket { .. }, _) => "websocket".into(),
            Found::Serve(Serve::LongPoll { .. }, _) => "long-poll".into(),
            Found::Serve(Serve::Form { .. }, _) => "form".into(),
            Found::Serve(Serve::Text { .. }, _) => "text".into(),
            Found::Serve(other, _) => format!("{other:?}"),
            Found::OtherMethod(methods) => methods.join(" "),
            Found::WebSocketOnly => "websocket only".into(),
            Found::Nothing => "nothing".into(),
        };
        for (method, path, websocket, expected) in [
            ("GET", "/c/poll/x", false, "channel poll/x"),
            ("GET", "/c/poll/x", true, "channel poll/x"),
            ("DELETE", "/c/poll/x", false, "GET HEAD POST"),
            ("GET", "/c/none", false, "nothing"),
            ("GET", "/c/echo", true, "channel echo"),
            ("POST", "/c/echo", false, "channel echo"),
            ("GET", "/c/echo", false, "POST"),
            ("DELETE", "/c/echo", false, "POST"),
            ("GET", "/c/", false, "nothing"),
            ("GET", "/votes", true, "websocket"),
            ("GET", "/votes", false, "long-poll"),
            ("POST", "/votes", false, "GET HEAD"),
            ("GET", "/later", true, "websocket"),
            ("GET", "/later", false, "text"),
            ("GET", "/text", true, "text"),
            ("GET", "/socket", false, "websocket only"),
            ("POST", "/socket", false, "GET"),
            ("POST", "/vote", false, "form"),
            ("GET", "/vote", false, "POST"),
            ("GET", "/none", false, "nothing"),
        ] {
            assert_eq!(word(method, path, websocket), expected, "{method} {path} {websocket}");
        }
        assert_eq!(setup.find(ListenerId(1), "GET", "/votes", false), Found::Nothing);
        assert_eq!(setup.allowed(ListenerId(0), "/votes"), ["GET", "HEAD"]);
    }
}
