//! What a client must find in the bytes that it got.

use std::collections::{BTreeMap, BTreeSet};

use httparse::{EMPTY_HEADER, Status};
use serde_json::Value;

use super::super::sse;
use super::people::{People, Sheet, cells};
use crate::conn::http::Http;
use crate::engine::{Attached, Position, State};
use crate::wire::http::HeadLimits;
use crate::wire::ws::{MessageLimits, Piece, Reader};

const ROOMY: MessageLimits = MessageLimits { message_bytes_max: 1 << 20, fragments_max: 1 };

/// How deep the bytes came: for tests that ask whether the corpus does.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[expect(missing_docs, reason = "each is what its name says")]
pub struct Reach {
    pub responses: usize,
    pub refusals: usize,
    pub websockets: usize,
    pub event_streams: usize,
    pub snapshots: usize,
    pub resumed: usize,
    pub publications: usize,
    pub steps: usize,
    pub acknowledged: usize,
    pub closes: usize,
    pub polls: usize,
    pub own_passed: usize,
    pub changes: usize,
    pub names: usize,
    pub cells: usize,
}

/// One client's connection, and what is known of it.
pub(super) struct Told<'a> {
    /// All that it sent.
    pub(super) sent: &'a [u8],
    /// All that it got.
    pub(super) got: &'a [u8],
    /// Whether everything that was to come has come, and the connection is open from both sides.
    pub(super) at_rest: bool,
    pub(super) limits: HeadLimits,
}

