//! Socket.IO packets, protocol 5 (above Engine.IO 4) and protocols 3 and 4 (above Engine.IO 3), socket.io-protocol.
//!
//! * [`Reader`]: packets and their attachments in, whole messages out
//! * [`Args`]: what a message carries
//! * the writers, below
//!
//! JSON is not taken apart further than need be: arguments stay the text they came as.

mod args;
mod head;
mod json;

use super::engineio::Version;
use crate::base::limits::EVENT_NAME_BYTES_MAX;
use head::{Head, Type};

pub use args::{Args, Argument};

/// Names that mean something else on one of the sides; the reference parser refuses them as names of events.
const RESERVED: [&str; 6] =
    ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

/// What a client says, whole.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// It wants to join a namespace.
    Connect {
        /// `/` or `/name`, without its query.
        namespace: String,
        /// What stands behind `?` in the namespace (protocols 3 and 4).
        query: Option<String>,
        /// A JSON object (protocol 5; who speaks 3 or 4 sends none).
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
        /// The event's name; if that was a number, as it was written.
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

/// The peer broke the protocol: the connection closes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Violation {
    /// The packet's head cannot be read, or is none of a client's.
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
    waiting: Option<Box<Waiting>>,
}

/// A packet whose attachments are due.
#[derive(Debug)]
struct Waiting {
    message: Message,
    attachments: Vec<Vec<u8>>,
    /// How many there will be.
    announced: usize,
    /// Of the packet and what is here of its attachments.
    bytes: usize,
}

impl Reader {
    /// `bytes_max`: of a packet with all its attachments.
    pub fn new(version: Version, bytes_max: usize) -> Reader {
        Reader { version, bytes_max, waiting: None }
    }

    /// Reads a text. `None`: attachments are to follow.
    ///
    /// # Errors
    /// The violation; the reader is of no use afterwards.
    pub fn text(&mut self, text: &str) -> Result<Option<Message>, Violation> {
        if self.waiting.is_some() {
            return Err(Violation::OutOfTurn);
        }
        if text.len() > self.bytes_max {
            return Err(Violation::TooLarge);
        }
        let head = Head::read(self.version, text)?;
        let message = message(&head)?;
        if head.attachments == 0 {
            return Ok(Some(message));
        }
        let (announced, bytes) = (head.attachments, text.len());
        self.waiting = Some(Box::new(Waiting { message, attachments: Vec::new(), announced, bytes }));
        Ok(None)
    }

    /// Reads an attachment. `None`: more are to follow.
    ///
    /// # Errors
    /// The violation; the reader is of no use afterwards.
    pub fn binary(&mut self, bytes: &[u8]) -> Result<Option<Message>, Violation> {
        let waiting = self.waiting.as_mut().ok_or(Violation::OutOfTurn)?;
        if bytes.len() > self.bytes_max - waiting.bytes {
            return Err(Violation::TooLarge);
        }
        waiting.bytes += bytes.len();
        waiting.attachments.push(bytes.to_vec());
        if waiting.attachments.len() < waiting.announced {
            return Ok(None);
        }
        Ok(self.waiting.take().map(|waiting| waiting.message()))
    }

    /// Whether it waits for attachments.
    pub fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// Bytes that it holds.
    pub fn bytes(&self) -> usize {
        self.waiting.as_ref().map_or(0, |waiting| waiting.bytes)
    }
}

impl Waiting {
    fn message(mut self) -> Message {
        match &mut self.message {
            Message::Event { args, .. } | Message::Ack { args, .. } => args.attachments = self.attachments,
            Message::Connect { .. } | Message::Disconnect { .. } => {}
        }
        self.message
    }
}

/// What a packet means, but for its attachments.
fn message(head: &Head<'_>) -> Result<Message, Violation> {
    let namespace = head.namespace.to_owned();
    match (head.of, head.id) {
        (Type::Connect, None) => {
            let query = head.query.map(str::to_owned);
            Ok(Message::Connect { namespace, query, auth: auth(head.data)? })
        }
        (Type::Disconnect, None) if head.data.is_empty() => Ok(Message::Disconnect { namespace }),
        (Type::Disconnect, None) => Err(Violation::Data),
        (Type::Event, id) => {
            let (name, args) = event(head.data, head.attachments)?;
            Ok(Message::Event { namespace, id, name, args })
        }
        (Type::Ack, Some(id)) => Ok(Message::Ack { namespace, id, args: acknowledged(head.data, head.attachments)? }),
        (Type::Connect | Type::Disconnect, Some(_)) | (Type::Ack, None) => Err(Violation::Head),
    }
}

