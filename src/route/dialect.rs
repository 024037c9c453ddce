//! Dialects: how a body is read into a message, and how a publication, a snapshot, an outcome or a refusal is written.
//!
//! Everything here writes JSON or text; framing it for a transport is [`encoding`](crate::mirror::encoding)'s.

use std::borrow::Cow;
use std::io::Write;
use std::sync::Arc;

use base64::Engine as _;
use serde::Deserialize;

use crate::engine::history::History;
use crate::engine::{Body, Change, Position, Publication, Refusal, State, TallyOption};
use crate::kind::{Kind, Message};
use crate::wire::http::form;

/// Index into [`Setup::dialects`](super::Setup::dialects).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DialectId(pub u8);

impl DialectId {
    /// Our own, [`Dialect::Tallycast`].
    pub const TALLYCAST: DialectId = DialectId(0);
}

/// A dialect.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Dialect {
    /// Our own: JSON objects with a `type`; knows snapshots, positions and gaps.
    Tallycast,
    /// Votes one by one: `{"KEY": "1", "count": 3}`; a message is the bare id. Cannot say that there was a gap.
    Steps {
        /// The name under which the option stands.
        key: String,
    },
    /// Messages as they are. Cannot say that there was a gap.
    Plain,
    /// `direct`: a JSON object that names the user whom it is for in this field, and that they get as it is.
    Addressed {
        /// The field, `to_user`.
        to: String,
    },
    /// `table`: one cell at a time, `{"index": 0, "value": "..", "forms": "COLUMN"}`; rows are named by where they stand.
    Cells,
    /// Socket.IO: what another dialect writes is the one argument of an event, and what it reads is that of another. A
    /// JSON dialect's text is the argument itself, a plain text is a string, bytes are an attachment.
    Event {
        /// The namespace.
        namespace: String,
        /// The event's name.
        event: String,
        /// The other dialect; never an `Event`.
        of: Box<Dialect>,
    },
}

/// A message as a dialect read it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Incoming<'a> {
    /// What it says.
    pub content: Content<'a>,
    /// The number under which the client wants its answer.
    pub id: Option<u64>,
}

/// What a message says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Content<'a> {
    /// UTF-8.
    Text(Cow<'a, str>),
    /// Anything.
    Binary(&'a [u8]),
}

impl Content<'_> {
    /// As a kind takes it.
    pub fn message(&self) -> Message<'_> {
        match self {
            Content::Text(text) => Message::Text(text),
            Content::Binary(bytes) => Message::Binary(bytes),
        }
    }
}

const BALLOT: &str = r#"{"choice":"ID"}, with "id":NUMBER if an answer is to carry one"#;
const BALLOT_BODY: &str = r#"a form with choice=ID, JSON {"choice":"ID"}, or the id as text/plain"#;
const UTF8: &str = "UTF-8";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ballot<'a> {
    #[serde(borrow)]
    choice: Choice<'a>,
    id: Option<u64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Choice<'a> {
    Number(i64),
    Text(#[serde(borrow)] Cow<'a, str>),
}

fn ballot(json: &str) -> Option<Incoming<'_>> {
    // A general reader takes a list for the fields in their order.
    if !json.trim_ascii_start().starts_with('{') {
        return None;
    }
    let Ballot { choice, id } = serde_json::from_str(json).ok()?;
    let content = Content::Text(match choice {
        Choice::Number(number) => number.to_string().into(),
        Choice::Text(text) => text,
    });
    Some(Incoming { content, id })
}

/// The number of a ballot that is wrong otherwise.
fn answer_id(json: &str) -> Option<u64> {
    #[derive(Deserialize)]
    struct Numbered {
        id: u64,
    }
    serde_json::from_str::<Numbered>(json).ok().map(|numbered| numbered.id)
}

