use super::*;
use proptest::prelude::*;

use Version::{V3, V4};
use Violation::{Base64, Empty, Lengths, MediaType, UnknownKind, Utf8};

fn text(kind: Kind, text: &str) -> Packet<'_> {
    Packet::text(kind, text)
}

fn message(text: &str) -> Packet<'_> {
    Packet::text(Kind::Message, text)
}

fn binary(bytes: &[u8]) -> Packet<'_> {
    Packet::binary(bytes)
}

#[test]
fn texts() {
    let rows = [
        (V4, "", Err(Empty)),
        (V4, "0{\"sid\":\"x\"}", Ok(text(Kind::Open, "{\"sid\":\"x\"}"))),
        (V4, "1", Ok(text(Kind::Close, ""))),
        (V4, "2", Ok(text(Kind::Ping, ""))),
        (V4, "2probe", Ok(text(Kind::Ping, "probe"))),
        (V3, "3probe", Ok(text(Kind::Pong, "probe"))),
        (V4, "4", Ok(message(""))),
        (V4, "4小明", Ok(message("小明"))),
        (V4, "42[\"a\"]", Ok(message("2[\"a\"]"))),
        (V4, "4b4AQID", Ok(message("b4AQID"))),
        (V3, "4\u{1e}4", Ok(message("\u{1e}4"))),
        (V4, "5", Ok(text(Kind::Upgrade, ""))),
        (V4, "6", Ok(text(Kind::Noop, ""))),
        (V4, "7", Err(UnknownKind)),
        (V4, " 4", Err(UnknownKind)),
        (V4, "abc", Err(UnknownKind)),
        (V4, "４", Err(UnknownKind)),
        (V4, "\u{0}", Err(UnknownKind)),
        // Base64, in version 3 behind the kind.
        (V4, "bAQIDBA==", Ok(binary(&[1, 2, 3, 4]))),
        (V4, "bAQIDBA", Ok(binary(&[1, 2, 3, 4]))),
        (V4, "b", Ok(binary(b""))),
        (V4, "b4AQI", Ok(binary(&[0xe0, 0x04, 0x08]))),
        (V4, "bAQ\r\nIDBA==\n", Ok(binary(&[1, 2, 3, 4]))),
        (V4, "bA", Err(Base64)),
        (V4, "bAQIDBB==", Err(Base64)),
        (V4, "bAQ=IDBA==", Err(Base64)),
        (V4, "bAQID!A==", Err(Base64)),
        (V4, "b_-8=", Err(Base64)),
        (V4, "b 票", Err(Base64)),
        (V3, "b4AQIDBA==", Ok(binary(&[1, 2, 3, 4]))),
        (V3, "b4", Ok(binary(b""))),
        (V3, "b", Err(UnknownKind)),
        (V3, "b2AQIDBA==", Err(UnknownKind)),
        (V3, "bAQIDBA==", Err(UnknownKind)),
        (V3, "b4AQIDBA=!", Err(Base64)),
    ];
    for (version, wire, expected) in rows {
        assert_eq!(read_text(version, wire), expected, "{version:?} {wire:?}");
    }
}

#[test]
fn binary_frames() {
    let rows: [(Version, &[u8], _); 6] = [
        (V4, &[1, 2, 255], Ok(binary(&[1, 2, 255]))),
        (V4, &[], Ok(binary(b""))),
        (V3, &[4, 1, 2, 255], Ok(binary(&[1, 2, 255]))),
        (V3, &[4], Ok(binary(b""))),
        (V3, &[], Err(Empty)),
        (V3, &[b'4', 1, 2], Err(UnknownKind)),
    ];
    for (version, wire, expected) in rows {
        assert_eq!(read_binary(version, wire), expected, "{version:?} {wire:?}");
        if let Ok(Packet { data: Data::Binary(bytes), .. }) = expected {
            assert_eq!([binary_prefix(version), &*bytes].concat(), wire);
        }
    }
}

type Row = (Version, bool, &'static [u8], Vec<Packet<'static>>, Option<Violation>);

