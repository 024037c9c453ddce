use super::*;
use crate::base::limits::{ATTACHMENTS_MAX, JSON_DEPTH_MAX};
use proptest::prelude::*;
use serde_json::{Value, json};

use Version::{V3, V4};

const ROOMY: usize = 1 << 20;

fn read(version: Version, packet: &str) -> Result<Option<Message>, Violation> {
    Reader::new(version, ROOMY).text(packet)
}

fn args(json: &str, attachments: &[&[u8]]) -> Args {
    Args { json: json.into(), attachments: attachments.iter().map(|bytes| bytes.to_vec()).collect() }
}

fn connect(namespace: &str, query: Option<&str>, auth: Option<&str>) -> Message {
    Message::Connect { namespace: namespace.into(), query: query.map(Into::into), auth: auth.map(Into::into) }
}

fn disconnect(namespace: &str) -> Message {
    Message::Disconnect { namespace: namespace.into() }
}

fn event(namespace: &str, id: Option<u64>, name: &str, json: &str) -> Message {
    Message::Event { namespace: namespace.into(), id, name: name.into(), args: args(json, &[]) }
}

fn ack(namespace: &str, id: u64, json: &str) -> Message {
    Message::Ack { namespace: namespace.into(), id, args: args(json, &[]) }
}

/// Packets without attachments that are read.
fn packets() -> Vec<(Version, &'static str, Message)> {
    vec![
        (V4, "0", connect("/", None, None)),
        (V4, "0{}", connect("/", None, Some("{}"))),
        (V4, "0{\"token\":\"abc\"}", connect("/", None, Some("{\"token\":\"abc\"}"))),
        (V4, "0/custom", connect("/custom", None, None)),
        (V4, "0/custom,", connect("/custom", None, None)),
        (V4, "0/custom, {\"a\" : [1]} ", connect("/custom", None, Some("{\"a\" : [1]}"))),
        (V4, "0/房间,", connect("/房间", None, None)),
        (V4, "0/", connect("/", None, None)),
        (V4, "0/,", connect("/", None, None)),
        (V4, "0/a?b=c,", connect("/a?b=c", None, None)),
        (V3, "0", connect("/", None, None)),
        (V3, "0/custom", connect("/custom", None, None)),
        (V3, "0/custom?token=abc&name=%E5%B0%8F,", connect("/custom", Some("token=abc&name=%E5%B0%8F"), None)),
        (V3, "0/custom?token=abc", connect("/custom", Some("token=abc"), None)),
        (V3, "0/?a=b,", connect("/", Some("a=b"), None)),
        (V3, "0/a??,{}", connect("/a", Some("?"), Some("{}"))),
        (V4, "1", disconnect("/")),
        (V4, "1/custom,", disconnect("/custom")),
        (V3, "1/custom", disconnect("/custom")),
        (V4, "2[\"foo\"]", event("/", None, "foo", "[]")),
        (V4, "2[\"message\",1,\"2\",{\"3\":[true]}]", event("/", None, "message", "[1,\"2\",{\"3\":[true]}]")),
        (V4, "2/admin,[\"bar\"]", event("/admin", None, "bar", "[]")),
        (V4, "212[\"foo\"]", event("/", Some(12), "foo", "[]")),
        (V4, "2/admin,456[\"foo\",\"小明\"]", event("/admin", Some(456), "foo", "[\"小明\"]")),
        (V3, "2/admin,0[\"foo\",null]", event("/admin", Some(0), "foo", "[null]")),
        (V3, "2/admin?a=b,1[\"foo\"]", event("/admin", Some(1), "foo", "[]")),
        (V4, "218446744073709551615[\"a\"]", event("/", Some(u64::MAX), "a", "[]")),
        (V4, "2 [ \"a\" , 1 , 2 ] ", event("/", None, "a", "[1 , 2 ]")),
        (V4, "2[\"a\" ]", event("/", None, "a", "[]")),
        (V4, "2[\"\"]", event("/", None, "", "[]")),
        (V4, "2[\"\\u540d\\n\\\"\",\"\\u540d\"]", event("/", None, "名\n\"", "[\"\\u540d\"]")),
        (V4, "2[\"a]\",\"],[\\\"\"]", event("/", None, "a]", "[\"],[\\\"\"]")),
        (V4, "2[\"connected\",1e999,-0.0]", event("/", None, "connected", "[1e999,-0.0]")),
        (V4, "2[\"a\",\"\\ud83d\"]", event("/", None, "a", "[\"\\ud83d\"]")),
        (V4, "2[1]", event("/", None, "1", "[]")),
        (V4, "2[-1.50,2]", event("/", None, "-1.50", "[2]")),
        // In a packet without attachments it is an object.
        (
            V4,
            "2[\"a\",{\"_placeholder\":true,\"num\":7}]",
            event("/", None, "a", "[{\"_placeholder\":true,\"num\":7}]"),
        ),
        (V4, "312[]", ack("/", 12, "[]")),
        (V4, "3/admin,13[\"bar\", 1]", ack("/admin", 13, "[\"bar\", 1]")),
        (V3, "31[{}]", ack("/", 1, "[{}]")),
    ]
}