impl Dialect {
    /// Reads a WebSocket message for a channel of `kind`.
    ///
    /// # Errors
    /// A refusal that says what was expected, and the client's number if that much could be read.
    pub fn read<'a>(&self, kind: Kind, message: Message<'a>) -> Result<Incoming<'a>, (Refusal, Option<u64>)> {
        match (self, kind, message) {
            (Dialect::Tallycast, Kind::Vote, Message::Text(json)) => {
                ballot(json).ok_or_else(|| (Refusal::Malformed { expected: BALLOT }, answer_id(json)))
            }
            (_, _, Message::Text(text)) => Ok(Incoming { content: Content::Text(text.into()), id: None }),
            (_, _, Message::Binary(bytes)) => Ok(Incoming { content: Content::Binary(bytes), id: None }),
            _ => Err((Refusal::WrongType, None)),
        }
    }
}

/// Reads the body of a POST to `/c/{channel}`. `None`: this media type means nothing to this kind (415).
///
/// # Errors
/// A refusal that says what was expected.
pub fn read_post<'a>(kind: Kind, media: &str, body: &'a [u8]) -> Option<Result<Content<'a>, Refusal>> {
    let text = || std::str::from_utf8(body).map_err(|_| Refusal::Malformed { expected: UTF8 });
    let field = |name: &'static str| match form::field(body, name) {
        Ok(Some(value)) => Ok(Content::Text(value)),
        Ok(None) => Err(Refusal::Malformed { expected: if name == "choice" { BALLOT_BODY } else { "a field text" } }),
        Err(error) => Err(Refusal::Malformed { expected: error.expected() }),
    };
    let is = |name: &str| media.eq_ignore_ascii_case(name);
    let textual = media.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("text/")) || is("application/json");
    match kind {
        Kind::Vote if is("application/x-www-form-urlencoded") => Some(field("choice")),
        Kind::Vote if is("application/json") => Some(text().and_then(|json| {
            ballot(json).map(|ballot| ballot.content).ok_or(Refusal::Malformed { expected: BALLOT_BODY })
        })),
        Kind::Vote if is("text/plain") || media.is_empty() => Some(text().map(|text| Content::Text(text.into()))),
        Kind::Vote => None,
        _ if is("application/x-www-form-urlencoded") => Some(field("text")),
        _ if textual => Some(text().map(|text| Content::Text(text.into()))),
        _ => Some(Ok(Content::Binary(body))),
    }
}

/// What a channel is, for a snapshot.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot<'a> {
    /// Its name.
    pub channel: &'a str,
    /// Its kind.
    pub kind: Kind,
    /// Its state.
    pub state: &'a State,
    /// Where it stands, and its recent publications.
    pub history: &'a History,
}

/// Our own dialect, written.
pub mod own {
    use super::*;

