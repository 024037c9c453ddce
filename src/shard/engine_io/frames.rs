//! Packets as WebSocket frames, in which everything waits that is for a client, and as the payload that a GET gets.

use crate::wire::engineio::{self, Kind, Packet, PayloadWriter, Version, binary_prefix};
use crate::wire::ws::Opcode;
use crate::wire::ws::head::{write_frame, write_head};

/// A packet without bytes.
pub(super) fn packet(kind: Kind, text: &str) -> Vec<u8> {
    let mut packet = Vec::new();
    engineio::write_text(&mut packet, kind, text);
    let mut frame = Vec::new();
    write_frame(&mut frame, Opcode::Text, &packet);
    frame
}

/// A message of bytes.
pub(super) fn binary(out: &mut Vec<u8>, version: Version, bytes: &[u8]) {
    let prefix = binary_prefix(version);
    write_head(out, Opcode::Binary, prefix.len() + bytes.len());
    out.extend_from_slice(prefix);
    out.extend_from_slice(bytes);
}

/// A Socket.IO packet, written by `text`, and its attachments.
pub(super) fn message(version: Version, attachments: &[Vec<u8>], text: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut packet = Vec::new();
    engineio::write_text(&mut packet, Kind::Message, "");
    text(&mut packet);
    let mut out = Vec::new();
    write_frame(&mut out, Opcode::Text, &packet);
    for attachment in attachments {
        binary(&mut out, version, attachment);
    }
    out
}

/// The payload of one packet, and its media type.
pub(super) fn payload_of(version: Version, base64: bool, kind: Kind, text: &str) -> (Vec<u8>, &'static str) {
    let mut writer = PayloadWriter::new(version, base64);
    writer.push(&Packet::text(kind, text));
    writer.finish()
}

/// The payload of frames as they were written here, and its media type.
pub(super) fn payload(version: Version, base64: bool, mut frames: &[u8]) -> (Vec<u8>, &'static str) {
    let mut writer = PayloadWriter::new(version, base64);
    while let Some((is_text, body, rest)) = next_frame(frames) {
        let packet = match std::str::from_utf8(body) {
            Ok(text) if is_text => engineio::read_text(version, text),
            _ => engineio::read_binary(version, body),
        };
        debug_assert!(packet.is_ok(), "only packets are written: {body:?}");
        if let Ok(packet) = packet {
            writer.push(&packet);
        }
        frames = rest;
    }
    debug_assert!(frames.is_empty(), "only whole frames are written");
    writer.finish()
}

/// Whether the first frame is a text, what it carries, and what stands behind it. A server's frames are whole, and are
/// not masked (RFC 6455 section 5.2).
fn next_frame(frames: &[u8]) -> Option<(bool, &[u8], &[u8])> {
    let (&[first, second], rest) = frames.split_first_chunk()?;
    let (len, rest) = match second {
        126 => rest.split_first_chunk().map(|(len, rest)| (usize::from(u16::from_be_bytes(*len)), rest))?,
        127 => rest.split_first_chunk().map(|(len, rest)| (u64::from_be_bytes(*len) as usize, rest))?,
        short => (usize::from(short), rest),
    };
    let (body, rest) = rest.split_at_checked(len)?;
    Some((first & 0x0f == 1, body, rest))
}

/// How many packets there are, counted up to `max`.
pub(super) fn count(mut frames: &[u8], max: usize) -> usize {
    let mut packets = 0;
    while packets < max
        && let Some((_, _, rest)) = next_frame(frames)
    {
        (packets, frames) = (packets + 1, rest);
    }
    packets
}

/// Where the first `packets` of them end.
pub(super) fn end_of(frames: &[u8], packets: usize) -> usize {
    let mut left = frames;
    for _ in 0..packets {
        let Some((_, _, rest)) = next_frame(left) else { break };
        left = rest;
    }
    frames.len() - left.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::engineio::Data;

    #[test]
    fn frames_become_a_payload() {
        for version in [Version::V3, Version::V4] {
            let mut frames = packet(Kind::Ping, "");
            let text = "x".repeat(300);
            frames.extend(message(version, &[vec![1, 2], vec![0xff]], |out| out.extend(text.as_bytes())));
            frames.extend(packet(Kind::Message, &"y".repeat(70_000)));
            let (body, _) = payload(version, true, &frames);
            let read: Vec<Packet<'_>> =
                engineio::read_payload(version, false, &body).map(|packet| packet.expect("a packet")).collect();
            let bytes = |bytes: &'static [u8]| Packet { kind: Kind::Message, data: Data::Binary(bytes.into()) };
            let text = |kind, text: &str| Packet { kind, data: Data::Text(text.to_owned().into()) };
            let expected = [
                text(Kind::Ping, ""),
                text(Kind::Message, &"x".repeat(300)),
                bytes(b"\x01\x02"),
                bytes(b"\xff"),
                text(Kind::Message, &"y".repeat(70_000)),
            ];
            assert_eq!(read, expected);
        }
        let frames = [packet(Kind::Ping, ""), packet(Kind::Message, "x"), packet(Kind::Ping, "")].concat();
        let ends = [0, 3, 7, 10, 10];
        for (packets, end) in ends.into_iter().enumerate() {
            assert_eq!((end_of(&frames, packets), count(&frames, packets)), (end, packets.min(3)));
        }
        assert_eq!(next_frame(b""), None);
        assert_eq!(next_frame(b"\x81\x05abc"), None);
    }
}
