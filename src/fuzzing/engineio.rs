//! Engine.IO payloads and frames, judged by a reader that is slow and plain, and written again in every form.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::input::Input;
use crate::wire::engineio::{Data, Kind, Packet, PayloadWriter, Version, Violation};
use crate::wire::engineio::{binary_prefix, read_binary, read_payload, read_text, write_base64, write_text};

/// A packet of the judge.
type Plain = (Kind, Result<String, Vec<u8>>);

/// The first byte says which version and media type the rest is a payload of. It is read as the judge reads it, and what is
/// read can be written, as a payload of any form and as frames, and is read back.
pub fn engineio(data: &[u8]) {
    let mut input = Input::new(data);
    let form = input.byte();
    let body = input.rest();
    let (version, octets) = (if form & 1 == 0 { Version::V4 } else { Version::V3 }, form & 2 != 0);
    let (packets, violation) = read(version, octets, body);
    let (expected, fails) = match (version, octets) {
        (Version::V4, true) => (Vec::new(), true),
        (Version::V4, false) => judge_separated(body),
        (Version::V3, false) => judge_counted(body),
        (Version::V3, true) => judge_octets(body),
    };
    assert_eq!(
        (packets.iter().map(plain).collect::<Vec<_>>(), violation.is_some()),
        (expected, fails),
        "{violation:?}"
    );
    for (version, base64) in [(Version::V4, true), (Version::V3, true), (Version::V3, false)] {
        written_and_read(version, base64, &packets);
    }
    for packet in &packets {
        framed_and_read(packet);
    }
}

fn read(version: Version, octets: bool, body: &[u8]) -> (Vec<Packet<'_>>, Option<Violation>) {
    let (mut packets, mut violation) = (Vec::new(), None);
    for packet in read_payload(version, octets, body) {
        assert_eq!(violation, None, "nothing follows a violation");
        match packet {
            Ok(packet) => packets.push(packet),
            Err(found) => violation = Some(found),
        }
    }
    (packets, violation)
}

fn plain(packet: &Packet<'_>) -> Plain {
    match &packet.data {
        Data::Text(text) => (packet.kind, Ok(text.to_string())),
        Data::Binary(bytes) => (packet.kind, Err(bytes.to_vec())),
    }
}

fn written_and_read(version: Version, base64: bool, packets: &[Packet<'_>]) {
    let cannot = |packet: &Packet<'_>| matches!(&packet.data, Data::Text(text) if text.contains('\u{1e}'));
    if packets.is_empty() || (version == Version::V4 && packets.iter().any(cannot)) {
        return;
    }
    let mut writer = PayloadWriter::new(version, base64);
    for packet in packets {
        writer.push(packet);
    }
    let len = writer.bytes();
    let (body, media_type) = writer.finish();
    assert_eq!(body.len(), len);
    let octets = media_type == "application/octet-stream";
    assert!(!octets || (version == Version::V3 && !base64));
    assert_eq!(read(version, octets, &body), (packets.to_vec(), None));
}

fn framed_and_read(packet: &Packet<'_>) {
    for version in [Version::V3, Version::V4] {
        let mut frame = Vec::new();
        match &packet.data {
            Data::Text(text) => write_text(&mut frame, packet.kind, text),
            Data::Binary(bytes) => {
                write_base64(&mut frame, version, bytes);
                let frame = [binary_prefix(version), &**bytes].concat();
                assert_eq!(read_binary(version, &frame).as_ref(), Ok(packet));
            }
        }
        assert_eq!(read_text(version, str::from_utf8(&frame).expect("a text")).as_ref(), Ok(packet));
    }
}

fn judge_separated(body: &[u8]) -> (Vec<Plain>, bool) {
    let Ok(text) = std::str::from_utf8(body) else { return (Vec::new(), true) };
    let mut packets = Vec::new();
    for packet in text.split('\u{1e}') {
        match judge_text(Version::V4, packet) {
            Some(packet) => packets.push(packet),
            None => return (packets, true),
        }
    }
    (packets, false)
}

/// In JavaScript's own units.
fn judge_counted(body: &[u8]) -> (Vec<Plain>, bool) {
    let Ok(text) = std::str::from_utf8(body) else { return (Vec::new(), true) };
    let units: Vec<u16> = text.encode_utf16().collect();
    let mut rest = &units[..];
    judge_lengths(|| {
        let (length, behind) = judge_length(rest, u16::from(b'0'), u16::from(b':'))?;
        let (packet, behind) = behind.split_at_checked(length)?;
        rest = behind;
        Some((judge_text(Version::V3, &String::from_utf16(packet).ok()?)?, rest.is_empty()))
    })
}

fn judge_octets(body: &[u8]) -> (Vec<Plain>, bool) {
    let units: Vec<u16> = body.iter().copied().map(u16::from).collect();
    let mut rest = &units[..];
    judge_lengths(|| {
        let (form, behind) = rest.split_first()?;
        let (length, behind) = judge_length(behind, 0, 255)?;
        let (packet, behind) = behind.split_at_checked(length)?;
        rest = behind;
        let packet: Vec<u8> = packet.iter().map(|unit| *unit as u8).collect();
        let packet = match (form, packet.split_first()) {
            (0, _) => judge_text(Version::V3, std::str::from_utf8(&packet).ok()?)?,
            (1, Some((4, bytes))) => (Kind::Message, Err(bytes.to_vec())),
            _ => return None,
        };
        Some((packet, rest.is_empty()))
    })
}

/// Packets until one is the last, or none.
fn judge_lengths(mut next: impl FnMut() -> Option<(Plain, bool)>) -> (Vec<Plain>, bool) {
    let mut packets = Vec::new();
    while let Some((packet, is_last)) = next() {
        packets.push(packet);
        if is_last {
            return (packets, false);
        }
    }
    (packets, true)
}

fn judge_length(units: &[u16], zero: u16, end: u16) -> Option<(usize, &[u16])> {
    let digits = units.iter().position(|unit| *unit == end)?;
    let number: Option<String> = units[..digits]
        .iter()
        .map(|unit| unit.checked_sub(zero).and_then(|digit| char::from_digit(digit.into(), 10)))
        .collect();
    let number = number.filter(|number| number.len() < 10 && !number.starts_with('0'))?;
    Some((number.parse().ok()?, &units[digits + 1..]))
}

fn judge_text(version: Version, text: &str) -> Option<Plain> {
    let mut characters = text.chars();
    let kind = match characters.next()? {
        '0' => Kind::Open,
        '1' => Kind::Close,
        '2' => Kind::Ping,
        '3' => Kind::Pong,
        '4' => Kind::Message,
        '5' => Kind::Upgrade,
        '6' => Kind::Noop,
        'b' => {
            let base64 = match version {
                Version::V4 => characters.as_str(),
                Version::V3 => characters.as_str().strip_prefix('4')?,
            };
            return Some((Kind::Message, Err(judge_base64(&base64.replace(['\r', '\n'], ""))?)));
        }
        _ => return None,
    };
    Some((kind, Ok(characters.as_str().to_owned())))
}

/// Whatever is base64 is what its bytes are written as, with its padding, a part of it, or without.
fn judge_base64(text: &str) -> Option<Vec<u8>> {
    let bare = text.trim_end_matches('=');
    let padded = bare.to_owned() + &"=".repeat((4 - bare.len() % 4) % 4);
    let bytes = STANDARD.decode(&padded).ok()?;
    assert_eq!(STANDARD.encode(&bytes), padded);
    padded.starts_with(text).then_some(bytes)
}