fn auth(data: &str) -> Result<Option<String>, Violation> {
    if data.is_empty() {
        return Ok(None);
    }
    let object = json::check(data)?;
    if !object.starts_with('{') {
        return Err(Violation::Data);
    }
    Ok(Some(object.to_owned()))
}

fn event(data: &str, attachments: usize) -> Result<(String, Args), Violation> {
    let array = json::check(data)?;
    let (name, rest) = json::split_first(array).ok_or(Violation::Data)?;
    json::check_placeholders(array, attachments)?;
    // As a text, so that an event nobody knows can be refused and need not end the connection: the reference parser lets
    // numbers pass.
    let name: String = match name.as_bytes().first() {
        Some(b'"') => serde_json::from_str(name).map_err(|_| Violation::Data)?,
        Some(b'-' | b'0'..=b'9') => name.to_owned(),
        _ => return Err(Violation::Data),
    };
    if name.len() > EVENT_NAME_BYTES_MAX {
        return Err(Violation::Name);
    }
    if RESERVED.contains(&name.as_str()) {
        return Err(Violation::Data);
    }
    Ok((name, Args { json: format!("[{rest}"), attachments: Vec::new() }))
}

fn acknowledged(data: &str, attachments: usize) -> Result<Args, Violation> {
    let array = json::check(data)?;
    if !array.starts_with('[') {
        return Err(Violation::Data);
    }
    json::check_placeholders(array, attachments)?;
    Ok(Args { json: array.to_owned(), attachments: Vec::new() })
}

/// Appends the reply to a connect: `0{"sid":"..."}`, `0/ns,{"sid":".."}`; in version 3 `0` or `0/ns,`.
pub fn write_connected(out: &mut Vec<u8>, version: Version, namespace: &str, sid: &str) {
    write_head(out, b'0', 0, namespace, None);
    match version {
        Version::V3 => {}
        Version::V4 => write_member(out, "sid", sid),
    }
}

/// Appends the refusal of a connect: `4/ns,{"message":".."}`; in version 3 `4/ns,".."`.
pub fn write_connect_error(out: &mut Vec<u8>, version: Version, namespace: &str, message: &str) {
    write_head(out, b'4', 0, namespace, None);
    match version {
        Version::V3 => write_string(out, message),
        Version::V4 => write_member(out, "message", message),
    }
}

/// Appends the end of a namespace: `1` or `1/ns,`.
pub fn write_disconnect(out: &mut Vec<u8>, namespace: &str) {
    write_head(out, b'1', 0, namespace, None);
}

/// Appends the head of an event up to and without its first argument: `2/ns,["name"`. Who writes it goes on with
/// `,ARGUMENT` for each and `]`. `attachments`: so many binary messages follow the packet (`51-/ns,["name"`).
pub fn begin_event(out: &mut Vec<u8>, namespace: &str, name: &str, attachments: usize) {
    write_head(out, if attachments == 0 { b'2' } else { b'5' }, attachments, namespace, None);
    out.push(b'[');
    write_string(out, name);
}

/// Appends an acknowledgement: `3/ns,12[..]`, `61-/ns,12[..]`. `json`: an array.
pub fn write_ack(out: &mut Vec<u8>, namespace: &str, id: u64, json: &str, attachments: usize) {
    write_head(out, if attachments == 0 { b'3' } else { b'6' }, attachments, namespace, Some(id));
    out.extend_from_slice(json.as_bytes());
}

/// Appends what stands for an attachment within the arguments: `{"_placeholder":true,"num":0}`.
pub fn write_placeholder(out: &mut Vec<u8>, number: usize) {
    out.extend_from_slice(b"{\"_placeholder\":true,\"num\":");
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    out.push(b'}');
}

fn write_head(out: &mut Vec<u8>, of: u8, attachments: usize, namespace: &str, id: Option<u64>) {
    debug_assert!(namespace.starts_with('/') && !namespace.contains(','), "{namespace} cannot be written");
    out.push(of);
    let mut number = itoa::Buffer::new();
    if attachments > 0 {
        out.extend_from_slice(number.format(attachments).as_bytes());
        out.push(b'-');
    }
    if namespace != "/" {
        out.extend_from_slice(namespace.as_bytes());
        out.push(b',');
    }
    if let Some(id) = id {
        out.extend_from_slice(number.format(id).as_bytes());
    }
}

fn write_member(out: &mut Vec<u8>, name: &str, value: &str) {
    out.push(b'{');
    write_string(out, name);
    out.push(b':');
    write_string(out, value);
    out.push(b'}');
}

fn write_string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("every text is JSON, and a Vec takes it");
}

#[cfg(test)]
mod tests;
