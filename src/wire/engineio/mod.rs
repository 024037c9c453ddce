//! Engine.IO packets and payloads, versions 3 and 4 (engine.io-protocol): between bytes and meaning, both ways.
//!
//! A packet is a digit and a text, or a binary message. A payload is what a POST or the response to a GET carries: packets
//! between separators (version 4), behind their lengths in UTF-16 code units, or behind their lengths in bytes (version 3).

use std::borrow::Cow;
use std::iter::FusedIterator;
use std::mem;
use std::time::Duration;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};

/// Between two packets of a payload of version 4.
const SEPARATOR: u8 = 0x1e;
/// What precedes a binary message: in version 3 a packet has its kind in bytes too.
const MESSAGE_BYTE: u8 = 4;
/// In a payload of octets: what precedes a text, what precedes bytes, and what ends a length.
const OCTETS_OF_TEXT: u8 = 0;
const OCTETS_OF_BYTES: u8 = 1;
const OCTETS_BEGIN: u8 = 255;
/// Digits of a length that we read: more bytes than any body has, and a number for every machine.
const LENGTH_DIGITS_MAX: usize = 9;

/// Padded or not: clients do either.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

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

impl Kind {
    /// The digit that stands for it.
    pub fn digit(self) -> u8 {
        match self {
            Kind::Open => b'0',
            Kind::Close => b'1',
            Kind::Ping => b'2',
            Kind::Pong => b'3',
            Kind::Message => b'4',
            Kind::Upgrade => b'5',
            Kind::Noop => b'6',
        }
    }

    fn of(digit: u8) -> Option<Kind> {
        Some(match digit {
            b'0' => Kind::Open,
            b'1' => Kind::Close,
            b'2' => Kind::Ping,
            b'3' => Kind::Pong,
            b'4' => Kind::Message,
            b'5' => Kind::Upgrade,
            b'6' => Kind::Noop,
            _ => return None,
        })
    }
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

impl<'a> Packet<'a> {
    /// A packet with a text, which may be empty.
    pub fn text(kind: Kind, text: &'a str) -> Packet<'a> {
        Packet { kind, data: Data::Text(Cow::Borrowed(text)) }
    }

    /// A binary message.
    pub fn binary(bytes: &'a [u8]) -> Packet<'a> {
        Packet { kind: Kind::Message, data: Data::Binary(Cow::Borrowed(bytes)) }
    }
}

/// The peer broke the protocol: the session ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Violation {
    /// An empty packet or payload.
    Empty,
    /// No such packet type; or what is binary is no message.
    UnknownKind,
    /// What should be base64 is not.
    Base64,
    /// A payload's lengths (version 3) do not fit it.
    Lengths,
    /// Text that is not UTF-8.
    Utf8,
    /// A payload of version 4 under the media type `application/octet-stream`.
    MediaType,
}

/// Reads the text of a WebSocket frame: one packet. A client that cannot send bytes has binary messages in texts too.
///
/// # Errors
/// The violation.
pub fn read_text(version: Version, text: &str) -> Result<Packet<'_>, Violation> {
    let Some(&first) = text.as_bytes().first() else {
        return Err(Violation::Empty);
    };
    if first == b'b' {
        let base64 = match version {
            Version::V3 => text.strip_prefix("b4").ok_or(Violation::UnknownKind)?,
            Version::V4 => &text[1..],
        };
        let bytes = decode_base64(base64.as_bytes()).ok_or(Violation::Base64)?;
        return Ok(Packet { kind: Kind::Message, data: Data::Binary(Cow::Owned(bytes)) });
    }
    let kind = Kind::of(first).ok_or(Violation::UnknownKind)?;
    Ok(Packet::text(kind, &text[1..]))
}

/// Reads the bytes of a binary WebSocket frame: one message, in version 3 behind the byte 4.
///
/// # Errors
/// The violation.
pub fn read_binary(version: Version, bytes: &[u8]) -> Result<Packet<'_>, Violation> {
    match (version, bytes) {
        (Version::V4, bytes) | (Version::V3, [MESSAGE_BYTE, bytes @ ..]) => Ok(Packet::binary(bytes)),
        (Version::V3, []) => Err(Violation::Empty),
        (Version::V3, _) => Err(Violation::UnknownKind),
    }
}

/// Reads the body of a POST, packet by packet; ends with the first violation. `octets`: its media type is
/// `application/octet-stream` (version 3: the binary form of a payload). An empty body is a violation.
pub fn read_payload(version: Version, octets: bool, body: &[u8]) -> Payload<'_> {
    let rest = match (version, octets) {
        _ if body.is_empty() => Rest::Refused(Violation::Empty),
        (Version::V4, true) => Rest::Refused(Violation::MediaType),
        (Version::V3, true) => Rest::Octets(body),
        (Version::V3 | Version::V4, false) => match (simdutf8::basic::from_utf8(body), version) {
            (Err(_), _) => Rest::Refused(Violation::Utf8),
            (Ok(text), Version::V3) => Rest::Counted(text),
            (Ok(text), Version::V4) => Rest::Separated(text),
        },
    };
    Payload { rest }
}