/// Packets that are not.
const REFUSED: [(Version, &str, Violation); 66] = [
    (V4, "", Violation::Head),
    (V4, "abc", Violation::Head),
    (V4, "4", Violation::Head),
    (V4, "4{\"message\":\"no\"}", Violation::Head),
    (V3, "4\"no\"", Violation::Head),
    (V4, "7", Violation::Head),
    (V4, " 2[\"a\"]", Violation::Head),
    (V4, "小", Violation::Head),
    (V4, "00", Violation::Head),
    (V4, "01{}", Violation::Head),
    (V4, "112", Violation::Head),
    (V4, "3[]", Violation::Head),
    (V4, "3/a,[]", Violation::Head),
    (V4, "218446744073709551616[\"a\"]", Violation::Head),
    (V4, "5[\"a\"]", Violation::Head),
    (V4, "5-[\"a\"]", Violation::Head),
    (V4, "51[\"a\"]", Violation::Head),
    (V4, "5", Violation::Head),
    (V4, "51", Violation::Head),
    (V4, "5x-[\"a\"]", Violation::Head),
    (V4, "5+1-[\"a\"]", Violation::Head),
    (V4, "5 1-[\"a\"]", Violation::Head),
    (V4, "51.0-[\"a\"]", Violation::Head),
    (V4, "5/a,1-[\"a\"]", Violation::Head),
    (V4, "6/a,1[]", Violation::Head),
    (V4, "61-[{\"_placeholder\":true,\"num\":0}]", Violation::Head),
    (V4, "50-[\"a\"]", Violation::Attachments),
    (V4, "565-[\"a\"]", Violation::Attachments),
    (V4, "599999999999999999999999-[\"a\"]", Violation::Attachments),
    (V4, "51-[\"a\"]", Violation::Attachments),
    (V4, "61-1[]", Violation::Attachments),
    (V4, "0[]", Violation::Data),
    (V4, "0\"\"", Violation::Data),
    (V4, "0null", Violation::Data),
    (V4, "0/a,{", Violation::Data),
    (V4, "0{}{}", Violation::Data),
    (V3, "0[]", Violation::Data),
    (V4, "0custom", Violation::Data),
    (V4, "0?a=b", Violation::Data),
    (V4, "1{}", Violation::Data),
    (V4, "1/a,[]", Violation::Data),
    (V4, "1 ", Violation::Data),
    (V4, "2", Violation::Data),
    (V4, "212", Violation::Data),
    (V4, "2{}", Violation::Data),
    (V4, "2[]", Violation::Data),
    (V4, "2[null]", Violation::Data),
    (V4, "2[true,1]", Violation::Data),
    (V4, "2[[\"a\"]]", Violation::Data),
    (V4, "2[{}]", Violation::Data),
    (V4, "2\"a\"", Violation::Data),
    (V4, "2[\"a\"", Violation::Data),
    (V4, "2[\"a\",]", Violation::Data),
    (V4, "2[,\"a\"]", Violation::Data),
    (V4, "2[\"a\"]]", Violation::Data),
    (V4, "2[\"a\",1}", Violation::Data),
    (V4, "2[\"a\",'b']", Violation::Data),
    (V4, "2[\"a\",01]", Violation::Data),
    (V4, "2[\"a\",\"\n\"]", Violation::Data),
    (V4, "2[\"a\",NaN]", Violation::Data),
    (V4, "2[\"\\ud83d\"]", Violation::Data),
    (V4, "2\u{a0}[\"a\"]", Violation::Data),
    (V4, "2[\"a\"]\0", Violation::Data),
    (V4, "2/a[\"a\"]", Violation::Data),
    (V4, "312{}", Violation::Data),
    (V4, "312", Violation::Data),
];

