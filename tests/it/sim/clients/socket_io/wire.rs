//! Packets and payloads of Engine.IO, and packets of Socket.IO, as anyone would read and write them: nothing here is the
//! server's.

use crate::sim::clients::stream::unbase64;
use crate::sim::wire::Response;

/// A packet of Engine.IO.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Packet {
    /// With its digit.
    Text(String),
    /// A message.
    Bytes(Vec<u8>),
}

impl Packet {
    pub(super) fn text(text: &str) -> Packet {
        Packet::Text(text.to_owned())
    }

    /// About.
    pub(super) fn len(&self) -> usize {
        match self {
            Packet::Text(text) => text.len() + 5,
            Packet::Bytes(bytes) => bytes.len() * 4 / 3 + 10,
        }
    }
}

/// A packet of a payload that is a text.
fn read_text(version: u8, text: &str) -> Packet {
    let prefix = if version == 3 { "b4" } else { "b" };
    match text.strip_prefix('b') {
        Some(_) => Packet::Bytes(unbase64(text.strip_prefix(prefix).expect("bytes begin with it"))),
        None => Packet::text(text),
    }
}

/// The packets in the answer to a GET.
pub(super) fn read_payload(version: u8, base64: bool, response: &Response) -> Vec<Packet> {
    let kind = response.header("content-type").unwrap_or_default();
    if kind == "application/octet-stream" {
        assert!(version == 3 && !base64, "bytes for who takes none: {response:?}");
        return read_octets(&response.body);
    }
    assert_eq!(kind, "text/plain; charset=UTF-8", "{response:?}");
    let text = response.text();
    assert!(!text.is_empty(), "an empty payload");
    if version == 4 {
        return text.split('\u{1e}').map(|text| read_text(version, text)).collect();
    }
    let mut packets = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (len, behind) = rest.split_once(':').expect("a length");
        let (mut units, mut bytes) = (len.parse::<usize>().expect("a number"), 0);
        for character in behind.chars() {
            if units == 0 {
                break;
            }
            units = units.checked_sub(character.len_utf16()).expect("a length that ends between two characters");
            bytes += character.len_utf8();
        }
        assert_eq!(units, 0, "more than there is: {text:?}");
        packets.push(read_text(version, &behind[..bytes]));
        rest = &behind[bytes..];
    }
    packets
}

fn read_octets(mut body: &[u8]) -> Vec<Packet> {
    let mut packets = Vec::new();
    while let [form, rest @ ..] = body {
        let end = rest.iter().position(|byte| *byte == 255).expect("the end of a length");
        let len = rest[..end].iter().fold(0, |len, digit| len * 10 + usize::from(*digit));
        let (packet, behind) = rest[end + 1..].split_at(len);
        packets.push(match form {
            0 => Packet::Text(String::from_utf8(packet.to_vec()).expect("UTF-8")),
            1 => Packet::Bytes(packet.strip_prefix(&[4]).expect("a message").to_vec()),
            other => panic!("a packet of form {other}"),
        });
        body = behind;
    }
    packets
}

/// The body of a POST, and its media type.
pub(super) fn write_payload(version: u8, octets: bool, packets: &[Packet]) -> (&'static str, Vec<u8>) {
    if version == 3 && octets {
        return ("application/octet-stream", packets.iter().flat_map(write_octets).collect());
    }
    let prefix = if version == 3 { "b4" } else { "b" };
    let texts = packets.iter().map(|packet| match packet {
        Packet::Text(text) => text.clone(),
        Packet::Bytes(bytes) => format!("{prefix}{}", base64(bytes)),
    });
    let text = if version == 4 {
        texts.collect::<Vec<_>>().join("\u{1e}")
    } else {
        texts.map(|text| format!("{}:{text}", text.encode_utf16().count())).collect()
    };
    ("text/plain;charset=UTF-8", text.into_bytes())
}