/// Version, octets?, body, the packets, and the violation that ends them.
fn payloads() -> Vec<Row> {
    let (ping, close) = (text(Kind::Ping, ""), text(Kind::Close, ""));
    vec![
        (V4, false, b"", vec![], Some(Empty)),
        (V4, false, b"4", vec![message("")], None),
        (V4, false, b"4hello\x1e2\x1e4world", vec![message("hello"), ping.clone(), message("world")], None),
        (V4, false, b"4test1\x1ebAQIDBA==", vec![message("test1"), binary(&[1, 2, 3, 4])], None),
        (V4, false, "4小明\x1e4😀\x1e1".as_bytes(), vec![message("小明"), message("😀"), close.clone()], None),
        (V4, false, b"\x1e", vec![], Some(Empty)),
        (V4, false, b"4a\x1e", vec![message("a")], Some(Empty)),
        (V4, false, b"4a\x1e\x1e4b", vec![message("a")], Some(Empty)),
        (V4, false, b"4a\x1eabc\x1e4b", vec![message("a")], Some(UnknownKind)),
        (V4, false, b"abc", vec![], Some(UnknownKind)),
        (V4, false, b"6:4hello", vec![text(Kind::Noop, ":4hello")], None),
        (V4, false, b"4a\x1e4\xff", vec![], Some(Utf8)),
        (V4, true, b"4a", vec![], Some(MediaType)),
        (V4, true, b"", vec![], Some(Empty)),
        (V3, false, b"", vec![], Some(Empty)),
        (V3, false, b"1:4", vec![message("")], None),
        (V3, false, b"6:4hello1:26:4world", vec![message("hello"), ping, message("world")], None),
        (V3, false, b"10:b4AQIDBA==2:4a", vec![binary(&[1, 2, 3, 4]), message("a")], None),
        (V3, false, "2:4€3:4😀5:4小明人民".as_bytes(), vec![message("€"), message("😀"), message("小明人民")], None),
        (V3, false, "2:4😀".as_bytes(), vec![], Some(Lengths)),
        (V3, false, "4:4😀1:1".as_bytes(), vec![message("😀1")], Some(Lengths)),
        (V3, false, "3:4é1:1".as_bytes(), vec![message("é1")], Some(Lengths)),
        (V3, false, b"0:", vec![], Some(Empty)),
        (V3, false, b"2:4a0:", vec![message("a")], Some(Empty)),
        (V3, false, b"2:4a1", vec![message("a")], Some(Lengths)),
        (V3, false, b"2:4a1:", vec![message("a")], Some(Lengths)),
        (V3, false, b"3:4a", vec![], Some(Lengths)),
        (V3, false, b"02:4a", vec![], Some(Lengths)),
        (V3, false, b"+2:4a", vec![], Some(Lengths)),
        (V3, false, b"-1:4a", vec![], Some(Lengths)),
        (V3, false, b" 2:4a", vec![], Some(Lengths)),
        (V3, false, b"2.0:4a", vec![], Some(Lengths)),
        (V3, false, b":4a", vec![], Some(Lengths)),
        (V3, false, b"4a", vec![], Some(Lengths)),
        (V3, false, b"999999999:4a", vec![], Some(Lengths)),
        (V3, false, b"1000000000:4a", vec![], Some(Lengths)),
        (V3, false, b"99999999999999999999999999:4a", vec![], Some(Lengths)),
        (V3, false, b"3:abc", vec![], Some(UnknownKind)),
        (V3, false, b"4hello\x1e2", vec![], Some(Lengths)),
        (V3, false, b"2:4\xff", vec![], Some(Utf8)),
        (V3, true, b"", vec![], Some(Empty)),
        (V3, true, b"\x00\x06\xff4hello", vec![message("hello")], None),
        (
            V3,
            true,
            b"\x00\x04\xff4\xe2\x82\xac\x01\x05\xff\x04\x01\x02\x03\x04",
            vec![message("€"), binary(&[1, 2, 3, 4])],
            None,
        ),
        (V3, true, b"\x01\x01\x02\xff\x0412345678901", vec![binary(b"12345678901")], None),
        (V3, true, b"\x00\x0a\xffb4AQIDBA=", vec![], Some(Lengths)),
        (V3, true, b"\x00\x01\x00\xffb4AQIDBA==", vec![binary(&[1, 2, 3, 4])], None),
        (V3, true, b"\x00\x01\xff1\x01\x01\xff\x04", vec![close, binary(b"")], None),
        (V3, true, b"\x00\x02\xff4\xff", vec![], Some(Utf8)),
        (V3, true, b"\x01\x02\xff\x021", vec![], Some(UnknownKind)),
        (V3, true, b"\x01\x02\xff41", vec![], Some(UnknownKind)),
        (V3, true, b"\x01\x00\xff", vec![], Some(Empty)),
        (V3, true, b"\x02\x01\xff4", vec![], Some(Lengths)),
        (V3, true, b"\x00\x00\x01\xff4", vec![], Some(Lengths)),
        (V3, true, b"\x00\xff4", vec![], Some(Lengths)),
        (V3, true, b"\x00\x03\xff4a", vec![], Some(Lengths)),
        (V3, true, b"\x00\x01\xff4\x00", vec![message("")], Some(Lengths)),
        (V3, true, b"2:4a", vec![], Some(Lengths)),
    ]
}