#[test]
fn packets_are_read() {
    for (version, packet, expected) in packets() {
        let mut reader = Reader::new(version, ROOMY);
        assert_eq!(reader.text(packet), Ok(Some(expected)), "{version:?} {packet:?}");
        assert!(!reader.is_waiting() && reader.bytes() == 0);
        assert_eq!(reader.binary(b""), Err(Violation::OutOfTurn));
    }
    for (version, packet, expected) in REFUSED {
        assert_eq!(read(version, packet), Err(expected), "{version:?} {packet:?}");
    }
    for name in RESERVED {
        assert_eq!(read(V4, &format!("2[\"{name}\",1]")), Err(Violation::Data), "{name}");
        assert_eq!(
            read(V3, &format!("2/a,1[\"\\u00{:02x}{}\"]", name.as_bytes()[0], &name[1..])),
            Err(Violation::Data)
        );
    }
}

#[test]
fn packets_are_answered_when_cut_at_every_byte() {
    let whole = packets().into_iter().map(|(_, packet, _)| packet).chain(REFUSED.map(|(_, packet, _)| packet));
    let (mut read_too, mut refused) = (0, 0);
    for packet in whole.chain(BINARY.map(|(packet, ..)| packet)) {
        for end in (0..packet.len()).filter(|end| packet.is_char_boundary(*end)) {
            for version in [V3, V4] {
                match read(version, &packet[..end]) {
                    Ok(_) => read_too += 1,
                    Err(_) => refused += 1,
                }
            }
        }
    }
    assert!(read_too > 50 && refused > 500, "{read_too} {refused}");
}

const BYTES: [&[u8]; 3] = [&[1, 2], b"", "小".as_bytes()];

/// Packets with attachments; how many of [`BYTES`], and the message's JSON.
const BINARY: [(&str, usize, &str); 9] = [
    ("51-[\"baz\",{\"_placeholder\":true,\"num\":0}]", 1, "[{\"_placeholder\":true,\"num\":0}]"),
    (
        "52-/admin,456[\"baz\",{\"_placeholder\":true,\"num\":0},{\"_placeholder\":true,\"num\":1}]",
        2,
        "[{\"_placeholder\":true,\"num\":0},{\"_placeholder\":true,\"num\":1}]",
    ),
    (
        "53-[\"a\",[{\"_placeholder\":true,\"num\":2},{\"x\":{\"_placeholder\":true,\"num\":0}}],1,{\"num\":1,\"_placeholder\":true}]",
        3,
        "[[{\"_placeholder\":true,\"num\":2},{\"x\":{\"_placeholder\":true,\"num\":0}}],1,{\"num\":1,\"_placeholder\":true}]",
    ),
    ("51-[\"a\", { \"_placeholder\" : true , \"num\" : 0 } ]", 1, "[{ \"_placeholder\" : true , \"num\" : 0 } ]"),
    ("51-[\"a\",{\"\\u005fplaceholder\":true,\"n\\u0075m\":0}]", 1, "[{\"\\u005fplaceholder\":true,\"n\\u0075m\":0}]"),
    (
        "51-[\"a\",\"{\\\"_placeholder\\\":true\",{\"_placeholder\":false},[\"_placeholder\",true],{\"_placeholder\":true,\"num\":0}]",
        1,
        "[\"{\\\"_placeholder\\\":true\",{\"_placeholder\":false},[\"_placeholder\",true],{\"_placeholder\":true,\"num\":0}]",
    ),
    (
        "51-[\"a\",{\"_placeholder\":\"true\",\"num\":9},{\"_placeholder\":{\"_placeholder\":true,\"num\":0}}]",
        1,
        "[{\"_placeholder\":\"true\",\"num\":9},{\"_placeholder\":{\"_placeholder\":true,\"num\":0}}]",
    ),
    ("61-/a,7[{\"_placeholder\":true,\"num\":0}]", 1, "[{\"_placeholder\":true,\"num\":0}]"),
    (
        "62-7[{\"_placeholder\":true,\"num\":1},{\"_placeholder\":true,\"num\":0}]",
        2,
        "[{\"_placeholder\":true,\"num\":1},{\"_placeholder\":true,\"num\":0}]",
    ),
];

