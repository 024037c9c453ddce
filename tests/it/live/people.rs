//! People: chats of two, groups, a table; under names, and told who is there.

use std::time::Duration;

use serde_json::{Value, json};
use tungstenite::Message;

use super::http::{Events, Http, get, get_json, post, post_form};
use super::server::Server;
use super::socket::Socket;
use super::with_one_loop_and_two;

with_one_loop_and_two!(
    one_to_one_chat,
    who_is_not_there_is_refused_or_kept,
    group_chat,
    a_group_in_many_dialects,
    an_event_stream_and_a_poll_hear_a_group,
    names_come_and_go_once,
    a_table_refuses_a_stale_write,
    rows_come_move_and_go,
    who_edits_what_is_seen,
    the_old_form_of_a_table,
);

const CHAT: u16 = 9527;
const A_WHILE: Duration = Duration::from_millis(100);

/// Row 5: a text reaches the connections of the user whom it names, byte for byte, and nobody else.
fn one_to_one_chat(cores: u16) {
    let server = Server::demo(cores);
    let at = server.at(CHAT);
    assert!(get(at, "/my_app").ok().header("Content-Type").is_some_and(|media| media.starts_with("text/html")));
    let mut alice = Socket::open(at, "/my_ws/alice");
    let mut ming: Vec<Socket> = (0..3).map(|_| Socket::open(at, "/my_ws/%E5%B0%8F%E6%98%8E")).collect();
    for text in [
        r#"{"message": "你好", "from_user": "alice", "to_user": "小明"}"#,
        "{\"to_user\":\"\\u5c0f\\u660e\",  \"more\": [1, {}]}",
    ] {
        alice.send(text);
        for socket in &mut ming {
            assert_eq!(socket.text(), text);
        }
    }
    for (wrong, code) in [
        ("你好", "malformed"),
        ("{}", "malformed"),
        (r#"{"message": "hi", "from_user": "alice"}"#, "malformed"),
        (r#"{"message": "hi", "to_user": ""}"#, "malformed"),
        (r#"{"message": "hi", "to_user": 7}"#, "malformed"),
        (&format!(r#"{{"to_user": "{}"}}"#, "x".repeat(65)), "malformed"),
        (r#"{"message": "hi", "to_user": "nobody"}"#, "absent"),
        (&format!(r#"{{"message": "{}", "to_user": "alice"}}"#, "x".repeat(70_000)), "too_long"),
    ] {
        alice.send(wrong);
        assert_eq!(alice.json()["error"], code, "{wrong:.60}");
    }
    let last = r#"{"message": "still here", "from_user": "小明", "to_user": "alice"}"#;
    ming[1].send(last);
    assert_eq!(alice.text(), last);
    assert!(ming.iter_mut().all(|socket| socket.is_silent(A_WHILE)), "nobody else gets it");
    for name in ["", &"x".repeat(65)] {
        assert_eq!(Socket::try_open(at, &format!("/my_ws/{name}"), &[]).err(), Some(404), "{name:?}");
    }
}

fn who_is_not_there_is_refused_or_kept(cores: u16) {
    let server = config().cores(cores).start();
    let at = server.main();
    let mut alice = Socket::open(at, "/c/dm/alice");
    alice.send(r#"{"to":"bob","text":"1","id":1}"#);
    assert_eq!(alice.json_of("refused")["code"], "absent");
    post_form(at, "/c/dm/bob", "text=2").with_status(404);
    let mut bob = Socket::open(at, "/c/dm/bob");
    alice.send(r#"{"to":"bob","text":"3","id":2}"#);
    assert_eq!(alice.json_of("ok")["id"], 2);
    let heard = bob.json_of("message");
    assert_eq!((&heard["from"], &heard["text"]), (&json!("alice"), &json!("3")));
    bob.close();

    // What is kept is given once, to the first who comes.
    let mut carol = Socket::open(at, "/kept/carol");
    for text in ["1", "2"] {
        carol.send(&json!({"to": "dave", "text": text}).to_string());
        assert!(carol.is_silent(A_WHILE), "accepted");
    }
    let mut dave = Socket::open(at, "/kept/dave");
    for text in ["1", "2"] {
        let kept: Value = dave.json();
        assert_eq!((&kept["to"], &kept["text"]), (&json!("dave"), &json!(text)));
    }
    let mut other = Socket::open(at, "/kept/dave");
    carol.send(r#"{"to":"dave","text":"3"}"#);
    for socket in [&mut dave, &mut other] {
        assert_eq!(socket.json()["text"], "3");
    }
}

/// Row 6: any text goes, byte for byte, to everyone but its sender.
fn group_chat(cores: u16) {
    let server = Server::demo(cores);
    let at = server.at(CHAT);
    get(at, "/my_app").ok();
    let mut sockets: Vec<Socket> = (0..5).map(|_| Socket::open(at, "/my_ws")).collect();
    let texts = ["大家好", "{\"not\": \"read\"", "", "  spaces  ", "🎉"];
    for (sender, text) in texts.iter().enumerate() {
        sockets[sender].send(text);
        for (index, socket) in sockets.iter_mut().enumerate().filter(|(index, _)| *index != sender) {
            assert_eq!(socket.text(), *text, "to {index} from {sender}");
        }
    }
    sockets[0].send_binary(&[0, 255]);
    assert_eq!(sockets[1].message(), Message::binary(vec![0, 255]));
    // Many at once: each gets the others' in order, and none of its own.
    for number in 0..50 {
        sockets[0].send(&format!("a{number}"));
        sockets[1].send(&format!("b{number}"));
    }
    let own = |letter: &'static str| (0..50).map(move |number| format!("{letter}{number}"));
    let heard: Vec<String> = (0..50).map(|_| sockets[1].text()).collect();
    assert_eq!(heard, own("a").collect::<Vec<_>>());
    let heard: Vec<String> = (0..50).map(|_| sockets[0].text()).collect();
    assert_eq!(heard, own("b").collect::<Vec<_>>());
    sockets[2].message();
    let both: Vec<String> = (0..100).map(|_| sockets[2].text()).collect();
    for letter in ["a", "b"] {
        let of: Vec<_> = both.iter().filter(|text| text.starts_with(letter)).cloned().collect();
        assert_eq!(of, own(letter).collect::<Vec<_>>());
    }
    sockets[3].message();
    let long = "x".repeat(70_000);
    sockets[3].send(&long);
    while !sockets[3].text().contains("too_long") {}
    assert!(sockets[0].is_silent(A_WHILE) && sockets[1].is_silent(A_WHILE));
}

fn a_group_in_many_dialects(cores: u16) {
    let server = config().cores(cores).start();
    let at = server.main();
    let mut own = Socket::open(at, "/c/room/a?name=%E5%B0%8F");
    assert_eq!(own.json_of("members")["users"], json!(["小"]));
    own.send(r#"{"text":"你好","id":1}"#);
    let ok = own.news();
    assert_eq!((&ok["type"], &ok["id"]), (&json!("ok"), &json!(1)));
    let said = post_form(at, "/c/room/a", "text=hi&from=bob").ok().json();
    assert_eq!(own.news(), json!({"type": "message", "at": said["at"], "from": "bob", "text": "hi"}));
    post(at, "/c/room/a", "application/json", r#"{"text":"json","from":"eve"}"#).ok();
    assert_eq!(own.news()["from"], "eve");
    post(at, "/c/room/a", "text/plain", "bare").ok();
    let bare = own.news();
    assert_eq!((bare.get("from"), &bare["text"]), (None, &json!("bare")));
    let snapshot = get_json(at, "/c/room/a");
    let texts: Vec<&Value> = snapshot["state"]["messages"].as_array().expect("a list").iter().collect();
    assert_eq!(texts.iter().map(|said| &said["text"]).collect::<Vec<_>>(), ["你好", "hi", "json", "bare"]);
    assert_eq!(texts[0]["from"], "小");
    for (media, body) in [
        ("application/json", "hi"),
        ("application/json", r#"{"text":"x","from":""}"#),
        ("application/x-www-form-urlencoded", "txt=x"),
    ] {
        post(at, "/c/room/a", media, body).with_status(400);
    }
    // Who resumes gets all that it missed; whoever listens to an echoing group gets its own.
    let at_hi = said["at"].as_str().expect("a position");
    let mut back = Socket::open(at, &format!("/c/room/a?since={at_hi}"));
    assert_eq!(back.json_of("resumed")["at"], at_hi);
    assert_eq!(back.json_of("members")["users"], json!(["小"]));
    assert_eq!([back.news()["text"].clone(), back.news()["text"].clone()], ["json", "bare"]);
    let mut echoed = Socket::open(at, "/c/echoing");
    echoed.send(r#"{"text":"me"}"#);
    assert_eq!(echoed.json_of("message")["text"], "me");
    // Late joiners of the plain dialect get the last two.
    let mut late = Socket::open(at, "/late");
    for text in ["a", "b", "c"] {
        post(at, "/c/late", "text/plain", text).ok();
        assert_eq!(late.text(), text);
    }
    let mut later = Socket::open(at, "/late");
    assert_eq!([later.text(), later.text()], ["b", "c"]);
    for name in ["", &"x".repeat(65), "%0A"] {
        assert_eq!(Socket::try_open(at, &format!("/c/room/a?name={name}"), &[]).err(), Some(400), "{name:?}");
    }
}

fn an_event_stream_and_a_poll_hear_a_group(cores: u16) {
    let server = config().cores(cores).start();
    let at = server.main();
    let mut events = Events::open(at, "/c/room/a?name=eve", &[]);
    let (since, snapshot) = events.news();
    assert_eq!(snapshot["type"], "snapshot");
    let mut poll = Http::to(at);
    poll.send("GET", &format!("/c/room/a?wait=20&since={since}"), &[], b"");
    assert!(poll.is_silent(A_WHILE));
    let mut socket = Socket::open(at, "/c/room/a");
    socket.send(r#"{"text":"all of you"}"#);
    let polled = poll.answer_to("GET").ok().json();
    assert_eq!(polled["publications"][0]["text"], "all of you");
    let mut others = Vec::new();
    loop {
        let event = events.next().expect("the stream goes on");
        let news: Value = serde_json::from_str(&event.data).expect("JSON");
        if news["type"] == "message" {
            assert_eq!(news["text"], "all of you");
            break;
        }
        others.push(news["type"].clone());
    }
    assert!(others.contains(&json!("members")), "{others:?}");
}

/// Exact: the first connection of a name and its last.
fn names_come_and_go_once(cores: u16) {
    let server = config().cores(cores).start();
    let at = server.main();
    let mut watcher = Socket::open(at, "/c/room/a?name=watcher");
    assert_eq!(watcher.json_of("members")["users"], json!(["watcher"]));
    let bobs: Vec<Socket> = (0..4).map(|_| Socket::open(at, "/c/room/a?name=bob")).collect();
    let stream = Events::open(at, "/c/room/a?name=bob", &[]);
    let nameless = Socket::open(at, "/c/room/a");
    assert_eq!(watcher.json_of("joined")["user"], "bob");
    let mut zed = Socket::open(at, "/c/room/a?name=zed");
    assert_eq!(zed.json_of("members")["users"], json!(["bob", "watcher", "zed"]));
    assert_eq!(watcher.json_of("joined")["user"], "zed");
    let members = || get_json(at, "/c/room/a?members");
    while members()["listeners"] != 8 {}
    assert_eq!(members()["users"], json!(["bob", "watcher", "zed"]));
    bobs.into_iter().for_each(Socket::close);
    nameless.close();
    while members()["listeners"] != 3 {}
    assert_eq!(members()["users"], json!(["bob", "watcher", "zed"]), "an event stream is left of bob");
    drop(stream);
    assert_eq!(watcher.json_of("left")["user"], "bob");
    zed.close();
    assert_eq!(watcher.json_of("left")["user"], "zed");
    assert_eq!(members()["users"], json!(["watcher"]));
}

fn a_table_refuses_a_stale_write(cores: u16) {
    let server = config().cores(cores).start();
    let at = server.main();
    let mut alice = Socket::open(at, "/c/table?name=alice");
    let mut bob = Socket::open(at, "/c/table?name=bob");
    let snapshot = alice.json_of("snapshot");
    assert_eq!(
        snapshot["state"]["rows"][0],
        json!({"id": "1", "cells": [{"value": "小明", "rev": 0}, {"value": 18, "rev": 0}]})
    );
    alice.send(r#"{"set":[{"row":"1","column":"age","value":19,"if_rev":0}],"id":1}"#);
    let change = bob.json_of("cells");
    assert_eq!(change["by"], "alice");
    assert_eq!(change["cells"], json!([{"row": "1", "column": "age", "value": 19}]));
    assert_eq!(alice.json_of("cells"), change, "who writes sees it, too");
    bob.send(
        r#"{"set":[{"row":"1","column":"name","value":"x"},{"row":"1","column":"age","value":20,"if_rev":0}],"id":2}"#,
    );
    let refused = bob.json_of("refused");
    assert_eq!(refused["code"], "stale");
    let shown = ["row", "column", "rev", "value", "by"].map(|key| refused[key].clone());
    assert_eq!(shown, [json!("1"), json!("age"), json!(1), json!(19), json!("alice")]);
    bob.send(r#"{"set":[{"row":"1","column":"age","value":20,"if_rev":1}],"id":3}"#);
    assert_eq!(bob.json_of("ok")["id"], 3);
    let rows = &get_json(at, "/c/table")["state"]["rows"];
    assert_eq!(
        rows[0]["cells"],
        json!([{"value": "小明", "rev": 0}, {"value": 20, "rev": 2, "by": "bob"}]),
        "all or nothing"
    );
    let stale = r#"{"set":[{"row":"1","column":"age","value":1,"if_rev":1}],"from":"eve"}"#;
    assert_eq!(post(at, "/c/table", "application/json", stale).with_status(409).json()["value"], 20);
    for (wrong, code) in [
        (r#"{"set":[{"row":"9","column":"age","value":1}]}"#, "unknown_row"),
        (r#"{"set":[{"index":7,"column":"age","value":1}]}"#, "unknown_row"),
        (r#"{"set":[{"row":"1","column":"x","value":1}]}"#, "unknown_column"),
        (r#"{"set":[{"row":"1","column":"age","value":[]}]}"#, "malformed"),
        (r#"{"set":[]}"#, "malformed"),
        (r#"{"insert":{"row":"1"}}"#, "row_exists"),
        (r#"{"move":{"row":"1","after":"9"}}"#, "unknown_row"),
        (r#"{"editing":{"row":"9","column":"age"}}"#, "unknown_row"),
        ("hello", "malformed"),
    ] {
        bob.send(wrong);
        assert_eq!(bob.json_of("refused")["code"], code, "{wrong}");
    }
}

fn rows_come_move_and_go(cores: u16) {
    let server = config().cores(cores).start();
    let at = server.main();
    let mut socket = Socket::open(at, "/c/table?name=bob");
    let mut ask = |text: &str, kind: &str| {
        socket.send(text);
        socket.json_of(kind)
    };
    let inserted = ask(r#"{"insert":{"after":"1","cells":{"name":"小红"}}}"#, "row_inserted");
    assert_eq!(
        (&inserted["index"], &inserted["cells"], &inserted["by"]),
        (&json!(1), &json!(["小红", ""]), &json!("bob"))
    );
    let id = inserted["row"].as_str().expect("an id").to_owned();
    let moved = ask(&json!({"move": {"row": id, "first": true}}).to_string(), "row_moved");
    assert_eq!((&moved["row"], &moved["index"]), (&json!(id), &json!(0)));
    let cells = ask(&json!({"set": [{"index": 0, "column": "age", "value": 7}]}).to_string(), "cells");
    assert_eq!(cells["cells"][0]["row"], json!(id), "the engine knows which row stands there");
    assert_eq!(ask(r#"{"delete":{"row":"1"}}"#, "row_deleted")["row"], "1");
    let rows = get_json(at, "/c/table")["state"]["rows"].clone();
    let ids: Vec<&Value> = rows.as_array().expect("rows").iter().map(|row| &row["id"]).collect();
    assert_eq!(ids, [&json!(id), &json!("2")]);
}

fn who_edits_what_is_seen(cores: u16) {
    let server = config().cores(cores).start();
    let at = server.main();
    let mut alice = Socket::open(at, "/c/table?name=alice");
    let mut bob = Socket::open(at, "/c/table?name=bob");
    alice.send(r#"{"editing":{"row":"1","column":"age"},"id":1}"#);
    alice.json_of("ok");
    let seen = bob.json_of("editing");
    assert_eq!([&seen["user"], &seen["row"], &seen["column"]], ["alice", "1", "age"]);
    let mut late = Socket::open(at, "/c/table");
    assert_eq!(late.json_of("editing"), seen, "who comes later sees it");
    assert!(alice.is_silent(Duration::from_millis(1)) || alice.news()["type"] != "editing", "not one's own");
    alice.close();
    for socket in [&mut bob, &mut late] {
        assert_eq!(socket.json_of("editing"), json!({"type": "editing", "who": seen["who"], "user": "alice"}));
    }
}

/// Row 9's POST, and the same form over a WebSocket.
fn the_old_form_of_a_table(cores: u16) {
    let server = config().cores(cores).start();
    let at = server.main();
    let mut socket = Socket::open(at, "/cells");
    let cell = |index: u32, value: Value, forms: &str| json!({"index": index, "value": value, "forms": forms});
    let all = [
        cell(0, json!("小明"), "name"),
        cell(0, json!(18), "age"),
        cell(1, json!("小花"), "name"),
        cell(1, json!(17), "age"),
    ];
    for expected in all {
        assert_eq!(socket.json(), expected);
    }
    let posted = cell(1, json!("小强"), "name").to_string();
    assert_eq!(post(at, "/input-change", "application/json", &posted).ok().text(), "success!");
    assert_eq!(socket.json(), cell(1, json!("小强"), "name"));
    socket.send(&cell(0, json!("19"), "age").to_string());
    assert_eq!(socket.json(), cell(0, json!("19"), "age"));
    for (wrong, code) in [("x", "malformed"), (r#"{"index":9,"value":"","forms":"age"}"#, "unknown_row")] {
        socket.send(wrong);
        assert_eq!(socket.json()["error"], code);
    }
    let answer = post(at, "/input-change", "application/json", r#"{"index":9,"value":"","forms":"age"}"#);
    assert!(answer.with_status(422).text().starts_with("unknown_row"));
    let preflight = [("Origin", "http://127.0.0.1:1"), ("Access-Control-Request-Method", "POST")];
    let allowed = Http::to(at).ask("OPTIONS", "/input-change", &preflight, b"").with_status(204);
    assert_eq!(allowed.header("Access-Control-Allow-Origin"), Some("http://127.0.0.1:1"));
    assert!(allowed.header("Access-Control-Allow-Methods").is_some_and(|methods| methods.contains("POST")));
    assert!(allowed.header("Access-Control-Allow-Headers").is_some_and(|headers| headers.contains("Content-Type")));
}

fn config() -> super::server::Config {
    super::server::Config::of(CONFIG)
}

const CONFIG: &str = r#"
    [[listener]]
    name = "main"
    address = "127.0.0.1:5000"
    [[channel]]
    pattern = "room/*"
    kind = "group"
    notices = true
    [[channel]]
    name = "echoing"
    kind = "group"
    echo_sender = true
    [[channel]]
    name = "late"
    kind = "group"
    recent = 2
    [[channel]]
    pattern = "dm/*"
    kind = "direct"
    [[channel]]
    pattern = "kept/*"
    kind = "direct"
    absent = "keep"
    [[channel]]
    name = "table"
    kind = "table"
    columns = [{ id = "name" }, { id = "age" }]
    rows = [{ cells = ["小明", 18] }, { cells = ["小花", 17] }]
    [[route]]
    listener = "main"
    path = "/c/*"
    serve = "channels"
    [[route]]
    listener = "main"
    path = "/kept/*"
    serve = "websocket"
    channel = "kept/*"
    dialect = "addressed"
    to = "to"
    [[route]]
    listener = "main"
    path = "/late"
    serve = "websocket"
    channel = "late"
    dialect = "plain"
    [[route]]
    listener = "main"
    path = "/cells"
    serve = "websocket"
    channel = "table"
    dialect = "cells"
    [[route]]
    listener = "main"
    path = "/input-change"
    serve = "json"
    channel = "table"
    dialect = "cells"
    accepted = "success!"
"#;