/// The packets of a payload; see [`read_payload`]. All of them together cost what the body's length says.
#[derive(Debug)]
pub struct Payload<'a> {
    rest: Rest<'a>,
}

/// What is not read yet, and in which form.
#[derive(Debug)]
enum Rest<'a> {
    /// Version 4: `PACKET` SEPARATOR `PACKET` ..
    Separated(&'a str),
    /// Version 3: `LENGTH:PACKET` .., not empty. The length is JavaScript's: UTF-16 code units.
    Counted(&'a str),
    /// Version 3: 0 or 1, the length's digits, 255, the packet; .., not empty. The length is in bytes.
    Octets(&'a [u8]),
    Refused(Violation),
    Over,
}

impl<'a> Iterator for Payload<'a> {
    type Item = Result<Packet<'a>, Violation>;

    fn next(&mut self) -> Option<Result<Packet<'a>, Violation>> {
        let read = match mem::replace(&mut self.rest, Rest::Over) {
            Rest::Separated(text) => next_separated(text),
            Rest::Counted(text) => next_counted(text),
            Rest::Octets(bytes) => next_octets(bytes),
            Rest::Refused(violation) => Err(violation),
            Rest::Over => return None,
        };
        Some(read.map(|(packet, rest)| {
            self.rest = rest;
            packet
        }))
    }
}

impl FusedIterator for Payload<'_> {}

fn next_separated(text: &str) -> Result<(Packet<'_>, Rest<'_>), Violation> {
    let (packet, rest) = match memchr::memchr(SEPARATOR, text.as_bytes()) {
        Some(end) => (&text[..end], Rest::Separated(&text[end + 1..])),
        None => (text, Rest::Over),
    };
    Ok((read_text(Version::V4, packet)?, rest))
}

fn next_counted(text: &str) -> Result<(Packet<'_>, Rest<'_>), Violation> {
    let (units, head_bytes) = read_length(text.as_bytes(), b'0', b':')?;
    let text = &text[head_bytes..];
    let (packet, rest) = split_utf16(text, units).ok_or(Violation::Lengths)?;
    let rest = if rest.is_empty() { Rest::Over } else { Rest::Counted(rest) };
    Ok((read_text(Version::V3, packet)?, rest))
}

fn next_octets(bytes: &[u8]) -> Result<(Packet<'_>, Rest<'_>), Violation> {
    let (&form, bytes) = bytes.split_first().ok_or(Violation::Empty)?;
    let (len, head_bytes) = read_length(bytes, 0, OCTETS_BEGIN)?;
    let (packet, rest) = bytes[head_bytes..].split_at_checked(len).ok_or(Violation::Lengths)?;
    let packet = match form {
        OCTETS_OF_TEXT => read_text(Version::V3, simdutf8::basic::from_utf8(packet).map_err(|_| Violation::Utf8)?)?,
        OCTETS_OF_BYTES => read_binary(Version::V3, packet)?,
        _ => return Err(Violation::Lengths),
    };
    Ok((packet, if rest.is_empty() { Rest::Over } else { Rest::Octets(rest) }))
}

/// The length at the front: digits, counted from `zero`, up to the byte `end`; and how many bytes it takes, `end` included.
fn read_length(bytes: &[u8], zero: u8, end: u8) -> Result<(usize, usize), Violation> {
    let mut length = 0;
    for (at, &byte) in bytes.iter().enumerate().take(LENGTH_DIGITS_MAX + 1) {
        match byte.wrapping_sub(zero) {
            _ if byte == end && at > 0 => return Ok((length, at + 1)),
            // No zeros in front of a number.
            digit @ 0..=9 if at == 0 || length > 0 => length = length * 10 + usize::from(digit),
            _ => break,
        }
    }
    Err(Violation::Lengths)
}

/// Splits behind so many UTF-16 code units, if there are so many, and not between the two of one character.
fn split_utf16(text: &str, units: usize) -> Option<(&str, &str)> {
    if text.as_bytes().get(..units)?.is_ascii() {
        return Some(text.split_at(units));
    }
    let mut left = units;
    for (at, character) in text.char_indices() {
        if left == 0 {
            return Some(text.split_at(at));
        }
        left = left.checked_sub(character.len_utf16())?;
    }
    (left == 0).then_some((text, ""))
}

/// As many as JavaScript counts: one for each character, two for those that UTF-8 has four bytes for.
fn utf16_len(text: &str) -> usize {
    let units = |byte: &u8| usize::from(byte & 0xc0 != 0x80) + usize::from(*byte >= 0xf0);
    text.as_bytes().iter().map(units).sum()
}

fn decode_base64(text: &[u8]) -> Option<Vec<u8>> {
    if memchr::memchr2(b'\r', b'\n', text).is_none() {
        return BASE64.decode(text).ok();
    }
    // MIME's encoders break lines (RFC 2045 section 6.8).
    let joined: Vec<u8> = text.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
    BASE64.decode(joined).ok()
}

/// Appends a packet as a text WebSocket frame has it.
pub fn write_text(out: &mut Vec<u8>, kind: Kind, text: &str) {
    out.push(kind.digit());
    out.extend_from_slice(text.as_bytes());
}

/// Appends what precedes the bytes of a binary message in a WebSocket frame: nothing in version 4.
pub fn binary_prefix(version: Version) -> &'static [u8] {
    match version {
        Version::V3 => &[MESSAGE_BYTE],
        Version::V4 => &[],
    }
}