#[test]
fn attachments_are_awaited() {
    for (packet, count, json) in BINARY {
        for version in [V3, V4] {
            let mut reader = Reader::new(version, ROOMY);
            assert_eq!(reader.text(packet), Ok(None), "{packet}");
            let mut bytes = packet.len();
            for (number, attachment) in BYTES[..count].iter().enumerate() {
                assert!(reader.is_waiting());
                assert_eq!(reader.bytes(), bytes);
                bytes += attachment.len();
                let message = reader.binary(attachment).unwrap();
                assert_eq!(message.is_some(), number + 1 == count);
                if let Some(Message::Event { args: read, .. } | Message::Ack { args: read, .. }) = message {
                    assert_eq!(read, args(json, &BYTES[..count]));
                }
            }
            assert!(!reader.is_waiting() && reader.bytes() == 0);
            assert_eq!(reader.text("1"), Ok(Some(disconnect("/"))), "it goes on");
            assert_eq!(reader.text(packet), Ok(None));
            assert_eq!(reader.text("1"), Err(Violation::OutOfTurn));
        }
    }
}

#[test]
fn placeholders_and_attachments_must_fit() {
    let rows = [
        "52-[\"a\",{\"_placeholder\":true,\"num\":0}]",
        "51-[\"a\",{\"_placeholder\":true,\"num\":0},{\"_placeholder\":true,\"num\":0}]",
        "51-[\"a\",{\"_placeholder\":true,\"num\":1}]",
        "52-[\"a\",{\"_placeholder\":true,\"num\":0},{\"_placeholder\":true,\"num\":2}]",
        "51-[\"a\",{\"_placeholder\":true,\"num\":0},{\"_placeholder\":true,\"num\":64}]",
        "51-[\"a\",{\"_placeholder\":true,\"num\":-1}]",
        "51-[\"a\",{\"_placeholder\":true,\"num\":0.0}]",
        "51-[\"a\",{\"_placeholder\":true,\"num\":99999999999999999999}]",
        "51-[\"a\",{\"_placeholder\":true,\"num\":\"0\"}]",
        "51-[\"a\",{\"_placeholder\":true}]",
        "51-[\"a\",{\"_placeholder\":true,\"num\":0,\"x\":1}]",
        "51-[\"a\",{\"_placeholder\":true,\"num\":0,\"num\":0}]",
        "51-[\"a\",{\"_placeholder\":false,\"_placeholder\":true,\"num\":0}]",
        "51-[\"a\",{\"_placeholder\":true,\"num\":{\"_placeholder\":true,\"num\":0}}]",
        "51-[\"a\",{\"_placeholder\":false,\"num\":0}]",
        "51-[\"a\",{\"_placeholder\":1,\"num\":0}]",
        "51-[\"a\",{\"_placeholder\":[true],\"num\":0}]",
        "51-[\"a\",[true,0]]",
        "51-[\"a\",\"{\\\"_placeholder\\\":true,\\\"num\\\":0}\"]",
    ];
    for packet in rows {
        assert_eq!(read(V4, packet), Err(Violation::Attachments), "{packet}");
    }
    for count in 1..=ATTACHMENTS_MAX + 1 {
        let places: Vec<_> = (0..count).rev().map(|num| json!({ "_placeholder": true, "num": num })).collect();
        let expected = if count > ATTACHMENTS_MAX { Err(Violation::Attachments) } else { Ok(None) };
        assert_eq!(read(V4, &format!("5{count}-[\"a\",{}]", json!(places))), expected, "{count}");
    }
}

