//! What precedes the JSON of a packet: `TYPE[ATTACHMENTS-][NAMESPACE,][ID]`.

use super::{Version, Violation};
use crate::base::limits::{ATTACHMENTS_MAX, EVENT_NAME_BYTES_MAX};

/// The types of packets that a client sends. An event is one with attachments or without, and so is an acknowledgement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Type {
    Connect,
    Disconnect,
    Event,
    Ack,
}

/// A packet, taken apart as far as its JSON.
#[derive(Debug)]
pub(super) struct Head<'a> {
    pub(super) of: Type,
    /// How many are announced.
    pub(super) attachments: usize,
    pub(super) namespace: &'a str,
    pub(super) query: Option<&'a str>,
    pub(super) id: Option<u64>,
    /// The rest.
    pub(super) data: &'a str,
}

impl<'a> Head<'a> {
    pub(super) fn read(version: Version, packet: &'a str) -> Result<Head<'a>, Violation> {
        let (of, has_attachments) = match packet.as_bytes().first() {
            Some(b'0') => (Type::Connect, false),
            Some(b'1') => (Type::Disconnect, false),
            Some(b'2') => (Type::Event, false),
            Some(b'3') => (Type::Ack, false),
            Some(b'5') => (Type::Event, true),
            Some(b'6') => (Type::Ack, true),
            // 4, an error, is a server's.
            _ => return Err(Violation::Head),
        };
        let (attachments, rest) = if has_attachments { read_attachments(&packet[1..])? } else { (0, &packet[1..]) };
        let (namespace, query, rest) = read_namespace(version, rest);
        if namespace.len() > EVENT_NAME_BYTES_MAX {
            return Err(Violation::Name);
        }
        let (id, data) = read_id(rest)?;
        Ok(Head { of, attachments, namespace, query, id, data })
    }
}

/// `N-`, from 1.
fn read_attachments(text: &str) -> Result<(usize, &str), Violation> {
    let (digits, rest) = split_digits(text);
    let rest = rest.strip_prefix('-').filter(|_| !digits.is_empty()).ok_or(Violation::Head)?;
    match digits.parse() {
        Ok(count @ 1..=ATTACHMENTS_MAX) => Ok((count, rest)),
        // None, too many, or more than a number holds.
        Ok(_) | Err(_) => Err(Violation::Attachments),
    }
}

/// `/ns,`, `/ns?query,`, or the same without its comma at the packet's end, as old clients write it; nothing: `/`.
fn read_namespace(version: Version, text: &str) -> (&str, Option<&str>, &str) {
    if !text.starts_with('/') {
        return ("/", None, text);
    }
    let (namespace, rest) = text.split_once(',').unwrap_or((text, ""));
    match (version, namespace.split_once('?')) {
        (Version::V3, Some((namespace, query))) => (namespace, Some(query), rest),
        (Version::V3, None) | (Version::V4, _) => (namespace, None, rest),
    }
}

fn read_id(text: &str) -> Result<(Option<u64>, &str), Violation> {
    match split_digits(text) {
        ("", rest) => Ok((None, rest)),
        (digits, rest) => Ok((Some(digits.parse().map_err(|_| Violation::Head)?), rest)),
    }
}

fn split_digits(text: &str) -> (&str, &str) {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit());
    text.split_at(end.unwrap_or(text.len()))
}
