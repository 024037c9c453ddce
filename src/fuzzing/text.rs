//! Small readers of texts: UTF-8, forms, paths, cookies and wishes, positions, session names, ballots.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use super::input::{Input, cut};
use crate::engine::Position;
use crate::kind::Kind;
use crate::route::dialect::{Content, Dialect, Incoming, Posted, Raw, own, read_post};
use crate::shard::SessionName;
use crate::wire::http::{self, FormError, HeadLimits, Hosts};
use crate::wire::ws::utf8::Utf8;

const ROOMY: HeadLimits =
    HeadLimits { head_bytes_max: 1 << 20, target_bytes_max: 1 << 20, body_bytes_max: 1 << 20, hosts: Hosts::Same };

/// Wrong as soon as std's reader is certain of it, wherever the text is cut.
pub fn utf8(data: &[u8]) {
    let (whole, pieces) = cut(data);
    let mut ours = Utf8::new();
    let mut fed = 0;
    for piece in pieces {
        fed += piece.len();
        let certain = std::str::from_utf8(&whole[..fed]).is_err_and(|error| error.error_len().is_some());
        assert_eq!(ours.feed(piece).is_err(), certain, "after {fed} bytes");
        if certain {
            return;
        }
        assert_eq!(ours.finish().is_ok(), std::str::from_utf8(&whole[..fed]).is_ok(), "ended after {fed} bytes");
    }
}

/// Where our strict reader reads, it reads what the lenient one of the URL standard does; where it refuses, there is a reason.
pub fn forms(data: &[u8]) {
    let strict: Result<Vec<_>, FormError> = http::fields(data).collect();
    let lenient: Vec<_> = form_urlencoded::parse(data).collect();
    match &strict {
        Ok(fields) => assert_eq!(*fields, lenient),
        Err(FormError::EscapeInvalid) => assert!(has_bad_escape(data)),
        Err(FormError::NotUtf8) => {
            let replaced = |text: &str| text.contains(char::REPLACEMENT_CHARACTER);
            assert!(lenient.iter().any(|(name, value)| replaced(name) || replaced(value)));
        }
        Err(FormError::FieldTwice) => panic!("asked for none"),
    }
    for name in ["choice", "text", "since", "wait", ""] {
        let found = http::field(data, name);
        let values: Vec<_> = lenient.iter().filter(|(known, _)| known == name).map(|(_, value)| value).collect();
        match (&strict, found) {
            (Ok(_), Ok(value)) => {
                assert!(values.len() < 2);
                assert_eq!(value.as_ref(), values.first().copied());
            }
            (Ok(_), Err(error)) => {
                assert_eq!(error, FormError::FieldTwice);
                assert!(values.len() > 1);
            }
            (Err(_), found) => assert!(found.is_err(), "the whole form is judged"),
        }
    }
}

/// A path is decoded as the percent-encoding standard says, or refused with a reason.
pub fn paths(data: &[u8]) {
    let Ok(raw) = std::str::from_utf8(data) else { return };
    let lenient = percent_encoding::percent_decode(data).decode_utf8();
    let has_control = |text: &str| text.chars().any(char::is_control);
    match http::decode_path(raw) {
        Some(path) => {
            assert!(!has_bad_escape(data) && !has_control(&path));
            assert_eq!(Ok(&path), lenient.as_ref());
            assert!(path.len() <= raw.len());
            assert!(raw.contains('%') || matches!(path, Cow::Borrowed(_)), "what needs no decoding is not copied");
            let encoded = percent_encoding::utf8_percent_encode(&path, percent_encoding::NON_ALPHANUMERIC).to_string();
            assert_eq!(http::decode_path(&encoded), Some(path), "what is encoded is decoded");
        }
        None => assert!(has_bad_escape(data) || lenient.is_err() || lenient.is_ok_and(|text| has_control(&text))),
    }
}

