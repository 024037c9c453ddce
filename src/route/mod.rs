//! Routes bind a listener, method, path and upgrade to a channel, a transport and a dialect. All of this is made once,
//! from the configuration, is never changed, and is shared by all cores.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::base::keys::ListenerId;
use crate::base::limits::Limits;
use crate::engine::{ChannelName, ChannelSpec, ClassId};
use crate::kind::{Kind, Manners};
use crate::wire::http::Hosts;

pub mod dialect;
pub mod engine_io;
pub mod origin;
pub mod page;
pub mod table;

pub use dialect::{Dialect, DialectId};
pub use engine_io::{Connected, Does, EngineIo, EventRule, Namespace, Speaks};
pub use origin::Origins;
pub use page::PageId;

/// Everything that a configuration says and that a core must know.
#[derive(Debug)]
pub struct Setup {
    /// Bounds.
    pub limits: Limits,
    /// By [`ListenerId`].
    pub listeners: Vec<Listener>,
    /// By [`ClassId`].
    pub classes: Vec<Class>,
    /// By [`DialectId`]; the first is always [`Dialect::Tallycast`].
    pub dialects: Vec<Dialect>,
    /// In the order of the configuration: the first that fits wins.
    pub routes: Vec<Route>,
}

/// A listening socket.
#[derive(Clone, PartialEq, Debug)]
pub struct Listener {
    /// For messages and for routes to name it.
    pub name: String,
    /// Where; port 0 takes any free port.
    pub address: SocketAddr,
    /// Which pages may use it: WebSocket handshakes, POST and CORS alike.
    pub origins: Origins,
    /// What a target in absolute form may say.
    pub hosts: Hosts,
    /// Whether the server starts without it if the address is taken.
    pub optional: bool,
}

/// A channel, or a pattern of channels.
#[derive(Clone, PartialEq, Debug)]
pub struct Class {
    /// Which names.
    pub pattern: Pattern,
    /// What a message means.
    pub kind: Kind,
    /// What the engine keeps; `None` if the kind never reaches the engine.
    pub spec: Option<ChannelSpec>,
    /// A text that every WebSocket connection gets unasked: what, and how often.
    pub heartbeat: Option<Heartbeat>,
    /// How it treats those who talk and listen there.
    pub manners: Manners,
    /// What becomes of readers who are too slow.
    pub slow: Slow,
    /// Its pace: so many flushes a second at most, from 1; `None`: news leave at once.
    pub max_rate: Option<u16>,
}

/// What becomes of a reader whom the tail of a log passes. The message that it is in the middle of, it gets whole.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Slow {
    /// It is closed, and may come back and resume.
    #[default]
    Close,
    /// It is told that there was a gap, when it can take that, and goes on at the present.
    Skip,
    /// It is shown the present state, when it can take that, and goes on from there.
    Latest,
}

/// A text that nobody asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Heartbeat {
    /// The text.
    pub text: String,
    /// First this long after the handshake, then each time again.
    pub every: Duration,
}

/// Which channel names a class stands for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Pattern {
    /// This one.
    Name(ChannelName),
    /// All that begin with this and go on by at least one character: written `poll/*`, kept as `poll/`.
    Prefix(String),
}

/// One entry of the table of routes.
#[derive(Clone, PartialEq, Debug)]
pub struct Route {
    /// Where.
    pub listener: ListenerId,
    /// Which path, percent-decoded.
    pub path: PathPattern,
    /// What is served there, and so for which methods and upgrade.
    pub serve: Serve,
}

/// Which paths a route stands for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PathPattern {
    /// This one.
    Exact(String),
    /// All that begin with this; the rest is the channel's name, if there is one. Written `/c/*`, kept as `/c/`.
    Prefix(String),
}

/// A channel with its class.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// The channel.
    pub channel: ChannelName,
    /// Its class.
    pub class: ClassId,
}