/// Judges all that a client got. `present`: how a channel stands in the engine.
pub(super) fn judge(told: &Told<'_>, reach: &mut Reach, present: &mut dyn FnMut(&str) -> Option<Attached>) {
    let requests = requests(told);
    let mut rest = told.got;
    let mut answered = 0;
    while !rest.is_empty() {
        let mut lines = [EMPTY_HEADER; 32];
        let mut response = httparse::Response::new(&mut lines);
        let head_len = match response.parse(rest) {
            Ok(Status::Complete(len)) => len,
            Ok(Status::Partial) => {
                assert!(!told.at_rest, "half a head: {}", rest.escape_ascii());
                return;
            }
            Err(error) => panic!("{error}: {}", rest.escape_ascii()),
        };
        let value = |name: &str| {
            let line = response.headers.iter().find(|line| line.name.eq_ignore_ascii_case(name));
            line.map(|line| std::str::from_utf8(line.value).unwrap_or_default())
        };
        let status = response.code.expect("a status");
        assert!(![500, 502, 504].contains(&status), "nothing fails here");
        let request = requests.get(answered);
        let body = &rest[head_len..];
        match status {
            100 => {
                rest = body;
                continue;
            }
            101 => {
                let request = request.expect("only who asks gets a WebSocket");
                reach.websockets += 1;
                return websocket(request, body, told, reach, present);
            }
            _ => {}
        }
        if value("content-type") == Some("text/event-stream") && value("content-length").is_none() {
            let request = request.expect("only who asks gets a stream");
            if !request.head_only {
                reach.event_streams += 1;
                return event_stream(body, told, reach, present);
            }
        }
        answered += 1;
        reach.responses += 1;
        reach.refusals += usize::from(status >= 400);
        let ends = value("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        // 408 is for a request of which too little had come to know that it was a HEAD.
        let head_only = status != 408 && request.is_some_and(|request| request.head_only);
        let bodiless = matches!(status, 204 | 304) || head_only;
        let len = if bodiless { 0 } else { value("content-length").expect("a length").parse().expect("a number") };
        if body.len() < len {
            assert!(!told.at_rest, "half a body");
            return;
        }
        if request.is_none() {
            assert!(ends, "an answer to no request is a refusal, and the last: {status}");
        }
        let echoes = request.is_none_or(|request| request.target.contains("echo") || request.target.contains("/body"));
        if value("content-type") == Some("application/json") && !echoes && !bodiless {
            let json: Value = serde_json::from_slice(&body[..len]).expect("JSON");
            reach.polls += usize::from(json["type"] == "publications" || json["status"] == true);
        }
        rest = &body[len..];
        if ends {
            assert!(rest.is_empty(), "nothing comes behind the last answer: {}", rest.escape_ascii());
            return;
        }
    }
    if told.at_rest && answered < requests.len() {
        let waits = &requests[answered];
        assert!(waits.target.contains("wait") || waits.target.starts_with("/next"), "unanswered: {}", waits.target);
    }
}

#[derive(Debug)]
struct Asked {
    target: String,
    head_only: bool,
}

/// The requests in what a client sent.
fn requests(told: &Told<'_>) -> Vec<Asked> {
    let (mut http, mut out, mut requests) = (Http::default(), Vec::new(), Vec::new());
    let mut bytes = told.sent.to_vec();
    let mut at = 0;
    while let Ok((consumed, Some(request))) = http.next(&mut bytes[at..], &told.limits, "", &mut out) {
        at += consumed;
        requests.push(Asked { target: request.head.target.into(), head_only: request.head.method == "HEAD" });
        http.answered();
    }
    requests
}

fn websocket(
    request: &Asked,
    bytes: &[u8],
    told: &Told<'_>,
    reach: &mut Reach,
    present: &mut dyn FnMut(&str) -> Option<Attached>,
) {
    let mut reader = Reader::client();
    let mut bytes = bytes.to_vec();
    let (mut at, mut texts, mut closed) = (0, Vec::new(), false);
    loop {
        let (taken, piece) = reader.next(&mut bytes[at..], &ROOMY).expect("our frames are right");
        at += taken;
        let Some(piece) = piece else { break };
        assert!(!closed, "nothing is sent behind a Close");
        match piece {
            Piece::Text(text) => texts.push(text.to_owned()),
            Piece::Close(close) => {
                reach.closes += 1;
                closed = true;
                assert!(close.is_none_or(|(code, _)| code != 1011), "nothing fails here: {close:?}");
            }
            Piece::Binary(_) | Piece::Ping(_) | Piece::Pong(_) => {}
        }
    }
    // A peer that has sent a Close is not at rest: it reads no more.
    let at_rest = told.at_rest && !closed;
    assert!(!at_rest || reader.is_at_rest(), "half a frame");
    if request.target.starts_with("/c/echo") || request.target.starts_with("/push") || request.target.contains('%') {
        return;
    }
    if request.target.starts_with("/steps") {
        steps(&texts, at_rest, reach, present);
    } else if request.target.starts_with("/cells") {
        cells(&texts, at_rest, reach, present);
    } else if request.target.starts_with("/c/") {
        let texts: Vec<(Option<&str>, &str)> = texts.iter().map(|text| (None, text.as_str())).collect();
        own(&texts, at_rest, reach, present);
    }
}

fn event_stream(bytes: &[u8], told: &Told<'_>, reach: &mut Reach, present: &mut dyn FnMut(&str) -> Option<Attached>) {
    // A cut may stand within a character.
    let whole = if told.at_rest { bytes.len() } else { memchr::memrchr(b'\n', bytes).map_or(0, |end| end + 1) };
    let mut reader = sse::Reader::default();
    reader.feed(&bytes[..whole]);
    assert!(reader.strange.is_empty(), "{:?}", reader.strange);
    assert!(!told.at_rest || reader.is_at_rest(), "half an event");
    let texts: Vec<(Option<&str>, &str)> =
        reader.events.iter().map(|(id, data)| (Some(id.as_str()), data.as_str())).collect();
    own(&texts, told.at_rest, reach, present);
}

fn position(value: &Value) -> Position {
    value["at"].as_str().and_then(|at| at.parse().ok()).expect("a position")
}

/// A stream in our own dialect: a snapshot or `resumed` first, then every publication in order and without a gap; an
/// answer never before its own publication. At rest it stands where the engine does.
fn own(
    texts: &[(Option<&str>, &str)],
    at_rest: bool,
    reach: &mut Reach,
    present: &mut dyn FnMut(&str) -> Option<Attached>,
) {
    let mut at: Option<Position> = None;
    let (mut channel, mut listeners) = (None, None);
    let (mut people, mut sheet, mut skips) = (People::default(), Sheet::default(), Skips::default());
    for (id, text) in texts {
        let value: Value = serde_json::from_str(text).expect("JSON");
        let kind = value["type"].as_str().expect("a type");
        let before = at;
        match kind {
            "snapshot" | "resumed" => {
                let new = position(&value);
                assert!(kind == "snapshot" || at.is_none(), "`resumed` is the first word");
                assert!(
                    at.is_none_or(|at| at.epoch != new.epoch || at.revision <= new.revision),
                    "back in time: {text}"
                );
                at = Some(new);
                channel = value["channel"].as_str().map(str::to_owned);
                if kind == "snapshot" {
                    reach.snapshots += 1;
                    snapshot_is_sound(&value, new);
                    sheet = Sheet::of(&value["state"]);
                    skips.passed.clear();
                } else {
                    reach.resumed += 1;
                }
            }
            "listeners" => {
                assert!(at.is_some(), "the state comes first");
                listeners = value["count"].as_u64();
            }
            "tally" | "message" => {
                reach.publications += 1;
                let (old, new) = (at.expect("the state comes first"), position(&value));
                assert_eq!(old.epoch, new.epoch, "{text}");
                if kind == "tally" {
                    assert!(new.revision > old.revision, "{old} before {text}");
                    assert_eq!(value["total"].as_u64(), Some(new.revision), "each vote counts: {text}");
                } else if channel.as_deref().is_some_and(|channel| channel.starts_with("room/")) {
                    assert!(new.revision > old.revision, "{old} before {text}");
                    skips.passed.extend(old.revision + 1..new.revision);
                } else {
                    assert_eq!(new.revision, old.revision + 1, "{old} before {text}");
                }
                at = Some(new);
            }
            "cells" | "row_inserted" | "row_moved" | "row_deleted" => {
                reach.changes += 1;
                let (old, new) = (at.expect("the state comes first"), position(&value));
                assert_eq!((old.epoch, old.revision + 1), (new.epoch, new.revision), "{old} before {text}");
                sheet.change(&value, new.revision);
                at = Some(new);
            }
            "members" | "joined" | "left" | "editing" => {
                assert!(listeners.is_some(), "how many are there comes first: {text}");
                reach.names += 1;
                people.take(&value);
            }
            "ok" => {
                reach.acknowledged += 1;
                let answered = position(&value);
                // A group's message is not its sender's; a message to one user is in that user's channel.
                let own = channel.as_deref().is_some_and(|channel| channel == "room/lobby");
                let elsewhere = channel.as_deref().is_some_and(|channel| channel.starts_with("dm/"));
                if let Some(at) = at.filter(|at| !elsewhere && at.epoch == answered.epoch) {
                    assert!(own || at.revision >= answered.revision, "{at} before {text} in {texts:#?}");
                }
                skips.own.insert(answered.revision);
            }
            "refused" => {}
            other => panic!("{other}: {text}"),
        }
        if let (Some(id), true) = (id, at != before) {
            assert_eq!(at.map(|at| at.to_string()).as_deref(), Some(*id));
        }
    }
    if at_rest {
        let at = at.expect("a stream at rest has got its state");
        let channel_name = channel.expect("it names its channel");
        let present = present(&channel_name).expect("it is there");
        if channel_name.starts_with("room/") {
            assert_eq!(at.epoch, present.at.epoch);
            skips.passed.extend(at.revision + 1..=present.at.revision);
            reach.own_passed += skips.passed.len();
            let lost: Vec<_> = skips.passed.difference(&skips.own).collect();
            assert!(lost.is_empty(), "{lost:?} of others passed over in {texts:#?}");
        } else {
            assert_eq!(at, present.at, "a stream at rest stands where the engine does");
        }
        if let State::Table(table) = &present.state {
            sheet.is(table);
        }
        people.are(&present);
        assert_eq!(listeners, Some(present.listeners.into()), "and knows how many listen");
    }
}

/// Revisions of a group that a stream was not shown, and those that it was told to be its own.
#[derive(Default)]
struct Skips {
    passed: BTreeSet<u64>,
    own: BTreeSet<u64>,
}

fn snapshot_is_sound(value: &Value, at: Position) {
    if value["kind"] == "table" {
        assert!(value["state"]["rows"].is_array(), "{value}");
    } else if value["kind"] == "vote" {
        assert_eq!(value["state"]["total"].as_u64(), Some(at.revision), "{value}");
        let counts = value["state"]["options"].as_array().expect("options");
        let sum: u64 = counts.iter().filter_map(|option| option["count"].as_u64()).sum();
        assert_eq!(sum, at.revision, "{value}");
    } else {
        let messages = value["state"]["messages"].as_array().expect("messages");
        let revisions: Vec<u64> = messages.iter().map(|message| position(message).revision).collect();
        let first = (at.revision + 1).saturating_sub(revisions.len() as u64);
        assert_eq!(revisions, (first..=at.revision).collect::<Vec<_>>()[..revisions.len()], "{value}");
    }
}

/// Votes one by one: each counts one more than the last of its option. At rest the last of each is the present count.
fn steps(texts: &[String], at_rest: bool, reach: &mut Reach, present: &mut dyn FnMut(&str) -> Option<Attached>) {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for text in texts {
        let value: Value = serde_json::from_str(text).expect("JSON");
        if value.get("error").is_some() {
            continue;
        }
        reach.steps += 1;
        let (id, count) = (value["cid"].as_str().expect("an id"), value["count"].as_u64().expect("a count"));
        if let Some(last) = counts.insert(id.into(), count) {
            assert_eq!(count, last + 1, "{text}");
        }
    }
    if at_rest {
        let State::Tally { options, counts: present } = present("poll/lunch").expect("it is there").state else {
            panic!("a tally");
        };
        for (id, count) in counts {
            let index = options.iter().position(|option| option.id == id).expect("an option");
            assert_eq!(count, present[index], "{id}");
        }
    }
}