#[test]
fn payloads_are_read() {
    for (version, octets, body, packets, violation) in payloads() {
        let expected: Vec<_> = packets.into_iter().map(Ok).chain(violation.map(Err)).collect();
        let read: Vec<_> = read_payload(version, octets, body).collect();
        assert_eq!(read, expected, "{version:?} {octets} {}", body.escape_ascii());
    }
}

/// Cut anywhere, a payload has no packet that the whole has not, but for the last, which may be shorter.
#[test]
fn payloads_are_read_when_cut_at_every_byte() {
    let mut violations = 0;
    for (version, octets, body, ..) in payloads() {
        let whole: Vec<_> = read_payload(version, octets, body).collect();
        for end in 0..body.len() {
            let mut payload = read_payload(version, octets, &body[..end]);
            let read: Vec<_> = payload.by_ref().collect();
            assert_eq!(payload.next(), None, "over is over");
            let same = read.iter().zip(&whole).take_while(|(read, whole)| read == whole).count();
            // Whether it is UTF-8 is judged before the first packet.
            let judged_whole = whole == [Err(Utf8)];
            assert!(judged_whole || read.len() - same <= 1, "{}: {read:?}", body[..end].escape_ascii());
            assert!(read.iter().rev().skip(1).all(Result::is_ok), "nothing follows a violation");
            violations += usize::from(read.last().is_some_and(Result::is_err));
        }
        // In the other forms it means something else, or nothing.
        for (version, octets) in [(V3, false), (V3, true), (V4, false), (V4, true)] {
            assert!(read_payload(version, octets, body).count() <= body.len() + 1);
        }
    }
    assert!(violations > 100);
}

#[test]
fn payloads_are_written() {
    let (ping, noop) = (text(Kind::Ping, ""), text(Kind::Noop, ""));
    let bytes = binary(&[1, 2, 3, 4]);
    let many = binary(b"12345678901");
    let rows: Vec<(_, _, Vec<Packet<'_>>, &[u8])> = vec![
        (V4, true, vec![], b"6"),
        (V4, true, vec![message("hello"), ping.clone(), message("world")], b"4hello\x1e2\x1e4world"),
        (V4, true, vec![message("小明"), bytes.clone()], "4小明\x1ebAQIDBA==".as_bytes()),
        (V4, false, vec![bytes.clone(), bytes.clone()], b"bAQIDBA==\x1ebAQIDBA=="),
        (V3, true, vec![], b"1:6"),
        (V3, false, vec![noop], b"1:6"),
        (V3, false, vec![message("€"), message("😀"), ping.clone()], "2:4€3:4😀1:2".as_bytes()),
        (V3, true, vec![message("€"), bytes.clone(), message("")], "2:4€10:b4AQIDBA==1:4".as_bytes()),
        (V3, false, vec![bytes.clone()], b"\x01\x05\xff\x04\x01\x02\x03\x04"),
        (
            V3,
            false,
            vec![message("€"), ping, bytes, message("a"), many],
            b"\x00\x04\xff4\xe2\x82\xac\x00\x01\xff2\x01\x05\xff\x04\x01\x02\x03\x04\x00\x02\xff4a\x01\x01\x02\xff\x0412345678901",
        ),
    ];
    for (version, base64, packets, expected) in rows {
        let mut writer = PayloadWriter::new(version, base64);
        for packet in &packets {
            writer.push(packet);
        }
        assert_eq!(writer.bytes(), if packets.is_empty() { 0 } else { expected.len() });
        let (body, media_type) = writer.finish();
        assert_eq!(body.escape_ascii().to_string(), expected.escape_ascii().to_string());
        let octets = body[0] < 2;
        assert_eq!(media_type, if octets { "application/octet-stream" } else { "text/plain; charset=UTF-8" });
    }
}