#[test]
fn bounds() {
    // A packet with its attachments.
    let packet = BINARY[1].0;
    for (bytes_max, expected) in [
        (packet.len() - 1, [Err(Violation::TooLarge), Ok(false), Ok(false)]),
        (packet.len() + 1, [Ok(false), Err(Violation::TooLarge), Ok(false)]),
        (packet.len() + 3, [Ok(false), Ok(false), Err(Violation::TooLarge)]),
        (packet.len() + 4, [Ok(false), Ok(false), Ok(true)]),
    ] {
        let mut reader = Reader::new(V4, bytes_max);
        for (number, expected) in expected.into_iter().enumerate() {
            let read = if number == 0 { reader.text(packet) } else { reader.binary(&[1, 2]) };
            assert_eq!(read.map(|message| message.is_some()), expected, "{bytes_max}, {number}");
            if expected.is_err() {
                break;
            }
        }
    }
    assert_eq!(Reader::new(V4, 0).text("1"), Err(Violation::TooLarge));
    // Names.
    let longest = "n".repeat(EVENT_NAME_BYTES_MAX);
    assert_eq!(read(V4, &format!("2[\"{longest}\"]")), Ok(Some(event("/", None, &longest, "[]"))));
    assert_eq!(read(V4, &format!("2[\"{longest}n\"]")), Err(Violation::Name));
    assert_eq!(read(V4, &format!("2[1{}]", "0".repeat(EVENT_NAME_BYTES_MAX))), Err(Violation::Name));
    let longest = &longest[1..];
    assert_eq!(read(V3, &format!("1/{longest}?{longest},")), Ok(Some(disconnect(&format!("/{longest}")))));
    assert_eq!(read(V4, &format!("1/{longest}n,")), Err(Violation::Name));
    // Depth, wherever; brackets within texts do not count.
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let nested = |depth: usize| format!("{}1{}", open.repeat(depth), close.repeat(depth));
        let (fits, deep) = (nested(JSON_DEPTH_MAX - 1), nested(JSON_DEPTH_MAX));
        assert_eq!(read(V4, &format!("2[\"a\",{fits}]")), Ok(Some(event("/", None, "a", &format!("[{fits}]")))));
        assert_eq!(read(V4, &format!("2[\"a\",{deep}]")), Err(Violation::Depth));
        assert_eq!(read(V4, &format!("31[{deep}]")), Err(Violation::Depth));
        assert_eq!(read(V4, &format!("0{{\"a\":{deep}}}")), Err(Violation::Depth));
        assert_eq!(read(V4, &format!("2{}", open.repeat(100_000))), Err(Violation::Depth));
        assert_eq!(read(V4, &format!("2{}", "[]".repeat(100_000))), Err(Violation::Data));
    }
    let brackets = json!(["a", "[{\\\"[".repeat(100)]).to_string();
    assert!(read(V4, &format!("2{brackets}")).is_ok());
    let fits = format!("[{}]", vec!["[1]"; 1000].join(","));
    assert!(read(V4, &format!("31{fits}")).is_ok(), "side by side is not deep");
}

