//! Engine.IO packets and payloads, versions 3 and 4 (engine.io-protocol).

use std::borrow::Cow;

/// Which version of the protocol a client speaks: `EIO=3` or `EIO=4`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Version {
    /// Socket.IO 1 and 2.
    V3,
    /// Socket.IO 3 and 4.
    V4,
}

/// What a packet is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// `0`: the handshake.
    Open,
    /// `1`: the transport may be closed.
    Close,
    /// `2`
    Ping,
    /// `3`
    Pong,
    /// `4`: a message.
    Message,
    /// `5`: the upgrade is complete.
    Upgrade,
    /// `6`: nothing.
    Noop,
}

/// A packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Packet<'a> {
    /// What for.
    pub kind: Kind,
    /// What it carries; a text except for messages.
    pub data: Data<'a>,
}

/// What a packet carries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Data<'a> {
    /// UTF-8.
    Text(Cow<'a, str>),
    /// Anything.
    Binary(Cow<'a, [u8]>),
}

/// The peer broke the protocol: the session ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Violation {
    /// An empty packet or payload.
    Empty,
    /// No such packet type.
    UnknownKind,
    /// What should be base64 is not.
    Base64,
    /// A payload's lengths (version 3) do not fit it.
    Lengths,
    /// Text that is not UTF-8.
    Utf8,
}

/// Reads the text of a WebSocket frame: one packet.
///
/// # Errors
/// The violation.
pub fn read_text(text: &str) -> Result<Packet<'_>, Violation> {
    let _ = text;
    Err(Violation::Empty)
}

/// Reads the bytes of a binary WebSocket frame: one message, in version 3 behind the byte 4.
///
/// # Errors
/// The violation.
pub fn read_binary(version: Version, bytes: &[u8]) -> Result<Packet<'_>, Violation> {
    let _ = (version, bytes);
    Err(Violation::Empty)
}

/// Reads the body of a POST, packet by packet; ends with the first violation. `octets`: its media type is
/// `application/octet-stream` (version 3: the binary form of a payload).
pub fn read_payload(
    version: Version,
    octets: bool,
    body: &[u8],
) -> impl Iterator<Item = Result<Packet<'_>, Violation>> {
    let _ = (version, octets, body);
    std::iter::empty()
}

/// Appends a packet as a text WebSocket frame has it.
pub fn write_text(out: &mut Vec<u8>, kind: Kind, text: &str) {
    let _ = (out, kind, text);
}

/// Appends what precedes the bytes of a binary message in a WebSocket frame: nothing in version 4.
pub fn binary_prefix(version: Version) -> &'static [u8] {
    match version {
        Version::V3 => &[4],
        Version::V4 => &[],
    }
}

/// A response to a GET, being written.
#[derive(Debug)]
pub struct PayloadWriter {
    version: Version,
    base64: bool,
    out: Vec<u8>,
}

impl PayloadWriter {
    /// `base64`: the client wants no bytes (`b64=1`; always so in version 4).
    pub fn new(version: Version, base64: bool) -> PayloadWriter {
        PayloadWriter { version, base64, out: Vec::new() }
    }

    /// Adds a packet.
    pub fn push(&mut self, packet: &Packet<'_>) {
        let _ = (packet, self.version, self.base64);
    }

    /// The body and its media type.
    pub fn finish(self) -> (Vec<u8>, &'static str) {
        (self.out, "text/plain; charset=UTF-8")
    }
}