    /// `{"type":"snapshot",..}`
    pub fn snapshot(out: &mut Vec<u8>, snapshot: &Snapshot<'_>) {
        head(out, "snapshot", snapshot.channel, snapshot.kind, snapshot.history.at());
        match snapshot.state {
            State::Tally { options, counts } => {
                put(out, r#","state":{"options":["#);
                for (index, (option, count)) in options.iter().zip(counts).enumerate() {
                    put(out, if index == 0 { r#"{"id":"# } else { r#",{"id":"# });
                    string(out, &option.id);
                    put(out, r#","label":{"#);
                    for (index, (language, label)) in option.labels.iter().enumerate() {
                        put(out, if index == 0 { "" } else { "," });
                        string(out, language);
                        put(out, ":");
                        string(out, label);
                    }
                    put(out, r#"},"count":"#);
                    number(out, *count);
                    put(out, "}");
                }
                put(out, r#"],"total":"#);
                number(out, counts.iter().sum());
                put(out, "}}");
            }
            State::Log | State::Table(_) => {
                put(out, r#","state":{"messages":["#);
                for (index, publication) in snapshot.history.recent().enumerate() {
                    put(out, if index == 0 { "" } else { "," });
                    self::publication(out, snapshot.state, publication);
                }
                put(out, "]}}");
            }
        }
    }

    /// `{"type":"resumed",..}`: what follows continues at `at`.
    pub fn resumed(out: &mut Vec<u8>, channel: &str, kind: Kind, at: Position) {
        head(out, "resumed", channel, kind, at);
        put(out, "}");
    }

    /// `{"type":"tally",..}` or `{"type":"message",..}`. `state` names the options.
    pub fn publication(out: &mut Vec<u8>, state: &State, publication: &Publication) {
        match (&publication.change, state) {
            (Change::Tally { counts, .. }, State::Tally { options, .. }) => {
                put(out, r#"{"type":"tally","at":""#);
                position(out, publication.at());
                put(out, r#"","counts":{"#);
                for (index, (option, count)) in options.iter().zip(counts).enumerate() {
                    put(out, if index == 0 { "" } else { "," });
                    string(out, &option.id);
                    put(out, ":");
                    number(out, *count);
                }
                put(out, r#"},"total":"#);
                number(out, counts.iter().sum());
                put(out, "}");
            }
            (Change::Message(entry), State::Log) => {
                put(out, r#"{"type":"message","at":""#);
                position(out, publication.at());
                match &entry.body {
                    Body::Text(text) => {
                        put(out, r#"","text":"#);
                        string(out, text);
                    }
                    Body::Binary(bytes) => {
                        put(out, r#"","binary":""#);
                        put(out, &base64::engine::general_purpose::STANDARD.encode(bytes));
                        put(out, "\"");
                    }
                }
                put(out, "}");
            }
            _ => {
                unreachable!("a channel has one data type")
            }
        }
    }

    /// `{"type":"publications",..}`, a long-poll's answer.
    pub fn publications<'p>(
        out: &mut Vec<u8>,
        channel: &str,
        at: Position,
        state: &State,
        news: impl Iterator<Item = &'p Arc<Publication>>,
    ) {
        put(out, r#"{"type":"publications","channel":"#);
        string(out, channel);
        put(out, r#","at":""#);
        position(out, at);
        put(out, r#"","publications":["#);
        for (index, news) in news.enumerate() {
            put(out, if index == 0 { "" } else { "," });
            publication(out, state, news);
        }
        put(out, "]}");
    }

    /// `{"type":"listeners",..}`
    pub fn listeners(out: &mut Vec<u8>, count: u32) {
        put(out, r#"{"type":"listeners","count":"#);
        number(out, count.into());
        put(out, "}");
    }

    /// `{"type":"ok",..}`
    pub fn ok(out: &mut Vec<u8>, id: Option<u64>, at: Position) {
        put(out, r#"{"type":"ok""#);
        answer_id(out, id);
        put(out, r#","at":""#);
        position(out, at);
        put(out, "\"}");
    }

    /// `{"type":"refused",..}`
    pub fn refused(out: &mut Vec<u8>, id: Option<u64>, code: &str, expected: &str) {
        put(out, r#"{"type":"refused""#);
        answer_id(out, id);
        put(out, r#","code":"#);
        string(out, code);
        put(out, r#","expected":"#);
        string(out, expected);
        put(out, "}");
    }

    fn head(out: &mut Vec<u8>, kind_of_message: &str, channel: &str, kind: Kind, at: Position) {
        put(out, r#"{"type":""#);
        put(out, kind_of_message);
        put(out, r#"","channel":"#);
        string(out, channel);
        put(out, r#","kind":""#);
        put(out, kind.name());
        put(out, r#"","at":""#);
        position(out, at);
        put(out, "\"");
    }

    fn answer_id(out: &mut Vec<u8>, id: Option<u64>) {
        if let Some(id) = id {
            put(out, r#","id":"#);
            number(out, id);
        }
    }
}

/// The bare dialects, written.
pub mod bare {
    use super::*;

    /// `{"KEY": "1", "count": 3}`
    pub fn step(out: &mut Vec<u8>, key: &str, option: &TallyOption, count: u64) {
        put(out, "{");
        string(out, key);
        put(out, ": ");
        string(out, &option.id);
        put(out, ", \"count\": ");
        number(out, count);
        put(out, "}");
    }

    /// `{"error":"unknown_option","expected":"1, 2, 3"}`
    pub fn refused(out: &mut Vec<u8>, refusal: &Refusal) {
        put(out, r#"{"error":""#);
        put(out, refusal.code());
        put(out, r#"","expected":"#);
        string(out, refusal.expected());
        put(out, "}");
    }

    /// A long-poll's answer: `{"status": true, "data": STEP}`, or with `null` when the wait is over.
    pub fn poll(out: &mut Vec<u8>, key: &str, news: Option<(&TallyOption, u64)>) {
        match news {
            Some((option, count)) => {
                put(out, r#"{"status": true, "data": "#);
                step(out, key, option, count);
                put(out, "}");
            }
            None => put(out, r#"{"status": false, "data": null}"#),
        }
    }
}

fn put(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

fn number(out: &mut Vec<u8>, number: u64) {
    put(out, itoa::Buffer::new().format(number));
}

fn position(out: &mut Vec<u8>, position: Position) {
    write!(out, "{position}").expect("a Vec takes everything");
}

fn string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a Vec takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Attached, Epoch, Step};

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn tally() -> State {
        let option = |id: &str, label: &str| TallyOption { id: id.into(), labels: vec![("en".into(), label.into())] };
        State::Tally { options: [option("1", "a \"b\""), option("2", "面条")].into(), counts: vec![3, 0] }
    }

    fn publication(change: Change) -> Publication {
        Publication { channel: "c".into(), epoch: Epoch(0xe1f), first: 4, last: 4, change }
    }

    #[test]
    fn what_our_own_dialect_writes() {
        let at = Position { epoch: Epoch(0xe1f), revision: 3 };
        let history = |recent| {
            let attached =
                Attached { at, state: State::Log, listeners: 0, recent, users: Vec::new(), editing: Vec::new() };
            History::resume("c".into(), &attached, 10, 1000)
        };
        let snapshot = Snapshot { channel: "poll/lunch", kind: Kind::Vote, state: &tally(), history: &history(vec![]) };
        assert_eq!(
            written(|out| own::snapshot(out, &snapshot)),
            r#"{"type":"snapshot","channel":"poll/lunch","kind":"vote","at":"e1f-3","state":{"options":[{"id":"1","label":{"en":"a \"b\""},"count":3},{"id":"2","label":{"en":"面条"},"count":0}],"total":3}}"#
        );
        let vote = publication(Change::Tally { steps: [Step { option: 1, count: 1 }].into(), counts: [3, 1].into() });
        let vote_text = r#"{"type":"tally","at":"e1f-4","counts":{"1":3,"2":1},"total":4}"#;
        assert_eq!(written(|out| own::publication(out, &tally(), &vote)), vote_text);
        let binary = publication(Change::Message(Body::Binary([255, 0].as_slice().into()).into()));
        let binary_text = r#"{"type":"message","at":"e1f-4","binary":"/wA="}"#;
        assert_eq!(written(|out| own::publication(out, &State::Log, &binary)), binary_text);
        let history = history(vec![Arc::new(publication(Change::Message(Body::Text("小\n".into()).into())))]);
        let log = Snapshot { channel: "news", kind: Kind::Feed, state: &State::Log, history: &history };
        assert_eq!(
            written(|out| own::snapshot(out, &log)),
            r#"{"type":"snapshot","channel":"news","kind":"feed","at":"e1f-3","state":{"messages":[{"type":"message","at":"e1f-4","text":"小\n"}]}}"#
        );
        assert_eq!(written(|out| own::ok(out, Some(7), at)), r#"{"type":"ok","id":7,"at":"e1f-3"}"#);
        assert_eq!(
            written(|out| own::refused(out, None, "full", "x")),
            r#"{"type":"refused","code":"full","expected":"x"}"#
        );
        assert_eq!(
            written(|out| own::publications(out, "c", at, &State::Log, [].into_iter())),
            r#"{"type":"publications","channel":"c","at":"e1f-3","publications":[]}"#
        );
        assert_eq!(
            written(|out| own::resumed(out, "c", Kind::Feed, at)),
            r#"{"type":"resumed","channel":"c","kind":"feed","at":"e1f-3"}"#
        );
        assert_eq!(written(|out| own::listeners(out, 4)), r#"{"type":"listeners","count":4}"#);
    }

    #[test]
    fn what_the_bare_dialects_write() {
        let State::Tally { options, .. } = tally() else { unreachable!() };
        assert_eq!(written(|out| bare::step(out, "cid", &options[0], 1)), r#"{"cid": "1", "count": 1}"#);
        assert_eq!(
            written(|out| bare::poll(out, "uid", Some((&options[0], 3)))),
            r#"{"status": true, "data": {"uid": "1", "count": 3}}"#
        );
        assert_eq!(written(|out| bare::poll(out, "uid", None)), r#"{"status": false, "data": null}"#);
        let refusal = Refusal::UnknownOption { expected: "1, 2".into() };
        assert_eq!(written(|out| bare::refused(out, &refusal)), r#"{"error":"unknown_option","expected":"1, 2"}"#);
    }

    #[test]
    fn ballots_are_read_or_refused() {
        let read = |json| Dialect::Tallycast.read(Kind::Vote, Message::Text(json));
        let incoming = |text: &'static str, id| Ok(Incoming { content: Content::Text(text.into()), id });
        assert_eq!(read(r#"{"choice":"1"}"#), incoming("1", None));
        assert_eq!(read(r#"{"choice":1,"id":9007199254740993}"#), incoming("1", Some(9007199254740993)));
        assert_eq!(read(r#"{"choice":"\u5c0f"}"#), incoming("小", None));
        for bad in [
            "",
            "1",
            "{}",
            r#"{"choice":null}"#,
            r#"{"choice":"1","id":-1}"#,
            r#"{"choice":"1","x":1}"#,
            r#"{"choice":"1","choice":"2"}"#,
            r#"{"choice":"1"}}"#,
            r#"["1"]"#,
            r#"["1",null]"#,
            r#" ["1",7]"#,
        ] {
            assert_eq!(read(bad), Err((Refusal::Malformed { expected: BALLOT }, None)), "{bad}");
        }
        assert_eq!(read(r#"{"id":7}"#), Err((Refusal::Malformed { expected: BALLOT }, Some(7))));
        let steps = Dialect::Steps { key: "cid".into() };
        assert_eq!(steps.read(Kind::Vote, Message::Text("1")), incoming("1", None));
        let binary = Ok(Incoming { content: Content::Binary(b"1"), id: None });
        assert_eq!(Dialect::Plain.read(Kind::Echo, Message::Binary(b"1")), binary);
    }

    #[test]
    fn posts_are_read_by_their_media_type() {
        let text = |text: &'static str| Some(Ok(Content::Text(text.into())));
        let form = "application/x-www-form-urlencoded";
        let no = |expected| Some(Err(Refusal::Malformed { expected }));
        for (kind, media, body, expected) in [
            (Kind::Vote, form, &b"choice=1"[..], text("1")),
            (Kind::Vote, form, b"nid=1", no(BALLOT_BODY)),
            (Kind::Vote, "application/json", br#"{"choice":2}"#, text("2")),
            (Kind::Vote, "application/json", b"\xff", no(UTF8)),
            (Kind::Vote, "text/plain", b"3", text("3")),
            (Kind::Vote, "", b"3", text("3")),
            (Kind::Vote, "image/png", b"3", None),
            (Kind::Feed, form, b"text=%E5%B0%8F", text("小")),
            (Kind::Feed, "TEXT/html", b"<b>", text("<b>")),
            (Kind::Feed, "application/json", b"{}", text("{}")),
            (Kind::Feed, "text/plain", b"\xff", no(UTF8)),
            (Kind::Feed, "image/png", b"\xff", Some(Ok(Content::Binary(b"\xff")))),
        ] {
            assert_eq!(read_post(kind, media, body), expected, "{kind:?} {media} {body:?}");
        }
    }
}
