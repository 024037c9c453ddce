//! What an Engine.IO endpoint is for: an echo of its own, or Socket.IO namespaces, each bound to a channel.

use std::time::Duration;

use super::{DialectId, Target};

/// An endpoint: what the handshake says, and what is spoken above it.
#[derive(Clone, PartialEq, Debug)]
pub struct EngineIo {
    /// How often the server pings (version 4), or the client is to ping (version 3).
    pub ping_interval: Duration,
    /// How long the answer may take.
    pub ping_timeout: Duration,
    /// Bytes of a POST's body, and of a WebSocket message.
    pub payload_bytes_max: usize,
    /// What is spoken.
    pub speaks: Speaks,
}

/// What is spoken above Engine.IO.
#[derive(Clone, PartialEq, Debug)]
pub enum Speaks {
    /// Every message packet goes back as it came.
    Echo,
    /// Socket.IO, protocol 5 above Engine.IO 4, protocols 3 and 4 above Engine.IO 3.
    SocketIo {
        /// How long a client of protocol 5 may take to join its first namespace.
        connect_timeout: Duration,
        /// In the order of the configuration; names are unique and begin with `/`.
        namespaces: Vec<Namespace>,
    },
}

/// A namespace.
#[derive(Clone, PartialEq, Debug)]
pub struct Namespace {
    /// `/` or `/name`.
    pub name: String,
    /// The channel whose publications its clients get; `None`: none.
    pub target: Option<Target>,
    /// How they are written: a [`Dialect::Event`](super::Dialect::Event) of this namespace. Meaningless without a target.
    pub dialect: DialectId,
    /// What a client gets right after the reply to its connect.
    pub connected: Option<Connected>,
    /// What its events mean. An event that none of them names is refused.
    pub events: Vec<EventRule>,
}

/// An event that greets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Connected {
    /// Its name.
    pub event: String,
    /// Its one argument, JSON; `None`: what the client sent with its connect, `{}` if that was nothing.
    pub data: Option<String>,
}

/// What an event means.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EventRule {
    /// Its name.
    pub event: String,
    /// What it does.
    pub does: Does,
}

/// What an event of a client does. An acknowledgement that it asks for is always given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Does {
    /// Its first argument is a message for the channel, read by the namespace's dialect. The acknowledgement has one
    /// argument, the outcome in our own form; a refusal nobody asked for is the event `refused`.
    Send,
    /// Nothing. The acknowledgement is empty.
    Nothing,
    /// The same arguments go back under this name. The acknowledgement is empty.
    Back(String),
    /// The same arguments are the acknowledgement.
    Acknowledge,
}