fn has_bad_escape(data: &[u8]) -> bool {
    let good = |at: usize| data.get(at + 1..at + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
    memchr::memchr_iter(b'%', data).any(|at| !good(at))
}

/// Cookies, media types and languages out of a head: against naive readers where there are no quotes.
pub fn negotiation(data: &[u8]) {
    let value: Vec<u8> = data.iter().copied().filter(|&byte| byte == b'\t' || !byte.is_ascii_control()).collect();
    let head = [b"GET / HTTP/1.1\r\nHost: a\r\nCookie: ", &value[..], b"\r\n\r\n"].concat();
    let (head, _) = http::parse(&head, &ROOMY).expect("a good head").expect("all of it");
    let cookie = head.header("cookie").expect("it was sent");
    for name in ["a", "tallycast_session", ""] {
        let naive = std::str::from_utf8(cookie).ok().and_then(|text| {
            let pairs = text.split(';').map(|pair| pair.trim_matches([' ', '\t']));
            pairs.filter_map(|pair| pair.split_once('=')).find(|pair| pair.0 == name).map(|pair| pair.1)
        });
        let bare = |text: &str| text.len() > 1 && text.starts_with('"') && text.ends_with('"');
        let naive = naive.map(|text| if bare(text) { &text[1..text.len() - 1] } else { text });
        assert_eq!(http::cookie(&head, name), naive, "{name}");
    }

    let offered = ["en", "zh", "zh-TW"];
    let best = http::language(Some(data), &offered);
    assert!(offered.contains(&best));
    assert_eq!(http::language(Some(data), &offered[..1]), "en");
    assert_eq!(http::language(Some(data), &[]), "");

    let media = "text/event-stream";
    let prefers = http::prefers(Some(data), media);
    if !data.contains(&b'"') {
        let listed = data.split(|&byte| byte == b',').find_map(|element| {
            let mut parts = element.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
            let name = parts.next().unwrap_or_default();
            let weight = parts.find_map(|part| part.strip_prefix(b"q=").or(part.strip_prefix(b"Q=")));
            name.eq_ignore_ascii_case(media.as_bytes()).then_some(weight)
        });
        let wanted = listed.is_some_and(|weight| {
            let number = |weight: &[u8]| -> Option<f64> {
                let plain = weight.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.');
                let shape = plain && (weight.len() == 1 || weight.get(1) == Some(&b'.')) && weight.len() <= 5;
                std::str::from_utf8(weight).ok().filter(|_| shape).and_then(|text| text.parse().ok())
            };
            weight.is_none_or(|weight| number(weight).is_some_and(|weight| weight > 0.0 && weight <= 1.0))
        });
        assert_eq!(prefers, wanted);
    }
}

/// What is a position is written as the same position.
pub fn positions(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(position) = text.parse::<Position>() else { return };
    let written = position.to_string();
    assert_eq!(written.parse(), Ok(position));
    let (epoch, revision) = text.split_once('-').expect("it has both");
    let plain = |digits: &str| match digits.trim_start_matches('0') {
        "" => "0".to_owned(),
        digits => digits.to_ascii_lowercase(),
    };
    assert_eq!(written, format!("{}-{}", plain(epoch), plain(revision)), "only case and leading zeros may differ");
}

/// What is a session's name is written as the same name; it is made of plain characters alone.
pub fn session_names(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(name) = text.parse::<SessionName>() else { return };
    let written = name.to_string();
    assert_eq!(written.parse(), Ok(name));
    assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.'), "{text:?}");
    assert_eq!(text.split('.').count(), 3);
}

/// A ballot is an object with a choice and perhaps an id, as serde's general reader sees it, and nothing else is one.
pub fn ballots(data: &[u8]) {
    let mut input = Input::new(data);
    let (kind, media) = (input.pick(&[Kind::Vote, Kind::Feed, Kind::Echo]), input.byte());
    let data = input.rest();
    let media = MEDIA[usize::from(media) % MEDIA.len()];
    post(kind, media, data);
    let Ok(text) = std::str::from_utf8(data) else { return };
    let value: Option<Value> = serde_json::from_str(text).ok();
    let read = Dialect::Tallycast.read(Kind::Vote, Raw::Text(text));
    match (&read, &value) {
        (Ok(incoming), Some(value)) => assert_eq!(Some(told(incoming)), meant(value), "{text:?}"),
        (Ok(_), None) => panic!("this is no JSON: {text:?}"),
        (Err(refusal), _) => assert_eq!(refusal.0.code(), "malformed"),
    }
    // A general reader takes the last of doubled keys; written by it there are none.
    if let Some(value) = value
        && let Some(meaning) = meant(&value)
    {
        let written = value.to_string();
        let read = Dialect::Tallycast.read(Kind::Vote, Raw::Text(&written)).map(|incoming| told(&incoming));
        assert_eq!(read, Ok(meaning), "{written:?}");
    }
    for dialect in [Dialect::Steps { key: "id".into() }, Dialect::Plain { gap: None }] {
        let bare = dialect.read(kind, Raw::Text(text));
        assert_eq!(bare, Ok(Incoming { content: Content::Text(text.into()), id: None }));
    }
    let mut refused = Vec::new();
    own::refused(&mut refused, Some(7), "code", text);
    let refused: Value = serde_json::from_slice(&refused).expect("what we write is JSON");
    assert_eq!(refused, json!({"type": "refused", "id": 7, "code": "code", "expected": text}));
}

const MEDIA: [&str; 8] = [
    "application/x-www-form-urlencoded",
    "application/json",
    "text/plain",
    "",
    "Text/HTML",
    "image/png",
    "text/",
    "tex\u{e9}/",
];

fn post(kind: Kind, media: &str, body: &[u8]) {
    match read_post(kind, media, body) {
        None => assert!(kind == Kind::Vote && !MEDIA[..4].contains(&media)),
        Some(Ok(Posted { content: Content::Binary(bytes), .. })) => {
            assert_eq!((kind != Kind::Vote, bytes), (true, body))
        }
        Some(Ok(Posted { content: Content::Text(text), .. })) => match (kind, media) {
            (Kind::Vote, "application/json") => {
                assert!(meant(&serde_json::from_slice(body).expect("JSON")).is_some_and(|(choice, _)| choice == text))
            }
            (_, "application/x-www-form-urlencoded") => {
                let name = if kind == Kind::Vote { "choice" } else { "text" };
                assert_eq!(http::field(body, name), Ok(Some(text)));
            }
            _ => assert_eq!(std::str::from_utf8(body), Ok(&*text)),
        },
        Some(Ok(posted)) => panic!("{kind:?} takes texts and bytes: {posted:?}"),
        Some(Err(refusal)) => assert!(!refusal.expected().is_empty()),
    }
}

fn told(incoming: &Incoming<'_>) -> (String, Option<u64>) {
    let Content::Text(text) = &incoming.content else { panic!("a ballot is text") };
    (text.clone().into_owned(), incoming.id)
}

/// The choice and the id, if the value is a ballot.
fn meant(value: &Value) -> Option<(String, Option<u64>)> {
    let object: &Map<String, Value> = value.as_object()?;
    if object.keys().any(|key| key != "choice" && key != "id") {
        return None;
    }
    let choice = match object.get("choice")? {
        Value::String(text) => text.clone(),
        number => number.as_i64()?.to_string(),
    };
    let id = match object.get("id") {
        None | Some(Value::Null) => None,
        Some(id) => Some(id.as_u64()?),
    };
    Some((choice, id))
}