/// Appends a binary message as a text, for a client that wants no bytes (`b64=1`).
pub fn write_base64(out: &mut Vec<u8>, version: Version, bytes: &[u8]) {
    out.extend_from_slice(base64_prefix(version));
    let start = out.len();
    out.resize(start + base64_len(bytes), 0);
    let written = STANDARD.encode_slice(bytes, &mut out[start..]).expect("it was asked for the length");
    debug_assert_eq!(start + written, out.len());
}

fn base64_prefix(version: Version) -> &'static [u8] {
    match version {
        Version::V3 => b"b4",
        Version::V4 => b"b",
    }
}

fn base64_len(bytes: &[u8]) -> usize {
    bytes.len().div_ceil(3) * 4
}

/// The text of the open packet. Without `may_upgrade` no transport is offered: over WebSocket.
pub fn handshake(
    sid: &str,
    may_upgrade: bool,
    ping_interval: Duration,
    ping_timeout: Duration,
    payload_bytes_max: usize,
) -> String {
    let upgrades = if may_upgrade { "[\"websocket\"]" } else { "[]" };
    format!(
        r#"{{"sid":{},"upgrades":{upgrades},"pingInterval":{},"pingTimeout":{},"maxPayload":{payload_bytes_max}}}"#,
        serde_json::Value::from(sid),
        ping_interval.as_millis(),
        ping_timeout.as_millis(),
    )
}

/// A response to a GET, being written.
#[derive(Debug)]
pub struct PayloadWriter {
    version: Version,
    base64: bool,
    octets: bool,
    out: Vec<u8>,
}

impl PayloadWriter {
    /// `base64`: the client wants no bytes (`b64=1`; always so in version 4).
    pub fn new(version: Version, base64: bool) -> PayloadWriter {
        PayloadWriter { version, base64, octets: false, out: Vec::new() }
    }

    /// Adds a packet. A text of version 4 that holds the separator, 0x1e, comes apart at the client: the protocol has no
    /// way to say it; JSON has.
    pub fn push(&mut self, packet: &Packet<'_>) {
        let wants_octets =
            matches!(packet.data, Data::Binary(_)) && matches!(self.version, Version::V3) && !self.base64;
        if wants_octets && !self.octets {
            self.begin_octets();
        }
        match self.version {
            Version::V4 => self.push_separated(packet),
            Version::V3 if self.octets => self.push_octets(packet),
            Version::V3 => self.push_counted(packet),
        }
    }

    /// Bytes written so far.
    pub fn bytes(&self) -> usize {
        self.out.len()
    }

    /// The body and its media type. Without packets it is a noop: a client takes an empty payload for an error.
    pub fn finish(mut self) -> (Vec<u8>, &'static str) {
        if self.out.is_empty() {
            self.push(&Packet::text(Kind::Noop, ""));
        }
        (self.out, if self.octets { "application/octet-stream" } else { "text/plain; charset=UTF-8" })
    }

    /// The first binary packet: what is already there, texts alone, is written anew.
    fn begin_octets(&mut self) {
        self.octets = true;
        let counted = mem::take(&mut self.out);
        if !counted.is_empty() {
            // What was just written can be read.
            for packet in read_payload(self.version, false, &counted).flatten() {
                self.push_octets(&packet);
            }
        }
    }

    fn push_separated(&mut self, packet: &Packet<'_>) {
        if !self.out.is_empty() {
            self.out.push(SEPARATOR);
        }
        self.write_packet(packet);
    }

    fn push_counted(&mut self, packet: &Packet<'_>) {
        let units = match &packet.data {
            Data::Text(text) => 1 + utf16_len(text),
            Data::Binary(bytes) => base64_prefix(self.version).len() + base64_len(bytes),
        };
        self.out.extend_from_slice(itoa::Buffer::new().format(units).as_bytes());
        self.out.push(b':');
        self.write_packet(packet);
    }

    fn push_octets(&mut self, packet: &Packet<'_>) {
        let (form, kind, data) = match &packet.data {
            Data::Text(text) => (OCTETS_OF_TEXT, packet.kind.digit(), text.as_bytes()),
            Data::Binary(bytes) => (OCTETS_OF_BYTES, MESSAGE_BYTE, &**bytes),
        };
        self.out.push(form);
        let mut length = itoa::Buffer::new();
        self.out.extend(length.format(1 + data.len()).bytes().map(|digit| digit - b'0'));
        self.out.extend_from_slice(&[OCTETS_BEGIN, kind]);
        self.out.extend_from_slice(data);
    }

    fn write_packet(&mut self, packet: &Packet<'_>) {
        match &packet.data {
            Data::Text(text) => write_text(&mut self.out, packet.kind, text),
            Data::Binary(bytes) => write_base64(&mut self.out, self.version, bytes),
        }
    }
}

#[cfg(test)]
mod tests;
