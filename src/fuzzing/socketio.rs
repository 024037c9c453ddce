//! Socket.IO packets and their attachments, judged by a reader that takes all JSON apart.

use serde_json::Value;

use super::input::Input;
use crate::base::limits::{ATTACHMENTS_MAX, EVENT_NAME_BYTES_MAX, JSON_DEPTH_MAX};
use crate::wire::engineio::Version;
use crate::wire::socketio::{Args, Argument, Message, Reader, Violation, begin_event, write_ack, write_disconnect};

/// The first byte says which version and bound; then texts and attachments come. What is read is what the judge reads, and
/// can be written and read again; what is refused, the judge refuses too.
pub fn socketio(data: &[u8]) {
    let mut input = Input::new(data);
    let form = input.byte();
    let version = if form & 1 == 0 { Version::V4 } else { Version::V3 };
    let bytes_max = if form & 2 == 0 { 1 << 20 } else { usize::from(form) };
    let mut reader = Reader::new(version, bytes_max);
    let mut held = None;
    while !input.is_empty() {
        let was_waiting = reader.is_waiting();
        let result = if input.byte() & 1 == 0 {
            let text = String::from_utf8_lossy(input.some()).into_owned();
            let result = reader.text(&text);
            match was_waiting {
                true => assert_eq!(result, Err(Violation::OutOfTurn)),
                false => judge_text(version, bytes_max, &text, &result),
            }
            held = Some((text.len(), 0));
            result
        } else {
            let bytes = input.some();
            let result = reader.binary(bytes);
            assert_eq!(result == Err(Violation::OutOfTurn), !was_waiting);
            if let Some((len, count)) = &mut held {
                *len += bytes.len();
                *count += 1;
                assert_eq!(was_waiting && *len > bytes_max, result == Err(Violation::TooLarge));
            }
            result
        };
        match result {
            Ok(Some(message)) => {
                assert!(!reader.is_waiting() && reader.bytes() == 0);
                let (_, count) = held.expect("a text came first");
                check_message(version, &message, count);
            }
            Ok(None) => {
                assert!(reader.is_waiting() && reader.bytes() <= bytes_max);
                assert_eq!(Some(reader.bytes()), held.map(|(len, _)| len));
            }
            Err(_) => return,
        }
    }
}

/// What holds for every message; then it is written, and read again.
fn check_message(version: Version, message: &Message, attachments: usize) {
    let mut packet = Vec::new();
    let args = match message {
        Message::Connect { namespace, query, .. } => {
            assert!(namespace.starts_with('/') && namespace.len() <= EVENT_NAME_BYTES_MAX);
            assert!(query.is_none() || version == Version::V3);
            return;
        }
        Message::Disconnect { namespace } => {
            write_disconnect(&mut packet, namespace);
            &Args { json: "[]".into(), attachments: Vec::new() }
        }
        Message::Event { namespace, id, name, args } => {
            assert!(name.len() <= EVENT_NAME_BYTES_MAX);
            begin_event(&mut packet, namespace, name, args.attachments.len());
            if let Some(id) = id {
                let at = packet.iter().position(|byte| *byte == b'[').expect("its array");
                let namespace_has_one = namespace.contains('[');
                if namespace_has_one {
                    return;
                }
                packet.splice(at..at, id.to_string().into_bytes());
            }
            let rest = args.json.strip_prefix('[').expect("an array");
            packet.extend_from_slice(if rest == "]" { b"" } else { b"," });
            packet.extend_from_slice(rest.as_bytes());
            args
        }
        Message::Ack { namespace, id, args } => {
            write_ack(&mut packet, namespace, *id, &args.json, args.attachments.len());
            args
        }
    };
    check_args(args, attachments);
    let mut reader = Reader::new(version, usize::MAX);
    let mut again = reader.text(str::from_utf8(&packet).expect("a text")).expect("it was read before");
    for bytes in &args.attachments {
        assert_eq!(again, None);
        again = reader.binary(bytes).expect("it was read before");
    }
    assert_eq!(again.as_ref(), Some(message));
}

fn check_args(args: &Args, attachments: usize) {
    assert_eq!(args.attachments.len(), attachments);
    assert!(args.json.starts_with('[') && args.json.ends_with(']'));
    let mut one_by_one = Vec::new();
    for argument in args.iter() {
        match argument {
            Argument::Json(json) => one_by_one.push(serde_json::from_str::<Value>(json).ok()),
            Argument::Attachment(bytes) => {
                assert!(args.attachments.iter().any(|attachment| attachment == bytes));
                one_by_one.push(None);
            }
        }
    }
    assert_eq!(args.first().is_some(), !one_by_one.is_empty());
    let Ok(values) = serde_json::from_str::<Vec<Value>>(&args.json) else { return };
    assert_eq!(values.len(), one_by_one.len());
    for (value, one) in values.into_iter().zip(one_by_one) {
        match one {
            Some(one) => assert_eq!(value, one),
            None => assert_eq!(value["_placeholder"], true),
        }
    }
}

/// A packet as the judge sees it.
struct Plain {
    of: char,
    attachments: usize,
    has_id: bool,
    namespace: String,
    data: String,
}

