use super::*;
use std::sync::Arc;

use super::read::BALLOT;
use crate::base::keys::{ConnKey, CoreId};
use crate::engine::table::{Edit, TableSpec};
use crate::engine::{
    Asker, Attached, CellSet, CellValue, Column, Epoch, Origin, RowPlace, RowRef, Stale, Step, Table, TableChange,
    TallyOption,
};

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
        let attached = Attached { at, state: State::Log, listeners: 0, recent, users: Vec::new(), editing: Vec::new() };
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
    let read = |json| Dialect::Tallycast.read(Kind::Vote, Raw::Text(json));
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
    assert_eq!(steps.read(Kind::Vote, Raw::Text("1")), incoming("1", None));
    let binary = Ok(Incoming { content: Content::Binary(b"1"), id: None });
    assert_eq!(Dialect::Plain { gap: None }.read(Kind::Echo, Raw::Binary(b"1")), binary);
}

#[test]
fn posts_are_read_by_their_media_type() {
    let posted = |content| Some(Ok(Posted { content, from: None }));
    let text = |text: &'static str| posted(Content::Text(text.into()));
    let form = "application/x-www-form-urlencoded";
    let no = |expected| Some(Err(Refusal::Malformed { expected }));
    for (kind, media, body, expected) in [
        (Kind::Vote, form, &b"choice=1"[..], text("1")),
        (Kind::Vote, form, b"nid=1", no(post::BALLOT_BODY)),
        (Kind::Vote, "application/json", br#"{"choice":2}"#, text("2")),
        (Kind::Vote, "application/json", b"\xff", no("UTF-8")),
        (Kind::Vote, "text/plain", b"3", text("3")),
        (Kind::Vote, "", b"3", text("3")),
        (Kind::Vote, "image/png", b"3", None),
        (Kind::Feed, form, b"text=%E5%B0%8F", text("小")),
        (Kind::Feed, "TEXT/html", b"<b>", text("<b>")),
        (Kind::Feed, "application/json", b"{}", text("{}")),
        (Kind::Feed, "text/plain", b"\xff", no("UTF-8")),
        (Kind::Feed, "image/png", b"\xff", posted(Content::Binary(b"\xff"))),
    ] {
        assert_eq!(read_post(kind, media, body), expected, "{kind:?} {media} {body:?}");
    }
}

fn people() -> Table {
    let column = |id: &str| Column { id: id.into(), labels: vec![("en".into(), id.to_uppercase())] };
    let row = |id: &str, cells: [&str; 2]| (id.into(), cells.iter().map(|text| CellValue::text(text)).collect());
    Table::new(Arc::new(TableSpec {
        columns: [column("name"), column("age")].into(),
        rows: vec![row("1", ["小明", "18"]), row("2", ["小花", ""])],
        rows_max: 10,
        cell_bytes_max: 100,
        bytes_max: 1000,
    }))
}

fn told(dialect: &Dialect, state: &State, change: Change) -> Vec<String> {
    let (mut scratch, mut all) = (Vec::new(), Vec::new());
    dialect.publication(state, &publication(change), &mut scratch, &mut |written| {
        let Raw::Text(text) = written.body else { panic!("a text") };
        all.push(text.to_owned());
        all.extend(written.attachments.iter().map(|bytes| format!("{bytes:?}")));
    });
    all
}

/// All that can happen to a table, in our own words and in the old pages'.
#[test]
fn what_is_written_of_a_table() {
    let by = Some("bob".into());
    let cell = |row: &str, index, column, value: &str| crate::engine::table::CellEdit {
        row: row.into(),
        index,
        column,
        value: CellValue::text(value),
    };
    let edit = |edit, by| Change::Table(TableChange { edit, by });
    let cells = || Edit::Cells([cell("2", 1, 1, "17"), cell("1", 0, 0, "小小")].into());
    let inserted =
        || Edit::Insert { row: "x".into(), index: 1, cells: [CellValue::text(""), CellValue("7".into())].into() };
    let moved = || Edit::Move { row: "2".into(), from: 1, to: 0 };
    let deleted = || Edit::Delete { row: "1".into(), index: 1 };
    let state = State::Table(people());
    let own = |change| told(&Dialect::Tallycast, &state, change);
    let cells_text = r#"{"type":"cells","at":"e1f-4","by":"bob","cells":[{"row":"2","column":"age","value":"17"},{"row":"1","column":"name","value":"小小"}]}"#;
    assert_eq!(own(edit(cells(), by.clone())), [cells_text]);
    let inserted_text = r#"{"type":"row_inserted","at":"e1f-4","row":"x","index":1,"cells":["",7]}"#;
    assert_eq!(own(edit(inserted(), None)), [inserted_text]);
    assert_eq!(own(edit(moved(), None)), [r#"{"type":"row_moved","at":"e1f-4","row":"2","index":0}"#]);
    assert_eq!(own(edit(deleted(), by)), [r#"{"type":"row_deleted","at":"e1f-4","by":"bob","row":"1"}"#]);

    let old = |change| told(&Dialect::Cells, &state, change);
    let row = |index: usize, cells: [&str; 2]| {
        let text = |(value, column)| format!("{{\"index\":{index},\"value\":\"{value}\",\"forms\":\"{column}\"}}");
        [(cells[0], "name"), (cells[1], "age")].map(text)
    };
    let one = [row(1, ["小花", "17"])[1].clone(), row(0, ["小小", ""])[0].clone()];
    assert_eq!(old(edit(cells(), None)), one);
    assert_eq!(old(edit(inserted(), None)), row(1, ["小花", ""]));
    assert_eq!(old(edit(moved(), None)), [row(0, ["小明", "18"]), row(1, ["小花", ""])].concat());
    assert_eq!(old(edit(deleted(), None)), [row(1, ["小花", ""]), row(2, ["", ""])].concat());

    let at = Position { epoch: Epoch(0xe1f), revision: 3 };
    let attached =
        Attached { at, state: state.clone(), listeners: 0, recent: Vec::new(), users: Vec::new(), editing: Vec::new() };
    let history = History::resume("t".into(), &attached, 10, 1000);
    let snapshot = Snapshot { channel: "t", kind: Kind::Table, state: &state, history: &history };
    let expected = r#"{"type":"snapshot","channel":"t","kind":"table","at":"e1f-3","state":{"columns":[{"id":"name","label":{"en":"NAME"}},{"id":"age","label":{"en":"AGE"}}],"rows":[{"id":"1","cells":[{"value":"小明","rev":0},{"value":"18","rev":0}]},{"id":"2","cells":[{"value":"小花","rev":0},{"value":"","rev":0}]}]}}"#;
    assert_eq!(written(|out| own::snapshot(out, &snapshot)), expected);
}

#[test]
fn what_is_written_of_those_who_listen() {
    let users: [UserName; 2] = ["bob".into(), "小明".into()];
    assert_eq!(written(|out| own::members(out, None, users.iter())), r#"{"type":"members","users":["bob","小明"]}"#);
    assert_eq!(
        written(|out| own::members(out, Some(("room", 3)), users.iter())),
        r#"{"type":"members","channel":"room","listeners":3,"users":["bob","小明"]}"#
    );
    assert_eq!(written(|out| own::joined(out, "a\"b")), r#"{"type":"joined","user":"a\"b"}"#);
    assert_eq!(written(|out| own::left(out, "bob")), r#"{"type":"left","user":"bob"}"#);
    let who = Origin { core: CoreId(2), asker: Asker::Connection(ConnKey::unpack(0x1_0000_002a)) };
    let cell = Some(CellName { row: "1".into(), column: "age".into() });
    let editing =
        |user: Option<&str>, cell| written(|out| own::editing(out, &Editing { who, user: user.map(Into::into), cell }));
    assert_eq!(
        editing(Some("bob"), cell),
        r#"{"type":"editing","who":"c2.10000002a","user":"bob","row":"1","column":"age"}"#
    );
    assert_eq!(editing(None, None), r#"{"type":"editing","who":"c2.10000002a"}"#);
    let stale = Refusal::Stale(Box::new(Stale {
        cell: CellName { row: "1".into(), column: "age".into() },
        revision: 8,
        value: CellValue("19".into()),
        by: Some("bob".into()),
    }));
    assert_eq!(
        written(|out| own::refusal(out, Some(7), &stale)),
        r#"{"type":"refused","id":7,"code":"stale","expected":"the cell's present revision as if_rev","row":"1","column":"age","rev":8,"value":19,"by":"bob"}"#
    );
}

/// What another dialect writes is the argument of an event.
#[test]
fn events_carry_other_dialects() {
    let event = |of| Dialect::Event { namespace: "/test".into(), event: "news".into(), of: Box::new(of) };
    let begin = |attachments| {
        let mut begin = Vec::new();
        socketio::begin_event(&mut begin, "/test", "news", attachments);
        String::from_utf8(begin).unwrap()
    };
    let said = |body: Body| Change::Message(body.into());
    let text = told(&event(Dialect::Plain { gap: None }), &State::Log, said(Body::Text("a\"小".into())));
    assert_eq!(text, [format!("{},\"a\\\"小\"]", begin(0))]);
    let bytes = told(&event(Dialect::Plain { gap: None }), &State::Log, said(Body::Binary([255].as_slice().into())));
    let placeholder = r#"{"_placeholder":true,"num":0}"#;
    assert_eq!(bytes, [format!("{},{placeholder}]", begin(1)), "[255]".to_owned()]);
    let own = told(&event(Dialect::Tallycast), &State::Log, said(Body::Text("x".into())));
    assert_eq!(own, [format!("{},{{\"type\":\"message\",\"at\":\"e1f-4\",\"text\":\"x\"}}]", begin(0))]);
}

#[test]
fn texts_are_read_or_refused() {
    let read = |kind, json: &'static str| Dialect::Tallycast.read(kind, Raw::Text(json));
    let said = read(Kind::Group, r#"{"text":"你好","id":1}"#);
    assert_eq!(said, Ok(Incoming { content: Content::Text("你好".into()), id: Some(1) }));
    let to = read(Kind::Direct, r#"{"to":"bob","text":"\u5c0f"}"#);
    assert_eq!(to, Ok(Incoming { content: Content::To { user: "bob".into(), text: "小".into() }, id: None }));
    for (kind, bad) in [
        (Kind::Group, r#""text""#),
        (Kind::Group, r#"{"text":7}"#),
        (Kind::Group, r#"{"text":"x","to":"bob"}"#),
        (Kind::Group, r#"{"text":"x","from":"bob"}"#),
        (Kind::Direct, r#"{"text":"x"}"#),
        (Kind::Direct, r#"{"to":null,"text":"x"}"#),
        (Kind::Table, r#"{}"#),
        (Kind::Table, r#"{"set":[]"#),
        (Kind::Table, r#"{"set":[{"row":"1","index":0,"column":"a","value":1}]}"#),
        (Kind::Table, r#"{"set":[{"column":"a","value":1}]}"#),
        (Kind::Table, r#"{"set":[{"row":"1","column":"a","value":[1]}]}"#),
        (Kind::Table, r#"{"set":[{"row":"1","column":"a"}]}"#),
        (Kind::Table, r#"{"delete":{"row":"1"},"editing":null}"#),
        (Kind::Table, r#"{"move":{"row":"1","first":true,"after":"2"}}"#),
        (Kind::Table, r#"{"insert":{"row":""}}"#),
        (Kind::Table, r#"{"editing":{"row":"1"}}"#),
    ] {
        let refused = read(kind, bad);
        assert!(matches!(refused, Err((Refusal::Malformed { .. }, None))), "{kind:?} {bad}: {refused:?}");
    }
}

#[test]
fn changes_of_a_table_are_read() {
    let value = |json: &str| CellValue(json.into());
    let set = |row, column: &str, json, if_rev| CellSet { row, column: column.into(), value: value(json), if_rev };
    let id = |id: &str| RowRef::Id(id.into());
    let rows = [
        (
            r#"{"set":[{"row":"1","column":"a","value":"x","if_rev":7},{"index":2,"column":"b","value":null}],"id":1}"#,
            Content::Table(TableAct::Set(vec![
                set(id("1"), "a", "\"x\"", Some(7)),
                set(RowRef::Index(2), "b", "null", None),
            ])),
            Some(1),
        ),
        (
            r#"{"insert":{"row":"n","after":"1","cells":{"a":18,"b":true}}}"#,
            Content::Table(TableAct::Insert {
                row: Some("n".into()),
                place: RowPlace::After("1".into()),
                cells: vec![("a".into(), value("18")), ("b".into(), value("true"))],
            }),
            None,
        ),
        (
            r#"{"insert":{}}"#,
            Content::Table(TableAct::Insert { row: None, place: RowPlace::Last, cells: Vec::new() }),
            None,
        ),
        (
            r#"{"move":{"index":3,"first":true}}"#,
            Content::Table(TableAct::Move { row: RowRef::Index(3), place: RowPlace::First }),
            None,
        ),
        (
            r#"{"move":{"row":"1","before":"2"}}"#,
            Content::Table(TableAct::Move { row: id("1"), place: RowPlace::Before("2".into()) }),
            None,
        ),
        (r#"{"delete":{"row":"1"}}"#, Content::Table(TableAct::Delete { row: id("1") }), None),
        (
            r#"{"editing":{"row":"1","column":"a"}}"#,
            Content::Editing(Some(CellName { row: "1".into(), column: "a".into() })),
            None,
        ),
        (r#"{"editing":null,"id":2}"#, Content::Editing(None), Some(2)),
    ];
    for (json, content, id) in rows {
        let read = Dialect::Tallycast.read(Kind::Table, Raw::Text(json));
        assert_eq!(read, Ok(Incoming { content, id }), "{json}");
    }
}

#[test]
fn the_old_pages_forms_are_read_or_refused() {
    let old = |json: &'static str| Dialect::Cells.read(Kind::Table, Raw::Text(json));
    let set = |json: &str| CellSet {
        row: RowRef::Index(0),
        column: "name".into(),
        value: CellValue(json.into()),
        if_rev: None,
    };
    for (json, value) in [
        (r#"{"index": 0, "value": "小明", "forms": "name"}"#, "\"小明\""),
        (r#"{"index": "0", "value": 18, "forms": "name", "more": []}"#, "18"),
    ] {
        let content = Content::Table(TableAct::Set(vec![set(value)]));
        assert_eq!(old(json), Ok(Incoming { content, id: None }), "{json}");
    }
    for bad in [
        "",
        "{}",
        "[0,\"x\",\"name\"]",
        r#"{"index":-1,"value":"","forms":"name"}"#,
        r#"{"index":0,"value":{},"forms":"name"}"#,
    ] {
        assert!(old(bad).is_err(), "{bad}");
    }
    let addressed = Dialect::Addressed { to: "to_user".into() };
    let text = r#"{"message": "嗨", "from_user": "a", "to_user": "小花"}"#;
    let content = Content::To { user: "小花".into(), text: text.into() };
    assert_eq!(addressed.read(Kind::Direct, Raw::Text(text)), Ok(Incoming { content, id: None }));
    for bad in ["", "hello", "{}", r#"{"to_user":7}"#, r#"["to_user"]"#] {
        assert!(addressed.read(Kind::Direct, Raw::Text(bad)).is_err(), "{bad}");
    }
}

#[test]
fn posts_say_who_sends() {
    let form = "application/x-www-form-urlencoded";
    let posted = |text: &'static str, from: &str| {
        Some(Ok(Posted { content: Content::Text(text.into()), from: Some(from.into()) }))
    };
    assert_eq!(read_post(Kind::Group, form, "text=hi&from=%E5%B0%8F".as_bytes()), posted("hi", "小"));
    assert_eq!(read_post(Kind::Direct, "application/json", br#"{"text":"hi","from":"bob"}"#), posted("hi", "bob"));
    for (kind, media, body) in [
        (Kind::Group, form, "text=hi&from="),
        (Kind::Group, "application/json", r#"{"text":"hi","from":""}"#),
        (Kind::Group, "application/json", "hi"),
        (Kind::Table, "application/json", r#"{"editing":null}"#),
    ] {
        let refused = read_post(kind, media, body.as_bytes());
        assert!(matches!(refused, Some(Err(Refusal::Malformed { .. }))), "{kind:?} {body}: {refused:?}");
    }
    assert_eq!(read_post(Kind::Table, form, b"text=x"), None);
}