#[test]
fn arguments_one_by_one() {
    let read = |packet: &str, attachments: &[&[u8]]| {
        let mut reader = Reader::new(V4, ROOMY);
        let mut message = reader.text(packet).unwrap();
        for bytes in attachments {
            message = reader.binary(bytes).unwrap();
        }
        match message {
            Some(Message::Event { args, .. } | Message::Ack { args, .. }) => args,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(read("2[\"a\"]", &[]).first(), None);
    assert_eq!(read("2[\"a\", 1 ]", &[]).first(), Some(Argument::Json("1")));
    assert_eq!(
        read("2[\"a\",{\"_placeholder\":true,\"num\":0}]", &[]).first().map(|first| matches!(first, Argument::Json(_))),
        Some(true)
    );
    let args = read("31[ \"a\" , [1,[2],{\"a\":[ ]}],{},null,{\"b\":\"]\"}, -1e5]", &[]);
    let expected = ["\"a\"", "[1,[2],{\"a\":[ ]}]", "{}", "null", "{\"b\":\"]\"}", "-1e5"];
    assert_eq!(args.iter().collect::<Vec<_>>(), expected.map(Argument::Json));
    let args = read(BINARY[2].0, &BYTES);
    let nested = "[{\"_placeholder\":true,\"num\":2},{\"x\":{\"_placeholder\":true,\"num\":0}}]";
    assert_eq!(
        args.iter().collect::<Vec<_>>(),
        [Argument::Json(nested), Argument::Json("1"), Argument::Attachment(BYTES[1])]
    );
}

#[test]
fn written() {
    fn by(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }
    let rows = [
        (by(|out| write_connected(out, V4, "/", "c0.1")), "0{\"sid\":\"c0.1\"}"),
        (by(|out| write_connected(out, V4, "/ns", "\"")), "0/ns,{\"sid\":\"\\\"\"}"),
        (by(|out| write_connected(out, V3, "/", "x")), "0"),
        (by(|out| write_connected(out, V3, "/ns", "x")), "0/ns,"),
        (by(|out| write_connect_error(out, V4, "/", "no")), "4{\"message\":\"no\"}"),
        (
            by(|out| write_connect_error(out, V4, "/random", "Invalid namespace")),
            "4/random,{\"message\":\"Invalid namespace\"}",
        ),
        (by(|out| write_connect_error(out, V3, "/random", "Invalid namespace")), "4/random,\"Invalid namespace\""),
        (by(|out| write_disconnect(out, "/")), "1"),
        (by(|out| write_disconnect(out, "/ns")), "1/ns,"),
        (by(|out| begin_event(out, "/", "message", 0)), "2[\"message\""),
        (by(|out| begin_event(out, "/房间", "\"名\"\n", 0)), "2/房间,[\"\\\"名\\\"\\n\""),
        (by(|out| begin_event(out, "/ns", "a", 12)), "512-/ns,[\"a\""),
        (by(|out| write_ack(out, "/", 456, "[1]", 0)), "3456[1]"),
        (by(|out| write_ack(out, "/ns", 0, "[]", 0)), "3/ns,0[]"),
        (by(|out| write_ack(out, "/", 789, "[{}]", 2)), "62-789[{}]"),
        (by(|out| write_placeholder(out, 10)), "{\"_placeholder\":true,\"num\":10}"),
    ];
    for (written, expected) in rows {
        assert_eq!(written, expected);
    }
}

/// Values with placeholders as leaves.
fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "([\\[\\]{}\",:\\\\]|[a小😀\n]){0,6}".prop_map(Value::from),
        (0..4_usize).prop_map(|num| json!({ "_placeholder": true, "num": num })),
        Just(json!({ "_placeholder": true })),
        Just(json!({ "_placeholder": false, "num": 0 })),
    ];
    leaf.prop_recursive(6, 30, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("(_placeholder|num|[a\"\\\\]{0,3})", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Every placeholder's number by walking the tree; `None`: one that is none.
fn placeholders(value: &Value, found: &mut Vec<Option<u64>>) {
    match value {
        Value::Object(map) if map.get("_placeholder") == Some(&Value::Bool(true)) => {
            found.push(map.get("num").and_then(Value::as_u64).filter(|_| map.len() == 2));
        }
        Value::Object(map) => map.values().for_each(|value| placeholders(value, found)),
        Value::Array(values) => values.iter().for_each(|value| placeholders(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        Value::Array(values) => 1 + values.iter().map(depth).max().unwrap_or(0),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

proptest! {
    #[test]
    fn events_are_read_back(
        name in "([a-z名\"\\\\\n]){0,8}",
        namespace in "/[a-z房?]{0,8}",
        id: Option<u64>,
        values in prop::collection::vec(any_value(), 0..4),
        spaced: bool,
    ) {
        prop_assume!(!RESERVED.contains(&name.as_str()));
        let mut packet = Vec::new();
        begin_event(&mut packet, &namespace, &name, 0);
        let head = packet.iter().position(|byte| *byte == b'[').unwrap();
        if let Some(id) = id {
            packet.splice(head..head, id.to_string().into_bytes());
        }
        for value in &values {
            packet.push(b',');
            let written = if spaced { serde_json::to_string_pretty(value) } else { serde_json::to_string(value) };
            packet.extend(written.unwrap().bytes());
        }
        packet.push(b']');
        let read = read(V4, str::from_utf8(&packet).unwrap());
        let Ok(Some(Message::Event { args, namespace: to, id: under, name: named })) = read else {
            return Err(TestCaseError::fail(format!("{read:?}")));
        };
        prop_assert_eq!((to, under, named), (namespace, id, name));
        prop_assert_eq!(serde_json::from_str::<Vec<Value>>(&args.json).unwrap(), values.clone());
        let one_by_one: Vec<Value> = args.iter().map(|argument| match argument {
            Argument::Json(json) => serde_json::from_str(json).unwrap(),
            Argument::Attachment(_) => panic!("there is none"),
        }).collect();
        prop_assert_eq!(one_by_one, values);
    }

    #[test]
    fn placeholders_are_found_as_by_walking_the_tree(
        values in prop::collection::vec(any_value(), 0..5),
        count in 1..4_usize,
        spaced: bool,
    ) {
        let mut found = Vec::new();
        values.iter().for_each(|value| placeholders(value, &mut found));
        found.sort_unstable();
        let fits = found == (0..count as u64).map(Some).collect::<Vec<_>>();
        let array = Value::from(values);
        let text = if spaced { serde_json::to_string_pretty(&array).unwrap() } else { array.to_string() };
        prop_assert_eq!(json::check_placeholders(&text, count).is_ok(), fits, "{}", text);
    }

    #[test]
    fn depth_is_measured_as_by_walking_the_tree(value in any_value(), outside in 0..JSON_DEPTH_MAX + 4) {
        let text = format!("{}{value}{}", "[".repeat(outside), "]".repeat(outside));
        let expected = if outside + depth(&value) > JSON_DEPTH_MAX { Err(Violation::Depth) } else { Ok(text.as_str()) };
        prop_assert_eq!(json::check(&text), expected);
    }

    #[test]
    fn tokens_are_the_text(value in any_value()) {
        let text = serde_json::to_string_pretty(&value).unwrap();
        let joined: String = json::Tokens::new(&text).map(|(_, place)| &text[place]).collect();
        prop_assert_eq!(joined, value.to_string());
    }

    #[test]
    fn anything_is_answered(
        packet in "[0-6]([0-9]{1,3}-)?(/[a,?]{0,3})?[0-9]{0,3}([\\[\\]{}\",:\\\\]|[a1小]|\"_placeholder\":true|\"num\":0){0,20}",
        bytes: Vec<u8>,
        v3: bool,
    ) {
        let mut reader = Reader::new(if v3 { V3 } else { V4 }, ROOMY);
        let waits = reader.text(&packet) == Ok(None);
        prop_assert_eq!(reader.is_waiting(), waits);
        prop_assert_eq!(reader.binary(&bytes).is_ok(), waits);
        let _ = json::check_placeholders(&packet, 3);
        let args = Args { json: packet, attachments: vec![bytes] };
        prop_assert!(args.iter().count() <= args.json.len());
    }
}