fn write_octets(packet: &Packet) -> Vec<u8> {
    let (form, bytes) = match packet {
        Packet::Text(text) => (0, text.clone().into_bytes()),
        Packet::Bytes(bytes) => (1, [&[4][..], bytes].concat()),
    };
    let digits = bytes.len().to_string().bytes().map(|digit| digit - b'0').collect::<Vec<u8>>();
    [&[form][..], &digits, &[255], &bytes].concat()
}

pub(super) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0_u32, |bits, byte| (bits << 8) | u32::from(*byte)) << (8 * (3 - three.len()));
        for digit in 0..4 {
            let value = (bits >> (18 - 6 * digit)) & 63;
            out.push(if digit <= three.len() { char::from(DIGITS[value as usize]) } else { '=' });
        }
    }
    out
}

/// A packet of Socket.IO, without its attachments.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Said {
    pub(super) kind: char,
    pub(super) attachments: usize,
    pub(super) namespace: String,
    pub(super) id: Option<u64>,
    pub(super) data: String,
}

/// As one that joined a namespace hears it: behind the `4` of Engine.IO.
pub(super) fn read_said(text: &str) -> Said {
    let kind = text.chars().next().unwrap_or_else(|| panic!("an empty message"));
    let mut rest = &text[1..];
    let mut attachments = 0;
    if matches!(kind, '5' | '6') {
        let (count, behind) = rest.split_once('-').unwrap_or_else(|| panic!("no attachments: {text}"));
        attachments = count.parse().expect("a number of attachments");
        assert!(attachments > 0, "{text}");
        rest = behind;
    }
    let mut namespace = "/".to_owned();
    if rest.starts_with('/') {
        let (name, behind) = rest.split_once(',').unwrap_or_else(|| panic!("a namespace ends by a comma: {text}"));
        (namespace, rest) = (name.to_owned(), behind);
    }
    let digits = rest.chars().take_while(char::is_ascii_digit).count();
    let id = (digits > 0).then(|| rest[..digits].parse().expect("a number"));
    Said { kind, attachments, namespace, id, data: rest[digits..].to_owned() }
}

/// A packet: `["name",..]` or what else its kind has.
pub(super) fn write_said(kind: &str, namespace: &str, id: Option<u64>, data: &str) -> Packet {
    let namespace = if namespace == "/" { String::new() } else { format!("{namespace},") };
    let id = id.map(|id| id.to_string()).unwrap_or_default();
    Packet::Text(format!("4{kind}{namespace}{id}{data}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_naive_codecs_agree_with_the_specification() {
        for (bytes, text) in
            [(&b""[..], ""), (b"a", "YQ=="), (b"ab", "YWI="), (b"abc", "YWJj"), (b"\xff\xfe\xfd", "//79")]
        {
            assert_eq!((base64(bytes), unbase64(text)), (text.to_owned(), bytes.to_vec()));
        }
        let packets = [Packet::text("4€"), Packet::Bytes(vec![1, 2, 3, 4]), Packet::text("2")];
        let body = |version, octets| write_payload(version, octets, &packets).1;
        assert_eq!(body(4, false), "4€\u{1e}bAQIDBA==\u{1e}2".as_bytes());
        assert_eq!(body(3, false), "2:4€10:b4AQIDBA==1:2".as_bytes());
        // engine.io-protocol, "Encoding with binary data".
        let octets = body(3, true);
        assert_eq!(octets, b"\x00\x04\xff4\xe2\x82\xac\x01\x05\xff\x04\x01\x02\x03\x04\x00\x01\xff2");
        assert_eq!(read_octets(&octets), packets);
        let said = read_said("51-/ns,12[\"a\"]");
        assert_eq!((said.kind, said.attachments, &*said.namespace, said.id), ('5', 1, "/ns", Some(12)));
        assert_eq!(said.data, "[\"a\"]");
        assert_eq!(read_said("2[\"a\"]").namespace, "/");
        assert_eq!(write_said("2", "/ns", Some(7), "[]"), Packet::text("42/ns,7[]"));
    }
}