#[test]
fn frames_and_handshakes_are_written() {
    let mut out = Vec::new();
    write_text(&mut out, Kind::Pong, "probe");
    assert_eq!(out, b"3probe");
    for (version, expected) in [(V3, "b4/+8="), (V4, "b/+8=")] {
        let mut out = Vec::new();
        write_base64(&mut out, version, &[0xff, 0xef]);
        assert_eq!(str::from_utf8(&out), Ok(expected));
    }
    let (interval, timeout) = (Duration::from_millis(25_000), Duration::from_millis(20_000));
    assert_eq!(
        handshake("c0.1", true, interval, timeout, 1_000_000),
        r#"{"sid":"c0.1","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#
    );
    assert_eq!(
        handshake("\"", false, timeout, interval, 1),
        r#"{"sid":"\"","upgrades":[],"pingInterval":20000,"pingTimeout":25000,"maxPayload":1}"#
    );
}

/// A million packets of a byte or two: if a packet cost what is left behind it, this would not come back.
#[test]
fn many_tiny_packets_cost_their_length() {
    let packets = 1_000_000;
    let bodies = [
        (V4, false, b"4\x1e".repeat(packets)),
        (V3, false, b"1:4".repeat(packets)),
        (V3, false, "2:4é".repeat(packets).into_bytes()),
        (V3, true, b"\x00\x01\xff4".repeat(packets)),
    ];
    for (version, octets, mut body) in bodies {
        if version == V4 {
            body.pop();
        }
        assert_eq!(read_payload(version, octets, &body).filter(|packet| packet.is_ok()).count(), packets);
    }
}

/// By JavaScript's own units: as an array of them.
fn split_naively(text: &str, units: usize) -> Option<(String, String)> {
    let all: Vec<u16> = text.encode_utf16().collect();
    let (left, right) = all.split_at_checked(units)?;
    Some((String::from_utf16(left).ok()?, String::from_utf16(right).ok()?))
}

#[derive(Clone, Debug)]
enum Any {
    Text(Kind, String),
    Binary(Vec<u8>),
}

fn any_packet(characters: &'static str) -> impl Strategy<Value = Any> {
    prop_oneof![
        (0..7_u8, characters).prop_map(|(kind, text)| Any::Text(Kind::of(b'0' + kind).unwrap(), text)),
        prop::collection::vec(any::<u8>(), 0..30).prop_map(Any::Binary),
    ]
}

fn packet(any: &Any) -> Packet<'_> {
    match any {
        Any::Text(kind, text) => Packet::text(*kind, text),
        Any::Binary(bytes) => Packet::binary(bytes),
    }
}

proptest! {
    #[test]
    fn utf16_is_counted_as_javascript_does(text in "([a小é😀]){0,20}", units in 0..45_usize) {
        prop_assert_eq!(utf16_len(&text), text.encode_utf16().count());
        let split = split_utf16(&text, units).map(|(left, right)| (left.to_owned(), right.to_owned()));
        prop_assert_eq!(split, split_naively(&text, units));
    }

    #[test]
    fn what_is_written_is_read(
        packets in prop::collection::vec(any_packet("([0-9:b小😀\u{7f}\u{ff}]|[ -~]){0,20}"), 1..8),
        base64: bool,
        v3: bool,
    ) {
        let version = if v3 { V3 } else { V4 };
        let mut writer = PayloadWriter::new(version, base64);
        for any in &packets {
            writer.push(&packet(any));
        }
        let (body, media_type) = writer.finish();
        let has_binary = packets.iter().any(|any| matches!(any, Any::Binary(_)));
        let octets = media_type == "application/octet-stream";
        prop_assert_eq!(octets, v3 && has_binary && !base64);
        let read: Result<Vec<_>, _> = read_payload(version, octets, &body).collect();
        prop_assert_eq!(read, Ok(packets.iter().map(packet).collect::<Vec<_>>()));
    }

    #[test]
    fn frames_are_read_back(any in any_packet("\\PC{0,20}"), v3: bool) {
        let version = if v3 { V3 } else { V4 };
        let mut out = Vec::new();
        match &any {
            Any::Text(kind, text) => write_text(&mut out, *kind, text),
            Any::Binary(bytes) => {
                write_base64(&mut out, version, bytes);
                let frame = [binary_prefix(version), bytes].concat();
                prop_assert_eq!(read_binary(version, &frame), Ok(packet(&any)));
            }
        }
        prop_assert_eq!(read_text(version, str::from_utf8(&out).unwrap()), Ok(packet(&any)));
    }

    #[test]
    fn anything_is_answered(body: Vec<u8>, octets: bool, v3: bool) {
        let version = if v3 { V3 } else { V4 };
        prop_assert!(read_payload(version, octets, &body).count() <= body.len() + 1);
        let _ = read_binary(version, &body);
        let _ = read_text(version, &String::from_utf8_lossy(&body));
    }
}