/// The channel that a route is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Aim {
    /// This one.
    One(Target),
    /// The path's rest is the rest of the channel's name: `/my_ws/*` for `dm/*`. The route's path is a prefix.
    Rest {
        /// How the channel's name begins.
        prefix: String,
        /// The class of all such channels.
        class: ClassId,
    },
}

/// What is served.
#[derive(Clone, PartialEq, Debug)]
pub enum Serve {
    /// Every channel of the configuration by every transport, by content negotiation. The path is a prefix.
    Channels,
    /// GET with `Upgrade: websocket`.
    WebSocket {
        /// The channel.
        aim: Aim,
        /// How messages and publications are written.
        dialect: DialectId,
    },
    /// GET, answered with one change after another under a session cookie; parked while there is none.
    LongPoll {
        /// The channel.
        target: Target,
        /// How a change is written.
        dialect: DialectId,
        /// How long a poll is parked.
        wait: Duration,
    },
    /// POST of a form; one field of it is the message.
    Form {
        /// The channel.
        target: Target,
        /// The field.
        field: String,
        /// The text that says yes.
        accepted: String,
    },
    /// POST of a message as JSON.
    Json {
        /// The channel.
        target: Target,
        /// How it is read.
        dialect: DialectId,
        /// The text that says yes.
        accepted: String,
    },
    /// Engine.IO, and perhaps Socket.IO above it: GET and POST by polling, GET with `Upgrade: websocket`. The path is a
    /// prefix and ends with `/`; below it stands, with Socket.IO, the official client's bundle (`socket.io.js`).
    EngineIo(Arc<EngineIo>),
    /// GET: an HTML page.
    Page {
        /// The channel, and whether the page shows its present state is the page's matter. None for pages of no channel;
        /// of a `direct` pattern, the prefix stands as the channel's name.
        target: Option<Target>,
        /// Which page.
        page: PageId,
        /// Whether it sets the cookie of a long-polling session, whose cursor is the state in the page.
        session: bool,
    },
    /// GET: a fixed text.
    Text {
        /// The text.
        text: String,
    },
    /// Any method: 200 with the request's body.
    EchoBody,
}

impl Setup {
    /// The class of a channel's name: a name of its own before a pattern, a longer pattern before a shorter.
    pub fn class_of(&self, name: &str) -> Option<ClassId> {
        let rank = |class: &Class| match &class.pattern {
            Pattern::Name(exact) => (**exact == *name).then_some(usize::MAX),
            Pattern::Prefix(prefix) => {
                (name.len() > prefix.len() && name.starts_with(prefix.as_str())).then_some(prefix.len())
            }
        };
        let ranked = self.classes.iter().enumerate().filter_map(|(index, class)| Some((rank(class)?, index)));
        ranked.max_by_key(|(rank, _)| *rank).map(|(_, index)| ClassId(index as u16))
    }

    /// The class with this id.
    pub fn class(&self, id: ClassId) -> &Class {
        &self.classes[usize::from(id.0)]
    }

    /// What becomes of slow readers of a class in a dialect. Who asks for every step is told every step, or comes back.
    pub fn slow(&self, class: ClassId, dialect: DialectId) -> Slow {
        let (slow, dialect) = (self.class(class).slow, self.dialect(dialect));
        match slow {
            Slow::Latest if !dialect.has_snapshots() => Slow::Close,
            Slow::Skip if !dialect.has_gaps() => Slow::Close,
            Slow::Close | Slow::Skip | Slow::Latest => slow,
        }
    }

    /// The dialect with this id.
    pub fn dialect(&self, id: DialectId) -> &Dialect {
        &self.dialects[usize::from(id.0)]
    }

    /// What an engine must know, by [`ClassId`].
    pub fn specs(&self) -> Vec<Option<ChannelSpec>> {
        self.classes.iter().map(|class| class.spec.clone()).collect()
    }
}

/// A setup as all cores hold it.
pub type SharedSetup = Arc<Setup>;