/// `result` is what the reader made of a text when it waited for nothing.
fn judge_text(version: Version, bytes_max: usize, text: &str, result: &Result<Option<Message>, Violation>) {
    if text.len() > bytes_max {
        assert_eq!(*result, Err(Violation::TooLarge));
        return;
    }
    let Some(plain) = plain(version, text) else {
        assert!(matches!(result, Err(Violation::Head | Violation::Attachments | Violation::Name)), "{result:?}");
        return;
    };
    let value = if plain.data.is_empty() { Ok(None) } else { serde_json::from_str(&plain.data).map(Some) };
    let Ok(value) = value else {
        // Halves of surrogate pairs and numbers beyond all bounds are JSON too, though not for this judge.
        let is_json = serde_json::from_str::<serde::de::IgnoredAny>(&plain.data).is_ok();
        assert!(result.is_err() || is_json, "{result:?}");
        return;
    };
    if plain.attachments > 0 && colons(&plain.data) != value.as_ref().map_or(0, members) {
        // Names that come twice: this judge forgets the first.
        return;
    }
    let is_right = match (plain.of, &value) {
        ('0', None) | ('1', None) => !plain.has_id,
        ('0', Some(Value::Object(_))) => !plain.has_id,
        ('2' | '5', Some(Value::Array(values))) => values.first().is_some_and(is_name),
        ('3' | '6', Some(Value::Array(_))) => plain.has_id,
        _ => false,
    };
    let fits = plain.attachments == 0
        || value.as_ref().is_some_and(|_| {
            let mut numbers = placeholders(&value);
            numbers.sort_unstable();
            numbers == (0..plain.attachments as u64).map(Some).collect::<Vec<_>>()
        });
    let is_deep = value.as_ref().is_some_and(|value| depth(value) > JSON_DEPTH_MAX);
    match result {
        Ok(message) => {
            assert!(is_right && !is_deep && fits, "{text:?} is read as {message:?}");
            assert_eq!(message.is_none(), plain.attachments > 0);
            let read = message.as_ref().map(|message| match message {
                Message::Connect { namespace, .. }
                | Message::Disconnect { namespace }
                | Message::Event { namespace, .. }
                | Message::Ack { namespace, .. } => namespace.as_str(),
            });
            assert!(read.is_none_or(|namespace| namespace == plain.namespace));
            if let (Some(Message::Event { args, .. }), Some(Value::Array(values))) = (message, &value) {
                assert_eq!(serde_json::from_str::<Vec<Value>>(&args.json).ok().as_deref(), Some(&values[1..]));
            }
        }
        // A number of many digits.
        Err(Violation::Name) => assert!(plain.data.len() > EVENT_NAME_BYTES_MAX),
        Err(violation) => assert!(!is_right || is_deep || !fits, "{text:?}: {violation:?}"),
    }
}

/// Its parts, by a scan for what may not be in each. `None`: it has no such parts, or more than are allowed.
fn plain(version: Version, text: &str) -> Option<Plain> {
    let of = text.chars().next().filter(|of| "012356".contains(*of))?;
    let mut rest = &text[1..];
    let mut attachments = 0;
    if of == '5' || of == '6' {
        let (count, behind) = rest.split_once('-')?;
        attachments = count.parse().ok().filter(|_| count.chars().all(|digit| digit.is_ascii_digit()))?;
        rest = behind;
        if !(1..=ATTACHMENTS_MAX).contains(&attachments) {
            return None;
        }
    }
    let mut namespace = "/";
    if rest.starts_with('/') {
        (namespace, rest) = rest.split_at(rest.find(',').unwrap_or(rest.len()));
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
    if version == Version::V3 {
        namespace = namespace.split('?').next()?;
    }
    let data = rest.trim_start_matches(|digit: char| digit.is_ascii_digit());
    let id = &rest[..rest.len() - data.len()];
    let numbered = id.is_empty() || id.parse::<u64>().is_ok();
    (numbered && namespace.len() <= EVENT_NAME_BYTES_MAX).then(|| Plain {
        of,
        attachments,
        has_id: !id.is_empty(),
        namespace: namespace.to_owned(),
        data: data.to_owned(),
    })
}

fn is_name(value: &Value) -> bool {
    let reserved = ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];
    match value {
        Value::String(name) => name.len() <= EVENT_NAME_BYTES_MAX && !reserved.contains(&name.as_str()),
        Value::Number(_) => true,
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => false,
    }
}

/// The number of each placeholder; `None`: of what is none but says so.
fn placeholders(value: &Option<Value>) -> Vec<Option<u64>> {
    let mut found = Vec::new();
    let mut rest: Vec<&Value> = value.iter().collect();
    while let Some(value) = rest.pop() {
        match value {
            Value::Object(map) if map.get("_placeholder") == Some(&Value::Bool(true)) => {
                found.push(map.get("num").and_then(Value::as_u64).filter(|_| map.len() == 2));
            }
            Value::Object(map) => rest.extend(map.values()),
            Value::Array(values) => rest.extend(values),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    found
}

/// Colons outside texts: one for each member of an object.
fn colons(json: &str) -> usize {
    let (mut count, mut within, mut escaped) = (0, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = within,
            b'"' => within = !within,
            b':' if !within => count += 1,
            _ => {}
        }
    }
    count
}

fn members(value: &Value) -> usize {
    match value {
        Value::Object(map) => map.len() + map.values().map(members).sum::<usize>(),
        Value::Array(values) => values.iter().map(members).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        Value::Array(values) => 1 + values.iter().map(depth).max().unwrap_or(0),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}
