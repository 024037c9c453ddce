//! Socket.IO packets, protocol 5 (above Engine.IO 4) and protocols 3 and 4 (above Engine.IO 3), socket.io-protocol.
//!
//! JSON is not taken apart further than need be: arguments stay the text they came as.

use super::engineio::Version;

/// What a client says, whole.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// It wants to join a namespace.
    Connect {
        /// `/` or `/name`, without its query.
        namespace: String,
        /// What stands behind `?` in the namespace (protocols 3 and 4).
        query: Option<String>,
        /// A JSON object (protocol 5).
        auth: Option<String>,
    },
    /// It leaves a namespace.
    Disconnect {
        /// Which.
        namespace: String,
    },
    /// An event.
    Event {
        /// Where.
        namespace: String,
        /// The number under which it wants an acknowledgement.
        id: Option<u64>,
        /// The event's name.
        name: String,
        /// The arguments.
        args: Args,
    },
    /// It acknowledges an event.
    Ack {
        /// Where.
        namespace: String,
        /// Which.
        id: u64,
        /// The arguments.
        args: Args,
    },
}

/// Arguments: a JSON array, compact or not, in which `{"_placeholder":true,"num":N}` stands for an attachment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Args {
    /// The array, `[1,"2"]`; of an event, without its name.
    pub json: String,
    /// By their numbers.
    pub attachments: Vec<Vec<u8>>,
}

/// The peer broke the protocol: the connection closes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Violation {
    /// The packet's head cannot be read.
    Head,
    /// The data is not what this packet has: JSON of a kind that fits.
    Data,
    /// The JSON is nested more deeply than `JSON_DEPTH_MAX`.
    Depth,
    /// More attachments are announced than `ATTACHMENTS_MAX`, or placeholders and attachments do not fit.
    Attachments,
    /// A text where an attachment was due, or the other way round.
    OutOfTurn,
    /// A packet and its attachments are larger than the reader's bound.
    TooLarge,
    /// The name of a namespace or event is longer than `EVENT_NAME_BYTES_MAX`.
    Name,
}

/// Puts messages together from Engine.IO messages.
#[derive(Debug)]
pub struct Reader {
    version: Version,
    bytes_max: usize,
}

impl Reader {
    /// `bytes_max`: of a packet with all its attachments.
    pub fn new(version: Version, bytes_max: usize) -> Reader {
        Reader { version, bytes_max }
    }

    /// Reads a text. `None`: attachments are to follow.
    ///
    /// # Errors
    /// The violation; the reader is of no use afterwards.
    pub fn text(&mut self, text: &str) -> Result<Option<Message>, Violation> {
        let _ = (text, self.version, self.bytes_max);
        Err(Violation::Head)
    }

    /// Reads an attachment. `None`: more are to follow.
    ///
    /// # Errors
    /// The violation; the reader is of no use afterwards.
    pub fn binary(&mut self, bytes: &[u8]) -> Result<Option<Message>, Violation> {
        let _ = bytes;
        Err(Violation::OutOfTurn)
    }

    /// Whether it waits for attachments.
    pub fn is_waiting(&self) -> bool {
        false
    }

    /// Bytes that it holds.
    pub fn bytes(&self) -> usize {
        0
    }
}

/// Appends the reply to a connect: `0{"sid":"..."}`, `0/ns,{"sid":".."}`; in version 3 `0` or `0/ns`.
pub fn write_connected(out: &mut Vec<u8>, version: Version, namespace: &str, sid: &str) {
    let _ = (out, version, namespace, sid);
}

/// Appends the refusal of a connect: `4/ns,{"message":".."}`; in version 3 `4/ns,".."`.
pub fn write_connect_error(out: &mut Vec<u8>, version: Version, namespace: &str, message: &str) {
    let _ = (out, version, namespace, message);
}

/// Appends the end of a namespace: `1` or `1/ns,`.
pub fn write_disconnect(out: &mut Vec<u8>, namespace: &str) {
    let _ = (out, namespace);
}

/// Appends the head of an event up to and without its first argument: `2/ns,["name"`. Who writes it goes on with
/// `,ARGUMENT` for each and `]`. `attachments`: so many binary messages follow the packet (`51-/ns,["name"`).
pub fn begin_event(out: &mut Vec<u8>, namespace: &str, name: &str, attachments: usize) {
    let _ = (out, namespace, name, attachments);
}

/// Appends an acknowledgement: `3/ns,12[..]`, `61-/ns,12[..]`. `json`: an array.
pub fn write_ack(out: &mut Vec<u8>, namespace: &str, id: u64, json: &str, attachments: usize) {
    let _ = (out, namespace, id, json, attachments);
}
